"""What is carried over to a task that is left out: similarities, priors, and the methods that search with them.

A similarity gives every other task a weight. It never looks at the left-out task's results, but for `kendall` and
`taskonomy`, which are the upper bounds that they are called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from recorded import PRODUCT, Recorded
from sklearn.ensemble import GradientBoostingRegressor

from atjax import config
from atjax.affinity import fit_affinity, held_out_distances, mean_distances
from atjax.bank import kendall_distance, taskonomy_affinity
from atjax.embedding import MINIMUM_TASKS, embedding_distance, train_projection
from atjax.prior import PriorConfig, close_weights, mix
from atjax.ranking import Ranking, fill_shares, rank_shares, relative_times, widely_run
from atjax.samplers import TPE, WARM_UP, Evolution, Follow, History, Random, Rule, table_of

RANK: PriorConfig = config.load("prior", "rank")
CALIBRATED: PriorConfig = config.load("prior", "calibrated")
FRUGAL: PriorConfig = config.load("prior", "frugal")


@dataclass(frozen=True, eq=False)
class Source:
    """What the other tasks say, prepared once for a left-out task.

    Attributes:
        bank: The bank.
        task: The left-out task.
        others: Numbers of the other tasks, [T - 1].
        shares: Ranks on the other tasks, filled in where a design was not run, float32 [N, T - 1].
        smooth: The same, half of recorded ranks replaced by what is predicted.
    """

    bank: Recorded
    task: int
    others: np.ndarray
    shares: np.ndarray
    smooth: np.ndarray


def prepare(bank: Recorded, task: int, others: np.ndarray | None = None) -> Source:
    """What is known without the left-out task's results.

    Args:
        bank: The bank.
        task: The left-out task.
        others: Numbers of the tasks that the bank knows; all of other data sets if None.
    """
    others = bank.others(task) if others is None else others
    recorded = rank_shares(bank.known[:, others])
    shares, smooth = (fill_shares(bank.one_hot, recorded, each.ridge, each.keep) for each in (RANK, CALIBRATED))
    return Source(bank, task, others, shares, smooth)


def _same_level(bank: Recorded, task: int, others: np.ndarray) -> np.ndarray:
    same = (bank.levels[others] == bank.levels[task]).astype(float)
    return same if same.any() else np.ones(len(others))


def _nearest_three(bank: Recorded, task: int, others: np.ndarray) -> np.ndarray:
    distances = kendall(bank)[task, others]
    return close_weights(distances, np.sort(distances)[2], RANK.distance_floor)


def _close(distances: np.ndarray) -> np.ndarray:
    """Weights by distance d_e, as `prior=product` and `prior=rank` have them, [T - 1]."""
    weights = close_weights(distances, RANK.threshold, RANK.distance_floor)
    assert weights.any(), "no task is close: the live search would take the uniform prior"
    return weights


MOST_COMPARED = 2000
"""Designs by which tasks are compared, about: all pairs of 26,206 are too many."""


def _compared(bank: Recorded) -> pd.DataFrame:
    """Performances that say how alike tasks are, [n, T]."""
    rows = bank.known[~np.isnan(bank.known).all(axis=1)]
    return pd.DataFrame(rows[:: max(1, len(rows) // MOST_COMPARED)])


@functools.cache
def kendall(bank: Recorded) -> np.ndarray:
    """d_g between all tasks, [T, T]."""
    return np.nan_to_num(kendall_distance(_compared(bank), 4).to_numpy(), nan=0.5)


@functools.cache
def _taskonomy(bank: Recorded) -> np.ndarray:
    """Affinities of all tasks to each, [T, T]; 0 where they are not known."""
    return np.nan_to_num(taskonomy_affinity(_compared(bank), 4).to_numpy())


def learned_distances(features: dict[str, np.ndarray], bank: Recorded, task: int, others: np.ndarray) -> np.ndarray:
    """d_e from a task to the others, [T - 1], by a projection of these features trained on the others alone.

    Others without a feature have the median distance; without the task's own feature, all distances are 1.
    """
    has = np.array([bank.tasks[t] in features for t in others])
    if bank.tasks[task] not in features or has.sum() < MINIMUM_TASKS:
        return np.ones(len(others))
    known = others[has]
    inputs = np.stack([features[bank.tasks[t]] for t in (*known, task)])
    *tasks, novel = train_projection(inputs[:-1], kendall(bank)[np.ix_(known, known)], seed=0).embed(inputs)
    found = np.full(len(others), np.nan)
    found[has] = embedding_distance(np.stack(tasks), novel)
    return np.where(has, found, np.nanmedian(found))


def _together(bank: Recorded) -> dict[str, np.ndarray]:
    """Alphas and first losses of the tasks that have both, by name."""
    return {
        name: np.concatenate([bank.features[name], bank.losses[name]]) for name in bank.features if name in bank.losses
    }


def calibrated(features: dict[str, np.ndarray], bank: Recorded, task: int, others: np.ndarray) -> np.ndarray:
    """Weights of the others by the correlation of ranks that is expected (`atjax.affinity`), [T - 1].

    Of the left-out task only its feature is looked at. Others without a feature have the median distance.
    """
    has = np.array([bank.tasks[t] in features for t in others])
    if bank.tasks[task] not in features or has.sum() < MINIMUM_TASKS:
        return np.ones(len(others))
    known = others[has]
    inputs, between = np.stack([features[bank.tasks[t]] for t in known]), kendall(bank)[np.ix_(known, known)]
    near = mean_distances(inputs, between, features[bank.tasks[task]])
    found = np.full(len(others), np.median(near))
    found[has] = near
    affinity = fit_affinity(held_out_distances(inputs, between), between, CALIBRATED.distance_floor)
    return affinity.weights(found, CALIBRATED.power)


SIMILARITIES: dict[str, Callable[[Recorded, int, np.ndarray], np.ndarray]] = {
    "equal": lambda bank, task, others: np.ones(len(others)),
    "level": _same_level,
    "fisher": lambda bank, task, others: _close(learned_distances(bank.features, bank, task, others)),
    "losses": lambda bank, task, others: _close(learned_distances(bank.losses, bank, task, others)),
    "calibrated, alpha": lambda bank, task, others: calibrated(bank.features, bank, task, others),
    "calibrated": lambda bank, task, others: calibrated(_together(bank), bank, task, others),
    "kendall": _nearest_three,
    "taskonomy": lambda bank, task, others: _taskonomy(bank)[task, others],
}
"""From a bank, the left-out task and the numbers of others to weights of these, [T - 1]."""


@functools.cache
def weights_by(source: Source, similarity: str) -> np.ndarray:
    """The weights of the other tasks by one of `SIMILARITIES`, [T - 1], with sum 1."""
    found = SIMILARITIES[similarity](source.bank, source.task, source.others)
    return found / found.sum()


@functools.cache
def product(source: Source, similarity: str) -> np.ndarray:
    """The paper's product of marginals as a table [D, C]: Equation 3, as `prior=product` has it."""
    distributions = [source.bank.best[task] for task in source.others]
    return table_of(source.bank.space, mix(distributions, weights_by(source, similarity), PRODUCT.epsilon))


def resampled(source: Source, similarity: str, seed: int) -> np.ndarray:
    """Weights of a bank whose tasks are resampled (Bayesian bootstrap), [T - 1].

    A greedy path is a single one; what it owes to the tasks that happen to be in the bank shows when they vary.
    """
    drawn = weights_by(source, similarity) * np.random.default_rng([seed, 1]).dirichlet(np.ones(len(source.others)))
    return drawn / drawn.sum()


def ranking(
    source: Source,
    similarity: str,
    seed: int,
    reweigh: float,
    everything: bool = False,
    smooth: bool = False,
    price: float = 0.0,
) -> Ranking:
    """The joint score over the designs that enough of the tasks have, or over `everything` by prediction.

    A replay can follow those only that the left-out task has results of.
    """
    bank = source.bank
    run = ~np.isnan(bank.known[:, source.others])
    seen = everything | widely_run(run, weights_by(source, similarity), CALIBRATED.coverage)
    own = np.flatnonzero(seen & ~np.isnan(bank.validation[bank.split(seed), :, source.task]))
    shares = source.smooth if smooth else source.shares
    penalty = price * relative_times(bank.seconds[:, source.others])[own] if price else 0.0
    return Ranking(bank.rows[own], shares[own], resampled(source, similarity, seed), reweigh, penalty)


class Mixture:
    """Whole top designs of the other tasks: a task by its weight, one of its best K at random, without repeats."""

    def __init__(self, source: Source, similarity: str, seed: int) -> None:
        joint = ranking(source, similarity, seed, 0.0)
        self.rows, weights = joint.rows, np.zeros(len(joint.rows))
        for share, column in zip(weights_by(source, similarity), joint.shares.T):
            count = min(PRODUCT.top_k, max(1, len(self.rows) // 4))
            weights[np.argsort(-column, kind="stable")[:count]] += share / count
        self.weights = (1 - PRODUCT.epsilon) * weights + PRODUCT.epsilon / len(self.rows)

    def propose(self, history: History, rng: np.random.Generator) -> np.ndarray:
        """See `atjax.samplers.Rule`."""
        return self.rows[rng.choice(len(self.rows), p=self.weights / self.weights.sum())]


class Portfolio:
    """Designs that raise the mean best rank on the other tasks most, one after another (as in auto-sklearn 2.0)."""

    def __init__(self, ranking: Ranking, length: int) -> None:
        best = np.zeros(ranking.shares.shape[1], np.float32)
        order: list[int] = []
        for _ in range(min(length, len(ranking.rows))):
            gain = np.maximum(ranking.shares, best) @ ranking.weights.astype(np.float32)
            gain[order] = -np.inf
            order.append(int(np.argmax(gain)))
            best = np.maximum(best, ranking.shares[order[-1]])
        self.rows = ranking.rows[order]

    def propose(self, history: History, rng: np.random.Generator) -> np.ndarray:
        """See `atjax.samplers.Rule`."""
        return self.rows[min(len(history.values), len(self.rows) - 1)]


FITS = 5
"""Resampled banks that boosted trees are fitted to, which takes long; seeds share them."""


@functools.cache
def _boosted_ranks(source: Source, similarity: str, seed: int) -> np.ndarray:
    """Weighted mean ranks of all designs by gradient-boosted trees over their codes, [N]."""
    bank, weights = source.bank, resampled(source, similarity, seed)
    seen = np.flatnonzero(~np.isnan(bank.known[:, source.others]).all(axis=1))
    part = seen[:: max(1, len(seen) // 2000)]
    model = GradientBoostingRegressor(n_estimators=60, min_samples_leaf=3, max_features=0.3, random_state=0)
    model.fit(bank.one_hot[part], source.shares[part] @ weights)
    return model.predict(bank.one_hot).astype(np.float32)


def boosted(source: Source, similarity: str, seed: int) -> Follow:
    """Follows a surrogate of the joint score."""
    own = source.bank.designs(source.task, seed)
    predicted = _boosted_ranks(source, similarity, seed % FITS)
    return Follow(Ranking(source.bank.rows[own], predicted[own, None], np.ones(1), 0.0))


Build = Callable[[Source, int, int], Rule]
"""From what the other tasks say, the seed and the number of trials to a rule."""


def _uniform(kind: type) -> Build:
    return lambda s, seed, trials: kind(s.bank.candidates(s.task, seed), table_of(s.bank.space, s.bank.space.uniform()))


def _product(kind: type, similarity: str) -> Build:
    return lambda s, seed, trials: kind(s.bank.candidates(s.task, seed), product(s, similarity))


def _rank(similarity: str, reweigh: float = 0.0, smooth: bool = False, price: float = 0.0) -> Build:
    return lambda s, seed, trials: Follow(ranking(s, similarity, seed, reweigh, smooth=smooth, price=price))


def _rank_first(kind: type, similarity: str) -> Build:
    return lambda s, seed, trials: kind(
        s.bank.candidates(s.task, seed), product(s, similarity), start=Follow(ranking(s, similarity, seed, 0.0))
    )


def _portfolio_first(kind: type, similarity: str) -> Build:
    return lambda s, seed, trials: kind(
        s.bank.candidates(s.task, seed),
        product(s, similarity),
        start=Portfolio(ranking(s, similarity, seed, 0.0), WARM_UP),
    )


PRICED = "rank, frugal"
"""`prior=frugal`; for banks that know how long their trainings took."""

METHODS: dict[str, Build] = {
    "uniform random": _uniform(Random),
    "uniform tpe": _uniform(TPE),
    "uniform evolution": _uniform(Evolution),
    "product random": _product(Random, "fisher"),
    "product tpe": _product(TPE, "fisher"),
    "product evolution": _product(Evolution, "fisher"),
    "product, equal": _product(Random, "equal"),
    "product, level": _product(Random, "level"),
    "product, kendall (upper bound)": _product(Random, "kendall"),
    "product, taskonomy (upper bound)": _product(Random, "taskonomy"),
    "rank, equal": _rank("equal"),
    "rank, level": _rank("level"),
    "rank, fisher": _rank("fisher"),
    "product, losses": _product(Random, "losses"),
    "rank, losses": _rank("losses"),
    "rank, kendall (upper bound)": _rank("kendall"),
    "rank, taskonomy (upper bound)": _rank("taskonomy"),
    "rank, equal, trials": _rank("equal", CALIBRATED.reweigh),
    "rank, fisher, trials": _rank("fisher", CALIBRATED.reweigh),
    "rank, calibrated alpha": _rank("calibrated, alpha"),
    "rank, calibrated": _rank("calibrated"),
    "rank, calibrated, smooth": _rank("calibrated", smooth=True),
    "rank, calibrated, trials": _rank("calibrated", CALIBRATED.reweigh),
    "rank, calibrated, smooth, trials": _rank("calibrated", CALIBRATED.reweigh, smooth=True),
    PRICED: _rank("calibrated", FRUGAL.reweigh, smooth=True, price=FRUGAL.price),
    "rank tpe": _rank_first(TPE, "fisher"),
    "rank evolution": _rank_first(Evolution, "fisher"),
    "rank tpe, equal": _rank_first(TPE, "equal"),
    "portfolio tpe": _portfolio_first(TPE, "fisher"),
    "rank, equal, predicted": lambda s, seed, trials: Follow(ranking(s, "equal", seed, 0.0, everything=True)),
    "mixture, fisher": lambda s, seed, trials: Mixture(s, "fisher", seed),
    "portfolio, fisher": lambda s, seed, trials: Portfolio(ranking(s, "fisher", seed, 0.0), trials),
    "boosted, fisher": lambda s, seed, trials: boosted(s, "fisher", seed),
}
"""The first six are the simulation's; the others say where a gain comes from. `fisher` is the paper's embedding,
`losses` the same of other features, `calibrated` both together, weighted as `atjax.affinity` does."""
SIMULATION = tuple(METHODS)[:6]


def methods_for(bank: Recorded, asked: Sequence[str]) -> tuple[str, ...]:
    """Those of the methods asked for that a bank has the numbers for: prices need times."""
    return tuple(method for method in asked if method != PRICED or np.isfinite(bank.seconds).any())
