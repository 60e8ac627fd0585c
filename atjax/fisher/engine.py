"""Statistics of the Fisher information of every anchor and initialisation on a task: what a task feature is made of.

For each anchor: initialise R models at random, calibrate their BatchNorm statistics on the training data, fit their
last layers to the optimum, let an estimator yield a reduced form of F, and take statistics of that.

    models -> calibrated -> fitted -> estimator -> Moments | Diagonal | Gram | Factors -> statistic -> value, error
    models -> a little learning -> Readout | Descent ----------------------------------^

An anchor is one compiled program a step for all its R models. On a CPU the models go through it one after the other,
for one fills the cache; on an accelerator side by side. Anchors are compiled and run side by side as far as memory
allows (`atjax.fisher.memory`), and dealt to the devices there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from atjax import compilation, runtime
from atjax.errors import UserError
from atjax.fisher.config import ESTIMATORS, FisherConfig
from atjax.fisher.estimators import Fitted, diagonal, factors, gram, moments, sketch_of
from atjax.fisher.examples import Examples, draw_examples
from atjax.fisher.learning import Descent, Readout, descent, readout
from atjax.fisher.memory import memory_of, needed
from atjax.fisher.moments import Reduced
from atjax.fisher.preparation import fitted, starting_models
from atjax.fisher.programs import over_models
from atjax.fisher.statistics import Statistic, reads, resolve
from atjax.model.gnn import GNN, build
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


Form = Reduced | Readout | Descent

MADE_BY: dict[str, Callable[[Fitted, FisherConfig], Form]] = {
    "moments": moments,
    "diagonal": diagonal,
    "gram": gram,
    "factors": factors,
    "readout": readout,
    "descent": descent,
}
"""What makes each of the forms that statistics read (`atjax.fisher.statistics.FORMS`)."""


def design_statistics(
    task: Task, design: Design, examples: Examples, config: FisherConfig, statistics: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Values and standard errors of R random models of one design: for each statistic float64 [R] or [R, K]."""
    gnn = _model(task, design, config)
    chosen = [resolve(name) for name in statistics]
    if config.tolerance > 0 or "diagonal" in map(reads, chosen):
        # One pass for both: the moments are sums over the diagonal.
        chosen = [_of_diagonal(statistic) for statistic in chosen]
    wanted = {reads(statistic) for statistic in chosen}
    # What begins with random models needs no others.
    start = wanted <= {"readout", "descent"}
    variables = starting_models(gnn, task, config) if start else fitted(gnn, task, examples, config)
    models = Fitted(gnn, task, variables, examples)

    def certain(form: Form) -> bool:
        """Whether the statistics of the diagonal are as certain as asked for."""
        return all(
            _settled(*evaluate(statistic, form), config.tolerance)
            for statistic in chosen
            if reads(statistic) == "diagonal"
        )

    held: dict[str, Form] = {}
    for form in wanted:
        if form == "diagonal" and config.tolerance > 0:
            held[form] = diagonal(models, config, certain)
        else:
            held[form] = MADE_BY[form](models, config)
    return [evaluate(statistic, held[reads(statistic)]) for statistic in chosen]


def _model(task: Task, design: Design, config: FisherConfig) -> GNN:
    return build(design, hidden=config.hidden, level=task.level, num_outputs=task.num_outputs)


@functools.cache
def _of_diagonal(statistic: Statistic) -> Statistic:
    """The same, read off the diagonal if it reads the moments; one function for each, so that it compiles once."""
    return (lambda diagonal: statistic(diagonal.moments())) if reads(statistic) == "moments" else statistic


def _settled(value: np.ndarray, error: np.ndarray, tolerance: float) -> bool:
    """Whether the standard errors [R, ...] are at most ``tolerance`` times the spread over the R models."""
    spread = value.std(axis=0, ddof=1) if len(value) > 1 else np.abs(value[0])
    return bool(np.all(np.sqrt(np.mean(error**2, axis=0)) <= tolerance * spread))


def evaluate(statistic: Statistic, form: Form) -> tuple[np.ndarray, np.ndarray]:
    """Value and standard error of a statistic of R models, in float64; the leaves of ``form`` have leading axis R."""
    with jax.enable_x64(True):
        value, error = _evaluate(statistic, form)
        return np.asarray(value, np.float64), np.asarray(error, np.float64)


@functools.partial(jax.jit, static_argnames="statistic")
def _evaluate(statistic: Statistic, form: Form) -> tuple[jax.Array, jax.Array]:
    def one(form: Form) -> Any:
        found = statistic(form)
        shapes = [jnp.shape(part) for part in found] if isinstance(found, tuple) else []
        if len(shapes) != 2 or shapes[0] != shapes[1] or len(shapes[0]) > 1:
            raise UserError(
                f"A statistic returns its value and standard error, scalars or [K], as {reads(statistic)}.estimate "
                f"does; {getattr(statistic, '__name__', statistic)} returned {type(found).__name__}{shapes or ''}."
            )
        return found

    return over_models(one, form)


def check_names(statistics: Iterable[str], estimators: Iterable[str]) -> None:
    """Raise UserError where there is no such statistic or estimator, a user's own among them."""
    for statistic in statistics:
        resolve(statistic)
    for estimator in estimators:
        if estimator not in ESTIMATORS:
            sketch_of(estimator)


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
        UserError: There is no such statistic or estimator, or a statistic of the user's returns no estimate.
    """
    check_names(statistics, [config.estimator[task.level]])
    compilation.make_room()
    devices = jax.local_devices()
    # Deep anchors cost most: begun first, they leave no device waiting at the end.
    order = sorted(range(len(anchors)), key=lambda position: -anchors[position].mp_layers)
    data = draw_examples(task, config, seed)
    placed = [jax.device_put(data, device) if len(devices) > 1 else data for device in devices[: len(anchors)]]
    result: list[list[tuple[np.ndarray, np.ndarray]]] = [[]] * len(anchors)
    memories = memory_of(devices)

    def work(place: int, position: int) -> None:
        number = place % len(devices)
        design, examples = anchors[position], placed[number]
        wanted = needed(_model(task, design, config), examples, config)
        with memories[number].held(wanted), jax.default_device(devices[number] if len(devices) > 1 else None):
            result[position] = design_statistics(task, design, examples, config, statistics)

    with ThreadPoolExecutor(max_workers=min(len(anchors), max(runtime.cores(), len(devices)))) as pool:
        futures = [pool.submit(work, place, position) for place, position in enumerate(order)]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(done, len(anchors))
        except BaseException:  # Ctrl-C among them: what has not begun need not
            for memory in memories:
                memory.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
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
