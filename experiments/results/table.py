"""What 3 trials from the transferred priors are worth: the tables of docs/results.md.

    python experiments/results/table.py        # from scores.csv
    python experiments/results/table.py runs   # with searches of one's own in place of those of the same task and seed
    python experiments/results/table.py --tasks cora,citeseer

Pairs searches of the same task and seed from transferred and from the uniform prior, and compares the test score of the
trial that validation picks after 3 transferred, 3 uniform and 10 uniform trials. The 3 uniform trials are the first 3
of the 10. The scores are kept in scores.csv beside this file, and searches found there need not be run again.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pandas as pd

from atjax.report import best_so_far
from atjax.report.result import Result
from atjax.report.summary import find

SCORES = Path(__file__).with_name("scores.csv")
TRIALS = {"calibrated": (3,), "product": (3,), "uniform": (3, 10)}
"""Priors, and after how many trials of a search their scores are read; the search has as many as the last of them."""

KEYS = ["task", "seed"]
METHODS = [f"{prior}_{trials}" for prior, counts in TRIALS.items() for trials in counts]


def picked(result: Result, trials: int) -> float | None:
    """Test score, in percent, of the trial that validation picks among the first ``trials``; None if there is none."""
    best = best_so_far(result["trials"][:trials], result["task"]["metric"])[-1]
    return None if best is None or best["test"] is None else round(100 * best["test"], 4)  # as the file keeps it


def collect(folder: Path) -> pd.DataFrame:
    """Scores of complete searches under a folder, a row for each task and seed, a column for each of `METHODS`."""
    rows: dict[tuple[str, int], dict[str, object]] = defaultdict(dict)
    for run in find([folder]):
        result = run.result
        prior = result.get("prior_name", "")
        counts = TRIALS.get(prior, ())
        if result["state"] == "complete" and counts and len(result["trials"]) == counts[-1]:
            row = rows[result["task"]["name"], result["seed"]]
            row.update({f"{prior}_{trials}": picked(result, trials) for trials in counts})
    return pd.DataFrame(
        [{"task": task, "seed": seed, **row} for (task, seed), row in rows.items()], columns=[*KEYS, *METHODS]
    )


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
    chosen = parser.parse_args()
    folder = chosen.folder
    scores = pd.read_csv(SCORES, index_col=KEYS)
    if folder is not None:
        scores = collect(folder).set_index(KEYS).combine_first(scores).sort_index()[METHODS]
        scores.to_csv(SCORES)

    scores = scores.dropna()
    if chosen.tasks:
        scores = scores[scores.index.isin(chosen.tasks, level="task")]
    print("| task | seeds | " + " | ".join(method.replace("_", ", ") for method in METHODS) + " |")
    print("|---" * (2 + len(METHODS)) + "|")
    for task, rows in [*scores.groupby("task"), ("all", scores)]:
        cells = (spread(rows[method]) for method in METHODS)
        print("| " + " | ".join([str(task), str(len(rows)), *cells]) + " |")
    print("\n| | gain | by task | wins | losses | ties |")
    print("|---|---|---|---|---|---|")
    for other, method in combinations(METHODS[::-1], 2):
        gains = scores[method] - scores[other]
        wins, losses = (gains > 0).sum(), (gains < 0).sum()
        names = (name.replace("_", ", ") for name in (method, other))
        cells = (mean(gains), mean(gains.groupby("task").mean()), wins, losses, len(gains) - wins - losses)
        print(f"| {' over '.join(names)} | " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
