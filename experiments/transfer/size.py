"""How many designs a bank should know, and which: banks of some of NAS-Bench-Graph's 26,206, drawn again and again.

    python experiments/transfer/size.py      # 3 minutes on one core

Every task is left out in turn. The other tasks were run with D designs, which are drawn at random; or with 72 drawn
ones, to which others are added in rounds, as someone would who grows a bank where it pays: those of which ridge
regression on what the bank has predicts the best mean rank, among all designs or among those one choice away from the 8
best. The three designs with the best mean rank are followed, all tasks weighted alike but for a Bayesian bootstrap, by
recorded ranks (`prior=rank`) and by ranks smoothed as in `prior=calibrated`. Worth is as in `measures.worth`.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measures import SHORT, random_shares, standings
from priors import CALIBRATED, RANK
from recorded import Recorded, nas_bench_graph
from tables import geometric, head, mean, row

from atjax.atomic import write_text
from atjax.ranking import fill_shares, rank_shares

OUT = Path(__file__).parent / "results" / "size.md"
SIZES = (24, 72, 144, 288, 1000, 4000)
START = 72
"""Designs that are drawn before others are picked."""
PICKED = (96, 144, 288)
"""Designs in all, with those picked."""
EACH = 8
"""Designs of a round."""
BEST = 8
"""Designs whose neighbours are looked at."""
DRAWS = 20
BOOTSTRAPS = 10

Grow = Callable[["Whole", np.ndarray, np.random.Generator, int], np.ndarray]
"""From the other tasks, a generator and a number of designs to their numbers."""


@dataclass(frozen=True, eq=False)
class Whole:
    """A bank that has every design of its space.

    Attributes:
        bank: The bank.
    """

    bank: Recorded

    @functools.cached_property
    def shares(self) -> np.ndarray:
        """The validation rank of every design on every task, 1 for the best, [N, T]."""
        (shares,) = standings(self.bank, self.bank.validation)
        return shares

    @functools.cached_property
    def uniform(self) -> np.ndarray:
        """The expected best rank of n = 1, 2, ... random designs."""
        return random_shares(rank_shares(np.arange(len(self.bank.rows))[:, None])[:, 0])

    def worth(self, share: np.ndarray) -> np.ndarray:
        """How many random trials have this best rank on average."""
        return np.interp(share, self.uniform, np.arange(1, len(self.uniform) + 1))

    def predicted(self, known: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The mean rank of every design on some tasks, predicted from those of known ones, [N]."""
        held = np.full((len(self.bank.one_hot), len(others)), np.nan)
        held[known] = rank_shares(self.bank.known[np.ix_(known, others)])
        return fill_shares(self.bank.one_hot, held, CALIBRATED.ridge, keep=0.0).mean(axis=1)

    def neighbours(self, designs: np.ndarray) -> np.ndarray:
        """Numbers of all designs one choice away from any of these."""
        apart = (self.bank.rows[None] != self.bank.rows[designs, None]).sum(axis=-1)
        return np.flatnonzero((apart == 1).any(axis=0))


def drawn(whole: Whole, others: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """At random."""
    return rng.choice(len(whole.bank.one_hot), size, replace=False)


def picked(near: bool) -> Grow:
    """The best predicted ones, of all or of those near the best, round by round."""

    def grow(whole: Whole, others: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
        known = drawn(whole, others, rng, START)
        while len(known) < size:
            said = whole.predicted(known, others)
            wanted = min(EACH, size - len(known))
            free = np.setdiff1d(np.arange(len(said)), known)
            if near:
                recorded = rank_shares(whole.bank.known[np.ix_(known, others)]).mean(axis=1)
                ordered = known[np.argsort(-(recorded + said[known]), kind="stable")]
                free = np.setdiff1d(whole.neighbours(ordered[:BEST]), known)
                if len(free) < wanted:  # all around the best are known
                    free = np.setdiff1d(whole.neighbours(ordered), known)
            known = np.concatenate([known, free[np.argsort(-said[free], kind="stable")[:wanted]]])
        return known

    return grow


def followed(whole: Whole, known: np.ndarray, others: np.ndarray, task: int, keep: float) -> float:
    """The best rank on the left-out task among the designs followed, mean over bootstraps of the others."""
    ranks = rank_shares(whole.bank.known[np.ix_(known, others)])
    ranks = fill_shares(whole.bank.one_hot[known], ranks, CALIBRATED.ridge, keep)
    weights = [np.random.default_rng([seed, 1]).dirichlet(np.ones(len(others))) for seed in range(BOOTSTRAPS)]
    first = (np.argsort(-(ranks @ each), kind="stable")[:SHORT] for each in weights)
    return float(np.mean([whole.shares[known[three], task].max() for three in first]))


def measured(whole: Whole, grow: Grow, size: int, draws: int) -> np.ndarray:
    """Best ranks by recorded and by smoothed ranks, [2, T, draws]."""
    found = np.empty((2, len(whole.bank.tasks), draws))
    for task in range(len(whole.bank.tasks)):
        others = whole.bank.others(task)
        for draw in range(draws):
            known = grow(whole, others, np.random.default_rng(draw), size)
            for number, keep in enumerate((RANK.keep, CALIBRATED.keep)):
                found[number, task, draw] = followed(whole, known, others, task, keep)
    return found


def cells(whole: Whole, found: np.ndarray, drawn_alike: np.ndarray | None) -> list[str]:
    """Worth by both kinds of ranks, and beside banks of as many drawn designs."""
    shown = []
    for number, kind in enumerate(found):
        worth = whole.worth(kind.mean(axis=1))
        shown.append(geometric(worth))
        each = np.exp(np.log(whole.worth(kind)).mean(axis=0))
        shown.append(f"{each.min():.1f} to {each.max():.1f}" if len(each) > 1 else "")
        if drawn_alike is not None:
            shown.append(mean(np.log(worth) - np.log(whole.worth(drawn_alike[number].mean(axis=1)))))
    return shown


def report(whole: Whole, draws: int) -> str:
    """The tables, in Markdown."""
    total = len(whole.bank.one_hot)
    random = {size: measured(whole, drawn, size, draws) for size in (*SIZES, *PICKED) if size < total}
    random[total] = measured(whole, lambda whole, *_: np.arange(total), total, 1)
    lines = [
        f"What the first {SHORT} designs are worth in random trials, geometric mean over {len(whole.bank.tasks)} tasks "
        f"with one standard error, mean over {draws} draws of the designs that the other tasks were run with; and the "
        "least and the most of single draws.",
        "",
        *head(["designs known", "recorded ranks", "single draws", "smoothed ranks", "single draws"]),
    ]
    lines += [row([f"{size:,}", *cells(whole, random[size], None)]) for size in sorted(random)]
    columns = ["single draws", "over drawn"]
    lines += [
        "",
        f"Of {START} drawn designs and others picked, {EACH} a round; by how much the logarithm of worth is above "
        "that of as many drawn ones, paired over tasks.",
        "",
        *head(["picked among", "designs in all", "recorded ranks", *columns, "smoothed ranks", *columns]),
    ]
    for name, near in (("all", False), ("one choice from the best", True)):
        for size in PICKED:
            found = measured(whole, picked(near), size, draws)
            lines.append(row([name, str(size), *cells(whole, found, random[size])]))
            print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    text = report(Whole(nas_bench_graph()), chosen.draws)
    write_text(chosen.out, text)
    print(text)


if __name__ == "__main__":
    main()
