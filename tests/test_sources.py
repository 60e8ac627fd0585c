"""Every task by name: counts against published ones, and the built-in tasks against brute force."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits

from atjax.config import load_task
from atjax.errors import UserError
from atjax.sources.edges import drop_self_loops
from atjax.task import Task

# Graphs, nodes, undirected edges, features, and graphs or nodes of each class, as the data's README counts them.
PUBLISHED: dict[str, tuple[int, int, int, int, list[int]]] = {
    "bzr": (405, 14_479, 15_535, 10, [319, 86]),
    "cox2": (467, 19_252, 20_289, 8, [365, 102]),
    "dd": (1_178, 334_925, 843_046, 82, [691, 487]),
    "enzymes": (600, 19_580, 37_282, 3, [100] * 6),
    "imdb_multi": (1_500, 19_502, 98_903, 65, [500] * 3),
    "mutag": (188, 3_371, 3_721, 7, [63, 125]),
    "proteins": (1_113, 43_471, 81_044, 3, [663, 450]),
    "nci1": (4_110, 122_747, 132_753, 37, [2053, 2057]),
    "aids": (2_000, 31_385, 32_390, 38, [400, 1600]),
    "ptc_mr": (344, 4_915, 5_054, 18, [192, 152]),
    "imdb_binary": (1_000, 19_773, 96_531, 65, [500, 500]),
    "mutagenicity": (4_337, 131_488, 133_447, 14, [2401, 1936]),
    "cora": (1, 2_708, 5_278, 1_433, [351, 217, 418, 818, 426, 298, 180]),
    "citeseer": (1, 3_327, 4_552, 3_703, [249, 590, 668, 701, 596, 508]),
    "amazon_computers": (1, 13_752, 245_861, 767, [436, 2142, 1414, 542, 5158, 308, 487, 818, 2156, 291]),
    "amazon_photo": (1, 7_650, 119_081, 745, [369, 1686, 703, 915, 882, 823, 1941, 331]),
    "coauthor_cs": (
        *(1, 18_333, 81_894, 6_805),
        [708, 462, 2050, 429, 1394, 2193, 371, 924, 775, 118, 1444, 2033, 420, 4136, 876],
    ),
    "coauthor_physics": (1, 34_493, 247_962, 8_415, [5750, 5045, 17426, 2753, 3519]),
    "actor": (1, 7_600, 26_659, 932, [853, 1337, 1630, 1815, 1965]),
    "chameleon": (1, 2_277, 31_371, 2_325, [456, 460, 453, 521, 387]),
    "chameleon_filtered": (1, 890, 8_854, 2_325, [242, 134, 209, 164, 141]),
    "cornell": (1, 183, 277, 1_703, [38, 16, 30, 82, 17]),
    "minesweeper": (1, 10_000, 39_402, 7, [8000, 2000]),
    "texas": (1, 183, 279, 1_703, [33, 1, 18, 101, 30]),
    "wisconsin": (1, 251, 450, 1_703, [10, 70, 118, 32, 21]),
}
HETEROPHILOUS = ("actor", "chameleon", "chameleon_filtered", "cornell", "minesweeper", "texas", "wisconsin")
CLEANED: dict[str, tuple[int, int, int, int, list[int]]] = {
    "bzr": (276, 10_004, 10_711, 9, [204, 72]),
    "cox2": (237, 9_988, 10_529, 8, [169, 68]),
    "enzymes": (595, 19_327, 36_990, 3, [100, 98, 99, 100, 100, 98]),
    "imdb_multi": (321, 7_175, 40_038, 65, [144, 85, 92]),
    "mutag": (135, 2_545, 2_813, 6, [42, 93]),
    "proteins": (975, 42_323, 79_011, 3, [632, 343]),
    "nci1": (3_785, 112_952, 122_526, 21, [2004, 1781]),
    "aids": (1_110, 20_222, 21_201, 30, [310, 800]),
    "ptc_mr": (235, 4_048, 4_224, 14, [139, 96]),
    "imdb_binary": (493, 11_872, 54_712, 65, [261, 232]),
    "mutagenicity": (3_335, 109_916, 113_909, 10, [1851, 1484]),
}


def counts(task: Task) -> tuple[int, int, int, int, list[int]]:
    graphs = task.graphs
    edges = set(zip(graphs.senders[:2000].tolist(), graphs.receivers[:2000].tolist()))
    assert len(edges) == min(2000, len(graphs.senders))
    assert not np.any(graphs.senders == graphs.receivers)
    classes = np.bincount(task.labels[task.labels >= 0], minlength=task.num_outputs).tolist()
    return len(graphs.n_node), int(graphs.n_node.sum()), len(graphs.senders) // 2, graphs.num_features, classes


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts(data: Path, name: str) -> None:
    task = load_task(name, data_root=data)
    assert counts(task) == PUBLISHED[name]
    assert (task.name, task.level) == (name, "node" if PUBLISHED[name][0] == 1 else "graph")


@pytest.mark.parametrize("name", CLEANED)
def test_counts_of_cleaned_versions(data: Path, name: str) -> None:
    assert counts(load_task(name, data_root=data, cleaned=True)) == CLEANED[name]


def test_counts_of_msrc_9(data: Path) -> None:
    for cleaned in (False, True):
        task = load_task("msrc_9", data_root=data, cleaned=cleaned)
        *sizes, classes = counts(task)
        assert sizes == [221, 8_968, 21_644, 10]
        assert (len(classes), min(classes), max(classes)) == (8, 19, 30)


@pytest.mark.parametrize(("dataset", "same"), [("MUTAG", "mutag"), ("IMDB-BINARY", "imdb_binary"), ("AIDS", "aids")])
def test_any_tu_set_by_its_name(data: Path, dataset: str, same: str) -> None:
    task, named = load_task("tu", data_root=data, dataset=dataset), load_task(same, data_root=data)
    assert task.name == dataset
    assert task.content_hash == named.content_hash
    assert named.notes == tuple(note for note in task.notes if "verified" not in note)
    assert f"The content was not verified: no hash of {dataset} is given." in task.notes
    cleaned = load_task("tu", data_root=data, dataset=dataset, cleaned=True)
    assert cleaned.content_hash == load_task(same, data_root=data, cleaned=True).content_hash


def test_attributes_alone(data: Path) -> None:
    both = load_task("aids", data_root=data, attributes=True)
    alone = load_task("aids", data_root=data, features="attributes")
    np.testing.assert_array_equal(alone.graphs.nodes, both.graphs.nodes[:, 38:])


def test_citeseer_has_nodes_without_label_and_features(data: Path) -> None:
    task = load_task("citeseer", data_root=data)
    absent = np.flatnonzero(task.labels == -1)
    assert len(absent) == 15
    assert task.graphs.nodes[absent].nnz == 0
    assert any(note.endswith("message passing only: 15.") for note in task.notes)
    assert any(note == "Self-loops were dropped; nodes that had one: 124." for note in task.notes)


@pytest.mark.parametrize("name", ["cora", "citeseer"])
def test_planetoid_equals_the_same_set_in_npz(data: Path, name: str) -> None:
    # An independent publication of the same set, with other node numbers: what does not depend on them must agree.
    task = load_task(name, data_root=data)
    other = np.load(data / "npz" / f"{name}.npz", allow_pickle=False)
    features = sparse.csr_matrix((other["attr_data"], other["attr_indices"], other["attr_indptr"]), other["attr_shape"])
    adjacency = sparse.csr_matrix((other["adj_data"], other["adj_indices"], other["adj_indptr"]), other["adj_shape"])
    adjacency = adjacency.maximum(adjacency.T).tolil()
    adjacency.setdiag(0)
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    kept = task.labels >= 0
    graphs = task.graphs
    ours = np.bincount(graphs.receivers, minlength=len(task.labels))[kept]
    words = np.asarray(graphs.nodes.sum(axis=1)).ravel()[kept]
    theirs = np.asarray(features.sum(axis=1)).ravel()
    # Nodes as (class size, words): their multiset; and all degrees but those of the 15 nodes that npz leaves out.
    size_of = np.bincount(task.labels[kept])[task.labels[kept]]
    their_size_of = np.bincount(other["labels"])[other["labels"]]
    assert sorted(zip(size_of, words)) == sorted(zip(their_size_of, theirs))
    if name == "cora":
        assert sorted(zip(size_of, words, ours)) == sorted(zip(their_size_of, theirs, degree))


@pytest.mark.parametrize(("dataset", "same"), [("texas", "texas"), ("wisconsin", "wisconsin"), ("film", "actor")])
def test_geom_gcn_equals_the_same_set_in_npz(data: Path, dataset: str, same: str) -> None:
    task, other = load_task("geom_gcn", data_root=data, dataset=dataset), load_task(same, data_root=data)
    assert counts(task) == PUBLISHED[same]
    assert (task.name, task.level) == (f"geom_gcn_{dataset}", "node")
    # By content they are one task, so that neither is offered the records of the other.
    assert task.content_hash == other.content_hash
    loops = {"texas": 16, "wisconsin": 16, "film": 93}[dataset]
    assert task.notes[-1] == f"Self-loops were dropped; nodes that had one: {loops}."
    unverified = load_task("geom_gcn", data_root=data, dataset=dataset, content=None)
    assert unverified.notes[-1] == f"The content was not verified: no hash of {dataset} is known."


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("cornell", "geom_gcn_cornell: cornell cannot be used: its published features and labels are those of texas"),
        ("../geom-gcn/texas", "dataset='../geom-gcn/texas' is no name of a set"),
        ("..", "is no name of a set"),
        (None, "dataset=None is no name of a set"),
    ],
)
def test_geom_gcn_sets_that_cannot_be(data: Path, dataset: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_task("geom_gcn", data_root=data, dataset=dataset)


def test_a_set_with_another_hash_is_refused(data: Path) -> None:
    with pytest.raises(UserError, match="not the expected 000000000000"):
        load_task("geom_gcn", data_root=data, dataset="texas", content={"texas": "0" * 64})


@pytest.mark.parametrize("name", HETEROPHILOUS)
def test_own_splits_of_heterophilous_sets(data: Path, name: str) -> None:
    published = np.load(data / "heterophilous" / f"{name}.npz", allow_pickle=False)
    random = load_task(name, data_root=data)
    assert random.fixed_split is None
    for number in (0, 9):
        task = load_task(name, data_root=data, split=number)
        split = task.split(seed=number + 5)
        for part, key in ((split.train, "train"), (split.validation, "val"), (split.test, "test")):
            np.testing.assert_array_equal(
                np.isin(np.arange(task.num_examples), part), published[f"{key}_masks"][number]
            )
        assert task.notes[-1] == f"Split: number {number} of the set's own 10."
        # The same examples: a task's own records are told by this, whatever the split they were made with.
        assert task.content_hash == random.content_hash
    assert random.metric == ("roc_auc" if name == "minesweeper" else "accuracy")


def test_a_class_of_one_node_is_split_like_any_other(data: Path) -> None:
    task = load_task("texas", data_root=data)
    lone = np.flatnonzero(task.labels == 1)
    assert len(lone) == 1
    parts = [[lone[0] in part for part in dataclasses.astuple(task.split(seed))] for seed in range(40)]
    assert {sum(found) for found in parts} == {1}
    assert all(any(column) for column in zip(*parts))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": 10}, "texas: split=10 is unknown; give random, or a number from 0 to 9"),
        ({"split": True}, "split=True is unknown"),
        ({"split": "own"}, "split='own' is unknown"),
        ({"metric": "mae"}, "texas: metric='mae' is unknown; choose from accuracy, roc_auc"),
    ],
)
def test_splits_and_metrics_that_do_not_exist(data: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_task("texas", data_root=data, **options)


def test_features_of_tu_sets(data: Path) -> None:
    cox2 = load_task("cox2", data_root=data)
    assert np.all(cox2.graphs.nodes.sum(axis=1) == 1)
    both = load_task("cox2", data_root=data, attributes=True)
    assert both.graphs.num_features == 8 + 3
    np.testing.assert_array_equal(both.graphs.nodes[:, :8], cox2.graphs.nodes)
    np.testing.assert_allclose(both.graphs.nodes[:, 8:].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(both.graphs.nodes[:, 8:].std(axis=0), 1, rtol=1e-5)
    assert any("3 node attributes, z-scored" in note for note in both.notes)
    assert both.content_hash != cox2.content_hash
    constant = load_task("imdb_multi", data_root=data, features="constant")
    np.testing.assert_array_equal(constant.graphs.nodes, np.ones((19_502, 1)))
    imdb = load_task("imdb_multi", data_root=data)
    degree = np.bincount(imdb.graphs.receivers, minlength=19_502)
    assert degree.max() > 64
    np.testing.assert_array_equal(imdb.graphs.nodes.argmax(axis=1), np.minimum(degree, 64))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("imdb_multi", {"features": "labels"}, "the set has no node labels; take features=degree or features=constant"),
        ("imdb_multi", {"attributes": True}, "the set has no node attributes; take attributes=false"),
        (
            "mutag",
            {"features": "spectral"},
            "features='spectral' is unknown; choose from auto, labels, attributes, degree, constant",
        ),
    ],
)
def test_features_that_do_not_exist(data: Path, name: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_task(name, data_root=data, **options)


def test_digits_are_graphs_of_ink() -> None:
    task = load_task("digits", count=20)
    images, labels = load_digits(return_X_y=True)
    np.testing.assert_array_equal(task.labels, labels[:20])
    for index in range(20):
        graph = task.graphs.take(np.array([index]))
        ink = images[index].reshape(8, 8)
        pixels = [(r, c) for r in range(8) for c in range(8) if ink[r, c] > 0]
        expected = [(ink[r, c] / 16, r / 7, c / 7) for r, c in pixels]
        np.testing.assert_allclose(graph.nodes, expected, rtol=1e-6)
        edges = {
            (a, b)
            for a, (r, c) in enumerate(pixels)
            for b, (s, d) in enumerate(pixels)
            if a != b and abs(r - s) <= 1 and abs(c - d) <= 1
        }
        assert set(zip(graph.senders.tolist(), graph.receivers.tolist())) == edges


def test_digits_knn_joins_nearest_neighbours() -> None:
    task = load_task("digits_knn", neighbours=4)
    features = np.asarray(task.graphs.nodes, np.float64)
    np.testing.assert_allclose(features.std(axis=0), 1, rtol=1e-4)
    squares = (features**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * features @ features.T
    np.fill_diagonal(distances, np.inf)
    adjacency = np.zeros(distances.shape, bool)
    np.put_along_axis(adjacency, np.argsort(distances, axis=1)[:, :4], True, axis=1)
    found = np.zeros_like(adjacency)
    found[task.graphs.receivers, task.graphs.senders] = True
    np.testing.assert_array_equal(found, adjacency | adjacency.T)


def test_drop_self_loops() -> None:
    senders, receivers, notes = drop_self_loops(np.array([0, 1, 1, 2, 1]), np.array([1, 1, 2, 2, 1]))
    assert (senders.tolist(), receivers.tolist()) == ([0, 1], [1, 2])
    assert notes == ("Self-loops were dropped; nodes that had one: 2.",)
    assert drop_self_loops(senders, receivers)[2] == ()


def test_tasks_are_values(data: Path) -> None:
    task, again = (load_task("mutag", data_root=data) for _ in range(2))
    assert task.content_hash == again.content_hash
    assert dataclasses.replace(task, name="other").content_hash == task.content_hash
