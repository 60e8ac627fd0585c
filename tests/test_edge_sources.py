"""Edge features, weights and direction as every source reads them, and what is wrong with them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from test_edges import edge_table

import atjax
from atjax import config
from atjax.task import Task

# The same edges from everywhere

EDGES = [(0, 1), (1, 2), (3, 4), (2, 0)]
BONDS, WEIGHTS = [1, 2, 1, 2], [0.5, 1.0, 0.25, 0.75]
GRAPH_OF, KIND, LABELS = [0, 0, 0, 1, 1], [7, 8, 7, 7, 8], [1, 0]


def write_tables(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    ids = "id,graph,kind\n" + "".join(f"{n},{g},k{k}\n" for n, (g, k) in enumerate(zip(GRAPH_OF, KIND)))
    (folder / "nodes.csv").write_text(ids)
    rows = [f"{a},{b},b{bond},{w}" for (a, b), bond, w in zip(EDGES, BONDS, WEIGHTS)]
    (folder / "edges.csv").write_text("source,target,bond,weight\r\n" + "\r\n".join(rows))
    (folder / "graphs.csv").write_text("id,label\n0,1\n1,0\n")
    return {"path": str(folder)}


def write_npz(path: Path) -> dict[str, Any]:
    arrays = {
        "x": np.eye(2, dtype=np.float32)[np.array(KIND) - 7],
        "edge_index": np.array(EDGES).T,
        "edge_attr": np.eye(2)[np.array(BONDS) - 1],
        "edge_weight": np.array(WEIGHTS),
        "graph": np.array(GRAPH_OF),
        "y": np.array(LABELS),
    }
    np.savez(path, **arrays)
    return {"path": str(path)}


def own_networkx() -> Task:
    graphs = [nx.Graph(), nx.Graph()]
    for node, (graph, kind) in enumerate(zip(GRAPH_OF, KIND)):
        graphs[graph].add_node(node, kind=f"k{kind}")
    for (a, b), bond, weight in zip(EDGES, BONDS, WEIGHTS):
        graphs[GRAPH_OF[a]].add_edge(a, b, bond=f"b{bond}", weight=weight)
    return Task.from_networkx(graphs, LABELS)


class Fake:
    """A graph as PyTorch Geometric or DGL has it."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__ |= fields


def parts() -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Of both graphs: features, ends, bonds and weights."""
    found = []
    for graph, start in ((0, 0), (1, 3)):
        here = [number for number, (a, _) in enumerate(EDGES) if GRAPH_OF[a] == graph]
        nodes = np.flatnonzero(np.array(GRAPH_OF) == graph)
        x = np.eye(2)[np.array(KIND)[nodes] - 7]
        bonds = np.eye(2)[np.array(BONDS)[here] - 1]
        found.append((x, np.array(EDGES)[here].T - start, bonds, np.array(WEIGHTS)[here]))
    return found


def own_pyg() -> Task:
    return Task.from_pyg(
        [
            Fake(x=x, edge_index=ends, edge_attr=bonds, edge_weight=weights, y=np.array([label]), num_nodes=len(x))
            for (x, ends, bonds, weights), label in zip(parts(), LABELS)
        ]
    )


def own_dgl() -> Task:
    graphs = [
        Fake(
            ndata={"x": x},
            edata={"bond": bonds, "weight": weights, "_ID": weights},
            num_nodes=lambda x=x: len(x),
            batch_num_nodes=lambda x=x: [len(x)],
            edges=lambda ends=ends: (ends[0], ends[1]),
        )
        for x, ends, bonds, weights in parts()
    ]
    return Task.from_dgl(graphs, LABELS)


def test_the_same_edges_from_everywhere(tmp_path: Path) -> None:
    tasks = {
        "tables": config.load_task("custom", **write_tables(tmp_path / "tables")),
        "npz": config.load_task("custom", **write_npz(tmp_path / "arrays.npz")),
        "networkx": own_networkx(),
        "pyg": own_pyg(),
        "dgl": own_dgl(),
    }
    assert {task.content_hash for task in tasks.values()} == {own_networkx().content_hash}
    expected = {pair: (np.eye(2)[b - 1].tolist(), w) for pair, b, w in zip(EDGES, BONDS, WEIGHTS)}
    expected |= {pair[::-1]: row for pair, row in expected.items()}
    assert edge_table(own_networkx().graphs) == expected
    assert "Columns that are not used" not in " ".join(tasks["tables"].notes)
    directed = config.load_task("custom", path=str(tmp_path / "tables"), directed=True)
    assert set(edge_table(directed.graphs)) == set(EDGES)
    without = config.load_task("custom", path=str(tmp_path / "tables"), ignore=["bond", "weight"])
    assert without.graphs.plain
    assert (
        without.content_hash
        == config.load_task(
            "custom", path=str(tmp_path / "arrays.npz"), ignore=["edge_attr", "edge_weight"]
        ).content_hash
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0,1,b1,0.5", "0,1,b1,-2", r"edges.csv: row 1: weight is -2; give weights of 0 or more"),
        ("0,1,b1,0.5", "0,1,b1,", r"edges.csv: row 1: weight is missing, NaN or infinite; fill it in, drop that edge"),
        ("0,1,b1,0.5", "0,1,b1,heavy", r"edges.csv: row 1: weight is 'heavy', but most rows have numbers"),
        ("0,1,b1,0.5", "0,1,,0.5", r"edges.csv: row 1: bond is missing; fill it in, drop that edge"),
    ],
)
def test_faults_of_edge_columns_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    options = write_tables(tmp_path / "tables")
    file = tmp_path / "tables" / "edges.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(atjax.UserError, match=message):
        config.load_task("custom", **options)


def test_listings_that_differ_are_told_of(tmp_path: Path) -> None:
    options = write_tables(tmp_path / "tables")
    with (tmp_path / "tables" / "edges.csv").open("a") as file:
        file.write("\n1,0,b2,0.5\n")
    task = config.load_task("custom", **options)
    assert "Edges listed several times with differing features or weights, now their mean: 1." in task.notes
    assert edge_table(task.graphs)[0, 1] == ([0.5, 0.5], 0.5)


def test_large_weights_are_divided_by_their_mean() -> None:
    x, ends = np.eye(4), np.array([[0, 1, 2], [1, 2, 3]])
    labels = [0, 1, 0, 1]
    task = Task.from_arrays(x, ends, labels, edge_weight=[100, 300, 800])
    assert "Edge weights: divided by their mean, 400." in task.notes
    assert sorted(set(np.asarray(task.graphs.weights).tolist())) == [0.25, 0.75, 2]
    for wrong, message in (
        ([1, 2], "edge_weight has the shape .2,., but there are 3 edges"),
        ([1, -1, 1], "edge 1: weight is -1"),
    ):
        with pytest.raises(atjax.UserError, match=message):
            Task.from_arrays(x, ends, labels, edge_weight=wrong)


# TU sets


TU = {
    "A": "1, 2\n2, 1\n4, 5\n5, 4\n3, 2\n2, 3\n3, 3\n",
    "graph_indicator": "1\n1\n1\n2\n2\n3\n",
    "node_labels": "0\n1\n1\n0\n1\n0\n",
    "edge_labels": "1\n1\n3\n3\n1\n1\n9\n",
    "edge_attributes": "0.5,2\n0.5,2\n1.5,4\n1.5,4\n1.5,2\n1.5,2\n1.5,2\n",
    "graph_attributes": "-0.4, 1e-3, 7\n2.5, 2e-3, 8\n1.0, -3.5E+1, 9\n",
}
"""In the layout of QM9, ZINC_full and alchemy_full: targets with commas, no graph labels; a self-loop."""


def write_tu(root: Path, **changes: str | None) -> None:
    (root / "tu-original").mkdir(exist_ok=True)
    with zipfile.ZipFile(root / "tu-original" / "QM9.zip", "w") as archive:
        for part, text in (TU | changes).items():
            if text is not None:
                archive.writestr(f"QM9/QM9_{part}.txt", text)


def load_tu(root: Path, **options: Any) -> Task:
    return config.load_task("tu", data_root=root, dataset="QM9", **options)


def test_tu_sets_with_graph_attributes_are_regressions(tmp_path: Path) -> None:
    write_tu(tmp_path)
    task = load_tu(tmp_path)
    table = np.array([[-0.4, 1e-3, 7], [2.5, 2e-3, 8], [1, -35, 9]], np.float32)
    assert (task.level, task.loss, task.metric, task.num_outputs) == ("graph", "mse", "mae", 3)
    np.testing.assert_array_equal(task.labels, table)
    np.testing.assert_array_equal(load_tu(tmp_path, target=1).labels, table[:, [1]])
    chosen = load_tu(tmp_path, target=[2, 0], metric="rmse")
    assert (chosen.num_outputs, chosen.metric) == (2, "rmse")
    np.testing.assert_array_equal(chosen.labels, table[:, [2, 0]])
    own = config.load_task("custom", path=str(tmp_path / "tu-original" / "QM9.zip"), target=[2, 0])
    np.testing.assert_array_equal(own.labels, table[:, [2, 0]])
    for wrong in (3, -1, [0, 0], [], True, "a", [0, "x"], 1.0):
        with pytest.raises(atjax.UserError, match="names no columns of the labels, of which there are 3"):
            load_tu(tmp_path, target=wrong)
    with pytest.raises(atjax.UserError, match="no graph labels, but graph attributes"):
        load_tu(tmp_path, target="labels")


def test_tu_sets_with_both_kinds_of_labels(tmp_path: Path) -> None:
    write_tu(tmp_path, graph_labels="5\n6\n5\n", graph_attributes="1\nnan\n3\n")
    task = load_tu(tmp_path)
    np.testing.assert_array_equal(task.labels, [[1], [np.nan], [3]])
    classes = load_tu(tmp_path, target="labels")
    assert (classes.loss, classes.labels.tolist()) == ("cross_entropy", [0, 1, 0])
    write_tu(tmp_path, graph_labels="5\n6\n")
    with pytest.raises(atjax.UserError, match=r"QM9_graph_attributes.txt has 3 lines but QM9_graph_labels.txt has 2"):
        load_tu(tmp_path)
    write_tu(tmp_path, graph_labels="5\n6\n5\n", graph_attributes=None)
    with pytest.raises(atjax.UserError, match="target=0 is for sets with graph attributes"):
        load_tu(tmp_path, target=0)
    assert load_tu(tmp_path).num_outputs == 2


def test_edges_of_tu_sets_are_asked_for(tmp_path: Path) -> None:
    write_tu(tmp_path)
    assert load_tu(tmp_path).graphs.edges is None
    graphs = load_tu(tmp_path, edges=True).graphs
    numbers = np.array([[0.5, 2], [0.5, 2], [1.5, 4], [1.5, 4], [1.5, 2], [1.5, 2], [1.5, 2]])
    scored = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    rows = {(0, 1): [1, 0, 0, *scored[0]], (3, 4): [0, 1, 0, *scored[2]], (2, 1): [1, 0, 0, *scored[4]]}
    assert graphs.edges is not None
    for a, b, row in zip(graphs.senders.tolist(), graphs.receivers.tolist(), graphs.edges):
        np.testing.assert_allclose(row, rows[(a, b) if (a, b) in rows else (b, a)], rtol=1e-6)
    # What is not asked for is not read, and the content by which a set is known does not count it.
    write_tu(tmp_path, edge_labels="x\n")
    assert load_tu(tmp_path).graphs.edges is None
    with pytest.raises(atjax.UserError, match=r"QM9_edge_labels.txt: line 1 does not hold whole numbers"):
        load_tu(tmp_path, edges=True)
    write_tu(tmp_path, edge_labels="1\n", edge_attributes=None)
    with pytest.raises(atjax.UserError, match=r"QM9_edge_labels.txt has 1 lines but QM9_A.txt has 7"):
        load_tu(tmp_path, edges=True)
    write_tu(tmp_path, edge_labels=None, edge_attributes=None)
    with pytest.raises(atjax.UserError, match="the set has neither edge labels nor edge attributes; take edges=false"):
        load_tu(tmp_path, edges=True)
    own = config.load_task("custom", path=str(tmp_path / "tu-original" / "QM9.zip"))
    assert own.graphs.plain


def test_arrays_that_claim_too_much() -> None:
    x, ends = np.eye(4), np.array([[0, 1, 2], [1, 2, 3]])
    with pytest.raises(atjax.UserError, match=r"graph names graph 1099511627776 for 4 nodes; number graphs from 0 on"):
        Task.from_arrays(x, ends, [0, 1], graph=[0, 0, 1, 2**40])
    with pytest.raises(atjax.UserError, match=r"edge 1: edge_attr is beyond single precision"):
        Task.from_arrays(x, ends, [0, 1, 0, 1], edge_attr=[1.0, 1e200, 2.0])
    swapped = Task.from_arrays(x.astype(">f8"), ends.astype(">i8"), np.array([0, 1, 0, 1], ">i4"))
    assert swapped.content_hash == Task.from_arrays(x, ends, [0, 1, 0, 1]).content_hash
