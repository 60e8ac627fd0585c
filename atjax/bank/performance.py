"""What designs are worth on a task: validation performance over all splits that they were trained on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from atjax.bank.records import goodness
from atjax.bank.store import Bank
from atjax.errors import UserError

DIGITS = 12
"""Decimals that are kept of a mean, so that designs that tie in all splits tie."""


def design_performance(records: pd.DataFrame, score: str = "validation") -> pd.DataFrame:
    """The performance of every design on every task that it was run on, more is better.

    A split (seed) of a small task may be easier than the next, and not every design need have been run on each. So the
    performances y_ds of a task's designs d on its splits s are taken for m_d + e_s and noise, fitted by least squares,
    and m_d is the design's performance: the mean over its splits where all designs have the same. Of the e_s the
    solution of least norm is taken; that of a split that has no design in common with others is 0.

    Designs with fewer runs than others are then moved towards the mean (`shrinkage`), for among the best by one run
    each there are more that were lucky than among the best by three.

    A run that did not complete counts as the worst complete run on its task, split effects taken out, and does not
    enter the fit. A design none of whose runs completed is -inf, so that it ranks below all that did.

    Args:
        records: Rows of `Bank.records`, of one budget.
        score: ``validation``, or ``test``, for reports only.

    Returns:
        A frame indexed by content hash and `Design.key`, both sorted: ``goodness``, that performance, with the sign
        turned for errors; ``validation_loss``, the mean over the runs that completed; ``key``, the least of a record.
    """
    records = records.reset_index(drop=True)
    value = goodness(records, score)
    tasks = {content: _on_a_task(own, value[own.index]) for content, own in records.groupby("content_hash")}
    if not tasks:
        none = pd.MultiIndex.from_arrays([[], []], names=["content_hash", "design"])
        return pd.DataFrame(index=none, columns=["goodness", "validation_loss", "key"])
    return pd.concat(tasks, names=["content_hash"])


def _on_a_task(records: pd.DataFrame, value: pd.Series) -> pd.DataFrame:
    """Of one task, indexed by design; ``value`` is NaN where a run did not complete."""
    completed = value.notna()
    done = records[completed]
    value = value - split_effects(done, value[completed]).reindex(records.index)
    frame = pd.DataFrame(
        {
            "goodness": value.fillna(value.min()),
            "completed": completed,
            "validation_loss": records["validation_loss"].where(completed),
            "key": records["key"],
        }
    )
    by_design = frame.groupby(records["design"])
    each = by_design.agg({"goodness": "mean", "completed": "any", "validation_loss": "mean", "key": "min"})
    runs = by_design.size()
    if runs.max() > 1:
        mean = each["goodness"].round(DIGITS)
        errors = value[completed] - value[completed].groupby(done["design"]).transform("mean")
        free = len(done) - done["design"].nunique() - done["seed"].nunique() + 1
        noise = float((errors**2).sum() / free) if free > 0 else 0.0
        each["goodness"] = mean - (1 - shrinkage(mean, runs, noise)) * (mean - mean.mean())
    each["goodness"] = each["goodness"].where(each.pop("completed"), -np.inf)
    return each


def split_effects(records: pd.DataFrame, value: pd.Series) -> pd.Series:
    """e_s for every run of one task, all of which completed, [n]; 0 where there is one split."""
    if records["seed"].nunique() <= 1:
        return pd.Series(0.0, index=records.index)
    splits, design = pd.get_dummies(records["seed"], dtype=float), records["design"]
    within = splits - splits.groupby(design).transform("mean")  # m_d is eliminated
    fitted = np.linalg.lstsq(within.to_numpy(), (value - value.groupby(design).transform("mean")).to_numpy())[0]
    return pd.Series(splits.to_numpy() @ fitted, index=records.index)


def shrinkage(mean: pd.Series, runs: pd.Series, noise: float) -> pd.Series:
    """What is left of every design's distance from the mean, in (0, 1]; 1 for those with the most runs.

    The best linear unbiased prediction of m_d (Robinson, 1991) multiplies it by v / (v + noise / n_d), v being the
    variance over designs; here, divided by that factor for the most runs, which changes no ranking.

    Args:
        mean: Mean performance of every design, [D].
        runs: How many runs it is the mean of, n_d, int [D].
        noise: Variance of a single run.
    """
    most = runs.max()
    if noise == 0 or runs.min() == most:
        return pd.Series(1.0, index=mean.index)
    variance = max(0.0, float(mean.var()) - noise * float((1 / runs).mean()))
    return runs * (variance * most + noise) / (most * (variance * runs + noise))


def performance_matrix(bank: Bank, score: str = "validation") -> pd.DataFrame:
    """`design_performance` of every design on every task, [designs, T]; NaN where a design was not run.

    Returns:
        A frame with `Design.key` as index and content hashes as columns, both sorted.

    Raises:
        UserError: The bank holds records of several budgets, whose performances do not compare.
    """
    budgets = sorted(bank.records["budget"].unique())
    if len(budgets) > 1:
        raise UserError(f"The bank holds records of the budgets {', '.join(budgets)}; pick one with where(budget=...).")
    return design_performance(bank.records, score)["goodness"].unstack(level=0).sort_index().sort_index(axis=1)
