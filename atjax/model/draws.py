"""Random kernels, the same numbers as `flax.linen.initializers.glorot_uniform`, from few compiled programs.

A generator compiled for every shape costs a CPU a second each. Draws of a key are numbered
along the flattened array, so a longer draw begins with the shorter one, and a few lengths serve all shapes.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp


@functools.partial(jax.jit, static_argnames=("length", "dtype"))
def _uniform(key: jax.Array, length: int, dtype: Any) -> jax.Array:
    return jax.random.uniform(key, (length,), dtype, -1)


def glorot_uniform(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """A kernel [d, H], uniform within sqrt(6 / (d + H)) of 0 (Glorot and Bengio, 2010, equation 16)."""
    dtype = jnp.result_type(float)
    if not jax.config.jax_threefry_partitionable:  # type: ignore[attr-defined]
        # Draws of another length are other numbers then.
        return jax.nn.initializers.glorot_uniform()(key, shape, dtype)
    size = shape[0] * shape[1]
    length = 4 ** max(4, -(-(size - 1).bit_length() // 2))  # a power of 4, at least the size
    variance = jnp.array(2 / (shape[0] + shape[1]), dtype)
    return _uniform(key, length, dtype)[:size].reshape(shape) * jnp.sqrt(3 * variance)
