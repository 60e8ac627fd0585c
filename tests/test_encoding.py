"""Columns of numbers as features."""

from __future__ import annotations

import numpy as np
import pytest

from atjax.encoding import Column, Rows

ROWS = Rows("node", lambda kind, number: f"{kind} {number}")


@pytest.mark.parametrize("value", [2.1, 36.6, 1.7, -0.3, 98.6])
@pytest.mark.parametrize("count", [1, 10, 777])
def test_a_column_that_never_changes_is_zero_and_keeps_its_unit(value: float, count: int) -> None:
    """Its mean is rounded, so that its deviation is not 0; a later value must not be divided by that."""
    column = Column.fit("x", np.full(count, value), ROWS, categories=False)
    np.testing.assert_array_equal(column.apply(np.full(count, value), ROWS), np.zeros((count, 1)))
    np.testing.assert_allclose(column.apply(np.array([value + 0.5]), ROWS), [[0.5]], rtol=1e-6)


def test_numbers_are_z_scored_column_by_column() -> None:
    numbers = np.stack([np.random.default_rng(0).normal(5, 3, 40), np.full(40, 2.1)], axis=1)
    got = Column.fit("x", numbers, ROWS, categories=False).apply(numbers, ROWS)
    np.testing.assert_allclose(got[:, 0], (numbers[:, 0] - numbers[:, 0].mean()) / numbers[:, 0].std(), rtol=1e-6)
    np.testing.assert_array_equal(got[:, 1], np.zeros(40))
