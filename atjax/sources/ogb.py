"""Node and graph property sets of the Open Graph Benchmark (Hu et al., 2020) in their CSV layout.

An archive holds, in a folder of its own, gzipped tables without header: ``raw/edge`` (two nodes an edge, counted within
each graph), ``raw/num-node-list`` and ``raw/num-edge-list`` (a line a graph), ``raw/node-feat`` if there are features,
``raw/edge-feat`` if edges have any, ``raw/node-label`` or ``raw/graph-label``, and ``split/NAME/train``, ``valid`` and
``test`` (ids).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from atjax.encoding import DEGREE_CAP
from atjax.errors import UserError
from atjax.sources.arrays import class_labels
from atjax.sources.edges import drop_self_loops
from atjax.sources.features import categories, degrees
from atjax.sources.files import obtain, plain_name, read_archive
from atjax.sources.parsed import Parsed
from atjax.sources.text import read_table
from atjax.task import Graphs, Level, Metric, Split, Task, hash_arrays

PUBLISHED = "https://snap.stanford.edu/ogb/data"
"""Where the sets are published."""

FILES = {"lipo": "lipophilicity"}
"""Molecule sets whose archive has another name than the set."""

MEMBERS = (
    r"(?:^|/)(raw/(?:edge|num-node-list|num-edge-list|node-feat|edge-feat|node-label|graph-label)|split/[^/]+/\w+)\.csv"
)
"""Paths of the members that are read."""

PARTS = ("train", "valid", "test")

NODE_LIMIT = 2**27
"""Nodes of a set: graphs are told by counts, so that a short damaged file could claim any number of them."""

Features = Literal["auto", "given", "categories", "degree"]


def load(
    name: str,
    dataset: str,
    *,
    root: str | None = None,
    features: Features = "auto",
    edges: bool = True,
    target: int | None = None,
    loss: Literal["auto", "cross_entropy", "mse"] = "auto",
    metric: Literal["auto", "accuracy", "roc_auc", "mae"] = "auto",
    split: str = "own",
    content: str | None = None,
    counts: Mapping[str, int] | None = None,
    mirrors: Sequence[str] | None = None,
) -> Task:
    """A task from an archive of the collection; directed edges are made undirected.

    Args:
        name: Name of the task.
        dataset: Name of the set, such as ``ogbn-arxiv`` or ``ogbg-molhiv``; its archive ``arxiv.zip`` or ``hiv.zip``
            lies under ``ogb/`` in the data folder.
        root: Folder of the data, as in `atjax.config.data_root`.
        features: ``given``: the numbers as they are; ``categories``: a one-hot for each column over the values that
            occur in it; ``degree``: one-hot degree; ``auto``: categories where all are whole numbers, as in molecules,
            the degree where there are none, else as given.
        edges: Whether to take edge features, if the set has some: whole numbers as categories, others as given.
        target: Column of the labels; needed where there are several.
        loss: ``cross_entropy`` or ``mse``; ``auto``: cross-entropy if all labels are whole numbers, 0 or more.
        metric: ``auto``: mean absolute error of numbers, ROC-AUC of two classes, accuracy of more.
        split: ``own``: the set's own split, if it has one; its name, if it has more; or ``random``: by seed, as the
            other tasks.
        content: Expected hash; None skips the check.
        counts: Expected numbers, as in `atjax.sources.files.check_counts`.
        mirrors: URLs to download from instead of the published ones.

    Raises:
        UserError: The file is absent, broken or not the expected one; a value is unknown.
    """
    plain_name(name, "dataset", dataset)
    options = {"features": (features, get_args(Features)), "loss": (loss, ("auto", "cross_entropy", "mse"))}
    for option, (value, known) in (options | {"metric": (metric, ("auto", *get_args(Metric)))}).items():
        if value not in known:
            raise UserError(f"{name}: {option}={value!r} is unknown; choose from {', '.join(known)}.")
    if not isinstance(edges, bool):
        raise UserError(f"{name}: edges={edges!r} is neither true nor false; give one of them.")
    file, urls = archive(dataset)
    path = f"ogb/{file}.zip"

    def read(files: Mapping[str, bytes]) -> Parsed:
        return parse(read_archive(files[path], _member), edges=edges)

    tried = [{path: url} for url in (urls if mirrors is None else mirrors)]
    kind = "ogb" if edges else "ogb without edge features"
    parsed = obtain(name, root, [path], tried, kind, read, content, counts)
    labels, labelled = _labels(name, parsed.arrays["labels"], target, loss)
    graphs, notes = _with_features(name, parsed.graphs, features)
    level: Level = "node" if "of nodes" in parsed.arrays else "graph"
    fixed = None if split == "random" else _own_split(name, parsed.arrays, split, labelled)
    notes = (*notes, *parsed.notes)
    if fixed is not None:
        notes += ("Split: the set's own.",)
    if content is None:
        notes += (f"The content was not verified: no hash of {dataset} is given.",)
    if labels.dtype == np.float32:
        return Task(name, level, "mse", "mae" if metric == "auto" else metric, graphs, labels, 1, notes, fixed)
    classes = int(labels.max(initial=-1)) + 1
    chosen: Metric = metric if metric != "auto" else "roc_auc" if classes == 2 else "accuracy"
    return Task(name, level, "cross_entropy", chosen, graphs, labels, classes, notes, fixed)


def archive(dataset: str) -> tuple[str, list[str]]:
    """Name of a set's archive without its ending, and where to get it, as far as that is known."""
    if dataset.startswith("ogbn-"):
        file = dataset.removeprefix("ogbn-")
        return file, [f"{PUBLISHED}/nodeproppred/{file}.zip"]
    if dataset.startswith("ogbg-mol"):
        molecules = dataset.removeprefix("ogbg-mol")
        file = FILES.get(molecules, molecules)
        return file, [f"{PUBLISHED}/graphproppred/csv_mol_download/{file}.zip"]
    return dataset, []


def _member(path: str) -> str | None:
    found = re.search(rf"{MEMBERS}(\.gz)?$", path)
    return f"{found[1]}.csv{found[2] or ''}" if found else None


def parse(members: Mapping[str, bytes], *, edges: bool = True) -> Parsed:
    """Parse and check the tables of a set.

    The graphs have the features of ``node-feat``, or none, [V, 0]; those of a node task are joined to one. Beside them
    are ``labels``, float64 [N, T], NaN where one is missing; ``of nodes`` (empty) if they are of nodes; and
    ``split NAME PART``, int64. The content hash does not count edge features.

    Args:
        members: Content of each table by its path, such as ``raw/edge.csv``.
        edges: Whether to read edge features.

    Raises:
        UserError: A table is missing or not numeric, or tables do not fit together.
    """

    def table(part: str, dtype: type, columns: int | None = 1, *, missing: bool = False) -> np.ndarray:
        if f"{part}.csv" not in members:
            raise UserError(f"the archive has no member {part}.csv or {part}.csv.gz")
        return read_table(members[f"{part}.csv"], part, dtype, columns, missing=missing)

    n_node, n_edge = table("raw/num-node-list", np.int64)[:, 0], table("raw/num-edge-list", np.int64)[:, 0]
    for part, sizes in {"num-node-list": n_node, "num-edge-list": n_edge}.items():
        if sizes.min() < 0 or sizes.max() > NODE_LIMIT or sizes.sum() > NODE_LIMIT:
            raise UserError(f"raw/{part} holds a negative number, or more than {NODE_LIMIT:,} in all")
    total = int(n_node.sum())
    pairs = table("raw/edge", np.int64, 2) if n_edge.sum() else np.zeros((0, 2), np.int64)
    if len(n_node) != len(n_edge) or len(pairs) != n_edge.sum():
        raise UserError(
            f"raw/num-node-list has {len(n_node)} graphs, raw/num-edge-list {len(n_edge)} with {n_edge.sum():,} edges, "
            f"and raw/edge has {len(pairs):,} edges"
        )
    graph_of = np.repeat(np.arange(len(n_node)), n_edge)
    outside = np.flatnonzero(((pairs < 0) | (pairs >= n_node[graph_of, None])).any(axis=1))
    if outside.size:
        first = int(outside[0])
        raise UserError(
            f"raw/edge: line {first + 1} is {tuple(pairs[first].tolist())}, but graph {graph_of[first]} has "
            f"{n_node[graph_of[first]]} nodes, counted from 0"
        )
    nodes = table("raw/node-feat", np.float64, None) if "raw/node-feat.csv" in members else np.zeros((total, 0))
    if len(nodes) != total:
        raise UserError(f"raw/node-feat has {len(nodes)} lines, but there are {total} nodes")
    of_nodes = "raw/node-label.csv" in members
    labels = table("raw/node-label" if of_nodes else "raw/graph-label", np.float64, None, missing=True)
    if len(labels) != (total if of_nodes else len(n_node)):
        raise UserError(f"there are {len(labels)} labels for {total} nodes in {len(n_node)} graphs; give one line each")
    arrays = {"labels": labels} | ({"of nodes": np.zeros(0)} if of_nodes else {}) | _splits(members, len(labels))
    joined = pairs + (np.cumsum(n_node) - n_node)[graph_of, None]
    senders, receivers, notes = drop_self_loops(*joined.T)
    features = None
    if edges and len(pairs) and "raw/edge-feat.csv" in members:
        given = table("raw/edge-feat", np.float64, None)
        if len(given) != len(pairs):
            raise UserError(f"raw/edge-feat has {len(given)} lines, but there are {len(pairs)} edges")
        whole = bool(np.all(given == np.floor(given)))
        features = np.concatenate(categories("edge features", given), axis=1) if whole else given
        how = f"one-hot of {given.shape[1]} columns, {features.shape[1]} values in all" if whole else "as given"
        notes += (f"Edge features: {how}.",)
        features = features[joined[:, 0] != joined[:, 1]]
    graphs = Graphs.from_edges(nodes, senders, receivers, np.array([total]) if of_nodes else n_node, edges=features)
    hashed = [graphs.senders, graphs.receivers, graphs.n_node, graphs.dense().nodes]
    return Parsed(graphs, arrays, notes, hash_arrays(f"ogb {' '.join(arrays)}", hashed, list(arrays.values())))


def _splits(members: Mapping[str, bytes], count: int) -> dict[str, np.ndarray]:
    splits: dict[str, np.ndarray] = {}
    for kind in sorted({path.split("/")[1] for path in members if path.startswith("split/")}):
        seen = np.zeros(count, bool)
        for part in PARTS:
            path = f"split/{kind}/{part}"
            if f"{path}.csv" not in members:
                raise UserError(f"the archive has no member {path}.csv or {path}.csv.gz")
            ids = read_table(members[f"{path}.csv"], path, np.int64, 1)[:, 0]
            bad = np.flatnonzero((ids < 0) | (ids >= count))
            if bad.size:
                raise UserError(f"{path}: line {bad[0] + 1} is {ids[bad[0]]}, but ids go from 0 to {count - 1}")
            if len(np.unique(ids)) < len(ids) or seen[ids].any():
                raise UserError(f"{path}: an example is named twice, or is in another part too")
            seen[ids] = True
            splits[f"split {kind} {part}"] = np.sort(ids)
    return splits


def _labels(name: str, table: np.ndarray, target: int | None, loss: str) -> tuple[np.ndarray, np.ndarray]:
    """Classes, int32 [N], or numbers, float32 [N, 1]; and which examples have one."""
    several = table.shape[1] > 1
    if (target is None and several) or (target is not None and not _is_column(target, table.shape[1])):
        raise UserError(
            f"{name}: target={target!r} is no column of the labels, of which there are {table.shape[1]}; give a whole "
            f"number, 0 to {table.shape[1] - 1}."
        )
    column = table[:, target or 0]
    labelled = ~np.isnan(column)
    known = column[labelled]
    whole = bool(np.all((known >= 0) & (known == np.floor(known)) & (known < 2**31)))
    if loss == "mse" or (loss == "auto" and not whole):
        if not labelled.all():
            raise UserError(f"{name}: example {np.flatnonzero(~labelled)[0]} has no label; take another target.")
        return column[:, None].astype(np.float32), labelled
    if not whole:
        raise UserError(f"{name}: the labels are no classes counted from 0; take loss=mse.")
    try:
        return class_labels(np.where(labelled, column, -1).astype(np.int64), "labels"), labelled
    except UserError as error:
        raise UserError(f"{name}: {error}; or take loss=mse.") from None


def _is_column(target: object, count: int) -> bool:
    return isinstance(target, int) and not isinstance(target, bool) and 0 <= target < count


def _with_features(name: str, graphs: Graphs, features: str) -> tuple[Graphs, tuple[str, ...]]:
    nodes = graphs.dense().nodes
    assert isinstance(nodes, np.ndarray)
    if features == "auto":
        features = "degree" if not nodes.shape[1] else "categories" if np.all(nodes == np.floor(nodes)) else "given"
    if features == "degree":
        made, note = degrees(graphs), f"one-hot of the degree, {DEGREE_CAP} and more in one"
    elif not nodes.shape[1]:
        raise UserError(f"{name}: the set has no node features; take features=degree.")
    elif features == "categories":
        made = np.concatenate(categories(name, nodes), axis=1)
        note = f"one-hot of {nodes.shape[1]} columns, {made.shape[1]} values in all"
    else:
        made, note = nodes, f"{nodes.shape[1]} columns, as given"
    replaced = dataclasses.replace(graphs, nodes=np.asarray(made, np.float32))
    return replaced, (f"Features: {note}.",)


def _own_split(name: str, arrays: Mapping[str, np.ndarray], kind: str, labelled: np.ndarray) -> Split:
    kinds = sorted({key.split()[1] for key in arrays if key.startswith("split ")})
    if kind == "own" and len(kinds) == 1:
        kind = kinds[0]
    if kind not in kinds:
        raise UserError(f"{name}: split={kind!r} is unknown; choose from {', '.join(['random', *kinds])}.")
    parts = [arrays[f"split {kind} {part}"] for part in PARTS]
    parts = [ids[labelled[ids]] for ids in parts]
    if not all(ids.size for ids in parts):
        raise UserError(f"{name}: a part of split={kind} has no example with a label; take split=random.")
    return Split(*parts)
