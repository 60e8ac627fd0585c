"""Sets in the CSV layout of the Open Graph Benchmark, whole and broken, written here as they are published."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from published import MOLECULES, PAPERS

from atjax.config import load_task
from atjax.errors import UserError
from atjax.sources import features, ogb
from atjax.sources.text import read_table
from atjax.task import Task


def write(root: Path, name: str, tables: dict[str, str | None]) -> Path:
    path = root / "ogb" / f"{name}.zip"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/", "")
        archive.writestr(f"{name}/RELEASE_v1.txt", "")
        for table, text in tables.items():
            if text is not None:
                archive.writestr(f"{name}/{table}.csv.gz", gzip.compress(text.encode()))
    return path


def molecules(root: Path, changes: dict[str, str | None] | None = None, **options: object) -> Task:
    write(root, "hiv", MOLECULES | (changes or {}))
    return load_task("ogb", data_root=root, dataset="ogbg-molhiv", **options)


def papers(root: Path, changes: dict[str, str | None] | None = None, **options: object) -> Task:
    write(root, "arxiv", PAPERS | (changes or {}))
    return load_task("ogbn_arxiv", data_root=root, **({"counts": None} | options))


def test_molecules(tmp_path: Path) -> None:
    task = molecules(tmp_path)
    assert (task.name, task.level, task.loss, task.metric) == ("ogbg-molhiv", "graph", "cross_entropy", "roc_auc")
    assert task.graphs.n_node.tolist() == [3, 2, 3, 1]
    assert task.graphs.n_edge.tolist() == [4, 2, 6, 0]
    edges = list(zip(task.graphs.senders.tolist(), task.graphs.receivers.tolist()))
    both = {(0, 1), (1, 2), (3, 4), (5, 6), (6, 7), (7, 5)}
    assert set(edges) == both | {(b, a) for a, b in both}
    # One-hot of 5, 6, 8 and of 0, 1.
    assert task.graphs.dense().nodes[:3].tolist() == [[1, 0, 0, 1, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 1]]
    # One-hot of 0, 1, 3, 9 and of 0, 1; an edge that is listed twice has the mean; the self-loop with 9 is dropped.
    bonds = dict(zip(edges, np.asarray(task.graphs.edges).tolist()))
    assert bonds[0, 1] == bonds[1, 0] == [1, 0, 0, 0, 1, 0]
    assert bonds[1, 2] == bonds[2, 1] == [0, 0, 1, 0, 0, 1]
    assert bonds[7, 5] == bonds[5, 7] == [0, 1, 0, 0, 1, 0]
    assert molecules(tmp_path, edges=False).graphs.edges is None
    assert task.labels.tolist() == [1, 0, 1, 0]
    split = task.split(5)
    assert (split.train.tolist(), split.validation.tolist(), split.test.tolist()) == ([1, 2], [3], [0])
    assert task.notes == (
        "Features: one-hot of 2 columns, 5 values in all.",
        "Self-loops were dropped; nodes that had one: 1.",
        "Edge features: one-hot of 2 columns, 6 values in all.",
        "Split: the set's own.",
        "The content was not verified: no hash of ogbg-molhiv is given.",
    )


def test_papers(tmp_path: Path) -> None:
    task = papers(tmp_path)
    assert (task.name, task.level, task.metric, task.num_outputs) == ("ogbn_arxiv", "node", "accuracy", 3)
    assert task.graphs.n_node.tolist() == [4]
    assert list(zip(task.graphs.senders, task.graphs.receivers)) == [(1, 0), (3, 0), (0, 1), (3, 2), (0, 3), (2, 3)]
    np.testing.assert_allclose(task.graphs.dense().nodes, [[0.5, 1], [-0.25, 2], [1e-3, 3], [0, 4]])
    assert task.labels.tolist() == [2, 0, 1, 2]
    assert task.fixed_split is None
    split = papers(tmp_path, split="own").split(3)
    assert (split.train.tolist(), split.validation.tolist(), split.test.tolist()) == ([0, 2], [1], [3])
    assert papers(tmp_path, split="time").fixed_split is not None


def test_published_counts_are_compared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ogbn_arxiv: the content has 4 nodes, not the expected 169,343 \(counts=null"):
        papers(tmp_path, counts={"nodes": 169343})
    right = {"graphs": 1, "nodes": 4, "edges": 3, "features": 2, "classes": 3}
    assert papers(tmp_path, counts=right).num_examples == 4
    for key, value in right.items():
        with pytest.raises(UserError, match=f"has {value} {key}, not the expected {value + 1}"):
            papers(tmp_path, counts=right | {key: value + 1})
    with pytest.raises(UserError, match=r"counts\.words is not among graphs, nodes, edges, features, classes"):
        papers(tmp_path, counts={"words": 1})


def test_several_targets_some_missing(tmp_path: Path) -> None:
    labels = "1,,0.5\n0,1.0,2\n,0.0,1\n1,nan,0\n"
    split: dict[str, str | None] = {"split/scaffold/train": "1\n0\n", "split/scaffold/valid": "2\n"}
    split |= {"split/scaffold/test": "3\n", "raw/graph-label": labels}
    with pytest.raises(UserError, match="target=None is no column of the labels, of which there are 3; give a whole"):
        molecules(tmp_path, split)
    with pytest.raises(UserError, match="target=3 is no column"):
        molecules(tmp_path, split, target=3)
    task = molecules(tmp_path, split, target=1, split="random")
    assert task.labels.tolist() == [-1, 1, 0, -1]
    with pytest.raises(UserError, match="a part of split=scaffold has no example with a label"):
        molecules(tmp_path, split, target=1)
    numbers = molecules(tmp_path, split, target=2)
    assert (numbers.loss, numbers.metric) == ("mse", "mae")
    assert numbers.labels.tolist() == [[0.5], [2], [1], [0]]
    with pytest.raises(UserError, match="example 2 has no label; take another target"):
        molecules(tmp_path, split, target=0, loss="mse")
    with pytest.raises(UserError, match="the labels are no classes counted from 0; take loss=mse"):
        molecules(tmp_path, split, target=2, loss="cross_entropy")


def test_features(tmp_path: Path) -> None:
    given = molecules(tmp_path, features="given")
    assert given.graphs.dense().nodes[:3].tolist() == [[5, 0], [6, 0], [5, 1]]
    bare = molecules(tmp_path, {"raw/node-feat": None})
    assert bare.graphs.dense().nodes.argmax(axis=1).tolist() == [1, 2, 1, 1, 1, 2, 2, 2, 0]
    with pytest.raises(UserError, match="the set has no node features; take features=degree"):
        molecules(tmp_path, {"raw/node-feat": None}, features="given")


def test_a_one_hot_that_would_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "ONE_HOT_LIMIT", 4 * 9 * 5)
    assert molecules(tmp_path).graphs.num_features == 5
    monkeypatch.setattr(features, "ONE_HOT_LIMIT", 4 * 9 * 5 - 1)
    with pytest.raises(UserError, match="ogbg-molhiv: 5 different values are too many for a one-hot of 9 nodes; take"):
        molecules(tmp_path)


def test_the_content_hash_sees_everything(tmp_path: Path) -> None:
    def hash_of(changes: dict[str, str | None]) -> str:
        tables = {f"{key}.csv": text.encode() for key, text in (MOLECULES | changes).items() if text is not None}
        return ogb.parse(tables).content

    same = hash_of({})
    assert hash_of({"raw/edge": "0,1\n2,1\n1,0\n2,0\n1,2\n1,0\n1,1\n", "mapping/mol": ""}) == same
    changes = {
        "raw/edge": "0,1\n1,2\n0,1\n0,1\n1,2\n1,2\n1,1\n",
        "raw/node-feat": MOLECULES["raw/node-feat"].replace("8", "9"),
        "raw/graph-label": "1\n0\n1\n1\n",
        "split/scaffold/train": "2\n",
    }
    hashes = {hash_of({key: text}) for key, text in changes.items()}
    assert len(hashes | {same}) == 1 + len(changes)


@pytest.mark.parametrize(
    ("dataset", "file", "url"),
    [
        ("ogbn-arxiv", "arxiv", "nodeproppred/arxiv.zip"),
        ("ogbg-molhiv", "hiv", "graphproppred/csv_mol_download/hiv.zip"),
        ("ogbg-mollipo", "lipophilicity", "graphproppred/csv_mol_download/lipophilicity.zip"),
        ("mine", "mine", None),
    ],
)
def test_names_of_archives(dataset: str, file: str, url: str | None) -> None:
    assert ogb.archive(dataset) == (file, [f"{ogb.PUBLISHED}/{url}"] if url else [])


def test_an_archive_without_a_known_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ogb/mine\.zip not found under .*, and no place to download from is known"):
        load_task("ogb", data_root=tmp_path, dataset="mine")


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("raw/edge", None, r"the archive has no member raw/edge\.csv or raw/edge\.csv\.gz"),
        ("raw/graph-label", None, r"no member raw/graph-label\.csv"),
        ("split/scaffold/valid", None, r"no member split/scaffold/valid\.csv"),
        ("raw/edge", "0,1\n1,2\n", "has 4 graphs, raw/num-edge-list 4 with 7 edges, and raw/edge has 2 edges"),
        ("raw/num-edge-list", "2\n1\n4\n", "raw/num-node-list has 4 graphs, raw/num-edge-list 3 with 7 edges"),
        (
            "raw/edge",
            "0,1\n1,2\n0,2\n0,1\n1,2\n2,0\n1,1\n",
            r"raw/edge: line 3 is \(0, 2\), but graph 1 has 2 nodes, counted",
        ),
        ("raw/edge", "0,1\n1,2\n0,-1\n0,1\n1,2\n2,0\n1,1\n", r"raw/edge: line 3 is \(0, -1\)"),
        ("raw/edge", "0,1\n1,x\n", "raw/edge: line 2 does not hold whole numbers: '1,x'"),
        ("raw/num-node-list", "3\n2\n-3\n1\n", "raw/num-node-list holds a negative number, or more than 134,217,728"),
        ("raw/num-node-list", "3\n2\n4000000000000000000\n1\n", "raw/num-node-list holds a negative number, or more"),
        ("raw/num-node-list", "3\n2\n3\n2\n", "raw/node-feat has 9 lines, but there are 10 nodes"),
        ("raw/graph-label", "1\n0\n1\n", "there are 3 labels for 9 nodes in 4 graphs"),
        (
            "raw/graph-label",
            "1\n0\n1\ninf\n",
            "raw/graph-label: line 4 does not hold finite numbers: 'inf'",
        ),
        ("raw/graph-label", "1\n0\n1\n7\n", "labels: number 3 is 7; count classes from 0 without gaps.*take loss=mse"),
        (
            "raw/node-feat",
            "1\n" * 8 + "nan\n",
            "raw/node-feat: line 9 does not hold finite numbers: 'nan'",
        ),
        ("split/scaffold/valid", "4\n", "split/scaffold/valid: line 1 is 4, but ids go from 0 to 3"),
        ("split/scaffold/valid", "2\n", "split/scaffold/valid: an example is named twice, or is in another part too"),
        ("split/scaffold/valid", "3\n3\n", "an example is named twice"),
    ],
)
def test_faults_are_named(tmp_path: Path, table: str, text: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        molecules(tmp_path, {table: text})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "all"}, "features='all' is unknown; choose from auto, given, categories, degree"),
        *(
            ({"loss": loss}, f"loss='{loss}' is unknown; choose from auto, cross_entropy, mse")
            for loss in ("hinge", "binary_cross_entropy")
        ),
        ({"metric": "f1"}, "metric='f1' is unknown; choose from auto, accuracy, roc_auc, average_precision, mae, rmse"),
        ({"split": "time"}, "split='time' is unknown; choose from random, scaffold"),
        ({"target": True}, "target=True is no column"),
    ],
)
def test_values_that_do_not_exist(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        molecules(tmp_path, **options)


def test_two_splits_must_be_told_apart(tmp_path: Path) -> None:
    more: dict[str, str | None] = {f"split/random_/{part}": f"{n}\n" for n, part in enumerate(ogb.PARTS)}
    with pytest.raises(UserError, match="split='own' is unknown; choose from random, random_, scaffold"):
        molecules(tmp_path, more)
    assert molecules(tmp_path, more, split="random_").split(0).test.tolist() == [2]


def test_missing_numbers_are_read() -> None:
    for content in (b"1,,2\nnan, 3,4\n", b"1,,2\nNaN, 3,4\n \n"):
        table = read_table(content, "x", np.float64, 3, missing=True)
        np.testing.assert_array_equal(table, [[1, np.nan, 2], [np.nan, 3, 4]])
    np.testing.assert_array_equal(read_table(b'1\n""\n', "x", np.float64, 1, missing=True), [[1], [np.nan]])
    buffer = io.BytesIO(b"1\n-inf\n")
    with pytest.raises(UserError, match="x: line 2 does not hold finite numbers"):
        read_table(buffer.read(), "x", np.float64, 1, missing=True)
