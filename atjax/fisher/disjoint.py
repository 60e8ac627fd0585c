"""The per-example diagonal of many graphs from one backward pass a label direction.

Graphs of a batch are disjoint, so that one pullback of the batch, with every graph's own cotangent, holds the deltas of
all graphs side by side. Only the products with the inputs have to be kept apart: for a linear map, example i, direction
l,

    dW_il = X_i^T D_il  [d, H],    f_i = sum_l dW_il^2,

where X_i and D_il are rows of place i. On a CPU the products are taken block by block of the kernels, a few examples at
once, and squared and added up while they are in the cache: a product of all examples followed by a sum over them is
several times slower. All blocks of a model go through one loop, which is compiled once, however many layers there are.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from atjax.batch import Batch
from atjax.fisher.cotangents import Cotangents
from atjax.fisher.gradients import Sums, split_params
from atjax.fisher.slots import SlotIndex, Slots, fill
from atjax.model.gnn import GNN, Params, Variables
from atjax.model.taps import Inputs, Taps, tapped
from atjax.products import einsum, matmul

MOST_TOGETHER, CACHED = 4, 2**18
"""Examples a product on a CPU, whose squares are added in one sweep over the sums: at most so many, and fewer where
their products would be more numbers than a core's cache holds beside the sums."""


def separable(gnn: GNN) -> bool:
    """Whether every parameter theta of a model belongs to a tapped module, as `slot_sums` needs it.

    The attention of gat and the eps of gin do not.
    """
    return gnn.design.convolution in ("general", "gcn", "sage")


class Map(NamedTuple):
    """Linear maps of the same input: one product, for their deltas lie side by side.

    Attributes:
        names: Of the maps.
        inputs: d.
        outputs: Columns of each kernel; H in all.
    """

    names: tuple[str, ...]
    inputs: int
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Where sums over the parameters theta are kept, so that equal products run through one loop.

    Attributes:
        maps: The linear maps, all of equal H together. Their kernels are K blocks [T, H], one map after the other,
            T the greatest width that divides every d: of skip_concat, whose inputs grow by the hidden width a layer,
            that width.
        others: Key and shape of all other parameters, which act on every node alone; W numbers.
    """

    maps: tuple[tuple[Map, ...], ...]
    others: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, theta: Params, inputs: Inputs) -> Layout:
        """Of a model with these inputs, in which maps of the same x hold the same array."""
        shapes = {key: leaf.shape for key, leaf in _flat(theta).items()}
        shared: dict[int, list[str]] = {}
        for name, x in inputs.linear.items():
            shared.setdefault(id(x), []).append(name)
        by_width: dict[int, list[Map]] = {}
        for names in shared.values():
            kernels = [shapes.pop(f"{name}/kernel") for name in names]
            outputs = tuple(columns for _, columns in kernels)
            by_width.setdefault(sum(outputs), []).append(Map(tuple(names), kernels[0][0], outputs))
        return cls(tuple(tuple(maps) for maps in by_width.values()), tuple(shapes.items()))

    def zeros(self, dtype: Any, squares: bool) -> Packed:
        """Where sums start."""
        sizes = [(math.gcd(*(one.inputs for one in maps)), maps) for maps in self.maps]
        shapes = [(sum(one.inputs for one in maps) // tile, tile, sum(maps[0].outputs)) for tile, maps in sizes]
        pairs = [
            Pair(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype) if squares else None)
            for shape in [*shapes, (sum(math.prod(shape) for _, shape in self.others),)]
        ]
        return Packed(tuple(pairs[:-1]), pairs[-1])

    def unpack(self, packed: Packed, theta: Params) -> Sums:
        """Trees like theta."""

        def tree(maps: Sequence[jax.Array], others: jax.Array) -> Params:
            leaves: dict[str, jax.Array] = {}
            for together, blocks in zip(self.maps, maps):
                rows = blocks.reshape(-1, blocks.shape[-1])
                for one, part in zip(together, _cut(rows, [one.inputs for one in together], axis=0)):
                    leaves |= zip((f"{name}/kernel" for name in one.names), _cut(part, one.outputs, axis=1))
            flat = _cut(others, [math.prod(shape) for _, shape in self.others], axis=0)
            leaves |= {key: part.reshape(shape) for (key, shape), part in zip(self.others, flat)}
            return jax.tree_util.tree_map_with_path(lambda path, _: leaves[_key(path)], theta)

        first = tree([pair.first for pair in packed.maps], packed.others.first)
        if packed.others.second is None:
            return Sums(first, None)
        return Sums(first, tree([cast(jax.Array, pair.second) for pair in packed.maps], packed.others.second))


class Pair(NamedTuple):
    """Sums of f_i, and of f_i^2 unless nothing needs them, of one shape."""

    first: jax.Array
    second: jax.Array | None

    def plus(self, first: jax.Array, second: Callable[[], jax.Array]) -> Pair:
        """With those of further examples."""
        return Pair(self.first + first, None if self.second is None else self.second + second())


class Packed(NamedTuple):
    """Sums over theta as a `Layout` keeps them: of each set of maps [K, T, H], and of all other parameters [W]."""

    maps: tuple[Pair, ...]
    others: Pair


def slot_sums(
    gnn: GNN,
    cotangents: Cotangents,
    variables: Variables,
    features: jax.Array,
    examples: SlotIndex,
    squares: bool = True,
) -> Sums:
    """Sums over the graphs of S batches; the same numbers as `atjax.fisher.gradients.graph_sums`.

    Args:
        gnn: The model; see `separable`.
        cotangents: What is sent backward from every graph.
        variables: Parameters and BatchNorm statistics.
        features: Node features of all graphs, [V, D].
        examples: S batches, leading axis S. An empty place counts nothing.
        squares: Whether f_i^2 is added up too.
    """
    theta, _ = split_params(variables["params"])
    layouts: list[Layout] = []

    def look() -> Taps:
        batch = fill(features, jax.tree.map(lambda leaf: leaf[0], examples))
        _, inputs, outputs = tapped(gnn, variables, batch, None)
        layouts.append(Layout.of(theta, inputs))
        return outputs

    shapes = jax.eval_shape(look)
    layout = layouts[0]
    zeros = layout.zeros(jax.tree.leaves(theta)[0].dtype, squares)

    def add(sums: Packed, index: SlotIndex) -> tuple[Packed, None]:
        inputs, deltas = backward(gnn, cotangents, variables, fill(features, index), index, shapes)
        return _add(layout, sums, inputs, deltas, index.slots), None

    return layout.unpack(jax.lax.scan(add, zeros, examples)[0], theta)


def field_sums(
    gnn: GNN, cotangents: Cotangents, variables: Variables, graph: Batch, fields: SlotIndex, squares: bool = True
) -> Sums:
    """Sums over nodes of one graph by their receptive fields; the same numbers as `atjax.fisher.gradients.node_sums`.

    The layers before message passing see each node by itself and have no part in theta: they are passed once, for all
    nodes of the graph, and fields begin with what comes out.

    Args:
        gnn: The model; see `separable`.
        cotangents: What is sent backward from every node.
        variables: Parameters and BatchNorm statistics.
        graph: The graph.
        fields: S batches of fields, leading axis S; see `atjax.fisher.fields`.
        squares: Whether f_i^2 is added up too.
    """
    embedded = cast(jax.Array, gnn.apply(variables, graph, method=GNN.embed))
    rest = gnn.clone(design=dataclasses.replace(gnn.design, pre_layers=0))
    kept = {
        part: {name: leaf for name, leaf in tree.items() if not name.startswith("pre_")}
        for part, tree in variables.items()
    }
    return slot_sums(rest, cotangents, kept, embedded, fields, squares)


def backward(
    gnn: GNN, cotangents: Cotangents, variables: Variables, batch: Batch, index: SlotIndex, like: Taps | None = None
) -> tuple[Inputs, Taps]:
    """Inputs [V, ...] and deltas [V, L, ...] of one batch, for L cotangents a graph; ``like`` are the taps' shapes."""
    shapes = jax.eval_shape(lambda: tapped(gnn, variables, batch, None)[2]) if like is None else like
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


def _add(layout: Layout, sums: Packed, inputs: Inputs, deltas: Taps, slots: Slots) -> Packed:
    """Add f_i and f_i^2 of the examples of one batch."""
    add_products = _add_blocks if jax.default_backend() == "cpu" else _add_whole
    totals = []
    for maps, pair in zip(layout.maps, sums.maps):
        xs = [inputs.linear[one.names[0]] for one in maps]
        ds = [jnp.concatenate([deltas[name] for name in one.names], axis=-1) for one in maps]
        totals.append(add_products(pair, xs, ds, slots))
    rows = {f"{name}/bias": deltas[name] for name in [*inputs.linear, *inputs.norm]}
    rows |= {f"{name}/scale": deltas[name] * z[:, None] for name, z in inputs.norm.items()}
    rows |= {
        f"{name}/negative_slope": jnp.sum(deltas[name] * low[:, None], axis=-1, keepdims=True)
        for name, low in inputs.slope.items()
    }
    return Packed(tuple(totals), _add_rows(sums.others, [rows[key] for key, _ in layout.others], slots))


def _add_blocks(sums: Pair, xs: Sequence[jax.Array], ds: Sequence[jax.Array], slots: Slots) -> Pair:
    """Add f_i and f_i^2 of linear maps to sums [K, T, H], block after block.

    Args:
        sums: Of K blocks in all.
        xs: Inputs of every map, [V, d], and
        ds: its deltas, [V, L, H].
        slots: The places.
    """
    _, tile, width = sums.first.shape
    directions = ds[0].shape[1]
    most = int(np.clip(CACHED // (tile * width * directions), 1, MOST_TOGETHER))
    owner = np.repeat(np.arange(len(xs)), [x.shape[1] // tile for x in xs])

    def add(sums: Pair, x: jax.Array, d: jax.Array) -> Pair:
        products = einsum("int,inh->ith", x, d).reshape(-1, tile, directions, width)
        f = [jnp.sum(product**2, axis=1) for product in products]
        return sums.plus(sum(f[1:], f[0]), lambda: sum((each**2 for each in f[1:]), f[0] ** 2))

    groups = []
    for x_parts, d_parts in zip(zip(*map(slots.cut, xs)), zip(*map(slots.cut, ds))):
        places, nodes, _ = x_parts[0].shape
        # Every block of every example in one piece.
        x = jnp.concatenate([part.reshape(places, nodes, -1, tile).transpose(2, 0, 1, 3) for part in x_parts])
        d = jnp.stack([part.reshape(places, nodes, directions * width) for part in d_parts])
        groups.append((x, d))

    def block(_: None, here: tuple[jax.Array, jax.Array, Pair]) -> tuple[None, Pair]:
        k, owner_k, sums = here

        def step(x: jax.Array, d: jax.Array, sums: Pair, start: int | jax.Array, number: int) -> Pair:
            return add(sums, _places(x, k, start, number), _places(d, owner_k, start, number))

        for x, d in groups:
            sums = _in_steps(functools.partial(step, x, d), sums, x.shape[1], most)
        return None, sums

    return jax.lax.scan(block, None, (jnp.arange(len(owner)), jnp.asarray(owner), sums))[1]


def _in_steps(step: Callable[[Pair, int | jax.Array, int], Pair], sums: Pair, places: int, most: int) -> Pair:
    """``step(sums, start, number)`` over all places, at most so many at once."""
    number = min(most, places)
    steps, rest = divmod(places, number)
    sums = jax.lax.fori_loop(0, steps, lambda i, sums: step(sums, i * number, number), sums)
    return step(sums, steps * number, rest) if rest else sums


def _places(rows: jax.Array, k: jax.Array, start: int | jax.Array, count: int) -> jax.Array:
    """``rows[k, start : start + count]``."""
    return jax.lax.dynamic_slice(rows, (k, start, 0, 0), (1, count, *rows.shape[2:]))[0]


def _add_whole(sums: Pair, xs: Sequence[jax.Array], ds: Sequence[jax.Array], slots: Slots) -> Pair:
    """The same sums from one product of all examples a map, for an accelerator."""

    def total(x: jax.Array, delta: jax.Array) -> Pair:
        added = Pair(jnp.zeros(()), None if sums.second is None else jnp.zeros(()))
        for x_part, d_part in zip(slots.cut(x), slots.cut(delta)):
            added = _plus_each(added, jnp.sum(einsum("ind,inlh->idlh", x_part, d_part) ** 2, axis=2))
        return added

    def joined(arrays: Sequence[Any]) -> jax.Array:
        return jnp.concatenate(arrays).reshape(sums.first.shape)

    first, second = zip(*map(total, xs, ds))
    return sums.plus(joined(first), lambda: joined(second))


def _plus_each(sums: Pair, f: jax.Array) -> Pair:
    """With f_i of further examples, [N, ...]."""
    return sums.plus(jnp.sum(f, axis=0), lambda: jnp.sum(f**2, axis=0))


def _add_rows(sums: Pair, rows: Sequence[jax.Array], slots: Slots) -> Pair:
    """Add f_i and f_i^2 of parameters that act on every node alone; rows are the nodes' gradients [V, L, ...]."""
    together = jnp.concatenate(rows, axis=-1)
    gradient = jnp.concatenate([jnp.sum(part, axis=1) for part in slots.cut(together)])
    return _plus_each(sums, jnp.sum(gradient**2, axis=1))


def _cut(array: jax.Array, sizes: Sequence[int], axis: int) -> list[jax.Array]:
    """Into pieces of these sizes."""
    return jnp.split(array, np.cumsum(sizes)[:-1], axis=axis)


def _key(path: Any) -> str:
    return "/".join(step.key for step in path)


def _flat(tree: Params) -> dict[str, jax.Array]:
    return {_key(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


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
