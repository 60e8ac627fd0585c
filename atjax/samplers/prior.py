"""Random search from a prior: each dimension of a design is drawn from its distribution (paper, section 4.4)."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from atjax.space import Choice, Design, Probabilities, Space


def suggest(trial: Trial, space: Space) -> Design:
    """Ask a study for a design, dimension by dimension; inactive dimensions are not asked for."""
    chosen: dict[str, Choice | None] = {}
    for dimension in space.dimensions:
        active = dimension.active(chosen)
        chosen[dimension.name] = trial.suggest_categorical(dimension.name, dimension.choices) if active else None
    return Design(**chosen)  # type: ignore[arg-type]


class PriorSampler(BaseSampler):
    """Draws every choice from a prior, independently of the results so far.

    The draw depends on the seed, the trial's number and the dimension only, so a search that is resumed, or extended
    to more trials, goes on with the very designs that it would have had without the break.
    """

    def __init__(self, probabilities: Probabilities, seed: int) -> None:
        self.probabilities = probabilities
        self.seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """No dimension is drawn jointly with another."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing is drawn jointly."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Choice:
        """One choice of one dimension, from its distribution."""
        rng = np.random.default_rng([self.seed, trial.number, zlib.crc32(param_name.encode())])
        choices = list(self.probabilities[param_name])
        weights = np.array([self.probabilities[param_name][choice] for choice in choices])
        return choices[rng.choice(len(choices), p=weights / weights.sum())]
