"""Meta-features: what a person would say of a task at first sight, to compare the Fisher information against.

They cost a pass over the data and see no model. As everywhere, of labels only those of the training split count, and of
graph tasks only the training graphs; the graph of a node task is seen whole.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from atjax.task import Graphs, Task

CLUSTERING_NODES = 2048
"""Nodes that `clustering` is averaged over; more are sampled."""


def meta_features(task: Task, seed: int = 0) -> dict[str, float]:
    """Simple numbers on a task, all finite; logarithms are natural.

    Args:
        task: The task.
        seed: Of the split, and of the nodes sampled for the clustering coefficient.

    Returns:
        In this order:

        * ``log_examples``: log of the number of training examples,
        * ``log_nodes``: log of the mean number of nodes a graph,
        * ``mean_degree``: mean number of incoming edges a node,
        * ``degree_variation``: standard deviation of that number over its mean, 0 without edges,
        * ``density``: mean over graphs of the share of ordered pairs of different nodes that are edges,
        * ``clustering``: mean over nodes of the local clustering coefficient (Watts and Strogatz, 1998),
        * ``classes``: C, classes or binary labels; 0 for regression,
        * ``label_entropy``: entropy of the training labels in nats, summed over binary labels; 0 for regression,
        * ``homophily``: share of edges between training nodes whose ends have one label (Zhu et al., 2020), the mean
          over binary labels; 0 but for node tasks, for regression, and where no edge joins two training nodes,
        * ``log_features``: log of the feature dimension D,
        * ``sparsity``: share of zeros among the node features.
    """
    train = task.split(seed).train
    graphs = task.graphs.take(train) if task.level == "graph" else task.graphs
    degree = np.bincount(graphs.receivers, minlength=int(graphs.n_node.sum()))
    return {
        "log_examples": float(np.log(len(train))),
        "log_nodes": float(np.log(graphs.n_node.mean())),
        "mean_degree": float(degree.mean()),
        "degree_variation": float(degree.std() / degree.mean()) if degree.any() else 0.0,
        "density": density(graphs),
        "clustering": clustering(graphs, np.random.default_rng([seed, 0x3E7A])),
        "classes": 0.0 if task.loss == "mse" else float(task.num_outputs),
        "label_entropy": label_entropy(task, train),
        "homophily": homophily(task, train),
        "log_features": float(np.log(graphs.num_features)),
        "sparsity": 1 - graphs.nonzero,
    }


def density(graphs: Graphs) -> float:
    """Mean over graphs of E' / (V (V - 1)), with E' directed edges that are no loops; 0 for graphs of one node."""
    owner = np.repeat(np.arange(len(graphs.n_node)), graphs.n_edge)
    edges = np.bincount(owner[graphs.senders != graphs.receivers], minlength=len(graphs.n_node))
    nodes = graphs.n_node.astype(np.float64)
    return float(np.mean(edges / np.maximum(nodes * (nodes - 1), 1)))


def clustering(graphs: Graphs, rng: np.random.Generator) -> float:
    """Mean over nodes of the share of pairs of neighbours that are neighbours themselves; 0 for less than 2 neighbours.

    Edges count in both directions and loops not at all. The mean is over at most `CLUSTERING_NODES` nodes, drawn by
    ``rng``.
    """
    total = int(graphs.n_node.sum())
    inner = graphs.senders != graphs.receivers
    ends = (graphs.receivers[inner], graphs.senders[inner])
    directed = sparse.csr_matrix((np.ones(len(ends[0]), np.float32), ends), shape=(total, total))
    neighbours = directed.maximum(directed.T).tocsr()
    nodes = rng.choice(total, CLUSTERING_NODES, replace=False) if total > CLUSTERING_NODES else np.arange(total)
    shares = []
    for rows in np.array_split(nodes, -(-len(nodes) // 128)):  # a few at once: two steps reach much of a large graph
        around = neighbours[rows]
        closed = np.asarray((around @ neighbours).multiply(around).sum(axis=1)).ravel()
        count = np.asarray(around.sum(axis=1), np.float64).ravel()
        shares.append(closed / np.maximum(count * (count - 1), 1))
    return float(np.mean(np.concatenate(shares)))


def label_entropy(task: Task, train: np.ndarray) -> float:
    """Entropy of the labels of the training examples, in nats, summed over binary labels; 0 for regression."""
    if task.loss == "mse":
        return 0.0
    labels = task.labels[train]
    columns = [labels] if task.loss == "cross_entropy" else [column[~np.isnan(column)] for column in labels.T]
    counts = [np.unique(column, return_counts=True)[1] for column in columns]
    return float(sum(np.sum(count / count.sum() * np.log(count.sum() / count)) for count in counts if len(count)))


def homophily(task: Task, train: np.ndarray) -> float:
    """Share of edges between training nodes, loops left out, that join equal labels; 0 where that is undefined."""
    if task.level != "node" or task.loss == "mse":
        return 0.0
    label = np.full((task.num_examples, task.labels[0].size), np.nan)
    label[train] = task.labels[train].reshape(len(train), -1)
    between = task.graphs.senders != task.graphs.receivers
    one, other = label[task.graphs.senders[between]], label[task.graphs.receivers[between]]
    known = ~np.isnan(one) & ~np.isnan(other)
    return float(np.mean(one[known] == other[known])) if known.any() else 0.0
