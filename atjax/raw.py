"""Graphs as their owner gave them: node attributes by name, labels of any kind, and where each of them stands.

All that turns a user's own data into a task goes through `RawGraphs`: objects of other libraries (`atjax.interop`) and
files (`atjax.sources.custom`). `atjax.encoding` makes numbers of it, the same for graphs that come later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from atjax.errors import UserError
from atjax.values import as_array

LEVELS = ("node", "graph")
"""What can carry labels."""

PARTS = ("train", "validation", "test")
"""Parts of a split, by their codes 0, 1 and 2; -1 is none."""

WORDS = {
    "train": 0,
    "training": 0,
    "validation": 1,
    "valid": 1,
    "val": 1,
    "dev": 1,
    "test": 2,
    "": -1,
    "none": -1,
}
"""Code of each word for a part."""


@dataclass(frozen=True)
class Where:
    """Says where a node, an edge or a graph stands, given its number: a file and a row, or an object and a name."""

    node: Callable[[int], str] = "node {}".format
    edge: Callable[[int], str] = "edge {}".format
    graph: Callable[[int], str] = "graph {}".format

    def __call__(self, level: str, number: int) -> str:
        """The place of a node, an edge or a graph."""
        say = {"node": self.node, "edge": self.edge, "graph": self.graph}[level]
        return say(int(number))


@dataclass(frozen=True, eq=False)
class RawGraphs:
    """G graphs with V nodes and E edges in all, one graph after another, nodes numbered through.

    Attributes:
        n_node: Nodes of each graph, int64 [G].
        senders: int64 [E], as given: any order, duplicates and self-loops among them.
        receivers: int64 [E].
        columns: Attributes of the nodes by name: numbers or objects [V], numbers [V, K], or a scipy CSR matrix [V, K].
        labels: Labels by level, ``node`` [V] and ``graph`` [G], as given; or several targets each, [N, K].
        parts: The owner's own split by level: the code of each example's part (`PARTS`), int8 [V] or [G].
        where: Where things stand.
        names: What the owner calls the nodes and the graphs, by level, [V] or [G], where they are called anything.
        notes: Sentences on how the data were read.
        edge_columns: Attributes of the edges by name: numbers or objects [E], or numbers [E, K].
        weights: Weights of the edges, [E]; None if they have none.
        both_ways: Which edges have no direction, so that they go both ways also where directions are kept, bool [E];
            None if that is not known of any.
    """

    n_node: np.ndarray
    senders: np.ndarray
    receivers: np.ndarray
    columns: Mapping[str, np.ndarray | sparse.csr_matrix]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    where: Where = field(default_factory=Where)
    names: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    edge_columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    weights: np.ndarray | None = None
    both_ways: np.ndarray | None = None

    @property
    def num_nodes(self) -> int:
        """V."""
        return int(self.n_node.sum())

    def count(self, level: str) -> int:
        """Number of examples at a level."""
        return self.num_nodes if level == "node" else len(self.n_node)

    def level(self, wanted: str | None) -> str:
        """The level that has labels, or the wanted one.

        Raises:
            UserError: There are no labels, none at the wanted level, or some at both levels and none is wanted.
        """
        if wanted is not None and wanted not in LEVELS:
            raise UserError(f"level={wanted!r} is unknown here; choose from {', '.join(LEVELS)}.")
        there = [level for level in LEVELS if level in self.labels]
        if not there:
            raise no_labels()
        if wanted is None and len(there) > 1:
            raise UserError("Nodes and graphs both have labels; say which are to be learnt, by level=node or graph.")
        if wanted is not None and wanted not in there:
            raise UserError(f"The {wanted}s have no labels, but the {there[0]}s do; give some, or take {there[0]}.")
        return wanted or there[0]


def no_labels(why: str = ";") -> UserError:
    """To be raised where neither nodes nor graphs have labels."""
    return UserError(f"There are no labels, of nodes or of graphs{why} give one label for each node or each graph.")


class Tidied(NamedTuple):
    """Edges without self-loops, the numbers that they had, int64 [E], and what was seen on the way."""

    senders: np.ndarray
    receivers: np.ndarray
    kept: np.ndarray
    notes: tuple[str, ...]


def tidy_edges(raw: RawGraphs) -> Tidied:
    """Check the edges; drop self-loops; count them, the edges that are listed again, and the isolated nodes.

    Self-loops go because the convolutions add the node itself in their own ways (see `atjax.sources.edges`). Edges that
    are listed again stay: `atjax.task.Graphs.from_edges` takes the mean of what they have.

    Raises:
        UserError: An edge names a node that does not exist, or joins two graphs.
    """
    senders, receivers, total = raw.senders, raw.receivers, raw.num_nodes
    outside = np.flatnonzero((np.minimum(senders, receivers) < 0) | (np.maximum(senders, receivers) >= total))
    if outside.size:
        first = outside[0]
        bad = next(int(end) for end in (senders[first], receivers[first]) if not 0 <= end < total)
        range_ = f"nodes are numbered 0 to {total - 1}" if total else "there are no nodes"
        raise UserError(f"{raw.where.edge(int(first))} names node {bad}, but {range_}; drop or mend that edge.")
    owner = np.repeat(np.arange(len(raw.n_node)), raw.n_node)
    across = np.flatnonzero(owner[senders] != owner[receivers])
    if across.size:
        raise UserError(f"{raw.where.edge(int(across[0]))} joins nodes of two graphs; drop or mend that edge.")
    notes: tuple[str, ...] = ()
    loops = senders == receivers
    if loops.any():
        notes += (f"Self-loops were dropped; nodes that had one: {len(np.unique(senders[loops])):,}.",)
    kept = np.flatnonzero(~loops)
    senders, receivers = senders[kept], receivers[kept]
    again = int(np.sum(np.diff(np.sort(receivers * total + senders)) == 0))
    if again:
        notes += (f"Edges that were listed again were dropped: {again:,}.",)
    joined = np.zeros(total, bool)
    joined[senders] = joined[receivers] = True
    isolated = total - int(joined.sum())
    if isolated:
        notes += (f"Nodes without any edge: {isolated:,}.",)
    return Tidied(senders, receivers, kept, notes)


def names_of(given: object, option: str) -> tuple[str, ...]:
    """Names of attributes that an option gives: one, a list, or None for none. Numbers are names too, such as 2020.

    Raises:
        UserError: It is something else.
    """
    several = [] if given is None else [given] if isinstance(given, str | int) else given
    if isinstance(several, list | tuple | set | frozenset) and not any(
        isinstance(name, bool) or not isinstance(name, str | int) for name in several
    ):
        return tuple(str(name) for name in several)
    raise UserError(f"{option}={given!r} names no attributes; give a name, or a list such as [mass,charge].")


def disagreeing(senders: np.ndarray, receivers: np.ndarray, values: np.ndarray, directed: bool) -> int:
    """How many edges are listed several times with differing values.

    Args:
        senders: [E].
        receivers: [E].
        values: What the edges have, finite, [E, ...].
        directed: Whether the two directions are two edges.
    """
    ends = np.stack([senders, receivers]) if directed else np.sort(np.stack([senders, receivers]), axis=0)
    order = np.lexsort(ends)
    same = np.all(np.diff(ends[:, order], axis=1) == 0, axis=0)
    other = np.any(np.diff((values if values.ndim == 2 else values[:, None])[order], axis=0) != 0, axis=1)
    return len(np.unique(ends[:, order[1:][same & other]], axis=1).T)


def parts_of_words(words: Sequence[object] | np.ndarray, level: str, where: Where) -> np.ndarray:
    """Codes of the parts that words name, int8 [N].

    Raises:
        UserError: A word names no part.
    """
    numbers, found = pd.factorize(np.asarray(words, object))  # None and NaN are -1
    codes = np.full(len(found) + 1, -1, np.int8)
    for number, word in enumerate(found):
        code = WORDS.get(str(word).strip().lower())
        if code is None:
            place = where(level, int(np.flatnonzero(numbers == number)[0]))
            raise UserError(
                f"{place}: the split {str(word)[:40]!r} is none of {', '.join(PARTS)}; give one of them, or nothing to "
                "leave it out."
            )
        codes[number] = code
    return codes[numbers]


def parts_of_sets(sets: Mapping[str, object], count: int, level: str, where: Where) -> np.ndarray:
    """Codes of the parts that sets of examples make, int8 [N].

    Args:
        sets: For each of `PARTS`, or another of the `WORDS` for it, the numbers of its examples, or a mask bool [N].
        count: N.
        level: What an example is.
        where: Where examples stand.

    Raises:
        UserError: A part is unknown, names an example that does not exist, or shares one with another part.
    """
    if not isinstance(sets, Mapping):
        raise UserError(f"The split is of type {type(sets).__name__}; give the members of {', '.join(PARTS)}, by name.")
    codes = np.full(count, -1, np.int8)
    for word, given in sets.items():
        code = WORDS.get(word, -1)
        if code < 0:
            raise UserError(f"The split has the part {word!r}; its parts are called {', '.join(PARTS)}.")
        members = as_array(given, f"The part {word} of the split")
        if members.ndim != 1 or (members.dtype == bool and len(members) != count):
            raise UserError(
                f"The part {word} of the split has the shape {members.shape}; give one list of {level} numbers, or of "
                f"true and false for {count} {level}s (of several splits, take one: mask[:, 0])."
            )
        if members.dtype == bool:
            members = np.flatnonzero(members)
        elif members.dtype.kind not in "iu" and members.size:
            raise UserError(f"The part {word} of the split is of type {members.dtype}; give whole numbers.")
        members = members.astype(np.int64)
        outside = members[(members < 0) | (members >= count)]
        if outside.size:
            raise UserError(
                f"The part {word} of the split names {level} {outside[0]}, but they are numbered 0 to {count - 1}."
            )
        twice = members[(codes[members] >= 0) & (codes[members] != code)]
        if twice.size:
            other = PARTS[codes[twice[0]]]
            raise UserError(
                f"{where(level, twice[0])} is in two parts of the split, {other} and {word}; leave it in one."
            )
        codes[members] = code
    return codes


def members_of_parts(codes: np.ndarray, missing: np.ndarray, level: str, where: Where) -> tuple[np.ndarray, ...]:
    """Ids of the examples of each of `PARTS`, ascending.

    Args:
        codes: Of the examples' parts, int8 [N].
        missing: Which examples have no label, bool [N].
        level: What an example is.
        where: Where examples stand.

    Raises:
        UserError: A part is empty, or holds what has no label.
    """
    ids = tuple(np.flatnonzero(codes == code) for code in range(len(PARTS)))
    for part, members in zip(PARTS, ids):
        if not members.size:
            raise UserError(f"The split has nothing for {part}; name some {level}s for it, or give no split at all.")
        bare = members[missing[members]]
        if bare.size:
            raise UserError(f"{where(level, bare[0])} is for {part} but has no label; give one, or take it out.")
    return ids
