"""Tables of numbers as text."""

from __future__ import annotations

import contextlib
import io

import numpy as np

from atjax.errors import UserError


def read_table(content: bytes, file: str, dtype: type, columns: int | None) -> np.ndarray:
    """Numbers separated by commas, one row a line, [rows, columns]; blank lines are skipped.

    Args:
        content: The file's bytes.
        file: Its name, for error messages.
        dtype: ``np.int64`` or ``np.float64``.
        columns: Numbers a line; None takes the first line's.

    Raises:
        UserError: A line is not numeric, not finite or has another number of columns: names the file and the line.
    """
    if not content.strip():
        raise UserError(f"{file} is empty")
    rows: np.ndarray | None = None
    with contextlib.suppress(ValueError):
        rows = np.loadtxt(io.BytesIO(content), dtype, delimiter=",", comments=None, ndmin=2, encoding="latin1")
    if rows is not None and (columns is None or rows.shape[1] == columns) and np.isfinite(rows).all():
        return rows
    # Something is wrong: go through the lines, slowly, to say where.
    for number, line in enumerate(content.decode("latin1").splitlines(), 1):
        fields = line.split(",")
        if not line.strip():
            continue
        columns = columns or len(fields)
        if len(fields) != columns:
            raise UserError(f"{file}: line {number} has {len(fields)} numbers, not {columns}: {line.strip()[:40]!r}")
        try:
            finite = bool(np.isfinite(np.array(fields, dtype)).all())
        except (ValueError, OverflowError):
            finite = False
        if not finite:
            kind = "whole numbers" if dtype is np.int64 else "finite numbers"
            raise UserError(f"{file}: line {number} does not hold {kind}: {line.strip()[:40]!r}")
    raise UserError(f"{file} holds no table of numbers")
