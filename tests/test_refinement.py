"""Graphs that are computed colour by colour: against refinement by the book, and against every node by itself."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from dense import random_graphs
from hypothesis import given
from hypothesis import strategies as st
from test_fisher import CONFIG, float64, make_task, model, random_models, random_variables

from atjax.batch import BatchShape, device_rows, index_batches, single_batch
from atjax.fisher.config import FisherConfig
from atjax.fisher.cotangents import Cotangents
from atjax.fisher.disjoint import slot_sums
from atjax.fisher.estimators import Fitted, factors, gram, moments
from atjax.fisher.examples import ROUNDS, draw_examples
from atjax.fisher.kronecker import slot_factors
from atjax.fisher.preparation import fitted, prepare
from atjax.fisher.score_products import slot_products
from atjax.fisher.slots import in_places
from atjax.model.gnn import build
from atjax.neighbours import lists
from atjax.refinement import Colours, Quotient, Refined, RefinedShape, trained_graphs
from atjax.space import ANCHORS, Design
from atjax.task import Graphs, Task
from atjax.train import GraphData, Steps, _start, train_block

__all__ = ["float64"]

KINDS = ((4, 4), (7, 9), (6, 5), (1, 0), (3, 2))
seeds = st.integers(0, 999)


def alike(seed: int, count: int = 9, directed: bool = False) -> Graphs:
    """Small graphs whose nodes have one of two features, so that many are alike."""
    rng = np.random.default_rng(seed)
    graphs = random_graphs(rng, [KINDS[k % len(KINDS)] for k in range(count)])
    kinds = np.array([[0.5, -1, 2], [1.5, 0, 1]])
    graphs = dataclasses.replace(graphs, nodes=kinds[rng.integers(0, 2, len(graphs.nodes))].astype(np.float32))
    return graphs.keep_edges(rng.random(len(graphs.senders)) < 0.7) if directed else graphs


def by_the_book(graphs: Graphs, rounds: int) -> list[list[object]]:
    """What a node and those around it have, as nested tuples; round by round, numbered where they first come."""
    colour: list[object] = [tuple(row) for row in graphs.nodes.tolist()]
    found = [colour]
    for _ in range(rounds):
        senders: list[list[object]] = [[] for _ in colour]
        for sender, receiver in zip(graphs.senders, graphs.receivers):
            senders[receiver].append(colour[sender])
        # Numbers in place of the tuples themselves, which would grow without end.
        keys = [(own, tuple(sorted(map(repr, near)))) for own, near in zip(colour, senders)]
        colour = list(numbered(keys))
        found.append(colour)
    return found


def numbered(colour: Sequence[object]) -> list[int]:
    numbers: dict[object, int] = {}
    return [numbers.setdefault(each, len(numbers)) for each in colour]


@given(seeds, st.booleans(), st.integers(0, 5))
def test_colours_are_those_of_the_book(seed: int, directed: bool, rounds: int) -> None:
    graphs = alike(seed, directed=directed)
    colours = Colours.refine(graphs, rounds)
    assert len(colours.stage) == rounds + 1
    for stage, expected in zip(colours.stage, by_the_book(graphs, rounds)):
        assert colours.stages[stage].tolist() == numbered(expected)
    assert colours.degree.tolist() == np.bincount(graphs.receivers, minlength=len(graphs.nodes)).tolist()


def test_stages_end_where_nothing_changes() -> None:
    """On a ring all nodes are alike, whatever the round; on a path of five they come to differ."""
    for ends, number in (([0, 1, 2, 3, 4], 1), ([0, 1, 2, 3], 3)):
        graphs = Graphs.from_edges(np.ones((5, 1)), np.array(ends), (np.array(ends) + 1) % 5, np.array([5]))
        assert len(Colours.refine(graphs, 6).stages) == number


@given(seeds, st.integers(1, 4), st.sampled_from([0, 5, 50]))
def test_merged_rounds_tell_apart_what_they_did(seed: int, most: int, worth: int) -> None:
    colours = Colours.refine(alike(seed), 6)
    merged = colours.merged(worth, most)
    assert len(merged.stages) <= most
    assert merged.stages[-1] is colours.stages[-1]
    rows = [colours.stages[stage].max() + 1 for stage in colours.stage]
    for now, before in zip(merged.stage, colours.stage):
        finer, coarser = merged.stages[now], colours.stages[before]
        assert len({*zip(finer.tolist(), coarser.tolist())}) == finer.max() + 1
    if worth == 0:  # then no other choice of so many stages has fewer rows
        cost = sum(merged.stages[stage].max() + 1 for stage in merged.stage)
        counts = sorted({int(each.max()) + 1 for each in colours.stages})
        choices = itertools.combinations(counts[:-1], min(most, len(counts)) - 1)
        assert cost == min(sum(min(n for n in (*chosen, counts[-1]) if n >= own) for own in rows) for chosen in choices)


def test_a_stage_has_to_be_worth_it() -> None:
    colours = Colours((np.arange(40), np.arange(80), np.arange(100)), (0, 1, 2), np.zeros(100, int))
    # 300 rows; 240 and 280 with another stage; 220 with both.
    assert [len(each) for each in colours.merged(0).stages] == [40, 80, 100]
    assert [len(each) for each in colours.merged(20).stages] == [40, 80, 100]
    assert [len(each) for each in colours.merged(21).stages] == [40, 100]
    assert [len(each) for each in colours.merged(61).stages] == [100]
    assert colours.merged(0, 2).stage == (0, 1, 1)
    assert colours.merged(np.inf).stage == (0, 0, 0)


DESIGNS = [
    dataclasses.replace(ANCHORS[9], mp_layers=depth, convolution=kind, aggregation=aggregation, connectivity=skip)
    for depth, kind, aggregation, skip in [
        (2, "general", "sum", "skip_concat"),
        (4, "general", "max", "stack"),
        (3, "general", "mean", "skip_sum"),
        (3, "sage", "mean", "skip_concat"),
        (2, "sage", "max", "skip_sum"),
        (3, "gin", "sum", "stack"),
        (2, "gin", "max", "skip_sum"),
    ]
]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda d: f"{d.convolution}-{d.aggregation}-{d.connectivity}")
def test_calibration_is_that_of_all_nodes(design: Design) -> None:
    """Statistics and what the last layer sees, whatever the stages, the padding and the order of the nodes."""
    graphs, ids = alike(1, 14), np.array([0, 1, 2, 5, 6, 8, 11, 12, 13])
    gnn = build(design, hidden=4, level="graph", num_outputs=2)
    start = random_models(gnn, 3, 2)
    taken = graphs.take(ids)
    whole = single_batch(taken, BatchShape(12, 60, 120))
    near = lists(taken.senders, taken.receivers, len(taken.nodes))
    expected = prepare(gnn, start, whole, np.arange(len(ids)))
    listed = prepare(gnn, start, single_batch(taken)._replace(lists=near), np.arange(len(ids)))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11), expected, listed)
    colours = Colours.refine(graphs, 5)
    assert colours.stages[2].max() + 1 < len(graphs.nodes)
    for some, others, total in ((colours, [ids], 40), (colours.merged(0, 2), [np.arange(14), ids], 61)):
        shape = RefinedShape.of(graphs, some, others)
        data = Refined.of(graphs, some, ids, shape, 10 + len(others), total + len(taken.nodes)).first(design.mp_layers)
        assert len(data.rounds) == design.mp_layers
        assert all(each.sum() == len(taken.nodes) for each in data.counts)
        found = prepare(gnn, start, data, np.arange(len(ids)))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11), expected, found)


def test_hubs_continue_in_further_rows() -> None:
    """Neighbours of one colour count as often as there are of them, more than a list is wide too."""
    leaves = np.arange(1, 40)
    graphs = Graphs.from_edges(np.ones((40, 3)), np.zeros(39, int), leaves, np.array([40]), undirected=True)
    colours = Colours.refine(graphs, 2)
    shape = RefinedShape.of(graphs, colours, [np.array([0])])
    assert shape.rows == (1, 2)
    assert shape.lists[1][1] > 0
    gnn = build(DESIGNS[0], hidden=4, level="graph", num_outputs=2)
    start = random_models(gnn, 3, 2)
    data = Refined.of(graphs, colours, np.array([0]), shape, 2, 41)
    found, expected = (prepare(gnn, start, each, np.array([0])) for each in (data, single_batch(graphs)))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11), expected, found)


def task_alike() -> Task:
    task = make_task("graph", 2)
    return dataclasses.replace(task, graphs=alike(3, len(task.labels)))


def test_what_models_are_fitted_on() -> None:
    """All rounds, so that any design finds its own; each node by itself where design or task know no colours."""
    task = task_alike()
    examples = draw_examples(task, CONFIG, 0)
    assert isinstance(examples.refined, Refined)
    assert len(examples.refined.rounds) == ROUNDS
    for design in (*ANCHORS, *DESIGNS):
        gnn = build(design, hidden=4, level="graph", num_outputs=2)
        data = examples.fitting(gnn)
        assert isinstance(data, Refined)
        assert len(data.rounds) == design.mp_layers
    for other in (
        dataclasses.replace(DESIGNS[0], convolution="gcn", aggregation=None),
        dataclasses.replace(DESIGNS[0], convolution="gat", aggregation=None, heads=2),
        dataclasses.replace(DESIGNS[0], mp_layers=ROUNDS + 1),
    ):
        assert examples.fitting(build(other, hidden=4, level="graph", num_outputs=2)) is examples.batch
    with pytest.raises(ValueError, match="do not suffice"):
        examples.refined.first(ROUNDS + 1)
    weighted = dataclasses.replace(task.graphs, weights=np.ones(len(task.graphs.senders), np.float32))
    assert draw_examples(dataclasses.replace(task, graphs=weighted), CONFIG, 0).refined is None
    assert draw_examples(make_task("node", 2), CONFIG, 0).refined is None


def test_examples_are_fitted_as_their_batch_is() -> None:
    task = task_alike()
    examples = draw_examples(task, CONFIG, 0)
    assert examples.refined is not None
    assert len(examples.refined.counts[-1]) < len(examples.batch.node_mask)
    gnn = build(DESIGNS[0], hidden=4, level="graph", num_outputs=2)
    start = random_models(gnn, 3, 2)
    each = [prepare(gnn, start, data, examples.rows) for data in (examples.batch, examples.fitting(gnn))]
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11), *each)
    assert model(each[0][0], 0)["batch_stats"]["mp_1"]["bn"]["norm"]["var"].min() > 0


def test_stages_are_for_work_that_they_save() -> None:
    """Half a second a design is what compiling one takes: wide models of many graphs have it, others do not."""
    task = dataclasses.replace(task_alike(), graphs=alike(0, 4000), labels=np.arange(4000) % 2, fixed_split=None)
    for hidden, number in ((16, 1), (512, 2)):
        examples = draw_examples(task, dataclasses.replace(CONFIG, hidden=hidden), 0)
        assert examples.refined is not None
        assert len(examples.refined.counts) == number


@pytest.mark.parametrize(
    ("design", "forms"),
    tiny.first(1, [(DESIGNS[0], (moments,)), (DESIGNS[0], (gram, factors)), (DESIGNS[1], (moments,))]),
    ids=lambda value: f"{value.aggregation}-{value.connectivity}" if isinstance(value, Design) else str(len(value)),
)
def test_what_calibration_knows_need_not_be_computed_again(
    design: Design, forms: tuple[Callable[[Fitted, FisherConfig], Any], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From outputs of linear maps that calibration kept, by stages of colours, the same as from the model alone."""
    task, settings = task_alike(), dataclasses.replace(CONFIG, max_passes={"graph": 8}, hidden=8)
    monkeypatch.setattr("atjax.fisher.examples.STAGE_WORK", 1)
    gnn = build(design, hidden=8, level="graph", num_outputs=2)
    every = []
    for width in (9, 8):
        monkeypatch.setattr("atjax.fisher.examples.RECALLED", width)
        examples = draw_examples(task, settings, 0)
        assert examples.refined is not None
        assert len(examples.refined.counts) == 3
        models = Fitted(gnn, task, fitted(gnn, task, examples, settings), examples)
        assert ("linear" in models.variables) == (width == 8)
        every.append([form(models, settings) for form in forms])
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12), *every)
    # And they are what the forms are made of.
    halved = dict(models.variables, linear=jax.tree.map(lambda y: y / 2, models.variables["linear"]))
    for form, was in zip(forms, every[1]):
        other = form(models._replace(variables=halved), settings)
        assert not all(jax.tree.leaves(jax.tree.map(lambda x, y: np.allclose(x, y, rtol=0.01), other, was)))


def test_who_keeps_what_calibration_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide models whose linear maps act on single colours, if it is not too much."""
    monkeypatch.setattr("atjax.fisher.examples.RECALLED", 8)
    task = task_alike()
    wide, narrow = (draw_examples(task, dataclasses.replace(CONFIG, hidden=hidden), 0) for hidden in (8, 7))
    gnns = [build(design, hidden=8, level="graph", num_outputs=2) for design in DESIGNS]
    assert [wide.recalls(gnn, 2) for gnn in gnns] == [design.convolution == "general" for design in DESIGNS]
    assert not any(narrow.recalls(gnn, 2) for gnn in gnns)
    assert not wide.recalls(dataclasses.replace(gnns[0], design=dataclasses.replace(DESIGNS[0], mp_layers=9)), 2)
    refined = wide.fitting(gnns[0])
    assert isinstance(refined, Refined)
    # Of two layers, each with two linear maps.
    size = 2 * len(refined.features) * 2 * 8 * refined.features.itemsize
    for most, kept in ((3 * size, True), (3 * size - 1, False)):
        monkeypatch.setattr("atjax.fisher.examples.MOST_RECALLED", most)
        assert wide.recalls(gnns[0], 3) == kept


# Quotients


@given(seeds, st.booleans())
def test_nodes_of_a_quotient_are_those_of_the_book(seed: int, directed: bool) -> None:
    """Colours that no further round changes, by what comes in and what goes out, graph by graph."""
    graphs = alike(seed, directed=directed)
    total, owner = len(graphs.nodes), np.repeat(np.arange(len(graphs.n_node)), graphs.n_node)
    colour: list[object] = [(tuple(row), g) for row, g in zip(graphs.nodes.tolist(), owner.tolist())]
    for _ in range(total):
        near: list[list[str]] = [[repr(own)] for own in colour]
        for sender, receiver in zip(graphs.senders.tolist(), graphs.receivers.tolist()):
            near[receiver].append(f"from {colour[sender]}")
            near[sender].append(f"to {colour[receiver]}")
        colour = list(numbered([tuple(sorted(each)) for each in near]))
    expected = numbered(colour)
    small = Quotient.of(graphs)
    first = [expected.index(k) for k in range(max(expected) + 1)]
    assert small.nodes.tolist() == first
    assert small.counts.tolist() == np.bincount(expected).tolist()
    assert small.graphs.n_node.tolist() == np.bincount(owner[first], minlength=len(graphs.n_node)).tolist()
    assert small.graphs.n_node.sum() == len(first)
    assert small.graphs.n_edge.sum() == len(small.graphs.senders)
    np.testing.assert_array_equal(small.graphs.nodes, graphs.nodes[first])
    for row, node in enumerate(first):
        found = small.graphs.senders[small.graphs.receivers == row]
        assert sorted(found) == sorted(expected[s] for s in graphs.senders[graphs.receivers == node])


def test_a_ring_is_one_node() -> None:
    ring = np.arange(5)
    graphs = Graphs.from_edges(
        np.ones((8, 1)), np.append(ring, [5, 6]), np.append((ring + 1) % 5, [6, 7]), np.array([5, 3])
    )
    small = Quotient.of(graphs)
    assert small.graphs.n_node.tolist() == [1, 2]
    assert small.counts.tolist() == [5, 2, 1]
    assert small.graphs.senders.tolist() == [0, 0, 2, 1, 1]
    assert small.graphs.receivers.tolist() == [0, 0, 1, 2, 2]


def twice(graphs: Graphs) -> Graphs:
    """Every graph beside a copy of itself, as one graph."""
    both = graphs.take(np.repeat(np.arange(len(graphs.n_node)), 2))
    return dataclasses.replace(both, n_node=2 * graphs.n_node, n_edge=2 * graphs.n_edge)


@pytest.mark.parametrize(
    "design",
    tiny.first(1, [*DESIGNS[:5], dataclasses.replace(DESIGNS[0], convolution="gcn", aggregation=None)]),
    ids=lambda d: f"{d.convolution}-{d.aggregation}-{d.connectivity}",
)
def test_the_fisher_information_is_that_of_the_graphs(design: Design) -> None:
    """Sums of f, products of score rows, Kronecker factors, from quotients and from the graphs themselves."""
    graphs = twice(alike(5, 12, directed=True))
    gnn = build(design, hidden=4, level="graph", num_outputs=3)
    variables = random_variables(gnn, 3, jax.random.key(1))
    sent = Cotangents(np.zeros(12, int), jax.random.key(0), np.ones(()), "cross_entropy", "exact")
    small = Quotient.of(graphs)
    assert len(small.nodes) <= len(graphs.nodes) // 2
    ids = [np.arange(12)]
    each = [
        in_places(graphs, ids, 30),
        in_places(small.graphs, ids, 20).standing_for(small.nodes, small.counts),
    ]
    every = []
    for index in each:
        data = gnn, sent, variables, np.asarray(graphs.nodes, float), index
        sums = jax.jit(slot_sums, static_argnums=0)(*data)
        products = jax.jit(slot_products, static_argnums=(0, 5))(*data, 12)
        order = np.argsort(np.repeat(index.graphs[index.graphs >= 0], 2), kind="stable")
        every.append((sums, products[order][:, order], jax.jit(slot_factors, static_argnums=0)(*data)))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12), *every)


@pytest.mark.parametrize(
    "design",
    [
        *DESIGNS[:3],
        *DESIGNS[4:6],
        dataclasses.replace(DESIGNS[0], convolution="gcn", aggregation=None),
        dataclasses.replace(DESIGNS[2], convolution="gat", aggregation=None, heads=2),
    ],
    ids=lambda d: f"{d.convolution}-{d.aggregation}-{d.connectivity}",
)
def test_training_on_quotients_is_training_on_the_graphs(design: Design) -> None:
    """Two steps and an evaluation: losses, parameters, running statistics and outputs."""
    graphs = twice(alike(5, 12, directed=True))
    small = Quotient.of(graphs)
    gnn = build(design, hidden=4, level="graph", num_outputs=3)
    dealt, rest = np.array([[0, 4, 8, 3], [1, 9, 5, 11]]), np.array([[2, 6, 7, 10]])
    every = []
    for each, counts in ((graphs, None), (small.graphs, small.counts)):
        shape = BatchShape(5, int(each.n_node.sum()), int(each.n_edge.sum()))
        held_out = index_batches(each, rest, shape)
        data = GraphData(device_rows(each, counts), jnp.arange(12) % 3, held_out)
        state = _start(random_variables(gnn, 3, jax.random.key(1)))
        steps = Steps(np.array([0.1, 0.05]), index_batches(each, dealt, shape))
        state, losses, outputs = train_block(gnn, "cross_entropy", state, data, steps)
        every.append((losses, state.params, state.batch_stats, outputs[:, :-1]))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-7, atol=1e-9), *every)


def test_what_training_goes_through() -> None:
    """Quotients where they have far fewer nodes and edges have nothing of their own; found once a task."""
    task = make_task("graph", 2)
    halved = dataclasses.replace(task, graphs=twice(task.graphs))
    graphs, counts = trained_graphs(task)
    assert graphs is task.graphs
    assert counts is None
    graphs, counts = trained_graphs(halved)
    assert counts is not None
    assert set(counts) == {2}
    assert len(graphs.nodes) == len(task.graphs.nodes)
    assert trained_graphs(halved)[0] is graphs
    weighted = dataclasses.replace(halved.graphs, weights=np.ones(len(halved.graphs.senders), np.float32))
    graphs, counts = trained_graphs(dataclasses.replace(halved, graphs=weighted))
    assert counts is None
    assert len(graphs.nodes) == len(halved.graphs.nodes)
