"""What a result lets one say: intervals, what was trained in truth, and what to do next."""

from __future__ import annotations

from typing import Any

import pytest
from hand_made import THREE, result, trial

from atjax.budget import Budget
from atjax.config import load
from atjax.report import advice, intervals
from atjax.space import Design


def test_a_wide_interval_says_which_trials_are_not_told_apart() -> None:
    found = result(trial(0, 0.83, 0.7), trial(1, 0.85, 0.6), trial(2, 0.5, 0.9), trial(3, None), best=1)
    low, high = intervals.of_accuracy(0.6, 47)
    said = " ".join(advice.sureness(found))
    assert f"With 47 examples, the 95% interval of the test accuracy is {low:.2f} to {high:.2f}." in said
    assert "Trial 0 lies within" in said
    assert "2" not in said.partition("Trial 0")[2].partition("within")[0]
    assert "the best of 4 trials" in advice.optimism(found)


def test_the_area_of_a_binary_task_has_an_interval_too() -> None:
    found = result(*THREE, best=1)
    found["task"] |= {"metric": "roc_auc", "binary": {"train": [3, 3], "validation": [40, 0], "test": [40, 7]}}
    low, high = intervals.of_roc_auc(0.6, 40, 7)
    assert advice.ranges(found) == {"test": (low, high)}  # that of validation would have one class only
    assert f"the 95% interval of the test ROC-AUC is {low:.2f} to {high:.2f}." in " ".join(advice.sureness(found))
    for foreign in ([], [7], [40, 7, 1], [-1, 7]):  # a file may hold anything
        found["task"]["binary"] = {"test": foreign}
        assert advice.ranges(found) == {}


def test_other_metrics_have_no_interval_but_a_count() -> None:
    found = result(*THREE, best=1)
    found["task"]["metric"] = "roc_auc"
    assert advice.ranges(found) == {}
    assert advice.sureness(found) == ["The test score is over 47 examples."]
    assert advice.sureness(result(best=None)) == []


@pytest.mark.parametrize(
    ("metric", "test", "constant", "said"),
    [
        ("accuracy", 0.9, 0.5, "The best constant answer reaches 0.5000."),
        ("accuracy", 0.55, 0.5, "The best constant answer reaches 0.5000, which the model does not surely beat."),
        ("roc_auc", 0.7, 0.5, "The best constant answer reaches 0.5000."),
        ("roc_auc", 0.4, 0.5, "The best constant answer reaches 0.5000, which is no worse."),
        ("mae", 0.4, 0.5, "The best constant answer reaches 0.5000."),
        ("mae", 0.6, 0.5, "The best constant answer reaches 0.5000, which is no worse."),
    ],
)
def test_a_score_is_compared_with_that_of_a_constant(metric: str, test: float, constant: float, said: str) -> None:
    found = result(trial(0, 0.8, test), best=0)
    found["task"] |= {"metric": metric, "constant": constant}
    assert said in advice.sureness(found)


def test_a_score_without_examples_on_record_has_no_interval() -> None:
    """As one of an earlier version, or of a part that is empty."""
    found = result(*THREE, best=1)
    found["task"]["examples"] = {"train": 3, "validation": 0}
    assert advice.ranges(found) == {}
    assert advice.sureness(found) == []


@pytest.mark.parametrize(("hidden", "epochs"), [(64, 200), (256, 800), (64, 1600)])
@pytest.mark.parametrize("level", ["graph", "node", "edge"])
def test_what_was_trained_is_what_the_budget_schedules(hidden: int, epochs: int, level: Any) -> None:
    budget: Budget = load("budget", "quick")
    design = Design("gcn", None, None, "relu", hidden, "stack", 1, 2, 2, 0.1, epochs)
    found = result(*THREE, best=1, budget={**vars(budget)})
    found["task"]["level"] = level
    real = budget.schedule(design, level)
    expected = f"Under the budget quick it was trained {real.hidden} wide for {real.epochs} epochs."
    assert advice.trained(found, design.as_dict()) == expected


def test_of_a_budget_that_changes_nothing_nothing_is_said() -> None:
    for budget in ({**vars(load("budget", "paper"))}, {"name": "own"}, {"name": "own", "hidden": 3}):
        assert advice.trained(result(*THREE, best=1, budget=budget), THREE[0]["design"]) == ""


def test_the_next_steps_are_those_that_are_open() -> None:
    def steps(**changes: Any) -> str:
        return "\n".join(how for _, how in advice.next_steps(result(*THREE, **changes)))

    assert "search.trials=10 search.resume=true" in steps(best=1)
    assert "search.trials" not in steps(best=1, state="interrupted")  # that is told in a note
    assert "atjax.load" not in steps(best=None)
    link = result(*THREE, best=1)
    link["task"]["level"] = "edge"
    assert "predict(graphs, pairs)" in str(advice.next_steps(link))
    assert "budget=paper" in steps(best=1)
    assert "budget=paper" not in steps(best=1, budget={"name": "paper"})
    own = result(*THREE, best=1)
    assert "atjax.predict" not in str(advice.next_steps(own))
    own["task"]["notes"] = ["Read as tables: edges.csv, nodes.csv."]
    assert "python -m atjax.predict model=FOLDER path=" in str(advice.next_steps(own))
