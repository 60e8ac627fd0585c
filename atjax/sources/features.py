"""Node features that are made here, rather than given by a file."""

from __future__ import annotations

import numpy as np

from atjax.encoding import degree_one_hot, one_hot
from atjax.errors import UserError
from atjax.task import Graphs

ONE_HOT_LIMIT = 2**32
"""Bytes that a one-hot may take: node labels can be ids that no two nodes share."""


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
    """One-hot of the degree, float32 [V, 65], with 64 and more in one (`atjax.encoding.DEGREE_CAP`)."""
    return degree_one_hot(graphs.receivers, graphs.nodes.shape[0])
