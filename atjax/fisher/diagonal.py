"""The exact per-example diagonal of the Fisher information, and its first two moments.

Over the parameters theta of the message-passing layers, with logits z(x) and J = dz/dtheta,

    F = E_x E_{y ~ p(y|x)} [s s^T],  s = grad log p(y|x) = J^T (e_y - p)
      = E_x [J^T (diag(p) - p p^T) J] = E_x [J^T L L^T J]

so that the diagonal, with its label expectation exact, is the sum over the columns l of L of the squares of J^T l.
L has C - 1 columns (Tanabe and Sagae, 1992): one backward pass less an example than one a class, half for two classes.
For a Gaussian likelihood of variance 1, L is the identity.

The gradient is per example, a graph or a node. BatchNorm runs on fixed statistics, so that examples are independent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from atjax.batch import Batch, BatchIndex, gather
from atjax.model.gnn import GNN, Params, Variables, apply
from atjax.task import Loss


class Sums(NamedTuple):
    """Sums over n examples of f_i and of f_i^2, where f_i [P] is example i's part of the diagonal; trees like theta."""

    first: Params
    second: Params


class Moments(NamedTuple):
    """m1 = mean_k F_kk and m2 = mean_k F_kk^2 (paper, equation 1), float64."""

    m1: np.ndarray
    m2: np.ndarray

    @property
    def alpha(self) -> np.ndarray:
        """m2 / m1^2 (section 4.2), at least 1; NaN where the Fisher information is 0."""
        # Cauchy-Schwarz holds but for rounding, or where the unbiased m2 of a sample falls short of m1^2 by chance.
        with np.errstate(invalid="ignore"):
            return np.maximum(self.m2 / self.m1**2, 1)


def label_directions(loss: Loss, outputs: jax.Array) -> jax.Array:
    """The factor L of the covariance of the score with respect to the outputs.

    Args:
        loss: ``cross_entropy`` or ``mse``.
        outputs: Logits, or regression outputs, [C].

    Returns:
        The columns l as rows: [C - 1, C] with L L^T = diag(p) - p p^T, or the identity [C, C].
    """
    count = outputs.shape[0]
    if loss == "mse":
        return jnp.eye(count, dtype=outputs.dtype)
    p = jax.nn.softmax(outputs)
    # rest[j] = p_j + p_{j+1} + ..., summed from the end, so that small tails keep their digits.
    rest = jnp.append(jnp.cumsum(p[::-1])[::-1], 0)
    after, tiny = rest[1:-1], jnp.finfo(p.dtype).tiny
    p_j, here = p[:-1], rest[:-2]
    diagonal = jnp.sqrt(p_j * after / jnp.maximum(here, tiny))
    scale = jnp.sqrt(p_j / jnp.maximum(here, tiny)) / jnp.sqrt(jnp.maximum(after, tiny))
    below = jnp.arange(count)[None, :] > jnp.arange(count - 1)[:, None]
    return jnp.where(below, -scale[:, None] * p[None, :], 0) + jnp.pad(jnp.diag(diagonal), ((0, 0), (0, 1)))


def split_params(params: Params) -> tuple[Params, Params]:
    """The parameters of the message-passing layers, and all others."""
    chosen = {name: value for name, value in params.items() if name.startswith("mp_")}
    return chosen, {name: value for name, value in params.items() if name not in chosen}


def _outputs(gnn: GNN, variables: Variables, batch: Batch) -> tuple[Params, Callable[[Params], jax.Array]]:
    """theta, and the model's outputs as a function of theta alone."""
    theta, others = split_params(variables["params"])

    def outputs(theta: Params) -> jax.Array:
        return apply(gnn, {"params": {**others, **theta}, "batch_stats": variables["batch_stats"]}, batch)

    return theta, outputs


def _sum_of_squares(
    pullback: Callable[[jax.Array], tuple[Params]],
    cotangent: Callable[[jax.Array], jax.Array],
    rows: jax.Array,
    width: int,
) -> Params:
    """Sum of (J^T l)^2 over cotangents l, made of ``rows`` [L, C] one by one; ``width`` backward passes at once."""

    def squares(row: jax.Array) -> Params:
        (gradient,) = pullback(cotangent(row))
        return jax.tree.map(jnp.square, gradient)

    each = jax.vmap(squares)(rows) if width >= len(rows) else jax.lax.map(squares, rows, batch_size=width)
    return jax.tree.map(lambda g: jnp.sum(g, axis=0), each)


def _accumulate(per_chunk: Callable[[Any], Params], theta: Params, chunks: Any) -> Sums:
    """Sums of f_i and f_i^2; ``per_chunk`` maps a chunk to f [B, ...], and ``chunks`` is [M, B, ...]."""

    def add(sums: Sums, chunk: Any) -> tuple[Sums, None]:
        f = per_chunk(chunk)
        first = jax.tree.map(lambda total, x: total + jnp.sum(x, axis=0), sums.first, f)
        second = jax.tree.map(lambda total, x: total + jnp.sum(x * x, axis=0), sums.second, f)
        return Sums(first, second), None

    zeros = jax.tree.map(jnp.zeros_like, theta)
    return jax.lax.scan(add, Sums(zeros, zeros), chunks)[0]


def graph_sums(gnn: GNN, loss: Loss, variables: Variables, features: jax.Array, examples: BatchIndex) -> Sums:
    """Sums over graphs, each in a batch of its own.

    Args:
        gnn: The model.
        loss: The task's loss.
        variables: Its parameters and BatchNorm statistics.
        features: Node features of all graphs, [V, D].
        examples: Batches of one graph and padding, with leading axes [M, B]: M chunks of B examples. An empty place
            counts nothing.
    """

    def one(index: BatchIndex) -> Params:
        example = gather(features, index)
        theta, outputs = _outputs(gnn, variables, example)
        value, pullback = jax.vjp(lambda theta: outputs(theta)[0], theta)
        directions = label_directions(loss, value) * example.graph_mask[0]
        return _sum_of_squares(pullback, lambda row: row, directions, len(directions))

    return _accumulate(jax.vmap(one), split_params(variables["params"])[0], examples)


def node_sums(gnn: GNN, loss: Loss, variables: Variables, graph: Batch, nodes: jax.Array, width: int) -> Sums:
    """Sums over nodes of one graph: one forward pass, and C - 1 backward passes a node.

    Args:
        gnn: The model.
        loss: The task's loss.
        variables: Its parameters and BatchNorm statistics.
        graph: The graph.
        nodes: Ids of the example nodes in M chunks, int [M, B]; -1 counts nothing.
        width: Backward passes of one node at once.
    """
    theta, outputs = _outputs(gnn, variables, graph)
    values, pullback = jax.vjp(outputs, theta)

    def one(node: jax.Array) -> Params:
        directions = label_directions(loss, values[node]) * (node >= 0)
        return _sum_of_squares(pullback, lambda row: jnp.zeros_like(values).at[node].set(row), directions, width)

    return _accumulate(jax.vmap(one), theta, nodes)


def moments(first: np.ndarray, second: np.ndarray, sampled: int, population: int) -> Moments:
    """m1 and m2 of the diagonal over a population of N examples, from n of them drawn without replacement.

    With all examples (n = N) both are exact. Otherwise both are unbiased: F_kk^2 is a mean over pairs of examples, and
    the pairs of an example with itself are weighted as they occur in the population, not as they occur in the sample.

        m2 = mean_k [ N/n S2 + N (N - 1) / (n (n - 1)) (S1^2 - S2) ] / N^2

    Args:
        first: S1, the sum of f_i over the sample, float64 [..., P]; single precision would underflow below.
        second: S2, the sum of f_i^2, [..., P].
        sampled: n, at least 2 unless it is N.
        population: N.

    Returns:
        Moments of shape [...].
    """
    n, total = sampled, population
    if n == total:
        square = (first / n) ** 2
    else:
        square = (total / n * second + total * (total - 1) / (n * (n - 1)) * (first**2 - second)) / total**2
    return Moments(first.mean(axis=-1) / n, square.mean(axis=-1))
