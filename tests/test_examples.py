"""What the Fisher information is taken over: sampling, cutting out and laying out, against loops."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from atjax.batch import BatchIndex
from atjax.fisher import FisherConfig
from atjax.fisher.examples import Examples, Taken, draw_examples, induced, surroundings
from atjax.task import Graphs, Level, Loss, Split, Task

EXACT = {"graph": "exact", "node": "exact"}
CONFIG = FisherConfig(
    hidden=4, seeds=1, ridge=1e-2, max_passes={"graph": 99, "node": 99}, max_nodes=99, chunk=64, estimator=EXACT
)

seeds = st.integers(0, 2**32 - 1)


# Random inputs


def one_graph(seed: int, total: int = 14, *, undirected: bool = False) -> Graphs:
    """A sparse random graph: some nodes are isolated, some have self-loops."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(0, total, (2, rng.integers(0, 2 * total)))
    return Graphs.from_edges(rng.normal(size=(total, 3)), *ends, np.array([total]), undirected=undirected)


def node_task(seed: int = 0, total: int = 40, loss: Loss = "cross_entropy") -> Task:
    """A ring with chords; a tenth of the nodes carry no label, if labels are classes."""
    rng = np.random.default_rng(seed)
    ring = np.arange(total)
    senders = np.concatenate([ring, rng.integers(0, total, total // 4)])
    receivers = np.concatenate([(ring + 1) % total, rng.integers(0, total, total // 4)])
    graphs = Graphs.from_edges(rng.normal(size=(total, 3)), senders, receivers, np.array([total]))
    if loss == "mse":
        targets = rng.normal(size=(total, 2)).astype(np.float32)
        return Task("random", "node", loss, "mae", graphs, targets, 2)
    labels = np.where(np.arange(total) % 10 == 3, -1, np.arange(total) % 3).astype(np.int32)
    return Task("random", "node", loss, "accuracy", graphs, labels, 3)


def graph_task(sizes: np.ndarray, loss: Loss = "cross_entropy") -> Task:
    """Paths of so many nodes each."""
    start = np.concatenate([[0], np.cumsum(sizes)])
    first = np.concatenate([np.arange(begin, end - 1) for begin, end in itertools.pairwise(start)])
    nodes = np.random.default_rng(0).normal(size=(start[-1], 3))
    graphs = Graphs.from_edges(nodes, first, first + 1, sizes)
    if loss == "mse":
        return Task("paths", "graph", loss, "mae", graphs, nodes[: len(sizes), :2].astype(np.float32), 2)
    return Task("paths", "graph", loss, "accuracy", graphs, (np.arange(len(sizes)) % 2).astype(np.int32), 2)


def chunked_ids(examples: Examples) -> np.ndarray:
    """Ids of the examples differentiated (node tasks: positions in the cut-out graph), -1 for empty places."""
    places = [chunk.graphs[..., 0] if isinstance(chunk, BatchIndex) else chunk for chunk in examples.chunks]
    return np.concatenate([np.ravel(place) for place in places])


# Surroundings


def reached(graphs: Graphs, start: set[int], hops: int) -> set[int]:
    """Nodes whose messages reach ``start`` within so many hops."""
    found = set(start)
    for _ in range(hops):
        found |= {int(s) for s, r in zip(graphs.senders, graphs.receivers) if int(r) in found}
    return found


@given(seeds, st.integers(1, 4), st.integers(1, 16))
def test_surroundings_are_whole_hops_and_part_of_the_next(seed: int, count: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    graphs = one_graph(seed)
    start = np.sort(rng.choice(14, count, replace=False))
    kept = surroundings(graphs, start, limit, np.random.default_rng(seed))
    np.testing.assert_array_equal(kept, surroundings(graphs, start, limit, np.random.default_rng(seed)))
    np.testing.assert_array_equal(kept, np.unique(kept))
    if limit >= 14:
        assert set(kept) == set(range(14))
        return
    hops = [reached(graphs, set(start), hop) for hop in range(15)]
    whole = [hop for hop in hops if len(hop) <= max(limit, count)][-1]
    assert whole <= set(kept)
    # Either everything that can be reached is in, or the allowance is spent, on the next hop alone.
    if len(hops[-1]) <= limit:
        assert set(kept) == hops[-1]
    else:
        following = next(hop for hop in hops if len(hop) > max(limit, count)) if count < limit else whole
        assert set(kept) <= following
        assert len(kept) == max(limit, count)


def test_surroundings_follow_edges_against_their_direction() -> None:
    """0 -> 1 -> 2 -> 3 -> 4: what node 2 computes depends on 0 and 1, never on 3 and 4."""
    graphs = Graphs.from_edges(np.zeros((5, 1)), np.arange(4), np.arange(1, 5), np.array([5]), undirected=False)
    for limit, expected in ((4, [0, 1, 2]), (3, [0, 1, 2]), (2, [1, 2]), (1, [2])):
        assert surroundings(graphs, np.array([2]), limit, np.random.default_rng(0)).tolist() == expected


def test_surroundings_differ_by_the_generator() -> None:
    """A star: which of its leaves are kept is chance, and every leaf has its turn."""
    leaves = np.arange(1, 13)
    graphs = Graphs.from_edges(np.zeros((13, 1)), leaves, 0 * leaves, np.array([13]))
    kept = [surroundings(graphs, np.array([0]), 4, np.random.default_rng(seed)) for seed in range(40)]
    assert all(len(nodes) == 4 and nodes[0] == 0 for nodes in kept)
    assert set(np.concatenate(kept)) == set(range(13))


@given(seeds, st.booleans(), st.booleans())
def test_induced_is_the_loop_over_edges(seed: int, undirected: bool, scattered: bool) -> None:
    rng = np.random.default_rng(seed)
    graphs = one_graph(seed, undirected=undirected)
    dense = np.asarray(graphs.nodes)
    if scattered:
        graphs = dataclasses.replace(graphs, nodes=sparse.csr_matrix(dense))
    nodes = np.sort(rng.choice(14, rng.integers(1, 15), replace=False))
    got = induced(graphs, nodes)
    place = {int(node): position for position, node in enumerate(nodes)}
    expected = [
        (place[int(s)], place[int(r)])
        for s, r in zip(graphs.senders, graphs.receivers)
        if int(s) in place and int(r) in place
    ]
    assert list(zip(got.senders.tolist(), got.receivers.tolist())) == expected
    assert got.senders.dtype == got.receivers.dtype == got.n_node.dtype == got.n_edge.dtype == np.int32
    assert np.all(np.diff(got.receivers) >= 0)
    assert (got.n_node.tolist(), got.n_edge.tolist()) == ([len(nodes)], [len(expected)])
    np.testing.assert_array_equal(got.nodes.toarray() if scattered else got.nodes, dense[nodes])


# Node tasks


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_whole_node_task(loss: Loss) -> None:
    task = node_task(loss=loss)
    examples, train = draw_examples(task, CONFIG, 0), task.split(0).train
    np.testing.assert_array_equal(examples.rows, train)
    np.testing.assert_array_equal(examples.labels, task.labels[train])
    np.testing.assert_array_equal(examples.batch.graph.nodes, task.graphs.nodes)
    ids = chunked_ids(examples)
    np.testing.assert_array_equal(np.sort(ids[ids >= 0]), train)
    assert examples.features is None
    assert (examples.sampled, examples.population) == (len(train), len(train))


@given(seeds, st.integers(2, 30), st.integers(1, 50))
def test_cut_out_node_task(seed: int, most: int, max_nodes: int) -> None:
    """Every example and training node is the node that it was: it has its features, its label, its neighbours."""
    task = node_task(seed)
    config = dataclasses.replace(CONFIG, max_passes={"node": 2 * most}, max_nodes=max_nodes)  # two an example
    examples, train = draw_examples(task, config, seed), task.split(seed).train
    nodes = np.asarray(examples.batch.graph.nodes)
    position = [int(np.flatnonzero((task.graphs.nodes == row).all(axis=1))[0]) for row in nodes]
    ids = chunked_ids(examples)
    chosen = np.array(position)[ids[ids >= 0]]
    assert len(np.unique(chosen)) == len(chosen) == examples.sampled == min(most, len(train))
    assert set(chosen) <= set(train)
    assert examples.population == len(train)
    assert len(nodes) <= max(max_nodes, len(chosen))
    inside = np.array(position)[examples.rows]
    np.testing.assert_array_equal(np.sort(inside), np.intersect1d(train, position))
    np.testing.assert_array_equal(examples.labels, task.labels[inside])
    edges = set(zip(task.graphs.senders.tolist(), task.graphs.receivers.tolist()))
    graph = examples.batch.graph
    kept = {(position[s], position[r]) for s, r in zip(graph.senders.tolist(), graph.receivers.tolist())}
    assert kept == {(s, r) for s, r in edges if {s, r} <= set(position)}


def test_chunk_counts_rows_of_cotangents() -> None:
    """40 nodes and two backward passes an example: 640 rows in flight are 8 examples; one is the least."""
    task = node_task()
    for chunk, width in ((640, 8), (79, 1), (1, 1), (10**6, len(task.split(0).train))):
        examples = draw_examples(task, dataclasses.replace(CONFIG, chunk=chunk), 0)
        assert examples.chunks[0].shape[1] == width  # type: ignore[union-attr]
        assert examples.width == max(1, chunk // 40)


# Graph tasks


@settings(max_examples=8)  # every new shape compiles a gather
@given(st.lists(st.integers(1, 30), min_size=10, max_size=30), st.integers(2, 30), st.sampled_from([1, 20, 64, 10**6]))
def test_chunks_hold_each_graph_once(sizes: list[int], most: int, chunk: int) -> None:
    """Alone, with its own features and edges; whatever else stands in a batch is padding."""
    task = graph_task(np.array(sizes))
    config = dataclasses.replace(CONFIG, max_passes={"graph": most}, chunk=chunk)
    examples, train = draw_examples(task, config, 0), task.split(0).train
    ids = chunked_ids(examples)
    chosen = ids[ids >= 0]
    assert len(np.unique(chosen)) == len(chosen) == examples.sampled == min(most, len(train))
    assert set(chosen) <= set(train)
    assert examples.population == len(train)
    assert 1 <= len(examples.chunks) <= 2
    for part in examples.chunks:
        assert isinstance(part, BatchIndex)
        steps, width = part.nodes.shape[:2]
        assert width == 1 or width * part.nodes.shape[2] <= chunk
        on_host = [np.asarray(array) for array in part if array is not None]
        for step, place in np.ndindex(steps, width):
            index = BatchIndex(*(array[step, place] for array in on_host))
            g = int(index.graphs[0])
            assert index.graphs[1] == -1
            count = 0 if g < 0 else sizes[g]
            assert index.n_node.tolist() == [count, len(index.nodes) - count]
            if count:
                np.testing.assert_array_equal(index.nodes[:count], task.graphs.node_start[g] + np.arange(count))
                pairs = {(s, r) for s, r in zip(index.senders.tolist(), index.receivers.tolist()) if s < count}
                assert pairs == {(a, b) for a in range(count) for b in range(count) if abs(a - b) == 1}
            assert np.all(index.senders[index.n_edge[0] :] == len(index.nodes) - 1)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_last_layer_and_batch_norm_see_all_training_graphs(loss: Loss) -> None:
    """However few are differentiated."""
    sizes = np.random.default_rng(3).integers(1, 9, 30)
    task = graph_task(sizes, loss)
    examples, train = (
        draw_examples(task, dataclasses.replace(CONFIG, max_passes={"graph": 4 if loss == "cross_entropy" else 8}), 0),
        task.split(0).train,
    )
    np.testing.assert_array_equal(examples.rows, np.arange(len(train)))
    np.testing.assert_array_equal(examples.labels, task.labels[train])
    np.testing.assert_array_equal(examples.batch.graph.n_node[: len(train)], sizes[train])
    np.testing.assert_array_equal(
        np.asarray(examples.batch.graph.nodes)[np.asarray(examples.batch.node_mask)],
        np.concatenate([task.graphs.take(np.array([g])).nodes for g in train]),
    )
    np.testing.assert_array_equal(examples.features, task.graphs.nodes)
    assert (examples.sampled, examples.population) == (4, len(train))


def test_blocks_are_random_parts() -> None:
    """Of 20 small and 20 large graphs in blocks of 5, a block has as many large ones as chance gives it: were blocks
    alike in size, standard errors would be too small."""
    task = dataclasses.replace(
        graph_task(np.array([2] * 20 + [9] * 20 + [5] * 4)),
        fixed_split=Split(np.arange(41), np.array([41]), np.array([42, 43])),
    )
    config, counts = dataclasses.replace(CONFIG, max_passes={"graph": 40}), []
    for seed in range(60):
        taken = Taken.of(task, config, seed)
        parts = taken.parts()
        assert sorted(np.concatenate(parts)) == taken.chosen.tolist()
        assert [len(part) for part in parts] == [5] * 8
        counts.append([(part >= 20).sum() for part in parts])
    expected = 5 * 0.5 * 0.5 * 35 / 39  # hypergeometric, but for the one graph of five nodes
    assert 0.7 < np.var(counts) / expected < 1.4
    placed, parts = draw_examples(task, config, 0).placed, Taken.of(task, config, 0).parts()
    assert placed is not None
    blocks = np.asarray(placed.graphs).reshape(8, -1)
    assert [sorted(ids[ids >= 0]) for ids in blocks] == [sorted(part) for part in parts]


@pytest.mark.parametrize("chunk", [1, 40, 10**6])
def test_blocks_of_examples_one_by_one_are_the_same_random_parts(chunk: int) -> None:
    """However large the chunk, and of graphs in two layouts by size."""
    task = graph_task(np.array([2] * 40 + [30] * 12 + [5] * 4))
    task = dataclasses.replace(task, fixed_split=Split(np.arange(52), np.arange(52, 54), np.arange(54, 56)))
    config = dataclasses.replace(CONFIG, max_passes={"graph": 40, "node": 40}, chunk=chunk)
    examples, parts = draw_examples(task, config, 0), Taken.of(task, config, 0).parts()
    assert len(examples.chunks) == 2
    cut, counts = examples.blocks(examples.chunks, 8)
    assert counts.tolist() == [5] * 8
    ids = np.concatenate([np.asarray(Examples.ids_of(chunk)).reshape(8, -1) for chunk in cut], axis=1)
    assert [sorted(row[row >= 0]) for row in ids] == [sorted(part) for part in parts]
    nodes = draw_examples(node_task(total=90), config, 0)
    assert nodes.blocks(nodes.chunks, 8)[1].tolist() == [3] * 4 + [2] * 4  # 20 of two directions


def test_sketches_take_all_training_nodes_where_these_are_few() -> None:
    """Of a long path, of which a fifth is kept: no fewer where there is one training node less."""
    total, taken = 600, []
    graphs = Graphs.from_edges(np.ones((total, 1)), np.arange(total - 1), np.arange(1, total), np.array([total]))
    config = dataclasses.replace(
        CONFIG, max_passes={"node": 4}, max_nodes=160, estimator={"graph": "exact", "node": "sign_sketch"}
    )
    for count in (15, 20, 21):
        train = np.linspace(0, total - 3, count).astype(int)
        split = Split(train, np.array([total - 2]), np.array([total - 1]))
        task = Task("path", "node", "cross_entropy", "accuracy", graphs, np.arange(total) % 2, 2, fixed_split=split)
        taken.append(len(draw_examples(task, config, 0).ids))
    assert taken[:2] == [15, 20]
    assert taken[2] >= 20


def test_a_sample_and_a_whole_training_set_do_not_share_shapes() -> None:
    """24 or 25 of 31 graphs are trained on, by seed, and 24 are differentiated: in one part, or in eight."""
    task, config = graph_task(np.arange(3, 34)), dataclasses.replace(CONFIG, max_passes={"graph": 24}, chunk=64)
    sizes = [len(task.split(seed).train) for seed in range(8)]
    assert set(sizes) == {24, 25}
    for seed in range(8):
        placed = draw_examples(task, config, seed).placed
        assert placed is not None
        assert placed.nodes.size < 3 * np.sum(placed.node_mask)


def test_two_shapes_where_one_would_be_mostly_padding() -> None:
    few_large = np.array([3] * 28 + [200] * 2 + [3])
    every = Split(np.arange(29), np.array([29]), np.array([30]))
    examples = draw_examples(dataclasses.replace(graph_task(few_large), fixed_split=every), CONFIG, 0)
    assert [part.nodes.shape[-1] for part in examples.chunks] == [4, 208]  # type: ignore[union-attr]
    assert len(draw_examples(graph_task(np.array([20, 30] * 10)), CONFIG, 0).chunks) == 1


def test_sparse_features_are_those_of_the_dense_task() -> None:
    task = graph_task(np.array([2, 5, 3] * 5))
    scattered = dataclasses.replace(task.graphs, nodes=sparse.csr_matrix(task.graphs.nodes))
    dense, other = (draw_examples(t, CONFIG, 0) for t in (task, dataclasses.replace(task, graphs=scattered)))
    np.testing.assert_array_equal(other.features, dense.features)
    np.testing.assert_array_equal(other.batch.graph.nodes, dense.batch.graph.nodes)


# Either


@pytest.mark.parametrize(("passes", "sampled"), [(2, 2), (5, 2), (9, 4), (23, 11), (24, 12), (99, 12)])
def test_passes_are_counted_by_directions(passes: int, sampled: int) -> None:
    """Two an example, for three classes as for two targets."""
    config = dataclasses.replace(CONFIG, max_passes={"graph": passes, "node": passes})
    for task in (graph_task(np.full(20, 2), "mse"), node_task(), node_task(loss="mse")):
        split = Split(*np.split(task.labelled[:14], [12, 13]))
        assert draw_examples(dataclasses.replace(task, fixed_split=split), config, 0).sampled == sampled


@pytest.mark.parametrize("level", ["graph", "node"])
def test_what_is_sampled_follows_the_seed(level: Level) -> None:
    train = np.arange(25)
    task: Any = graph_task(np.full(30, 3)) if level == "graph" else node_task(loss="mse")
    task = dataclasses.replace(task, fixed_split=Split(train, np.array([25, 26]), np.array([27, 28, 29])))
    config = dataclasses.replace(CONFIG, max_passes={level: 5 if level == "graph" else 10}, max_nodes=12)
    drawn = [sorted(chunked_ids(draw_examples(task, config, seed))[:5].tolist()) for seed in range(30)]
    again = [sorted(chunked_ids(draw_examples(task, config, seed))[:5].tolist()) for seed in range(30)]
    assert drawn == again
    assert len({tuple(ids) for ids in drawn}) > 20
    if level == "graph":
        assert set(np.concatenate(drawn)) == set(train)
