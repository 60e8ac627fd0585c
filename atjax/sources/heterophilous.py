"""Node classification sets whose neighbours often differ in class, as npz files with ten splits each.

The files are those of Platonov et al. (A critical look at the evaluation of GNNs under heterophily, ICLR 2023), who
publish the older sets of Pei et al. (Geom-GCN, ICLR 2020) in the same format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from atjax.errors import UserError
from atjax.sources.arrays import class_labels, read_array, whole_numbers
from atjax.sources.edges import drop_self_loops
from atjax.sources.files import obtain, read_archive
from atjax.sources.parsed import Parsed
from atjax.task import Graphs, Metric, Split, Task, canonical_csr, hash_arrays

MIRRORS = ("https://raw.githubusercontent.com/yandex-research/heterophilous-graphs/main/data/{dataset}.npz",)
"""Where the files are published."""

MASKS = ("train_masks", "val_masks", "test_masks")
"""Arrays of the splits: of training, validation and test nodes, a row for each split."""

METRICS: tuple[Metric, ...] = ("accuracy", "roc_auc")
"""Metrics of classification."""


def load(
    name: str,
    dataset: str,
    *,
    root: str | None = None,
    split: str | int = "random",
    metric: Metric = "accuracy",
    content: str | None = None,
    mirrors: Sequence[str] = MIRRORS,
) -> Task:
    """A node classification task from a file of the collection.

    Args:
        name: Name of the task.
        dataset: Name of the file under ``heterophilous/`` in the data folder, without its ending.
        root: Folder of the data, as in `atjax.config.data_root`.
        split: ``random``: by seed, 50/25/25, as for every other node task (paper, section 5.1); or the number of one
            of the set's own splits, 0 to 9, which then holds whatever the seed.
        metric: ``accuracy`` or ``roc_auc``.
        content: Expected hash; None skips the check.
        mirrors: URLs to download from, with ``{dataset}`` in them.

    Raises:
        UserError: The file is absent, broken or not the expected one; there is no such split or metric.
    """
    if metric not in METRICS:
        raise UserError(f"{name}: metric={metric!r} is unknown; choose from {', '.join(METRICS)}.")
    path = f"heterophilous/{dataset}.npz"

    urls = [{path: url.format(dataset=dataset)} for url in mirrors]
    parsed = obtain(name, root, [path], urls, "heterophilous", lambda files: parse(files[path]), content)
    labels, masks, notes = parsed.arrays["labels"], parsed.arrays["masks"], parsed.notes
    fixed = None if split == "random" else _own_split(name, masks, split)
    if fixed is not None:
        notes += (f"Split: number {split} of the set's own {masks.shape[1]}.",)
    classes = int(labels.max(initial=-1)) + 1
    return Task(name, "node", "cross_entropy", metric, parsed.graphs, labels, classes, notes, fixed)


def _own_split(name: str, masks: np.ndarray, number: str | int) -> Split:
    count = masks.shape[1]
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < count:
        raise UserError(f"{name}: split={number!r} is unknown; give random, or a number from 0 to {count - 1}.")
    return Split(*(np.flatnonzero(part[number]) for part in masks))


def parse(content: bytes) -> Parsed:
    """A set from the bytes of its npz file: one undirected graph with its features as CSR, ``labels``, int32 [V], -1
    where a node has none, and ``masks``: which nodes belong to each part of each of the S splits, bool [3, S, V].

    No pickle is read.

    Raises:
        UserError: The archive is damaged, an array is missing, or arrays do not fit together.
    """
    members = read_archive(content)
    features, edges = read_array(members, "node_features"), read_array(members, "edges")
    labels = class_labels(read_array(members, "node_labels"), "node_labels")
    if features.ndim != 2 or len(features) != len(labels):
        raise UserError(f"node_features has the shape {features.shape}, but there are {len(labels)} node_labels")
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise UserError(f"edges has the shape {edges.shape}; give two nodes an edge")
    senders, receivers, notes = drop_self_loops(*whole_numbers(edges, "edges").T)
    # Most entries of these features are 0.
    graphs = Graphs.from_edges(canonical_csr(features), senders, receivers, np.array([len(labels)]))
    masks, matrix = _masks(members, labels), canonical_csr(graphs.nodes)
    arrays = [matrix.data, matrix.indices, matrix.indptr, labels, masks.astype(np.int8)]
    found = hash_arrays("heterophilous", [graphs.senders, graphs.receivers], arrays)
    notes = (f"Features: {graphs.num_features} columns, as given.", *notes)
    return Parsed(graphs, {"labels": labels, "masks": masks}, notes, found)


def _masks(members: Mapping[str, bytes], labels: np.ndarray) -> np.ndarray:
    masks = {key: read_array(members, key) for key in MASKS}
    for key, mask in masks.items():
        if mask.dtype.kind != "b" or mask.ndim != 2 or mask.shape[1] != len(labels):
            raise UserError(f"{key} is {mask.dtype} of the shape {mask.shape}; give true or false for every node")
    if len({len(mask) for mask in masks.values()}) > 1:
        raise UserError(f"{', '.join(MASKS)} differ in their number of splits")
    stacked = np.stack(list(masks.values()))
    twice = np.argwhere(stacked.sum(axis=0) > 1)
    if twice.size:
        raise UserError(f"node {twice[0][1]} is in two parts of split {twice[0][0]}; leave it in one")
    for key, mask in masks.items():
        if not mask.any(axis=1).all():
            raise UserError(f"{key}: split {int(np.flatnonzero(~mask.any(axis=1))[0])} has no nodes")
        if np.any(mask & (labels < 0)):
            raise UserError(f"{key}: node {np.argwhere(mask & (labels < 0))[0][1]} has no label; take it out")
    return stacked
