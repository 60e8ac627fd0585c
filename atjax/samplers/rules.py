"""How the next design is chosen, given a prior and the trials so far (paper, section 4.4 and appendix A).

The rules know nothing of Optuna: the live search runs them in a `DesignSampler`, experiments/transfer by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from atjax.ranking import Ranking
from atjax.samplers.candidates import Candidates, known

WARM_UP = 5
"""Trials from the prior alone, before results play a part (appendix A)."""


class History(NamedTuple):
    """The trials so far.

    Attributes:
        rows: Their designs, int8 [n, D].
        values: Their validation scores, [n]: more is better; -inf for a failed one.
    """

    rows: np.ndarray
    values: np.ndarray


class Rule(Protocol):
    """Proposes designs."""

    def propose(self, history: History, rng: np.random.Generator) -> np.ndarray:
        """The next design, int8 [D]."""


@dataclass(frozen=True, eq=False)
class Random:
    """Every design from the prior, whatever came of the earlier ones.

    Attributes:
        candidates: What to draw from.
        table: The prior, [D, C].
    """

    candidates: Candidates
    table: np.ndarray

    def propose(self, history: History, rng: np.random.Generator) -> np.ndarray:
        """See `Rule`."""
        return self.candidates.draw(self.table, rng, 1, history.rows)[0]


@dataclass(frozen=True, eq=False)
class TPE:
    """A tree-structured Parzen estimator over categories (Bergstra et al., 2011), with the prior in both densities.

    The trials are split into the best tenth (at least one) and the others. With n(c) the count of a choice among the
    best, and C the number of choices, the density of good designs is the product over dimensions of

        l(c) proportional to n(c) + weight C prior(c),

    that of the others, g, is alike. Of `draws` designs drawn from l the new one with the largest l / g is proposed.

    Attributes:
        candidates: What to draw from.
        table: The prior, [D, C].
        weight: Pseudo-trials a choice; 1 is Optuna's and Hyperopt's.
        draws: Designs to choose from; 24 is Optuna's.
        start: Proposes the first trials; draws from the prior if None.
    """

    candidates: Candidates
    table: np.ndarray
    weight: float = 1.0
    draws: int = 24
    start: Rule | None = None

    def propose(self, history: History, rng: np.random.Generator) -> np.ndarray:
        """See `Rule`."""
        count = len(history.values)
        if count < WARM_UP:
            return (self.start or Random(self.candidates, self.table)).propose(history, rng)
        order = np.argsort(-history.values, kind="stable")
        best = -(-count // 10)
        good, others = (self._density(history.rows[part]) for part in (order[:best], order[best:]))
        drawn = self.candidates.draw(good, rng, self.draws, history.rows)
        ratio = np.log(np.maximum(good, 1e-12)) - np.log(np.maximum(others, 1e-12))
        gain = np.where(drawn >= 0, ratio[np.arange(drawn.shape[1]), drawn], 0.0).sum(axis=1)
        return drawn[np.argmax(np.where(known(drawn, history.rows), gain - 1e6, gain))]

    def _density(self, rows: np.ndarray) -> np.ndarray:
        counts = (rows[:, :, None] == np.arange(self.table.shape[1])).sum(axis=0)  # -1 counts nowhere
        density = counts + self.weight * self.candidates.sizes[:, None] * self.table
        return density / density.sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Evolution:
    """The first designs from the prior; then the best of a few earlier trials, with one choice changed.

    Real et al. (2017), where every trial stays in the population: few-trial searches are over before any is old.

    Attributes:
        candidates: What to draw from.
        table: The prior, [D, C].
        tournament: Earlier trials, drawn at random, of which the best becomes the parent.
        start: Proposes the first trials; draws from the prior if None.
    """

    candidates: Candidates
    table: np.ndarray
    tournament: int = 3
    start: Rule | None = None

    def propose(self, history: History, rng: np.random.Generator) -> np.ndarray:
        """See `Rule`."""
        count = len(history.values)
        if count < WARM_UP:
            return (self.start or Random(self.candidates, self.table)).propose(history, rng)
        entrants = rng.permutation(count)[: self.tournament]
        parent = entrants[np.argmax(history.values[entrants])]
        return self.candidates.change(history.rows[parent], rng, history.rows)


class Follow:
    """The design that ranks first on the bank's tasks among those that are new.

    From `WARM_UP` trials on, the tasks are weighted by how well they rank the trials so far, if the ranking says so.

    Attributes:
        ranking: What the bank says.
        then: Proposes once all ranked designs have been tried; if None, any of them is proposed again.
    """

    def __init__(self, ranking: Ranking, then: Rule | None = None) -> None:
        self.ranking, self.then = ranking, then
        self._place = {row.tobytes(): number for number, row in enumerate(ranking.rows)}
        self._scores = ranking.scores(ranking.weights)

    def propose(self, history: History, rng: np.random.Generator) -> np.ndarray:
        """See `Rule`; designs that tie are taken in random order."""
        places = np.array([self._place.get(row.tobytes(), -1) for row in history.rows], int)
        ranked = places >= 0
        if self.then is not None and len(np.unique(places[ranked])) == len(self.ranking.rows):
            return self.then.propose(history, rng)
        scores = self._scores
        if len(places) >= WARM_UP and self.ranking.reweigh:
            scores = self.ranking.scores(self.ranking.posterior(places[ranked], history.values[ranked]))
        scores = scores.copy()
        scores[places[ranked]] = -np.inf
        best = np.flatnonzero(scores == scores.max())
        return self.ranking.rows[best[rng.integers(len(best))]]
