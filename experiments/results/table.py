"""What 3 trials from the transferred prior are worth: the table of docs/results.md.

    python experiments/results/table.py runs

Pairs searches of the same task and seed from the transferred and the uniform prior, and compares the test score of the
trial that validation picks after 3 transferred, 3 uniform and 10 uniform trials. The 3 uniform trials are the first 3
of the 10.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

from atjax.report import best_so_far
from atjax.report.result import Result
from atjax.report.summary import find

SHORT, LONG = 3, 10


def picked(result: Result, trials: int) -> float | None:
    """Test score, in percent, of the trial that validation picks among the first ``trials``; None if there is none."""
    picks = best_so_far(result["trials"][:trials], result["task"]["metric"])
    best = picks[-1] if len(picks) == trials else None
    return None if best is None or best["test"] is None else 100 * best["test"]


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.1f} ± {deviation:.1f}"


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of runs")
    scores: dict[tuple[str, int], dict[str, float | None]] = defaultdict(dict)
    fell_back: set[tuple[str, int]] = set()
    for run in find([parser.parse_args().folder]):
        result = run.result
        key = (result["task"]["name"], result["seed"])
        if len(result["trials"]) == SHORT:
            scores[key]["transfer"] = picked(result, SHORT)
            if result["prior_source"] == "uniform":
                fell_back.add(key)
        elif len(result["trials"]) == LONG:
            scores[key]["short"], scores[key]["long"] = picked(result, SHORT), picked(result, LONG)
    rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for (task, _), found in sorted(scores.items()):
        triple = tuple(found.get(name) for name in ("transfer", "short", "long"))
        if None not in triple:
            rows[task].append(triple)  # type: ignore[arg-type]
    print(
        f"| task | seeds | transfer, {SHORT} | uniform, {SHORT} | uniform, {LONG} | gain at {SHORT} | against {LONG} |"
    )
    print("|---|---|---|---|---|---|---|")
    everything = [triple for triples in rows.values() for triple in triples]
    for task, found_here in [*rows.items(), ("all", everything)]:
        transfer, short, long = (list(column) for column in zip(*found_here))
        gains = [[t - u for t, u in zip(transfer, other)] for other in (short, long)]
        cells = [task, str(len(found_here)), *map(spread, (transfer, short, long, *gains))]
        print("| " + " | ".join(cells) + " |")
    for k, (name, other) in enumerate(((f"{SHORT} uniform trials", 1), (f"{LONG} uniform trials", 2))):
        pairs = [(triple[0], triple[other]) for triple in everything]
        wins, losses = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
        gains = [a - b for a, b in pairs]
        error = statistics.stdev(gains) / len(gains) ** 0.5
        ties = len(pairs) - wins - losses
        print(f"{'' if k else chr(10)}Against {name}: {wins} wins, {losses} losses, {ties} ties;")
        print(f"mean gain {statistics.mean(gains):.2f} points, standard error {error:.2f} over {len(gains)} searches.")
    if fell_back:
        named = ", ".join(f"{task} seed {seed}" for task, seed in sorted(fell_back))
        print(f"\nUniform for want of a close task: {named}.")


if __name__ == "__main__":
    main()
