"""Training of one design on one task, inside one compiled program per architecture and shape.

Python steps from one record of the metrics to the next; everything between (epochs, batches, optimiser, evaluation) is
a single compiled call. Learning rates enter it as data, so designs that differ in learning rate, epochs or seed share
the program.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from atjax import compilation, metrics, runtime
from atjax.batch import (
    SHARED_SPLITS,
    Batch,
    BatchIndex,
    BatchShape,
    Rows,
    balance,
    covering,
    deal,
    device_rows,
    fits,
    gather,
    index_batches,
    shape_for,
    shrink,
    single_batch,
    usual_shape,
)
from atjax.budget import Budget, Schedule
from atjax.likelihood import negative_log_likelihood
from atjax.model.gnn import GNN, Variables, apply, build, initialize
from atjax.refinement import trained_graphs
from atjax.space import Design
from atjax.task import Loss, Split, Task
from atjax.units import Units

WEIGHT_DECAY = 5e-4
"""L2 penalty, added to the gradient before Adam sees it (paper, appendix A)."""

Progress = Callable[[int, int], None]
Stop = Callable[[int, int, float], bool]
State = Literal["complete", "diverged", "failed", "stopped"]


@dataclass(frozen=True)
class Curve:
    """What was recorded during training, one entry a record: epochs done, mean training loss, metric values.

    The training loss of a regression task is that of its standardised targets, see `Units`.
    """

    epoch: list[int] = dataclasses.field(default_factory=list)
    train_loss: list[float] = dataclasses.field(default_factory=list)
    validation: list[float] = dataclasses.field(default_factory=list)
    test: list[float] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class Fit:
    """The outcome of one training.

    Attributes:
        design: As asked for.
        seed: Of the split, the initialisation and the order of batches.
        budget: Name of the budget.
        schedule: What the budget trained for the design.
        state: ``complete``; ``diverged`` if a loss or output stopped being finite; ``failed`` if the device gave up;
            ``stopped`` if it was told to end early.
        reason: Why it is not complete, else empty.
        validation: Best validation metric; NaN unless complete, as are the next two. A stopped training has none
            either, for scores are those of a whole schedule; the curve has what it reached.
        validation_loss: Mean loss over the validation set at the best epoch.
        test: Test metric at the best epoch.
        best_epoch: The epoch picked by `atjax.metrics.rank_key`, the first of equals; 0 unless complete.
        parameters: Number of trainable parameters.
        seconds: Wall time of it all.
        compile_seconds: Part of it that went into compilation.
        curve: The record of the metrics; up to where it ended, if it is not complete.
        variables: Parameters and BatchNorm statistics at the best epoch, on the host; None unless complete.
    """

    design: Design
    seed: int
    budget: str
    schedule: Schedule
    state: State
    reason: str
    validation: float
    validation_loss: float
    test: float
    best_epoch: int
    parameters: int
    seconds: float
    compile_seconds: float
    curve: Curve
    variables: Variables | None


class TrainState(NamedTuple):
    """Everything that a training step changes."""

    params: Any
    batch_stats: Any
    opt_state: Any


class GraphData(NamedTuple):
    """Device data of a graph task: features [V, D], labels [G] or [G, C], batches for evaluation with leading axis.

    And the shape that most batches are cut to, where that saves much (`atjax.batch.usual_shape`).
    """

    features: jax.Array | Rows
    labels: jax.Array
    evaluation: BatchIndex
    usual: BatchShape | None = None


class NodeData(NamedTuple):
    """Device data of a node task: the graph, labels [V] or [V, C], and 1 for training nodes, 0 for others [V]."""

    batch: Batch
    labels: jax.Array
    weights: jax.Array


class EdgeData(NamedTuple):
    """Device data of an edge task: the graph with the training pairs, their labels, and the pairs held out [M, 2].

    The pairs held out are apart, since BatchNorm's statistics in training are those of all pairs of a batch.
    """

    batch: Batch
    labels: jax.Array
    held_out: jax.Array


Data = GraphData | NodeData | EdgeData


class Steps(NamedTuple):
    """Training steps, leading axis S: learning rates [S] and, for graph tasks, the batches."""

    learning_rate: np.ndarray
    batches: BatchIndex | None


def _start(variables: Variables) -> TrainState:
    """The state before the first step. The optimiser's zeros are numpy's: a program for each model would cost more."""
    params = variables["params"]
    blank = jax.eval_shape(_optimizer().init, params)
    opt_state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), blank)
    # The state is donated, so it may not share memory with the variables that it starts from.
    state = jax.device_put(TrainState(params, variables["batch_stats"], opt_state), may_alias=False)
    return cast(TrainState, state)


def _optimizer() -> optax.GradientTransformation:
    # Adam without its learning rate, which changes from epoch to epoch and comes in as data.
    return optax.chain(optax.add_decayed_weights(WEIGHT_DECAY), optax.scale_by_adam())


def _examples(data: Data, index: BatchIndex | None) -> tuple[Batch, jax.Array, jax.Array]:
    """One step's batch, labels and example weights."""
    if isinstance(data, NodeData):
        return data.batch, data.labels, data.weights
    if isinstance(data, EdgeData):
        return data.batch, data.labels, jnp.ones(len(data.labels))
    assert index is not None
    batch = gather(data.features, index)
    return batch, data.labels[index.graphs], batch.graph_mask.astype(jnp.float32)


@functools.partial(jax.jit, static_argnames=("gnn", "loss"), donate_argnames="state")
def train_block(
    gnn: GNN, loss: Loss, state: TrainState, data: Data, steps: Steps
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Take S optimiser steps, then evaluate.

    Returns:
        The new state; the training loss of each step, [S]; outputs in evaluation mode, [V, C] for a node task,
        [M, C] of the pairs held out for an edge task, [batches, G, C] for a graph task.
    """
    optimizer = _optimizer()

    def step(state: TrainState, one: Steps) -> tuple[TrainState, jax.Array]:
        batch, labels, weights = _examples(data, one.batches)

        def mean_loss(params: Any) -> tuple[jax.Array, Any]:
            outputs, updated = gnn.apply(
                {"params": params, "batch_stats": state.batch_stats}, batch, train=True, mutable=["batch_stats"]
            )
            each = negative_log_likelihood(loss, outputs, labels)
            return jnp.sum(weights * each) / jnp.maximum(jnp.sum(weights), 1), updated["batch_stats"]

        (value, batch_stats), gradient = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        direction, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = jax.tree.map(lambda p, d: p - one.learning_rate * d, state.params, direction)
        return TrainState(params, batch_stats, opt_state), value

    def sized_step(state: TrainState, one: Steps) -> tuple[TrainState, jax.Array]:
        usual = data.usual if isinstance(data, GraphData) else None
        if usual is None or one.batches is None:
            return step(state, one)
        small = one._replace(batches=shrink(one.batches, usual))
        return jax.lax.cond(
            fits(one.batches, usual), lambda state: step(state, small), lambda state: step(state, one), state
        )

    state, losses = jax.lax.scan(sized_step, state, steps)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    if isinstance(data, NodeData):
        outputs = apply(gnn, variables, data.batch)
    elif isinstance(data, EdgeData):
        outputs = apply(gnn, variables, data.batch._replace(pairs=data.held_out))
    else:
        outputs = jax.lax.map(lambda index: apply(gnn, variables, gather(data.features, index)), data.evaluation)
    return state, losses, outputs


def cosine(learning_rate: float, epoch: np.ndarray, epochs: int) -> np.ndarray:
    """Learning rate by epoch, from its start to 0 at the end: lr (1 + cos(pi epoch / epochs)) / 2 (appendix A)."""
    return 0.5 * learning_rate * (1 + np.cos(np.pi * epoch / epochs))


@dataclass(frozen=True)
class _Loader:
    """Feeds one task and split to `train_block`, and reads evaluation outputs back by example."""

    data: Data
    steps: Callable[[np.ndarray], Steps]
    """Epoch-wise learning rates [epochs] -> training steps."""
    outputs: Callable[[jax.Array], tuple[np.ndarray, np.ndarray]]
    """Evaluation outputs -> those of the validation and of the test examples, [N, C] each."""


def _node_loader(task: Task, labels: np.ndarray, split: Split) -> _Loader:
    weights = np.zeros(task.num_examples, np.float32)
    weights[split.train] = 1
    data = NodeData(single_batch(task.graphs), jnp.asarray(labels), jnp.asarray(weights))

    def outputs(raw: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        values = np.asarray(raw)
        return values[split.validation], values[split.test]

    return _Loader(data, _whole_steps, outputs)


def _edge_loader(task: Task, labels: np.ndarray, split: Split) -> _Loader:
    assert task.pairs is not None
    batch = single_batch(task.graphs, pairs=task.pairs[split.train])
    held_out = task.pairs[split.held_out]
    data = EdgeData(batch, jnp.asarray(labels[split.train]), jnp.asarray(held_out, jnp.int32))

    def outputs(raw: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        values = np.asarray(raw)
        return values[: len(split.validation)], values[len(split.validation) :]

    return _Loader(data, _whole_steps, outputs)


def _whole_steps(rates: np.ndarray) -> Steps:
    """One step an epoch, on the whole graph."""
    return Steps(rates.astype(np.float32), None)


def graph_batches(task: Task, split: Split, batch_size: int) -> tuple[BatchShape, BatchShape | None, BatchIndex]:
    """The shape of training batches, that of most of them where it pays, and the batches of evaluation.

    Shapes fit the first splits of a task too (`SHARED_SPLITS`), for a program costs more than a little padding.
    """
    graphs, _ = trained_graphs(task)
    splits = [split] if task.fixed_split else [split, *map(task.split, range(SHARED_SPLITS))]
    shape = covering(shape_for(graphs, each.train, batch_size) for each in splits)
    usual = usual_shape(graphs, splits[-1].train, batch_size, shape)  # of one split, to be the same for all
    (dealt, own), *others = (balance(graphs, each.held_out, batch_size) for each in splits)
    return shape, usual, index_batches(graphs, dealt, covering([own, *(other for _, other in others)]))


def _graph_loader(task: Task, labels: np.ndarray, split: Split, batch_size: int, seed: int) -> _Loader:
    graphs, counts = trained_graphs(task)
    shape, usual, evaluation = graph_batches(task, split, batch_size)
    data = GraphData(device_rows(graphs, counts), jnp.asarray(labels), jax.tree.map(jnp.asarray, evaluation), usual)
    rng = np.random.default_rng([seed, 0xBA7C])

    def steps(rates: np.ndarray) -> Steps:
        dealt = np.concatenate([deal(graphs, split.train, batch_size, rng) for _ in rates])
        rate = np.repeat(rates, len(dealt) // len(rates)).astype(np.float32)
        return Steps(rate, index_batches(graphs, dealt, shape))

    def outputs(raw: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        by_graph = np.empty((len(graphs.n_node), task.num_outputs), np.float32)
        by_graph[evaluation.graphs[evaluation.graphs >= 0]] = np.asarray(raw)[evaluation.graphs >= 0]
        return by_graph[split.validation], by_graph[split.test]

    return _Loader(data, steps, outputs)


def program_of(task: Task, design: Design, budget: Budget) -> GNN:
    """What the training of a design is compiled for, on one task; designs of one program compile once in a process."""
    schedule = budget.schedule(design, task.level)
    return build(design, hidden=schedule.hidden, level=task.level, num_outputs=task.num_outputs)


def fit(
    task: Task,
    design: Design,
    *,
    budget: Budget,
    seed: int = 0,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Fit:
    """Train a design on a task, and pick the epoch by validation (paper, sections 5.1 and 5.2, appendix A).

    Adam, cosine schedule to 0, weight decay 5e-4, batches of 32 graphs or the whole graph; metrics every
    ``budget.eval_every`` epochs; the test metric is read at the best validation epoch.

    Args:
        task: The task.
        design: Architecture and recipe; its width and epochs are nominal.
        budget: What is really trained for them.
        seed: Of the split, the initialisation and the order of batches.
        progress: Called with epochs done and epochs in all, after each record.
        stop: Called with epochs done, epochs in all and the validation metric, after each record but the last; says
            whether to end there. Learning rates are those of the whole schedule, whether it is stopped or not.

    Returns:
        The outcome. Divergence and a device out of memory are outcomes, not errors.
    """
    start = time.perf_counter()
    compilation.make_room()
    schedule = budget.schedule(design, task.level)
    gnn = program_of(task, design, budget)
    blank = Fit(design, seed, budget.name, schedule, "failed", "", *(float("nan"),) * 3, 0, 0, 0.0, 0.0, Curve(), None)
    with compilation.counting() as compiled:
        try:
            outcome = _fit(task, gnn, blank, budget.batch_size, progress, stop)
        except runtime.DEVICE_FAILURES as error:
            outcome = dataclasses.replace(blank, reason=runtime.gave_up(error))
    return dataclasses.replace(outcome, seconds=time.perf_counter() - start, compile_seconds=compiled.seconds)


def _fit(task: Task, gnn: GNN, blank: Fit, batch_size: int, progress: Progress | None, stop: Stop | None) -> Fit:
    split, schedule, seed = task.split(blank.seed), blank.schedule, blank.seed
    units = Units.of(task.loss, task.labels[split.train])
    labels = units.standardise(task.labels) if task.loss == "mse" else task.labels
    if task.level == "graph":
        loader = _graph_loader(task, labels, split, batch_size, seed)
    else:
        loader = (_node_loader if task.level == "node" else _edge_loader)(task, labels, split)
    variables = initialize(gnn, task.graphs.num_features, jax.random.key(seed), task.graphs.num_edge_features)
    state = _start(variables)
    parameters = sum(int(leaf.size) for leaf in jax.tree.leaves(variables["params"]))
    outcome, best = dataclasses.replace(blank, parameters=parameters), None
    curve = outcome.curve
    rates = cosine(blank.design.learning_rate, np.arange(schedule.epochs), schedule.epochs)
    ahead = loader.steps(rates[: schedule.eval_every])
    for begin in range(0, schedule.epochs, schedule.eval_every):
        end = begin + schedule.eval_every
        state, losses, raw = train_block(gnn, task.loss, state, loader.data, ahead)
        if end < schedule.epochs:  # the device is at work meanwhile
            ahead = loader.steps(rates[end : end + schedule.eval_every])
        on_validation, on_test = (units.restore(outputs) for outputs in loader.outputs(raw))
        train_loss = float(np.mean(losses))
        if not (np.isfinite(train_loss) and np.isfinite(on_validation).all() and np.isfinite(on_test).all()):
            reason = f"loss or outputs stopped being finite between epochs {begin} and {end}"
            return dataclasses.replace(
                blank, parameters=parameters, state="diverged", reason=reason, curve=curve, variables=None
            )
        validation = metrics.score(task.metric, task.labels[split.validation], on_validation)
        test = metrics.score(task.metric, task.labels[split.test], on_test)
        validation_loss = metrics.mean_loss(task.loss, task.labels[split.validation], on_validation)
        curve.epoch.append(end)
        curve.train_loss.append(train_loss)
        curve.validation.append(validation)
        curve.test.append(test)
        rank = metrics.rank_key(task.metric, validation, validation_loss)
        if best is None or rank < best:
            best = rank
            params, batch_stats = jax.device_get((state.params, state.batch_stats))
            outcome = dataclasses.replace(
                outcome,
                state="complete",
                validation=validation,
                validation_loss=validation_loss,
                test=test,
                best_epoch=end,
                variables={"params": units.restore_layer(params), "batch_stats": batch_stats},
            )
        if progress is not None:
            progress(end, schedule.epochs)
        if stop is not None and end < schedule.epochs and stop(end, schedule.epochs, validation):
            reason = f"stopped early, after {end} of {schedule.epochs} epochs"
            return dataclasses.replace(blank, parameters=parameters, state="stopped", reason=reason, curve=curve)
    return outcome
