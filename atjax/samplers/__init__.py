"""Optuna samplers that start from a prior over designs."""

from atjax.samplers.prior import PriorSampler, suggest

__all__ = ["PriorSampler", "suggest"]
