"""How far a computation is: a bar in a terminal, lines elsewhere, and what is asked for in Python."""

from __future__ import annotations

import inspect
import io
import itertools
from pathlib import Path

import pytest
import searching
import tiny
from rich.console import Console

import atjax
from atjax.report import progress


def written(*, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a display of 3 trials of 10 epochs each writes, an epoch a second."""
    clock = itertools.count(0.0, 1.0)
    now = [0.0]
    monkeypatch.setattr("atjax.report.progress.time.monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, get_time=lambda: now[0])
    with progress.progress(console) as bar:
        bar.get_time = lambda: now[0]
        report = progress.trials(bar, "a[/b]", 3)
        for trial, epoch in itertools.product(range(3), range(1, 11)):
            now[0] = next(clock)
            report(trial, epoch, 10)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_without_a_terminal_there_are_a_few_lines_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = written(terminal=False, monkeypatch=monkeypatch).splitlines()
    assert [line.partition(";")[0] for line in lines] == [
        "a[/b]: trials 0/3, trial 0: epochs 6/10",  # after 5 s
        "a[/b]: trials 1/3, trial 1: epochs 6/10",  # 10 s later
    ]
    assert lines[1].endswith("; about 16 s left")


def test_in_a_terminal_there_is_a_bar_that_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(terminal=True, monkeypatch=monkeypatch)
    assert "a[/b]: trials" in text
    assert "\x1b[2K" in text


def test_a_display_that_did_nothing_leaves_nothing() -> None:
    console = Console(file=io.StringIO())
    with progress.progress(console) as bar:
        progress.anchors(bar, "cox2: Fisher of anchors")(1, 12)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("wanted", "told"), [(True, True), (False, False), (None, False)])
def test_in_python_progress_is_shown_on_demand(
    wanted: bool | None, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unasked, none is shown here, where there is no terminal."""
    monkeypatch.setattr(progress, "FIRST", 0.0)
    task = atjax.load_task("digits", count=40)
    atjax.search(task, trials=2, folder=tmp_path, space=tiny.space(), budget=tiny.BUDGET, progress=wanted)
    captured = capsys.readouterr()
    assert ("digits: trials 1/2, trial 0: epochs " in captured.err) == told
    assert captured.out == ""


def test_python_tells_how_a_search_is_called() -> None:
    assert list(inspect.signature(atjax.search).parameters)[:2] == ["task", "prior"]
    assert "seed: Of the split" in (atjax.search.__doc__ or "")


quick = searching.quick
