"""Matrix products in full single precision.

GPUs and TPUs round the factors to fewer digits by default. Features must compare between devices, and the products here
are small, so that the digits cost little.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
