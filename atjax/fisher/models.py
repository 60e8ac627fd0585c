"""R models through one program: one after the other on a CPU, side by side on an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def over_models(function: Callable[[Any], T], models: Any) -> T:
    """Apply a function to each of R models; the leaves of arguments and results have leading axis R.

    One model's working set fills the cache of a CPU, and even a batch axis of one would be carried through the program.
    An accelerator has room for all, and is idle for less.

    LAPACK has to be called in here too: jaxlib 0.10 on a CPU cuts a batch of matrices into tasks for XLA's threads, and
    holds one of these threads while it waits for them. Two programs at once on two cores then wait for ever.
    """
    return jax.lax.map(function, models) if jax.default_backend() == "cpu" else jax.vmap(function)(models)
