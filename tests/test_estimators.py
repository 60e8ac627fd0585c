"""Every estimator of the Fisher information against dense matrices, made of one Jacobian an example, in float64."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import environment

from atjax.batch import Batch, BatchShape, single_batch
from atjax.errors import UserError
from atjax.fisher import FisherConfig, engine, estimators, preparation, statistics
from atjax.fisher.engine import evaluate, task_statistics
from atjax.fisher.estimators import Fitted
from atjax.fisher.examples import draw_examples
from atjax.fisher.moments import Diagonal, Estimate, Gram
from atjax.fisher.statistics import alpha
from atjax.model.gnn import GNN, Variables, build, initialize
from atjax.model.layers import Linear
from atjax.space import Design
from atjax.task import Graphs, Level, Split, Task

HIDDEN, WIDTH, TARGETS, MODELS = 4, 3, 2, 2
TIGHT = {"rtol": 1e-9}
ALL = {"graph": 999, "node": 999}
CHUNK = {"graph": 16, "node": 100}
"""Several batches of graphs, and two nodes side by side."""


def design(convolution: str, aggregation: str | None = None, heads: int | None = None, **changes: Any) -> Design:
    """One message-passing layer, unless ``changes`` say otherwise: the quickest to compile."""
    recipe: dict[str, Any] = {
        **{"activation": "prelu", "hidden": 0, "connectivity": "stack", "pre_layers": 1, "mp_layers": 1},
        **{"post_layers": 2, "learning_rate": 0.0, "epochs": 0},
    }
    return Design(convolution, heads, aggregation, **recipe | changes)


PLAIN = design("general", "mean")
DEEP = design("general", "sum", connectivity="skip_concat", mp_layers=2)
GIN, GAT = design("gin", "sum"), design("gat", heads=2)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    # Switched on for all threads: `task_statistics` has its own. Nearly all the time here goes into compiling.
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_enable_x64", False)
    jax.config.update("jax_disable_most_optimizations", False)


# Random inputs


def random_graphs(rng: np.random.Generator, kinds: list[tuple[int, int]]) -> Graphs:
    """Graphs of so many nodes and undirected edges each, features in float64."""
    pairs, start = [], 0
    for nodes, edges in kinds:
        possible = list(itertools.combinations(range(start, start + nodes), 2))
        pairs += [possible[k] for k in rng.choice(len(possible), edges, replace=False)]
        start += nodes
    sizes = np.array([nodes for nodes, _ in kinds])
    graphs = Graphs.from_edges(np.zeros((start, WIDTH)), *np.array(pairs).T, sizes, undirected=True)
    return dataclasses.replace(graphs, nodes=rng.normal(size=(start, WIDTH)))


def make_task(level: Level, classes: int | None, train: int = 18) -> Task:
    """Small graphs, or the nodes of one graph: so many to train on, and half as many others.

    Labels are of so many classes, or two targets where that is None.
    """
    rng = np.random.default_rng(train)
    count = train + train // 2
    kinds = [((4, 4), (7, 9))[k % 2] for k in range(count)] if level == "graph" else [(count, 2 * count)]
    graphs = random_graphs(rng, kinds)
    split = Split(*map(np.sort, np.split(rng.permutation(count), [train, train + 2])))
    if classes is None:
        targets = rng.normal(size=(count, TARGETS))
        return Task("random", level, "mse", "mae", graphs, targets, TARGETS, fixed_split=split)
    labels = rng.permutation(np.arange(count) % classes).astype(np.int32)
    return Task("random", level, "cross_entropy", "accuracy", graphs, labels, classes, fixed_split=split)


def random_models(gnn: GNN, num_features: int, seeds: int, num_edge_features: int = 0) -> Variables:
    """Random values in float64 for all parameters and BatchNorm statistics, those too that start at 0 or 1."""
    rng = np.random.default_rng(seeds)

    def draw(path: Any, leaf: Any) -> jax.Array:
        value = 0.5 * rng.normal(size=(seeds, *leaf.shape))
        return jnp.asarray(0.5 + np.abs(value) if path[-1].key in ("var", "scale") else value)

    shapes = jax.eval_shape(functools.partial(initialize, gnn, num_features), jax.random.key(0))
    return cast(Variables, jax.tree_util.tree_map_with_path(draw, shapes))


def settings(level: Level, estimator: str = "exact", **changes: Any) -> FisherConfig:
    values: dict[str, Any] = {
        **{"hidden": HIDDEN, "seeds": MODELS, "ridge": 1e-2, "max_passes": ALL, "max_nodes": 999},
        **{"estimator": {"graph": estimator, "node": estimator}, "chunk": CHUNK[level]},
    }
    return FisherConfig(**values | changes)


@functools.cache
def random_fit(
    level: Level,
    classes: int | None,
    kind: Design = PLAIN,
    *,
    estimator: str = "exact",
    passes: int = 999,
    train: int = 18,
    seed: int = 0,
    chunk: int = 0,
) -> Fitted:
    """Random models; their last layers need no fit here."""
    task = make_task(level, classes, train)
    config = settings(level, estimator, max_passes={level: passes}, chunk=chunk or CHUNK[level])
    gnn = build(kind, hidden=HIDDEN, level=level, num_outputs=task.num_outputs)
    return Fitted(gnn, task, random_models(gnn, WIDTH, MODELS), draw_examples(task, config, seed))


def model(variables: Variables, r: int) -> Variables:
    return cast(Variables, jax.tree.map(lambda leaf: np.asarray(leaf)[r], variables))


def example_ids(models: Fitted) -> np.ndarray:
    """The examples differentiated, in the order of their chunks."""
    ids = np.concatenate([models.examples.ids_of(chunk).ravel() for chunk in models.examples.chunks])
    return ids[ids >= 0]


# The oracle: the definition, one example after another, with dense matrices


class Dense(NamedTuple):
    """Of n examples: score rows [n, L, P], scores of the labels in the data [n, P], J [n, C, P], and outputs [n, C]."""

    rows: np.ndarray
    observed: np.ndarray
    jacobian: np.ndarray
    outputs: np.ndarray

    @property
    def each(self) -> np.ndarray:
        """f_i, [n, P]."""
        return np.asarray((self.rows**2).sum(axis=1))

    @property
    def fisher(self) -> np.ndarray:
        """F [P, P]."""
        return np.einsum("nlp,nlq->pq", self.rows, self.rows) / len(self.rows)

    @property
    def alpha(self) -> float:
        diagonal = np.diag(self.fisher)
        return float(np.mean(diagonal**2) / np.mean(diagonal) ** 2)


def theta_of(variables: Variables) -> dict[str, Any]:
    return {name: value for name, value in variables["params"].items() if name.startswith("mp_")}


@functools.partial(jax.jit, static_argnames="gnn")
def outputs_and_jacobian(gnn: GNN, variables: Variables, batch: Batch) -> tuple[jax.Array, list[jax.Array]]:
    def forward(theta: Any) -> jax.Array:
        params = variables["params"] | theta
        return gnn.apply({"params": params, "batch_stats": variables["batch_stats"]}, batch, train=False)

    theta = theta_of(variables)
    return forward(theta), jax.tree.leaves(jax.jacrev(forward)(theta))


def alone(task: Task, graph: int) -> Batch:
    """One graph, padded to a size that the engine never pads to, the same for all, so that one program serves."""
    return single_batch(task.graphs.take(np.array([graph])), BatchShape(2, 11, 23))


def dense(models: Fitted, r: int, ids: np.ndarray) -> Dense:
    """Score rows of these examples, each alone."""
    task, variables = models.task, model(models.variables, r)
    if task.level == "node":
        parts = [(single_batch(task.graphs), ids)]
    else:
        parts = [(alone(task, graph), np.array([0])) for graph in ids]
    values, jacobians = [], []
    for batch, places in parts:
        z, leaves = outputs_and_jacobian(models.gnn, variables, batch)
        values.append(np.asarray(z)[places])
        flat = [np.asarray(leaf).reshape(*z.shape, -1) for leaf in leaves]
        jacobians.append(np.concatenate(flat, axis=-1)[places])
    z, jacobian = np.concatenate(values), np.concatenate(jacobians)
    if task.loss == "mse":
        return Dense(jacobian, np.einsum("nc,ncp->np", task.labels[ids] - z, jacobian), jacobian, z)
    p = softmax(z)
    residual = np.eye(task.num_outputs)[task.labels[ids]] - p
    rows = np.stack([columns(each).T @ jac for each, jac in zip(p, jacobian)])
    return Dense(rows, np.einsum("nc,ncp->np", residual, jacobian), jacobian, z)


def softmax(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def columns(p: np.ndarray) -> np.ndarray:
    """The lower triangular L [C, C - 1] with L L^T = diag(p) - p p^T: the columns of a covariance sum to 0."""
    top = np.linalg.cholesky((np.diag(p) - np.outer(p, p))[:-1, :-1])
    return np.vstack([top, -top.sum(axis=0)])


def mean_of(form: Diagonal) -> np.ndarray:
    """The diagonal of R models, [R, P]."""
    return np.asarray(form.first.sum(axis=1) / form.counts.sum(axis=1)[:, None])


# Estimators that take example after example

CASES: list[tuple[Level, int | None, Design, str]] = [
    ("graph", 3, DEEP, "exact"),
    ("graph", 2, PLAIN, "empirical"),
    ("graph", None, PLAIN, "empirical"),
    ("graph", None, GIN, "exact"),
    ("graph", 3, GAT, "empirical"),
    ("node", 3, PLAIN, "exact"),
    ("node", None, GAT, "exact"),
    ("node", None, PLAIN, "empirical"),
    ("node", 3, PLAIN, "empirical"),
]


@pytest.mark.parametrize(("level", "classes", "kind", "estimator"), CASES)
def test_diagonal_is_that_of_the_definition(level: Level, classes: int | None, kind: Design, estimator: str) -> None:
    models = random_fit(level, classes, kind)
    got = estimators.diagonal(models, settings(level, estimator))
    train = models.task.split(0).train
    assert got.counts.sum(axis=1).tolist() == [len(train)] * MODELS
    assert got.population.tolist() == [len(train)] * MODELS
    assert sum(layer.size for layer in got.layers) == got.first.shape[-1]
    value, error = evaluate(alpha, got)
    for r in range(MODELS):
        exact = dense(models, r, train)
        f = exact.each if estimator == "exact" else exact.observed**2
        expected = f.mean(axis=0)
        np.testing.assert_allclose(mean_of(got)[r], expected, atol=1e-9 * expected.max(), **TIGHT)
        np.testing.assert_allclose(got.second[r].sum(axis=0), (f**2).sum(axis=0), atol=1e-9 * f.max() ** 2, **TIGHT)
        np.testing.assert_allclose(value[r], np.mean(expected**2) / np.mean(expected) ** 2, **TIGHT)
        assert abs(exact.each.mean() / (exact.observed**2).mean() - 1) > 0.01  # two matrices
    assert error.tolist() == [0] * MODELS


@pytest.mark.parametrize(("level", "kind"), [("graph", PLAIN), ("graph", GIN), ("node", PLAIN)])
def test_blocks_of_a_sample_add_up(level: Level, kind: Design) -> None:
    """Whether they are cut for an early stop or not; what fills up the blocks counts nothing."""
    models = random_fit(level, 3, kind, passes=22, chunk=1)  # 11 of 18, one at a time if the level allows it
    ids = example_ids(models)
    assert models.examples.sampled == len(set(ids)) == 11 < models.examples.population == 18
    assert set(ids) <= set(models.task.split(0).train)
    config = settings(level)
    plain, early = estimators.diagonal(models, config), estimators.diagonal(models, config, lambda form: False)
    assert 1 < plain.first.shape[1] <= early.first.shape[1] == estimators.BLOCKS
    for form in (plain, early):
        filled = np.count_nonzero(form.counts[0])
        assert form.counts.sum(axis=1).tolist() == [11] * MODELS
        assert form.population.tolist() == [18] * MODELS
        assert filled == plain.first.shape[1]
        assert not form.first[:, filled:].any()
        for r in range(MODELS):
            f = dense(models, r, ids).each
            np.testing.assert_allclose(form.first[r].sum(axis=0), f.sum(axis=0), atol=1e-9 * f.max(), **TIGHT)
            total = form.second[r].sum(axis=0)
            np.testing.assert_allclose(total, (f**2).sum(axis=0), atol=1e-9 * f.max() ** 2, **TIGHT)
    np.testing.assert_allclose(evaluate(alpha, plain), evaluate(alpha, early), **TIGHT)
    assert np.all(evaluate(alpha, plain)[1] > 0)


# Estimators that draw


def draws_of(models: Fitted, estimator: str, draws: int) -> np.ndarray:
    """Draws d, [R, K, P]."""
    form = estimators.diagonal(models, settings(models.task.level, estimator, draws=draws))
    np.testing.assert_array_equal(form.second, form.first**2)
    np.testing.assert_array_equal(form.counts, np.ones((MODELS, draws)))
    assert np.all(form.population == np.inf)
    return np.asarray(form.first)


@functools.cache
def many_draws(level: Level, classes: int | None, estimator: str, draws: int) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimators, "TOGETHER", 100)  # the same draws in fewer calls
        return draws_of(random_fit(level, classes), estimator, draws)


def sign_sketch_variance(exact: Dense) -> tuple[np.ndarray, float]:
    """Of the entries [P] and of the trace, from e^T K e / n for random signs e."""
    rows = exact.rows.reshape(-1, exact.rows.shape[-1])
    n = len(exact.rows)
    entries = 2 * ((rows**2).sum(axis=0) ** 2 - (rows**4).sum(axis=0)) / n**2
    products = rows @ rows.T
    return entries, float(2 * (np.sum(products**2) - np.sum(np.diag(products) ** 2)) / n**2)


def hutchinson_variance(exact: Dense) -> tuple[np.ndarray, float]:
    """Of v * F v and of v^T F v for random signs v."""
    squares = exact.fisher**2
    entries = squares.sum(axis=1) - np.diag(squares)
    return entries, float(2 * entries.sum())


def monte_carlo_variance(exact: Dense, loss: str) -> tuple[np.ndarray, float]:
    """Of the mean over examples of s^2, for a score s of a drawn label: over labels, or by Isserlis' theorem."""
    n = len(exact.rows)
    if loss == "mse":
        gram = exact.jacobian @ np.swapaxes(exact.jacobian, 1, 2)
        return 2 * (exact.each**2).sum(axis=0) / n**2, float(2 * np.sum(gram**2) / n**2)
    p = softmax(exact.outputs)
    scores = exact.jacobian - np.einsum("nc,ncp->np", p, exact.jacobian)[:, None]
    squares, norms = scores**2, (scores**2).sum(axis=2)
    entries = np.einsum("nc,ncp->np", p, squares**2) - np.einsum("nc,ncp->np", p, squares) ** 2
    trace = np.sum(p * norms**2, axis=1) - np.sum(p * norms, axis=1) ** 2
    return entries.sum(axis=0) / n**2, float(trace.sum() / n**2)


DRAWS: list[tuple[Level, int | None, str, int, float]] = [
    ("graph", 3, "monte_carlo", 200, 0.08),
    ("node", None, "monte_carlo", 200, 0.08),
    ("graph", 3, "sign_sketch", 2000, 0.1),
    ("node", 3, "sign_sketch", 2000, 0.1),
    ("node", 3, "hutchinson", 2000, 0.15),
]
"""Level, classes, estimator, draws, and the relative error of the trace that these must bring."""


@pytest.mark.parametrize(("level", "classes", "estimator", "draws", "bound"), DRAWS)
def test_draws_are_unbiased(level: Level, classes: int | None, estimator: str, draws: int, bound: float) -> None:
    """Against the standard errors that theory gives for so many draws: 4 of them for an entry, 3 for the trace."""
    models = random_fit(level, classes)
    d = many_draws(level, classes, estimator, draws)
    for r in range(MODELS):
        exact = dense(models, r, models.task.split(0).train)
        if estimator == "monte_carlo":
            entries, trace = monte_carlo_variance(exact, models.task.loss)
        else:
            entries, trace = {"sign_sketch": sign_sketch_variance, "hutchinson": hutchinson_variance}[estimator](exact)
        expected = np.diag(exact.fisher)
        informative = expected > 1e-9 * expected.max()
        z = (d[r].mean(axis=0) - expected)[informative] / np.sqrt(entries[informative] / draws)
        assert np.abs(z).max() < 4
        assert np.mean(z**2) < 3  # entries are correlated, or the bound would be 1.6
        total = d[r].sum(axis=1)
        assert abs(total.mean() - expected.sum()) < 3 * np.sqrt(trace / draws)
        assert 3 * np.sqrt(trace / draws) < bound * expected.sum()
        # The spread of the draws is that of theory too; of 200 or more, some per cent, for tails are heavy.
        assert 0.7 < total.var() / trace < 1.4


@pytest.mark.parametrize("estimator", ["monte_carlo", "sign_sketch", "hutchinson", "reference"])
def test_draws_differ_and_come_again(estimator: str) -> None:
    """Seven: no multiple of what goes into one call. Fewer draws are the first of more."""
    models = random_fit("node", 3)
    assert 7 % estimators.TOGETHER
    first, again, fewer = (draws_of(models, estimator, draws) for draws in (7, 7, 3))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[:, :3], fewer)
    for a, b in itertools.combinations(range(7), 2):
        assert not np.allclose(first[:, a], first[:, b])


def test_variance_of_sign_sketch_is_that_of_its_docstring() -> None:
    """2 [(sum_a r_ak^2)^2 - sum_a r_ak^4] / N^2, about 2 F_kk^2 and never above it."""
    models = random_fit("graph", 3)
    d = many_draws("graph", 3, "sign_sketch", 2000)
    for r in range(MODELS):
        exact = dense(models, r, models.task.split(0).train)
        stated, _ = sign_sketch_variance(exact)
        twice = 2 * np.diag(exact.fisher) ** 2
        informative = twice > 1e-9 * twice.max()
        assert np.all(stated <= twice)
        assert 0.4 < stated.sum() / twice.sum() < 1
        # An entry's d is nearly F_kk times a chi-square of 1 degree: its variance is known to sqrt(14 / 2000) = 8%.
        ratio = d[r].var(axis=0, ddof=1)[informative] / stated[informative]
        assert abs(np.median(ratio) - 1) < 0.1
        assert 0.65 < ratio.min() < ratio.max() < 1.5


def unbiased_square(diagonal: Diagonal) -> Estimate:
    """The square of the diagonal, [P]."""
    return diagonal.estimate(lambda d, square: square)


def replications(level: Level, classes: int | None, size: int) -> Diagonal:
    """2000 draws of `sign_sketch` in groups of so many; leading axis R * 2000 / size, models slowest."""
    d = many_draws(level, classes, "sign_sketch", 2000)
    first = d.reshape(-1, size, d.shape[-1])
    count = len(first)
    layers = random_fit(level, classes).layers
    return Diagonal(first, first**2, np.ones((count, size)), np.full(count, np.inf), np.zeros(count), layers)


def test_square_of_the_diagonal_from_pairs_of_draws_is_unbiased() -> None:
    """The square of the mean of two draws would be 1 + 2 / 2 times too large: their variance is 2 F_kk^2."""
    models = random_fit("graph", 3)
    square, _ = evaluate(unbiased_square, replications("graph", 3, 2))
    squares = square.reshape(MODELS, 1000, -1)
    for r in range(MODELS):
        expected = np.diag(dense(models, r, models.task.split(0).train).fisher) ** 2
        informative = expected > 1e-12 * expected.max()
        z = (squares[r].mean(axis=0) - expected) / (squares[r].std(axis=0, ddof=1) / np.sqrt(1000) + 1e-300)
        assert np.abs(z[informative]).max() < 4
        assert abs(squares[r].sum(axis=1).mean() / expected.sum() - 1) < 0.3


def check_coverage(value: np.ndarray, error: np.ndarray, truth: float) -> None:
    """Of independent replications: the errors are the spread, to 30 or 40%, and cover about as often as they should.

    Nominally one covers in 68% and two cover in 95% of cases; of 40 replications the shares have standard errors of 7%
    and 3%, and alpha is skewed, with the smaller errors where it is too low. The jackknife is a little too wide on
    average (Efron and Stein, 1981).
    """
    spread = value.std(ddof=1)
    assert 0.7 < np.sqrt(np.mean(error**2)) / spread < 1.4
    assert abs(value.mean() - truth) < 4 * spread / np.sqrt(len(value)) + 0.02 * truth  # ratios keep a little bias
    distance = np.abs(value - truth) / error
    assert 0.5 < np.mean(distance < 1) < 0.85
    assert np.mean(distance < 2) > 0.75


@pytest.mark.parametrize(("level", "size"), [("graph", 50), ("node", 50)])
def test_standard_errors_of_draws_cover(level: Level, size: int) -> None:
    models = random_fit(level, 3)
    value, error = (each.reshape(MODELS, -1) for each in evaluate(alpha, replications(level, 3, size)))
    for r in range(MODELS):
        check_coverage(value[r], error[r], dense(models, r, models.task.split(0).train).alpha)


def test_standard_errors_of_samples_cover() -> None:
    """80 of 120 nodes drawn 120 times: without the finite-population factor errors would be sqrt(3) too large.

    Ten nodes a block. With three, of tails as heavy as these, two standard errors covered 73% and 93% in two models.
    """
    forms = []
    for seed in range(120):
        models = random_fit("node", 3, passes=160, train=120, seed=seed)
        forms.append(estimators.diagonal(models, settings("node")))
    assert forms[0].first.shape[1] == estimators.BLOCKS
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *forms)
    assert np.all(together.counts.sum(axis=1) == 80)
    values, errors = evaluate(alpha, together)
    squares, _ = evaluate(unbiased_square, together)
    for r in range(MODELS):
        exact = dense(models, r, models.task.split(0).train)
        # The ratio is biased by O(1/n), and f_i has heavy tails: what it is on average, from many samples of dense f_i.
        f, rng = exact.each, np.random.default_rng(r)
        subsets = np.stack([f[rng.choice(120, 80, replace=False)] for _ in range(2000)])
        first, second = subsets.sum(axis=1), (subsets**2).sum(axis=1)
        square = second / (80 * 120) + (1 - 1 / 120) * (first**2 - second) / (80 * 79)
        average = np.mean(square.mean(axis=1) / (first / 80).mean(axis=1) ** 2)
        assert abs(average / exact.alpha - 1) < 0.2
        check_coverage(values[r::MODELS], errors[r::MODELS], float(average))
        total = squares[r::MODELS].sum(axis=1)
        expected = np.sum(np.diag(exact.fisher) ** 2)
        assert abs(total.mean() - expected) < 4 * total.std(ddof=1) / np.sqrt(40)


# The reference


@functools.partial(jax.jit, static_argnames="gnn")
def training_gradient(
    gnn: GNN, variables: Variables, batch: Batch, rows: jax.Array, ids: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The gradient of the mean log-likelihood of drawn labels with BatchNorm in training mode [P], and the labels."""

    def forward(theta: Any) -> jax.Array:
        whole = {"params": variables["params"] | theta, "batch_stats": variables["batch_stats"]}
        return gnn.apply(whole, batch, train=True, mutable=["batch_stats"])[0][rows]

    theta = theta_of(variables)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(ids)
    drawn = jax.vmap(jax.random.categorical)(keys, forward(theta))

    def log_likelihood(theta: Any) -> jax.Array:
        return jnp.mean(jax.nn.log_softmax(forward(theta))[jnp.arange(len(ids)), drawn])

    leaves = jax.tree.leaves(jax.grad(log_likelihood)(theta))
    return jnp.concatenate([leaf.ravel() for leaf in leaves]), drawn


@pytest.mark.parametrize("level", ["graph", "node"])
def test_reference_is_the_squared_gradient_of_a_batch(level: Level) -> None:
    models = random_fit(level, 3)
    train = models.task.split(0).train
    d = draws_of(models, "reference", 5)
    if level == "graph":
        batch, rows = single_batch(models.task.graphs.take(train), BatchShape(19, 131, 303)), np.arange(len(train))
    else:
        batch, rows = single_batch(models.task.graphs), train
    for r in range(MODELS):
        exact, one = dense(models, r, train), model(models.variables, r)
        for draw in range(5):
            gradient, drawn = training_gradient(models.gnn, one, batch, rows, train, jax.random.key(draw))
            expected = np.asarray(gradient) ** 2
            np.testing.assert_allclose(d[r, draw], expected, atol=1e-9 * expected.max(), **TIGHT)
            # With BatchNorm in evaluation mode the gradient is another.
            residual = np.eye(3)[drawn] - softmax(exact.outputs)
            still = np.einsum("nc,ncp->np", residual, exact.jacobian).mean(axis=0) ** 2
            assert np.abs(still - expected).max() > 0.1 * expected.max()


# The Gram matrix

GRAMS: list[tuple[Level, int | None, Design, int]] = [
    ("graph", 3, PLAIN, 999),
    ("graph", None, GIN, 22),
    ("node", 3, PLAIN, 999),
    ("node", 3, PLAIN, 22),
]
"""Level, classes, design and most passes: for all 18 examples, or for 11 of them."""


def spectrum(gram: Gram) -> Estimate:
    """Three statistics as one, which compiles once."""
    chosen = (statistics.full_alpha, statistics.largest_eigenvalue, statistics.spectral_entropy)
    return Estimate(*(jnp.stack(parts) for parts in zip(*(statistic(gram) for statistic in chosen))))


@pytest.mark.parametrize(("level", "classes", "kind", "passes"), GRAMS)
def test_gram_is_that_of_the_dense_rows(level: Level, classes: int | None, kind: Design, passes: int) -> None:
    models = random_fit(level, classes, kind, passes=passes, chunk=36 if level == "graph" else 200)
    ids = example_ids(models)
    got = estimators.gram(models, settings(level))
    n, population, directions = len(ids), 18, 2
    assert n == (18 if passes == 999 else 11)
    assert got.parameters == sum(layer.size for layer in models.layers)
    assert got.count.tolist() == [n] * MODELS
    assert got.population.tolist() == [population] * MODELS
    values, errors = evaluate(spectrum, got)
    for r in range(MODELS):
        unit = got.unit[r]
        real = unit >= 0
        np.testing.assert_array_equal(unit[real], np.repeat(np.arange(n), directions))
        assert not got.products[r][~real].any()
        exact = dense(models, r, ids)
        rows = exact.rows.reshape(n * directions, -1)
        products, fisher = rows @ rows.T, exact.fisher
        scale = np.abs(products).max()
        np.testing.assert_allclose(got.products[r][np.ix_(real, real)], products, atol=1e-9 * scale, **TIGHT)
        # tr F^2 of the population: pairs of a unit with itself as often as they are there, and all others.
        own = np.sum([np.sum((each @ each.T) ** 2) for each in exact.rows])
        others = np.sum(products**2) - own
        second = own / (n * population) + (1 - 1 / population) * others / (n * (n - 1))
        if n == population:
            np.testing.assert_allclose(second, np.sum(fisher**2), **TIGHT)
        eigenvalues = np.linalg.eigvalsh(fisher)
        p = eigenvalues[eigenvalues > 1e-12 * eigenvalues[-1]] / np.trace(fisher)
        expected = (len(fisher) * second / np.trace(fisher) ** 2, np.log(eigenvalues[-1]), -np.sum(p * np.log(p)))
        np.testing.assert_allclose(values[r], expected, rtol=1e-8)
    assert np.all(errors == 0) if n == population else np.all((errors > 0) & np.isfinite(errors))


def test_gram_of_the_labels_in_the_data() -> None:
    models = random_fit("node", 3)
    got = estimators.gram(models, settings("node", "empirical"))
    for r in range(MODELS):
        rows = dense(models, r, example_ids(models)).observed
        np.testing.assert_allclose(got.products[r], rows @ rows.T, atol=1e-10 * np.sum(rows**2), **TIGHT)
        assert got.unit[r].tolist() == list(range(18))


# The Kronecker factors


@functools.partial(jax.jit, static_argnames="gnn")
def inputs_and_deltas(gnn: GNN, variables: Variables, batch: Batch) -> tuple[jax.Array, dict[str, Any], Any]:
    """Outputs [C] of the first graph; the input of each message-passing layer, and dz / dy [C, V, H] of linear maps."""

    def run(shifts: Any) -> tuple[jax.Array, dict[str, Any]]:
        def shift(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            name = "/".join(context.module.path)
            y = call(*args, **kwargs)
            if not isinstance(context.module, Linear) or not name.startswith("mp_"):
                return y
            seen[name] = jnp.zeros_like(y)
            return y if shifts is None else y + shifts[name]

        seen: dict[str, Any] = {}
        with nn.intercept_methods(shift):
            values, rest = gnn.apply(
                variables,
                batch,
                capture_intermediates=lambda module, _: len(module.path) == 1,
                mutable=["intermediates"],
            )
        layers = {name: value["__call__"][0] for name, value in rest["intermediates"].items() if name != "out"}
        return values[0], layers | {"seen": seen}

    values, found = run(None)
    jacobian, _ = jax.jacrev(run, has_aux=True)(found.pop("seen"))
    return values, found, jacobian


@pytest.mark.parametrize("passes", [999, 34])
def test_factors_are_those_of_single_graphs(passes: int) -> None:
    models = random_fit("graph", 3, DEEP, passes=passes, chunk=1)
    ids = example_ids(models)
    whole = len(ids) == 18
    got = estimators.factors(models, settings("graph"))
    if not whole:  # blocks of 2 and of 3 graphs
        assert sorted(set(got.counts[0])) == [2, 3]
    names = [f"mp_{layer}/conv/{part}" for layer in range(2) for part in ("neighbour", "self")]
    sizes = models.task.graphs.n_node[ids]
    assert got.counts.sum(axis=1).tolist() == [len(ids)] * MODELS
    assert got.nodes.sum(axis=1).tolist() == [sizes.sum()] * MODELS
    assert (got.counts.shape[1] == 1) == whole
    assert len(got.inputs) == len(got.deltas) == len(names)
    value, error = evaluate(statistics.kfac_trace, got)
    for r in range(MODELS):
        variables = model(models.variables, r)
        total = {name: (0.0, 0.0) for name in names}
        for graph, size in zip(ids, sizes):
            z, layers, jacobian = inputs_and_deltas(models.gnn, variables, alone(models.task, graph))
            factor = columns(softmax(np.asarray(z)[None])[0])
            for name in names:
                x = np.asarray(layers["pre_0" if name.startswith("mp_0") else "mp_0"])[:size]
                delta = np.einsum("cl,cvh->lvh", factor, np.asarray(jacobian[name])[:, :size])
                a, b = total[name]
                total[name] = (a + x.T @ x, b + np.einsum("lvh,lvk->hk", delta, delta))
        for (a, b), found_a, found_b in zip(total.values(), got.inputs, got.deltas):
            np.testing.assert_allclose(found_a[r].sum(axis=0), a, atol=1e-9 * np.max(a), **TIGHT)
            np.testing.assert_allclose(found_b[r].sum(axis=0), b, atol=1e-9 * np.max(b), **TIGHT)
        trace = sum(np.trace(a) / sizes.sum() * np.trace(b) / len(ids) for a, b in total.values())
        np.testing.assert_allclose(value[r], np.log(trace), **TIGHT)
    assert np.all(error == 0) if whole else np.all(error > 0)


@pytest.mark.parametrize(("level", "kind"), [("node", PLAIN), ("graph", GIN), ("graph", GAT)])
def test_factors_are_there_for_some_designs_only(level: Level, kind: Design) -> None:
    with pytest.raises(
        UserError, match=r"^random: Kronecker factors are there for graph tasks without .*Gram matrix\.$"
    ):
        estimators.factors(random_fit(level, 3, kind), settings(level))


# Scale


@pytest.mark.parametrize("level", ["graph", "node"])
def test_squares_stay_within_single_precision(level: Level) -> None:
    """A last layer times c multiplies F by c^2 in regression, and changes no ratio; f_i^2 alone is beyond float32."""
    models = random_fit(level, None)
    exact = [dense(models, r, models.task.split(0).train) for r in range(MODELS)]
    ratios = [len(f) * np.sum(f**2) / np.trace(f) ** 2 for f in (each.fisher for each in exact)]
    jax.config.update("jax_enable_x64", False)
    examples = draw_examples(models.task, settings(level), 0)
    sketched = {}
    for scale in (1e12, 1.0, 1e-12):
        variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), models.variables)
        variables["params"]["out"]["kernel"] *= scale
        scaled = models._replace(variables=variables, examples=examples)
        form = estimators.diagonal(scaled, settings(level))
        with np.errstate(over="ignore", under="ignore"):
            held = np.float32(np.max([each.each.max() * scale**2 for each in exact])) ** 2
        assert (np.finfo(np.float32).tiny < held < np.inf) == (scale == 1)
        np.testing.assert_allclose(evaluate(alpha, form)[0], [each.alpha for each in exact], rtol=1e-3)
        traces = [np.trace(each.fisher) * scale**2 for each in exact]
        np.testing.assert_allclose(mean_of(form).sum(axis=1), traces, rtol=1e-3)
        drawn = estimators.diagonal(scaled, settings(level, "sign_sketch", draws=4))
        sketched[scale] = evaluate(alpha, drawn)[0]
        full, _ = evaluate(statistics.full_alpha, estimators.gram(scaled, settings(level)))
        np.testing.assert_allclose(full, ratios, rtol=1e-3)
    for scale in (1e12, 1e-12):
        np.testing.assert_allclose(sketched[scale], sketched[1.0], rtol=1e-3)


# Stopping early


@pytest.mark.parametrize(
    ("level", "estimator", "most"), [("graph", "exact", 8), ("node", "monte_carlo", 6), ("node", "sign_sketch", 6)]
)
def test_tolerance_stops_early(level: Level, estimator: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Diagonal] = []

    def listen(*arguments: Any) -> Diagonal:
        held.append(estimators.diagonal(*arguments))
        return held[-1]

    monkeypatch.setattr(engine, "diagonal", listen)
    monkeypatch.setitem(engine.FORMS, "diagonal", listen)
    fit = random_fit(level, 3).variables
    monkeypatch.setattr(engine, "fitted", lambda *_: fit)
    task = make_task(level, 3)

    def outcome(tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        # 11 of 18 graphs: one can never be certain.
        config = settings(level, estimator, draws=6, tolerance=tolerance, max_passes={level: 22}, chunk=1)
        examples = draw_examples(task, config, 0)
        return engine.design_statistics(task, PLAIN, examples, config, ["alpha"])[0]

    results = [outcome(tolerance) for tolerance in (0.0, 1e-9, 1e9)]
    whole, never, stopped = held
    used = [np.count_nonzero(form.counts[0]) for form in held]
    assert used == [most, most, 2]
    assert never.first.shape[1] == stopped.first.shape[1]  # one program for all of them
    np.testing.assert_array_equal(never.first[:, :most], whole.first)
    for part in ("first", "second"):
        np.testing.assert_array_equal(getattr(stopped, part)[:, :2], getattr(whole, part)[:, :2])
        assert not getattr(stopped, part)[:, 2:].any()
    alone = dataclasses.replace(whole, first=whole.first[:, :2], second=whole.second[:, :2], counts=whole.counts[:, :2])
    np.testing.assert_allclose(results[2], evaluate(alpha, alone), **TIGHT)
    np.testing.assert_allclose(results[1], results[0], **TIGHT)
    assert np.all(results[2][0] != results[0][0])


# Devices


def report() -> dict[str, Any]:
    """Statistics of a small graph and a small node task, and the devices on which models lay."""
    devices: set[int] = set()
    real = estimators.diagonal

    def listen(models: Fitted, *rest: Any) -> Diagonal:
        leaves = jax.tree.leaves((models.variables, models.examples.rows))
        devices.update(device.id for leaf in leaves for device in leaf.devices())
        return real(models, *rest)

    anchors = [PLAIN, design("general", "sum")]
    found: dict[str, Any] = {"available": len(jax.local_devices())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(engine.FORMS, "diagonal", listen)
        patch.setattr(preparation, "random_models", random_models)
        real_fit = engine.fitted

        def fit(gnn: GNN, task: Task, *rest: Any) -> Variables:
            # Softmax regression is long to compile; ridge regression is not.
            return real_fit(gnn, task, *rest) if task.loss == "mse" else random_models(gnn, WIDTH, MODELS)

        patch.setattr(engine, "fitted", fit)
        cases: list[tuple[Level, str, int | None]] = [("graph", "exact", 3), ("node", "sign_sketch", None)]
        for level, estimator, classes in cases:
            devices.clear()
            config = settings(level, estimator, draws=4)
            values = task_statistics(make_task(level, classes), config, ["alpha"], anchors=anchors)["alpha"]
            found[level] = [np.asarray(values.value).tolist(), np.asarray(values.error).tolist()]
            found[f"{level} devices"] = sorted(devices)
    return found


REPORT = """
import json, jax, test_estimators
jax.config.update("jax_disable_most_optimizations", True)
print(json.dumps(test_estimators.report()))
"""


def test_number_of_devices_changes_nothing() -> None:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(
        [sys.executable, "-c", REPORT], env=environment(**flags), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    many, one = json.loads(process.stdout.splitlines()[-1]), report()
    assert (many["available"], one["available"]) == (8, 1)
    for level in ("graph", "node"):
        assert many[f"{level} devices"] == [0, 1]
        assert one[f"{level} devices"] == [0]
        np.testing.assert_allclose(many[level], one[level], rtol=1e-6)
        assert np.shape(one[level][0]) == (2, MODELS)
