"""Node classification sets in the tab-separated text of Geom-GCN (Pei et al., ICLR 2020)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from atjax.errors import UserError
from atjax.sources.arrays import class_labels
from atjax.sources.edges import drop_self_loops
from atjax.sources.files import obtain, plain_name
from atjax.sources.parsed import Parsed
from atjax.sources.text import read_table
from atjax.task import Graphs, Task, canonical_csr, hash_arrays

MIRRORS = ("https://raw.githubusercontent.com/graphdml-uiuc-jlu/geom-gcn/master/new_data/{dataset}/{file}",)
"""Where the files are published."""

NODES, EDGES = "out1_node_feature_label.txt", "out1_graph_edges.txt"
"""The two files of a set."""

UNUSABLE = {"cornell": "its published features and labels are those of texas; take task=cornell, which has its own"}
"""Sets whose published files are wrong, and what to do."""


def load(
    name: str,
    dataset: str,
    *,
    root: str | None = None,
    content: Mapping[str, str] | None = None,
    mirrors: Sequence[str] = MIRRORS,
) -> Task:
    """A node classification task from a set of the collection; directed edges are made undirected.

    Args:
        name: Name of the task.
        dataset: Folder of the set under ``geom-gcn/`` in the data folder, such as ``film``.
        root: Folder of the data, as in `atjax.config.data_root`.
        content: Expected hash of each set; a set that is not among them is not verified, and the notes say so.
        mirrors: URLs to download from, with ``{dataset}`` and ``{file}`` in them.

    Raises:
        UserError: The files are absent, broken or not the expected ones, or the set is known to be published wrongly.
    """
    plain_name(name, "dataset", dataset)
    if dataset in UNUSABLE:
        raise UserError(f"{name}: {dataset} cannot be used: {UNUSABLE[dataset]}.")
    paths = {file: f"geom-gcn/{dataset}/{file}" for file in (NODES, EDGES)}
    urls = [{path: url.format(dataset=dataset, file=file) for file, path in paths.items()} for url in mirrors]
    expected = (content or {}).get(dataset)

    def read(files: Mapping[str, bytes]) -> Parsed:
        return parse(files[paths[NODES]], files[paths[EDGES]])

    parsed = obtain(name, root, list(paths.values()), urls, "geom-gcn", read, expected)
    labels, notes = parsed.arrays["labels"], parsed.notes
    if expected is None:
        notes += (f"The content was not verified: no hash of {dataset} is known.",)
    classes = int(labels.max(initial=-1)) + 1
    return Task(name, "node", "cross_entropy", "accuracy", parsed.graphs, labels, classes, notes)


def parse(nodes: bytes, edges: bytes) -> Parsed:
    """A set from its two files: one undirected graph with features, and ``labels``, int32 [V].

    The first line of each is a header. A line of the nodes' file holds the node, its features and its label, with tabs
    between them. The features are a value for every column; or, where the header says ``feature_amount:N``, the columns
    that are 1, of N + 1 columns in all (film counts them from 0 to 931 and says 931).

    Args:
        nodes: Content of `NODES`.
        edges: Content of `EDGES`.

    Raises:
        UserError: A line is malformed, a node is absent or named twice, or an edge names a node that does not exist.
    """
    header, ids, rows, classes = _columns(nodes, NODES, 3, may_be_empty=1)
    numbers = read_table(ids, NODES, np.int64, 1)[:, 0]
    total = len(numbers)
    if not np.array_equal(np.sort(numbers), np.arange(total)):
        raise UserError(f"{NODES}: the nodes are not numbered 0 to {total - 1}, each once")
    amount = re.search(rb"feature_amount:\s*(\d{1,6})\b", header)
    features = _set_columns(rows, int(amount[1]) + 1) if amount else canonical_csr(_dense(rows))
    order = np.argsort(numbers)
    labels = class_labels(read_table(classes, NODES, np.int64, 1)[order, 0], f"{NODES}: labels")
    _, first, second = _columns(edges, EDGES, 2)
    ends = [read_table(column, EDGES, np.int64, 1)[:, 0] for column in (first, second)]
    senders, receivers, notes = drop_self_loops(*ends)
    graphs = Graphs.from_edges(features[order], senders, receivers, np.array([total]))
    matrix = canonical_csr(graphs.nodes)
    arrays = [graphs.senders, graphs.receivers, matrix.data, matrix.indices, matrix.indptr, labels]
    notes = (f"Features: {graphs.num_features} columns, as given.", *notes)
    return Parsed(graphs, {"labels": labels}, notes, hash_arrays("geom-gcn", arrays))


def _columns(content: bytes, file: str, count: int, may_be_empty: int | None = None) -> list[bytes]:
    """The header, and each column as a text of its own, with its lines where they were in the file."""
    lines = content.splitlines()
    if len(lines) < 2:
        raise UserError(f"{file} has no lines after its header")
    table = [line.split(b"\t") for line in lines[1:]]
    for number, fields in enumerate(table, 2):
        if len(fields) != count:
            raise UserError(f"{file}: line {number} has {len(fields)} columns between tabs, not {count}")
        if any(not field.strip() for column, field in enumerate(fields) if column != may_be_empty):
            raise UserError(f"{file}: line {number} has an empty column")
    return [lines[0], *(b"\n".join([b"", *column]) for column in zip(*table))]


def _dense(rows: bytes) -> np.ndarray:
    empty = [number for number, row in enumerate(rows.split(b"\n")[1:], 2) if not row.strip()]
    if empty:
        raise UserError(f"{NODES}: line {empty[0]} has no features")
    return read_table(rows, NODES, np.float64, None)


def _set_columns(rows: bytes, width: int) -> sparse.csr_matrix:
    """Rows that name the columns that are 1; an empty row names none."""
    lines = rows.split(b"\n")[1:]
    fields = [line.split(b",") if line.strip() else [] for line in lines]
    empty = [number for number, row in enumerate(fields, 2) if not all(field.strip() for field in row)]
    if empty:
        raise UserError(f"{NODES}: line {empty[0]} has an empty feature; take out the comma")
    counts = [len(row) for row in fields]
    whole = b"\n".join(field for row in fields for field in row)
    columns = read_table(whole, f"{NODES}: features", np.int64, 1)[:, 0] if whole else np.zeros(0, np.int64)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    outside = np.flatnonzero((columns < 0) | (columns >= width))
    if outside.size:
        line = int(np.searchsorted(indptr, outside[0], side="right")) + 1
        raise UserError(f"{NODES}: line {line} names feature {columns[outside[0]]}, not one of 0 to {width - 1}")
    ones = np.ones(len(columns), np.float32)
    matrix = canonical_csr(sparse.csr_matrix((ones, columns, indptr), shape=(len(lines), width)))
    matrix.data[:] = 1  # a feature that is named twice is still 1
    return matrix
