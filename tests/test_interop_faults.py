"""Faults of graphs in memory are told in a sentence, with their place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from library_objects import AB, DGLGraph, E, Empty, Heterogeneous, Sparse, Tensor, X, data, ring
from scipy import sparse

from atjax import Task, UserError
from atjax.interop import from_networkx, read

STRUCTURED = np.ma.array(np.zeros(4, [("a", int)]), mask=[True, False, False, False])

FAULTS: list[tuple[Any, str]] = [
    (lambda: Task.from_networkx([]), "There are no graphs"),
    (lambda: Task.from_networkx([ring(), 5]), "Graph 1 is of type int"),
    (lambda: Task.from_networkx(ring()), "There are no labels, of nodes or of graphs: none has an attribute 'label';"),
    (lambda: Task.from_networkx(ring(label=AB), "klass"), "none has an attribute 'klass'; name that which they have"),
    (lambda: Task.from_networkx([ring(), nx.Graph()], AB[:2]), "graph 1 has no nodes; drop it, with its label"),
    (lambda: Task.from_networkx(ring(label=AB, m=[1, 2, np.nan, 3])), "node 2: m is missing, NaN or infinite"),
    (lambda: Task.from_networkx(ring(label=AB, m=[1, 2, 3])), "node 3 has no attribute 'm', which others have"),
    (lambda: Task.from_networkx(ring(label=AB, m=[1, 2, [3, 4], 3])), "node 2: m is of another kind or length"),
    (lambda: Task.from_networkx(ring(label=AB, m=[1, 2, [[3], [4, 5]], 3])), "node 2: m is of another kind or length"),
    (
        lambda: Task.from_networkx(ring(label=AB, m=["word", 2, 3, 3])),
        "node 0: m is of another kind or length than elsewhere, a word and not one number; make them alike",
    ),
    (
        lambda: Task.from_networkx(ring(label=AB, m=[b"C", b"N", b"C", b"N"])),
        "The node attribute 'm' holds values of type bytes; give words or numbers",
    ),
    (lambda: Task.from_networkx(ring(label=AB, m=[0.5, pd.NA, 1, 2])), "node 1: m is missing"),
    (lambda: Task.from_networkx(ring(label=AB, m=[{1}, {2}, {1}, {2}])), "is a list or another thing that can change"),
    (lambda: Task.from_networkx(ring(label=AB, split=["train", "x", "", ""])), "node 1: the split 'x' is none of"),
    (lambda: Task.from_networkx(ring(300, label=[0, 1] * 150, name=map(str, range(300)))), "has 300 different values"),
    (
        lambda: Task.from_networkx(ring(label=[[1], [2], [1], [2]]), loss="x"),
        "'x' is no loss; choose from cross_entropy, binary_cross_entropy, mse",
    ),
    (lambda: Task.from_networkx([ring(), ring()], ["a"]), "There are 1 labels for 2 graphs"),
    (lambda: Task.from_networkx([ring(label=AB), ring()], None, level="edge"), "level='edge' is unknown here"),
    (lambda: Task.from_networkx([ring(label=AB)], level="graph"), "The graphs have no labels, but the nodes do"),
    (
        lambda: Task.from_networkx(ring(label=AB), metric="mae"),
        "'mae' is no metric of the loss 'cross_entropy'; choose from accuracy",
    ),
    (lambda: Task.from_networkx(ring(label=AB), categories=["m"]), "categories names 'm', which is none of none"),
    (lambda: Task.from_networkx(ring(label=AB), loss="mse"), "The labels of the nodes are words, not numbers"),
    (
        lambda: Task.from_networkx(ring(label=[None, 0.5, np.inf, 2.0])),
        "node 2: the label is infinite; give a number, or none",
    ),
    (lambda: Task.from_networkx(ring(label=["a"] * 4)), "all labels are of one class"),
    (lambda: Task.from_arrays(X, [[0, 4], [1, 0]], AB), "edge 1 names node 4, but nodes are numbered 0 to 3"),
    (lambda: Task.from_arrays(X, [[0], [3]], AB[:2], graph=[0, 0, 1, 1]), "edge 0 joins nodes of two graphs"),
    (lambda: Task.from_arrays(X, E, AB[:2], graph=[0, 1, 0, 1]), "graph must give each node the number of its graph"),
    (lambda: Task.from_arrays(X, E, AB, graph=[0, 0, 0]), "x is for 4 and graph is for 3 nodes; they must agree"),
    (lambda: Task.from_arrays(X, [0, 1], AB), r"edge_index has the shape \(2,\); give senders and receivers"),
    (lambda: Task.from_arrays(X, [[0.5], [1]], AB), "edge_index is of type float64; give whole numbers"),
    (lambda: Task.from_arrays(X, E, np.zeros((4, 2, 2))), r"labels have the shape \(4, 2, 2\); give one, or a row"),
    (lambda: Task.from_arrays(X, E, AB, loss=["mse"]), r"loss=\['mse'\] is none; give the name of one"),
    (lambda: Task.from_arrays(X, E, AB, unlabelled=["a"]), r"unlabelled=\['a'\] is no label; give the one label"),
    (lambda: Task.from_arrays(np.ma.masked_less(X, 9), E, AB), "x has masked entries, where none may be missing"),
    (lambda: Task.from_arrays(X, E, STRUCTURED), "labels has masked entries"),
    (lambda: Task.from_arrays(X, np.ma.masked_equal(E, 1), AB), "edge_index has masked entries"),
    (lambda: Task.from_arrays(X, E, AB, split={"train": np.ma.masked_equal([0, 1], 1)}), "split has masked entries"),
    (lambda: Task.from_networkx(ring(label=AB, m=[1, np.ma.masked, 2, 3])), "m has masked entries"),
    (lambda: Task.from_arrays([[2**200]] * 4, E, AB), "node 0: x is beyond single precision"),
    (lambda: Task.from_arrays([[2**2000]] * 4, E, AB), "node 0: x is missing, NaN or infinite"),
    (lambda: Task.from_arrays(X, None, AB), "There are no edges; give edge_index"),
    (lambda: Task.from_arrays(None, E, None), "Neither x nor graph nor num_nodes says how many nodes"),
    (lambda: Task.from_networkx(ring(), 5), "The labels are of type int; give a list or an array of them"),
    (lambda: Task.from_arrays(X, E, ["a"]), "There are 1 labels for 4 nodes; give one label each"),
    (lambda: Task.from_arrays(X, E, [None] * 4), "None of the 4 nodes has a label"),
    (lambda: Task.from_arrays(np.diag([1, np.inf, 0, 0]), E, AB), "node 1: x is missing, NaN or infinite"),
    (
        lambda: Task.from_arrays(sparse.csr_matrix(np.diag([1, 0, np.nan, 0])), E, AB),
        "node 2: x is NaN or infinite; fill it in",
    ),
    (lambda: Task.from_arrays(X, E, AB, split={"train": [0, 1], "test": [1]}), "node 1 is in two parts of the split"),
    (lambda: Task.from_arrays(X, E, AB, split={"train": [0, 9]}), "train of the split names node 9, but they are"),
    (lambda: Task.from_arrays(X, E, AB, split={"train": [0.5]}), "train of the split is of type float64"),
    (lambda: Task.from_arrays(X, E, AB, split={"rest": [0]}), "The split has the part 'rest'; its parts are called"),
    (lambda: Task.from_arrays(X, E, AB, split={"train": [0], "test": [1]}), "The split has nothing for validation"),
    (
        lambda: Task.from_arrays(X, E, ["a", "b", None, "a"], split={"train": [0], "val": [1], "test": [2]}),
        "node 2 is for test but has no label; give one, or take it out",
    ),
    (lambda: Task.from_pyg([data(E, 4, y=[0, 1, 0])] * 2), r"y has the shape \(3,\), which is neither one label nor"),
    (lambda: Task.from_pyg([data(E, 4, x=X, y=[0]), data(E, 4, y=[1])]), "graph 1 has no x, but other graphs do"),
    (lambda: Task.from_pyg([data(E, 4, x=X, y=[0]), data(E, 3, x=X, y=[1])]), "graph 1 has 4 rows of x but 3 nodes"),
    (lambda: Task.from_pyg([data([(0, 9)], 4, y=[0]), data(E, 4, y=[1])]), "graph 0: an edge names node 9"),
    (lambda: Task.from_pyg([SimpleNamespace(x_dict={})]), "has no edge_index; give homogeneous graphs"),
    (lambda: Task.from_pyg(data(E, 4, y=[0, 1, 0, 1], train_mask=np.ones((4, 3), bool))), r"mask\[:, 0\]"),
    (
        lambda: Task.from_pyg([data(E, 4, y=[0]), data(E, 4, y=Empty([1]))]),
        r"^graph 1: y cannot be read as an array \(Cannot copy out of meta tensor; no data\); give a dense array",
    ),
    (lambda: Task.from_arrays([[1], [1, 2]], E, AB), r"^x cannot be read as an array \(rows differ in length\)"),
    (lambda: Task.from_arrays(X, [[0, 1], [2]], AB), r"^edge_index cannot be read as an array \(rows differ"),
    (lambda: Task.from_arrays(X, (np.zeros(2, int), np.zeros(3, int)), AB), r"^edge_index .* \(rows differ in length"),
    (lambda: Task.from_arrays(X, sparse.eye(4), AB), "^edge_index is sparse, which only features of nodes may be"),
    (lambda: Task.from_pyg(data(E, 4, y=Sparse([1, 0, 1, 0]))), "^y is sparse, which only features of nodes may be"),
    (lambda: Task.from_pyg(data(E, 4, x=Sparse([1, 0, 1, 0]), y=AB)), r"^x is a sparse tensor of the shape \(4,\)"),
    (lambda: Task.from_arrays(X * 1j, E, AB), "^x is of complex numbers; give their real and imaginary parts"),
    (lambda: Task.from_pyg(data(E, 4, y=AB, batch=[0, 1, 0, 1])), "batch must give each node the number of its graph"),
    (lambda: Task.from_pyg(data(E, 4, y=AB, batch=[0, 1])), "batch must number the graphs of all 4 nodes, from 0 on"),
    (lambda: Task.from_pyg(data(E, 4, y=AB, batch=[0, 0, 0, 10**12])), "batch must number the graphs of all 4 nodes"),
    (
        lambda: Task.from_dgl(DGLGraph(E, 4, h=X, label=AB), attributes=["g"]),
        "no attribute 'g'; give it, or choose from h, label",
    ),
    (
        lambda: Task.from_dgl(DGLGraph(E, 4, label=AB), edge_attributes="length"),
        "^The edges have no attribute 'length'; give it, or choose from none",
    ),
    (
        lambda: Task.from_networkx(ring(label=AB, m=AB), attributes="mass"),
        "no attribute 'mass'; give it, or choose from label, m",
    ),
    (
        lambda: Task.from_networkx(ring(label=AB), edge_attributes=["length"]),
        "^The edges have no attribute 'length'; give it, or choose from none",
    ),
    (
        lambda: Task.from_pyg([data(E, 4, y=[0, 1] * 2, train_mask=[True] * each) for each in (3, 5)]),
        r"^graph 0: train_mask has the shape \(3,\); give true or false for each of the 4 nodes",
    ),
    (
        lambda: Task.from_pyg(data(E, 4, y=[0, 1] * 2, val_mask=True)),
        r"^graph 0: val_mask has the shape \(\); give true",
    ),
    (
        lambda: Task.from_pyg(data(E, 4, y=[0, 1] * 2, val_mask=[0, 3, 1, 0])),
        "^graph 0: val_mask holds 3; give true or",
    ),
    (lambda: Task.from_dgl(DGLGraph(E, 4, label=[0, 1] * 2, test_mask=[0, 1, 0, np.nan])), "test_mask holds nan; give"),
    (
        lambda: Task.from_pyg(data(E, 4, y=[0, 1] * 2, train_mask=[0] * 4, test_mask=[False] * 4)),
        "^No node is in train_mask or test_mask; put some in, or take the masks away",
    ),
    (
        lambda: Task.from_networkx(ring(label=AB, train_mask=[True, False, True])),
        "^graph 0: train_mask holds None; give true or false for each of the 4 nodes",
    ),
    (
        lambda: Task.from_networkx(ring(label=AB, val_mask=[True, False] * 2, split=["train", "", "", ""])),
        "^The nodes have both split and val_mask; take one of the two splits away",
    ),
    (
        lambda: Task.from_arrays(X, E, AB, unlabeled="a"),
        "^'unlabeled' is no option of a task; choose from name, level, ",
    ),  # type: ignore[call-arg]
    (lambda: Task.from_networkx(ring(label=AB), directed="no"), "^directed='no' is neither true nor false"),  # type: ignore[arg-type]
    (
        lambda: Task.from_arrays(X, E, AB, split=0.8),
        "^The split is of type float; give the members of train, validation",
    ),  # type: ignore[arg-type]
    (lambda: Task.from_arrays(X, E, AB, split={"train": [[0], [1, 2]]}), "^The part train of the split cannot be read"),
    (lambda: Task.from_arrays(X, E, AB, split={"train": [], "test": []}), "The split has nothing for train"),
    (
        lambda: Task.from_networkx([ring()] * 3, {1: "a", 2: "b", 3: "a"}),
        "by number, 0 to 2, but one is for 3; mend it",
    ),
    (lambda: Task.from_arrays(X, E, np.array(3)), "^The labels are a single one; give a list or an array of them"),
    (lambda: Task.from_arrays(X, E, Tensor(3)), "^The labels are a single one; give a list or an array of them"),
    (lambda: Task.from_dgl(DGLGraph([], 0), []), "^There are no nodes; give at least one"),
    (lambda: Task.from_networkx(nx.Graph(), []), "^There are no nodes; give at least one"),
    (lambda: Task.from_arrays(None, E, AB, num_nodes=4.5), "^num_nodes is of type float64; give whole numbers"),  # type: ignore[arg-type]
    (lambda: Task.from_arrays(None, E, AB, num_nodes=-4), "^num_nodes is -4; give a whole number, 0 or more"),
    (
        lambda: Task.from_pyg(data(E, 4, y=[1])),
        r"^There is one graph, and y has the shape \(1,\); give a label to each",
    ),
    (
        lambda: Task.from_pyg(data([(0, 1)], 0, y=[])),
        "^graph 0: an edge names node 0, but it has no nodes; drop or mend",
    ),
    (
        lambda: Task.from_pyg([data(E, 4, y=np.ones((1, width))) for width in (2, 3)]),
        r"^graph 1: y has the shape \(1, 3\), unlike graph 0; make them alike",
    ),
    (
        lambda: Task.from_pyg([data(E, 4, y=[0], edge_attr=np.ones((2, width))) for width in (2, 3)]),
        r"^graph 1: edge_attr has the shape \(2, 3\), unlike graph 0; make them alike",
    ),
    (lambda: Task.from_arrays(X, E, AB[:2], graph=[0] * 4), "^graph 1 has no nodes; drop it, with its label"),
    (lambda: Task.from_arrays(np.ones((4, 2, 2)), E, AB), r"^x has the shape \(4, 2, 2\); give a row for each node"),
    (lambda: Task.from_arrays(X, E, AB[:2], graph=[-1, 0, 1, 1]), "graph must give each node the number of its graph"),
    (
        lambda: Task.from_arrays(X, E, AB, edge_attr=np.ones((2, 2, 2))),
        r"^edge_attr has the shape \(2, 2, 2\), but there are 2 edges; give a row for each edge",
    ),
    (lambda: Task.from_pyg(Heterogeneous()), r"^Graph 0 \(Heterogeneous\) has no edge_index; give homogeneous graphs"),
    (lambda: read(Heterogeneous(), []), "^Heterogeneous is no kind of graph that is known here"),
    (lambda: Task.from_dgl(DGLGraph(E, 4, homogeneous=False)), "no graph of DGL with one kind of nodes and edges"),
    (lambda: Task.from_dgl([DGLGraph(E, 4, h=X), DGLGraph(E, 4, h=X[:, :1])], AB[:2]), "graph 1: h has the shape"),
]


@pytest.mark.parametrize(("make", "message"), FAULTS)
def test_faults_are_told_in_a_sentence_with_the_place(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert str(caught.value).endswith(".")


def test_places_name_graph_and_node() -> None:
    raw = from_networkx([ring(), nx.relabel_nodes(ring(), {2: "two"})], None)
    assert raw.where.node(1) == "graph 0: node 1"
    assert raw.where.node(6) == "graph 1: node 'two'"
