"""Meta-features against networkx and plain loops."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from atjax import config, meta
from atjax.meta import meta_features
from atjax.task import Graphs, Level, Split, Task

NAMES = (
    *("log_examples", "log_nodes", "mean_degree", "degree_variation", "density", "clustering"),
    *("classes", "label_entropy", "homophily", "log_features", "sparsity"),
)


def random_task(level: Level, seed: int = 0, *, undirected: bool = True) -> Task:
    """20 graphs of 1 to 9 nodes, or one of 40: loops, nodes without edges, and classes of unequal size."""
    rng = np.random.default_rng(seed)
    n_node = np.append(rng.integers(2, 10, 19), 1) if level == "graph" else np.array([40])
    start = np.cumsum(n_node) - n_node
    owner = rng.integers(0, len(n_node), 120)
    senders, receivers = (start[owner] + rng.integers(0, n_node[owner]) for _ in range(2))
    nodes = rng.normal(size=(n_node.sum(), 5)) * (rng.random((n_node.sum(), 5)) < 0.3)
    graphs = Graphs.from_edges(nodes, senders, receivers, n_node, undirected=undirected)
    count = 20 if level == "graph" else 40
    labels = rng.choice(3, count, p=[0.6, 0.3, 0.1]).astype(np.int32)
    split = Split(*map(np.sort, np.split(rng.permutation(count), [count * 3 // 4, count * 7 // 8])))
    return Task("random", level, "cross_entropy", "accuracy", graphs, labels, 3, fixed_split=split)


def seen(task: Task) -> Iterator[tuple[nx.DiGraph, np.ndarray]]:
    """The graphs that count, with their features: the training graphs, or the one graph."""
    ids = task.split(0).train if task.level == "graph" else np.array([0])
    for g in ids:
        nodes = np.arange(*task.graphs.node_start[[g, g + 1]])
        edges = np.arange(*task.graphs.edge_start[[g, g + 1]])
        graph = nx.DiGraph()
        graph.add_nodes_from(nodes)
        graph.add_edges_from(zip(task.graphs.senders[edges], task.graphs.receivers[edges]))
        yield graph, task.graphs.nodes[nodes]


@pytest.mark.parametrize("undirected", [True, False])
@pytest.mark.parametrize("level", ["graph", "node"])
def test_meta_features_are_what_networkx_says(level: Level, undirected: bool) -> None:
    task = random_task(level, undirected=undirected)
    train = task.split(0).train
    graphs, features = zip(*seen(task))
    degrees = np.array([degree for graph in graphs for _, degree in graph.in_degree()])
    simple = [graph.copy() for graph in graphs]
    for graph in simple:
        graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    local = [c for graph in simple for c in nx.clustering(graph.to_undirected()).values()]
    share = [np.mean(task.labels[train] == c) for c in range(3)]
    expected = {
        "log_examples": np.log(len(train)),
        "log_nodes": np.log(len(degrees) / len(graphs)),
        "mean_degree": np.mean(degrees),
        "degree_variation": np.std(degrees) / np.mean(degrees),
        "density": np.mean([nx.density(graph) for graph in simple]),
        "clustering": np.mean(local),
        "classes": 3,
        "label_entropy": -sum(p * np.log(p) for p in share if p > 0),
        "homophily": 0,
        "log_features": np.log(5),
        "sparsity": np.mean(np.concatenate(features) == 0),
    }
    if level == "node":
        pairs = [(a, b) for a, b in simple[0].edges if a in train and b in train]
        expected["homophily"] = np.mean([task.labels[a] == task.labels[b] for a, b in pairs])
        assert 0 < expected["homophily"] < 1
    assert sum(local) > 0
    got = meta_features(task)
    assert tuple(got) == NAMES == tuple(expected)
    assert all(type(value) is float for value in got.values())
    np.testing.assert_allclose(list(got.values()), list(expected.values()), rtol=1e-6)


@pytest.mark.parametrize("level", ["graph", "node"])
def test_held_out_examples_are_not_looked_at(level: Level) -> None:
    task = random_task(level)
    split = task.split(0)
    held_out = np.concatenate([split.validation, split.test])
    labels = task.labels.copy()
    labels[held_out] = (labels[held_out] + 1) % 3
    other = dataclasses.replace(task, labels=labels)
    if level == "graph":
        nodes = task.graphs.nodes.copy()
        nodes[np.isin(np.repeat(np.arange(20), task.graphs.n_node), held_out)] += 7
        other = dataclasses.replace(other, graphs=dataclasses.replace(task.graphs, nodes=nodes))
    assert meta_features(other) == meta_features(task)
    labels = np.where(np.isin(np.arange(len(labels)), split.train), task.labels // 2, task.labels)
    assert meta_features(dataclasses.replace(task, labels=labels)) != meta_features(task)


def test_binary_labels_are_described_each_by_itself() -> None:
    """Entropies add up, and homophily is over all labels of edges between training nodes; missing ones are left out."""
    plain = random_task("node")
    rng = np.random.default_rng(1)
    labels = np.where(rng.random((40, 3)) < 0.2, np.nan, rng.integers(0, 2, (40, 3)))
    task = dataclasses.replace(
        plain, loss="binary_cross_entropy", metric="roc_auc", labels=labels, fixed_split=plain.split(0)
    )
    train, got = task.split(0).train, meta_features(task)
    known = [labels[train, c][~np.isnan(labels[train, c])] for c in range(3)]
    entropy = -sum(p * np.log(p) for column in known for p in (np.mean(column), 1 - np.mean(column)))
    equal = [
        labels[a, c] == labels[b, c]
        for a, b in zip(task.graphs.senders, task.graphs.receivers)
        for c in range(3)
        if a != b and a in train and b in train and not np.isnan(labels[[a, b], c]).any()
    ]
    assert 0 < np.mean(equal) < 1
    np.testing.assert_allclose(
        [got["classes"], got["label_entropy"], got["homophily"]], [3, entropy, np.mean(equal)], rtol=1e-6
    )


def test_sparse_features_are_the_dense_ones() -> None:
    task = random_task("node")
    graphs = dataclasses.replace(task.graphs, nodes=sparse.csr_matrix(task.graphs.nodes))
    assert meta_features(dataclasses.replace(task, graphs=graphs)) == meta_features(task)


def test_the_sampled_clustering_is_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring in which each node knows the 4 nearest, with a tenth of the edges moved elsewhere."""
    ring = nx.watts_strogatz_graph(3000, 4, 0.1, seed=0)
    graphs = Graphs.from_edges(np.ones((3000, 1)), *np.array(ring.edges).T, np.array([3000]))
    expected = nx.average_clustering(ring)
    got = meta.clustering(graphs, np.random.default_rng(0))
    assert got != pytest.approx(expected, rel=1e-5)
    assert got == pytest.approx(expected, abs=0.01)
    monkeypatch.setattr(meta, "CLUSTERING_NODES", 3000)
    assert meta.clustering(graphs, np.random.default_rng(0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("level", ["graph", "node"])
def test_bare_tasks_have_finite_meta_features(level: Level) -> None:
    """No edges, graphs of one node, no feature but 0, regression."""
    none = np.empty(0, np.int64)
    graphs = Graphs.from_edges(np.zeros((20, 1)), none, none, np.ones(20, int) if level == "graph" else np.array([20]))
    targets = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    got = meta_features(Task("bare", level, "mse", "mae", graphs, targets, 2))
    assert all(np.isfinite(list(got.values())))
    assert {name for name, value in got.items() if value != 0} <= {"log_examples", "log_nodes", "sparsity"}


def test_tasks_that_come_with_atjax() -> None:
    for name in config.task_names(offline=True):
        values = meta_features(config.load_task(name), seed=1)
        assert all(np.isfinite(list(values.values()))), name
        assert values == meta_features(config.load_task(name), seed=1), name
