"""Budgets: what a training may cost, and which cost nothing or cannot be built."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from atjax import search
from atjax.budget import Budget, Schedule
from atjax.errors import UserError
from atjax.space import Design, Dimension, paper_space


def test_widths_that_do_not_divide_into_heads_are_refused(tmp_path: Path) -> None:
    """Of a space with attention; a width that is not built plays no part."""
    sizes: tuple[Any, ...] = ({"graph": 1}, {"graph": 1})
    for hidden, known in (({}, True), ({"64": 12, "256": 4, "7": 7}, True), ({"64": 10}, False), ({"256": 1}, False)):
        budget = Budget("own", hidden, *sizes)
        if known:
            budget.check(paper_space())
            continue
        with pytest.raises(UserError, match="does not divide into 1, 2, 4 heads of attention; give a multiple of 4"):
            budget.check(paper_space())
        with pytest.raises(UserError, match=r"builds the width (64 as 10|256 as 1),"):
            search(tiny.path_task(), budget=budget, folder=tmp_path / "run")
        assert not (tmp_path / "run").exists()
        without = [Dimension("convolution", ("gcn", "gin")), *paper_space().dimensions[1:]]
        budget.check(dataclasses.replace(paper_space(), dimensions=tuple(without)))


@pytest.mark.parametrize(
    ("nominal", "scale", "every", "epochs"),
    [
        (200, 1, 20, 200),
        (1600, 0.1, 20, 160),
        (200, 0.1, 20, 20),
        (200, 0.01, 20, 20),
        (800, 0.04, 10, 30),
        (200, 0.19, 20, 40),
    ],
)
def test_schedule_is_the_nearest_whole_number_of_records(nominal: int, scale: float, every: int, epochs: int) -> None:
    budget = Budget("any", {"256": 32}, {"node": scale, "graph": 7}, {"node": every, "graph": 1})
    design = Design("gcn", None, None, "relu", 256, "stack", 1, 2, 2, 0.01, nominal)
    assert budget.schedule(design, "node") == Schedule(32, epochs, every)
    assert budget.schedule(dataclasses.replace(design, hidden=64), "graph") == Schedule(64, 7 * nominal, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs_scale": {"node": 0.0, "graph": 1.0}}, "budget.epochs_scale must be positive"),
        ({"eval_every": {"node": 1, "graph": -5}}, "budget.eval_every must hold whole numbers of at least 1"),
        ({"eval_every": {"node": 1, "graph": 0.5}}, "budget.eval_every must hold whole numbers of at least 1"),
        ({"hidden": {"64": "x"}}, "budget.hidden must hold whole numbers of at least 1"),
        *(
            ({"epochs_scale": {"node": bad}}, "budget.epochs_scale must be positive")
            for bad in (np.nan, np.inf, True, "abc")
        ),
        (
            {"epochs_scale": 0.05},
            r"budget.epochs_scale must be a table, as in budget.epochs_scale.graph=...; it is 0.05",
        ),
        ({"hidden": 64}, r"budget.hidden must be a table, as in budget.hidden.64=...; it is 64"),
        ({"hidden": {"64": True}}, "budget.hidden must hold whole numbers of at least 1"),
        *(({"batch_size": bad}, f"budget.batch_size must be a whole number .*is {bad}.") for bad in (0, 2.5, True)),
    ],
)
def test_a_budget_that_trains_nothing_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(tiny.BUDGET, **change)


def test_a_width_named_by_a_number_counts() -> None:
    """YAML reads an unquoted 64 as a number."""
    assert dataclasses.replace(tiny.BUDGET, hidden={64: 3}).width(64) == 3  # type: ignore[dict-item]
