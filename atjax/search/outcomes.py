"""The trials of a result as outcomes of trainings again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from atjax.budget import Budget
from atjax.report.result import Result
from atjax.space import Design
from atjax.task import Task
from atjax.train import Curve, Fit


def outcomes(result: Result, task: Task, budget: Budget) -> Iterator[Fit]:
    """What the trials of a result came to, without the trained models; task and budget are those it was made with."""
    for trial in result["trials"]:
        design = Design(**trial["design"])
        curve = trial["curve"] or {"epoch": [], "train_loss": [], "validation": [], "test": []}
        yield Fit(
            design=design,
            seed=result["seed"],
            budget=budget.name,
            schedule=budget.schedule(design, task.level),
            state=trial["state"],
            reason=trial.get("reason") or "",
            validation=_number(trial["validation"]),
            validation_loss=_number(trial.get("validation_loss")),
            test=_number(trial["test"]),
            best_epoch=trial["epoch"] or 0,
            parameters=trial["parameters"] or 0,
            seconds=trial["seconds"] or 0.0,
            compile_seconds=trial.get("compile_seconds") or 0.0,
            curve=Curve(
                curve["epoch"], _numbers(curve["train_loss"]), _numbers(curve["validation"]), _numbers(curve["test"])
            ),
            variables=None,
        )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [_number(value) for value in values]
