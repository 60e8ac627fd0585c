"""The Python interface: the stages of a search with the defaults of the command line.

Example:
    >>> task = atjax.load_task("cox2")
    >>> prior = atjax.transfer_prior(task, atjax.load_bank())
    >>> result = atjax.search(task, prior=prior, trials=3, seed=0)
"""

from __future__ import annotations

import dataclasses

from atjax import config, levels
from atjax.bank.store import Bank, load_bank
from atjax.budget import Budget
from atjax.config import load_task
from atjax.errors import check_kind
from atjax.feature import TaskFeature
from atjax.feature import task_feature as compute_feature
from atjax.fisher import FisherConfig
from atjax.prior import PriorConfig
from atjax.report.progress import anchors, on_demand
from atjax.sources.custom import read as read_graphs
from atjax.space import Space
from atjax.task import Task
from atjax.transfer import Transfer, transfer

__all__ = ["load_bank", "load_task", "read_graphs", "task_feature", "transfer_prior"]


def task_feature(
    task: Task, *, fisher: FisherConfig | None = None, seed: int = 0, progress: bool | None = None
) -> TaskFeature:
    """The Fisher feature of a task (paper, section 4.2), kept in the user's cache folder.

    Args:
        task: The task; only training examples of its split are looked at.
        fisher: Settings of the Fisher stage; that of `conf/search.yaml` if None.
        seed: Of the split.
        progress: Show how far it is, with the time left, on standard error; None: in a terminal or a notebook.
    """
    settings = fisher or config.default("fisher")
    with on_demand(progress) as bar:
        shown = anchors(bar, f"{task.name}: Fisher of anchors")
        return compute_feature(task, config=settings, seed=seed, cache=config.cache_dir() / "features", progress=shown)


def transfer_prior(
    task: Task,
    bank: Bank,
    *,
    space: Space | None = None,
    budget: Budget | None = None,
    fisher: FisherConfig | None = None,
    prior: PriorConfig | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Transfer:
    """The design prior of a task, transferred from a bank (paper, Algorithm 1); its own records there are never used.

    Args:
        task: The novel task.
        bank: The bank.
        space: The space to search; that of `conf/search.yaml` if None.
        budget: The budget whose records count; that of `conf/search.yaml` if None.
        fisher: Settings of the Fisher stage; those of `conf/search.yaml` with what the prior compares if None.
        prior: Settings of the prior; those of `conf/search.yaml` for the task's level if None.
        seed: Of the split, and of the projection.
        progress: Show how far it is, with the time left, on standard error; None: in a terminal or a notebook.
    """
    check_kind("task", task, Task)
    check_kind("bank", bank, Bank)
    for name, value, kind in (("budget", budget, Budget), ("prior", prior, PriorConfig), ("space", space, Space)):
        check_kind(name, value, kind, optional=True)
    prior = prior or levels.default_prior(task.level)
    with on_demand(progress) as bar:
        return transfer(
            task,
            bank,
            space or config.default("space"),
            budget=(budget or config.default("budget")).name,
            fisher=fisher or dataclasses.replace(config.default("fisher"), statistic=prior.statistic),
            seed=seed,
            prior=prior,
            cache=config.cache_dir() / "features",
            progress=anchors(bar, f"{task.name}: Fisher of anchors"),
        )
