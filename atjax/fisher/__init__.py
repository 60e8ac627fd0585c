"""Fisher information of randomly initialised anchor GNNs (paper, sections 4.1 and 4.2)."""

from atjax.fisher.config import FisherConfig
from atjax.fisher.engine import Values, anchor_alpha, task_statistics

__all__ = ["FisherConfig", "Values", "anchor_alpha", "task_statistics"]
