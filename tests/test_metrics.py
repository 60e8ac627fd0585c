"""Metrics and losses against scikit-learn and loops, and the order that picks the best epoch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error, roc_auc_score

from atjax.metrics import larger_is_better, mean_loss, rank_key, score

SEEDS = st.integers(0, 10_000)


def softmax(outputs: np.ndarray) -> np.ndarray:
    return np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)


def draw(seed: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels in which every class occurs, and logits."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2 * classes, 40))
    labels = rng.permutation(np.resize(np.arange(classes), size)).astype(np.int32)
    return labels, 3 * rng.normal(size=(size, classes))


@given(SEEDS, st.integers(2, 5))
def test_classification_agrees_with_scikit_learn(seed: int, classes: int) -> None:
    labels, outputs = draw(seed, classes)
    probabilities = softmax(outputs)
    assert score("accuracy", labels, outputs) == accuracy_score(labels, outputs.argmax(axis=1))
    np.testing.assert_allclose(mean_loss("cross_entropy", labels, outputs), log_loss(labels, probabilities))
    if classes == 2:
        expected = roc_auc_score(labels, probabilities[:, 1])
    else:
        expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    np.testing.assert_allclose(score("roc_auc", labels, outputs), expected)


@given(SEEDS)
def test_roc_auc_is_the_share_of_ordered_pairs(seed: int) -> None:
    labels, outputs = draw(seed, 2)
    margin = np.round(outputs[:, 1] - outputs[:, 0])  # rounded, so that ties occur
    outputs = np.stack([np.zeros_like(margin), margin], axis=1)
    pairs = [np.sign(a - b) / 2 + 0.5 for a in margin[labels == 1] for b in margin[labels == 0]]
    np.testing.assert_allclose(score("roc_auc", labels, outputs), np.mean(pairs))


def test_roc_auc_over_the_classes_that_occur() -> None:
    labels, outputs = draw(0, 3)
    outputs = np.insert(outputs, 1, 0.3, axis=1)  # a class of the task that is absent here
    labels = np.array([0, 2, 3])[labels]
    probabilities = softmax(outputs)
    expected = np.mean([roc_auc_score(labels == label, probabilities[:, label]) for label in (0, 2, 3)])
    np.testing.assert_allclose(score("roc_auc", labels, outputs), expected)


def test_roc_auc_of_one_class_is_undefined() -> None:
    assert np.isnan(score("roc_auc", np.array([1, 1]), np.zeros((2, 3))))


@given(SEEDS, st.integers(1, 3))
def test_regression_agrees_with_scikit_learn(seed: int, targets: int) -> None:
    rng = np.random.default_rng(seed)
    labels, outputs = rng.normal(size=(2, 7, targets))
    np.testing.assert_allclose(score("mae", labels, outputs), mean_absolute_error(labels, outputs))
    expected = 0.5 * targets * mean_squared_error(labels, outputs)
    np.testing.assert_allclose(mean_loss("mse", labels, outputs), expected)


def test_large_logits_give_a_finite_loss() -> None:
    assert mean_loss("cross_entropy", np.array([0, 1]), np.array([[1e4, 0.0], [1e4, 0.0]])) == 5e3


@pytest.mark.parametrize(("metric", "better", "worse"), [("accuracy", 0.9, 0.8), ("roc_auc", 1, 0), ("mae", 0.1, 0.2)])
def test_rank_key_orders_by_metric_then_loss_and_undefined_last(metric: str, better: float, worse: float) -> None:
    nan = float("nan")
    best_first = [(better, 0.5), (better, 0.7), (worse, 0.1), (worse, 9.0), (nan, 0.0)]
    shuffled = [best_first[i] for i in (4, 2, 0, 3, 1)]
    assert sorted(shuffled, key=lambda pair: rank_key(metric, *pair)) == best_first
    assert larger_is_better(metric) == (better > worse)
