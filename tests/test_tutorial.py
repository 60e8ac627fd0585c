"""The tutorial and the notebook are run."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import tiny


def test_the_tutorial_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block is run in its turn, with made-up trainings; what is printed is what the page shows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("atjax.search.loop.fit", tiny.made_up)
    monkeypatch.setattr("atjax.search.run.write_html", tiny.no_page)
    blocks = re.findall(r"```(\w+)\n(.*?)```", (tiny.REPOSITORY / "docs" / "tutorial.md").read_text(), re.DOTALL)
    assert {language for language, _ in blocks} == {"python", "text", "sh"}
    names: dict[str, Any] = {}
    printed = ""
    for language, text in blocks:
        if language == "text":
            assert printed == text
        elif language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(text, "docs/tutorial.md", "exec"), names)
            printed = output.getvalue()
        for command in text.splitlines() if language == "sh" else ():
            python, option, program, *arguments = shlex.split(command)
            assert (python, option) == ("python", "-m")
            assert tiny.run(program.removeprefix("atjax."), *arguments) == 0
    assert (tmp_path / "runs" / "molecules" / "describe" / "graphs.svg").exists()
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 1 + len(names["new"])


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("atjax.search.run.write_html", tiny.no_page)
    notebook = json.loads((tiny.REPOSITORY / "notebooks" / "own_graphs.ipynb").read_text())
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "outputs are made by running it, not kept"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["result"]["best"]["validation"] > 0.5
    assert names["task"].labels[5] == -1
