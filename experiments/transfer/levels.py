"""What tasks of one level tell those of another: how far they agree on designs, and what searches of three trials are
worth where every task is left out in turn, and the bank knows tasks of some levels only.

    python experiments/transfer/levels.py      # 5 minutes on one core

Worth is as in `measures.worth`.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping, Sequence
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
Worths = Mapping[str, Mapping[str, np.ndarray]]
"""Of every method, [T], by what the bank knows."""
KNOWN = (("graph",), ("node",), ("edge",), ("graph", "node"), ("graph", "node", "edge"))
"""Levels that the bank knows tasks of, where it has them."""


def known_to(bank: Recorded, task: int, kinds: np.ndarray, known: Sequence[str]) -> np.ndarray:
    """Numbers of the tasks of the known kinds, [T] of which ``kinds`` says, of other data sets than the task's."""
    others = bank.others(task)
    return others[np.isin(kinds[others], known)]


def _apart(bank: Recorded) -> np.ndarray:
    """Which pairs of tasks are of different data sets, bool [T, T]."""
    return np.array([np.isin(np.arange(len(bank.tasks)), bank.others(task)) for task in range(len(bank.tasks))])


def agreement(bank: Recorded, kinds: np.ndarray) -> list[str]:
    """A table of mean correlations of ranks between tasks of two kinds.

    Args:
        bank: The bank.
        kinds: Of its tasks, such as their levels, [T].
    """
    tau, apart, every = 1 - 2 * kendall(bank), _apart(bank), sorted(set(kinds))
    lines = [
        "Kendall's tau-b between the ranks of designs on two tasks, mean over pairs of tasks of other data sets:",
        "",
        *head(["", *every]),
    ]
    for kind in every:
        pairs = [apart & np.outer(kinds == kind, kinds == other) for other in every]
        lines.append(row([kind, *(f"{tau[pair].mean():.2f}" for pair in pairs)]))
    return lines


def kin(bank: Recorded) -> str:
    """The correlations between tasks of one data set."""
    tau, pairs = 1 - 2 * kendall(bank), zip(*np.nonzero(np.triu(~_apart(bank), 1)))
    same = [f"{bank.tasks[a]} and {bank.tasks[b]} {tau[a, b]:.2f}" for a, b in pairs]
    return f"Of tasks of one data set: {', '.join(same) or 'there are none'}."


def by_known(
    bank: Recorded, kinds: np.ndarray, known: Sequence[Sequence[str]], methods: Sequence[str], seeds: int
) -> Worths:
    """What searches are worth by the kinds, one after another, that the bank knows tasks of."""
    return {
        ", ".join(some): measured(bank, functools.partial(known_to, bank, kinds=kinds, known=some), seeds, methods)
        for some in known
    }


def table(found: Worths, kinds: np.ndarray, seeds: int) -> list[str]:
    """A table of them, mean over the tasks of each kind."""
    methods = list(next(iter(found.values())))
    lines = [
        f"What the first {SHORT} trials are worth in random trials, geometric mean over the left-out tasks with one "
        f"standard error, by what tasks the bank knows. {seeds} seeds.",
        "",
        *head(["left out", "known", *methods]),
    ]
    for kind in sorted(set(kinds)):
        left_out = kinds == kind
        for told, worth in found.items():
            lines.append(row([f"{sum(left_out)} {kind}", told, *(geometric(worth[m][left_out]) for m in methods)]))
    return lines


def report(bank: Recorded, seeds: int) -> str:
    """The tables of a bank, in Markdown."""
    known = [levels for levels in KNOWN if set(levels) <= set(bank.levels)]
    found = by_known(bank, bank.levels, known, methods_for(bank, FOLLOWED), seeds)
    lines = [f"## {bank.name}", "", *agreement(bank, bank.levels), "", kin(bank), "", *table(found, bank.levels, seeds)]
    return "\n".join(lines) + "\n"


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
