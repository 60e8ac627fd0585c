"""What certainty of a feature costs: seconds against standard errors, of the anchors' alpha.

    python experiments/benchmarks/certainty.py certainty.csv
    python experiments/benchmarks/certainty.py certainty.csv --tolerance 0.25,0.5,1,2

Settings are, for COX2, ``exact`` on subsets of the training graphs, with models fitted on all or on that subset alone,
and, for Cora, ``sign_sketch`` with 4 to 64 draws; with ``--tolerance`` also runs that stop by
`FisherConfig.tolerance`. One row of the CSV a setting:

    cold, warm  seconds of the whole feature, `task_statistics` of all anchors: first call, and median of further ones
    error       relative standard error of the mean over seeds, root mean square over anchors
    common      the same if the errors of the seeds were one and the same: their examples are, so the truth lies between
    spread      standard deviation over seeds relative to the mean, root mean square over anchors
    share       standard error of one initialisation over the standard deviation over seeds, root mean square over
                anchors: what `FisherConfig.tolerance` bounds, for each anchor
    most        the largest of these over anchors
    alpha       means over seeds, an anchor each
    actual      distance of these from alpha of all examples, relative, root mean square over anchors, where that stands

A setting whose row stands in the CSV is skipped. The figure, beside the CSV, is made from all rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import matplotlib
import numpy as np
import pandas as pd

from atjax import config, runtime
from atjax.atomic import write_text
from atjax.fisher.config import FisherConfig
from atjax.fisher.engine import Values, task_statistics
from atjax.fisher.preparation import random_models
from atjax.space import ANCHORS
from atjax.task import Task

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STYLES = {
    "tolerance": {"marker": "x", "linestyle": ""},
    "fitted on them": {"marker": "o", "linestyle": "--", "fillstyle": "none"},
}
KEY = ["task", "kind", "setting", "hidden", "seeds", "anchors", "device"]


def settings_of(
    task: Task, base: FisherConfig, arguments: argparse.Namespace
) -> Iterator[tuple[str, float, FisherConfig]]:
    """Kind, setting, and the `FisherConfig` of each."""
    if task.level == "graph":
        population = len(task.split(0).train)
        directions = task.num_outputs - (task.loss == "cross_entropy")
        for count in sorted({min(count, population) for count in arguments.examples}):
            passes = {**base.max_passes, "graph": count * directions}
            yield "examples", count, dataclasses.replace(base, max_passes=passes)
            if count < population:
                yield "fitted on them", count, dataclasses.replace(base, max_passes=passes, fit_on="sampled")
        whole = {**base.max_passes, "graph": population * directions}
        most = dataclasses.replace(base, max_passes=whole)
    else:
        for count in arguments.draws:
            yield "draws", count, dataclasses.replace(base, draws=count)
        most = dataclasses.replace(base, draws=max(arguments.draws))
    for tolerance in arguments.tolerance:
        yield "tolerance", tolerance, dataclasses.replace(most, tolerance=tolerance)


def summary(values: Values) -> dict[str, float | str]:
    """What a row says of alpha [A, R] and its standard errors; NaN if these are not known."""
    alpha, error = np.asarray(values.value), np.asarray(values.error)
    seeds = alpha.shape[1]
    mean = alpha.mean(axis=1)
    deviation = alpha.std(axis=1, ddof=1) if seeds > 1 else np.full(len(alpha), np.nan)
    one = np.sqrt((error**2).mean(axis=1))

    def over_anchors(each: np.ndarray) -> float:
        return float(np.sqrt((each**2).mean()))

    return {
        "error": over_anchors(one / np.sqrt(seeds) / mean),
        "common": over_anchors(error.mean(axis=1) / mean),
        "spread": over_anchors(deviation / mean),
        "share": over_anchors(one / deviation),
        "most": float((one / deviation).max()),
        "alpha": " ".join(f"{each:.6g}" for each in mean),
    }


def measured(task: Task, settings: FisherConfig, arguments: argparse.Namespace) -> dict[str, float | str]:
    """One row but for its key."""
    jax.clear_caches()
    random_models.cache_clear()
    seconds = []
    for _ in range(1 + arguments.rounds):
        start = time.perf_counter()
        values = task_statistics(task, settings, ["alpha"], anchors=arguments.designs)["alpha"]
        seconds.append(time.perf_counter() - start)
    warm = seconds[1:] or [float("nan")]
    times = {"cold": seconds[0], "warm": statistics.median(warm), "least": min(warm), "longest": max(warm)}
    return {**times, **summary(values)}


def actual(frame: pd.DataFrame) -> np.ndarray:
    """How far the means over seeds are from those of all examples, relative, root mean square; NaN without those."""
    found = np.full(len(frame), np.nan)
    alpha = [np.array(each.split(), float) for each in frame["alpha"]]
    for places in frame.groupby([name for name in KEY if name not in ("kind", "setting")]).indices.values():
        exact = [k for k in places if frame["kind"].iloc[k] == "examples" and frame["error"].iloc[k] == 0]
        for k in places:
            if exact:
                found[k] = np.sqrt(np.mean((alpha[k] / alpha[exact[0]] - 1) ** 2))
    return found


def figure(frame: pd.DataFrame, path: Path) -> None:
    """Seconds against the standard error, relative and in units of the spread, and against the actual distance."""
    chart, panels = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for colour, ((task, hidden), part) in enumerate(frame.groupby(["task", "hidden"])):
        surest = part.sort_values("error").iloc[0]
        level = float(surest["spread"] / np.sqrt(surest["seeds"]))
        panels[0].axhline(level, color=f"C{colour}", linestyle=":", linewidth=1)
        panels[0].annotate(f"spread of the mean, {task}", (1, level), xycoords=("axes fraction", "data"), fontsize=7,
                           ha="right", va="bottom", color=f"C{colour}")  # fmt: skip
        for kind, points in part.groupby("kind"):
            points = points[(points["error"] > 0) & points["warm"].notna()].sort_values("setting")
            style = STYLES.get(str(kind), {"marker": "o", "linestyle": "-"})
            for panel, column in zip(panels, ("error", "share", "actual")):
                if points[column].isna().all():
                    continue
                label = f"{task}, width {hidden}: {kind}"
                panel.plot(points["warm"], points[column], color=f"C{colour}", label=label, **style)
                for _, point in points.iterrows():
                    panel.annotate(f"{point['setting']:g}", (point["warm"], point[column]), fontsize=7,
                                   xytext=(3, 3), textcoords="offset points")  # fmt: skip
        for seconds in part.loc[part["error"] == 0, "warm"].dropna():
            for panel in panels:
                panel.axvline(seconds, color=f"C{colour}", linestyle="-.", linewidth=1)
                panel.annotate(f"{task}, exact", (seconds, 1), xycoords=("data", "axes fraction"), fontsize=7,
                               rotation=90, ha="right", va="top", color=f"C{colour}")  # fmt: skip
    panels[1].axhline(1, color="gray", linestyle=":", linewidth=1)
    labels = (
        "relative standard error of the mean",
        "standard error / spread over seeds",
        "relative distance from all examples",
    )
    for panel, label in zip(panels, labels):
        panel.set(xscale="log", yscale="log", xlabel="seconds of the whole feature, warm", ylabel=label)
    handles, named = panels[0].get_legend_handles_labels()
    if handles:
        chart.legend(handles, named, fontsize=7, loc="outside lower center", ncols=len(named))
    chart.savefig(path)


def main() -> None:
    """Measure what the CSV lacks, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the CSV; the figure is an SVG of the same name")
    parser.add_argument("--tasks", nargs="+", default=["cox2", "cora"])
    parser.add_argument("--examples", nargs="+", type=int, default=[16, 32, 64, 128, 256, 374], help="of graph tasks")
    parser.add_argument("--draws", nargs="+", type=int, default=[4, 8, 16, 32, 64], help="of node tasks")
    parser.add_argument(
        "--tolerance", type=lambda text: [float(part) for part in text.split(",")], default=[], metavar="T,T,..."
    )
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--anchors", nargs="+", default=["all"], help="numbers from 1, or all")
    parser.add_argument("--rounds", type=int, default=3, help="warm calls")
    arguments = parser.parse_args()
    numbers = range(1, len(ANCHORS) + 1) if arguments.anchors == ["all"] else [int(a) for a in arguments.anchors]
    arguments.designs = [ANCHORS[number - 1] for number in numbers]
    base = dataclasses.replace(
        config.load("fisher", "alpha"),
        hidden=arguments.hidden,
        seeds=arguments.seeds,
        estimator={"graph": "exact", "node": "sign_sketch"},
    )
    frame = pd.read_csv(arguments.file, dtype={"anchors": str}) if arguments.file.exists() else pd.DataFrame()
    for name in arguments.tasks:
        task = config.load_task(name)
        for kind, setting, settings in settings_of(task, base, arguments):
            where = "all" if arguments.anchors == ["all"] else " ".join(arguments.anchors)
            values = (name, kind, float(setting), base.hidden, base.seeds, where, runtime.device())
            key = dict(zip(KEY, values))
            if len(frame) and (frame[KEY] == pd.Series(key)).all(axis=1).any():
                continue
            row = {**key, **measured(task, settings, arguments)}
            told = (f"{column} {value:.3g}" for column, value in row.items() if isinstance(value, float))
            print(f"{name}: {kind}, {', '.join(told)}", flush=True)
            frame = pd.concat([frame, pd.DataFrame([row])], ignore_index=True)
            frame["actual"] = actual(frame)
            write_text(arguments.file, frame.to_csv(index=False))
    figure(frame, arguments.file.with_suffix(".svg"))


if __name__ == "__main__":
    main()
