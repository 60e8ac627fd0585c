"""A user's own files: every layout against the same graphs in memory, and every fault with its place."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
from scipy import sparse
from written import folder, molecules

from atjax import Task, UserError, load_task
from atjax.sources import custom, decode, files, tables

NODES = """graph,id,element,mass,label
g1,a,C,1.5,
g1,b,N,2,
g2,a,C,0.5,
g2,b,O,3,
g2,c,C,4,
"""
EDGES = """graph,source,target
g1,a,b
g2,a,b
g2,c,b
"""
GRAPHS = """id,label,split
g2,no,train
g1,yes,train
"""


def test_tables_are_the_graphs_in_memory(tmp_path: Path) -> None:
    path, graphs = molecules(tmp_path / "my molecules")
    task, expected = load_task("custom", path=str(path)), Task.from_networkx(graphs)
    assert task.name == "my_molecules"
    assert task.content_hash == expected.content_hash
    assert task.encoding == expected.encoding
    assert task.notes == ("Read as tables: edges.csv, graphs.csv, nodes.csv.", *expected.notes)


@pytest.mark.parametrize("name", ["2024", "nan"])
def test_a_path_that_looks_like_another_value_is_text(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    molecules(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert tiny.run("describe", "task=custom", f"task.path={name}", f"hydra.run.dir={tmp_path / 'out'}") == 0
    assert f"{name}: graph task" in capsys.readouterr().out


def test_nodes_of_a_graph_need_not_stand_together(tmp_path: Path) -> None:
    path, graphs = molecules(tmp_path / "own")
    rows = pd.read_csv(path / "nodes.csv", dtype=str)
    shuffled = rows.sample(frac=1, random_state=1)
    shuffled.to_csv(path / "nodes.csv", index=False)
    raw = custom.read(path)
    np.testing.assert_array_equal(raw.n_node, [len(graph) for graph in graphs])
    first = int(np.flatnonzero(shuffled["graph"] == "m0")[0])
    assert raw.where.node(0) == f"nodes.csv: row {first + 1}"
    in_memory = custom.load("x", str(path)).graphs
    assert in_memory.nodes.sum(axis=0) == pytest.approx(Task.from_networkx(graphs).graphs.nodes.sum(axis=0), abs=1e-3)
    assert in_memory.n_edge.tolist() == [2 * graph.number_of_edges() for graph in graphs]


def as_parquet(path: Path) -> None:
    for file in list(path.glob("*.csv")):
        pd.read_csv(file, dtype={"id": str, "source": str, "target": str}).to_parquet(file.with_suffix(".parquet"))
        file.unlink()


def rewrite(change: Callable[[bytes], bytes], ending: str = ".csv") -> Callable[[Path], None]:
    def rewritten(path: Path) -> None:
        for file in list(path.glob("*.csv")):
            content = change(file.read_bytes())
            file.unlink()
            (path / f"{file.stem}{ending}").write_bytes(content)

    return rewritten


def tabs(content: bytes) -> bytes:
    frame = pd.read_csv(io.BytesIO(content), dtype=str)
    return frame.to_csv(index=False, sep="\t").encode()


def zipped(*, inner_gzip: bool) -> Callable[[Path], None]:
    def packed(path: Path) -> None:
        target = path.with_suffix(".zip")
        with zipfile.ZipFile(target, "w") as archive:
            for file in path.glob("*.csv"):
                content = file.read_bytes()
                name = f"deep/{file.name}" + (".gz" if inner_gzip else "")
                archive.writestr(name, gzip.compress(content) if inner_gzip else content)

    return packed


FORMS: dict[str, Callable[[Path], None]] = {
    "parquet": as_parquet,
    "tabs": rewrite(tabs, ".tsv"),
    "semicolons": rewrite(lambda content: tabs(content).replace(b"\t", b";")),
    "windows": rewrite(lambda content: content.replace(b"\n", b"\r\n")),
    "mark": rewrite(lambda content: b"\xef\xbb\xbf" + content),
    "utf-16": rewrite(lambda content: content.decode().encode("utf-16")),
    "gzip": rewrite(gzip.compress, ".csv.gz"),
    "gzip in two parts": rewrite(lambda content: gzip.compress(content[:40]) + gzip.compress(content[40:])),
    "blank lines": rewrite(lambda content: content.replace(b"\n", b"\n\n") + b"\n"),
    "zip": zipped(inner_gzip=False),
    "gzip in zip": zipped(inner_gzip=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_set_in_many_forms(tmp_path: Path, form: str) -> None:
    path, _ = molecules(tmp_path / "own")
    expected = custom.load("x", str(path))
    FORMS[form](path)
    where = path.with_suffix(".zip") if form in ("zip", "gzip in zip") else path
    task = custom.load("x", str(where))
    assert task.content_hash == expected.content_hash
    assert task.encoding == expected.encoding
    assert task.notes[1:] == expected.notes[1:]


def test_latin_1_is_read_and_said(tmp_path: Path) -> None:
    nodes = "id,kind,label\n1,Straße,0\n2,Weg,1\n".encode("latin-1")
    task = load_task("custom", path=str(folder(tmp_path / "own", nodes__csv=nodes, edges__csv="source,target\n1,2\n")))
    assert task.encoding is not None
    assert task.encoding.columns[0].values == ("Straße", "Weg")
    assert "nodes.csv is not UTF-8 (line 2); it was read as Latin-1." in task.notes


def test_node_tables_with_split_missing_labels_and_other_names(tmp_path: Path) -> None:
    nodes = "id,topic,x,year,split,code\n" + "".join(
        f"{n},{['', 'a', 'b'][n % 3]},{n},{2000 + n % 2},{['', 'train', 'val', 'train', 'train', 'test'][n % 6]},{n}\n"
        for n in range(1, 13)
    )
    path = folder(tmp_path / "own", nodes__csv=nodes, edges__csv="source,target\n1,2\n2,1\n1,2\n3,3\n")
    with pytest.raises(UserError, match=r"nodes.csv: row 3 is for train but has no label; give one, or take it out\.$"):
        load_task("custom", path=str(path), label="topic")
    (path / "nodes.csv").write_text(
        nodes.replace("\n3,,3,2001,train", "\n3,,3,2001,").replace("\n9,,9,2001,train", "\n9,,9,2001,")
    )
    task = load_task("custom", path=str(path), label="topic", ignore=["code"], categories=["year"])
    assert (task.level, task.labels.tolist()) == ("node", [0, 1, -1] * 4)
    assert task.fixed_split is not None
    assert [ids.tolist() for ids in (task.fixed_split.train, task.fixed_split.validation, task.fixed_split.test)] == [
        [0, 3, 6, 9],
        [1, 7],
        [4, 10],
    ]
    assert task.graphs.num_features == 3
    assert "Edges that were listed again were dropped: 1." in task.notes
    assert "Self-loops were dropped; nodes that had one: 1." in task.notes
    assert "Nodes without any edge: 10." in task.notes


def test_words_are_words_and_only_empty_cells_are_nothing(tmp_path: Path) -> None:
    path = folder(
        tmp_path / "own",
        nodes__csv="id,element,x,label,split\nNA,null,1,n/a,train\nnan,C,2,a,NA\nn/a,C,3,,\nb,C,4,NULL,val\nc,C,5,a,test\n",
        edges__csv="source,target\nNA,nan\nn/a,NA\n",
    )
    task = load_task("custom", path=str(path))
    assert task.encoding is not None
    assert custom.read(path).names["node"].tolist() == ["NA", "nan", "n/a", "b", "c"]
    assert task.encoding.classes == ("NULL", "a", "n/a")
    assert task.encoding.columns[0].values == ("C", "null")
    assert task.labels.tolist() == [2, 1, -1, 0, 1]
    assert task.fixed_split is not None
    assert [ids.tolist() for ids in vars(task.fixed_split).values()] == [[0], [3], [4]]
    for word, column in (("null", "element"), ("n/a", "label")):
        assert f"nodes.csv: {word!r} in the column {column!r} is a word like others; only an empty" in str(task.notes)
    # In a column of numbers they still say that nothing is there.
    (path / "nodes.csv").write_text("id,x,label\nNA,1,0\nnan,2,NA\nn/a,3,1\n")
    assert load_task("custom", path=str(path)).labels.tolist() == [0, -1, 1]
    (path / "nodes.csv").write_text("id,x,label\nNA,1,0\nnan,NA,1\nn/a,3,1\n")
    with pytest.raises(UserError, match=r"nodes.csv: row 2: x is missing; fill it in"):
        load_task("custom", path=str(path))
    (path / "nodes.csv").write_text("id,x,label\nNA,1,0\nnan,NA,1\nn/a,?,1\nd,2,1\n")
    with pytest.raises(UserError, match=r"nodes.csv: row 3: x is '\?', but most rows have numbers there"):
        load_task("custom", path=str(path))


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_row_numbers_of_pandas_are_no_feature(tmp_path: Path, ending: str) -> None:
    path, _ = molecules(tmp_path / "own")
    expected = load_task("custom", path=str(path))
    for file in list(path.glob("*.csv")):
        frame = pd.read_csv(file, dtype={"id": str, "source": str, "target": str})
        file.unlink()
        if ending == ".csv":
            frame.to_csv(file)
        else:
            frame.set_index(np.random.default_rng(0).permutation(len(frame))).to_parquet(file.with_suffix(ending))
    task = load_task("custom", path=str(path))
    assert (task.content_hash, task.encoding) == (expected.content_hash, expected.encoding)
    what = "without a name" if ending == ".csv" else "'__index_level_0__'"
    assert f"The column {what} of nodes{ending} is not used: it looks like the row" in " ".join(task.notes)
    ignored = load_task("custom", path=str(path), ignore=["" if ending == ".csv" else "__index_level_0__"])
    assert ignored.content_hash == expected.content_hash


def test_a_split_of_graphs_is_that_of_their_nodes(tmp_path: Path) -> None:
    ends = "".join(f"g{n},{n},{n + 6}\n" for n in range(6))
    nodes = "".join(f"g{n % 6},{n},{n},{'' if n == 9 else 'ab'[n % 2]}\n" for n in range(16))
    parts = ["train", "test", "train", "val", "", "test"]
    path = folder(
        tmp_path / "own",
        nodes__csv=f"graph,id,x,label\n{nodes}",
        edges__csv=f"graph,source,target\n{ends}",
        graphs__csv="id,split\n" + "".join(f"g{n},{part}\n" for n, part in enumerate(parts)),
    )
    task = load_task("custom", path=str(path))
    assert (task.level, task.num_examples) == ("node", 16)
    raw = custom.read(path)
    assert task.fixed_split is not None
    for part, word in (("train", "train"), ("validation", "val"), ("test", "test")):
        expected = [n for n, name in enumerate(raw.names["node"]) if parts[int(name[1])] == word and name != "g3: 9"]
        assert getattr(task.fixed_split, part).tolist() == expected
    assert "The split is that of the graphs, each for all of its nodes." in task.notes
    assert load_task("custom", path=str(path), ignore=["split"]).fixed_split is None
    both = nodes.replace("\n", ",\n").replace("a,\n", "a,train\n", 3).replace("b,\n", "b,val\n", 2)
    both = both.replace("15,15,b,", "15,15,b,test")
    (path / "nodes.csv").write_text(f"graph,id,x,label,split\n{both}")
    task = load_task("custom", path=str(path))
    assert task.fixed_split is not None
    assert [len(ids) for ids in vars(task.fixed_split).values()] == [3, 2, 1]
    assert "The split of the graphs is not used." in task.notes


def test_a_split_of_nodes_is_none_of_graphs(tmp_path: Path) -> None:
    path = folder(tmp_path / "own", **CSV)
    (path / "nodes.csv").write_text(NODES.replace(",label", ",split").replace("1.5,", "1.5,train"))
    (path / "graphs.csv").write_text("id,label\ng2,no\ng1,yes\n")
    with pytest.raises(UserError, match=r"own: The nodes have a split, but graphs are the examples; give each graph"):
        load_task("custom", path=str(path))
    assert load_task("custom", path=str(path), ignore=["split"]).fixed_split is None


def test_targets_and_metrics(tmp_path: Path) -> None:
    tables_ = {"nodes__csv": NODES, "edges__csv": EDGES}
    floats = folder(tmp_path / "floats", graphs__csv="id,label\ng1,0.5\ng2,7\n", **tables_)
    assert load_task("custom", path=str(floats)).labels.tolist() == [[0.5], [7.0]]
    whole = folder(tmp_path / "whole", graphs__csv="id,label\ng1,5\ng2,7\n", **tables_)
    assert load_task("custom", path=str(whole), metric="roc_auc").labels.tolist() == [0, 1]
    assert load_task("custom", path=str(whole), loss="mse").metric == "mae"


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_whole_numbers_with_gaps_are_classes(tmp_path: Path, ending: str) -> None:
    def task_of(labels: list[float | None], **options: Any) -> Task:
        path = folder(tmp_path / "own", edges__csv="source,target\n1,2\n")
        frame = pd.DataFrame({"id": range(1, 7), "label": pd.Series(labels, dtype=float)})
        if ending == ".csv":
            frame.to_csv(path / "nodes.csv", index=False)
        else:
            frame.to_parquet(path / "nodes.parquet")
        return load_task("custom", path=str(path), **options)

    task = task_of([1, 0, None, 5, 1, 0])
    assert (task.loss, task.labels.tolist()) == ("cross_entropy", [1, 0, -1, 2, 1, 0])
    assert task.encoding is not None
    assert task.encoding.classes == (0, 1, 5)
    targets = task_of([1, 0, None, 5, 1, 0], loss="mse")
    np.testing.assert_array_equal(targets.labels[:, 0], [1, 0, np.nan, 5, 1, 0])
    several = task_of([1, 0, None, 5, 1, -1], unlabelled=-1, loss="mse")
    np.testing.assert_array_equal(several.labels[:, 0], [1, 0, np.nan, 5, 1, np.nan])
    for labels in ([1, 0, 2, 5, 1, 0], [1, 0.5, None, 5, 1, 0]):
        assert task_of(labels).loss == "mse"


def test_categories_and_lists_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "own"
    path.mkdir()
    place = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
    kind = pd.Categorical(["u", "v", "u"])
    frame = pd.DataFrame(
        {"id": [5, 6, 7], "place": place, "kind": kind, "on": [True, False, True], "label": [1, None, 0]}
    )
    frame.astype({"label": "Int64"}).to_parquet(path / "nodes.parquet")
    pd.DataFrame({"source": [5.0, 6.0], "target": [6, 7]}).to_parquet(path / "edges.parquet")
    task = load_task("custom", path=str(path))
    expected = np.column_stack([place, [[1, 0], [0, 1], [1, 0]], [[0, 1], [1, 0], [0, 1]]])
    np.testing.assert_allclose(task.graphs.nodes, expected.astype(np.float32))
    assert task.labels.tolist() == [1, -1, 0]
    assert set(zip(task.graphs.senders.tolist(), task.graphs.receivers.tolist())) == {(0, 1), (1, 0), (1, 2), (2, 1)}


def test_tu_layout_in_a_folder_and_in_a_zip(tmp_path: Path) -> None:
    files = {
        "MY_A.txt": b"1, 2\r\n2, 1\r\n3, 4\r\n",
        "MY_graph_indicator.txt": b"\xef\xbb\xbf1\n1\n2\n2\n",
        "MY_graph_labels.txt": "-1\n1\n".encode("utf-16"),
        "MY_node_labels.txt.gz": gzip.compress(b"7\n9\n7\n7\n"),
        "MY_node_attributes.txt": b"0.5, 10\n0.25, 20\n1, 30\n0, 40\n",
        "README.txt": b"nothing to see",
    }
    path = tmp_path / "MY"
    path.mkdir()
    with zipfile.ZipFile(tmp_path / "MY.zip", "w") as archive:
        for name, content in files.items():
            (path / name).write_bytes(content)
            archive.writestr(f"MY/{name}", content)
    task, same = (load_task("custom", path=str(where)) for where in (path, path.with_suffix(".zip")))
    assert task.content_hash == same.content_hash
    assert task.name == same.name == "MY"
    tens = (np.array([10, 20, 30, 40]) - 25) / np.std([10, 20, 30, 40])
    expected = np.column_stack([[1, 0, 1, 1], [0, 1, 0, 0], [0.5, 0.25, 1, 0], tens])
    np.testing.assert_allclose(task.graphs.nodes, expected, rtol=1e-6)
    assert task.encoding is not None
    assert task.encoding.classes == (-1, 1)


@pytest.mark.parametrize("name", ["MUTAG", "IMDB-MULTI"])
def test_a_tu_set_is_the_same_as_by_its_name(data: Path, name: str) -> None:
    path, edges = str(data / "tu-original" / f"{name}.zip"), name == "MUTAG"
    own = load_task("custom", path=path)
    assert own.content_hash == load_task("tu", data_root=data, dataset=name, edges=edges).content_hash
    if edges:
        without = load_task("custom", path=path, ignore=["edge_labels"])
        assert without.content_hash == load_task("tu", data_root=data, dataset=name).content_hash


def save_csr(path: Path, adjacency: sparse.csr_matrix, x: np.ndarray, y: np.ndarray) -> None:
    parts = {
        f"{name}_{field}": getattr(matrix, field)
        for name, matrix in {"adj": adjacency, "attr": sparse.csr_matrix(x)}.items()
        for field in ("data", "indices", "indptr", "shape")
    }
    np.savez(path, labels=y, **parts)


def test_a_matrix_of_edges_keeps_directions_and_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((9, 2)), np.resize([0, 1], 9)
    dense = np.where(rng.random((9, 9)) < 0.3, rng.random((9, 9)), 0) * ~np.eye(9, dtype=bool)
    for weighted in (True, False):
        matrix = dense if weighted else (dense > 0).astype(float)
        save_csr(tmp_path / "csr.npz", sparse.csr_matrix(matrix), x, y)
        task = load_task("custom", path=str(tmp_path / "csr.npz"), directed=True)
        given = task.graphs.weights
        assert (given is not None) == weighted
        found = np.zeros((9, 9))
        found[task.graphs.senders, task.graphs.receivers] = 1 if given is None else given
        np.testing.assert_allclose(found, matrix, rtol=1e-6)
        both = load_task("custom", path=str(tmp_path / "csr.npz"))
        assert len(both.graphs.senders) == np.count_nonzero((matrix + matrix.T) > 0)


def test_npz_files_of_three_kinds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, edges, y = rng.random((12, 3)), rng.integers(0, 12, (2, 20)), np.resize([0, 1, 2], 12)
    train, val = np.arange(12) < 6, (np.arange(12) >= 6) & (np.arange(12) < 9)
    masks = {"train_mask": train, "val_mask": val, "test_mask": ~train & ~val}
    np.savez(tmp_path / "plain.npz", x=x, edge_index=edges, y=y, more=y, **masks)
    plain = load_task("custom", path=str(tmp_path / "plain.npz"))
    assert plain.content_hash == Task.from_arrays(x, edges, y).content_hash
    assert plain.fixed_split is not None
    assert plain.fixed_split.validation.tolist() == [6, 7, 8]
    assert plain.notes[:2] == ("Read as an npz file with edge_index.", "Arrays that are not used: more.")
    np.savez_compressed(tmp_path / "graphs.npz", edge_index=[[0, 2], [1, 3]], y=[3, 5, 3], graph=[0, 0, 1, 1, 2])
    graphs = load_task("custom", path=str(tmp_path / "graphs.npz"))
    assert (graphs.level, graphs.labels.tolist(), graphs.graphs.n_node.tolist()) == ("graph", [0, 1, 0], [2, 2, 1])
    masks_of_graphs = {name: np.arange(3) == n for n, name in enumerate(masks)}
    np.savez(tmp_path / "new.npz", edge_index=[[0, 2], [1, 3]], graph=[0, 0, 1, 1, 2], **masks_of_graphs)
    assert custom.read(tmp_path / "new.npz").parts == {}  # without labels nothing says what they are of
    adjacency = sparse.coo_matrix((np.ones(20), edges), shape=(12, 12)).tocsr() > 0
    save_csr(tmp_path / "csr.npz", adjacency, x, y)
    # The features of both are held as CSR, so the hashes of the tasks can be compared.
    assert load_task("custom", path=str(tmp_path / "csr.npz")).content_hash == plain.content_hash
    several = {
        name: np.stack([mask, mask]) for name, mask in zip(("train_masks", "val_masks", "test_masks"), masks.values())
    }
    np.savez(tmp_path / "rows.npz", node_features=x, edges=edges.T, node_labels=y, **several)
    rows = load_task("custom", path=str(tmp_path / "rows.npz"))
    assert rows.content_hash == plain.content_hash
    assert "Its 2 splits are not used." in rows.notes


CSV = {"nodes__csv": NODES, "edges__csv": EDGES, "graphs__csv": GRAPHS}
ONE = {"nodes__csv": "id,x,label\n1,1,a\n2,2,b\n", "edges__csv": "source,target\n1,2\n"}
FAULTS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (CSV, {"nodes__csv": b""}, r"nodes.csv cannot be read as a table \(Empty CSV file\)"),
    (CSV, {"nodes__csv": NODES + "g3,a,C,1,\n"}, "nodes.csv: row 6 names the graph 'g3', which is no id in graphs.csv"),
    (CSV, {"nodes__csv": NODES + "g1,a,C,1,\n"}, "nodes.csv: row 6 has the id 'g1: a' of an earlier row; give each"),
    (
        CSV,
        {"nodes__csv": NODES + "g1,c,C\n"},
        "nodes.csv: row 6 has 3 columns, but the header has 5",
    ),
    (CSV, {"nodes__csv": NODES + "g1,,C,1,\n"}, "nodes.csv: row 6 has nothing in the column 'id'; fill it in"),
    (CSV, {"nodes__csv": NODES.replace("3", "x")}, "nodes.csv: row 4: mass is 'x', but most rows have numbers there"),
    (CSV, {"nodes__csv": NODES.replace("3", "inf")}, "nodes.csv: row 4: mass is missing, NaN or infinite; fill it in"),
    (CSV, {"nodes__csv": NODES.replace("3", "")}, "nodes.csv: row 4: mass is missing, NaN or infinite; fill it in"),
    (CSV, {"nodes__csv": NODES.replace("O", "")}, "nodes.csv: row 4: element is missing; fill it in"),
    (CSV, {"nodes__csv": NODES.replace("mass", "element")}, "nodes.csv has two columns named 'element'"),
    (CSV, {"nodes__csv": NODES.replace("graph,", "group,")}, "nodes.csv has no column 'graph', which says to which"),
    (CSV, {"nodes__tsv": NODES}, "nodes.csv and nodes.tsv are both tables of nodes; leave one"),
    (CSV, {"edges__csv": EDGES + "g1,a,c\n"}, "edges.csv: row 4 names the target 'g1: c', which is no id in nodes.csv"),
    (
        CSV,
        {"edges__csv": EDGES.replace("source", "from")},
        "edges.csv has no column 'source'; its columns are graph, fro",
    ),
    (
        CSV,
        {"edges__csv": "source,target\na,b\n"},
        "nodes.csv: row 3 has the id 'a' of an earlier row; .*give the edges a",
    ),
    (CSV, {"graphs__csv": "id,label\ng1,a\ng2,b\ng3,a\n"}, "graphs.csv: row 3 has no nodes; drop it, with its label"),
    (CSV, {"graphs__csv": GRAPHS + "g1,no,test\n"}, "graphs.csv: row 3 has the id 'g1' of an earlier row"),
    (
        CSV,
        {"graphs__csv": GRAPHS.replace("train", "trian", 1)},
        "graphs.csv: row 1: the split 'trian' is none of train",
    ),
    (CSV, {}, "The split has nothing for validation; name some graphs for it, or give no split at all"),
    (
        CSV,
        {"graphs__csv": "id\ng1\ng2\n"},
        "There are no labels, of nodes or of graphs; give one",
    ),
    (ONE, {"nodes__csv": "id,x,label\n1,1,a\n2,2,a\n"}, "all labels are of one class, so there is nothing to learn"),
    (
        ONE,
        {"nodes__csv": "id,when,label\n1,2030-01-01,a\n2,2030-01-02,b\n"},
        "the column 'when' is empty or of type date",
    ),
    (ONE, {"nodes__csv": "id,x,label\n1,1,0.5\n2,2,inf\n"}, "nodes.csv: row 2: the label is infinite; give a number"),
    (
        ONE,
        {"nodes__csv": "id,label\n1,a\n2,b\n".encode("utf-16-le")},
        "nodes.csv holds bytes that are 0, as UTF-16 without",
    ),
    (ONE, {"nodes__csv": b"\xff\xfei"}, "nodes.csv begins as UTF-16 but is not"),
    (
        ONE,
        {"nodes__csv": gzip.compress(b"id,label\n1,a\n")[:-9]},
        "nodes.csv is a damaged gzip file \\(Compressed file ended",
    ),
    (ONE, {"nodes__csv": b"\x1f\x8b" + b"?" * 30}, "nodes.csv is a damaged gzip file"),
    (ONE, {"edges__parquet": b"PAR1", "edges__csv": None}, "edges.parquet is no Parquet file, or a damaged one"),
    (ONE, {"edges__csv": None}, "there is no table of edges, such as edges.csv"),
    (ONE, {"X_A.txt": "1,2\n"}, r"it holds more than one set \(X, edges.csv, nodes.csv\); give one at a time"),
    (
        {},
        {"readme__txt": "hello"},
        r"its layout is unknown \(there is readme.txt\); give a folder or zip with nodes.csv",
    ),
    ({}, {}, r"its layout is unknown \(there is nothing\)"),
]


@pytest.mark.parametrize(("base", "changes", "message"), FAULTS)
def test_faults_name_path_file_and_row(
    tmp_path: Path, base: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    files = {name: content for name, content in (base | changes).items() if content is not None}
    path = folder(tmp_path / "own", **files)
    with pytest.raises(UserError, match=message) as caught:
        load_task("custom", path=str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"w": [["a", "b"], ["c", "d"]]},
            "nodes.parquet: the column 'w' has lists of type string, which are no numbers;",
        ),
        ({"w": [[[1], [2, 3]], [[1], [2, 3]]]}, r"the column 'w' has lists of type list<element: int64>, which are no"),
        (
            {"label": [["a"], ["b"]]},
            "nodes.parquet: the column 'label' has lists of type string, which are no numbers;",
        ),
        ({"w": [[1, 2], [3]]}, "nodes.parquet: row 2: w has another length than in the first row; make them alike"),
        (
            {"id": [[1], [2]]},
            r"nodes.parquet: the column 'id' is of type list<element: int64>; give words or whole numb",
        ),
        (
            {"id": [1.0, 2.5]},
            "nodes.parquet: row 2: id is 2.5, which is no whole number; give words or whole numbers as",
        ),
        ({"id": [1.0, np.inf]}, "nodes.parquet: row 2: id is inf, which is no whole number"),
        (
            {"id": [1.0, 1e300]},
            "nodes.parquet: the column 'id' is of type double; give words or whole numbers as names",
        ),
        ({"id": [1.0, None]}, "nodes.parquet: row 2 has nothing in the column 'id'; fill it in"),
    ],
)
def test_parquet_with_columns_of_other_kinds(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = folder(tmp_path / "own", edges__csv=ONE["edges__csv"])
    pd.DataFrame({"id": [1, 2], "label": ["a", "b"]} | columns).to_parquet(path / "nodes.parquet")
    with pytest.raises(UserError, match=message) as caught:
        load_task("custom", path=str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", [b"label", b"Newton"])
def test_parquet_with_words_that_are_no_text(tmp_path: Path, word: bytes) -> None:
    path = folder(tmp_path / "own", edges__csv=ONE["edges__csv"])
    frame = pd.DataFrame({"id": [1, 2], "label": ["Newton", "Hooke"]})
    frame.to_parquet(path / "nodes.parquet", compression=None)
    content = (path / "nodes.parquet").read_bytes()
    (path / "nodes.parquet").write_bytes(content.replace(word, b"\xa4" * len(word)))
    with pytest.raises(UserError, match=r"nodes.parquet is no Parquet file, or a damaged one"):
        load_task("custom", path=str(path))


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no such file or folder; give a folder or zip with nodes.csv"):
        load_task("custom", path=str(tmp_path / "nowhere"))
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(UserError, match="this is a file of another kind"):
        load_task("custom", path=str(tmp_path / "a.doc"))
    (tmp_path / "b.zip").write_text("x")
    with pytest.raises(UserError, match="this is no zip archive"):
        load_task("custom", path=str(tmp_path / "b.zip"))
    np.savez(tmp_path / "c.npz", z=np.ones(3))
    np.savez(tmp_path / "d.npz", edge_index=[[0], [1]])
    with pytest.raises(UserError, match=r"d.npz: no array says how many nodes there are; give x, y or graph \(zeros"):
        load_task("custom", path=str(tmp_path / "d.npz"))
    with pytest.raises(UserError, match="its arrays are z; give x, edge_index, edge_attr, edge_weight, y"):
        load_task("custom", path=str(tmp_path / "c.npz"))
    path = folder(tmp_path / "own", **ONE)
    with pytest.raises(UserError, match=r"ignore names 'z', which is no column of nodes.csv"):
        load_task("custom", path=str(path), ignore=["z"])
    with pytest.raises(UserError, match=r"^[^:]*own: 'mae' is no metric") as caught:
        load_task("custom", path=str(path), metric="mae")
    assert str(caught.value).count("own:") == 1
    with pytest.raises(UserError, match="directed='maybe' is neither true nor false"):
        load_task("custom", path=str(path), directed="maybe")


def test_one_name_is_as_good_as_a_list_of_one(tmp_path: Path) -> None:
    nodes = "id,xy,y,2020,label\n1,3,1,5,a\n2,2,5,6,b\n"
    path = str(folder(tmp_path / "own", nodes__csv=nodes, edges__csv=ONE["edges__csv"]))

    def names(**options: Any) -> list[tuple[str, bool]]:
        encoding = load_task("custom", path=path, **options).encoding
        assert encoding is not None
        return [(column.name, column.values is not None) for column in encoding.columns]

    assert names(ignore="xy") == names(ignore=["xy"]) == [("y", False), ("2020", False)]
    assert names(categories="xy") == names(categories=["xy"]) == [("xy", True), ("y", False), ("2020", False)]
    assert names(ignore=2020, categories=None) == [("xy", False), ("y", False)]
    assert set(custom.read(path, ignore="xy").columns) == {"y", "2020"}
    for options, message in (
        ({"ignore": "x"}, "ignore names 'x', which is no column of nodes.csv"),
        (
            {"ignore": {"xy": 1}},
            r"ignore={'xy': 1} names no attributes; give a name, or a list such as \[mass,charge\]",
        ),
        ({"ignore": [None]}, r"ignore=\[None\] names no attributes; give a name"),
        ({"categories": 5}, "categories names '5', which is none of 2020, xy, y"),
        ({"categories": 0.5}, "categories=0.5 names no attributes; give a name"),
        ({"categories": True}, "categories=True names no attributes; give a name"),
    ):
        with pytest.raises(UserError, match=message):
            load_task("custom", path=path, **options)


def test_a_gzip_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (files, decode):
        monkeypatch.setattr(module, "MEMBER_LIMIT", 1000)
    assert decode.gunzip(gzip.compress(bytes(1000)), "a") == bytes(1000)
    for parts in ([1001], [600, 600]):
        with pytest.raises(UserError, match="a decompresses to more than 1,000 bytes"):
            decode.gunzip(b"".join(gzip.compress(bytes(size)) for size in parts), "a")


def test_tables_are_found_by_their_names() -> None:
    names = ["Nodes.CSV", "edges.parquet", "graphs.tsv.gz", "nodes.csv.bak", "old_nodes.csv", "nodes"]
    assert tables.find(names) == {"nodes": "Nodes.CSV", "edges": "edges.parquet", "graphs": "graphs.tsv.gz"}
