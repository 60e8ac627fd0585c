"""A prior over whole designs: their mean rank on the bank's tasks, weighted by how near the tasks are.

With r_t(M) the share of a task's recorded designs that a design M does not rank behind (1 for the best),

    score(M) = sum_t w_t r_t(M),    w_t proportional to 1 / max(d_e(n, t), floor),

is followed from the top, without repeats, over the designs that the bank has seen. Marginals lose which choices go well
together; ranks do not. Where one task lacks a design that others have, r_t is predicted by ridge regression on the
one-hot choices. Predicted ranks are worth little (docs/results.md), so designs that few of the tasks have are left out
(`widely_run`). A recorded rank is that of one noisy training; part of it can be replaced by what the same regression
says of it.

After a few trials the tasks are weighted anew by how well they rank what was seen (the idea of the ranking-weighted
ensembles of Feurer et al., 2018): with tau_t the mean over pairs of n trials of sign x sign, 1 if task t orders all of
them as the novel task does,

    w_t proportional to w_t exp(reweigh n tau_t).

The best designs are often the slowest, and a little worse ones much faster. So a score may be lowered by a price on the
time that a design takes to train: price x the logarithm of its relative time (`relative_times`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import softmax


@dataclass(frozen=True, eq=False)
class Ranking:
    """What T tasks of a bank say of N designs.

    Attributes:
        rows: The designs, int8 [N, D] (`Space.numbers`).
        shares: r, float32 [N, T].
        weights: w, [T], with sum 1.
        reweigh: How fast trials seen re-weight the tasks; 0: never.
        penalty: What every design's score is lowered by, float32 [N], or one number for all.
    """

    rows: np.ndarray
    shares: np.ndarray
    weights: np.ndarray
    reweigh: float
    penalty: np.ndarray | float = 0.0

    def posterior(self, seen: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Weights of the tasks after n trials, [T].

        Args:
            seen: Numbers of the designs tried, [n].
            values: Their scores, more is better, [n]; -inf for a failure.
        """
        first, second = np.triu_indices(len(seen), 1)
        if not self.reweigh or not len(first):
            return self.weights
        with np.errstate(invalid="ignore"):  # of two failures neither is better
            novel = np.nan_to_num(np.sign(values[first] - values[second]))
        shares = self.shares[seen]
        tau = (novel[:, None] * np.sign(shares[first] - shares[second])).mean(axis=0)
        with np.errstate(divide="ignore"):  # of weight 0 the logarithm is -inf, and stays so
            return softmax(np.log(self.weights) + self.reweigh * len(seen) * tau)

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """sum_t w_t r_t less the penalty, float32 [N]."""
        return self.shares @ weights.astype(np.float32) - self.penalty


def relative_times(seconds: np.ndarray) -> np.ndarray:
    """How long designs take to train against others: mean over tasks of log(seconds / the task's median), float32 [N].

    Args:
        seconds: Of N designs on T tasks, [N, T]; NaN where not known, and counted out.

    Returns:
        0 for a design of which no time is known.
    """
    with np.errstate(divide="ignore"):
        logs = pd.DataFrame(np.log(seconds)).replace([np.inf, -np.inf], np.nan)
    return (logs - logs.median()).mean(axis=1).fillna(0.0).to_numpy(np.float32)


def rank_shares(performances: np.ndarray) -> np.ndarray:
    """r_t of the designs that each task has, [N, T], from performances [N, T]: more is better, NaN where not run.

    Ties share their mean rank; the best of K untied designs has share 1, the worst 1 / K.
    """
    frame = pd.DataFrame(performances)
    return (frame.rank() / frame.notna().sum()).to_numpy()


def widely_run(run: np.ndarray, weights: np.ndarray, coverage: float) -> np.ndarray:
    """Designs of which enough is recorded to rank them, bool [N].

    Those that tasks have run which together weigh at least ``coverage`` times as much as the tasks of any one design.

    Args:
        run: Which designs each task has, bool [N, T].
        weights: Of the tasks, [T].
        coverage: Between 0 and 1; 0 takes all designs that a task of some weight has.
    """
    recorded = run @ weights
    return (recorded > 0) & (recorded >= coverage * recorded.max(initial=0.0) - 1e-12)


def fill_shares(one_hot: np.ndarray, shares: np.ndarray, ridge: float, keep: float = 1.0) -> np.ndarray:
    """Shares of every design on every task, float32 [N, T]: recorded ones as they are, others predicted.

    For each task, p = mean + X b, with b by ridge regression on the designs that the task has. Of recorded shares r,
    keep r + (1 - keep) p is taken, which makes less of a training that came out well by chance.

    Args:
        one_hot: Codes X of the designs, [N, C].
        shares: Their shares, [N, T], NaN where a design was not run; every task has one.
        ridge: Penalty on b.
        keep: What counts of a recorded share, between 0 and 1; the prediction makes up the rest.
    """
    filled = np.array(shares, np.float32)
    for task, own in enumerate(shares.T):
        has = ~np.isnan(own)
        if has.all() and keep == 1:
            continue
        codes, mean = one_hot[has], own[has].mean()
        weights = np.linalg.solve(codes.T @ codes + ridge * np.eye(codes.shape[1]), codes.T @ (own[has] - mean))
        predicted = mean + one_hot @ weights
        filled[:, task] = np.where(has, keep * np.where(has, own, 0) + (1 - keep) * predicted, predicted)
    return filled
