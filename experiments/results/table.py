"""What 3 trials from the transferred prior are worth: the table of docs/results.md.

    python experiments/results/table.py runs

Pairs searches of the same task and seed from the transferred and the uniform prior, and compares the test score of the
trial that validation picks after 3 transferred, 3 uniform and 10 uniform trials. The 3 uniform trials are the first 3
of the 10. The scores are kept in scores.csv beside this file, and searches found there need not be run again.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import pandas as pd

from atjax.report import best_so_far
from atjax.report.result import Result
from atjax.report.summary import find

SHORT, LONG = 3, 10
SCORES = Path(__file__).with_name("scores.csv")
METHODS = (f"transfer_{SHORT}", f"uniform_{SHORT}", f"uniform_{LONG}")


def picked(result: Result, trials: int) -> float | None:
    """Test score, in percent, of the trial that validation picks among the first ``trials``; None if there is none."""
    best = best_so_far(result["trials"][:trials], result["task"]["metric"])[-1]
    return None if best is None or best["test"] is None else 100 * best["test"]


def collect(folder: Path) -> pd.DataFrame:
    """Scores of complete searches under a folder, a row for each task and seed that has both priors."""
    rows: dict[tuple[str, int], dict[str, object]] = defaultdict(dict)
    for run in find([folder]):
        result = run.result
        row = rows[result["task"]["name"], result["seed"]]
        if result["state"] != "complete":
            continue
        if len(result["trials"]) == SHORT:
            row[METHODS[0]], row["prior"] = picked(result, SHORT), result["prior_source"]
        elif len(result["trials"]) == LONG:
            row[METHODS[1]], row[METHODS[2]] = picked(result, SHORT), picked(result, LONG)
    table = pd.DataFrame([{"task": task, "seed": seed, **row} for (task, seed), row in rows.items()])
    return table.dropna(subset=list(METHODS))


def spread(values: pd.Series) -> str:
    """Mean and standard deviation."""
    return f"{values.mean():.1f} ± {values.std():.1f}"


def main() -> None:
    """Update scores.csv and print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of runs")
    scores = collect(parser.parse_args().folder)
    if SCORES.exists():
        scores = pd.concat([pd.read_csv(SCORES), scores])
    scores = scores.drop_duplicates(["task", "seed"], keep="last").sort_values(["task", "seed"], ignore_index=True)
    scores.round(4).to_csv(SCORES, index=False)

    transfer, short, long = (scores[method] for method in METHODS)
    scores = scores.assign(gain=transfer - short, against=transfer - long)
    columns = [*METHODS, "gain", "against"]
    print(
        f"| task | seeds | transfer, {SHORT} | uniform, {SHORT} | uniform, {LONG} | gain at {SHORT} | against {LONG} |"
    )
    print("|---|---|---|---|---|---|---|")
    for task, rows in [*scores.groupby("task"), ("all", scores)]:
        print("| " + " | ".join([str(task), str(len(rows)), *(spread(rows[column]) for column in columns)]) + " |")
    for column, trials in (("gain", SHORT), ("against", LONG)):
        gains = scores[column]
        wins, losses, error = (gains > 0).sum(), (gains < 0).sum(), gains.std() / len(gains) ** 0.5
        print(f"\nAgainst {trials} uniform trials: {wins} wins, {losses} losses, {len(gains) - wins - losses} ties;")
        print(f"mean gain {gains.mean():.2f} points, standard error {error:.2f} over {len(gains)} pairs of searches.")
    fallen = scores[scores["prior"] == "uniform"]
    if len(fallen):
        print(
            "\nUniform for want of a close task: " + ", ".join(f"{r.task} seed {r.seed}" for r in fallen.itertuples())
        )


if __name__ == "__main__":
    main()
