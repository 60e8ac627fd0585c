"""Performances of designs over splits: means by hand, and the additive model by a dense pseudoinverse."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atjax.bank import Bank, performance, performance_matrix
from atjax.bank.performance import design_performance, shrinkage
from atjax.errors import UserError


def bank(rows: list[tuple[str, str, int, float, str]], metric: str = "accuracy") -> Bank:
    """A bank of rows (content hash, design, seed, validation, state)."""
    records = pd.DataFrame(rows, columns=["content_hash", "design", "seed", "validation", "state"])
    records = records.assign(
        metric=metric, budget="quick", task=records["content_hash"], validation_loss=1.0, key=records["design"]
    )
    return Bank(records, pd.DataFrame(), Path())


def test_performance_is_the_mean_over_splits() -> None:
    """Split 1 is easier by 0.2, and the effects add up to 0; on the other task no two splits share a design."""
    rows = [("t", "a", 0, 0.5), ("t", "a", 1, 0.7), ("t", "b", 0, 0.4), ("u", "a", 0, 0.5), ("u", "b", 1, 0.7)]
    matrix = performance_matrix(bank([(*row, "complete") for row in rows]))
    np.testing.assert_allclose(matrix["t"], [0.6, 0.5])
    np.testing.assert_allclose(matrix["u"], [0.5, 0.7])
    assert list(matrix.index) == ["a", "b"]


def additive(rows: pd.DataFrame) -> np.ndarray:
    """m_d of y_ds = m_d + e_s with sum e_s = 0, by a dense matrix of both; splits must hang together."""
    designs, splits = (pd.get_dummies(rows[name], dtype=float).to_numpy() for name in ("design", "seed"))
    both = np.concatenate([designs, splits], axis=1)
    constraint = np.concatenate([np.zeros(designs.shape[1]), np.ones(splits.shape[1])])
    solution = np.linalg.pinv(np.vstack([both, constraint])) @ np.append(rows["validation"], 0)
    return solution[: designs.shape[1]]


@pytest.fixture
def unshrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain means, whatever the number of runs."""
    monkeypatch.setattr(performance, "shrinkage", lambda mean, runs, noise: 1.0)


@pytest.mark.usefixtures("unshrunk")
@pytest.mark.parametrize("seed", range(4))
def test_split_effects_are_those_of_the_additive_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        (task, f"d{design:02}", split, float(rng.random() + 0.5 * split), "complete")
        for task in "tu"
        for design in range(12)
        for split in range(4)
        if split == 0 or design == split or rng.random() < 0.5
    ]
    some = bank(rows)
    matrix = performance_matrix(some)
    for task in "tu":
        np.testing.assert_allclose(matrix[task], additive(some.records[some.records["content_hash"] == task]))
    shuffled = some.records.sample(frac=1, random_state=seed)
    shuffled.index = pd.Index([0] * len(rows))  # as frames that were put together may have it
    pd.testing.assert_frame_equal(design_performance(some.records), design_performance(shuffled))


@pytest.mark.parametrize("noise", [0.04, 0.5])
def test_shrinkage_is_that_of_the_best_linear_prediction(noise: float) -> None:
    """v Z' V^-1 (y - mean) of a random-effects model with the dense V, up to one factor for all designs."""
    rng = np.random.default_rng(0)
    runs = pd.Series([1, 3, 2, 1, 3])
    design = np.repeat(np.arange(5), runs)
    y = rng.normal(size=5)[design] + 0.2 * rng.normal(size=10)
    mean = pd.Series(y).groupby(design).mean()
    variance = max(0, mean.var() - noise * np.mean(1 / runs))
    z = np.eye(5)[design]
    v = variance * z @ z.T + noise * np.eye(10)
    centre = mean.mean()
    predicted = z.T @ np.linalg.solve(v, y - centre)  # times v, which may be 0
    got = shrinkage(mean, runs, noise) * (mean - centre)
    np.testing.assert_allclose(got / got[1], predicted / predicted[1])


def test_shrunk_means_pick_better_designs() -> None:
    """Of 100 designs half have one noisy run and half three; the first 3 by the prediction are truly better."""
    rng = np.random.default_rng(1)
    gains = []
    for _ in range(200):
        truth = rng.normal(size=100)
        rows = [
            ("t", f"d{d:02}", s, float(truth[d] + 3**0.5 * rng.normal() + s), "complete")
            for d in range(100)
            for s in range(3 if d % 2 else 1)
        ]
        predicted = performance_matrix(bank(rows))["t"].to_numpy()
        plain = np.array([np.mean([row[3] - row[2] for row in rows if row[1] == f"d{d:02}"]) for d in range(100)])
        best, other = (truth[np.argsort(-score)[:3]].mean() for score in (predicted, plain))
        gains.append(best - other)
    error = np.std(gains, ddof=1) / len(gains) ** 0.5
    assert np.mean(gains) > 4 * error


def test_the_noise_is_that_of_single_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of y = m_d + e_s + noise with variance 0.25: what is left after the fit, over the degrees of freedom."""
    rng, found = np.random.default_rng(2), []
    monkeypatch.setattr(performance, "shrinkage", lambda mean, runs, noise: found.append(noise) or 1.0)
    for _ in range(100):
        truth = rng.normal(size=10)
        cells = [(d, s) for d in range(10) for s in range(3) if s == 0 or rng.random() < 0.6]
        performance_matrix(
            bank([("t", f"d{d}", s, float(truth[d] + s + 0.5 * rng.normal()), "complete") for d, s in cells])
        )
    assert abs(np.mean(found) - 0.25) < 4 * np.std(found, ddof=1) / 10


def test_designs_that_tie_on_all_splits_tie() -> None:
    """The sums of three accuracies differ by their order; rank correlations would take that for an order of designs."""
    scores = np.array([0.1, 0.2, 0.3])
    rows = [("t", "abc"[d], s, float(scores[(s + d) % 3]), "complete") for d in range(3) for s in range(3)]
    assert performance_matrix(bank(rows))["t"].nunique() == 1


def test_failed_runs_rank_last() -> None:
    nan = math.nan
    rows = [
        ("t", "a", 0, 0.9, "complete"),
        ("t", "a", 1, nan, "diverged"),  # counts as 0.2, the worst of the task
        ("t", "b", 0, 0.2, "complete"),
        ("t", "c", 0, nan, "failed"),
        ("t", "c", 1, nan, "diverged"),
        ("u", "a", 0, 0.1, "complete"),
        ("u", "c", 0, nan, "complete"),  # a metric that is not defined
        ("v", "c", 0, nan, "failed"),
    ]
    matrix = performance_matrix(bank(rows))
    np.testing.assert_allclose(matrix["t"], [0.55, 0.2, -np.inf])
    np.testing.assert_allclose(matrix["u"], [0.1, nan, -np.inf])
    np.testing.assert_allclose(matrix["v"], [nan, nan, -np.inf])


def test_failed_runs_say_nothing_of_their_split() -> None:
    """By b split 1 is easier by 0.2; a's failed run there counts as the worst, 0.5 without effects, and is no noise."""
    rows = [
        ("t", "a", 0, 0.5, "complete"),
        ("t", "a", 1, math.nan, "diverged"),
        ("t", "b", 0, 0.4, "complete"),
        ("t", "b", 1, 0.6, "complete"),
        ("t", "c", 0, 0.45, "complete"),
    ]
    np.testing.assert_allclose(performance_matrix(bank(rows))["t"], [0.55, 0.5, 0.55])


def test_errors_rank_the_other_way() -> None:
    nan = math.nan
    rows = [
        ("t", "a", 0, 0.9, "complete"),
        ("t", "a", 1, nan, "failed"),
        ("t", "b", 0, 2.0, "complete"),
        ("t", "c", 0, nan, "failed"),
    ]
    matrix = performance_matrix(bank(rows, metric="mae"))
    np.testing.assert_allclose(matrix["t"], [-1.45, -2.0, -np.inf])


def test_several_budgets_do_not_mix() -> None:
    mixed = bank([("t", "a", 0, 0.5, "complete"), ("t", "b", 0, 0.7, "complete")])
    mixed.records["budget"] = ["quick", "paper"]
    with pytest.raises(UserError, match=r"budgets paper, quick; pick one with where\(budget=...\)"):
        performance_matrix(mixed)
    assert list(performance_matrix(mixed.where(budget="paper")).index) == ["b"]


def test_an_empty_bank_has_no_performances() -> None:
    assert performance_matrix(bank([])).shape == (0, 0)
