"""What a user can cause and mend."""

from __future__ import annotations

from numbers import Integral
from typing import Any


class UserError(Exception):
    """A fault in what the user gave: one sentence that says what is wrong and what to do.

    Command-line programs print the sentence and end with exit code 2, without a traceback.
    """


def is_whole(value: object, minimum: int = 1) -> bool:
    """Whether a setting is a whole number, and no less than that; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def check_whole(name: str, value: object, minimum: int = 1) -> None:
    """Raise UserError where a setting of this name is not `is_whole`."""
    if not is_whole(value, minimum):
        raise UserError(f"{name} must be a whole number of at least {minimum}; it is {value!r}.")


def whole(name: str, value: Any, minimum: int = 1) -> int:
    """An argument that must be a whole number, Python's or numpy's, below 2^63, as a number of Python's.

    Raises:
        UserError: It is none, or less than ``minimum``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not minimum <= int(value) < 2**63:
        raise UserError(f"{name} must be a whole number, {minimum} or more and below 2^63; it is {value!r}.")
    return int(value)


def check_kind(name: str, value: object, *kinds: type, optional: bool = False) -> None:
    """Raise UserError where an argument is of none of these kinds; if it is ``optional``, it may also be None."""
    if not isinstance(value, kinds) and not (optional and value is None):
        wanted = " or ".join(kind.__name__ for kind in kinds) + (", or left out" if optional else "")
        raise UserError(f"{name} must be a {wanted}; it is of type {type(value).__name__}.")


def first_line(error: BaseException) -> str:
    """What an error says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
