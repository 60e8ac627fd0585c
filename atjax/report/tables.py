"""The trials of one search: `trials.csv`, and the closing table in the terminal."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from atjax.atomic import write_text
from atjax.report import advice, words
from atjax.report.result import FILE, Result, Trial
from atjax.space import FIELDS

TRIALS_CSV = "trials.csv"
CONFIG = "config.yaml"
FILES = (FILE, TRIALS_CSV, "report.html", "best_model", CONFIG)
"""What a search leaves in its run directory, ``result.json`` first."""
NEAREST_SHOWN = 5
COMPACT: dict[str, Any] = {"box": SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True}
"""Settings of a table that is to fit 80 columns."""
NARROW = 72
"""In fewer columns, a design stands below its trial's numbers and not beside them."""


def to_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV text with a header line; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def write_trials_csv(folder: Path, result: Result) -> Path:
    """Write `trials.csv`: a row for each trial with its number, state, design, scores, size and time in seconds."""
    header = ("number", "state", *FIELDS, "validation", "test", "epoch", "parameters", "seconds")
    rows = [
        (
            trial["number"],
            trial["state"],
            *(trial["design"].get(name) for name in FIELDS),
            trial["validation"],
            trial["test"],
            trial["epoch"],
            trial["parameters"],
            trial["seconds"],
        )
        for trial in result["trials"]
    ]
    return write_text(folder / TRIALS_CSV, to_csv(header, rows))


class Finding(dict[str, Any]):
    """A result that shows itself as the closing table, where a dictionary would fill screens.

    Args:
        result: The result.
        folder: Its run directory.
    """

    def __init__(self, result: Result, folder: Path) -> None:
        super().__init__(result)
        self.folder = folder

    def __repr__(self) -> str:
        console = Console(file=io.StringIO(), width=100)
        print_summary(console, cast(Result, self), self.folder, called=True)
        return "\n".join(line.rstrip() for line in console.file.getvalue().strip("\n").splitlines())  # type: ignore[attr-defined]


def print_summary(console: Console, result: Result, folder: Path, *, called: bool = False) -> None:
    """Print the closing table of a search: trials, prior, nearest tasks, times of the stages, files.

    Args:
        console: Where to print.
        result: The search.
        folder: Its run directory; of the usual files those that stand there are listed.
        called: See `advice.next_steps`.
    """
    console.print()
    narrow = console.width < NARROW
    console.print(_trials_table(result, narrow=narrow))
    if narrow:
        console.print(_designs(result))
    console.print(_facts(result))
    files = [name for name in FILES if (folder / name).exists()]
    width = 7 if result["embedding"] is not None else 6  # of the names above
    place = shortest(folder)
    following = advice.next_steps(result, called=called)[:2]
    steps = [f"{what[:1].lower()}{what[1:]}: {_at(how, place)}" for what, how in following]
    lines = [("files", f"{place}: {', '.join(files) or 'none'}"), *zip(("next", *[""] * len(steps)), steps)]
    for name, value in lines:
        # A path or a command that is broken cannot be copied.
        console.print(Text.assemble((f" {name:<{width}} ", "bold"), value), soft_wrap=True)
    for note in words.not_done(result):
        console.print(Padding(Text(note, style="yellow"), (0, 1)))


def _at(command: str, folder: Path) -> str:
    """A command with the run directory in its place, in quotes for the shell where it needs them."""
    if not re.fullmatch(r"[A-Za-z0-9_./+-]+", str(folder)):
        command = command.replace("model=FOLDER", "\"model='FOLDER'\"")
    return command.replace("FOLDER", str(folder))


def shortest(path: Path) -> Path:
    """A path from the working directory, where it lies in there; else the path as it is."""
    return path.relative_to(Path.cwd()) if path != Path.cwd() and path.is_relative_to(Path.cwd()) else path


def _trials_table(result: Result, *, narrow: bool) -> Table:
    task, best = result["task"], result["best"]
    metric = words.metric_name(task["metric"])
    search = f"{result['algorithm']} search, {words.prior_label(result)} prior"
    title = f"{task['name']}, seed {result['seed']}: {search}, {metric}"
    table = Table(title=Text(title, style="bold"), title_justify="left", header_style="bold", **COMPACT)
    for name in ("", "trial", "validation", "test", "epoch", "time"):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    if not narrow:
        table.add_column("design", overflow="fold")
    for trial in result["trials"]:
        chosen = best is not None and trial["number"] == best["number"]
        complete = trial["state"] == "complete"
        cells = (
            "best" if chosen else "",
            str(trial["number"]),
            words.score(trial["validation"]) if complete else trial["state"],
            words.score(trial["test"]),
            words.count(trial["epoch"]),
            words.duration(trial["seconds"]),
            *([] if narrow else [_design(trial)]),
        )
        style = "bold green" if chosen else "" if complete else "dim"
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


def _design(trial: Trial) -> str:
    return f"{words.structure(trial['design'])}, {words.recipe(trial['design'])}"


def _designs(result: Result) -> Table:
    """The designs of the trials, for a terminal that has no room for them in the table."""
    designs = Table.grid(padding=(0, 1))
    designs.add_column(style="bold", no_wrap=True)
    designs.add_column(overflow="fold")
    for trial in result["trials"]:
        designs.add_row(f" trial {trial['number']}", Text(_design(trial)))
    return designs


def _facts(result: Result) -> Table:
    facts = Table.grid(padding=(0, 1))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    if sure := " ".join(advice.sureness(result)):
        facts.add_row(" sure", Text(sure))
    facts.add_row(" budget", Text(result["budget"]["name"]))
    facts.add_row(" prior", Text(words.origin(result)))
    if result["embedding"] is not None:
        nearest = [
            f"{near['task']} ({words.score(near['distance'])})"
            for near in result["embedding"]["nearest"][:NEAREST_SHOWN]
        ]
        facts.add_row(" nearest", Text(", ".join(nearest) or words.NONE))
    times = [f"{stage} {words.duration(seconds)}" for stage, seconds in words.stages(result["seconds"])]
    facts.add_row(" time", Text(", ".join(times) or words.NONE))
    return facts
