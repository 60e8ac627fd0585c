"""Arrays of an npz archive, read without pickle and without trusting the sizes that they claim."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import numpy as np

from atjax.errors import UserError

KINDS = "biuf"
"""Kinds of numpy types that are read: truth values, whole numbers and floating-point numbers."""


def read_array(members: Mapping[str, bytes], key: str) -> np.ndarray:
    """One array of an npz archive, as a read-only view of the member's bytes.

    ``np.load`` would allocate whatever size the header claims before it looks for the bytes; here both must agree.

    Args:
        members: The archive's members, by base name.
        key: Name of the array.

    Raises:
        UserError: There is no such array, it holds other things than numbers, or it is damaged.
    """
    if f"{key}.npy" not in members:
        raise UserError(f"the file has no array {key}")
    content = members[f"{key}.npy"]
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(stream)
    except Exception as error:  # A damaged header raises almost anything.
        raise UserError(f"the array {key} cannot be read ({_first_line(error)})") from None
    if dtype.kind not in KINDS:
        raise UserError(f"the array {key} is of type {dtype}, which is not allowed; save it as numbers")
    length = len(content) - stream.tell()
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != length:
        raise UserError(f"the array {key} claims the shape {shape} of {dtype}, but has {length:,} bytes")
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def whole_numbers(array: np.ndarray, key: str) -> np.ndarray:
    """The array as int64.

    Raises:
        UserError: It holds no whole numbers, or some beyond the range of int64.
    """
    if array.dtype.kind not in "iu" or (array.dtype == np.uint64 and array.max(initial=0) >= 2**63):
        raise UserError(f"{key} are of type {array.dtype}, not whole numbers")
    return array.astype(np.int64)


def class_labels(array: np.ndarray, key: str) -> np.ndarray:
    """Classes counted from 0, or -1 for none, as int32 [N].

    Raises:
        UserError: It is no list of whole numbers, or some are below -1, or so large that most classes must be empty.
    """
    if array.ndim != 1:
        raise UserError(f"{key} has the shape {array.shape}; give one class each, as a list")
    labels = whole_numbers(array, key)
    bad = np.flatnonzero((labels < -1) | (labels >= max(len(labels), 2)))
    if bad.size:
        raise UserError(
            f"{key}: number {bad[0]} is {labels[bad[0]]}; count classes from 0 without gaps, and give -1 where a label "
            "is missing"
        )
    return labels.astype(np.int32)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
