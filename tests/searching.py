"""Small searches in this process, with made-up trainings where a test wants them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny

from atjax.report import Result, read
from atjax.train import Fit

UNIFORM = (*tiny.SMALL, "search.prior=uniform")


def search(folder: Path, *arguments: str, code: int = 0, base: tuple[str, ...] = UNIFORM) -> Result:
    """Run a small search in this process, and read what it wrote."""
    assert tiny.run("search", *base, f"hydra.run.dir={folder}", *arguments) == code
    return read(folder)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up trainings, and no figures."""
    monkeypatch.setattr("atjax.search.loop.fit", tiny.made_up)
    monkeypatch.setattr("atjax.search.run.write_html", tiny.no_page)


def replace_fit(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, Fit], Fit]) -> None:
    """Made-up trainings, changed by their number, and no figures."""
    monkeypatch.setattr("atjax.search.run.write_html", tiny.no_page)
    count = iter(range(1000))

    def fit(*args: Any, **kwargs: Any) -> Fit:
        return change(next(count), tiny.made_up(*args, **kwargs))

    monkeypatch.setattr("atjax.search.loop.fit", fit)


def stop_at(number: int) -> Callable[[int, Fit], Fit]:
    """Ctrl-C during the trial of this number."""

    def change(trial: int, outcome: Fit) -> Fit:
        if trial == number:
            raise KeyboardInterrupt
        return outcome

    return change
