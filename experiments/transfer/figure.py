"""Best so far by trial, in the form of the paper's Figure 3."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from measures import RANDOM, TPE, Searches, curves
from recorded import Recorded

SHOWN = (RANDOM, TPE, "product random", "rank, fisher, trials", "rank, calibrated, smooth, trials")
"""The methods of the figure."""


def draw(bank: Recorded, found: Searches, file: Path) -> None:
    """Best so far by trial, mean and a band of one standard deviation over seeds, one panel a task.

    The dotted line is where `RANDOM` comes in the end. Panels begin at the lowest mean.
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
                if method == RANDOM:
                    panel.axhline(mean[-1], color=line.get_color(), linestyle=":", linewidth=1)
            panel.set_title(name)
            panel.set_ylim(min(ends), max(ends) + 0.05 * (max(ends) - min(ends)))
        grid.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(SHOWN))
        grid.supxlabel("trials")
        grid.supylabel("test score of the trial that validation picks")
        grid.savefig(file, metadata={"Date": None})
        plt.close(grid)
