"""95% intervals of a score, from the score and the numbers of independent examples alone.

Both are score intervals: they hold what a test at 5% would not reject, where the standard error is that of the value
tested. Unlike the score -+ 1.96 of its own standard errors, they have a width where the score is 0 or 1.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq

TINY = 1e-9
Z = 1.959964
"""Of a normal distribution, 95% lies within this many standard deviations."""


def of_accuracy(accuracy: float, count: int) -> tuple[float, float]:
    """Wilson's (1927): of a share p of n examples,

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Args:
        accuracy: The share.
        count: Examples, 1 or more.

    Returns:
        Both ends, within 0 to 1.
    """
    share = min(max(accuracy, 0.0), 1.0)
    middle, spread = share + Z**2 / (2 * count), Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2))
    whole = 1 + Z**2 / count
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def of_roc_auc(area: float, negatives: int, positives: int) -> tuple[float, float]:
    """Newcombe's (2006, method 5): all areas A at no more than z standard errors from what was found, where

        A (1 - A) (1 + N (1 - A) / (2 - A) + N A / (1 + A)) / (m n),  N = (m + n) / 2 - 1,

    is the squared error of A with m and n examples, after Hanley and McNeil (1982).

    Args:
        area: The ROC-AUC.
        negatives: Examples of the one class, 1 or more.
        positives: Examples of the other, 1 or more.

    Returns:
        Both ends, within 0 to 1.
    """
    area = min(max(area, 0.0), 1.0)
    pairs, half = negatives * positives, (negatives + positives) / 2 - 1

    def excess(true: float) -> float:
        variance = true * (1 - true) * (1 + half * (1 - true) / (2 - true) + half * true / (1 + true)) / pairs
        return (area - true) ** 2 - Z**2 * variance

    inside = min(max(area, TINY), 1 - TINY)  # at 0 and at 1 the error is 0 too
    low = 0.0 if area <= TINY else brentq(excess, 0.0, inside)
    high = 1.0 if area >= 1 - TINY else brentq(excess, inside, 1.0)
    return float(low), float(high)
