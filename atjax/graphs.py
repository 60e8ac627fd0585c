"""Graphs in one flat form: all graphs of a task one after another, in plain numpy and scipy arrays."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from atjax.encoding import Encoded
from atjax.errors import UserError
from atjax.values import as_edge_rows, as_features, as_whole


@dataclass(frozen=True, eq=False)
class Graphs:
    """G graphs with V nodes and E directed edges in all, concatenated.

    An undirected edge is stored in both directions. Edges are sorted by graph, then receiver, then sender; ids of
    senders and receivers count from 0 within the whole concatenation. There are no duplicate edges.

    Attributes:
        nodes: Node features, [V, D]: dense float32, or a scipy CSR matrix of float32 where most entries are 0.
        senders: int32 [E].
        receivers: int32 [E], ascending.
        n_node: Nodes of each graph, int32 [G].
        n_edge: Directed edges of each graph, int32 [G].
        edges: Edge features, float32 [E, K], in the order of the edges; None if there are none.
        weights: Edge weights, float32 [E], 0 or more; None if all edges count alike.
    """

    nodes: np.ndarray | sparse.csr_matrix
    senders: np.ndarray
    receivers: np.ndarray
    n_node: np.ndarray
    n_edge: np.ndarray
    edges: np.ndarray | None = None
    weights: np.ndarray | None = None

    def __repr__(self) -> str:
        parts = [
            f"{len(self.n_node):,} graphs",
            f"{self.nodes.shape[0]:,} nodes",
            f"{len(self.senders):,} directed edges",
        ]
        parts.append(f"{self.num_features:,} features{'' if isinstance(self.nodes, np.ndarray) else ' (sparse)'}")
        parts += [f"{self.num_edge_features:,} edge features"] if self.edges is not None else []
        parts += ["edge weights"] if self.weights is not None else []
        return f"Graphs({', '.join(parts)})"

    @property
    def num_features(self) -> int:
        """D."""
        return int(self.nodes.shape[1])

    @property
    def nonzero(self) -> float:
        """Share of the node features that are not 0."""
        count = np.count_nonzero(self.nodes if isinstance(self.nodes, np.ndarray) else self.nodes.data)
        return float(count / max(self.nodes.shape[0] * self.nodes.shape[1], 1))

    @property
    def num_edge_features(self) -> int:
        """K, 0 if there are none."""
        return 0 if self.edges is None else int(self.edges.shape[1])

    @property
    def plain(self) -> bool:
        """Whether edges say no more than which nodes they join."""
        return self.edges is None and self.weights is None

    def dense(self) -> Graphs:
        """The same graphs with dense node features."""
        if isinstance(self.nodes, np.ndarray):
            return self
        return dataclasses.replace(self, nodes=self.nodes.toarray())

    @functools.cached_property
    def node_start(self) -> np.ndarray:
        """First node of each graph, and V at the end, int64 [G + 1]."""
        return np.concatenate([[0], np.cumsum(self.n_node, dtype=np.int64)])

    @functools.cached_property
    def edge_start(self) -> np.ndarray:
        """First edge of each graph, and E at the end, int64 [G + 1]."""
        return np.concatenate([[0], np.cumsum(self.n_edge, dtype=np.int64)])

    @classmethod
    def from_edges(
        cls,
        nodes: np.ndarray | sparse.csr_matrix,
        senders: np.ndarray,
        receivers: np.ndarray,
        n_node: np.ndarray,
        *,
        undirected: bool = True,
        edges: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> Graphs:
        """Bring an edge list in any order into the stored form: both directions, no duplicates, sorted.

        An edge that is listed several times, or without a direction in both, has the mean of its features and weights:
        whatever the order of the list, and the same as if it were listed once wherever the listings agree.

        Args:
            nodes: Node features, [V, D].
            senders: Sending node of each edge, in 0 .. V-1, [E].
            receivers: Receiving node of each edge, in the same graph, [E].
            n_node: Nodes of each graph, [G], summing to V.
            undirected: Add the reverse of every edge.
            edges: Edge features, [E, K].
            weights: Edge weights, [E].

        Raises:
            UserError: An edge names a node that does not exist, or joins two graphs; sizes do not match; what should
                be whole is not, or what should be a number.
        """
        nodes, n_node = as_features(nodes, "nodes"), as_whole(n_node, "n_node")
        if n_node.ndim != 1 or n_node.min(initial=0) < 0:
            raise UserError("n_node must hold the number of nodes of each graph, 0 or more; mend it.")
        total = int(np.sum(n_node))
        if nodes.shape[0] != total:
            raise UserError(f"There are {nodes.shape[0]} rows of node features but {total} nodes; give one row a node.")
        if nodes.ndim != 2 or nodes.dtype.kind not in "biuf":
            raise UserError(
                f"Node features are of shape {list(nodes.shape)} and type {nodes.dtype}; give numbers, [V, D]."
            )
        senders, receivers = as_whole(senders, "senders"), as_whole(receivers, "receivers")
        if senders.ndim != 1 or senders.shape != receivers.shape:
            raise UserError(
                f"Senders are of shape {list(senders.shape)}, receivers of {list(receivers.shape)}; give one of each "
                "for every edge."
            )
        edges, weights = (
            None if each is None else as_edge_rows(each, name, len(senders))
            for name, each in {"edges": edges, "weights": weights}.items()
        )
        ends = np.concatenate([senders, receivers])
        if ends.size and (ends.min() < 0 or ends.max() >= total):
            bad = int(ends[(ends < 0) | (ends >= total)][0])
            raise UserError(
                f"An edge names node {bad}, but nodes are numbered 0 to {total - 1}; drop or mend that edge."
            )
        graph_of = np.repeat(np.arange(len(n_node)), n_node)
        if np.any(graph_of[senders] != graph_of[receivers]):
            bad = int(np.flatnonzero(graph_of[senders] != graph_of[receivers])[0])
            raise UserError(f"Edge {bad} joins nodes of two different graphs; every edge must stay within one graph.")
        if undirected:
            senders, receivers = np.concatenate([senders, receivers]), np.concatenate([receivers, senders])
        if edges is not None or weights is not None:
            code, times = receivers * total + senders, 2 if undirected else 1
            edges, weights = (None if each is None else _means(code, each, times) for each in (edges, weights))
        # Buckets of receivers, each sorted by itself: a tenth of the time of sorting all edges, let alone of np.unique.
        matrix = sparse.csr_matrix((np.ones(len(senders), bool), (receivers, senders)), shape=(total, total))
        matrix.sum_duplicates()
        receivers, senders = np.repeat(np.arange(total), np.diff(matrix.indptr)), matrix.indices
        n_edge = np.bincount(graph_of[receivers], minlength=len(n_node))
        if sparse.issparse(nodes):
            features: np.ndarray | sparse.csr_matrix = canonical_csr(nodes)
        else:
            with np.errstate(over="ignore"):  # as in `canonical_csr`
                features = np.ascontiguousarray(nodes, np.float32)
        return cls(
            features,
            senders.astype(np.int32),
            receivers.astype(np.int32),
            np.asarray(n_node, np.int32),
            n_edge.astype(np.int32),
            edges,
            weights,
        )

    @classmethod
    def from_encoded(cls, encoded: Encoded) -> Graphs:
        """A user's own graphs, once `atjax.encoding.Encoding.apply` has made features of what they had."""
        return cls.from_edges(
            encoded.features,
            encoded.senders,
            encoded.receivers,
            encoded.n_node,
            undirected=not encoded.directed,
            edges=encoded.edges,
            weights=encoded.weights,
        )

    def nodes_of(self, ids: np.ndarray) -> np.ndarray:
        """Ids of the nodes of these graphs, graph after graph, int64."""
        return ragged_ranges(self.node_start[ids], self.n_node[ids])

    def edges_of(self, ids: np.ndarray) -> np.ndarray:
        """Ids of their edges, int64."""
        return ragged_ranges(self.edge_start[ids], self.n_edge[ids])

    def take(self, ids: np.ndarray) -> Graphs:
        """The graphs with these ids, in that order."""
        nodes, edges = self.nodes_of(ids), self.edges_of(ids)
        new_start = np.concatenate([[0], np.cumsum(self.n_node[ids], dtype=np.int64)])[:-1]
        shift = np.repeat(new_start - self.node_start[ids], self.n_edge[ids])
        return Graphs(
            self.nodes[nodes],
            (self.senders[edges] + shift).astype(np.int32),
            (self.receivers[edges] + shift).astype(np.int32),
            self.n_node[ids],
            self.n_edge[ids],
            None if self.edges is None else self.edges[edges],
            None if self.weights is None else self.weights[edges],
        )

    def keep_edges(self, kept: np.ndarray) -> Graphs:
        """The same nodes with some of the edges, those that are true in ``kept``, bool [E]."""
        owner = np.repeat(np.arange(len(self.n_node)), self.n_edge)
        return dataclasses.replace(
            self,
            senders=self.senders[kept],
            receivers=self.receivers[kept],
            n_edge=np.bincount(owner[kept], minlength=len(self.n_node)).astype(np.int32),
            edges=None if self.edges is None else self.edges[kept],
            weights=None if self.weights is None else self.weights[kept],
        )


def _means(code: np.ndarray, values: np.ndarray, times: int) -> np.ndarray:
    """Means over edges of one code, float32, in ascending order of the codes.

    Args:
        code: A number for each edge, [times E]: all of them once, or twice, the second time reversed.
        values: What the edges have, [E, ...].
        times: Once or twice.
    """
    order = np.argsort(code, kind="stable")
    first = np.flatnonzero(np.diff(code[order], prepend=-1))
    count = np.diff(np.append(first, len(code))).reshape(-1, *[1] * (values.ndim - 1))
    # In double precision, where a mean of equal numbers is that number.
    rows = np.concatenate([np.asarray(values, np.float64)] * times)[order]
    with np.errstate(over="ignore"):  # as in `canonical_csr`
        return (np.add.reduceat(rows, first, axis=0) / count if len(first) else rows).astype(np.float32)


def ragged_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``concatenate([arange(s, s + n) for s, n in zip(starts, lengths)])`` without the loop, int64."""
    lengths = np.asarray(lengths, np.int64)
    offsets = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum(), dtype=np.int64) + np.repeat(np.asarray(starts, np.int64) - offsets, lengths)


def canonical_csr(matrix: np.ndarray | sparse.spmatrix) -> sparse.csr_matrix:
    """A float32 CSR copy with ascending columns, no duplicates and no stored zeros: one form for equal matrices."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which `check` names
        canonical = sparse.csr_matrix(matrix, dtype=np.float32, copy=True)
    canonical.sum_duplicates()
    canonical.eliminate_zeros()
    return canonical


def check_graphs(graphs: Graphs, name: str) -> None:
    """Raise `UserError` if features or weights are of no use, or edges not in order; ``name`` begins the sentence."""
    nodes = graphs.nodes
    _check_order(graphs, name)
    if not graphs.num_features:
        raise UserError(f"{name}: nodes have no features; give one column or more, such as their degree.")
    if isinstance(nodes, np.ndarray):
        faulty = np.flatnonzero(~np.isfinite(nodes).all(axis=1))
    else:
        faulty = np.repeat(np.arange(nodes.shape[0]), np.diff(nodes.indptr))[~np.isfinite(nodes.data)]
    if faulty.size:
        raise UserError(
            f"{name}: the features of node {faulty[0]} hold NaN or infinity; fill them in, or drop that node."
        )
    for what, given, wanted in (("features", graphs.edges, 2), ("weights", graphs.weights, 1)):
        if given is None:
            continue
        if given.ndim != wanted or len(given) != len(graphs.senders):
            raise UserError(
                f"{name}: the edge {what} are of shape {list(given.shape)} for {len(graphs.senders)} edges; give "
                f"{'a row' if wanted == 2 else 'a number'} for each edge."
            )
        faulty = ~np.isfinite(given if wanted == 2 else given[:, None]).all(axis=1)
        if what == "weights":
            faulty |= given < 0
        if faulty.any():
            raise UserError(
                f"{name}: the {what} of edge {np.flatnonzero(faulty)[0]} hold NaN, infinity or a weight below 0; "
                "mend them, or drop that edge."
            )


def _check_order(graphs: Graphs, name: str) -> None:
    """Raise `UserError` unless sizes match and edges are as `Graphs` says: sums over them rely on it, unseen."""
    total, owner = len(graphs.node_start) - 1, np.repeat(np.arange(len(graphs.n_node)), graphs.n_node)
    ends = np.stack([graphs.senders, graphs.receivers]) if graphs.senders.shape == graphs.receivers.shape else None
    if (
        ends is None
        or len(graphs.n_edge) != total
        or graphs.edge_start[-1] != len(graphs.senders)
        or graphs.node_start[-1] != graphs.nodes.shape[0]
        or ends.min(initial=0) < 0
        or ends.max(initial=-1) >= graphs.nodes.shape[0]
        or np.any(np.diff(graphs.receivers) < 0)
        or np.any(owner[ends] != np.repeat(np.arange(total), graphs.n_edge))
    ):
        raise UserError(f"{name}: the edges are not in the order that Graphs has; make them by Graphs.from_edges.")
