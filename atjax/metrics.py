"""Scores and losses of predictions, on the host in numpy: what validation picks by and test reports."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score

from atjax.task import Loss, Metric


def score(metric: Metric, labels: np.ndarray, outputs: np.ndarray) -> float:
    """The metric of N predictions.

    Args:
        metric: ``accuracy``, ``roc_auc`` (one-vs-rest macro mean over the classes that occur) or ``mae``.
        labels: int [N], or float [N, C] for ``mae``.
        outputs: Logits or regression outputs, [N, C].

    Returns:
        A fraction, or the mean absolute error in the target's unit; NaN where the metric is undefined (ROC-AUC with
        one class only).
    """
    if metric == "accuracy":
        return float(np.mean(outputs.argmax(axis=1) == labels))
    if metric == "mae":
        return float(np.mean(np.abs(outputs - labels)))
    present = np.unique(labels)
    if len(present) < 2:
        return float("nan")
    probabilities = np.exp(log_softmax(outputs, axis=1))
    if outputs.shape[1] == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    return float(np.mean([roc_auc_score(labels == label, probabilities[:, label]) for label in present]))


def mean_loss(loss: Loss, labels: np.ndarray, outputs: np.ndarray) -> float:
    """Mean negative log-likelihood: cross-entropy in nats, or half the squared error summed over outputs."""
    if loss == "mse":
        return float(np.mean(0.5 * np.sum((outputs - labels) ** 2, axis=1)))
    return float(-np.mean(log_softmax(outputs, axis=1)[np.arange(len(labels)), labels]))


def larger_is_better(metric: Metric) -> bool:
    """Whether a larger value of the metric is the better one."""
    return metric != "mae"


def rank_key(metric: Metric, validation: float, validation_loss: float) -> tuple[float, float]:
    """Sort key under which the best comes first: by validation metric, ties by lower validation loss.

    Small validation sets tie often; the loss tells their members apart without a look at the test set.
    """
    if np.isnan(validation):
        return (float("inf"), float("inf"))
    return (-validation if larger_is_better(metric) else validation, validation_loss)
