"""From flat graphs to padded `jraph.GraphsTuple`s of few shapes.

All index arithmetic is done here in numpy, before JAX sees it; on the device a batch is then one gather. Conventions
are jraph's: the last graph and the last node of a batch are padding, and padding edges join the last node to itself.

Graphs are dealt into batches of balanced size: sorted by size, cut into as many strata as a batch has places, and
shuffled within each stratum, so that every batch takes one graph of each stratum. The padded shape then exceeds the
mean batch by less than the largest graph, and one shape serves all batches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from scipy import sparse

from atjax.neighbours import Lists
from atjax.task import Graphs, ragged_ranges


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix [V, D] as coordinates, sorted by row, for features that are mostly 0.

    Attributes:
        rows: int32 [Z], ascending.
        columns: int32 [Z].
        values: float [Z].
        num_rows: V.
        num_columns: D.
    """

    rows: jax.Array
    columns: jax.Array
    values: jax.Array
    num_rows: int = dataclasses.field(metadata={"static": True})
    num_columns: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def from_scipy(cls, matrix: sparse.csr_matrix) -> SparseRows:
        """From a CSR matrix; stored zeros stay."""
        coo = matrix.tocsr().tocoo()
        return cls(jnp.asarray(coo.row, jnp.int32), jnp.asarray(coo.col, jnp.int32), jnp.asarray(coo.data), *coo.shape)

    def __matmul__(self, dense: jax.Array) -> jax.Array:
        """The product with a dense matrix: [V, D] @ [D, H] -> [V, H]."""
        scaled = self.values[:, None] * dense[self.columns]
        return jax.ops.segment_sum(scaled, self.rows, self.num_rows, indices_are_sorted=True)


SHARED_SPLITS = 8
"""Seeds 0 to 7 have batches of one shape, so that they share compiled programs, as most others do with them."""

MOST_WASTE = 0.3
"""Share of padding nodes in training from which a second shape is worth its compilation."""

TRIAL_DEALS = 32
"""Epochs that are dealt to see which sizes batches have."""

FINE = 64
"""Sizes an octave for `bucket` where seeds share shapes anyway, and rounding up need not make them."""

LONG_RUN = 100
"""Numbers from which copying slices is faster than a gather."""

Features = jax.Array | SparseRows
Array = np.ndarray | jax.Array


class EdgeRows(NamedTuple):
    """What edges have beside their ends, as `jraph.GraphsTuple.edges`.

    Attributes:
        features: float [E, K], or None.
        weights: float [E], or None.
    """

    features: jax.Array | None
    weights: jax.Array | None


class Rows(NamedTuple):
    """What the nodes and edges of all graphs have, from which batches are gathered.

    Attributes:
        nodes: Features, [V, D].
        edges: Rows of all edges, and one of zeros at the end for padding: E + 1; None where edges have nothing.
        counts: How many nodes each stands for, float32 [V]; None: itself.
    """

    nodes: jax.Array
    edges: EdgeRows | None
    counts: jax.Array | None = None


class Batch(NamedTuple):
    """A padded batch.

    Attributes:
        graph: ``nodes`` is [V, D] or `SparseRows`; ``edges`` is `EdgeRows` where edges have features or weights, else
            None; ``senders``, ``receivers`` [E] ascending in receivers; ``n_node``, ``n_edge`` [G], the last graph
            being padding.
        node_mask: True for real nodes, bool [V].
        graph_mask: True for real graphs, bool [G].
        lists: The edges once more as lists, where aggregation should gather; ``senders`` and ``receivers`` may then be
            empty for models that only aggregate.
        pairs: For edge tasks the nodes of each example, int32 [N, 2]; all are real.
        counts: How many nodes each stands for, in the readout of a graph and in BatchNorm's statistics (see
            `atjax.refinement.Quotient`), float [V], 0 for padding; None: itself.
    """

    graph: jraph.GraphsTuple
    node_mask: jax.Array
    graph_mask: jax.Array
    lists: Lists | None = None
    pairs: jax.Array | None = None
    counts: jax.Array | None = None

    @property
    def weights(self) -> jax.Array:
        """Of the nodes in BatchNorm's statistics: `counts`, or the mask."""
        return self.node_mask if self.counts is None else self.counts


class BatchIndex(NamedTuple):
    """Where the parts of a batch come from; each may have a leading axis of S batches.

    Attributes:
        nodes: Row of the feature matrix for every node, int32 [V].
        senders: int32 [E].
        receivers: int32 [E].
        n_node: int32 [G].
        n_edge: int32 [G].
        graphs: Id of every graph, -1 for an empty place or padding, int32 [G].
        edges: Row of the edge features and weights for every edge, int32 [E]; None where there are neither.
    """

    nodes: Array
    senders: Array
    receivers: Array
    n_node: Array
    n_edge: Array
    graphs: Array
    edges: Array | None = None


@jax.tree_util.register_static
@dataclass(frozen=True)
class BatchShape:
    """Padded size of a batch: G graphs, V nodes, E edges, padding included. In a pytree it is static."""

    graphs: int
    nodes: int
    edges: int


def bucket(size: int, sizes: int = 8) -> int:
    """Round up to one of so many sizes per octave (a power of two), so that nearby sizes share a compiled program.

    At most 1 / sizes is wasted: 12.5% for 8.
    """
    step = max(1, 2 ** int(size).bit_length() // (2 * sizes))
    return -(-int(size) // step) * step


def _strata(graphs: Graphs, ids: np.ndarray, batch_size: int) -> np.ndarray:
    """Graphs by size, [batch_size, S]: row s holds stratum s; -1 marks empty places, which count as the smallest."""
    steps = max(1, -(-len(ids) // batch_size))
    order = ids[np.argsort(graphs.n_node[ids] + graphs.n_edge[ids], kind="stable")]
    return np.concatenate([np.full(steps * batch_size - len(ids), -1), order]).reshape(batch_size, steps)


def shape_for(graphs: Graphs, ids: np.ndarray, batch_size: int, sizes: int = 8) -> BatchShape:
    """The shape that fits every batch that `deal` can make of these graphs; nodes as `bucket` rounds them."""
    strata = _strata(graphs, ids, batch_size)
    nodes = np.where(strata >= 0, graphs.n_node[strata], 0).max(axis=1).sum()
    edges = np.where(strata >= 0, graphs.n_edge[strata], 0).max(axis=1).sum()
    return BatchShape(batch_size + 1, bucket(int(nodes) + 1, sizes), bucket(max(int(edges), 1)))


def shape_of(graphs: Graphs, dealt: np.ndarray) -> BatchShape:
    """The shape that fits these batches, int [S, G - 1], -1 for an empty place; sizes as `bucket` rounds them."""
    nodes, edges = (np.where(dealt >= 0, sizes[dealt], 0).sum(axis=1).max() for sizes in (graphs.n_node, graphs.n_edge))
    return BatchShape(dealt.shape[1] + 1, bucket(int(nodes) + 1), bucket(max(int(edges), 1)))


def covering(shapes: Iterable[BatchShape]) -> BatchShape:
    """The smallest shape that what fits any of these fits."""
    return BatchShape(*(max(sizes) for sizes in zip(*map(dataclasses.astuple, shapes))))


def usual_shape(graphs: Graphs, ids: np.ndarray, batch_size: int, shape: BatchShape) -> BatchShape | None:
    """A smaller shape that most batches of `deal` fit into, where padding all to one shape wastes over `MOST_WASTE`.

    A few graphs far larger than the others (in DD one of 5,748 nodes, where the mean is 284) make one batch of an epoch
    large, and with one shape all of them. A second shape costs a second copy of a training step in the compiled
    program, so there is one only where it saves much.

    Args:
        graphs: All graphs.
        ids: The graphs to deal.
        batch_size: Places in a batch.
        shape: What fits all batches.
    """
    rng = np.random.default_rng(0)
    dealt = np.concatenate([deal(graphs, ids, batch_size, rng) for _ in range(TRIAL_DEALS)])
    nodes, edges = (np.where(dealt >= 0, sizes[dealt], 0).sum(axis=1) for sizes in (graphs.n_node, graphs.n_edge))
    if nodes.mean() >= (1 - MOST_WASTE) * shape.nodes:
        return None

    def cost(small: BatchShape) -> float:
        fits = (nodes < small.nodes) & (edges <= small.edges)
        return float(np.where(fits, small.nodes, shape.nodes).mean())

    shares = np.linspace(0.5, 1, 51)
    candidates = {
        BatchShape(
            shape.graphs, bucket(int(np.quantile(nodes, share)) + 1), bucket(max(1, int(np.quantile(edges, share))))
        )
        for share in shares
    }
    return min(candidates, key=lambda small: (cost(small), small.nodes, small.edges))


def fits(index: BatchIndex, shape: BatchShape) -> jax.Array:
    """Whether one batch fits into a smaller shape with as many graphs, bool []."""
    nodes, edges = jnp.sum(index.n_node[:-1]), jnp.sum(index.n_edge[:-1])
    return (nodes < shape.nodes) & (edges <= shape.edges)


def shrink(index: BatchIndex, shape: BatchShape) -> BatchIndex:
    """One batch that `fits`, with less padding."""

    def filled(counts: Array, total: int) -> jax.Array:
        real = jnp.asarray(counts[:-1])
        return jnp.append(real, total - jnp.sum(real)).astype(real.dtype)

    last = shape.nodes - 1  # where padding edges begin and end
    return index._replace(
        nodes=index.nodes[: shape.nodes],
        senders=jnp.minimum(index.senders[: shape.edges], last),
        receivers=jnp.minimum(index.receivers[: shape.edges], last),
        n_node=filled(index.n_node, shape.nodes),
        n_edge=filled(index.n_edge, shape.edges),
        edges=None if index.edges is None else index.edges[: shape.edges],
    )


def deal(graphs: Graphs, ids: np.ndarray, batch_size: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """Deal graphs into batches of balanced size.

    Args:
        graphs: All graphs.
        ids: The graphs to deal.
        batch_size: Places in a batch.
        rng: Shuffles within strata and the order of places; None deals by size, always the same way.

    Returns:
        Ids, int [S, batch_size]; -1 marks an empty place. Every id occurs exactly once.
    """
    strata = _strata(graphs, ids, batch_size)
    return (strata if rng is None else rng.permuted(strata, axis=1)).T


def balance(graphs: Graphs, ids: np.ndarray, batch_size: int) -> tuple[np.ndarray, BatchShape]:
    """Deal graphs into as few batches of nearly equal size, always the same way, and the shape that fits them.

    Each graph, the largest first, goes to the smallest batch that has a place (Graham, 1969). For evaluation, where
    batches need not be random: the shape of `deal` must fit all that it may ever deal.

    Args:
        graphs: All graphs.
        ids: The graphs to deal.
        batch_size: Places in a batch.

    Returns:
        Ids, int [S, batch_size], -1 marks an empty place; and the padded shape.
    """
    count = max(1, -(-len(ids) // batch_size))
    dealt = np.full((count, batch_size), -1)
    used, nodes = (np.zeros(count, np.int64) for _ in range(2))
    for graph in ids[np.argsort(-graphs.n_node[ids], kind="stable")]:
        batch = int(np.argmin(np.where(used < batch_size, nodes, np.iinfo(np.int64).max)))
        dealt[batch, used[batch]] = graph
        used[batch] += 1
        nodes[batch] += graphs.n_node[graph]
    return dealt, shape_of(graphs, dealt)


def index_batches(graphs: Graphs, dealt: np.ndarray, shape: BatchShape) -> BatchIndex:
    """Index arrays for S batches of graphs, int32 with leading axis S.

    Args:
        graphs: All graphs.
        dealt: Ids, int [S, G - 1]; -1 marks an empty place.
        shape: Padded shape; each batch must fit.
    """
    steps, places = dealt.shape
    filled = dealt >= 0
    n_node = np.where(filled, graphs.n_node[dealt], 0)
    n_edge = np.where(filled, graphs.n_edge[dealt], 0)
    used_nodes, used_edges = n_node.sum(axis=1), n_edge.sum(axis=1)
    if shape.graphs != places + 1 or used_nodes.max() >= shape.nodes or used_edges.max() > shape.edges:
        raise ValueError(f"batches of up to {used_nodes.max()} nodes and {used_edges.max()} edges exceed {shape}")
    ids = dealt[filled]
    starts, lengths = graphs.edge_start[ids], graphs.n_edge[ids]
    # Ids of nodes within the batch are ids within the concatenation, shifted by where each graph begins in either.
    begin = (np.cumsum(n_node, axis=1) - n_node)[filled]
    shift = np.repeat((begin - graphs.node_start[ids]).astype(np.int32), lengths)
    last = shape.nodes - 1  # where padding edges begin and end
    nodes = _padded(graphs.nodes_of(ids), used_nodes, shape.nodes, 0)
    senders, receivers = (
        _padded(_runs(ends, starts, lengths) + shift, used_edges, shape.edges, last)
        for ends in (graphs.senders, graphs.receivers)
    )
    rows = None
    if not graphs.plain:
        rows = _padded(graphs.edges_of(ids), used_edges, shape.edges, len(graphs.senders))

    def with_padding(counts: np.ndarray, used: np.ndarray, total: int) -> np.ndarray:
        return np.concatenate([counts, total - used[:, None]], axis=1).astype(np.int32)

    return BatchIndex(
        nodes,
        senders,
        receivers,
        with_padding(n_node, used_nodes, shape.nodes),
        with_padding(n_edge, used_edges, shape.edges),
        np.concatenate([dealt, np.full((steps, 1), -1)], axis=1).astype(np.int32),
        rows,
    )


def _padded(values: np.ndarray, counts: np.ndarray, size: int, padding: int) -> np.ndarray:
    """Rows of so many values each, filled up to ``size``, int32 [S, size]."""
    result = np.full((len(counts), size), padding, np.int32)
    ends = np.cumsum(counts).tolist()
    for row, start, end in zip(result, [0, *ends], ends):
        row[: end - start] = values[start:end]
    return result


def _runs(table: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``concatenate([table[s : s + n] for s, n in zip(starts, lengths)])``, by one gather where runs are short."""
    if lengths.sum() < LONG_RUN * len(lengths):
        return table[ragged_ranges(starts, lengths)]
    return np.concatenate([table[s : s + n] for s, n in zip(starts.tolist(), lengths.tolist())])


def gather(rows: jax.Array | Rows, index: BatchIndex) -> Batch:
    """Make one batch on the device: pick the rows that ``index`` names, of features [V, D] or of `Rows`."""
    features, edges, counts = rows if isinstance(rows, Rows) else Rows(rows, None)
    mask = jnp.arange(index.nodes.shape[0]) < index.n_node[:-1].sum()
    return Batch(
        jraph.GraphsTuple(
            nodes=features[index.nodes],
            edges=None if edges is None else jax.tree.map(lambda table: table[index.edges], edges),
            senders=index.senders,
            receivers=index.receivers,
            n_node=index.n_node,
            n_edge=index.n_edge,
            globals=None,
        ),
        mask,
        jnp.asarray(index.graphs) >= 0,
        counts=None if counts is None else jnp.where(mask, counts[index.nodes], 0),
    )


def device_rows(graphs: Graphs, counts: np.ndarray | None = None) -> jax.Array | Rows:
    """What `gather` picks from: the (dense) node features, or `Rows` where there is more.

    Args:
        graphs: All graphs.
        counts: How many nodes each of theirs stands for, [V], where these are quotients.
    """
    return cast(jax.Array | Rows, jax.device_put(_rows(graphs, counts)))


def _rows(graphs: Graphs, counts: np.ndarray | None = None) -> Any:
    """The same on the host."""
    if graphs.plain:
        return graphs.nodes if counts is None else Rows(*cast(Any, (graphs.nodes, None, counts.astype(np.float32))))
    # Padding edges name the row at the end.
    padded: list[Any] = [
        None if table is None else np.concatenate([table, np.zeros_like(table, shape=(1, *table.shape[1:]))])
        for table in (graphs.edges, graphs.weights)
    ]
    return Rows(cast(Any, graphs.nodes), EdgeRows(*padded))


def device_edges(graphs: Graphs) -> EdgeRows | None:
    """Edge features and weights as the model takes them; None where there are neither."""
    if graphs.plain:
        return None
    return EdgeRows(*(None if table is None else jnp.asarray(table) for table in (graphs.edges, graphs.weights)))


def device_features(graphs: Graphs) -> Features:
    """Node features as the model takes them: dense, or `SparseRows` where the task keeps them sparse."""
    if sparse.issparse(graphs.nodes):
        return SparseRows.from_scipy(graphs.nodes)
    return jnp.asarray(graphs.nodes)


def single_batch(graphs: Graphs, shape: BatchShape | None = None, *, pairs: np.ndarray | None = None) -> Batch:
    """All graphs as one batch.

    Args:
        graphs: The graphs; sparse features are allowed only without padding of nodes.
        shape: Padded shape; by default nothing is padded but for one empty padding graph.
        pairs: Examples of an edge task, int [N, 2].
    """
    if pairs is not None:
        return single_batch(graphs, shape)._replace(pairs=jnp.asarray(pairs, jnp.int32))
    count, total = len(graphs.n_node), int(graphs.n_node.sum())
    if shape is not None:
        if count >= shape.graphs:
            raise ValueError(f"{count} graphs exceed {shape}")
        places = np.arange(shape.graphs - 1)
        index = index_batches(graphs, np.where(places < count, places, -1)[None], shape)
        # On the host: how many rows there are to pick from differs, and would compile anew.
        return jax.device_put(gather(_rows(graphs), jax.tree.map(lambda array: array[0], index)))
    counts = (np.append(graphs.n_node, 0), np.append(graphs.n_edge, 0))
    return Batch(
        jraph.GraphsTuple(
            nodes=device_features(graphs),
            edges=device_edges(graphs),
            senders=jnp.asarray(graphs.senders),
            receivers=jnp.asarray(graphs.receivers),
            n_node=jnp.asarray(counts[0], jnp.int32),
            n_edge=jnp.asarray(counts[1], jnp.int32),
            globals=None,
        ),
        jnp.ones(total, bool),
        jnp.arange(count + 1) < count,
    )
