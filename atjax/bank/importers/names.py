"""What GraphGym and the tools built on it call things, and what atjax calls them."""

from __future__ import annotations

TASKS = {
    "AmazonComputers": "amazon_computers",
    "AmazonPhoto": "amazon_photo",
    "CiteSeer": "citeseer",
    "CoauthorCS": "coauthor_cs",
    "CoauthorPhysics": "coauthor_physics",
    "Cora": "cora",
    "TU_BZR": "bzr",
    "TU_COX2": "cox2",
    "TU_DD": "dd",
    "TU_ENZYMES": "enzymes",
    "TU_IMDB": "imdb_multi",
    "TU_PROTEINS": "proteins",
}
"""The real tasks of GraphGym's grid."""

CONNECTIVITY = {"stack": "stack", "skipsum": "skip_sum", "skipconcat": "skip_concat"}
AGGREGATION = {"add": "sum", "mean": "mean", "max": "max"}
