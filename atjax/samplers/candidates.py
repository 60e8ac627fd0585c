"""What a rule may draw designs from: a whole space, or a list of designs (those that a bank has results of).

Designs are rows of choice numbers, int8 [n, D] (`Space.numbers`); a prior is a table of probabilities, [D, C], C the
largest number of choices, 0 where a dimension has fewer.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from atjax.space import Probabilities, Space


def table_of(space: Space, probabilities: Probabilities) -> np.ndarray:
    """Probabilities as a table, [D, C]; each dimension's sum to 1."""
    table = np.zeros((len(space.dimensions), max(len(d.choices) for d in space.dimensions)))
    for row, dimension in zip(table, space.dimensions):
        row[: len(dimension.choices)] = [probabilities[dimension.name].get(c, 0.0) for c in dimension.choices]
    return table / table.sum(axis=1, keepdims=True)


def known(rows: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Which designs [n, D] are among others [m, D], bool [n]."""
    return (rows[:, None] == seen[None]).all(axis=2).any(axis=1)


class Candidates(Protocol):
    """The designs that may be proposed."""

    sizes: np.ndarray
    """Choices of every dimension, [D]."""

    def draw(self, table: np.ndarray, rng: np.random.Generator, count: int, seen: np.ndarray) -> np.ndarray:
        """Designs drawn independently, each with a probability proportional to the product over its active dimensions.

        Args:
            table: Probabilities, [D, C].
            rng: Source of randomness.
            count: n.
            seen: Designs that are not wanted again, [m, D]; a whole space cares little, a list leaves them out.

        Returns:
            [n, D].
        """

    def change(self, row: np.ndarray, rng: np.random.Generator, seen: np.ndarray) -> np.ndarray:
        """A design next to one [D]: with one choice changed, or as near as there is one, [D]."""


class WholeSpace:
    """All designs of a space, without listing them."""

    def __init__(self, space: Space) -> None:
        self.sizes = np.array([len(d.choices) for d in space.dimensions])
        names = [d.name for d in space.dimensions]
        self._children = [
            (column, names.index(d.parent), [n for n, choice in enumerate(space[d.parent].choices) if choice in d.when])
            for column, d in enumerate(space.dimensions)
            if d.parent is not None
        ]

    def _prune(self, rows: np.ndarray) -> np.ndarray:
        """Put -1 where a dimension is inactive."""
        for column, parent, when in self._children:
            rows[~np.isin(rows[:, parent], when), column] = -1
        return rows

    def draw(self, table: np.ndarray, rng: np.random.Generator, count: int, seen: np.ndarray) -> np.ndarray:
        """See `Candidates`."""
        levels = rng.random((count, len(table), 1))
        numbers = (levels > np.cumsum(table, axis=1)).sum(axis=2)
        return self._prune(np.minimum(numbers, self.sizes - 1).astype(np.int8))

    def change(self, row: np.ndarray, rng: np.random.Generator, seen: np.ndarray) -> np.ndarray:
        """See `Candidates`; a dimension that becomes active by the change takes a random choice."""
        free = np.flatnonzero((row >= 0) & (self.sizes > 1))
        column = rng.choice(free)
        new = np.where(row < 0, rng.integers(self.sizes), row).astype(np.int8)
        new[column] = (row[column] + rng.integers(1, self.sizes[column])) % self.sizes[column]
        return self._prune(new[None])[0]


class Listed:
    """Some designs, by their rows [n, D]; each comes once."""

    def __init__(self, space: Space, rows: np.ndarray) -> None:
        self.sizes = np.array([len(d.choices) for d in space.dimensions])
        self.rows = rows
        self._columns = np.arange(rows.shape[1])

    def _left(self, seen: np.ndarray) -> np.ndarray:
        new = ~known(self.rows, seen)
        return self.rows[new] if new.any() else self.rows

    def draw(self, table: np.ndarray, rng: np.random.Generator, count: int, seen: np.ndarray) -> np.ndarray:
        """See `Candidates`."""
        left = self._left(seen)
        weights = np.where(left >= 0, table[self._columns, left], 1.0).prod(axis=1)
        total = weights.sum()
        share = weights / total if total > 0 else np.full(len(left), 1 / len(left))
        return left[rng.choice(len(left), count, p=share)]

    def change(self, row: np.ndarray, rng: np.random.Generator, seen: np.ndarray) -> np.ndarray:
        """See `Candidates`."""
        left = self._left(seen)
        apart = (left != row).sum(axis=1)
        return left[rng.choice(np.flatnonzero(apart == apart.min()))]
