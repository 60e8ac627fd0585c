"""Growing a bank: train a fixed sequence of designs on a task, and embed the task.

Every training is one atomic shard, so a build may be killed and started again at any time. Several processes may build
one bank: each claims what it works on by a kernel lock, which ends with the process.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from atjax import runtime
from atjax.atomic import write_text
from atjax.bank import store
from atjax.bank.records import FeatureRow, Record, feature_key, record_key
from atjax.budget import Budget
from atjax.errors import UserError
from atjax.feature import TaskFeature, task_feature
from atjax.fisher import FisherConfig
from atjax.space import Design
from atjax.task import Task
from atjax.train import Fit, fit

Progress = Callable[[int, int, str], None]


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def record_of(task: Task, outcome: Fit) -> Record:
    """The bank's record of one training."""
    return Record(
        task=task.name,
        level=task.level,
        content_hash=task.content_hash,
        metric=task.metric,
        design=outcome.design,
        seed=outcome.seed,
        budget=outcome.budget,
        hidden_trained=outcome.schedule.hidden,
        epochs_trained=outcome.schedule.epochs,
        state=outcome.state,
        reason=outcome.reason,
        validation=outcome.validation,
        validation_loss=outcome.validation_loss,
        test=outcome.test,
        best_epoch=outcome.best_epoch,
        parameters=outcome.parameters,
        seconds=outcome.seconds - outcome.compile_seconds,
        compile_seconds=outcome.compile_seconds,
        epochs=outcome.curve.epoch,
        validation_curve=outcome.curve.validation,
        test_curve=outcome.curve.test,
        train_loss_curve=outcome.curve.train_loss,
        versions=json.dumps(runtime.versions()),
        device=runtime.device(),
        date=now(),
    )


def train_designs(
    task: Task, designs: Sequence[Design], *, folder: Path, budget: Budget, seed: int, progress: Progress
) -> int:
    """Train what the bank lacks of these designs on a task.

    Args:
        task: The task.
        designs: The designs, in the order in which they are taken up.
        folder: The bank.
        budget: What is trained for a design.
        seed: Of the split and the initialisation.
        progress: Called before each design with designs done, designs in all, and the next design's key.

    Returns:
        How many trainings this call added; others may be there already, or be under way in another process.
    """
    keys = {design: record_key(task.content_hash, design, seed, budget.name) for design in designs}
    present, added = store.keys(folder), 0
    for done, design in enumerate(designs):
        progress(done, len(designs), design.key)
        if keys[design] in present:
            continue
        with store.claim(folder, keys[design]) as mine:
            if mine and not store.has(folder, keys[design]):
                store.append(folder, record_of(task, fit(task, design, budget=budget, seed=seed)))
                added += 1
    progress(len(designs), len(designs), "")
    return added


def embed_task(
    task: Task, *, folder: Path, config: FisherConfig, seed: int, progress: Callable[[int, int], None]
) -> bool:
    """Add the task's feature to the bank unless it is there; whether it was added."""
    key = feature_key(task.content_hash, seed, config.key)
    with store.claim(folder, key) as mine:
        if not mine or store.has(folder, key):
            return False
        feature = task_feature(task, config=config, seed=seed, progress=progress)
        keep_feature(task, feature, folder=folder, fisher=config.key, seed=seed)
        return True


def keep_feature(task: Task, feature: TaskFeature, *, folder: Path, fisher: str, seed: int) -> None:
    """Add a computed feature to a bank, in place of an earlier one of the same task, settings and seed."""
    row = FeatureRow(
        task=task.name,
        level=task.level,
        content_hash=task.content_hash,
        seed=seed,
        fisher=fisher,
        alphas=feature.alphas,
        seconds=feature.seconds,
        versions=json.dumps(runtime.versions()),
        date=now(),
    )
    store.append_feature(folder, row)


def kept(task: Task, outcomes: Iterable[Fit], *, folder: Path) -> Iterator[Fit]:
    """Outcomes as they come, each added to a bank before it is passed on."""
    for outcome in outcomes:
        store.append(folder, record_of(task, outcome))
        yield outcome


def note_provenance(folder: Path, command: Sequence[str]) -> None:
    """Add a command, with versions, date and machine class, to the bank's PROVENANCE.json; a repeat replaces itself."""
    path = folder / "PROVENANCE.json"
    with store.exclusively(folder, "provenance"):
        try:
            runs = json.loads(path.read_text())["runs"] if path.exists() else []
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not readable; move it elsewhere and start again.") from error
        run = {"command": " ".join(command), "date": now(), "device": runtime.device(), "versions": runtime.versions()}
        runs = [old for old in runs if (old["command"], old["versions"]) != (run["command"], run["versions"])] + [run]
        write_text(path, json.dumps({"runs": runs}, indent=1) + "\n")
