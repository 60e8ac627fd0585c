"""How node attributes become features and labels become classes: learnt from one set, applied to any later graph.

A task that is made of a user's own data keeps its `Encoding`, and so does every model trained on it, so that new graphs
get the same columns and predictions come back in the owner's own words.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from atjax.errors import UserError
from atjax.raw import RawGraphs, Where, disagreeing, names_of, tidy_edges

MAX_CATEGORIES = 256
"""Different words that an attribute may have: beyond, it is a name rather than a kind, and its one-hot code useless."""

DEGREE_CAP = 64
"""Degrees from here on share one feature: few nodes have them, and no single hub must set the number of features."""

LARGEST = float(np.finfo(np.float32).max)
"""Largest number that is read: all end up in single precision."""

KEPT = (str, int, float, bool)
"""Types of the words and numbers that a model keeps as they are; it keeps labels of other types in words."""

SHOWN = 20
"""Attributes or classes that a note lists."""


class Rows(NamedTuple):
    """What an attribute belongs to: ``node`` or ``edge``, and where each of them stands."""

    kind: str
    where: Where

    def at(self, number: int) -> str:
        """The place of one."""
        return self.where(self.kind, number)


@dataclass(frozen=True)
class Column:
    """How one attribute of nodes or edges becomes features.

    Attributes:
        name: Of the attribute.
        width: Features that it gives.
        values: One-hot over these; None for numbers.
        shift: Numbers have this subtracted, [width], and are then divided by ``scale``; None to leave them.
        scale: Positive, [width].
    """

    name: str
    width: int
    values: tuple[Hashable, ...] | None = None
    shift: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    @classmethod
    def fit(cls, name: str, given: np.ndarray | sparse.csr_matrix, rows: Rows, *, categories: bool) -> Column:
        """Learn it: words and ``categories`` give a one-hot code, numbers outside 0 .. 1 are z-scored.

        Numbers within 0 .. 1, such as indicators and shares, are taken as they are, and so is a sparse matrix.
        """
        if sparse.issparse(given):
            return cls(name, given.shape[1])
        if given.dtype.kind not in "biuf" or categories:
            codes, values = factorize(_flat(name, given, rows))
            _refuse(name, codes < 0, "is missing", rows)
            if len(values) > MAX_CATEGORIES:
                raise UserError(
                    f"The {rows.kind} attribute {name!r} has {len(values):,} different values, over {MAX_CATEGORIES}, "
                    "for a one-hot code; leave it out, or make numbers of it."
                )
            unknown = [value for value in values if not isinstance(value, KEPT)]
            if unknown:
                raise UserError(
                    f"The {rows.kind} attribute {name!r} holds values of type {type(unknown[0]).__name__}; give words "
                    "or numbers."
                )
            return cls(name, len(values), values)
        numbers = _numbers(name, given, rows)
        least, most = numbers.min(axis=0), numbers.max(axis=0)
        plain, deviation = (least >= 0) & (most <= 1), numbers.std(axis=0)
        # The first have rounding errors in mean and deviation, the second, as of 1e-300, none that is a number.
        constant = (least == most) | (deviation == 0)
        shift = np.where(plain, 0, np.where(constant, least, numbers.mean(axis=0)))
        scale = np.where(plain | constant, 1, deviation)
        if plain.all():
            return cls(name, numbers.shape[1])
        return cls(name, numbers.shape[1], None, tuple(shift.tolist()), tuple(scale.tolist()))

    def apply(self, given: np.ndarray | sparse.csr_matrix, rows: Rows) -> np.ndarray | sparse.csr_matrix:
        """Features, float32 [V, width] of nodes or [E, width] of edges.

        Raises:
            UserError: A value is missing, not finite, or a word that was not there when the column was learnt; or the
                width differs.
        """
        if self.values is not None:
            index = pd.Index(list(self.values), dtype=object)
            codes = index.get_indexer(pd.Index(_flat(self.name, given, rows), dtype=object))
            bad = np.flatnonzero(codes < 0)
            if bad.size:
                raise UserError(
                    f"{rows.at(bad[0])}: {self.name} is {_item(given[bad[0]])!r}, which no graph had when the "
                    f"features were made; map it to one of the known values, or drop that {rows.kind}."
                )
            return one_hot(codes, self.width)
        if isinstance(given, sparse.csr_matrix) and self.shift is not None:
            given = given.toarray()  # z-scored as in training, it would be dense anyway
        if isinstance(given, sparse.csr_matrix):
            owner = np.repeat(np.arange(given.shape[0]), np.diff(given.indptr))
            faulty = np.isin(np.arange(given.shape[0]), owner[~np.isfinite(given.data)])
            _refuse(self.name, faulty, "is NaN or infinite", rows)
            features: Any = given.astype(np.float32)
        else:
            if given.dtype.kind not in "biuf":
                raise UserError(f"The {rows.kind} attribute {self.name!r} must hold numbers, as it did before.")
            numbers = _numbers(self.name, given, rows)
            if self.shift is not None and numbers.shape[1] == self.width:
                numbers = (numbers - np.array(self.shift)) / np.array(self.scale)
            features = numbers.astype(np.float32)
        if features.shape[1] != self.width:
            raise UserError(f"{self.name!r} has {features.shape[1]} columns, but had {self.width} before; give those.")
        return features

    def __str__(self) -> str:
        wide = f", {self.width} columns" if self.width > 1 else ""
        if self.values is not None:
            return f"{self.name} (one-hot of {self.width})"
        return f"{self.name} (numbers{wide}{', z-scored' if self.shift is not None else ''})"


@dataclass(frozen=True)
class Encoding:
    """How graphs of one kind are turned into what a model takes, and its classes into labels.

    Attributes:
        level: What an example is: ``node`` or ``graph``.
        columns: Where features come from, in this order; if empty, from the degree, one-hot.
        classes: The owner's label of each class; None for regression.
        directed: Whether edges keep their direction; otherwise both are used.
        edge_columns: Where features of edges come from, in this order; if empty, they have none.
        weight: What weights of edges are divided by; None if they have none.
    """

    level: str
    columns: tuple[Column, ...]
    classes: tuple[Hashable, ...] | None
    directed: bool = False
    edge_columns: tuple[Column, ...] = ()
    weight: float | None = None

    def apply(self, raw: RawGraphs) -> Encoded:
        """What `atjax.task.Graphs.from_edges` takes, and notes.

        Raises:
            UserError: An attribute is missing or cannot be encoded; an edge cannot be; a graph is empty.
        """
        rows = Rows("node", raw.where)
        _refuse_absent(self.columns, raw.columns, "node")
        if raw.num_nodes == 0:
            raise UserError("There are no nodes; give at least one.")
        empty = np.flatnonzero(raw.n_node == 0)
        if self.level == "graph" and empty.size:
            raise UserError(f"{raw.where.graph(int(empty[0]))} has no nodes; drop it, with its label.")
        senders, receivers, kept, notes = tidy_edges(raw)
        edges, weights = self._edges(raw, kept)
        differ = sum(
            disagreeing(senders, receivers, each, self.directed) for each in (edges, weights) if each is not None
        )
        if differ:
            notes += (f"Edges listed several times with differing features or weights, now their mean: {differ:,}.",)
        if self.directed and raw.both_ways is not None:
            back = np.flatnonzero(raw.both_ways[kept])
            edges, weights = (None if each is None else np.concatenate([each, each[back]]) for each in (edges, weights))
            senders, receivers = np.append(senders, receivers[back]), np.append(receivers, senders[back])
        parts = [column.apply(raw.columns[column.name], rows) for column in self.columns]
        if not parts:
            # The degree that counts is the one of the graph as it is used.
            ends = np.stack([senders, receivers])
            if not self.directed:
                ends = np.concatenate([ends, ends[::-1]], axis=1)
            features: Any = degree_one_hot(np.unique(ends, axis=1)[1], raw.num_nodes)
        elif any(sparse.issparse(part) for part in parts):
            features = sparse.hstack(parts, format="csr")
        else:
            features = np.concatenate(parts, axis=1)
        # The nodes of all graphs are one graph's where nodes are the examples.
        n_node = raw.n_node if self.level == "graph" else np.array([raw.num_nodes])
        return Encoded(features, senders, receivers, n_node, notes, self.directed, edges, weights)

    def _edges(self, raw: RawGraphs, kept: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Features [E, K] and weights [E] of the edges that are kept, float32; None where there are none."""
        rows, count = Rows("edge", raw.where), len(raw.senders)
        features, weights = None, None
        if count == 0:  # graphs without any edge say nothing of what edges would have
            features = np.zeros((0, sum(column.width for column in self.edge_columns)), np.float32)
            weights = np.zeros(0, np.float32)
        else:
            _refuse_absent(self.edge_columns, raw.edge_columns, "edge")
            parts = [column.apply(raw.edge_columns[column.name], rows) for column in self.edge_columns]
            if parts:
                features = np.concatenate(parts, axis=1)[kept]
            if self.weight is not None:
                if raw.weights is None:
                    raise UserError("The edges have no weight; give one, as in training.")
                weights = (check_weights(raw.weights, rows)[kept] / self.weight).astype(np.float32)
        return features if self.edge_columns else None, weights if self.weight is not None else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; labels and values that it does not know are put in words (their ``repr``)."""

        def plain(columns: tuple[Column, ...]) -> list[dict[str, Any]]:
            return [
                {
                    "name": column.name,
                    "width": column.width,
                    "values": None if column.values is None else [_plain(value) for value in column.values],
                    "shift": column.shift,
                    "scale": column.scale,
                }
                for column in columns
            ]

        classes = None if self.classes is None else [_plain(label) for label in self.classes]
        edges = {"edge_columns": plain(self.edge_columns), "weight": self.weight}
        return {
            "level": self.level,
            "columns": plain(self.columns),
            "classes": classes,
            "directed": self.directed,
        } | edges

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Encoding:
        """Undo `as_dict`."""

        def frozen(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
            return None if values is None else tuple(values)

        def columns(given: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
            return tuple(
                Column(one["name"], one["width"], frozen(one["values"]), frozen(one["shift"]), frozen(one["scale"]))
                for one in given
            )

        return cls(
            fields["level"],
            columns(fields["columns"]),
            frozen(fields["classes"]),
            fields["directed"],
            columns(fields.get("edge_columns", [])),  # models of before edges had features have no such entries
            fields.get("weight"),
        )


class Encoded(NamedTuple):
    """Features [V, D], senders and receivers [E], nodes of each graph [G]; notes on the edges, and their kind.

    And where the edges have any, their features [E, K] and weights [E].
    """

    features: np.ndarray | sparse.csr_matrix
    senders: np.ndarray
    receivers: np.ndarray
    n_node: np.ndarray
    notes: tuple[str, ...]
    directed: bool
    edges: np.ndarray | None = None
    weights: np.ndarray | None = None


def learn(
    raw: RawGraphs, level: str, classes: tuple[Hashable, ...] | None, *, directed: bool, categories: str | Sequence[str]
) -> Encoding:
    """The encoding of a set: from the attributes of its nodes and edges, in their order, if there are any.

    Args:
        raw: The set.
        level: What an example is.
        classes: The owner's label of each class; None for regression.
        directed: Whether edges keep their direction.
        categories: Attributes whose numbers are kinds, to be coded one-hot as words are; one, or several.

    Raises:
        UserError: A value is missing, not finite, or one of too many words; a weight is none, or below 0; a category is
            no attribute.
    """
    categories = names_of(categories, "categories")
    known = sorted({*raw.columns, *raw.edge_columns})
    unknown = [name for name in categories if name not in known]
    if unknown:
        raise UserError(f"categories names {unknown[0]!r}, which is none of {', '.join(known) or 'none'}.")

    def columns(given: Mapping[str, Any], rows: Rows, count: int) -> tuple[Column, ...]:
        return tuple(
            Column.fit(name, column, rows, categories=name in categories)
            for name, column in given.items()
            if count and (column.ndim == 1 or column.shape[1])
        )

    edges = Rows("edge", raw.where)
    return Encoding(
        level,
        columns(raw.columns, Rows("node", raw.where), raw.num_nodes),
        classes,
        directed,
        columns(raw.edge_columns, edges, len(raw.senders)),
        None if raw.weights is None or not len(raw.senders) else _weight_scale(check_weights(raw.weights, edges)),
    )


def check_weights(given: np.ndarray, rows: Rows) -> np.ndarray:
    """Weights of edges, float64 [E], finite and 0 or more.

    Raises:
        UserError: One is no such number.
    """
    if given.dtype.kind not in "biuf" or given.size != len(given):
        raise UserError("The edge weights are no list of numbers; give one number for each edge, 0 or more.")
    weights = _numbers("weight", given, rows)[:, 0]
    if (below := np.flatnonzero(weights < 0)).size:
        raise UserError(
            f"{rows.at(below[0])}: weight is {weights[below[0]]:g}; give weights of 0 or more, or another name to "
            "the attribute, which makes it a feature."
        )
    return weights


def _weight_scale(weights: np.ndarray) -> float:
    """1 for weights within 0 to 1, their mean for others: what they are measured in says nothing then."""
    return 1.0 if weights.max() <= 1 else float(weights.mean())


def describe_features(encoding: Encoding) -> tuple[str, ...]:
    """Notes on where features and weights come from."""

    def listed(columns: tuple[Column, ...]) -> str:
        names = [str(column) for column in columns]
        return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")

    nodes = (
        listed(encoding.columns) or f"one-hot of the degree, {DEGREE_CAP} and more in one; the nodes have no attributes"
    )
    notes: tuple[str, ...] = (f"Features: {nodes}.",)
    if encoding.edge_columns:
        notes += (f"Edge features: {listed(encoding.edge_columns)}.",)
    if encoding.weight is not None:
        how = "as given" if encoding.weight == 1 else f"divided by their mean, {encoding.weight:.4g}"
        notes += (f"Edge weights: {how}.",)
    return notes


def degree_one_hot(receivers: np.ndarray, num_nodes: int) -> np.ndarray:
    """One-hot of the number of incoming edges, `DEGREE_CAP` and more in one: float32 [V, DEGREE_CAP + 1]."""
    degree = np.bincount(receivers, minlength=num_nodes)
    return one_hot(np.minimum(degree, DEGREE_CAP), DEGREE_CAP + 1)


def one_hot(codes: np.ndarray, width: int) -> np.ndarray:
    """Float32 [V, width]: 1 in the column that each code, [V], names."""
    columns = np.zeros((len(codes), width), np.float32)
    columns[np.arange(len(codes)), codes] = 1
    return columns


def factorize(values: np.ndarray) -> tuple[np.ndarray, tuple[Hashable, ...]]:
    """Codes int64 [N], -1 for None and NaN, and the values that they stand for, ascending.

    Values that cannot be compared are ordered by kind and by what they look like.
    """
    try:
        codes, uniques = pd.factorize(values)
    except TypeError:
        raise UserError(
            "A label or a category is a list or another thing that can change; give words or numbers."
        ) from None
    found = [_item(value) for value in uniques]
    try:
        order = sorted(range(len(found)), key=found.__getitem__)
    except TypeError:
        order = sorted(range(len(found)), key=lambda place: (type(found[place]).__name__, repr(found[place])))
    rank = np.empty(len(found) + 1, np.int64)
    rank[order] = np.arange(len(found))
    rank[-1] = -1
    return rank[codes], tuple(found[place] for place in order)


def _numbers(name: str, given: np.ndarray, rows: Rows) -> np.ndarray:
    """Finite numbers, float64 [N, K]."""
    numbers = given.astype(np.float64).reshape(len(given), -1)
    _refuse(name, np.logical_not(np.isfinite(numbers).all(axis=1)), "is missing, NaN or infinite", rows)
    too_large: np.ndarray = np.abs(numbers).max(axis=1, initial=0) > LARGEST
    _refuse(name, too_large, "is beyond single precision", rows)
    return numbers


def _flat(name: str, given: np.ndarray | sparse.csr_matrix, rows: Rows) -> np.ndarray:
    if sparse.issparse(given) or (given.ndim == 2 and given.shape[1] != 1):
        raise UserError(
            f"The {rows.kind} attribute {name!r} has several columns; a one-hot code takes one: give each as an "
            "attribute of its own."
        )
    return given.reshape(-1)


def _refuse(name: str, bad: np.ndarray, what: str, rows: Rows) -> None:
    """Refuse an attribute of which some values are bad, bool [N]."""
    if bad.any():
        place = rows.at(np.flatnonzero(bad)[0])
        raise UserError(f"{place}: {name} {what}; fill it in, drop that {rows.kind}, or leave the attribute out.")


def _refuse_absent(columns: Sequence[Column], given: Mapping[str, Any], kind: str) -> None:
    absent = [column.name for column in columns if column.name not in given]
    if absent:
        raise UserError(f"The {kind}s have no attribute {absent[0]!r}; it is needed for the features.")


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _plain(value: Any) -> Any:
    return value if isinstance(value, KEPT) else repr(value)
