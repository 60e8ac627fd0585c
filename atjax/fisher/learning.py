"""What a little learning tells of a task: no Fisher information, but task features to compare it with.

Two more forms for statistics to read, beside those of `atjax.fisher.moments`:

* ``readout``: the last layer alone is fitted, on random models, and predicts what it has not seen;
* ``descent``: all of the model takes its first steps.

Both learn from a random half of the training examples and are scored on the other: the readout both ways, the descent
one way, and of graph tasks on `HELD` graphs at most.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from atjax.batch import BatchIndex, balance, covering, deal, device_rows, gather, index_batches, shape_of
from atjax.errors import UserError
from atjax.fisher.config import FisherConfig
from atjax.fisher.estimators import Fitted
from atjax.fisher.examples import Taken, filled_up
from atjax.fisher.last_layer import fit_last_layer
from atjax.fisher.moments import Array, Estimate, jackknife
from atjax.fisher.preparation import prepare, starting_models
from atjax.fisher.programs import over_models, program
from atjax.likelihood import negative_log_likelihood
from atjax.model.gnn import GNN, Variables
from atjax.products import einsum
from atjax.refinement import trained_graphs
from atjax.task import Graphs, Loss
from atjax.units import Units

BLOCKS = 8
"""Of held-out examples, for standard errors."""

STEPS = 10
"""Of the descent (paper, section 5.3, after Yang et al., 2019)."""

LOT, HELD = 32, 128
"""Graphs of a step, and the most that are held out."""

LEARNING_RATE = 0.01
"""Of the descent: Adam, as the anchors are trained."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Readout:
    """How one model predicts examples that it did not learn from, in J blocks of examples.

    Attributes:
        loss: Sums of -log p(y | x) over each block, [J], as `negative_log_likelihood` has it.
        hits: Sums of the share of an example's labels that are the likeliest ones, [J]; NaN for regression.
        counts: Examples in each block, float [J].
    """

    loss: Array
    hits: Array
    counts: Array

    def estimate(self, function: Callable[[jax.Array, jax.Array], jax.Array]) -> Estimate:
        """A statistic and its standard error, for examples drawn independently.

        Args:
            function: Maps the mean loss and the mean of hits to a scalar or [K].
        """

        def of(weights: jax.Array) -> jax.Array:
            count = weights @ self.counts
            return function(weights @ self.loss / count, weights @ self.hits / count)

        return jackknife(of, self.counts, jnp.inf)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Descent:
    """The first T steps of one model's training.

    Attributes:
        losses: Training loss before each step, [T].
        after: How the held-out half is predicted after them.
    """

    losses: Array
    after: Readout


def halves(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two random halves of N examples, the same for all models; of an odd number one is left out.

    Raises:
        UserError: There are fewer than two.
    """
    if count < 2:
        raise UserError(
            "Statistics of the readout and the descent learn from half of the training examples, of which they need at "
            "least 2; give more, or take a statistic of the diagonal."
        )
    order = np.random.default_rng([count, 0x4A1F]).permutation(count)
    return order[: count // 2], order[count // 2 : 2 * (count // 2)]


def labels_of(models: Fitted) -> np.ndarray:
    """Labels of the training examples; regression targets standardised, as in training."""
    labels = np.asarray(models.examples.labels)
    return Units.of(models.task.loss, labels).standardise(labels) if models.task.loss == "mse" else labels


def blocks_of(loss: Loss, outputs: jax.Array, labels: jax.Array, weights: jax.Array) -> Readout:
    """The blocks of N predictions [N, C]; those of weight 0 count nothing."""
    each = jnp.stack([negative_log_likelihood(loss, outputs, labels), _hits(loss, outputs, labels), weights])
    place = jnp.arange(len(labels)) % BLOCKS
    kept = jnp.where(weights > 0, each, 0)
    return Readout(*jax.vmap(lambda row: jax.ops.segment_sum(row, place, BLOCKS))(kept))


def _hits(loss: Loss, outputs: jax.Array, labels: jax.Array) -> jax.Array:
    if loss == "cross_entropy":
        return (jnp.argmax(outputs, axis=1) == labels).astype(outputs.dtype)
    if loss == "mse":
        return jnp.full(len(labels), jnp.nan, outputs.dtype)
    known = ~jnp.isnan(labels)
    right = jnp.sum(known & ((outputs > 0) == (labels > 0.5)), axis=1)
    return right / jnp.maximum(jnp.sum(known, axis=1), 1)


def readout(models: Fitted, config: FisherConfig) -> Readout:
    """Predictions of last layers fitted to one half of the training examples, for the other half, both ways.

    R models with random parameters and calibrated BatchNorm, as in the Fisher stage; leading axis R.
    """
    examples, task = models.examples, models.task
    start = starting_models(models.gnn, models.task, config)
    rows, _, _ = examples.filled
    _, hidden = prepare(models.gnn, start, examples.fitting(models.gnn), rows)
    labels = labels_of(models)

    def half(ids: np.ndarray) -> tuple[np.ndarray, jax.Array]:
        """With what fills it up to the largest that a seed has, and weights."""
        place, weights = filled_up(len(ids), examples.room // 2)
        return ids[place], jax.device_put(weights)

    found = []
    first, second = map(half, halves(len(labels)))
    for (seen, learnt), (unseen, scored) in ((first, second), (second, first)):
        layers = fit_last_layer(
            task.loss, hidden[:, seen], labels[seen], learnt, num_outputs=task.num_outputs, ridge=config.ridge
        )
        found.append(_predict(task.loss, layers, hidden[:, unseen], labels[unseen], scored))
    return jax.tree.map(lambda *each: np.concatenate([np.asarray(x, np.float64) for x in each], axis=1), *found)


@functools.partial(jax.jit, static_argnames="loss")
def _predict(loss: Loss, layers: Any, hidden: jax.Array, labels: jax.Array, weights: jax.Array) -> Readout:
    def one(model: tuple[Any, jax.Array]) -> Readout:
        layer, hidden = model
        outputs = einsum("nh,hc->nc", hidden, layer["kernel"]) + layer["bias"]
        return blocks_of(loss, outputs, labels, weights)

    return over_models(one, (layers, hidden))


class Lot(NamedTuple):
    """Examples that go through a model together; of graph tasks with a leading axis of lots.

    Attributes:
        source: `BatchIndex` of graphs; None for all of a graph whose nodes or pairs are the examples.
        rows: Rows of the output that are examples, int [N].
        labels: Their labels, [N] or [N, C].
        learnt: 1 for examples that a step learns from, or 0, [N].
        scored: The same for those that are predicted once all steps are taken.
    """

    source: BatchIndex | None
    rows: Array
    labels: Array
    learnt: Array
    scored: Array


def descent(models: Fitted, config: FisherConfig) -> Descent:
    """The first steps of R random models on one half of the training examples; leading axis R.

    Adam from random parameters, BatchNorm in training mode: on batches of `LOT` graphs, or on the whole graph. Held-out
    graphs are `HELD` at most.
    """
    data: Any
    if models.task.level == "graph":
        data, lot = device_rows(*trained_graphs(models.task)), _graph_lots(models, config)
        count = len(lot.rows)
    else:
        data, lot = models.data, _whole_lot(models)
        count = STEPS + 1
    rates = np.where(np.arange(count) < STEPS, LEARNING_RATE, 0.0)
    start = starting_models(models.gnn, models.task, config)
    found = _descend(models.gnn, models.task.loss, start, data, lot, rates)
    return jax.tree.map(lambda x: np.asarray(x, np.float64), found)


def _whole_lot(models: Fitted) -> Lot:
    """The examples of both halves."""
    labels, both = labels_of(models), halves(len(models.examples.labels))
    ids, learnt = np.concatenate(both), np.repeat(np.array([1, 0], np.float32), [len(half) for half in both])
    return Lot(None, models.examples.rows[ids], labels[ids], learnt, 1 - learnt)


def _graph_lots(models: Fitted, config: FisherConfig) -> Lot:
    """A lot for every step, then the held-out graphs in lots; of one shape for all seeds.

    Lots are dealt by the sizes of the graphs, whatever the model goes through (see `trained_graphs`).
    """
    graphs, _ = trained_graphs(models.task)
    ids, labels = np.asarray(models.examples.ids), labels_of(models)
    samples = (ids, *(other.fit for other in Taken.shared(models.task, config)))
    dealt, *others = (_dealt(models.task.graphs, taken) for taken in samples)
    index = index_batches(graphs, dealt, covering(shape_of(graphs, each) for each in (dealt, *others)))
    place = np.zeros(len(graphs.n_node), int)
    place[ids] = np.arange(len(ids))  # labels are those of the training graphs
    real = (dealt >= 0).astype(np.float32)
    return Lot(index, np.broadcast_to(np.arange(LOT), dealt.shape), labels[place[dealt]], real, real)


def _dealt(graphs: Graphs, ids: np.ndarray) -> np.ndarray:
    """Graphs for every step, and then those held out, int [T + S, LOT]; -1 marks an empty place."""
    seen, unseen = (ids[half] for half in halves(len(ids)))
    rng = np.random.default_rng([len(ids), 0xDE5C])
    held, _ = balance(graphs, rng.permutation(unseen)[:HELD], LOT)
    epochs = [deal(graphs, seen, LOT, rng) for _ in range(-(-STEPS * LOT // len(seen)))]
    # Lots begin with their largest graphs, and places are dealt into blocks.
    held = np.stack([np.concatenate([rng.permutation(lot[lot >= 0]), lot[lot < 0]]) for lot in held])
    return np.concatenate([np.concatenate(epochs)[:STEPS], held])


@program(static_argnames=("gnn", "loss"))
def _descend(gnn: GNN, loss: Loss, models: Variables, data: Any, lots: Lot, rates: Array) -> Descent:
    """Steps at these learning rates, [T + S], of which the last S are 0: what they see is predicted.

    A pass of its own for what is held out would be another program to compile, which takes longer than to run it.
    """
    optimiser = optax.scale_by_adam()

    def one(variables: Variables) -> Descent:
        def outputs(params: Any, lot: Lot) -> jax.Array:
            batch = data if lot.source is None else gather(data, lot.source)
            whole = {"params": params, "batch_stats": variables["batch_stats"]}
            values, _ = gnn.apply(whole, batch, train=True, mutable=["batch_stats"])
            return cast(jax.Array, values)[lot.rows]

        def mean_loss(params: Any, lot: Lot) -> tuple[jax.Array, jax.Array]:
            predicted = outputs(params, lot)
            each = negative_log_likelihood(loss, predicted, lot.labels)
            return jnp.sum(lot.learnt * each) / jnp.sum(lot.learnt), predicted

        def step(state: Any, given: tuple[jax.Array, Lot | None]) -> tuple[Any, jax.Array]:
            (params, moments, after), (rate, lot) = state, given
            lot = lots if lot is None else lot
            (value, predicted), gradient = jax.value_and_grad(mean_loss, has_aux=True)(params, lot)
            scored = blocks_of(loss, predicted, lot.labels, jnp.where(rate == 0, lot.scored, 0))
            direction, moments = optimiser.update(gradient, moments)
            # Chosen, and not only multiplied by 0, for what is not finite would spread.
            moved = jax.tree.map(lambda p, d: jnp.where(rate > 0, p - rate.astype(p.dtype) * d, p), params, direction)
            return (moved, moments, jax.tree.map(jnp.add, after, scored)), value

        none = Readout(*jnp.zeros((3, BLOCKS)))
        start = (variables["params"], optimiser.init(variables["params"]), none)
        (_, _, after), losses = jax.lax.scan(step, start, (rates, None if lots.source is None else lots))
        return Descent(losses[:STEPS], after)

    return over_models(one, models)
