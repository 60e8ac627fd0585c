"""Node classification sets in the npz format of Shchur et al. (Pitfalls of GNN evaluation, 2018): CSR arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from atjax.errors import UserError
from atjax.sources.arrays import class_labels, compressed_rows, read_array, whole_numbers
from atjax.sources.edges import drop_self_loops
from atjax.sources.files import obtain, read_archive
from atjax.sources.parsed import Parsed
from atjax.task import Graphs, Task, hash_arrays

MIRRORS = ("https://raw.githubusercontent.com/shchur/gnn-benchmark/master/data/npz/{published}.npz",)
"""Where the files are published."""


def load(
    name: str,
    dataset: str,
    published: str,
    *,
    root: str | None = None,
    content: str | None = None,
    counts: Mapping[str, int] | None = None,
    mirrors: Sequence[str] = MIRRORS,
) -> Task:
    """A node classification task from an npz file; directed edges are made undirected.

    Args:
        name: Name of the task.
        dataset: Name of the file under ``npz/`` in the data folder, without its ending.
        published: Name of the file where it is published, without its ending.
        root: Folder of the data, as in `atjax.config.data_root`.
        content: Expected hash; None skips the check.
        counts: Expected numbers, for a set whose hash is not known, as in `atjax.sources.files.check_counts`.
        mirrors: URLs to download from, with ``{published}`` in them.

    Raises:
        UserError: The file is absent, broken or not the expected one.
    """
    path = f"npz/{dataset}.npz"

    urls = [{path: url.format(published=published)} for url in mirrors]
    parsed = obtain(name, root, [path], urls, "npz", lambda files: parse(files[path]), content, counts)
    labels = parsed.arrays["labels"]
    classes = int(labels.max(initial=-1)) + 1
    return Task(name, "node", "cross_entropy", "accuracy", parsed.graphs, labels, classes, parsed.notes)


def parse(content: bytes) -> Parsed:
    """Graph and ``labels``, int32 [V], from the bytes of an npz file. No pickle is read.

    Raises:
        UserError: The archive is damaged, an array is missing, or arrays do not fit together.
    """
    adjacency, features, labels = matrices(read_archive(content))
    edges = adjacency.tocoo()
    senders, receivers, notes = drop_self_loops(edges.row, edges.col)
    graphs = Graphs.from_edges(features, senders, receivers, np.array([len(labels)]))
    arrays = [graphs.senders, graphs.receivers, features.data, features.indices, features.indptr, labels]
    notes = (f"Features: a bag of {features.shape[1]} words.", *notes)
    return Parsed(graphs, {"labels": labels}, notes, hash_arrays("npz", arrays))


def matrices(members: Mapping[str, bytes]) -> tuple[sparse.csr_matrix, sparse.csr_matrix, np.ndarray]:
    """Adjacency [V, V], features [V, D] and labels, int32 [V], of an archive's members.

    Raises:
        UserError: An array is missing, or arrays do not fit together.
    """
    adjacency, features = _csr(members, "adj"), _csr(members, "attr")
    labels = class_labels(read_array(members, "labels"), "labels")
    if adjacency.shape != (len(labels), len(labels)) or features.shape[0] != len(labels):
        raise UserError(
            f"adj is {adjacency.shape[0]} x {adjacency.shape[1]} and attr has {features.shape[0]} rows, "
            f"but there are {len(labels)} labels"
        )
    return adjacency, features, labels


def _csr(members: Mapping[str, bytes], part: str) -> sparse.csr_matrix:
    fields = ("data", "indices", "indptr", "shape")
    data, indices, indptr, shape = (read_array(members, f"{part}_{field}") for field in fields)
    return compressed_rows(data, indices, indptr, whole_numbers(shape.ravel(), f"{part}_shape").tolist(), part)
