"""Columns of numbers as features."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from atjax import Task
from atjax.encoding import Column, Rows

ROWS = Rows("node", lambda kind, number: f"{kind} {number}")


@pytest.mark.parametrize("value", [2.1, 36.6, 1.7, -0.3, 98.6])
@pytest.mark.parametrize("count", [1, 10, 777])
def test_a_column_that_never_changes_is_zero_and_keeps_its_unit(value: float, count: int) -> None:
    """Its mean is rounded, so that its deviation is not 0; a later value must not be divided by that."""
    column = Column.fit("x", np.full(count, value), ROWS, categories=False)
    np.testing.assert_array_equal(column.apply(np.full(count, value), ROWS), np.zeros((count, 1)))
    np.testing.assert_allclose(column.apply(np.array([value + 0.5]), ROWS), [[0.5]], rtol=1e-6)


def test_numbers_are_z_scored_column_by_column() -> None:
    numbers = np.stack([np.random.default_rng(0).normal(5, 3, 40), np.full(40, 2.1)], axis=1)
    got = Column.fit("x", numbers, ROWS, categories=False).apply(numbers, ROWS)
    np.testing.assert_allclose(got[:, 0], (numbers[:, 0] - numbers[:, 0].mean()) / numbers[:, 0].std(), rtol=1e-6)
    np.testing.assert_array_equal(got[:, 1], np.zeros(40))


def test_numbers_whose_squares_vanish_do_not_divide_by_zero() -> None:
    numbers = np.array([-1e-300, 0, 1e-300])
    got = Column.fit("x", numbers, ROWS, categories=False).apply(numbers, ROWS)
    np.testing.assert_array_equal(got, np.zeros((3, 1)))


@pytest.mark.parametrize("numbers", [[0.5, 2.0, 4.0, 0.5], [2**70, 2**71, 2**72, 2**70], [3, 2, 1, 3]])
def test_numbers_as_objects_are_numbers(numbers: list[float]) -> None:
    """As pandas has them, or Python whole ones beyond 64 bits: not words, to be coded one-hot."""
    objects, edges = np.array(numbers, object), [[0, 1, 2, 3], [1, 2, 3, 0]]
    given = dict.fromkeys(("x", "edge_attr", "edge_weight"), objects)
    task = Task.from_arrays(edge_index=edges, labels=list("abab"), **given)
    plain = {name: np.array(numbers, np.float64) for name in given}
    assert task.content_hash == Task.from_arrays(edge_index=edges, labels=list("abab"), **plain).content_hash
    graph = nx.cycle_graph(4)
    nx.set_node_attributes(graph, dict(enumerate(numbers)), "x")
    in_graph = Task.from_networkx(graph, list("abab")).graphs.nodes
    np.testing.assert_array_equal(in_graph, task.graphs.nodes)
