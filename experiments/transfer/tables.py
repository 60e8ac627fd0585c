"""Tables in the form of the paper's Tables 1 and 4, and where a gain comes from."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
from figure import SHOWN
from measures import (
    RANDOM,
    SHORT,
    TPE,
    Searches,
    agreement,
    curves,
    gains_by_split,
    own_splits,
    passes,
    seconds,
    standings,
    worth,
)
from priors import SIMULATION
from recorded import Recorded

PAIRS = (
    ("rank, fisher", "product random"),
    ("rank, calibrated", "rank, fisher"),
    ("rank, calibrated, smooth, trials", "rank, fisher"),
    ("rank, calibrated, smooth, trials", "product random"),
    ("rank, frugal", "product random"),
    ("rank, frugal", "rank, calibrated, smooth, trials"),
)
"""Methods that are compared task by task."""
LONG = ("product random", "rank, calibrated, smooth, trials", "rank, kendall (upper bound)")
"""Methods whose gain in a long search is shown split by split."""


def report(bank: Recorded, found: Searches) -> str:
    """All tables of a bank in Markdown."""
    tables = Tables(bank, found)
    parts = [
        *([tables.agreement] if bank.tested else []),
        *(tables.scores, tables.needed, tables.gains),
        *([tables.splits] if len(bank.validation) > 1 else []),
        *([tables.standing] if bank.tested else []),
        *([tables.times] if np.isfinite(bank.seconds).any() else []),
        tables.pairs,
    ]
    return "\n\n".join([tables.heading(), *("\n".join(part()) for part in parts)]) + "\n"


class Tables:
    """The tables one by one, as lines of Markdown."""

    def __init__(self, bank: Recorded, found: Searches) -> None:
        self.bank, self.found = bank, found
        self.seeds, self.trials = next(iter(found.values()))[0].shape
        self.score = "test" if bank.tested else "validation"
        self.tests = self._curves(100 * bank.test)
        self.means = {method: np.mean(each, axis=1) for method, each in self.tests.items()}
        levels = sorted(set(bank.levels))
        each = {level: bank.levels == level for level in levels if len(levels) > 1}
        self.parts = {"all": np.full(len(bank.tasks), True), **each}

    def heading(self) -> str:
        """What was searched."""
        lack = "" if self.bank.tested else " (the bank has no test)"
        counts = f"{len(self.bank.tasks)} tasks, {len(self.bank.rows)} designs, {self.seeds} seeds"
        return f"{counts}; select by validation, report {self.score}{lack}."

    def agreement(self) -> Iterator[str]:
        """See `measures.Agreement`."""
        yield from ("**How far records agree on which designs are good** (Kendall's tau-b)", "")
        pairs = ("validation with test", "validation with that of another split", "test with that of another split")
        yield from head(["task", "level", "splits", *pairs, f"{SHORT} best by other splits are worth"])
        for task, name in enumerate(self.bank.tasks):
            own = agreement(self.bank, task)
            cells = [f"{own.between:.2f}", f"{own.tests:.2f}", f"{own.worth:.1f}"] if own.splits > 1 else [""] * 3
            yield row([name, self.bank.levels[task], str(own.splits), f"{own.test:.2f}", *cells])

    def scores(self) -> Iterator[str]:
        """The paper's Table 1."""
        methods = [method for method in dict.fromkeys((*SIMULATION, *SHOWN)) if method in self.found]
        yield from (f"**Score in percent at {SHORT} and {self.trials} trials** (mean ± deviation over seeds)", "")
        yield from head(["task", *(f"{m}, {n}" for m in methods for n in (SHORT, self.trials))])
        for task, name in enumerate(self.bank.tasks):
            cells = [self.tests[m][task][:, n - 1] for m in methods for n in (SHORT, self.trials)]
            yield row([name, *(f"{c.mean():.1f} ± {c.std():.1f}" for c in cells)])

    def needed(self) -> Iterator[str]:
        """The paper's Table 4, and the same with random trials as the goal, by validation too."""
        goals = [(RANDOM, self.means, self.score), (TPE, self.means, self.score)]
        if self.bank.tested:
            picked = {m: np.mean(each, axis=1) for m, each in self._curves(self.bank.validation).items()}
            goals.append((RANDOM, picked, "validation"))
        for number, (goal, means, which) in enumerate(goals):
            yield from ("",) * (number > 0)
            yield from (f"**Trials needed to pass the mean {which} score of {goal} with {self.trials} trials**", "")
            yield from head(["method", *self.bank.tasks, "median", f"within {SHORT}"])
            for method in self.found:
                trials = [passes(curve, target[-1]) for curve, target in zip(means[method], means[goal])]
                cells = [f"{n:g}" if np.isfinite(n) else f"> {self.trials}" for n in (*trials, np.median(trials))]
                yield row([method, *cells, str(sum(n <= SHORT for n in trials))])

    def gains(self) -> Iterator[str]:
        """Over uniform random search, in random trials and in points."""
        yield from ("**What a method's first trials are worth, and its gain over uniform random**", "")
        compared = ((SHORT, SHORT), (SHORT, 10), (10, 10), (self.trials, self.trials))
        columns = [f"{n} trials are worth (random trials)" for n in (SHORT, 10)]
        columns += [f"gain at {own} over random {random}" for own, random in compared]
        tasks = ["tasks where 3 pass random 10", f"tasks more than 1 s.e. below random at {self.trials}"]
        yield from head(["method", *columns, *tasks])
        values = [self._worth, worth(self.bank, self.found, 10)]
        for method in self.found:
            own, random = self.means[method], self.means[RANDOM]
            cells = [geometric(value[method]) for value in values]
            cells += [mean(own[:, a - 1] - random[:, b - 1]) for a, b in compared]
            wins = own[:, SHORT - 1] >= random[:, 9]
            yield row([method, *cells, f"{sum(wins)} of {len(wins)}", str(len(self._worse(method)))])
        yield ""
        for method in (method for method in LONG if method in self.found):
            yield f"Below random at {self.trials} by {method}: {', '.join(self._worse(method)) or 'none'}."

    def splits(self) -> Iterator[str]:
        """The gain in a long search on every split: seeds that share a split share what chance its test holds."""
        title = f"**Gain at {self.trials} over random {self.trials} by split**"
        yield from (f"{title}: mean with its standard error over splits (each of them), of tasks with several", "")
        methods = [method for method in LONG if method in self.found]
        several = [task for task in range(len(self.bank.tasks)) if len(own_splits(self.bank, task)) > 1]
        yield from head(["task", *methods])
        for task in several:
            cells = []
            for method in methods:
                last = (self.tests[each][task][:, -1] for each in (method, RANDOM))
                gains = gains_by_split(self.bank, task, *last)
                cells.append(f"{mean(gains)} ({', '.join(f'{gain:+.1f}' for gain in gains)})")
            yield row([self.bank.tasks[task], *cells])
        values = {f"{method}, {SHORT} trials": self._worth[method][several] for method in methods}
        values[f"the {SHORT} best by other splits"] = np.array([agreement(self.bank, task).worth for task in several])
        told = "; ".join(f"{name} {geometric(value)}" for name, value in values.items())
        yield from ("", f"On these {len(several)} tasks, worth in random trials: {told}.")

    def standing(self) -> Iterator[str]:
        """What validation promises and what test keeps of it."""
        title = f"**Where the trial picked after {SHORT} stands** among the designs of its task and split"
        yield from (f"{title}, in percentiles", "")
        yield from head(["method", *(f"{part}, by {by}" for part in self.parts for by in ("validation", "test"))])
        places = [self._curves(100 * standings(self.bank, by)) for by in (self.bank.validation, self.bank.test)]
        for method in self.found:
            stands = [np.array([each[:, SHORT - 1].mean() for each in by[method]]) for by in places]
            yield row([method, *(f"{_pair(by[part], 0)}" for part in self.parts.values() for by in stands)])

    def times(self) -> Iterator[str]:
        """What trials cost."""
        title = f"**What the first {SHORT} trials take to train**, in times of what {SHORT} random ones take"
        yield from (f"{title}, geometric mean over tasks", "", *head(["method", *self.parts]))
        taken = {method: seconds(self.bank, tried) for method, tried in self.found.items()}
        for method, each in taken.items():
            yield row([method, *(geometric((each / taken[RANDOM])[part]) for part in self.parts.values())])

    def pairs(self) -> Iterator[str]:
        """Methods against each other."""
        yield from ("**Pairs of methods**, mean over tasks of the difference, with its standard error", "")
        measures = [f"log of what {SHORT} trials are worth", f"score at {SHORT}", f"score at {self.trials}"]
        yield from head(["method", "against", "level", *measures, f"tasks ahead at {SHORT}", f"at {self.trials}"])
        for pair in (pair for pair in PAIRS if set(pair) <= set(self.found)):
            one, other = ([np.log(self._worth[m]), self.means[m][:, SHORT - 1], self.means[m][:, -1]] for m in pair)
            differences = np.subtract(one, other)
            for level, part in self.parts.items():
                gains = differences[:, part]
                ahead = [f"{(gain > 0).sum()} of {len(gain)}" for gain in gains[1:]]
                yield row([*pair, level, *map(mean, gains), *ahead])

    def _worse(self, method: str) -> list[str]:
        """Tasks on which a method is more than a standard error below random search in the end."""
        pairs = zip(self.bank.tasks, self.tests[method], self.tests[RANDOM])
        return [task for task, own, random in pairs if _below(own[:, -1], random[:, -1])]

    @functools.cached_property
    def _worth(self) -> dict[str, np.ndarray]:
        return worth(self.bank, self.found, SHORT)

    def _curves(self, scores: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Best so far of every method and task, [seeds, trials] each; scores [S, N, T]."""
        return {
            method: [curves(self.bank, task, each, scores) for task, each in enumerate(tried)]
            for method, tried in self.found.items()
        }


def _below(method: np.ndarray, uniform: np.ndarray) -> bool:
    error = np.sqrt(method.var(ddof=1) / len(method) + uniform.var(ddof=1) / len(uniform))
    return bool(method.mean() < uniform.mean() - error)


def mean(values: np.ndarray) -> str:
    """Of differences, with its standard error."""
    return "+" * bool(values.mean() >= 0) + _pair(values, 2)


def _pair(values: np.ndarray, digits: int) -> str:
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) / np.sqrt(len(values)):.{digits}f}"


def geometric(values: np.ndarray) -> str:
    """The geometric mean, and one standard error to either side."""
    log = np.log(values)
    low, high = (np.exp(log.mean() + sign * log.std(ddof=1) / np.sqrt(len(log))) for sign in (-1, 1))
    return f"{np.exp(log.mean()):.1f} ({low:.1f} to {high:.1f})"


def head(cells: Sequence[str]) -> list[str]:
    """The first lines of a table in Markdown."""
    return [row(cells), "|---" * len(cells) + "|"]


def row(cells: Sequence[str]) -> str:
    """A line of a table in Markdown."""
    return "| " + " | ".join(cells) + " |"
