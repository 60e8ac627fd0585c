"""Link prediction on the graph of any task by its name."""

from __future__ import annotations

import os

from atjax import config
from atjax.errors import UserError
from atjax.links import link_prediction
from atjax.task import Metric, Task


def load(
    name: str,
    *,
    dataset: str,
    root: str | os.PathLike[str] | None = None,
    split_seed: int = 0,
    negatives: int = 1,
    message: float = 0.8,
    metric: Metric = "roc_auc",
) -> Task:
    """Pairs of nodes of another task's graphs, linked or not; its labels play no part.

    Args:
        name: Name of the task.
        dataset: Name of the other task.
        root: Folder of the data files.
        split_seed: The seed of `atjax.links.link_prediction`, as are the other options.
        negatives: See there.
        message: See there.
        metric: See there.

    Raises:
        UserError: There is no such task, its data are absent or broken, or a value is bad.
    """
    if dataset == "synthetic":
        raise UserError(f"{name}: the features of {dataset} are computed from its links; choose another dataset.")
    task = config.load_task(dataset, data_root=root)
    if task.level == "edge":
        raise UserError(f"{name}: {dataset} is a task of pairs itself; give the task that it was made from.")
    options = {"seed": split_seed, "negatives": negatives, "message": message, "metric": metric}
    return link_prediction(name, task.graphs, notes=task.notes, **options)  # type: ignore[arg-type]
