"""The trials of a result as records of a bank."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from atjax.bank.build import now
from atjax.bank.records import Record
from atjax.budget import Budget
from atjax.report.result import Result
from atjax.space import Design
from atjax.task import Task


def records(result: Result, task: Task, budget: Budget) -> Iterator[Record]:
    """The bank's records of the trials of a result, but for stopped ones; task and budget are those it was made with.

    Their date is now, and versions and device are the result's.
    """
    for trial in result["trials"]:
        if trial["state"] == "stopped":
            continue
        design = Design(**trial["design"])
        schedule = budget.schedule(design, task.level)
        curve = trial["curve"] or {"epoch": [], "train_loss": [], "validation": [], "test": []}
        compiling = trial.get("compile_seconds") or 0.0
        yield Record(
            task=task.name,
            level=task.level,
            content_hash=task.bank_hash,
            metric=task.metric,
            design=design,
            seed=result["seed"],
            budget=budget.name,
            hidden_trained=schedule.hidden,
            epochs_trained=schedule.epochs,
            state=trial["state"],
            reason=trial.get("reason") or "",
            validation=_number(trial["validation"]),
            validation_loss=_number(trial.get("validation_loss")),
            test=_number(trial["test"]),
            best_epoch=trial["epoch"] or 0,
            parameters=trial["parameters"] or 0,
            seconds=(trial["seconds"] or 0.0) - compiling,
            compile_seconds=compiling,
            epochs=curve["epoch"],
            validation_curve=_numbers(curve["validation"]),
            test_curve=_numbers(curve["test"]),
            train_loss_curve=_numbers(curve["train_loss"]),
            versions=json.dumps(result["versions"]),
            device=result["device"],
            date=now(),
        )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [_number(value) for value in values]
