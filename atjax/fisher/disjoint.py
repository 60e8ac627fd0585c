"""The per-example diagonal of many graphs from one backward pass a label direction.

Graphs of a batch are disjoint, so that one pullback of the batch, with every graph's own cotangent, holds the deltas of
all graphs side by side. Only the products with the inputs have to be kept apart: for a linear map, example i, direction
l,

    dW_il = X_i^T D_il  [d, H],    f_i = sum_l dW_il^2,

where X_i and D_il are rows of place i. On a CPU the products are taken block by block of the kernels, one example and
direction after another, and squared and added up while they are in the cache: a product of all examples followed by a
sum over them is several times slower. All blocks of a model go through one loop, which is compiled once, however many
layers there are.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from atjax.batch import Batch
from atjax.fisher.cotangents import Cotangents
from atjax.fisher.gradients import split_params
from atjax.fisher.slots import Places, SlotIndex, fill
from atjax.model.gnn import GNN, Params, Variables
from atjax.model.taps import Inputs, Taps, round_of, tapped
from atjax.products import einsum


def separable(gnn: GNN) -> bool:
    """Whether every parameter theta of a model belongs to a tapped module, as `Passes` needs it.

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


class Through(NamedTuple):
    """What passes through the parameters theta in one batch.

    Attributes:
        maps: For each set of maps, inputs x of every map, [V, d], and its deltas, [V, L, H].
        others: Gradients of all other parameters, node by node, [V, L, W].
    """

    maps: tuple[tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]], ...]
    others: jax.Array


@dataclass(frozen=True)
class Layout:
    """How the parameters theta are grouped, so that equal products run through one loop.

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

    def through(self, inputs: Inputs, deltas: Taps) -> Through:
        """Inputs and deltas by these groups."""
        parts = []
        for maps in self.maps:
            xs = tuple(inputs.linear[one.names[0]] for one in maps)
            ds = tuple(jnp.concatenate([deltas[name] for name in one.names], axis=-1) for one in maps)
            parts.append((xs, ds))
        rows = {f"{name}/bias": deltas[name] for name in [*inputs.linear, *inputs.norm]}
        rows |= {f"{name}/scale": deltas[name] * z[:, None] for name, z in inputs.norm.items()}
        rows |= {
            f"{name}/negative_slope": jnp.sum(deltas[name] * low[:, None], axis=-1, keepdims=True)
            for name, low in inputs.slope.items()
        }
        return Through(tuple(parts), jnp.concatenate([rows[key] for key, _ in self.others], axis=-1))

    def zeros(self, dtype: Any) -> Packed:
        """Where sums start."""
        sizes = [(tile_of([one.inputs for one in maps]), maps) for maps in self.maps]
        shapes = [(sum(one.inputs for one in maps) // tile, tile, sum(maps[0].outputs)) for tile, maps in sizes]
        others = sum(math.prod(shape) for _, shape in self.others)
        return Packed(tuple(jnp.zeros(shape, dtype) for shape in shapes), jnp.zeros(others, dtype))

    def unpack(self, packed: Packed, theta: Params) -> Params:
        """A tree like theta."""
        leaves: dict[str, jax.Array] = {}
        for together, blocks in zip(self.maps, packed.maps):
            rows = blocks.reshape(-1, blocks.shape[-1])
            for one, part in zip(together, _cut(rows, [one.inputs for one in together], axis=0)):
                leaves |= zip((f"{name}/kernel" for name in one.names), _cut(part, one.outputs, axis=1))
        flat = _cut(packed.others, [math.prod(shape) for _, shape in self.others], axis=0)
        leaves |= {key: part.reshape(shape) for (key, shape), part in zip(self.others, flat)}
        return jax.tree_util.tree_map_with_path(lambda path, _: leaves[_key(path)], theta)


def tile_of(widths: Sequence[int]) -> int:
    """T, the greatest width that divides the inputs' of all maps of a set."""
    return math.gcd(*widths)


class Packed(NamedTuple):
    """Sums over theta as a `Layout` keeps them: of each set of maps [K, T, H], and of all other parameters [W]."""

    maps: tuple[jax.Array, ...]
    others: jax.Array


@dataclass(frozen=True)
class Passes:
    """Forward and backward passes of one model over batches of disjoint graphs.

    Attributes:
        gnn: The model; see `separable`.
        cotangents: What is sent backward from every graph.
        variables: Parameters and BatchNorm statistics.
        features: What nodes begin with, [V, D].
        layout: How the parameters theta are grouped.
        taps: Shapes of what the tapped modules yield in a batch.
        linear: What linear maps yield for the rows that `SlotIndex.recalled` names, where that is known.
    """

    gnn: GNN
    cotangents: Cotangents
    variables: Variables
    features: jax.Array
    layout: Layout
    taps: Taps
    linear: Taps

    @classmethod
    def over(
        cls, gnn: GNN, cotangents: Cotangents, variables: Variables, data: jax.Array | Batch, examples: SlotIndex
    ) -> Passes:
        """Prepare for batches such as these.

        The layers before message passing see each node by itself and have no part in theta: for receptive fields, in
        which a node occurs many times, they are passed once, and fields begin with what comes out.

        Args:
            gnn: The model.
            cotangents: What is sent backward.
            variables: Parameters and BatchNorm statistics.
            data: Node features of all graphs, [V, D]; for receptive fields the graph of the node task.
            examples: S batches, leading axis S.
        """
        if isinstance(data, Batch):
            data, gnn, variables = _embedded(gnn, variables, data)
        layouts: list[Layout] = []

        def look() -> Taps:
            _, inputs, outputs = tapped(gnn, variables, fill(data, jax.tree.map(lambda x: x[0], examples)), None)
            layouts.append(Layout.of(split_params(variables["params"])[0], inputs))
            return outputs

        taps = jax.eval_shape(look)
        linear = variables.get("linear", {}) if examples.recalled else {}
        return cls(gnn, cotangents, variables, data, layouts[0], taps, linear)

    def through(self, index: SlotIndex) -> Through:
        """Of one batch, by the groups of the layout; for L cotangents a graph."""
        return self.layout.through(*self.run(index))

    def run(self, index: SlotIndex) -> tuple[Inputs, Taps]:
        """Inputs [V, ...] and deltas [V, L, ...] of one batch."""
        batch = fill(self.features, index)
        shifts = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in self.taps.items()}
        known = {name: rows[index.recalled[round_of(name)]] for name, rows in self.linear.items()}

        def forward(shifts: Taps) -> tuple[jax.Array, Inputs]:
            values, inputs, _ = tapped(self.gnn, self.variables, batch, shifts, known)
            return values[index.places.starts] if index.rooted else values[:-1], inputs

        values, pullback, inputs = jax.vjp(forward, shifts, has_aux=True)
        directions = jax.vmap(self.cotangents.of)(values, jnp.asarray(index.graphs))

        def deltas(cotangent: jax.Array) -> Taps:
            return pullback(cotangent)[0]

        if directions.shape[1] == 1:
            return inputs, {name: delta[:, None] for name, delta in deltas(directions[:, 0]).items()}
        each = jax.lax.map(deltas, jnp.moveaxis(directions, 1, 0))
        return inputs, {name: jnp.moveaxis(delta, 0, 1) for name, delta in each.items()}


def _embedded(gnn: GNN, variables: Variables, graph: Batch) -> tuple[jax.Array, GNN, Variables]:
    """What the nodes of a graph are after the layers before message passing, and the model without these."""
    kept = {
        part: {name: leaf for name, leaf in tree.items() if not name.startswith("pre_")}
        for part, tree in variables.items()
    }
    rest = gnn.clone(design=dataclasses.replace(gnn.design, pre_layers=0))
    return cast(jax.Array, gnn.apply(variables, graph, method=GNN.embed)), rest, kept


def slot_sums(
    gnn: GNN,
    cotangents: Cotangents,
    variables: Variables,
    data: jax.Array | Batch,
    examples: SlotIndex,
) -> Params:
    """Sums over the graphs of S batches; the same numbers as `graph_sums` and `node_sums` of `atjax.fisher.gradients`.

    Args:
        gnn: The model; see `separable`.
        cotangents: What is sent backward from every graph.
        variables: Parameters and BatchNorm statistics.
        data: Node features of all graphs, [V, D]; for receptive fields the graph of the node task.
        examples: S batches, leading axis S. An empty place counts nothing.
    """
    theta, _ = split_params(variables["params"])
    passes = Passes.over(gnn, cotangents, variables, data, examples)

    def add(sums: Packed, index: SlotIndex) -> tuple[Packed, None]:
        return _add(sums, passes.through(index), index.places), None

    zeros = passes.layout.zeros(jax.tree.leaves(theta)[0].dtype)
    return passes.layout.unpack(jax.lax.scan(add, zeros, examples)[0], theta)


def _add(sums: Packed, through: Through, places: Places) -> Packed:
    """Add f_i of the examples of one batch."""
    on_cpu = jax.default_backend() == "cpu"
    add_products, add_others = (_add_blocks, _add_rows) if on_cpu else (_add_whole, _add_rows_whole)
    totals = [add_products(total, xs, ds, places) for total, (xs, ds) in zip(sums.maps, through.maps)]
    return Packed(tuple(totals), add_others(sums.others, through.others, places))


def own_rows(rows: jax.Array, places: Places) -> jax.Array:
    """Sums over every place's nodes, [V, ...] -> [B, ...]."""
    return jnp.concatenate([jnp.sum(part, axis=1) for part in places.cut(rows)])


def _add_rows_whole(sums: jax.Array, rows: jax.Array, places: Places) -> jax.Array:
    """Add f_i of parameters that act on every node alone, from their gradients node by node, [V, L, W]."""
    return sums + jnp.sum(own_rows(rows, places) ** 2, axis=(0, 1))


def _add_rows(sums: jax.Array, rows: jax.Array, places: Places) -> jax.Array:
    """The same sums, one example after another."""

    def step(sums: jax.Array, start: jax.Array, nodes: int) -> jax.Array:
        own = jax.lax.dynamic_slice_in_dim(rows, start, nodes)
        return sums + jnp.sum(jnp.sum(own, axis=0) ** 2, axis=0)

    return places.walk(step, sums)


def _add_blocks(sums: jax.Array, xs: Sequence[jax.Array], ds: Sequence[jax.Array], places: Places) -> jax.Array:
    """Add f_i of linear maps to sums [K, T, H], block after block.

    Args:
        sums: Of K blocks in all.
        xs: Inputs of every map, [V, d], and
        ds: its deltas, [V, L, H].
        places: The places.
    """
    _, tile, width = sums.shape
    blocks = [x.shape[1] // tile for x in xs]
    owners = np.repeat(np.arange(len(xs), dtype=np.int32), blocks)
    columns = tile * np.concatenate([np.arange(count, dtype=np.int32) for count in blocks])
    deltas = [d.reshape(len(d), -1) for d in ds]

    def block(_: None, here: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[None, jax.Array]:
        owner, column, sums = here

        def step(sums: jax.Array, start: jax.Array, nodes: int) -> jax.Array:
            x = _rows_of(xs, owner, start, column, nodes, tile)

            def direction(number: jax.Array, sums: jax.Array) -> jax.Array:
                d = _rows_of(deltas, owner, start, number * width, nodes, width)
                added = sums + einsum("nt,nh->th", x, d) ** 2
                # Always so, and XLA does not know: what adds and multiplies and nothing else, jaxlib 0.10 compiles for
                # a CPU into tiles that are copied to the stack and back, at a sixth of the speed (mended by pull
                # request 42432 of openxla/xla).
                return jnp.where(start >= 0, added, sums)

            return jax.lax.fori_loop(0, ds[0].shape[1], direction, sums)

        return None, places.walk(step, sums)

    return jax.lax.scan(block, None, (jnp.asarray(owners), jnp.asarray(columns), sums))[1]


def _rows_of(
    arrays: Sequence[jax.Array], which: jax.Array, start: jax.Array, column: jax.Array, rows: int, columns: int
) -> jax.Array:
    """``arrays[which][start : start + rows, column : column + columns]``, and never the arrays in one piece."""

    corner = jnp.asarray(start, jnp.int32), jnp.asarray(column, jnp.int32)

    def cut(array: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(array, corner, (rows, columns))

    return jax.lax.switch(which, [functools.partial(cut, array) for array in arrays])


def _add_whole(sums: jax.Array, xs: Sequence[jax.Array], ds: Sequence[jax.Array], places: Places) -> jax.Array:
    """The same sums from one product of all examples a map, for an accelerator."""

    def total(x: jax.Array, delta: jax.Array) -> jax.Array:
        pairs = zip(places.cut(x), places.cut(delta))
        return sum((jnp.sum(einsum("ind,inlh->idlh", *pair) ** 2, axis=(0, 2)) for pair in pairs), jnp.zeros(()))

    return sums + jnp.concatenate([total(x, delta) for x, delta in zip(xs, ds)]).reshape(sums.shape)


def _cut(array: jax.Array, sizes: Sequence[int], axis: int) -> list[jax.Array]:
    """Into pieces of these sizes."""
    return jnp.split(array, np.cumsum(sizes)[:-1], axis=axis)


def _key(path: Any) -> str:
    return "/".join(step.key for step in path)


def _flat(tree: Params) -> dict[str, jax.Array]:
    return {_key(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
