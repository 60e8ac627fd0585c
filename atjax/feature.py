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
from atjax.fisher.own import source
from atjax.task import Task, hash_arrays


@dataclass(frozen=True, eq=False)
class TaskFeature:
    """What the Fisher information says of a task.

    Attributes:
        values: What `FisherConfig.statistic` names, of every initialisation, float64 [E, R]: one statistic after the
            other, each anchor by anchor, each with all its entries. Of alpha alone, [A, R].
        fisher: Key of the settings.
        seconds: Wall time of its computation; that of the first one, where it was read from the cache.
        entries: How many of the E each statistic has, by name and in order.
        cached: Whether all of it was read from the cache.
    """

    values: np.ndarray
    fisher: str
    seconds: float
    entries: Mapping[str, int]
    cached: bool = False

    @property
    def by_statistic(self) -> dict[str, np.ndarray]:
        """The values of each statistic by its name, [E, R] each; the E of all make up those of the feature."""
        ends = np.cumsum(list(self.entries.values()))
        return dict(zip(self.entries, np.split(self.values, ends[:-1])))

    @property
    def mean(self) -> np.ndarray:
        """Mean over initialisations, [E]."""
        return self.values.mean(axis=1)

    @property
    def vector(self) -> np.ndarray:
        """z_f: the means scaled to norm 1, [E]."""
        return self.mean / np.linalg.norm(self.mean)


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
        UserError: The Fisher information vanishes for some anchor, so the task has no feature; or the device gives up.
    """
    parts = {part.key: part.statistic for part in _parts(config)}
    paths = {part.key: None if cache is None else cache / _file(task, part, seed) for part in _parts(config)}
    held = {key: stored for key, path in paths.items() if path is not None and (stored := _read(path, key)) is not None}
    missing = [key for key in parts if key not in held]
    if missing:
        start = time.perf_counter()
        names = [name for key in missing for name in parts[key]]
        try:
            found = task_statistics(task, config, names, seed=seed, progress=progress)
        except runtime.DEVICE_FAILURES as error:
            raise UserError(
                f"{task.name}: the device gave up in the Fisher stage ({runtime.gave_up(error)}); bound its memory by "
                "fisher.chunk=1024, which changes no result, or search with search.prior=uniform."
            ) from error
        _check(task, found)
        share = (time.perf_counter() - start) / len(missing)
        for key in missing:
            rows = {name: by_entry(found[name]) for name in parts[key]}
            number = {name: len(values) for name, values in rows.items()}
            held[key] = TaskFeature(np.concatenate(list(rows.values())), key, share, number)
            if (path := paths[key]) is not None:
                content = {"values": held[key].values.tolist(), "entries": number, "seconds": share}
                write_text(path, json.dumps(content))
    values = np.concatenate([held[key].values for key in parts])
    number = {name: count for key in parts for name, count in held[key].entries.items()}
    return TaskFeature(values, config.key, sum(held[key].seconds for key in parts), number, cached=not missing)


def _parts(config: FisherConfig) -> list[FisherConfig]:
    """The settings of what is kept by itself: each statistic, so that one can be added to what others are made of.

    With a tolerance all are one, for each then has a say in how many examples and draws are enough.
    """
    if config.tolerance > 0:
        return [config]
    return [dataclasses.replace(config, statistic=(name,)) for name in config.statistic]


def _file(task: Task, config: FisherConfig, seed: int) -> str:
    """The name of a cached part, from all that its numbers depend on."""
    header = f"{task.content_hash} {seed} {config.key} {runtime.versions()}"
    # What a user's own functions compute changes under the same name.
    header += "".join(map(source, (*config.statistic, config.estimator[task.level])))
    # The training examples are named too: the content hash says nothing of a split that comes with the data.
    return f"{hash_arrays(header, [task.split(seed).train])[:24]}.json"


def _check(task: Task, values: Mapping[str, Values]) -> None:
    """Raise UserError where a statistic is not finite."""
    for name, statistic in values.items():
        finite = [bool(np.all(np.isfinite(anchor))) for anchor in statistic.value]
        if not all(finite):
            raise UserError(
                f"{task.name}: {name} of anchor {finite.index(False) + 1} is not finite, as where the Fisher "
                "information is 0, so the task has no feature; check its features and labels, take another statistic, "
                "or search with search.prior=uniform."
            )


def by_entry(statistic: Values) -> np.ndarray:
    """A statistic of A anchors and R initialisations as one array [E, R]; see `TaskFeature.values`."""
    return np.concatenate([np.atleast_2d(anchor.T) for anchor in statistic.value])


def _read(path: Path, fisher: str) -> TaskFeature | None:
    """A cached part of a feature; None if there is none, or if it is broken and must be made anew.

    Broken: not UTF-8, not JSON, or not what is kept here.
    """
    try:
        stored = json.loads(path.read_text())
        values, seconds = np.array(stored["values"], float), float(stored["seconds"])
        number = {str(name): int(count) for name, count in stored["entries"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    whole = values.ndim == 2 and len(values) == sum(number.values()) > 0 and np.all(np.isfinite(values))
    return TaskFeature(values, fisher, seconds, number, cached=True) if whole else None
