"""What regression targets are measured in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from atjax.task import Loss


class Units(NamedTuple):
    """What regression targets are measured in: mean and standard deviation of the training targets, [C] each.

    Targets are standardised for training, so that it depends neither on their units nor on where their zero is; the
    last layer then gives outputs in the targets' own units. For other losses they are 0 and 1.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, loss: Loss, labels: np.ndarray) -> Units:
        """The units of training labels [N, C]; a target that never changes, or is always missing, has deviation 1."""
        if loss != "mse":
            return cls(np.zeros(1, np.float32), np.ones(1, np.float32))
        mean, deviation = np.zeros(labels.shape[1]), np.ones(labels.shape[1])
        # In double precision: squares of targets may be beyond single (see `atjax.metrics`).
        for c, column in enumerate(labels.T.astype(np.float64)):
            if len(known := column[~np.isnan(column)]):
                mean[c], deviation[c] = known.mean(), known.std() if np.ptp(known) else 1.0
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def standardise(self, labels: np.ndarray) -> np.ndarray:
        """Labels as training sees them."""
        return (labels - self.mean) / self.deviation

    def restore(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs in the targets' units, from standardised ones."""
        return outputs * self.deviation + self.mean

    def restore_layer(self, params: Any) -> Any:
        """Parameters of a model whose outputs are in the targets' units."""
        out = params["out"]
        return params | {"out": {"kernel": out["kernel"] * self.deviation, "bias": self.restore(out["bias"])}}
