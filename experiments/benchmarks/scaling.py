"""The engine's warm time against the number of examples and of parameters; `fisher.py --scaling` runs it."""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from rich.console import Console

from atjax.atomic import write_text
from atjax.fisher.config import FisherConfig
from atjax.fisher.estimators import Fitted, moments
from atjax.fisher.examples import draw_examples
from atjax.fisher.preparation import fitted
from atjax.model.gnn import build
from atjax.space import ANCHORS
from atjax.task import Task

matplotlib.use("Agg")
import matplotlib.pyplot as plt

AXES = {"examples": "examples", "parameters": "parameters of the message-passing layers"}


def scaling(task: Task, anchor: int, settings: FisherConfig, arguments: argparse.Namespace, console: Console) -> None:
    """Measure, print slopes, write ``scaling.csv`` and ``scaling.svg`` into the folder ``arguments.scaling``."""
    directions = task.num_outputs - (task.loss == "cross_entropy")

    def with_examples(count: int) -> FisherConfig:
        passes = count * directions
        return dataclasses.replace(settings, max_passes={"graph": passes, "node": passes})

    population = len(task.split(0).train)
    counts = sorted({min(count, population) for count in arguments.counts})
    cases = [("examples", with_examples(count)) for count in counts]
    cases += [("parameters", dataclasses.replace(settings, hidden=width)) for width in sorted(arguments.widths)]
    series = {"examples": cases[: len(counts)], "parameters": cases[len(counts) :]}
    rows = []
    for axis, each in series.items():
        models = [(_models(task, anchor, config), config) for _, config in each]
        for fitted_models, config in models:
            moments(fitted_models, config)
        seconds: list[list[float]] = [[] for _ in models]
        for _ in range(arguments.rounds):
            for place, (fitted_models, config) in enumerate(models):
                start = time.perf_counter()
                moments(fitted_models, config)
                seconds[place].append(time.perf_counter() - start)
        for (fitted_models, config), times in zip(models, seconds):
            rows.append(
                {
                    "task": task.name,
                    "anchor": anchor,
                    "axis": axis,
                    "hidden": config.hidden,
                    "parameters": sum(layer.size for layer in fitted_models.layers),
                    "examples": fitted_models.examples.sampled,
                    "seeds": config.seeds,
                    "seconds": statistics.median(times),
                    "least": min(times),
                    "most": max(times),
                }
            )
    frame = pd.DataFrame(rows)
    folder: Path = arguments.scaling
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "scaling.csv", frame.to_csv(index=False))
    console.print(frame.to_string(index=False))
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for panel, (axis, label) in zip(panels, AXES.items()):
        part = frame[frame["axis"] == axis]
        x, y = part[axis].to_numpy(float), part["seconds"].to_numpy(float)
        panel.errorbar(x, y, np.abs(part[["least", "most"]].to_numpy().T - y), marker="o", capsize=2, label="measured")
        if len(x) > 1:
            slope, offset = np.polyfit(np.log(x), np.log(y), 1)
            console.print(f"time ~ {axis}^{slope:.2f}, from {x[0]:.0f} to {x[-1]:.0f}")
            panel.plot(x, np.exp(offset) * x**slope, ":", label=f"slope {slope:.2f}")
            panel.plot(x, y[-1] * x / x[-1], "--", color="gray", label="linear")
        panel.set(xscale="log", yscale="log", xlabel=label, ylabel="seconds, warm")
        panel.set_xticks(x, [f"{value:,.0f}" for value in x])
        panel.set_xticks([], minor=True)
        panel.legend()
    figure.suptitle(f"{task.name}, anchor {anchor}, {settings.seeds} models")
    figure.savefig(folder / "scaling.svg")


def _models(task: Task, anchor: int, config: FisherConfig) -> Fitted:
    gnn = build(ANCHORS[anchor - 1], hidden=config.hidden, level=task.level, num_outputs=task.num_outputs)
    examples = draw_examples(task, config, 0)
    return Fitted(gnn, task, fitted(gnn, task, examples, config), examples)
