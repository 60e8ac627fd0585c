"""Design priors: what worked on similar tasks (section 4.4, Equation 3).

    P(c | T)   = frequency of choice c in the K best designs of task T, for every dimension by itself
    P_t(c | n) = sum over close T of P(c | T) / d_e(n, T), divided by the sum over close T of 1 / d_e(n, T)
    prior      = (1 - epsilon) P_t + epsilon uniform

Three guards beside the paper's text: distances below a floor count as the floor, the uniform part keeps every choice
possible, and frequencies are corrected for how often the bank tried a choice at all.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd

from atjax.affinity import fit_affinity, held_out_distances, mean_distances
from atjax.bank.performance import design_performance, performance_matrix
from atjax.bank.records import frame_designs
from atjax.bank.similarity import kendall_distance
from atjax.bank.store import Bank
from atjax.embedding import (
    MINIMUM_TASKS,
    Projection,
    ProjectionConfig,
    embedding_distance,
    has_order,
    train_projection,
)
from atjax.errors import UserError, check_whole
from atjax.ranking import Ranking, fill_shares, rank_shares, relative_times, widely_run
from atjax.space import Choice, Design, Dimension, Probabilities, Space

Weighting = Literal["inverse", "calibrated"]
"""How tasks are weighted by their distance; see `PriorConfig.weights`."""


_SHOWN = 5
"""Nearest tasks that the text of a prior names."""


@dataclass(frozen=True)
class PriorConfig:
    """Settings of the prior.

    Attributes:
        name: ``product``, ``rank``, ``calibrated``, ``frugal``, or the user's own; names the prior in every output.
        top_k: K, the designs of a task that count as its best; never more than a quarter of its designs.
        threshold: Largest embedding distance d_e (between 0 and 2) of a close task.
        epsilon: Share of the uniform distribution.
        distance_floor: Smaller distances count as this one, so that no task outweighs all others without bound.
        correct: Divide by how often the bank tried a choice (see `design_distribution`).
        same_level: Compare with tasks of the same level (node, edge, graph) alone, as if the bank knew no others.
        joint: Rank whole designs as well (see `atjax.ranking`): the search follows that ranking before the marginals.
        ridge: Penalty of the regression that predicts ranks of designs which one task lacks.
        keep: What counts of a recorded rank, between 0 and 1; the rest is that regression's (see `fill_shares`).
        coverage: Designs of the ranking are those that tasks of at least this share of the weight have run, against the
            design that most of it has (see `atjax.ranking.widely_run`); 0: all that any task has.
        reweigh: How fast trials seen re-weight the tasks of the ranking; 0: never.
        weights: ``inverse``: 1 / d_e, the paper's; ``calibrated``: by the correlation of ranks that the bank lets one
            expect at that distance (see `atjax.affinity`).
        power: Exponent of calibrated weights.
        price: What a design's place in the ranking loses where it takes e times as long to train as others do, in
            shares of the ranking; 0 ranks by performance alone.
        statistic: What features of tasks it was made for; the Fisher stage takes them unless it is told otherwise.
    """

    name: str = "product"
    top_k: int = 16
    threshold: float = 1.0
    epsilon: float = 0.1
    distance_floor: float = 0.05
    correct: bool = True
    same_level: bool = False
    joint: bool = False
    ridge: float = 3.0
    keep: float = 1.0
    coverage: float = 0.5
    reweigh: float = 0.0
    weights: Weighting = "inverse"
    power: float = 4.0
    price: float = 0.0
    statistic: Sequence[str] = ("alpha",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", str(self.name))
        object.__setattr__(self, "statistic", tuple(self.statistic))
        check_whole("prior.top_k", self.top_k)
        if not self.threshold >= 0:  # as NaN is neither
            raise UserError(f"prior.threshold must be a number that is not negative; it is {self.threshold}.")
        if not 0 <= self.epsilon <= 1:
            raise UserError(f"prior.epsilon must lie between 0 and 1; it is {self.epsilon}.")
        if not 0 < self.distance_floor < math.inf:
            raise UserError(f"prior.distance_floor must be positive; it is {self.distance_floor}.")
        if not 0 < self.ridge < math.inf or not 0 <= self.reweigh < math.inf:
            raise UserError(
                "prior.ridge must be positive and prior.reweigh must not be negative; "
                f"they are {self.ridge} and {self.reweigh}."
            )
        if not 0 <= self.keep <= 1 or not 0 <= self.power < math.inf:
            raise UserError(
                "prior.keep must lie between 0 and 1 and prior.power must not be negative; "
                f"they are {self.keep} and {self.power}."
            )
        if not 0 <= self.coverage <= 1:
            raise UserError(f"prior.coverage must lie between 0 and 1; it is {self.coverage}.")
        if not 0 <= self.price < math.inf:
            raise UserError(f"prior.price must not be negative; it is {self.price}.")
        if self.weights not in get_args(Weighting):
            raise UserError(f"prior.weights must be inverse or calibrated; it is {self.weights}.")

    def alone(self, level: str) -> str | None:
        """The level that a task of this one is compared with alone; None: with all."""
        return level if self.same_level else None


@dataclass(frozen=True)
class Prior:
    """A distribution over designs, each dimension by itself, perhaps a ranking of whole ones, and where it came from.

    Attributes:
        probabilities: For every dimension a distribution over its choices.
        nearest: (task name, distance d_e, weight) of all tasks of the bank, nearest first; weights sum to 1, and are 0
            for tasks that are not close. Empty if no distances could be had.
        source: ``transfer``, or ``uniform`` if nothing was taken over.
        reason: Why it is what it is, a sentence.
        ranking: Whole designs of the bank to be tried first; None if there are none.
        name: That of the settings it was made by.
    """

    probabilities: Probabilities
    nearest: tuple[tuple[str, float, float], ...]
    source: Literal["transfer", "uniform"]
    reason: str
    ranking: Ranking | None = None
    name: str = "uniform"

    def check(self, space: Space) -> None:
        """Raise UserError unless this is a distribution over the choices of a space."""
        for dimension in space.dimensions:
            given = set(self.probabilities.get(dimension.name, ()))
            if given != set(dimension.choices):
                raise UserError(
                    f"The prior is not one over the space {space.name!r}, whose choices of {dimension.name} are "
                    f"{', '.join(map(str, dimension.choices))}; make it with space=, as the search is."
                )

    def __repr__(self) -> str:
        lines = [f"Prior {self.name!r}, {self.source}: {self.reason}"]
        for dimension, table in self.probabilities.items():
            likely = sorted(table.items(), key=lambda pair: -pair[1])
            lines.append(f"  {dimension:<15}{', '.join(f'{choice} {share:.2f}' for choice, share in likely)}")
        if self.nearest:
            near = ", ".join(f"{task} ({distance:.3f})" for task, distance, _ in self.nearest[:_SHOWN])
            lines.append(f"  {'nearest tasks':<15}{near}{', ...' if len(self.nearest) > _SHOWN else ''}")
        if self.ranking is not None:
            lines.append("  Whole designs are ranked, and tried first.")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Embedding:
    """Where a novel task lies among the bank's tasks.

    Attributes:
        novel: Embedding of the novel task, float32 [D].
        tasks: Embeddings of the bank's tasks, float32 [T, D].
        content_hashes: Content hashes of those T tasks, ascending.
        names: Their names.
        features: Their features, means over initialisations, [T, E].
        distances: d_g between them, [T, T].
        projection: The projection, trained on these tasks only.
    """

    novel: np.ndarray
    tasks: np.ndarray
    content_hashes: tuple[str, ...]
    names: tuple[str, ...]
    features: np.ndarray = field(repr=False)
    distances: np.ndarray
    projection: Projection = field(repr=False)


class NoComparison(UserError):
    """The bank cannot say how near its tasks are to a novel one."""


def uniform_prior(space: Space, reason: str = "A uniform prior was asked for.") -> Prior:
    """All choices alike."""
    return Prior(space.uniform(), (), "uniform", reason)


def fall_back(space: Space, obstacle: str, config: PriorConfig) -> Prior:
    """The uniform prior where a bank allows no comparison; the obstacle is a sentence."""
    return dataclasses.replace(uniform_prior(space, f"{obstacle} The prior is uniform."), name=config.name)


def design_distribution(
    records: pd.DataFrame, space: Space, top_k: int = 16, correct: bool = True
) -> dict[str, dict[Choice, float]]:
    """P(c | T): how often each choice occurs among the best designs of one task (section 4.4).

    The best are the K = min(top_k, a quarter of the designs, at least 1) with the best validation performance, over all
    splits that they were trained on (`atjax.bank.performance`); ties go to the lower validation loss, then to the
    smaller key. Test metrics play no part. Designs that never completed are not among the best. Designs outside the
    space are left out. A conditional dimension is counted over the designs in which it is active; without such a design
    it stays uniform.

    A bank that tried a choice more often would find it more often among the best by that alone. With ``correct``,
    frequencies are divided by the choice's frequency among all designs of the task, and made to sum to 1 again: by
    Bayes' rule, p(c | best) as it would be had all choices been tried alike. Where they were, nothing changes.

    Args:
        records: Rows of `Bank.records`, of one task and budget.
        space: The space to describe.
        top_k: K.
        correct: Whether to correct for what the bank tried.

    Returns:
        A distribution over the choices of every dimension.
    """
    designs = dict(zip(records["design"], frame_designs(records, space)))
    inside = [key for key, design in designs.items() if design in space]
    performance = design_performance(records[records["design"].isin(inside)]).droplevel("content_hash")
    order = performance[performance["goodness"] > -np.inf].sort_values(
        ["goodness", "validation_loss", "key"], ascending=[False, True, True]
    )
    best = [designs[key] for key in order.index[: min(top_k, max(1, len(inside) // 4))]]
    tried = [designs[key] for key in inside]
    table: dict[str, dict[Choice, float]] = {}
    for dimension in space.dimensions:
        weights = _counts(dimension, best)
        if correct:
            weights = weights / np.maximum(_counts(dimension, tried), 1)  # what was never tried is not among the best
        total = weights.sum()
        share = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
        table[dimension.name] = dict(zip(dimension.choices, share.tolist()))
    return table


def _counts(dimension: Dimension, designs: Sequence[Design]) -> np.ndarray:
    """How often each choice occurs, [choices]; an inactive dimension is None, which is no choice."""
    values = [getattr(design, dimension.name) for design in designs]
    return np.array([values.count(choice) for choice in dimension.choices], float)


def close_weights(distances: np.ndarray, threshold: float, floor: float) -> np.ndarray:
    """Weights of Equation 3, [T]: 1 / max(d, floor) where d <= threshold, else 0; sum 1, or all 0 if none is close."""
    weights = np.where(distances <= threshold, 1 / np.maximum(distances, floor), 0.0)
    return weights / max(weights.sum(), np.finfo(float).tiny)


def mix(distributions: Sequence[Probabilities], weights: np.ndarray, epsilon: float) -> dict[str, dict[Choice, float]]:
    """(1 - epsilon) sum_t w_t P(c | t) + epsilon uniform: Equation 3, and a share for every choice.

    Args:
        distributions: P(c | t) of T tasks, over the same dimensions and choices.
        weights: w, [T], with sum 1 (see `close_weights`).
        epsilon: Share of the uniform distribution.
    """
    mixed: dict[str, dict[Choice, float]] = {}
    for name, choices in distributions[0].items():
        table = np.array([[distribution[name][choice] for choice in choices] for distribution in distributions])
        share = (1 - epsilon) * (weights @ table) + epsilon / len(choices)
        mixed[name] = dict(zip(choices, share.tolist()))
    return mixed


def joint_ranking(
    bank: Bank, tasks: Sequence[str], weights: np.ndarray, space: Space, config: PriorConfig
) -> Ranking | None:
    """The designs of a space that a bank has seen, ranked by their weighted mean rank on some of its tasks.

    Args:
        bank: Records of one budget.
        tasks: Content hashes of T tasks.
        weights: Of these tasks, [T], with sum 1.
        space: Designs outside it are left out.
        config: For ``ridge``, ``keep``, ``coverage``, ``reweigh`` and ``price``.

    Returns:
        The ranking; None if these tasks have no design of the space.
    """
    matrix = performance_matrix(bank)[list(tasks)].dropna(how="all")
    records = bank.records.drop_duplicates("design").set_index("design", drop=False).loc[matrix.index]
    designs = frame_designs(records, space)
    inside = [number for number, design in enumerate(designs) if design in space]
    shares = rank_shares(matrix.to_numpy(float)[inside])
    run = ~np.isnan(shares).all(axis=0)
    if not run.any():
        return None
    designs = [designs[number] for number in inside]
    one_hot = np.stack([space.encode(design) for design in designs])
    filled = fill_shares(one_hot, shares[:, run], config.ridge, config.keep)
    taken = bank.records.groupby(["design", "content_hash"])["seconds"].mean().unstack().reindex_like(matrix)
    penalty = config.price * relative_times(taken.to_numpy(float)[inside])
    weights = weights[run] / weights[run].sum()
    known = widely_run(~np.isnan(shares[:, run]), weights, config.coverage)
    return Ranking(space.numbers(designs)[known], filled[known], weights, config.reweigh, penalty[known])


def comparable(
    bank: Bank, *, exclude_hash: str, exclude_name: str, fisher: str, budget: str, level: str | None = None
) -> Bank:
    """The part of a bank that a novel task may be compared with.

    Without the novel task, by content and by name; of one budget and one kind of feature; of one level, unless it is
    None; and of tasks that have a record as well as a feature.
    """
    rest = bank.without(content_hash=exclude_hash, name=exclude_name).where(budget=budget, fisher=fisher)
    rest = rest if level is None else rest.where(level=level)
    both = set(rest.records["content_hash"]) & set(rest.features["content_hash"])
    records, features = (frame[frame["content_hash"].isin(both)] for frame in (rest.records, rest.features))
    return dataclasses.replace(rest, records=records, features=features)


def too_few_tasks(bank: Bank, level: str | None = None) -> str | None:
    """Why what `comparable` leaves of a bank is too small to compare with, a sentence; None if it is not."""
    if len(bank.tasks) >= MINIMUM_TASKS:
        return None
    of_level = "" if level is None else f" of level {level}"
    return (
        f"The bank has {len(bank.tasks)} other tasks{of_level} with records of this budget and features of these "
        f"Fisher settings, and {MINIMUM_TASKS} are needed."
    )


def locate(feature: np.ndarray, bank: Bank, *, config: ProjectionConfig | None = None, seed: int = 0) -> Embedding:
    """Train the projection on a bank's tasks (Algorithm 2) and embed them and a novel task.

    Args:
        feature: Of the novel task, mean over initialisations, [E], as it is: not scaled to norm 1.
        bank: What `comparable` leaves of the bank.
        config: Settings of the projection; the defaults if None.
        seed: Seed of the projection.

    Raises:
        NoComparison: The bank has fewer than three tasks, or too few designs that they share.
        UserError: The feature is not finite, is scaled to norm 1, or has other entries than the bank's.
    """
    feature = np.asarray(feature, float)
    if not np.all(np.isfinite(feature)):
        raise UserError("The task's feature holds NaN or infinity; look at its values, anchor by anchor.")
    if len(feature) > 1 and abs(np.linalg.norm(feature) - 1) < 1e-6:
        raise UserError("The task's feature is scaled to norm 1; give the mean values, the projection scales them.")
    names = bank.tasks
    hashes = tuple(sorted(names))
    if (obstacle := too_few_tasks(bank)) is not None:
        raise NoComparison(obstacle)
    rows = [bank.features[bank.features["content_hash"] == task] for task in hashes]
    features = np.stack([_mean_values(row, len(feature)) for row in rows])
    distances = kendall_distance(performance_matrix(bank)).loc[list(hashes), list(hashes)].to_numpy()
    if not has_order(distances):
        raise NoComparison("The bank's tasks share too few designs to say which of them are alike.")
    projection = train_projection(features, distances, seed=seed, config=config)
    *tasks, novel = projection.embed(np.concatenate([features, [feature]]))
    return Embedding(
        novel,
        np.stack(tasks),
        hashes,
        tuple(names[task] for task in hashes),
        features,
        distances,
        projection,
    )


def prior_from_bank(
    feature: np.ndarray,
    level: str,
    bank: Bank,
    space: Space,
    *,
    exclude_hash: str,
    exclude_name: str,
    fisher: str,
    budget: str,
    config: PriorConfig | None = None,
    projection: ProjectionConfig | None = None,
    seed: int = 0,
) -> tuple[Prior, Embedding | None]:
    """The prior of a novel task: Algorithm 1 from the task feature on.

    The novel task's own records and features are dropped first, by content and by name, so that nothing of them can
    reach the result. If the bank does not allow a comparison, or no task is close, the prior is uniform and says why.

    Args:
        feature: Of the novel task, mean over initialisations, [E], as it is: not scaled to norm 1.
        level: Its level.
        bank: The bank.
        space: The space to search.
        exclude_hash: The novel task's content hash.
        exclude_name: The novel task's name.
        fisher: Key of the Fisher settings that the feature was computed with.
        budget: Budget whose records count.
        config: Settings of the prior; the defaults if None.
        projection: Settings of the projection; the defaults if None.
        seed: Seed of the projection.

    Returns:
        The prior, and the embedding; None where the bank does not allow a comparison.

    Raises:
        UserError: The feature is not finite, is scaled to norm 1, or has other entries than the bank's.
    """
    config = config or PriorConfig()
    alone = config.alone(level)
    rest = comparable(
        bank, exclude_hash=exclude_hash, exclude_name=exclude_name, fisher=fisher, budget=budget, level=alone
    )
    try:
        embedding = locate(feature, rest, config=projection, seed=seed)
    except NoComparison as obstacle:
        return fall_back(space, too_few_tasks(rest, alone) or str(obstacle), config), None

    if config.weights == "calibrated":
        distances, weights = calibrated_weights(feature, embedding, config, projection, seed)
    else:
        distances = embedding_distance(embedding.tasks, embedding.novel).astype(float)
        weights = close_weights(distances, config.threshold, config.distance_floor)
    order = np.argsort(distances, kind="stable")
    nearest = tuple((embedding.names[t], float(distances[t]), float(weights[t])) for t in order)
    close = [int(t) for t in order if weights[t] > 0]
    which = "" if alone is None else f" of level {alone}"
    if not close:
        reason = f"No task{which} of the bank lies within distance {config.threshold:g}. The prior is uniform."
        return Prior(space.uniform(), nearest, "uniform", reason, name=config.name), embedding
    of_task = dict(iter(rest.records.groupby("content_hash")))
    shared = pd.concat([of_task[embedding.content_hashes[t]] for t in close]).drop_duplicates("design")
    if not any(design in space for design in frame_designs(shared, space)):
        reason = f"The close tasks of the bank have no design of the space {space.name!r}. The prior is uniform."
        return Prior(space.uniform(), nearest, "uniform", reason, name=config.name), embedding
    distributions = [
        design_distribution(of_task[embedding.content_hashes[t]], space, config.top_k, config.correct) for t in close
    ]
    reason = f"{len(close)} of {len(weights)} tasks{which} of the bank lie within distance {config.threshold:g}."
    mixed = mix(distributions, weights[close], config.epsilon)
    ranking = None
    if config.joint:
        ranking = joint_ranking(rest, [embedding.content_hashes[t] for t in close], weights[close], space, config)
    return Prior(mixed, nearest, "transfer", reason, ranking, config.name), embedding


def calibrated_weights(
    feature: np.ndarray,
    embedding: Embedding,
    config: PriorConfig,
    projection: ProjectionConfig | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Distances d_e of a novel task, means over projections, and the weights of `atjax.affinity`: [T] each.

    Args:
        feature: Of the novel task, mean over initialisations, [E].
        embedding: The T tasks of the bank.
        config: For ``threshold``, ``distance_floor`` and ``power``.
        projection: Settings of the projections.
        seed: Of the first of them.

    Returns:
        The distances, and the weights: 0 of tasks beyond the threshold, with sum 1, or all 0.
    """
    known, between = embedding.features, embedding.distances
    distances = mean_distances(known, between, np.asarray(feature, float), seed=seed, config=projection).astype(float)
    held = held_out_distances(known, between, seed=seed, config=projection)
    weights = fit_affinity(held, between, config.distance_floor).weights(distances, config.power)
    weights = np.where(distances <= config.threshold, weights, 0.0)
    return distances, weights / max(weights.sum(), np.finfo(float).tiny)


def _mean_values(features: pd.DataFrame, entries: int) -> np.ndarray:
    """Mean over split seeds and initialisations of one task, [E] (section 4.2)."""
    if any(len(values) != entries for values in features["values"]):
        task, count = features["task"].iloc[0], len(features["values"].iloc[0])
        raise UserError(
            f"The bank's feature of {task} has {count} entries and the novel task's {entries}; "
            "use the same anchors and statistics."
        )
    return np.mean([values.mean(axis=1) for values in features["values"]], axis=0)
