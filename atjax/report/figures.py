"""The figures of a report, drawn with matplotlib's objects, and their way into a page as inline SVG.

Figures are drawn in the colours of `PALETTE`. `inline_svg` puts CSS variables in their place, so that one figure
follows the page into dark mode, and keeps text as text. Nothing of matplotlib's state outlives a call.
"""

import io
import math
import re
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib.style
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from atjax.report import words
from atjax.report.entries import Entry
from atjax.report.result import Neighbour, Trial, best_so_far
from atjax.report.summary import Group

PALETTE: dict[str, tuple[str, str]] = {
    "ink": ("#1d2733", "#e4e8ed"),
    "muted": ("#65717f", "#98a4b1"),
    "line": ("#d5dbe2", "#39434f"),
    "soft": ("#aebccb", "#55657a"),
    "paper": ("#fefefe", "#171c22"),
    "first": ("#1f6fb4", "#6cb2f0"),
    "second": ("#c8591b", "#f2955c"),
    "third": ("#16855f", "#4cc79a"),
    "fourth": ("#8a55b0", "#c39be3"),
    "fifth": ("#a67a00", "#dcb53f"),
    "sixth": ("#b53d6b", "#ee86ac"),
}
"""Every colour of a report by its part, in light and dark; the page's CSS variables have the same names."""

INK, MUTED, LINE, SOFT, PAPER, FIRST, SECOND = (light for light, _ in list(PALETTE.values())[:7])
SERIES = tuple(light for light, _ in list(PALETTE.values())[5:])
MOST_LINES = len(SERIES)
"""With more trials than this only the best one's curve has a colour."""
NEAREST_SHOWN = 12
LONGEST_LABEL = 26
LOGARITHMIC = 5
"""Less than this factor may hold one tick of a logarithmic axis only."""

STYLE: dict[str, Any] = {
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "atjax",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
}
METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
"""None of each, so that the same figure gives the same bytes."""


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's defaults with `STYLE`, whatever the user's own settings; all as before at the end."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def svg(draw: Callable[..., Figure], *arguments: Any) -> str:
    """The figure ``draw(*arguments)`` as a stand-alone SVG document, the same bytes for the same figure."""
    with _style():
        text = io.StringIO()
        draw(*arguments).savefig(text, format="svg", metadata=METADATA)
    return text.getvalue()


def inline_svg(name: str, description: str, draw: Callable[..., Figure], *arguments: Any) -> Markup:
    """The figure ``draw(*arguments)`` as an SVG element to stand within a page.

    Args:
        name: A word that no other figure of the page has; all ids begin with it.
        description: What the figure shows, for readers who do not see it.
        draw: Makes the figure; called within the style.
        arguments: What is drawn.
    """
    root = ElementTree.fromstring(svg(draw, *arguments))
    used = set(re.findall(r"#([\w.-]+)", " ".join(_references(root))))
    for parent in root.iter():
        # Names lose their XML namespace, as HTML wants them, and matplotlib's style sheet would reach the whole page.
        for child in [child for child in parent if child.tag.endswith(("style", "metadata"))]:
            parent.remove(child)
        parent.tag = parent.tag.rpartition("}")[2]
        parent.attrib = {
            key.rpartition("}")[2]: _attribute(key, value, name)
            for key, value in parent.attrib.items()
            if key != "id" or value in used
        }
    del root.attrib["width"], root.attrib["height"], root.attrib["version"]
    root.attrib |= {"role": "img", "aria-label": description}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _references(root: ElementTree.Element) -> Iterator[str]:
    for element in root.iter():
        for key, value in element.attrib.items():
            if value.startswith(("#", "url(#")) and key != "style":
                yield value


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "style":
        return _VARIABLE.sub(lambda match: f"var(--{_VARIABLES[match[0]]})", value)
    return value.replace("#", f"#{name}-") if value.startswith(("#", "url(#")) else value


_VARIABLES = {light: part for part, (light, _) in PALETTE.items()}
_VARIABLE = re.compile("|".join(_VARIABLES))


def best_so_far_figure(trials: Sequence[Trial], metric: str) -> Figure:
    """Every trial's validation score, the best so far, and the test score of the trial that is best so far."""
    figure, axes = _figure(4.6, 2.9)
    trials = sorted(trials, key=lambda trial: trial["number"])
    picks = best_so_far(trials, metric)
    numbers = [trial["number"] for trial in trials]
    scored = [trial for trial in trials if trial["state"] == "complete" and trial["validation"] is not None]
    axes.plot(
        [trial["number"] for trial in scored],
        [_number(trial["validation"]) for trial in scored],
        "o",
        color=SOFT,
        markersize=6,
        label="each trial, validation",
    )
    for part, colour, marker in (("validation", FIRST, "o"), ("test", SECOND, "D")):
        values = [_number(pick and pick[part]) for pick in picks]  # type: ignore[literal-required]
        label = "best so far" if part == "validation" else "its test score"
        axes.step(numbers, values, where="post", color=colour, linewidth=1.8)
        axes.plot(numbers, values, marker, color=colour, markersize=4, label=label)
    for trial in trials:
        if trial not in scored:
            axes.axvline(trial["number"], color=MUTED, linewidth=1, linestyle=":")
    _trial_axis(axes, numbers, metric)
    _legend_above(figure, axes, columns=3)
    return figure


def curves_figure(trials: Sequence[Trial], metric: str, best: int | None) -> Figure:
    """Validation score by epoch of all trials; a dot marks the epoch that was picked, a cross where one was stopped."""
    figure, axes = _figure(4.6, 2.9)
    few = len(trials) <= MOST_LINES
    for index, trial in enumerate(sorted(trials, key=lambda trial: trial["number"])):
        curve = trial["curve"]
        if curve is None or not curve["epoch"]:
            continue
        chosen = trial["number"] == best
        colour = SERIES[index] if few else FIRST if chosen else SOFT
        label = f"trial {trial['number']}{' (best)' if chosen else ''}" if few or chosen else None
        values = [_number(value) for value in curve["validation"]]
        front = 3 if chosen else 2
        axes.plot(curve["epoch"], values, color=colour, linewidth=2.0 if chosen else 1.1, label=label, zorder=front)
        if trial["epoch"] in curve["epoch"]:
            height = values[curve["epoch"].index(trial["epoch"])]
            axes.plot([trial["epoch"]], [height], "o", color=colour, markersize=6 if chosen else 4, zorder=front)
        if trial["state"] == "stopped":
            axes.plot(curve["epoch"][-1:], values[-1:], "x", color=colour, markersize=5, zorder=front)
    _count_on(axes, "epoch")
    axes.set_ylabel(printable(f"validation {words.metric_name(metric)}"))
    _legend_above(figure, axes, columns=3)
    return figure


def prior_figure(probabilities: Mapping[str, float | None], chosen: str) -> Figure:
    """The prior over the choices of one dimension against the uniform line; the best design's choice is coloured."""
    choices = words.in_order(probabilities)
    height = 0.05 + 0.2 * len(choices)
    figure = Figure(figsize=(2.2, height))
    # Fixed margins, so that the bars of all dimensions are of one scale and stand below each other.
    axes = figure.add_axes((0.37, 0.02, 0.47, 0.96))
    values = [probabilities[choice] or 0.0 for choice in choices]
    colours = [FIRST if choice == chosen else SOFT for choice in choices]
    axes.barh(range(len(choices)), values, height=0.68, color=colours)
    axes.axvline(1 / max(len(choices), 1), color=INK, linewidth=1, linestyle=(0, (3, 2)))
    for place, value in enumerate(values):
        axes.text(1.32, place, f"{value:.2f}", va="center", ha="right", fontsize=9, color=MUTED)
    axes.set_xlim(0, 1)
    _rows(axes, choices, fontsize=9)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    return figure


def nearest_figure(nearest: Sequence[Neighbour]) -> Figure:
    """Distances of the nearest tasks, nearest first, unknown ones last; those with a weight in the prior say it."""
    shown = sorted(nearest, key=lambda near: math.inf if near["distance"] is None else near["distance"])[:NEAREST_SHOWN]
    figure, axes = _figure(4.6, 0.6 + 0.24 * len(shown))
    values = [near["distance"] or 0.0 for near in shown]
    axes.barh(range(len(shown)), values, height=0.66, color=[FIRST if near["weight"] else SOFT for near in shown])
    widest = max(values, default=0.0) or 1.0
    for place, near in enumerate(shown):
        text = words.score(near["distance"]) + (f"  weight {near['weight']:.2f}" if near["weight"] else "")
        axes.text(values[place] + 0.015 * widest, place, text, va="center", fontsize=9, color=MUTED)
    axes.set_xlim(0, 1.45 * widest)
    _rows(axes, [near["task"] for near in shown])
    axes.set_xlabel("distance in the embedded space")
    return figure


def anchors_figure(anchors: Sequence[str], entry: Entry) -> Figure:
    """Mean over initialisations for each anchor, with the standard deviation as a line.

    The axis is logarithmic where all is above 0 and spans a factor of `LOGARITHMIC`.
    """
    labels = short_names(anchors)
    figure, axes = _figure(4.6, 0.6 + 0.24 * len(labels))
    every = [value for values in entry.values for value in values if value is not None]
    logarithmic = bool(every) and 0 < LOGARITHMIC * min(every) < max(every)
    for place, values in enumerate(entry.values):
        known = [value for value in values if value is not None]
        if not known:
            continue
        mean = statistics.fmean(known)
        deviation = statistics.stdev(known) if len(known) > 1 else 0.0
        low = min(known) if logarithmic and mean <= deviation else mean - deviation  # a logarithmic axis has no 0
        axes.plot([low, mean + deviation], [place, place], color=SOFT, linewidth=4)
        axes.plot([mean], [place], "o", color=FIRST, markersize=6)
    if logarithmic:
        axes.set_xscale("log")
        lowest, highest = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest < 1000 * lowest else (1,)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(entry.name.replace("_", " "))
    _rows(axes, labels)
    return figure


def task_figure(groups: Sequence[Group]) -> Figure:
    """Test score of the trial chosen so far, after each trial: mean over seeds, and the standard deviation as a band.

    Args:
        groups: The rows of the summary that belong to one task.
    """
    figure, axes = _figure(4.6, 2.8 + 0.18 * len(groups))
    for index, group in enumerate(groups):
        points = [
            (number, mean, deviation or 0.0)
            for number, (mean, deviation) in enumerate(group.test_by_trial(), start=1)
            if mean is not None
        ]
        if not points:
            continue
        numbers, means, deviations = zip(*points)
        colour = SERIES[index % len(SERIES)]
        dashes = "-" if index < len(SERIES) else "--"
        label = printable(f"{group.method}, {group.budget}, n={len(group.found)}")
        low = [mean - deviation for mean, deviation in zip(means, deviations)]
        high = [mean + deviation for mean, deviation in zip(means, deviations)]
        axes.fill_between(numbers, low, high, color=colour, alpha=0.1, linewidth=0)
        axes.plot(numbers, means, dashes, color=colour, linewidth=1.6, marker="o", markersize=3.5, label=label)
        # The last trial's spread in a line of its own: a search of one trial has no band.
        axes.plot([numbers[-1]] * 2, [low[-1], high[-1]], color=colour, linewidth=1.2)
    _count_on(axes, "trials")
    axes.set_ylabel(printable(f"test {words.metric_name(groups[0].metric)}"))
    _legend_above(figure, axes, columns=1)
    return figure


def short_names(names: Sequence[str]) -> list[str]:
    """Names of parts joined by hyphens, without the parts that all of them share; as they are if none is left."""
    parts = [name.split("-") for name in names]
    if len(names) < 2 or len({len(part) for part in parts}) > 1:
        return list(names)
    varying = [index for index, column in enumerate(zip(*parts)) if len(set(column)) > 1]
    return [" ".join(part[index] for index in varying) or name for part, name in zip(parts, names)]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; width and height in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def printable(text: str) -> str:
    """Text on one line, without characters that fonts and XML cannot hold."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _shortened(label: str) -> str:
    """A label that fits: on one line, and cut in its middle if it is long."""
    label = printable(label)
    if len(label) <= LONGEST_LABEL:
        return label
    half = (LONGEST_LABEL - 1) // 2
    return f"{label[:half]}…{label[-half:]}"


def _rows(axes: Axes, labels: Sequence[str], fontsize: float = 10) -> None:
    """Name the rows of horizontal bars, the first at the top."""
    axes.set_yticks(range(len(labels)), [_shortened(label) for label in labels], color=INK, fontsize=fontsize)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)


def _count_on(axes: Axes, label: str) -> None:
    """Name the horizontal axis, which counts in whole numbers, however few there are."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def _trial_axis(axes: Axes, numbers: Sequence[int], metric: str) -> None:
    _count_on(axes, "trial")
    axes.set_ylabel(printable(words.metric_name(metric)))
    if numbers:
        axes.set_xlim(min(numbers) - 0.4, max(numbers) + 0.4)


def _legend_above(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, handlelength=1.2, columnspacing=1.2)
