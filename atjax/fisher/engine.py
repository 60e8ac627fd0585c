"""Statistics of the Fisher information of every anchor and initialisation on a task: what a task feature is made of.

For each anchor: initialise R models at random, calibrate their BatchNorm statistics on the training data, fit their
last layers to the optimum, let an estimator yield a reduced form of F, and take statistics of that.

    models -> calibrated -> fitted -> estimator -> Diagonal | Gram | Factors -> statistic -> value, standard error

An anchor is one compiled program a step for all its R models. On a CPU the models go through it one after the other,
for one fills the cache; on an accelerator side by side. Anchors are compiled and run side by side, and dealt to the
devices there are.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from atjax.batch import Batch
from atjax.fisher.config import FisherConfig
from atjax.fisher.estimators import Fitted, diagonal, factors, gram
from atjax.fisher.examples import Examples, draw_examples
from atjax.fisher.last_layer import LastLayer, fit_last_layer
from atjax.fisher.models import over_models, program
from atjax.fisher.moments import Reduced
from atjax.fisher.statistics import Statistic, reads, resolve
from atjax.model.gnn import GNN, Variables, build, initialize
from atjax.space import ANCHORS, Design
from atjax.task import Task

Progress = Callable[[int, int], None]


class Values(NamedTuple):
    """A statistic of R models of each of A anchors.

    Attributes:
        value: float64 [A, R], or a list over anchors of [R, K], for K can differ between them.
        error: Standard errors, of the same shape; 0 where exact, NaN where not known.
    """

    value: np.ndarray | list[np.ndarray]
    error: np.ndarray | list[np.ndarray]


@program(static_argnames="gnn")
def prepare(gnn: GNN, variables: Variables, batch: Batch, rows: jax.Array) -> tuple[Variables, jax.Array]:
    """Calibrate BatchNorm by one pass over the training data, and read what the last layer will see.

    Args:
        gnn: The model.
        variables: Of R models, leading axis R.
        batch: The training data as one batch.
        rows: Rows of the output that are training examples, int [N].

    Returns:
        The variables with calibrated statistics, and the last layer's input [R, N, H].
    """
    calibrating = gnn.clone(momentum=0.0)

    def one(variables: Variables) -> tuple[Variables, jax.Array]:
        # In training mode the statistics are those of this very batch, so one pass both sets and uses them.
        hidden, updated = calibrating.apply(variables, batch, train=True, mutable=["batch_stats"], method=GNN.encode)
        return {"params": variables["params"], "batch_stats": updated["batch_stats"]}, hidden[rows]

    return over_models(one, variables)


@functools.lru_cache(maxsize=64)
def random_models(gnn: GNN, num_features: int, seeds: int) -> Variables:
    """Random parameters and fresh BatchNorm statistics of R models, leading axis R; the keys are 0 to R - 1.

    Kept: following a model's initialisation through Flax takes longer than an accelerator needs for all that follows.
    """
    keys = jnp.stack([jax.random.key(number) for number in range(seeds)])
    return cast(Variables, jax.device_get(jax.vmap(functools.partial(initialize, gnn, num_features))(keys)))


def fitted(gnn: GNN, task: Task, examples: Examples, config: FisherConfig) -> Variables:
    """R random models of one design, calibrated, the last layer fitted; leading axis R."""
    models = random_models(gnn, task.graphs.num_features, config.seeds)
    variables, hidden = prepare(gnn, models, examples.batch, examples.rows)
    layer: LastLayer = fit_last_layer(
        task.loss, hidden, examples.labels, num_outputs=task.num_outputs, ridge=config.ridge
    )
    return {"params": {**variables["params"], "out": layer}, "batch_stats": variables["batch_stats"]}


FORMS: dict[str, Callable[[Fitted, FisherConfig], Reduced]] = {"diagonal": diagonal, "gram": gram, "factors": factors}
"""The reduced forms that statistics read, and what yields them."""


def design_statistics(
    task: Task, design: Design, examples: Examples, config: FisherConfig, statistics: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Values and standard errors of R random models of one design: for each statistic float64 [R] or [R, K]."""
    gnn = build(design, hidden=config.hidden, level=task.level, num_outputs=task.num_outputs)
    models = Fitted(gnn, task, fitted(gnn, task, examples, config), examples)
    chosen = [resolve(name) for name in statistics]

    def certain(form: Reduced) -> bool:
        """Whether the statistics of the diagonal are as certain as asked for."""
        return all(
            _settled(*evaluate(statistic, form), config.tolerance)
            for statistic in chosen
            if reads(statistic) == "diagonal"
        )

    held: dict[str, Reduced] = {}
    for form in {reads(statistic) for statistic in chosen}:
        if form == "diagonal" and config.tolerance > 0:
            held[form] = diagonal(models, config, certain)
        else:
            held[form] = FORMS[form](models, config)
    return [evaluate(statistic, held[reads(statistic)]) for statistic in chosen]


def _settled(value: np.ndarray, error: np.ndarray, tolerance: float) -> bool:
    """Whether the standard errors [R, ...] are at most ``tolerance`` times the spread over the R models."""
    spread = value.std(axis=0, ddof=1) if len(value) > 1 else np.abs(value[0])
    return bool(np.all(np.sqrt(np.mean(error**2, axis=0)) <= tolerance * spread))


def evaluate(statistic: Statistic, form: Reduced) -> tuple[np.ndarray, np.ndarray]:
    """Value and standard error of a statistic of R models, in float64; the leaves of ``form`` have leading axis R."""
    with jax.enable_x64(True):
        value, error = _evaluate(statistic, form)
        return np.asarray(value, np.float64), np.asarray(error, np.float64)


@functools.partial(jax.jit, static_argnames="statistic")
def _evaluate(statistic: Statistic, form: Reduced) -> tuple[jax.Array, jax.Array]:
    return over_models(statistic, form)


def task_statistics(
    task: Task,
    config: FisherConfig,
    statistics: Sequence[str],
    *,
    seed: int = 0,
    anchors: Sequence[Design] = ANCHORS,
    progress: Progress | None = None,
) -> dict[str, Values]:
    """Statistics of the Fisher information over message-passing parameters, for every anchor and initialisation.

    Args:
        task: The task; only training examples of the split, and their labels, are looked at.
        config: Settings; its ``statistic`` is not read here.
        statistics: Names, as `atjax.fisher.statistics.resolve` takes them.
        seed: Of the split and of what is sampled.
        anchors: The A designs.
        progress: Called with anchors done and anchors in all.

    Raises:
        UserError: There is no such statistic or estimator.
    """
    for name in statistics:
        resolve(name)
    devices = jax.local_devices()
    # Deep anchors cost most: begun first, they leave no device waiting at the end.
    order = sorted(range(len(anchors)), key=lambda position: -anchors[position].mp_layers)
    data = draw_examples(task, config, seed)
    placed = [jax.device_put(data, device) if len(devices) > 1 else data for device in devices[: len(anchors)]]
    result: list[list[tuple[np.ndarray, np.ndarray]]] = [[]] * len(anchors)

    def work(place: int, position: int) -> None:
        with jax.default_device(devices[place % len(devices)] if len(devices) > 1 else None):
            examples = placed[place % len(devices)]
            result[position] = design_statistics(task, anchors[position], examples, config, statistics)

    with ThreadPoolExecutor(max_workers=min(len(anchors), max(os.cpu_count() or 1, len(devices)))) as pool:
        futures = [pool.submit(work, place, position) for place, position in enumerate(order)]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            if progress is not None:
                progress(done, len(anchors))
    return {name: _gather([each[number] for each in result]) for number, name in enumerate(statistics)}


def _gather(rows: list[tuple[np.ndarray, np.ndarray]]) -> Values:
    """Of every anchor: one array, or lists where a statistic has several entries."""
    values, errors = ([np.asarray(row[k]) for row in rows] for k in (0, 1))
    return Values(np.stack(values), np.stack(errors)) if values[0].ndim == 1 else Values(values, errors)


def anchor_alpha(
    task: Task,
    config: FisherConfig,
    *,
    seed: int = 0,
    anchors: Sequence[Design] = ANCHORS,
    progress: Progress | None = None,
) -> np.ndarray:
    """alpha = m2 / m1^2 of the diagonal Fisher information over message-passing parameters (paper, section 4.2).

    Returns:
        float64 [A, R], each at least 1; NaN where the Fisher information vanishes. Arguments: see `task_statistics`.
    """
    return np.asarray(
        task_statistics(task, config, ["alpha"], seed=seed, anchors=anchors, progress=progress)["alpha"].value
    )
