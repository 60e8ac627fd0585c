"""Scores and losses of predictions, on the host in numpy: what validation picks by and test reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy.special import log_softmax

from atjax.task import Loss, Metric


def score(metric: Metric, labels: np.ndarray, outputs: np.ndarray) -> float:
    """The metric of N predictions.

    ``roc_auc`` and ``average_precision`` of more than two classes are one-vs-rest means over the classes that occur. Of
    outputs that are each by themselves (binary labels, regression targets) every metric is the mean over the outputs
    where it is defined, each over the examples whose label is there.

    Args:
        metric: ``accuracy``, ``roc_auc``, ``average_precision``, ``mae`` or ``rmse``.
        labels: int [N] for classes; float [N, C], NaN where one is missing, for outputs each by itself.
        outputs: Logits or regression outputs, [N, C].

    Returns:
        A fraction, or an error in the target's unit; NaN where the metric is undefined (ROC-AUC and average precision
        of one class only).
    """
    if labels.ndim == 2:
        of_output = _OF_OUTPUT[metric]
        columns = ((~np.isnan(y), y, z) for y, z in zip(labels.T, outputs.T))
        return _mean(of_output(y[known], z[known]) for known, y, z in columns if known.any())
    if metric == "accuracy":
        return float(np.mean(outputs.argmax(axis=1) == labels))
    ranked = {"roc_auc": roc_auc, "average_precision": average_precision}[metric]
    odds = _log_odds(outputs)
    if outputs.shape[1] == 2:
        return ranked(labels == 1, odds[:, 1])
    return _mean(ranked(labels == label, odds[:, label]) for label in np.unique(labels))


def _log_odds(outputs: np.ndarray) -> np.ndarray:
    """log p / (1 - p) of every class, float64 [N, C], from logits.

    They rank as the probabilities do; but those of confident predictions are all rounded to 1, and would tie.
    """
    z = np.asarray(outputs, np.float64)
    nothing = np.full((len(z), 1), -np.inf)
    before, after = (np.logaddexp.accumulate(each, axis=1)[:, :-1] for each in (z, z[:, ::-1]))
    return z - np.logaddexp(np.hstack([nothing, before]), np.hstack([after[:, ::-1], nothing]))


def _mean(values: Iterable[float]) -> float:
    """The mean of the values that are defined, NaN of none."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _by_score(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives and examples at each distinct score, the highest first, float64: ties stay together."""
    _, place, total = np.unique(-scores, return_inverse=True, return_counts=True)
    return np.bincount(place, weights=positive, minlength=len(total)), total.astype(float)


def roc_auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Share of pairs of a positive and another example in which the positive has the higher score; a tie counts half.

    Args:
        positive: Which examples are positive, bool [N].
        scores: Higher for what is more likely positive, [N].

    Returns:
        The share; NaN if all examples are positive, or none.
    """
    hits, total = _by_score(positive, scores)
    misses = total - hits
    if not hits.sum() or not misses.sum():
        return float("nan")
    below = misses.sum() - np.cumsum(misses) + misses / 2
    return float(np.sum(hits * below) / (hits.sum() * misses.sum()))


def average_precision(positive: np.ndarray, scores: np.ndarray) -> float:
    """Precision at each distinct score as a threshold, weighted by the recall gained there; arguments as `roc_auc`.

    Returns:
        The average; NaN if all examples are positive, or none.
    """
    hits, total = _by_score(positive, scores)
    if not hits.sum() or hits.sum() == total.sum():
        return float("nan")
    return float(np.sum(hits * np.cumsum(hits) / np.cumsum(total)) / hits.sum())


def _errors(labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Of predicted numbers, in double precision: in single, squares of what is below 1e-23 are 0, above 1e19 infinite.

    The units of physics reach both.
    """
    return np.subtract(outputs, labels, dtype=np.float64)


_OF_OUTPUT: dict[Metric, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": lambda labels, outputs: float(np.mean((outputs > 0) == (labels == 1))),
    "roc_auc": lambda labels, outputs: roc_auc(labels == 1, outputs),
    "average_precision": lambda labels, outputs: average_precision(labels == 1, outputs),
    "mae": lambda labels, outputs: float(np.mean(np.abs(_errors(labels, outputs)))),
    "rmse": lambda labels, outputs: float(np.sqrt(np.mean(_errors(labels, outputs) ** 2))),
}
"""Metrics of one output: labels [N], all of them there, and outputs [N] to a number."""


def mean_loss(loss: Loss, labels: np.ndarray, outputs: np.ndarray) -> float:
    """Mean over examples of `atjax.likelihood.negative_log_likelihood`; arguments as those of `score`."""
    if loss == "cross_entropy":
        return float(-np.mean(log_softmax(outputs, axis=1)[np.arange(len(labels)), labels]))
    # log(1 + exp(z)) - y z is - log p(y) at the logit z.
    each = 0.5 * _errors(labels, outputs) ** 2 if loss == "mse" else np.logaddexp(0, outputs) - labels * outputs
    return float(np.mean(np.nansum(each, axis=1)))


def larger_is_better(metric: Metric) -> bool:
    """Whether a larger value of the metric is the better one."""
    return metric not in ("mae", "rmse")


def rank_key(metric: Metric, validation: float, validation_loss: float) -> tuple[float, float]:
    """Sort key under which the best comes first: by validation metric, ties by lower validation loss.

    Small validation sets tie often; the loss tells their members apart without a look at the test set. So it does where
    the metric is undefined, which comes last.
    """
    if np.isnan(validation):
        return (float("inf"), validation_loss)
    return (-validation if larger_is_better(metric) else validation, validation_loss)
