"""Gradients of single examples by reverse-mode differentiation, for every design: rows r = J^T l of the score.

Graphs are differentiated each in a padded batch of its own, nodes by one-hot cotangents on the whole graph: C - 1
backward passes an example. For graph tasks and most designs `atjax.fisher.disjoint` needs fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from atjax.batch import Batch, BatchIndex, Rows, gather
from atjax.fisher.cotangents import Cotangents
from atjax.model.gnn import GNN, Params, Variables, apply


def split_params(params: Params) -> tuple[Params, Params]:
    """The parameters theta of the message-passing layers, and all others."""
    chosen = {name: value for name, value in params.items() if name.startswith("mp_")}
    return chosen, {name: value for name, value in params.items() if name not in chosen}


def outputs_of(gnn: GNN, variables: Variables, batch: Batch) -> tuple[Params, Callable[[Params], jax.Array]]:
    """theta, and the model's outputs as a function of theta alone."""
    theta, others = split_params(variables["params"])

    def outputs(theta: Params) -> jax.Array:
        return apply(gnn, {"params": {**others, **theta}, "batch_stats": variables["batch_stats"]}, batch)

    return theta, outputs


def _graph_rows(
    gnn: GNN, cotangents: Cotangents, variables: Variables, features: jax.Array | Rows, index: BatchIndex
) -> Params:
    """Rows of one graph, a tree of [L, ...]."""
    theta, outputs = outputs_of(gnn, variables, gather(features, index))
    value, pullback = jax.vjp(lambda theta: outputs(theta)[0], theta)
    return jax.vmap(lambda row: pullback(row)[0])(cotangents.of(value, jnp.asarray(index.graphs)[0]))


def graph_sums(
    gnn: GNN,
    cotangents: Cotangents,
    variables: Variables,
    features: jax.Array | Rows,
    examples: BatchIndex,
) -> Params:
    """Sums over graphs i, each in a batch of its own, of f_i: its part of the diagonal, a tree like theta.

    Args:
        gnn: The model.
        cotangents: What is sent backward from every graph.
        variables: Parameters and BatchNorm statistics.
        features: What the nodes of all graphs have, [V, D], or their nodes and edges.
        examples: Batches of one graph and padding, with leading axes [M, B]: M chunks of B examples. An empty place
            counts nothing.
    """

    def one(index: BatchIndex) -> Params:
        rows = _graph_rows(gnn, cotangents, variables, features, index)
        return jax.tree.map(lambda g: jnp.sum(g**2, axis=0), rows)

    return _accumulate(jax.vmap(one), split_params(variables["params"])[0], examples)


def node_sums(
    gnn: GNN,
    cotangents: Cotangents,
    variables: Variables,
    graph: Batch,
    nodes: jax.Array,
    width: int,
) -> Params:
    """The same sums over nodes of one graph: one forward pass, and L backward passes a node.

    Args:
        gnn: The model.
        cotangents: What is sent backward from every node.
        variables: Parameters and BatchNorm statistics.
        graph: The graph.
        nodes: Ids of the example nodes in M chunks, int [M, B]; -1 counts nothing.
        width: Backward passes of one node at once.
    """
    theta, outputs = outputs_of(gnn, variables, graph)
    values, pullback = jax.vjp(outputs, theta)

    def one(node: jax.Array) -> Params:
        def squared(row: jax.Array) -> Params:
            (gradient,) = pullback(jnp.zeros_like(values).at[node].set(row))
            return jax.tree.map(jnp.square, gradient)

        rows = cotangents.of(values[node], node)
        if width == 1:  # a batch axis of one would be carried through the program
            each = jax.lax.map(squared, rows)
        else:
            each = jax.vmap(squared)(rows) if width >= len(rows) else jax.lax.map(squared, rows, batch_size=width)
        return jax.tree.map(lambda g: jnp.sum(g, axis=0), each)

    def chunk(nodes: jax.Array) -> Params:
        return jax.tree.map(lambda g: g[None], one(nodes[0])) if len(nodes) == 1 else jax.vmap(one)(nodes)

    return _accumulate(chunk, theta, nodes)


def _accumulate(per_chunk: Callable[[Any], Params], theta: Params, chunks: Any) -> Params:
    """Sums of f_i; ``per_chunk`` maps a chunk to f [B, ...], and ``chunks`` is [M, B, ...]."""

    def add(sums: Params, chunk: Any) -> tuple[Params, None]:
        return jax.tree.map(lambda total, f: total + jnp.sum(f, axis=0), sums, per_chunk(chunk)), None

    return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, theta), chunks)[0]


def graph_rows(
    gnn: GNN, cotangents: Cotangents, variables: Variables, features: jax.Array | Rows, examples: BatchIndex
) -> jax.Array:
    """All rows of graphs, [M, B, L, P]; arguments as those of `graph_sums`."""

    def one(index: BatchIndex) -> jax.Array:
        return jax.vmap(_flat)(_graph_rows(gnn, cotangents, variables, features, index))

    return jax.lax.map(jax.vmap(one), examples)


def node_rows(gnn: GNN, cotangents: Cotangents, variables: Variables, graph: Batch, nodes: jax.Array) -> jax.Array:
    """All rows of nodes, [M, B, L, P], one backward pass after another; arguments as those of `node_sums`."""
    theta, outputs = outputs_of(gnn, variables, graph)
    values, pullback = jax.vjp(outputs, theta)

    def one(node: jax.Array) -> jax.Array:
        rows = cotangents.of(values[node], node)
        return jax.lax.map(lambda row: _flat(pullback(jnp.zeros_like(values).at[node].set(row))[0]), rows)

    return jax.lax.map(lambda chunk: jax.lax.map(one, chunk), nodes)


def _flat(tree: Params) -> jax.Array:
    return ravel_pytree(tree)[0]
