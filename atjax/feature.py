"""The task feature: alpha of every anchor, averaged over initialisations (paper, section 4.2), or other statistics."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atjax import runtime
from atjax.atomic import write_text
from atjax.errors import UserError
from atjax.fisher import FisherConfig, Values, task_statistics
from atjax.task import Task, hash_arrays


@dataclass(frozen=True, eq=False)
class TaskFeature:
    """What the Fisher information says of a task.

    Attributes:
        alphas: alpha of every anchor and initialisation, float64 [A, R]. Or [E, R] of what `FisherConfig.statistic`
            names, one statistic after the other, each anchor by anchor, each with all its entries.
        fisher: Key of the settings.
        seconds: Wall time of its computation; that of the first one, if it was read from the cache.
        cached: Whether it was read from the cache.
    """

    alphas: np.ndarray
    fisher: str
    seconds: float
    cached: bool = False

    @property
    def alpha(self) -> np.ndarray:
        """Mean over initialisations, [A]."""
        return self.alphas.mean(axis=1)

    @property
    def vector(self) -> np.ndarray:
        """z_f: the means scaled to norm 1, [A]."""
        return self.alpha / np.linalg.norm(self.alpha)


def task_feature(
    task: Task,
    *,
    config: FisherConfig,
    seed: int = 0,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TaskFeature:
    """Compute the feature of a task, or read it from a cache.

    Args:
        task: The task; only the training part of its split is looked at.
        config: Settings of the Fisher stage.
        seed: Of the split.
        cache: Folder of features by content, split, seed, settings and versions; None to compute anew.
        progress: Called with anchors done and anchors in all.

    Raises:
        UserError: The Fisher information vanishes for some anchor, so the task has no feature.
    """
    # The training examples are named too: the content hash says nothing of a split that comes with the data.
    header = f"{task.content_hash} {seed} {config.key} {runtime.versions()}"
    name = hash_arrays(header, [task.split(seed).train])[:24]
    path = None if cache is None else cache / f"{name}.json"
    if path is not None and (stored := _read(path, config.key)) is not None:
        return stored
    start = time.perf_counter()
    values = task_statistics(task, config, config.statistic, seed=seed, progress=progress)
    alphas = entries(values)
    if not np.all(np.isfinite(alphas)):
        first = int(np.flatnonzero(~np.isfinite(alphas).all(axis=1))[0]) + 1
        one_each = len(alphas) == len(next(iter(values.values())).value)
        what = "anchor" if one_each else "the anchor behind entry"
        raise UserError(
            f"{task.name}: the Fisher information of {what} {first} is 0 or not finite, so the task has no feature; "
            "check its features and labels, or search with search.prior=uniform."
        )
    feature = TaskFeature(alphas, config.key, time.perf_counter() - start)
    if path is not None:
        write_text(path, json.dumps({"alphas": alphas.tolist(), "seconds": feature.seconds}))
    return feature


def entries(statistics: Mapping[str, Values]) -> np.ndarray:
    """Statistics of A anchors and R initialisations as one array [E, R]; see `TaskFeature.alphas`."""
    rows: list[np.ndarray] = []
    for values in statistics.values():
        for anchor in values.value:
            rows.extend(np.atleast_2d(anchor.T))
    return np.stack(rows)


def _read(path: Path, fisher: str) -> TaskFeature | None:
    """A cached feature; None if there is none, or if it is broken and must be made anew."""
    try:
        stored = json.loads(path.read_text())
        alphas, seconds = np.array(stored["alphas"], float), float(stored["seconds"])
    except (OSError, ValueError, KeyError, TypeError):  # no such file, not UTF-8, not JSON, or not what is kept here
        return None
    whole = alphas.ndim == 2 and alphas.size and np.all(np.isfinite(alphas))
    return TaskFeature(alphas, fisher, seconds, cached=True) if whole else None
