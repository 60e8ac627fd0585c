"""What a user can cause and mend."""


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


def first_line(error: BaseException) -> str:
    """What an error says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
