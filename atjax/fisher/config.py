"""Settings of the Fisher stage."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from atjax.errors import UserError

VERSION = 2
"""Raised whenever the same settings come to give other numbers, so that stored features are not mixed with new ones."""


@dataclass(frozen=True)
class FisherConfig:
    """What the task feature is computed from; features compare only under equal settings.

    Attributes:
        hidden: Width of the anchors. The paper's is 256; 64 is what a small machine affords.
        seeds: R, random initialisations an anchor.
        ridge: L2 penalty of the last layer's fit, which keeps its optimum finite on separable data.
        max_passes: By level, the most backward passes a model. An example takes one for each direction its label can
            vary in, C - 1 for C classes; a training set that would take more is sampled.
        max_nodes: For node tasks, the most nodes of the graph around the sampled examples.
        chunk: Nodes in flight at once: those of a batch of graphs (twice the largest graph is the least), or for node
            tasks the graph's nodes for every backward pass (one pass is the least). Bounds memory, changes no result.
    """

    hidden: int
    seeds: int
    ridge: float
    max_passes: Mapping[str, int]
    max_nodes: int
    chunk: int

    def __post_init__(self) -> None:
        for name in ("hidden", "seeds", "ridge", "max_nodes", "chunk"):
            if not getattr(self, name) > 0:
                raise UserError(f"fisher.{name} must be positive; it is {getattr(self, name)}.")
        if min(self.max_passes.values()) < 2:
            raise UserError(f"fisher.max_passes must be at least 2; it is {dict(self.max_passes)}.")

    @property
    def key(self) -> str:
        """Readable name of the settings that the numbers depend on, ending in a short hash of them all."""
        settings = {k: v for k, v in dataclasses.asdict(self).items() if k != "chunk"} | {"version": VERSION}
        settings["max_passes"] = dict(self.max_passes)
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        return f"diagonal-h{self.hidden}-r{self.seeds}-{digest}"
