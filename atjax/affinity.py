"""How alike the rankings of two tasks may be expected to be, given how near their embeddings are.

Distances d_e have no scale: a projection trained on a few tasks puts a novel one near to some of them even where its
features say nothing. What a distance is worth is seen on the bank itself. Every task u is embedded by projections that
were trained without it, and Kendall's tau-b between its performances and those of each other task s is regressed on
how far apart they are,

    tau(u, s) = mean + k slope (log max(d_e(u, s), floor) - centre),

with k = max(0, 1 - (error / slope)^2) and the standard error of the slope from a jackknife over tasks, since pairs that
have a task in common are not independent (the shrinkage is James and Stein's, with its positive part). A slope above 0,
by which tasks farther apart would be more alike, counts as 0. Tasks are weighted by the tau that is expected of them,

    w_s proportional to max(tau(n, s), 0.02)^power,

which is all of them alike where distances tell nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atjax.embedding import MINIMUM_TASKS, ProjectionConfig, embedding_distance, has_order, train_projection

PROJECTIONS = 3
"""Projections, from different seeds, whose distances are averaged."""
LEAST = 0.02
"""A smaller expected tau counts as this one."""


@dataclass(frozen=True)
class Affinity:
    """The tau that is expected at a distance.

    Attributes:
        mean: Of tau over the pairs.
        slope: By which tau falls with log distance, shrunk; at most 0.
        centre: Mean log distance of the pairs.
        floor: Smaller distances count as this one.
    """

    mean: float
    slope: float
    centre: float
    floor: float

    def expected(self, distances: np.ndarray) -> np.ndarray:
        """tau of tasks at some distances, of their shape."""
        return self.mean + self.slope * (np.log(np.maximum(distances, self.floor)) - self.centre)

    def weights(self, distances: np.ndarray, power: float) -> np.ndarray:
        """w of T tasks at distances [T]: [T], with sum 1."""
        raised = np.maximum(self.expected(distances), LEAST) ** power
        return raised / raised.sum()


def mean_distances(
    features: np.ndarray,
    distances: np.ndarray,
    novel: np.ndarray,
    *,
    seed: int = 0,
    config: ProjectionConfig | None = None,
) -> np.ndarray:
    """d_e of a novel task to T tasks, [T]: mean over projections trained on these tasks.

    Args:
        features: Of the T tasks, [T, E].
        distances: d_g between them, [T, T], NaN where it is not known.
        novel: Feature of the novel task, [E].
        seed: Of the first projection; the others take the seeds that follow.
        config: Settings of the projection; the defaults if None.

    Raises:
        UserError: As `atjax.embedding.train_projection`.
    """
    found = []
    for number in range(PROJECTIONS):
        projection = train_projection(features, distances, seed=seed + number, config=config)
        *tasks, own = projection.embed(np.concatenate([features, [novel]]))
        found.append(embedding_distance(np.stack(tasks), own))
    return np.mean(found, axis=0)


def held_out_distances(
    features: np.ndarray, distances: np.ndarray, *, seed: int = 0, config: ProjectionConfig | None = None
) -> np.ndarray:
    """d_e of every task to the others by projections that know nothing of it, [T, T]; arguments as `mean_distances`.

    Row u is of projections trained without u; NaN on the diagonal, and where the others are too few to train on.
    """
    held = np.full(distances.shape, np.nan)
    for task in range(len(features)):
        others = np.delete(np.arange(len(features)), task)
        known = distances[np.ix_(others, others)]
        if len(others) >= MINIMUM_TASKS and has_order(known):
            held[task, others] = mean_distances(features[others], known, features[task], seed=seed, config=config)
    return held


def fit_affinity(held: np.ndarray, distances: np.ndarray, floor: float) -> Affinity:
    """What distances of held-out tasks say of tau.

    Args:
        held: d_e of every task to the others, [T, T] (`held_out_distances`).
        distances: d_g between the tasks, [T, T]: (1 - tau) / 2, NaN where it is not known.
        floor: Smaller d_e count as this one.

    Returns:
        The regression; flat if fewer than three tasks have a known pair, or no two distances differ.
    """
    tau, log = 1 - 2 * np.asarray(distances, float), np.log(np.maximum(held, floor))
    known = ~np.isnan(tau) & ~np.isnan(log) & ~np.eye(len(tau), dtype=bool)
    if not known.any():
        return Affinity(0.0, 0.0, 0.0, floor)
    flat = Affinity(float(tau[known].mean()), 0.0, float(log[known].mean()), floor)
    tasks = np.flatnonzero(known.any(axis=0) | known.any(axis=1))
    slope = _slope(log, tau, known)
    without = [_slope(log, tau, _drop(known, task)) for task in tasks.tolist()]
    if len(tasks) < MINIMUM_TASKS or not slope < 0 or np.isnan(without).any():
        return flat
    error = np.sqrt((len(tasks) - 1) * np.var(without))
    shrunk = slope * max(0.0, 1 - (error / slope) ** 2)
    return Affinity(flat.mean, float(shrunk), flat.centre, floor)


def _drop(known: np.ndarray, task: int) -> np.ndarray:
    left = known.copy()
    left[task], left[:, task] = False, False
    return left


def _slope(log: np.ndarray, tau: np.ndarray, known: np.ndarray) -> float:
    """Least squares over the known pairs; NaN if their distances do not differ."""
    if not known.any() or np.ptp(log[known]) == 0:
        return float("nan")
    centred = log[known] - log[known].mean()
    return float(centred @ tau[known] / (centred @ centred))
