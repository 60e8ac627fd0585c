"""How a bank was made: the commands behind it, in its PROVENANCE.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from atjax import runtime
from atjax.atomic import write_text
from atjax.bank import store
from atjax.bank.records import now
from atjax.errors import UserError

FILE = "PROVENANCE.json"

Run = dict[str, Any]
"""A command with its versions, date and machine class, as `note` has them."""


def runs_of(folder: Path) -> list[Run]:
    """What is noted of a bank; nothing where it has no such file.

    Raises:
        UserError: The file holds something else.
    """
    path = folder / FILE
    try:
        runs = json.loads(path.read_text())["runs"] if path.exists() else []
        if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
            raise TypeError("runs are no list of objects")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not readable; move it elsewhere.") from error
    return runs


def note(folder: Path, command: Sequence[str]) -> None:
    """Note a command of now; a repeat replaces itself.

    Raises:
        UserError: The file is there and holds something else.
    """
    run = {"command": " ".join(command), "date": now(), "device": runtime.device(), "versions": runtime.versions()}
    same = ("command", "versions")
    _change(folder, lambda runs: [old for old in runs if any(old.get(what) != run[what] for what in same)] + [run])


def add(folder: Path, runs: Iterable[Run]) -> None:
    """Note runs of another bank, but for those that are noted.

    Raises:
        UserError: The file is there and holds something else.
    """
    _change(folder, lambda held: held + [run for run in runs if run not in held])


def _change(folder: Path, change: Callable[[list[Run]], list[Run]]) -> None:
    with store.exclusively(folder, "provenance"):
        if runs := change(runs_of(folder)):
            write_text(folder / FILE, json.dumps({"runs": runs}, indent=1) + "\n")
