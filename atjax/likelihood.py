"""The likelihoods that losses stand for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from atjax.task import Loss


def negative_log_likelihood(loss: Loss, outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Per example, [N]: cross-entropy in nats, or half the squared error (Gaussian of variance 1, less a constant).

    Of outputs that are each by themselves the sum is taken, over those whose label is there.

    Args:
        loss: ``cross_entropy``, ``binary_cross_entropy`` or ``mse``.
        outputs: Logits or regression outputs, [N, C].
        labels: int [N] for ``cross_entropy``, else float [N, C], NaN where one is missing.
    """
    if loss == "cross_entropy":
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
    known = ~jnp.isnan(labels)
    y = jnp.where(known, labels, 0)  # a NaN would reach the gradient even where it is masked afterwards
    each = optax.sigmoid_binary_cross_entropy(outputs, y) if loss != "mse" else 0.5 * (outputs - y) ** 2
    return jnp.sum(jnp.where(known, each, 0), axis=-1)
