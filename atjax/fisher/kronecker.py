"""Sums for the Kronecker factors of every linear map: of x x^T over nodes, of delta delta^T over nodes and cotangents.

Over graphs, both are sums over the nodes of every example. The examples of a node task share their nodes, so that x x^T
is summed over the graph once, and delta delta^T over it for every example, or for draws of random signs across all
examples at once: products of different examples vanish on average, as they do in `atjax.fisher.sketches.sign_sketch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from atjax.batch import Batch
from atjax.fisher.cotangents import Cotangents
from atjax.fisher.disjoint import Passes
from atjax.fisher.sketches import Training
from atjax.fisher.slots import SlotIndex
from atjax.model.gnn import GNN, Variables
from atjax.model.taps import tapped
from atjax.products import einsum, matmul


class Squares(NamedTuple):
    """Of every linear map, in the order of the names.

    Attributes:
        inputs: Sums of x x^T, a tuple of [d, d].
        deltas: Sums of delta delta^T, a tuple of [H, H].
        nodes: Over how many nodes the inputs were summed.
    """

    inputs: tuple[jax.Array, ...]
    deltas: tuple[jax.Array, ...]
    nodes: jax.Array


def slot_factors(
    gnn: GNN, cotangents: Cotangents, variables: Variables, features: jax.Array, examples: SlotIndex
) -> Squares:
    """Over the graphs of S batches; arguments as those of `atjax.fisher.disjoint.slot_sums`."""
    passes = Passes.over(gnn, cotangents, variables, features, examples)

    def batch(index: SlotIndex) -> Squares:
        inputs, deltas = passes.run(index)
        # The nodes of an empty place count nothing, even where a batch of graphs was emptied to fill up a block.
        real = jnp.asarray(index.node_mask) & (jnp.arange(index.slots.num_nodes) < jnp.sum(index.places.n_node))
        # A node that stands for n others has the sum of their deltas, which are alike.
        counts = jnp.where(real, 1.0 if index.counts is None else jnp.asarray(index.counts), 0)
        names = sorted(inputs.linear)
        return Squares(
            tuple(_square(inputs.linear[name], counts) for name in names),
            tuple(_square(deltas[name], jnp.where(real, 1 / counts, 0)) for name in names),
            jnp.sum(counts),
        )

    return _summed(batch, examples)


def node_factors(
    gnn: GNN, cotangents: Cotangents, variables: Variables, graph: Batch, nodes: jax.Array
) -> tuple[jax.Array, ...]:
    """Sums of delta delta^T over examples of one graph and all its nodes: L backward passes an example.

    Args:
        gnn: The model.
        cotangents: What is sent backward from every example.
        variables: Parameters and BatchNorm statistics.
        graph: The graph.
        nodes: Rows of the output that are examples, int [N]; -1 counts nothing.
    """
    values, squares = _backward(gnn, variables, graph)

    def one(node: jax.Array) -> tuple[jax.Array, ...]:
        rows = cotangents.of(values[node], node)
        return _summed(lambda row: squares(jnp.zeros_like(values).at[node].set(row)), rows)

    return _summed(one, nodes)


def sketched_factors(
    gnn: GNN, cotangents: Cotangents, variables: Variables, data: Training, keys: jax.Array
) -> tuple[jax.Array, ...]:
    """Unbiased draws of the mean over all training examples of what `node_factors` sums: one backward pass a draw.

    Returns:
        Of J keys, a tuple of [J, H, H].
    """
    values, squares = _backward(gnn, variables, data.batch)
    directions = jax.vmap(cotangents.of)(values[data.rows], data.ids)

    def draw(key: jax.Array) -> tuple[jax.Array, ...]:
        signs = jax.random.rademacher(key, directions.shape[:2], directions.dtype)
        drawn = squares(jnp.zeros_like(values).at[data.rows].set(einsum("nl,nlc->nc", signs, directions)))
        return jax.tree.map(lambda square: square / len(data.rows), drawn)

    return jax.lax.map(draw, keys)


def graph_inputs(gnn: GNN, variables: Variables, graph: Batch) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """Sums of x x^T over the nodes of one graph, a tuple of [d, d], and their number."""
    _, inputs, _ = tapped(gnn, variables, graph, None)
    names = sorted(inputs.linear)
    return tuple(_square(inputs.linear[name], graph.node_mask) for name in names), jnp.sum(graph.node_mask)


def _backward(
    gnn: GNN, variables: Variables, graph: Batch
) -> tuple[jax.Array, Callable[[jax.Array], tuple[jax.Array, ...]]]:
    """The outputs of a graph; and of a cotangent of them, sums over nodes of delta delta^T, a tuple of [H, H]."""
    inputs, taps = jax.eval_shape(lambda: tapped(gnn, variables, graph, None)[1:])
    shifts = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in taps.items()}
    values, pullback = jax.vjp(lambda shifts: tapped(gnn, variables, graph, shifts)[0], shifts)

    def squares(cotangent: jax.Array) -> tuple[jax.Array, ...]:
        (deltas,) = pullback(cotangent)
        return tuple(_square(deltas[name], graph.node_mask) for name in sorted(inputs.linear))

    return values, squares


def _square(rows: jax.Array, weights: jax.Array) -> jax.Array:
    """Sum over nodes of r r^T, from rows [V, ..., d], by weight (or mask)."""
    scale = jnp.sqrt(weights.astype(rows.dtype)).reshape(-1, *[1] * (rows.ndim - 1))
    flat = jnp.where(scale > 0, scale * rows, 0).reshape(-1, rows.shape[-1])
    return matmul(flat.T, flat)


def _summed(function: Callable[[Any], Any], each: Any) -> Any:
    """Sums of what a function gives for every entry of the leading axis, one after another."""
    like = jax.eval_shape(function, jax.tree.map(lambda leaf: leaf[0], each))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
    return jax.lax.scan(lambda total, one: (jax.tree.map(jnp.add, total, function(one)), None), zeros, each)[0]
