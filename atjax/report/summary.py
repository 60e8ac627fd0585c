"""Many searches in one table: mean and standard deviation over seeds."""

import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from atjax.errors import UserError
from atjax.report import words
from atjax.report.result import FILE, Result, TaskInfo, best_so_far, read
from atjax.report.tables import COMPACT, to_csv

NUMERIC = ("trials", "seeds", "test", "validation", "time")
"""Columns of numbers, aligned to the right."""


@dataclass(frozen=True)
class Run:
    """One search and the file that it was read from."""

    path: Path
    result: Result


@dataclass(frozen=True)
class Group:
    """Searches that differ in their seed alone: a row of the table.

    Attributes:
        task: Name of the task, with the start of a hash where two contents, or a content on two splits, share the name.
        metric: What the scores are.
        algorithm: Search algorithm.
        prior: The name of its settings, ``uniform``, or ``uniform (fall-back)``, with the start of a hash where several
            settings of the transfer share the name.
        budget: Name of the budget, with the start of a hash where two contents share the name.
        space: Design space.
        trials: Trials of each search.
        runs: The searches, by seed.
    """

    task: str
    metric: str
    algorithm: str
    prior: str
    budget: str
    space: str
    trials: int
    runs: tuple[Result, ...]

    @property
    def found(self) -> list[Result]:
        """The searches that ended with a best design; only they have scores."""
        return [run for run in self.runs if run["best"] is not None]

    @property
    def method(self) -> str:
        """The row's name within its task."""
        return f"{self.algorithm}, {self.prior} prior, {words.count(self.trials, 'trial')}"

    def validation(self) -> tuple[float | None, float | None]:
        """Mean and standard deviation of the best validation score over seeds."""
        return mean_and_deviation(run["best"]["validation"] for run in self.runs if run["best"] is not None)

    def test(self) -> tuple[float | None, float | None]:
        """Mean and standard deviation over seeds of the test score of the design that validation chose."""
        return mean_and_deviation(run["best"]["test"] for run in self.runs if run["best"] is not None)

    def seconds(self) -> tuple[float | None, float | None]:
        """Mean and standard deviation of the time of a whole search, in seconds."""
        return mean_and_deviation(run["seconds"].get("total") for run in self.runs)

    def test_by_trial(self) -> list[tuple[float | None, float | None]]:
        """After each trial, mean and deviation over seeds of the test score of the trial chosen so far, [trials]."""
        picks = [best_so_far(run["trials"], self.metric) for run in self.runs]
        return [mean_and_deviation(pick["test"] for pick in column if pick is not None) for column in zip(*picks)]


@dataclass(frozen=True)
class Summary:
    """All groups, in order, and sentences on what was left out and what priors of one name differ in."""

    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    def by_task(self) -> dict[str, list[Group]]:
        """The groups of each task, in order."""
        tasks: dict[str, list[Group]] = {}
        for group in self.groups:
            tasks.setdefault(group.task, []).append(group)
        return tasks


def mean_and_deviation(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation (divided by n - 1) of the values that exist.

    The mean of none is None, and so is the deviation of fewer than two.
    """
    known = [value for value in values if value is not None]
    return (
        statistics.fmean(known) if known else None,
        statistics.stdev(known) if len(known) > 1 else None,
    )


def find(folders: Sequence[Path], notes: list[str] | None = None) -> list[Run]:
    """All searches under the folders, each once, by path.

    Args:
        folders: Folders that hold runs.
        notes: Gets a sentence on each result that cannot be read, as long as others can; None: the first one raises.

    Raises:
        UserError: A folder does not exist or holds no result, or a result cannot be read.
    """
    found: dict[Path, Run] = {}
    faults: dict[Path, UserError] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder}; give folders that hold runs of atjax.search.")
        files = sorted(folder.rglob(FILE))
        if not files:
            raise UserError(f"There is no {FILE} under {folder}; give folders that hold runs of atjax.search.")
        for file in files:
            if file.resolve() not in found | faults:
                try:
                    found[file.resolve()] = Run(file, read(file))
                except UserError as error:
                    faults[file.resolve()] = error
    if faults and (notes is None or not found):
        raise next(iter(faults.values()))
    if notes is not None:
        notes += [f"Left out: {error}" for error in faults.values()]
    return [found[path] for path in sorted(found)]


def summarise(runs: Sequence[Run]) -> Summary:
    """Group searches by all but their seed.

    Unfinished searches are left out. Of two searches that differ in nothing but their path, the one whose file is newer
    counts. Both are noted.
    """
    notes = []
    complete: dict[tuple[Any, ...], dict[int, Run]] = {}
    for run in runs:
        result = run.result
        if result["state"] != "complete":
            notes.append(f"Left out, not finished ({result['state']}): {run.path}.")
            continue
        seeds = complete.setdefault(_key(result), {})
        other = seeds.get(result["seed"])
        if other is not None:
            newer = max(run, other, key=lambda run: (run.path.stat().st_mtime_ns, str(run.path)))
            older = other if newer is run else run
            notes.append(f"Left out, since {newer.path} is a newer run of the same search and seed: {older.path}.")
            run = newer
        seeds[result["seed"]] = run
    tasks = _labels((key[0], key[1]) for key in complete)
    priors = _labels((key[3], key[8]) for key in complete)
    budgets = _labels((key[5], key[6]) for key in complete)
    groups = []
    for key in sorted(complete):
        members = tuple(complete[key][seed].result for seed in sorted(complete[key]))
        name, content, algorithm, prior, trials, budget, rules, space, settings = key
        metric = members[0]["task"]["metric"]
        groups.append(
            Group(
                *(tasks[name, content], metric, algorithm, priors[prior, settings], budgets[budget, rules], space),
                *(trials, members),
            )
        )
        missing = len(members) - len(groups[-1].found)
        if missing:
            notes.append(
                f"{groups[-1].task}, {groups[-1].method}: {missing} of {len(members)} searches completed no trial; "
                "the scores are over the others."
            )
    return Summary(tuple(groups), (*notes, *_splits(groups), *_meanings(groups), *_single(groups)))


def _splits(groups: Sequence[Group]) -> list[str]:
    """A sentence for every task of one content that was searched on several splits: which one."""
    shared: dict[tuple[str, str], dict[str, str | None]] = {}
    for group in groups:
        task = group.runs[0]["task"]
        shared.setdefault((task["name"], task["content_hash"]), {})[group.task] = _own_split(task)
    return [
        f"Task {label}: split by seed." if split is None else f"Task {label}: the data's own split {split[:6]}."
        for splits in shared.values()
        for label, split in splits.items()
        if len(splits) > 1
    ]


def _single(groups: Sequence[Group]) -> list[str]:
    """A sentence on rows of one search, whose scores have no deviation."""
    if all(len(group.runs) > 1 for group in groups):
        return []
    return ["Rows of one seed have no deviation; search with -m seed=0,1,2 to see how much of a score is chance."]


def _meanings(groups: Sequence[Group]) -> list[str]:
    """A sentence for every prior that shares its name with others: the settings in which they differ."""
    shared: dict[str, dict[str, Mapping[str, Any] | None]] = {}
    for group in groups:
        result = group.runs[0]
        shared.setdefault(words.prior_label(result), {})[group.prior] = result.get("settings")
    notes = []
    for priors in shared.values():
        told = [settings for settings in priors.values() if settings is not None]
        for label, settings in priors.items():
            own = {k: v for k, v in (settings or {}).items() if any(other.get(k) != v for other in told)}
            if own:
                notes.append(f"Prior {label}: {', '.join(f'{name}={value}' for name, value in own.items())}.")
            elif settings is None and told:
                notes.append(f"Prior {label}: its settings are not on record.")
    return notes


def _key(result: Result) -> tuple[Any, ...]:
    """All that must agree for two searches to be averaged; what is shown of it comes first when sorted."""
    task = result["task"]
    split = _own_split(task)
    return (
        task["name"],
        task["content_hash"] if split is None else _digest([task["content_hash"], split]),
        result["algorithm"],
        words.prior_label(result),
        len(result["trials"]),
        result["budget"]["name"],
        _digest(result["budget"]),
        result["space"],
        _digest(result.get("settings")),
    )


def _own_split(task: TaskInfo) -> str | None:
    """The hash of a split that came with the data: a seed does not tell it from another. None of those by seed."""
    return task.get("split") if task.get("own_split") else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _labels(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A distinct label for each name and content hash: the name, with the hash's start where the name is ambiguous."""
    contents: dict[str, set[str]] = {}
    for name, content in pairs:
        contents.setdefault(name, set()).add(content)
    return {
        (name, content): name if len(found) == 1 else f"{name} #{content[:6]}"
        for name, found in contents.items()
        for content in found
    }


def summary_csv(summary: Summary) -> str:
    """The table as CSV text: scores in full precision, times in seconds."""
    header = (
        *("task", "metric", "algorithm", "prior", "budget", "space", "trials", "seeds", "seeds_with_best"),
        *("test_mean", "test_std", "validation_mean", "validation_std", "seconds_mean", "seconds_std"),
    )
    rows = [
        (
            *(group.task, group.metric, group.algorithm, group.prior, group.budget, group.space, group.trials),
            *(len(group.runs), len(group.found), *group.test(), *group.validation(), *group.seconds()),
        )
        for group in summary.groups
    ]
    return to_csv(header, rows)


def summary_rows(summary: Summary) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The table as it is shown: its header, and its rows in words."""
    header = (
        "task",
        "algorithm",
        "prior",
        "budget",
        "space",
        "trials",
        "seeds",
        "metric",
        "test",
        "validation",
        "time",
    )
    rows: list[tuple[str, ...]] = []
    for group in summary.groups:
        seeds = f"{len(group.runs)}" if len(group.found) == len(group.runs) else f"{len(group.found)}/{len(group.runs)}"
        rows.append(
            (
                *(group.task, group.algorithm, group.prior, group.budget, group.space, str(group.trials), seeds),
                *(words.metric_name(group.metric), words.spread(*group.test()), words.spread(*group.validation())),
                words.duration(group.seconds()[0]),
            )
        )
    return header, rows


def summary_table(summary: Summary) -> Table:
    """The table for the terminal; metric, budget and space stand in its title where all rows agree on them."""
    header, rows = summary_rows(summary)
    common = {
        name: values[0]
        for name, values in zip(header, zip(*rows))
        if name in ("metric", "budget", "space") and len(set(values)) == 1
    }
    title = "Mean and standard deviation over seeds"
    if common:
        title += f" ({', '.join(f'{name} {value}' for name, value in common.items())})"
    table = Table(title=Text(title, style="bold"), title_justify="left", header_style="bold", **COMPACT)
    shown = [index for index, name in enumerate(header) if name not in common]
    for index in shown:
        numeric = header[index] in NUMERIC
        table.add_column(header[index], justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[index]) for index in shown))
    return table
