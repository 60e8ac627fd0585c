"""R models through one program: one after the other on a CPU, side by side on an accelerator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
T = TypeVar("T")


def program(**options: Any) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """`jax.jit` with these options, and on a CPU with LLVM's first level of optimisation in place of the third.

    The matrix products, most of the work, are library calls that it does not touch, and the loops around them run as
    fast; compilation takes a quarter less time. For calls from outside other programs only.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.cache
        def compiled() -> Callable[P, T]:
            cheaper = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
            return jax.jit(function, compiler_options=cheaper, **options)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return compiled()(*args, **kwargs)

        return call

    return decorate


def over_models(function: Callable[[Any], T], models: Any) -> T:
    """Apply a function to each of R models; the leaves of arguments and results have leading axis R.

    One model's working set fills the cache of a CPU, and even a batch axis of one would be carried through the program.
    An accelerator has room for all, and is idle for less.

    LAPACK has to be called in here too: jaxlib 0.10 on a CPU cuts a batch of matrices into tasks for XLA's threads, and
    holds one of these threads while it waits for them. Two programs at once on two cores then wait for ever.
    """
    return jax.lax.map(function, models) if jax.default_backend() == "cpu" else jax.vmap(function)(models)
