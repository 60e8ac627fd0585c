"""Readers of the banks that others published, each a bank with a space of its own.

They give the same records as atjax's own trainings, as far as what was published goes: what was not is NaN or empty.
A task's content is not known from its results, so its ``content_hash`` is its bank and name.
"""

from atjax.bank.importers.gnn_bank_101 import read_gnn_bank_101
from atjax.bank.importers.graphgym import read_graphgym
from atjax.bank.importers.nas_bench_graph import read_nas_bench_graph

__all__ = ["read_gnn_bank_101", "read_graphgym", "read_nas_bench_graph"]
