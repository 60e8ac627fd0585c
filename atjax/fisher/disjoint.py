"""The per-example diagonal of many graphs from one backward pass a label direction.

Graphs of a batch are disjoint, so that one pullback of the batch, with every graph's own cotangent, holds the deltas of
all graphs side by side. Only the products with the inputs have to be kept apart: for a linear map, example i, direction
l,

    dW_il = X_i^T D_il  [d, H],    f_i = sum_l dW_il^2,

where X_i and D_il are rows of place i. The products are taken one example after another and added up at once, while
they are in the cache: a batched product followed by a sum over examples is several times slower on a CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp

from atjax.batch import Batch
from atjax.fisher.cotangents import Cotangents
from atjax.fisher.gradients import Sums, split_params
from atjax.fisher.slots import SlotIndex, Slots, fill
from atjax.model.gnn import GNN, Params, Variables
from atjax.model.taps import Inputs, Taps, tapped
from atjax.products import einsum, matmul

UNROLL = 2
"""Examples a loop step on a CPU: their squares are added in one sweep over the sums."""


def separable(gnn: GNN) -> bool:
    """Whether every parameter theta of a model belongs to a tapped module, as `slot_sums` needs it.

    The attention of gat and the eps of gin do not.
    """
    return gnn.design.convolution in ("general", "gcn", "sage")


def slot_sums(gnn: GNN, cotangents: Cotangents, variables: Variables, features: jax.Array, examples: SlotIndex) -> Sums:
    """Sums over the graphs of S batches; the same numbers as `atjax.fisher.gradients.graph_sums`.

    Args:
        gnn: The model; see `separable`.
        cotangents: What is sent backward from every graph.
        variables: Parameters and BatchNorm statistics.
        features: Node features of all graphs, [V, D].
        examples: S batches, leading axis S. An empty place counts nothing.
    """
    theta, _ = split_params(variables["params"])
    zeros = jax.tree.map(jnp.zeros_like, theta)

    def add(sums: Sums, index: SlotIndex) -> tuple[Sums, None]:
        inputs, deltas = backward(gnn, cotangents, variables, fill(features, index), index)
        return _add(sums, inputs, deltas, index.slots), None

    return jax.lax.scan(add, Sums(zeros, zeros), examples)[0]


def field_sums(gnn: GNN, cotangents: Cotangents, variables: Variables, graph: Batch, fields: SlotIndex) -> Sums:
    """Sums over nodes of one graph by their receptive fields; the same numbers as `atjax.fisher.gradients.node_sums`.

    The layers before message passing see each node by itself and have no part in theta: they are passed once, for all
    nodes of the graph, and fields begin with what comes out.

    Args:
        gnn: The model; see `separable`.
        cotangents: What is sent backward from every node.
        variables: Parameters and BatchNorm statistics.
        graph: The graph.
        fields: S batches of fields, leading axis S; see `atjax.fisher.fields`.
    """
    embedded = cast(jax.Array, gnn.apply(variables, graph, method=GNN.embed))
    rest = gnn.clone(design=dataclasses.replace(gnn.design, pre_layers=0))
    kept = {
        part: {name: leaf for name, leaf in tree.items() if not name.startswith("pre_")}
        for part, tree in variables.items()
    }
    return slot_sums(rest, cotangents, kept, embedded, fields)


def backward(
    gnn: GNN, cotangents: Cotangents, variables: Variables, batch: Batch, index: SlotIndex
) -> tuple[Inputs, Taps]:
    """Inputs [V, ...] and deltas [V, L, ...] of one batch, for L cotangents a graph."""
    shapes = jax.eval_shape(lambda: tapped(gnn, variables, batch, None)[2])
    shifts = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}

    def forward(shifts: Taps) -> tuple[jax.Array, Inputs]:
        values, inputs, _ = tapped(gnn, variables, batch, shifts)
        return values[index.slots.starts] if index.rooted else values, inputs

    values, pullback, inputs = jax.vjp(forward, shifts, has_aux=True)
    directions = jax.vmap(cotangents.of)(values, jnp.asarray(index.graphs))

    def deltas(cotangent: jax.Array) -> Taps:
        return pullback(cotangent)[0]

    if directions.shape[1] == 1:
        return inputs, {name: delta[:, None] for name, delta in deltas(directions[:, 0]).items()}
    each = jax.lax.map(deltas, jnp.moveaxis(directions, 1, 0))
    return inputs, {name: jnp.moveaxis(delta, 0, 1) for name, delta in each.items()}


def _add(sums: Sums, inputs: Inputs, deltas: Taps, slots: Slots) -> Sums:
    """Add f_i and f_i^2 of the examples of one batch."""
    first, second = (_flat(tree) for tree in sums)
    new: dict[str, tuple[jax.Array, jax.Array]] = {}
    # Maps of the same input are one product: their deltas lie side by side.
    shared: dict[int, list[str]] = {}
    for name, x in inputs.linear.items():
        shared.setdefault(id(x), []).append(name)
    for names in shared.values():
        keys = [f"{name}/kernel" for name in names]
        delta = jnp.concatenate([deltas[name] for name in names], axis=-1)
        before = [jnp.concatenate([total[key] for key in keys], axis=-1) for total in (first, second)]
        after = _add_products(before[0], before[1], inputs.linear[names[0]], delta, slots)
        cuts = [sum(first[key].shape[-1] for key in keys[: k + 1]) for k in range(len(keys) - 1)]
        new |= zip(keys, zip(*(jnp.split(total, cuts, axis=-1) for total in after)))
        for name in names:
            if (key := f"{name}/bias") in first:
                new[key] = _add_rows(first[key], second[key], deltas[name], slots)
    for name, z in inputs.norm.items():
        rows = {"scale": deltas[name] * z[:, None], "bias": deltas[name]}
        new |= {
            f"{name}/{part}": _add_rows(first[f"{name}/{part}"], second[f"{name}/{part}"], row, slots)
            for part, row in rows.items()
        }
    for name, low in inputs.slope.items():
        key = f"{name}/negative_slope"
        row = jnp.sum(deltas[name] * low[:, None], axis=-1)
        new[key] = _add_rows(first[key], second[key], row, slots)
    return Sums(*(_unflat(tree, {key: pair[k] for key, pair in new.items()}) for k, tree in enumerate(sums)))


def _add_products(
    first: jax.Array, second: jax.Array, x: jax.Array, delta: jax.Array, slots: Slots
) -> tuple[jax.Array, jax.Array]:
    """Add f_i and f_i^2 of a linear map to sums [d, H]; x is [V, d], delta [V, L, H]."""
    shape = delta.shape[1:]

    def square(x: jax.Array, delta: jax.Array) -> jax.Array:
        product = matmul(x.T, delta.reshape(-1, shape[0] * shape[1])).reshape(-1, *shape)
        return jnp.sum(product**2, axis=1)

    def add(sums: tuple[jax.Array, jax.Array], rows: Sequence[jax.Array]) -> tuple[tuple[jax.Array, jax.Array], None]:
        f = [square(x, delta) for x, delta in zip(*rows)]
        return (sums[0] + sum(f), sums[1] + sum(each**2 for each in f)), None

    sums = (first, second)
    for xs, ds in zip(slots.cut(x), slots.cut(delta)):
        if jax.default_backend() != "cpu":
            f = jnp.sum(einsum("ind,inlh->idlh", xs, ds) ** 2, axis=2)
            sums = (sums[0] + jnp.sum(f, axis=0), sums[1] + jnp.sum(f**2, axis=0))
            continue
        steps, rest = divmod(len(xs), UNROLL)
        if steps:
            rows = [part[: steps * UNROLL].reshape(steps, UNROLL, *part.shape[1:]) for part in (xs, ds)]
            sums, _ = jax.lax.scan(add, sums, rows)
        if rest:
            sums, _ = add(sums, [xs[-rest:], ds[-rest:]])
    return sums


def _add_rows(first: jax.Array, second: jax.Array, rows: jax.Array, slots: Slots) -> tuple[jax.Array, jax.Array]:
    """Add f_i and f_i^2 of parameters that act on every node alone; rows are the nodes' gradients [V, L, ...]."""
    gradient = jnp.concatenate([jnp.sum(block, axis=1) for block in slots.cut(rows)])
    f = jnp.sum(gradient**2, axis=1)
    return first + jnp.sum(f, axis=0), second + jnp.sum(f**2, axis=0)


def _flat(tree: Params) -> dict[str, jax.Array]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(step.key for step in path): leaf for path, leaf in leaves}


def _unflat(tree: Params, leaves: dict[str, jax.Array]) -> Params:
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves["/".join(step.key for step in path)], tree)


def slot_factors(
    gnn: GNN, cotangents: Cotangents, variables: Variables, features: jax.Array, examples: SlotIndex
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...], jax.Array]:
    """Sums for the Kronecker factors of every linear map; arguments as those of `slot_sums`.

    Returns:
        Of every linear map, in the order of the names, sums over nodes of x x^T [d, d] and over nodes and cotangents of
        delta delta^T [H, H]; and the number of nodes.
    """

    def add(_: None, index: SlotIndex) -> tuple[None, tuple[Any, Any, jax.Array]]:
        inputs, deltas = backward(gnn, cotangents, variables, fill(features, index), index)
        # The nodes of an empty place count nothing, even where a batch of graphs was emptied to fill up a block.
        here = jnp.repeat(jnp.asarray(index.graphs) >= 0, index.slots.sizes, total_repeat_length=index.slots.num_nodes)
        real = jnp.asarray(index.node_mask) & here
        names = sorted(inputs.linear)
        a = [jnp.where(real[:, None], inputs.linear[name], 0) for name in names]
        b = [jnp.where(real[:, None, None], deltas[name], 0).reshape(-1, deltas[name].shape[-1]) for name in names]
        return None, (tuple(matmul(x.T, x) for x in a), tuple(matmul(x.T, x) for x in b), jnp.sum(real))

    _, sums = jax.lax.scan(add, None, examples)
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), sums)
