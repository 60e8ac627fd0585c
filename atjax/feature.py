"""The task feature: alpha of every anchor, averaged over initialisations (paper, section 4.2), or other statistics."""

from __future__ import annotations

import dataclasses
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
        seconds: Wall time of its computation; that of the first one, where it was read from the cache.
        cached: Whether all of it was read from the cache.
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
    """Compute the feature of a task, or read it from a cache, or what there is of it.

    Args:
        task: The task; only the training part of its split is looked at.
        config: Settings of the Fisher stage.
        seed: Of the split.
        cache: Folder of features by content, split, seed, settings and versions; None to compute anew.
        progress: Called with anchors done and anchors in all.

    Raises:
        UserError: The Fisher information vanishes for some anchor, so the task has no feature.
    """
    parts = {part.key: part.statistic for part in _parts(config)}
    paths = {key: None if cache is None else cache / _file(task, key, seed) for key in parts}
    held = {key: stored for key, path in paths.items() if path is not None and (stored := _read(path, key)) is not None}
    missing = [key for key in parts if key not in held]
    if missing:
        start = time.perf_counter()
        names = [name for key in missing for name in parts[key]]
        values = task_statistics(task, config, names, seed=seed, progress=progress)
        _check(task, values)
        share = (time.perf_counter() - start) / len(missing)
        for key in missing:
            held[key] = TaskFeature(entries({name: values[name] for name in parts[key]}), key, share)
            if (path := paths[key]) is not None:
                write_text(path, json.dumps({"alphas": held[key].alphas.tolist(), "seconds": share}))
    alphas = np.concatenate([held[key].alphas for key in parts])
    return TaskFeature(alphas, config.key, sum(held[key].seconds for key in parts), cached=not missing)


def _parts(config: FisherConfig) -> list[FisherConfig]:
    """The settings of what is kept by itself: each statistic, so that one can be added to what others are made of.

    With a tolerance all are one, for each then has a say in how many examples and draws are enough.
    """
    if config.tolerance > 0:
        return [config]
    return [dataclasses.replace(config, statistic=(name,)) for name in config.statistic]


def _file(task: Task, fisher: str, seed: int) -> str:
    """The name of a cached part, from all that its numbers depend on; ``fisher`` is the key of its settings."""
    header = f"{task.content_hash} {seed} {fisher} {runtime.versions()}"
    # The training examples are named too: the content hash says nothing of a split that comes with the data.
    return f"{hash_arrays(header, [task.split(seed).train])[:24]}.json"


def _check(task: Task, values: Mapping[str, Values]) -> None:
    """Raise UserError where a statistic is not finite."""
    for statistic in values.values():
        finite = [bool(np.all(np.isfinite(anchor))) for anchor in statistic.value]
        if not all(finite):
            raise UserError(
                f"{task.name}: the Fisher information of anchor {finite.index(False) + 1} is 0 or not finite, so the "
                "task has no feature; check its features and labels, or search with search.prior=uniform."
            )


def entries(statistics: Mapping[str, Values]) -> np.ndarray:
    """Statistics of A anchors and R initialisations as one array [E, R]; see `TaskFeature.alphas`."""
    rows: list[np.ndarray] = []
    for values in statistics.values():
        for anchor in values.value:
            rows.extend(np.atleast_2d(anchor.T))
    return np.stack(rows)


def _read(path: Path, fisher: str) -> TaskFeature | None:
    """A cached part of a feature; None if there is none, or if it is broken and must be made anew."""
    try:
        stored = json.loads(path.read_text())
        alphas, seconds = np.array(stored["alphas"], float), float(stored["seconds"])
    except (OSError, ValueError, KeyError, TypeError):  # no such file, not UTF-8, not JSON, or not what is kept here
        return None
    whole = alphas.ndim == 2 and alphas.size and np.all(np.isfinite(alphas))
    return TaskFeature(alphas, fisher, seconds, cached=True) if whole else None
