"""Distances between tasks against Kendall's tau-b by brute force and by SciPy; affinities against a tournament."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, rankdata

from atjax.bank import kendall_distance, taskonomy_affinity


def brute_force(x: np.ndarray, y: np.ndarray) -> float:
    """tau_b = (concordant - discordant) / sqrt((pairs untied in x) (pairs untied in y)), over shared entries."""
    concordant = discordant = untied_x = untied_y = 0
    both = [(a, b) for a, b in zip(x, y) if not (math.isnan(a) or math.isnan(b))]
    for (a, b), (c, d) in itertools.combinations(both, 2):
        untied_x += a != c
        untied_y += b != d
        if a != c and b != d:
            concordant += (a > c) == (b > d)
            discordant += (a > c) != (b > d)
    return (concordant - discordant) / math.sqrt(untied_x * untied_y)


def random_matrix(seed: int, holes: float) -> pd.DataFrame:
    """30 designs, 6 tasks, many ties, some entries -inf, some missing."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 12, (30, 6)) / 12
    values[rng.random(values.shape) < 0.1] = -np.inf
    values[rng.random(values.shape) < holes] = np.nan
    return pd.DataFrame(values, columns=list("abcdef"))


@pytest.mark.parametrize("holes", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_distance_is_tau_b(seed: int, holes: float) -> None:
    matrix = random_matrix(seed, holes)
    distance = kendall_distance(matrix)
    for a, b in itertools.permutations("abcdef", 2):
        x, y = matrix[a].to_numpy(), matrix[b].to_numpy()
        both = ~np.isnan(x) & ~np.isnan(y)
        assert distance.loc[a, b] == pytest.approx((1 - brute_force(x, y)) / 2, abs=1e-12)
        assert distance.loc[a, b] == pytest.approx((1 - kendalltau(x[both], y[both]).statistic) / 2, abs=1e-12)


def test_distance_counts_rankings_only() -> None:
    matrix = random_matrix(0, 0.2)
    matrix["same"] = np.exp(3 * matrix["a"])
    matrix["reverse"] = -matrix["a"]
    distance = kendall_distance(matrix)
    assert distance.loc["a", "same"] == pytest.approx(0)
    assert distance.loc["a", "reverse"] == pytest.approx(1)
    np.testing.assert_array_equal(distance, distance.T)
    np.testing.assert_array_equal(np.diag(distance), 0)
    # Rankings, not lists of ids: the order of the rows plays no part.
    pd.testing.assert_frame_equal(kendall_distance(matrix.sample(frac=1, random_state=1)), distance)


def test_unknown_distances_are_nan() -> None:
    rng = np.random.default_rng(0)
    matrix = pd.DataFrame(rng.random((20, 3)), columns=["a", "b", "flat"])
    matrix["flat"] = 0.5
    matrix["few"] = np.where(np.arange(20) < 7, rng.random(20), np.nan)
    distance = kendall_distance(matrix)
    assert math.isnan(distance.loc["a", "flat"])
    assert math.isnan(distance.loc["a", "few"])
    assert not math.isnan(distance.loc["a", "b"])
    assert not math.isnan(kendall_distance(matrix, minimum_shared=7).loc["a", "few"])


def tournament(values: dict[str, np.ndarray], target: str) -> dict[str, float]:
    """Affinities of the sources of a target: the definition by loops, and power iteration."""
    shares = {}
    for task, column in values.items():
        has = ~np.isnan(column)
        shares[task] = np.full(len(column), np.nan)
        shares[task][has] = rankdata(column[has]) / has.sum()
    sources = [task for task in values if task != target]
    ratio = np.ones((len(sources), len(sources)))
    for (i, a), (j, b) in itertools.permutations(enumerate(sources), 2):
        won = fought = 0.0
        for t, x, y in zip(shares[target], shares[a], shares[b]):
            if not np.isnan([t, x, y]).any():
                fought += 1
                won += 1.0 if abs(x - t) < abs(y - t) else 0.5 if abs(x - t) == abs(y - t) else 0.0
        share = float(np.clip(won / fought, 0.001, 0.999))
        ratio[i, j] = share / (1 - share)
    vector = np.ones(len(sources))
    for _ in range(2000):
        vector = ratio @ vector
        vector /= vector.sum()
    return dict(zip(sources, vector))


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_affinity_is_that_of_the_tournament(holes: float) -> None:
    matrix = random_matrix(3, holes)
    matrix["copy"] = matrix["a"]
    affinity = taskonomy_affinity(matrix)
    values = {str(task): matrix[task].to_numpy() for task in matrix}
    for target in matrix:
        for source, expected in tournament(values, str(target)).items():
            assert affinity.loc[target, source] == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(affinity.sum(axis=1), 1)
    assert affinity.loc["a"].idxmax() == "copy"
    assert np.isnan(np.diag(affinity)).all()
    # Ranks only, and the order of the rows plays no part.
    pd.testing.assert_frame_equal(taskonomy_affinity(np.exp(matrix).sample(frac=1, random_state=0)), affinity)


def test_unknown_affinities_are_nan() -> None:
    matrix = random_matrix(1, 0.0)
    matrix["few"] = np.where(np.arange(30) < 7, matrix["a"], np.nan)
    affinity = taskonomy_affinity(matrix)
    assert affinity["few"].isna().all()
    assert affinity.loc["few"].isna().all()
    np.testing.assert_allclose(affinity.loc["a"].sum(), 1)
