"""GraphGym's 20 synthetic tasks, which had no part in any choice of priors: what they and the 12 real ones tell of each
other, and what searches of three trials are worth where every task is left out in turn.

    python experiments/transfer/synthetic.py      # 5 minutes on one core

Tasks on the same graphs do not tell of each other, so that a synthetic task is told of by the real ones and by those on
the other family of graphs. Worth is as in `measures.worth`. The tasks' features, in the folder ``synthetic`` beside
this file, are those of graphs of the same kind (`atjax.sources.synthetic`), for GraphGym's own are not published:

    build="python -m atjax.build_bank -m task=synthetic designs=0 fisher=losses task.graphs=scalefree,smallworld"
    $build task.label=clustering task.feature=constant,onehot,pagerank
    $build task.label=pagerank task.feature=constant,onehot,clustering
    $build task.label=path_length task.feature=onehot,clustering,pagerank
    python -m atjax.bank merge experiments/transfer/synthetic bank

The path length of graphs without features has none: to anchors that take means or maxima all these graphs are alike,
and their Fisher information is 0. Left out, such a task is told of by all others alike; to others it is at the median
distance.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
from levels import agreement, by_known, table
from recorded import Recorded, graphgym_32
from tables import head, mean, row

from atjax.atomic import write_text
from atjax.bank.store import data_set
from atjax.sources.synthetic import Family

OUT = Path(__file__).parent / "results" / "synthetic.md"
SEEDS = 60
FOLLOWED = (
    "product random",
    "rank, equal",
    "rank, level",
    "rank, fisher",
    "rank, losses",
    "rank, calibrated alpha",
    "rank, calibrated",
    "rank, calibrated, smooth, trials",
    "rank, kendall (upper bound)",
)
PAIRS = (
    ("rank, level", "rank, equal"),
    ("rank, fisher", "rank, equal"),
    ("rank, fisher", "rank, level"),
    ("rank, losses", "rank, fisher"),
    ("rank, calibrated", "rank, equal"),
    ("rank, calibrated", "rank, fisher"),
    ("rank, calibrated", "product random"),
    ("rank, calibrated, smooth, trials", "rank, calibrated"),
)
"""Methods that are compared task by task."""
FAMILIES = get_args(Family)


def kinds(bank: Recorded) -> np.ndarray:
    """``real`` or ``synthetic`` and the level of every task, [T]."""
    made = [data_set(task) in FAMILIES for task in bank.tasks]
    return np.array([f"{'synthetic' if each else 'real'} {level}" for each, level in zip(made, bank.levels)])


def report(bank: Recorded, seeds: int) -> str:
    """The tables, in Markdown."""
    each = kinds(bank)
    every = sorted(set(each))
    known = [[kind for kind in every if kind.startswith(start)] for start in ("real", "synthetic", "")]
    found = by_known(bank, each, known, FOLLOWED, seeds)
    logs = {method: np.log(worth) for method, worth in found[", ".join(every)].items()}
    lines = [
        *agreement(bank, each),
        "",
        *table(found, each, seeds),
        "",
        "Of a bank that knows all: differences of the logarithm of what they are worth, mean over tasks with its "
        "standard error.",
        "",
        *head(["method", "against", *every, "all"]),
    ]
    for one, other in PAIRS:
        parts = [*(each == kind for kind in every), np.full(len(each), True)]
        lines.append(row([one, other, *(mean((logs[one] - logs[other])[part]) for part in parts)]))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    text = report(graphgym_32(), chosen.seeds)
    write_text(chosen.out, text)
    print(text)


if __name__ == "__main__":
    main()
