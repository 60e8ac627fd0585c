"""Node features that are made here, rather than given by a file."""

from __future__ import annotations

import numpy as np

from atjax.errors import UserError
from atjax.task import Graphs

DEGREE_CAP = 64
"""Degrees from here on share one feature: few nodes have them, and no single hub must set the number of features."""

ONE_HOT_LIMIT = 2**32
"""Bytes that a one-hot may take: node labels can be ids that no two nodes share."""


def one_hot(codes: np.ndarray, count: int) -> np.ndarray:
    """Float32 [V, count]: 1 in the column that each code, [V], names."""
    columns = np.zeros((len(codes), count), np.float32)
    columns[np.arange(len(codes)), codes] = 1
    return columns


def categories(name: str, table: np.ndarray) -> list[np.ndarray]:
    """For each column of a table, [V, D], or for a list, [V], a one-hot over the values that occur in it.

    Raises:
        UserError: There are so many that they would take more than `ONE_HOT_LIMIT` bytes; says so of the task ``name``.
    """
    found = [np.unique(column, return_inverse=True) for column in np.atleast_2d(table.T)]
    count = sum(len(values) for values, _ in found)
    if 4 * count * len(table) > ONE_HOT_LIMIT:
        raise UserError(
            f"{name}: {count:,} different values are too many for a one-hot of {len(table):,} nodes; "
            "take features=degree."
        )
    return [one_hot(codes, len(values)) for values, codes in found]


def degrees(graphs: Graphs) -> np.ndarray:
    """One-hot of the degree, float32 [V, `DEGREE_CAP` + 1], with `DEGREE_CAP` and more in one."""
    degree = np.bincount(graphs.receivers, minlength=graphs.nodes.shape[0])
    return one_hot(np.minimum(degree, DEGREE_CAP), DEGREE_CAP + 1)
