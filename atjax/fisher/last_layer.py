"""The fit of a model's last linear layer, all others frozen: a convex problem, solved to its optimum.

    minimise over W, b   mean_i -log p(y_i | h_i W + b) + ridge / 2 |W|^2

The ridge is the weight decay that training has too; without it separable classes would drive W to infinity. Outputs
that are each by themselves (binary labels, regression targets) are as many problems of one output. Of a missing label
(NaN) there is no term, and of a row of weight 0 none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from atjax.fisher.programs import over_models, program
from atjax.likelihood import negative_log_likelihood
from atjax.products import einsum, matmul
from atjax.task import Loss

NEWTON_SIZE = 514
"""Parameters up to which Newton's method is taken, those of two classes at the paper's width; its work grows with their
square, and their cube."""
HALVINGS = 12
"""Step sizes to choose from, 1 down to 2^-11."""

LastLayer = dict[str, jax.Array]
"""``kernel`` [H, C] and ``bias`` [C]."""


def objective(
    loss: Loss,
    layer: LastLayer,
    hidden: jax.Array,
    labels: jax.Array,
    ridge: float,
    weights: jax.Array | None = None,
) -> jax.Array:
    """The function minimised, a scalar; ``hidden`` is [N, H], ``labels`` and ``weights`` as in `fit_last_layer`."""
    outputs = matmul(hidden, layer["kernel"]) + layer["bias"]
    each = negative_log_likelihood(loss, outputs, labels)
    return jnp.average(each, weights=weights) + 0.5 * ridge * jnp.sum(layer["kernel"] ** 2)


@program(static_argnames=("loss", "num_outputs", "max_steps"))
def fit_last_layer(
    loss: Loss,
    hidden: jax.Array,
    labels: jax.Array,
    weights: jax.Array | None = None,
    *,
    num_outputs: int,
    ridge: float,
    tolerance: float = 1e-5,
    max_steps: int = 300,
) -> LastLayer:
    """Solve for the last layer of R models at once: softmax or logistic regression, or ridge regression in closed form.

    Args:
        loss: ``cross_entropy``, ``binary_cross_entropy`` or ``mse``.
        hidden: What the layer sees, [R, N, H].
        labels: int [N] for ``cross_entropy``, else float [N, C], NaN where one is missing.
        weights: 1, or 0 for a row that only fills up, float [N]; None if there is no such row.
        num_outputs: C.
        ridge: L2 penalty on the kernel; the bias is free.
        tolerance: Stop where no entry of the gradient exceeds it.
        max_steps: Or after so many steps.

    Returns:
        ``kernel`` [R, H, C] and ``bias`` [R, C].
    """
    weights = jnp.ones(hidden.shape[1], hidden.dtype) if weights is None else jnp.asarray(weights, hidden.dtype)

    def one(hidden: jax.Array) -> LastLayer:
        if loss == "cross_entropy":
            return _regression(loss, hidden, labels, weights, num_outputs, ridge, tolerance, max_steps)

        def of_output(column: jax.Array) -> LastLayer:
            if loss == "mse":
                return _ridge_regression(hidden, column, weights, ridge)
            return _regression(loss, hidden, column[:, None], weights, 1, ridge, tolerance, max_steps)

        # One after the other: each has a matrix over H of its own.
        layers = jax.lax.map(of_output, labels.T)
        return {"kernel": layers["kernel"][:, :, 0].T, "bias": layers["bias"][:, 0]}

    return over_models(one, hidden)


def _ridge_regression(hidden: jax.Array, targets: jax.Array, weights: jax.Array, ridge: float) -> LastLayer:
    """Of one output, [N] to a kernel [H, 1] and a bias [1]."""
    known = ~jnp.isnan(targets) & (weights > 0)
    count, total = jnp.maximum(jnp.sum(known), 1), jnp.sum(weights)
    y = jnp.where(known, targets, 0)
    # Centring takes the free bias out of the normal equations.
    mean_h, mean_y = jnp.sum(hidden, axis=0, where=known[:, None]) / count, jnp.sum(y) / count
    h = jnp.where(known[:, None], hidden - mean_h, 0)
    gram = matmul(h.T, h) / total + ridge * jnp.eye(h.shape[1], dtype=h.dtype)
    kernel = jax.scipy.linalg.solve(gram, matmul(h.T, y - mean_y)[:, None] / total, assume_a="pos")
    return {"kernel": kernel, "bias": mean_y - matmul(mean_h, kernel)}


def _regression(
    loss: Loss,
    hidden: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    num_outputs: int,
    ridge: float,
    tolerance: float,
    max_steps: int,
) -> LastLayer:
    """Softmax regression over classes, or logistic regression of one binary label."""
    # On centred columns: the same problem, but the free bias is then nearly independent of the kernel.
    share = weights / jnp.sum(weights)
    mean = jnp.sum(share[:, None] * hidden, axis=0)
    centred = hidden - mean
    value = functools.partial(objective, loss, hidden=centred, labels=labels, ridge=ridge, weights=weights)
    start = {
        "kernel": jnp.zeros((hidden.shape[1], num_outputs), hidden.dtype),
        "bias": jnp.zeros(num_outputs, hidden.dtype),
    }
    if (hidden.shape[1] + 1) * num_outputs <= NEWTON_SIZE:

        def curvature(outputs: jax.Array) -> jax.Array:
            """Of the sum that is minimised, by example."""
            return share[:, None, None] * _curvature(loss, labels, outputs)

        layer = _newton(value, curvature, start, centred, ridge, tolerance, max_steps)
    else:
        layer = _lbfgs(value, start, tolerance, max_steps)
    return {"kernel": layer["kernel"], "bias": layer["bias"] - matmul(mean, layer["kernel"])}


def _curvature(loss: Loss, labels: jax.Array, outputs: jax.Array) -> jax.Array:
    """Second derivatives of - log p(y) with respect to the outputs [N, C] of each example, [N, C, C]."""
    if loss == "binary_cross_entropy":
        p = jax.nn.sigmoid(outputs)
        return jnp.where(jnp.isnan(labels), 0, p * (1 - p))[:, :, None]
    p = jax.nn.softmax(outputs)
    return p[:, :, None] * (jnp.eye(p.shape[1], dtype=p.dtype) - p[:, None, :])


def _newton(
    value: Callable[[LastLayer], jax.Array],
    curvature: Callable[[jax.Array], jax.Array],
    start: LastLayer,
    hidden: jax.Array,
    ridge: float,
    tolerance: float,
    max_steps: int,
) -> LastLayer:
    """Newton's method with step halving: few steps of dense algebra, whatever the conditioning (Boyd, 2004, 9.5)."""
    flat, unravel = ravel_pytree(start)
    # The bias comes first, as `ravel_pytree` puts it.
    rows = jnp.append(jnp.ones((len(hidden), 1), hidden.dtype), hidden, axis=1)
    classes = start["bias"].shape[0]
    penalty = jnp.diag(jnp.where(jnp.arange(len(flat)) < classes, 0, ridge).astype(flat.dtype))
    if classes > 1:
        # A constant added to all biases changes nothing, and the gradient has no part along it: any curvature will do.
        penalty = penalty.at[:classes, :classes].add(1 / classes)
    value_and_grad = jax.value_and_grad(lambda flat: value(unravel(flat)))

    def hessian(flat: jax.Array) -> jax.Array:
        layer = unravel(flat)
        weights = curvature(matmul(hidden, layer["kernel"]) + layer["bias"])
        # One class after the other: all pairs at once would need N C^2 H numbers.
        blocks = jax.lax.map(lambda w: einsum("nd,ni,nj->ijd", w, rows, rows), jnp.moveaxis(weights, 1, 0))
        return jnp.moveaxis(blocks, 0, 1).reshape(len(flat), len(flat)) + penalty

    def unfinished(carry: tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]) -> jax.Array:
        _, _, gradient, moved, count = carry
        return (jnp.max(jnp.abs(gradient)) > tolerance) & moved & (count < max_steps)

    def step(
        carry: tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
        flat, before, gradient, _, count = carry
        direction = -jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(hessian(flat)), gradient)
        steps = 0.5 ** jnp.arange(HALVINGS, dtype=flat.dtype)
        values = jax.lax.map(lambda size: value(unravel(flat + size * direction)), steps)
        # The longest step that keeps a tenth of the promised decrease.
        good = values <= before + 0.1 * steps * jnp.vdot(gradient, direction)
        size = jnp.where(jnp.any(good), steps[jnp.argmax(good)], 0)
        flat = flat + size * direction
        after, gradient = value_and_grad(flat)
        return flat, after, gradient, size > 0, count + 1

    value_0, gradient_0 = value_and_grad(flat)
    carry = (flat, value_0, gradient_0, jnp.asarray(True), jnp.asarray(0))
    return unravel(jax.lax.while_loop(unfinished, step, carry)[0])


def _lbfgs(value: Callable[[LastLayer], jax.Array], start: LastLayer, tolerance: float, max_steps: int) -> LastLayer:
    """L-BFGS (Liu and Nocedal, 1989), where Newton's matrix would be too large."""
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

    carry = (start, optimizer.init(start), jnp.asarray(jnp.inf, start["bias"].dtype), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, step, carry)[0]
