"""Arrays of an npz archive, read without pickle and without trusting the sizes that they claim."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from atjax.errors import UserError, first_line
from atjax.task import canonical_csr

SIZE_LIMIT = 2**27
"""Rows or columns of a matrix: those without entries take no room in a file, so that it could claim any number."""

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
        raise UserError(f"the array {key} cannot be read ({first_line(error)})") from None
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


def compressed_rows(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: Sequence[int], key: str
) -> sparse.csr_matrix:
    """The matrix of these CSR arrays, as float32, in canonical form.

    scipy's own check lets a negative end of the rows pass, and fractions as indices.

    Args:
        data: The stored entries, [N].
        indices: Their columns, [N].
        indptr: Where each row starts, and N at the end, [rows + 1].
        shape: Rows and columns.
        key: What the matrix is called, for error messages.

    Raises:
        UserError: The arrays do not fit together.
    """
    if len(shape) != 2 or not all(0 <= size <= SIZE_LIMIT for size in shape):
        raise UserError(f"{key} claims the shape {tuple(shape)}; a matrix has two sizes, of at most {SIZE_LIMIT:,}")
    fault = None
    if not (indices.dtype.kind in "iu" and indptr.dtype.kind in "iu" and data.dtype.kind in "biuf"):
        fault = "indices and indptr must be whole numbers, and data real ones"
    elif indptr.shape != (shape[0] + 1,) or indices.ndim != 1 or data.shape != indices.shape:
        fault = f"data, indices and indptr are of the shapes {data.shape}, {indices.shape} and {indptr.shape}"
    elif indptr[0] != 0 or indptr[-1] != len(indices) or np.any(indptr[1:] < indptr[:-1]):
        fault = "indptr does not go up from 0 to the number of entries"
    elif indices.size and (indices.min() < 0 or indices.max() >= shape[1]):
        fault = f"an index is out of the range 0 to {shape[1] - 1}"
    if fault is not None:
        raise UserError(f"the arrays {key}_* are no CSR matrix: {fault}")
    native = data.astype(data.dtype.newbyteorder("=")), indices.astype(np.int64), indptr.astype(np.int64)
    return canonical_csr(sparse.csr_matrix(native, shape=tuple(shape)))


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
