"""What GraphGym and the tools built on it call things, and what atjax calls them."""

from __future__ import annotations

from collections.abc import Iterable

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

STRUCTURE = {
    "node_const": "constant",
    "node_onehot": "onehot",
    "node_clustering_coefficient": "clustering",
    "node_pagerank": "pagerank",
    "graph_path_len": "path_length",
}
"""Features and labels that are computed from the graphs (`atjax.sources.synthetic`)."""

CONNECTIVITY = {"stack": "stack", "skipsum": "skip_sum", "skipconcat": "skip_concat"}
AGGREGATION = {"add": "sum", "mean": "mean", "max": "max"}


def computed(data_set: str, made: Iterable[str]) -> str:
    """The task on a data set whose features or label, those ``made``, are computed from its graphs."""
    return "_".join([TASKS.get(data_set, data_set.lower()), *(STRUCTURE.get(name, name) for name in made)])
