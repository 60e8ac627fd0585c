"""Settings of the Fisher stage."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from atjax.errors import UserError, check_whole, is_whole
from atjax.task import Level

BY_EXAMPLE = ("empirical", "exact")
ESTIMATORS = (*BY_EXAMPLE, "hutchinson", "monte_carlo", "reference", "sign_sketch")
"""Names of what `atjax.fisher.estimators` has: those that take example after example, and all."""

FIT_ON = ("all", "sampled")
"""What `FisherConfig.fit_on` may be."""

LEVELLED = ("max_passes", "estimator")
"""Settings that are given by level."""

VERSION = 3
"""Raised whenever the same settings come to give other numbers, by more than a small part of their standard error, so
that stored features are not mixed with new ones."""


@dataclass(frozen=True)
class FisherConfig:
    """What the task feature is computed from; features compare only under equal settings.

    Attributes:
        hidden: Width of the anchors. The paper's is 256; 64 is what a small machine affords.
        seeds: R, random initialisations an anchor.
        ridge: L2 penalty of the last layer's fit, which keeps its optimum finite on separable data.
        max_passes: By level, the most backward passes a model. An example takes one for each direction its label can
            vary in (C - 1 for C classes); a training set that would take more is sampled. Here and for ``estimator``,
            the level edge is as the level node unless it is given.
        max_nodes: For tasks of nodes or pairs, the most nodes of the graph around the sampled examples.
        statistic: What the feature is made of, one after the other; see `atjax.fisher.statistics`. None: alpha.
        estimator: By level, how the Fisher information is estimated: one of `ESTIMATORS` (see
            `atjax.fisher.estimators`), or a `atjax.fisher.sketches.Sketch` of one's own as package.module.function.
        draws: How many, of estimators that draw.
        fit_on: Training examples that models are calibrated and fitted on, or learn from: ``all``, or those
            ``sampled`` by an estimator that takes example after example (BatchNorm of node tasks sees the whole graph
            in any case).
        tolerance: Stop adding examples or draws once the standard errors are at most this many times the spread over
            initialisations; 0 takes them all.
        chunk: Nodes in flight at once: those of a batch of graphs (twice the largest graph is the least), or for node
            tasks the graph's nodes for every backward pass (one pass is the least). Bounds memory; changes no
            result, only the blocks behind a sample's standard errors. 0 takes what fits the device.
    """

    hidden: int
    seeds: int
    ridge: float
    max_passes: Mapping[str, int]
    max_nodes: int
    statistic: Sequence[str] = ("alpha",)
    estimator: Mapping[str, str] = field(default_factory=lambda: {"graph": "exact", "node": "sign_sketch"})
    draws: int = 16
    fit_on: str = "all"
    tolerance: float = 0.0
    chunk: int = 0

    def __post_init__(self) -> None:
        for name in ("hidden", "seeds", "max_nodes", "draws"):
            check_whole(f"fisher.{name}", getattr(self, name))
        check_whole("fisher.chunk", self.chunk, minimum=0)
        if not self.ridge > 0:
            raise UserError(f"fisher.ridge must be positive; it is {self.ridge}.")
        if not self.tolerance >= 0:
            raise UserError(f"fisher.tolerance must not be negative; it is {self.tolerance}.")
        if isinstance(self.statistic, str):
            object.__setattr__(self, "statistic", (self.statistic,))
        object.__setattr__(self, "statistic", ("alpha",) if self.statistic is None else tuple(self.statistic))
        if not self.statistic:
            raise UserError("fisher.statistic names no statistic; name at least one, such as alpha.")
        for name in LEVELLED:
            if not isinstance(table := getattr(self, name), Mapping):
                raise UserError(f"fisher.{name} must be a table, as in fisher.{name}.node=...; it is {table!r}.")
            if "node" in table:
                object.__setattr__(self, name, {"edge": table["node"], **table})
        if self.fit_on not in FIT_ON:
            raise UserError(f"fisher.fit_on must be {' or '.join(FIT_ON)}; it is {self.fit_on!r}.")
        for level in ("graph", "node", "edge"):
            chosen = self.estimator.get(level)
            if chosen not in ESTIMATORS and "." not in str(chosen):
                raise UserError(
                    f"fisher.estimator.{level} must be one of {', '.join(ESTIMATORS)}, or a function of your own as "
                    f"package.module.function; it is {chosen!r}."
                )
        if not all(is_whole(most, minimum=2) for most in self.max_passes.values()):
            raise UserError(f"fisher.max_passes must hold whole numbers of at least 2; it is {dict(self.max_passes)}.")

    def by_example(self, level: Level) -> bool:
        """Whether the estimator of a level takes example after example, and not all of them in each draw."""
        return self.estimator[level] in BY_EXAMPLE

    @property
    def key(self) -> str:
        """Readable name of the settings that the numbers depend on, ending in a short hash of them all."""
        settings = {k: v for k, v in dataclasses.asdict(self).items() if k != "chunk"} | {"version": VERSION}
        settings["statistic"] = list(self.statistic)
        if self.fit_on == "all":
            del settings["fit_on"]  # what was always so, before there was a choice
        for name in LEVELLED:
            # Edge tasks that are taken as node tasks are no setting of their own.
            table = getattr(self, name)
            settings[name] = {k: v for k, v in table.items() if k != "edge" or v != table.get("node")}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        return f"{'+'.join(self.statistic)}-h{self.hidden}-r{self.seeds}-{digest}"
