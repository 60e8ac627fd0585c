"""Search for a good GNN: ``atjax.search(task)`` in Python, ``python -m atjax.search task=NAME`` on the command line."""

from __future__ import annotations

import inspect
import sys
import types
from pathlib import Path
from typing import cast

from atjax import config as configuration
from atjax.budget import Budget
from atjax.errors import check_kind, whole
from atjax.prior import Prior, uniform_prior
from atjax.report.progress import on_demand
from atjax.report.progress import trials as show_trials
from atjax.report.result import Result
from atjax.report.tables import Finding
from atjax.search.loop import SearchConfig, run_trials
from atjax.search.run import Recorder, new_result
from atjax.space import Space
from atjax.task import Task
from atjax.transfer import Transfer

__all__ = ["SearchConfig", "search"]


def search(
    task: Task,
    *,
    prior: Prior | Transfer | None = None,
    trials: int = 3,
    seed: int = 0,
    algorithm: str = "random",
    space: Space | None = None,
    budget: Budget | None = None,
    folder: str | Path = "run",
    resume: bool = False,
    progress: bool | None = None,
) -> Result:
    """Search a good GNN for a task.

    Args:
        task: The task.
        prior: Where designs come from: a prior, or what `atjax.transfer_prior` found; uniform if None.
        trials: Designs to train.
        seed: Of the split, the initialisations and the sampler.
        algorithm: How designs are chosen: ``random``, ``tpe``, ``evolution`` or ``hyperband`` (`SearchConfig`).
        space: The design space; `atjax.paper_space` if None.
        budget: What is trained for a design; ``quick`` if None.
        folder: Run directory; gets ``result.json``, ``trials.csv``, ``report.html`` and ``best_model``, from which
            `atjax.load` makes the model. What an earlier search left there is moved to ``previous``.
        resume: Go on with the trials that the folder holds, as after Ctrl-C, or for more ``trials`` than before.
        progress: Show how far it is, with the time left, on standard error; None: in a terminal or a notebook.

    Returns:
        The result, as in ``result.json``: a dictionary, of which ``result["best"]`` is the trial chosen by validation.
        It is shown as a table of the trials; ``dict(result)`` shows all.

    Raises:
        UserError: A setting is of no use, another search is at work in the folder, or it holds another one than that
            to resume.

    Example:
        >>> result = atjax.search(task, trials=3, folder="run")
        >>> result["best"]["test"]
        >>> atjax.load("run").predict(task.graphs)
    """
    check_kind("task", task, Task)
    check_kind("prior", prior, Prior, Transfer, optional=True)
    check_kind("space", space, Space, optional=True)
    check_kind("budget", budget, Budget, optional=True)
    space = space or configuration.default("space")
    budget = budget or configuration.default("budget")
    budget.check(space)
    found = prior if isinstance(prior, Transfer) else None
    chosen = prior.prior if isinstance(prior, Transfer) else prior or uniform_prior(space)
    chosen.check(space)
    seed, trials = whole("seed", seed, 0), whole("trials", trials)
    settings = SearchConfig(algorithm, trials)
    result = new_result(task, chosen, space, budget, config=settings, seed=seed, found=found)
    recorder = Recorder(Path(folder), task, result, resume=resume)
    recorded = recorder.recorded
    with on_demand(progress) as bar:
        shown = show_trials(bar, task.name, trials, len(recorded))
        recorder.run(
            run_trials(task, chosen, space, budget, config=settings, seed=seed, recorded=recorded, progress=shown)
        )
    return cast(Result, Finding(recorder.result, Path(folder)))


class _Callable(types.ModuleType):
    """Makes this module callable: ``atjax.search`` is both the package that ``python -m`` runs and the function."""

    __call__ = staticmethod(search)


sys.modules[__name__].__class__ = _Callable
__signature__ = inspect.signature(search)
__doc__ = f"{__doc__}\n\natjax.search{__signature__}\n\n{inspect.getdoc(search)}"  # what help(atjax.search) begins with
