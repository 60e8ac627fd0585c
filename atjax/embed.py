"""``python -m atjax.embed task=NAME``: the task's feature, its embedding, and the nearest tasks of the bank."""

from __future__ import annotations

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from atjax import cli, config
from atjax.report.tables import COMPACT
from atjax.space import ANCHORS

MOST_ROWS = 24
"""A longer feature is shown by as many entries as there are anchors."""


def main(cfg: DictConfig) -> None:
    """The job behind the command line; see ``conf/embed.yaml``."""
    console = Console()
    seed = cli.whole(cfg.seed, "seed", 0)
    budget, space, prepared = config.build(cfg.budget), config.build(cfg.space), cli.prepare_transfer(cfg)
    task = config.build_task(cfg)
    found = cli.transfer_with_progress(prepared[task.level], task, space, budget, seed, console, always=True)
    feature = found.feature
    assert feature is not None

    title = Text(f"{task.name}: Fisher of anchors ({feature.fisher})", style="bold")
    anchors = _table("anchor", "mean", "sd", "feature", title=title)
    spread = feature.values.std(axis=1, ddof=1) if feature.values.shape[1] > 1 else np.full(len(feature.values), np.nan)
    names = [anchor.key.rsplit("-lr", 1)[0] for anchor in ANCHORS]
    if len(feature.values) != len(names):  # other statistics than one number an anchor
        names = [str(number + 1) for number in range(len(feature.values))]
    shown = len(names) if len(names) <= MOST_ROWS else len(ANCHORS)
    for name, mean, sd, entry in zip(names[:shown], feature.mean, spread, feature.vector):
        anchors.add_row(name, f"{mean:.2f}", f"{sd:.2f}", f"{entry:.3f}")
    console.print(anchors)
    if shown < len(names):
        console.print(f"and {len(names) - shown} more entries")
    if found.embedding is not None:
        console.print("Embedding:", *(f"{number:.3f}" for number in found.embedding.novel))
        console.print()
        near = _table("task", "distance", "weight", title=Text("Nearest tasks of the bank", style="bold"))
        for name, distance, weight in found.prior.nearest:
            near.add_row(escape(name), f"{distance:.3f}", f"{weight:.3f}")
        console.print(near)
    console.print(found.prior.reason, markup=False)
    source = "read from the cache" if feature.cached else f"computed in {feature.seconds:.1f} s"
    console.print(f"Feature {source}; projection and prior in {found.seconds['prior']:.1f} s.")


def _table(*names: str, title: Text) -> Table:
    """A table of a column of words, and columns of numbers."""
    table = Table(title=title, title_justify="left", header_style="bold", **COMPACT)
    for name in names:
        table.add_column(
            name, justify="left" if name == names[0] else "right", no_wrap=name != names[0], overflow="fold"
        )
    return table


if __name__ == "__main__":
    cli.run(main, "embed")
