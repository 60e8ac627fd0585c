"""Receptive fields: the part of a graph that the output of one node depends on, as a graph of its own.

After K message-passing layers a node has seen what is up to K edges away, against their direction. Cut out, the fields
of several nodes are disjoint graphs, and the gradients of all of them come from one backward pass of a batch of fields
(see `atjax.fisher.disjoint`), where one-hot cotangents take a pass over the whole graph for every node. Exact: what
lies further away, and the edges into the field's outermost nodes, reach no output.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from atjax.fisher.slots import SlotIndex, in_places
from atjax.task import Graphs, ragged_ranges

SPARE = 4
"""Fields are worth it where they hold so many times fewer nodes than the graph: small products run slower."""

PROBES = 32
"""Fields that are tried first, to see how large they are."""


def receptive_fields(graph: Graphs, roots: np.ndarray, depth: int, nodes: int, *, blocks: int) -> SlotIndex | None:
    """Lay out the fields of some nodes of one graph in batches; None where they are too large to be worth it.

    Args:
        graph: One graph.
        roots: The nodes, ids [N], in random order.
        depth: K, message-passing layers.
        nodes: V of a batch, about.
        blocks: S is a multiple of this.

    Returns:
        S batches, leading axis S, `SlotIndex.rooted`: the root is the first node of its place. ``nodes`` are rows of
        the graph, ``graphs`` are the roots' ids, and degrees are those in the whole graph.
    """
    total = int(graph.n_node.sum())
    start = np.concatenate([[0], np.cumsum(np.bincount(graph.receivers, minlength=total))])
    sample = _fields(graph, start, roots[:PROBES], depth)[0]
    if len(sample) * SPARE > total * min(PROBES, len(roots)):
        return None
    origin, fields = _as_graphs(graph, start, roots, depth)
    index = in_places(fields, np.array_split(np.arange(len(roots)), blocks), nodes)
    degree = np.diff(start)[origin[index.nodes]].astype(np.float32)
    return dataclasses.replace(
        index,
        nodes=np.where(index.node_mask, origin[index.nodes], 0).astype(np.int32),
        graphs=np.where(index.graphs >= 0, roots[index.graphs], -1).astype(np.int32),
        lists=index.lists._replace(degree=np.where(index.node_mask, degree, 0)),
        rooted=True,
    )


def _fields(graph: Graphs, start: np.ndarray, roots: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of all fields as keys field * V + node, ascending, and how far each is from its root."""
    total = len(start) - 1
    keys = np.arange(len(roots)) * total + roots
    distance = np.zeros(len(roots), np.int8)
    frontier = keys
    for hop in range(1, depth + 1):
        field, node = np.divmod(frontier, total)
        degree = start[node + 1] - start[node]
        senders = graph.senders[ragged_ranges(start[node], degree)]
        reached = np.unique(np.repeat(field, degree) * total + senders)
        frontier = reached[~np.isin(reached, keys, assume_unique=True)]
        order = np.argsort(np.concatenate([keys, frontier]), kind="stable")
        keys = np.concatenate([keys, frontier])[order]
        distance = np.concatenate([distance, np.full(len(frontier), hop, np.int8)])[order]
    return keys, distance


def _as_graphs(graph: Graphs, start: np.ndarray, roots: np.ndarray, depth: int) -> tuple[np.ndarray, Graphs]:
    """The fields as graphs without features, each root first; and the node of the graph behind every node."""
    total = len(start) - 1
    keys, distance = _fields(graph, start, roots, depth)
    field = keys // total
    order = np.lexsort((keys, distance > 0, field))
    place = np.empty(len(keys), np.int64)
    place[order] = np.arange(len(keys))
    # What comes into the outermost nodes reaches no output.
    inner = np.flatnonzero(distance < depth)
    node = keys[inner] % total
    degree = start[node + 1] - start[node]
    senders = graph.senders[ragged_ranges(start[node], degree)]
    receivers = np.repeat(place[inner], degree)
    senders = place[np.searchsorted(keys, np.repeat(field[inner], degree) * total + senders)]
    by_receiver = np.lexsort((senders, receivers))
    senders, receivers = senders[by_receiver].astype(np.int32), receivers[by_receiver].astype(np.int32)
    n_node = np.bincount(field, minlength=len(roots)).astype(np.int32)
    n_edge = np.bincount(field[order][receivers], minlength=len(roots)).astype(np.int32)
    return keys[order] % total, Graphs(np.zeros((len(keys), 0), np.float32), senders, receivers, n_node, n_edge)
