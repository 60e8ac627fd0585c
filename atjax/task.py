"""A task: graphs, labels, a split, a loss and a metric (paper, Definition 1).

Graphs are kept flat (`atjax.graphs`); `atjax.batch` turns them into padded `jraph.GraphsTuple`s.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Unpack, cast

import numpy as np

from atjax import interop, reading
from atjax.encoding import Encoding
from atjax.errors import UserError
from atjax.graphs import Graphs as Graphs
from atjax.graphs import canonical_csr as canonical_csr
from atjax.graphs import check_graphs
from atjax.graphs import ragged_ranges as ragged_ranges
from atjax.raw import RawGraphs, Where, members_of_parts, parts_of_sets
from atjax.reading import Options
from atjax.space import ignoring
from atjax.values import as_array, as_labels

Level = Literal["node", "edge", "graph"]
Loss = Literal["cross_entropy", "binary_cross_entropy", "mse"]
Metric = Literal["accuracy", "roc_auc", "average_precision", "mae", "rmse"]

STEPS = 16
"""Of single precision: by how many targets must vary, for outputs are in their units, and rounded to such steps."""

LEAST, MOST = 1e-32, 1e38
"""Between them the range of targets must be: their deviation scales a last layer whose entries may not vanish, and what
is predicted of them, less their mean, may not overflow."""

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


@dataclass(frozen=True, eq=False)
class Split:
    """Ids of the training, validation and test examples (graphs, nodes or pairs), each ascending int64."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def __repr__(self) -> str:
        return f"Split({len(self.train):,} training, {len(self.validation):,} validation, {len(self.test):,} test)"

    @property
    def held_out(self) -> np.ndarray:
        """Ids of the validation examples, then of the test examples."""
        return np.concatenate([self.validation, self.test])

    @property
    def content_hash(self) -> str:
        """The start of a SHA-256 over the ids, 16 hexadecimal digits."""
        return hash_arrays("split", [self.train, self.validation, self.test])[:16]


@dataclass(frozen=True, eq=False)
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
        object.__setattr__(self, "name", str(self.name))
        _check_words(self)
        form = _by_example if self.loss == "cross_entropy" else _by_output
        object.__setattr__(self, "labels", form(self.labels, self))
        if self.pairs is not None:
            object.__setattr__(self, "pairs", as_array(self.pairs, f"{self.name}: pairs"))
        check(self)

    def __repr__(self) -> str:
        kind = {"cross_entropy": "classes", "binary_cross_entropy": "binary labels", "mse": "targets"}[self.loss]
        examples = f"{len(self.labels):,} {'pairs of nodes' if self.level == 'edge' else f'{self.level}s'}"
        own = f", {self.fixed_split!r} of its own" if self.fixed_split is not None else ""
        return f"Task({self.name!r}: {examples}, {self.num_outputs} {kind}, {self.metric}; {self.graphs!r}{own})"

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        edge_index: Any,
        labels: Any,
        *,
        graph: Any = None,
        num_nodes: int | None = None,
        edge_attr: Any = None,
        edge_weight: Any = None,
        **options: Unpack[Options],
    ) -> Task:
        """A task from arrays; see `interop.from_arrays` and `reading.Options`.

        Raises:
            UserError: The arrays do not fit together, or cannot be learnt from.

        Example:
            >>> Task.from_arrays(None, [[0, 1, 3], [1, 2, 4]], ["a", "b"], graph=[0, 0, 0, 1, 1]).num_examples
            2
        """
        raw = interop.from_arrays(
            x, edge_index, labels, graph=graph, num_nodes=num_nodes, edge_attr=edge_attr, edge_weight=edge_weight
        )
        return cls.from_raw(raw, **options)

    @classmethod
    def from_networkx(
        cls,
        graphs: Any,
        labels: Any = "label",
        *,
        attributes: Sequence[str] | None = None,
        edge_attributes: Sequence[str] | None = None,
        **options: Unpack[Options],
    ) -> Task:
        """A task from NetworkX graphs; see `interop.from_networkx` and `reading.Options`.

        Raises:
            UserError: The graphs cannot be learnt from.
        """
        raw = interop.from_networkx(graphs, labels, attributes=attributes, edge_attributes=edge_attributes)
        return cls.from_raw(raw, **options)

    @classmethod
    def from_pyg(cls, data: Any, **options: Unpack[Options]) -> Task:
        """A task from PyTorch Geometric's ``Data``, one or several; see `interop.from_pyg` and `reading.Options`.

        Raises:
            UserError: The graphs cannot be learnt from.
        """
        return cls.from_raw(interop.from_pyg(data), **options)

    @classmethod
    def from_dgl(
        cls,
        graphs: Any,
        labels: Any = "label",
        *,
        attributes: Sequence[str] | None = None,
        edge_attributes: Sequence[str] | None = None,
        **options: Unpack[Options],
    ) -> Task:
        """A task from DGL graphs; see `interop.from_dgl` and `reading.Options`.

        Raises:
            UserError: The graphs cannot be learnt from.
        """
        raw = interop.from_dgl(graphs, labels, attributes=attributes, edge_attributes=edge_attributes)
        return cls.from_raw(raw, **options)

    @classmethod
    def from_raw(cls, raw: RawGraphs, **options: Unpack[Options]) -> Task:
        """A task from graphs in the form that all of the user's own pass through.

        Raises:
            UserError: An option is wrong, or the graphs cannot be learnt from.
        """
        level, labels, encoding, encoded, split, notes = reading.read(raw, options)
        task = cls(
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
        # Targets are checked in double precision, and kept in single as those of all other sources are.
        return task if task.loss == "cross_entropy" else replace(task, labels=task.labels.astype(np.float32))

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
            UserError: There are too few labelled examples for three parts; the seed is none.
        """
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise UserError(f"seed={seed!r} is no seed; give a whole number, 0 or more.")
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
        features dense or sparse. Features and weights of edges count where there are any.
        """
        graphs, features = self.graphs, canonical_csr(self.graphs.nodes)
        return hash_arrays(
            f"{self.level} {self.loss} {self.metric} {self.num_outputs} {features.shape[1]}",
            [features.data, features.indices, features.indptr],
            [graphs.senders, graphs.receivers, graphs.n_node, graphs.n_edge, self.labels],
            [] if self.pairs is None else [self.pairs],
            [each for each in (graphs.edges, graphs.weights) if each is not None],
        )

    @functools.cached_property
    def bank_hash(self) -> str:
        """By what a bank knows the task: its content hash, with that of its own split after a colon if it has one.

        A seed tells no split from another that comes with the data, and what was trained on other examples is another
        training.
        """
        own = self.fixed_split
        return self.content_hash if own is None else f"{self.content_hash}:{own.content_hash}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes, and which convolutions make use of what the edges have."""
        kinds = {"Edge features": self.graphs.edges, "Edge weights": self.graphs.weights}
        found = {what: ignoring(what.split()[1]) for what, there in kinds.items() if there is not None}
        return (*self.notes, *(f"{what} are not used by {' and '.join(who)}." for what, who in found.items()))


def hash_arrays(header: str, *groups: Sequence[np.ndarray]) -> str:
    """SHA-256, in hex, over a header and arrays with their shapes; integers as int64, all else as float32."""
    digest = hashlib.sha256(header.encode())
    for array in itertools.chain.from_iterable(groups):
        with np.errstate(over="ignore"):  # as in `canonical_csr`
            canonical = np.ascontiguousarray(array, np.int64 if array.dtype.kind in "iub" else np.float32)
        digest.update(f"{canonical.dtype} {canonical.shape}".encode())
        digest.update(canonical.tobytes())
    return digest.hexdigest()


def _by_example(labels: Any, task: Task) -> np.ndarray:
    """Classes, int32 [N], -1 for what is missing; they are checked before they lose bits."""
    classes = as_labels(labels, f"{task.name}: labels")
    if classes.dtype == object and classes.ndim:  # numpy's masked entries
        classes = np.array([-1 if label is None else label for label in classes.flat]).reshape(classes.shape)
    if classes.ndim != 1 or classes.dtype.kind not in "biu":
        raise UserError(
            f"{task.name}: labels are of shape {list(classes.shape)} and type {classes.dtype}; give the number of its "
            "class for each example, or -1 for none."
        )
    wrong = (classes < -1) | (classes >= task.num_outputs)
    if wrong.any():
        bad = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{task.name}: example {bad} has label {int(classes[bad])}, out of the range 0 to {task.num_outputs - 1}."
        )
    return classes.astype(np.int32, copy=False)


def _by_output(labels: Any, task: Task) -> np.ndarray:
    """Labels of outputs each by itself in one form: floating-point [N, C], one and the same NaN for what is missing."""
    table = as_labels(labels, f"{task.name}: labels")
    try:
        table = table.astype(table.dtype if table.dtype.kind == "f" else np.float32)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{task.name}: labels are of type {table.dtype}; give numbers, or NaN for none.") from None
    table = table[:, None] if table.ndim == 1 else table
    table[np.isnan(table) | ((task.loss == "binary_cross_entropy") & (table == -1))] = np.nan
    return table


def check(task: Task) -> None:
    """Raise `UserError`, in one sentence, if a task cannot be learnt from."""
    check_graphs(task.graphs, task.name)
    if task.level == "graph" and np.any(task.graphs.n_node == 0):
        empty = np.flatnonzero(task.graphs.n_node == 0)[0]
        raise UserError(f"{task.name}: graph {empty} has no nodes; drop it, with its label.")
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
    if task.fixed_split is not None:
        _check_split(task, task.fixed_split)


def _check_words(task: Task) -> None:
    """Refuse words that are none, and other types than those of the attributes, before anything is done with them."""
    for attribute, kinds in {"graphs": Graphs, "fixed_split": Split | None, "num_outputs": int | np.integer}.items():
        if not isinstance(given := getattr(task, attribute), kinds):
            raise UserError(f"{task.name}: {attribute} is of type {type(given).__name__}; see atjax.Task for its type.")
    for what, value, known in (
        ("level", task.level, tuple(SPLIT_PATTERNS)),
        ("loss", task.loss, tuple(METRICS)),
        (f"metric of the loss {task.loss!r}", task.metric, METRICS.get(str(task.loss), ())),
    ):
        if value not in known:
            raise UserError(f"{task.name}: {value!r} is no {what}; choose from {', '.join(known)}.")


def check_pairs(pairs: np.ndarray | None, nodes: int, where: str) -> None:
    """Raise `UserError` unless these are pairs of so many nodes, int [N, 2]; ``where`` begins the sentence."""
    if pairs is None or pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise UserError(f"{where}: give the two nodes of every example of an edge task, whole numbers [N, 2].")
    if pairs.size and (pairs.min() < 0 or pairs.max() >= nodes):
        bad = int(np.flatnonzero(((pairs < 0) | (pairs >= nodes)).any(axis=1))[0])
        raise UserError(f"{where}: pair {bad} is {pairs[bad].tolist()}, but nodes are numbered 0 to {nodes - 1}.")


def _check_classes(task: Task) -> None:
    labels = task.labels
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
    columns = [given[~np.isnan(given)] for given in labels.T.astype(np.float64)]
    varied = [column for column, known in enumerate(columns) if known.size and np.ptp(known)]
    if not varied:
        raise UserError(f"{task.name}: all targets are equal, so there is nothing to learn; give others too.")
    for column in varied:
        known = columns[column]
        if not LEAST < np.ptp(known) < MOST:
            raise UserError(
                f"{task.name}: the targets of column {column} range over {np.ptp(known):.4g}, which single precision "
                "has no room to compute with; give them in another unit."
            )
        if (deviation := known.std()) < STEPS * np.spacing(np.float32(np.abs(known).max())):
            raise UserError(
                f"{task.name}: the targets of column {column} vary by {deviation:.4g} about {known.mean():.4g}, which "
                "single precision cannot tell apart; subtract their mean first."
            )


def _check_split(task: Task, split: Split) -> None:
    parts, where = vars(split), Where(edge="pair {}".format)
    missing = np.ones(task.num_examples, bool)
    missing[task.labelled] = False
    try:
        codes = parts_of_sets(parts, task.num_examples, task.level, where)
        members = members_of_parts(codes, missing, task.level, where)
    except UserError as error:
        raise UserError(f"{task.name}: {error}") from None
    for (part, given), ids in zip(parts.items(), members):
        if not np.array_equal(given, ids):
            raise UserError(
                f"{task.name}: give the {part} part of fixed_split as the numbers of its examples, in ascending order, "
                "each once."
            )
