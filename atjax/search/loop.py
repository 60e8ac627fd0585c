"""The search: ask for a design, train it, tell its validation score, until the trials are used up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import optuna

from atjax import metrics
from atjax.budget import Budget
from atjax.errors import UserError, whole
from atjax.prior import Prior
from atjax.samplers import TPE, DesignSampler, Evolution, Follow, Random, Rule, WholeSpace, suggest, table_of
from atjax.search.hyperband import HyperBand, Judge
from atjax.space import Design, Space
from atjax.task import Task
from atjax.train import Fit, State, fit

ALGORITHMS = ("random", "tpe", "evolution", "hyperband")
"""What `search.algorithm` may be."""

_ATTEMPTS = 200
"""Draws for one trial before a repeated design is taken for want of a new one."""


@dataclass(frozen=True)
class SearchConfig:
    """Settings of a search.

    Attributes:
        algorithm: How designs are chosen, always without repeats: ``random`` takes each from the prior; ``tpe`` and
            ``evolution`` begin with 5 such trials and go on from the results (see `atjax.samplers`); ``hyperband``
            takes each from the prior, and stops trainings that fall behind (see `atjax.search.hyperband`).
        trials: Designs to train; of ``hyperband``, to begin with.
    """

    algorithm: str = "random"
    trials: int = 3

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise UserError(f"search.algorithm must be one of {', '.join(ALGORITHMS)}; it is {self.algorithm!r}.")
        whole("search.trials", self.trials)


@dataclass(frozen=True)
class Recorded:
    """A trial done before.

    Attributes:
        design: What was trained.
        validation: Its validation score; None if it has none.
        state: How it ended.
        scores: Epochs done and validation score of each record, in order; only ``hyperband`` looks at them.
    """

    design: Design
    validation: float | None
    state: State = "complete"
    scores: Sequence[tuple[int, float]] = ()


def rule_of(algorithm: str, prior: Prior, space: Space) -> Rule:
    """How designs are chosen: first those that the prior ranks, if any, else draws from it."""
    candidates, table = WholeSpace(space), table_of(space, prior.probabilities)
    start: Rule = Random(candidates, table)
    if prior.ranking is not None:
        start = Follow(prior.ranking, start)
    if algorithm == "tpe":
        return TPE(candidates, table, start=start)
    return Evolution(candidates, table, start=start) if algorithm == "evolution" else start


def designs(study: optuna.Study, space: Space) -> Iterator[tuple[optuna.Trial, Design]]:
    """Ask a study for designs without end, each a new one as long as the sampler comes up with any."""
    seen: set[Design] = set()
    while True:
        for _ in range(_ATTEMPTS):
            trial = study.ask()
            design = suggest(trial, space)
            if design not in seen:
                break
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            trial = study.ask()
            design = suggest(trial, space)
        seen.add(design)
        yield trial, design


def run_trials(
    task: Task,
    prior: Prior,
    space: Space,
    budget: Budget,
    *,
    config: SearchConfig,
    seed: int,
    recorded: Sequence[Recorded] = (),
    progress: Callable[[int, int, int], None] | None = None,
) -> Iterator[Fit]:
    """Train one design after another, each yielded as soon as it is trained.

    Args:
        task: The task.
        prior: Where designs come from.
        space: The design space.
        budget: What is trained for a design.
        config: Algorithm and number of trials.
        seed: Of the split, the initialisations and the sampler.
        recorded: Trials done before, in order. They are asked for again, and not trained.
        progress: Called with the trial's number, epochs done and epochs in all.

    Raises:
        UserError: The recorded trials are not those that this search begins with.
    """
    towards = optuna.study.StudyDirection
    direction = towards.MAXIMIZE if metrics.larger_is_better(task.metric) else towards.MINIMIZE
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    stopping = config.algorithm == "hyperband"
    study = optuna.create_study(
        study_name=f"seed {seed}",  # by which HyperBand deals trials into brackets
        direction=direction,
        sampler=DesignSampler(rule_of(config.algorithm, prior, space), space, seed),
        pruner=HyperBand() if stopping else optuna.pruners.NopPruner(),
    )
    optuna.logging.set_verbosity(verbosity)
    for number, (trial, design) in zip(range(config.trials), designs(study, space)):
        judge = Judge(trial, study.direction) if stopping else None
        if number < len(recorded):
            old = recorded[number]
            if old.design != design:
                raise UserError(
                    f"Trial {number} on record is {old.design.key}, but with these settings and this bank it "
                    f"would be {design.key}; start anew without search.resume."
                )
            if judge is not None:
                epochs = budget.schedule(design, task.level).epochs
                for epoch, score in old.scores:
                    if epoch < epochs:
                        judge(epoch, epochs, score)
            _tell(study, trial, old.state, old.validation)
            continue

        def report(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number, done, total)

        outcome = fit(task, design, budget=budget, seed=seed, progress=report, stop=judge)
        _tell(study, trial, outcome.state, outcome.validation)
        yield outcome


def _tell(study: optuna.Study, trial: optuna.Trial, state: State, validation: float | None) -> None:
    """Tell a study how a trial ended. Optuna takes NaN for a failure by itself."""
    if state == "stopped":
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    elif state == "complete" and validation is not None:
        study.tell(trial, validation)
    else:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
