"""What designs that few tasks have run are worth, which replays cannot say where they are not recorded.

    python experiments/transfer/coverage.py                # trains what is missing, some minutes
    python experiments/transfer/coverage.py --tables-only

For every task of the embedded bank, left out in turn, the first three designs of `prior=calibrated`, with all designs
that any task has (`prior.coverage=0`) and with those that half of them have (0.5, the default). Where the left-out task
has no record of one, it is trained, on every split that the bank has of the task, and kept beside the tables. One of
three is picked by validation on a split; it is reported by test on that split, and on the task's other splits, which
had no part in the choice.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from measures import SHORT
from recorded import embedded_bank
from tables import head, row

from atjax import compilation, config, load_task
from atjax.atomic import write_text
from atjax.bank import Bank
from atjax.bank.records import frame_designs
from atjax.fisher import FisherConfig
from atjax.prior import PriorConfig, prior_from_bank
from atjax.train import fit

OUT = Path(__file__).parent / "results"
COVERAGES = (0.0, 0.5)
CALIBRATED: PriorConfig = config.load("prior", "calibrated")
KEYS = ["task", "design", "seed"]
SCORES = ["state", "validation", "validation_loss", "test"]


def first_designs(bank: Bank, task: str, coverage: float) -> list[str]:
    """The first designs that a live search for a task would try, by key; the task left out of the bank."""
    fisher: FisherConfig = dataclasses.replace(config.default("fisher"), statistic=CALIBRATED.statistic)
    rows = bank.where(fisher=fisher.key).features
    own = rows[rows["task"] == task].iloc[0]
    prior, _ = prior_from_bank(
        np.mean(own["values"], axis=1),
        bank.records.loc[bank.records["task"] == task, "level"].iloc[0],
        bank,
        bank.space,
        exclude_hash=own["content_hash"],
        exclude_name=task,
        fisher=fisher.key,
        budget="quick",
        config=dataclasses.replace(CALIBRATED, coverage=coverage),
    )
    assert prior.ranking is not None
    order = np.argsort(-prior.ranking.scores(prior.ranking.weights), kind="stable")
    return [bank.space.numbered(row).key for row in prior.ranking.rows[order[:SHORT]]]


def train(bank: Bank, task: str, designs: list[str], known: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Add what is not known of a task's designs on its splits to a file; returns all that is known then."""
    seeds = sorted(bank.records.loc[bank.records["task"] == task, "seed"].unique())
    have = set(known[KEYS].itertuples(index=False, name=None))
    missing = [(task, design, seed) for design in designs for seed in seeds if (task, design, seed) not in have]
    for _, design, seed in missing:
        record = bank.records[bank.records["design"] == design].head(1)
        outcome = fit(load_task(task), frame_designs(record)[0], budget=config.default("budget"), seed=int(seed))
        fresh = {"task": task, "design": design, "seed": seed, **{name: getattr(outcome, name) for name in SCORES}}
        known = pd.concat([known, pd.DataFrame([fresh])], ignore_index=True)
        pd.DataFrame([fresh]).to_csv(file, mode="a", header=not file.exists(), index=False)
        print(f"{task}, split {seed}, {design}: {outcome.seconds:.0f} s", flush=True)
    return known


def standing(bank: Bank, known: pd.DataFrame, task: str, designs: list[str]) -> list[float]:
    """What a search picks of some designs, mean over splits.

    Returns:
        Percentiles among the task's recorded designs by validation, by test, and by test on the other splits (NaN of
        one split); test scores in percent on the split and on the others.
    """
    own = bank.records[(bank.records["task"] == task) & (bank.records["state"] == "complete")]
    of = known[(known["task"] == task) & known["design"].isin(designs)].set_index(["seed", "design"])
    seeds, found = sorted(own["seed"].unique()), []
    for seed in seeds:
        trials = of.loc[seed].loc[designs]
        pick = trials.sort_values(["validation", "validation_loss"], ascending=[False, True], kind="stable").index[0]
        places = {
            (other, score): _percentile(own.loc[own["seed"] == other, score], of.loc[(other, pick), score])
            for other in seeds
            for score in ("validation", "test")
        }
        others = [other for other in seeds if other != seed]
        found.append(
            [
                places[seed, "validation"],
                places[seed, "test"],
                np.mean([places[other, "test"] for other in others]) if others else np.nan,
                100 * of.loc[(seed, pick), "test"],
                100 * of.loc[[(other, pick) for other in others], "test"].mean() if others else np.nan,
            ]
        )
    return np.mean(found, axis=0).tolist()


def _percentile(scores: pd.Series, value: float) -> float:
    return 100 * float((scores < value).mean() + (scores == value).mean() / 2)


def report(bank: Bank, known: pd.DataFrame, paths: dict[tuple[str, float], list[str]]) -> str:
    """The tables, in Markdown."""
    levels = bank.records.groupby("task")["level"].first()
    names = ["validation", "test", "test elsewhere", "score", "score elsewhere"]
    tasks = list(dict.fromkeys(task for task, _ in paths))
    places = np.array([[standing(bank, known, task, paths[task, c]) for c in COVERAGES] for task in tasks])
    heads = [f"{name}, {'all' if c == 0 else 'half'}" for name in names for c in COVERAGES]
    lines = ["Percentiles and test scores of the trial that validation picks of three, mean over splits.", ""]
    lines += head(["task", "level", *heads])
    for task, of_task in zip(tasks, places):
        lines.append(row([task, levels[task], *(_number(x) for x in of_task.T.ravel())]))
    lines += ["", "Half over all, mean over tasks with its standard error:", "", *head(["level", "tasks", *names])]
    differences = places[:, 1] - places[:, 0]
    for level in sorted({levels[task] for task in tasks}):
        gains = differences[[levels[task] == level for task in tasks]]
        cells = [f"{g[~np.isnan(g)].mean():+.1f} ± {_error(g[~np.isnan(g)]):.1f}" for g in gains.T]
        lines.append(row([level, str(len(gains)), *cells]))
    few = {design for path in paths.values() for design in path} - {d for t, c in paths if c for d in paths[t, c]}
    lines += ["", "Designs that lead one list and not the other, by themselves:", ""]
    lines += head(["design", "level", "trainings", "validation", "test"])
    own = bank.records[bank.records["state"] == "complete"]
    for design in sorted(few):
        for level in ("graph", "node"):
            of = known[(known["design"] == design) & (known["task"].map(levels) == level)]
            if of.empty:
                continue
            by = [
                np.mean([_percentile(own.loc[(own["task"] == t) & (own["seed"] == s), score], x) for t, s, x in rows])
                for score in ("validation", "test")
                for rows in [of[["task", "seed", score]].itertuples(index=False)]
            ]
            lines.append(row([design, level, str(len(of)), *map(_number, by)]))
    return "\n".join(lines) + "\n"


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1f}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables-only", action="store_true", help="leave out tasks of which something is not trained")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    compilation.keep_compiled(config.cache_dir() / "xla")
    bank, file = embedded_bank(), chosen.out / "coverage.csv"
    known = bank.records.loc[bank.records["state"] == "complete", [*KEYS, *SCORES]]
    if file.exists():
        # What the bank has come to hold since counts once.
        known = pd.concat([known, pd.read_csv(file)], ignore_index=True).drop_duplicates(KEYS)
    paths: dict[tuple[str, float], list[str]] = {}
    for task in bank.features["task"].drop_duplicates():
        of_task = {coverage: first_designs(bank, task, coverage) for coverage in COVERAGES}
        wanted = list(dict.fromkeys(design for path in of_task.values() for design in path))
        if not chosen.tables_only:
            known = train(bank, task, wanted, known, file)
        seeds = bank.records.loc[bank.records["task"] == task, "seed"].nunique()
        if len(known[(known["task"] == task) & known["design"].isin(wanted)]) == seeds * len(wanted):
            paths |= {(task, coverage): path for coverage, path in of_task.items()}
    text = report(bank, known, paths)
    write_text(chosen.out / "coverage.md", text)
    print(text)


if __name__ == "__main__":
    main()
