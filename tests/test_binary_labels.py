"""The Fisher information of binary labels, against an enumeration of all labels in float64."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from atjax.batch import single_batch
from atjax.fisher import FisherConfig, task_statistics
from atjax.fisher.cotangents import Cotangents, Kind, label_directions, num_directions
from atjax.fisher.examples import draw_examples
from atjax.fisher.preparation import fitted
from atjax.model.gnn import GNN, Variables, build
from atjax.space import Design
from atjax.task import Level, Task

DESIGN = Design("general", None, "sum", "prelu", 4, "skip_sum", 1, 1, 2, 0.01, 400)
CONFIG = FisherConfig(
    hidden=4,
    seeds=2,
    ridge=1e-2,
    max_passes={"graph": 999, "node": 999},
    max_nodes=999,
    estimator={"graph": "exact", "node": "exact"},
)


pytestmark = pytest.mark.usefixtures("unoptimised")


@pytest.fixture
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def probability(logits: np.ndarray, label: tuple[int, ...]) -> float:
    p = 1 / (1 + np.exp(-logits))
    return float(np.prod(np.where(label, p, 1 - p)))


def labels_of(count: int) -> list[tuple[int, ...]]:
    return list(itertools.product((0, 1), repeat=count))


def cotangents(kind: Kind, labels: np.ndarray, seed: int = 0) -> Cotangents:
    return Cotangents(jnp.asarray(labels), jax.random.key(seed), jnp.ones(()), "binary_cross_entropy", kind)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("logits", [[0.3], [-1.0, 2.0], [0.0, 3.0, -4.0], [8.0, -9.0, 1.0, 0.0]])
def test_directions_are_the_expectation_over_all_labels(logits: list[float]) -> None:
    z = np.array(logits)
    expected = np.zeros((len(z), len(z)))
    for label in labels_of(len(z)):
        score = np.array(label) - 1 / (1 + np.exp(-z))
        expected += probability(z, label) * np.outer(score, score)
    rows = np.asarray(label_directions("binary_cross_entropy", jnp.asarray(z)))
    assert rows.shape == (num_directions("binary_cross_entropy", len(z)), len(z))
    np.testing.assert_allclose(rows.T @ rows, expected, rtol=1e-9, atol=1e-17)


def test_directions_keep_their_digits_at_extremes() -> None:
    """p rounds to 1 in single precision long before sqrt(p (1 - p)) is 0."""
    for z in (20.0, -20.0, 60.0, -60.0):
        got = label_directions("binary_cross_entropy", jnp.asarray([z], jnp.float32))
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, [[np.exp(-abs(z) / 2) / (1 + np.exp(-abs(z)))]], rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_drawn_labels_have_the_right_scores_on_average() -> None:
    z, draws = jnp.array([0.5, -1.0, 2.0]), 4000
    keys = jax.random.split(jax.random.key(1), draws)
    sent = cotangents("sampled", np.zeros((1, 3)))
    rows = np.asarray(jax.vmap(lambda key: sent.keyed(key).of(z, jnp.asarray(0)))(keys))[:, 0]
    p = 1 / (1 + np.exp(-np.asarray(z)))
    assert {tuple(row) for row in np.round(rows + p, 9).astype(int)} == set(labels_of(3))
    # Standard error of a mean of products of scores: each is at most 1.
    np.testing.assert_allclose(rows.T @ rows / draws, np.diag(p * (1 - p)), atol=5 * 0.25 / np.sqrt(draws))


@pytest.mark.usefixtures("float64")
def test_observed_labels_that_are_missing_send_nothing() -> None:
    z = jnp.array([0.5, -1.0, 2.0])
    got = cotangents("observed", np.array([[0, 0, 0], [1, np.nan, 0]])).of(z, jnp.asarray(1))
    np.testing.assert_allclose(got, [[1 - 1 / (1 + np.exp(-0.5)), 0, -1 / (1 + np.exp(-2.0))]])


def multi_label(level: Level) -> Task:
    """Three labels, of which some are missing."""
    plain = tiny.path_task(count=20, level=level)
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((20, 3)) < 0.2, np.nan, rng.integers(0, 2, (20, 3)))
    return Task("labels", level, "binary_cross_entropy", "roc_auc", plain.graphs, labels, 3)


def defined_alpha(gnn: GNN, task: Task, variables: Variables, train: np.ndarray) -> float:
    """alpha of one model with one message-passing layer, by the definition."""
    variables = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), variables)
    graphs = dataclasses.replace(task.graphs, nodes=task.graphs.nodes.astype(np.float64))
    batch = single_batch(graphs)

    def outputs(theta: Any) -> jax.Array:
        params = variables["params"] | {"mp_0": theta}
        return gnn.apply({"params": params, "batch_stats": variables["batch_stats"]}, batch)[train]

    theta = variables["params"]["mp_0"]
    jacobian = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(jax.jacrev(outputs))(theta))]
    flat = np.concatenate([leaf.reshape(len(train), task.num_outputs, -1) for leaf in jacobian], axis=2)
    diagonal = np.zeros(flat.shape[2])
    for logits, jac in zip(np.asarray(outputs(theta)), flat):
        for label in labels_of(task.num_outputs):
            score = (np.array(label) - 1 / (1 + np.exp(-logits))) @ jac
            diagonal += probability(logits, label) * score**2 / len(train)
    return float(np.mean(diagonal**2) / np.mean(diagonal) ** 2)


@pytest.mark.parametrize("level", ["graph", "node"])
def test_alpha_is_that_of_the_definition(level: Level) -> None:
    """E_y s s^T over all 2^3 labels, whether they are missing in the data or not, of every training example.

    The engine works in single precision, the definition in double.
    """
    task = multi_label(level)
    train = task.split(0).train
    gnn = build(DESIGN, hidden=4, level=level, num_outputs=3)
    variables = fitted(gnn, task, draw_examples(task, CONFIG, 0), CONFIG)
    got = task_statistics(task, CONFIG, ["alpha"], anchors=[DESIGN])["alpha"].value[0]
    with jax.enable_x64(True):
        expected = [defined_alpha(gnn, task, jax.tree.map(lambda leaf, r=r: leaf[r], variables), train) for r in (0, 1)]
    np.testing.assert_allclose(got, expected, rtol=1e-4)
