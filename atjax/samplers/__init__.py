"""Samplers that start from a prior over designs, and the rules behind them."""

from atjax.samplers.candidates import Candidates, Listed, WholeSpace, table_of
from atjax.samplers.design import DesignSampler, suggest
from atjax.samplers.rules import TPE, WARM_UP, Evolution, Follow, History, Random, Rule

__all__ = [
    "TPE",
    "WARM_UP",
    "Candidates",
    "DesignSampler",
    "Evolution",
    "Follow",
    "History",
    "Listed",
    "Random",
    "Rule",
    "WholeSpace",
    "suggest",
    "table_of",
]
