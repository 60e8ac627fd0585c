"""What makes searches small enough for tests: a space of one compiled program, made-up trainings and banks."""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import os
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest

import atjax.search.__main__ as search_program
from atjax import build_bank, cli, config, describe, embed, predict
from atjax.bank import FeatureRow, Record, append, append_feature
from atjax.budget import Budget
from atjax.fisher import Values
from atjax.model.gnn import GNN, Variables, build, initialize
from atjax.report import Result
from atjax.space import Design, Dimension, Space, bank_designs, paper_space
from atjax.task import Graphs, Task
from atjax.train import Curve, Fit

REPOSITORY = Path(__file__).parent.parent
BUDGET = Budget(
    "quick",
    {"64": 4, "256": 4},
    {"graph": 0.01, "edge": 0.025, "node": 0.025},
    {"graph": 2, "edge": 5, "node": 5},
)
TASK = ("task=digits", "task.count=40")
SMALL = (
    *TASK,
    *("space._target_=tiny.space", "budget.hidden.64=4", "budget.hidden.256=4"),
    *("budget.epochs_scale.graph=0.01", "budget.epochs_scale.edge=0.025", "budget.epochs_scale.node=0.025"),
)
"""Arguments of a small search, or a small build of a bank, under `BUDGET`."""

PROGRAMS: dict[str, ModuleType] = {
    "search": search_program,
    "build_bank": build_bank,
    "describe": describe,
    "embed": embed,
    "predict": predict,
}


def first(count: int, cases: Iterable[Any]) -> list[Any]:
    """Cases of one test that are a program each: all after the first ones are slow."""
    return [case if number < count else slow(case) for number, case in enumerate(cases)]


def slow(case: Any) -> Any:
    """A case of `pytest.mark.parametrize`, marked."""
    return pytest.param(*(case if isinstance(case, tuple) else [case]), marks=pytest.mark.slow)


def space() -> Space:
    """12 designs of one compiled program: epochs and learning rate enter it as data, and the widths are made equal."""
    return Space(
        "tiny",
        (
            Dimension("convolution", ("gcn",)),
            Dimension("heads", (1, 2, 4), "convolution", ("gat",)),
            Dimension("aggregation", ("sum", "mean", "max"), "convolution", ("general",)),
            Dimension("activation", ("relu",)),
            Dimension("hidden", (64, 256)),
            Dimension("connectivity", ("stack",)),
            Dimension("pre_layers", (1,)),
            Dimension("mp_layers", (2,)),
            Dimension("post_layers", (2,)),
            Dimension("learning_rate", (0.1, 0.001)),
            Dimension("epochs", (200, 800, 1600)),
        ),
    )


def run(program: str, *arguments: str) -> int:
    """Run ``python -m atjax.<program>`` in this process, in the working directory; returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"python -m atjax.{program}", *arguments])
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setattr("atjax.compilation.keep_compiled", lambda folder: None)  # not for the rest of the tests
        patch.setattr("atjax.cli._leave", sys.exit)  # the tests go on after Ctrl-C
        with pytest.raises(SystemExit) as stop:
            cli.run(PROGRAMS[program].main, program)
    return int(stop.value.code or 0)


def environment(**more: str) -> dict[str, str]:
    """Environment of a process of its own, in which ``tiny`` can be imported too."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path.rstrip(os.pathsep)} | more


@functools.cache
def random_variables(gnn: GNN, num_features: int, seed: int) -> Variables:
    """Parameters and BatchNorm statistics of a model that was not trained."""
    return jax.device_get(initialize(gnn, num_features, jax.random.key(seed)))


def made_up(
    task: Task, design: Design, *, budget: Budget, seed: int = 0, progress: Any = None, stop: Any = None
) -> Fit:
    """In place of `atjax.train.fit`: a complete outcome with random scores that design and seed fix."""
    rng = np.random.default_rng([zlib.crc32(design.key.encode()), seed])
    schedule = budget.schedule(design, task.level)
    gnn = build(design, hidden=schedule.hidden, level=task.level, num_outputs=task.num_outputs)
    variables = random_variables(gnn, task.graphs.num_features, seed)
    validation, test = float(rng.integers(0, 4)) / 4, float(rng.random())
    curve = Curve([schedule.eval_every], [1.0], [validation], [test])
    if progress is not None:
        progress(schedule.epochs, schedule.epochs)
    scores = (validation, float(rng.random()), test, schedule.eval_every, 7, 0.5, 0.25)
    return Fit(design, seed, budget.name, schedule, "complete", "", *scores, curve, variables)


def no_page(folder: Path, result: Result) -> None:
    """In place of `atjax.report.write_html`, whose figures take a second."""
    (folder / "report.html").write_text("")


def unsuccessful(outcome: Fit, state: Any, reason: str) -> Fit:
    """An outcome without scores and variables."""
    nan = float("nan")
    return dataclasses.replace(
        outcome,
        **{"state": state, "reason": reason, "variables": None, "curve": Curve()},
        **{"validation": nan, "validation_loss": nan, "test": nan, "best_epoch": 0},
    )


def timeless(result: Result) -> dict[str, Any]:
    """A result without its times."""
    rest: dict[str, Any] = copy.deepcopy(dict(result))
    del rest["seconds"]
    for trial in rest["trials"]:
        del trial["seconds"], trial["compile_seconds"]
    return rest


def files(folder: Path) -> list[str]:
    """Everything in a folder, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def path_task(name: str = "paths", *, seed: int = 0, count: int = 20, level: Any = "graph") -> Task:
    """Random paths with random features, two classes: of graphs, or of the nodes of one graph."""
    rng = np.random.default_rng(seed)
    n_node = rng.integers(2, 6, count) if level == "graph" else np.array([count])
    start = np.concatenate([[0], np.cumsum(n_node)])
    senders = np.concatenate([np.arange(a, b - 1) for a, b in itertools.pairwise(start)])
    nodes = rng.normal(size=(start[-1], 3)).astype(np.float32)
    graphs = Graphs.from_edges(nodes, senders, senders + 1, n_node)
    labels = np.resize([0, 1], count).astype(np.int32)
    return Task(name, level, "cross_entropy", "accuracy", graphs, labels, 2)


def record(task: str, content: str, design: Design, score: float, **changes: Any) -> Record:
    """A made-up record of the budget ``quick``."""
    made = Record(
        **{"task": task, "level": "graph", "content_hash": content, "metric": "accuracy", "design": design, "seed": 0},
        **{"budget": "quick", "hidden_trained": 4, "epochs_trained": 2, "state": "complete", "reason": ""},
        **{"validation": score, "validation_loss": 1 - score, "test": 0.5, "best_epoch": 2, "parameters": 7},
        **{"seconds": 1.0, "compile_seconds": 0.0, "epochs": [2], "validation_curve": [score], "test_curve": [0.5]},
        **{"train_loss_curve": [1.0], "versions": "{}", "device": "cpu", "date": "2030-01-01T00:00:00+00:00"},
    )
    return dataclasses.replace(made, **changes)


def fisher_key(choice: str = "alpha") -> str:
    """Key of the settings of a file under ``conf/fisher``."""
    return str(config.load("fisher", choice).key)


def fisher_stage(alphas: np.ndarray) -> Callable[..., dict[str, Values]]:
    """Stands in for `atjax.feature.task_statistics`: each statistic is [A, R] of these numbers."""
    return lambda task, config, names, **_: dict.fromkeys(names, Values(alphas, alphas))


def fill_bank(
    folder: Path,
    tasks: Iterable[str] = ("a", "b", "c", "d"),
    designs: int = 24,
    fisher: Iterable[str] = ("alpha",),
    **changes: Any,
) -> Path:
    """A bank of random records of the same designs on every task, and random features for each."""
    for number, task in enumerate(tasks):
        rng = np.random.default_rng(number)
        content = f"{task:*>64}"
        for design, score in zip(bank_designs(paper_space(), designs), rng.random(designs)):
            append(folder, record(task, content, design, float(score), **changes))
        alphas = 1 + rng.random((12, 5))
        for choice in fisher:
            key, rows = fisher_key(choice), np.tile(alphas, (len(config.load("fisher", choice).statistic), 1))
            append_feature(folder, FeatureRow(task, "graph", content, 0, key, rows, 1.0, "{}", "2030-01-01"))
    return folder
