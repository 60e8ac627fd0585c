"""Tables of numbers as text."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pyarrow import csv

from atjax.encoding import LARGEST
from atjax.errors import UserError

ALPHABET: Mapping[type, bytes] = {np.int64: b"0123456789+-, \t\r\n", np.float64: b"0123456789+-.eE, \t\r\n"}
"""All that a table of numbers may consist of: pyarrow would take hexadecimal numbers, infinities and names of null."""


def read_table(content: bytes, file: str, dtype: type, columns: int | None, *, missing: bool = False) -> np.ndarray:
    """Numbers separated by commas, one row a line, [rows, columns]; blank lines are skipped.

    Args:
        content: The file's bytes.
        file: Its name, for error messages.
        dtype: ``np.int64`` or ``np.float64``.
        columns: Numbers a line; None takes the first line's.
        missing: Whether numbers may be missing: empty or ``nan``, which is read as NaN. For float64 only.

    Raises:
        UserError: A line is not numeric, not finite in single precision, or has another number of columns: names the
            file and the line.
    """
    first = re.search(rb"\S.*", content)
    if not first:
        raise UserError(f"{file} is empty")
    columns = columns or first[0].count(b",") + 1
    if missing:
        content = content.replace(b'""', b"nan")  # how pandas writes a line with nothing in it
    if not content.translate(None, ALPHABET[dtype] + (b"nNaA" if missing else b"")):
        rows = _read_clean(content, dtype, columns, missing)
        if rows is not None and (dtype is np.int64 or not np.any(np.abs(rows) > LARGEST)):
            return rows
    return _read_lines(content, file, dtype, columns, missing)


def _read_clean(content: bytes, dtype: type, columns: int, missing: bool) -> np.ndarray | None:
    """The table, in all threads of pyarrow; None if it finds a fault."""
    names = [str(column) for column in range(columns)]
    types = dict.fromkeys(names, pa.from_numpy_dtype(dtype))
    nulls = ["", "nan", "NaN"] if missing else []
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(column_names=names),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(column_types=types, null_values=nulls),
        )
    except pa.ArrowException:
        return None
    rows = np.empty((table.num_rows, columns), dtype)
    for number, column in enumerate(table.columns):
        rows[:, number] = column.to_numpy()
    return rows


def _read_lines(content: bytes, file: str, dtype: type, columns: int, missing: bool) -> np.ndarray:
    """The same, slowly, line by line, to say where something is wrong, or missing."""
    rows: list[np.ndarray] = []
    for number, line in enumerate(io.BytesIO(content), 1):
        text = line.decode("latin1").strip()
        if not text:
            continue
        fields = text.split(",")
        if len(fields) != columns:
            raise UserError(f"{file}: line {number} has {len(fields)} numbers, not {columns}: {text[:40]!r}")
        try:
            row: np.ndarray = np.array([field.strip() or "nan" for field in fields] if missing else fields, dtype)
            fits = (dtype is np.int64) | (np.abs(row) <= LARGEST) | (missing & np.isnan(row))
        except (ValueError, OverflowError):
            fits = np.False_
        if not np.all(fits):
            kind = "whole numbers" if dtype is np.int64 else "finite numbers"
            raise UserError(f"{file}: line {number} does not hold {kind}: {text[:40]!r}")
        rows.append(row)
    return np.array(rows)
