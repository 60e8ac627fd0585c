"""Compute what the tasks' features are made of, one file a task and estimator; what is there is not computed again.

    python experiments/statistics/features.py
    python experiments/statistics/features.py --set hidden=32 --tasks cora,cox2 --statistics alpha
    python experiments/statistics/features.py --anchors star --seeds 0,1,2

A file holds, for every statistic, value and standard error of every anchor and initialisation, [A, R] or [A, R, K].
Statistics that a file lacks are added to it; one whose settings have changed is made anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from banks import shipped
from omegaconf import OmegaConf
from views import FEATURES, META, padded, structure

from atjax import compilation, config, runtime
from atjax.bank.importers.names import TASKS
from atjax.errors import UserError
from atjax.space import ANCHORS, Design
from atjax.task import Task

CENTRE = ANCHORS[1]
STAR = (
    CENTRE,
    *(dataclasses.replace(CENTRE, pre_layers=n) for n in (2,)),
    *(dataclasses.replace(CENTRE, mp_layers=n) for n in (2, 6, 8)),
    *(dataclasses.replace(CENTRE, post_layers=n) for n in (3,)),
    *(dataclasses.replace(CENTRE, connectivity=kind) for kind in ("skip_sum",)),
    *(dataclasses.replace(CENTRE, aggregation=kind) for kind in ("mean", "max")),
)
"""One design and all that differ from it in one choice of GraphGym's grid: what the 12 anchors, of which few pairs do,
cannot say of each choice alone."""

ANCHOR_SETS: Mapping[str, tuple[Design, ...]] = {"paper": ANCHORS, "star": STAR}


@dataclass(frozen=True)
class Plan:
    """Features to compute: settings, what to change in them, anchors, seeds of the split, and statistics; None: all.

    ``label`` is what they are known by; None: the settings themselves.
    """

    fisher: str = "alpha"
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    anchors: str = "paper"
    seeds: Sequence[int] = (0,)
    statistics: Sequence[str] | None = None
    label: str | None = None

    @property
    def source(self) -> str:
        """What the features are known by."""
        if self.label is not None:
            return self.label
        changed = ",".join([self.fisher, *_told(self.changes)])
        return changed if self.anchors == "paper" else f"{changed} {self.anchors}"


def _told(changes: Mapping[str, Any], within: str = "") -> list[str]:
    """Changed settings as ``name=value``, those inside of others as ``name.inside=value``."""
    told = []
    for name, value in changes.items():
        told += _told(value, f"{within}{name}.") if isinstance(value, Mapping) else [f"{within}{name}={value}"]
    return told


DIAGONAL = ("alpha", "layer_alpha", "layer_trace")
SPECTRUM = ("full_alpha", "stable_rank", "largest_eigenvalue", "spectral_entropy", "log_determinant")
KRONECKER = ("kfac_alpha", "kfac_trace", "kfac_moments")
LEARNING = ("first_losses", "descent_loss", "descent_accuracy", "readout_loss", "readout_accuracy")

FEW: Mapping[str, Any] = {"seeds": 2, "max_passes": {"graph": 256, "node": 48}}
"""Spectra of large node tasks take a backward pass for every example and direction, so that two initialisations and few
examples have to do."""


def _of_estimators(label: str, graph: str, node: str, nodes: int = FEW["max_passes"]["node"]) -> Plan:
    """What estimators make of the diagonal, on the examples of `few` or on more ``nodes``, in passes of `exact`."""
    passes = {**FEW["max_passes"], "node": nodes}
    changes = {**FEW, "max_passes": passes, "draws": 8, "estimator": {"graph": graph, "node": node}}
    return Plan(changes=changes, statistics=DIAGONAL, label=label)


PLANS = (
    Plan(statistics=LEARNING),
    # On another split, what the search compares; alpha apart, for of the first split the bank holds it.
    Plan(statistics=("first_losses",), seeds=(1,)),
    Plan(statistics=("alpha",), seeds=(1,), label="other split"),
    Plan(changes=FEW, statistics=DIAGONAL + SPECTRUM + KRONECKER, label="few"),
    # Of other matrices than F,
    _of_estimators("empirical", "empirical", "empirical", nodes=240),  # a pass an example, however many classes
    _of_estimators("reference", "reference", "reference"),
    # and of F by the estimators that are not the level's own in `few`.
    _of_estimators("swapped", "sign_sketch", "exact"),
    _of_estimators("monte_carlo", "monte_carlo", "monte_carlo"),
    _of_estimators("hutchinson", "hutchinson", "hutchinson"),
)
"""What `run.py` computes. `participation_ratio` is P / `full_alpha`, and orders tasks alike."""

LAST = ("dd", "amazon_photo", "amazon_computers", "coauthor_cs", "coauthor_physics")
"""Large tasks, after all others."""


def tasks() -> list[str]:
    """The tasks of both banks, large ones last."""
    names = sorted({*shipped().tasks.values(), *TASKS.values()})
    return sorted(names, key=lambda name: LAST.index(name) if name in LAST else -1)


def read_head(file: Path) -> dict[str, Any]:
    """What a stored file says of itself; empty if there is none, or if it is broken."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return json.loads(str(arrays["head"]))
    except (OSError, ValueError, KeyError, EOFError):
        return {}


def write(file: Path, head: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write under a temporary name and rename."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.stem}.{os.getpid()}.npz")
    try:
        np.savez_compressed(temporary, head=np.array(json.dumps(head)), **arrays)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def place(folder: Path, task: str, source: str, seed: int) -> Path:
    """The file of a task under a source."""
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in source)
    return folder / f"{task}--{plain}--s{seed}.npz"


def update(
    file: Path, head: dict[str, Any], wanted: Sequence[str], compute: Callable[[list[str]], Mapping[str, np.ndarray]]
) -> bool:
    """Bring a file to hold these statistics; returns whether anything had to be computed.

    Args:
        file: Where.
        head: What the file says of itself; an older file with other ``settings`` counts for nothing.
        wanted: Names of statistics.
        compute: Gives ``value/NAME`` and ``error/NAME`` of those that are missing.
    """
    found = read_head(file)
    held = found.get("statistics", []) if found.get("settings") == head["settings"] else []
    missing = [name for name in wanted if name not in held]
    if not missing:
        return False
    kept: dict[str, np.ndarray] = {}
    if held:
        with np.load(file, allow_pickle=False) as arrays:
            kept = {key: arrays[key] for key in arrays.files if key != "head"}
    start = time.perf_counter()
    fresh = compute(missing)
    names = [*held, *(name for name in missing if f"value/{name}" in fresh)]
    seconds = round(time.perf_counter() - start, 2) + (found.get("seconds", 0) if held else 0)
    write(file, {**head, "statistics": names, "seconds": seconds}, {**kept, **fresh})
    return True


def fisher_arrays(
    task: Task, settings: Any, names: Sequence[str], anchors: Sequence[Design], seed: int, label: str
) -> dict[str, np.ndarray]:
    """Values and errors of statistics, layers padded by NaN where anchors have fewer."""
    from atjax.fisher import task_statistics  # lazily: heads and meta-features need no engine

    def progress(done: int, count: int) -> None:
        print(f"\r{label}: {done} of {count} anchors ", end="", file=sys.stderr, flush=True)

    estimates = task_statistics(task, settings, names, seed=seed, anchors=anchors, progress=progress)
    print("\r", end="", file=sys.stderr)
    arrays = {}
    for name, estimate in estimates.items():
        arrays[f"value/{name}"], arrays[f"error/{name}"] = by_anchor(estimate.value), by_anchor(estimate.error)
    return arrays


def by_anchor(values: Any) -> np.ndarray:
    """[A, R] or [A, R, K]; a list of A arrays [R, K] with differing K is padded by NaN."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    rows = [np.asarray(row, np.float64) for row in values]
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else padded([[row[None] for row in rows]])[0, :, 0]


def meta_arrays(task: Task, seed: int) -> dict[str, np.ndarray]:
    """The meta-features as a statistic of one anchor and one initialisation, [1, 1, K]."""
    from atjax.meta import meta_features

    values = np.array(list(meta_features(task, seed).values()), np.float64)[None, None]
    return {f"value/{META}": values, f"error/{META}": np.zeros_like(values)}


def compute(plan: Plan, names: Sequence[str], folder: Path = FEATURES) -> int:
    """Compute what is missing; meta-features come with any statistics, and alone if there are none.

    Args:
        plan: Settings.
        names: Tasks.
        folder: Where the files are.

    Returns:
        How many files could not be made.
    """
    statistics = plan.statistics
    if statistics is None:
        from atjax.fisher import statistics as available

        statistics = available.names()
    settings = dataclasses.replace(config.load("fisher", plan.fisher), **plan.changes)
    failed = 0
    for seed in plan.seeds:
        for name in names:
            try:
                _one(name, seed, plan, settings, statistics, folder)
            except UserError as error:
                print(f"{name}: {error}", file=sys.stderr)
                failed += 1
    return failed


def _one(name: str, seed: int, plan: Plan, settings: Any, statistics: Sequence[str], folder: Path) -> None:
    """Both files of one task and seed."""
    load = functools.cache(lambda: config.load_task(name))  # only if there is something to do
    head = {"task": name, "seed": seed, "versions": runtime.versions()}
    meta = {**head, "source": META, "settings": META, "anchors": []}
    update(place(folder, name, META, seed), meta, [META], lambda _: meta_arrays(load(), seed))
    if not statistics:
        return
    designs = ANCHOR_SETS[plan.anchors]
    own = {**head, "source": plan.source, "settings": settings.key, "anchors": [structure(d) for d in designs]}
    label, start = f"{name}, {plan.source}, seed {seed}", time.perf_counter()
    fresh = update(
        place(folder, name, plan.source, seed),
        own,
        statistics,
        lambda missing: fisher_arrays(load(), settings, missing, designs, seed, label),
    )
    print(f"{label}: {f'{time.perf_counter() - start:.0f} s' if fresh else 'stored'}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", help="names, by comma; all of both banks if not given")
    parser.add_argument("--fisher", default="alpha", help="a configuration in conf/fisher")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one of its settings")
    parser.add_argument("--anchors", choices=sorted(ANCHOR_SETS), default="paper")
    parser.add_argument("--seeds", default="0", help="seeds of the split, by comma")
    parser.add_argument("--statistics", help="names, by comma; all if not given, none but meta if empty")
    parser.add_argument("--folder", type=Path, default=FEATURES)
    chosen = parser.parse_args()
    changes = OmegaConf.to_container(OmegaConf.from_dotlist(chosen.set))
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    statistics = None if chosen.statistics is None else list(filter(None, chosen.statistics.split(",")))
    compilation.keep_compiled(config.cache_dir() / "xla")
    failed = compute(
        Plan(chosen.fisher, changes, chosen.anchors, seeds, statistics),  # type: ignore[arg-type]
        chosen.tasks.split(",") if chosen.tasks else tasks(),
        chosen.folder,
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
