"""What a task looks like from outside: its counts, its classes, its split, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from atjax.meta import density, homophily
from atjax.metrics import score
from atjax.task import Graphs, Split, Task

LISTED = 5
"""Classes that a warning names."""


@dataclass(frozen=True)
class Overview:
    """Numbers on a task; all its labels count, not only those of the training split.

    Attributes:
        graphs: G.
        nodes: V.
        edges: Edges, those in both directions once.
        directed: Whether some edge has no reverse.
        nodes_a_graph: Least, mean and most.
        degree: Least, mean and most incoming edges of a node.
        isolated: Nodes without an edge.
        components: Connected components, of all graphs together.
        density: As `atjax.meta.density`.
        homophily: As `atjax.meta.homophily`; None where it means nothing.
        features: D.
        nonzero: Share of the features' entries that are not 0.
        constant: Features that are the same at every node.
        classes: Examples of each class, [C]; None where there are no classes.
        names: The owner's label of each class, or its number.
        unlabelled: Examples without any label.
        outputs: Least, mean and most label of outputs each by itself; None for classes.
        edge_features: K, 0 if edges have none.
        weights: Least, mean and most weight of an edge; None where edges have none.
    """

    graphs: int
    nodes: int
    edges: int
    directed: bool
    nodes_a_graph: tuple[int, float, int]
    degree: tuple[int, float, int]
    isolated: int
    components: int
    density: float
    homophily: float | None
    features: int
    nonzero: float
    constant: int
    classes: np.ndarray | None
    names: tuple[Hashable, ...]
    unlabelled: int
    outputs: tuple[float, float, float] | None
    edge_features: int
    weights: tuple[float, float, float] | None


def overview(task: Task) -> Overview:
    """Look at a task. One pass over edges and features, no model."""
    graphs = task.graphs
    total = int(graphs.n_node.sum())
    incoming = np.bincount(graphs.receivers, minlength=total)
    outgoing = np.bincount(graphs.senders, minlength=total)
    ends = (graphs.senders, graphs.receivers)
    adjacency = sparse.csr_matrix((np.ones(len(ends[0]), np.int8), ends), shape=(total, total))
    both = int(adjacency.multiply(adjacency.T).sum())  # directed edges that have a reverse
    classes = task.loss == "cross_entropy"
    labelled = task.labelled
    shares = task.level == "node" and task.loss != "mse"
    low, high = _range(graphs)
    return Overview(
        graphs=len(graphs.n_node),
        nodes=total,
        edges=len(graphs.senders) - both // 2,
        directed=both < len(graphs.senders),
        nodes_a_graph=_spread(graphs.n_node),
        degree=_spread(incoming),
        isolated=int(np.sum(incoming + outgoing == 0)),
        components=int(csgraph.connected_components(adjacency, directed=False)[0]),
        density=density(graphs),
        homophily=homophily(task, labelled) if shares else None,
        features=graphs.num_features,
        nonzero=graphs.nonzero,
        constant=int(np.sum(low == high)),
        classes=np.bincount(task.labels[labelled], minlength=task.num_outputs) if classes else None,
        names=class_names(task),
        unlabelled=task.num_examples - len(labelled),
        outputs=None if classes else _spread(task.labels[~np.isnan(task.labels)]),
        edge_features=graphs.num_edge_features,
        weights=None if graphs.weights is None or not len(graphs.weights) else _spread(graphs.weights),
    )


def class_names(task: Task) -> tuple[Hashable, ...]:
    """The owner's label of each class, or its number where none is known; empty where there are none."""
    if task.loss != "cross_entropy":
        return ()
    known = task.encoding.classes if task.encoding is not None else None
    return known if known is not None else tuple(range(task.num_outputs))


def constant_score(task: Task, split: Split) -> float:
    """The test score of the best constant answer, as training labels tell it: what a model must beat to be of use.

    The most frequent class or binary label, the mean of targets, or their median for the absolute error. NaN where the
    test part has no score.
    """
    labels = task.labels[split.train]
    if task.loss == "cross_entropy":
        answer = np.bincount(labels, minlength=task.num_outputs).astype(np.float32)
    elif task.loss == "binary_cross_entropy":
        answer = np.nansum(labels, axis=0) - 0.5 * np.sum(~np.isnan(labels), axis=0)
    else:
        middle = np.nanmedian if task.metric == "mae" else np.nanmean
        answer = np.array([middle(column) if np.any(~np.isnan(column)) else 0.0 for column in labels.T])
    outputs = np.broadcast_to(answer.astype(np.float32), (len(split.test), task.num_outputs))
    return score(task.metric, task.labels[split.test], outputs)


def binary_counts(task: Task, split: Split) -> dict[str, list[int]] | None:
    """Of two classes, or one binary label, how many examples of each part have label 0, and label 1; None of others.

    A label that is missing is neither.
    """
    if task.num_outputs != {"cross_entropy": 2, "binary_cross_entropy": 1, "mse": None}[task.loss]:
        return None
    labels = {part: task.labels[getattr(split, part)] for part in ("train", "validation", "test")}
    return {part: [int(np.sum(of == label)) for label in (0, 1)] for part, of in labels.items()}


def warnings(task: Task, split: Split) -> tuple[str, ...]:
    """Sentences on what a search would stumble over without failing.

    Args:
        task: The task.
        split: Its split.
    """
    found: list[str] = []
    if task.loss == "cross_entropy":
        names = class_names(task)
        sizes = np.bincount(task.labels[task.labels >= 0], minlength=task.num_outputs)
        trained = np.bincount(task.labels[split.train], minlength=task.num_outputs)
        if single := _listed(names, sizes == 1):
            found.append(f"One example only: {single}; it can be in one part of the split.")
        if absent := _listed(names, (trained == 0) & (sizes > 0)):
            found.append(f"The split leaves out of training: {absent}; no model can learn it.")
        if empty := _listed(names, sizes == 0):
            found.append(f"No example at all: {empty}.")
    for part, consequence in {"validation": "no model can be chosen", "test": "no test score can be given"}.items():
        ids = getattr(split, part)
        if np.isnan(score(task.metric, task.labels[ids], np.zeros((len(ids), task.num_outputs), np.float32))):
            found.append(
                f"All {part} examples of the split have the same label, for which {task.metric} is undefined: "
                f"{consequence}; give that part others too, or take another metric."
            )
    low, high = _range(task.graphs)
    if same := int(np.sum(low == high)):
        found.append(f"Features that are the same at every node, and so say nothing: {same} of {len(low)}.")
    return tuple(found)


def _listed(names: tuple[Hashable, ...], which: np.ndarray) -> str:
    """Some classes in words: ``class 'a', class 'b' and 3 more``."""
    chosen = [f"class {names[number]!r}" for number in np.flatnonzero(which)]
    more = f" and {len(chosen) - LISTED} more" if len(chosen) > LISTED else ""
    return ", ".join(chosen[:LISTED]) + more


def _spread(values: np.ndarray) -> tuple[int, float, int]:
    return values.min().item(), float(values.mean()), values.max().item()


def _range(graphs: Graphs) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest value of each feature, [D] each."""
    nodes = graphs.nodes
    if isinstance(nodes, np.ndarray):
        return nodes.min(axis=0), nodes.max(axis=0)
    return nodes.min(axis=0).toarray().ravel(), nodes.max(axis=0).toarray().ravel()
