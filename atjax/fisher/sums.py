"""Sums over blocks of units, of R models at once: the compiled work behind the diagonal of F and its moments.

    J blocks of units u -> sums of d_u in each, [J, P] -> (sums and products, each summed over a layer's parameters)

A `Source` says what a unit is and what it yields. Where sums over the parameters are all that is asked for, nothing of
length P leaves the device.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from atjax.batch import BatchIndex
from atjax.fisher import sketches
from atjax.fisher.cotangents import Cotangents
from atjax.fisher.disjoint import slot_sums
from atjax.fisher.examples import Chunk
from atjax.fisher.gradients import graph_sums, node_sums
from atjax.fisher.moments import Sizes, layer_products, layer_totals
from atjax.fisher.programs import over_models, program
from atjax.fisher.slots import SlotIndex
from atjax.model.gnn import GNN, Params, Variables

LARGE, SMALL = 1e15, 1e-12
"""The largest entry of the sums of d_u has to lie between: their products are then within single precision."""

LIFT = 2.0**60
"""Scale at which sums that are 0 are computed once more: squares of what is below 1e-19 are 0 in single precision."""


@dataclass(frozen=True)
class ByExample:
    """A unit is an example, and d_u is f_i.

    Attributes:
        width: Of tasks of nodes or pairs, backward passes of one example at once.
    """

    width: int

    def __call__(
        self,
        gnn: GNN,
        cotangents: Cotangents,
        variables: Variables,
        data: Any,
        units: tuple[Chunk, ...],
    ) -> jax.Array:
        """Sums of J blocks of chunks, leading axis J, [J, P]."""
        return jax.lax.map(lambda chunks: _over_chunks(gnn, cotangents, variables, data, chunks, self.width), units)


@dataclass(frozen=True)
class ByLabels:
    """A unit is a label for every example, and d_u the mean of f_i with these labels.

    Of a sample of the examples, errors are about the labels drawn alone, not about which examples were taken.

    Attributes:
        width: As of `ByExample`.
        count: n, how many examples there are.
    """

    width: int
    count: int

    def __call__(
        self,
        gnn: GNN,
        cotangents: Cotangents,
        variables: Variables,
        data: tuple[Any, Sequence[Chunk]],
        keys: jax.Array,
    ) -> jax.Array:
        """One row for each of keys [J], [J, P]; ``data`` is what examples are picked from, and the chunks."""

        def draw(key: jax.Array) -> jax.Array:
            return _over_chunks(gnn, cotangents.keyed(key), variables, data[0], data[1], self.width) / self.count

        return jax.lax.map(draw, keys)


@dataclass(frozen=True)
class BySketch:
    """A unit is a draw of a sketch of all training examples."""

    sketch: sketches.Sketch

    def __call__(
        self,
        gnn: GNN,
        cotangents: Cotangents,
        variables: Variables,
        data: sketches.Training,
        keys: jax.Array,
    ) -> jax.Array:
        """One row for each of keys [J], [J, P]."""
        return self.sketch(gnn, cotangents, variables, data, keys)


Source = ByExample | ByLabels | BySketch
"""An estimator as a value: equal ones share compiled programs."""


def _over_chunks(
    gnn: GNN,
    cotangents: Cotangents,
    variables: Variables,
    data: Any,
    chunks: Sequence[Chunk],
    width: int,
) -> jax.Array:
    """Sums over the examples of every layout, [P]."""

    def of(chunk: Chunk) -> Params:
        if isinstance(chunk, SlotIndex):
            return slot_sums(gnn, cotangents, variables, data, chunk)
        if isinstance(chunk, BatchIndex):
            return graph_sums(gnn, cotangents, variables, data, chunk)
        return node_sums(gnn, cotangents, variables, data, chunk, width)

    return ravel_pytree(functools.reduce(functools.partial(jax.tree.map, jnp.add), map(of, chunks)))[0]


class Found(NamedTuple):
    """Sums of R models in float64, at their true scale.

    Attributes:
        sums: Of d_u over the units of each block, [R, J, P]; or, by layer, [R, J, L].
        products: By layer, of the products of ``sums`` of every two blocks, [R, J, J, L]; else None.
    """

    sums: np.ndarray
    products: np.ndarray | None


@program(static_argnames=("gnn", "source", "layers"))
def _sums(
    gnn: GNN,
    source: Source,
    layers: Sizes | None,
    cotangents: Cotangents,
    variables: Variables,
    scale: jax.Array,
    data: Any,
    units: Any,
) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    """What `Found` has, at a scale [R], and the largest entry of the sums [R]; NaN where any entry is."""

    def one(model: tuple[Variables, jax.Array]) -> tuple[jax.Array, jax.Array | None, jax.Array]:
        variables, scale = model
        sums = source(gnn, cotangents.scaled(scale), variables, data, units)
        if layers is None:
            return sums, None, jnp.max(sums)
        return layer_totals(sums, layers), layer_products(sums, layers), jnp.max(sums)

    return over_models(one, (variables, scale))


def summed(
    gnn: GNN,
    source: Source,
    cotangents: Cotangents,
    variables: Variables,
    data: Any,
    units: Any,
    layers: Sizes | None = None,
) -> Found:
    """Sums over blocks of units, computed at another scale where single precision would not hold the squares.

    Args:
        gnn: The model.
        source: What a unit yields.
        cotangents: What is sent backward, at scale 1.
        variables: Of R models, leading axis R.
        data: What the source takes examples from.
        units: J blocks of them.
        layers: Name and size of every layer, to be given sums over each; None for sums of every parameter.
    """
    better = np.ones(len(jax.tree.leaves(variables)[0]))
    for _ in range(4):
        scale = better
        given = jnp.asarray(scale, jnp.float32)
        sums, products, largest = _sums(gnn, source, layers, cotangents, variables, given, data, units)
        top = np.asarray(largest, np.float64)
        top = np.where(np.isfinite(top), top, np.inf)
        vanished = (top == 0) & (scale < LIFT)
        wrong = (top > LARGE) | ((top > 0) & (top < SMALL)) | vanished
        if not wrong.any():
            break
        # d_u grows with the square of the scale. Powers of two keep all digits.
        factor = np.where(np.isinf(top), 1e-12, np.where(vanished, LIFT, 1 / np.sqrt(np.where(top > 0, top, 1))))
        better = np.where(wrong, scale * 2.0 ** np.round(np.log2(factor)), scale)

    def true(part: jax.Array, power: int) -> np.ndarray:
        return np.divide(part, scale.reshape(-1, *[1] * (part.ndim - 1)) ** power)

    return Found(true(sums, 2), None if products is None else true(products, 4))
