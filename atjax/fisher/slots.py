"""Batches of disjoint graphs in which every graph has a place of one of a few sizes.

    parts of the examples -> places of a few sizes -> batches of nearly equal size -> SlotIndex [S, ...]

What belongs to a graph is a slice then, of static length, and one program serves all batches; where it begins depends
on how many places of each size the batch fills. So batches need not be alike: padding is what rounds a graph up to its
place, and a batch to the largest one.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import jraph
import numpy as np

from atjax.batch import FINE, Batch, bucket
from atjax.neighbours import Array, Lists, ListShapes, lists, rows_beyond, width_for
from atjax.task import Graphs, ragged_ranges

T = TypeVar("T")

MOST_SIZES, WORTH = 6, 0.04
"""Sizes of places, each of which makes the compiled program longer: at most so many, and only those that save such a
share of the nodes."""


@dataclass(frozen=True)
class Slots:
    """The places of a batch, B in all.

    Attributes:
        groups: For every size of places, ascending: how many there are at most, and the nodes of each.
        num_nodes: V, what the filled places of any batch fit into.
    """

    groups: tuple[tuple[int, int], ...]
    num_nodes: int

    @property
    def sizes(self) -> np.ndarray:
        """Nodes of every place, int32 [B]."""
        places, nodes = zip(*self.groups)
        return np.repeat(np.array(nodes, np.int32), places)


class Group(NamedTuple):
    """The filled places of one size of one batch, side by side.

    Attributes:
        most: How many there may be.
        nodes: Of each.
        start: First node of the first, int32 [].
        filled: How many there are, int32 [].
    """

    most: int
    nodes: int
    start: jax.Array
    filled: jax.Array


@dataclass(frozen=True)
class Places:
    """Where the places of one batch are: the filled ones lie side by side in the order of their sizes.

    Attributes:
        slots: All places.
        filled: Which hold a graph, the first ones of every size, bool [B].
    """

    slots: Slots
    filled: jax.Array

    @property
    def n_node(self) -> jax.Array:
        """Nodes of every place, 0 where it is not filled, int32 [B]."""
        return jnp.where(self.filled, self.slots.sizes, 0)

    @property
    def starts(self) -> jax.Array:
        """First node of every filled place, int32 [B]; of others some node."""
        return jnp.where(self.filled, jnp.cumsum(self.n_node) - self.n_node, 0)

    @property
    def groups(self) -> list[Group]:
        """Of every size."""
        found, place, start = [], 0, jnp.zeros((), jnp.int32)
        for most, nodes in self.slots.groups:
            count = jnp.sum(self.filled[place : place + most], dtype=jnp.int32)
            found.append(Group(most, nodes, start, count))
            place, start = place + most, start + nodes * count
        return found

    def cut(self, rows: jax.Array) -> list[jax.Array]:
        """Node rows [V, ...] as one array [places, nodes, ...] for each size, 0 where a place is not filled."""
        parts = []
        for most, nodes, start, count in self.groups:
            node = jnp.arange(most * nodes)
            node = jnp.where(node < nodes * count, start + node, len(rows))
            part = rows.at[node].get(mode="fill", fill_value=0)
            parts.append(part.reshape(most, nodes, *rows.shape[1:]))
        return parts

    def walk(self, step: Callable[[T, jax.Array, int], T], carry: T) -> T:
        """``carry = step(carry, start, nodes)`` over all filled places, of so many nodes from node ``start`` on.

        How long these loops are, one for each size, is known only as they run.
        """
        for group in self.groups:

            def one(i: jax.Array, carry: T, group: Group = group) -> T:
                return step(carry, group.start + i * group.nodes, group.nodes)

            carry = jax.lax.fori_loop(0, group.filled, one, carry)
        return carry


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SlotIndex:
    """Where the parts of a batch come from; each but the places may have a leading axis of S batches.

    Attributes:
        nodes: Row of the feature matrix for every node, int32 [V].
        node_mask: True for real nodes, bool [V].
        graphs: Id of the graph in every place, -1 if it is empty, int32 [B].
        lists: The edges, as ids within the batch.
        counts: How many nodes each stands for, float32 [V]; None: itself.
        recalled: Every node's row in each round of the training graphs' colours (see `atjax.refinement.Refined`), where
            models keep what they made of these, int32 [V] each; else none.
        slots: The places, the same in all batches.
        rooted: Whether the example is the first node of its place, and not the whole graph there.
    """

    nodes: Array
    node_mask: Array
    graphs: Array
    lists: Lists
    counts: Array | None
    recalled: tuple[Array, ...]
    slots: Slots = dataclasses.field(metadata={"static": True})
    rooted: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def places(self) -> Places:
        """Of one batch."""
        return Places(self.slots, jnp.asarray(self.graphs) >= 0)

    def standing_for(self, nodes: np.ndarray, counts: np.ndarray) -> SlotIndex:
        """The same graphs as quotients of others: which nodes there theirs are, and how many these stand for."""
        here = np.asarray(self.nodes)
        each = np.where(self.node_mask, counts[here], 0).astype(np.float32)
        return dataclasses.replace(self, nodes=nodes[here].astype(np.int32), counts=each)


def place_sizes(sizes: np.ndarray, most: int = MOST_SIZES, worth: float = WORTH) -> np.ndarray:
    """The sizes of places that pad graphs of these sizes least; ascending, int.

    Args:
        sizes: Nodes of every graph.
        most: How many there may be.
        worth: One more must save this share of the nodes.
    """
    unique, counts = np.unique([bucket(max(1, size), FINE) for size in sizes.tolist()], return_counts=True)
    below, count = np.concatenate([[0], np.cumsum(counts)]), len(unique)
    # Nodes of places for the graphs from the i-th size on up to the j-th, all in places that fit the j-th.
    cost = np.where(np.tri(count, dtype=bool).T, unique * (below[1:] - below[:-1, None]), np.inf)
    total, cuts = cost[0], []
    for _ in range(min(most, count) - 1):
        longer = np.where(np.tri(count, k=-1, dtype=bool).T, total[:, None] + np.roll(cost, -1, axis=0), np.inf)
        if longer[:, -1].min() > (1 - worth) * total[-1]:
            break
        cuts.append(longer.argmin(axis=0))
        total = longer.min(axis=0)
    chosen = [count - 1]
    for cut in reversed(cuts):
        chosen.append(int(cut[chosen[-1]]))
    return unique[chosen[::-1]]


Dealt = Sequence[np.ndarray]
"""The ids of the graphs of every batch."""


def deal_places(nodes: np.ndarray, batches: int) -> list[np.ndarray]:
    """Deal graphs of so many nodes into so many batches of nearly equal size.

    Each graph, the largest first, goes to the smallest batch (Graham, 1969).

    Returns:
        For every batch which graphs, by position, the largest first.
    """
    dealt: list[list[int]] = [[] for _ in range(batches)]
    heap = [(0, batch) for batch in range(batches)]
    for graph in np.argsort(-nodes, kind="stable"):
        total, batch = heap[0]
        dealt[batch].append(graph)
        heapq.heapreplace(heap, (total + int(nodes[graph]), batch))
    return [np.array(positions, int) for positions in dealt]


def in_places(
    graphs: Graphs, parts: Sequence[np.ndarray], nodes: int, others: Sequence[Sequence[np.ndarray]] = ()
) -> SlotIndex:
    """Lay out parts of some graphs in batches of about so many nodes, as many batches a part.

    Args:
        graphs: All graphs.
        parts: Ids, part after part.
        nodes: V, about; the largest graph may need more.
        others: Parts of other samples, whose layouts are to have the same shapes.

    Returns:
        S batches, leading axis S, a multiple of the number of parts.
    """
    sizes = place_sizes(graphs.n_node)
    rounded = sizes[np.searchsorted(sizes, graphs.n_node)]
    every = [part for each in (parts, *others) for part in each]
    least = max(nodes, int(rounded[np.concatenate(every)].max()))
    batches = max(-(-int(rounded[part].sum()) // least) for part in every)
    # Ascending sizes.
    dealt = [part[chosen[::-1]] for part in every for chosen in deal_places(rounded[part], batches)]
    return lay_out(graphs, dealt[: len(parts) * batches], Template.of(graphs, sizes, dealt))


@dataclass(frozen=True)
class Template:
    """What batches of graphs have in common: the places, and the shapes of the lists of neighbours."""

    slots: Slots
    lists: ListShapes

    @classmethod
    def of(cls, graphs: Graphs, sizes: np.ndarray, dealt: Dealt) -> Template:
        """The smallest that fits any of these batches."""
        kind = np.searchsorted(sizes, graphs.n_node)
        counts = np.array([np.bincount(kind[ids], minlength=len(sizes)) for ids in dealt])
        groups = tuple(zip(counts.max(axis=0).tolist(), sizes.tolist()))
        slots = Slots(tuple(group for group in groups if group[0]), int((counts @ sizes).max()))
        return cls(slots, list_shapes(graphs, dealt))


def list_shapes(graphs: Graphs, dealt: Dealt) -> ListShapes:
    """Of lists that fit any of these batches of graphs."""
    owner = np.repeat(np.arange(len(graphs.n_node)), graphs.n_node)

    def of(ends: np.ndarray) -> tuple[int, int]:
        degree = np.bincount(ends, minlength=len(owner))
        width = width_for(degree)
        rows = np.bincount(owner, rows_beyond(degree, width), minlength=len(graphs.n_node))
        most = int(max(rows[ids].sum() for ids in dealt))
        return width, bucket(most) if most else 0

    return ListShapes(of(graphs.receivers), of(graphs.senders))


def lay_out(graphs: Graphs, dealt: Dealt, template: Template) -> SlotIndex:
    """Lay out S batches, leading axis S."""
    slots = template.slots
    first = np.cumsum([0, *(places for places, _ in slots.groups)])
    sizes = np.array([nodes for _, nodes in slots.groups])

    def batch(ids: np.ndarray) -> SlotIndex:
        kind = np.searchsorted(sizes, graphs.n_node[ids])
        places = np.full(first[-1], -1, np.int32)
        places[first[kind] + np.arange(len(ids)) - np.searchsorted(kind, kind)] = ids
        start = np.cumsum(sizes[kind]) - sizes[kind]
        here = ragged_ranges(start, graphs.n_node[ids])
        index, mask = np.zeros(slots.num_nodes, np.int32), np.zeros(slots.num_nodes, bool)
        index[here], mask[here] = graphs.nodes_of(ids), True
        edges = graphs.edges_of(ids)
        shift = np.repeat(start - graphs.node_start[ids], graphs.n_edge[ids])
        ends = graphs.senders[edges] + shift, graphs.receivers[edges] + shift
        return SlotIndex(index, mask, places, lists(*ends, slots.num_nodes, template.lists), None, (), slots)

    return jax.tree.map(lambda *arrays: np.stack(arrays), *map(batch, dealt))


def fill(features: jax.Array, index: SlotIndex) -> Batch:
    """Make one batch on the device: pick the rows of ``features`` [V, D] that ``index`` names.

    A graph for every place, and at the end one that holds the nodes of none.
    """
    none = jnp.zeros(0, jnp.int32)
    n_node = index.places.n_node
    n_node = jnp.append(n_node, index.slots.num_nodes - jnp.sum(n_node))
    return Batch(
        jraph.GraphsTuple(
            nodes=features[index.nodes],
            edges=None,
            senders=none,
            receivers=none,
            n_node=n_node,
            n_edge=jnp.zeros_like(n_node),
            globals=None,
        ),
        jnp.asarray(index.node_mask),
        jnp.append(index.places.filled, False),
        index.lists,
        counts=None if index.counts is None else jnp.asarray(index.counts),
    )
