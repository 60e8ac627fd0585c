"""Intervals of scores against scipy, against their definition, and against draws of which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from atjax.metrics import roc_auc
from atjax.report.intervals import Z, of_accuracy, of_roc_auc


@pytest.mark.parametrize(("right", "count"), [(46, 50), (50, 50), (0, 7), (1, 1), (300, 1000)])
def test_that_of_an_accuracy_is_wilsons(right: int, count: int) -> None:
    reference = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert of_accuracy(right / count, count) == pytest.approx((reference.low, reference.high), abs=1e-6)


@pytest.mark.parametrize("area", [0.0, 1e-12, 0.03, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("negatives", "positives"), [(1, 1), (30, 8), (500, 500)])
def test_ends_lie_as_many_standard_errors_away(area: float, negatives: int, positives: int) -> None:
    """By the variance of Hanley and McNeil with both counts their mean, as Newcombe has it."""
    low, high = of_roc_auc(area, negatives, positives)
    assert 0 <= low <= area <= high <= 1
    assert high - low > 0.003
    many = (negatives + positives) / 2 - 1
    for end in {low, high} - {0.0, 1.0}:
        first, second = end / (2 - end), 2 * end**2 / (1 + end)
        spread = end * (1 - end) + many * (first - end**2) + many * (second - end**2)
        assert abs(area - end) == pytest.approx(Z * np.sqrt(spread / (negatives * positives)), rel=1e-6)
    other = of_roc_auc(1 - area, positives, negatives)
    assert (1 - other[1], 1 - other[0]) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize(("area", "negatives", "positives"), [(0.6, 20, 20), (0.8, 60, 15), (0.95, 20, 20)])
def test_the_area_of_two_normals_is_covered(area: float, negatives: int, positives: int) -> None:
    rng, apart, draws = np.random.default_rng(0), norm.ppf(area) * 2**0.5, 600
    labels, covered = np.repeat([False, True], [negatives, positives]), 0
    for _ in range(draws):
        found = roc_auc(labels, rng.normal(size=len(labels)) + apart * labels)
        low, high = of_roc_auc(found, negatives, positives)
        covered += low <= area <= high
    assert 0.92 <= covered / draws <= 0.98
