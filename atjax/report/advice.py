"""What a result lets one say: how sure its scores are, what was trained in truth, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atjax.budget import epochs_trained
from atjax.report import intervals, words
from atjax.report.result import Result, TaskInfo


def ranges(result: Result) -> dict[str, tuple[float, float]]:
    """By part of the split, the 95% interval of the best trial's score, where the metric has one."""
    best = result["best"]
    if best is None:
        return {}
    scores = {"validation": best["validation"], "test": best["test"]}
    found = {part: _interval(result["task"], part, score) for part, score in scores.items() if score is not None}
    return {part: bounds for part, bounds in found.items() if bounds is not None}


def _interval(task: TaskInfo, part: str, score: float) -> tuple[float, float] | None:
    """That of an accuracy, or of the ROC-AUC of a binary task; None of all else, and of results that lack the counts.

    The labels of several outputs are those of the same examples, which are not independent then.
    """
    match task["metric"], task["examples"].get(part), task.get("binary", {}).get(part):
        case "accuracy", int(count), _ if count > 0:
            return intervals.of_accuracy(score, count)
        case "roc_auc", _, [negatives, positives] if negatives > 0 and positives > 0:
            return intervals.of_roc_auc(score, negatives, positives)
    return None


def range_words(bounds: tuple[float, float]) -> str:
    """An interval: ``0.81 to 0.97``."""
    return f"{bounds[0]:.2f} to {bounds[1]:.2f}"


def sureness(result: Result) -> list[str]:
    """Sentences on how sure the scores of the best trial are; empty if there is no best trial."""
    task, best, found = result["task"], result["best"], ranges(result)
    if best is None:
        return []
    said = []
    examples = {part: words.count(count, "example") for part, count in task["examples"].items()}
    if "test" in found:
        name = words.metric_name(task["metric"])
        said.append(f"With {examples['test']}, the 95% interval of the test {name} is {range_words(found['test'])}.")
    elif "test" in examples:
        said.append(f"The test score is over {examples['test']}.")
    constant = task.get("constant")
    if constant is not None and best["test"] is not None:
        better = found["test"][0] > constant if "test" in found else _better(task["metric"], best["test"], constant)
        doubt = "" if better else ", which the model does not surely beat" if "test" in found else ", which is no worse"
        said.append(f"The best constant answer reaches {words.score(constant)}{doubt}.")
    if "validation" in found and best["validation"] is not None:
        close = [
            str(trial["number"])
            for trial in result["trials"]
            if trial["number"] != best["number"]
            and trial["state"] == "complete"
            and trial["validation"] is not None
            and trial["validation"] >= found["validation"][0]
        ]
        if close:
            those = f"trial {close[0]} lies" if len(close) == 1 else f"trials {', '.join(close)} lie"
            said.append(
                f"{those[0].upper()}{those[1:]} within the validation score's own interval "
                f"({range_words(found['validation'])}): {examples['validation']} hardly tell them apart."
            )
    return said


def _better(metric: str, one: float, other: float) -> bool:
    return one < other if metric in ("mae", "rmse") else one > other


def optimism(result: Result) -> str:
    """A sentence on what the choice by validation does to the validation score."""
    trials = len(result["trials"])
    chosen = "of its epochs" if trials == 1 else f"of {trials} trials and all their epochs"
    return f"The validation score was picked as the best {chosen}, so it is optimistic."


def trained(result: Result, design: Mapping[str, Any]) -> str:
    """What the budget made of a design, where that is not its nominal width and epochs; else empty."""
    budget: Mapping[str, Any] = result["budget"]
    made = []
    width = _inside(budget, "hidden", str(design.get("hidden")))
    if width is not None and str(width) != str(design.get("hidden")):
        made.append(f"{width} wide")
    scale, every = (_inside(budget, name, result["task"]["level"]) for name in ("epochs_scale", "eval_every"))
    epochs = design.get("epochs")
    if isinstance(scale, int | float) and isinstance(every, int) and isinstance(epochs, int) and every > 0:
        real = epochs_trained(epochs, scale, every)
        if real != epochs:
            made.append(f"for {words.count(real, 'epoch')}")
    return f"Under the budget {budget['name']} it was trained {' '.join(made)}." if made else ""


def _inside(budget: Mapping[str, Any], name: str, key: str) -> Any:
    table = budget.get(name)
    return table.get(key) if isinstance(table, Mapping) else None


def next_steps(result: Result, *, called: bool = False) -> list[tuple[str, str]]:
    """What may be done next, and how; FOLDER is the run directory.

    Args:
        result: The search.
        called: Whether it was called in Python: going on is told by arguments then, and not by a command's settings.
    """
    steps = []
    done = len(result["trials"])
    if result["best"] is not None:
        asked = "graphs, pairs" if result["task"]["level"] == "edge" else "graphs"
        steps.append(("Use the model", f'atjax.load("FOLDER").predict({asked})'))
        if any(note.startswith("Read as ") for note in result["task"].get("notes", [])):
            steps.append(("Predict your new graphs", "python -m atjax.predict model=FOLDER path=NEW_GRAPHS"))
    if result["state"] == "complete":
        more = 10 if done < 10 else 2 * done
        call, command = f"call with trials={more}, resume=True", f"command with search.trials={more} search.resume=true"
        steps.append((f"Go on to {more} trials", f"the same {call if called else command}"))
    steps.append(("See how much is chance", "the same command with -m seed=0,1,2, then python -m atjax.report runs"))
    if result["budget"]["name"].partition("-")[0] == "quick":
        steps.append(("Train wider and longer", "the same command with budget=paper"))
    return steps
