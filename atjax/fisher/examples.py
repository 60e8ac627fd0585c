"""What the Fisher information of a task is taken over: training data to fit on, and examples to differentiate.

A training set that needs more backward passes than `FisherConfig.max_passes` is sampled. For a task of nodes or pairs
of nodes with more nodes than `FisherConfig.max_nodes`, only the surroundings of the examples are kept: their neighbours
hop by hop until the allowance is spent, the last hop at random, and all edges among the nodes kept.

To an estimator, pairs are what nodes are: an example is a row of the output of one batch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from atjax.batch import (
    FINE,
    SHARED_SPLITS,
    Batch,
    BatchIndex,
    BatchShape,
    Rows,
    bucket,
    covering,
    device_rows,
    index_batches,
    shape_for,
    single_batch,
)
from atjax.fisher.config import FisherConfig
from atjax.fisher.cotangents import num_directions
from atjax.fisher.fields import receptive_fields
from atjax.fisher.slots import SlotIndex, in_places, list_shapes
from atjax.model.gnn import GNN, recallable, refinable
from atjax.neighbours import lists
from atjax.refinement import Colours, Refined, RefinedShape, quotient
from atjax.task import Graphs, Task, ragged_ranges

BLOCKS = 8
"""Of examples that are a sample, for standard errors and for stopping early."""
CPU_CHUNK = 2048
"""Nodes in flight on a CPU: their activations stay in the cache."""
MOST_CHUNK = 32768
"""On an accelerator, enough to fill it."""
ROUNDS = 8
"""Of colour refinement: message-passing layers of the deepest designs."""
STAGE_WORK = 3e9
"""Rows times width times width, of all R models, that a further stage of colours must save a CPU: half a second a
design, in which it compiles one. An accelerator is hardly slower with one stage."""
RECALLED, MOST_RECALLED = 128, 2**29
"""Width from which examples are given what calibration made of their colours, on a CPU, where a matrix product takes
longer than to pick rows; and the most bytes of it that the R models of a design may keep."""
KEPT = 256
"""Numbers kept for a node, in units of the width: about six arrays for each of eight layers."""


def _static() -> Any:
    return dataclasses.field(metadata={"static": True})


Chunk = SlotIndex | BatchIndex | jax.Array
"""Examples of one layout, leading axis M or S; for node tasks their ids [M, B]."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Examples:
    """The data of one Fisher computation.

    Attributes:
        batch: The training graphs to fit on (see `FisherConfig.fit_on`), or the (cut-out) graph of a task of nodes or
            pairs, which then holds the training pairs; BatchNorm is calibrated on it.
        refined: The same graphs colour by colour; None for other levels, and where edges have features or weights.
        rows: Rows of the model's output that belong to training examples to fit on, int [N].
        ids: The ids of these examples, as chunks name them, int [N].
        labels: Their labels, [N] or [N, C].
        targets: Labels by id, for all ids.
        features: Node features of all graphs, [V, D], for graph tasks, with what edges have where there is any; else
            None.
        chunks: The examples differentiated: for graph tasks one `BatchIndex` [M, B, ...] for each padded shape, for
            tasks of nodes or pairs one array of rows of the output [M, B].
        placed: For graph tasks whose edges have neither features nor weights, the quotients of the same examples (see
            `atjax.refinement.Quotient`) in S batches of many; else None.
        fields: For node tasks without such edges, the same examples by their receptive fields, after so many
            message-passing layers; None where that does not pay.
        width: For tasks of nodes or pairs, backward passes of one example at once.
        room: The most examples that a seed has to fit on, no fewer than N.
        sampled: n, how many examples that is.
        population: N, how many training examples there are.
    """

    batch: Batch
    refined: Refined | None
    rows: jax.Array
    ids: jax.Array
    labels: jax.Array
    targets: jax.Array
    features: jax.Array | Rows | None
    chunks: tuple[BatchIndex | jax.Array, ...]
    placed: SlotIndex | None
    fields: Callable[[int], SlotIndex | None] = dataclasses.field(metadata={"static": True})
    width: int = _static()
    room: int = _static()
    sampled: int = _static()
    population: int = _static()

    @property
    def filled(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Rows and labels of the examples to fit on, filled up to `room`, and weights: 0 for what only fills up."""
        place, weights = filled_up(len(self.rows), self.room)
        return jax.device_put((np.asarray(self.rows)[place], np.asarray(self.labels)[place], weights))

    def fitting(self, gnn: GNN) -> Batch | Refined:
        """The data that a model is calibrated and fitted on."""
        depth = gnn.design.mp_layers
        if self.refined is None or not refinable(gnn) or depth > ROUNDS:
            return self.batch
        return self.refined.first(depth)

    def recalls(self, gnn: GNN, seeds: int) -> bool:
        """Whether models of a design keep what their linear maps yield in calibration, for the examples."""
        if self.placed is None or not self.placed.recalled or not recallable(gnn):
            return False
        refined = self.fitting(gnn)
        if not isinstance(refined, Refined):
            return False
        rows = sum(len(refined.counts[stage]) for stage in refined.stage[:-1])
        return seeds * rows * 2 * gnn.hidden * refined.features.itemsize <= MOST_RECALLED

    def layouts(self, depth: int | None) -> tuple[Chunk, ...]:
        """The examples, many in a batch if the task allows it for that many message-passing layers, or each by itself.

        Args:
            depth: Message-passing layers; None: each by itself.
        """
        if depth is None:
            return self.chunks
        together = self.placed if self.placed is not None else self.fields(depth)
        return self.chunks if together is None else (together,)

    @staticmethod
    def ids_of(chunk: Chunk) -> np.ndarray:
        """Ids of graphs, or rows of the output where examples share one; -1 is none. With the chunk's leading axes."""
        if isinstance(chunk, SlotIndex):
            return np.asarray(chunk.graphs)
        return np.asarray(chunk.graphs)[..., 0] if isinstance(chunk, BatchIndex) else np.asarray(chunk)

    def blocks(self, chunks: Sequence[Chunk], parts: int) -> tuple[tuple[Chunk, ...], np.ndarray]:
        """Cut every layout along its leading axis into J blocks, at most so many, of one length each.

        Returns:
            The chunks with leading axes [J, M / J, ...], filled up with empty places, and the examples in each block,
            int [J].
        """
        lengths = [len(self.ids_of(chunk)) for chunk in chunks]
        each = [-(-length // parts) for length in lengths]
        count = max(-(-length // size) for length, size in zip(lengths, each))
        cut = [_cut(chunk, count, size) for chunk, size in zip(chunks, each)]
        return tuple(cut), np.sum([(self.ids_of(part) >= 0).reshape(count, -1).sum(axis=1) for part in cut], axis=0)


def filled_up(count: int, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Places 0 to ``count`` - 1, then 0 again up to ``room``, int [room], and weights: 0 for what only fills up."""
    place = np.arange(room)
    real = place < count
    return np.where(real, place, 0), real.astype(np.float32)


def _cut(chunk: Chunk, count: int, size: int) -> Chunk:
    """Leading axis M to leading axes [count, size], filled up with places that are empty."""
    place = np.arange(count * size).reshape(count, size)
    length = len(Examples.ids_of(chunk))
    rows = np.minimum(place, length - 1)
    return _emptied(jax.tree.map(lambda leaf: np.asarray(leaf)[rows], chunk), place >= length)  # compiles nothing


def _emptied(chunk: Chunk, which: np.ndarray) -> Chunk:
    """Without the examples of some entries of the leading axes."""

    def emptied(ids: Any) -> np.ndarray:
        ids = np.asarray(ids)
        return np.where(which.reshape(*which.shape, *[1] * (ids.ndim - which.ndim)), -1, ids)

    if isinstance(chunk, SlotIndex):
        return dataclasses.replace(chunk, graphs=emptied(chunk.graphs))
    if isinstance(chunk, BatchIndex):
        return chunk._replace(graphs=emptied(chunk.graphs))
    return emptied(chunk)  # type: ignore[return-value]


def nodes_in_flight(config: FisherConfig) -> int:
    """`FisherConfig.chunk`, or what fits the device where that is 0."""
    if config.chunk:
        return config.chunk
    if jax.default_backend() == "cpu":
        return CPU_CHUNK
    statistics = jax.local_devices()[0].memory_stats() or {}
    free = statistics.get("bytes_limit", 2**33)
    # Several activations of every layer, in single precision, of all models side by side; half the memory is left.
    return int(np.clip(free / 2 / (KEPT * 4 * config.hidden * config.seeds), CPU_CHUNK, MOST_CHUNK))


class Taken(NamedTuple):
    """What is taken of a split; ids ascending.

    Attributes:
        train: Training examples.
        chosen: Those that are differentiated.
        fit: Those that models are fitted on.
        blocks: Into how many random parts the chosen ones are dealt.
        rng: For what else is drawn.
    """

    train: np.ndarray
    chosen: np.ndarray
    fit: np.ndarray
    blocks: int
    rng: np.random.Generator

    @classmethod
    def of(cls, task: Task, config: FisherConfig, seed: int) -> Taken:
        """Of the split of a seed."""
        train = task.split(seed).train
        rng = np.random.default_rng([seed, 0xF15])
        directions = num_directions(task.loss, task.num_outputs)
        count = min(len(train), max(2, config.max_passes[task.level] // directions))
        chosen = np.sort(rng.choice(train, count, replace=False)) if count < len(train) else train
        fit = chosen if config.fit_on == "sampled" and config.by_example(task.level) else train
        # Blocks for standard errors, unless all is exact anyway; `Plan.of` cuts examples into blocks by the same rule.
        blocks = 1 if len(chosen) == len(train) and config.tolerance == 0 else BLOCKS
        return cls(train, chosen, fit, blocks, rng)

    @classmethod
    def shared(cls, task: Task, config: FisherConfig) -> list[Taken]:
        """Of the seeds whose programs any seed is to share: its batches get the shapes that theirs need."""
        return [cls.of(task, config, seed) for seed in range(SHARED_SPLITS)]

    def parts(self) -> list[np.ndarray]:
        """The blocks: parts that are alike in size would make standard errors too small."""
        return np.array_split(self.rng.permutation(self.chosen), self.blocks) if self.blocks > 1 else [self.chosen]


def draw_examples(task: Task, config: FisherConfig, seed: int) -> Examples:
    """Lay out a task's training data for the Fisher computation.

    Args:
        task: The task.
        config: Sample sizes and chunk.
        seed: Of the split, and of what is sampled.
    """
    lay = _graph_examples if task.level == "graph" else _whole_examples
    return lay(task, config, seed)


def _graph_examples(task: Task, config: FisherConfig, seed: int) -> Examples:
    graphs, chunk = task.graphs.dense(), nodes_in_flight(config)
    taken, others = Taken.of(task, config, seed), Taken.shared(task, config)
    parts = taken.parts()
    training = graphs.take(taken.fit)
    fitted = [each.fit for each in (taken, *others)]
    shape = covering(shape_for(graphs, ids, len(ids), FINE) for ids in fitted)
    near = placed = refined = None
    if graphs.plain:
        # Lists hold neighbours only.
        near = lists(training.senders, training.receivers, shape.nodes, list_shapes(graphs, fitted))
        refined = _by_colour(graphs, fitted, shape, config)
        # And gradients of edge parameters are no products of what stands at one node. Of training sets that differ in
        # size by one, some may be samples, in parts, and others not.
        alike = [each.parts() for each in others if each.blocks == taken.blocks]
        smaller = quotient(task)
        placed = in_places(smaller.graphs, parts, chunk, alike).standing_for(smaller.nodes, smaller.counts)
        if jax.default_backend() == "cpu" and config.hidden >= RECALLED:
            position = np.zeros(len(graphs.nodes), int)
            position[graphs.nodes_of(taken.fit)] = np.arange(len(training.nodes))
            placed = dataclasses.replace(placed, recalled=refined.rows_of(position[placed.nodes]))
    near, refined, placed = jax.device_put((near, refined, placed))
    rows, ids, labels, targets = jax.device_put(
        (np.arange(len(taken.fit)), taken.fit, task.labels[taken.fit], task.labels)
    )
    return Examples(
        single_batch(training, shape)._replace(lists=near),
        refined,
        rows,
        ids,
        labels,
        targets,
        device_rows(graphs),
        tuple(_single_graphs(graphs, ids, parts, chunk) for ids in _by_size(graphs, taken.chosen)),
        placed,
        _no_fields,
        1,
        max(map(len, fitted)),
        len(taken.chosen),
        len(taken.train),
    )


def _by_colour(graphs: Graphs, samples: Sequence[np.ndarray], shape: BatchShape, config: FisherConfig) -> Refined:
    """The first of these samples of the graphs colour by colour, on the host; of one shape whichever comes first."""
    worth = STAGE_WORK / (config.seeds * config.hidden**2) if jax.default_backend() == "cpu" else np.inf
    colours = Colours.refine(graphs, ROUNDS).merged(worth)
    sizes = RefinedShape.of(graphs, colours, samples)
    return Refined.of(graphs, colours, samples[0], sizes, shape.graphs, shape.nodes)


def _by_size(graphs: Graphs, ids: np.ndarray) -> list[np.ndarray]:
    """One group, or two of like size where that halves the padded work: a second shape costs a compilation."""
    ordered = ids[np.argsort(graphs.n_node[ids] + graphs.n_edge[ids], kind="stable")]
    size = (graphs.n_node + graphs.n_edge)[ordered].astype(np.int64)
    cut = np.arange(1, len(ids))
    work = cut * size[:-1] + (len(ids) - cut) * size[-1]
    if len(work) and work.min() < 0.5 * len(ids) * size[-1]:
        return np.split(ordered, [int(cut[work.argmin()])])
    return [ordered]


def _single_graphs(graphs: Graphs, ids: np.ndarray, parts: Sequence[np.ndarray], chunk: int) -> BatchIndex:
    """Graphs of like size, as many rows for each part of all graphs."""
    shape = BatchShape(2, bucket(int(graphs.n_node[ids].max()) + 1), bucket(max(1, int(graphs.n_edge[ids].max()))))
    rows = _in_chunks([np.intersect1d(part, ids) for part in parts], max(1, chunk // shape.nodes))
    index = index_batches(graphs, rows.reshape(-1, 1), shape)
    return jax.device_put(jax.tree.map(lambda array: array.reshape(*rows.shape, *array.shape[1:]), index))


def _in_chunks(parts: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Ids in rows of ``width``, or fewer if no part has as many; as many rows for each part, filled up with -1."""
    most = max(map(len, parts))
    width = min(width, most)
    room = -(-most // width) * width
    filled = [np.pad(part, (0, room - len(part)), constant_values=-1) for part in parts]
    return np.concatenate(filled).reshape(-1, width)


def _whole_examples(task: Task, config: FisherConfig, seed: int) -> Examples:
    """Examples that share a graph: nodes, or pairs of nodes."""
    train, chosen, fit, blocks, rng = Taken.of(task, config, seed)
    chunk = nodes_in_flight(config)
    nodes_of = np.arange(task.num_examples)[:, None] if task.pairs is None else task.pairs
    # Sketches take all training examples whose nodes are kept: the surroundings of more of them are of use to them.
    most = max(len(chosen), config.max_nodes // 8)
    seeds = train if len(train) <= most else rng.choice(train, most, replace=False)
    seeds = chosen if config.by_example(task.level) else seeds
    kept = surroundings(task.graphs, np.unique(nodes_of[np.union1d(seeds, chosen)]), config.max_nodes, rng)
    chosen = rng.permutation(chosen)  # blocks of them are for standard errors
    graph = induced(task.graphs, kept)
    position = np.full(int(task.graphs.n_node.sum()), -1)
    position[kept] = np.arange(len(kept))
    inside = train[(position[nodes_of[train]] >= 0).all(axis=1)]
    fit = np.intersect1d(fit, inside)
    # The model's outputs are those of all nodes that are kept, or of the training pairs among them.
    outputs = kept if task.pairs is None else inside
    row = np.full(task.num_examples, -1)
    row[outputs] = np.arange(len(outputs))
    width = max(1, chunk // (len(kept) * num_directions(task.loss, task.num_outputs)))
    # Lists hold neighbours only.
    near = jax.device_put(lists(graph.senders, graph.receivers, len(kept))) if graph.plain else None
    pairs = None if task.pairs is None else position[task.pairs[inside]]

    def fields(depth: int) -> SlotIndex | None:
        return receptive_fields(graph, row[chosen], depth, chunk, blocks=blocks)

    rows, labels, targets = jax.device_put((row[fit], task.labels[fit], task.labels[outputs]))
    return Examples(
        single_batch(graph, pairs=pairs)._replace(lists=near),
        None,
        rows,
        rows,
        labels,
        targets,
        None,
        (jax.device_put(_in_chunks(np.array_split(row[chosen], blocks), width)),),
        None,
        functools.cache(fields) if task.pairs is None and graph.plain else _no_fields,
        max(1, chunk // len(kept)),
        len(fit),
        len(chosen),
        len(train),
    )


def _no_fields(depth: int) -> None:
    """Of tasks whose examples have no receptive fields here."""


def surroundings(graphs: Graphs, seeds: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    """Nodes of one graph around seed nodes, ascending ids.

    Neighbours are added hop by hop; the hop that would exceed ``limit`` is sampled. All nodes if they are no more
    than ``limit``; the seeds alone if they are that many.
    """
    total = int(graphs.n_node.sum())
    if total <= limit:
        return np.arange(total)
    start = np.concatenate([[0], np.cumsum(np.bincount(graphs.receivers, minlength=total))])
    kept = np.zeros(total, bool)
    kept[seeds] = True
    frontier = np.asarray(seeds)
    while frontier.size and (room := limit - int(kept.sum())) > 0:
        edges = ragged_ranges(start[frontier], start[frontier + 1] - start[frontier])
        reached = np.unique(graphs.senders[edges])
        frontier = reached[~kept[reached]]
        if frontier.size > room:
            frontier = rng.choice(frontier, room, replace=False)
        kept[frontier] = True
    return np.flatnonzero(kept)


def induced(graphs: Graphs, nodes: np.ndarray) -> Graphs:
    """The subgraph of one graph on these nodes (ascending ids), with all edges among them."""
    if len(nodes) == int(graphs.n_node.sum()):
        return graphs
    position = np.full(int(graphs.n_node.sum()), -1)
    position[nodes] = np.arange(len(nodes))
    senders, receivers = position[graphs.senders], position[graphs.receivers]
    inside = (senders >= 0) & (receivers >= 0)
    return Graphs(
        graphs.nodes[nodes],
        senders[inside].astype(np.int32),
        receivers[inside].astype(np.int32),
        np.array([len(nodes)], np.int32),
        np.array([inside.sum()], np.int32),
        None if graphs.edges is None else graphs.edges[inside],
        None if graphs.weights is None else graphs.weights[inside],
    )
