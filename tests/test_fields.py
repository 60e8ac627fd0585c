"""Receptive fields against networkx, and the gradients of nodes from them against passes over the whole graph."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
import tiny
from test_disjoint import DESIGNS
from test_fisher import CONFIG, WIDTH, built, exact, fit, float64, make_task, model

from atjax.fisher import estimators, fields
from atjax.fisher.disjoint import slot_sums
from atjax.fisher.examples import BLOCKS, draw_examples
from atjax.fisher.fields import receptive_fields
from atjax.fisher.gradients import node_sums
from atjax.fisher.slots import Places, SlotIndex
from atjax.space import Design
from atjax.task import Graphs, Task

__all__ = ["float64"]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large they are."""
    monkeypatch.setattr(fields, "SPARE", 0)


def directed_graph(nodes: int, arcs: int, seed: int) -> Graphs:
    rng = np.random.default_rng(seed)
    possible = [(a, b) for a, b in itertools.product(range(nodes), repeat=2) if a != b]
    chosen = np.array([possible[k] for k in rng.choice(len(possible), arcs, replace=False)])
    graphs = Graphs.from_edges(np.zeros((nodes, WIDTH)), *chosen.T, np.array([nodes]), undirected=False)
    return dataclasses.replace(graphs, nodes=rng.normal(size=(nodes, WIDTH)))


def places(index: SlotIndex) -> dict[int, list[int]]:
    """For each root the nodes of its place, padding left out."""
    found = {}
    for nodes, mask, roots in zip(index.nodes, index.node_mask, index.graphs):
        here = Places(index.slots, jnp.asarray(roots >= 0))
        for root, start, size in zip(roots, np.asarray(here.starts), index.slots.sizes):
            if root >= 0:
                found[int(root)] = [int(n) for n, m in zip(nodes[start:], mask[start : start + size]) if m]
    return found


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_field_is_what_reaches_its_root(depth: int) -> None:
    graph = directed_graph(40, 90, depth)
    roots = np.random.default_rng(0).permutation(40)[:30]
    index = receptive_fields(graph, roots, depth, 30, blocks=3)
    assert index is not None
    assert len(index.graphs) % 3 == 0
    found = places(index)
    assert sorted(found) == sorted(roots)
    against = nx.DiGraph(list(zip(graph.receivers.tolist(), graph.senders.tolist())))
    against.add_nodes_from(range(40))
    for root, nodes in found.items():
        assert nodes[0] == root
        assert len(set(nodes)) == len(nodes)
        assert set(nodes) == set(nx.single_source_shortest_path_length(against, root, cutoff=depth))
    incoming = np.bincount(graph.receivers, minlength=40)
    np.testing.assert_array_equal(index.lists.degree[index.node_mask], incoming[index.nodes[index.node_mask]])


def test_large_fields_do_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "SPARE", 4)
    line = Graphs.from_edges(np.zeros((60, 1)), np.arange(59), np.arange(1, 60), np.array([60]))
    assert receptive_fields(line, np.arange(60), 2, 99, blocks=1) is not None  # 5 nodes of 60
    assert receptive_fields(line, np.arange(60), 9, 99, blocks=1) is None  # 19 of 60


def deep(design: Design, layers: int) -> Design:
    return dataclasses.replace(design, mp_layers=layers)


@pytest.mark.parametrize(("design", "classes"), tiny.first(2, zip(DESIGNS, itertools.cycle((2, None, 4)))))
def test_sums_are_those_of_passes_over_the_whole_graph(design: Design, classes: int | None) -> None:
    task = dataclasses.replace(make_task("node", classes), graphs=directed_graph(24, 40, 1))
    gnn, variables, examples = built(task, design), fit(task, design), draw_examples(task, CONFIG, 0)
    index = examples.fields(design.mp_layers)
    assert index is not None
    assert index.rooted
    placed = jax.tree.map(jnp.asarray, index)
    one = model(variables, 0)
    expected = jax.jit(functools.partial(node_sums, gnn, exact(task), width=4))(one, examples.batch, examples.chunks[0])
    found = jax.jit(functools.partial(slot_sums, gnn, exact(task)))(one, examples.batch, placed)
    assert any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(expected))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-20), found, expected)


def test_shallow_designs_take_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """The diagonal by fields is the diagonal by pullbacks, of a sample too."""
    task, design = make_task("node", 3), DESIGNS[0]
    taken: list[bool] = []
    real = estimators.summed

    def listen(*arguments: Any) -> Any:
        (chunk,) = arguments[5]
        taken.append(isinstance(chunk, SlotIndex))
        return real(*arguments)

    monkeypatch.setattr(estimators, "summed", listen)

    def diagonal_of(task: Task, most: int) -> tuple[np.ndarray, np.ndarray]:
        settings = dataclasses.replace(CONFIG, max_passes={"graph": 99, "node": most})
        examples = draw_examples(task, settings, 0)
        models = estimators.Fitted(built(task, design), task, fit(task, design), examples)
        form = estimators.diagonal(models, settings)
        return form.sums.sum(axis=1), form.counts

    for most in (99, 14):
        by_fields, counts = diagonal_of(task, most)
        assert counts.shape[1] == (1 if most == 99 else BLOCKS)
        assert np.all(counts.sum(axis=1) == (12 if most == 99 else 7))
        with monkeypatch.context() as patch:
            patch.setattr(fields, "SPARE", 99)
            by_passes, _ = diagonal_of(task, most)
        np.testing.assert_allclose(by_fields, by_passes, rtol=1e-10, atol=1e-20)
    assert set(taken) == {True, False}
