"""A task: graphs, labels, a split, a loss and a metric (paper, Definition 1).

Graphs are kept flat, all graphs of a task one after another, in plain numpy and scipy arrays; `atjax.batch` turns
them into padded `jraph.GraphsTuple`s.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Unpack, cast

import numpy as np
from scipy import sparse

from atjax import interop, reading
from atjax.encoding import Encoded, Encoding
from atjax.errors import UserError
from atjax.raw import RawGraphs
from atjax.reading import Options

Level = Literal["node", "edge", "graph"]
Loss = Literal["cross_entropy", "binary_cross_entropy", "mse"]
Metric = Literal["accuracy", "roc_auc", "average_precision", "mae", "rmse"]

_OF_CLASSES: tuple[Metric, ...] = ("accuracy", "roc_auc", "average_precision")
METRICS: dict[str, tuple[Metric, ...]] = {
    "cross_entropy": _OF_CLASSES,
    "binary_cross_entropy": _OF_CLASSES,
    "mse": ("mae", "rmse"),
}
"""The metrics that go with each loss."""

SPLIT_PATTERNS: dict[str, tuple[int, ...]] = {
    "graph": (0, 0, 0, 0, 1, 0, 0, 0, 0, 2),
    "edge": (0, 0, 0, 0, 1, 0, 0, 0, 0, 2),
    "node": (0, 1, 0, 2),
}
"""Which part each example of a row goes to, over and over, by level: 0 training, 1 validation, 2 test.

The shares are those of the paper, section 5.1: 80/10/10 for graphs, 50/25/25 for nodes; pairs of nodes are split as
graphs are. Spacing is as even as can be, so that any run of L examples in the row gives each part its share of L to
within less than 1.
"""


@dataclass(frozen=True)
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
    """

    nodes: np.ndarray | sparse.csr_matrix
    senders: np.ndarray
    receivers: np.ndarray
    n_node: np.ndarray
    n_edge: np.ndarray

    @property
    def num_features(self) -> int:
        return int(self.nodes.shape[1])

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
    ) -> Graphs:
        """Bring an edge list in any order into the stored form: both directions, no duplicates, sorted.

        Args:
            nodes: Node features, [V, D].
            senders: Sending node of each edge, in 0 .. V-1, [E].
            receivers: Receiving node of each edge, in the same graph, [E].
            n_node: Nodes of each graph, [G], summing to V.
            undirected: Add the reverse of every edge.

        Raises:
            UserError: An edge names a node that does not exist, or joins two graphs; sizes do not match.
        """
        total = int(np.sum(n_node))
        if nodes.shape[0] != total:
            raise UserError(f"There are {nodes.shape[0]} rows of node features but {total} nodes; give one row a node.")
        senders, receivers = np.asarray(senders, np.int64), np.asarray(receivers, np.int64)
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
        # One number an edge, sorted, and neighbours compared: twenty times as fast as np.unique, which hashes.
        code = np.sort(receivers * total + senders)
        receivers, senders = np.divmod(code[np.diff(code, prepend=-1) != 0], max(total, 1))
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
        )

    @classmethod
    def from_encoded(cls, encoded: Encoded) -> Graphs:
        """A user's own graphs, once `atjax.encoding.Encoding.apply` has made features of what they had."""
        features, senders, receivers, n_node, _, directed = encoded
        return cls.from_edges(features, senders, receivers, n_node, undirected=not directed)

    def take(self, ids: np.ndarray) -> Graphs:
        """The graphs with these ids, in that order."""
        nodes = ragged_ranges(self.node_start[ids], self.n_node[ids])
        edges = ragged_ranges(self.edge_start[ids], self.n_edge[ids])
        new_start = np.concatenate([[0], np.cumsum(self.n_node[ids], dtype=np.int64)])[:-1]
        shift = np.repeat(new_start - self.node_start[ids], self.n_edge[ids])
        return Graphs(
            self.nodes[nodes],
            (self.senders[edges] + shift).astype(np.int32),
            (self.receivers[edges] + shift).astype(np.int32),
            self.n_node[ids],
            self.n_edge[ids],
        )


def ragged_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``concatenate([arange(s, s + n) for s, n in zip(starts, lengths)])`` without the loop, int64."""
    lengths = np.asarray(lengths, np.int64)
    offsets = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum(), dtype=np.int64) + np.repeat(np.asarray(starts, np.int64) - offsets, lengths)


@dataclass(frozen=True)
class Split:
    """Ids of the training, validation and test examples (graphs, nodes or pairs), each ascending int64."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Task:
    """A graph-learning task (paper, Definition 1: a dataset with a loss and a metric).

    Attributes:
        name: Lower-case name, as on the command line.
        level: What an example is: a node, a pair of nodes (``edge``) or a graph.
        loss: ``cross_entropy`` over classes, ``binary_cross_entropy`` of C outputs each by itself (multi-label), or
            ``mse``.
        metric: What validation picks by and test reports, one of `METRICS` of the loss.
        graphs: The graphs; one for a node task. For an edge task their edges carry messages, and whatever is to be
            predicted must not stand among them (see `atjax.links`).
        labels: int32 [N], -1 where an example has no label, for ``cross_entropy``; else float [N, C], NaN where a label
            is missing. For ``binary_cross_entropy`` they are 0 or 1, and -1 may stand for NaN; one column may be given
            flat, [N].
        num_outputs: C: classes, binary labels, or regression targets.
        notes: Sentences on how the data was read (where features come from, what was dropped).
        fixed_split: The data's own split, used whatever the seed; None to split by seed.
        pairs: The nodes of each example of an edge task, int [N, 2], as the graphs number them; None for other levels.
        encoding: How a user's own graphs became features and classes; None for other tasks.
    """

    name: str
    level: Level
    loss: Loss
    metric: Metric
    graphs: Graphs
    labels: np.ndarray
    num_outputs: int
    notes: tuple[str, ...] = ()
    fixed_split: Split | None = None
    pairs: np.ndarray | None = None
    encoding: Encoding | None = None

    def __post_init__(self) -> None:
        if self.loss != "cross_entropy":
            object.__setattr__(self, "labels", _by_output(self.labels, self.loss))
        check(self)

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        edge_index: Any,
        labels: Any,
        *,
        graph: Any = None,
        num_nodes: int | None = None,
        **options: Unpack[Options],
    ) -> Task:
        """A task from arrays; see `interop.from_arrays` and `reading.Options`.

        Raises:
            UserError: The arrays do not fit together, or cannot be learnt from.

        Example:
            >>> Task.from_arrays(None, [[0, 1, 3], [1, 2, 4]], ["a", "b"], graph=[0, 0, 0, 1, 1]).num_examples
            2
        """
        return cls.from_raw(interop.from_arrays(x, edge_index, labels, graph=graph, num_nodes=num_nodes), **options)

    @classmethod
    def from_networkx(
        cls, graphs: Any, labels: Any = "label", *, attributes: Sequence[str] | None = None, **options: Unpack[Options]
    ) -> Task:
        """A task from NetworkX graphs; see `interop.from_networkx` and `reading.Options`.

        Raises:
            UserError: The graphs cannot be learnt from.
        """
        return cls.from_raw(interop.from_networkx(graphs, labels, attributes=attributes), **options)

    @classmethod
    def from_pyg(cls, data: Any, **options: Unpack[Options]) -> Task:
        """A task from PyTorch Geometric's ``Data``, one or several; see `interop.from_pyg` and `reading.Options`.

        Raises:
            UserError: The graphs cannot be learnt from.
        """
        return cls.from_raw(interop.from_pyg(data), **options)

    @classmethod
    def from_dgl(
        cls, graphs: Any, labels: Any = "label", *, attributes: Sequence[str] | None = None, **options: Unpack[Options]
    ) -> Task:
        """A task from DGL graphs; see `interop.from_dgl` and `reading.Options`.

        Raises:
            UserError: The graphs cannot be learnt from.
        """
        return cls.from_raw(interop.from_dgl(graphs, labels, attributes=attributes), **options)

    @classmethod
    def from_raw(cls, raw: RawGraphs, **options: Unpack[Options]) -> Task:
        """A task from graphs in the form that all of the user's own pass through.

        Raises:
            UserError: An option is wrong, or the graphs cannot be learnt from.
        """
        level, labels, encoding, encoded, split, notes = reading.read(raw, options)
        return cls(
            options.get("name", "own"),
            cast(Level, level),
            cast(Loss, labels.loss),
            cast(Metric, options.get("metric") or METRICS.get(labels.loss, ("accuracy",))[0]),
            Graphs.from_encoded(encoded),
            labels.values,
            labels.num_outputs,
            notes,
            None if split is None else Split(*split),
            encoding=encoding,
        )

    @property
    def num_examples(self) -> int:
        return len(self.labels)

    @property
    def labelled(self) -> np.ndarray:
        """Ids of the examples with a label, for some output at least, ascending int64."""
        missing = self.labels < 0 if self.loss == "cross_entropy" else np.isnan(self.labels).all(axis=1)
        return np.flatnonzero(~missing)

    def split(self, seed: int) -> Split:
        """Training, validation and test examples.

        Graph and edge tasks: 80/10/10, stratified by class where there are classes: each part holds its share of each
        class to within less than 1.
        Node tasks: 50/25/25, uniform over labelled nodes (paper, section 5.1).
        The data's own split is returned, whatever the seed, if it has one.

        Raises:
            UserError: There are too few labelled examples for three parts.
        """
        if self.fixed_split is not None:
            return self.fixed_split
        rng = np.random.default_rng([seed, 0x5011])
        order = rng.permutation(self.labelled)
        if self.level != "node" and self.loss == "cross_entropy":
            # Classes one after another in the row: each is a run, so that each part gets its share of every class.
            order = order[np.argsort(self.labels[order], kind="stable")]
        pattern = SPLIT_PATTERNS[self.level]
        part = np.resize(np.roll(pattern, rng.integers(len(pattern))), len(order))
        parts = [np.sort(order[part == which]) for which in range(3)]
        if not all(ids.size for ids in parts):
            raise UserError(
                f"{self.name}: {len(order)} labelled {self.level}s are too few to split; give {len(pattern)} or more."
            )
        return Split(*parts)

    @functools.cached_property
    def content_hash(self) -> str:
        """SHA-256 over graphs, pairs, labels, level, loss and metric; name, notes and split play no part.

        Renaming a task does not change it, so that a task's own records can be told by content; nor does holding its
        features dense or sparse.
        """
        graphs, features = self.graphs, canonical_csr(self.graphs.nodes)
        return hash_arrays(
            f"{self.level} {self.loss} {self.metric} {self.num_outputs} {features.shape[1]}",
            [features.data, features.indices, features.indptr],
            [graphs.senders, graphs.receivers, graphs.n_node, graphs.n_edge, self.labels],
            [] if self.pairs is None else [self.pairs],
        )


def canonical_csr(matrix: np.ndarray | sparse.spmatrix) -> sparse.csr_matrix:
    """A float32 CSR copy with ascending columns, no duplicates and no stored zeros: one form for equal matrices."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which `check` names
        canonical = sparse.csr_matrix(matrix, dtype=np.float32, copy=True)
    canonical.sum_duplicates()
    canonical.eliminate_zeros()
    return canonical


def hash_arrays(header: str, *groups: Sequence[np.ndarray]) -> str:
    """SHA-256, in hex, over a header and arrays with their shapes; integers as int64, all else as float32."""
    digest = hashlib.sha256(header.encode())
    for array in itertools.chain.from_iterable(groups):
        with np.errstate(over="ignore"):  # as in `canonical_csr`
            canonical = np.ascontiguousarray(array, np.int64 if array.dtype.kind in "iub" else np.float32)
        digest.update(f"{canonical.dtype} {canonical.shape}".encode())
        digest.update(canonical.tobytes())
    return digest.hexdigest()


def _by_output(labels: np.ndarray, loss: Loss) -> np.ndarray:
    """Labels of outputs each by itself in one form: floating-point [N, C], one and the same NaN for what is missing."""
    table = np.asarray(labels)
    table = table.astype(table.dtype if table.dtype.kind == "f" else np.float32)
    table = table[:, None] if table.ndim == 1 else table
    table[np.isnan(table) | ((loss == "binary_cross_entropy") & (table == -1))] = np.nan
    return table


def check(task: Task) -> None:
    """Raise `UserError`, in one sentence, if a task cannot be learnt from."""
    _check_words(task)
    _check_graphs(task)
    if task.level == "edge":
        check_pairs(task.pairs, int(task.graphs.n_node.sum()), task.name)
    elif task.pairs is not None:
        raise UserError(f"{task.name}: pairs are for tasks of level edge; the level is {task.level!r}.")
    expected = {"graph": len(task.graphs.n_node), "node": int(task.graphs.n_node.sum())}
    if task.pairs is not None:
        expected["edge"] = len(task.pairs)
    if len(task.labels) != expected[task.level]:
        raise UserError(
            f"{task.name}: {len(task.labels)} labels for {expected[task.level]} {task.level}s; give one label each."
        )
    if task.loss == "cross_entropy":
        _check_classes(task)
    else:
        _check_outputs(task)


def _check_words(task: Task) -> None:
    for what, value, known in (
        ("level", task.level, tuple(SPLIT_PATTERNS)),
        ("loss", task.loss, tuple(METRICS)),
        (f"metric of the loss {task.loss!r}", task.metric, METRICS.get(task.loss, ())),
    ):
        if value not in known:
            raise UserError(f"{task.name}: {value!r} is no {what}; choose from {', '.join(known)}.")


def _check_graphs(task: Task) -> None:
    nodes, n_node = task.graphs.nodes, task.graphs.n_node
    if isinstance(nodes, np.ndarray):
        faulty = np.flatnonzero(~np.isfinite(nodes).all(axis=1))
    else:
        faulty = np.repeat(np.arange(nodes.shape[0]), np.diff(nodes.indptr))[~np.isfinite(nodes.data)]
    if faulty.size:
        raise UserError(
            f"{task.name}: the features of node {faulty[0]} hold NaN or infinity; fill them in, or drop that node."
        )
    if task.level == "graph" and np.any(n_node == 0):
        raise UserError(f"{task.name}: graph {np.flatnonzero(n_node == 0)[0]} has no nodes; drop it, with its label.")


def check_pairs(pairs: np.ndarray | None, nodes: int, where: str) -> None:
    """Raise `UserError` unless these are pairs of so many nodes, int [N, 2]; ``where`` begins the sentence."""
    if pairs is None or pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise UserError(f"{where}: give the two nodes of every example of an edge task, whole numbers [N, 2].")
    if pairs.size and (pairs.min() < 0 or pairs.max() >= nodes):
        bad = int(np.flatnonzero(((pairs < 0) | (pairs >= nodes)).any(axis=1))[0])
        raise UserError(f"{where}: pair {bad} is {pairs[bad].tolist()}, but nodes are numbered 0 to {nodes - 1}.")


def _check_classes(task: Task) -> None:
    labels = task.labels
    if labels.size and (labels.min() < -1 or labels.max() >= task.num_outputs):
        bad = int(np.flatnonzero((labels < -1) | (labels >= task.num_outputs))[0])
        raise UserError(
            f"{task.name}: example {bad} has label {int(labels[bad])}, out of the range 0 to {task.num_outputs - 1}."
        )
    if len(np.unique(labels[labels >= 0])) < 2:
        raise UserError(f"{task.name}: all labels are of one class, so there is nothing to learn; give two or more.")


def _check_outputs(task: Task) -> None:
    labels = task.labels
    if labels.ndim != 2 or labels.shape[1] != task.num_outputs:
        raise UserError(
            f"{task.name}: labels are of shape {list(labels.shape)} for {task.num_outputs} outputs; give a column each."
        )
    binary = task.loss == "binary_cross_entropy"
    wrong = ~np.isin(labels, (0, 1)) & ~np.isnan(labels) if binary else np.isinf(labels)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        wanted = "0 or 1" if binary else "a finite number"
        raise UserError(
            f"{task.name}: label {column} of example {row} is {labels[row, column]:g}; give {wanted}, or NaN for none."
        )
    if binary and not np.any((labels == 0).any(axis=0) & (labels == 1).any(axis=0)):
        raise UserError(f"{task.name}: no label is 0 for some examples and 1 for others, so there is nothing to learn.")
    if np.isnan(labels).all():
        raise UserError(f"{task.name}: all targets are missing, so there is nothing to learn.")
