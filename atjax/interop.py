"""Graphs of other libraries, and plain arrays, as `atjax.raw.RawGraphs`.

NetworkX, PyTorch Geometric and DGL are no dependencies: nothing is imported from them, and their objects are known by
what they have. Tensors come in through ``numpy``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from atjax.errors import UserError
from atjax.raw import PARTS, RawGraphs, Where, no_labels, parts_of_sets, parts_of_words
from atjax.values import (
    as_array,
    as_column,
    as_count,
    as_edge_rows,
    as_edges,
    as_features,
    as_labels,
    as_mask,
    as_names,
    as_owners,
    as_values,
    as_whole,
    by_name,
)

MASKS = {"train_mask": "train", "val_mask": "validation", "test_mask": "test"}
"""Names that PyTorch Geometric and DGL give to the parts of a split."""

NO_FEATURES = frozenset({"label", "_ID", *MASKS})
"""Attributes that are no features unless they are asked for; DGL keeps numbers of its own under ``_ID``."""

WEIGHT = "weight"
"""The edge attribute that is a weight, in graphs of NetworkX and DGL."""

ARRAYS = ("x", "edge_index", "graph", "num_nodes", "edge_attr", "edge_weight")
"""Arguments of `from_arrays` that say what graphs are."""


def read(graphs: Any, attributes: Sequence[str], edge_attributes: Sequence[str] = ()) -> RawGraphs:
    """Graphs of any kind that this module knows, with the attributes named; no labels, and no split.

    Args:
        graphs: Graphs of NetworkX, PyTorch Geometric or DGL, one or several, or a mapping with the arguments of
            `from_arrays`.
        attributes: The node attributes that are wanted.
        edge_attributes: The edge attributes that are wanted, `WEIGHT` among them if it is.

    Raises:
        UserError: They are none of these, or lack an attribute.
    """
    if isinstance(graphs, Mapping):
        if unknown := [key for key in graphs if key not in (*ARRAYS, "labels")]:
            raise UserError(f"{unknown[0]!r} is none of the arrays that are read; these are {', '.join(ARRAYS)}.")
        return from_arrays(**{"labels": None, **graphs})
    # Pairs of a graph and its label are what a data set of DGL gives.
    several = [entry[0] if isinstance(entry, tuple) and len(entry) == 2 else entry for entry in _several(graphs)]
    first = several[0]
    if hasattr(first, "edge_index"):
        return from_pyg(several, labelled=False)
    if hasattr(first, "ndata"):
        return from_dgl(several, None, attributes=attributes, edge_attributes=edge_attributes, labelled=False)
    if hasattr(first, "adj"):
        return from_networkx(several, None, attributes=attributes, edge_attributes=edge_attributes, split=None)
    raise UserError(
        f"{type(first).__name__} is no kind of graph that is known here; give graphs of NetworkX, PyTorch Geometric or "
        "DGL, arrays as dict(x=..., edge_index=...), or what atjax.read_graphs reads from a path."
    )


def from_arrays(
    x: Any = None,
    edge_index: Any = None,
    labels: Any = None,
    *,
    graph: Any = None,
    num_nodes: int | None = None,
    edge_attr: Any = None,
    edge_weight: Any = None,
) -> RawGraphs:
    """Graphs given as arrays.

    Args:
        x: Node features, [V, D] or a scipy sparse matrix; None if there are none.
        edge_index: Sender and receiver of each edge, [2, E].
        labels: One for each node, or for each graph.
        graph: Graph of each node, 0 .. G-1, ascending, [V]; None if there is one graph.
        num_nodes: V, needed where neither ``x`` nor ``graph`` nor labels of nodes say it.
        edge_attr: Edge features, [E] or [E, K]; None if there are none.
        edge_weight: Edge weights, [E]; None if there are none.

    Raises:
        UserError: Shapes do not match.
    """
    columns, edges = {}, as_edges(edge_index)
    counts: dict[str, int] = {} if num_nodes is None else {"num_nodes": as_count(num_nodes, "num_nodes")}
    if x is not None:
        columns["x"] = as_features(x, "x")
        counts["x"] = columns["x"].shape[0]
    if graph is not None:
        graph = as_owners(graph, "graph")
        counts["graph"] = len(graph)
    values = None if labels is None else as_values(labels)
    if not counts and values is not None:
        counts["labels"] = len(values)
    if not counts:
        raise UserError("Neither x nor graph nor num_nodes says how many nodes there are; give one of them.")
    if len(set(counts.values())) > 1:
        said = " and ".join(f"{name} is for {count}" for name, count in counts.items())
        raise UserError(f"{said} nodes; they must agree.")
    total = next(iter(counts.values()))
    if graph is None:
        n_node = np.array([total])
    else:
        graphs = int(graph.max(initial=-1)) + 1
        # Graphs at the end may be without nodes; their labels say that they are there.
        if values is not None and len(values) != total:
            graphs = max(graphs, len(values))
        if graphs > max(total, 0 if values is None else len(values)):
            raise UserError(f"graph names graph {graphs - 1} for {total} nodes; number graphs from 0 on without gaps.")
        n_node = np.bincount(graph, minlength=graphs)
    by_level: dict[str, np.ndarray] = {}
    if values is not None:
        by_level["graph" if graph is not None and len(values) != total else "node"] = values
    given = {"edge_attr": edge_attr, "edge_weight": edge_weight}
    rows = {name: as_edge_rows(value, name, len(edges[0])) for name, value in given.items() if value is not None}
    weights = rows.pop("edge_weight", None)
    return RawGraphs(n_node, *edges, columns, by_level, edge_columns=rows, weights=weights)


def from_networkx(
    graphs: Any,
    labels: Any = "label",
    *,
    attributes: Sequence[str] | None = None,
    edge_attributes: Sequence[str] | None = None,
    split: str | None = "split",
) -> RawGraphs:
    """Graphs of NetworkX.

    Args:
        graphs: A graph, or several.
        labels: Name of the attribute, of graphs or of nodes, that holds the label; or the labels, one for each graph,
            or for each node of the one graph (in its order of nodes, or by node, as a mapping or a series says).
        attributes: Node attributes that are features; None for all but the label and the split. A key of another type
            than text goes by its words, such as ``0`` or ``('a', 'b')``.
        edge_attributes: Edge attributes that are used, `WEIGHT` as the weight and others as features; None for all.
        split: Name of the attribute, of graphs or of nodes, that says ``train``, ``validation`` or ``test``; nodes may
            have `MASKS` instead. None for no split.

    Raises:
        UserError: A node lacks an attribute, its values are of different kinds, or two attributes have one name.
    """
    several = _several(graphs)
    for number, graph in enumerate(several):
        if not hasattr(graph, "adj"):
            raise UserError(f"Graph {number} is of type {type(graph).__name__}; give graphs of NetworkX.")
    names = [list(graph.nodes) for graph in several]
    where = _where([len(nodes) for nodes in names], lambda graph, node: repr(names[graph][node]))
    label = labels if isinstance(labels, str) else None
    nodes = [data for graph in several for _, data in graph.nodes(data=True)]
    columns = {
        name: as_column(name, given, where.node)
        for name, given in by_name(nodes, attributes, NO_FEATURES | {label, split}, "nodes").items()
    }
    by_level, parts = {}, {}
    if label is not None:
        for level, rows in _attribute_rows(several, label).items():
            by_level[level] = as_values(rows)
        if not by_level:
            raise no_labels(f": none has an attribute {label!r}; name that which they have, or")
    elif labels is not None:
        if len(several) == 1 and isinstance(labels, pd.Series) and set(labels.index) == set(names[0]):
            labels = labels.to_dict()
        if len(several) == 1 and isinstance(labels, Mapping):
            labels = [labels.get(node) for node in names[0]]
        by_level["graph" if len(several) > 1 else "node"] = as_values(labels)
    if split is not None:
        for level, rows in _attribute_rows(several, split).items():
            parts[level] = parts_of_words(rows, level, where)
        of_nodes = {
            name: [[data.get(name) for _, data in graph.nodes(data=True)] for graph in several] for name in MASKS
        }
        masks = {name: rows for name, rows in of_nodes.items() if any(one is not None for row in rows for one in row)}
        if masks and "node" in parts:
            raise UserError(f"The nodes have both {split} and {next(iter(masks))}; take one of the two splits away.")
        parts |= _masks(masks, list(map(len, names)), where)
    senders, receivers, what = [], [], []
    start = 0
    for graph, nodes in zip(several, names):
        numbers = {node: start + place for place, node in enumerate(nodes)}
        for sender, receiver, data in graph.edges(data=True):
            senders.append(numbers[sender])
            receivers.append(numbers[receiver])
            what.append(data)
        start += len(nodes)
    sizes = [graph.number_of_edges() for graph in several]
    edge = np.cumsum([0, *sizes])

    def edge_place(number: int) -> str:
        graph = int(np.searchsorted(edge, number, side="right")) - 1
        first = int(np.sum([len(nodes) for nodes in names[:graph]], dtype=np.int64))
        ends = " - ".join(repr(names[graph][end - first]) for end in (senders[number], receivers[number]))
        return f"edge {ends}" if len(several) == 1 else f"graph {graph}: edge {ends}"

    where = Where(where.node, edge_place)
    edges = {
        name: as_column(name, given, edge_place)
        for name, given in by_name(what, edge_attributes, NO_FEATURES, "edges").items()
        if what
    }
    return RawGraphs(
        np.array([len(nodes) for nodes in names], np.int64),
        np.array(senders, np.int64),
        np.array(receivers, np.int64),
        columns,
        by_level,
        parts,
        where,
        weights=edges.pop(WEIGHT, None),
        edge_columns=edges,
        both_ways=np.repeat([not graph.is_directed() for graph in several], sizes),
    )


def from_pyg(data: Any, *, labelled: bool = True) -> RawGraphs:
    """Graphs of PyTorch Geometric: ``x``, ``edge_index``, ``edge_attr``, ``edge_weight``, ``y``, masks of a split.

    Args:
        data: A ``Data``, or several, such as a data set; or a ``Batch`` of some, or several, such as a loader gives.
        labelled: Whether labels and masks are read.

    Raises:
        UserError: A graph has no edge_index, only some have features or labels, or sizes do not match.
    """
    several = _several(data)
    for number, graph in enumerate(several):
        if getattr(graph, "edge_index", None) is None:
            raise UserError(
                f"Graph {number} ({type(graph).__name__}) has no edge_index; give homogeneous graphs with dense edges."
            )
    sizes = [int(graph.num_nodes) for graph in several]
    batches = [_in_batch(graph, size) for graph, size in zip(several, sizes)]
    n_node = np.concatenate(batches)
    where = _where(n_node, lambda graph, node: str(node))
    features = _all_or_none([getattr(graph, "x", None) for graph in several], "x")
    columns = {} if features is None else {"x": _stack(_each(as_features, features, "x"), "x", sizes)}
    targets = _all_or_none([getattr(graph, "y", None) if labelled else None for graph in several], "y")
    by_level: dict[str, np.ndarray] = {}
    if targets is not None:
        arrays = list(map(np.atleast_1d, _each(as_labels, targets, "y")))
        if len(n_node) > 1 and all(len(y) == len(batch) for y, batch in zip(arrays, batches)):
            by_level["graph"] = _joined(arrays, "y")
        else:
            for number, (y, size) in enumerate(zip(arrays, sizes)):
                if len(y) != size:
                    if len(n_node) == 1:
                        raise UserError(
                            f"There is one graph, and y has the shape {y.shape}; give a label to each of its {size} "
                            "nodes, or several graphs."
                        )
                    raise UserError(
                        f"{where.graph(number)}: y has the shape {y.shape}, which is neither one label nor one for "
                        f"each of the {size} nodes; mend it."
                    )
            by_level["node"] = _joined(arrays, "y")
    names = MASKS if labelled else ()
    masks = {name: _all_or_none([getattr(graph, name, None) for graph in several], name) for name in names}
    parts = _masks({name: given for name, given in masks.items() if given is not None}, sizes, where)
    each = _each(as_edges, [graph.edge_index for graph in several], "edge_index")
    edges = _shifted(each, sizes, where)
    rows = _edge_columns(several, ("edge_attr", "edge_weight"), lambda graph, name: getattr(graph, name, None), each)
    weights = rows.pop("edge_weight", None)
    return RawGraphs(n_node, *edges, columns, by_level, parts, where, edge_columns=rows, weights=weights)


def _in_batch(graph: Any, size: int) -> np.ndarray:
    """Nodes of each of the graphs that a ``Data`` is made of, int64 [G]; it is one graph, unless it is a batch."""
    if getattr(graph, "batch", None) is None:
        return np.array([size])
    owners, starts = as_owners(graph.batch, "batch"), getattr(graph, "ptr", None)
    count = 1 if starts is None else len(as_array(starts)) - 1
    if len(owners) != size or owners.max(initial=0) >= max(size, count):
        raise UserError(f"batch must number the graphs of all {size} nodes, from 0 on without gaps; mend it.")
    # Graphs at the end may be without nodes.
    return np.bincount(owners, minlength=count)


def from_dgl(
    graphs: Any,
    labels: Any = "label",
    *,
    attributes: Sequence[str] | None = None,
    edge_attributes: Sequence[str] | None = None,
    labelled: bool = True,
) -> RawGraphs:
    """Graphs of DGL.

    Args:
        graphs: A graph, or several; or pairs of a graph and its label, such as a data set of graphs gives; each may be
            a batch of graphs.
        labels: Name of the node data that holds the label; or the labels, one for each graph, or for each node of the
            one graph.
        attributes: Node data that are features; None for all but the label and the masks of a split.
        edge_attributes: Edge data that are used, `WEIGHT` as the weight and others as features; None for all.
        labelled: Whether the masks of a split are read.

    Raises:
        UserError: A graph has several kinds of nodes or edges, or sizes do not match.
    """
    several = _several(graphs)
    if paired := all(isinstance(entry, tuple) and len(entry) == 2 for entry in several):
        several, labels = [graph for graph, _ in several], [label for _, label in several]
    for number, graph in enumerate(several):
        if not hasattr(graph, "ndata") or not getattr(graph, "is_homogeneous", True):
            raise UserError(
                f"Graph {number} ({type(graph).__name__}) is no graph of DGL with one kind of nodes and edges."
            )
    sizes = [int(graph.num_nodes()) for graph in several]
    batches = [as_whole(graph.batch_num_nodes(), "batch_num_nodes") for graph in several]
    n_node = np.concatenate(batches)
    where = _where(n_node, lambda graph, node: str(node))
    if paired and len(n_node) > len(several):
        labels = [row for label in _each(as_labels, labels, "label") for row in np.atleast_1d(label)]
    label = labels if isinstance(labels, str) else None
    if attributes is None:
        attributes = sorted({key for graph in several for key in graph.ndata} - NO_FEATURES - {label})
    columns = {}
    for key in as_names(attributes):
        rows = _all_or_none([graph.ndata.get(key) for graph in several], key)
        if rows is None:
            raise UserError(
                f"The nodes have no attribute {key!r}; give it, or choose from {', '.join(several[0].ndata) or 'none'}."
            )
        columns[key] = _stack(_each(as_features, rows, key), key, sizes)
    by_level: dict[str, np.ndarray] = {}
    if label is not None:
        rows = _all_or_none([graph.ndata.get(label) for graph in several], label)
        if rows is not None:
            by_level["node"] = _joined(_each(as_labels, rows, label), label)
    elif labels is not None:
        values = as_values(labels)
        of_nodes = len(n_node) == 1 or (len(several) == 1 and len(values) == sum(sizes) != len(n_node))
        by_level["node" if of_nodes else "graph"] = values
    names = MASKS if labelled else ()
    masks = {name: _all_or_none([graph.ndata.get(name) for graph in several], name) for name in names}
    parts = _masks({name: given for name, given in masks.items() if given is not None}, sizes, where)
    each = _each(as_edges, [_ends(graph) for graph in several], "edge_index")
    edges = _shifted(each, sizes, where)
    if edge_attributes is None:
        edge_attributes = sorted({key for graph in several for key in _edge_data(graph)} - NO_FEATURES)
    edge_attributes = as_names(edge_attributes)
    found = _edge_columns(several, edge_attributes, lambda graph, name: _edge_data(graph).get(name), each)
    if absent := [name for name in edge_attributes if name not in found and any(len(ends[0]) for ends in each)]:
        held = ", ".join(_edge_data(several[0])) or "none"
        raise UserError(f"The edges have no attribute {absent[0]!r}; give it, or choose from {held}.")
    weights = found.pop(WEIGHT, None)
    return RawGraphs(n_node, *edges, columns, by_level, parts, where, edge_columns=found, weights=weights)


def _ends(graph: Any) -> tuple[Any, Any]:
    """Senders and receivers of a graph of DGL, which asks of one that keeps CSR or CSC alone to be let make COO."""
    return (graph.formats(["coo", "csr", "csc"]) if hasattr(graph, "formats") else graph).edges()


def _edge_data(graph: Any) -> Mapping[str, Any]:
    """Edge data of a graph of DGL."""
    return getattr(graph, "edata", {})


def _edge_columns(
    graphs: Sequence[Any],
    names: Sequence[str],
    get: Callable[[Any, str], Any],
    edges: Sequence[tuple[np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
    """What the edges of all graphs have, [E] or [E, K] by name, if any have it; graphs without edges need not."""
    numbers = [number for number, ends in enumerate(edges) if len(ends[0])]
    found = {}
    for name in names:
        rows = _all_or_none([get(graphs[number], name) for number in numbers], name, numbers)
        if rows:
            places = [name if len(graphs) == 1 else f"graph {number}: {name}" for number in numbers]
            sizes = [len(edges[number][0]) for number in numbers]
            found[name] = _joined(list(map(as_edge_rows, rows, places, sizes)), name, numbers)
    return found


def _several(graphs: Any) -> list[Any]:
    """One graph, or several, as a list. One is told by having edges of its own.

    A data set of PyTorch Geometric has those too, of all its graphs joined; it is told by its ``indices``.
    """
    one = any(hasattr(graphs, name) for name in ("edge_index", "ndata", "adj")) and not hasattr(graphs, "indices")
    try:
        if not one and hasattr(graphs, "__getitem__") and not hasattr(graphs, "__iter__"):
            several = [graphs[number] for number in range(len(graphs))]  # data sets of DGL need not say where they end
        else:
            several = [graphs] if one else list(graphs)
    except (TypeError, NotImplementedError):  # neither a graph nor several; who looks into it says so
        return [graphs]
    if not several:
        raise UserError("There are no graphs; give one or more.")
    return several


def _where(sizes: Sequence[int] | np.ndarray, name: Callable[[int, int], str]) -> Where:
    """Places by graph and by the name of a node in it."""
    start = np.cumsum([0, *sizes])

    def node(number: int) -> str:
        graph = int(np.searchsorted(start, number, side="right")) - 1
        word = f"node {name(graph, number - int(start[graph]))}"
        return word if len(sizes) == 1 else f"graph {graph}: {word}"

    return Where(node=node)


def _each(read: Callable[[Any, str], Any], given: Sequence[Any], name: str) -> list[Any]:
    """What the graphs have under a name, each read by itself; a fault names the graph where there are several."""
    return [read(one, name if len(given) == 1 else f"graph {number}: {name}") for number, one in enumerate(given)]


def _attribute_rows(graphs: Sequence[Any], name: str) -> dict[str, list[Any]]:
    """Values of an attribute of nodes and of graphs, None where it is absent, for each level that has some."""
    rows = {
        "node": [data.get(name) for graph in graphs for _, data in graph.nodes(data=True)],
        "graph": [graph.graph.get(name) for graph in graphs],
    }
    return {level: values for level, values in rows.items() if any(value is not None for value in values)}


def _all_or_none(given: list[Any], name: str, numbers: Sequence[int] | None = None) -> list[Any] | None:
    """What the graphs of some numbers have, all by default; None if none has any."""
    absent = [place for place, value in enumerate(given) if value is None]
    if len(absent) == len(given):
        return None
    if absent:
        number = absent[0] if numbers is None else numbers[absent[0]]
        raise UserError(f"graph {number} has no {name}, but other graphs do; give it to all or to none.")
    return given


def _stack(rows: list[Any], name: str, sizes: Sequence[int]) -> np.ndarray | sparse.csr_matrix:
    for number, (row, size) in enumerate(zip(rows, sizes)):
        if row.shape[0] != size:
            raise UserError(f"graph {number} has {row.shape[0]} rows of {name} but {size} nodes; give one row a node.")
        if row.shape[1:] != rows[0].shape[1:]:
            raise UserError(f"graph {number}: {name} has the shape {row.shape}, unlike graph 0; make them alike.")
    if any(sparse.issparse(row) for row in rows):
        return sparse.vstack(rows, format="csr")
    return np.concatenate(rows)


def _joined(rows: list[np.ndarray], name: str, numbers: Sequence[int] | None = None) -> np.ndarray:
    numbers = range(len(rows)) if numbers is None else numbers
    for number, row in zip(numbers, rows):
        if row.shape[1:] != rows[0].shape[1:]:
            other = f"unlike graph {numbers[0]}; make them alike."
            raise UserError(f"graph {number}: {name} has the shape {row.shape}, {other}")
    return np.concatenate(rows)


def _masks(given: Mapping[str, list[Any]], sizes: Sequence[int], where: Where) -> dict[str, np.ndarray]:
    """The parts of nodes by masks of a split, if there are any."""
    if not given:
        return {}
    sets = {}
    for name, rows in given.items():
        masks = [
            as_mask(row, f"{where.graph(number)}: {name}", size) for number, (row, size) in enumerate(zip(rows, sizes))
        ]
        sets[MASKS[name]] = _joined(masks, name)
    codes = parts_of_sets({part: sets[part] for part in PARTS if part in sets}, sum(sizes), "node", where)
    if not np.any(codes >= 0):
        raise UserError(f"No node is in {' or '.join(given)}; put some in, or take the masks away.")
    return {"node": codes}


def _shifted(
    edges: Sequence[tuple[np.ndarray, np.ndarray]], sizes: Sequence[int], where: Where
) -> tuple[np.ndarray, np.ndarray]:
    """Edges of graphs with nodes numbered through."""
    start = np.cumsum([0, *sizes])
    for number, (ends, size) in enumerate(zip(edges, sizes)):
        both = np.concatenate(ends)
        outside = both[(both < 0) | (both >= size)]
        if outside.size:
            range_ = f"nodes are numbered 0 to {size - 1}" if size else "it has no nodes"
            raise UserError(
                f"{where.graph(number)}: an edge names node {outside[0]}, but {range_}; drop or mend that edge."
            )
    return tuple(np.concatenate([ends[side] + first for ends, first in zip(edges, start)]) for side in (0, 1))  # type: ignore[return-value]
