"""Products of all pairs of score rows, over batches of disjoint graphs: K [M, M], and never the rows [M, P].

Rows of different examples meet, so what passes through the parameters is kept of all of them; their rows are then made
from it one block of the kernels at a time, multiplied with each other, and forgotten. A product of a matrix with itself
is symmetric: of its halves, one product of two different ones is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from atjax.batch import Batch
from atjax.fisher.cotangents import Cotangents
from atjax.fisher.disjoint import Passes, own_rows, tile_of
from atjax.fisher.slots import SlotIndex
from atjax.model.gnn import GNN, Variables
from atjax.products import einsum, matmul

HALVINGS, SMALLEST = 2, 64
"""How often rows are halved, and the fewest rows that are: smaller products are slower than what they save."""

Symmetric = Any
"""A symmetric matrix: its array, or of its halves (first, first and second, second)."""


def slot_products(
    gnn: GNN, cotangents: Cotangents, variables: Variables, data: jax.Array | Batch, examples: SlotIndex, count: int
) -> jax.Array:
    """Products of the score rows of S batches; arguments as those of `atjax.fisher.disjoint.slot_sums`.

    Args:
        count: At least as many as there are examples; rows and columns beyond those are 0.

    Returns:
        K [M, M] with M = count L, filled place after filled place.
    """
    passes = Passes.over(gnn, cotangents, variables, data, examples)

    def keep(_: None, index: SlotIndex) -> tuple[None, Any]:
        maps, others = passes.through(index)
        return None, (maps, own_rows(others, index.places))

    maps, others = jax.lax.scan(keep, None, examples)[1]
    empty = jnp.asarray(examples.graphs).size
    (filled,) = jnp.nonzero(jnp.ravel(examples.graphs) >= 0, size=count, fill_value=empty)

    def rows(each: jax.Array, width: int) -> jax.Array:
        """Of filled places, [S, B, ...] -> [M, width]."""
        return each.reshape(empty, -1).at[filled].get(mode="fill", fill_value=0).reshape(-1, width)

    total = self_product(rows(others, others.shape[-1]))
    for xs, ds in maps:
        total = _add_maps(total, xs, ds, examples, rows)
    return whole(total)


def _add_maps(
    total: Symmetric,
    xs: Sequence[jax.Array],
    ds: Sequence[jax.Array],
    examples: SlotIndex,
    rows: Callable[[jax.Array, int], jax.Array],
) -> Symmetric:
    """Add the products of rows of linear maps of one H.

    Args:
        total: So far.
        xs: Inputs of every map, [S, V, d], and
        ds: its deltas, [S, V, L, H].
        examples: The batches.
        rows: Picks the rows of filled places.
    """
    tile, (_, _, directions, width) = tile_of([x.shape[-1] for x in xs]), ds[0].shape
    # One block of kernel rows after another: its inputs [S, V, T], and whose deltas belong to it.
    blocks = jnp.concatenate([jnp.moveaxis(x.reshape(*x.shape[:-1], -1, tile), -2, 0) for x in xs])
    owner = np.repeat(np.arange(len(xs)), [x.shape[-1] // tile for x in xs])
    deltas = jnp.stack(ds).reshape(len(ds), *ds[0].shape[:2], -1)

    def cut(each: jax.Array) -> list[jax.Array]:
        return jax.vmap(lambda index, rows: index.places.cut(rows))(examples, each)

    def gradients(x: jax.Array, d: jax.Array) -> jax.Array:
        """Of places of one size, [S, B, n, ...] -> [S, B, L T H]."""
        # With a single axis of examples, and of columns, the product runs twice as fast.
        product = einsum("int,inm->itm", x.reshape(-1, *x.shape[2:]), d.reshape(-1, *d.shape[2:]))
        return jnp.swapaxes(product.reshape(-1, tile, directions, width), 1, 2).reshape(*x.shape[:2], -1)

    def add(total: Symmetric, block: tuple[jax.Array, jax.Array]) -> tuple[Symmetric, None]:
        x, which = block
        each = jnp.concatenate([gradients(*part) for part in zip(cut(x), cut(deltas[which]))], axis=1)
        return jax.tree.map(jnp.add, total, self_product(rows(each, tile * width))), None

    return jax.lax.scan(add, total, (blocks, jnp.asarray(owner)))[0]


def self_product(rows: jax.Array, halvings: int = HALVINGS) -> Symmetric:
    """Products of all pairs of rows [M, N], in three quarters of the work for one halving, five eighths for two."""
    if halvings == 0 or len(rows) < SMALLEST:
        return matmul(rows, rows.T)
    first, second = jnp.split(rows, [len(rows) // 2])
    return self_product(first, halvings - 1), matmul(first, second.T), self_product(second, halvings - 1)


def whole(matrix: Symmetric) -> jax.Array:
    """[M, M]."""
    if not isinstance(matrix, tuple):
        return matrix
    first, across, second = matrix
    return jnp.block([[whole(first), across], [across.T, whole(second)]])
