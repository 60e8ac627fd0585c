"""What is known of how designs perform: the embedded bank, and GraphGym's published grid.

A `Performances` also says how well a perfect feature could do, for the performances are noisy: their similarities are
compared with those that the same experiment would give again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scores import halves, kendall

from atjax import config, load_bank
from atjax.bank import Bank, performance_matrix
from atjax.bank.importers.graphgym import DIMENSIONS, SEEDS, read_grid
from atjax.bank.importers.names import TASKS
from atjax.space import ANCHORS

DRAWS = 200
"""Repeats of a noisy experiment that a ceiling is averaged over."""


@dataclass(frozen=True, eq=False)
class Retest:
    """A second look at the similarities between tasks, n times.

    Attributes:
        name: How it was had.
        similarity: Taken for the feature, [n, T, T].
        target: Taken for the performances, [n, T, T]; None: the bank's own.
        both: Whether both sides are noisy looks at the truth. If not, the bank stands for the truth, and the other side
            is a noisy look at it; that asks a little too much, for the bank's similarities are already blurred.
    """

    name: str
    similarity: np.ndarray
    target: np.ndarray | None = None
    both: bool = False

    def ceiling(self, score: float) -> float:
        """What a feature that knows the truth would score, from the score of this look.

        Where both sides are noisy, r = sin(pi tau / 2) is taken for the correlation of two looks (normal theory), its
        root for that of one look with the truth (Spearman, 1904).
        """
        if not self.both:
            return score
        return float(2 / np.pi * np.arcsin(np.sqrt(np.sin(np.pi / 2 * np.clip(score, 0, 1)))))


@dataclass(frozen=True, eq=False)
class Performances:
    """Performances of D designs on T tasks.

    Attributes:
        name: Of the bank.
        tasks: Names, [T].
        levels: ``node`` or ``graph``, [T].
        values: More is better, [D, T].
        retests: What noise does to the similarities; the first one gives the ceiling.
    """

    name: str
    tasks: tuple[str, ...]
    levels: np.ndarray
    values: np.ndarray
    retests: tuple[Retest, ...]

    @property
    def similarity(self) -> np.ndarray:
        """Kendall's tau-b between tasks over designs, [T, T]."""
        return kendall(self.values)

    @property
    def distance(self) -> np.ndarray:
        """d_g = (1 - tau) / 2, what the projection is trained on, [T, T]."""
        distance = np.clip((1 - self.similarity) / 2, 0, 1)
        np.fill_diagonal(distance, 0)
        return distance


def noisy(values: np.ndarray, error: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Similarities after normal noise of the given standard error [D, T] is added to the performances, [n, T, T]."""
    return kendall(values + error * rng.normal(size=(DRAWS, *values.shape)))


def design_halves(values: np.ndarray, rng: np.random.Generator) -> Retest:
    """Half of the designs against the other half."""
    split = halves(len(values), DRAWS, rng)
    first, second = (np.stack([kendall(values[pair[side]]) for pair in split]) for side in (0, 1))
    return Retest("half of the designs against the other half", first, second, both=True)


def shipped() -> Bank:
    """The bank that atjax ships, without tasks of pairs of nodes, which GraphGym's grid lacks."""
    bank = load_bank()
    records, features = (frame[frame["level"] != "edge"] for frame in (bank.records, bank.features))
    return dataclasses.replace(bank, records=records, features=features)


def embedded() -> Performances:
    """The bank that atjax ships, by validation performance.

    Its ceiling is rough: the same trainings looked at by their test examples, which are as many; what is left out is
    the noise of training.
    """
    bank = shipped()
    matrix, test = (performance_matrix(bank, score) for score in ("validation", "test"))
    levels = bank.records.groupby("content_hash")["level"].first()
    retests = (
        Retest("the same trainings by their test examples", kendall(test.to_numpy())[None], both=True),
        design_halves(matrix.to_numpy(), np.random.default_rng(0)),
    )
    return Performances(
        "embedded",
        tuple(bank.tasks[content] for content in matrix.columns),
        levels[matrix.columns].to_numpy(str),
        matrix.to_numpy(),
        retests,
    )


def graphgym(folder: Path | None = None) -> Performances:
    """GraphGym's published grid (You et al., 2020): 96 designs on 12 real tasks, mean accuracy of 3 trainings.

    Its ceiling: a repeat of the three trainings, by the published deviations. These hold what changes with the split,
    which all designs of one repeat share and which ranks nothing, so that the ceiling may be higher. What training the
    paper's 12 anchors on the novel task would tell is looked at too: a feature made of them without training them can
    hardly tell more.

    Raises:
        UserError: The data folder has no ``graphgym``; it is published with GraphGym, and not with atjax.
    """
    file = (folder or config.data_root()) / "graphgym" / "design_v2_grid_round2" / "val.csv"
    frame, tasks = read_grid(file), list(TASKS.values())
    frame = frame[frame["name"].isin(tasks)]
    table = frame.pivot(index=list(DIMENSIONS.values()), columns="name", values=["accuracy", "accuracy_std"])
    values, deviation = (table[column][tasks].to_numpy(float) for column in ("accuracy", "accuracy_std"))
    levels = frame.groupby("name")["task"].first()[tasks].to_numpy(str)
    rows = table.index.get_indexer([tuple(getattr(anchor, name) for name in DIMENSIONS.values()) for anchor in ANCHORS])
    rng = np.random.default_rng(0)
    error = deviation / np.sqrt(SEEDS)  # as published
    unbiased = deviation / np.sqrt(SEEDS - 1)  # the deviations were divided by the number of repeats
    retests = (
        Retest(f"a repeat of the {SEEDS} trainings, by their deviations", noisy(values, error, rng)),
        Retest("the same, deviations corrected for 3 being few", noisy(values, unbiased, rng)),
        design_halves(values, rng),
        Retest(
            "3 new trainings of the 12 anchors alone, by their deviations", noisy(values[rows], unbiased[rows], rng)
        ),
    )
    return Performances("graphgym", tuple(tasks), levels, values, retests)
