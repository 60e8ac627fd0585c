"""How alike two tasks are by the performances of the same designs: Kendall's rank correlation (section 4.3) and, for
comparison, the affinity of Taskonomy (Zamir et al., 2018).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

MINIMUM_SHARED = 8
"""Designs that two tasks must share; with fewer, unrelated rankings have a tau of 0.3 by chance and more."""


def kendall_distance(matrix: pd.DataFrame, minimum_shared: int = MINIMUM_SHARED) -> pd.DataFrame:
    """d_g = (1 - tau_b) / 2 between all pairs of tasks, [T, T]: 0 for the same ranking, 1 for the reverse one.

    With s_a the vector of sign(x_ai - x_aj) over all pairs of designs i < j that both tasks hold,

        tau_b = s_a . s_b / sqrt(|s_a|^2 |s_b|^2),

    which handles ties as Kendall's tau-b does (SciPy's default). All tasks are done at once by matrix products, over
    the pairs (i, i + k) for one k after the other: all pairs of a bank of many designs would be too many to hold.

    Args:
        matrix: Performances, [designs, T], NaN where a design was not run (see `atjax.bank.performance_matrix`).
        minimum_shared: Fewer shared designs give NaN.

    Returns:
        A symmetric frame, 0 on the diagonal. NaN where the distance is not known: too few shared designs, or a task
        on which all of them tie.
    """
    values = matrix.to_numpy(float).T
    known = (~np.isnan(values)).astype(float)
    agreed, strict = np.zeros((2, len(values), len(values)))
    for k in range(1, values.shape[1]):
        left, right = values[:, :-k], values[:, k:]
        signs = (left > right).astype(float) - (left < right)  # 0 for NaN too, and right for -inf against -inf
        agreed += signs @ signs.T
        strict += (signs != 0) @ (known[:, :-k] * known[:, k:]).T  # [a, b]: pairs untied on a, among those that b holds
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = agreed / np.sqrt(strict * strict.T)
    distance = np.where(known @ known.T >= minimum_shared, np.clip((1 - tau) / 2, 0, 1), np.nan)
    np.fill_diagonal(distance, 0.0)
    return pd.DataFrame(distance, index=matrix.columns, columns=matrix.columns)


WINS = 0.001, 0.999
"""Shares of wins are cut at these (Zamir et al., 2018, section 3.3), so that no source is infinitely better."""


def taskonomy_affinity(matrix: pd.DataFrame, minimum_shared: int = MINIMUM_SHARED) -> pd.DataFrame:
    """How well each task stands in for another, by Taskonomy's analytic hierarchy process, [T, T].

    For a target, sources are compared in pairs. Source i wins a design over source j where its rank share of the design
    is nearer to the target's; a tie is half a win. With w_ij the share of wins of i over j among the designs that all
    three hold, cut at `WINS`, the affinities are the principal eigenvector of w_ij / w_ji (Saaty, 1987). Taskonomy
    compares losses on test images; designs are in their place here, as a bank has no transferred models.

    Args:
        matrix: Performances, [designs, T], NaN where a design was not run (see `atjax.bank.performance_matrix`).
        minimum_shared: Of sources that share fewer designs with the target the affinity is not known.

    Returns:
        A frame, a row for each target, whose known entries have sum 1; NaN on the diagonal and where it is not known.
    """
    shares = (matrix.rank() / matrix.notna().sum()).to_numpy()  # ties share their mean rank
    known = ~np.isnan(shares)
    affinity = np.full((shares.shape[1], shares.shape[1]), np.nan)
    for target in range(shares.shape[1]):
        shared = (known & known[:, [target]]).sum(axis=0)
        sources = [s for s in range(shares.shape[1]) if s != target and shared[s] >= minimum_shared]
        if not sources:
            continue
        miss = np.abs(shares[:, sources] - shares[:, [target]])  # NaN where either lacks the design
        with np.errstate(invalid="ignore"):
            wins = np.array([(each[:, None] < miss) + 0.5 * (each[:, None] == miss) for each in miss.T])
        both = ~np.isnan(miss)
        together = both.T.astype(float) @ both  # designs that two sources share with the target
        won = wins.sum(axis=1) / np.maximum(together, 1)
        # Two sources without a common design are as good as each other, as is a source as itself.
        won = np.clip(np.where(together > 0, won, 0.5), *WINS)
        values, vectors = np.linalg.eig(won / won.T)
        principal = np.abs(np.real(vectors[:, np.argmax(np.real(values))]))
        affinity[target, sources] = principal / principal.sum()
    return pd.DataFrame(affinity, index=matrix.columns, columns=matrix.columns)
