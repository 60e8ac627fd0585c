"""One search with its run directory: every trial is on disk as soon as it is done."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from atjax import checkpoint, runtime
from atjax.atomic import lock, write_text
from atjax.budget import Budget
from atjax.errors import UserError
from atjax.overview import binary_counts, constant_score
from atjax.prior import Prior
from atjax.report import best_so_far, read, write, write_html, write_trials_csv
from atjax.report.result import FILE, Curve, Result, TaskInfo, Trial
from atjax.report.result import Budget as BudgetInfo
from atjax.report.tables import CONFIG, FILES
from atjax.search.loop import Recorded, SearchConfig
from atjax.space import ANCHORS, Design, Space, ignored
from atjax.task import Graphs, Task
from atjax.train import Fit
from atjax.transfer import Transfer

_ROUNDING = 1e-6
"""The most by which probabilities of one prior may differ between two runs."""


def describe_task(task: Task, seed: int) -> TaskInfo:
    """The task's part of a result."""
    split, graphs = task.split(seed), task.graphs
    info: TaskInfo = {
        "name": task.name,
        "level": task.level,
        "metric": task.metric,
        "loss": task.loss,
        "content_hash": task.content_hash,
        "graphs": len(graphs.n_node),
        "nodes": int(graphs.n_node.sum()),
        "edges": int(graphs.n_edge.sum()),
        "features": graphs.num_features,
        "classes": task.num_outputs if task.loss == "cross_entropy" else None,
        "outputs": task.num_outputs,
        "examples": {part: len(getattr(split, part)) for part in ("train", "validation", "test")},
        "constant": _score(constant_score(task, split)),
        "split": split.content_hash,
        "own_split": task.fixed_split is not None,
        "notes": list(task.remarks),
    }
    if (binary := binary_counts(task, split)) is not None:
        info["binary"] = binary
    return info


def describe_trial(number: int, outcome: Fit, graphs: Graphs) -> Trial:
    """A training's part of a result; the graphs are those of the task."""
    complete = outcome.state == "complete"
    trial: Trial = {
        "number": number,
        "design": outcome.design.as_dict(),
        "state": outcome.state,
        "reason": outcome.reason,
        "validation": _score(outcome.validation),
        "validation_loss": _score(outcome.validation_loss),
        "test": _score(outcome.test),
        "epoch": outcome.best_epoch if complete else None,
        "parameters": outcome.parameters or None,
        "seconds": outcome.seconds,
        "compile_seconds": outcome.compile_seconds,
        "curve": cast(Curve, dataclasses.asdict(outcome.curve)),
    }
    if not graphs.plain:
        edges = {"features": graphs.edges is not None, "weights": graphs.weights is not None}
        trial["ignored"] = ignored(outcome.design, **edges)
    return trial


def _score(value: float) -> float | None:
    """A score as tables, figures and `trials.csv` take it, before the result is read from its file again."""
    return value if math.isfinite(value) else None


def recorded_trial(trial: Trial) -> Recorded:
    """A trial of a result, as a search that goes on from it needs it."""
    curve = trial["curve"] or {"epoch": [], "train_loss": [], "validation": [], "test": []}
    scores = [math.nan if score is None else score for score in curve["validation"]]
    pairs = tuple(zip(curve["epoch"], scores))
    return Recorded(Design(**trial["design"]), trial["validation"], trial["state"], pairs)


def new_result(
    task: Task, prior: Prior, space: Space, budget: Budget, *, config: SearchConfig, seed: int, found: Transfer | None
) -> Result:
    """A result without trials."""
    embedding: Any = None
    if found is not None and found.embedding is not None and found.feature is not None:
        embedding = {
            "anchors": [anchor.key for anchor in ANCHORS],
            "values": {name: values.tolist() for name, values in found.feature.by_statistic.items()},
            "feature": found.feature.vector.tolist(),
            "vector": found.embedding.novel.tolist(),
            "nearest": [{"task": name, "distance": d, "weight": w} for name, d, w in prior.nearest],
        }
    return {
        "task": describe_task(task, seed),
        "seed": seed,
        "algorithm": config.algorithm,
        "prior_name": prior.name,
        "prior_source": prior.source,
        "prior_reason": prior.reason,
        "settings": None if found is None else found.settings,
        "space": space.name,
        "budget": cast(BudgetInfo, dataclasses.asdict(budget)),
        "best": None,
        "trials": [],
        "embedding": embedding,
        "prior": {name: {str(c): p for c, p in table.items()} for name, table in prior.probabilities.items()},
        "seconds": {} if found is None else dict(found.seconds),
        "versions": runtime.versions(),
        "device": runtime.device(),
        "state": "running",
    }


class Recorder:
    """Keeps a run directory up to date with the trials as they come.

    Attributes:
        result: The result so far.
        folder: The run directory.
    """

    def __init__(self, folder: Path, task: Task, result: Result, *, resume: bool, config: str | None = None) -> None:
        """Take over a run directory.

        Args:
            folder: The run directory; made if absent.
            task: The task.
            result: The result, without trials.
            resume: Go on with the trials that the directory holds; otherwise they are set aside under ``previous``.
            config: All settings as YAML, to be kept beside the result; None keeps none.

        Raises:
            UserError: The directory holds another search than the one to resume, or one that is still at work.
        """
        self.folder, self.task, self.result, self.config = folder, task, result, config
        self._clock = time.perf_counter()
        self._before = 0.0
        self._release = weakref.finalize(self, _claim(folder))
        try:
            checkpoint.recover(folder / "best_model")
            if resume and (folder / FILE).exists():
                self._take_over(read(folder))
            else:
                _set_aside(folder)
        except BaseException:
            self._release()
            raise

    def _take_over(self, old: Result) -> None:
        instead = "give another hydra.run.dir, or leave search.resume out."
        was, now = _identity(old), _identity(self.result)
        for what in was:
            if what in now and was[what] != now[what]:
                raise UserError(f"{self.folder} holds a search with {what} {was[what]!r}, not {now[what]!r}; {instead}")
        if old["task"]["content_hash"] != self.result["task"]["content_hash"] or old["budget"] != self.result["budget"]:
            raise UserError(f"{self.folder} holds a search on other data or another budget; leave search.resume out.")
        split = self.result["task"].get("split")
        if old["task"].get("split", split) != split:  # as one of its own that was changed; the content leaves it out
            raise UserError(f"{self.folder} holds a search on another split of the data; leave search.resume out.")
        if not _same_prior(old["prior"], self.result["prior"]):
            raise UserError(
                f"{self.folder} holds a search from a prior of other probabilities, as one of a changed bank; {instead}"
            )
        self.result["trials"], self.result["best"] = old["trials"], old["best"]
        self._before = old["seconds"].get("search") or 0.0

    @property
    def recorded(self) -> list[Recorded]:
        """The trials on record, in order."""
        return [recorded_trial(trial) for trial in self.result["trials"]]

    def run(self, outcomes: Iterable[Fit]) -> None:
        """Record outcomes as they come; after Ctrl-C, or where no more can come, what was done, and then raise that.

        The run directory is free for others at the end.
        """
        try:
            try:
                for outcome in outcomes:
                    self._add(outcome)
            except (KeyboardInterrupt, UserError):
                self._finish("interrupted")
                raise
            self._finish("complete")
        finally:
            self._release()

    def _add(self, outcome: Fit) -> None:
        number, chosen = len(self.result["trials"]), self.result["best"]
        trials = [*self.result["trials"], describe_trial(number, outcome, self.task.graphs)]
        best = best_so_far(trials, self.task.metric)[-1]
        if best is not None and best["number"] == number:
            checkpoint.save(self.folder / "best_model", self.task, outcome, self.result["versions"])
            chosen = {
                "number": number,
                "design": best["design"],
                "validation": best["validation"],
                "test": best["test"],
                "epoch": best["epoch"],
                "parameters": best["parameters"],
            }
        # In one step: Ctrl-C while the model was being saved must not leave a trial without its say in the best.
        self.result.update({"trials": trials, "best": chosen})
        self._write()

    def _write(self) -> None:
        search = self._before + time.perf_counter() - self._clock
        self.result["seconds"]["search"] = search
        stages = {name: value for name, value in self.result["seconds"].items() if name != "total"}
        self.result["seconds"]["total"] = sum(value or 0.0 for value in stages.values())
        write(self.folder, self.result)
        write_trials_csv(self.folder, self.result)
        if self.config is not None:
            write_text(self.folder / CONFIG, self.config)

    def _finish(self, state: Literal["interrupted", "complete"]) -> None:
        self.result["state"] = state
        self._write()
        write_html(self.folder, self.result)


def _identity(result: Result) -> dict[str, Any]:
    """What must be equal for a search to be gone on with, by its name; earlier versions tell less of it."""
    told: dict[str, Any] = dict(result)
    names = ("algorithm", "seed", "space", "prior_source", "prior_name")
    return {name: told[name] for name in names if name in told} | (told.get("settings") or {})


def _same_prior(one: Mapping[str, Mapping[str, float | None]], other: Mapping[str, Mapping[str, float | None]]) -> bool:
    """Whether two priors have the same choices, at the same probabilities but for rounding."""
    flat, others = (
        {(name, choice): p or 0.0 for name, table in prior.items() for choice, p in table.items()}
        for prior in (one, other)
    )
    return flat.keys() == others.keys() and all(abs(p - others[place]) <= _ROUNDING for place, p in flat.items())


def _claim(folder: Path) -> Callable[[], None]:
    """Keep other searches out of a run directory; they would move files of this one away, or write among them.

    The claim is a kernel lock on the folder itself, so it ends with the process however that ends, and leaves nothing.

    Returns:
        What ends the claim.

    Raises:
        UserError: Another search has it.
    """
    if os.name != "posix":  # elsewhere folders cannot be opened, and nothing is claimed
        return lambda: None
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    if not lock(descriptor, wait=False):
        os.close(descriptor)
        raise UserError(
            f"Another search is at work in {folder}; wait until it is done, or give this one another folder."
        )
    return functools.partial(os.close, descriptor)


def _set_aside(folder: Path) -> None:
    """Move an earlier run's files into ``previous/1``, ``previous/2``, ...: a new run loses nothing.

    A run that was killed before its first ``result.json`` may have left a model.
    """
    if not any((folder / name).exists() for name in FILES):
        return
    number = 1
    while (folder / "previous" / str(number)).exists():
        number += 1
    aside = folder / "previous" / str(number)
    aside.mkdir(parents=True)
    for name in reversed(FILES):  # `result.json` last: as long as it stands, the next run goes on with this
        if (folder / name).exists():
            os.replace(folder / name, aside / name)
