"""Graphs, splits, hashes and checks against brute force."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from atjax.errors import UserError
from atjax.task import METRICS, Graphs, Loss, Split, Task, ragged_ranges

seeds = st.integers(0, 2**32 - 1)


def random_graphs(seed: int, *, undirected: bool = True) -> tuple[Graphs, list[set[tuple[int, int]]]]:
    """Random graphs, and the edges of each as a set of local (sender, receiver) pairs."""
    rng = np.random.default_rng(seed)
    n_node = rng.integers(0, 6, rng.integers(1, 6))
    start = np.cumsum(n_node) - n_node
    senders, receivers, expected = [], [], []
    for first, size in zip(start, n_node):
        edges = rng.integers(0, size, (rng.integers(0, 12) if size else 0, 2))
        senders.append(first + edges[:, 0])
        receivers.append(first + edges[:, 1])
        pairs = {(int(a), int(b)) for a, b in edges}
        expected.append(pairs | {(b, a) for a, b in pairs} if undirected else pairs)
    order = rng.permutation(sum(map(len, senders)))
    nodes = rng.normal(size=(n_node.sum(), 3))
    graphs = Graphs.from_edges(
        nodes, np.concatenate(senders)[order], np.concatenate(receivers)[order], n_node, undirected=undirected
    )
    return graphs, expected


def local_edges(graphs: Graphs, index: int) -> list[tuple[int, int]]:
    edges = slice(graphs.edge_start[index], graphs.edge_start[index + 1])
    first = graphs.node_start[index]
    return list(zip((graphs.senders[edges] - first).tolist(), (graphs.receivers[edges] - first).tolist()))


def graph_task(labels: np.ndarray) -> Task:
    """A task of graphs of one node each."""
    count = len(labels)
    none = np.zeros(0, int)
    graphs = Graphs.from_edges(np.ones((count, 1)), none, none, np.ones(count, int))
    return Task("t", "graph", "cross_entropy", "accuracy", graphs, np.asarray(labels, np.int32), int(max(labels)) + 1)


def node_task(graphs: Graphs, labels: np.ndarray) -> Task:
    return Task("t", "node", "cross_entropy", "accuracy", graphs, np.asarray(labels, np.int32), 3)


@given(seeds, st.booleans())
def test_from_edges_holds_each_edge_once_in_order(seed: int, undirected: bool) -> None:
    graphs, expected = random_graphs(seed, undirected=undirected)
    for index, pairs in enumerate(expected):
        assert local_edges(graphs, index) == sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    assert graphs.edge_start[-1] == len(graphs.senders) == len(graphs.receivers)
    assert {graphs.senders.dtype, graphs.receivers.dtype, graphs.n_edge.dtype} == {np.dtype(np.int32)}
    assert graphs.nodes.dtype == np.float32


@given(seeds)
def test_take_gives_the_same_graphs_in_the_order_asked(seed: int) -> None:
    graphs, expected = random_graphs(seed)
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, len(expected), rng.integers(0, 8))
    taken = graphs.take(ids)
    assert len(taken.n_node) == len(ids)
    for new, old in enumerate(ids):
        assert local_edges(taken, new) == local_edges(graphs, old)
        np.testing.assert_array_equal(
            taken.nodes[taken.node_start[new] : taken.node_start[new + 1]],
            graphs.nodes[graphs.node_start[old] : graphs.node_start[old + 1]],
        )


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5))))
def test_ragged_ranges(pieces: list[tuple[int, int]]) -> None:
    starts, lengths = [start for start, _ in pieces], [length for _, length in pieces]
    expected = [i for start, length in pieces for i in range(start, start + length)]
    assert ragged_ranges(np.array(starts, int), np.array(lengths, int)).tolist() == expected


def test_from_edges_leaves_the_callers_matrix_alone() -> None:
    matrix = sparse.csr_matrix((np.ones(2, np.float32), np.array([1, 0]), np.array([0, 2])), shape=(1, 2))
    graphs = Graphs.from_edges(matrix, np.zeros(0, int), np.zeros(0, int), np.array([1]))
    assert matrix.indices.tolist() == [1, 0]
    assert graphs.nodes.indices.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("rows", "senders", "receivers", "message"),
    [
        (3, [0], [1], "3 rows of node features but 4 nodes"),
        (4, [0], [4], "names node 4, but nodes are numbered 0 to 3"),
        (4, [-1], [0], "names node -1"),
        (4, [0, 1], [1, 2], "Edge 1 joins nodes of two different graphs"),
    ],
)
def test_from_edges_names_the_fault(rows: int, senders: list[int], receivers: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Graphs.from_edges(np.ones((rows, 1)), np.array(senders), np.array(receivers), np.array([2, 2]))


ENDS = np.array([0, 1, 2]), np.array([1, 2, 3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"senders": ENDS[0] + 0.5}, "senders is of type float64; give whole numbers"),
        (
            {"receivers": ENDS[1][:2]},
            r"Senders are of shape \[3\], receivers of \[2\]; give one of each",
        ),
        ({"n_node": np.array([5, -1])}, "n_node must hold the number of nodes of each graph, 0 or more"),
        ({"n_node": np.array([4.0])}, "n_node is of type float64; give whole numbers"),
        ({"nodes": np.ones(4)}, r"Node features are of shape \[4\] and type float64; give numbers, \[V, D\]"),
        ({"nodes": np.full((4, 1), "a")}, "Node features are of shape .* and type <U1; give numbers"),
        ({"nodes": np.ma.masked_equal([[1, 2], [3, 4], [5, 6], [7, 8]], 3)}, "nodes has masked entries"),
        ({"edges": np.ones((6, 2))}, r"edges has the shape \(6, 2\), but there are 3 edges; give a row for each edge"),
        ({"weights": np.ones(2)}, r"weights has the shape \(2,\), but there are 3 edges"),
    ],
)
def test_from_edges_refuses_what_does_not_fit(change: dict[str, Any], message: str) -> None:
    sound = {"nodes": np.ones((4, 1)), "senders": ENDS[0], "receivers": ENDS[1], "n_node": np.array([4])}
    with pytest.raises(UserError, match=message):
        Graphs.from_edges(**sound | change)


def test_from_edges_takes_lists() -> None:
    given = Graphs.from_edges([[1.0], [2.0]], [0], [1], [2], edges=[[3.0]], weights=[0.5])  # type: ignore[arg-type]
    assert (given.nodes.tolist(), given.edges.tolist(), given.weights.tolist()) == ([[1], [2]], [[3]] * 2, [0.5] * 2)


@given(st.lists(st.integers(0, 5), min_size=10, max_size=200), st.integers(0, 1000))
def test_graph_split_is_stratified(classes: list[int], seed: int) -> None:
    labels = np.array([*classes, 0, 1])
    split = graph_task(labels).split(seed)
    parts = (split.train, split.validation, split.test)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for ids, share in zip(parts, (0.8, 0.1, 0.1)):
        assert np.all(np.diff(ids) > 0)
        assert abs(len(ids) - share * len(labels)) < 1
        for label in np.unique(labels):
            assert abs(np.sum(labels[ids] == label) - share * np.sum(labels == label)) < 1


def test_graph_split_of_balanced_classes_that_follow_each_other() -> None:
    # Spacing within the row must not beat with the order of classes: six classes, as in ENZYMES.
    labels = np.arange(600) % 6
    split = graph_task(labels).split(0)
    assert np.bincount(labels[split.validation]).tolist() == [10] * 6
    assert np.bincount(labels[split.test]).tolist() == [10] * 6


@given(st.integers(4, 200), st.integers(0, 1000))
def test_node_split_is_of_labelled_nodes(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1, 0, 1], rng.integers(-1, 3, count - 4)])
    none = np.zeros(0, int)
    split = node_task(Graphs.from_edges(np.ones((count, 1)), none, none, np.array([count])), labels).split(seed)
    labelled = np.flatnonzero(labels >= 0)
    parts = (split.train, split.validation, split.test)
    assert sorted(np.concatenate(parts).tolist()) == labelled.tolist()
    for ids, share in zip(parts, (0.5, 0.25, 0.25)):
        assert abs(len(ids) - share * len(labelled)) < 1


def test_split_depends_on_the_seed_alone() -> None:
    task = graph_task(np.arange(100) % 2)
    again, other = graph_task(np.arange(100) % 2).split(7), task.split(8)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(task.split(7), part), getattr(again, part))
        assert not np.array_equal(getattr(task.split(7), part), getattr(other, part))


def test_every_example_is_tested_equally_often() -> None:
    # 13 and 17 graphs a class: what is left over after whole tens must not always fall to the same part.
    task = graph_task(np.repeat([0, 1], [13, 17]))
    counts = sum(np.bincount(task.split(seed).test, minlength=30) for seed in range(3000))
    # Binomial(3000, 0.1): mean 300, standard deviation 16.4.
    assert np.all(np.abs(counts - 300) < 5 * 16.4)


def test_fixed_split_is_used() -> None:
    fixed = Split(np.array([0]), np.array([1]), np.array([2]))
    task = dataclasses.replace(graph_task(np.array([0, 1, 0])), fixed_split=fixed)
    assert task.split(0) is fixed
    assert task.split(1) is fixed


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (([0, 1], [1, 2], [3]), "t: node 1 is in two parts of the split, train and validation; leave it in one"),
        (([0, 1], [2], [3, 6]), "t: The part test of the split names node 6, but they are numbered 0 to 5"),
        (([0, 1], [-1], [3]), "t: The part validation of the split names node -1, but they are numbered 0 to 5"),
        (([0, 1], [2], [3, 4]), "t: node 4 is for test but has no label; give one, or take it out"),
        (([0, 1], [], [3]), "t: The split has nothing for validation; name some nodes for it, or give no split at all"),
        (([0.5, 1], [2], [3]), "t: The part train of the split is of type float64; give whole numbers"),
        (
            ([1, 0], [2], [3]),
            "t: give the train part of fixed_split as the numbers of its examples, in ascending order",
        ),
        (([0, 1], [2, 2], [3]), "t: give the validation part of fixed_split as the numbers of its examples"),
        (([True] * 2 + [False] * 4, [2], [3]), "t: give the train part of fixed_split as the numbers of its examples"),
        ((None, [2], [3]), r"t: The part train of the split has the shape \(\); give one list of node numbers"),
    ],
)
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_a_fixed_split_is_checked(parts: tuple[Any, ...], message: str, loss: Loss) -> None:
    none = np.zeros(0, int)
    graphs = Graphs.from_edges(np.eye(6), none, none, np.array([6]))
    labels = np.array([0, 1, 0, 1, -1, 0], np.int32) if loss == "cross_entropy" else np.array([1, 2, 3, 4, np.nan, 5])
    task = Task("t", "node", loss, METRICS[loss][0], graphs, labels, 2 if loss == "cross_entropy" else 1)
    with pytest.raises(UserError, match=message) as caught:
        dataclasses.replace(task, fixed_split=Split(*map(np.array, parts)))
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("seed", [-1, 0.5, "a", None])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(UserError, match=r"seed=.* is no seed; give a whole number, 0 or more"):
        node_task(square(np.ones((4, 1))), np.array([0, 1, 2, 0])).split(seed)


def test_too_few_examples_to_split() -> None:
    with pytest.raises(UserError, match="2 labelled graphs are too few to split; give 10 or more"):
        graph_task(np.array([0, 1])).split(0)


def square(nodes: np.ndarray | sparse.csr_matrix, *, extra: int = 0, chord: bool = False) -> Graphs:
    """A cycle of four nodes, with edges listed in an order, and as often, as ``extra`` says."""
    rng = np.random.default_rng(extra)
    ends = np.array([(0, 1), (1, 2), (2, 3), (3, 0)] + [(0, 2)] * chord)
    ends = ends[np.concatenate([np.arange(len(ends)), rng.integers(0, len(ends), extra)])]
    ends = rng.permutation(ends)
    ends = np.where(rng.random(len(ends))[:, None] < 0.5, ends, ends[:, ::-1])
    return Graphs.from_edges(nodes, ends[:, 0], ends[:, 1], np.array([4]))


def test_tasks_are_compared_by_identity() -> None:
    """Their arrays have no truth value; what they hold is compared by `content_hash`."""
    task, same = (graph_task(np.array([0, 1] * 10)) for _ in range(2))
    assert task.content_hash == same.content_hash
    assert task != same
    assert task in [same, task]
    assert len({task, same, task.graphs, same.graphs, task.split(0), same.split(0)}) == 6


def test_content_hash_ignores_what_does_not_matter() -> None:
    nodes, labels = np.array([[1.0, 0], [0, 2], [0, 0], [0, -0.0]]), np.array([0, 1, 2, -1])
    task = node_task(square(nodes), labels)
    same = [node_task(square(nodes, extra=extra), labels) for extra in range(1, 6)]
    same.append(node_task(square(sparse.csr_matrix(nodes)), labels))
    same.append(node_task(dataclasses.replace(square(nodes), nodes=sparse.csr_matrix(nodes[:, ::-1])[:, ::-1]), labels))
    stored_zero = sparse.csr_matrix(nodes + [[0, 5]] * np.eye(4)[:, :1])
    stored_zero.data[stored_zero.data == 5] = 0
    same.append(node_task(dataclasses.replace(square(nodes), nodes=stored_zero), labels))
    same.append(dataclasses.replace(task, name="u", notes=("other",)))
    assert {other.content_hash for other in same} == {task.content_hash}


def test_content_hash_sees_everything_else() -> None:
    nodes, labels = np.array([[1.0, 0], [0, 2], [0, 0], [0, 0]]), np.array([0, 1, 2, -1])
    task = node_task(square(nodes), labels)
    two = Graphs.from_edges(nodes, np.array([0]), np.array([1]), np.array([2, 2]))
    moved = Graphs.from_edges(nodes, np.array([0]), np.array([1]), np.array([3, 1]))
    values = {"loss": "mse", "num_outputs": 1, "labels": np.array([0.0, 1, 1, np.nan])}
    two_labels = np.array([[0.0, 1], [1, 0], [1, 1], [np.nan, 0]])
    ring = [[0, 1], [1, 2], [2, 3], [3, 0]]
    changed = [
        task,
        node_task(square(nodes, chord=True), labels),
        node_task(square(nodes + np.eye(4, 2)), labels),
        node_task(square(np.hstack([nodes, np.zeros((4, 1))])), labels),
        node_task(square(nodes), np.array([0, 1, 2, 2])),
        node_task(two, labels),
        node_task(moved, labels),
        dataclasses.replace(task, num_outputs=4),
        dataclasses.replace(task, metric="roc_auc"),
        *(dataclasses.replace(task, metric=metric, **values) for metric in ("mae", "rmse")),
        dataclasses.replace(task, metric="mae", **values | {"labels": np.array([0.0, 1, np.nan, np.nan])}),
        dataclasses.replace(task, **values | {"loss": "binary_cross_entropy"}),
        dataclasses.replace(task, **values | {"loss": "binary_cross_entropy", "num_outputs": 2, "labels": two_labels}),
        *(dataclasses.replace(task, level="edge", pairs=np.array(pairs)) for pairs in (ring, [[0, 2], *ring[1:]])),
        dataclasses.replace(task, level="graph", labels=np.array([0, 1], np.int32), graphs=two),
    ]
    assert len({other.content_hash for other in changed}) == len(changed)


def test_missing_labels_are_of_one_form() -> None:
    """-1 or NaN, whatever its bits and type, in a column or flat."""
    odd = np.array([0, 1, 0, 0], np.float32)
    odd.view(np.uint32)[3] = 0xFFC01234
    assert np.isnan(odd[3])
    given = [odd, odd[:, None], odd.astype(np.float64), np.array([0, 1, 0, -1]), np.array([0.0, 1, 0, np.nan])]
    task = node_task(square(np.ones((4, 1))), np.array([0, 1, 2, 0]))
    made = [
        dataclasses.replace(task, loss="binary_cross_entropy", metric="roc_auc", labels=labels, num_outputs=1)
        for labels in given
    ]
    assert len({other.content_hash for other in made}) == 1
    for other in made:
        np.testing.assert_array_equal(other.labels, [[0], [1], [0], [np.nan]])
        assert other.labelled.tolist() == [0, 1, 2]
    assert given[3].tolist() == [0, 1, 0, -1]  # the caller's own


@given(seeds, st.sampled_from(["mse", "binary_cross_entropy"]))
def test_only_labelled_examples_are_split(seed: int, loss: Loss) -> None:
    """Examples of which every label is missing are left out; others are shared out as usual."""
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((40, 2)) < 0.4, np.nan, rng.integers(0, 2, (40, 2)))
    labels[:4] = [[0, 1], [1, 0], [1, np.nan], [0, np.nan]]
    none = np.zeros(0, int)
    graphs = Graphs.from_edges(np.ones((40, 1)), none, none, np.ones(40, int))
    split = Task("t", "graph", loss, METRICS[loss][0], graphs, labels, 2).split(seed)
    labelled = [i for i in range(40) if not np.isnan(labels[i]).all()]
    assert sorted(np.concatenate([split.train, split.validation, split.test]).tolist()) == labelled
    assert abs(len(split.train) - 0.8 * len(labelled)) < 1


@pytest.mark.parametrize("make", [np.array, sparse.csr_matrix])
def test_check_names_the_node_with_nan(make: type) -> None:
    nodes = np.zeros((4, 3))
    nodes[1, 0], nodes[2, 1] = 1.0, np.nan
    with pytest.raises(UserError, match="the features of node 2 hold NaN or infinity"):
        node_task(square(make(nodes)), np.array([0, 1, 2, 0]))


VALUES = {"loss": "mse", "metric": "mae", "num_outputs": 1}
BINARY = {"loss": "binary_cross_entropy", "num_outputs": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": "hyperedge"}, "'hyperedge' is no level; choose from graph, edge, node"),
        ({"loss": "hinge"}, "'hinge' is no loss; choose from cross_entropy, binary_cross_entropy, mse"),
        ({"metric": "mae"}, "'mae' is no metric of the loss 'cross_entropy'; choose from accuracy, roc_auc"),
        ({"level": "edge"}, "give the two nodes of every example of an edge task"),
        ({"level": "edge", "pairs": np.zeros((4, 3), int)}, "give the two nodes of every example"),
        ({"level": "edge", "pairs": np.zeros((4, 2))}, "give the two nodes of every example"),
        ({"level": "edge", "pairs": np.zeros((3, 2), int)}, "4 labels for 3 edges"),
        ({"level": "edge", "pairs": np.array([[0, 1], [3, 4]])}, r"pair 1 is \[3, 4\], but nodes are numbered 0 to 3"),
        ({"pairs": np.zeros((4, 2), int)}, "pairs are for tasks of level edge; the level is 'node'"),
        ({"labels": np.array([0, 1, 2], np.int32)}, "3 labels for 4 nodes"),
        ({"labels": np.array([0, 1, 3, 0], np.int32)}, "example 2 has label 3, out of the range 0 to 2"),
        ({"labels": np.array([0, 1, -2, 0], np.int32)}, "example 2 has label -2"),
        ({"labels": np.array([1, 1, -1, 1], np.int32)}, "all labels are of one class"),
        (VALUES | {"labels": np.zeros((4, 2))}, r"labels are of shape \[4, 2\] for 1 outputs; give a column each"),
        (VALUES | {"labels": np.array([0, 1, np.inf, 0])}, "label 0 of example 2 is inf; give a finite number, or NaN"),
        (VALUES | {"labels": np.full(4, np.nan)}, "all targets are missing"),
        (VALUES | {"labels": np.array([2.5, np.nan, 2.5, 2.5])}, "all targets are equal, so there is nothing to learn"),
        (
            VALUES | {"labels": 1e8 + np.arange(4)},
            r"targets of column 0 vary by 1.118 about 1e\+08, which single precision cannot tell apart; subtract",
        ),
        (
            VALUES | {"labels": 1e-33 * np.arange(4)},
            "targets of column 0 range over 3e-33, which single precision",
        ),
        (VALUES | {"labels": np.array([3e38, 3e38, 3e38, -3e38])}, r"column 0 range over 6e\+38, .* in another unit"),
        (BINARY | {"labels": np.array([0, 1, 0.5, 0])}, "label 0 of example 2 is 0.5; give 0 or 1, or NaN for none"),
        (BINARY | {"labels": np.array([1, 1, np.nan, 1])}, "no label is 0 for some examples and 1 for others"),
        (
            {"labels": np.array([0.0, 1.0, 0.5, 0.0])},
            r"labels are of shape \[4\] and type float64; give the number",
        ),
        ({"labels": np.array([[0], [1], [2], [0]])}, r"labels are of shape \[4, 1\] and type int64"),
        ({"labels": np.array([0, 1, 2**32, 0])}, "example 2 has label 4294967296, out of the range"),
        ({"labels": np.array(["a", "b", "a", "b"])}, "labels are of shape .* and type <U1"),
        ({"labels": None}, r"labels are of shape \[\] and type object; give the number"),
        (VALUES | {"labels": np.array(["a", "b", "a", "b"])}, "labels are of type <U1; give numbers, or NaN for none"),
        (VALUES | {"labels": 1j * np.arange(4)}, "labels is of complex numbers"),
        ({"loss": ["mse"]}, r"\['mse'\] is no loss"),
        ({"num_outputs": 3.0}, "num_outputs is of type float; see atjax.Task"),
        ({"graphs": None}, "graphs is of type NoneType"),
        ({"fixed_split": {"train": [0]}}, "fixed_split is of type dict"),
        ({"graphs": square(np.ones((4, 0)))}, "nodes have no features; give one column or more"),
    ],
)
def test_check_names_the_fault(change: dict, message: str) -> None:
    task = node_task(square(np.ones((4, 1))), np.array([0, 1, 2, 0]))
    with pytest.raises(UserError, match=message):
        dataclasses.replace(task, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"receivers": np.arange(8, dtype=np.int32)[::-1] // 2},
        {"senders": np.full(8, 4, np.int32)},
        {"senders": np.full(8, -1, np.int32)},
        {"senders": np.zeros(7, np.int32)},
        {"n_node": np.array([3], np.int32)},
        {"n_edge": np.array([7], np.int32)},
        {"n_edge": np.array([4, 4], np.int32)},
        {"n_node": np.array([2, 2], np.int32), "n_edge": np.array([4, 4], np.int32)},
        {"n_node": np.array([4, 0], np.int32), "n_edge": np.array([7, 1], np.int32)},
    ],
)
def test_check_refuses_edges_out_of_order(change: dict[str, Any]) -> None:
    """Sums over edges rely on their order, and gathers clip what is outside: both are wrong without a sign."""
    task = node_task(square(np.ones((4, 1))), np.array([0, 1, 2, 0]))
    with pytest.raises(UserError, match=r"the edges are not in the order that Graphs has; make them by Graphs\."):
        dataclasses.replace(task, graphs=dataclasses.replace(task.graphs, **change))


def test_labels_and_pairs_may_be_lists_and_what_is_masked_is_missing() -> None:
    task = Task("t", "node", "cross_entropy", "accuracy", square(np.ones((4, 1))), [0, 1, 2, 0], 3)  # type: ignore[arg-type]
    assert task.labels.dtype == np.int32
    masked = np.ma.array([0, 1, 2, 0], mask=[0, 1, 0, 0])
    assert dataclasses.replace(task, labels=masked).labels.tolist() == [0, -1, 2, 0]
    numbers = dataclasses.replace(task, labels=masked, **VALUES)
    np.testing.assert_array_equal(numbers.labels[:, 0], [0, np.nan, 2, 0])
    pairs = [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert dataclasses.replace(task, level="edge", pairs=pairs).pairs.tolist() == pairs


def test_check_refuses_an_empty_graph() -> None:
    none = np.zeros(0, int)
    graphs = Graphs.from_edges(np.ones((1, 1)), none, none, np.array([1, 0]))
    with pytest.raises(UserError, match="graph 1 has no nodes"):
        Task("t", "graph", "cross_entropy", "accuracy", graphs, np.array([0, 1], np.int32), 2)
