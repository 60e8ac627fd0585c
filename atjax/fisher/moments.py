"""What estimators yield and statistics read: the Fisher information in four reduced forms, each in blocks.

F [P, P] is never formed. A statistic reads one of

* `Moments`: sums of the diagonal of F and of its square over every layer's parameters, which is all that alpha needs,
* `Diagonal`: estimates d_u [P] of the diagonal of F, one a unit u, summed within J blocks of units,
* `Gram`: the products of score rows r with F = mean_u sum of r r^T: all of F's spectrum, for examples are few,
* `Factors`: the Kronecker factors of every linear map.

A unit is what is drawn independently: a training example (of N, without replacement), or a random sketch (N infinite).
Statistics that are not linear in F are corrected for the noise of a sample where a closed form is known, and every
statistic has a standard error, by leaving out one block of units after another (Efron and Stein, 1981; the
finite-population factor of Cochran, 1977, makes it 0 where every example was used).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from atjax.products import einsum

Array = Any
"""A `jax.Array` inside a program; on its way there a `np.ndarray`, which keeps double precision."""


class Estimate(NamedTuple):
    """A statistic of one model: its value, a scalar or [K], and the standard error of that, 0 where it is exact."""

    value: jax.Array
    error: jax.Array


class Layer(NamedTuple):
    """One block of the parameters theta, in their order.

    Attributes:
        name: Path of the module, such as ``mp_0/conv/neighbour``.
        shape: Shape of the block: [d, H] for a linear map, [H] or [] for others.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of parameters."""
        size = 1
        for length in self.shape:
            size *= length
        return size


Sizes = tuple[tuple[str, int], ...]
"""Name and number of parameters of every message-passing layer, in the order of the parameters."""


def stages(layers: Sequence[Layer]) -> Sizes:
    """The message-passing layers, told by the first part of the blocks' names."""
    sizes: dict[str, int] = {}
    for layer in layers:
        stage = layer.name.split("/")[0]
        sizes[stage] = sizes.get(stage, 0) + layer.size
    return tuple(sizes.items())


def jackknife(function: Callable[[jax.Array], jax.Array], counts: jax.Array, population: jax.Array | float) -> Estimate:
    """Value and standard error of a function of blocks.

    Args:
        function: Maps weights of the blocks [J], 1 or 0, to a statistic of those with weight 1.
        counts: Units in each block, [J]; an empty block is not left out.
        population: N, of which the units are a sample without replacement, or infinity.
    """
    present = (counts > 0).astype(counts.dtype)
    number = jnp.sum(present)
    without = present * (1 - jnp.eye(len(counts), dtype=counts.dtype))
    unseen = jnp.maximum(1 - jnp.sum(counts) / population, 0)
    # The value is the first of the loop, so that the function is compiled once; where it is exact, also the last.
    choices = jnp.vstack([present, without])
    like = jax.eval_shape(function, present)
    values = jax.lax.fori_loop(
        0,
        jnp.where(unseen > 0, len(choices), 1),
        lambda i, values: values.at[i].set(function(choices[i])),
        jnp.zeros((len(choices), *like.shape), like.dtype),
    )
    value, each = values[0], values[1:]
    weight = (present > 0).reshape(-1, *[1] * (each.ndim - 1))
    mean = jnp.sum(jnp.where(weight, each, 0), axis=0) / number
    spread = jnp.sum(jnp.where(weight, (each - mean) ** 2, 0), axis=0)
    error = jnp.sqrt((number - 1) / number * spread * unseen)
    # One block says nothing of its own uncertainty, unless it holds everything.
    return Estimate(value, jnp.where(unseen == 0, 0, jnp.where(number > 1, error, jnp.nan)))


def pair_weights(count: jax.Array, together: jax.Array, population: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """How products of sums over blocks make an unbiased estimate of the square of a population mean.

    With b_j units in block j, n in all, drawn without replacement and dealt at random, and S_j the sum of what they
    yield, the estimate is

        own * sum over j of S_j^2 + across * sum over i != j of S_i S_j.

    It has to hold the n products of a unit with itself as often as they occur among all N units, at 1 / (n N) each, and
    those of two units at 1 - 1/N in all. The former are in the S_j^2 alone, with b_j (b_j - 1) of the latter; that
    gives both weights. Of independent draws, N infinite, only products of different blocks count. Of all N units both
    weights are 1 / N^2, and the square is exact. A single block has no other, and its plain square is taken.

    Args:
        count: n, the sum of b_j.
        together: The sum of b_j^2; n where every unit is a block of its own.
        population: N, or infinity.

    Returns:
        ``own`` and ``across``, two scalars.
    """
    others = count**2 - together
    own = 1 / (count * population)
    across = (1 - 1 / population - own * (together - count)) / jnp.where(others > 0, others, 1)
    plain = 1 / count**2
    return jnp.where(others > 0, own, plain), jnp.where(others > 0, across, plain)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Moments:
    """Sums over each layer's parameters k of the diagonal of F and of its square, of one model.

    With S_j [P] the sum of d_u over the units of block j, all that a statistic of m1 and m2 needs of any choice of
    blocks are L x J x J numbers, whatever P: see `pair_weights`.

    Attributes:
        sums: Sums over each layer's k of S_jk, [J, L].
        products: Sums over each layer's k of S_ik S_jk, [J, J, L].
        counts: Units in each block, float [J].
        population: N, the number of training examples, or infinity for independent draws; a scalar.
        sizes: Parameters of each layer, float [L]; P in all. An array, so that designs of one depth share programs.
        layers: Name of each message-passing layer.
    """

    sums: Array
    products: Array
    counts: Array
    population: Array
    sizes: Array
    layers: tuple[str, ...] = dataclasses.field(metadata={"static": True})

    def estimate(self, function: Callable[[jax.Array, jax.Array], jax.Array]) -> Estimate:
        """A statistic of the layers' moments and its standard error.

        Args:
            function: Maps the sums over each layer of the diagonal [L] and of its square [L], both unbiased, to a
                scalar or [K].
        """

        def of(weights: jax.Array) -> jax.Array:
            count = weights @ self.counts
            own, across = pair_weights(count, weights @ self.counts**2, self.population)
            alone = jnp.einsum("i,iil->l", weights, self.products)
            total = jnp.einsum("i,j,ijl->l", weights, weights, self.products)
            return function(weights @ self.sums / count, across * total + (own - across) * alone)

        return jackknife(of, self.counts, self.population)


def layer_totals(vectors: jax.Array, layers: Sizes) -> jax.Array:
    """Sums over each layer, [..., P] -> [..., L]."""
    return jnp.stack([jnp.sum(part, axis=-1) for part in _by_layer(vectors, layers)], axis=-1)


def layer_products(vectors: jax.Array, layers: Sizes) -> jax.Array:
    """Products of all pairs of vectors, summed over each layer, [J, P] -> [J, J, L]."""
    return jnp.stack([einsum("ip,jp->ij", part, part) for part in _by_layer(vectors, layers)], axis=-1)


def _by_layer(vectors: jax.Array, layers: Sizes) -> list[jax.Array]:
    return jnp.split(vectors, np.cumsum([size for _, size in layers])[:-1], axis=-1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Diagonal:
    """Estimates of the diagonal of F, of one model.

    Attributes:
        sums: Sums over each block's units of d_u, [J, P]; mean d_u is an unbiased estimate of the diagonal.
        counts: Units in each block, float [J].
        population: N, the number of training examples, or infinity for independent draws; a scalar.
        layers: Which part of P belongs to which layer.
    """

    sums: Array
    counts: Array
    population: Array
    layers: tuple[Layer, ...] = dataclasses.field(metadata={"static": True})

    def estimate(self, function: Callable[[jax.Array, jax.Array], jax.Array]) -> Estimate:
        """A statistic of the diagonal and its standard error.

        Args:
            function: Maps the diagonal [P] and its square [P], both unbiased, to a scalar or [K].
        """

        # Converted once, for all choices of blocks.
        blocks = jnp.asarray(self.sums, self.counts.dtype)
        squares = blocks**2

        def of(weights: jax.Array) -> jax.Array:
            count, total = weights @ self.counts, weights @ blocks
            own, across = pair_weights(count, weights @ self.counts**2, self.population)
            return function(total / count, across * total**2 + (own - across) * (weights @ squares))

        return jackknife(of, self.counts, self.population)

    def moments(self) -> Moments:
        """What a statistic of m1 and m2 needs of it."""
        layers = stages(self.layers)
        return Moments(
            layer_totals(self.sums, layers),
            layer_products(self.sums, layers),
            self.counts,
            self.population,
            jnp.asarray([size for _, size in layers], self.counts.dtype),
            tuple(name for name, _ in layers),
        )

    def by_layer(self, vector: jax.Array) -> list[jax.Array]:
        """Cut a vector [P] into the layers' blocks, each of its own shape."""
        blocks, start = [], 0
        for layer in self.layers:
            blocks.append(vector[start : start + layer.size].reshape(layer.shape))
            start += layer.size
        return blocks


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gram:
    """Products of all pairs of score rows of one model: the nonzero spectrum of F without F.

    With rows r_a [P] and F = 1/n sum_a r_a r_a^T over the rows of n units, F and K / n share their nonzero eigenvalues,
    tr F = tr K / n, and tr F^2 = |K|^2 / n^2 (Papyan, 2019).

    Attributes:
        products: K, r_a . r_b, [M, M]; rows and columns of padding are 0.
        unit: The unit that each row belongs to, int [M], 0 to n - 1; -1 for padding.
        count: n, a scalar.
        population: N, or infinity; a scalar.
        parameters: P, a scalar; an array, so that designs share programs.
        blocks: J, into how many the units are dealt for standard errors.
    """

    products: Array
    unit: Array
    count: Array
    population: Array
    parameters: Array
    blocks: int = dataclasses.field(default=8, metadata={"static": True})

    def estimate(self, function: Callable[[jax.Array, jax.Array], jax.Array]) -> Estimate:
        """A statistic of the spectrum and its standard error.

        Args:
            function: Maps K [M, M] of the units that count (all others 0) and their number to a scalar or [K].
        """
        block = jnp.where(self.unit >= 0, self.unit % self.blocks, self.blocks)
        seen = jax.ops.segment_max(jnp.ones_like(self.unit), self.unit, self.unit.shape[0])  # units in use
        dealt = jnp.arange(len(seen)) % self.blocks
        sizes = jax.ops.segment_sum((seen > 0).astype(self.products.dtype), dealt, self.blocks)

        def of(weights: jax.Array) -> jax.Array:
            row = jnp.append(weights, 0)[block]
            return function(self.products * row[:, None] * row[None, :], weights @ sizes)

        return jackknife(of, sizes, self.population)

    def second_moment(self, products: jax.Array, count: jax.Array) -> jax.Array:
        """tr F^2, unbiased, from K of n units (see `pair_weights`); a scalar."""
        same = self.unit[:, None] == self.unit[None, :]
        squares = products**2
        total, alone = jnp.sum(squares), jnp.sum(jnp.where(same, squares, 0))
        own, across = pair_weights(count, count, self.population)
        return across * total + (own - across) * alone


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Factors:
    """Kronecker factors of the linear maps of one model.

    As Martens and Grosse (2015) define them, in the form that Eschenhagen et al. (2023) call "expand". The map of
    layer l is used at every node; with inputs x and output gradients delta, F_l is about A_l (x) B_l,

        A_l = mean over nodes of x x^T,    B_l = mean over examples of sum over nodes of delta delta^T.

    Attributes:
        inputs: Of every linear map, sums over each block's nodes of x x^T, a tuple of [J, d, d]; [1, d, d] where all
            blocks have the same nodes.
        deltas: Sums over each block's units of sums over nodes and cotangents of delta delta^T, a tuple of [J, H, H].
        nodes: Nodes behind the inputs of each block, [J] or [1].
        counts: Units in each block, [J]: examples, or draws of all of them.
        population: N, or infinity for draws; a scalar.
    """

    inputs: tuple[Array, ...]
    deltas: tuple[Array, ...]
    nodes: Array
    counts: Array
    population: Array

    def estimate(self, function: Callable[[list[tuple[jax.Array, jax.Array]]], jax.Array]) -> Estimate:
        """A statistic of the factors and its standard error.

        Args:
            function: Maps the list of (A_l [d, d], B_l [H, H]) to a scalar or [K].
        """

        def of(weights: jax.Array) -> jax.Array:
            seen = weights if len(self.nodes) == len(weights) else jnp.ones_like(self.nodes)
            nodes, units = seen @ self.nodes, weights @ self.counts

            def total(weights: jax.Array, sums: jax.Array) -> jax.Array:
                return jnp.einsum("j,jab->ab", weights, sums)

            pairs = zip(self.inputs, self.deltas)
            return function([(total(seen, a) / nodes, total(weights, b) / units) for a, b in pairs])

        return jackknife(of, self.counts, self.population)


Reduced = Moments | Diagonal | Gram | Factors
Statistic = Callable[..., Any]
"""A function of one of these, named ``moments``, ``diagonal``, ``gram`` or ``factors``, to an `Estimate`; see
`atjax.fisher.statistics`."""
