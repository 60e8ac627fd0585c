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
from atjax.model.taps import Taps, tapped
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

    def add(_: None, index: SlotIndex) -> tuple[None, Squares]:
        inputs, deltas = passes.run(index)
        # The nodes of an empty place count nothing, even where a batch of graphs was emptied to fill up a block.
        here = jnp.repeat(jnp.asarray(index.graphs) >= 0, index.slots.sizes, total_repeat_length=index.slots.num_nodes)
        real = jnp.asarray(index.node_mask) & here
        names = sorted(inputs.linear)
        return None, Squares(
            tuple(_square(inputs.linear[name], real) for name in names),
            tuple(_square(deltas[name], real) for name in names),
            jnp.sum(real),
        )

    return jax.tree.map(lambda x: jnp.sum(x, axis=0), jax.lax.scan(add, None, examples)[1])


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
    values, names, pullback = _backward(gnn, variables, graph)

    def one(node: jax.Array) -> tuple[jax.Array, ...]:
        def squared(row: jax.Array) -> tuple[jax.Array, ...]:
            deltas = pullback(jnp.zeros_like(values).at[node].set(row))
            return tuple(_square(deltas[name], graph.node_mask) for name in names)

        return _total(jax.lax.map(squared, cotangents.of(values[node], node)))

    return _total(jax.lax.map(one, nodes))


def sketched_factors(
    gnn: GNN, cotangents: Cotangents, variables: Variables, data: Training, keys: jax.Array
) -> tuple[jax.Array, ...]:
    """Unbiased draws of the mean over examples of sums of delta delta^T: one backward pass each, a tuple of [J, H, H].

    Args:
        gnn: The model.
        cotangents: What is sent backward from every example.
        variables: Parameters and BatchNorm statistics.
        data: All training examples.
        keys: Of J draws.
    """
    values, names, pullback = _backward(gnn, variables, data.batch)
    directions = jax.vmap(cotangents.of)(values[data.rows], data.ids)

    def draw(key: jax.Array) -> tuple[jax.Array, ...]:
        signs = jax.random.rademacher(key, directions.shape[:2], directions.dtype)
        deltas = pullback(jnp.zeros_like(values).at[data.rows].set(einsum("nl,nlc->nc", signs, directions)))
        return tuple(_square(deltas[name], data.batch.node_mask) / len(data.rows) for name in names)

    return jax.lax.map(draw, keys)


def graph_inputs(gnn: GNN, variables: Variables, graph: Batch) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """Sums of x x^T over the nodes of one graph, a tuple of [d, d], and their number."""
    _, inputs, _ = tapped(gnn, variables, graph, None)
    names = sorted(inputs.linear)
    return tuple(_square(inputs.linear[name], graph.node_mask) for name in names), jnp.sum(graph.node_mask)


def _backward(gnn: GNN, variables: Variables, graph: Batch) -> tuple[jax.Array, list[str], Callable[[jax.Array], Taps]]:
    """The outputs; the names of the linear maps; and the deltas [V, H] of a cotangent of the outputs."""
    inputs, taps = jax.eval_shape(lambda: tapped(gnn, variables, graph, None)[1:])
    shifts = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in taps.items()}
    values, pullback = jax.vjp(lambda shifts: tapped(gnn, variables, graph, shifts)[0], shifts)
    return values, sorted(inputs.linear), lambda cotangent: pullback(cotangent)[0]


def _square(rows: jax.Array, real: jax.Array) -> jax.Array:
    """Sum over real nodes of r r^T, from rows [V, ..., d]."""
    flat = jnp.where(real.reshape(-1, *[1] * (rows.ndim - 1)), rows, 0).reshape(-1, rows.shape[-1])
    return matmul(flat.T, flat)


def _total(each: Any) -> Any:
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), each)
