"""Training: one step against plain Adam, whole fits on tiny tasks, what is recorded, and what may go wrong."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import sparse

from atjax import metrics, train
from atjax.batch import Batch, BatchShape, deal, index_batches, single_batch
from atjax.budget import Budget, Schedule
from atjax.compilation import counting
from atjax.model import layers
from atjax.model.gnn import GNN, build, initialize
from atjax.space import Design
from atjax.task import Graphs, Task
from atjax.train import Fit, GraphData, NodeData, Steps, cosine, fit, program_of, train_block

pytestmark = pytest.mark.usefixtures("unoptimised")

TINY = Budget("tiny", {}, {"graph": 1, "node": 1}, {"graph": 5, "node": 5}, batch_size=8)
DESIGN = Design("general", None, "mean", "prelu", 8, "skip_sum", 1, 1, 2, 0.01, 20)


# Tiny tasks


def rings_and_stars(count: int = 60) -> Graphs:
    """Graphs of 6 nodes, by turns a ring and a star; a node's features are noise and a constant."""
    rng = np.random.default_rng(0)
    ring, star = [(i, (i + 1) % 6) for i in range(6)], [(0, i) for i in range(1, 6)]
    edges = np.concatenate([np.add(star if g % 2 else ring, 6 * g) for g in range(count)])
    nodes = np.stack([rng.normal(size=6 * count), np.ones(6 * count)], axis=1)
    nodes[:, 1] += np.bincount(edges.ravel())  # the degree
    return Graphs.from_edges(nodes, *edges.T, np.full(count, 6))


def graph_task() -> Task:
    graphs = rings_and_stars()
    labels = (np.arange(60) % 2).astype(np.int32)
    return Task("shapes", "graph", "cross_entropy", "accuracy", graphs, labels, 2)


def regression_task() -> Task:
    """How many edges a graph has, with a second target that mirrors it."""
    graphs = rings_and_stars()
    labels = np.stack([graphs.n_edge / 2 - 5, 5 - graphs.n_edge / 2], axis=1).astype(np.float32)
    return Task("sizes", "graph", "mse", "mae", graphs, labels, 2)


def node_task(unlabelled: int = 0) -> Task:
    """Two communities; features hint at them. The first nodes have no label."""
    rng = np.random.default_rng(1)
    labels = (np.arange(80) % 2).astype(np.int32)
    dense = rng.random((80, 80)) < np.where(labels[:, None] == labels, 0.15, 0.02)
    np.fill_diagonal(dense, False)
    nodes = rng.normal(size=(80, 3))
    nodes[:, 0] += 3 * labels
    labels[:unlabelled] = -1
    graphs = Graphs.from_edges(nodes, *np.nonzero(dense), np.array([80]))
    return Task("communities", "node", "cross_entropy", "accuracy", graphs, labels, 2)


@pytest.fixture(scope="module")
def on_graphs() -> Fit:
    return fit(graph_task(), DESIGN, budget=TINY)


@pytest.fixture(scope="module")
def on_nodes() -> Fit:
    return fit(node_task(), DESIGN, budget=TINY)


def outcome(result: Fit) -> Fit:
    """Without times, which differ from run to run, and variables, which do not compare."""
    return dataclasses.replace(result, seconds=0.0, compile_seconds=0.0, variables=None)


def assert_equal_trees(one: Any, other: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


# Whole fits


@pytest.mark.parametrize("name", ["on_graphs", "on_nodes"])
def test_fit_learns_a_separable_task(name: str, request: pytest.FixtureRequest) -> None:
    result: Fit = request.getfixturevalue(name)
    assert (result.state, result.reason) == ("complete", "")
    assert result.validation >= 0.9
    assert result.test >= 0.9
    assert result.curve.train_loss[-1] < 0.5 * result.curve.train_loss[0]


@pytest.mark.parametrize("name", ["on_graphs", "on_nodes"])
def test_fit_records_itself(name: str, request: pytest.FixtureRequest) -> None:
    result: Fit = request.getfixturevalue(name)
    curve = result.curve
    assert (result.design, result.seed, result.budget) == (DESIGN, 0, "tiny")
    assert result.schedule == Schedule(hidden=8, epochs=20, eval_every=5)
    assert curve.epoch == [5, 10, 15, 20]
    assert len(curve.train_loss) == len(curve.validation) == len(curve.test) == 4
    best = curve.epoch.index(result.best_epoch)
    assert result.validation == max(curve.validation) == curve.validation[best]
    assert result.test == curve.test[best]
    assert result.variables is not None
    assert result.parameters == sum(leaf.size for leaf in jax.tree.leaves(result.variables["params"]))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(result.variables))
    assert 0 <= result.compile_seconds < result.seconds


@pytest.mark.parametrize(("name", "task"), [("on_graphs", graph_task()), ("on_nodes", node_task())])
def test_variables_give_the_recorded_metrics_again(name: str, task: Task, request: pytest.FixtureRequest) -> None:
    result: Fit = request.getfixturevalue(name)
    gnn = build(DESIGN, hidden=8, level=task.level, num_outputs=2)
    outputs = np.asarray(jax.jit(gnn.apply)(result.variables, single_batch(task.graphs)))[: task.num_examples]
    split = task.split(0)
    assert metrics.score("accuracy", task.labels[split.test], outputs[split.test]) == result.test
    assert metrics.score("accuracy", task.labels[split.validation], outputs[split.validation]) == result.validation
    again = metrics.mean_loss("cross_entropy", task.labels[split.validation], outputs[split.validation])
    np.testing.assert_allclose(again, result.validation_loss, rtol=1e-4)


def test_fit_is_reproducible(on_graphs: Fit, on_nodes: Fit) -> None:
    for task, before in ((graph_task(), on_graphs), (node_task(), on_nodes)):
        again, other = fit(task, DESIGN, budget=TINY), fit(task, DESIGN, budget=TINY, seed=1)
        assert outcome(again) == outcome(before)
        assert_equal_trees(again.variables, before.variables)
        assert other.curve.train_loss != before.curve.train_loss


@pytest.mark.parametrize("task", [graph_task(), node_task()], ids=lambda task: task.name)
def test_recipes_and_seeds_share_one_program(task: Task) -> None:
    fit(task, DESIGN, budget=TINY)
    recipe = dataclasses.replace(DESIGN, learning_rate=0.1, epochs=10)
    programs = train_block._cache_size()
    with counting() as compiled:
        result = fit(task, recipe, budget=TINY, seed=7)
    assert result.state == "complete"
    assert train_block._cache_size() == programs
    assert compiled.count == 0
    with counting() as compiled:
        jax.jit(lambda x: 3 * x + result.test)(1.0)
    assert compiled.count > 0  # the counter does count


def test_a_state_needs_no_program_of_its_own() -> None:
    gnn = program_of(graph_task(), dataclasses.replace(DESIGN, hidden=11, activation="elu"), TINY)
    variables = initialize(gnn, 2, jax.random.key(0))
    with counting() as compiled:
        state = train._start(variables)
    assert compiled.count == 0
    assert_equal_trees(state.opt_state, optax.chain(optax.identity(), optax.scale_by_adam()).init(variables["params"]))
    train_on = functools.partial(jax.tree.map, lambda leaf: leaf.at[...].set(7))
    jax.jit(train_on, donate_argnums=0)(state.params)
    assert not any((np.asarray(leaf) == 7).any() for leaf in jax.tree.leaves(variables))


def test_a_program_is_of_the_architecture_alone() -> None:
    task = graph_task()
    program = program_of(task, DESIGN, TINY)
    assert program == program_of(task, dataclasses.replace(DESIGN, learning_rate=1.0, epochs=5), TINY)
    for change in ({"activation": "relu"}, {"aggregation": "max"}, {"hidden": 9}, {"mp_layers": 2}):
        assert program != program_of(task, dataclasses.replace(DESIGN, **change), TINY)


def test_progress_is_told_of_every_record() -> None:
    told: list[tuple[int, int]] = []
    fit(graph_task(), DESIGN, budget=TINY, progress=lambda *args: told.append(args))
    assert told == [(5, 20), (10, 20), (15, 20), (20, 20)]


def test_a_training_may_be_stopped() -> None:
    asked: list[tuple[int, int, float]] = []

    def never(*given: Any) -> bool:
        asked.append(given)
        return False

    whole = fit(graph_task(), DESIGN, budget=TINY, stop=never)
    assert whole.state == "complete"
    assert [(done, epochs) for done, epochs, _ in asked] == [(5, 20), (10, 20), (15, 20)]  # not when all is done
    assert [score for _, _, score in asked] == whole.curve.validation[:3]
    ended = fit(graph_task(), DESIGN, budget=TINY, stop=lambda done, epochs, score: done >= 10)
    assert (ended.state, ended.reason) == ("stopped", "stopped early, after 10 of 20 epochs")
    assert np.isnan([ended.validation, ended.validation_loss, ended.test]).all()
    assert (ended.best_epoch, ended.variables, ended.parameters) == (0, None, whole.parameters)
    assert ended.schedule == whole.schedule
    assert ended.curve.epoch == [5, 10]
    assert ended.curve.validation == whole.curve.validation[:2]  # the learning rates are those of the whole schedule
    assert ended.curve.train_loss == whole.curve.train_loss[:2]


def test_regression() -> None:
    task = regression_task()
    result = fit(task, dataclasses.replace(DESIGN, epochs=40), budget=TINY)
    spread = np.abs(task.labels - task.labels.mean(axis=0)).mean()
    assert result.state == "complete"
    assert result.validation == min(result.curve.validation)
    assert result.test < 0.5 * spread


def test_sparse_graph_features_train_as_dense_ones_do(on_graphs: Fit) -> None:
    task = graph_task()
    scattered = dataclasses.replace(task.graphs, nodes=sparse.csr_matrix(task.graphs.nodes))
    result = fit(dataclasses.replace(task, graphs=scattered), DESIGN, budget=TINY)
    assert outcome(result) == outcome(on_graphs)


def test_unlabelled_nodes_are_not_used() -> None:
    """With the same split, it makes no difference whether they have no label or a wrong one."""
    task = node_task(unlabelled=20)
    split = task.split(0)
    assert all((ids >= 20).all() for ids in (split.train, split.validation, split.test))
    labels = task.labels.copy()
    labels[:20] = 1
    labelled = dataclasses.replace(task, labels=labels, fixed_split=split)
    without, wrong = fit(task, DESIGN, budget=TINY), fit(labelled, DESIGN, budget=TINY)
    assert without.state == "complete"
    assert outcome(without) == outcome(wrong)
    assert_equal_trees(without.variables, wrong.variables)


def test_held_out_labels_do_not_train(on_graphs: Fit, on_nodes: Fit) -> None:
    for task, before in ((graph_task(), on_graphs), (node_task(), on_nodes)):
        split = task.split(0)
        labels = task.labels.copy()
        labels[split.validation] = 1 - labels[split.validation]
        labels[split.test] = 1 - labels[split.test]
        turned = fit(dataclasses.replace(task, labels=labels, fixed_split=split), DESIGN, budget=TINY)
        assert turned.curve.train_loss == before.curve.train_loss
        np.testing.assert_allclose(turned.curve.test, 1 - np.array(before.curve.test))


# The best epoch


@pytest.mark.parametrize(
    ("scores", "losses", "best"),
    [
        ([0.1, 0.9, 0.8, 0.2], [1.0, 1.0, 0.1, 0.1], 1),  # the best metric, whatever the loss
        ([0.5, 0.5, 0.5, 0.5], [3.0, 1.0, 0.5, 2.0], 2),  # a tie: the lower loss
        ([0.1, 0.7, 0.7, 0.7], [1.0, 1.0, 1.0, 1.0], 1),  # equals: the first
        ([float("nan"), 0.2, float("nan"), 0.1], [0.0, 1.0, 0.0, 1.0], 1),  # undefined: never
    ],
)
def test_the_test_metric_is_read_at_the_best_epoch(
    scores: list[float], losses: list[float], best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metrics are scripted; validation is scored before the test, whose scores count down."""
    scripted = [value for record in range(4) for value in (scores[record], 0.9 - 0.1 * record)]
    calls = iter(scripted)
    loss_calls = iter(losses)
    monkeypatch.setattr(metrics, "score", lambda *_: next(calls))
    monkeypatch.setattr(metrics, "mean_loss", lambda *_: next(loss_calls))
    kept = fit(graph_task(), DESIGN, budget=TINY)
    assert kept.best_epoch == 5 * (best + 1)
    assert (kept.validation, kept.validation_loss, kept.test) == (scores[best], losses[best], 0.9 - 0.1 * best)
    # The variables are those of that epoch: stopping there, on the same schedule, leaves the same ones.
    calls, loss_calls = iter(scripted[: 2 * best] + [1.0, 0.9 - 0.1 * best] + [0.0] * 8), iter(losses)
    there = fit(graph_task(), DESIGN, budget=TINY)
    assert there.best_epoch == kept.best_epoch
    assert_equal_trees(there.variables, kept.variables)


# What goes wrong


def test_divergence_is_an_outcome() -> None:
    task = graph_task()
    huge = dataclasses.replace(task.graphs, nodes=np.float32(1e30) * task.graphs.nodes)
    for result in (
        fit(task, dataclasses.replace(DESIGN, learning_rate=1e30), budget=TINY),
        fit(dataclasses.replace(task, graphs=huge), DESIGN, budget=TINY),
    ):
        assert result.state == "diverged"
        assert result.reason == "loss or outputs stopped being finite between epochs 0 and 5"
        assert np.isnan([result.validation, result.validation_loss, result.test]).all()
        assert (result.best_epoch, result.variables, result.curve.epoch) == (0, None, [])
        assert result.parameters > 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory\nand more"),
            "RESOURCE_EXHAUSTED: out of memory",
        ),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_device_that_gives_up_is_an_outcome(error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object) -> None:
        raise error

    monkeypatch.setattr(train, "train_block", give_up)
    result = fit(graph_task(), DESIGN, budget=TINY)
    assert (result.state, result.reason) == ("failed", reason)
    assert np.isnan([result.validation, result.validation_loss, result.test]).all()
    assert result.variables is None


# Steps against plain Adam, in float64


class PlainAdam:
    """Adam (Kingma and Ba, 2015, algorithm 1) with an L2 penalty in the gradient, on numpy leaves."""

    def __init__(self, params: Any) -> None:
        self.first = jax.tree.map(np.zeros_like, params)
        self.second = jax.tree.map(np.zeros_like, params)
        self.count = 0

    def step(self, params: Any, gradient: Any, learning_rate: float) -> Any:
        self.count += 1
        gradient = jax.tree.map(lambda g, p: np.asarray(g) + 5e-4 * p, gradient, params)
        self.first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, self.first, gradient)
        self.second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, self.second, gradient)
        one, two = 1 - 0.9**self.count, 1 - 0.999**self.count
        return jax.tree.map(
            lambda p, m, v: p - learning_rate * (m / one) / (np.sqrt(v / two) + 1e-8), params, self.first, self.second
        )


class PlainStep(NamedTuple):
    """One step of `plain_training`: an unpadded batch, which rows of its outputs count, their labels, the rate."""

    graphs: Graphs
    rows: np.ndarray
    labels: np.ndarray
    learning_rate: float


def plain_training(gnn: GNN, variables: Any, steps: list[PlainStep]) -> tuple[Any, list[float]]:
    """Train on one batch after another; the loss is the mean over the rows of - log softmax at the label."""

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def value(params: Any, statistics: Any, batch: Batch, rows: jax.Array, labels: jax.Array) -> Any:
        given = {"params": params, "batch_stats": statistics}
        outputs, updated = gnn.apply(given, batch, train=True, mutable=["batch_stats"])
        chosen = outputs[rows]
        loss = jnp.mean(jnp.log(jnp.exp(chosen).sum(axis=1)) - chosen[jnp.arange(len(rows)), labels])
        return loss, updated["batch_stats"]

    params, statistics = jax.tree.map(np.asarray, (variables["params"], variables["batch_stats"]))
    adam, losses = PlainAdam(params), []
    for step in steps:
        (loss, statistics), gradient = value(params, statistics, single_batch(step.graphs), step.rows, step.labels)
        losses.append(float(loss))
        params = adam.step(params, gradient, step.learning_rate)
    return {"params": params, "batch_stats": statistics}, losses


def in_float64(graphs: Graphs) -> Graphs:
    return dataclasses.replace(graphs, nodes=graphs.nodes.astype(np.float64))


def start_in_float64(gnn: GNN, num_features: int) -> Any:
    with jax.enable_x64(False):
        variables = initialize(gnn, num_features, jax.random.key(3))
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), variables)


def assert_close_trees(one: Any, other: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), one, other)


RATES = np.array([0.5, 0.25, 0.125]) / 16  # exact in float32


def test_steps_on_graphs_are_plain_adam() -> None:
    """Three padded batches, each with an empty place, then evaluation of every graph."""
    task = graph_task()
    with jax.enable_x64(True):
        graphs = in_float64(task.graphs)
        gnn = build(DESIGN, hidden=8, level="graph", num_outputs=2)
        variables = start_in_float64(gnn, 2)
        shape = BatchShape(5, 40, 80)
        dealt = np.array([[3, -1, 8, 20], [7, 6, 4, -1], [-1, 50, 3, 52]])
        evaluated = deal(graphs, np.arange(60), 4)
        evaluation = jax.tree.map(jnp.asarray, index_batches(graphs, evaluated, shape))
        data = GraphData(jnp.asarray(graphs.nodes), jnp.asarray(task.labels), evaluation)
        steps = Steps(RATES.astype(np.float32), index_batches(graphs, dealt, shape))
        state, losses, outputs = train_block(gnn, "cross_entropy", train._start(variables), data, steps)
        members = [row[row >= 0] for row in dealt]
        plain, plain_losses = plain_training(
            gnn,
            start_in_float64(gnn, 2),
            [
                PlainStep(graphs.take(ids), np.arange(len(ids)), task.labels[ids], rate)
                for ids, rate in zip(members, RATES)
            ],
        )
        np.testing.assert_allclose(losses, plain_losses, rtol=1e-7)
        assert_close_trees(state.params, plain["params"])
        assert_close_trees(state.batch_stats, plain["batch_stats"])
        expected = np.asarray(jax.jit(gnn.apply)(plain, single_batch(graphs)))
        np.testing.assert_allclose(outputs[:, :-1], expected[evaluated], rtol=1e-6, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["general", "gcn", "sage", "gin", "gat"])
def test_training_is_that_with_the_prelu_of_flax(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a random design of each convolution: the product that sums the slope's gradient changes nothing else."""
    rng = np.random.default_rng(len(kind))
    heads, aggregation = (2, None) if kind == "gat" else (None, None if kind == "gcn" else rng.choice(["sum", "max"]))
    connectivity = str(rng.choice(["stack", "skip_sum", "skip_concat"]))
    design = Design(kind, heads, aggregation, "prelu", 4, connectivity, 1, 2, 2, 0.01, 20)
    task, states = graph_task(), []
    with jax.enable_x64(True):
        graphs = in_float64(task.graphs)
        gnn = build(design, hidden=4, level="graph", num_outputs=2)
        index = index_batches(graphs, deal(graphs, np.arange(16), 4), BatchShape(5, 40, 80))
        data = GraphData(jnp.asarray(graphs.nodes), jnp.asarray(task.labels), jax.tree.map(jnp.asarray, index))
        steps = Steps(np.array([0.5, 0.25, 0.25, 0.125], np.float32) / 16, index)
        for _ in range(2):
            state = train._start(start_in_float64(gnn, 2))
            states.append(train_block(gnn, "cross_entropy", state, data, steps))
            train_block.clear_cache()
            monkeypatch.setattr(layers.PReLU, "__call__", nn.PReLU.__call__)
    assert_close_trees(*states)


def test_steps_on_nodes_are_plain_adam() -> None:
    """Full-batch steps whose loss is the mean over training nodes, while all nodes send messages."""
    task = node_task()
    with jax.enable_x64(True):
        graphs = in_float64(task.graphs)
        gnn = build(DESIGN, hidden=8, level="node", num_outputs=2)
        chosen = np.arange(0, 80, 3)
        weights = np.zeros(80, np.float32)
        weights[chosen] = 1
        data = NodeData(single_batch(graphs), jnp.asarray(task.labels), jnp.asarray(weights))
        state = train._start(start_in_float64(gnn, 3))
        state, losses, outputs = train_block(gnn, "cross_entropy", state, data, Steps(RATES.astype(np.float32), None))
        plain, plain_losses = plain_training(
            gnn, start_in_float64(gnn, 3), [PlainStep(graphs, chosen, task.labels[chosen], rate) for rate in RATES]
        )
        np.testing.assert_allclose(losses, plain_losses, rtol=1e-7)
        assert_close_trees(state.params, plain["params"])
        assert_close_trees(state.batch_stats, plain["batch_stats"])
        np.testing.assert_allclose(outputs, jax.jit(gnn.apply)(plain, data.batch), rtol=1e-6, atol=1e-8)


def test_fit_is_plain_adam_on_the_cosine_schedule() -> None:
    """A whole fit on a node task, in float32, against a loop that knows nothing of blocks and records."""
    task = node_task()
    result = fit(task, dataclasses.replace(DESIGN, epochs=10), budget=TINY, seed=4)
    gnn = build(DESIGN, hidden=8, level="node", num_outputs=2)
    split = task.split(4)
    rates = [0.01 * (1 + np.cos(np.pi * epoch / 10)) / 2 for epoch in range(result.best_epoch)]
    variables, losses = plain_training(
        gnn,
        initialize(gnn, 3, jax.random.key(4)),
        [PlainStep(task.graphs, split.train, task.labels[split.train], rate) for rate in rates],
    )
    by_record = np.reshape(losses, (-1, 5)).mean(axis=1)
    np.testing.assert_allclose(result.curve.train_loss[: len(by_record)], by_record, rtol=1e-4)
    # In float32, Adam's steps along gradients near 0 hang on rounding; one step is 0.01 long.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=4e-3), result.variables, variables)


def test_negative_log_likelihood() -> None:
    rng = np.random.default_rng(2)
    outputs, targets, labels = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.integers(0, 3, 5)
    softmax = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    got = train.negative_log_likelihood("cross_entropy", jnp.asarray(outputs), jnp.asarray(labels))
    np.testing.assert_allclose(got, -np.log(softmax[np.arange(5), labels]), rtol=1e-5)
    got = train.negative_log_likelihood("mse", jnp.asarray(outputs), jnp.asarray(targets))
    np.testing.assert_allclose(got, 0.5 * ((outputs - targets) ** 2).sum(axis=1), rtol=1e-5)


def test_cosine_is_its_closed_form() -> None:
    rates = cosine(0.1, np.arange(200), 200)
    np.testing.assert_allclose(rates, 0.1 * np.cos(np.pi * np.arange(200) / 400) ** 2, atol=1e-15)
    assert rates[0] == 0.1
    np.testing.assert_allclose(rates[100], 0.05)
    assert (np.diff(rates) < 0).all()
    assert 0 < rates[-1] < 1e-4 * rates[0]


# Programs


def test_two_shapes_train_as_one_and_compile_at_most_three_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph far larger than the others: most batches are cut to a smaller shape, which changes no number."""
    rng = np.random.default_rng(10)
    sizes = np.append(rng.integers(4, 8, 59), 300)
    starts = np.cumsum(sizes) - sizes
    graphs = Graphs.from_edges(rng.normal(size=(sizes.sum(), 3)), starts, starts + 1, sizes)
    task = Task("tail", "graph", "cross_entropy", "accuracy", graphs, np.resize([0, 1], 60).astype(np.int32), 2)
    budget = dataclasses.replace(TINY, batch_size=8)
    assert train._graph_loader(task, task.labels, task.split(0), 8, 0).data.usual is not None
    # Kernels that all designs share, such as those that draw initial values, are there after any other design.
    fit(task, dataclasses.replace(DESIGN, mp_layers=2), budget=budget)
    with counting() as compiled:
        both = fit(task, DESIGN, budget=budget)
    assert 1 <= compiled.count <= 3
    monkeypatch.setattr(train, "usual_shape", lambda *_: None)
    one = fit(task, DESIGN, budget=budget)
    np.testing.assert_allclose(both.curve.train_loss, one.curve.train_loss, rtol=1e-4)
    np.testing.assert_allclose(both.validation_loss, one.validation_loss, rtol=1e-3)


def test_splits_share_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs of all sizes and one far larger: splits have batches of many shapes, and training of two."""
    rng = np.random.default_rng(11)
    sizes = np.append(rng.integers(2, 40, 89), 900)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes - 1)
    inner = np.concatenate([np.arange(size - 1) for size in sizes])
    graphs = Graphs.from_edges(rng.normal(size=(sizes.sum(), 3)), starts + inner, starts + inner + 1, sizes)
    task = Task("sizes", "graph", "cross_entropy", "accuracy", graphs, np.resize([0, 1], 90).astype(np.int32), 2)
    budget = dataclasses.replace(TINY, batch_size=8)
    first = fit(task, DESIGN, budget=budget)
    with counting() as compiled:
        for seed in range(1, train.SHARED_SPLITS):
            fit(task, DESIGN, budget=budget, seed=seed)
    assert compiled.count == 0
    monkeypatch.setattr(train, "SHARED_SPLITS", 1)
    own = [train.graph_batches(task, task.split(seed), 8) for seed in range(1, 8)]
    assert len({(shape, usual, evaluation.nodes.shape) for shape, usual, evaluation in own}) > 1  # shapes of their own
    assert all(usual is not None for _, usual, _ in own)
    np.testing.assert_allclose(fit(task, DESIGN, budget=budget).curve.train_loss, first.curve.train_loss, rtol=1e-4)


def test_a_training_begins_by_making_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a process that trains many designs ends in the middle of one (see `atjax.compilation.make_room`)."""
    calls: list[int] = []
    monkeypatch.setattr("atjax.compilation.make_room", lambda: calls.append(len(calls)))
    fit(graph_task(), DESIGN, budget=TINY)
    assert calls == [0]
