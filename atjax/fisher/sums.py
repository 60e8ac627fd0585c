"""Sums over blocks of units, of R models at once: the compiled work behind the diagonal of F and its moments.

    J blocks of units u -> sums of d_u and of d_u^2 in each, [J, P] -> (sums over each layer's parameters)

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
from atjax.fisher.gradients import Sums, graph_sums, node_sums
from atjax.fisher.models import over_models, program
from atjax.fisher.moments import Sizes, layer_products, layer_totals
from atjax.fisher.slots import SlotIndex
from atjax.model.gnn import GNN, Variables

LARGE, SMALL = 1e15, 1e-12
"""The largest entry of the sums of d_u has to lie between: the squares of d_u are then within single precision."""


class Drawn(NamedTuple):
    """Sums over the units of each block, of one model.

    Attributes:
        first: Of d_u, [J, P].
        second: Of d_u^2, [J, P], or [J, L] by layer; None if a block is a single unit, or if nothing needs it.
    """

    first: jax.Array
    second: jax.Array | None


@dataclass(frozen=True)
class ByExample:
    """A unit is an example, and d_u is f_i.

    Attributes:
        width: Of tasks of nodes or pairs, backward passes of one example at once.
        squares: Whether f_i^2 is added up too.
    """

    width: int
    squares: bool

    def __call__(
        self,
        gnn: GNN,
        cotangents: Cotangents,
        variables: Variables,
        data: Any,
        units: tuple[Chunk, ...],
        layers: Sizes | None = None,
    ) -> Drawn:
        """Of blocks of chunks, leading axis J; given ``layers``, squares are added up over each."""

        def block(_: None, chunks: tuple[Chunk, ...]) -> tuple[None, Drawn]:
            first, second = _over_chunks(gnn, cotangents, variables, data, chunks, self.width, self.squares)
            return None, Drawn(first, second if second is None or layers is None else layer_totals(second, layers))

        return jax.lax.scan(block, None, units)[1]


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
        layers: Sizes | None = None,
    ) -> Drawn:
        """Of keys [J]; ``data`` is what examples are picked from, and the chunks."""

        def draw(key: jax.Array) -> jax.Array:
            sent = cotangents.keyed(key)
            return _over_chunks(gnn, sent, variables, data[0], data[1], self.width, False).first / self.count

        return Drawn(jax.lax.map(draw, keys), None)


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
        layers: Sizes | None = None,
    ) -> Drawn:
        """Of keys [J]."""
        return Drawn(self.sketch(gnn, cotangents, variables, data, keys), None)


Source = ByExample | ByLabels | BySketch
"""An estimator as a value: equal ones share compiled programs."""


def _over_chunks(
    gnn: GNN,
    cotangents: Cotangents,
    variables: Variables,
    data: Any,
    chunks: Sequence[Chunk],
    width: int,
    squares: bool,
) -> Drawn:
    """Sums over the examples of every layout, [P]."""

    def of(chunk: Chunk) -> Sums:
        if isinstance(chunk, SlotIndex):
            return slot_sums(gnn, cotangents, variables, data, chunk, squares)
        if isinstance(chunk, BatchIndex):
            return graph_sums(gnn, cotangents, variables, data, chunk, squares)
        return node_sums(gnn, cotangents, variables, data, chunk, width, squares)

    sums = functools.reduce(functools.partial(jax.tree.map, jnp.add), map(of, chunks))
    return Drawn(ravel_pytree(sums.first)[0], None if sums.second is None else ravel_pytree(sums.second)[0])


class Found(NamedTuple):
    """Sums of R models in float64, at their true scale.

    Attributes:
        first: Of d_u, [R, J, P]; or, by layer, [R, J, L].
        second: Of d_u^2, of the same shape, or None as in `Drawn`.
        products: By layer, of the products of ``first`` of every two blocks, [R, J, J, L]; else None.
    """

    first: np.ndarray
    second: np.ndarray | None
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
) -> tuple[tuple[jax.Array, jax.Array | None, jax.Array | None], jax.Array]:
    """What `Found` has, at a scale [R], and the largest entry of the sums [R]; NaN where any entry is."""

    def one(model: tuple[Variables, jax.Array]) -> tuple[Any, jax.Array]:
        variables, scale = model
        sent = cotangents.scaled(scale)
        if layers is None:
            first, second = source(gnn, sent, variables, data, units)
            return (first, second, None), jnp.max(first)
        first, second = source(gnn, sent, variables, data, units, layers)
        return (layer_totals(first, layers), second, layer_products(first, layers)), jnp.max(first)

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
        found, largest = _sums(gnn, source, layers, cotangents, variables, given, data, units)
        top = np.asarray(largest, np.float64)
        top = np.where(np.isfinite(top), top, np.inf)
        wrong = (top > LARGE) | ((top > 0) & (top < SMALL))
        if not wrong.any():
            break
        # d_u grows with the square of the scale. Powers of two keep all digits.
        factor = np.where(np.isinf(top), 1e-12, 1 / np.sqrt(np.where(top > 0, top, 1)))
        better = np.where(wrong, scale * 2.0 ** np.round(np.log2(factor)), scale)

    def true(part: jax.Array | None, power: int) -> Any:
        return None if part is None else np.divide(part, scale.reshape(-1, *[1] * (part.ndim - 1)) ** power)

    first, second, products = found
    return Found(true(first, 2), true(second, 4), true(products, 4))
