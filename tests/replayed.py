"""A tiny bank to replay searches on, and the folder of the experiments to import from."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import tiny

sys.path.append(str(tiny.REPOSITORY / "experiments" / "transfer"))

from recorded import Recorded

from atjax.space import Dimension, Space


class Pair(tuple):
    """A design of two choices."""

    def __new__(cls, a: int, b: int) -> Pair:
        return super().__new__(cls, (a, b))

    a, b = property(lambda self: self[0]), property(lambda self: self[1])

    def as_dict(self) -> dict[str, int]:
        return {"a": self[0], "b": self[1]}


SPACE = Space("pair", (Dimension("a", (1, 2, 3, 4)), Dimension("b", (1, 2, 3))), Pair)
ROWS = SPACE.numbers(Pair(a, b) for a, b in itertools.product((1, 2, 3, 4), (1, 2, 3)))


def best_of(known: np.ndarray) -> dict[str, dict[int, float]]:
    """Marginals of the best three of the 12 designs."""
    best = ROWS[np.argsort(-known)[:3]]
    return {
        d.name: {choice: np.mean(best[:, k] == number) for number, choice in enumerate(d.choices)}
        for k, d in enumerate(SPACE.dimensions)
    }


def bank(whole: bool = True, tasks: int = 5) -> Recorded:
    rng = np.random.default_rng(0)
    common = rng.normal(size=(12, 1))
    validation = common + 0.3 * rng.normal(size=(2, 12, tasks))
    if not whole:
        validation[0, :3, 0] = validation[1, 3:6, 0] = np.nan
    place = {row.tobytes(): number for number, row in enumerate(ROWS)}
    return Recorded(
        "tiny",
        SPACE,
        tuple("vwxyz"[:tasks]),
        np.array(["node", "graph", "graph", "node", "graph"][:tasks]),
        ROWS,
        validation,
        np.full(validation.shape, np.inf),
        validation + 10,
        True,
        validation[0],
        tuple(best_of(column) for column in validation[0].T),
        lambda row: place.get(row.tobytes(), -1),
        whole,
        {name: 1 + rng.random(12) for name in "vwxy"},
        {name: 1 + rng.random(24) for name in "vwxy"},
        rng.lognormal(sigma=2, size=(12, tasks)),
    )
