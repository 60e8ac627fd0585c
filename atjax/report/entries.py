"""What a task feature is made of, by statistic and anchor: for `python -m atjax.embed` and for the page of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Values = Sequence[Sequence[float | None]]
"""Of several numbers, the values of every initialisation; None where one is not finite."""


@dataclass(frozen=True)
class Entry:
    """One number of every anchor.

    Attributes:
        name: The statistic's, with its place among the statistic's entries where an anchor has several.
        values: Of every initialisation, [A][R].
    """

    name: str
    values: Values


def by_anchor(feature: Mapping[str, Values], anchors: int) -> tuple[list[Entry], dict[str, int]]:
    """Every statistic by anchor: its entry, or the first and the last of several.

    Args:
        feature: Values of every statistic, anchor by anchor, each with all its entries, [E][R].
        anchors: A.

    Returns:
        What can be told by anchor; and the number of entries of each statistic that cannot, as the anchors have
        different numbers of them, like those of their layers.
    """
    told, untold = [], {}
    for name, values in feature.items():
        each, left = divmod(len(values), anchors)
        if left or not each:
            untold[name] = len(values)
            continue
        for place in sorted({0, each - 1}):
            told.append(Entry(name if each == 1 else f"{name} {place + 1}", values[place::each]))
    return told, untold
