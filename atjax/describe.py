"""``python -m atjax.describe task=NAME``: what atjax understood of a task, and a picture of a few of its graphs."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from atjax import cli, config
from atjax.atomic import write_text
from atjax.errors import whole
from atjax.overview import Overview, overview
from atjax.report import pictures
from atjax.report.figures import svg
from atjax.report.tables import COMPACT, shortest
from atjax.task import Split, Task

PICTURE = "graphs.svg"
"""Name of the picture in the run directory."""

SHOWN = 30
"""Classes that are listed."""


def main(cfg: DictConfig) -> None:
    """The job behind the command line; see ``conf/describe.yaml``."""
    console = Console()
    seed = whole("seed", cfg.seed, 0)
    picture = cli.flag(cfg.picture, "picture")
    task = config.build_task(cfg)
    split = task.split(seed)
    seen = overview(task)
    title = f"{task.name}: {task.level} task, loss {task.loss}, metric {task.metric}"
    table = Table(title=Text(title, style="bold"), title_justify="left", show_header=False, **COMPACT)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts(task, seen, split, seed):
        table.add_row(name, escape(value))
    console.print(table)
    if seen.classes is not None:
        console.print(_classes(task, seen, split))
    cli.print_remarks(console, task, split)
    if picture:
        path = Path(HydraConfig.get().runtime.output_dir) / PICTURE
        write_text(path, svg(pictures.figure, task, seed))
        console.print(f"Picture: {shortest(path)}", markup=False, highlight=False, soft_wrap=True)


def facts(task: Task, seen: Overview, split: Split, seed: int) -> list[tuple[str, str]]:
    """Names and values of what can be said in a line."""
    sizes = ", ".join(f"{len(ids):,} {part}" for part, ids in vars(split).items())
    kind = "directed" if seen.directed else "undirected"
    rows = [
        ("graphs", f"{seen.graphs:,}"),
        ("nodes", f"{seen.nodes:,}"),
        ("edges", f"{seen.edges:,}, {kind}"),
        ("nodes a graph", _spread(seen.nodes_a_graph)) if seen.graphs > 1 else None,
        ("degree", _spread(seen.degree)),
        ("isolated nodes", f"{seen.isolated:,}"),
        ("connected components", f"{seen.components:,}"),
        ("density", f"{seen.density:.4g}"),
        None if seen.homophily is None else ("homophily", f"{seen.homophily:.3f}"),
        ("features", f"{seen.features:,}, {seen.nonzero:.1%} of the entries not 0"),
        ("edge features", f"{seen.edge_features:,}") if seen.edge_features else None,
        None if seen.weights is None else ("edge weights", _spread(seen.weights)),
        None if seen.outputs is None else ("labels", f"{task.num_outputs} a {task.level}, {_spread(seen.outputs)}"),
        ("unlabelled", f"{seen.unlabelled:,} {task.level}s") if seen.unlabelled else None,
        ("split", f"{sizes} ({'its own' if task.fixed_split is not None else f'seed {seed}'})"),
        ("content", task.content_hash[:16]),
    ]
    return [row for row in rows if row is not None]


def _classes(task: Task, seen: Overview, split: Split) -> Table:
    assert seen.classes is not None
    table = Table(header_style="bold", **COMPACT)
    for column in ("class", "label", "examples", "share", "training"):
        table.add_column(column, justify="left" if column in ("class", "label") else "right", overflow="fold")
    total = max(int(seen.classes.sum()), 1)
    for number, (name, count) in enumerate(zip(seen.names[:SHOWN], seen.classes.tolist())):
        trained = int((task.labels[split.train] == number).sum())
        table.add_row(str(number), escape(repr(name)), f"{count:,}", f"{count / total:.1%}", f"{trained:,}")
    if len(seen.names) > SHOWN:
        table.add_row("...", f"{len(seen.names) - SHOWN} more", "", "", "")
    return table


def _spread(values: tuple[float, float, float]) -> str:
    low, mean, high = values
    return f"{low:.4g} to {high:.4g}, mean {mean:.4g}"


if __name__ == "__main__":
    cli.run(main, "describe")
