"""Labels and attributes as other libraries give them, lists, tensors and numbers of many types, as arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from atjax.errors import UserError


def as_array(tensor: Any) -> np.ndarray:
    """A tensor, wherever it lives, or anything else as an array."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu().numpy()
    array = np.asarray(tensor)
    return array.astype(array.dtype.newbyteorder("="), copy=False)  # pandas takes no other order of bytes


def as_values(given: Any) -> np.ndarray:
    """Labels as an array: numbers where all are, else objects. A mapping gives them by number."""
    if isinstance(given, Mapping):
        given = [given.get(number) for number in range(len(given))]
    if hasattr(given, "detach") or (isinstance(given, np.ndarray) and given.dtype != object):
        return as_array(given)
    if not isinstance(given, Iterable):
        raise UserError(f"The labels are of type {type(given).__name__}; give a list or an array of them.")
    rows = [_scalar(one) for one in given]
    if any(isinstance(row, str | tuple | frozenset) for row in rows):
        return _objects(rows)
    try:
        array = np.array(rows)
    except ValueError:  # rows of different lengths
        return _objects(rows)
    array = _as_numbers(array)
    return array if array.dtype.kind in "biuf" else _objects(rows)


def as_column(name: str, given: Sequence[Any], place: Callable[[int], str]) -> np.ndarray:
    """An attribute of nodes or edges: numbers [N], words [N], or lists of numbers [N, K]."""
    rows = [np.zeros(0) if value is None or isinstance(value, str) else _flat(value) for value in given]
    absent = next((number for number, value in enumerate(given) if value is None), None)
    if absent is not None:
        raise UserError(
            f"{place(absent)} has no attribute {name!r}, which others have; give it, or name the attributes to use, "
            "without it."
        )
    other = next((number for number, row in enumerate(rows) if len(row) != len(rows[0])), None)
    if other is not None:
        raise UserError(f"{place(other)}: {name} is of another kind or length than elsewhere; make them alike.")
    if not any(map(len, rows)):
        return _objects(given)
    array = _as_numbers(np.stack(rows))
    return array if array.shape[1] > 1 else array[:, 0]


def by_name(
    data: Sequence[Mapping[Any, Any]], wanted: Sequence[Any] | None, others: Set[Any], whose: str
) -> dict[str, list[Any]]:
    """Values of attributes, None where one is absent, by name: their key in words, whatever its type.

    Args:
        data: Attributes of each node or edge.
        wanted: Keys or names; None for all that there are.
        others: Keys that are left out then.
        whose: What has them, ``nodes`` or ``edges``.

    Raises:
        UserError: Two have the same name.
    """
    keys: dict[str, list[Any]] = {}
    for key in {key: None for each in data for key in each}:
        keys.setdefault(str(key), []).append(key)
    if wanted is None:
        wanted = sorted(str(key) for same in keys.values() for key in same if key not in others)
    found = {}
    for name in map(str, wanted):
        key, *more = keys.get(name, [name])
        if more:
            raise UserError(
                f"Two attributes of the {whose} are called {name!r}, as {key!r} and {more[0]!r}; rename one of them."
            )
        found[name] = [each.get(key) for each in data]
    return found


def _as_numbers(array: np.ndarray) -> np.ndarray:
    """Objects as float64, NaN for None, if some are numbers with a fraction and none are other things than numbers."""
    if array.dtype != object:
        return array
    entries = [_scalar(entry) for entry in array.flat]
    if any(isinstance(entry, float | np.floating | Decimal | Fraction) for entry in entries):
        with contextlib.suppress(TypeError, ValueError):
            numbers = [np.nan if entry is None or entry is pd.NA else float(entry) for entry in entries]
            return np.reshape(numbers, array.shape)
    return array


def _scalar(given: Any) -> Any:
    """The Python object of numpy's numbers and of tensors and arrays of one number; anything else as it is."""
    if not (hasattr(given, "detach") or hasattr(given, "item")):
        return given
    array = as_array(given)
    return array.item() if array.size == 1 else given


def _flat(value: Any) -> np.ndarray:
    """The numbers of one node or edge in one row."""
    try:
        return as_array(value).reshape(-1)
    except ValueError:  # lists of different lengths in one
        return np.zeros(0)


def _objects(rows: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array
