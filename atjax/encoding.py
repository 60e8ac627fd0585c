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
from atjax.raw import RawGraphs, Where, tidy_edges

MAX_CATEGORIES = 256
"""Different words that an attribute may have: beyond, it is a name rather than a kind, and its one-hot code useless."""

DEGREE_CAP = 64
"""Degrees from here on share one feature: few nodes have them, and no single hub must set the number of features."""

SHOWN = 20
"""Attributes or classes that a note lists."""


@dataclass(frozen=True)
class Column:
    """How one node attribute becomes features.

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
    def fit(cls, name: str, given: np.ndarray | sparse.csr_matrix, where: Where, *, categories: bool) -> Column:
        """Learn it: words and ``categories`` give a one-hot code, numbers outside 0 .. 1 are z-scored.

        Numbers within 0 .. 1, such as indicators and shares, are taken as they are, and so is a sparse matrix.
        """
        if sparse.issparse(given):
            return cls(name, given.shape[1])
        if given.dtype.kind not in "biuf" or categories:
            codes, values = factorize(_flat(name, given))
            _refuse(name, codes < 0, "is missing", where)
            if len(values) > MAX_CATEGORIES:
                raise UserError(
                    f"The node attribute {name!r} has {len(values):,} different values, more than {MAX_CATEGORIES}, "
                    "for a one-hot code; leave it out, or make numbers of it."
                )
            return cls(name, len(values), values)
        numbers = _numbers(name, given, where)
        shift, scale = numbers.mean(axis=0), numbers.std(axis=0)
        plain = (numbers.min(axis=0) >= 0) & (numbers.max(axis=0) <= 1)
        shift, scale = np.where(plain, 0, shift), np.where(plain | (scale == 0), 1, scale)
        if plain.all():
            return cls(name, numbers.shape[1])
        return cls(name, numbers.shape[1], None, tuple(shift.tolist()), tuple(scale.tolist()))

    def apply(self, given: np.ndarray | sparse.csr_matrix, where: Where) -> np.ndarray | sparse.csr_matrix:
        """Features, float32 [V, width].

        Raises:
            UserError: A value is missing, not finite, or a word that was not there when the column was learnt; or the
                width differs.
        """
        if self.values is not None:
            index = pd.Index(list(self.values), dtype=object)
            codes = index.get_indexer(pd.Index(_flat(self.name, given), dtype=object))
            bad = np.flatnonzero(codes < 0)
            if bad.size:
                raise UserError(
                    f"{where.node(int(bad[0]))}: {self.name} is {_item(given[bad[0]])!r}, which no graph had when the "
                    "features were made; map it to one of the known values, or drop that node."
                )
            return one_hot(codes, self.width)
        if isinstance(given, sparse.csr_matrix):
            rows = np.repeat(np.arange(given.shape[0]), np.diff(given.indptr))
            faulty = np.isin(np.arange(given.shape[0]), rows[~np.isfinite(given.data)])
            _refuse(self.name, faulty, "is NaN or infinite", where)
            features: Any = given.astype(np.float32)
        else:
            if given.dtype.kind not in "biuf":
                raise UserError(f"The node attribute {self.name!r} must hold numbers, as it did before.")
            numbers = _numbers(self.name, given, where)
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
    """

    level: str
    columns: tuple[Column, ...]
    classes: tuple[Hashable, ...] | None
    directed: bool = False

    def apply(self, raw: RawGraphs) -> Encoded:
        """What `atjax.task.Graphs.from_edges` takes, and notes.

        Raises:
            UserError: An attribute is missing or cannot be encoded; an edge cannot be; a graph is empty.
        """
        absent = [column.name for column in self.columns if column.name not in raw.columns]
        if absent:
            raise UserError(f"The nodes have no attribute {absent[0]!r}; it is needed for the features.")
        if raw.num_nodes == 0:
            raise UserError("There are no nodes; give at least one.")
        empty = np.flatnonzero(raw.n_node == 0)
        if self.level == "graph" and empty.size:
            raise UserError(f"{raw.where.graph(int(empty[0]))} has no nodes; drop it, with its label.")
        senders, receivers, notes = tidy_edges(raw)
        parts = [column.apply(raw.columns[column.name], raw.where) for column in self.columns]
        if not parts:
            # The degree that counts is the one of the graph as it is used.
            ends = np.stack([senders, receivers])
            if not self.directed:
                ends = np.unique(np.concatenate([ends, ends[::-1]], axis=1), axis=1)
            features: Any = degree_one_hot(ends[1], raw.num_nodes)
        elif any(sparse.issparse(part) for part in parts):
            features = sparse.hstack(parts, format="csr")
        else:
            features = np.concatenate(parts, axis=1)
        # The nodes of all graphs are one graph's where nodes are the examples.
        n_node = raw.n_node if self.level == "graph" else np.array([raw.num_nodes])
        return Encoded(features, senders, receivers, n_node, notes, self.directed)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; labels and values that it does not know are put in words (their ``repr``)."""
        columns = [
            {
                "name": column.name,
                "width": column.width,
                "values": None if column.values is None else [_plain(value) for value in column.values],
                "shift": column.shift,
                "scale": column.scale,
            }
            for column in self.columns
        ]
        classes = None if self.classes is None else [_plain(label) for label in self.classes]
        return {"level": self.level, "columns": columns, "classes": classes, "directed": self.directed}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Encoding:
        """Undo `as_dict`."""

        def frozen(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
            return None if values is None else tuple(values)

        columns = tuple(
            Column(one["name"], one["width"], frozen(one["values"]), frozen(one["shift"]), frozen(one["scale"]))
            for one in fields["columns"]
        )
        return cls(fields["level"], columns, frozen(fields["classes"]), fields["directed"])


class Encoded(NamedTuple):
    """Features [V, D], senders and receivers [E], nodes of each graph [G]; notes on the edges, and their kind."""

    features: np.ndarray | sparse.csr_matrix
    senders: np.ndarray
    receivers: np.ndarray
    n_node: np.ndarray
    notes: tuple[str, ...]
    directed: bool


def learn(
    raw: RawGraphs, level: str, classes: tuple[Hashable, ...] | None, *, directed: bool, categories: Sequence[str]
) -> Encoding:
    """The encoding of a set: from its node attributes, in their order, if it has any.

    Args:
        raw: The set.
        level: What an example is.
        classes: The owner's label of each class; None for regression.
        directed: Whether edges keep their direction.
        categories: Attributes whose numbers are kinds, to be coded one-hot as words are.

    Raises:
        UserError: A value is missing, not finite, or one of too many words; a category is no attribute.
    """
    unknown = [name for name in categories if name not in raw.columns]
    if unknown:
        raise UserError(
            f"categories names {unknown[0]!r}, which is none of {', '.join(sorted(raw.columns)) or 'none'}."
        )
    columns = tuple(
        Column.fit(name, given, raw.where, categories=name in categories)
        for name, given in raw.columns.items()
        if raw.num_nodes and (given.ndim == 1 or given.shape[1])
    )
    return Encoding(level, columns, classes, directed)


def describe_features(encoding: Encoding) -> str:
    """A note on where features come from."""
    if not encoding.columns:
        return f"Features: one-hot of the degree, {DEGREE_CAP} and more in one; the nodes have no attributes."
    names = [str(column) for column in encoding.columns]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"Features: {', '.join(names[:SHOWN])}{more}."


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


def _numbers(name: str, given: np.ndarray, where: Where) -> np.ndarray:
    """Finite numbers, float64 [V, K]."""
    numbers = given.astype(np.float64).reshape(len(given), -1)
    _refuse(name, np.logical_not(np.isfinite(numbers).all(axis=1)), "is missing, NaN or infinite", where)
    return numbers


def _flat(name: str, given: np.ndarray | sparse.csr_matrix) -> np.ndarray:
    if sparse.issparse(given) or (given.ndim == 2 and given.shape[1] != 1):
        raise UserError(f"The node attribute {name!r} has several columns; a one-hot code takes one.")
    return given.reshape(-1)


def _refuse(name: str, bad: np.ndarray, what: str, where: Where) -> None:
    """Refuse an attribute of which some nodes' values are bad, bool [V]."""
    if bad.any():
        place = where.node(int(np.flatnonzero(bad)[0]))
        raise UserError(f"{place}: {name} {what}; fill it in, drop that node, or leave the attribute out.")


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else repr(value)
