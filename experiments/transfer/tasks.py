"""How many tasks a bank should know: of the embedded bank's other tasks some are drawn, again and again.

    python experiments/transfer/tasks.py      # 6 minutes on one core

Every task is left out in turn, and searches of three trials are replayed from a bank that knows some of the others, or
all of them. Worth is as in `measures.worth`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measures import SHORT, worth
from priors import METHODS, prepare
from recorded import Recorded, embedded
from replay import search
from tables import geometric, head, row

from atjax.atomic import write_text

OUT = Path(__file__).parent / "results" / "tasks.md"
SIZES = (4, 8, 13, 20)
DRAWS = 20
SEEDS = 30
FOLLOWED = {
    "product random": "fisher",
    "rank, equal": "equal",
    "rank, fisher": "fisher",
    "rank, kendall (upper bound)": "kendall",
}
"""Methods, each with the similarity that it needs."""


def drawn(bank: Recorded, task: int, size: int, draw: int) -> np.ndarray:
    """Numbers of some tasks but this, ascending."""
    others = [other for other in range(len(bank.tasks)) if other != task]
    return np.sort(np.random.default_rng([draw, task]).choice(others, size, replace=False))


def measured(bank: Recorded, size: int, draw: int, seeds: int) -> dict[str, np.ndarray]:
    """What the first trials of every method are worth, where the bank knows so many tasks, [T] each."""
    tried: dict[str, list[np.ndarray]] = {method: [] for method in FOLLOWED}
    for task in range(len(bank.tasks)):
        source = prepare(bank, task, drawn(bank, task, size, draw), set(FOLLOWED.values()))
        for method, searches in tried.items():
            rules = (METHODS[method](source, seed, SHORT) for seed in range(seeds))
            searches.append(np.stack([search(bank, task, rule, seed, SHORT) for seed, rule in enumerate(rules)]))
    return worth(bank, tried, SHORT)


def report(bank: Recorded, sizes: Sequence[int], draws: int, seeds: int) -> str:
    """The table, in Markdown."""
    lines = [
        f"What the first {SHORT} trials are worth in random trials, geometric mean over {len(bank.tasks)} tasks with "
        f"one standard error and over {draws} draws of the tasks that the bank knows; and the least and the most of "
        f"single draws. {seeds} seeds.",
        "",
        *head(["tasks known", *(cell for method in FOLLOWED for cell in (method, "single draws"))]),
    ]
    for size in (*sizes, len(bank.tasks) - 1):
        every = size == len(bank.tasks) - 1
        found = [measured(bank, size, draw, seeds) for draw in range(1 if every else draws)]
        cells = []
        for method in FOLLOWED:
            logs = np.log([each[method] for each in found])
            single = np.exp(logs.mean(axis=1))
            cells += [
                geometric(np.exp(logs.mean(axis=0))),
                "" if every else f"{single.min():.1f} to {single.max():.1f}",
            ]
        lines.append(row([str(size), *cells]))
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="a multiple of the bank's three splits")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    text = report(embedded(), SIZES, chosen.draws, chosen.seeds)
    write_text(chosen.out, text)
    print(text)


if __name__ == "__main__":
    main()
