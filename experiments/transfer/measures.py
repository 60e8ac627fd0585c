"""What replayed searches came to: how good, how soon, worth how many random trials, and what the records allow."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from recorded import Recorded
from replay import best_so_far
from scipy.special import gammaln
from scipy.stats import kendalltau

from atjax.ranking import rank_shares

SHORT = 3
"""How many trials the paper's headline is about."""
RANDOM, TPE = "uniform random", "uniform tpe"
"""The methods that the others are measured by."""
Searches = Mapping[str, Sequence[np.ndarray]]
"""For every method and task the designs tried, int [seeds, trials]."""


def curves(bank: Recorded, task: int, tried: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The score of the best so far, [seeds, trials]: picked by validation, read from ``scores`` [S, N, T]."""
    best = best_so_far(bank, task, tried)
    return scores[bank.split(np.arange(len(tried)))[:, None], best, task]


def passes(mean: np.ndarray, target: float) -> float:
    """The first trial at which a mean curve [trials] reaches a target; infinity if none does."""
    reached = np.flatnonzero(mean >= target - 1e-12)
    return float(reached[0] + 1) if len(reached) else np.inf


MOST = 1000
"""Random designs that trials can be worth."""


def random_shares(shares: np.ndarray) -> np.ndarray:
    """The expected best rank share of n = 1 .. min(N, `MOST`) random designs without repeats, exactly; shares [N].

    The best of n is the k-th of N by rank with probability C(N - k, n - 1) / C(N, n).
    """
    total = len(shares)
    ordered = np.sort(shares)[::-1]
    place = np.arange(1, total + 1)

    def choose(m: np.ndarray, k: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            log = gammaln(m + 1) - gammaln(k + 1) - gammaln(np.maximum(m - k, 0) + 1)
        return np.where(m >= k, log, -np.inf)

    expected = np.empty(min(total, MOST))
    for n in range(1, len(expected) + 1):
        log = choose(total - place, np.full(total, n - 1)) - choose(np.array(total), np.array(n))
        expected[n - 1] = np.exp(log) @ ordered
    return expected


def worth(bank: Recorded, found: Searches, trials: int) -> dict[str, np.ndarray]:
    """How many random trials the first ``trials`` of a method are worth, [T].

    By the mean over splits of the validation rank on a split, interpolated.
    """
    result = {method: np.empty(len(bank.tasks)) for method in found}
    shares = standings(bank, bank.validation)
    for task in range(len(bank.tasks)):
        curve = [random_shares(shares[split, bank.designs(task, split), task]) for split in range(len(shares))]
        least = min(map(len, curve))
        uniform = np.mean([each[:least] for each in curve], axis=0)
        for method, tried in found.items():
            last = min(trials, least)
            value = curves(bank, task, tried[task], shares)[:, last - 1].mean()
            result[method][task] = np.interp(value, uniform, np.arange(1, len(uniform) + 1))
    return result


def standings(bank: Recorded, scores: np.ndarray) -> np.ndarray:
    """The rank share of every design among those that its task was run with on the same split, [S, N, T].

    Args:
        bank: The bank.
        scores: What to rank by, more is better, [S, N, T].
    """
    shares = np.full(scores.shape, np.nan)
    for task, split in itertools.product(range(len(bank.tasks)), range(len(shares))):
        own = bank.designs(task, split)
        shares[split, own, task] = rank_shares(scores[split, own, task][:, None])[:, 0]
    return shares


def gains_by_split(bank: Recorded, task: int, method: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Mean gain of a method's searches over uniform ones on each split of a task, [its own splits].

    Args:
        bank: The bank.
        task: The task.
        method: Scores of its searches, [seeds].
        uniform: Of uniform searches with the same seeds, [seeds].
    """
    own = own_splits(bank, task)
    turn = bank.split(np.arange(len(method))) % len(own)
    return np.array([(method - uniform)[turn == number].mean() for number in range(len(own))])


class Agreement(NamedTuple):
    """How far the records of a task agree on which designs are good.

    Attributes:
        splits: The number of splits.
        test: Kendall's tau-b of validation and test scores of a split, mean over splits.
        between: Of the validation scores of a split and of another, mean over pairs; NaN of one split.
        tests: The same of test scores.
        worth: How many random trials the best 3 designs by all other splits are worth, as in `worth`; NaN of one split.
            A yardstick for priors, which know nothing of the task itself.
    """

    splits: int
    test: float
    between: float
    tests: float
    worth: float


def seconds(bank: Recorded, tried: Sequence[np.ndarray]) -> np.ndarray:
    """What the first trials of a search take to train on average, on every task, [T].

    Args:
        bank: With times of its trainings.
        tried: Numbers of designs, [seeds, trials] for each task.
    """
    return np.array([np.nanmean(bank.seconds[numbers[:, :SHORT], task]) for task, numbers in enumerate(tried)])


def own_splits(bank: Recorded, task: int) -> np.ndarray:
    """Numbers of the splits that a task has of its own; the others of the bank's S are repeats of them."""
    turns = np.nan_to_num(bank.validation[:, :, task], nan=np.inf)
    return np.sort(np.unique(turns, axis=0, return_index=True)[1])


def agreement(bank: Recorded, task: int) -> Agreement:
    """See `Agreement`."""
    first = own_splits(bank, task)
    validation, test = (turns[first, :, task] for turns in (bank.validation, bank.test))
    with_test = float(np.mean([_tau(*pair) for pair in zip(validation, test)]))
    if len(first) == 1:
        return Agreement(1, with_test, np.nan, np.nan, np.nan)
    between, tests = (
        float(np.mean([_tau(*pair) for pair in itertools.combinations(each, 2)])) for each in (validation, test)
    )
    everywhere = validation[:, ~np.isnan(validation).any(axis=0)]
    shares = rank_shares(everywhere.T).T
    elsewhere = np.stack([np.delete(everywhere, split, axis=0).sum(axis=0) for split in range(len(first))])
    others = np.argsort(-elsewhere, axis=1, kind="stable")[:, :SHORT]
    best = np.take_along_axis(shares, others, axis=1).max(axis=1).mean()
    uniform = np.mean([random_shares(each) for each in shares], axis=0)
    value = float(np.interp(best, uniform, np.arange(1, len(uniform) + 1)))
    return Agreement(len(first), with_test, between, tests, value)


def _tau(left: np.ndarray, right: np.ndarray) -> float:
    both = ~np.isnan(left) & ~np.isnan(right)
    return float(kendalltau(left[both], right[both]).statistic)
