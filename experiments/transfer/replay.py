"""Searches replayed: a design that is proposed is looked up instead of trained."""

from __future__ import annotations

import numpy as np
import optuna
from recorded import Recorded

from atjax.samplers import History, Rule, suggest

ATTEMPTS = 20
"""Proposals for one trial before a repeat is taken; the live search has more patience, and larger spaces."""


def search(bank: Recorded, task: int, rule: Rule, seed: int, trials: int) -> np.ndarray:
    """Numbers of the designs that a search tries on the split of its seed, int [trials], -1 once it tries nothing new.

    No design is tried twice, and none without results, as in the live search, which asks again.
    """
    rng = np.random.default_rng([seed, task])
    tried: list[int] = []
    rows = np.empty((trials, bank.rows.shape[1]), np.int8)
    values = np.empty(trials)
    scores = bank.validation[bank.split(seed), :, task]
    for number in range(min(trials, len(bank.designs(task, seed)))):
        history = History(rows[:number], values[:number])
        for _ in range(ATTEMPTS):
            row = rule.propose(history, rng)
            found = bank.find(row)
            if found >= 0 and found not in tried:
                break
        else:
            break
        # The rule sees the design that it proposed, though its results may stand under an equivalent one.
        rows[number], values[number] = row, scores[found]
        tried.append(found)
    return np.array(tried + [-1] * (trials - len(tried)))


def optuna_search(
    bank: Recorded, task: int, sampler: optuna.samplers.BaseSampler, seed: int, trials: int
) -> np.ndarray:
    """The same with one of Optuna's own samplers, which needs a bank of its whole space."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    tried: list[int] = []
    while len(tried) < min(trials, len(bank.rows)):
        for _ in range(ATTEMPTS):
            trial = study.ask()
            found = bank.find(bank.space.numbers([suggest(trial, bank.space)])[0])
            if found >= 0 and found not in tried:
                break
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            break
        study.tell(trial, bank.validation[bank.split(seed), found, task])
        tried.append(found)
    return np.array(tried + [-1] * (trials - len(tried)))


def best_so_far(bank: Recorded, task: int, tried: np.ndarray) -> np.ndarray:
    """For every trial the design that validation picks among those up to it, as in the live search.

    Ties go to the lower validation loss, then to the earlier trial (`atjax.report.best_so_far`).

    Args:
        bank: The bank.
        task: The task.
        tried: A row for each seed 0, 1, ..., int [seeds, trials].
    """
    split = bank.split(np.arange(len(tried)))[:, None]
    scores = np.where(tried >= 0, bank.validation[split, tried, task], -np.inf)
    losses = np.where(tried >= 0, bank.validation_loss[split, tried, task], np.inf)
    best = np.zeros_like(tried)
    for number in range(1, tried.shape[1]):
        last = best[:, number - 1]
        score, loss = (np.take_along_axis(each, last[:, None], 1)[:, 0] for each in (scores, losses))
        equal = scores[:, number] == score
        better = (scores[:, number] > score) | (equal & (losses[:, number] < loss))
        best[:, number] = np.where(better, number, last)
    return np.take_along_axis(tried, best, 1)
