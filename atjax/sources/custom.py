"""A user's own data: a folder or a zip of tables or of a TU set, or an npz file. See ``docs/data.md``."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from atjax import interop
from atjax.encoding import Encoding
from atjax.errors import UserError
from atjax.raw import RawGraphs, Where, names_of, parts_of_sets
from atjax.sources import heterophilous, npz, tables, tu
from atjax.sources.arrays import read_array
from atjax.sources.decode import as_utf8, gunzip
from atjax.sources.files import read_archive
from atjax.task import Loss, Metric, Task

LAYOUTS = (
    "a folder or zip with nodes.csv and edges.csv (or .tsv, .parquet, .gz), one of a TU set (NAME_A.txt and the like), "
    "or an npz file"
)
"""What can be read."""

ARRAYS = ("x", "edge_index", "edge_attr", "edge_weight", "y", "graph", *interop.MASKS)
"""Arrays of an npz file that are read, where it has an ``edge_index``."""


def load(
    name: str,
    path: str,
    *,
    level: Literal["node", "graph"] | None = None,
    loss: Loss | None = None,
    metric: Metric | None = None,
    label: str = "label",
    ignore: str | Sequence[str] = (),
    categories: str | Sequence[str] = (),
    directed: bool = False,
    unlabelled: Hashable | None = None,
    target: int | Sequence[int] | None = None,
) -> Task:
    """A task from files of the user's own; which layout they have is found out, and said in the notes.

    Args:
        name: Name of the task.
        path: A folder or a file; a relative path counts from the working directory.
        level: As in `atjax.task.Options`, and so the next two.
        loss: None to choose by the labels.
        metric: None for the first of the loss.
        label: Column of the labels, in tables.
        ignore: Attributes of nodes and edges, such as columns of tables, that are not used; one, or several.
        categories: As in `atjax.task.Options`, and so the next two.
        directed: Keep the direction of edges.
        unlabelled: A label that says that there is none.
        target: As in `atjax.task.Options`.

    Raises:
        UserError: There are no such files, their layout is unknown, or they are faulty: names file and place.
    """
    if not isinstance(directed, bool):
        raise UserError(f"{name}: directed={directed!r} is neither true nor false; give one of them.")
    path = str(path)  # on a command line 2024 is a number
    raw = read(path, label=label, ignore=ignore)
    try:
        return Task.from_raw(
            raw,
            name=name,
            level=level,
            loss=loss,
            metric=metric,
            categories=categories,
            directed=directed,
            unlabelled=unlabelled,
            target=target,
        )
    except UserError as error:
        raise located(path, error, name) from None


def read(
    path: str | Path, *, label: str = "label", ignore: str | Collection[str] = (), encoding: Encoding | None = None
) -> RawGraphs:
    """Graphs from files of the user's own, before anything is made of attributes and labels; there may be no labels.

    Args:
        path: As in `load`, and so the next two.
        label: Column of the labels, in tables.
        ignore: Attributes that are not used.
        encoding: Of tables, read only the attributes that this needs, and neither labels nor a split: for graphs that
            are to be predicted.

    Raises:
        UserError: As `load`.
    """
    try:
        return _read(Path(path).expanduser(), label, names_of(ignore, "ignore"), encoding)
    except UserError as error:
        raise located(path, error) from None


def located(path: str | Path, error: UserError, name: str = "") -> UserError:
    """The error with the path before it, in place of the name of the task."""
    return UserError(f"{path}: {str(error).removeprefix(f'{name}: ').rstrip('.')}.")


def _read(path: Path, label: str, ignore: Collection[str], encoding: Encoding | None) -> RawGraphs:
    if path.is_dir():
        members = _folder(path)
    elif not path.is_file():
        raise UserError(f"there is no such file or folder; give {LAYOUTS}")
    elif path.suffix == ".npz":
        return _without(_npz(path.read_bytes()), ignore)
    elif path.suffix == ".zip":
        members = read_archive(path.read_bytes())
    else:
        raise UserError(f"this is a file of another kind; give {LAYOUTS}")
    plain = sorted(name.removesuffix(".gz") for name in members)
    sets = [name.removesuffix("_A.txt") for name in plain if name.endswith("_A.txt")]
    wanted = set(tables.find(members).values())
    if sets:
        if len(sets) > 1 or wanted:
            raise UserError(f"it holds more than one set ({', '.join([*sets, *sorted(wanted)])}); give one at a time")
        return _without(_tu(members, sets[0]), ignore)
    if not wanted:
        found = ", ".join(sorted(members)[:5]) or "nothing"
        raise UserError(f"its layout is unknown (there is {found}); give {LAYOUTS}")
    content = {name: gunzip(members[name], name) for name in wanted}
    raw = tables.parse(content, label=label, ignore=ignore, encoding=encoding)
    return _noted(raw, f"Read as tables: {', '.join(sorted(wanted))}.")


def _folder(path: Path) -> dict[str, bytes]:
    """Files of a folder by name, those that may belong to a layout."""
    endings = tuple(f"{ending}{more}" for ending in tables.ENDINGS for more in ("", ".gz"))
    files = sorted(file for file in path.iterdir() if file.is_file())
    return {file.name: file.read_bytes() for file in files if file.name.lower().endswith(endings)}


def _without(raw: RawGraphs, ignore: Collection[str]) -> RawGraphs:
    """The graphs without some attributes; the weights of edges are called ``edge_weight``."""
    known = {*raw.columns, *raw.edge_columns, *(["edge_weight"] if raw.weights is not None else [])}
    unknown = [name for name in ignore if name not in known]
    if unknown:
        raise UserError(f"ignore names {unknown[0]!r}, which is none of {', '.join(sorted(known)) or 'none'}")
    columns, edge_columns = (
        {name: given for name, given in each.items() if name not in ignore} for each in (raw.columns, raw.edge_columns)
    )
    weights = None if "edge_weight" in ignore else raw.weights
    return dataclasses.replace(raw, columns=columns, edge_columns=edge_columns, weights=weights)


def _tu(members: Mapping[str, bytes], dataset: str) -> RawGraphs:
    """Labels of nodes and edges become categories, their attributes numbers."""
    texts, notes = {}, [f"Read as the TU set {dataset}."]
    for name, content in members.items():
        if name.startswith(f"{dataset}_"):
            plain = name.removesuffix(".gz")
            texts[plain], note = as_utf8(gunzip(content, name), plain)
            notes += note
    read = tu.read_tables(texts, dataset)
    by_kind: dict[str, dict[str, np.ndarray]] = {"node": {}, "edge": {}}
    for kind, columns in by_kind.items():
        if (labels := read.get(f"{kind}_labels")) is not None:
            given = labels.astype(object)  # objects: kinds, not amounts
            several = given.shape[1] > 1
            names = [f"{kind}_labels {n + 1}" if several else f"{kind}_labels" for n in range(given.shape[1])]
            columns |= dict(zip(names, given.T))
        if (attributes := read.get(f"{kind}_attributes")) is not None:
            columns[f"{kind}_attributes"] = attributes
    targets = "graph_attributes" if "graph_attributes" in read else "graph_labels"
    where = Where(
        lambda number: f"{dataset}_graph_indicator.txt: line {number + 1}",
        lambda number: f"{dataset}_A.txt: line {number + 1}",
        lambda number: f"{dataset}_{targets}.txt: line {number + 1}",
    )
    senders, receivers = read["A"].T - 1
    raw = RawGraphs(
        read["n_node"],
        senders,
        receivers,
        by_kind["node"],
        {"graph": read[targets] if targets == "graph_attributes" else read[targets][:, 0]},
        where=where,
        edge_columns=by_kind["edge"],
    )
    return _noted(raw, *notes)


def _npz(content: bytes) -> RawGraphs:
    """One of three layouts: arrays as PyTorch Geometric calls them, or those of two published collections."""
    members = read_archive(content)
    keys = {name.removesuffix(".npy") for name in members}
    if "edge_index" in keys:
        return _noted(_arrays(members, keys), "Read as an npz file with edge_index.")
    if "adj_data" in keys:
        adjacency, features, labels = npz.matrices(members)
        edges = adjacency.tocoo()
        raw = RawGraphs(
            np.array([len(labels)], np.int64),
            edges.row.astype(np.int64),
            edges.col.astype(np.int64),
            {"x": features},
            {"node": _none_below_zero(labels)},
            weights=None if np.all(edges.data == 1) else edges.data,
        )
        return _noted(raw, "Read as an npz file with CSR arrays adj and attr.")
    if "node_features" not in keys:
        listed = ", ".join(sorted(keys)[:8])
        raise UserError(f"its arrays are {listed}; give {', '.join(ARRAYS)} (docs/data.md), at least edge_index")
    parsed = heterophilous.parse(content)
    graphs, (_, *notes) = parsed.graphs, parsed.notes  # the first is on the features
    raw = RawGraphs(
        graphs.n_node.astype(np.int64),
        graphs.senders.astype(np.int64),
        graphs.receivers.astype(np.int64),
        {"x": graphs.nodes},
        {"node": _none_below_zero(parsed.arrays["labels"])},
    )
    unused = f"Its {parsed.arrays['masks'].shape[1]} splits are not used."
    return _noted(raw, "Read as an npz file with node_features, edges and node_labels.", *notes, unused)


def _none_below_zero(labels: np.ndarray) -> np.ndarray:
    values = labels.astype(object)
    values[labels < 0] = None
    return values


def _arrays(members: Mapping[str, bytes], keys: Collection[str]) -> RawGraphs:
    """Arrays as PyTorch Geometric calls them, those of `ARRAYS` that there are."""
    given = {key: read_array(members, key) for key in ARRAYS if key in keys}
    if not {"x", "y", "graph"} & set(given):
        raise UserError("no array says how many nodes there are; give x, y or graph (zeros for one graph without x)")
    raw = interop.from_arrays(
        given.get("x"),
        given["edge_index"],
        given.get("y"),
        graph=given.get("graph"),
        edge_attr=given.get("edge_attr"),
        edge_weight=given.get("edge_weight"),
    )
    level = "graph" if "graph" in raw.labels else "node"
    masks = {part: given[key].astype(bool) for key, part in interop.MASKS.items() if key in given and raw.labels}
    parts = {level: parts_of_sets(masks, raw.count(level), level, raw.where)} if masks else {}
    unused = sorted(set(keys) - set(ARRAYS))
    notes = [f"Arrays that are not used: {', '.join(unused[:20])}."] if unused else []
    return _noted(dataclasses.replace(raw, parts=parts), *notes)


def _noted(raw: RawGraphs, *notes: str) -> RawGraphs:
    return dataclasses.replace(raw, notes=(*notes, *raw.notes))
