"""Node features that are made here, rather than given by a file."""

from __future__ import annotations

import numpy as np

from atjax.task import Graphs

DEGREE_CAP = 64
"""Degrees from here on share one feature: few nodes have them, and no single hub must set the number of features."""


def one_hot(codes: np.ndarray, count: int) -> np.ndarray:
    """Float32 [V, count]: 1 in the column that each code, [V], names."""
    columns = np.zeros((len(codes), count), np.float32)
    columns[np.arange(len(codes)), codes] = 1
    return columns


def categories(table: np.ndarray) -> list[np.ndarray]:
    """For each column of a table, [V, D], or for a list, [V], a one-hot over the values that occur in it."""
    found = [np.unique(column, return_inverse=True) for column in np.atleast_2d(table.T)]
    return [one_hot(codes, len(values)) for values, codes in found]


def degrees(graphs: Graphs) -> np.ndarray:
    """One-hot of the degree, float32 [V, `DEGREE_CAP` + 1], with `DEGREE_CAP` and more in one."""
    degree = np.bincount(graphs.receivers, minlength=graphs.nodes.shape[0])
    return one_hot(np.minimum(degree, DEGREE_CAP), DEGREE_CAP + 1)
