"""What the documentation shows is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import atjax
from atjax import config, fisher
from atjax.errors import UserError
from atjax.fisher import FisherConfig
from atjax.fisher.statistics import FORMS, names, reads, resolve
from atjax.space import ANCHORS
from atjax.task import METRICS, SPLIT_PATTERNS

PAGE = (tiny.REPOSITORY / "docs" / "statistics.md").read_text()


def test_a_statistic_of_ones_own_as_the_page_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(# spread\.py\n.*?)```", PAGE, re.DOTALL)
    (tmp_path / "spread.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    task = config.load_task("digits", count=60)
    settings = FisherConfig(hidden=4, seeds=2, ridge=1e-2, max_passes={"graph": 999, "node": 99}, max_nodes=99)
    shown = ["spread.geometric", "spread.first_layer", "spread.edge_of_spectrum"]
    values = fisher.task_statistics(task, settings, [*shown, "stable_rank", "alpha"], anchors=[ANCHORS[9]])
    for name in shown:
        value, error = (np.asarray(part) for part in values[name])
        assert value.shape == error.shape == (1, 2)
        assert np.all((value > 0) & (value < 1))
        np.testing.assert_array_equal(error, 0)  # of all examples
    # (lambda_1 + lambda_2 + ...) / lambda_1 is at least 1 + lambda_2 / lambda_1
    assert np.all(np.asarray(values["stable_rank"].value) >= 1 + np.asarray(values["spread.edge_of_spectrum"].value))


def test_an_estimator_of_ones_own_as_the_page_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As unbiased as the page says: many draws come close to what is exact."""
    (code,) = re.findall(r"```python\n(# labels\.py\n.*?)```", PAGE, re.DOTALL)
    (tmp_path / "labels.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    task = config.load_task("digits", count=60)

    def trace(estimator: str) -> fisher.Values:
        settings = FisherConfig(
            hidden=4,
            seeds=2,
            ridge=1e-2,
            max_passes={"graph": 999, "node": 99},
            max_nodes=99,
            estimator={"graph": estimator, "node": "exact"},
            draws=400,
        )
        return fisher.task_statistics(task, settings, ["layer_trace"], anchors=[ANCHORS[9]])["layer_trace"]

    exact, drawn = trace("exact"), trace("labels.drawn")
    assert np.all(np.abs(drawn.value[0] - exact.value[0]) < 4 * drawn.error[0])
    assert np.all((drawn.error[0] > 0.01) & (drawn.error[0] < 0.15))
    with pytest.raises(UserError, match=r"estimator 'labels\.absent' cannot be imported"):
        trace("labels.absent")


def test_tasks_of_ones_own_as_the_page_shows_them() -> None:
    page = (tiny.REPOSITORY / "docs" / "tasks.md").read_text()
    labels, links = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"atjax": atjax, "np": np}
    exec(labels + links.splitlines()[0], names)
    assert names["task"].level == "edge"
    for metric in {name for some in METRICS.values() for name in some}:
        assert f"`{metric}`" in page
    for word in (*METRICS, *SPLIT_PATTERNS):
        assert f"| `{word}` |" in page


def test_the_page_lists_every_statistic_under_what_it_reads() -> None:
    rows = {form: re.search(rf"\| `{form}` \|(.*)\|\n", PAGE) for form in FORMS}
    for name in names():
        row = rows[reads(resolve(name))]
        assert row is not None
        assert f"`{name}`" in row.group(1), f"{name} is missing from docs/statistics.md"


PAGES = [tiny.REPOSITORY / "README.md", *sorted((tiny.REPOSITORY / "docs").rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """What its headings are linked by."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        to = page.parent / file if file else page
        assert to.exists(), target
        assert not anchor or anchor in anchors(to), target
