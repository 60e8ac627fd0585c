"""One backward pass over disjoint graphs against a gradient of every graph by itself, in float64."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.flatten_util import ravel_pytree
from test_fisher import (
    ANCHORS,
    CONFIG,
    built,
    design_alpha,
    exact,
    fit,
    float64,
    make_task,
    model,
)

from atjax import config
from atjax.fisher import estimators, sums
from atjax.fisher.disjoint import _add_blocks, _add_rows, _add_rows_whole, _add_whole, separable, slot_sums
from atjax.fisher.estimators import Fitted
from atjax.fisher.examples import draw_examples
from atjax.fisher.gradients import graph_sums
from atjax.fisher.preparation import fitted
from atjax.fisher.slots import Places, Slots, in_places
from atjax.model.gnn import build
from atjax.space import Design

__all__ = ["float64"]

DESIGNS = [
    *(ANCHORS[k] for k in (3, 4, 8)),
    Design("gcn", None, None, "relu", 0, "stack", 1, 2, 2, 0.0, 0),
    Design("sage", None, "max", "elu", 0, "skip_sum", 1, 2, 2, 0.0, 0),
    Design("general", None, "max", "leaky_relu", 0, "skip_concat", 1, 2, 2, 0.0, 0),
]


@pytest.mark.parametrize(("design", "classes"), tiny.first(3, zip(DESIGNS, itertools.cycle((2, 4, None)))))
def test_sums_are_those_of_every_graph_alone(design: Design, classes: int | None) -> None:
    """In batches of one graph or many."""
    task = make_task("graph", classes)
    examples = draw_examples(task, CONFIG, 0)
    layouts = [jax.tree.map(jnp.asarray, in_places(task.graphs, [task.split(0).train], nodes)) for nodes in (8, 40)]
    gnn, variables = built(task, design), fit(task, design)
    assert separable(gnn)
    alone = jax.jit(functools.partial(graph_sums, gnn, exact(task)))
    together = jax.jit(functools.partial(slot_sums, gnn, exact(task)))
    for r in range(2):
        one = model(variables, r)
        parts = [alone(one, examples.features, chunk) for chunk in examples.chunks]
        expected = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0), *parts)
        for placed in layouts:
            got = together(one, examples.features, placed)
            jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-10, atol=1e-10 * e.max()), got, expected)


SLOTS = Slots(((8, 3), (1, 7), (3, 8)), 45)


@jax.jit
def summed(
    start: tuple[jax.Array, jax.Array], filled: jax.Array, xs: list[jax.Array], ds: list[jax.Array], rows: jax.Array
) -> list[tuple[jax.Array, jax.Array]]:
    """Sums of linear maps and of other parameters, as a CPU adds them up and as an accelerator does."""
    places, (maps, others) = Places(SLOTS, filled), start
    ways = (_add_blocks, _add_rows), (_add_whole, _add_rows_whole)
    return [(products(maps, xs, ds, places), each(others, rows, places)) for products, each in ways]


@pytest.mark.parametrize("directions", [1, 3])
@pytest.mark.parametrize("used", [(7, 1, 2), (4, 0, 1), (0, 0, 0)])
def test_products_on_a_cpu_are_those_on_an_accelerator(used: tuple[int, ...], directions: int) -> None:
    rng = np.random.default_rng(directions)
    filled = np.concatenate([np.arange(most) < count for (most, _), count in zip(SLOTS.groups, used)])
    xs = [rng.normal(size=(SLOTS.num_nodes, d)) for d in (4, 12)]
    ds = [rng.normal(size=(SLOTS.num_nodes, directions, 6)) for _ in xs]
    rows = rng.normal(size=(SLOTS.num_nodes, directions, 5))
    (found, others), there = summed((np.ones((4, 4, 6)), np.ones(5)), filled, xs, ds, rows)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12), (found, others), there)
    start, f, own = 0, np.zeros((12, 6)), np.zeros(5)
    for nodes in SLOTS.sizes[filled]:  # the second map of each example, plainly, and the parameters of no map
        x, d, r = (each[start : start + nodes] for each in (xs[1], ds[1], rows))
        f += sum((x.T @ d[:, direction]) ** 2 for direction in range(directions))
        own += (r.sum(axis=0) ** 2).sum(axis=0)
        start += nodes
    np.testing.assert_allclose(found[1:].reshape(12, 6), 1 + f, rtol=1e-12)
    np.testing.assert_allclose(others, 1 + own, rtol=1e-12)


@pytest.mark.parametrize("kind", ["gin", "gat"])
def test_other_designs_take_every_graph_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heads, aggregation = (2, None) if kind == "gat" else (None, "sum")
    design = Design(kind, heads, aggregation, "relu", 0, "stack", 1, 1, 2, 0.0, 0)
    task = make_task("graph", 2)
    assert not separable(built(task, design))
    monkeypatch.setattr(sums, "slot_sums", None)
    assert np.all(design_alpha(task, design) >= 1)


@pytest.mark.usefixtures("as_users_run")
def test_real_sizes_in_single_precision() -> None:
    """The sums over 56 graphs of the digits for 5 models at once, as users run it, are those of each alone.

    XLA's fused scatters once gave sums that were off by 2% where models, graphs and directions were all batched, and
    only at such sizes.
    """
    task, settings, anchor = config.load_task("digits"), config.load("fisher", "alpha"), ANCHORS[9]
    examples = draw_examples(task, settings, 0)
    gnn = build(anchor, hidden=settings.hidden, level="graph", num_outputs=task.num_outputs)
    variables = fitted(gnn, task, examples, settings)
    form = estimators.diagonal(Fitted(gnn, task, variables, examples), settings)
    singles = [jax.tree.map(lambda leaf: leaf.reshape(-1, 1, *leaf.shape[2:]), chunk) for chunk in examples.chunks]
    alone = jax.jit(functools.partial(graph_sums, gnn, exact(task)))
    for r in (0, 4):
        parts = [ravel_pytree(alone(model(variables, r), examples.features, chunk))[0] for chunk in singles]
        expected = np.sum(parts, axis=0, dtype=np.float64)
        np.testing.assert_allclose(form.sums[r].sum(axis=0), expected, rtol=1e-3, atol=1e-6 * expected.max())
