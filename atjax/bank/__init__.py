"""The task-model bank: records of trainings, their store, and the similarity of tasks."""

from atjax.bank.performance import performance_matrix
from atjax.bank.records import FeatureRow, Record, feature_key, record_key
from atjax.bank.similarity import kendall_distance, taskonomy_affinity
from atjax.bank.store import Bank, append, append_feature, claim, compact, has, keys, load_bank

__all__ = [
    "Bank",
    "FeatureRow",
    "Record",
    "append",
    "append_feature",
    "claim",
    "compact",
    "feature_key",
    "has",
    "kendall_distance",
    "keys",
    "load_bank",
    "performance_matrix",
    "record_key",
    "taskonomy_affinity",
]
