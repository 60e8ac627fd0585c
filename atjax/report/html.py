"""The pages: `report.html` of one search, `summary.html` of many. Self-contained, without scripts or requests."""

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from atjax.report import advice, figures, words
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
    if embedding is not None:
        drawn["nearest"] = inline_svg(
            "nearest", "Distances to the nearest tasks", figures.nearest_figure, embedding["nearest"]
        )
        drawn["alpha"] = inline_svg("alpha", "Alpha of every anchor", figures.alpha_figure, embedding)
    page = _environment().get_template("report.html")
    text = page.render(
        result=result,
        task=result["task"],
        best=best,
        ranges={part: advice.range_words(bounds) for part, bounds in advice.ranges(result).items()},
        figures=drawn,
        anchors=[] if embedding is None else _anchors(embedding),
        entries_hidden=0 if embedding is None else max(0, len(embedding["alpha"]) - len(embedding["anchors"])),
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


def _anchors(embedding: Embedding) -> list[tuple[str, str, str, str]]:
    """Name, mean and deviation of alpha over seeds, and entry of the task feature, of each anchor."""
    spreads = [mean_and_deviation(alpha) for _, alpha in zip(embedding["anchors"], embedding["alpha"])]
    numbers = words.column(number for spread in spreads for number in spread)
    entries = words.column(embedding["feature"])
    return list(zip(embedding["anchors"], numbers[::2], numbers[1::2], entries))
