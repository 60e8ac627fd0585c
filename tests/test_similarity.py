"""Distances between tasks against Kendall's tau-b by brute force, and by SciPy."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from atjax.bank import Bank, kendall_distance, performance_matrix
from atjax.errors import UserError


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


def bank(rows: list[tuple[str, str, float, str]], metric: str = "accuracy") -> Bank:
    """A bank of rows (content hash, design, validation, state)."""
    records = pd.DataFrame(rows, columns=["content_hash", "design", "validation", "state"])
    return Bank(records.assign(metric=metric, budget="quick", task=records["content_hash"]), pd.DataFrame(), Path())


def test_performance_is_the_mean_over_seeds() -> None:
    matrix = performance_matrix(
        bank([("t", "a", 0.5, "complete"), ("t", "a", 0.7, "complete"), ("t", "b", 0.4, "complete")])
    )
    np.testing.assert_allclose(matrix["t"], [0.6, 0.4])
    assert list(matrix.index) == ["a", "b"]


def test_failed_runs_rank_last() -> None:
    nan = math.nan
    rows = [
        ("t", "a", 0.9, "complete"),
        ("t", "a", nan, "diverged"),  # counts as 0.2, the worst of the task
        ("t", "b", 0.2, "complete"),
        ("t", "c", nan, "failed"),
        ("t", "c", nan, "diverged"),
        ("u", "a", 0.1, "complete"),
        ("u", "c", nan, "complete"),  # a metric that is not defined
    ]
    matrix = performance_matrix(bank(rows))
    np.testing.assert_allclose(matrix["t"], [0.55, 0.2, -np.inf])
    np.testing.assert_allclose(matrix["u"], [0.1, nan, -np.inf])


def test_errors_rank_the_other_way() -> None:
    nan = math.nan
    rows = [
        ("t", "a", 0.9, "complete"),
        ("t", "a", nan, "failed"),
        ("t", "b", 2.0, "complete"),
        ("t", "c", nan, "failed"),
    ]
    matrix = performance_matrix(bank(rows, metric="mae"))
    np.testing.assert_allclose(matrix["t"], [-1.45, -2.0, -np.inf])


def test_several_budgets_do_not_mix() -> None:
    mixed = bank([("t", "a", 0.5, "complete"), ("t", "b", 0.7, "complete")])
    mixed.records["budget"] = ["quick", "paper"]
    with pytest.raises(UserError, match=r"budgets paper, quick; pick one with where\(budget=...\)"):
        performance_matrix(mixed)
    assert list(performance_matrix(mixed.where(budget="paper")).index) == ["b"]
