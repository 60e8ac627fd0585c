"""Estimators of the Fisher information by name, and the reduced forms that they yield.

| name | unit | cost a model | bias |
|---|---|---|---|
| `exact` | example | L backward passes an example, or a batch of graphs | none; a sample's error is known |
| `empirical` | example | one backward pass an example, or a batch of graphs | another matrix: labels of the data |
| `monte_carlo` | draw | as `empirical`, a draw | none for the diagonal; its square from crossed draws |
| `sign_sketch` | draw | one backward pass over the training set a draw | as `monte_carlo` |
| `hutchinson` | draw | a forward-mode and a backward pass a draw | as `monte_carlo`, at a far larger variance |
| `reference` | draw | one backward pass over the training set a draw | of a batch, not an example; see there |

L is C - 1 for C classes. "Crossed": F_kk^2 is the mean of products of two different draws, never of one with itself. A
ratio of unbiased estimates, such as alpha, keeps a bias of the order of one over the number of units.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from atjax.batch import BatchIndex
from atjax.errors import UserError
from atjax.fisher import sketches
from atjax.fisher.config import FisherConfig
from atjax.fisher.cotangents import Cotangents, Kind
from atjax.fisher.disjoint import field_sums, separable, slot_factors, slot_sums
from atjax.fisher.examples import BLOCKS, Chunk, Examples
from atjax.fisher.gradients import graph_rows, graph_sums, node_rows, node_sums, split_params
from atjax.fisher.models import over_models, program
from atjax.fisher.moments import Diagonal, Factors, Gram, Layer
from atjax.fisher.slots import SlotIndex
from atjax.model.gnn import GNN, Variables
from atjax.task import Task

TOGETHER = 4
"""Draws a call: after each one the standard error can be looked at."""

EXAMPLES: dict[str, Kind] = {"exact": "exact", "empirical": "observed"}
SKETCHES: dict[str, tuple[sketches.Sketch, Kind]] = {
    "sign_sketch": (sketches.sign_sketch, "exact"),
    "hutchinson": (sketches.hutchinson, "exact"),
    "reference": (sketches.reference, "sampled"),
}


class Fitted(NamedTuple):
    """R models of one design on a task.

    Attributes:
        gnn: The model.
        task: The task.
        variables: Leading axis R.
        examples: The data.
    """

    gnn: GNN
    task: Task
    variables: Variables
    examples: Examples

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What the parameters theta belong to, in the order in which they are flattened."""
        theta, _ = split_params(self.variables["params"])
        leaves = jax.tree_util.tree_leaves_with_path(theta)
        return tuple(Layer("/".join(step.key for step in path), leaf.shape[1:]) for path, leaf in leaves)

    @property
    def depth(self) -> int | None:
        """Message-passing layers, if examples may go through the model together (see `separable`)."""
        return self.gnn.design.mp_layers if separable(self.gnn) else None

    def cotangents(self, kind: Kind, seed: int = 0) -> Cotangents:
        """What is sent backward, at scale 1."""
        return Cotangents(self.examples.targets, jax.random.key(seed), jnp.ones(()), self.task.loss, kind)

    @property
    def data(self) -> Any:
        """What examples are picked from: node features of all graphs, or the graph of a node task."""
        return self.examples.batch if self.examples.features is None else self.examples.features


class Block(NamedTuple):
    """Sums over the units of one block, of R models: first and second [R, P] float64, and how many units."""

    first: np.ndarray
    second: np.ndarray
    number: int


# The diagonal


def diagonal(models: Fitted, config: FisherConfig, enough: Callable[[Diagonal], bool] | None = None) -> Diagonal:
    """Estimates of the diagonal of F of R models, leading axis R, float64.

    Args:
        models: The models and their data.
        config: Names the estimator, and how many draws.
        enough: Called with what there is after each block but the first; True stops.
    """
    name = config.estimator[models.task.level]
    early = enough is not None
    if name in EXAMPLES:
        blocks, population = _example_blocks(models, EXAMPLES[name], early), float(models.examples.population)
        most = BLOCKS
    else:
        draw = _label_draws if name == "monte_carlo" else functools.partial(_sketch_draws, *SKETCHES[name])
        blocks, population, most = draw(models, config.draws), np.inf, config.draws
    kept: list[Block] = []
    for block in blocks:
        kept.append(block)
        if enough is not None and len(kept) > 1 and enough(_diagonal(models, kept, population, most)):
            break
    return _diagonal(models, kept, population, most if early else len(kept))


def _diagonal(models: Fitted, blocks: Sequence[Block], population: float, rows: int) -> Diagonal:
    """All blocks of R models; empty ones fill up to ``rows``, so that statistics compile once."""
    count = len(blocks[0].first)

    def filled(arrays: list[np.ndarray]) -> np.ndarray:
        stacked = np.stack(arrays, axis=1)
        return np.pad(stacked, ((0, 0), (0, rows - len(arrays)), (0, 0))) if rows > len(arrays) else stacked

    counts = np.pad([float(block.number) for block in blocks], (0, max(0, rows - len(blocks))))
    return Diagonal(
        filled([block.first for block in blocks]),
        filled([block.second for block in blocks]),
        _each(count, counts),
        _each(count, population),
        _each(count, 0.0),
        models.layers,
    )


def _each(count: int, value: float | np.ndarray) -> np.ndarray:
    """The same for each of R models, float64 with leading axis R."""
    return np.stack([np.asarray(value, np.float64)] * count)


@program(static_argnames=("gnn", "width"))
def _sums(
    gnn: GNN, cotangents: Cotangents, variables: Variables, scale: jax.Array, data: Any, chunk: Chunk, width: int
) -> tuple[jax.Array, jax.Array]:
    """`Sums` of R models over examples of one layout, flattened to [R, P] each."""

    def one(model: tuple[Variables, jax.Array]) -> tuple[jax.Array, jax.Array]:
        variables, scale = model
        sent = cotangents.scaled(scale)
        if isinstance(chunk, SlotIndex):
            sums = (field_sums if chunk.rooted else slot_sums)(gnn, sent, variables, data, chunk)
        elif isinstance(chunk, BatchIndex):
            sums = graph_sums(gnn, sent, variables, data, chunk)
        else:
            sums = node_sums(gnn, sent, variables, data, chunk, width)
        return ravel_pytree(sums.first)[0], ravel_pytree(sums.second)[0]

    return over_models(one, (variables, scale))


def _example_blocks(models: Fitted, kind: Kind, early: bool) -> Iterator[Block]:
    """Sums over the examples, all at once where nothing asks for more: all of them, and no stopping early."""
    examples = models.examples
    layouts = examples.layouts(models.depth)
    whole = examples.sampled == examples.population and not early
    cut = [examples.split(layout, 1 if whole else BLOCKS) for layout in layouts]
    for number in range(max(len(parts) for parts in cut)):
        here = [parts[number] for parts in cut if number < len(parts)]
        count = sum(part.number for part in here)
        sums = [_scaled(models, models.cotangents(kind), part.chunk) for part in here]
        first, second = (functools.reduce(np.add, [each[k] for each in sums]) for k in (0, 1))
        yield Block(first, second, count)


def _label_draws(models: Fitted, draws: int) -> Iterator[Block]:
    """One label drawn for every example, again and again: each draw is a unit.

    Of a sample of the examples, errors are about the labels drawn alone, not about which examples were taken.
    """
    examples = models.examples
    for number in range(draws):
        sums = [
            _scaled(models, models.cotangents("sampled", seed=number), chunk)[0]
            for chunk in examples.layouts(models.depth)
        ]
        d = np.sum(sums, axis=0) / examples.sampled
        yield Block(d, d**2, 1)


LARGE, SMALL = 1e15, 1e-12
"""The largest entry of the sums of f_i has to lie between: the squares of f_i are then within single precision."""


def _scaled(models: Fitted, cotangents: Cotangents, chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
    """`_sums` in float64, computed at another scale where single precision would not hold the squares."""
    scale = np.ones(len(jax.tree.leaves(models.variables)[0]))
    width = models.examples.width
    for _ in range(4):
        arguments = (models.gnn, cotangents, models.variables, jnp.asarray(scale, jnp.float32), models.data, chunk)
        first, second = (np.asarray(part) for part in _sums(*arguments, width))
        top = first.max(axis=1).astype(np.float64)  # NaN where any entry is
        top = np.where(np.isfinite(top), top, np.inf)
        wrong = (top > LARGE) | ((top > 0) & (top < SMALL))
        if not wrong.any():
            break
        # f grows with the square of the scale. Powers of two keep all digits.
        better = np.where(np.isinf(top), 1e-12, 1 / np.sqrt(np.where(top > 0, top, 1)))
        scale = np.where(wrong, scale * 2.0 ** np.round(np.log2(better)), scale)
    # In one pass: of wide anchors these arrays take as long to copy as their products to compute.
    return np.divide(first, scale[:, None] ** 2), np.divide(second, scale[:, None] ** 4)


@functools.partial(jax.jit, static_argnames=("gnn", "sketch"))
def _draws(
    gnn: GNN,
    sketch: sketches.Sketch,
    cotangents: Cotangents,
    variables: Variables,
    data: sketches.Training,
    keys: jax.Array,
) -> jax.Array:
    """Draws of R models, [R, K, P]."""
    return over_models(lambda variables: sketch(gnn, cotangents, variables, data, keys), variables)


def _sketch_draws(sketch: sketches.Sketch, kind: Kind, models: Fitted, draws: int) -> Iterator[Block]:
    """Draws of a sketch over all training examples, `TOGETHER` a call."""
    examples = models.examples
    data = sketches.Training(examples.batch, examples.rows, examples.ids)
    for start in range(0, draws, TOGETHER):
        keys = jnp.stack([jax.random.key(number) for number in range(start, start + TOGETHER)])
        d = np.asarray(_draws(models.gnn, sketch, models.cotangents(kind), models.variables, data, keys), np.float64)
        for each in np.moveaxis(d, 1, 0)[: draws - start]:
            yield Block(each, each**2, 1)


# The Gram matrix and the Kronecker factors: of score rows of single examples


@functools.partial(jax.jit, static_argnames="gnn")
def _products(
    gnn: GNN, cotangents: Cotangents, variables: Variables, data: Any, chunks: tuple[Chunk, ...]
) -> jax.Array:
    """Products of all pairs of score rows of R models, [R, M, M]."""

    def one(variables: Variables) -> jax.Array:
        rows = []
        for chunk in chunks:
            if isinstance(chunk, BatchIndex):
                each = graph_rows(gnn, cotangents, variables, data, chunk)
            else:
                assert isinstance(chunk, jax.Array)
                each = node_rows(gnn, cotangents, variables, data, chunk)
            rows.append(each.reshape(-1, each.shape[-1]))
        stacked = jnp.concatenate(rows)
        return jnp.matmul(stacked, stacked.T, precision=jax.lax.Precision.HIGHEST)

    return jax.lax.map(one, variables)


def gram(models: Fitted, config: FisherConfig) -> Gram:
    """Products of score rows of R models, leading axis R; units are examples, whatever the diagonal's estimator.

    Holds the rows of one model at a time, M P numbers.
    """
    examples = models.examples
    kind = EXAMPLES.get(config.estimator[models.task.level], "exact")
    layouts = examples.layouts(None)
    products = np.asarray(
        _products(models.gnn, models.cotangents(kind), models.variables, models.data, layouts), np.float64
    )
    ids = np.concatenate([examples.ids_of(layout).ravel() for layout in layouts])
    places = np.where(ids >= 0, np.cumsum(ids >= 0) - 1, -1)
    count = len(products)
    return Gram(
        products,
        np.stack([np.repeat(places, products.shape[1] // len(ids))] * count),
        _each(count, examples.sampled),
        _each(count, examples.population),
        _each(count, 0.0),
        sum(layer.size for layer in models.layers),
    )


@functools.partial(jax.jit, static_argnames="gnn")
def _factors(
    gnn: GNN, cotangents: Cotangents, variables: Variables, data: Any, chunk: SlotIndex
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...], jax.Array]:
    return over_models(lambda variables: slot_factors(gnn, cotangents, variables, data, chunk), variables)


def factors(models: Fitted, config: FisherConfig) -> Factors:
    """Kronecker factors of the linear maps of R models, leading axis R.

    Raises:
        UserError: The task is no graph task, or the design has parameters outside linear maps and BatchNorms.
    """
    examples = models.examples
    if examples.placed is None or not separable(models.gnn):
        raise UserError(
            f"{models.task.name}: Kronecker factors are there for graph tasks without edge features and weights and "
            "the convolutions general, gcn and sage; take a statistic of the diagonal or of the Gram matrix."
        )
    kind = EXAMPLES.get(config.estimator[models.task.level], "exact")
    parts = []
    blocks = examples.split(examples.placed, 1 if examples.sampled == examples.population else BLOCKS)
    for block in blocks:
        arguments = (models.gnn, models.cotangents(kind), models.variables, models.data, block.chunk)
        parts.append(jax.tree.map(lambda x: np.asarray(x, np.float64), _factors(*arguments)))
    inputs, deltas, nodes = jax.tree.map(lambda *each: np.stack(each, axis=1), *parts)
    count = len(nodes)
    counts = np.array([block.number for block in blocks])
    return Factors(inputs, deltas, nodes, _each(count, counts), _each(count, examples.population), _each(count, 0.0))
