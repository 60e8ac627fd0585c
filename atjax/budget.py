"""Budgets: what is trained for a design's nominal width and epochs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from atjax import config
from atjax.errors import UserError, check_whole, is_whole
from atjax.space import Design, Space
from atjax.task import Level


@dataclass(frozen=True)
class Schedule:
    """What a budget trains for one design: real width, real epochs, and how often metrics are recorded."""

    hidden: int
    epochs: int
    eval_every: int


@dataclass(frozen=True)
class Budget:
    """How much computing a trial may take; named in every output.

    Attributes:
        name: ``paper``, ``quick``, or the user's own. Other values than those of ``paper`` or ``quick`` under that name
            make it another name, such as ``quick-3f2a1c``, so that what they trained is not mixed.
        hidden: Nominal width (as text) to real width; a width that is not listed is built as it is.
        epochs_scale: By level, real epochs for a nominal epoch.
        eval_every: By level, epochs between two records of the metrics.
        batch_size: Graphs in a batch.
    """

    name: str
    hidden: Mapping[str, int]
    epochs_scale: Mapping[str, float]
    eval_every: Mapping[str, int]
    batch_size: int = 32

    def __post_init__(self) -> None:
        for what, entry in {"hidden": 64, "epochs_scale": "graph", "eval_every": "graph"}.items():
            if not isinstance(table := getattr(self, what), Mapping):
                raise UserError(f"budget.{what} must be a table, as in budget.{what}.{entry}=...; it is {table!r}.")
        # YAML reads an unquoted 64 as a number.
        object.__setattr__(self, "hidden", {str(nominal): real for nominal, real in self.hidden.items()})
        for what, table in {"hidden": self.hidden, "eval_every": self.eval_every}.items():
            if not all(map(is_whole, table.values())):
                raise UserError(f"budget.{what} must hold whole numbers of at least 1; it is {dict(table)}.")
        if not all(map(_positive, self.epochs_scale.values())):
            raise UserError(f"budget.epochs_scale must be positive and finite; it is {dict(self.epochs_scale)}.")
        check_whole("budget.batch_size", self.batch_size)
        object.__setattr__(self, "name", config.name_of_budget(dataclasses.asdict(self)))

    def width(self, hidden: int) -> int:
        """The real width for a nominal one."""
        return self.hidden.get(str(hidden), hidden)

    def check(self, space: Space) -> None:
        """Raise `UserError` if a width does not divide into heads of a space: better now than in a later trial."""
        choices = {dimension.name: dimension.choices for dimension in space.dimensions}
        if not {"convolution", "heads", "hidden"} <= choices.keys() or "gat" not in choices["convolution"]:
            return
        heads = math.lcm(*map(int, choices["heads"]))
        for nominal in map(int, choices["hidden"]):
            width = self.width(nominal)
            if width % heads:
                raise UserError(
                    f"budget.hidden builds the width {nominal} as {width}, which does not divide into "
                    f"{', '.join(map(str, choices['heads']))} heads of attention; give a multiple of {heads}."
                )

    def schedule(self, design: Design, level: Level) -> Schedule:
        """What is trained for a design; epochs are a multiple of ``eval_every``, so that one program does for all."""
        for what, table in {"epochs_scale": self.epochs_scale, "eval_every": self.eval_every}.items():
            if level not in table:
                raise UserError(f"budget.{what} has no value for the level {level}; add one.")
        every = self.eval_every[level]
        epochs = epochs_trained(design.epochs, self.epochs_scale[level], every)
        return Schedule(self.width(design.hidden), epochs, every)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def epochs_trained(nominal: int, scale: float, every: int) -> int:
    """Epochs that are trained for a design's nominal ones: that share of them, as a multiple of ``every``."""
    return max(1, round(nominal * scale / every)) * every
