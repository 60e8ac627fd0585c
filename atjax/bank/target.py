"""Where a bank may be written."""

from __future__ import annotations

import os
from pathlib import Path

from atjax.bank import store
from atjax.errors import UserError

_PARTS = ("records", "features", "locks")


def check_target(folder: Path, name: str) -> None:
    """Check that a bank can be written into a folder, and read if there is one, before much is computed for it.

    Nothing is made.

    Args:
        folder: The folder, which need not be there.
        name: What it is called in the sentence, such as ``search.append``.

    Raises:
        UserError: It is ``embedded``; it can neither be written into nor be made; or a file of the bank there is
            damaged.
    """
    if folder == Path("embedded"):
        raise UserError(f"{name} is embedded, the bank that atjax ships, which is only read; give one of your own.")
    for path in (folder, *(folder / part for part in _PARTS)):
        try:
            there = next(above for above in (path, *path.parents) if above.exists())
        except OSError as error:  # as of a name that is too long
            raise UserError(f"{name} cannot be {folder} ({error.strerror}); give another folder.") from None
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            reason = "may not be written into" if there.is_dir() else "is no folder"
            raise UserError(f"{name} cannot be {folder} ({there} {reason}); give another folder.")
    store.keys(folder)
