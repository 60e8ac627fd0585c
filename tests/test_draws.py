"""Random kernels."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from atjax.model.draws import glorot_uniform


@pytest.mark.parametrize("shape", [(1, 1), (8, 64), (192, 64), (1024, 4), (1025, 4)])
def test_kernels_are_those_of_jax(shape: tuple[int, int]) -> None:
    key = jax.random.key(3)
    expected = jax.nn.initializers.glorot_uniform()(key, shape)
    np.testing.assert_array_equal(glorot_uniform(key, shape), expected)
    keys = jax.random.split(key, 2)
    together = jax.vmap(lambda one: glorot_uniform(one, shape))(keys)
    np.testing.assert_array_equal(together[1], jax.nn.initializers.glorot_uniform()(keys[1], shape))
