"""Metrics and losses against scikit-learn and loops, and the order that picks the best epoch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    roc_auc_score,
    root_mean_squared_error,
)

from atjax.likelihood import negative_log_likelihood
from atjax.metrics import larger_is_better, mean_loss, rank_key, score
from atjax.task import METRICS, Loss, Metric

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
    of_classes = np.eye(classes)[labels] if classes > 2 else labels
    expected = average_precision_score(of_classes, probabilities if classes > 2 else probabilities[:, 1])
    np.testing.assert_allclose(score("average_precision", labels, outputs), expected)


@given(SEEDS)
def test_roc_auc_is_the_share_of_ordered_pairs(seed: int) -> None:
    labels, outputs = draw(seed, 2)
    margin = np.round(outputs[:, 1] - outputs[:, 0])  # rounded, so that ties occur
    outputs = np.stack([np.zeros_like(margin), margin], axis=1)
    pairs = [np.sign(a - b) / 2 + 0.5 for a in margin[labels == 1] for b in margin[labels == 0]]
    np.testing.assert_allclose(score("roc_auc", labels, outputs), np.mean(pairs))
    expected = average_precision_score(labels, margin)
    np.testing.assert_allclose(score("average_precision", labels, outputs), expected)


@pytest.mark.parametrize("others", [1, 2])
def test_confident_predictions_keep_their_order(others: int) -> None:
    """Their probabilities are all 1 in single precision."""
    margin = np.array([20, 25, 30, 40, -3], np.float32)
    labels = np.array([0, 1, 0, 1, 0])
    outputs = np.zeros((5, 1 + others), np.float32)
    outputs[:, 1] = margin
    for metric, expected in (("roc_auc", roc_auc_score), ("average_precision", average_precision_score)):
        if others == 1:
            assert score(metric, labels, outputs) == pytest.approx(expected(labels, margin))  # type: ignore[arg-type]
        else:
            assert score(metric, labels, outputs) == pytest.approx(  # type: ignore[arg-type]
                (expected(labels == 0, -margin) + expected(labels == 1, margin)) / 2
            )


def test_roc_auc_over_the_classes_that_occur() -> None:
    labels, outputs = draw(0, 3)
    outputs = np.insert(outputs, 1, 0.3, axis=1)  # a class of the task that is absent here
    labels = np.array([0, 2, 3])[labels]
    probabilities = softmax(outputs)
    expected = np.mean([roc_auc_score(labels == label, probabilities[:, label]) for label in (0, 2, 3)])
    np.testing.assert_allclose(score("roc_auc", labels, outputs), expected)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_ranking_one_class_is_undefined(metric: Metric) -> None:
    assert np.isnan(score(metric, np.array([1, 1]), np.zeros((2, 3))))
    assert np.isnan(score(metric, np.array([[1, np.nan], [1, 0]]), np.zeros((2, 2))))


# Outputs each by itself


def draw_outputs(seed: int, loss: Loss) -> tuple[np.ndarray, np.ndarray]:
    """Labels [N, 5] of which many are missing, of the fourth all, and of the fifth all are 0; outputs with ties."""
    rng = np.random.default_rng(seed)
    labels = rng.normal(size=(30, 5)) if loss == "mse" else rng.integers(0, 2, (30, 5)).astype(float)
    labels[rng.random(labels.shape) < 0.3] = np.nan
    labels[:, 3] = np.nan
    labels[:, 4] *= 0
    labels[:2, :3] = [[0, 1, 0], [1, 0, 1]]
    return labels, np.round(2 * rng.normal(size=labels.shape)) + 0.5


BY_OUTPUT = {
    "accuracy": lambda y, z: accuracy_score(y, z > 0),
    "roc_auc": lambda y, z: roc_auc_score(y, 1 / (1 + np.exp(-z))),
    "average_precision": lambda y, z: average_precision_score(y, 1 / (1 + np.exp(-z))),
    "mae": mean_absolute_error,
    "rmse": root_mean_squared_error,
}


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([(loss, metric) for loss in ("binary_cross_entropy", "mse") for metric in METRICS[loss]]))
def test_outputs_are_scored_each_by_itself(seed: int, which: tuple[Loss, Metric]) -> None:
    loss, metric = which
    labels, outputs = draw_outputs(seed, loss)
    counted = range(3) if metric in ("roc_auc", "average_precision") else (0, 1, 2, 4)
    expected = []
    for c in counted:
        known = ~np.isnan(labels[:, c])
        expected.append(BY_OUTPUT[metric](labels[known, c], outputs[known, c]))
    np.testing.assert_allclose(score(metric, labels, outputs), np.mean(expected))


@settings(max_examples=10)
@given(SEEDS, st.sampled_from(["binary_cross_entropy", "mse"]))
def test_losses_are_sums_over_the_labels_that_are_there(seed: int, loss: Loss) -> None:
    labels, outputs = draw_outputs(seed, loss)
    total = 0.0
    for c in (0, 1, 2, 4):
        known = ~np.isnan(labels[:, c])
        y, z = labels[known, c], outputs[known, c]
        if loss == "mse":
            total += 0.5 * mean_squared_error(y, z) * known.sum()
        else:
            total += log_loss(y, 1 / (1 + np.exp(-z)), labels=[0, 1]) * known.sum()
    np.testing.assert_allclose(mean_loss(loss, labels, outputs), total / len(labels))
    each = negative_log_likelihood(loss, jnp.asarray(outputs), jnp.asarray(labels))
    assert each.shape == (len(labels),)
    np.testing.assert_allclose(np.mean(each), total / len(labels), rtol=1e-5)
    slopes = jax.grad(lambda z: negative_log_likelihood(loss, z, jnp.asarray(labels)).sum())(jnp.asarray(outputs))
    expected = outputs - labels if loss == "mse" else 1 / (1 + np.exp(-outputs)) - labels
    np.testing.assert_allclose(slopes, np.nan_to_num(expected), atol=1e-5)


@given(SEEDS, st.integers(1, 3))
def test_regression_agrees_with_scikit_learn(seed: int, targets: int) -> None:
    rng = np.random.default_rng(seed)
    labels, outputs = rng.normal(size=(2, 7, targets))
    np.testing.assert_allclose(score("mae", labels, outputs), mean_absolute_error(labels, outputs))
    np.testing.assert_allclose(score("rmse", labels, outputs), root_mean_squared_error(labels, outputs))
    expected = 0.5 * targets * mean_squared_error(labels, outputs)
    np.testing.assert_allclose(mean_loss("mse", labels, outputs), expected)


@pytest.mark.parametrize("unit", [1e-25, 1e25])
def test_errors_in_the_units_of_physics(unit: float) -> None:
    """Their squares are beyond single precision."""
    labels, outputs = np.float32(unit) * np.array([[1, 2, 3], [2, 2, 5]], np.float32)[:, :, None]
    assert score("rmse", labels, outputs) / unit == pytest.approx(np.sqrt(5 / 3))
    assert score("mae", labels, outputs) / unit == pytest.approx(1)
    assert mean_loss("mse", labels, outputs) / unit**2 == pytest.approx(5 / 6)


def test_large_logits_give_a_finite_loss() -> None:
    assert mean_loss("cross_entropy", np.array([0, 1]), np.array([[1e4, 0.0], [1e4, 0.0]])) == 5e3
    assert mean_loss("binary_cross_entropy", np.array([[0.0], [1.0]]), np.array([[1e4], [1e4]])) == 5e3


@pytest.mark.parametrize(
    ("metric", "better", "worse"),
    [("accuracy", 0.9, 0.8), ("roc_auc", 1, 0), ("average_precision", 1, 0), ("mae", 0.1, 0.2), ("rmse", 1, 2)],
)
def test_rank_key_orders_by_metric_then_loss_and_undefined_last(metric: str, better: float, worse: float) -> None:
    nan = float("nan")
    best_first = [(better, 0.5), (better, 0.7), (worse, 0.1), (worse, 9.0), (nan, 0.0), (nan, 0.5)]
    shuffled = [best_first[i] for i in (5, 2, 0, 3, 4, 1)]
    assert sorted(shuffled, key=lambda pair: rank_key(metric, *pair)) == best_first
    assert larger_is_better(metric) == (better > worse)
