"""Labels, attributes and edges as other libraries give them, lists, tensors and numbers of many types, as arrays."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from atjax.errors import UserError

NARROW = ("bfloat16", "float8", "float4")
"""Types of tensors that numpy does not have, by how their names begin."""


def as_array(given: Any, name: str = "An array") -> np.ndarray:
    """A tensor, wherever it lives, or anything else as an array.

    Raises:
        UserError: It is none that can be read; ``name`` begins the sentence.
    """
    if sparse.issparse(given) or is_sparse(given):
        raise UserError(f"{name} is sparse, which only features of nodes may be; give it dense.")
    if np.ma.is_masked(given):
        raise UserError(f"{name} has masked entries, where none may be missing; fill them in, or leave them out.")
    try:
        if hasattr(given, "detach"):
            tensor = given.detach().cpu()
            # numpy has no type for some of them, such as bfloat16, whose numbers single precision holds.
            narrow = any(word in str(getattr(tensor, "dtype", "")) for word in NARROW)
            given = (tensor.float() if narrow else tensor).numpy()
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        ragged = isinstance(error, ValueError)
        reason = "rows differ in length" if ragged else str(error).split("\n")[0].split(". ")[0].rstrip(".!")
        raise UserError(f"{name} cannot be read as an array ({reason}); give a dense array of numbers.") from None
    if array.dtype.name.startswith(NARROW):  # JAX's
        array = array.astype(np.float32)
    if array.dtype.kind == "c":
        raise UserError(f"{name} is of complex numbers; give their real and imaginary parts.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)  # pandas takes no other order of bytes


def as_labels(given: Any, name: str = "An array") -> np.ndarray:
    """The same of labels, of which those that numpy masks are missing: NaN of numbers, None of classes."""
    return as_array(_unmasked(given), name)


def _unmasked(given: Any) -> Any:
    """Masked entries as None or NaN; anything else as it is."""
    if given is np.ma.masked:
        return None
    if not np.ma.is_masked(given) or given.dtype.kind == "V":
        return given
    if given.ndim > 1 or given.dtype.kind == "f":  # a table is of numbers, where whole ones by themselves are classes
        with contextlib.suppress(TypeError, ValueError):
            return given.astype(np.float64).filled(np.nan)
    objects = given.data.astype(object)
    objects[given.mask] = None
    return objects


def is_sparse(given: Any) -> bool:
    """Whether it is a sparse tensor."""
    return "sparse" in str(getattr(given, "layout", ""))


def as_sparse(given: Any, name: str) -> sparse.csr_matrix:
    """A sparse matrix of scipy, or a sparse tensor of two dimensions, of whatever layout.

    Raises:
        UserError: It has not two dimensions.
    """
    if not sparse.issparse(given):
        if given.dim() != 2 or given.dense_dim():
            raise UserError(f"{name} is a sparse tensor of the shape {tuple(given.shape)}; give a matrix, [V, D].")
        entries = given.detach().cpu().to_sparse_coo().coalesce()
        rows, columns = as_array(entries.indices(), name)
        given = sparse.coo_matrix((as_array(entries.values(), name), (rows, columns)), shape=tuple(given.shape))
    return sparse.csr_matrix(given)  # scipy's sparse arrays have no length, unlike its matrices


def as_features(given: Any, name: str) -> np.ndarray | sparse.csr_matrix:
    """A row, or a number, for each node, [V] or [V, D]."""
    if sparse.issparse(given) or is_sparse(given):
        return as_sparse(given, name)
    array = as_array(given, name)
    if array.ndim not in (1, 2):
        raise UserError(f"{name} has the shape {array.shape}; give a row for each node, [V, D].")
    return _as_numbers(array)


def as_edge_rows(given: Any, name: str, count: int) -> np.ndarray:
    """A row, or a number, for each of so many edges, [E] or [E, K]."""
    array = as_array(given, name)
    if array.ndim not in (1, 2) or len(array) != count:
        raise UserError(f"{name} has the shape {array.shape}, but there are {count} edges; give a row for each edge.")
    return _as_numbers(array)


def as_whole(given: Any, name: str) -> np.ndarray:
    """Whole numbers, int64."""
    array = as_array(given, name)
    if array.dtype.kind not in "iu" and array.size:
        raise UserError(f"{name} is of type {array.dtype}; give whole numbers.")
    return array.astype(np.int64)


def as_count(given: Any, name: str) -> int:
    """A whole number, 0 or more."""
    number = as_whole(given, name)
    if number.size != 1 or number.min() < 0:
        raise UserError(f"{name} is {given!r}; give a whole number, 0 or more.")
    return int(number.item())


def as_owners(given: Any, name: str) -> np.ndarray:
    """The graph of each node, ascending int64 [V]."""
    owners = as_whole(given, name)
    if owners.ndim != 1 or np.any(np.diff(owners) < 0) or owners.min(initial=0) < 0:
        raise UserError(f"{name} must give each node the number of its graph, from 0 on, in ascending order.")
    return owners


def as_mask(given: Any, name: str, size: int) -> np.ndarray:
    """Whether each of so many nodes is in a part, bool [V]; several splits, [V, S], are left for others to refuse."""
    mask = as_array(given, name)
    if mask.ndim == 0 or len(mask) != size:
        raise UserError(f"{name} has the shape {mask.shape}; give true or false for each of the {size} nodes.")
    if (odd := mask[~np.isin(mask, (0, 1))]).size:
        raise UserError(f"{name} holds {odd[0]}; give true or false for each of the {size} nodes.")
    return mask.astype(bool)


def as_edges(given: Any, name: str = "edge_index") -> tuple[np.ndarray, np.ndarray]:
    """Senders and receivers, [E] each."""
    if given is None:
        raise UserError("There are no edges; give edge_index, [2, E].")
    ends = as_whole([as_array(end, name) for end in given] if isinstance(given, tuple) else given, name)
    if ends.size == 0:
        ends = ends.reshape(2, 0)
    if ends.ndim != 2 or len(ends) != 2:
        raise UserError(f"{name} has the shape {ends.shape}; give senders and receivers, [2, E].")
    return ends[0], ends[1]


def as_values(given: Any) -> np.ndarray:
    """Labels as an array: numbers where all are, else objects. A mapping gives them by number.

    Raises:
        UserError: They are not several, or a mapping has other keys.
    """
    if isinstance(given, Mapping):
        numbers = range(len(given))
        if odd := [key for key in given if key not in numbers]:
            raise UserError(
                f"The labels are given by number, 0 to {len(given) - 1}, but one is for {odd[0]!r}; mend it."
            )
        given = [given[number] for number in numbers]
    if isinstance(given, pd.DataFrame):
        given = given.to_numpy()  # iteration is over its names
    if hasattr(given, "detach") or isinstance(given, np.ndarray):
        array = as_labels(given, "labels")
        if array.ndim == 0:
            raise UserError("The labels are a single one; give a list or an array of them.")
        if array.dtype != object:
            return array
        given = array
    if not isinstance(given, Iterable):
        raise UserError(f"The labels are of type {type(given).__name__}; give a list or an array of them.")
    rows = [_scalar(one) for one in given]
    if any(isinstance(row, str | tuple | frozenset) for row in rows):
        return _objects(rows)
    try:
        array = np.array(rows)
    except ValueError:  # rows of different lengths
        return _objects(rows)
    # Whole numbers by themselves are classes, and of objects stay what they are.
    if array.ndim > 1 or any(map(_has_fraction, rows)):
        array = _as_numbers(array)
    return array if array.dtype.kind in "biuf" else _objects(rows)


def as_column(name: str, given: Sequence[Any], place: Callable[[int], str]) -> np.ndarray:
    """An attribute of nodes or edges: numbers [N], words [N], or lists of numbers [N, K]."""
    rows = [np.zeros(0) if value is None or isinstance(value, str) else _flat(value, name) for value in given]
    absent = next((number for number, value in enumerate(given) if value is None), None)
    if absent is not None:
        raise UserError(
            f"{place(absent)} has no attribute {name!r}, which others have; give it, or name the attributes to use, "
            "without it."
        )
    lengths = Counter(map(len, rows))
    if len(lengths) > 1:
        usual = lengths.most_common(1)[0][0]
        other = next(number for number, row in enumerate(rows) if len(row) != usual)
        raise UserError(
            f"{place(other)}: {name} is of another kind or length than elsewhere, {_kind(len(rows[other]))} and not "
            f"{_kind(usual)}; make them alike."
        )
    if not any(map(len, rows)):
        return _objects(given)
    array = _as_numbers(np.stack(rows))
    return array if array.shape[1] > 1 else array[:, 0]


def _kind(length: int) -> str:
    return "a word" if length == 0 else "one number" if length == 1 else f"{length} numbers"


def as_names(given: Sequence[Any]) -> Sequence[Any]:
    """Names of attributes, of which one may be given by itself."""
    return [given] if isinstance(given, str) else given


def by_name(
    data: Sequence[Mapping[Any, Any]], wanted: Sequence[Any] | None, others: Set[Any], whose: str
) -> dict[str, list[Any]]:
    """Values of attributes, None where one is absent, by name: their key in words, whatever its type.

    Args:
        data: Attributes of each node or edge.
        wanted: Keys or names, or one in words; None for all that there are.
        others: Keys that are left out then.
        whose: What has them, ``nodes`` or ``edges``.

    Raises:
        UserError: Two have the same name, or none has a wanted one.
    """
    keys: dict[str, list[Any]] = {}
    for key in {key: None for each in data for key in each}:
        keys.setdefault(str(key), []).append(key)
    if wanted is None:
        wanted = sorted(str(key) for same in keys.values() for key in same if key not in others)
    found = {}
    for name in map(str, as_names(wanted)):
        if data and name not in keys:
            held = ", ".join(map(str, keys)) or "none"
            raise UserError(f"The {whose} have no attribute {name!r}; give it, or choose from {held}.")
        key, *more = keys.get(name, [name])
        if more:
            raise UserError(
                f"Two attributes of the {whose} are called {name!r}, as {key!r} and {more[0]!r}; rename one of them."
            )
        found[name] = [each.get(key) for each in data]
    return found


def _has_fraction(entry: Any) -> bool:
    """Whether it is of a type of numbers that need not be whole."""
    return isinstance(entry, float | np.floating | Decimal | Fraction)


def _as_numbers(array: np.ndarray) -> np.ndarray:
    """Objects as float64, NaN for None, if all are numbers; anything else as it is."""
    if array.dtype != object:
        return array
    entries = [_scalar(entry) for entry in array.flat]
    missing = [entry is None or entry is pd.NA for entry in entries]
    if not all(absent or isinstance(entry, int) or _has_fraction(entry) for absent, entry in zip(missing, entries)):
        return array
    return np.reshape([np.nan if absent else as_float(entry) for absent, entry in zip(missing, entries)], array.shape)


def as_float(number: Any) -> float:
    """In double precision; infinite, to be refused, where it is beyond that, of whatever sign."""
    try:
        return float(number)
    except OverflowError:
        return float("inf")


def _scalar(given: Any) -> Any:
    """The Python object of numpy's numbers and of tensors and arrays of one number; anything else as it is."""
    if not (hasattr(given, "detach") or hasattr(given, "item")):
        return given
    array = as_labels(given, "A label")
    return array.item() if array.size == 1 else array


def _flat(value: Any, name: str) -> np.ndarray:
    """The numbers of one node or edge in one row."""
    try:
        return as_array(np.asarray(value) if isinstance(value, list | tuple) else value, name).reshape(-1)
    except ValueError:  # lists of different lengths in one
        return np.zeros(0)


def _objects(rows: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array
