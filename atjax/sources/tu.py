"""Graph classification sets in the text format of the TU Dortmund collection (Morris et al., TUDataset, 2020)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from atjax.encoding import DEGREE_CAP
from atjax.errors import UserError
from atjax.sources.edges import drop_self_loops
from atjax.sources.features import categories, degrees
from atjax.sources.files import obtain, plain_name, read_archive
from atjax.sources.parsed import Parsed
from atjax.sources.text import read_table
from atjax.task import Graphs, Task, hash_arrays

Features = Literal["auto", "labels", "attributes", "degree", "constant"]
FEATURES: tuple[Features, ...] = get_args(Features)

MIRRORS: dict[str, tuple[str, ...]] = {
    "original": (
        "https://www.chrsmrrs.com/graphkerneldatasets/{dataset}.zip",
        "https://raw.githubusercontent.com/bknyaz/graph_nn/master/data/{dataset}.zip",
    ),
    "cleaned": ("https://raw.githubusercontent.com/nd7141/graph_datasets/master/datasets/{dataset}.zip",),
}
"""Where each version is published."""

FOLDERS = {"original": "tu-original", "cleaned": "tu"}
"""Folder of each version under the data root."""


def load(
    name: str,
    dataset: str,
    *,
    root: str | None = None,
    cleaned: bool = False,
    features: Features = "labels",
    attributes: bool = False,
    content: Mapping[str, str] | None = None,
    mirrors: Sequence[str] | None = None,
) -> Task:
    """A graph classification task from a TU set.

    Args:
        name: Name of the task.
        dataset: Name of the set in the collection, such as ``COX2``.
        root: Folder of the data, as in `atjax.config.data_root`.
        cleaned: The version without isomorphic graphs (Ivanov, Sviridov and Burnaev, 2019).
        features: ``labels``: one-hot over the node labels that occur; ``attributes``: the node attributes alone,
            z-scored; ``degree``: one-hot degree, `DEGREE_CAP` and more in one; ``constant``: 1; ``auto``: labels if the
            set has them, else attributes if it has those, else the degree. Sets without labels take the degree by
            default, since BatchNorm of the pre-process layers turns a constant into 0, which then says nothing.
        attributes: Append the node attributes, z-scored over all nodes of the set.
        content: Expected hash of each version, by ``original`` and ``cleaned``; None skips the check, and the notes say
            so.
        mirrors: URLs to download from instead of `MIRRORS`.

    Raises:
        UserError: The files are absent, broken or not the expected ones; a version or feature does not exist.
    """
    plain_name(name, "dataset", dataset)
    for option, value in {"cleaned": cleaned, "attributes": attributes}.items():
        if not isinstance(value, bool):
            raise UserError(f"{name}: {option}={value!r} is neither true nor false; give one of them.")
    version = "cleaned" if cleaned else "original"
    if content is not None and version not in content:
        raise UserError(f"{name}: no {version} version of {dataset} is known; take cleaned={str(not cleaned).lower()}.")

    path = f"{FOLDERS[version]}/{dataset}.zip"

    def read(files: Mapping[str, bytes]) -> Parsed:
        return parse(read_archive(files[path]), dataset)

    urls = [url.format(dataset=dataset) for url in (MIRRORS[version] if mirrors is None else mirrors)]
    expected = None if content is None else content[version]
    parsed = obtain(name, root, [path], [{path: url} for url in urls], f"tu {dataset}", read, expected)
    if content is None:
        note = f"The content was not verified: no hash of {dataset} is given."
        parsed = dataclasses.replace(parsed, notes=(*parsed.notes, note))
    return _task(name, parsed, features, attributes)


def _task(name: str, parsed: Parsed, features: Features, attributes: bool) -> Task:
    bare, notes = parsed.graphs, parsed.notes
    node_labels, node_attributes = parsed.arrays.get("node_labels"), parsed.arrays.get("node_attributes")
    if features == "auto":
        has_attributes = node_attributes is not None
        features = "labels" if node_labels is not None else "attributes" if has_attributes else "degree"
    columns: list[np.ndarray] = []
    if features == "labels":
        if node_labels is None:
            raise UserError(f"{name}: the set has no node labels; take features=degree or features=constant.")
        columns = categories(name, node_labels)
        notes += (f"Features: one-hot of {sum(one_hot.shape[1] for one_hot in columns)} node labels.",)
    elif features == "degree":
        columns = [degrees(bare)]
        notes += (f"Features: one-hot of the degree, {DEGREE_CAP} and more in one; the set itself has none.",)
    elif features == "constant":
        columns = [np.ones((bare.nodes.shape[0], 1), np.float32)]
        notes += ("Features: the constant 1.",)
    elif features != "attributes":
        raise UserError(f"{name}: features={features!r} is unknown; choose from {', '.join(FEATURES)}.")
    if attributes or features == "attributes":
        if node_attributes is None:
            raise UserError(f"{name}: the set has no node attributes; take attributes=false and features=auto.")
        spread = node_attributes.std(axis=0)
        columns.append((node_attributes - node_attributes.mean(axis=0)) / np.where(spread > 0, spread, 1.0))
        notes += (f"Features: {len(spread)} node attributes, z-scored over all nodes.",)
    graphs = dataclasses.replace(bare, nodes=_joined(columns))
    classes, labels = np.unique(parsed.arrays["graph_labels"], return_inverse=True)
    return Task(name, "graph", "cross_entropy", "accuracy", graphs, labels.astype(np.int32), len(classes), notes)


def _joined(columns: list[np.ndarray]) -> np.ndarray:
    """All columns side by side, without a copy where there is one block: DD's is of 105 MiB."""
    if len(columns) == 1:
        return np.asarray(columns[0], np.float32)
    return np.concatenate(columns, axis=1, dtype=np.float32)


def parse(members: Mapping[str, bytes], dataset: str) -> Parsed:
    """Parse and check the text files of a TU set.

    The graphs have no features yet, [V, 0]. Beside them are ``graph_labels`` as given, such as -1 and 1, [G]; and where
    the set has them ``node_labels``, [V], or [V, L] in the few sets that give L labels a node, and ``node_attributes``,
    float64 [V, D]. The content hash is the same whatever the order of the edges, and however often each is listed.

    Args:
        members: Content of each file by base name, such as ``COX2_A.txt``.
        dataset: Name of the set.

    Raises:
        UserError: A file is missing or not numeric, sizes do not match, an edge names a node that does not exist, or
            an attribute is not finite.
    """

    def table(part: str, dtype: type, columns: int | None = 1) -> np.ndarray:
        file = f"{dataset}_{part}.txt"
        if file not in members:
            raise UserError(f"the archive has no member {file}")
        return read_table(members[file], file, dtype, columns)

    def optional(part: str, dtype: type, columns: int | None = 1) -> np.ndarray | None:
        if f"{dataset}_{part}.txt" not in members:
            return None
        rows = table(part, dtype, columns)
        if len(rows) != num_nodes:
            raise UserError(
                f"{dataset}_{part}.txt has {len(rows)} lines but {dataset}_graph_indicator.txt has {num_nodes}"
            )
        return rows

    graph_labels = table("graph_labels", np.int64)[:, 0]
    indicator = table("graph_indicator", np.int64)[:, 0]
    num_graphs, num_nodes = len(graph_labels), len(indicator)
    descents = np.flatnonzero(np.diff(indicator) < 0)
    if descents.size:
        raise UserError(f"{dataset}_graph_indicator.txt: line {descents[0] + 2} goes back to an earlier graph")
    if num_nodes and (indicator[0] < 1 or indicator[-1] > num_graphs):
        bad = indicator[0] if indicator[0] < 1 else indicator[-1]
        raise UserError(
            f"{dataset}_graph_indicator.txt names graph {bad}, but {dataset}_graph_labels.txt has {num_graphs} graphs"
        )
    edges = table("A", np.int64, 2)
    outside = np.flatnonzero(((edges < 1) | (edges > num_nodes)).any(axis=1))
    if outside.size:
        raise UserError(
            f"{dataset}_A.txt: edge number {outside[0] + 1} is {tuple(edges[outside[0]].tolist())}, "
            f"but nodes are numbered 1 to {num_nodes}"
        )
    node_labels = optional("node_labels", np.int64, None)
    if node_labels is not None and node_labels.shape[1] == 1:
        node_labels = node_labels[:, 0]
    senders, receivers, notes = drop_self_loops(edges[:, 0] - 1, edges[:, 1] - 1)
    n_node = np.bincount(indicator - 1, minlength=num_graphs)
    graphs = Graphs.from_edges(np.empty((num_nodes, 0)), senders, receivers, n_node)
    found = {"labels": node_labels, "attributes": optional("node_attributes", np.float64, None)}
    present = {part: array for part, array in found.items() if array is not None}
    hashed = [graphs.senders, graphs.receivers, graphs.n_node, graph_labels]
    content = hash_arrays(f"tu {' '.join(present)}", hashed, list(present.values()))
    arrays = {"graph_labels": graph_labels} | {f"node_{part}": array for part, array in present.items()}
    return Parsed(graphs, arrays, notes, content)
