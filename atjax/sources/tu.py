"""Sets of graphs in the text format of the TU Dortmund collection (Morris et al., TUDataset, 2020).

Graphs have classes (``NAME_graph_labels.txt``) or numbers (``NAME_graph_attributes.txt``, as in QM9, ZINC_full and
alchemy_full: a line a graph, a column a target).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from atjax.encoding import DEGREE_CAP
from atjax.errors import UserError
from atjax.reading import choose_targets
from atjax.sources.edges import drop_self_loops
from atjax.sources.features import categories, degrees
from atjax.sources.files import obtain, plain_name, read_archive
from atjax.sources.parsed import Parsed
from atjax.sources.text import read_table
from atjax.task import METRICS, Graphs, Loss, Metric, Task, hash_arrays

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
    edges: bool = False,
    target: int | Sequence[int] | Literal["labels"] | None = None,
    metric: Metric | None = None,
    content: Mapping[str, str] | None = None,
    mirrors: Sequence[str] | None = None,
) -> Task:
    """A graph classification or regression task from a TU set.

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
        edges: Take the edge labels, one-hot, and the edge attributes, z-scored, as edge features. Off by default: the
            published results that a bank is compared with do without.
        target: Of a set with graph attributes, which of them are to be learnt, counted from 0: one, a list, or None for
            all; ``labels`` for the classes instead, if the set has both.
        metric: One of `atjax.task.METRICS` of the loss; None for accuracy, or mean absolute error of numbers.
        content: Expected hash of each version, by ``original`` and ``cleaned``; None skips the check, and the notes say
            so.
        mirrors: URLs to download from instead of `MIRRORS`.

    Raises:
        UserError: The files are absent, broken or not the expected ones; a version, feature, target or metric does not
            exist.
    """
    plain_name(name, "dataset", dataset)
    for option, value in {"cleaned": cleaned, "attributes": attributes, "edges": edges}.items():
        if not isinstance(value, bool):
            raise UserError(f"{name}: {option}={value!r} is neither true nor false; give one of them.")
    version = "cleaned" if cleaned else "original"
    if content is not None and version not in content:
        raise UserError(f"{name}: no {version} version of {dataset} is known; take cleaned={str(not cleaned).lower()}.")

    path = f"{FOLDERS[version]}/{dataset}.zip"

    def read(files: Mapping[str, bytes]) -> Parsed:
        return parse(read_archive(files[path]), dataset, edges=edges)

    urls = [url.format(dataset=dataset) for url in (MIRRORS[version] if mirrors is None else mirrors)]
    expected = None if content is None else content[version]
    kind = f"tu {dataset}{' with edges' * edges}"
    parsed = obtain(name, root, [path], [{path: url} for url in urls], kind, read, expected)
    if content is None:
        note = f"The content was not verified: no hash of {dataset} is given."
        parsed = dataclasses.replace(parsed, notes=(*parsed.notes, note))
    if edges and parsed.graphs.edges is None:
        raise UserError(f"{name}: the set has neither edge labels nor edge attributes; take edges=false.")
    graphs, notes = _with_features(name, parsed, features, attributes)
    labels, loss, outputs = _targets(name, parsed, target)
    chosen = METRICS[loss][0] if metric is None else metric
    return Task(name, "graph", loss, chosen, graphs, labels, outputs, notes)


def _targets(name: str, parsed: Parsed, target: object) -> tuple[np.ndarray, Loss, int]:
    """Labels, loss and number of outputs."""
    numbers, classes = parsed.arrays.get("graph_attributes"), parsed.arrays.get("graph_labels")
    if numbers is None or target == "labels":
        if target not in (None, "labels"):
            raise UserError(f"{name}: target={target!r} is for sets with graph attributes, which this has not.")
        if classes is None:
            raise UserError(f"{name}: the set has no graph labels, but graph attributes; take target=null.")
        found, labels = np.unique(classes, return_inverse=True)
        return labels.astype(np.int32), "cross_entropy", len(found)
    try:
        table = choose_targets(numbers, target)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return table.astype(np.float32), "mse", table.shape[1]


def _with_features(name: str, parsed: Parsed, features: Features, attributes: bool) -> tuple[Graphs, tuple[str, ...]]:
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
    return dataclasses.replace(bare, nodes=_joined(columns)), notes


def _joined(columns: list[np.ndarray]) -> np.ndarray:
    """All columns side by side, without a copy where there is one block: DD's is of 105 MiB."""
    if len(columns) == 1:
        return np.asarray(columns[0], np.float32)
    return np.concatenate(columns, axis=1, dtype=np.float32)


def parse(members: Mapping[str, bytes], dataset: str, *, edges: bool = False) -> Parsed:
    """Parse and check the text files of a TU set.

    The graphs have no features yet, [V, 0]. Beside them are ``graph_labels`` as given, such as -1 and 1, [G], and
    ``graph_attributes``, float64 [G, K], at least one of the two; and where the set has them ``node_labels``, [V], or
    [V, L] in the few sets that give L labels a node, and ``node_attributes``, float64 [V, D]. The content hash is the
    same whatever the order of the edges, and however often each is listed.

    Args:
        members: Content of each file by base name, such as ``COX2_A.txt``.
        dataset: Name of the set.
        edges: Whether to read edge labels and attributes, too; the content hash does not count them.

    Raises:
        UserError: A file is missing or not numeric, sizes do not match, an edge names a node that does not exist, or
            an attribute is not finite.
    """
    tables = read_tables(members, dataset, edges=edges)
    pairs = tables["A"] - 1
    features = _edge_features(tables) if edges else None
    senders, receivers, notes = drop_self_loops(pairs[:, 0], pairs[:, 1])
    if features is not None:
        features = features[pairs[:, 0] != pairs[:, 1]]
        kinds = {"labels": "one-hot", "attributes": "z-scored"}
        found = [f"edge {part} ({how})" for part, how in kinds.items() if f"edge_{part}" in tables]
        notes += (f"Edge features: {features.shape[1]} columns, of {' and '.join(found)}.",)
    n_node = tables["n_node"]
    graphs = Graphs.from_edges(np.empty((n_node.sum(), 0)), senders, receivers, n_node, edges=features)
    arrays = {"graph_labels": tables["graph_labels"][:, 0]} if "graph_labels" in tables else {}
    present = []
    if "node_labels" in tables:
        labels = tables["node_labels"]
        arrays["node_labels"] = labels[:, 0] if labels.shape[1] == 1 else labels
        present.append("labels")
    if "node_attributes" in tables:
        arrays["node_attributes"] = tables["node_attributes"]
        present.append("attributes")
    hashed = [graphs.senders, graphs.receivers, graphs.n_node, *arrays.values()]
    targets = []
    if "graph_attributes" in tables:
        arrays["graph_attributes"] = tables["graph_attributes"]
        targets = [arrays["graph_attributes"]]
    return Parsed(graphs, arrays, notes, hash_arrays(f"tu {' '.join(present)}", hashed, targets))


def _edge_features(tables: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """One-hot edge labels and z-scored edge attributes of all edges as they are listed, [E, K]; None without any."""
    columns: list[np.ndarray] = []
    if "edge_labels" in tables:
        columns = categories("edge labels", tables["edge_labels"])
    if "edge_attributes" in tables:
        given = tables["edge_attributes"]
        spread = given.std(axis=0)
        columns.append((given - given.mean(axis=0)) / np.where(spread > 0, spread, 1.0))
    return _joined(columns) if columns else None


def read_tables(members: Mapping[str, bytes], dataset: str, *, edges: bool = True) -> dict[str, np.ndarray]:
    """The tables of a TU set, those that there are, checked against each other.

    Args:
        members: Content of each file by base name.
        dataset: Name of the set.
        edges: Whether to read edge labels and attributes.

    Returns:
        ``A`` int64 [E, 2], nodes counted from 1; ``n_node`` int64 [G]; ``graph_labels`` [G, 1], ``graph_attributes``
        [G, K], NaN where one is missing; ``node_labels`` [V, L], ``edge_labels`` [E, L]: int64; ``node_attributes``
        [V, D], ``edge_attributes`` [E, D]: float64.

    Raises:
        UserError: As `parse`.
    """

    def there(part: str) -> bool:
        return f"{dataset}_{part}.txt" in members

    def table(part: str, dtype: type, columns: int | None = 1, *, missing: bool = False) -> np.ndarray:
        file = f"{dataset}_{part}.txt"
        if not there(part):
            raise UserError(f"the archive has no member {file}")
        return read_table(members[file], file, dtype, columns, missing=missing)

    found: dict[str, np.ndarray] = {}
    numbers = there("graph_attributes")
    if there("graph_labels") or not numbers:
        found["graph_labels"] = table("graph_labels", np.int64)
    if numbers:
        found["graph_attributes"] = table("graph_attributes", np.float64, None, missing=True)
    first, *others = found
    num_graphs = len(found[first])
    for part in others:
        _same_length(dataset, part, len(found[part]), first, num_graphs)
    indicator = table("graph_indicator", np.int64)[:, 0]
    num_nodes = len(indicator)
    descents = np.flatnonzero(np.diff(indicator) < 0)
    if descents.size:
        raise UserError(f"{dataset}_graph_indicator.txt: line {descents[0] + 2} goes back to an earlier graph")
    if num_nodes and (indicator[0] < 1 or indicator[-1] > num_graphs):
        bad = indicator[0] if indicator[0] < 1 else indicator[-1]
        raise UserError(
            f"{dataset}_graph_indicator.txt names graph {bad}, but {dataset}_{first}.txt has {num_graphs} graphs"
        )
    found["n_node"] = np.bincount(indicator - 1, minlength=num_graphs)
    found["A"] = pairs = table("A", np.int64, 2)
    if len(pairs) and (pairs.min() < 1 or pairs.max() > num_nodes):
        outside = np.flatnonzero(((pairs < 1) | (pairs > num_nodes)).any(axis=1))
        raise UserError(
            f"{dataset}_A.txt: edge number {outside[0] + 1} is {tuple(pairs[outside[0]].tolist())}, "
            f"but nodes are numbered 1 to {num_nodes}"
        )
    for part, dtype in (("labels", np.int64), ("attributes", np.float64)):
        for kind, owner, count in (("node", "graph_indicator", num_nodes), ("edge", "A", len(pairs))):
            if there(f"{kind}_{part}") and (edges or kind == "node"):
                found[f"{kind}_{part}"] = rows = table(f"{kind}_{part}", dtype, None)
                _same_length(dataset, f"{kind}_{part}", len(rows), owner, count)
    return found


def _same_length(dataset: str, part: str, rows: int, other: str, expected: int) -> None:
    if rows != expected:
        raise UserError(f"{dataset}_{part}.txt has {rows} lines but {dataset}_{other}.txt has {expected}")
