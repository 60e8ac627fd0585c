"""A folder of tables: one of nodes, one of edges, and one of graphs where there are several. See ``docs/data.md``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from atjax.encoding import Encoding
from atjax.errors import UserError, first_line
from atjax.interop import WEIGHT
from atjax.raw import RawGraphs, Where, parts_of_words
from atjax.sources.decode import as_utf8

ENDINGS = (".csv", ".tsv", ".txt", ".parquet")
"""Of files that can be tables; ``.gz`` may follow."""

KEYS = frozenset({"id", "graph", "source", "target"})
"""Columns that name things. They are read as text: 01 is not 1."""

BETWEEN = ": "
"""Stands between the name of a graph and that of a node in it."""

SEPARATORS = (",", "\t", ";", "|")
"""What may stand between the columns of a text; the one that the header has most of is taken."""

NOTHING = frozenset(pa_csv.ConvertOptions().null_values) - {""}
"""Words such as NA that say in a column of numbers, and in that of the split, that nothing is there."""

INDEX = re.compile(r"(__index_level_\d+__|Unnamed: 0)?")
"""Names that pandas gives to the numbers of its rows; in CSV mostly none."""

EXACT = 2**53
"""Whole numbers up to here are floating-point numbers too."""


class Table:
    """One table.

    Attributes:
        file: Its name.
        columns: Its columns by name.
        dropped: Names of columns that are left out, as they are `INDEX`.
        rows: Number of rows.
        notes: On its encoding, on columns that are not used, and on words that look as if they said nothing.
    """

    def __init__(self, file: str, content: bytes) -> None:
        """Read it.

        Raises:
            UserError: It is no table, a row has another number of columns than the header, or two columns share a name.
        """
        self.file = file
        self.notes: tuple[str, ...] = ()
        if file.endswith(".parquet"):
            table = self._parquet(content)
        else:
            text, self.notes = as_utf8(content, file)
            table = self._csv(text)
        names = [name.strip() for name in table.column_names]
        self.dropped = {name for name in names if INDEX.fullmatch(name)}
        table = table.select([place for place, name in enumerate(names) if name not in self.dropped])
        names = [name for name in names if name not in self.dropped]
        for name in sorted(self.dropped):
            what = f"column {name!r}" if name else "column without a name"
            self.notes += (f"The {what} of {file} is not used: it looks like the row numbers that pandas writes.",)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"{file} has two columns named {twice[0]!r}; give each its own name")
        self.columns = dict(zip(names, table.columns))
        self.rows = table.num_rows

    def _parquet(self, content: bytes) -> pa.Table:
        try:
            table = pa_parquet.read_table(pa.BufferReader(content), use_threads=False, pre_buffer=False)
            table.validate(full=True)
            _ = table.column_names  # which are text only if they can be decoded
            return table
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UserError(f"{self.file} is no Parquet file, or a damaged one ({first_line(error)})") from None

    def _csv(self, text: bytes) -> pa.Table:
        header = text.lstrip().split(b"\n", 1)[0].decode()
        separator = max(SEPARATORS, key=header.count)
        parse = pa_csv.ParseOptions(delimiter=separator, newlines_in_values=b'"' in text)
        types = {name: pa.string() for name in header.replace('"', "").strip().split(separator) if name.strip() in KEYS}
        convert = pa_csv.ConvertOptions(column_types=types)  # in which words such as NA are words

        def read(threads: bool) -> pa.Table:
            options = pa_csv.ReadOptions(use_threads=threads, block_size=2**24)
            return _with_gaps(pa_csv.read_csv(pa.BufferReader(text), options, parse, convert))

        with contextlib.suppress(pa.ArrowException):
            return read(True)
        try:  # once more, on one thread, where an error knows its row
            return read(False)
        except pa.ArrowException as error:
            if found := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error)):  # the header is row 1
                row, expected, got = map(int, found.groups())
                raise UserError(
                    f"{self.row(row - 2)} has {got} columns, but the header has {expected}; mend it, or put what holds "
                    "a separator in quotes"
                ) from None
            raise UserError(f"{self.file} cannot be read as a table ({first_line(error)}); mend it") from None

    def row(self, number: int) -> str:
        """Where a row stands, counted from 1 below the header."""
        return f"{self.file}: row {number + 1}"

    def says(self, name: str) -> bool:
        """Whether there is such a column, with something in it."""
        return name in self.columns and self.columns[name].null_count < self.rows

    def keys(self, name: str) -> pa.Array:
        """A column that names things, as text without blanks around it, [rows].

        Raises:
            UserError: There is no such column, it holds no names, or a row has nothing there.
        """
        if name not in self.columns:
            raise UserError(f"{self.file} has no column {name!r}; its columns are {', '.join(self.columns)}")
        column = self.columns[name]
        if pa.types.is_floating(column.type):  # whole numbers with gaps, as pandas writes them
            given = column.to_numpy()
            if (broken := np.flatnonzero(np.isinf(given) | ((given != np.trunc(given)) & ~np.isnan(given)))).size:
                raise UserError(
                    f"{self.row(int(broken[0]))}: {name} is {given[broken[0]]}, which is no whole number; give words "
                    "or whole numbers as names"
                )
            column = pa.chunked_array([pa.array(given, from_pandas=True)])
        try:
            column = column.cast(pa.int64()) if pa.types.is_floating(column.type) else column
            column = pc.utf8_trim_whitespace(_whole(column.cast(pa.string())))
        except pa.ArrowException:
            raise UserError(
                f"{self.file}: the column {name!r} is of type {column.type}; give words or whole numbers as names"
            ) from None
        bare = np.flatnonzero(_numpy(pc.is_null(column)))
        if bare.size:
            raise UserError(f"{self.row(int(bare[0]))} has nothing in the column {name!r}; fill it in, or drop the row")
        return column

    def values(self, name: str) -> np.ndarray:
        """A column of labels or attributes: numbers [rows] or [rows, K], or objects with None where one is missing.

        Raises:
            UserError: It holds neither numbers nor words.
        """
        column = self.columns[name]
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
            kind = column.type
        if pa.types.is_boolean(kind) or (pa.types.is_integer(kind) and column.null_count):
            return np.array(column.to_pylist(), object)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return _numpy(column)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return self._words(name, column)
        if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
            entry = kind.value_type
            if not any(test(entry) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_null)):
                raise UserError(
                    f"{self.file}: the column {name!r} has lists of type {entry}, which are no numbers; name it under "
                    "ignore, or make lists of numbers of it"
                )
            rows = column.to_pylist()
            lengths = np.array([-1 if row is None else len(row) for row in rows])
            if len(set(lengths.tolist())) > 1:
                other = int(np.flatnonzero(lengths != lengths[0])[0])
                raise UserError(f"{self.row(other)}: {name} has another length than in the first row; make them alike")
            return np.array(rows, np.float64).reshape(len(rows), lengths.max(initial=0))
        raise UserError(
            f"{self.file}: the column {name!r} is empty or of type {kind}, neither numbers nor words; name it under "
            "ignore, or make numbers of it"
        )

    def labels(self, name: str) -> np.ndarray:
        """As `values`; but whole numbers with gaps, which pandas writes as 1.0 and nothing, are whole numbers and None.

        Raises:
            UserError: As `values`.
        """
        found = self.values(name)
        if found.ndim != 1 or found.dtype.kind != "f":
            return found
        known = ~np.isnan(found)
        exact = np.abs(found[known]) <= EXACT
        if known.all() or not exact.all() or np.any(found[known] != np.trunc(found[known])):
            return found
        whole = np.full(len(found), None, object)
        whole[known] = found[known].astype(np.int64).tolist()
        return whole

    def _words(self, name: str, column: pa.ChunkedArray) -> np.ndarray:
        """Words; but a column of numbers with a few words in it is a mistake."""
        words = np.array(column.to_pylist(), object)
        codes, found = pd.factorize(words)
        numeric = np.append(pd.to_numeric(pd.Series(found, dtype=object), errors="coerce").notna(), False)[codes]
        nothing = np.append(pd.Index(found).isin(NOTHING), False)[codes]
        strays = np.flatnonzero((codes >= 0) & ~numeric & ~nothing)
        if 0 < len(strays) < numeric.sum():
            raise UserError(
                f"{self.row(int(strays[0]))}: {name} is {words[strays[0]][:40]!r}, but most rows have numbers there; "
                "mend it, or leave it empty where a label is missing"
            )
        if nothing.any() and name != "split":
            word = words[np.flatnonzero(nothing)[0]]
            self.notes += (
                f"{self.file}: {word!r} in the column {name!r} is a word like others; only an empty cell has nothing.",
            )
        return words


def find(names: Collection[str]) -> dict[str, str]:
    """The files of the tables ``nodes``, ``edges`` and ``graphs`` among the names of files, those that there are.

    Raises:
        UserError: A table is there twice.
    """
    found: dict[str, str] = {}
    for name in sorted(names):
        for ending in ENDINGS:
            part = name.lower().removesuffix(".gz").removesuffix(ending)
            if part in ("nodes", "edges", "graphs") and name.lower().removesuffix(".gz").endswith(ending):
                if part in found:
                    raise UserError(f"{found[part]} and {name} are both tables of {part}; leave one")
                found[part] = name
    return found


def parse(
    members: Mapping[str, bytes],
    *,
    label: str = "label",
    ignore: Collection[str] = (),
    encoding: Encoding | None = None,
) -> RawGraphs:
    """Graphs from tables of nodes, edges and, where there are several graphs, of graphs.

    Args:
        members: Content of each file by its name; those that `find` knows are read.
        label: The column of the labels, in the table of nodes or of graphs.
        ignore: Columns of the tables that are not used: no features, and with ``split`` among them no split either.
        encoding: Read only the attributes that this needs, and neither labels nor a split; None for all there is.

    Raises:
        UserError: A table or a column is missing, or a row is faulty: names file and row.
    """
    files = find(members)
    for part in ("nodes", "edges"):
        if part not in files:
            raise UserError(f"there is no table of {part}, such as {part}.csv")
    tables = {part: Table(file.removesuffix(".gz"), members[file]) for part, file in files.items()}
    nodes, edges, graphs = tables["nodes"], tables["edges"], tables.get("graphs")
    graph_of, graph_names = _graphs_of_nodes(nodes, graphs)
    order = np.argsort(graph_of, kind="stable")
    n_node = np.bincount(graph_of, minlength=len(graph_names))
    where = _where(tables, order)

    place = np.empty(nodes.rows, np.int64)
    place[order] = np.arange(nodes.rows)
    ids, ends = _rows_of_ends(nodes, edges)
    senders, receivers = (place[rows] for rows in ends)
    names = {"node": ids[order], "graph": graph_names}

    unknown = [name for name in ignore if not any(name in {*one.columns, *one.dropped} for one in tables.values())]
    if unknown:
        listed = " or ".join(table.file for table in (nodes, edges, graphs) if table is not None)
        raise UserError(f"ignore names {unknown[0]!r}, which is no column of {listed}")
    of_nodes = [name for name in nodes.columns if name not in {"id", "graph", "split", label, *ignore}]
    of_edges = [name for name in edges.columns if name not in {*KEYS, "split", label, *ignore}]
    levels = [("node", nodes, order)] + ([] if graphs is None else [("graph", graphs, np.arange(graphs.rows))])
    if encoding is not None:
        of_nodes = [column.name for column in encoding.columns if column.name in nodes.columns]
        weight = [] if encoding.weight is None else [WEIGHT]
        of_edges = [name for name in (*(one.name for one in encoding.edge_columns), *weight) if name in edges.columns]
        levels = []
    columns = {name: nodes.values(name)[order] for name in of_nodes}
    edge_columns = {name: edges.values(name) for name in of_edges if edges.rows}
    labels = {level: table.labels(label)[rows] for level, table, rows in levels if table.says(label)}
    parts = {
        level: parts_of_words(table.values("split")[rows], level, where)
        for level, table, rows in levels
        if table.says("split") and "split" not in ignore
    }
    # A label of edges is nothing that is learnt here, and least of all something to learn from.
    unused = [(edges, name) for name in edges.columns if name in {"id", "split", label}]
    if graphs is not None:
        unused += [(graphs, name) for name in graphs.columns if name not in {"id", "split", label}]
    notes = tuple(note for table in tables.values() for note in table.notes)
    if unused:
        listed = ", ".join(f"{name} of {table.file}" for table, name in unused[:20])
        notes += (f"Columns that are not used: {listed}.",)
    weights = edge_columns.pop(WEIGHT, None)
    return RawGraphs(n_node, senders, receivers, columns, labels, parts, where, names, notes, edge_columns, weights)


def _where(tables: Mapping[str, Table], order: np.ndarray) -> Where:
    graph: Callable[[int], str] = tables["graphs"].row if "graphs" in tables else "graph {}".format
    return Where(lambda number: tables["nodes"].row(int(order[number])), tables["edges"].row, graph)


def _graphs_of_nodes(nodes: Table, graphs: Table | None) -> tuple[np.ndarray, np.ndarray]:
    """Number of the graph of each node, [V], in the order of the table of graphs; and the graphs' names, [G]."""
    if "graph" not in nodes.columns:
        if graphs is not None and graphs.rows != 1:
            raise UserError(f"{nodes.file} has no column 'graph', which says to which of the graphs a node belongs")
        return np.zeros(nodes.rows, np.int64), np.zeros(1, np.int64)
    keys = nodes.keys("graph")
    known = pc.unique(keys) if graphs is None else graphs.keys("id")
    if graphs is not None:
        _refuse_twice(known, graphs, "id")
    what = "no graph" if graphs is None else f"no id in {graphs.file}"
    return _find(keys, known, nodes, "graph", what), _numpy(known)


def _rows_of_ends(nodes: Table, edges: Table) -> tuple[np.ndarray, list[np.ndarray]]:
    """Names of the nodes, [V]; and the rows of the senders and of the receivers of all edges among them, [E] each."""
    ids = nodes.keys("id")
    ends = {name: edges.keys(name) for name in ("source", "target")}
    if "graph" in edges.columns:
        ids = pc.binary_join_element_wise(nodes.keys("graph"), ids, BETWEEN)
        ends = {name: pc.binary_join_element_wise(edges.keys("graph"), end, BETWEEN) for name, end in ends.items()}
    _refuse_twice(ids, nodes, "id")
    rows = [_find(end, ids, edges, name, f"no id in {nodes.file}") for name, end in ends.items()]
    return _numpy(ids), rows


def _find(keys: pa.Array, known: pa.Array, table: Table, column: str, what: str) -> np.ndarray:
    """Places of keys among the known ones, int64."""
    places = pc.index_in(keys, value_set=known)
    absent = np.flatnonzero(_numpy(pc.is_null(places)))
    if absent.size:
        word = str(keys[int(absent[0])])
        raise UserError(
            f"{table.row(int(absent[0]))} names the {column} {word[:40]!r}, which is {what}; drop or mend that row"
        )
    return _numpy(places).astype(np.int64)


def _refuse_twice(keys: pa.Array, table: Table, column: str) -> None:
    codes = _numpy(keys.dictionary_encode().indices)
    if len(codes) and codes.max() + 1 < len(codes):
        first = np.unique(codes, return_index=True)[1]
        again = int(np.setdiff1d(np.arange(len(codes)), first)[0])
        raise UserError(
            f"{table.row(again)} has the {column} {str(keys[again])[:40]!r} of an earlier row; give each its own (if "
            "they differ by graph, give the edges a column 'graph' too)"
        )


def _with_gaps(table: pa.Table) -> pa.Table:
    """Columns of text whose empty cells are null; in the one of the split, `NOTHING` says the same."""
    for number, name in enumerate(table.column_names):
        column = table.column(number)
        if pa.types.is_string(column.type):
            empty = ["", *NOTHING] if name.strip() == "split" else [""]
            gone = pc.is_in(column, value_set=pa.array(empty))
            table = table.set_column(number, name, pc.if_else(gone, pa.scalar(None, pa.string()), column))
    return table


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def _numpy(column: Any) -> np.ndarray:
    return column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
