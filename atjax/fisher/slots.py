"""Batches of disjoint graphs in which every graph has a place of fixed size.

`atjax.batch.deal` gives every batch one graph of each stratum of sizes, so a place that fits the largest graph of its
stratum fits all that come there, with little padding. Places being the same in all batches, one program serves them,
and what belongs to a graph is a static slice.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jraph
import numpy as np

from atjax.batch import Batch, bucket, deal
from atjax.neighbours import Array, Lists, neighbours, rows_beyond, width_for
from atjax.task import Graphs, ragged_ranges

MOST_SIZES, WASTE = 4, 1.03
"""Every size of places makes the compiled program longer: at most so many, and fewer while the padded nodes are no more
than that multiple of what they would be with a size for every place."""


@dataclass(frozen=True)
class Slots:
    """The places of a batch, B in all, V nodes in all.

    Attributes:
        groups: Places of one size that lie side by side: how many, and the nodes of each.
    """

    groups: tuple[tuple[int, int], ...]

    @property
    def sizes(self) -> np.ndarray:
        """Nodes of every place, int32 [B]."""
        places, nodes = zip(*self.groups)
        return np.repeat(np.array(nodes, np.int32), places)

    @property
    def starts(self) -> np.ndarray:
        """First node of every place, int32 [B]."""
        return (np.cumsum(self.sizes) - self.sizes).astype(np.int32)

    @property
    def num_nodes(self) -> int:
        """V."""
        return int(self.sizes.sum())

    def cut(self, rows: jax.Array) -> list[jax.Array]:
        """Node rows [V, ...] as one array [places, nodes, ...] for each group."""
        blocks, start = [], 0
        for places, nodes in self.groups:
            part = rows[start : start + places * nodes]
            blocks.append(part.reshape(places, nodes, *rows.shape[1:]))
            start += places * nodes
        return blocks


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SlotIndex:
    """Where the parts of a batch come from; each but the places may have a leading axis of S batches.

    Attributes:
        nodes: Row of the feature matrix for every node, int32 [V].
        node_mask: True for real nodes, bool [V].
        graphs: Id of the graph in every place, -1 if it is empty, int32 [B].
        lists: The edges, as ids within the batch.
        slots: The places, the same in all batches.
        rooted: Whether the example is the first node of its place, and not the whole graph there.
    """

    nodes: Array
    node_mask: Array
    graphs: Array
    lists: Lists
    slots: Slots = dataclasses.field(metadata={"static": True})
    rooted: bool = dataclasses.field(default=False, metadata={"static": True})


def lay_out(
    graphs: Graphs, ids: np.ndarray, nodes: int, rng: np.random.Generator | None = None, *, blocks: int = 1
) -> SlotIndex:
    """Deal graphs into batches of about so many nodes.

    Args:
        graphs: All graphs.
        ids: Those to deal.
        nodes: V, about. Twice the largest graph is the least: with no other graphs beside it, a stratum that holds it
            is mostly padding.
        rng: Deals at random among graphs of like size; None always the same way.
        blocks: Random parts of the graphs, one after another, of as many batches each: for standard errors, which
            parts that are alike in size would make too small. S is a multiple of this.

    Returns:
        S batches, leading axis S.
    """
    total, largest = int(graphs.n_node[ids].sum()), int(graphs.n_node[ids].max())
    count = int(np.clip(max(nodes, 2 * largest) * len(ids) // max(1, total), 1, len(ids)))
    if blocks == 1:
        dealt = deal(graphs, ids, count, rng)
    else:
        rng = rng or np.random.default_rng(0)
        batches = max(1, round(len(ids) / count / blocks))  # of a block
        places = -(-len(ids) // (blocks * batches))
        parts = [deal(graphs, part, places, rng) for part in np.array_split(rng.permutation(ids), blocks)]
        longest = max(len(part) for part in parts)
        dealt = np.concatenate([_lengthened(part, longest) for part in parts])
    needed = np.where(dealt >= 0, graphs.n_node[dealt], 0).max(axis=0)
    slots = _merge([bucket(max(1, int(size))) for size in needed])
    start = slots.starts
    inside = np.isin(np.repeat(np.arange(len(graphs.n_node)), graphs.n_edge), ids)
    # Edges beyond the lists' width need further rows; all batches have as many as the one that needs most.
    ends = {"incoming": graphs.receivers, "outgoing": graphs.senders}
    degrees = {name: np.bincount(end[inside], minlength=len(graphs.nodes)) for name, end in ends.items()}
    owner = np.repeat(np.arange(len(graphs.n_node)), graphs.n_node)
    real = np.isin(owner, ids)
    widths = {name: width_for(degree[real]) for name, degree in degrees.items()}
    rows = {}
    for name, degree in degrees.items():
        each = np.bincount(owner, rows_beyond(degree, widths[name]), minlength=len(graphs.n_node))
        most = int(np.where(dealt >= 0, each[dealt], 0).sum(axis=1).max())
        rows[name] = bucket(most) if most else 0

    def batch(places: np.ndarray) -> SlotIndex:
        filled = places >= 0
        chosen = places[filled]
        here = ragged_ranges(start[filled], graphs.n_node[chosen])
        index, mask = np.zeros(slots.num_nodes, np.int32), np.zeros(slots.num_nodes, bool)
        index[here], mask[here] = ragged_ranges(graphs.node_start[chosen], graphs.n_node[chosen]), True
        edges = ragged_ranges(graphs.edge_start[chosen], graphs.n_edge[chosen])
        shift = np.repeat(start[filled] - graphs.node_start[chosen], graphs.n_edge[chosen])
        near, degree = [], np.zeros(slots.num_nodes, np.float32)
        for name, own, other in (
            ("incoming", graphs.receivers, graphs.senders),
            ("outgoing", graphs.senders, graphs.receivers),
        ):
            owners, others = own[edges] + shift, other[edges] + shift
            order = np.argsort(owners, kind="stable")
            near.append(neighbours(owners[order], others[order], slots.num_nodes, widths[name], rows[name]))
        degree[here] = degrees["incoming"][index[here]]
        return SlotIndex(index, mask, places.astype(np.int32), Lists(near[0], near[1], degree), slots)

    return jax.tree.map(lambda *arrays: np.stack(arrays), *[batch(places) for places in dealt])


def _lengthened(dealt: np.ndarray, batches: int) -> np.ndarray:
    """With so many batches, the last of them empty."""
    return np.pad(dealt, ((0, batches - len(dealt)), (0, 0)), constant_values=-1)


def _merge(sizes: list[int]) -> Slots:
    """Groups of places, ascending sizes; neighbouring sizes are made equal where that adds the least padding."""
    groups: list[tuple[int, int]] = []
    for size in sizes:
        if groups and size <= groups[-1][1]:
            groups[-1] = (groups[-1][0] + 1, groups[-1][1])
        else:
            groups.append((1, size))
    spare = (WASTE - 1) * sum(sizes)
    while len(groups) > 1:
        added = [groups[k][0] * (groups[k + 1][1] - groups[k][1]) for k in range(len(groups) - 1)]
        k = int(np.argmin(added))
        spare -= added[k]
        if spare < 0 and len(groups) <= MOST_SIZES:
            break
        groups[k : k + 2] = [(groups[k][0] + groups[k + 1][0], groups[k + 1][1])]
    return Slots(tuple(groups))


def fill(features: jax.Array, index: SlotIndex) -> Batch:
    """Make one batch on the device: pick the rows of ``features`` [V, D] that ``index`` names."""
    none = jnp.zeros(0, jnp.int32)
    sizes = jnp.asarray(index.slots.sizes)
    return Batch(
        jraph.GraphsTuple(
            nodes=features[index.nodes],
            edges=None,
            senders=none,
            receivers=none,
            n_node=sizes,
            n_edge=jnp.zeros_like(sizes),
            globals=None,
        ),
        jnp.asarray(index.node_mask),
        jnp.asarray(index.graphs) >= 0,
        index.lists,
    )
