"""The diagonal Fisher information against its definition in float64, and what must not change it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import random_graphs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.flatten_util import ravel_pytree

from atjax import compilation, config
from atjax.batch import Batch, BatchIndex, BatchShape, index_batches, single_batch
from atjax.errors import UserError
from atjax.fisher import FisherConfig, anchor_alpha, estimators, preparation
from atjax.fisher.cotangents import Cotangents, label_directions
from atjax.fisher.engine import design_statistics
from atjax.fisher.estimators import Fitted
from atjax.fisher.examples import draw_examples
from atjax.fisher.gradients import graph_sums, node_sums
from atjax.fisher.preparation import fitted, prepare
from atjax.model.gnn import GNN, Variables, build, initialize
from atjax.space import ANCHORS, Design
from atjax.task import Graphs, Level, Loss, Split, Task

HIDDEN, WIDTH, TARGETS = 4, 3, 2
TIGHT = {"rtol": 1e-9}
CONFIG = FisherConfig(
    hidden=HIDDEN,
    seeds=2,
    ridge=1e-2,
    max_passes={"graph": 99, "node": 99},
    max_nodes=99,
    estimator={"graph": "exact", "node": "exact"},
    chunk=16,
)
SMALL = ANCHORS[9]
"""Two message-passing layers: the quickest to compile."""
KINDS = ((4, 4), (7, 9))
"""Nodes and undirected edges of the small graphs."""


@pytest.fixture(autouse=True)
def float64(doubles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random values in float64 for all parameters, those too that Flax always starts at 0 or 1 and in float32."""
    monkeypatch.setattr(preparation, "random_models", random_models)


# Random inputs


def random_variables(gnn: GNN, num_features: int, key: jax.Array, num_edge_features: int = 0) -> Variables:
    """As `initialize` makes them, but for the values."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))

    def draw(path: Any, leaf: Any) -> jax.Array:
        value = 0.5 * rng.normal(size=leaf.shape)
        return jnp.asarray(0.5 + np.abs(value) if path[-1].key in ("var", "scale") else value)

    start = functools.partial(initialize, gnn, num_features, num_edge_features=num_edge_features)
    shapes = jax.eval_shape(start, key)
    return jax.tree_util.tree_map_with_path(draw, shapes)


def random_models(gnn: GNN, num_features: int, seeds: int, num_edge_features: int = 0) -> Variables:
    models = [random_variables(gnn, num_features, jax.random.key(k), num_edge_features) for k in range(seeds)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)


def make_task(level: Level, classes: int | None, seed: int = 0) -> Task:
    """15 small graphs or 24 nodes of one, 12 of them for training: one size, so that fits compile once.

    Labels are of so many classes, or two targets where that is None.
    """
    rng = np.random.default_rng(seed)
    count = 15 if level == "graph" else 24
    graphs = random_graphs(rng, [KINDS[k % 2] for k in range(count)] if level == "graph" else [(count, 30)])
    split = Split(*map(np.sort, np.split(rng.permutation(count), [12, 13])))
    if classes is None:
        targets = rng.normal(size=(count, TARGETS))
        return Task("random", level, "mse", "mae", graphs, targets, TARGETS, fixed_split=split)
    labels = rng.permutation(np.arange(count) % classes).astype(np.int32)
    return Task("random", level, "cross_entropy", "accuracy", graphs, labels, classes, fixed_split=split)


class Outcome(NamedTuple):
    """alpha [R], and the sums [R, P] and counts it comes from."""

    alpha: np.ndarray
    sums: np.ndarray
    sampled: int
    population: int


def run(task: Task, design: Design = SMALL, settings: FisherConfig = CONFIG) -> Outcome:
    """What the engine makes of a design."""
    examples = draw_examples(task, settings, 0)
    gnn = built(task, design)
    form = estimators.diagonal(Fitted(gnn, task, fitted(gnn, task, examples, settings), examples), settings)
    ((alpha, _),) = design_statistics(task, design, examples, settings, ["alpha"])
    return Outcome(alpha, form.sums.sum(axis=1), examples.sampled, examples.population)


def design_alpha(task: Task, design: Design, settings: FisherConfig = CONFIG) -> np.ndarray:
    """alpha of R models of one design, [R]."""
    return design_statistics(task, design, draw_examples(task, settings, 0), settings, ["alpha"])[0][0]


def alpha_of_sample(first: np.ndarray, own: np.ndarray, n: int, population: int) -> float:
    """Pairs of an example with itself are weighted as they occur among all N, pairs of two as they occur there."""
    pairs = population * (population - 1) / (n * (n - 1)) * (first**2 - own)
    square = (population / n * own + pairs) / population**2
    return max(1, square.mean() / (first.mean() / n) ** 2)


def exact(task: Task) -> Cotangents:
    """Those of the exact label expectation."""
    return Cotangents(jnp.asarray(task.labels), jax.random.key(0), jnp.ones(()), task.loss, "exact")


def built(task: Task, design: Design = SMALL) -> GNN:
    return build(design, hidden=HIDDEN, level=task.level, num_outputs=task.num_outputs)


def fit(task: Task, design: Design = SMALL) -> Variables:
    return fitted(built(task, design), task, draw_examples(task, CONFIG, 0), CONFIG)


def model(variables: Variables, r: int) -> Variables:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[r], variables)  # sliced on the host, where nothing compiles


# The oracle: the definition, one example after another, with dense matrices


def log_likelihoods(loss: Loss, outputs: jax.Array, center: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Labels y that p(y|x) may draw at outputs [C]: the probability of each, and log p(y|x) up to a constant, [Y].

    For a Gaussian, 2 C labels around its mean ``center`` with the right mean and covariance stand for all of them; the
    score is linear in y, so that they give the exact expectation of its square.
    """
    if loss == "cross_entropy":
        return jax.nn.softmax(outputs), jax.nn.log_softmax(outputs)
    count = len(outputs)
    steps = np.sqrt(count) * np.concatenate([np.eye(count), -np.eye(count)])
    return jnp.full(2 * count, 1 / (2 * count)), -0.5 * jnp.sum((center + steps - outputs) ** 2, axis=1)


@functools.partial(jax.jit, static_argnames=("gnn", "loss"))
def scores(gnn: GNN, loss: Loss, variables: Variables, batch: Batch) -> tuple[jax.Array, Any]:
    """For each row of the output: probabilities of the labels [N, Y], and their scores, a tree of [N, Y, ...]."""
    params = variables["params"]
    theta = {f"mp_{i}": params[f"mp_{i}"] for i in range(gnn.design.mp_layers)}

    def forward(theta: Any) -> jax.Array:
        return gnn.apply({"params": params | theta, "batch_stats": variables["batch_stats"]}, batch, train=False)

    def log_p(theta: Any) -> jax.Array:
        values = forward(theta)
        return jax.vmap(functools.partial(log_likelihoods, loss))(values, jax.lax.stop_gradient(values))[1]

    values = forward(theta)
    probabilities = jax.vmap(functools.partial(log_likelihoods, loss))(values, values)[0]
    return probabilities, jax.jacrev(log_p)(theta)


def all_scores(gnn: GNN, task: Task, variables: Variables, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each example alone: probabilities of the labels [N, Y], and their scores [N, Y, P].

    A graph is padded to a size that the engine never pads to, the same for all, so that one program serves.
    """
    if task.level == "node":
        batches, rows = [single_batch(task.graphs)], [examples]
    else:
        shape = BatchShape(2, 11, 23)
        batches, rows = (
            [single_batch(task.graphs.take(np.array([g])), shape) for g in examples],
            [np.array([0])] * len(examples),
        )
    results = []
    for batch, row in zip(batches, rows):
        probabilities, *leaves = (np.asarray(x)[row] for x in jax.tree.leaves(scores(gnn, task.loss, variables, batch)))
        flat = [leaf.reshape(*probabilities.shape, -1) for leaf in leaves]
        results.append((probabilities, np.concatenate(flat, axis=-1)))
    return tuple(np.concatenate(parts) for parts in zip(*results))  # type: ignore[return-value]


def dense_fisher(probabilities: np.ndarray, score: np.ndarray) -> np.ndarray:
    """E_y s s^T of one example, [P, P]."""
    fisher = np.zeros((score.shape[1], score.shape[1]))
    for p, s in zip(probabilities, score):
        fisher += p * np.outer(s, s)
    return fisher


CASES: tuple[tuple[Level, int | None, int], ...] = (
    ("graph", 2, 11),
    ("graph", 3, 4),
    ("graph", 3, 9),
    ("graph", None, 11),
    ("node", 3, 9),
    ("node", 5, 3),
    ("node", None, 10),
)
"""Level, classes (None: regression) and anchor, counted from 0: every connectivity, aggregation and head."""

OTHERS = [
    pytest.param(level, classes, anchor, marks=pytest.mark.slow)
    for (level, anchor), classes in zip(
        itertools.product(("graph", "node"), range(12)), itertools.cycle((2, 3, 5, None))
    )
    if (level, classes, anchor) not in CASES
]
"""All anchors."""


@pytest.mark.parametrize(("level", "classes", "anchor"), [*CASES, *OTHERS])
def test_alpha_is_that_of_the_definition(level: Level, classes: int | None, anchor: int) -> None:
    task, design = make_task(level, classes), ANCHORS[anchor]
    gnn, train = built(task, design), task.split(0).train
    got, variables = run(task, design), fit(task, design)
    widths = [HIDDEN * (i + 1 if design.connectivity == "skip_concat" else 1) for i in range(design.mp_layers)]
    # Two kernels, scale and bias of the BatchNorm, and the slope, a layer.
    count = sum(2 * width * HIDDEN + 2 * HIDDEN + 1 for width in widths)
    assert got.sums.shape == (2, count)
    assert got.sampled == got.population == len(train)
    for r in range(2):
        probabilities, score = all_scores(gnn, task, model(variables, r), train)
        dense = [dense_fisher(p, s) for p, s in zip(probabilities, score)]
        each = np.array([np.diag(fisher) for fisher in dense])
        fisher = np.mean(dense, axis=0)
        m1, m2 = np.trace(fisher) / count, np.sum(np.diag(fisher) ** 2) / count
        np.testing.assert_allclose(got.sums[r], each.sum(axis=0), atol=1e-9 * each.max(), **TIGHT)
        np.testing.assert_allclose(got.alpha[r], m2 / m1**2, **TIGHT)
        if classes is not None:
            # What the public code does, and the paper does not: square the gradient of the batch.
            batch_gradient = score[np.arange(len(train)), task.labels[train]].mean(axis=0)
            trap = np.mean(batch_gradient**4) / np.mean(batch_gradient**2) ** 2
            assert abs(trap / got.alpha[r] - 1) > 0.02


@pytest.mark.parametrize("level", ["graph", "node"])
def test_definition_holds_for_a_sample(level: Level) -> None:
    """With fewer examples than the training set has, the sums are over those; the fit is over all."""
    task = make_task(level, 3)
    settings = dataclasses.replace(CONFIG, max_passes={level: 8})
    chunks = draw_examples(task, settings, 0).chunks
    places = [chunk.graphs[..., 0] if isinstance(chunk, BatchIndex) else chunk for chunk in chunks]
    ids = np.concatenate([np.ravel(place) for place in places])
    got, variables = run(task, settings=settings), fit(task)
    assert (got.sampled, got.population) == (4, 12)
    for r in range(2):
        probabilities, score = all_scores(built(task), task, model(variables, r), ids[ids >= 0])
        each = np.einsum("ny,nyp->np", probabilities, score**2)
        np.testing.assert_allclose(got.sums[r], each.sum(axis=0), atol=1e-9 * each.max(), **TIGHT)
        expected = alpha_of_sample(each.sum(axis=0), (each**2).sum(axis=0), 4, 12)
        np.testing.assert_allclose(got.alpha[r], expected, **TIGHT)


@pytest.mark.parametrize("level", ["graph", "node"])
def test_fit_on_a_sample(level: Level) -> None:
    """The models are those of a task whose training examples are the sampled ones."""
    task = make_task(level, 3)
    settings = dataclasses.replace(CONFIG, max_passes={level: 8}, fit_on="sampled")
    examples = draw_examples(task, settings, 0)
    gnn, chosen = built(task), np.asarray(examples.ids)
    assert (len(chosen), examples.sampled, examples.population) == (4, 4, 12)
    ids = np.concatenate([examples.ids_of(chunk).ravel() for chunk in examples.chunks])
    assert sorted(ids[ids >= 0]) == chosen.tolist()
    smaller = dataclasses.replace(task, fixed_split=dataclasses.replace(task.split(0), train=chosen))
    got, expected = fitted(gnn, task, examples, settings), fit(smaller)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9), got, expected)
    others = fit(task)["params"]["out"]["kernel"]
    assert np.abs(others - got["params"]["out"]["kernel"]).max() > 0.01
    drawing = dataclasses.replace(settings, estimator={"graph": "sign_sketch", "node": "sign_sketch"})
    assert len(draw_examples(task, drawing, 0).ids) == 12  # they are of all examples


def test_fit_on_is_one_of_two() -> None:
    with pytest.raises(UserError, match=r"^fisher\.fit_on must be all or sampled; it is 'some'\.$"):
        dataclasses.replace(CONFIG, fit_on="some")


# The factor of the score's covariance

LOGITS = hnp.arrays(np.float64, st.sampled_from([2, 3, 5]), elements=st.floats(-40, 40))
directions_of = jax.jit(label_directions, static_argnums=0)


def covariance(logits: np.ndarray) -> np.ndarray:
    """diag(p) - p p^T, without the cancellation in p - p^2."""
    p = np.exp(logits - logits.max())
    p /= p.sum()
    others = [np.delete(p, j).sum() for j in range(len(p))]
    return np.where(np.eye(len(p)), np.diag(p * others), -np.outer(p, p))


def check_directions(logits: np.ndarray) -> None:
    directions = np.asarray(directions_of("cross_entropy", jnp.asarray(logits)))
    expected = covariance(logits)
    assert directions.shape == (len(logits) - 1, len(logits))
    assert np.isfinite(directions).all()
    spread = np.sqrt(np.diag(expected))
    assert np.all(np.abs(directions.T @ directions - expected) <= 1e-12 * np.outer(spread, spread))


@given(LOGITS)
def test_label_directions_factor_the_covariance(logits: np.ndarray) -> None:
    check_directions(logits)


@pytest.mark.parametrize(
    "logits", [[40, -40], [-40, 40], [0, 0, 0], [-40, 40, -40, 40, 0], [40, 40], [40, -40, -40], [-40, -40, 40, -39]]
)
def test_label_directions_keep_their_digits_at_extremes(logits: list[float]) -> None:
    check_directions(np.array(logits, np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_label_directions_are_finite_where_probabilities_are_0(dtype: type) -> None:
    for logits in itertools.product((-1e5, 0.0, 1e5), repeat=4):
        values = jnp.asarray(logits, dtype)
        directions = directions_of("cross_entropy", values)
        p = jax.nn.softmax(values)
        assert directions.dtype == dtype
        np.testing.assert_allclose(directions.T @ directions, jnp.diag(p) - jnp.outer(p, p), atol=1e-6)


def test_label_directions_of_a_gaussian() -> None:
    np.testing.assert_array_equal(label_directions("mse", jnp.array([3.0, -1e9, 0.5])), np.eye(3))


def test_targets_that_never_change_carry_no_information() -> None:
    """In training, that is: the fitted last layer is 0 then, so that nothing before it matters."""
    task = make_task("graph", None)
    labels = task.labels.copy()
    labels[task.split(0).train] = 0
    assert np.isnan(run(dataclasses.replace(task, labels=labels), ANCHORS[11]).alpha).all()


# What must not change it


@pytest.mark.parametrize(("level", "chunk", "width"), [("graph", 1, 1), ("node", 1000, 12)])
def test_chunk_changes_nothing(level: Level, chunk: int, width: int) -> None:
    task, settings = make_task(level, 3), dataclasses.replace(CONFIG, chunk=chunk)
    widths = [jax.tree.leaves(draw_examples(task, each, 0).chunks)[0].shape[1] for each in (settings, CONFIG)]
    assert widths[0] == width != widths[1]
    got, expected = run(task, settings=settings), run(task)
    np.testing.assert_allclose(got.sums, expected.sums, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(got.alpha, expected.alpha, rtol=1e-10)


def check_sums(found: list[Any], first: np.ndarray) -> None:
    """Sums laid out in two ways are the same, and those of the engine, [P]."""
    for sums in found:
        np.testing.assert_allclose(ravel_pytree(sums)[0], first, rtol=1e-10, atol=1e-13)


def test_padding_order_and_empty_places_change_nothing_for_graphs() -> None:
    task = make_task("graph", 3)
    train = task.split(0).train
    got, variables = run(task), fit(task)
    sums = jax.jit(graph_sums, static_argnums=0)
    rows = np.insert(np.random.default_rng(1).permutation(train), 3, [-1, -1, -1]).reshape(5, 3)
    index = index_batches(task.graphs, rows.reshape(-1, 1), BatchShape(2, 40, 64))
    shaped = jax.tree.map(lambda array: array.reshape(*rows.shape, *array.shape[1:]), index)
    (usual,) = draw_examples(task, CONFIG, 0).chunks
    for r in range(2):
        arguments = (built(task), exact(task), model(variables, r), jnp.asarray(task.graphs.nodes))
        check_sums([sums(*arguments, shaped), sums(*arguments, usual)], got.sums[r])


def test_order_and_empty_places_change_nothing_for_nodes() -> None:
    task = make_task("node", 3)
    train = task.split(0).train
    got, variables = run(task), fit(task)
    sums = jax.jit(node_sums, static_argnums=(0, 5))
    nodes = np.insert(np.random.default_rng(1).permutation(train), 4, [-1, -1, -1]).reshape(5, 3)
    for r in range(2):
        arguments = (built(task), exact(task), model(variables, r), single_batch(task.graphs))
        layouts = (jnp.asarray(nodes), jnp.asarray(train)[None])
        check_sums([sums(*arguments, layout, 1) for layout in layouts], got.sums[r])


def permuted(task: Task, rng: np.random.Generator) -> Task:
    """The same task with graphs, and nodes within each graph, in another order; with a split of its own."""
    graphs, split = task.graphs, task.split(0)
    order = rng.permutation(len(graphs.n_node))
    old = np.concatenate([rng.permutation(np.arange(*graphs.node_start[[g, g + 1]])) for g in order])
    new = np.argsort(old)
    moved = Graphs.from_edges(
        np.zeros_like(graphs.nodes), new[graphs.senders], new[graphs.receivers], graphs.n_node[order], undirected=False
    )
    examples = old if task.level == "node" else order
    place = np.argsort(examples)
    return dataclasses.replace(
        task,
        graphs=dataclasses.replace(moved, nodes=graphs.nodes[old]),
        labels=task.labels[examples],
        fixed_split=Split(*(np.sort(place[ids]) for ids in (split.train, split.validation, split.test))),
    )


@pytest.mark.parametrize("level", ["graph", "node"])
def test_order_of_graphs_and_nodes_changes_nothing(level: Level) -> None:
    task = make_task(level, 3)
    other = permuted(task, np.random.default_rng(2))
    assert other.content_hash != task.content_hash
    np.testing.assert_allclose(run(other).alpha, run(task).alpha, rtol=1e-8)


def test_models_side_by_side_are_the_models_alone() -> None:
    task, design = make_task("graph", None), ANCHORS[11]
    together, alone = (run(task, design, dataclasses.replace(CONFIG, seeds=seeds)) for seeds in (2, 1))
    np.testing.assert_allclose(together.alpha[:1], alone.alpha, rtol=1e-8)
    assert abs(together.alpha[1] / together.alpha[0] - 1) > 1e-3


@pytest.mark.parametrize("level", ["graph", "node"])
def test_held_out_examples_are_not_looked_at(level: Level) -> None:
    """Other labels, and for graph tasks other features, outside the training set: the same numbers, bit for bit."""
    task = make_task(level, 3)
    split = task.split(0)
    held_out = np.concatenate([split.validation, split.test])
    labels, nodes = task.labels.copy(), task.graphs.nodes.copy()
    labels[held_out] = (labels[held_out] + 1) % 3
    if level == "graph":
        nodes[np.isin(np.repeat(np.arange(15), task.graphs.n_node), held_out)] += 7
    other = dataclasses.replace(task, labels=labels, graphs=dataclasses.replace(task.graphs, nodes=nodes))
    np.testing.assert_array_equal(run(other).alpha, run(task).alpha)
    labels = task.labels.copy()
    labels[split.train] = np.roll(labels[split.train], 1)
    assert np.all(run(dataclasses.replace(task, labels=labels)).alpha != run(task).alpha)


@pytest.mark.parametrize("level", ["graph", "node"])
def test_second_call_compiles_nothing(level: Level) -> None:
    """Nor does another task of the same sizes."""
    task = make_task(level, 3)
    other = dataclasses.replace(task, graphs=dataclasses.replace(task.graphs, nodes=2 * task.graphs.nodes))
    with compilation.counting() as first:
        before = run(task, settings=dataclasses.replace(CONFIG, ridge=0.02))
    with compilation.counting() as second:
        again = run(task, settings=dataclasses.replace(CONFIG, ridge=0.02))
        run(other, settings=dataclasses.replace(CONFIG, ridge=0.03))
    assert first.count >= second.count == 0
    np.testing.assert_array_equal(again.alpha, before.alpha)


def test_anchors_side_by_side_are_the_designs_alone() -> None:
    calls: list[tuple[int, int]] = []
    task, anchors = make_task("graph", 3), (ANCHORS[4], SMALL)
    alphas = anchor_alpha(task, CONFIG, anchors=anchors, progress=lambda *done: calls.append(done))
    expected = [design_alpha(task, anchor) for anchor in anchors]
    assert alphas.shape == (2, 2)
    assert alphas.dtype == np.float64
    assert np.all(alphas >= 1)
    np.testing.assert_array_equal(alphas, expected)
    assert calls == [(1, 2), (2, 2)]
    fewer = dataclasses.replace(CONFIG, max_passes={"graph": 8})
    sampled = [anchor_alpha(task, fewer, seed=seed, anchors=(SMALL,)) for seed in (0, 1)]
    assert np.all(sampled[0] != sampled[1])


def test_a_feature_begins_by_making_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a training does: a sweep's features and trainings come to as many programs as a long bank's."""
    calls: list[int] = []
    monkeypatch.setattr("atjax.compilation.make_room", lambda: calls.append(len(calls)))
    anchor_alpha(make_task("graph", 3), CONFIG, anchors=(SMALL,))
    assert calls == [0]


# Calibration


@functools.partial(jax.jit, static_argnums=0)
def encode(gnn: GNN, variables: Variables, batch: Batch) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """The last layer's input in evaluation and in training mode, and what each BatchNorm sees in evaluation mode."""
    still, seen = gnn.apply(
        variables,
        batch,
        method=GNN.encode,
        capture_intermediates=lambda module, _: isinstance(module, nn.Module),
        mutable="intermediates",
    )
    moving, _ = gnn.apply(variables, batch, train=True, mutable="batch_stats", method=GNN.encode)
    layers = seen["intermediates"]
    inputs = {
        name: layers[name]["conv" if name.startswith("mp_") else "linear"]["__call__"][0]
        for name in variables["batch_stats"]
    }
    return still, moving, inputs


@pytest.mark.parametrize("level", ["graph", "node"])
def test_prepare_calibrates_batch_norm(level: Level) -> None:
    """Every layer's statistics are those of the real rows that reach it, given the layers before calibrated too."""
    task = make_task(level, 3)
    gnn = built(task)
    examples = draw_examples(task, CONFIG, 0)
    batch = examples.batch
    start = random_models(gnn, WIDTH, 2)
    variables, hidden = prepare(gnn, start, batch, examples.rows)
    jax.tree.map(np.testing.assert_array_equal, variables["params"], start["params"])
    if level == "graph":  # padded here, and only training graphs
        assert not batch.node_mask.all()
        assert batch.node_mask.sum() == task.graphs.n_node[task.split(0).train].sum()
    for r in range(2):
        still, moving, inputs = encode(gnn, model(variables, r), batch)
        assert set(inputs) == {"pre_0", "pre_1", "mp_0", "mp_1", "post_0"}
        for name, rows in inputs.items():
            mask = batch.graph_mask if level == "graph" and name == "post_0" else batch.node_mask
            real = np.asarray(rows)[np.asarray(mask)]
            statistics = model(variables, r)["batch_stats"][name]["bn"]["norm"]
            np.testing.assert_allclose(statistics["mean"], real.mean(axis=0), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(statistics["var"], real.var(axis=0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(still, moving, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(hidden[r], still[examples.rows], rtol=1e-9, atol=1e-12)


def test_fitted_changes_the_last_layer_only() -> None:
    task = make_task("node", 3)
    variables = fit(task)
    for r in range(2):
        start = random_variables(built(task), WIDTH, jax.random.key(r))["params"]
        params = model(variables, r)["params"]
        assert not np.allclose(params["out"]["kernel"], start["out"]["kernel"])
        for name in set(start) - {"out"}:
            jax.tree.map(np.testing.assert_array_equal, params[name], start[name])


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_run")
def test_cox2(data: Path) -> None:
    """As users run it: in float32."""
    settings = FisherConfig(hidden=16, seeds=2, ridge=5e-4, max_passes={"graph": 512, "node": 32}, max_nodes=4096)
    alphas = anchor_alpha(config.load_task("cox2", data_root=data), settings, anchors=ANCHORS[:3])
    assert alphas.shape == (3, 2)
    assert np.isfinite(alphas).all()
    assert np.all(alphas >= 1)
