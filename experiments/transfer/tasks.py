"""How many tasks a bank should know: of the embedded bank's other tasks some are drawn, again and again.

    python experiments/transfer/tasks.py      # 2 minutes on one core

Every task is left out in turn, and searches of three trials are replayed from a bank that knows some of the others, or
all of them. Worth is as in `measures.worth`.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence
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
KIN = ("cornell", "texas", "wisconsin", "imdb_binary", "imdb_multi")
"""Web pages of three universities, and two sets of films."""
FOLLOWED = ("product random", "rank, equal", "rank, fisher", "rank, kendall (upper bound)")


def drawn(bank: Recorded, task: int, size: int, draw: int) -> np.ndarray:
    """Numbers of some tasks of other data sets, ascending."""
    return np.sort(np.random.default_rng([draw, task]).choice(bank.others(task), size, replace=False))


def measured(
    bank: Recorded, known: Callable[[int], np.ndarray], seeds: int, methods: Sequence[str] = FOLLOWED
) -> dict[str, np.ndarray]:
    """What the first trials of every method are worth, [T] each, where ``known`` of a task are what the bank knows."""
    tried: dict[str, list[np.ndarray]] = {method: [] for method in methods}
    for task in range(len(bank.tasks)):
        source = prepare(bank, task, known(task))
        for method, searches in tried.items():
            rules = (METHODS[method](source, seed, SHORT) for seed in range(seeds))
            searches.append(np.stack([search(bank, task, rule, seed, SHORT) for seed, rule in enumerate(rules)]))
    return worth(bank, tried, SHORT)


def report(bank: Recorded, sizes: Sequence[int], draws: int, seeds: int) -> str:
    """The tables, in Markdown."""
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    for size in sizes:
        known = [functools.partial(drawn, bank, size=size, draw=draw) for draw in range(draws)]
        found[str(size)] = [measured(bank, each, seeds) for each in known]
        print(f"{size} of {len(bank.tasks)} tasks", flush=True)
    found["all"] = [measured(bank, bank.others, seeds)]
    alone = np.array([task not in KIN for task in bank.tasks])
    lines = [
        f"What the first {SHORT} trials are worth in random trials, geometric mean over {len(bank.tasks)} tasks with "
        f"one standard error and over {draws} draws of the tasks that the bank knows; and the least and the most of "
        f"single draws. {seeds} seeds.",
        "",
        *table(found, np.ones(len(alone), bool)),
        "",
        f"The same, mean over the {sum(alone)} tasks that have none of their own kind, as {', '.join(KIN)} have.",
        "",
        *table(found, alone),
    ]
    return "\n".join(lines) + "\n"


def table(found: Mapping[str, Sequence[Mapping[str, np.ndarray]]], kept: np.ndarray) -> list[str]:
    """Worth by number of tasks, draw and method, [T] each; mean over some of the T."""
    lines = head(["tasks known", *(cell for method in FOLLOWED for cell in (method, "single draws"))])
    for size, drawings in found.items():
        cells = [size]
        for method in FOLLOWED:
            logs = np.log([each[method][kept] for each in drawings])
            single = np.exp(logs.mean(axis=1))
            cells.append(geometric(np.exp(logs.mean(axis=0))))
            cells.append(f"{single.min():.1f} to {single.max():.1f}" if len(single) > 1 else "")
        lines.append(row(cells))
    return lines


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
