"""Tasks that need no download: made from the handwritten digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph

from atjax.errors import UserError
from atjax.task import Graphs, Task

SIDE = 8
"""Width and height of an image."""

STEPS = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Half of the eight neighbours of a pixel, as (row, column); the other half are the reverse edges."""


def digits(name: str, *, count: int = 500) -> Task:
    """Images of digits as graphs of pixels: graph classification, 10 classes.

    The nodes of a graph are the pixels with ink, in row order, joined to their eight neighbours with ink. Features are
    the ink, the row and the column, each scaled to 0 .. 1: position tells the 6 from the 9. The first 500 of the 1,797
    images (46 to 53 of each class) keep the task small, for machines with few cores.

    Args:
        name: Name of the task.
        count: Images to take, from the first on.

    Raises:
        UserError: ``count`` is out of range.
    """
    images, labels = load_digits(return_X_y=True)
    if not isinstance(count, int) or not 10 <= count <= len(images):
        raise UserError(f"{name}: count={count!r} is out of range; give a whole number, 10 to {len(images)}.")
    ink = images[:count].reshape(count, SIDE, SIDE)
    on = ink > 0
    index = np.cumsum(on).reshape(on.shape) - 1
    _, row, column = np.nonzero(on)
    senders, receivers = [], []
    for down, right in STEPS:
        here = np.s_[:, : SIDE - down, max(-right, 0) : SIDE - max(right, 0)]
        there = np.s_[:, down:, max(right, 0) : SIDE - max(-right, 0)]
        joined = on[here] & on[there]
        senders.append(index[here][joined])
        receivers.append(index[there][joined])
    features = np.column_stack([ink[on] / 16, row / (SIDE - 1), column / (SIDE - 1)])
    graphs = Graphs.from_edges(features, np.concatenate(senders), np.concatenate(receivers), on.sum(axis=(1, 2)))
    notes = (f"The first {count} of {len(images)} images; nodes are the pixels with ink.",)
    return Task(name, "graph", "cross_entropy", "accuracy", graphs, labels[:count].astype(np.int32), 10, notes)


def digits_knn(name: str, *, neighbours: int = 5) -> Task:
    """Images of digits as the nodes of one graph: node classification, 10 classes, 1,797 nodes.

    Features are the 61 pixels that vary, z-scored over all images; each image is joined to its nearest neighbours by
    Euclidean distance in them, in both directions. Averaging over neighbours helps a little: logistic regression on
    half of the nodes reaches 96.4% on the pixels and 97.0% on their averages over neighbours.

    Args:
        name: Name of the task.
        neighbours: Nearest neighbours that an image is joined to.

    Raises:
        UserError: ``neighbours`` is out of range.
    """
    pixels, labels = load_digits(return_X_y=True)
    if not isinstance(neighbours, int) or not 1 <= neighbours < len(pixels):
        raise UserError(
            f"{name}: neighbours={neighbours!r} is out of range; give a whole number, 1 to {len(pixels) - 1}."
        )
    pixels = pixels[:, pixels.std(axis=0) > 0]
    features = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0)
    senders = kneighbors_graph(features, neighbours).indices
    receivers = np.repeat(np.arange(len(features)), neighbours)
    graphs = Graphs.from_edges(features, senders, receivers, np.array([len(features)]))
    notes = (f"Features: {features.shape[1]} pixels that vary, z-scored over all nodes.",)
    return Task(name, "node", "cross_entropy", "accuracy", graphs, labels.astype(np.int32), 10, notes)
