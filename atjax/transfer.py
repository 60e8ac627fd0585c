"""From a task to its design prior: feature, embedding, close tasks (paper, Algorithm 1)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atjax.bank.store import Bank
from atjax.embedding import ProjectionConfig
from atjax.feature import TaskFeature, task_feature
from atjax.fisher import FisherConfig
from atjax.prior import Embedding, Prior, PriorConfig, comparable, fall_back, prior_from_bank, too_few_tasks
from atjax.space import Space
from atjax.task import Task


@dataclass(frozen=True)
class Transfer:
    """What is carried over to a task, and how it came about.

    Attributes:
        prior: The distribution over designs.
        feature: The task's Fisher feature; None where nothing could be compared and it was not asked for.
        embedding: Where the task lies among the bank's; None where the bank does not allow a comparison.
        seconds: Wall time by stage, ``feature`` and ``prior``.
        settings: What it depends on beside the task, space, budget and seed, in the words of the command line:
            ``bank``, ``fisher`` (the key of its settings), ``prior.threshold``, ``projection.inputs`` and so on.
    """

    prior: Prior
    feature: TaskFeature | None
    embedding: Embedding | None
    seconds: dict[str, float]
    settings: dict[str, Any]

    def __repr__(self) -> str:
        times = ", ".join(f"{stage} in {seconds:.1f} s" for stage, seconds in self.seconds.items())
        return f"{self.prior!r}\n  From the bank {self.settings['bank']!r}; {times}."


def transfer(
    task: Task,
    bank: Bank,
    space: Space,
    *,
    budget: str,
    fisher: FisherConfig,
    seed: int = 0,
    prior: PriorConfig | None = None,
    projection: ProjectionConfig | None = None,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    always: bool = True,
) -> Transfer:
    """Derive the design prior of a task from a bank; the task's own records in the bank are never used.

    Args:
        task: The novel task; only training examples of its split are looked at.
        bank: The bank.
        space: The space to search.
        budget: Budget whose records count.
        fisher: Settings of the Fisher stage.
        seed: Of the split, and of the projection.
        prior: Settings of the prior.
        projection: Settings of the projection.
        cache: Folder of computed features; None for no cache.
        progress: Called with anchors done and anchors in all.
        always: Compute the feature also where the bank has too few tasks to compare it with, so that the prior is
            uniform in any case.
    """
    prior, projection = prior or PriorConfig(), projection or ProjectionConfig()
    of_task = {"exclude_hash": task.content_hash, "exclude_name": task.name, "fisher": fisher.key, "budget": budget}
    start = time.perf_counter()
    alone = prior.alone(task.level)
    obstacle = None if always else too_few_tasks(comparable(bank, **of_task, level=alone), alone)
    if obstacle is None:
        feature = task_feature(task, config=fisher, seed=seed, cache=cache, progress=progress)
        middle = time.perf_counter()
        derived, embedding = prior_from_bank(
            feature.mean, task.level, bank, space, **of_task, config=prior, projection=projection, seed=seed
        )
    else:
        feature, embedding, derived, middle = None, None, fall_back(space, obstacle, prior), start
    seconds = {"feature": middle - start, "prior": time.perf_counter() - middle}
    settings: dict[str, Any] = {"bank": bank.name, "fisher": fisher.key}
    for group, chosen in (("prior", prior), ("projection", projection)):
        settings |= {f"{group}.{name}": value for name, value in dataclasses.asdict(chosen).items()}
    del settings["prior.statistic"]  # what it was made for; what was taken is in the key
    return Transfer(derived, feature, embedding, seconds, settings)
