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
    performances y_ds of a task's designs d on its splits s are taken for m_d + e_s, fitted by least squares, and m_d is
    the design's performance: the mean over its splits where all designs have the same. Of the e_s the solution of least
    norm is taken; that of a split that has no design in common with others is 0.

    A run that did not complete counts as the worst complete run on its task, split effects taken out, and does not
    enter the fit. A design none of whose runs completed is -inf, so that it ranks below all that did.

    Args:
        records: Rows of `Bank.records`, of one budget.
        score: ``validation``, or ``test``, for reports only.

    Returns:
        A frame indexed by content hash and `Design.key`, both sorted: ``goodness``, that performance, with the sign
        turned for errors; ``validation_loss``, the mean over the runs that completed; ``key``, the least of a record.
    """
    value = goodness(records, score)
    completed = value.notna()
    value = value - split_effects(records[completed], value[completed]).reindex(records.index)
    value = value.fillna(value.groupby(records["content_hash"]).transform("min"))
    loss = records["validation_loss"].where(completed)
    frame = records[["content_hash", "design", "key"]].assign(goodness=value, completed=completed, validation_loss=loss)
    each = frame.groupby(["content_hash", "design"]).agg(
        goodness=("goodness", "mean"),
        validation_loss=("validation_loss", "mean"),
        key=("key", "min"),
        runs=("key", "size"),
        completed=("completed", "any"),
    )
    mean = each["goodness"].where(each.pop("runs") == 1, each["goodness"].round(DIGITS))
    return each.assign(goodness=mean.where(each.pop("completed"), -np.inf))


def split_effects(records: pd.DataFrame, value: pd.Series) -> pd.Series:
    """e_s of `design_performance` for every row, [n], all of which completed; 0 on tasks of one split."""
    effects = pd.Series(0.0, index=records.index)
    for _, own in records.groupby("content_hash"):
        if own["seed"].nunique() == 1:
            continue
        splits = pd.get_dummies(own["seed"], dtype=float)
        score, design = value[own.index], own["design"]
        within = splits - splits.groupby(design).transform("mean")  # m_d is eliminated
        fitted = np.linalg.lstsq(within.to_numpy(), (score - score.groupby(design).transform("mean")).to_numpy())[0]
        effects[own.index] = splits.to_numpy() @ fitted
    return effects


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
