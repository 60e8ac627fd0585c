"""`result.json`: what a search writes, and every table and figure is made from.

The schema stands here once, as typed dictionaries; `read` checks a file against these very types. A score that does
not exist (not a number, infinite, never measured) is null in the file and None in Python.
"""

import json
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np

from atjax.atomic import write_text
from atjax.errors import UserError
from atjax.metrics import rank_key
from atjax.task import Metric

FILE = "result.json"


class TaskInfo(TypedDict):
    """The task that was searched; counts are over the whole task, ``examples`` over each part of the split.

    ``split`` is a hash of the ids in its parts, ``own_split`` whether it came with the data and is that of all seeds.
    ``constant`` is the test score of the best constant answer (`atjax.overview.constant_score`).
    ``outputs`` are classes, binary labels or regression targets; ``classes`` is null but for classes. ``binary``, of
    two classes or one binary label, is how many examples of each part have label 0, and label 1.
    """

    name: str
    level: str
    metric: str
    loss: str
    content_hash: str
    graphs: int
    nodes: int
    edges: int
    features: int
    classes: int | None
    outputs: NotRequired[int]
    examples: dict[str, int]
    binary: NotRequired[dict[str, list[int]]]
    constant: NotRequired[float | None]
    split: NotRequired[str]
    own_split: NotRequired[bool]
    notes: NotRequired[list[str]]


class Budget(TypedDict):
    """The name of the budget; beside it whatever the budget holds."""

    name: str


class Curve(TypedDict):
    """What was measured while a trial trained, one entry every recorded epoch."""

    epoch: list[int]
    train_loss: list[float | None]
    validation: list[float | None]
    test: list[float | None]


class Trial(TypedDict):
    """One design, trained. Scores are those of ``epoch``, the best epoch by validation; only a complete trial has any.

    ``ignored`` are edge features and weights that the task has and the design makes no use of.
    """

    number: int
    design: dict[str, Any]
    state: Literal["complete", "diverged", "failed", "stopped"]
    reason: NotRequired[str | None]
    validation: float | None
    validation_loss: NotRequired[float | None]
    test: float | None
    epoch: int | None
    parameters: int | None
    seconds: float | None
    compile_seconds: NotRequired[float | None]
    curve: Curve | None
    ignored: NotRequired[list[str]]


class Best(TypedDict):
    """The trial that was chosen, by validation."""

    number: int
    design: dict[str, Any]
    validation: float | None
    test: float | None
    epoch: int | None
    parameters: int | None


class Neighbour(TypedDict):
    """A task of the bank: its distance in the embedded space, and its share in the prior."""

    task: str
    distance: float | None
    weight: float | None


class Embedding(TypedDict):
    """The task's place among the tasks of the bank: A anchors, R initialisations, D embedded dimensions.

    ``values`` are those of every statistic, anchor by anchor, each with all its entries, [E][R]; ``feature`` is of all
    entries of all statistics, in the order of the settings; ``vector`` [D].
    """

    anchors: list[str]
    values: dict[str, list[list[float | None]]]
    feature: list[float | None]
    vector: list[float | None]
    nearest: list[Neighbour]


class Result(TypedDict):
    """One search. ``prior_name`` is the prior asked for, ``prior_source`` whether it was transferred or uniform,
    and ``prior_reason`` a sentence that says why. ``settings`` are those of the transfer (`atjax.transfer.Transfer`);
    null where none was asked for, or only its prior was given.

    ``seconds`` holds the time of each stage in seconds, and their ``total``.
    """

    task: TaskInfo
    seed: int
    algorithm: str
    prior_name: NotRequired[str]
    prior_source: str
    prior_reason: NotRequired[str | None]
    settings: NotRequired[dict[str, Any] | None]
    space: str
    budget: Budget
    best: Best | None
    trials: list[Trial]
    embedding: Embedding | None
    prior: dict[str, dict[str, float | None]]
    seconds: dict[str, float | None]
    versions: dict[str, str]
    device: str
    state: Literal["running", "interrupted", "complete"]


def write(folder: Path, result: Result) -> Path:
    """Write `result.json` into a folder; the same result gives the same bytes.

    Args:
        folder: The run directory; made if absent.
        result: The result; numpy scalars and arrays may stand for numbers and lists.

    Returns:
        The file's path.
    """
    text = json.dumps(_plain(result), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return write_text(folder / FILE, text + "\n")


def read(path: Path) -> Result:
    """Read a `result.json`.

    Args:
        path: The file, or the run directory that holds it.

    Raises:
        UserError: There is no such file, it is cut off, or it is not a result of a search.
    """
    file = path / FILE if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no {FILE} at {path}; give the run directory of a search.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); check the path and its permissions.") from None
    except (ValueError, RecursionError):
        raise UserError(f"{file} is cut off or is not JSON; run the search again, or remove the file.") from None
    _renew(found)
    fault = next(_faults(found, Result, ""), None)
    if fault is not None:
        raise UserError(f"{file} is not a result of an atjax search ({fault}); give the run directory of one.")
    return cast(Result, found)


def best_so_far(trials: Sequence[Trial], metric: str) -> list[Trial | None]:
    """For every trial, in the order of their numbers, the best trial up to and with it, by validation alone.

    Only complete trials with a validation score count. Ties go to the lower validation loss (`metrics.rank_key`), and
    where that is equal or was not recorded to the earlier trial. None stands where there is no such trial yet.
    """
    best: Trial | None = None
    best_rank = (math.inf, math.inf)
    picks: list[Trial | None] = []
    for trial in sorted(trials, key=lambda trial: trial["number"]):
        if trial["state"] == "complete" and trial["validation"] is not None:
            loss = trial.get("validation_loss")
            rank = rank_key(cast(Metric, metric), trial["validation"], math.inf if loss is None else loss)
            if rank < best_rank:
                best, best_rank = trial, rank
        picks.append(best)
    return picks


def fell_back(result: Result) -> bool:
    """Whether a transferred prior was asked for but the bank gave none, so that the uniform prior was used.

    The prior's name tells it from a uniform prior by choice. Earlier versions wrote no name; there, a search from a
    uniform prior by choice embeds no task.
    """
    asked = result["prior_name"] != "uniform" if "prior_name" in result else result["embedding"] is not None
    return result["prior_source"] == "uniform" and asked


def _renew(found: Any) -> None:
    """Bring what earlier versions wrote to the present form: one list, whatever the statistics, was called alpha."""
    match found:
        case {"embedding": {"alpha": [*rows], "anchors": [*anchors]} as embedding}:
            values = {"alpha": rows[: len(anchors)], "other statistics": rows[len(anchors) :]}
            embedding["values"] = {name: of for name, of in values.items() if of}
            del embedding["alpha"]


def _plain(value: Any) -> Any:
    """The same value in JSON's types; NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _faults(value: Any, kind: Any, where: str) -> Iterator[str]:
    """Phrases that say where a value read from JSON departs from a type; none if it fits.

    Args:
        value: The value.
        kind: A typed dictionary, or a type built of list, dict, unions, literals and plain types.
        where: The way to the value, such as ``trials[2].epoch``; empty for the whole.
    """
    origin, inner = get_origin(kind), get_args(kind)
    name = where or "the file"
    if is_typeddict(kind):
        if not isinstance(value, dict):
            yield f"{name} is no object"
            return
        for key, hint in get_type_hints(kind).items():
            place = f"{where}.{key}" if where else key
            if key in value:
                yield from _faults(value[key], hint, place)
            elif key in kind.__required_keys__:
                yield f"{place} is missing"
    elif origin in (Union, types.UnionType):
        options = [list(_faults(value, option, where)) for option in inner]
        if all(options):
            yield options[0][0]
    elif origin is Literal:
        if value not in inner:
            yield f"{name} is none of {', '.join(inner)}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{name} is no list"
            return
        for index, item in enumerate(value):
            yield from _faults(item, inner[0], f"{where}[{index}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{name} is no object"
            return
        for key, item in value.items():
            yield from _faults(item, inner[1], f"{where}.{key}")
    elif kind is not Any:
        plain = (int, float) if kind is float else kind
        if not isinstance(value, plain) or (isinstance(value, bool) and kind is not bool):
            yield f"{name} is no {'number' if kind in (int, float) else 'text' if kind is str else kind.__name__}"
