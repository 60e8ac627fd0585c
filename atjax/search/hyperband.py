"""HyperBand (Li et al., 2017): a training that falls behind others at the same share of its epochs is stopped.

Where designs come from is not its matter: they are drawn as in a random search.
"""

from __future__ import annotations

import math

import numpy as np
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial

SHARES = 9
"""R of algorithm 1: the resource is counted in ninths of a design's own epochs.

Epochs are a dimension of the design, so a share is what trainings have in common. ``budget=quick`` records the metrics
of the shortest ones five times: at 27 shares the first rung would be the same record as at 9.
"""

FACTOR = 3
"""Eta of algorithm 1, and its default: of the trainings that come to a rung a third goes on to the next."""


class HyperBand(BasePruner):
    """Optuna's HyperBand: rungs at 1/9 and 1/3 of the epochs in bracket one, at 1/3 in bracket two, none in three.

    A checksum of the study's name and the trial's number deals trials into brackets, about 9, 5 and 3 of 17, as
    algorithm 1 begins them. Trials come one by one, so each is judged when it comes to a rung, by those of its bracket
    that came there before (asynchronous successive halving: Li et al., 2020): of n with it, it goes on if it is among
    the best floor(n / 3), at least the best one; ties go on.

    It holds Optuna's pruner and is not one itself, for to the sampler of a study with a `HyperbandPruner` Optuna shows
    the trials of one bracket only: it would propose designs of the others again.
    """

    def __init__(self) -> None:
        self._brackets = HyperbandPruner(min_resource=1, max_resource=SHARES, reduction_factor=FACTOR)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """See `BasePruner`."""
        return self._brackets.prune(study, trial)


class Judge:
    """Tells a study how one trial does, and hears whether to stop it; see ``stop`` of `atjax.train.fit`.

    A trial is told by its best score so far, as it will be in the end, once for each ninth of its epochs.
    """

    def __init__(self, trial: Trial, direction: StudyDirection) -> None:
        self._trial = trial
        self._better = np.fmax if direction == StudyDirection.MAXIMIZE else np.fmin  # they pass over NaN
        self._best, self._told = math.nan, 0

    def __call__(self, done: int, epochs: int, validation: float) -> bool:
        """Whether to stop after some of the epochs."""
        self._best = float(self._better(self._best, validation))
        share = SHARES * done // epochs
        if share == self._told:
            return False
        self._told = share
        self._trial.report(self._best, share)
        return self._trial.should_prune()
