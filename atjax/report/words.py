"""Scores, times and designs in words, the same in the terminal and on the page."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from atjax.report.result import Best, Result, TaskInfo, fell_back
from atjax.space import FIELDS

NONE = "—"
"""Stands where there is no value."""

METRICS = {
    "accuracy": "accuracy",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
}


def score(value: float | None) -> str:
    """A score: four decimals, four digits from 10 on, whole numbers from 10,000 on; three digits below 0.001."""
    if value is None:
        return NONE
    size = abs(value)
    if 0 < size < 0.001:
        return f"{value:.3g}"
    if size < 10:
        return f"{value:.4f}"
    return f"{value:.4g}" if size < 9999.5 or size >= 1e12 else f"{value:,.0f}"


def spread(mean: float | None, deviation: float | None) -> str:
    """Mean and standard deviation, to the same decimal; the mean alone where one value has no deviation."""
    if mean is None or deviation is None:
        return score(mean)
    decimals = 4 if abs(mean) < 10 else max(0, 3 - math.floor(math.log10(abs(mean))))
    if max(abs(mean), deviation) < 0.001:
        return f"{mean:.3g} ± {deviation:.3g}"
    return f"{mean:,.{decimals}f} ± {deviation:,.{decimals}f}"


def column(values: Iterable[float | None]) -> list[str]:
    """Numbers of one column, all with the same decimals: four digits for the largest, and four decimals at most."""
    listed = list(values)
    largest = max((abs(value) for value in listed if value), default=1.0)
    decimals = min(4, max(0, 3 - math.floor(math.log10(largest))))
    return [NONE if value is None else f"{value:,.{decimals}f}" for value in listed]


def duration(seconds: float | None) -> str:
    """A time: ``0.42 s``, ``12.3 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds is None:
        return NONE
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: float | None, noun: str = "", plural: str | None = None) -> str:
    """A number with thousands apart, and its noun: ``1 graph``, ``1,113 graphs``."""
    if number is None:
        return NONE
    form = noun if number == 1 or not noun else plural or f"{noun}s"
    return f"{number:,} {form}".rstrip()


def metric_name(metric: str) -> str:
    """The metric's usual spelling."""
    return METRICS.get(metric, metric)


def outputs(task: TaskInfo) -> str:
    """What a task asks for: ``6 classes``, ``12 binary labels`` or ``1 target``; empty where the count is not known."""
    if task["classes"] is not None:
        return count(task["classes"], "class", "classes")
    if "outputs" not in task:
        return ""
    return count(task["outputs"], "target" if task["loss"] == "mse" else "binary label")


def structure(design: Mapping[str, Any]) -> str:
    """A design's architecture on one line: ``gat, 4 heads, relu, 256, skip_sum, layers 1-4-2``."""
    parts = [str(design.get("convolution", NONE))]
    if design.get("heads") is not None:
        parts.append(count(design["heads"], "head"))
    if design.get("aggregation") is not None:
        parts.append(str(design["aggregation"]))
    parts += [str(design.get(name, NONE)) for name in ("activation", "hidden", "connectivity")]
    layers = "-".join(str(design.get(name, NONE)) for name in ("pre_layers", "mp_layers", "post_layers"))
    return ", ".join([*parts, f"layers {layers}"])


def recipe(design: Mapping[str, Any]) -> str:
    """How a design is trained: ``lr 0.001, 200 epochs``."""
    return f"lr {design.get('learning_rate', NONE)}, {design.get('epochs', NONE)} epochs"


def sentence(design: Mapping[str, Any]) -> str:
    """A design in full words, as they stand in a sentence."""
    kind = f"a {design.get('convolution')} network"
    if design.get("heads") is not None:
        kind += f" with {count(design['heads'], 'attention head')}"
    if design.get("aggregation") is not None:
        kind += f" with {design['aggregation']} aggregation"
    value = {name: design.get(name, NONE) for name in FIELDS}
    return (
        f"{kind}: {value['pre_layers']} pre-processing, {value['mp_layers']} message-passing and "
        f"{value['post_layers']} post-processing layers, hidden dimension {value['hidden']}, {value['activation']}, "
        f"{value['connectivity']}, trained at learning rate {value['learning_rate']} for {value['epochs']} epochs"
    )


def outcome(best: Best, metric: str) -> str:
    """The scores of the best trial as a sentence."""
    return (
        f"At its best epoch by validation, {count(best['epoch'])}, it reached a validation {metric_name(metric)} of "
        f"{score(best['validation'])} and a test {metric_name(metric)} of {score(best['test'])}."
    )


def prior_label(result: Result) -> str:
    """The prior as a short name: that of its settings, ``uniform``, or ``uniform (fall-back)``."""
    return "uniform (fall-back)" if fell_back(result) else result.get("prior_name", result["prior_source"])


def origin(result: Result) -> str:
    """Where the designs were drawn from, in a sentence, with the search's own reason."""
    if fell_back(result):
        lead = "Nothing was transferred from the bank, so the search fell back to the uniform prior."
    elif result["prior_source"] == "uniform":
        lead = "Designs were drawn from a uniform prior: every choice is equally likely."
    else:
        lead = "Designs were drawn from a prior transferred from similar tasks of the bank."
    return f"{lead} {_reason(result)}".strip()


def _reason(result: Result) -> str:
    """The search's own reason for its prior, as a sentence; empty if none was recorded."""
    reason = (result.get("prior_reason") or "").strip()
    return reason[:1].upper() + reason[1:]


def budget(values: Mapping[str, Any], level: str | None = None) -> list[tuple[str, str]]:
    """What a budget holds beside its name, as pairs of name and value; a mapping reads ``64 as 16, 256 as 64``.

    Args:
        values: The budget.
        level: Of what stands by level, that of this one only.
    """
    pairs = []
    for name, value in values.items():
        if name == "name":
            continue
        if isinstance(value, Mapping) and level in value:
            value = value[level]
        if isinstance(value, Mapping):
            # Numbers are nominal values, and what is built for them; words are levels of tasks.
            inside = ((key, value[key]) for key in in_order(value))
            value = ", ".join(f"{key} {'as ' if key.isdigit() else ''}{item}" for key, item in inside)
        elif isinstance(value, list | tuple):
            value = ", ".join(str(item) for item in value)
        pairs.append((name.replace("_", " "), NONE if value is None else str(value)))
    return pairs


def in_order(choices: Iterable[str]) -> list[str]:
    """Choices of one dimension: numbers by value, then words by letter."""

    def key(choice: str) -> tuple[float, str]:
        try:
            return float(choice), ""
        except ValueError:
            return float("inf"), choice

    return sorted(choices, key=key)


def dimensions(names: Iterable[str]) -> list[str]:
    """Dimension names: the fields of a design in their order, then any others."""
    found = set(names)
    return [name for name in FIELDS if name in found] + sorted(found - set(FIELDS))


def not_done(result: Result) -> list[str]:
    """Sentences on what a reader must not miss: an unfinished search, trials without a score, a uniform prior."""
    notes = []
    if result["state"] == "interrupted":
        notes.append(
            f"The search was interrupted after {count(len(result['trials']), 'trial')}; "
            "the same command with search.resume=true goes on from here."
        )
    elif result["state"] == "running":
        notes.append("The search was still running when this was written.")
    if result["best"] is None:
        notes.append("No trial has been completed, so there is no best design and no model.")
    for trial in result["trials"]:
        if trial["state"] not in ("complete", "stopped"):
            reason = (trial.get("reason") or "").strip() or "no reason was recorded."
            notes.append(f"Trial {trial['number']} {trial['state']}: {reason}")
    stopped = [str(trial["number"]) for trial in result["trials"] if trial["state"] == "stopped"]
    if stopped:
        word = "trials" if len(stopped) > 1 else "trial"
        notes.append(f"Stopped early, since earlier trials did better up to there: {word} {', '.join(stopped)}.")
    unused: dict[str, list[int]] = {}
    for trial in result["trials"]:
        for what in trial.get("ignored", []):
            unused.setdefault(what, []).append(trial["number"])
    for what, numbers in unused.items():
        word = "trials" if len(numbers) > 1 else "trial"
        notes.append(f"Made no use of the {what}, as their designs cannot: {word} {', '.join(map(str, numbers))}.")
    if fell_back(result):
        notes.append(f"Nothing was transferred from the bank. {_reason(result) or 'The prior is uniform.'}")
    return notes


def stages(seconds: Mapping[str, float | None]) -> list[tuple[str, float | None]]:
    """The times of the stages in the order they run, others after them, and the total last."""
    first = ("data", "feature", "prior", "search")
    others = sorted(set(seconds) - {*first, "total"})
    return [(name, seconds[name]) for name in (*first, *others, "total") if name in seconds]


def parts(examples: Mapping[str, int]) -> list[tuple[str, int]]:
    """The parts of the split in words, with their numbers of examples."""
    names = {"train": "training", "validation": "validation", "test": "test"}
    return [(name, examples[part]) for part, name in names.items() if part in examples]
