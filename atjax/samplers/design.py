"""A rule as an Optuna sampler."""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from atjax.samplers.rules import History, Rule
from atjax.space import Choice, Space


def suggest(trial: Trial, space: Space) -> Any:
    """Ask a study for a design, dimension by dimension; inactive dimensions are not asked for."""
    chosen: dict[str, Choice | None] = {}
    for dimension in space.dimensions:
        active = dimension.active(chosen)
        chosen[dimension.name] = trial.suggest_categorical(dimension.name, dimension.choices) if active else None
    return space.kind(**chosen)


class DesignSampler(BaseSampler):
    """Proposes whole designs by a rule.

    A proposal depends on the seed, the trial's number and the trials told before, so a search that is resumed, or
    extended to more trials, goes on as it would have without the break. Pruned trials without a score are designs that
    were put back: they are not history. Those with scores were stopped early, and count with the last one.
    """

    def __init__(self, rule: Rule, space: Space, seed: int) -> None:
        self.rule, self.space, self.seed = rule, space, seed
        self._proposed: tuple[int, Any] = (-1, None)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Dimensions are asked for one by one, each once its parent is known."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing is asked for at once."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The choice that the trial's design makes in one dimension."""
        if self._proposed[0] != trial.number:
            rng = np.random.default_rng([self.seed, trial.number])
            self._proposed = trial.number, self.space.numbered(self.rule.propose(self._history(study), rng))
        choice = getattr(self._proposed[1], param_name)
        if choice is None:  # asked for although the proposed design does not have it
            assert isinstance(param_distribution, CategoricalDistribution)
            return param_distribution.choices[0]
        return choice

    def _history(self, study: Study) -> History:
        states = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)
        trials = [
            trial
            for trial in study.get_trials(deepcopy=False, states=states)
            if trial.state != TrialState.PRUNED or trial.intermediate_values
        ]
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        values = [-np.inf if trial.value is None else sign * trial.value for trial in trials]
        names = [dimension.name for dimension in self.space.dimensions]
        designs = [self.space.kind(**{name: trial.params.get(name) for name in names}) for trial in trials]
        return History(self.space.numbers(designs), np.array(values))
