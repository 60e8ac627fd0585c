"""Growing a bank: train a fixed sequence of designs on a task, and embed the task.

Every training is one atomic shard, so a build may be killed and started again at any time. Several processes may build
one bank: each claims what it works on by a kernel lock, which ends with the process. Within a process, workers train
side by side, so that one compiles while others train, and each device has something to do. Designs that share a
program go to one worker, one after another, and to one process as long as there are other programs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jax

from atjax import runtime
from atjax.bank import store
from atjax.bank.records import FeatureRow, Record, feature_key, now, record_key
from atjax.budget import Budget
from atjax.errors import UserError
from atjax.feature import task_feature
from atjax.fisher import FisherConfig
from atjax.model.gnn import GNN
from atjax.space import Design
from atjax.task import Task
from atjax.train import Fit, fit, program_of

Progress = Callable[[int, int, str], None]


def record_of(task: Task, outcome: Fit) -> Record:
    """The bank's record of one training."""
    return Record(
        task=task.name,
        level=task.level,
        content_hash=task.bank_hash,
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


@dataclass
class Growth:
    """What a build added.

    Attributes:
        added: Trainings.
        seconds: Wall time of the whole.
        busy_seconds: Time that its workers spent in trainings, compilation included; they overlap.
        compile_seconds: Part of that which went into compilation.
    """

    added: int = 0
    seconds: float = 0.0
    busy_seconds: float = 0.0
    compile_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Records per hour."""
        return 3600 * self.added / self.seconds if self.seconds else 0.0

    @property
    def compiling(self) -> float:
        """Share of the workers' time spent compiling, 0 to 1."""
        return self.compile_seconds / self.busy_seconds if self.busy_seconds else 0.0


def default_workers() -> int:
    """As many workers as pay: two for each accelerator, one of which compiles; on a CPU one a core, at most four."""
    if jax.default_backend() != "cpu":
        return 2 * jax.local_device_count()
    return min(4, runtime.cores())


def train_designs(
    task: Task,
    designs: Sequence[Design],
    *,
    folder: Path,
    budget: Budget,
    seed: int,
    progress: Progress,
    workers: int = 1,
) -> Growth:
    """Train what the bank lacks of these designs on a task.

    Args:
        task: The task.
        designs: The designs. Those that share a program are taken up together, otherwise in this order.
        folder: The bank.
        budget: What is trained for a design.
        seed: Of the split and the initialisation.
        progress: Called before each design with designs done, designs in all, and the next design's key.
        workers: Trainings at a time, dealt to the devices there are. Records do not depend on it, but for their times.

    Returns:
        What this call added; other trainings may be there already, or be under way in another process.
    """
    build = _Build(task, folder, budget, seed, progress, len(designs), shared_device=workers > jax.local_device_count())
    present = store.keys(folder)
    missing = [design for design in designs if build.key(design) not in present]
    build.done = len(designs) - len(missing)
    groups: dict[GNN, list[Design]] = {}
    for design in missing:
        groups.setdefault(program_of(task, design, budget), []).append(design)
    queue = deque(groups.items())
    workers = max(1, min(workers, len(queue)))
    start = time.perf_counter()
    if workers == 1:
        build.work(queue, 0)
    else:
        with ThreadPoolExecutor(workers, "atjax-build") as pool:
            futures = [pool.submit(build.work, queue, number) for number in range(workers)]
            try:
                for future in futures:
                    future.result()
            except BaseException:  # Ctrl-C too: what is under way ends at its next record of the metrics
                build.stopping.set()
                raise
    # What failed while another training was on the same device may only have lacked its memory.
    build.shared_device = False
    for design in build.failed:
        build.train(design)
    progress(len(designs), len(designs), "")
    return dataclasses.replace(build.growth, seconds=time.perf_counter() - start)


def program_name(task: Task, program: GNN) -> str:
    """What a process claims while it trains designs of a program."""
    return "program-" + hashlib.sha256(repr((task.content_hash, program)).encode()).hexdigest()[:16]


class _Stopped(Exception):
    """Another worker has failed, or the user has stopped the build."""


@dataclass
class _Build:
    """A build under way, shared by its workers."""

    task: Task
    folder: Path
    budget: Budget
    seed: int
    progress: Progress
    total: int
    shared_device: bool
    done: int = 0

    def __post_init__(self) -> None:
        self.growth = Growth()
        self.failed: list[Design] = []
        self.stopping = threading.Event()
        self.lock = threading.Lock()

    def key(self, design: Design) -> str:
        return record_key(self.task.bank_hash, design, self.seed, self.budget.name)

    def work(self, queue: deque[tuple[GNN, list[Design]]], number: int) -> None:
        """Take one group of designs after another until none is left; worker ``number`` keeps to one device."""
        devices = jax.local_devices()
        postponed: list[list[Design]] = []
        with jax.default_device(devices[number % len(devices)]), contextlib.suppress(_Stopped):
            try:
                while (taken := self._next(queue)) is not None:
                    program, group = taken
                    # A process that compiles what another one is compiling would waste its time.
                    with store.claim(self.folder, program_name(self.task, program)) as mine:
                        if not mine:
                            postponed.append(group)
                            continue
                        self._train_all(group)
                for group in postponed:
                    self._train_all(group)
            except BaseException:
                self.stopping.set()
                raise

    def _next(self, queue: deque[tuple[GNN, list[Design]]]) -> tuple[GNN, list[Design]] | None:
        with self.lock:
            return queue.popleft() if queue else None

    def _train_all(self, group: Iterable[Design]) -> None:
        for design in group:
            with self.lock:
                self.progress(self.done, self.total, design.key)
            self.train(design)
            with self.lock:
                self.done += 1

    def train(self, design: Design) -> None:
        """Train a design, unless another process has done so or is at it, and append its record."""
        with store.claim(self.folder, self.key(design)) as mine:
            if not mine or store.has(self.folder, self.key(design)):
                return
            outcome = fit(self.task, design, budget=self.budget, seed=self.seed, progress=self._check)
            with self.lock:
                self.growth.busy_seconds += outcome.seconds
                self.growth.compile_seconds += outcome.compile_seconds
                if outcome.state == "failed" and self.shared_device:
                    self.failed.append(design)
                    return
                self.growth.added += 1
            store.append(self.folder, record_of(self.task, outcome))

    def _check(self, epoch: int, epochs: int) -> None:
        if self.stopping.is_set():
            raise _Stopped


def embed_task(
    task: Task,
    *,
    folder: Path,
    configs: Iterable[FisherConfig],
    seed: int,
    cache: Path,
    progress: Callable[[int, int], None],
) -> bool:
    """Add the features of a task to a bank, but for those that it has.

    Args:
        task: The task.
        folder: The bank.
        configs: Settings of each feature.
        seed: Of the split.
        cache: As for `task_feature`.
        progress: As for `task_feature`, for each of them anew.

    Returns:
        Whether one was added.
    """
    added = [_embed(task, folder, config, seed, cache, progress) for config in configs]
    return any(added)


def _embed(
    task: Task, folder: Path, config: FisherConfig, seed: int, cache: Path, progress: Callable[[int, int], None]
) -> bool:
    key = feature_key(task.bank_hash, seed, config.key)
    with store.claim(folder, key) as mine:
        if not mine or store.has(folder, key):
            return False
        feature = task_feature(task, config=config, seed=seed, cache=cache, progress=progress)
        row = FeatureRow(
            task=task.name,
            level=task.level,
            content_hash=task.bank_hash,
            seed=seed,
            fisher=config.key,
            values=feature.values,
            seconds=feature.seconds,
            versions=json.dumps(runtime.versions()),
            date=now(),
        )
        store.append_feature(folder, row)
        return True


def kept(task: Task, outcomes: Iterable[Fit], *, folder: Path) -> Iterator[Fit]:
    """Outcomes as they come, each added to a bank once the next one is asked for.

    So whoever takes them has each of them in its own files before the bank has, which may fail. A failure, such as for
    want of memory this time, does not take the place of what the bank has of the same training.

    Raises:
        UserError: The bank cannot be written.
    """
    for outcome in outcomes:
        yield outcome
        if _whole(outcome):
            record = record_of(task, outcome)
            try:
                if outcome.state != "failed" or not store.has(folder, record.key):
                    store.append(folder, record)
            except OSError as error:
                raise UserError(
                    f"The bank {folder} cannot take the trial ({error.strerror}), which the search has kept; mend that "
                    "and go on with search.resume=true."
                ) from error


def add_missing(task: Task, outcomes: Iterable[Fit], *, folder: Path) -> None:
    """Add the outcomes that a bank lacks; their date is now."""
    present = store.keys(folder)
    for record in (record_of(task, outcome) for outcome in outcomes if _whole(outcome)):
        if record.key not in present:
            store.append(folder, record)


def _whole(outcome: Fit) -> bool:
    """Not stopped: what was says nothing of a whole training, and its record would stand in its place."""
    return outcome.state != "stopped"
