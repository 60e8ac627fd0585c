"""GraphGym's synthetic tasks, against networkx."""

from __future__ import annotations

import itertools
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atjax.config import load_task
from atjax.errors import UserError
from atjax.sources import synthetic

FAMILIES = ("scalefree", "smallworld")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[str, np.ndarray]:
    adjacency, misplaced = synthetic.family(request.param, 0)
    assert misplaced == 0
    return request.param, adjacency


def test_every_cell_of_the_grid_has_four_graphs(family: tuple[str, np.ndarray]) -> None:
    name, adjacency = family
    assert adjacency.shape == (256, 64, 64)
    assert not np.any(adjacency & np.eye(64, dtype=bool))
    np.testing.assert_array_equal(adjacency, adjacency.transpose(0, 2, 1))
    assert len({one.tobytes() for one in adjacency}) == 256
    for number, one in enumerate(adjacency):
        graph = nx.from_numpy_array(one)
        coefficient, length = nx.average_clustering(graph), nx.average_shortest_path_length(graph)
        row = sum(coefficient >= cut for cut in np.linspace(0.3, 0.6, 7))
        column = sum(length >= cut for cut in np.linspace(1.8, 3.0, 7))
        assert row * 8 + column == number // 4
        edges = graph.number_of_edges()
        if name == "smallworld":
            assert edges % 64 == 0
            assert edges // 64 in range(2, 12)
        else:  # each node after the first k adds k edges, or fewer where its friends ran out
            assert max(edges - (64 - k) * k <= 0 for k in range(2, 12))


def test_properties_are_those_of_networkx(family: tuple[str, np.ndarray]) -> None:
    sample = family[1][::37]
    graphs = [nx.from_numpy_array(one) for one in sample]
    expected = [list(nx.clustering(graph).values()) for graph in graphs]
    np.testing.assert_allclose(synthetic.clustering(sample), expected, rtol=1e-12)
    ranks = [list(nx.pagerank(graph, alpha=0.85, tol=1e-12, max_iter=1000).values()) for graph in graphs]
    np.testing.assert_allclose(synthetic.pagerank(sample), ranks, atol=2e-10)
    lengths = [nx.average_shortest_path_length(graph) for graph in graphs]
    np.testing.assert_allclose(synthetic.path_lengths(sample), lengths, rtol=1e-12)


@given(st.integers(2, 12), st.floats(0, 1), st.integers(0, 10**6))
def test_path_lengths_of_any_graph(size: int, density: float, seed: int) -> None:
    graphs = [nx.gnp_random_graph(size, density, seed=seed + i) for i in range(5)]
    found = synthetic.path_lengths(np.stack([nx.to_numpy_array(graph) > 0 for graph in graphs]))
    for length, graph in zip(found, graphs):
        assert np.isfinite(length) == nx.is_connected(graph)
        if np.isfinite(length):
            np.testing.assert_allclose(length, nx.average_shortest_path_length(graph))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(1, 10))
def test_bins_keep_order_and_balance(values: list[int], count: int) -> None:
    array = np.array(values)
    bins = synthetic.balanced_bins(array, count)
    assert set(bins) == set(range(bins.max() + 1))
    assert bins.max() < count
    for (value, found), (other, also) in itertools.product(zip(values, bins), repeat=2):
        assert (value == other) <= (found == also)
        assert (found < also) <= (value < other)
    if len(set(values)) == len(values) >= count:
        assert np.ptp(np.bincount(bins)) <= 1


@pytest.mark.parametrize("feature", ["constant", "onehot", "clustering", "pagerank"])
@pytest.mark.parametrize("label", ["clustering", "pagerank", "path_length"])
def test_tasks(family: tuple[str, np.ndarray], feature: str, label: str) -> None:
    name, adjacency = family
    options = {"graphs": name, "feature": feature, "label": label}
    if feature == label:
        with pytest.raises(UserError, match=f"{name}_{feature}_{label}: the feature {feature} tells the label"):
            load_task("synthetic", **options)
        return
    task = load_task("synthetic", **options)
    assert task.name == f"{name}_{feature}_{label}"
    by_graph = label == "path_length"
    assert task.level == ("graph" if by_graph else "node")
    assert task.num_examples == (256 if by_graph else 16_384)
    assert task.graphs.n_node.tolist() == ([64] * 256 if by_graph else [16_384])
    joined = np.zeros_like(adjacency)
    joined[task.graphs.receivers // 64, task.graphs.receivers % 64, task.graphs.senders % 64] = True
    np.testing.assert_array_equal(joined, adjacency)
    np.testing.assert_array_equal(task.graphs.receivers // 64, task.graphs.senders // 64)
    nodes = task.graphs.dense().nodes
    assert np.all(nodes.sum(axis=1) == 1)
    assert nodes.shape[1] == (1 if feature == "constant" else 10)
    # Balanced, but for equal values: there are only few clustering coefficients, and a tenth or so of them are 0 or 1.
    assert np.bincount(task.labels, minlength=5).min() > 0.13 * task.num_examples
    truth = {
        "clustering": lambda: synthetic.clustering(adjacency).ravel(),
        "pagerank": lambda: synthetic.pagerank(adjacency).ravel(),
        "path_length": lambda: synthetic.path_lengths(adjacency),
    }[label]()
    for low, high in itertools.pairwise(range(5)):
        assert truth[task.labels == low].max() < truth[task.labels == high].min()
    if feature == "onehot":  # no two nodes of a graph have one place: bins of 64 places in ten hold six or seven
        per_graph = nodes.reshape(256, 64, 10).sum(axis=1)
        assert set(np.unique(per_graph)) <= {6.0, 7.0}


def test_draws_are_a_function_of_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "FIRST_DRAWS", 300)
    first, again, other = (synthetic.draw("smallworld", seed, most=1)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_cells_that_stay_empty_take_the_nearest() -> None:
    adjacency, misplaced = synthetic.draw("scalefree", 0, most=1)
    assert adjacency.shape == (256, 64, 64)
    assert len({one.tobytes() for one in adjacency}) == 256
    places = np.stack([synthetic.clustering(adjacency).mean(axis=1), synthetic.path_lengths(adjacency)], axis=1)
    cells = synthetic.cell_of(places)
    wrong = np.flatnonzero(cells != np.arange(256) // 4)
    assert len(wrong) == misplaced > 0
    # What stands in lies near: nearer than a graph of the opposite corner would.
    rows = np.abs(cells // 8 - np.arange(256) // 4 // 8)[wrong]
    columns = np.abs(cells % 8 - np.arange(256) // 4 % 8)[wrong]
    assert np.mean(np.maximum(rows, columns)) < 3


@pytest.mark.skipif(not nx.__version__.startswith("3.6"), reason="other versions of networkx may draw otherwise")
def test_content_is_the_same_everywhere() -> None:
    hashes = {name: load_task("synthetic", graphs=name).content_hash[:12] for name in FAMILIES}
    assert hashes == {"scalefree": "e5c1b1362920", "smallworld": "0177ffda4957"}


def test_families_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATJAX_CACHE", str(tmp_path))
    monkeypatch.setattr(synthetic, "FIRST_DRAWS", 300)
    monkeypatch.setattr(synthetic, "draw", lambda graphs, seed: draw(graphs, seed, 1))
    first, misplaced = synthetic.family("smallworld", 5)
    monkeypatch.setattr(synthetic, "draw", None)
    again, same = synthetic.family("smallworld", 5)
    np.testing.assert_array_equal(again, first)
    assert same == misplaced > 0


draw = synthetic.draw


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"graphs": "ring"}, "graphs='ring' is unknown; choose from scalefree, smallworld"),
        ({"feature": "degree"}, "feature='degree' is unknown; choose from constant, onehot, clustering, pagerank"),
        ({"label": "size"}, "label='size' is unknown; choose from clustering, pagerank, path_length"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"seed": True}, "seed=True is out of range"),
    ],
)
def test_values_that_do_not_exist(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_task("synthetic", **options)
