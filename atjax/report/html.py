"""The pages: `report.html` of one search, `summary.html` of many. Self-contained, without scripts or requests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from atjax.report import advice, figures, words
from atjax.report.entries import Entry, by_anchor
from atjax.report.figures import inline_svg
from atjax.report.result import Embedding, Result, write_text
from atjax.report.summary import NUMERIC, Summary, mean_and_deviation, summary_rows


def write_html(folder: Path, result: Result) -> Path:
    """Write `report.html` into a run directory; the same result gives the same bytes."""
    trials, metric, best = result["trials"], result["task"]["metric"], result["best"]
    name = words.metric_name(metric)
    number = None if best is None else best["number"]
    drawn: dict[str, Any] = {
        "best_so_far": inline_svg(
            "progress", f"Best {name} so far, by trial", figures.best_so_far_figure, trials, metric
        ),
        "curves": inline_svg(
            "curves", f"Validation {name} of every trial, by epoch", figures.curves_figure, trials, metric, number
        ),
        "prior": [
            (dimension.replace("_", " "), _prior(result, dimension, index))
            for index, dimension in enumerate(words.dimensions(result["prior"]))
        ],
    }
    embedding = result["embedding"]
    entries, untold = ([], {}) if embedding is None else by_anchor(embedding["values"], len(embedding["anchors"]))
    if embedding is not None:
        drawn["nearest"] = inline_svg(
            "nearest", "Distances to the nearest tasks", figures.nearest_figure, embedding["nearest"]
        )
        drawn["entries"] = [_entry(embedding, entry, index) for index, entry in enumerate(entries)]
    page = _environment().get_template("report.html")
    text = page.render(
        result=result,
        task=result["task"],
        best=best,
        ranges={part: advice.range_words(bounds) for part, bounds in advice.ranges(result).items()},
        figures=drawn,
        entries=[entry.name for entry in entries],
        anchors=[] if embedding is None else _anchors(embedding, entries),
        untold=untold,
        nearest_hidden=0 if embedding is None else max(0, len(embedding["nearest"]) - figures.NEAREST_SHOWN),
    )
    return write_text(folder / "report.html", text)


def write_summary_html(folder: Path, summary: Summary) -> Path:
    """Write `summary.html`: the table over seeds, and a figure for each task."""
    header, rows = summary_rows(summary)
    drawn = [
        (task, inline_svg(f"task{index}", f"Test scores on {task}", figures.task_figure, groups))
        for index, (task, groups) in enumerate(summary.by_task().items())
    ]
    page = _environment().get_template("summary.html")
    return write_text(
        folder / "summary.html",
        page.render(header=header, numeric=NUMERIC, rows=rows, figures=drawn, notes=summary.notes),
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("atjax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"words": words, "advice": advice, "palette": figures.PALETTE}
    return environment


def _prior(result: Result, dimension: str, index: int) -> Markup:
    chosen = None if result["best"] is None else result["best"]["design"].get(dimension)
    description = f"Prior over the choices of {dimension}"
    return inline_svg(f"prior{index}", description, figures.prior_figure, result["prior"][dimension], str(chosen))


def _entry(embedding: Embedding, entry: Entry, index: int) -> Markup:
    description = f"{entry.name.replace('_', ' ')} of every anchor"
    return inline_svg(f"entry{index}", description, figures.anchors_figure, embedding["anchors"], entry)


def _anchors(embedding: Embedding, entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Name of each anchor, and mean and deviation over initialisations of every entry."""
    columns: list[Sequence[str]] = [embedding["anchors"]]
    for entry in entries:
        numbers = words.column(number for values in entry.values for number in mean_and_deviation(values))
        columns += [numbers[::2], numbers[1::2]]
    return list(zip(*columns))
