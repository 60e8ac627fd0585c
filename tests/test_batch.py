"""Batching against plain loops and jraph's own conventions, on random graphs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from atjax import batch as batching
from atjax.batch import (
    LONG_RUN,
    BatchIndex,
    BatchShape,
    SparseRows,
    balance,
    bucket,
    deal,
    device_features,
    fits,
    gather,
    index_batches,
    shape_for,
    shrink,
    single_batch,
    usual_shape,
)
from atjax.task import Graphs

SEEDS = st.integers(0, 10_000)


def random_graphs(rng: np.random.Generator, count: int, largest: int = 12) -> Graphs:
    """Graphs of 1 to ``largest`` nodes, some without edges; features tell every node from every other."""
    sizes = rng.integers(1, largest + 1, size=count)
    starts = np.cumsum(sizes) - sizes
    ends = [start + rng.integers(0, size, (2, rng.integers(0, 3 * size))) for start, size in zip(starts, sizes)]
    senders, receivers = np.concatenate(ends, axis=1)
    nodes = np.arange(2 * sizes.sum()).reshape(-1, 2)
    return Graphs.from_edges(nodes, senders, receivers, sizes, undirected=False)


def random_ids(rng: np.random.Generator, graphs: Graphs) -> np.ndarray:
    count = len(graphs.n_node)
    return np.sort(rng.choice(count, size=int(rng.integers(1, count + 1)), replace=False))


def at_step(index: BatchIndex, step: int) -> BatchIndex:
    return jax.tree.map(lambda array: array[step], index)


# Dealing


@given(SEEDS, st.integers(1, 40), st.integers(1, 9))
def test_deal_takes_every_graph_once_and_always_fits(seed: int, count: int, batch_size: int) -> None:
    rng = np.random.default_rng(seed)
    graphs = random_graphs(rng, count)
    ids = random_ids(rng, graphs)
    shape = shape_for(graphs, ids, batch_size)
    for shuffle in (None, rng, rng, rng):
        dealt = deal(graphs, ids, batch_size, shuffle)
        assert dealt.shape == (-(-len(ids) // batch_size), batch_size)
        np.testing.assert_array_equal(np.sort(dealt[dealt >= 0]), ids)
        index_batches(graphs, dealt, shape)  # raises if it does not fit
        filled = (dealt >= 0).sum(axis=1)
        assert filled.max() - filled.min() <= 1
        size = np.where(dealt >= 0, graphs.n_node[dealt] + graphs.n_edge[dealt], 0)
        # One of each stratum: two batches differ by less than the largest graph, and no batch by more from the mean.
        assert np.ptp(size.sum(axis=1)) <= size.max()


def test_deal_shuffles_from_its_rng_only() -> None:
    graphs = random_graphs(np.random.default_rng(0), 60)
    ids = np.arange(60)
    first, again, other = (deal(graphs, ids, 4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(deal(graphs, ids, 4), deal(graphs, ids, 4))
    partners = {frozenset(row) for seed in range(20) for row in deal(graphs, ids, 4, np.random.default_rng(seed))}
    assert len(partners) > 250  # of 300: batches are made anew each time


def test_every_shuffle_is_equally_likely() -> None:
    graphs = random_graphs(np.random.default_rng(0), 9)
    rng = np.random.default_rng(1)
    step_of = np.zeros((9, 3))
    for _ in range(2000):
        for step, row in enumerate(deal(graphs, np.arange(9), 3, rng)):
            step_of[row, step] += 1
    assert np.abs(step_of / 2000 - 1 / 3).max() < 0.06  # 5.7 standard deviations


# Shapes


def test_bucket_rounds_up_a_little_and_to_few_sizes() -> None:
    sizes = np.arange(1, 5000)
    buckets = np.array([bucket(int(size)) for size in sizes])
    assert (buckets >= sizes).all()
    assert (buckets < 1.125 * sizes).all()
    assert (np.diff(buckets) >= 0).all()
    assert [bucket(int(size)) for size in buckets] == buckets.tolist()
    for octave in 2 ** np.arange(3, 12):
        assert len(set(buckets[(sizes >= octave) & (sizes < 2 * octave)])) <= 9


@given(SEEDS)
def test_one_shape_serves_all_splits_of_like_tasks(seed: int) -> None:
    """Over splits of one task the padded shape takes few values, so programs are shared."""
    rng = np.random.default_rng(seed)
    graphs = random_graphs(rng, 150)
    shapes = {shape_for(graphs, rng.choice(150, 120, replace=False), 8) for _ in range(6)}
    assert len({shape.nodes for shape in shapes}) <= 3
    assert len({shape.edges for shape in shapes}) <= 3


def test_too_small_a_shape_is_refused() -> None:
    graphs = random_graphs(np.random.default_rng(2), 4)
    nodes, edges = int(graphs.n_node.sum()), int(graphs.n_edge.sum())
    dealt = np.arange(4)[None]
    index_batches(graphs, dealt, BatchShape(5, nodes + 1, edges))
    for shape in (BatchShape(5, nodes, edges), BatchShape(5, nodes + 1, edges - 1), BatchShape(4, nodes + 1, edges)):
        with pytest.raises(ValueError, match="exceed"):
            index_batches(graphs, dealt, shape)
        with pytest.raises(ValueError, match="exceed"):
            single_batch(graphs, shape)


# Batches


def loop_batch(graphs: Graphs, ids: list[int], shape: BatchShape) -> tuple[list[list[float]], list[tuple[int, int]]]:
    """Rows of the real nodes and the real edges (receiver, sender) of one batch, one at a time."""
    rows, edges = [], []
    for graph in ids:
        shift = len(rows) - int(graphs.node_start[graph])
        rows += [graphs.nodes[v].tolist() for v in range(graphs.node_start[graph], graphs.node_start[graph + 1])]
        for e in range(graphs.edge_start[graph], graphs.edge_start[graph + 1]):
            edges.append((int(graphs.receivers[e]) + shift, int(graphs.senders[e]) + shift))
    edges += [(shape.nodes - 1, shape.nodes - 1)] * (shape.edges - len(edges))
    return rows, edges


@given(SEEDS, st.integers(1, 20), st.integers(1, 6), st.sampled_from([0, LONG_RUN]))
def test_batches_are_those_of_a_loop(seed: int, count: int, batch_size: int, long: int) -> None:
    """Whether edges are gathered or, as those of large graphs, copied in slices."""
    rng = np.random.default_rng(seed)
    graphs = random_graphs(rng, count)
    ids = random_ids(rng, graphs)
    shape = shape_for(graphs, ids, batch_size)
    dealt = deal(graphs, ids, batch_size, rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "LONG_RUN", long)
        index = index_batches(graphs, dealt, shape)
    for step, row in enumerate(dealt):
        batch = gather(graphs.nodes, at_step(index, step))
        members = [int(graph) for graph in row if graph >= 0]
        rows, edges = loop_batch(graphs, members, shape)
        graph = batch.graph
        assert graph.nodes.shape == (shape.nodes, 2)
        np.testing.assert_array_equal(graph.nodes[: len(rows)], rows)
        np.testing.assert_array_equal(batch.node_mask, np.arange(shape.nodes) < len(rows))
        assert list(zip(graph.receivers.tolist(), graph.senders.tolist())) == edges
        assert (np.diff(graph.receivers) >= 0).all()
        np.testing.assert_array_equal(batch.graph_mask, [*(row >= 0), False])
        np.testing.assert_array_equal(index.graphs[step], [*row, -1])
        assert graph.n_node[-1] == shape.nodes - len(rows) >= 1
        assert graph.n_node.sum() == shape.nodes
        assert graph.n_edge.sum() == shape.edges
        sizes = [(int(graphs.n_node[g]), int(graphs.n_edge[g])) if g >= 0 else (0, 0) for g in row]
        assert list(zip(graph.n_node[:-1].tolist(), graph.n_edge[:-1].tolist())) == sizes


def test_a_full_batch_follows_the_conventions_of_jraph() -> None:
    graphs = random_graphs(np.random.default_rng(3), 6)
    shape = BatchShape(7, 100, 300)
    batch = single_batch(graphs, shape)
    np.testing.assert_array_equal(jraph.get_node_padding_mask(batch.graph), batch.node_mask)
    np.testing.assert_array_equal(jraph.get_graph_padding_mask(batch.graph), batch.graph_mask)
    real_edges = np.arange(shape.edges) < graphs.n_edge.sum()
    np.testing.assert_array_equal(jraph.get_edge_padding_mask(batch.graph), real_edges)
    for number, one in enumerate(jraph.unbatch(jraph.unpad_with_graphs(batch.graph))):
        alone = graphs.take(np.array([number]))
        np.testing.assert_array_equal(one.nodes, alone.nodes)
        np.testing.assert_array_equal(one.senders, alone.senders)
        np.testing.assert_array_equal(one.receivers, alone.receivers)


def test_single_batch_without_a_shape_pads_one_empty_graph() -> None:
    graphs = random_graphs(np.random.default_rng(4), 3)
    batch = single_batch(graphs)
    np.testing.assert_array_equal(batch.graph.nodes, graphs.nodes)
    np.testing.assert_array_equal(batch.graph.senders, graphs.senders)
    np.testing.assert_array_equal(batch.graph.receivers, graphs.receivers)
    np.testing.assert_array_equal(batch.graph.n_node, [*graphs.n_node, 0])
    np.testing.assert_array_equal(batch.graph.n_edge, [*graphs.n_edge, 0])
    assert batch.node_mask.all()
    assert batch.graph_mask.tolist() == [True, True, True, False]


# Sparse features


def random_sparse(rng: np.random.Generator) -> sparse.csr_matrix:
    return sparse.random(11, 7, density=0.2, format="csr", dtype=np.float32, rng=rng)


def test_sparse_rows_multiply_as_the_dense_matrix_does() -> None:
    rng = np.random.default_rng(5)
    matrix = random_sparse(rng)
    rows = SparseRows.from_scipy(matrix)
    weights = rng.normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_allclose(rows @ jnp.asarray(weights), matrix.toarray() @ weights, rtol=1e-6, atol=1e-6)
    assert (rows.num_rows, rows.num_columns) == (11, 7)
    through_jit = jax.jit(lambda a, b: a @ b)(rows, weights)  # a pytree, its shape static
    np.testing.assert_allclose(through_jit, rows @ jnp.asarray(weights), rtol=1e-6)


def test_device_features_keep_their_form() -> None:
    graphs = random_graphs(np.random.default_rng(6), 2)
    assert isinstance(device_features(graphs), jax.Array)
    matrix = random_sparse(np.random.default_rng(7))
    none = np.zeros(0, np.int32)
    scattered = Graphs(matrix, none, none, np.array([11], np.int32), np.array([0], np.int32))
    assert isinstance(device_features(scattered), SparseRows)


@pytest.mark.parametrize("count", [1, 7, 8, 61])
def test_batches_for_evaluation_are_of_one_size(count: int) -> None:
    rng = np.random.default_rng(count)
    graphs = random_graphs(rng, 80)
    ids = rng.permutation(80)[:count]
    dealt, shape = balance(graphs, ids, 8)
    assert sorted(dealt[dealt >= 0]) == sorted(ids)
    assert dealt.shape == (-(-count // 8), 8)
    sizes = np.where(dealt >= 0, graphs.n_node[dealt], 0).sum(axis=1)
    assert sizes.max() - sizes.min() <= graphs.n_node[ids].max()  # Graham's bound
    index = index_batches(graphs, dealt, shape)  # raises if one does not fit
    assert index.nodes.shape == (len(dealt), shape.nodes)
    again, _ = balance(graphs, rng.permutation(ids), 8)
    np.testing.assert_array_equal(graphs.n_node[again], graphs.n_node[dealt])


# Two shapes


def test_a_batch_cut_to_a_smaller_shape_is_the_same_batch() -> None:
    rng = np.random.default_rng(8)
    graphs = random_graphs(rng, 12)
    dealt = deal(graphs, np.arange(12), 4, rng)
    large, small = BatchShape(5, 90, 200), BatchShape(5, 40, 64)
    wide, narrow = (index_batches(graphs, dealt, shape) for shape in (large, small))
    for step in range(len(dealt)):
        cut = shrink(at_step(wide, step), small)
        jax.tree.map(np.testing.assert_array_equal, cut, at_step(narrow, step))
        used = int(wide.n_node[step][:-1].sum()), int(wide.n_edge[step][:-1].sum())
        assert bool(fits(at_step(wide, step), small))
        assert not fits(at_step(wide, step), BatchShape(5, used[0], 64))
        assert not fits(at_step(wide, step), BatchShape(5, 40, used[1] - 1))


def test_few_large_graphs_do_not_pad_all_batches() -> None:
    rng = np.random.default_rng(9)
    sizes = np.append(rng.integers(8, 12, 199), 900)
    starts = np.cumsum(sizes) - sizes
    graphs = Graphs.from_edges(np.zeros((sizes.sum(), 1)), starts, starts + 1, sizes)
    ids = np.arange(200)
    shape = shape_for(graphs, ids, 20)
    usual = usual_shape(graphs, ids, 20, shape)
    assert usual is not None
    index = index_batches(graphs, deal(graphs, ids, 20, rng), shape)
    small = [bool(fits(at_step(index, step), usual)) for step in range(10)]
    assert sum(small) == 9
    padded = sum(usual.nodes if each else shape.nodes for each in small)
    assert 1 - sizes.sum() / padded < 0.3 < 1 - sizes.sum() / (10 * shape.nodes)
    even = ids[:-1]
    assert usual_shape(graphs, even, 20, shape_for(graphs, even, 20)) is None
