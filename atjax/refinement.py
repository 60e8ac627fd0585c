"""Nodes that message passing cannot tell apart, and graphs in which each kind of them is computed once.

    graphs -> colours of all nodes after 0 .. K rounds -> a row for every colour and round, of all graphs -> Refined
                                       .. until stable -> a node for every colour of a graph -> Quotient

What a node holds after k message-passing layers depends on its features, and on what its neighbours and itself held a
layer before. So nodes of one colour after k rounds of colour refinement (Weisfeiler and Leman, 1968) hold the same (Xu
et al., 2019; Morris et al., 2019), and a forward pass needs one row for each of them: the same numbers from less work
(Bollen et al., 2023). Of molecules that is a few rows in the first layers and half of them in the eighth; where
features are real numbers, all of them.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from atjax.batch import FINE, bucket
from atjax.neighbours import Neighbours, neighbours, rows_beyond, width_for
from atjax.task import Graphs, Task, ragged_ranges

Array = Any
"""A `jax.Array` inside a program; on its way there a `np.ndarray`."""

STAGES = 3
"""The most there are: each makes the compiled program longer."""

MOST_NODES = 0.9
"""Share of the nodes up to which models learn from quotients in place of graphs."""


class Step(NamedTuple):
    """What leads from the rows of one stage, N, to those of the same or of a finer one, N'.

    Attributes:
        near: For every row there those of its node's senders here.
        degree: How many those are, float32 [N'].
        own: Its node's own row here, int32 [N']; None within a stage.
    """

    near: Neighbours
    degree: Array
    own: Array | None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Refined:
    """Graphs with one row for every colour, through K rounds; rounds of one stage have the same rows.

    Attributes:
        features: Of the rows of the first stage, [N, D].
        counts: Nodes behind each row of every stage, float32 [N]; 0 for padding.
        steps: One for each of `pairs`.
        rows: In every stage the row of every node, graph after graph and then padding, int32 [V].
        n_node: Nodes of each graph, the last one being padding, int32 [G].
        graph_mask: True for real graphs, bool [G].
        stage: Of each round, [K + 1], ascending.
    """

    features: Array
    counts: tuple[Array, ...]
    steps: tuple[Step, ...]
    rows: tuple[Array, ...]
    n_node: Array
    graph_mask: Array
    stage: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(
        cls, graphs: Graphs, colours: Colours, ids: np.ndarray, shape: RefinedShape, num_graphs: int, num_nodes: int
    ) -> Refined:
        """Some of the graphs of a task, on the host.

        Args:
            graphs: All graphs; without edge features and weights, which colours do not know.
            colours: Of all nodes.
            ids: The graphs to take, ascending.
            shape: Padded sizes; the same for samples that are to share programs.
            num_graphs: G, more than there are.
            num_nodes: V, at least as many as there are.
        """
        nodes = graphs.nodes_of(ids)
        heads = [_heads(colour, nodes) for colour in colours.stages]
        rows = [_rows(*each, nodes) for each in zip(colours.stages, heads)]
        counts = [np.bincount(each[nodes], minlength=size).astype(np.float32) for each, size in zip(rows, shape.rows)]

        def step(here: int, there: int) -> Step:
            size, degree = shape.rows[there], colours.degree[heads[there]]
            edges = ragged_ranges(np.searchsorted(graphs.receivers, heads[there]), degree)
            owners = np.repeat(np.arange(len(degree)), degree)
            # What fills up a list is the number of rows there, of which there are no fewer than here.
            near = neighbours(owners, rows[here][graphs.senders[edges]], size, *shape.lists[there])
            own = None if here == there else _filled(rows[here][heads[there]], size, np.int32)
            return Step(near, _filled(degree, size, np.float32), own)

        n_node = _filled(graphs.n_node[ids], num_graphs, np.int32)
        n_node[-1] = num_nodes - len(nodes)
        features = np.zeros((shape.rows[0], graphs.num_features), graphs.nodes.dtype)
        features[: len(heads[0])] = graphs.nodes[heads[0]]
        empty = cls(
            features,
            tuple(counts),
            (),
            tuple(_filled(each[nodes], num_nodes, np.int32) for each in rows),
            n_node,
            np.arange(num_graphs) < len(ids),
            colours.stage,
        )
        return dataclasses.replace(empty, steps=tuple(step(*pair) for pair in empty.pairs))

    def rows_of(self, nodes: np.ndarray) -> tuple[Array, ...]:
        """After every round, of nodes by where they stand among all: their rows; K + 1 arrays like ``nodes``."""
        return tuple(self.rows[stage][nodes] for stage in self.stage)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The different stages that follow each other."""
        return list(dict.fromkeys(itertools.pairwise(self.stage)))

    @property
    def rounds(self) -> list[tuple[Step, Array]]:
        """For each of K layers what leads to its rows, and the nodes behind them."""
        # The same arrays for equal steps, so that what is made of them is compiled once.
        steps = dict(zip(self.pairs, self.steps))
        return [(steps[here, there], self.counts[there]) for here, there in itertools.pairwise(self.stage)]

    def first(self, depth: int) -> Refined:
        """For as many message-passing layers only.

        Raises:
            ValueError: There are fewer rounds.
        """
        if depth >= len(self.stage):
            raise ValueError(f"{len(self.stage) - 1} rounds do not suffice for {depth} layers")
        stage = self.stage[: depth + 1]
        kept, stages = len({*itertools.pairwise(stage)}), stage[-1] + 1
        return dataclasses.replace(
            self, counts=self.counts[:stages], steps=self.steps[:kept], rows=self.rows[:stages], stage=stage
        )


def finer(graphs: Graphs, *, backward: bool = False) -> Iterator[np.ndarray]:
    """Colours of all nodes after 0, 1, 2 ... rounds of refinement, int [V'], until nothing changes.

    Multisets are told apart by sums of random 64-bit numbers, one for each colour: two that differ have equal sums with
    a probability of about 2^-64.

    Args:
        graphs: The graphs.
        backward: By colours of the receivers too, so that gradients of nodes of one colour are alike as well.
    """
    rng = np.random.default_rng(0)
    colour, count = _by_features(graphs.nodes), -1
    while (kinds := colour.max(initial=-1) + 1) > count:
        yield colour
        count = kinds
        own, sent, received = rng.integers(2**64, size=(3, count), dtype=np.uint64)
        key = own[colour]
        np.add.at(key, graphs.receivers, sent[colour[graphs.senders]])
        if backward:
            np.add.at(key, graphs.senders, received[colour[graphs.receivers]])
        _, first, found = np.unique(key, return_index=True, return_inverse=True)
        colour = np.argsort(np.argsort(first))[found]


@dataclass(frozen=True)
class Colours:
    """Colours of all nodes of a task after 0 to K rounds.

    Attributes:
        stages: Different colourings, each finer than the one before, int [V']; 0 to their number - 1 in the order in
            which they come.
        stage: Which of them each round has, [K + 1], ascending.
        degree: Incoming edges of each node, int [V'].
    """

    stages: tuple[np.ndarray, ...]
    stage: tuple[int, ...]
    degree: np.ndarray

    @classmethod
    def refine(cls, graphs: Graphs, rounds: int) -> Colours:
        """Refine colours by those of the senders, K times."""
        stages = tuple(itertools.islice(finer(graphs), rounds + 1))
        stage = tuple(min(number, len(stages) - 1) for number in range(rounds + 1))
        return cls(stages, stage, np.bincount(graphs.receivers, minlength=len(stages[0])))

    def merged(self, worth: float, most: int = STAGES) -> Colours:
        """With fewer stages: a round may take the finer colours of a later one, which tell apart what it does.

        Rounds of one stage are compiled once, and lead to each other without a gather.

        Args:
            worth: One more stage must save so many rows, counted over all rounds.
            most: How many stages there may be.
        """
        last = len(self.stages) - 1
        counts = np.array([colour.max(initial=-1) + 1 for colour in self.stages])

        def cost(kept: tuple[int, ...]) -> int:
            return int(counts[np.array(kept)[np.searchsorted(kept, self.stage)]].sum())

        best: tuple[int, ...] = (last,)
        for number in range(1, min(most, len(self.stages))):
            finer = min(((*kept, last) for kept in itertools.combinations(range(last), number)), key=cost)
            if cost(best) - cost(finer) < worth:
                break
            best = finer
        stage = np.searchsorted(best, self.stage).tolist()
        return Colours(tuple(self.stages[kept] for kept in best), tuple(stage), self.degree)


def _by_features(nodes: np.ndarray) -> np.ndarray:
    """A colour for every row that occurs; by a dictionary, for sorting wide rows takes ten times as long."""
    width = np.dtype((np.void, nodes.shape[1] * nodes.itemsize))
    number: dict[Any, int] = {}
    rows = np.ascontiguousarray(nodes).view(width).ravel().tolist()
    return np.array([number.setdefault(row, len(number)) for row in rows], int)


@dataclass(frozen=True)
class RefinedShape:
    """Padded sizes, stage by stage.

    Attributes:
        rows: How many there are.
        lists: Width of the lists of neighbours of these rows, and how many rows continue them.
    """

    rows: tuple[int, ...]
    lists: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, graphs: Graphs, colours: Colours, samples: Sequence[np.ndarray]) -> RefinedShape:
        """What fits each of these samples of the graphs."""
        nodes = [graphs.nodes_of(ids) for ids in samples]
        rows, lists = [], []
        for colour in colours.stages:
            degrees = [colours.degree[_heads(colour, here)] for here in nodes]
            width = width_for(colours.degree[_heads(colour, np.arange(len(colour)))])  # the same for all samples
            more = max(int(rows_beyond(each, width).sum()) for each in degrees)
            rows.append(bucket(max(map(len, degrees)), FINE))
            lists.append((width, bucket(more) if more else 0))
        return cls(tuple(rows), tuple(lists))


def _heads(colour: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """The first of these (ascending) nodes of every colour that they have, ascending."""
    first = np.full(colour.max(initial=-1) + 1, -1)
    first[colour[nodes[::-1]]] = nodes[::-1]
    head = np.zeros(len(colour), bool)
    head[first[first >= 0]] = True
    return np.flatnonzero(head)


def _rows(colour: np.ndarray, heads: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """For each of these nodes which of the heads has its colour, int32 [V']; 0 of others."""
    number = np.zeros(colour.max(initial=-1) + 1, np.int32)
    number[colour[heads]] = np.arange(len(heads))
    rows = np.zeros(len(colour), np.int32)
    rows[nodes] = number[colour[nodes]]
    return rows


class Quotient(NamedTuple):
    """Graphs in which nodes of one graph that no network tells apart are one node: their quotients.

    A network makes of a quotient what it makes of the graph, whatever its parameters, if in the readout a node counts
    for all that it stands for; so the gradients are the same too. That of a node is the sum of theirs, which are alike.

    Attributes:
        graphs: The quotients. A node receives over as many edges as each of those that it stands for, and of two
            senders that are one now over two edges.
        nodes: The first node of those, int [V''].
        counts: How many there are, int [V''].
    """

    graphs: Graphs
    nodes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, graphs: Graphs) -> Quotient:
        """Of graphs without edge features and weights: colours that further rounds do not change."""
        colour = collections.deque(finer(graphs, backward=True), maxlen=1).pop()
        owner = np.repeat(np.arange(len(graphs.n_node)), graphs.n_node)
        _, first, kind, counts = np.unique(
            owner * (colour.max(initial=-1) + 1) + colour, return_index=True, return_inverse=True, return_counts=True
        )
        order = np.argsort(first)
        row, heads = np.argsort(order)[kind], first[order]
        degree = np.bincount(graphs.receivers, minlength=len(colour))[heads]
        edges = ragged_ranges(np.searchsorted(graphs.receivers, heads), degree)
        smaller = Graphs(
            graphs.nodes[heads],
            row[graphs.senders[edges]].astype(np.int32),
            np.repeat(np.arange(len(heads), dtype=np.int32), degree),
            np.bincount(owner[heads], minlength=len(graphs.n_node)).astype(np.int32),
            np.bincount(owner[heads], degree, minlength=len(graphs.n_node)).astype(np.int32),
        )
        return cls(smaller, heads, counts[order])


_found: dict[str, Quotient] = {}
"""Of the task that was asked for last, by its content: a bank trains many designs on one."""


def quotient(task: Task) -> Quotient:
    """Of all graphs of a task, which have neither edge features nor weights."""
    found = _found.get(task.content_hash)
    if found is None:
        found = Quotient.of(task.graphs.dense())
        _found.clear()
        _found[task.content_hash] = found
    return found


def trained_graphs(task: Task) -> tuple[Graphs, np.ndarray | None]:
    """The graphs that models learn from, and how many nodes each of theirs stands for, [V]; None: itself.

    Quotients where these have far fewer nodes: the same function of the parameters, with the same gradients.
    """
    graphs = task.graphs.dense()
    if not graphs.plain:
        return graphs, None
    found = quotient(task)
    if len(found.nodes) > MOST_NODES * len(graphs.nodes):
        return graphs, None
    return found.graphs, found.counts


def _filled(values: np.ndarray, size: int, kind: type) -> np.ndarray:
    """Filled up with zeros."""
    found: np.ndarray = np.zeros(size, kind)
    found[: len(values)] = values
    return found
