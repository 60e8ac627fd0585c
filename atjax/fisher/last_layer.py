"""The fit of a model's last linear layer, all others frozen: a convex problem, solved to its optimum.

    minimise over W, b   mean_i -log p(y_i | h_i W + b) + ridge / 2 |W|^2

The ridge is the weight decay that training has too; without it separable classes would drive W to infinity.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import optax

from atjax.likelihood import negative_log_likelihood
from atjax.task import Loss

LastLayer = dict[str, jax.Array]
"""``kernel`` [H, C] and ``bias`` [C]."""


def objective(loss: Loss, layer: LastLayer, hidden: jax.Array, labels: jax.Array, ridge: float) -> jax.Array:
    """The function minimised, a scalar; ``hidden`` is [N, H], ``labels`` int [N] or float [N, C]."""
    outputs = hidden @ layer["kernel"] + layer["bias"]
    each = negative_log_likelihood(loss, outputs, labels)
    return jnp.mean(each) + 0.5 * ridge * jnp.sum(layer["kernel"] ** 2)


@functools.partial(jax.jit, static_argnames=("loss", "num_outputs", "max_steps"))
def fit_last_layer(
    loss: Loss,
    hidden: jax.Array,
    labels: jax.Array,
    *,
    num_outputs: int,
    ridge: float,
    tolerance: float = 1e-5,
    max_steps: int = 300,
) -> LastLayer:
    """Solve for the last layer of R models at once: ridge regression in closed form, or softmax by L-BFGS.

    Args:
        loss: ``cross_entropy`` or ``mse``.
        hidden: What the layer sees, [R, N, H].
        labels: int [N], or float [N, C].
        num_outputs: C.
        ridge: L2 penalty on the kernel; the bias is free.
        tolerance: L-BFGS stops where no entry of the gradient exceeds it.
        max_steps: Or after so many steps.

    Returns:
        ``kernel`` [R, H, C] and ``bias`` [R, C].
    """
    if loss == "mse":
        return jax.vmap(lambda h: _ridge_regression(h, labels, ridge))(hidden)
    return jax.vmap(lambda h: _softmax_regression(h, labels, num_outputs, ridge, tolerance, max_steps))(hidden)


def _ridge_regression(hidden: jax.Array, targets: jax.Array, ridge: float) -> LastLayer:
    # Centring takes the free bias out of the normal equations.
    mean_h, mean_y = hidden.mean(axis=0), targets.mean(axis=0)
    h, y = hidden - mean_h, targets - mean_y
    gram = h.T @ h / h.shape[0] + ridge * jnp.eye(h.shape[1], dtype=h.dtype)
    kernel = jax.scipy.linalg.solve(gram, h.T @ y / h.shape[0], assume_a="pos")
    return {"kernel": kernel, "bias": mean_y - mean_h @ kernel}


def _softmax_regression(
    hidden: jax.Array, labels: jax.Array, num_outputs: int, ridge: float, tolerance: float, max_steps: int
) -> LastLayer:
    # L-BFGS works on centred columns: the same problem, but the free bias is then nearly independent of the kernel.
    mean = hidden.mean(axis=0)
    start = {
        "kernel": jnp.zeros((hidden.shape[1], num_outputs), hidden.dtype),
        "bias": jnp.zeros(num_outputs, hidden.dtype),
    }
    value = functools.partial(objective, "cross_entropy", hidden=hidden - mean, labels=labels, ridge=ridge)
    optimizer = optax.lbfgs(memory_size=10)
    value_and_grad = optax.value_and_grad_from_state(value)

    def unfinished(carry: tuple[LastLayer, optax.OptState, jax.Array, jax.Array]) -> jax.Array:
        _, _, size, count = carry
        return (size > tolerance) & (count < max_steps)

    def step(
        carry: tuple[LastLayer, optax.OptState, jax.Array, jax.Array],
    ) -> tuple[LastLayer, optax.OptState, jax.Array, jax.Array]:
        layer, state, _, count = carry
        loss, gradient = value_and_grad(layer, state=state)
        updates, state = optimizer.update(gradient, state, layer, value=loss, grad=gradient, value_fn=value)
        return optax.apply_updates(layer, updates), state, optax.tree.norm(gradient, ord=jnp.inf), count + 1

    carry = (start, optimizer.init(start), jnp.asarray(jnp.inf, hidden.dtype), jnp.asarray(0))
    layer, *_ = jax.lax.while_loop(unfinished, step, carry)
    return {"kernel": layer["kernel"], "bias": layer["bias"] - mean @ layer["kernel"]}
