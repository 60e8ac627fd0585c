"""``python -m atjax.embed task=NAME``: the task's feature, its embedding, and the nearest tasks of the bank."""

from __future__ import annotations

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from atjax import cli, config
from atjax.errors import whole
from atjax.feature import TaskFeature
from atjax.report.entries import by_anchor
from atjax.report.tables import COMPACT
from atjax.space import ANCHORS


def main(cfg: DictConfig) -> None:
    """The job behind the command line; see ``conf/embed.yaml``."""
    console = Console()
    seed = whole("seed", cfg.seed, 0)
    budget, space, prepared = config.build(cfg.budget), config.build(cfg.space), cli.prepare_transfer(cfg)
    task = config.build_task(cfg)
    found = cli.transfer_with_progress(prepared[task.level], task, space, budget, seed, console, always=True)
    feature = found.feature
    assert feature is not None

    console.print(Text(f"{task.name}: Fisher of anchors ({feature.fisher})", style="bold"))
    console.print(_by_anchor(feature))
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


def _by_anchor(feature: TaskFeature) -> Table:
    """Every statistic by anchor, mean and deviation over initialisations."""
    told, untold = by_anchor({name: values.tolist() for name, values in feature.by_statistic.items()}, len(ANCHORS))
    columns: list[tuple[str, list[str]]] = []
    for entry in told:
        values = np.array(entry.values)
        columns.append((entry.name, [f"{mean:.2f}" for mean in values.mean(axis=1)]))
        if values.shape[1] > 1:
            columns.append(("sd", [f"{deviation:.2f}" for deviation in values.std(axis=1, ddof=1)]))
    columns += [(f"{name} ({count} entries)", [""] * len(ANCHORS)) for name, count in untold.items()]
    table = _table("anchor", *(title for title, _ in columns))
    names = [
        f"{number:>2} {a.aggregation} {a.connectivity} {a.pre_layers}.{a.mp_layers}.{a.post_layers}"
        for number, a in enumerate(ANCHORS, start=1)
    ]
    for row in zip(names, *(cells for _, cells in columns)):
        table.add_row(*row)
    return table


def _table(*names: str, title: Text | None = None) -> Table:
    """A table of a column of words, and columns of numbers."""
    table = Table(title=title, title_justify="left", header_style="bold", **COMPACT)
    for name in names:
        table.add_column(
            name, justify="left" if name == names[0] else "right", no_wrap=name != names[0], overflow="fold"
        )
    return table


if __name__ == "__main__":
    cli.run(main, "embed")
