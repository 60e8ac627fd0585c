"""How far a long computation is, with the time left: a moving bar in a terminal, else a line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from atjax.report import words

ctrl_c = threading.Event()
"""Set by a program once Ctrl-C was pressed; displays then raise KeyboardInterrupt, which Python may have dropped."""

FIRST, SLOWEST = 5.0, 80.0
"""Seconds to the first line where there is no terminal, and the most between two; each time is twice the one before."""


class _Display(Progress):
    """A progress display that writes plain lines where there is no terminal, and is told of Ctrl-C."""

    def __init__(self, console: Console) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),  # names may hold brackets
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._wait = FIRST
        self._next = time.monotonic() + self._wait

    def update(self, *args: Any, **kwargs: Any) -> None:
        if ctrl_c.is_set():
            raise KeyboardInterrupt
        super().update(*args, **kwargs)
        if self.disable and time.monotonic() >= self._next:
            self.console.print(self.line(), style="dim", markup=False, highlight=False, soft_wrap=True)
            self._wait = min(2 * self._wait, SLOWEST)
            self._next = time.monotonic() + self._wait

    def line(self) -> str:
        """All rows on one line, with the time that the first one has left, if that can be told."""
        rows = [
            f"{row.description} {int(row.completed)}/{int(row.total)}" if row.total is not None else row.description
            for row in self.tasks
        ]
        left = self.tasks[0].time_remaining if self.tasks else None
        if not left:
            return ", ".join(rows)
        return f"{', '.join(rows)}; about {f'{left:.0f} s' if left < 59.5 else words.duration(left)} left"


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """A progress display with time left."""
    with _Display(console) as bar:
        yield bar


@contextmanager
def on_demand(wanted: bool | None) -> Iterator[Progress]:
    """A progress display on standard error, as the Python interface has it.

    Args:
        wanted: Whether there is one; None: where that is a terminal or in a notebook.
    """
    console = Console(stderr=True)
    console.quiet = not (console.is_terminal or console.is_jupyter if wanted is None else wanted)
    with _Display(console) as bar:
        yield bar


def anchors(bar: Progress, title: str) -> Callable[[int, int], None]:
    """A row for the anchors whose Fisher information is computed; returns what is called with those done and all."""
    row = bar.add_task(title, total=None)
    return lambda done, total: bar.update(row, completed=done, total=total)


def trials(bar: Progress, name: str, total: int, done: int = 0) -> Callable[[int, int, int], None]:
    """Rows for the trials of a search, and for the epochs of the one that is being trained.

    Args:
        bar: The display.
        name: The task's.
        total: Trials in all.
        done: Trials on record.

    Returns:
        What is called with the number of the trial, its epochs done, and all its epochs.
    """
    trials = bar.add_task(f"{name}: trials", total=total, completed=done)
    epochs = bar.add_task("epochs", total=None)

    def report(number: int, done: int, total: int) -> None:
        bar.update(epochs, completed=done, total=total, description=f"trial {number}: epochs")
        bar.update(trials, completed=number + done / total)

    return report
