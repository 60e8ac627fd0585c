"""The parsers of the TU, Planetoid and npz formats on small sets written here, whole and broken."""

from __future__ import annotations

import io
import os
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import (
    GEOM_EDGES,
    GEOM_NODES,
    GEOM_SETS,
    TU,
    heterophilous_arrays,
    npz_arrays,
    npz_bytes,
    planetoid_files,
    python2_pickle,
)

from atjax.config import load_task
from atjax.errors import UserError
from atjax.sources import geom_gcn, heterophilous, npz, planetoid, tu
from atjax.sources.arrays import read_array
from atjax.sources.files import read_archive
from atjax.sources.text import read_table
from atjax.task import Task


def test_tu_is_read() -> None:
    parsed = tu.parse(TU, "S")
    graphs, arrays = parsed.graphs, parsed.arrays
    assert list(zip(graphs.senders, graphs.receivers)) == [(1, 0), (0, 1), (2, 1), (1, 2), (4, 3), (3, 4)]
    assert graphs.n_node.tolist() == [3, 2]
    assert arrays["graph_labels"].tolist() == [1, -1]
    assert arrays["node_labels"].tolist() == [7, 7, 9, 9, 2]
    assert arrays["node_attributes"].tolist() == [[1.5, -2], [0.5, 100], [0, 0], [1, 1], [2, 2]]
    assert parsed.notes == ("Self-loops were dropped; nodes that had one: 1.",)


def test_tu_hash_is_of_the_content() -> None:
    def hash_of(**changes: bytes | None) -> str:
        members = {key: value for key, value in (TU | {f"S_{k}.txt": v for k, v in changes.items()}).items() if value}
        return tu.parse(members, "S").content

    same = hash_of()
    assert hash_of(A=b"5,4\n2,1\n3,2\n3,2\n") == same
    assert hash_of(node_attributes=TU["S_node_attributes.txt"].replace(b" ", b"")) == same
    other = [
        hash_of(A=b"1,2\n1,3\n4,5\n"),
        hash_of(graph_indicator=b"1\n1\n1\n1\n2\n", A=b"1,2\n2,3\n"),
        hash_of(graph_labels=b"0\n-1\n"),
        hash_of(node_labels=b"7\n7\n9\n9\n3\n"),
        hash_of(node_attributes=TU["S_node_attributes.txt"].replace(b"1.5", b"1.25")),
        hash_of(node_attributes=None),
        hash_of(node_labels=None),
    ]
    assert len({same, *other}) == 1 + len(other)


def test_tu_sets_with_two_labels_a_node_or_with_attributes_only(tmp_path: Path) -> None:
    def load(**changes: bytes | None) -> Task:
        members = TU | {f"S_{key}.txt": value for key, value in changes.items()}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                if content is not None:
                    archive.writestr(name, content)
        (tmp_path / "tu-original").mkdir(exist_ok=True)
        (tmp_path / "tu-original" / "S.zip").write_bytes(buffer.getvalue())
        return tu.load("S", "S", root=str(tmp_path), features="auto")

    two = load(node_labels=b"7, 0\n7, 1\n9, 0\n9, 2\n2, 0\n").graphs.nodes
    one_hot = [[0, 1, 0, 1, 0, 0], [0, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0], [0, 0, 1, 0, 0, 1], [1, 0, 0, 1, 0, 0]]
    assert two.tolist() == one_hot
    attributes = np.array([[1.5, -2], [0.5, 100], [0, 0], [1, 1], [2, 2]])
    expected = (attributes - attributes.mean(axis=0)) / attributes.std(axis=0)
    np.testing.assert_allclose(load(node_labels=None).graphs.nodes, expected, rtol=1e-6)
    degree = load(node_labels=None, node_attributes=None).graphs.nodes
    assert degree.argmax(axis=1).tolist() == [1, 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("A", None, "the archive has no member S_A.txt"),
        ("graph_labels", None, "no member S_graph_labels.txt"),
        ("graph_indicator", b"\n", "S_graph_indicator.txt is empty"),
        ("graph_indicator", b"1\n2\n1\n2\n2\n", "S_graph_indicator.txt: line 3 goes back to an earlier graph"),
        ("graph_indicator", b"0\n1\n1\n2\n2\n", "names graph 0, but S_graph_labels.txt has 2 graphs"),
        ("graph_indicator", b"1\n1\n1\n2\n3\n", "names graph 3, but S_graph_labels.txt has 2 graphs"),
        ("A", b"1, 2\n2, 6\n", r"S_A.txt: edge number 2 is \(2, 6\), but nodes are numbered 1 to 5"),
        ("A", b"0, 2\n", r"S_A.txt: edge number 1 is \(0, 2\)"),
        ("A", b"3, 4\n", "Edge 0 joins nodes of two different graphs"),
        ("A", b"1, 2\n\n2, x\n", "S_A.txt: line 3 does not hold whole numbers: '2, x'"),
        ("A", b"1, 2\n2\n", "S_A.txt: line 2 has 1 numbers, not 2: '2'"),
        ("A", b"1, 2, 3\n", "S_A.txt: line 1 has 3 numbers, not 2"),
        ("node_labels", b"7\n7\n9\n9\n", "S_node_labels.txt has 4 lines but S_graph_indicator.txt has 5"),
        ("node_labels", b"7\n7\n9.5\n9\n2\n", "S_node_labels.txt: line 3 does not hold whole numbers: '9.5'"),
        ("node_labels", b"7\n7\n99999999999999999999\n9\n2\n", "line 3 does not hold whole numbers"),
        (
            "node_attributes",
            b"1\n1\nnan\n1\n1\n",
            "S_node_attributes.txt: line 3 does not hold finite numbers: 'nan'",
        ),
        ("node_attributes", b"1\n1\n\n1e999\n1\n1\n", "line 4 does not hold finite numbers: '1e999'"),
        ("node_attributes", b"1\n1\n1, 2\n1\n1\n", "S_node_attributes.txt: line 3 has 2 numbers, not 1"),
        ("node_attributes", b"1\n1\n\xff\n1\n1\n", "line 3 does not hold finite numbers"),
    ],
)
def test_tu_faults_are_named(part: str, content: bytes | None, message: str) -> None:
    members = {key: value for key, value in (TU | {f"S_{part}.txt": content}).items() if value is not None}
    with pytest.raises(UserError, match=message):
        tu.parse(members, "S")


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1), st.sampled_from([", ", ",", " ,  "])
)
def test_numbers_are_read_exactly(rows: list[list[float]], separator: str) -> None:
    content = "\n".join(separator.join(map(repr, row)) for row in rows).encode()
    assert read_table(content, "f", np.float64, None).tolist() == rows


def test_planetoid_is_read() -> None:
    parsed = planetoid.parse(planetoid_files())
    graphs = parsed.graphs
    assert graphs.nodes.toarray().tolist() == [[1, 0], [0, 1], [1, 1], [1, 0], [0, 0], [0, 1]]
    assert parsed.arrays["labels"].tolist() == [0, 1, -1, 0, -1, 1]
    assert parsed.arrays["classes"] == 2
    assert list(zip(graphs.senders, graphs.receivers)) == [(1, 0), (5, 0), (0, 1), (3, 2), (2, 3), (0, 5)]
    assert parsed.notes == (
        "Features: a bag of 2 words.",
        "Self-loops were dropped; nodes that had one: 1.",
        "Nodes without a label, which take part in message passing only: 2.",
    )


class Attack:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("attacked",)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (Attack(), r"the pickle asks for (posix|nt)\.mkdir, which is not allowed"),
        (eval, r"asks for (__builtin__|builtins)\.eval, which is not allowed"),
        (np.array([Attack()], object), r"(posix|nt)\.mkdir, which is not allowed|an array of type O8 is not allowed"),
        (np.array([None], object), "an array of type O8 is not allowed"),
        (np.zeros(2, "V8"), "an array of type V8 is not allowed"),
        (np.matrix([[1]]), "asks for numpy.*matrix, which is not allowed"),
    ],
)
def test_pickles_run_no_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, payload: object, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        planetoid.parse(planetoid_files() | {"ally": python2_pickle(payload)})
    assert not list(tmp_path.iterdir())


def test_every_name_in_the_real_pickles_is_allowed(data: Path) -> None:
    named = {
        tuple(argument.split(" "))
        for path in (data / "planetoid").glob("ind.*")
        if path.suffix != ".index"
        for operation, argument, _ in pickletools.genops(path.read_bytes())
        if operation.name == "GLOBAL"
    }
    assert named <= set(planetoid.ALLOWED)


@given(
    st.sampled_from(["<", ">"]), st.sampled_from(["i1", "u2", "i4", "i8", "f4", "f8"]), st.booleans(), st.integers(0, 9)
)
def test_arrays_of_any_layout_are_read(order: str, code: str, fortran: bool, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 100, (3, 4)).astype(order + code)
    array = np.asfortranarray(array) if fortran else array
    np.testing.assert_array_equal(planetoid.unpickle(python2_pickle(array), "x").values("x"), array)


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("allx", b"", "allx: the pickle is damaged"),
        ("graph", planetoid_files()["graph"][:-9], "graph: the pickle is damaged"),
        ("tx", python2_pickle(np.zeros((2, 2), np.float32)), "tx: this is no sparse matrix"),
        ("ty", planetoid_files()["tx"], "ty: this is no matrix of one-hot labels"),
        ("ty", python2_pickle(np.array([[0, 1]])), "the sizes of allx, ally, tx, ty, test.index and graph do not fit"),
        ("test.index", b"5\n6\n", "do not fit together"),
        ("test.index", b"5\n2\n", "do not fit together"),
        ("test.index", b"5\n3\n4\n", "do not fit together"),
        ("test.index", b"5\nthree\n", "test.index: line 2 does not hold whole numbers"),
        ("graph", python2_pickle([1]), "graph: this is no mapping"),
        ("graph", python2_pickle({i: ["a"] for i in range(6)}), "graph: a node is not a whole number"),
        ("graph", python2_pickle({i: [6] for i in range(6)}), "graph: a node is not a whole number, 0 to 5"),
        ("graph", python2_pickle({i: [0.5] for i in range(6)}), "graph: a node is not a whole number"),
        (
            "graph",
            python2_pickle(dict.fromkeys(range(6), [0] * 99)),
            "one list stands for the neighbours of many nodes",
        ),
        ("graph", b"\x80\x02}r\xff\xff\xff\x7f.", "the sizes of allx, ally, tx, ty, test.index and graph do not fit"),
        ("graph", b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.", "graph: the pickle is damaged"),
    ],
)
def test_planetoid_faults_are_named(part: str, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        planetoid.parse(planetoid_files() | {part: content})


def test_npz_is_read() -> None:
    # Names are pickled objects in the files as published; they are not touched.
    parsed = npz.parse(npz_bytes(**npz_arrays(), node_names=np.array(["a", None], object)))
    graphs = parsed.graphs
    assert graphs.nodes.toarray().tolist() == [[0, 1], [2, 0], [0, 0]]
    assert list(zip(graphs.senders, graphs.receivers)) == [(1, 0), (0, 1), (2, 1), (1, 2)]
    assert parsed.arrays["labels"].tolist() == [0, 1, 1]
    assert parsed.notes == ("Features: a bag of 2 words.", "Self-loops were dropped; nodes that had one: 1.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adj_indptr": None}, "the file has no array adj_indptr"),
        ({"labels": None}, "the file has no array labels"),
        ({"labels": np.array([0, None, 1], object)}, "the array labels is of type object, which is not allowed"),
        ({"labels": np.array([0.5, 1, 1])}, "labels are of type float64, not whole numbers"),
        ({"labels": np.array([0, 1])}, "adj is 3 x 3 and attr has 3 rows, but there are 2 labels"),
        ({"adj_indices": np.array([1, 2, 3])}, r"the arrays adj_\* are no CSR matrix"),
        ({"attr_indptr": np.array([0, 1, 2])}, r"the arrays attr_\* are no CSR matrix"),
        ({"adj_indptr": np.array([0, 1, 2, -3])}, r"the arrays adj_\* are no CSR matrix: indptr does not go up from 0"),
        ({"adj_indptr": np.array([0, 2, 1, 3])}, r"the arrays adj_\* are no CSR matrix: indptr does not go up from 0"),
        ({"adj_indices": np.array([1.0, 2, 2])}, r"no CSR matrix: indices and indptr must be whole numbers"),
        ({"attr_shape": np.array(3)}, r"attr claims the shape \(3,\); a matrix has two sizes, of at most 134,217,728"),
        ({"attr_shape": np.array([3, 2**40])}, r"attr claims the shape \(3, 1099511627776\)"),
    ],
)
def test_npz_faults_are_named(changes: dict, message: str) -> None:
    arrays = {key: value for key, value in (npz_arrays() | changes).items() if value is not None}
    with pytest.raises(UserError, match=message):
        npz.parse(npz_bytes(**arrays))


def test_pubmed_is_read_as_planetoid(tmp_path: Path) -> None:
    (tmp_path / "planetoid").mkdir()
    for part, content in planetoid_files().items():
        (tmp_path / "planetoid" / f"ind.pubmed.{part}").write_bytes(content)
    with pytest.raises(UserError, match=r"pubmed: the content has 6 nodes, not the expected 19,717 \(counts=null"):
        load_task("pubmed", data_root=tmp_path)
    task = load_task("pubmed", data_root=tmp_path, counts={"nodes": 6, "edges": 3, "features": 2, "classes": 2})
    assert task.labels.tolist() == [0, 1, -1, 0, -1, 1]


def test_cora_full_is_read_as_the_other_npz_files(tmp_path: Path) -> None:
    (tmp_path / "npz").mkdir()
    names = np.array(["a", "b", "c"], object)
    (tmp_path / "npz" / "cora_full.npz").write_bytes(npz_bytes(**npz_arrays(), node_names=names))
    with pytest.raises(UserError, match=r"cora_full: the content has 3 nodes, not the expected 19,793 \(counts=null"):
        load_task("cora_full", data_root=tmp_path)
    assert load_task("cora_full", data_root=tmp_path, counts={"edges": 2}).labels.tolist() == [0, 1, 1]


def test_heterophilous_is_read() -> None:
    parsed = heterophilous.parse(npz_bytes(**heterophilous_arrays()))
    graphs = parsed.graphs
    assert graphs.nodes.toarray().tolist() == [[0, 1], [2, 0], [0, 0], [0, 3]]
    assert list(zip(graphs.senders, graphs.receivers)) == [(1, 0), (0, 1), (3, 1), (1, 3)]
    assert parsed.arrays["labels"].tolist() == [1, 0, 1, 0]
    assert np.argwhere(parsed.arrays["masks"]).tolist() == [
        [0, 0, 0],
        [0, 1, 1],
        [1, 0, 1],
        [1, 1, 3],
        [2, 0, 2],
        [2, 1, 2],
    ]
    assert parsed.notes == ("Features: 2 columns, as given.", "Self-loops were dropped; nodes that had one: 1.")


def test_heterophilous_hash_is_of_the_content() -> None:
    def hash_of(**changes: np.ndarray) -> str:
        return heterophilous.parse(npz_bytes(**(heterophilous_arrays() | changes))).content

    same = hash_of()
    assert hash_of(edges=np.array([[0, 1], [1, 3]], np.int32)) == same
    assert hash_of(node_features=heterophilous_arrays()["node_features"].astype(np.float64)) == same
    other = [
        hash_of(edges=np.array([[0, 1]])),
        hash_of(node_labels=np.array([1, 0, 1, 1])),
        hash_of(node_features=np.eye(4, 2)),
        hash_of(val_masks=np.eye(4, dtype=bool)[[1, 0]]),
    ]
    assert len({same, *other}) == 1 + len(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": None}, "the file has no array edges"),
        ({"edges": np.array([0, 1])}, r"edges has the shape \(2,\); give two nodes an edge"),
        ({"edges": np.array([[0, 1.5]])}, "edges are of type float64, not whole numbers"),
        ({"edges": np.array([[0, 4]])}, "An edge names node 4, but nodes are numbered 0 to 3"),
        ({"edges": np.array([[0, 2**64 - 1]], np.uint64)}, "edges are of type uint64, not whole numbers"),
        ({"node_features": np.eye(3)}, r"node_features has the shape \(3, 3\), but there are 4 node_labels"),
        ({"node_labels": np.eye(4, dtype=int)}, r"node_labels has the shape \(4, 4\); give one class each"),
        ({"node_labels": np.array([0, 1, 2**40, 0])}, "node_labels: number 2 is 1099511627776; count classes from 0"),
        ({"node_labels": np.array([0, 1, -2, 0])}, "node_labels: number 2 is -2; count classes from 0 without gaps"),
        ({"node_labels": np.array([0, -1, 1, 0])}, "train_masks: node 1 has no label; take it out"),
        ({"test_masks": np.eye(4)[:2]}, r"test_masks is float64 of the shape \(2, 4\); give true or false"),
        ({"test_masks": np.eye(4, dtype=bool)[:2, :3]}, r"test_masks is bool of the shape \(2, 3\)"),
        ({"test_masks": np.eye(4, dtype=bool)}, "train_masks, val_masks, test_masks differ in their number of splits"),
        ({"test_masks": np.eye(4, dtype=bool)[[2, 3]]}, "node 3 is in two parts of split 1; leave it in one"),
        ({"val_masks": np.eye(4, 4, 1, dtype=bool)[[0, 3]]}, "val_masks: split 1 has no nodes"),
    ],
)
def test_heterophilous_faults_are_named(changes: dict, message: str) -> None:
    arrays = {key: value for key, value in (heterophilous_arrays() | changes).items() if value is not None}
    with pytest.raises(UserError, match=message):
        heterophilous.parse(npz_bytes(**arrays))


def test_geom_gcn_is_read() -> None:
    parsed = geom_gcn.parse(GEOM_NODES, GEOM_EDGES)
    graphs = parsed.graphs
    assert graphs.nodes.toarray().tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 2.5]]
    assert parsed.arrays["labels"].tolist() == [0, 1, 1]
    assert list(zip(graphs.senders, graphs.receivers)) == [(1, 0), (0, 1), (2, 1), (1, 2)]
    assert parsed.notes == (
        "Features: 3 columns, as given.",
        "Self-loops were dropped; nodes that had one: 1.",
    )


def test_geom_gcn_features_by_the_columns_that_are_set() -> None:
    parsed = geom_gcn.parse(GEOM_SETS, GEOM_EDGES)
    assert parsed.graphs.nodes.toarray().tolist() == [[0, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]]  # type: ignore[union-attr]
    assert parsed.arrays["labels"].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            b"node_id\tnode_id\n0\t1\n1\t0\n2\t1\n2\t2\n",
            b"node_id\tnode_id\n",
            "out1_graph_edges.txt has no lines after",
        ),
        (b"1\t0,0,0\t1", b"1\t0,0,0", "out1_node_feature_label.txt: line 4 has 2 columns between tabs, not 3"),
        (b"1\t0,0,0\t1", b"1\t0,0\t1", "out1_node_feature_label.txt: line 4 has 2 numbers, not 3: '0,0'"),
        (b"1\t0,0,0\t1", b"1\t0,x,0\t1", "line 4 does not hold finite numbers: '0,x,0'"),
        (b"1\t0,0,0\t1", b"1\t0,nan,0\t1", "line 4 does not hold finite numbers: '0,nan,0'"),
        (b"1\t0,0,0\t1", b"0\t0,0,0\t1", "the nodes are not numbered 0 to 2, each once"),
        (b"1\t0,0,0\t1", b"one\t0,0,0\t1", "line 4 does not hold whole numbers: 'one'"),
        (b"1\t0,0,0\t1", b"1\t0,0,0\t-2", "out1_node_feature_label.txt: labels: number 1 is -2"),
        (b"2\t1\n2", b"2\t3\n2", "An edge names node 3"),
        (b"2\t1\n2", b"2,1\n2", "out1_graph_edges.txt: line 4 has 1 columns between tabs, not 2"),
        (b"feature\t", b"feature(feature_amount:1)\t", "line 2 names feature 2, not one of 0 to 1|does not hold whole"),
    ],
)
def test_geom_gcn_faults_are_named(old: bytes, new: bytes, message: str) -> None:
    nodes, edges = GEOM_NODES.replace(old, new), GEOM_EDGES.replace(old, new)
    assert (nodes, edges) != (GEOM_NODES, GEOM_EDGES)
    with pytest.raises(UserError, match=message):
        geom_gcn.parse(nodes, edges)


def test_geom_gcn_names_the_line_where_something_is_missing() -> None:
    for old, new, message in (
        (b"\t3,0,3\t", b"\t3,,3\t", "line 2 has an empty feature; take out the comma"),
        (b"2\t2\t1", b"2\t2\t ", "line 4 has an empty column"),
    ):
        with pytest.raises(UserError, match=message):
            geom_gcn.parse(GEOM_SETS.replace(old, new), GEOM_EDGES)
    with pytest.raises(UserError, match="line 3 has no features"):
        geom_gcn.parse(GEOM_NODES.replace(b"\t1,0,0\t", b"\t\t"), GEOM_EDGES)
    with pytest.raises(UserError, match=r"out1_graph_edges\.txt: line 3 has an empty column"):
        geom_gcn.parse(GEOM_NODES, GEOM_EDGES.replace(b"1\t0\n", b"1\t\n"))


def test_geom_gcn_names_the_line_of_a_feature_that_does_not_exist() -> None:
    nodes = b"node_id\tfeature(feature_amount:3)\tlabel\n1\t3,0,3\t1\n0\t\t0\n2\t1,4\t1\n"
    with pytest.raises(UserError, match="line 4 names feature 4, not one of 0 to 3"):
        geom_gcn.parse(nodes, GEOM_EDGES)


@given(
    st.sampled_from(["?", "<i4", ">i8", "<u2", ">f4", "<f8"]),
    st.lists(st.integers(0, 3), max_size=3),
    st.booleans(),
)
def test_arrays_of_npz_are_those_that_numpy_reads(code: str, shape: list[int], fortran: bool) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(code)
    content = npz_bytes(x=np.array(array, order="F" if fortran else "C"))
    found = read_array(read_archive(content), "x")
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)


def npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the array x cannot be read"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "the array x cannot be read"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}", b"12345678"), "but has 8 bytes"),
        (
            npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", b"12345678"),
            "claims the shape|cannot be read",
        ),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem"), "of type object, which is not"),
        (npy("__import__('os').mkdir('attacked')"), "the array x cannot be read"),
        (npy("(" * 9000), "the array x cannot be read"),
        (npy("{'descr': '<f8', 'shape': (1,)}", b"12345678"), "the array x cannot be read"),
    ],
)
def test_arrays_that_are_damaged_or_hostile(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_array({"x.npy": content}, "x")
