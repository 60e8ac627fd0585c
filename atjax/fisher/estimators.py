"""Estimators of the Fisher information by name, and the reduced forms that they yield.

| name | unit | cost a model | bias |
|---|---|---|---|
| `exact` | example | L backward passes an example, or a batch of graphs | none; a sample's error is known |
| `empirical` | example | one backward pass an example, or a batch of graphs | another matrix: labels of the data |
| `monte_carlo` | draw | as `empirical`, a draw | none for the diagonal; its square from crossed draws |
| `sign_sketch` | draw | one backward pass over the training set a draw | as `monte_carlo` |
| `hutchinson` | draw | a forward-mode and a backward pass a draw | as `monte_carlo`, at a far larger variance |
| `reference` | draw | one backward pass over the training set a draw | of a batch, not an example; see there |
| package.module.function | draw | its own | a `Sketch` of the user's, with the cotangents of `exact` |

L is C - 1 for C classes. "Crossed": F_kk^2 is the mean of products of two different draws, never of one with itself. A
ratio of unbiased estimates, such as alpha, keeps a bias of the order of one over the number of units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from atjax.batch import FINE, BatchIndex, bucket
from atjax.errors import UserError
from atjax.fisher import sketches
from atjax.fisher.config import FisherConfig
from atjax.fisher.cotangents import Cotangents, Kind
from atjax.fisher.disjoint import separable
from atjax.fisher.examples import BLOCKS, Chunk, Examples
from atjax.fisher.gradients import graph_rows, node_rows, split_params
from atjax.fisher.kronecker import Squares, graph_inputs, node_factors, sketched_factors, slot_factors
from atjax.fisher.moments import Diagonal, Factors, Gram, Layer, Moments, stages
from atjax.fisher.own import imported
from atjax.fisher.programs import over_models, program
from atjax.fisher.score_products import self_product, slot_products, whole
from atjax.fisher.slots import SlotIndex
from atjax.fisher.sums import ByExample, ByLabels, BySketch, Found, Source, summed
from atjax.model.gnn import GNN, Variables
from atjax.task import Task

TOGETHER = 4
"""Draws a call where the standard error is looked at in between."""

EXAMPLES: dict[str, Kind] = {"exact": "exact", "empirical": "observed"}
SKETCHES: dict[str, tuple[sketches.Sketch, Kind]] = {
    "sign_sketch": (sketches.sign_sketch, "exact"),
    "hutchinson": (sketches.hutchinson, "exact"),
    "reference": (sketches.reference, "sampled"),
}


def sketch_of(name: str) -> tuple[sketches.Sketch, Kind]:
    """The sketch of this name, one of `SKETCHES` or a user's own, and the cotangents it is given.

    Raises:
        UserError: A user's own cannot be imported.
    """
    return SKETCHES[name] if name in SKETCHES else (imported(name, "estimator"), "exact")


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

    @property
    def training(self) -> sketches.Training:
        """All training examples at once."""
        return sketches.Training(self.examples.batch, self.examples.rows, self.examples.ids)


# The diagonal and its moments


class Plan(NamedTuple):
    """How an estimator goes about R models.

    Attributes:
        source: What a unit yields.
        cotangents: What is sent backward.
        data: What the source takes examples from.
        units: J blocks, leading axis J.
        counts: Units in each, int [J].
        population: N, of which the units are a sample, or infinity.
    """

    source: Source
    cotangents: Cotangents
    data: Any
    units: Any
    counts: np.ndarray
    population: float

    @classmethod
    def of(cls, models: Fitted, config: FisherConfig, early: bool) -> Plan:
        """The configured estimator's; ``early`` if it is to stop before the last block."""
        name, examples = config.estimator[models.task.level], models.examples
        layouts = examples.layouts(models.depth)
        if name in EXAMPLES:
            # In as many blocks as the examples were dealt into (`Taken.of`).
            whole = examples.sampled == examples.population and not early
            units, counts = examples.blocks(layouts, 1 if whole else BLOCKS)
            cotangents = models.cotangents(EXAMPLES[name])
            return cls(ByExample(examples.width), cotangents, models.data, units, counts, float(examples.population))
        keys, counts = _keys(config.draws), np.ones(config.draws, int)
        if name == "monte_carlo":
            labels = ByLabels(examples.width, examples.sampled)
            return cls(labels, models.cotangents("sampled"), (models.data, layouts), keys, counts, np.inf)
        sketch, kind = sketch_of(name)
        return cls(BySketch(sketch), models.cotangents(kind), models.training, keys, counts, np.inf)

    def run(self, models: Fitted, blocks: slice = slice(None), layers: Any = None) -> Found:
        """`summed` over some of the blocks."""
        units = jax.tree.map(lambda leaf: leaf[blocks], self.units)
        return summed(models.gnn, self.source, self.cotangents, models.variables, self.data, units, layers)


def moments(models: Fitted, config: FisherConfig) -> Moments:
    """Sums of the diagonal of F and of its square over every layer of R models, leading axis R, float64."""
    plan, layers = Plan.of(models, config, early=False), stages(models.layers)
    sums, products = plan.run(models, layers=layers)
    count = len(sums)
    return Moments(
        sums,
        products,
        _each(count, plan.counts.astype(float)),
        _each(count, plan.population),
        _each(count, np.array([size for _, size in layers])),
        tuple(name for name, _ in layers),
    )


def diagonal(models: Fitted, config: FisherConfig, enough: Callable[[Diagonal], bool] | None = None) -> Diagonal:
    """Estimates of the diagonal of F of R models, leading axis R, float64.

    Args:
        models: The models and their data.
        config: Names the estimator, and how many draws.
        enough: Called with what there is after each block of examples but the first, or each time that there are half
            as many draws again; True stops.
    """
    plan = Plan.of(models, config, early=enough is not None)
    if enough is None:
        return _diagonal(models, plan, plan.run(models).sums, len(plan.counts))
    count, step = len(plan.counts), 1 if isinstance(plan.source, ByExample) else TOGETHER
    sums, due = np.empty(0), 2
    for number in range(count):
        place, done = number % step, number + 1
        if place == 0:
            found = plan.run(models, slice(number, number + step)).sums
        if number == 0:  # empty blocks fill up the rest, so that statistics compile once
            sums = np.zeros((len(found), count, found.shape[-1]))
        sums[:, number] = found[:, place]
        if due == done < count:
            if enough(_diagonal(models, plan, sums, done)):
                break
            # A look costs as much as many draws.
            due = done + 1 if step == 1 else math.ceil(1.5 * done)
    return _diagonal(models, plan, sums, done)


def _diagonal(models: Fitted, plan: Plan, sums: np.ndarray, done: int) -> Diagonal:
    """Of R models, of which so many blocks are done."""
    count = len(sums)
    return Diagonal(
        sums,
        _each(count, np.where(np.arange(len(plan.counts)) < done, plan.counts, 0.0)),
        _each(count, plan.population),
        models.layers,
    )


def _keys(draws: int) -> jax.Array:
    """One for each draw."""
    return jax.vmap(jax.random.key)(np.arange(draws))


def _each(count: int, value: float | np.ndarray) -> np.ndarray:
    """The same for each of R models, float64 with leading axis R."""
    return np.stack([np.asarray(value, np.float64)] * count)


# The Gram matrix: of score rows of single examples


def _rows(gnn: GNN, cotangents: Cotangents, variables: Variables, data: Any, chunk: Chunk) -> jax.Array:
    """Score rows of examples taken one by one, [M, P]."""
    if isinstance(chunk, BatchIndex):
        each = graph_rows(gnn, cotangents, variables, data, chunk)
    else:
        assert isinstance(chunk, jax.Array)
        each = node_rows(gnn, cotangents, variables, data, chunk)
    return each.reshape(-1, each.shape[-1])


@program(static_argnames=("gnn", "count"))
def _products(
    gnn: GNN, cotangents: Cotangents, variables: Variables, data: Any, chunks: tuple[Chunk, ...], count: int
) -> jax.Array:
    """Products of all pairs of score rows of R models, [R, M, M]; of places, as many as ``count`` are filled."""
    first, *_ = chunks
    if isinstance(first, SlotIndex):
        return over_models(lambda variables: slot_products(gnn, cotangents, variables, data, first, count), variables)

    def one(variables: Variables) -> jax.Array:
        rows = [_rows(gnn, cotangents, variables, data, chunk) for chunk in chunks]
        return whole(self_product(jnp.concatenate(rows)))

    return jax.lax.map(one, variables)


def gram(models: Fitted, config: FisherConfig) -> Gram:
    """Products of score rows of R models, leading axis R; units are examples, whatever the diagonal's estimator.

    Of examples that go through the model together, what passes through the parameters is held, [V, d] and [V, L, H] of
    every linear map for the V nodes of all examples; of others the rows of one model at a time, M P numbers.
    """
    examples = models.examples
    kind = EXAMPLES.get(config.estimator[models.task.level], "exact")
    layouts = examples.layouts(models.depth)
    room = bucket(examples.sampled, FINE)  # for those of other seeds, which may be one more
    ids = np.concatenate([examples.ids_of(layout).ravel() for layout in layouts])
    if isinstance(layouts[0], SlotIndex):
        ids = np.pad(ids[ids >= 0], (0, room - examples.sampled), constant_values=-1)
    products = np.asarray(
        _products(models.gnn, models.cotangents(kind), models.variables, models.data, layouts, room), np.float64
    )
    # Numbered at random: neighbours in a batch are alike in size, and blocks for standard errors must not be dealt so.
    real = ids >= 0
    order = np.random.default_rng(ids[real]).permutation(examples.sampled)
    places = np.where(real, order[np.cumsum(real) - 1], -1)
    count = len(products)
    return Gram(
        products,
        np.stack([np.repeat(places, products.shape[1] // len(ids))] * count),
        _each(count, examples.sampled),
        _each(count, examples.population),
        _each(count, sum(layer.size for layer in models.layers)),
    )


# The Kronecker factors


@program(static_argnames="gnn")
def _slot_factors(gnn: GNN, cotangents: Cotangents, variables: Variables, data: Any, chunks: SlotIndex) -> Squares:
    """Of J blocks of graphs, for R models."""

    def one(variables: Variables) -> Squares:
        return jax.lax.map(lambda chunk: slot_factors(gnn, cotangents, variables, data, chunk), chunks)

    return over_models(one, variables)


@program(static_argnames=("gnn", "drawn"))
def _node_factors(
    gnn: GNN, cotangents: Cotangents, variables: Variables, data: sketches.Training, units: jax.Array, drawn: bool
) -> Squares:
    """Of J blocks of rows of the output, int [J, B], or if drawn of keys [J], for R models; inputs are of one block."""

    def one(variables: Variables) -> Squares:
        def block(nodes: jax.Array) -> tuple[jax.Array, ...]:
            return node_factors(gnn, cotangents, variables, data.batch, nodes)

        deltas = sketched_factors(gnn, cotangents, variables, data, units) if drawn else jax.lax.map(block, units)
        inputs, nodes = graph_inputs(gnn, variables, data.batch)
        return Squares(tuple(each[None] for each in inputs), deltas, nodes[None])

    return over_models(one, variables)


def factors(models: Fitted, config: FisherConfig) -> Factors:
    """Kronecker factors of the linear maps of R models, leading axis R.

    Units are examples; but of a task of nodes or pairs under an estimator that draws, they are draws of random signs.

    Raises:
        UserError: The design has parameters outside linear maps and BatchNorms, or edges have features or weights.
    """
    examples, task = models.examples, models.task
    if not task.graphs.plain or not separable(models.gnn):
        raise UserError(
            f"{task.name}: Kronecker factors are there for graphs without edge features and weights and the "
            "convolutions general, gcn and sage; take a statistic of the diagonal or of the Gram matrix."
        )
    cotangents = models.cotangents(EXAMPLES.get(config.estimator[task.level], "exact"))
    population = float(examples.population)
    units: Any
    parts = 1 if examples.sampled == examples.population else BLOCKS
    if examples.placed is not None:
        (units,), counts = examples.blocks([examples.placed], parts)
        found = _slot_factors(models.gnn, cotangents, models.variables, models.data, units)
    else:
        drawn = not config.by_example(task.level)
        if not drawn:
            (rows,), counts = examples.blocks(examples.chunks, parts)
            units = np.asarray(rows).reshape(len(counts), -1)
        else:
            units, counts, population = _keys(config.draws), np.ones(config.draws, int), np.inf
        found = _node_factors(models.gnn, cotangents, models.variables, models.training, units, drawn)
    inputs, deltas, nodes = jax.tree.map(lambda x: np.asarray(x, np.float64), found)
    count = len(nodes)
    return Factors(inputs, deltas, nodes, _each(count, counts), _each(count, population))
