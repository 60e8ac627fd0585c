"""The likelihoods that losses stand for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from atjax.task import Loss


def negative_log_likelihood(loss: Loss, outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Per example, [N]: cross-entropy in nats, or half the squared error (Gaussian of variance 1, less a constant).

    Args:
        loss: ``cross_entropy`` or ``mse``.
        outputs: Logits or regression outputs, [N, C].
        labels: int [N], or float [N, C] for ``mse``.
    """
    if loss == "mse":
        return 0.5 * jnp.sum((outputs - labels) ** 2, axis=-1)
    return optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
