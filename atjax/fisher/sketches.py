"""Estimates of the diagonal from passes over the whole training set at once, whatever the number of examples.

Each draw is an independent estimate d [P] of the diagonal of F = 1/N sum_i R_i^T R_i, where R_i [L, P] are the score
rows of example i. Draws are unbiased but for `reference`, which is none of F.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
from jax.flatten_util import ravel_pytree

from atjax.batch import Batch
from atjax.fisher.cotangents import Cotangents
from atjax.fisher.gradients import outputs_of, split_params
from atjax.model.gnn import GNN, Params, Variables
from atjax.products import einsum


class Training(NamedTuple):
    """All training examples at once.

    Attributes:
        batch: The training graphs, or the graph of a node task, as one batch.
        rows: Rows of the output that are examples, int [N].
        ids: Their ids, int [N].
    """

    batch: Batch
    rows: jax.Array
    ids: jax.Array


Sketch = Callable[[GNN, Cotangents, Variables, Training, jax.Array], jax.Array]
"""Model, cotangents, variables, training data and keys [K] to draws d [K, P]."""


def sign_sketch(gnn: GNN, cotangents: Cotangents, variables: Variables, data: Training, keys: jax.Array) -> jax.Array:
    """d = (sum_a e_a r_a)^2 / N over all score rows r_a with random signs e_a: one backward pass a draw, [K, P].

    Products of different rows vanish on average (Hutchinson, 1990, on the matrix of rows). The variance of d_k is
    2 [(sum_a r_ak^2)^2 - sum_a r_ak^4] / N^2: about 2 F_kk^2, however many examples there are.
    """
    theta, outputs = outputs_of(gnn, variables, data.batch)
    values, pullback = jax.vjp(lambda theta: outputs(theta)[data.rows], theta)
    directions = jax.vmap(cotangents.of)(values, data.ids)

    def draw(key: jax.Array) -> jax.Array:
        signs = jax.random.rademacher(key, directions.shape[:2], directions.dtype)
        (gradient,) = pullback(einsum("nl,nlc->nc", signs, directions))
        return ravel_pytree(gradient)[0] ** 2 / len(data.rows)

    return jax.lax.map(draw, keys)


def hutchinson(gnn: GNN, cotangents: Cotangents, variables: Variables, data: Training, keys: jax.Array) -> jax.Array:
    """d = v * F v for random signs v over the parameters: a forward-mode and a backward pass a draw, [K, P].

    The diagonal estimator of Bekas, Kokiopoulou and Saad (2007) on the Gauss-Newton form of F. The variance of d_k is
    sum_{j != k} F_kj^2, which for F of low rank is far above F_kk^2: entries can be negative.
    """
    # Lists of neighbours have a rule for the backward pass only.
    theta, outputs = outputs_of(gnn, variables, data.batch._replace(lists=None))
    values, push = jax.linearize(lambda theta: outputs(theta)[data.rows], theta)
    pull = jax.linear_transpose(push, theta)
    directions = jax.vmap(cotangents.of)(values, data.ids)
    flat, unravel = ravel_pytree(theta)

    def draw(key: jax.Array) -> jax.Array:
        signs = jax.random.rademacher(key, flat.shape, flat.dtype)
        along = einsum("nlc,nc->nl", directions, push(unravel(signs)))
        (product,) = pull(einsum("nl,nlc->nc", along, directions))
        return signs * ravel_pytree(product)[0] / len(data.rows)

    return jax.lax.map(draw, keys)


def reference(gnn: GNN, cotangents: Cotangents, variables: Variables, data: Training, keys: jax.Array) -> jax.Array:
    """d = g^2 with g the gradient of the mean log-likelihood of one drawn label an example, BatchNorm in training mode.

    What the public PyTorch code of the paper squares: the gradient of a batch, [K, P]. Its mean over draws is F / N
    plus what BatchNorm adds by making examples depend on each other; F of the batch, not of an example.
    """
    theta, others = split_params(variables["params"])

    def outputs(theta: Params) -> jax.Array:
        whole = {"params": {**others, **theta}, "batch_stats": variables["batch_stats"]}
        values, _ = gnn.apply(whole, data.batch, train=True, mutable=["batch_stats"])
        return cast(jax.Array, values)[data.rows]

    values, pullback = jax.vjp(outputs, theta)

    def draw(key: jax.Array) -> jax.Array:
        directions = jax.vmap(cotangents.keyed(key).of)(values, data.ids)[:, 0]
        (gradient,) = pullback(directions / len(data.rows))
        return ravel_pytree(gradient)[0] ** 2

    return jax.lax.map(draw, keys)
