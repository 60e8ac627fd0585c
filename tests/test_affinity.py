"""Expected correlations of ranks against plain loops, and where distances say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from atjax.affinity import LEAST, PROJECTIONS, Affinity, fit_affinity, held_out_distances, mean_distances
from atjax.embedding import ProjectionConfig, embedding_distance, train_projection

TRAINING = ProjectionConfig(iterations=30, batch=16)
FLOOR = 0.05


def made(seed: int, slope: float, noise: float, tasks: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """d_e that are not symmetric, and d_g whose tau falls with their logarithm: [T, T] each."""
    rng = np.random.default_rng(seed)
    held = np.exp(rng.uniform(-4, 0.5, (tasks, tasks)))
    tau = 0.4 + slope * np.log(np.maximum(held, FLOOR)) + noise * rng.normal(size=(tasks, tasks))
    np.fill_diagonal(held, np.nan)
    np.fill_diagonal(tau, 1.0)
    return held, (1 - tau) / 2


@pytest.mark.parametrize("seed", range(4))
def test_the_regression_by_loops(seed: int) -> None:
    held, distances = made(seed, -0.1, 0.2)
    distances[1, 4] = distances[6, 2] = np.nan
    held[3, 7] = np.nan

    def line(without: int | None) -> tuple[float, float, float]:
        x, y = [], []
        for u in range(9):
            for s in range(9):
                if u == s or without in (u, s) or np.isnan(held[u, s]) or np.isnan(distances[u, s]):
                    continue
                x.append(np.log(max(held[u, s], FLOOR)))
                y.append(1 - 2 * distances[u, s])
        return float(np.polyfit(x, y, 1)[0]), float(np.mean(x)), float(np.mean(y))

    slope, centre, mean = line(None)
    left = [line(task)[0] for task in range(9)]
    variance = 8 / 9 * sum((one - sum(left) / 9) ** 2 for one in left)
    found = fit_affinity(held, distances, FLOOR)
    assert slope < 0
    assert found.slope == pytest.approx(slope * max(0, 1 - variance / slope**2), rel=1e-8)
    assert (found.mean, found.centre) == pytest.approx((mean, centre))


def test_an_exact_law_is_found() -> None:
    held, distances = made(0, -0.15, 0.0)
    found = fit_affinity(held, distances, FLOOR)
    assert found.slope == pytest.approx(-0.15)
    near = np.array([0.01, 0.05, 0.3, 1.5])
    np.testing.assert_allclose(found.expected(near), 0.4 - 0.15 * np.log([0.05, 0.05, 0.3, 1.5]))


def test_weights_by_hand() -> None:
    affinity = Affinity(0.3, -0.2, np.log(0.5), FLOOR)
    weights = affinity.weights(np.array([0.0, 0.5, 1.0, 2.0 * np.e**2]), 4.0)
    raised = np.array([0.3 + 0.2 * np.log(10), 0.3, 0.3 - 0.2 * np.log(2), LEAST]) ** 4
    np.testing.assert_allclose(weights, raised / raised.sum())
    np.testing.assert_allclose(affinity.weights(np.array([0.1, 1.0]), 0.0), 0.5)


def test_distances_that_say_nothing_leave_all_tasks_alike() -> None:
    near = np.array([0.01, 0.1, 1.0])
    shrunk = [fit_affinity(*made(seed, 0.0, 0.3), FLOOR).slope for seed in range(200)]
    assert np.mean(np.array(shrunk) == 0) > 0.6  # half of the slopes are positive, and most others within their error
    assert fit_affinity(*made(0, 0.2, 0.0), FLOOR).slope == 0  # farther and more alike
    held, distances = made(0, -0.1, 0.1)
    for flat in (
        fit_affinity(np.full((9, 9), 0.3), distances, FLOOR),
        fit_affinity(np.full((9, 9), np.nan), distances, FLOOR),
        fit_affinity(held[:2, :2], distances[:2, :2], FLOOR),
    ):
        np.testing.assert_allclose(flat.weights(near, 4.0), 1 / 3)


def test_a_held_out_task_is_embedded_by_projections_without_it() -> None:
    rng = np.random.default_rng(3)
    features = 1 + rng.random((6, 4))
    distances = rng.random((6, 6))
    distances = (distances + distances.T) / 2
    held = held_out_distances(features, distances, seed=5, config=TRAINING)
    assert np.isnan(np.diag(held)).all()
    for task in (0, 4):
        others = [t for t in range(6) if t != task]
        between = np.array([[distances[a, b] for b in others] for a in others])
        found = np.zeros(5)
        for number in range(PROJECTIONS):
            projection = train_projection(features[others], between, seed=5 + number, config=TRAINING)
            own = projection.embed(features[task])
            found += [embedding_distance(projection.embed(features[t])[None], own)[0] for t in others]
        np.testing.assert_allclose(held[task, others], found / PROJECTIONS, atol=1e-6)
    changed = distances.copy()
    changed[4], changed[:, 4] = rng.random(6), rng.random(6)  # its own results do not matter to its row
    again = held_out_distances(features, changed, seed=5, config=TRAINING)
    np.testing.assert_allclose(again[4], held[4])
    assert not np.allclose(again[0, 1:], held[0, 1:])
    near = mean_distances(features[:5], distances[:5, :5], features[5], seed=5, config=TRAINING)
    np.testing.assert_allclose(near, held[5, :5])


@pytest.mark.parametrize("tasks", [3, 4])
def test_too_few_tasks_to_hold_one_out(tasks: int) -> None:
    """Of 4, each in turn leaves 3, as many as a projection needs."""
    rng = np.random.default_rng(0)
    features, distances = 1 + rng.random((tasks, 4)), np.triu(rng.random((tasks, tasks)), 1)
    distances += distances.T
    held = held_out_distances(features, distances, config=TRAINING)
    apart = ~np.eye(tasks, dtype=bool)
    assert np.isfinite(held[apart]).all() == np.isfinite(held[apart]).any() == (tasks == 4)
    if tasks == 3:
        assert fit_affinity(held, distances, FLOOR).slope == 0
