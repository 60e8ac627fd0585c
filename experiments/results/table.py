"""What 3 trials from the transferred priors are worth: the tables of docs/results/live.md.

    python experiments/results/table.py        # from scores.csv
    python experiments/results/table.py runs   # with searches of one's own in place of those of the same task and seed
    python experiments/results/table.py --tasks cora,citeseer
    python experiments/results/table.py --priors frugal,calibrated,uniform

Pairs searches of the same task and seed from transferred and from the uniform prior, and compares the test score of the
trial that validation picks after 3 transferred, 3 uniform and 10 uniform trials. The 3 uniform trials are the first 3
of the 10. The scores are kept in scores.csv beside this file, and searches found there need not be run again.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pandas as pd

from atjax.report import best_so_far
from atjax.report.result import Result
from atjax.report.summary import find

SCORES = Path(__file__).with_name("scores.csv")
TRIALS = {
    **{
        prior: (3,)
        for prior in ("frugal_before", "frugal", "calibrated_before", "calibrated", "product_before", "product")
    },
    "uniform": (3, 10),
}
"""Priors, and after how many trials of a search their scores are read; the search has as many as the last of them.

``calibrated_before`` and ``frugal_before`` are these until commit ec81f4a, when they followed designs that few tasks
had run. ``product_before`` is product from the smaller banks of the first sweeps.
"""

SHOWN = ("calibrated", "product", "uniform")
"""Those that are compared if nothing else is said."""

KEYS = ["task", "seed"]


def methods(priors: Iterable[str]) -> list[str]:
    """Names of columns, such as ``uniform_10``."""
    return [f"{prior}_{trials}" for prior in priors for trials in TRIALS[prior]]


def picked(result: Result, trials: int) -> float | None:
    """Test score, in percent, of the trial that validation picks among the first ``trials``; None if there is none."""
    best = best_so_far(result["trials"][:trials], result["task"]["metric"])[-1]
    return None if best is None or best["test"] is None else round(100 * best["test"], 4)  # as the file keeps it


def collect(folder: Path) -> pd.DataFrame:
    """Scores of complete searches under a folder, a row for each task and seed, a column for each of `methods`.

    Only of searches as they are by default: other algorithms and budgets have results of their own.
    """
    rows: dict[tuple[str, int], dict[str, object]] = defaultdict(dict)
    for run in find([folder]):
        result = run.result
        prior = result.get("prior_name", "")
        counts = TRIALS.get(prior, ())
        plain = (result["algorithm"], result["budget"]["name"]) == ("random", "quick")
        if plain and result["state"] == "complete" and counts and len(result["trials"]) == counts[-1]:
            row = rows[result["task"]["name"], result["seed"]]
            row.update({f"{prior}_{trials}": picked(result, trials) for trials in counts})
    return pd.DataFrame(
        [{"task": task, "seed": seed, **row} for (task, seed), row in rows.items()], columns=[*KEYS, *methods(TRIALS)]
    )


def told(method: str) -> str:
    """A column as the tables call it: ``uniform, 10``."""
    return ", ".join(method.rsplit("_", 1))


def spread(values: pd.Series) -> str:
    """Mean and standard deviation."""
    return f"{values.mean():.1f} ± {values.std():.1f}"


def mean(values: pd.Series) -> str:
    """Mean and its standard error."""
    return f"{values.mean():+.2f} ± {values.std() / len(values) ** 0.5:.2f}"


def main() -> None:
    """Update scores.csv and print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="folder of runs; none: what is in scores.csv")
    parser.add_argument("--tasks", type=lambda names: names.split(","), help="these tasks alone, by comma")
    parser.add_argument("--priors", type=lambda names: names.split(","), default=SHOWN, help="these priors, by comma")
    chosen = parser.parse_args()
    if strange := set(chosen.priors) - set(TRIALS):
        parser.error(f"there is no prior {sorted(strange)[0]} here; choose from {', '.join(TRIALS)}")
    folder = chosen.folder
    scores = pd.read_csv(SCORES, index_col=KEYS).reindex(columns=methods(TRIALS))
    if folder is not None:
        scores = collect(folder).set_index(KEYS).combine_first(scores).sort_index()[methods(TRIALS)]
        scores.to_csv(SCORES)

    shown = methods(chosen.priors)
    scores = scores[shown].dropna()
    if chosen.tasks:
        scores = scores[scores.index.isin(chosen.tasks, level="task")]
    if scores.empty:
        parser.error(f"no task and seed has searches of all of {', '.join(chosen.priors)} on record")
    print("| task | seeds | " + " | ".join(map(told, shown)) + " |")
    print("|---" * (2 + len(shown)) + "|")
    for task, rows in [*scores.groupby("task"), ("all", scores)]:
        cells = (spread(rows[method]) for method in shown)
        print("| " + " | ".join([str(task), str(len(rows)), *cells]) + " |")
    print("\n| | gain | by task | wins | losses | ties |")
    print("|---|---|---|---|---|---|")
    for other, method in combinations(shown[::-1], 2):
        gains = scores[method] - scores[other]
        wins, losses = (gains > 0).sum(), (gains < 0).sum()
        names = map(told, (method, other))
        cells = (mean(gains), mean(gains.groupby("task").mean()), wins, losses, len(gains) - wins - losses)
        print(f"| {' over '.join(names)} | " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
