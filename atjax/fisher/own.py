"""Functions of a user's own, by name: statistics and sketches that any importable module holds."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from atjax.errors import UserError


def imported(name: str, what: str) -> Callable[..., Any]:
    """The function of this name, ``package.module.function``.

    Args:
        name: With at least one dot.
        what: What it is to be, for the message.

    Raises:
        UserError: There is no such function, or its module cannot be imported.
    """
    module, _, function = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), function)
        if not callable(found):
            raise TypeError(f"{function} is no function")
    except Exception as error:  # whatever a module of the user's raises
        raise UserError(
            f"The {what} {name!r} cannot be imported ({type(error).__name__}: {error}); check its spelling, and "
            "that its module is on the Python path."
        ) from error
    return found


def source(name: str) -> str:
    """The text of the module behind such a name, so that what was computed can be told from what it computes now.

    Nothing for names of atjax's own, without a dot, and where a module has no text.
    """
    module, _, _ = name.rpartition(".")
    try:
        return inspect.getsource(importlib.import_module(module)) if module else ""
    except Exception:  # what cannot be imported is told of where it is used
        return ""
