"""Task features of a little learning against scikit-learn, and against steps taken one by one in numpy."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import CHUNK, MODELS, PLAIN, TARGETS, make_task, paths, random_models, settings
from jax.flatten_util import ravel_pytree
from sklearn.linear_model import LogisticRegression, Ridge

from atjax.batch import BatchIndex, single_batch
from atjax.errors import UserError
from atjax.fisher import learning, preparation, statistics
from atjax.fisher.engine import evaluate
from atjax.fisher.estimators import Fitted
from atjax.fisher.examples import draw_examples
from atjax.fisher.learning import HELD, LEARNING_RATE, STEPS, Readout, blocks_of, descent, halves, readout
from atjax.fisher.preparation import prepare
from atjax.model.gnn import build
from atjax.task import Level

RIDGE = 1e-2


@pytest.fixture(autouse=True)
def float64(doubles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random values in float64 for all parameters."""
    monkeypatch.setattr(preparation, "random_models", random_models)


def models_of(level: Level, classes: int | None, train: int = 40) -> Fitted:
    """Random models, whose last layers nobody fitted."""
    task = make_task(level, classes, train)
    gnn = build(PLAIN, hidden=4, level=level, num_outputs=task.num_outputs)
    examples = draw_examples(task, settings(level, chunk=CHUNK[level]), 0)
    return Fitted(gnn, task, random_models(gnn, task.graphs.num_features, MODELS), examples)


def test_halves_share_nothing() -> None:
    for count in (2, 7, 40):
        first, second = halves(count)
        assert len(first) == len(second) == count // 2
        assert len({*first, *second}) == 2 * (count // 2)
        assert {*first, *second} <= set(range(count))
    with pytest.raises(UserError, match="need at least 2"):
        halves(1)


@pytest.mark.parametrize(("level", "classes"), [("graph", 3), ("node", 2), ("node", None)])
def test_readout_is_that_of_scikit_learn(level: Level, classes: int | None) -> None:
    models = models_of(level, classes)
    form = readout(models, settings(level, ridge=RIDGE))
    loss, accuracy = (evaluate(s, form)[0] for s in (statistics.readout_loss, statistics.readout_accuracy))
    examples = models.examples
    _, hidden = prepare(models.gnn, models.variables, examples.batch, examples.rows)
    labels = np.asarray(examples.labels)
    if classes is None:
        labels = (labels - labels.mean(axis=0)) / labels.std(axis=0)
    for r, rows in enumerate(np.asarray(hidden)):
        losses, hits = [], []
        for seen, unseen in (halves(len(labels)), halves(len(labels))[::-1]):
            strength = RIDGE * len(seen)
            if classes is None:
                predicted = Ridge(alpha=strength).fit(rows[seen], labels[seen]).predict(rows[unseen])
                losses += list(0.5 * np.sum((predicted - labels[unseen]) ** 2, axis=1))
            else:
                # Two classes in the softmax form: each of the two kernels carries a half, and the penalty with it.
                penalty = strength / 2 if classes == 2 else strength
                fit = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=10_000).fit(rows[seen], labels[seen])
                chances = fit.predict_proba(rows[unseen])
                losses += list(-np.log(chances[np.arange(len(unseen)), labels[unseen]]))
                hits += list(chances.argmax(axis=1) == labels[unseen])
        np.testing.assert_allclose(loss[r], np.mean(losses), rtol=1e-4)
        np.testing.assert_allclose(accuracy[r], np.mean(hits) if hits else np.nan)


def test_room_for_other_seeds_counts_nothing() -> None:
    """Rows that only fill up are neither learnt from nor scored."""
    models, config = models_of("graph", 3), settings("graph", ridge=RIDGE)
    roomy = models._replace(examples=dataclasses.replace(models.examples, room=models.examples.room + 5))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4),  # each fit stops at a gradient of 1e-5
        *(readout(each, config) for each in (models, roomy)),
    )


def test_errors_are_those_of_means_over_blocks() -> None:
    """Of equal blocks the jackknife of a mean is the deviation of the blocks' means over the root of their number."""
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(64, 3)), rng.integers(0, 3, 64)
    form = blocks_of("cross_entropy", jnp.asarray(outputs), jnp.asarray(labels), jnp.ones(64))
    value, error = statistics.readout_accuracy(form)
    hits = (outputs.argmax(axis=1) == labels).reshape(8, 8).mean(axis=0)
    np.testing.assert_allclose(value, hits.mean())
    np.testing.assert_allclose(error, hits.std(ddof=1) / np.sqrt(8))


def test_what_has_no_weight_counts_nothing() -> None:
    rng = np.random.default_rng(1)
    outputs, labels = jnp.asarray(rng.normal(size=(24, TARGETS))), jnp.asarray(rng.integers(0, 2, (24, TARGETS)) * 1.0)
    labels = labels.at[3, 1].set(jnp.nan)
    alone = blocks_of("binary_cross_entropy", outputs, labels, jnp.ones(24))

    def with_more(fill: float) -> Readout:
        return blocks_of(
            "binary_cross_entropy",
            jnp.concatenate([outputs, outputs * fill]),
            jnp.concatenate([labels, labels]),
            jnp.repeat(jnp.array([1.0, 0.0]), 24),
        )

    nothing, something = with_more(jnp.nan), with_more(3.0)
    for part in ("loss", "hits", "counts"):
        np.testing.assert_array_equal(getattr(nothing, part), getattr(something, part))
        # Sums of another length may be taken in another order, as on a GPU.
        np.testing.assert_allclose(getattr(nothing, part), getattr(alone, part), rtol=1e-14)


def test_descent_on_quotients_is_that_on_the_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of graphs of which two in three stand beside a copy of themselves, in the same lots."""
    models = models_of("graph", 3)
    times = 1 + (np.arange(len(models.task.labels)) % 3 > 0)
    both, first = models.task.graphs.take(np.repeat(np.arange(len(times)), times)), np.cumsum(times) - times
    n_node, n_edge = (np.add.reduceat(count, first) for count in (both.n_node, both.n_edge))
    task = dataclasses.replace(models.task, graphs=dataclasses.replace(both, n_node=n_node, n_edge=n_edge))
    models = models._replace(task=task, examples=draw_examples(task, settings("graph", chunk=CHUNK["graph"]), 0))
    found = []
    for most in (0, 0.9):
        monkeypatch.setattr("atjax.refinement.MOST_NODES", most)
        lots = learning._graph_lots(models, settings("graph"))
        assert isinstance(lots.source, BatchIndex)
        found.append((descent(models, settings("graph")), lots.source))
    (by_graphs, whole), (by_quotients, smaller) = found
    assert smaller.nodes.shape[1] < 0.8 * whole.nodes.shape[1]
    np.testing.assert_array_equal(smaller.graphs, whole.graphs)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-7), by_graphs, by_quotients)


def test_held_out_graphs_are_dealt_into_blocks_without_regard_to_size() -> None:
    """Lots begin with their largest graphs, and a place of every eighth would have them all."""
    sizes = np.random.default_rng(0).permutation(np.repeat([3, 4, 5, 6, 8, 9, 11, 12], 60))
    graphs, means = paths(sizes), []
    for count in range(400, 440):
        held = learning._dealt(graphs, np.arange(count))[STEPS:]
        places = np.arange(held.size) % 8
        means.append([sizes[held.ravel()[places == block]].mean() for block in range(8)])
        assert sorted(held.ravel()) == sorted({*held.ravel()})
    assert np.var(np.mean(means, axis=0)) < 3 * sizes.var() / 16 / len(means)


class Adam:
    """Kingma and Ba (2015), algorithm 1."""

    def __init__(self, size: int) -> None:
        self.first, self.second, self.count = np.zeros(size), np.zeros(size), 0

    def step(self, gradient: np.ndarray) -> np.ndarray:
        self.count += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        first, second = self.first / (1 - 0.9**self.count), self.second / (1 - 0.999**self.count)
        return -LEARNING_RATE * first / (np.sqrt(second) + 1e-8)


@pytest.mark.parametrize("level", ["graph", "node"])
def test_descent_is_that_of_steps_one_by_one(level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graph tasks: the same lots of graphs, each as one batch without padding; several of them are held out."""
    monkeypatch.setattr(learning, "LOT", 4)
    models = models_of(level, 3)
    task, examples, gnn = models.task, models.examples, models.gnn
    form = descent(models, settings(level))
    found = [np.asarray(form.losses), *(evaluate(s, form)[0] for s in (statistics.descent_loss,))]
    np.testing.assert_allclose(
        evaluate(statistics.first_losses, form)[0], found[0] / np.linalg.norm(found[0], axis=1)[:, None], rtol=1e-12
    )
    ids = np.asarray(examples.ids)
    seen, unseen = (ids[half] for half in halves(len(ids)))
    if level == "graph":
        source = learning._graph_lots(models, settings(level)).source
        dealt = [np.asarray(row[row >= 0]) for row in source.graphs]  # type: ignore[union-attr]
        lots, tests = dealt[:STEPS], dealt[STEPS:]
        assert len(tests) > 1
        assert set(np.concatenate(lots)) <= set(seen)
        assert sorted(np.concatenate(tests)) == sorted(unseen)[:HELD]
    else:
        lots, tests = [seen] * STEPS, [unseen]

    def outputs(params: Any, stats: Any, which: np.ndarray) -> jax.Array:
        whole = {"params": params, "batch_stats": stats}
        batch = single_batch(task.graphs.take(which) if level == "graph" else task.graphs)
        values, _ = gnn.apply(whole, batch, train=True, mutable=["batch_stats"])
        return values[: len(which)] if level == "graph" else values[which]

    def losses(params: Any, stats: Any, which: np.ndarray) -> jax.Array:
        return -jax.nn.log_softmax(outputs(params, stats, which))[jnp.arange(len(which)), task.labels[which]]

    def mean_loss(params: Any, stats: Any, which: np.ndarray) -> jax.Array:
        return losses(params, stats, which).mean()

    # Compiled as a whole, which is quicker than operation by operation for every size of a lot.
    steps_of = {lot.tobytes(): jax.jit(jax.value_and_grad(functools.partial(mean_loss, which=lot))) for lot in lots}

    def walk(model: Any) -> tuple[list[float], float]:
        flat, unravel = ravel_pytree(model["params"])
        adam, before = Adam(len(flat)), []
        for lot in lots:
            value, gradient = steps_of[lot.tobytes()](unravel(flat), model["batch_stats"])
            gradient, _ = ravel_pytree(gradient)
            before.append(float(value))
            flat = flat + adam.step(np.asarray(gradient))
        each = [losses(unravel(flat), model["batch_stats"], lot) for lot in tests]
        return before, float(np.concatenate(each).mean())

    for r in range(MODELS):
        before, after = walk(jax.tree.map(lambda leaf, r=r: leaf[r], models.variables))
        np.testing.assert_allclose(found[0][r], before, rtol=1e-6)
        np.testing.assert_allclose(found[1][r], after, rtol=1e-6)
