"""What is said of a task, against networkx and brute force; warnings; the picture; the program."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from atjax import Graphs, Split, Task, load_task
from atjax.overview import binary_counts, constant_score, overview, warnings
from atjax.report import pictures
from atjax.report.figures import svg


def random_task(seed: int, *, directed: bool, level: str) -> Task:
    """Random graphs of a few nodes, some without edges, with labels that are missing here and there."""
    rng = np.random.default_rng(seed)
    n_node = rng.integers(1, 7, 5) if level == "graph" else np.array([25])
    owner = np.repeat(np.arange(len(n_node)), n_node)
    ends = rng.integers(0, len(owner), (2, 60 if level == "graph" else 20))
    ends = ends[:, (owner[ends[0]] == owner[ends[1]]) & (ends[0] != ends[1])]
    nodes = np.round(rng.normal(size=(len(owner), 3)))
    nodes[:, 1] = 4
    graphs = Graphs.from_edges(nodes, *ends, n_node, undirected=not directed)
    count = len(n_node) if level == "graph" else len(owner)
    labels = rng.integers(-1, 3, count).astype(np.int32)
    labels[:2] = 0, 1
    return Task("t", level, "cross_entropy", "accuracy", graphs, labels, 3)  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["node", "graph"]))
def test_counts_against_networkx(seed: int, directed: bool, level: str) -> None:
    task = random_task(seed, directed=directed, level=level)
    graph = nx.DiGraph(list(zip(task.graphs.senders.tolist(), task.graphs.receivers.tolist())))
    graph.add_nodes_from(range(int(task.graphs.n_node.sum())))
    plain = graph.to_undirected()
    seen = overview(task)
    assert (seen.graphs, seen.nodes, seen.features) == (len(task.graphs.n_node), len(graph), 3)
    assert seen.edges == plain.number_of_edges()
    assert seen.directed == any(not graph.has_edge(b, a) for a, b in graph.edges)
    assert seen.isolated == nx.number_of_isolates(plain)
    assert seen.components == nx.number_connected_components(plain)
    degrees = [degree for _, degree in graph.in_degree]
    assert seen.degree == (min(degrees), pytest.approx(np.mean(degrees)), max(degrees))
    assert seen.nodes_a_graph[::2] == (task.graphs.n_node.min(), task.graphs.n_node.max())
    assert seen.nonzero == pytest.approx(np.mean(np.asarray(task.graphs.nodes) != 0))
    assert seen.constant == sum(len(set(column)) == 1 for column in np.asarray(task.graphs.nodes).T.tolist())
    assert seen.classes is not None
    assert seen.classes.tolist() == [int(np.sum(task.labels == label)) for label in range(3)]
    assert seen.unlabelled == int(np.sum(task.labels < 0))
    same = (
        [bool(task.labels[a] == task.labels[b]) for a, b in graph.edges if min(task.labels[[a, b]]) >= 0]
        if level == "node"
        else []
    )
    assert seen.homophily == (pytest.approx(np.mean(same) if same else 0) if level == "node" else None)


def test_sparse_features_are_seen_as_dense_ones() -> None:
    task = random_task(1, directed=False, level="node")
    held = sparse.csr_matrix(task.graphs.nodes)
    thin = dataclasses.replace(task, graphs=dataclasses.replace(task.graphs, nodes=held))
    dense, rows = overview(task), overview(thin)
    assert (dense.nonzero, dense.constant) == (rows.nonzero, rows.constant)


def test_numbers_of_a_regression() -> None:
    task = tiny.path_task()
    targets = np.linspace(-1, 3, task.num_examples, dtype=np.float32)[:, None]
    numbers = dataclasses.replace(task, loss="mse", metric="mae", labels=targets, num_outputs=1)
    seen = overview(numbers)
    assert (seen.classes, seen.names, seen.unlabelled, seen.homophily) == (None, (), 0, None)
    assert seen.outputs == (-1, pytest.approx(1), 3)
    assert warnings(numbers, numbers.split(0)) == ()


def test_warnings_name_the_classes() -> None:
    labels = ["a"] * 12 + ["b"] * 12 + ["c"] + ["d"] * 2
    edges = [[0, 1], [1, 2]]
    task = Task.from_arrays(np.ones((27, 2)) * [1, 0], edges, labels)
    split = Split(np.arange(24), np.array([24]), np.array([25, 26]))
    assert warnings(task, split) == (
        "One example only: class 'c'; it can be in one part of the split.",
        "The split leaves out of training: class 'c', class 'd'; no model can learn it.",
        "Features that are the same at every node, and so say nothing: 2 of 2.",
    )
    many = Task.from_arrays(None, edges, list(range(27)))
    (single, *_) = warnings(many, Split(np.arange(27), np.arange(1), np.arange(1)))
    assert single.startswith("One example only: class 0, class 1, class 2, class 3, class 4 and 22 more; ")
    wide = dataclasses.replace(task, num_outputs=5, encoding=None)
    assert "No example at all: class 4." in warnings(wide, split)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_a_metric_that_is_undefined_is_told_before_training(metric: str) -> None:
    x, edges = np.arange(12.0)[:, None], [[0, 1], [1, 2]]
    split = Split(np.arange(6), np.array([6, 8]), np.array([9, 10]))
    alike = f"All validation examples of the split have the same label, for which {metric} is undefined: no model can"
    two = Task.from_arrays(x, edges, [0, 1] * 6, metric=metric)
    assert [warning.startswith(alike) for warning in warnings(two, split)] == [True]
    three = Task.from_arrays(x, edges, [0, 1, 0, 1, 0, 2, 0, 1, 0, 2, 1, 1], metric=metric)
    for sides in (split, Split(split.train, split.test, split.validation)):
        part, end = ("validation", "no model") if sides is split else ("test", "no test score")
        found = [warning for warning in warnings(three, sides) if "undefined" in warning]
        assert f"All {part} examples of the split have the same label" in found[0]
        assert f": {end} can be" in found[0]
    labels = np.stack([np.resize([0, 1], 12), np.ones(12)], axis=1)
    several = Task.from_arrays(x, edges, labels, metric=metric, loss="binary_cross_entropy")
    assert [warning.startswith(alike) for warning in warnings(several, split)] == [True]
    labels[6, 1] = 0  # one output that is defined is enough
    assert warnings(dataclasses.replace(several, labels=labels), split) == ()
    assert warnings(Task.from_arrays(x, edges, [0, 1] * 6), split) == ()
    assert warnings(Task.from_arrays(x, edges, [0.0, 1.5] * 6), split) == ()


def test_surroundings_are_those_of_a_breadth_first_search() -> None:
    task = load_task("digits_knn", neighbours=2)
    graph = nx.Graph(list(zip(task.graphs.senders.tolist(), task.graphs.receivers.tolist())))
    for centre in (0, 7, 500):
        near = nx.single_source_shortest_path_length(graph, centre, cutoff=pictures.HOPS)
        chosen = pictures.surroundings(task.graphs, centre)
        assert len(set(chosen.tolist())) == len(chosen) == min(len(near), pictures.MOST_NODES)
        assert [near[node] for node in chosen.tolist()] == sorted(near.values())[: len(chosen)]


def test_classes_take_turns_in_the_pictures() -> None:
    task = load_task("digits", count=100)
    chosen = pictures.choose(task, 0)
    labels = [int(picture.title.rpartition(" ")[2]) for picture in chosen]
    assert len(set(labels)) == len(chosen) == 9
    assert all(len(picture.nodes) <= pictures.MOST_NODES for picture in chosen)


def test_of_what_is_large_a_part_is_shown() -> None:
    nodes = np.delete(np.arange(299), 149)  # two paths of 150 nodes
    graphs = Graphs.from_edges(np.ones((300, 1)), nodes, nodes + 1, np.array([150, 150]))
    task = Task("long", "graph", "cross_entropy", "accuracy", graphs, np.array([0, 1], np.int32), 2)
    chosen = pictures.choose(task, 0)
    assert [picture.title[:13] for picture in chosen] == ["part of graph"] * 2
    assert sorted(picture.nodes.tolist() for picture in chosen) == [[0, 1, 2], [150, 151, 152]]


@pytest.mark.parametrize("level", ["graph", "node"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_the_picture_is_the_same_each_time_and_stands_alone(level: str, loss: str) -> None:
    task = tiny.path_task(level=level)
    if loss == "mse":
        targets = task.labels[:, None].astype(np.float32)
        task = dataclasses.replace(task, loss="mse", metric="mae", labels=targets, num_outputs=1)
    text = svg(pictures.figure, task, 0)
    assert text == svg(pictures.figure, task, 0)
    assert text != svg(pictures.figure, task, 1)
    root = ElementTree.fromstring(text)
    references = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert all(value.startswith("#") for value in references)
    assert "paths: nodes " in text


@pytest.mark.parametrize("name", ["a\x01b", "a\nb", "a\ud800b", "<b>$\\frac{"])
def test_the_picture_can_be_read_whatever_the_name(name: str) -> None:
    root = ElementTree.fromstring(svg(pictures.figure, dataclasses.replace(tiny.path_task(), name=name)))
    shown = "".join(root.itertext())
    assert (name if name.isprintable() else "a b") + ": nodes coloured" in shown


@pytest.mark.filterwarnings("error")
def test_targets_that_are_all_missing_are_no_shades() -> None:
    task = tiny.path_task(level="node")
    targets = np.random.default_rng(0).normal(size=(len(task.labels), 2))
    targets[:, 0] = np.nan
    task = dataclasses.replace(task, loss="mse", metric="mae", labels=targets, num_outputs=2)
    ElementTree.fromstring(svg(pictures.figure, task))


def test_the_program_prints_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    nodes = "".join(f"{n},{'ab'[n % 2]},{n}\n" for n in range(20))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "nodes.csv").write_text(f"id,label,[x]\n{nodes}20,c,5\n")
    (tmp_path / "mine" / "edges.csv").write_text("source,target\n0,1\n1,0\n2,2\n3,4\n")
    assert tiny.run("describe", "task=custom", "task.path=mine") == 0
    text = " ".join(capsys.readouterr().out.split())
    for said in (
        "mine: node task, loss cross_entropy, metric accuracy",
        " edges 2, undirected ",
        " isolated nodes 17 ",
        " homophily 0.000 ",
        " 0 'a' 10 47.6% ",
        "Read as tables: edges.csv, nodes.csv.",
        "Features: [x] (numbers, z-scored).",
        "Self-loops were dropped; nodes that had one: 1.",
        "Warning: One example only: class 'c'; it can be in one part of the split.",
    ):
        assert said in text, said
    assert tiny.run("describe", "task=custom", "task.path=mine", "task.name='a[/b]'", "picture=false") == 0
    assert "a[/b]: node task, loss cross_entropy" in " ".join(capsys.readouterr().out.split())
    picture = tmp_path / "runs" / "mine" / "describe" / "graphs.svg"
    assert picture.read_text().startswith("<?xml")
    picture.unlink()
    assert tiny.run("describe", "task=custom", "task.path=mine", "picture=false") == 0
    assert not picture.exists()


def test_a_search_says_what_it_read_and_what_may_be_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("atjax.search.loop.fit", tiny.made_up)
    monkeypatch.setattr("atjax.search.run.write_html", tiny.no_page)
    assert tiny.run("search", *tiny.SMALL, "search.prior=uniform", "search.trials=1") == 0
    assert "The first 40 of 1797 images; nodes are the pixels with ink." in " ".join(capsys.readouterr().out.split())


def test_the_constant_answer_is_told_by_training_labels() -> None:
    """The most frequent class there, whatever the test part has more of; the median; ties of a ranking."""
    graphs = load_task("digits_knn").graphs
    count = graphs.nodes.shape[0]
    ids = np.arange(count)
    split = Split(ids[:60], ids[60:80], ids[80:100])
    labels = np.full(count, -1, np.int32)
    labels[:100] = [0] * 40 + [1] * 40 + [2] * 5 + [0] * 10 + [1] * 5
    made = {metric: Task("t", "node", "cross_entropy", metric, graphs, labels, 3) for metric in ("accuracy", "roc_auc")}
    assert constant_score(made["accuracy"], split) == 0.5
    assert constant_score(made["roc_auc"], split) == 0.5
    targets = np.full((count, 1), np.nan, np.float32)
    targets[:100, 0] = [1] * 31 + [5] * 29 + [2] * 40
    assert constant_score(Task("t", "node", "mse", "mae", graphs, targets, 1), split) == 1.0
    mean = (31 + 29 * 5) / 60
    found = constant_score(Task("t", "node", "mse", "rmse", graphs, targets, 1), split)
    assert found == pytest.approx(mean - 2, rel=1e-5)
    bits = np.zeros((count, 2), np.float32)
    bits[:, 0] = ids % 4 > 0
    assert constant_score(Task("t", "node", "binary_cross_entropy", "accuracy", graphs, bits, 2), split) == 0.875


def test_binary_counts_are_those_of_the_labels_that_are_there() -> None:
    graphs = tiny.path_task(count=7, level="node").graphs
    split = Split(np.array([0, 1, 2]), np.array([3, 4]), np.array([5, 6]))
    classes = Task("t", "node", "cross_entropy", "accuracy", graphs, np.array([0, 1, 1, 0, 0, 1, 0]), 2)
    counts = {"train": [1, 2], "validation": [2, 0], "test": [1, 1]}
    assert binary_counts(classes, split) == counts
    label = np.array([[0, 1, np.nan, 0, 0, 1, np.nan]]).T
    one = Task("t", "node", "binary_cross_entropy", "roc_auc", graphs, label, 1)
    assert binary_counts(one, split) == counts | {"train": [1, 1], "test": [0, 1]}
    assert binary_counts(Task("t", "node", "cross_entropy", "accuracy", graphs, np.arange(7) % 3, 3), split) is None
    assert binary_counts(Task("t", "node", "mse", "rmse", graphs, label, 1), split) is None
    two = Task("t", "node", "binary_cross_entropy", "roc_auc", graphs, np.hstack([label, label]), 2)
    assert binary_counts(two, split) is None
