"""What tasks of one level tell those of another: how far they agree on designs, and what searches of three trials are
worth where every task is left out in turn, and the bank knows tasks of some levels only.

    python experiments/transfer/levels.py      # 5 minutes on one core

Worth is as in `measures.worth`.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measures import SHORT
from priors import PRICED, kendall, methods_for
from recorded import Recorded, embedded, graphgym
from tables import geometric, head, row
from tasks import measured

from atjax.atomic import write_text
from atjax.errors import UserError

OUT = Path(__file__).parent / "results" / "levels.md"
SEEDS = 60
FOLLOWED = ("product random", "rank, equal", "rank, fisher", "rank, calibrated, smooth, trials", PRICED)
KNOWN = (("graph",), ("node",), ("edge",), ("graph", "node"), ("graph", "node", "edge"))
"""Levels that the bank knows tasks of, where it has them."""


def known_to(bank: Recorded, task: int, levels: Sequence[str]) -> np.ndarray:
    """Numbers of the tasks of these levels, and of other data sets than the task's, ascending."""
    others = bank.others(task)
    return others[np.isin(bank.levels[others], levels)]


def agreement(bank: Recorded) -> list[str]:
    """A table of mean correlations of ranks between tasks of two levels, and those between tasks of one data set."""
    tau = 1 - 2 * kendall(bank)
    apart = np.zeros_like(tau, bool)
    for task in range(len(tau)):
        apart[task, bank.others(task)] = True
    levels = sorted(set(bank.levels))
    lines = [
        "Kendall's tau-b between the ranks of designs on two tasks, mean over pairs of tasks of other data sets:",
        "",
        *head(["", *levels]),
    ]
    for level in levels:
        pairs = [apart & np.outer(bank.levels == level, bank.levels == other) for other in levels]
        lines.append(row([level, *(f"{tau[pair].mean():.2f}" for pair in pairs)]))
    same = [f"{bank.tasks[a]} and {bank.tasks[b]} {tau[a, b]:.2f}" for a, b in zip(*np.nonzero(np.triu(~apart, 1)))]
    return [*lines, "", f"Of tasks of one data set: {', '.join(same) or 'there are none'}."]


def worths(bank: Recorded, seeds: int) -> list[str]:
    """A table of what searches are worth."""
    methods = methods_for(bank, FOLLOWED)
    lines = [
        f"What the first {SHORT} trials are worth in random trials, geometric mean over the left-out tasks with one "
        f"standard error, by the levels that the bank knows tasks of. {seeds} seeds.",
        "",
        *head(["left out", "known", *methods]),
    ]
    held = [levels for levels in KNOWN if set(levels) <= set(bank.levels)]
    found = {
        levels: measured(bank, functools.partial(known_to, bank, levels=levels), seeds, methods) for levels in held
    }
    for level in sorted(set(bank.levels)):
        left_out = bank.levels == level
        for levels, worth in found.items():
            cells = [geometric(worth[method][left_out]) for method in methods]
            lines.append(row([f"{sum(left_out)} {level}", ", ".join(levels), *cells]))
    return lines


def report(bank: Recorded, seeds: int) -> str:
    """The tables of a bank, in Markdown."""
    return "\n".join([f"## {bank.name}", "", *agreement(bank), "", *worths(bank, seeds)]) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="a multiple of the bank's three splits")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    banks = [embedded()]
    try:
        banks.append(graphgym())
    except UserError as error:
        print(f"GraphGym's grid is left out. {error}")
    text = "\n".join(report(bank, chosen.seeds) for bank in banks)
    write_text(chosen.out, text)
    print(text)


if __name__ == "__main__":
    main()
