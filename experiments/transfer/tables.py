"""Tables and figures in the form of the paper's: Table 1, Table 4 and Figure 3, and where a gain comes from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from priors import SIMULATION
from recorded import Recorded
from replay import best_so_far
from scipy.special import gammaln
from scipy.stats import kendalltau

from atjax.ranking import rank_shares

SHORT, LONG = 3, 30
GOALS = ("uniform random", "uniform tpe")
"""Methods that the others are measured by."""
SHOWN = (*GOALS, "product random", "rank, fisher, trials", "rank, calibrated, smooth, trials")
"""Methods of the figure."""
PAIRS = (
    ("rank, fisher", "product random"),
    ("rank, calibrated", "rank, fisher"),
    ("rank, calibrated, smooth, trials", "rank, fisher"),
    ("rank, calibrated, smooth, trials", "product random"),
    ("rank, frugal", "product random"),
    ("rank, frugal", "rank, calibrated, smooth, trials"),
)
"""Methods that are compared task by task."""
Searches = Mapping[str, Sequence[np.ndarray]]
"""For every method and task the designs tried, int [seeds, trials]."""


def curves(bank: Recorded, task: int, tried: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The score of the best so far, [seeds, trials]: picked by validation, read from ``scores`` [S, N, T]."""
    best = best_so_far(bank, task, tried)
    return scores[bank.split(np.arange(len(tried)))[:, None], best, task]


def passes(mean: np.ndarray, target: float) -> float:
    """The first trial at which a mean curve [trials] reaches a target; infinity if none does."""
    reached = np.flatnonzero(mean >= target - 1e-12)
    return float(reached[0] + 1) if len(reached) else np.inf


def random_shares(shares: np.ndarray) -> np.ndarray:
    """The expected best rank share of n = 1 .. N random designs without repeats, exactly, [N]; shares [N].

    The best of n is the k-th of N by rank with probability C(N - k, n - 1) / C(N, n).
    """
    total = len(shares)
    ordered = np.sort(shares)[::-1]
    place = np.arange(1, total + 1)

    def choose(m: np.ndarray, k: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            log = gammaln(m + 1) - gammaln(k + 1) - gammaln(np.maximum(m - k, 0) + 1)
        return np.where(m >= k, log, -np.inf)

    expected = np.empty(min(total, 1000))
    for n in range(1, len(expected) + 1):
        log = choose(total - place, np.full(total, n - 1)) - choose(np.array(total), np.array(n))
        expected[n - 1] = np.exp(log) @ ordered
    return expected


def worth(bank: Recorded, found: Searches, trials: int) -> dict[str, np.ndarray]:
    """How many random trials the first ``trials`` of a method are worth, [T].

    By the mean over splits of the validation rank on a split, interpolated.
    """
    result = {method: np.empty(len(bank.tasks)) for method in found}
    shares = np.full(bank.validation.shape, np.nan)
    for task in range(len(bank.tasks)):
        curve = []
        for split in range(len(shares)):
            own = bank.designs(task, split)
            shares[split, own, task] = rank_shares(bank.validation[split, own, task][:, None])[:, 0]
            curve.append(random_shares(shares[split, own, task]))
        least = min(map(len, curve))
        uniform = np.mean([each[:least] for each in curve], axis=0)
        for method, tried in found.items():
            last = min(trials, least)
            value = curves(bank, task, tried[task], shares)[:, last - 1].mean()
            result[method][task] = np.interp(value, uniform, np.arange(1, len(uniform) + 1))
    return result


class Agreement(NamedTuple):
    """How far the records of a task agree on which designs are good.

    Attributes:
        splits: The number of splits.
        test: Kendall's tau-b of validation and test scores of a split, mean over splits.
        between: Of the validation scores of a split and of another, mean over pairs; NaN of one split.
        worth: How many random trials the best 3 designs by all other splits are worth, as in `worth`; NaN of one split.
            A yardstick for priors, which know nothing of the task itself.
    """

    splits: int
    test: float
    between: float
    worth: float


def seconds(bank: Recorded, tried: Sequence[np.ndarray]) -> np.ndarray:
    """What the first trials of a search take to train on average, on every task, [T].

    Args:
        bank: With times of its trainings.
        tried: Numbers of designs, [seeds, trials] for each task.
    """
    return np.array([np.nanmean(bank.seconds[numbers[:, :SHORT], task]) for task, numbers in enumerate(tried)])


def agreement(bank: Recorded, task: int) -> Agreement:
    """See `Agreement`."""
    turns = [bank.validation[:, :, task], bank.test[:, :, task]]
    _, first = np.unique(np.nan_to_num(turns[0], nan=np.inf), axis=0, return_index=True)  # others are repeats
    validation, test = (turn[np.sort(first)] for turn in turns)
    with_test = float(np.mean([_tau(*pair) for pair in zip(validation, test)]))
    if len(first) == 1:
        return Agreement(1, with_test, np.nan, np.nan)
    between = float(np.mean([_tau(*pair) for pair in itertools.combinations(validation, 2)]))
    everywhere = validation[:, ~np.isnan(validation).any(axis=0)]
    shares = rank_shares(everywhere.T).T
    others = np.argsort(-(everywhere.sum(axis=0) - everywhere), axis=1, kind="stable")[:, :SHORT]
    best = np.take_along_axis(shares, others, axis=1).max(axis=1).mean()
    uniform = np.mean([random_shares(each) for each in shares], axis=0)
    return Agreement(len(first), with_test, between, float(np.interp(best, uniform, np.arange(1, len(uniform) + 1))))


def _tau(left: np.ndarray, right: np.ndarray) -> float:
    both = ~np.isnan(left) & ~np.isnan(right)
    return float(kendalltau(left[both], right[both]).statistic)


def report(bank: Recorded, found: Searches) -> str:
    """All tables of a bank in Markdown."""
    seeds, trials = next(iter(found.values()))[0].shape
    score = "test" if bank.tested else "validation"
    tests = {
        m: [100 * curves(bank, t, tried[t], bank.test) for t in range(len(bank.tasks))] for m, tried in found.items()
    }
    lines = [
        f"{len(bank.tasks)} tasks, {len(bank.rows)} designs, {seeds} seeds; select by validation, report {score}"
        f"{'' if bank.tested else ' (the bank has no test)'}.",
        "",
    ]
    if bank.tested:
        lines += ["**How far records agree on which designs are good** (Kendall's tau-b)", ""]
        lines += _head(
            ["task", "splits", "validation with test", "with another split", f"{SHORT} best by other splits are worth"]
        )
        for task, name in enumerate(bank.tasks):
            count, test, between, value = agreement(bank, task)
            cells = [f"{between:.2f}", f"{value:.1f}"] if count > 1 else ["", ""]
            lines.append(_row([name, str(count), f"{test:.2f}", *cells]))
        lines.append("")

    simulation = [m for m in (*SIMULATION, *SHOWN) if m in found]
    simulation = list(dict.fromkeys(simulation))
    lines += [f"**Score in percent at {SHORT} and {LONG} trials** (mean ± deviation over seeds)", ""]
    lines += _head(["task", *(f"{m}, {n}" for m in simulation for n in (SHORT, LONG))])
    for task, name in enumerate(bank.tasks):
        cells = [tests[m][task][:, n - 1] for m in simulation for n in (SHORT, trials)]
        lines.append(_row([name, *(f"{c.mean():.1f} ± {c.std():.1f}" for c in cells)]))

    means = {m: [curve.mean(axis=0) for curve in each] for m, each in tests.items()}
    reached = [(goal, means, score) for goal in GOALS]
    if bank.tested:
        picked = {
            m: [curves(bank, t, tried[t], bank.validation).mean(axis=0) for t in range(len(bank.tasks))]
            for m, tried in found.items()
        }
        reached.append((GOALS[0], picked, "validation"))
    for goal, curve, which in reached:
        lines += ["", f"**Trials needed to pass the mean {which} score of {goal} with {trials} trials**", ""]
        lines += _head(["method", *bank.tasks, "median", f"within {SHORT}"])
        for method in found:
            needed = [passes(curve[method][t], curve[goal][t][-1]) for t in range(len(bank.tasks))]
            cells = [f"{n:g}" if np.isfinite(n) else f"> {trials}" for n in (*needed, np.median(needed))]
            lines.append(_row([method, *cells, str(sum(n <= SHORT for n in needed))]))

    lines += ["", "**What a method's first trials are worth, and its gain over uniform random**", ""]
    columns = [f"{n} trials are worth (random trials)" for n in (SHORT, 10)]
    gains = [f"gain at {a} over random {b}" for a, b in ((3, 3), (3, 10), (10, 10), (trials, trials))]
    lines += _head(
        ["method", *columns, *gains, "tasks where 3 pass random 10", "tasks more than 1 s.e. below random at 30"]
    )
    values = [worth(bank, found, n) for n in (SHORT, 10)]
    for method in found:
        cells = [_geometric(value[method]) for value in values]
        for a, b in ((3, 3), (3, 10), (10, 10), (trials, trials)):
            gain = np.array(
                [means[method][t][a - 1] - means["uniform random"][t][b - 1] for t in range(len(bank.tasks))]
            )
            cells.append(_mean(gain))
        wins = [means[method][t][2] >= means["uniform random"][t][9] for t in range(len(bank.tasks))]
        worse = [_below(tests[method][t][:, -1], tests["uniform random"][t][:, -1]) for t in range(len(bank.tasks))]
        lines.append(_row([method, *cells, f"{sum(wins)} of {len(wins)}", str(sum(worse))]))

    levels = sorted(set(bank.levels))
    parts = {"all": np.full(len(bank.tasks), True)} | {level: bank.levels == level for level in levels if levels[1:]}
    if np.isfinite(bank.seconds).any():
        first = f"**What the first {SHORT} trials take to train**, in times of what {SHORT} random ones take"
        lines += ["", f"{first}, geometric mean over tasks", "", *_head(["method", *parts])]
        taken = {method: seconds(bank, tried) for method, tried in found.items()}
        for method, each in taken.items():
            ratios = each / taken["uniform random"]
            lines.append(_row([method, *(_geometric(ratios[part]) for part in parts.values())]))

    lines += ["", "**Pairs of methods**, mean over tasks of the difference, with its standard error", ""]
    measures = [f"log of what {SHORT} trials are worth", f"score at {SHORT}", f"score at {trials}"]
    lines += _head(["method", "against", "level", *measures, f"tasks ahead at {SHORT}", f"at {trials}"])
    for pair in PAIRS:
        if not set(pair) <= set(found):
            continue
        one, other = (np.array(means[method])[:, [SHORT - 1, trials - 1]].T for method in pair)
        differences = np.stack([np.log(values[0][pair[0]]) - np.log(values[0][pair[1]]), *(one - other)])
        for level, part in parts.items():
            gains = differences[:, part]
            ahead = [f"{(gain > 0).sum()} of {len(gain)}" for gain in gains[1:]]
            lines.append(_row([*pair, level, *map(_mean, gains), *ahead]))
    return "\n".join(lines) + "\n"


def figure(bank: Recorded, found: Searches, file: Path) -> None:
    """Best so far by trial, mean and a band of one standard deviation over seeds, one panel a task.

    The dotted line is where the first of `GOALS` comes in the end. Panels begin at the lowest mean.
    """
    columns = 4
    rows = -(-len(bank.tasks) // columns)
    with plt.rc_context({"svg.hashsalt": "atjax", "font.size": 8}):
        grid, panels = plt.subplots(rows, columns, figsize=(12, 2.4 * rows), squeeze=False, layout="constrained")
        for panel in panels.flat[len(bank.tasks) :]:
            panel.set_axis_off()
        for task, (name, panel) in enumerate(zip(bank.tasks, panels.flat)):
            ends = []
            for method in (m for m in SHOWN if m in found):
                curve = 100 * curves(bank, task, found[method][task], bank.test)
                steps, mean, spread = np.arange(1, curve.shape[1] + 1), curve.mean(axis=0), curve.std(axis=0)
                (line,) = panel.plot(steps, mean, label=method)
                panel.fill_between(steps, mean - spread, mean + spread, alpha=0.15)
                ends += [mean.min(), (mean + spread)[-1]]
                if method == GOALS[0]:
                    panel.axhline(mean[-1], color=line.get_color(), linestyle=":", linewidth=1)
            panel.set_title(name)
            panel.set_ylim(min(ends), max(ends) + 0.05 * (max(ends) - min(ends)))
        grid.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(SHOWN))
        grid.supxlabel("trials")
        grid.supylabel("test score of the trial that validation picks")
        grid.savefig(file, metadata={"Date": None})
        plt.close(grid)


def _below(method: np.ndarray, uniform: np.ndarray) -> bool:
    error = np.sqrt(method.var(ddof=1) / len(method) + uniform.var(ddof=1) / len(uniform))
    return bool(method.mean() < uniform.mean() - error)


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():+.2f} ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}"


def _geometric(values: np.ndarray) -> str:
    log = np.log(values)
    low, high = (np.exp(log.mean() + sign * log.std(ddof=1) / np.sqrt(len(log))) for sign in (-1, 1))
    return f"{np.exp(log.mean()):.1f} ({low:.1f} to {high:.1f})"


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), "|---" * len(cells) + "|"]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
