"""What tasks of one level tell those of another: every task is left out in turn, and the bank knows its own level, the
other levels, or all.

    python experiments/transfer/levels.py      # 1 minute on one core

Worth is as in `measures.worth`.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from measures import SHORT
from recorded import Recorded, embedded
from tables import geometric, head, row
from tasks import measured

from atjax.atomic import write_text

OUT = Path(__file__).parent / "results" / "levels.md"
SEEDS = 60
FOLLOWED = ("product random", "rank, equal", "rank, fisher", "rank, calibrated, smooth, trials")
KNOWN: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "its own level": lambda same: same,
    "other levels": lambda same: ~same,
    "all": lambda same: np.full(len(same), True),
}
"""From whether tasks are of the left-out task's level, [T], to whether the bank knows them, [T]."""


def known_to(bank: Recorded, task: int, which: str) -> np.ndarray:
    """Numbers of the tasks but this that the bank knows."""
    known = KNOWN[which](bank.levels == bank.levels[task])
    return np.array([other for other in np.flatnonzero(known) if other != task])


def report(bank: Recorded, seeds: int) -> str:
    """The table, in Markdown."""
    found = {which: measured(bank, functools.partial(known_to, bank, which=which), seeds, FOLLOWED) for which in KNOWN}
    lines = [
        f"What the first {SHORT} trials are worth in random trials, geometric mean over the left-out tasks with one "
        f"standard error, by what the bank knows. {seeds} seeds.",
        "",
        *head(["left out", "the bank knows", "tasks", *FOLLOWED]),
    ]
    for level in sorted(set(bank.levels)):
        left_out = np.flatnonzero(bank.levels == level)
        for which, worth in found.items():
            count = len(known_to(bank, int(left_out[0]), which))
            cells = [geometric(worth[method][left_out]) for method in FOLLOWED]
            lines.append(row([f"{len(left_out)} {level}", which, str(count), *cells]))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="a multiple of the bank's three splits")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    text = report(embedded(), chosen.seeds)
    write_text(chosen.out, text)
    print(text)


if __name__ == "__main__":
    main()
