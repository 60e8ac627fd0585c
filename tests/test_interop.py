"""Tasks from the objects of other libraries and from arrays, against the objects themselves."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from library_objects import (
    AB,
    Dataset,
    DGLGraph,
    E,
    Narrow,
    Sparse,
    Tensor,
    X,
    arrays_of,
    data,
    molecules,
    neighbours,
    ring,
)
from scipy import sparse

import atjax
from atjax import Graphs, Task, UserError
from atjax.encoding import DEGREE_CAP, Encoding
from atjax.interop import from_arrays, from_pyg, read
from atjax.raw import RawGraphs, Where, parts_of_words


def test_networkx_graphs_with_attributes_of_every_kind() -> None:
    graphs = molecules()
    task = Task.from_networkx(graphs, name="molecules")
    assert (task.name, task.level, task.loss, task.metric) == ("molecules", "graph", "cross_entropy", "accuracy")
    assert task.labels.tolist() == [0, 1] * 12
    assert task.encoding is not None
    assert task.encoding.classes == ("ring", "star")
    nodes = [data for graph in graphs for _, data in graph.nodes(data=True)]
    element = np.array([[data["element"] == word for word in "CNO"] for data in nodes])
    mass = np.array([data["mass"] for data in nodes])
    place = np.array([data["place"] for data in nodes])
    expected = np.column_stack([element, (mass - mass.mean()) / mass.std(), place])
    np.testing.assert_allclose(task.graphs.nodes, expected, rtol=1e-5, atol=1e-6)
    edges, owner = arrays_of(graphs)
    pairs = set(map(tuple, edges.T.tolist()))
    assert neighbours(task.graphs) == pairs | {(b, a) for a, b in pairs}
    assert task.graphs.n_node.tolist() == np.bincount(owner).tolist()
    assert task.notes == (
        "Features: element (one-hot of 3), mass (numbers, z-scored), place (numbers, 2 columns).",
        "Classes: 0 = 'ring' (12), 1 = 'star' (12).",
    )


def test_every_library_gives_the_same_task() -> None:
    graphs = molecules()
    edges, owner = arrays_of(graphs)
    labels = [len(graph) % 3 for graph in graphs]
    x = np.random.default_rng(1).normal(7, 2, (len(owner), 4))
    start = np.cumsum([0, *map(len, graphs)])
    parts = []
    for number, graph in enumerate(graphs):
        own = edges[:, owner[edges[0]] == number].T - start[number]
        parts.append((own, len(graph), x[start[number] : start[number + 1]], labels[number]))
    for graph, (_, _, rows, label) in zip(graphs, parts):
        for node, row in zip(list(graph), rows):
            graph.nodes[node].clear()
            graph.nodes[node]["x"] = row
        graph.graph["label"] = label
    tasks = [
        Task.from_networkx(graphs),
        Task.from_networkx(graphs, labels),
        Task.from_arrays(x, edges, labels, graph=owner),
        Task.from_arrays(Tensor(x), Tensor(edges), Tensor(labels), graph=Tensor(owner)),
        Task.from_pyg([data(own, size, x=rows, y=[label]) for own, size, rows, label in parts]),
        Task.from_pyg(Dataset([data(own, size, x=rows, y=[label]) for own, size, rows, label in parts])),
        Task.from_dgl([DGLGraph(own, size, feat=rows) for own, size, rows, _ in parts], labels),
        Task.from_dgl([(DGLGraph(own, size, feat=rows), Tensor([label])) for own, size, rows, label in parts]),
    ]
    assert len({task.content_hash for task in tasks}) == 1
    assert len({task.notes[1:] for task in tasks}) == 1


def test_batches_are_the_graphs_that_they_are_made_of() -> None:
    sizes, labels = [3, 5, 1, 4, 2, 3], [0, 1, 0, 1, 1, 0]
    start = np.cumsum([0, *sizes])
    x = np.random.default_rng(0).normal(size=(sum(sizes), 2))
    own = [[(node, node + 1) for node in range(size - 1)] for size in sizes]

    def joined(ids: range) -> tuple[list[tuple[int, int]], np.ndarray, list[int], list[int]]:
        first = start[ids[0]]
        edges = [(a + start[n] - first, b + start[n] - first) for n in ids for a, b in own[n]]
        return edges, x[first : start[ids[-1] + 1]], [sizes[n] for n in ids], [labels[n] for n in ids]

    def pyg(ids: range, *, marks: bool = True) -> SimpleNamespace:
        edges, rows, each, y = joined(ids)
        ptr = {"ptr": np.cumsum([0, *each])} if marks else {}
        return data(edges, sum(each), x=rows, y=y, batch=np.repeat(range(len(each)), each), **ptr)

    def dgl(ids: range) -> tuple[DGLGraph, Tensor]:
        edges, rows, each, y = joined(ids)
        return DGLGraph(edges, sum(each), batch=each, h=rows), Tensor(y)

    plain = Task.from_pyg([data(own[n], sizes[n], x=x[start[n] : start[n + 1]], y=[labels[n]]) for n in range(6)])
    for task in (
        Task.from_pyg(pyg(range(6))),
        Task.from_pyg(pyg(range(6), marks=False)),
        Task.from_pyg([pyg(range(4)), pyg(range(4, 6))]),
        Task.from_dgl([dgl(range(4)), dgl(range(4, 6))]),
        Task.from_dgl(*dgl(range(6))),
    ):
        assert task.graphs.n_node.tolist() == sizes
        assert task.content_hash == plain.content_hash
    # Labels of nodes stay theirs, and a graph without nodes at the end is there.
    words = np.resize(["a", "b"], 18)
    assert Task.from_dgl(dgl(range(6))[0], words).level == "node"
    nodes = data(joined(range(6))[0], 18, y=words, batch=np.repeat(range(6), sizes))
    assert Task.from_pyg(nodes).level == "node"
    assert from_pyg(data([], 1, batch=[0], ptr=[0, 1, 1])).n_node.tolist() == [1, 0]
    assert from_pyg([pyg(range(3)), pyg(range(3, 6))]).where.node(9) == "graph 3: node 0"


def test_node_tasks_with_the_masks_of_a_split() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)), np.resize([0, 1, 2], 30)
    edges = rng.integers(0, 30, (60, 2))
    masks = {"train_mask": np.arange(30) < 15, "val_mask": np.arange(30) % 30 > 24, "test_mask": np.arange(30) == 20}
    graph = nx.Graph()
    graph.add_nodes_from((node, {"x": x[node], "label": y[node]}) for node in range(30))
    graph.add_edges_from(edges)
    for name, mask in masks.items():
        nx.set_node_attributes(graph, dict(enumerate(mask.tolist())), name)
    networkx = Task.from_networkx(graph)
    pyg = Task.from_pyg(data(edges, 30, x=x, y=y, **masks), name="a")
    dgl = Task.from_dgl(DGLGraph(edges, 30, feat=x, label=y, **masks), name="b")
    sets = {"train": masks["train_mask"], "val": Tensor(np.flatnonzero(masks["val_mask"])), "test": [20]}
    plain = Task.from_arrays(x, edges.T, y, split=sets)
    assert pyg.content_hash == dgl.content_hash == plain.content_hash == networkx.content_hash
    for task in (pyg, dgl, plain, networkx):
        assert task.level == "node"
        split = task.split(seed=3)
        assert split.train.tolist() == list(range(15))
        assert split.validation.tolist() == [25, 26, 27, 28, 29]
        assert split.test.tolist() == [20]
        assert task.notes[-1] == "Split: the data's own, 15, 5, 1 nodes for training, validation and test."


def test_networkx_nodes_with_labels_and_split_as_attributes() -> None:
    graph = nx.karate_club_graph()  # its nodes have the attribute club, and its edges weights, which are not read
    for node in graph:
        graph.nodes[node]["split"] = ("train", "Validation", "test", None)[node % 4]
    task = Task.from_networkx(graph, "club")
    assert task.level == "node"
    assert [("Mr. Hi", "Officer")[label] for label in task.labels] == [graph.nodes[n]["club"] for n in graph]
    assert task.fixed_split is not None
    assert task.fixed_split.validation.tolist() == list(range(1, 34, 4))
    assert task.graphs.num_features == DEGREE_CAP + 1
    assert task.graphs.dense().nodes.argmax(axis=1).tolist() == [degree for _, degree in graph.degree]
    labels = {node: graph.nodes[node]["club"] for node in reversed(list(graph))}
    for by_node in (labels, pd.Series(labels), pd.DataFrame({"club": pd.Series(labels).sort_index()})):
        assert Task.from_networkx(graph, by_node, attributes=[]).content_hash == task.content_hash


def test_what_is_called_y_is_a_feature_like_any_other() -> None:
    graph = nx.path_graph(4)
    for node in graph:
        graph.nodes[node].update(x=0.1 * node, y=0.2, label="ab"[node % 2], split=("train", "val", "test", "")[node])
    task = Task.from_networkx(graph)
    np.testing.assert_allclose(task.graphs.nodes, [[0.1 * node, 0.2] for node in graph], rtol=1e-6)
    other = Task.from_networkx(graph, [1, 2, 1, 2])  # the attribute label is none of them, whoever gives the labels
    np.testing.assert_array_equal(other.graphs.nodes, task.graphs.nodes)


def test_attributes_with_names_of_any_kind_are_found_again(tmp_path: Any) -> None:
    graphs = molecules()
    names = {"element": 0, "mass": ("a", "b"), "place": 2.5}
    for graph in graphs:
        for node in graph:
            graph.nodes[node].update({names[key]: graph.nodes[node].pop(key) for key in names})
        nx.set_edge_attributes(graph, {edge: number / 9 for number, edge in enumerate(graph.edges)}, 7)
    task = Task.from_networkx(graphs, name="molecules")
    assert task.encoding is not None
    assert [column.name for column in task.encoding.columns] == ["('a', 'b')", "0", "2.5"]
    atjax.search(task, trials=1, budget=tiny.BUDGET, space=tiny.space(), folder=tmp_path / "run")
    model = atjax.load(tmp_path / "run")
    np.testing.assert_array_equal(model.predict(graphs), model.predict(task.graphs))
    np.testing.assert_array_equal(model.outputs(graphs), model.outputs(task.graphs))
    chosen = Task.from_networkx(graphs, attributes=[0], edge_attributes=[7], categories=[0])
    assert chosen.encoding is not None
    assert [column.name for column in (*chosen.encoding.columns, *chosen.encoding.edge_columns)] == ["0", "7"]
    graphs[2].nodes["atom1"]["0"] = "N"
    clash = "Two attributes of the nodes are called '0', as 0 and '0'; rename one of them"
    for fails in (model.predict, Task.from_networkx):
        with pytest.raises(UserError, match=re.escape(clash)):
            fails(graphs)
    assert Task.from_networkx(graphs, attributes=[2.5]).graphs.num_features == 2


def test_numbers_of_any_kind_are_features() -> None:
    kinds = [float, np.float32, Decimal, Fraction, np.array, Tensor, lambda number: [number], lambda n: Tensor([[n]])]
    for kind in kinds:
        task = Task.from_networkx(ring(label=AB, m=[kind(number) for number in (0.5, 0.25, 1.0, 0.0)]))
        assert task.graphs.nodes.tolist() == [[0.5], [0.25], [1], [0]]
    given = [np.ones(2), Tensor([1, 1]), [1, True], (Decimal(1), Fraction(1))]
    assert Task.from_networkx(ring(label=AB, m=given)).graphs.nodes.tolist() == [[1, 1]] * 4


def test_several_graphs_of_nodes_are_one() -> None:
    graphs = [nx.path_graph(4), nx.cycle_graph(3)]
    for graph in graphs:
        nx.set_node_attributes(graph, {node: node % 2 == 0 for node in graph}, "label")
    task = Task.from_networkx(graphs)
    assert task.level == "node"
    assert task.graphs.n_node.tolist() == [7]
    assert task.labels.tolist() == [1, 0, 1, 0, 1, 0, 1]
    assert task.encoding is not None
    assert task.encoding.classes == (False, True)
    arrays = Task.from_arrays(None, [[0, 2], [1, 3]], AB, graph=[0, 0, 1, 1])
    assert (arrays.level, arrays.graphs.n_node.tolist()) == ("node", [4])


def test_graphs_without_edges_need_not_have_what_edges_have() -> None:
    lone = data([], 3, y=[1])
    task = Task.from_pyg([lone, data(E, 4, y=[0], edge_attr=[0.25, 0.5], edge_weight=[1, 0.5]), lone])
    assert task.graphs.n_edge.tolist() == [0, 4, 0]
    assert task.graphs.edges is not None
    assert sorted(task.graphs.edges[:, 0].tolist()) == [0.25, 0.25, 0.5, 0.5]
    with pytest.raises(UserError, match=r"^graph 1 has no edge_attr, but other graphs do"):
        Task.from_pyg([data(E, 4, y=[0], edge_attr=[0.25, 0.5]), data(E, 4, y=[1])])
    # They have their numbers nevertheless.
    for attributes, message in (
        ({}, "^graph 2 has no edge_attr, but other graphs do"),
        ({"edge_attr": [1, 2, 3]}, r"^graph 2: edge_attr has the shape \(3,\), but there are 2 edges"),
        ({"edge_attr": [[1], [2]]}, r"^graph 2: edge_attr has the shape \(2, 1\), unlike graph 1; make them alike"),
    ):
        with pytest.raises(UserError, match=message):
            Task.from_pyg([lone, data(E, 4, y=[0], edge_attr=[0.25, 0.5]), data(E, 4, y=[1], **attributes)])


def test_labels_of_dgl_by_another_name_are_no_features() -> None:
    task = Task.from_dgl(DGLGraph(E, 4, h=np.eye(4), y=[0, 1, 0, 1], label=[7, 7, 7, 7]), "y")
    np.testing.assert_array_equal(task.graphs.nodes, np.eye(4))
    assert task.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("none", [[], [[], []], np.zeros((0, 2), int), np.zeros((2, 0)), ([], [])])
def test_no_edges_may_come_in_any_form(none: Any) -> None:
    task = Task.from_arrays(X, none, AB)
    assert task.graphs.n_edge.tolist() == [0]


def test_one_attribute_may_be_named_by_itself() -> None:
    graph = ring(label=AB, mass=[0, 1, 1, 0], other=AB)
    nx.set_edge_attributes(graph, 0.5, "length")
    dgl = DGLGraph(list(graph.edges), 4, label=[0, 1, 0, 1], mass=[0, 1, 1, 0], other=[1, 0, 1, 0])
    dgl.edata = {"length": Tensor([0.5] * 4), "other": Tensor([0.25] * 4)}
    tasks = [
        make(each, attributes="mass", edge_attributes="length")
        for make, each in ((Task.from_networkx, graph), (Task.from_dgl, dgl))
    ]
    for task in tasks:
        assert task.graphs.nodes.tolist() == [[0], [1], [1], [0]]
        assert task.graphs.edges.tolist() == [[0.5]] * 8


def test_direction_is_kept_only_on_demand() -> None:
    graph = nx.DiGraph([(0, 1), (1, 2), (2, 3)])
    nx.set_node_attributes(graph, {0: "a", 1: "b", 2: "a", 3: "b"}, "label")
    both, one = Task.from_networkx(graph), Task.from_networkx(graph, directed=True)
    assert neighbours(one.graphs) == {(0, 1), (1, 2), (2, 3)}
    assert neighbours(both.graphs) == {(0, 1), (1, 2), (2, 3), (1, 0), (2, 1), (3, 2)}
    assert one.graphs.dense().nodes.argmax(axis=1).tolist() == [0, 1, 1, 1]
    assert both.graphs.dense().nodes.argmax(axis=1).tolist() == [1, 2, 2, 1]


@given(st.integers(0, 2**32 - 1))
def test_edges_of_undirected_graphs_go_both_ways(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = [(nx.Graph, nx.MultiGraph, nx.DiGraph)[kind] for kind in rng.integers(3, size=3)]
    graphs, wanted, start = [], set(), 0
    for kind in kinds:
        graph = kind()
        graph.add_nodes_from(range(6))
        for one, other in rng.integers(0, 6, (9, 2)).tolist():
            graph.add_edge(one, other, weight=rng.random(), length=rng.normal(5, 2))
            if one != other:
                ways = [(one, other)] if graph.is_directed() else [(one, other), (other, one)]
                wanted |= {(start + sender, start + receiver) for sender, receiver in ways}
        graphs.append(graph)
        start += len(graph)
    labels = ["a", "b", "a"]
    task = Task.from_networkx(graphs, labels, directed=True)
    assert neighbours(task.graphs) == wanted
    degrees = np.bincount([receiver for _, receiver in wanted], minlength=start)
    assert task.graphs.dense().nodes.argmax(axis=1).tolist() == degrees.tolist()
    # What all is measured by is learnt from every edge once, and an edge has the same both ways.
    both = Task.from_networkx(graphs, labels)
    assert task.encoding is not None
    assert both.encoding is not None
    assert task.encoding.edge_columns == both.encoding.edge_columns
    assert task.encoding.weight == both.encoding.weight
    undirected = [number for number, graph in enumerate(graphs) if not graph.is_directed()]
    one, other = (each.graphs.take(np.array(undirected, np.int64)) for each in (task, both))
    np.testing.assert_array_equal(one.senders, other.senders)
    np.testing.assert_allclose(one.edges, other.edges, rtol=1e-6)
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-6)
    new = read(graphs, [], ["length", "weight"])
    np.testing.assert_array_equal(Graphs.from_encoded(task.encoding.apply(new)).edges, task.graphs.edges)


def test_loops_duplicates_and_isolated_nodes_are_counted() -> None:
    edges = [[0, 0, 1, 1, 2, 2, 0], [1, 1, 0, 1, 2, 2, 2]]
    task = Task.from_arrays(None, edges, ["x", "y", "x", "y", None], num_nodes=5)
    assert neighbours(task.graphs) == {(0, 1), (1, 0), (0, 2), (2, 0)}
    assert task.notes[2:] == (
        "Nodes without a label, which take part in message passing only: 1.",
        "Self-loops were dropped; nodes that had one: 2.",
        "Edges that were listed again were dropped: 1.",
        "Nodes without any edge: 2.",
    )
    assert task.labels.tolist() == [0, 1, 0, 1, -1]


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csr_array, sparse.coo_array])
def test_features_are_made_as_in_training_whether_they_come_sparse_or_dense(form: Any) -> None:
    rng = np.random.default_rng(0)
    x, edges = np.where(rng.random((12, 3)) < 0.5, 0, rng.normal(5, 3, (12, 3))), [[0, 1], [1, 2]]
    for first, other in ((x, form(x)), (form(x), x)):
        task = Task.from_arrays(first, edges, ["a", "b"] * 6)
        assert task.encoding is not None
        new = Graphs.from_encoded(task.encoding.apply(from_arrays(other, edges, None)))
        np.testing.assert_array_equal(new.dense().nodes, task.graphs.dense().nodes)
    scored = Task.from_arrays(x, edges, ["a", "b"] * 6).encoding
    assert scored is not None
    with pytest.raises(UserError, match="'x' has 4 columns, but had 3 before; give those"):
        scored.apply(from_arrays(form(np.ones((12, 4))), edges, None))


def test_sparse_features_stay_sparse_and_as_they_are() -> None:
    x = sparse.random_array((12, 40), density=0.1, format="csr", rng=0) * 9
    task = Task.from_arrays(sparse.csr_matrix(x), [[0, 1], [1, 2]], ["a", "b"] * 6)
    assert sparse.issparse(task.graphs.nodes)
    np.testing.assert_allclose(task.graphs.dense().nodes, x.toarray().astype(np.float32))


def test_sparse_tensors_are_features_as_sparse_matrices_are() -> None:
    x = np.where(np.random.default_rng(0).random((12, 5)) < 0.7, 0, 4.5)
    task = Task.from_pyg(data([(0, 1), (1, 2)], 12, x=Sparse(x), y=[0, 1] * 6))
    assert sparse.issparse(task.graphs.nodes)
    assert task.content_hash == Task.from_arrays(sparse.csr_matrix(x), [[0, 1], [1, 2]], [0, 1] * 6).content_hash
    several = Task.from_pyg([data([(0, 1)], 6, x=Sparse(x[:6]), y=[0]), data([(0, 1)], 6, x=Sparse(x[6:]), y=[1])])
    np.testing.assert_array_equal(several.graphs.dense().nodes, x)


def test_tensors_of_types_that_numpy_does_not_have_are_read_in_single_precision() -> None:
    x, y = np.array([[0.5, 0.25], [1, 0], [0, 0], [0.75, 1]]), [0.5, 1.5, 2.5, -4]
    task = Task.from_pyg(data([(0, 1)], 4, x=Narrow(x), y=Narrow(y), edge_attr=Narrow([[0.5]])))
    np.testing.assert_array_equal(task.graphs.nodes, x)
    np.testing.assert_array_equal(task.labels[:, 0], y)
    np.testing.assert_array_equal(task.graphs.edges, [[0.5], [0.5]])
    assert Task.from_networkx(ring(label=AB, m=map(Narrow, x))).graphs.nodes.tolist() == x.tolist()
    jax = Task.from_arrays(jnp.asarray(x, jnp.bfloat16), [[0], [1]], jnp.asarray(y, jnp.bfloat16))
    np.testing.assert_array_equal(jax.graphs.nodes, x)
    np.testing.assert_array_equal(jax.labels[:, 0], y)


@given(st.integers(0, 2**32 - 1))
def test_new_graphs_get_the_features_of_the_old(seed: int) -> None:
    graphs = molecules(12, seed % 1000)
    task = Task.from_networkx(graphs)
    assert task.encoding is not None
    kept = Encoding.from_dict(json.loads(json.dumps(task.encoding.as_dict())))
    assert kept == task.encoding
    ids = np.random.default_rng(seed).permutation(12)[:5]
    names = [column.name for column in kept.columns]
    for graph in graphs:  # what a new graph need not have, and what it may have besides
        graph.graph.clear()
        nx.set_node_attributes(graph, "new", "more")
    again = Graphs.from_encoded(kept.apply(read([graphs[number] for number in ids], names)))
    expected = task.graphs.take(ids)
    np.testing.assert_array_equal(again.nodes, expected.nodes)
    np.testing.assert_array_equal(again.senders, expected.senders)
    np.testing.assert_array_equal(again.n_node, expected.n_node)


def test_from_graphs_to_predictions(tmp_path: Any) -> None:
    graphs = molecules()
    task = Task.from_networkx(graphs, name="molecules")
    atjax.search(task, trials=1, budget=tiny.BUDGET, space=tiny.space(), folder=tmp_path / "run")
    model = atjax.load(tmp_path / "run")
    predicted = model.predict(graphs)
    np.testing.assert_array_equal(predicted, model.predict(task.graphs))
    assert model.predict_labels(graphs) == [("ring", "star")[number] for number in predicted]
    assert model.predict_labels(graphs[3]) == model.predict_labels(graphs)[3:4]
    graphs[1].nodes["atom2"]["element"] = "Xe"
    with pytest.raises(UserError, match=r"graph 1: node 'atom2': element is 'Xe', which no graph had when the"):
        model.predict(graphs)
    with pytest.raises(UserError, match="int is no kind of graph that is known here"):
        model.predict(5)
    with pytest.raises(UserError, match="There are no nodes; give at least one"):
        model.predict(nx.Graph())


def test_new_graphs_need_no_labels_and_no_split() -> None:
    """Of what was labelled, as of any new graph: labels of another level, of some graphs only, and many splits too."""
    x = np.random.default_rng(0).normal(size=(4, 2))
    words = {"train_mask": np.ones((4, 3), bool), "val_mask": [True]}
    plain = read(data(E, 4, x=x), [])
    for labelled in (data(E, 4, x=x, y=[1]), data(E, 4, x=x, y=np.ones((7, 2)), **words)):
        for new in ([labelled], [labelled, data(E, 4, x=x)]):
            raw = read(new, [])
            assert not raw.labels
            assert not raw.parts
            np.testing.assert_array_equal(raw.columns["x"][:4], plain.columns["x"])
    pair = (DGLGraph(E, 4, h=x, label=[0, 1, 0, 1], **words), Tensor([3]))
    raw = read([pair, (DGLGraph(E, 4, h=x), None)], ["h"])
    assert not raw.labels
    assert not raw.parts
    np.testing.assert_array_equal(raw.columns["h"], [*x, *x])
    graph = ring(m=[1, 2, 3, 4], split=["fold 7"] * 4, label=[{}] * 4)
    raw = read(graph, ["m"])
    assert not raw.labels
    assert not raw.parts
    with pytest.raises(UserError, match=r"^'y' is none of the arrays that are read; these are x, edge_index, graph, "):
        read({"x": x, "edge_index": E, "y": [1]}, [])


def test_a_data_set_that_does_not_say_where_it_ends_is_read_to_its_length() -> None:
    class Datasets:
        """A stand-in for a data set of DGL, such as Cora, which asserts that number 0 is asked for."""

        def __len__(self) -> int:
            return 1

        def __getitem__(self, number: int) -> DGLGraph:
            assert number == 0, "This dataset has only one graph"
            return DGLGraph(E, 4, feat=X, label=[0, 1, 0, 1])

    assert Task.from_dgl(Datasets()).labels.tolist() == [0, 1, 0, 1]


def test_a_graph_of_dgl_that_keeps_no_list_of_edges_makes_one() -> None:
    class Compressed(DGLGraph):
        """A stand-in for what ``formats("csc")`` gives, which lists no edges in their order."""

        def formats(self, wanted: list[str]) -> DGLGraph:
            return DGLGraph(self._ends.T, 4) if "coo" in wanted else self

        def edges(self) -> tuple[Tensor, Tensor]:
            raise RuntimeError('CSR only support Edges of order "srcdst", but got "eid".')

    task = Task.from_dgl(Compressed([(3, 1), (0, 2)], 4, label=[0, 1, 0, 1]), directed=True)
    assert neighbours(task.graphs) == {(3, 1), (0, 2)}


def test_words_of_a_split() -> None:
    words = ["train", " Training", "val", "VALID", "dev", "test", "", None, float("nan")]
    assert parts_of_words(words, "node", Where()).tolist() == [0, 0, 1, 1, 1, 2, -1, -1, -1]


def test_a_model_of_another_task_says_what_it_takes(tmp_path: Any) -> None:
    task = atjax.load_task("digits", count=40)
    atjax.search(task, trials=1, budget=tiny.BUDGET, space=tiny.space(), folder=tmp_path / "run")
    model = atjax.load(tmp_path / "run")
    assert len(model.predict(task.graphs)) == 40
    with pytest.raises(UserError, match="was trained on digits, whose features are made by its own loader"):
        model.predict(ring())
    with pytest.raises(UserError, match="has no labels of its owner's; take predict"):
        model.predict_labels(task.graphs)


def test_raw_graphs_tell_nodes_and_levels() -> None:
    none = np.zeros(0, np.int64)
    raw = RawGraphs(np.array([2, 3]), none, none, {}, {"node": np.zeros(5), "graph": np.zeros(2)})
    assert (raw.num_nodes, raw.count("node"), raw.count("graph"), raw.level("node")) == (5, 5, 2, "node")
    with pytest.raises(UserError, match="Nodes and graphs both have labels; say which"):
        raw.level(None)
