"""How alike two tasks are: Kendall rank correlation between the performances of the same designs (section 4.3)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from atjax.bank.records import goodness
from atjax.bank.store import Bank
from atjax.errors import UserError

MINIMUM_SHARED = 8
"""Designs that two tasks must share; with fewer, unrelated rankings have a tau of 0.3 by chance and more."""


def performance_matrix(bank: Bank) -> pd.DataFrame:
    """Validation performance of every design on every task, more is better, [designs, T].

    The mean over seeds, with the sign turned for errors. A run that did not complete counts as the worst complete run
    on its task; a design none of whose runs completed is -inf, so that it ranks below all that did. NaN where a
    design was not run.

    Returns:
        A frame with `Design.key` as index and content hashes as columns, both sorted.

    Raises:
        UserError: The bank holds records of several budgets, whose performances do not compare.
    """
    records = bank.records
    budgets = sorted(records["budget"].unique())
    if len(budgets) > 1:
        raise UserError(f"The bank holds records of the budgets {', '.join(budgets)}; pick one with where(budget=...).")
    value = goodness(records)
    worst = value.groupby(records["content_hash"]).transform("min")
    cell = [records["design"], records["content_hash"]]
    mean = value.fillna(worst).groupby(cell).mean()
    completed = value.notna().groupby(cell).any()
    return mean.where(completed, -np.inf).unstack().sort_index().sort_index(axis=1)


def kendall_distance(matrix: pd.DataFrame, minimum_shared: int = MINIMUM_SHARED) -> pd.DataFrame:
    """d_g = (1 - tau_b) / 2 between all pairs of tasks, [T, T]: 0 for the same ranking, 1 for the reverse one.

    With s_a the vector of sign(x_ai - x_aj) over all pairs of designs i < j that both tasks hold,

        tau_b = s_a . s_b / sqrt(|s_a|^2 |s_b|^2),

    which handles ties as Kendall's tau-b does (SciPy's default). All tasks are done by three matrix products.

    Args:
        matrix: Performances, [designs, T], NaN where a design was not run (see `performance_matrix`).
        minimum_shared: Fewer shared designs give NaN.

    Returns:
        A symmetric frame, 0 on the diagonal. NaN where the distance is not known: too few shared designs, or a task
        on which all of them tie.
    """
    values = matrix.to_numpy(float).T
    known = (~np.isnan(values)).astype(float)
    first, second = np.triu_indices(values.shape[1], 1)
    left, right = values[:, first], values[:, second]
    signs = (left > right).astype(float) - (left < right)  # 0 for NaN too, and right for -inf against -inf
    counted = known[:, first] * known[:, second]
    strict = (signs != 0) @ counted.T  # [a, b]: pairs untied on a, among those that b holds
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = (signs @ signs.T) / np.sqrt(strict * strict.T)
    distance = np.where(known @ known.T >= minimum_shared, np.clip((1 - tau) / 2, 0, 1), np.nan)
    np.fill_diagonal(distance, 0.0)
    return pd.DataFrame(distance, index=matrix.columns, columns=matrix.columns)
