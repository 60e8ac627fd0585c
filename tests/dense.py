"""Random models and data in float64, and the definition of the Fisher information with dense matrices."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from atjax.batch import Batch, BatchShape, single_batch
from atjax.fisher import FisherConfig
from atjax.fisher.estimators import Fitted
from atjax.fisher.examples import draw_examples
from atjax.fisher.moments import Diagonal
from atjax.model.gnn import GNN, Variables, build, initialize
from atjax.space import Design
from atjax.task import Graphs, Level, Split, Task

HIDDEN, WIDTH, TARGETS, MODELS = 4, 3, 2, 2
TIGHT = {"rtol": 1e-9}
ALL = {"graph": 999, "node": 999, "edge": 999}
CHUNK = {"graph": 16, "node": 100, "edge": 100}
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
    """Small graphs, or nodes of one graph or pairs of them: so many to train on, and half as many others.

    Labels are of so many classes, or two targets where that is None.
    """
    rng = np.random.default_rng(train)
    count = train + train // 2
    kinds = [((4, 4), (7, 9))[k % 2] for k in range(count)] if level == "graph" else [(count, 2 * count)]
    graphs = random_graphs(rng, kinds)
    split = Split(*map(np.sort, np.split(rng.permutation(count), [train, train + 2])))
    pairs = rng.integers(count, size=(count, 2)) if level == "edge" else None
    if classes is None:
        targets = rng.normal(size=(count, TARGETS))
        return Task("random", level, "mse", "mae", graphs, targets, TARGETS, fixed_split=split, pairs=pairs)
    labels = rng.permutation(np.arange(count) % classes).astype(np.int32)
    return Task("random", level, "cross_entropy", "accuracy", graphs, labels, classes, fixed_split=split, pairs=pairs)


def random_models(gnn: GNN, num_features: int, seeds: int, num_edge_features: int = 0) -> Variables:
    """Random values in float64 for all parameters and BatchNorm statistics, those too that start at 0 or 1."""
    rng = np.random.default_rng(seeds)

    def draw(path: Any, leaf: Any) -> jax.Array:
        value = 0.5 * rng.normal(size=(seeds, *leaf.shape))
        return jnp.asarray(0.5 + np.abs(value) if path[-1].key in ("var", "scale") else value)

    shapes = jax.eval_shape(functools.partial(initialize, gnn, num_features), jax.random.key(0))
    return cast(Variables, jax.tree_util.tree_map_with_path(draw, shapes))


def paths(sizes: np.ndarray) -> Graphs:
    """Paths of so many nodes each, with random features."""
    start = np.cumsum(sizes) - sizes
    first = np.concatenate([begin + np.arange(size - 1) for begin, size in zip(start, sizes)])
    nodes = np.random.default_rng(0).normal(size=(sum(sizes), 3))
    return Graphs.from_edges(nodes, first, first + 1, np.asarray(sizes), undirected=True)


def settings(level: Level, estimator: str = "exact", **changes: Any) -> FisherConfig:
    values: dict[str, Any] = {
        **{"hidden": HIDDEN, "seeds": MODELS, "ridge": 1e-2, "max_passes": ALL, "max_nodes": 999},
        **{"estimator": dict.fromkeys(ALL, estimator), "chunk": CHUNK[level]},
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
    return np.asarray(form.sums.sum(axis=1) / form.counts.sum(axis=1)[:, None])
