"""Places of graphs in batches, against loops; and that seeds share their shapes."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import make_task, random_graphs
from hypothesis import given
from hypothesis import strategies as st
from test_fisher import ANCHORS, CONFIG, float64

from atjax.batch import SHARED_SPLITS
from atjax.compilation import counting
from atjax.fisher import task_statistics
from atjax.fisher.slots import MOST_SIZES, Places, SlotIndex, Slots, deal_places, in_places, place_sizes
from atjax.task import Graphs, Task

__all__ = ["float64"]


def sized_graphs(seed: int, sizes: np.ndarray) -> Graphs:
    """Random graphs of so many nodes and up to twice as many edges."""
    return random_graphs(np.random.default_rng(seed), [(int(n), int(min(n * (n - 1) // 2, 2 * n))) for n in sizes])


@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.integers(1, 5))
def test_no_other_sizes_of_places_pad_less(sizes: list[int], most: int) -> None:
    real = np.array(sizes)

    def padded(chosen: np.ndarray) -> int:
        return int(chosen[np.searchsorted(chosen, real)].sum())

    found = place_sizes(real, most, worth=0)
    assert len(found) <= most
    assert np.all(np.diff(found) > 0)
    present = np.unique(np.maximum(real, 1))
    choices = [
        np.array([*smaller, present[-1]])
        for count in range(min(most, len(present)))
        for smaller in itertools.combinations(present[:-1].tolist(), count)
    ]
    assert padded(found) == min(map(padded, choices))


def test_a_size_has_to_be_worth_it() -> None:
    sizes = np.repeat([10, 20, 21, 40], [50, 50, 50, 1])
    assert place_sizes(sizes, 4, worth=0).tolist() == [10, 20, 21, 40]
    assert place_sizes(sizes, 4, worth=0.05).tolist() == [10, 21, 40]  # the fourth saves 50 of 2,640 nodes
    assert place_sizes(sizes, 2, worth=0.05).tolist() == [21, 40]
    assert place_sizes(sizes, 4, worth=0.9).tolist() == [40]


def test_many_sizes_are_rounded_first() -> None:
    rounded = place_sizes(np.arange(1, 6000), worth=0)
    assert len(rounded) == MOST_SIZES
    assert 5999 <= rounded[-1] <= 1.02 * 5999


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 7))
def test_dealt_batches_are_of_nearly_equal_size(nodes: list[int], batches: int) -> None:
    sizes = np.array(nodes)
    dealt = deal_places(sizes, batches)
    assert sorted(np.concatenate(dealt).tolist()) == list(range(len(nodes)))
    totals = [sizes[each].sum() for each in dealt]
    assert max(totals) - min(totals) <= sizes.max()  # of any list schedule


@pytest.mark.parametrize("groups", [((7, 2), (3, 5), (1, 8)), ((2, 1), (6, 3), (4, 4)), ((1, 6), (5, 7), (7, 8))])
def test_places_are_cut_and_walked_as_loops_find_them(groups: tuple[tuple[int, int], ...]) -> None:
    rng, (most, sizes) = np.random.default_rng(0), np.array(groups).T
    slots = Slots(groups, int(most @ sizes) * 2 // 3)
    rows = rng.normal(size=(slots.num_nodes, 2))

    @jax.jit
    def found(filled: jax.Array) -> tuple[Any, ...]:
        places = Places(slots, filled)

        def note(seen: tuple[jax.Array, jax.Array], start: jax.Array, nodes: int) -> tuple[jax.Array, jax.Array]:
            noted, count = seen
            return noted.at[count].set(jnp.stack([start, jnp.asarray(nodes)])), count + 1

        walked = places.walk(note, (jnp.full((len(filled), 2), -1), jnp.asarray(0)))
        cut = jnp.concatenate([part.sum(axis=1) for part in places.cut(jnp.asarray(rows))])
        return places.starts, places.n_node, cut, walked

    fills = [used for used in rng.integers(0, most + 1, (200, 3)) if used @ sizes <= slots.num_nodes][:40]
    assert len({tuple(used) for used in fills}) > 20
    for used in [np.zeros(3, int), *fills]:
        filled = np.concatenate([np.arange(limit) < count for limit, count in zip(most, used)])
        starts, sums, begin = [], [], 0
        for nodes, here in zip(slots.sizes, filled):
            starts.append(begin if here else 0)
            size = int(nodes) if here else 0
            sums.append(rows[begin : begin + size].sum(axis=0))
            begin += size
        got_starts, n_node, cut, walked = found(filled)
        np.testing.assert_array_equal(got_starts, starts)
        np.testing.assert_array_equal(n_node, np.where(filled, slots.sizes, 0))
        np.testing.assert_allclose(cut, sums, rtol=1e-12, atol=1e-12)
        noted, count = walked
        expected = np.stack([starts, slots.sizes], axis=1)[filled]
        assert count == len(expected)
        np.testing.assert_array_equal(noted[: len(expected)], expected)


def check_places(graphs: Graphs, placed: SlotIndex) -> None:
    """Every place holds its graph: features, edges and degrees, and nothing else."""
    slots = placed.slots
    for batch in zip(placed.nodes, placed.node_mask, placed.graphs, *placed.lists.incoming, placed.lists.degree):
        index, mask, ids, first, more, owner, degree = batch
        seen = np.zeros(slots.num_nodes, int)
        for place, graph in zip(np.asarray(Places(slots, jnp.asarray(ids >= 0)).starts), ids):
            size = graphs.n_node[graph] if graph >= 0 else 0
            here = np.arange(place, place + size)
            seen[here] += 1
            np.testing.assert_array_equal(
                index[here], np.arange(graphs.node_start[graph], graphs.node_start[graph] + size)
            )
            for node, row in zip(index[here], here):
                senders = sorted(graphs.senders[graphs.receivers == node])
                found = [*first[row], *more[owner == row].ravel()]
                assert sorted(index[[n for n in found if n < slots.num_nodes]]) == senders
                assert degree[row] == len(senders)
        assert seen.max() <= 1
        np.testing.assert_array_equal(mask, seen == 1)
        assert np.all(first[~mask] == slots.num_nodes)


@pytest.mark.parametrize("nodes", [1, 17, 60, 10**6])
def test_every_graph_has_a_place(nodes: int) -> None:
    rng = np.random.default_rng(nodes)
    graphs = sized_graphs(nodes, rng.integers(1, 40, 30))
    ids = np.sort(rng.permutation(30)[:23])
    placed = in_places(graphs, [ids], nodes)
    assert len(placed.slots.groups) <= MOST_SIZES
    assert placed.nodes.shape[1] == placed.slots.num_nodes
    assert sorted(placed.graphs[placed.graphs >= 0]) == ids.tolist()
    check_places(graphs, placed)


def test_other_samples_change_shapes_alone() -> None:
    rng = np.random.default_rng(3)
    graphs = sized_graphs(3, np.append(rng.integers(1, 20, 40), 90))
    samples = [np.array_split(rng.permutation(41)[:20], 4) for _ in range(5)]
    laid = [in_places(graphs, parts, 30, samples) for parts in samples]
    assert len({(placed.slots, *(leaf.shape for leaf in jax.tree.leaves(placed))) for placed in laid}) == 1
    alone = {in_places(graphs, parts, 30).slots for parts in samples}
    assert len(alone) > 1
    for parts, placed in zip(samples, laid):
        check_places(graphs, placed)
        for part, ids in zip(parts, placed.graphs.reshape(4, -1)):
            assert sorted(ids[ids >= 0]) == sorted(part)


def test_seeds_share_programs() -> None:
    """Of a sample of graphs of all sizes, one of them far larger, from training sets that differ in size by one."""
    rng = np.random.default_rng(11)
    sizes = np.append(rng.integers(2, 30, 91), 200)
    labels = np.resize([0, 1, 2], 92).astype(np.int32)
    task = Task("sizes", "graph", "cross_entropy", "accuracy", sized_graphs(11, sizes), labels, 3)
    config = CONFIG.__class__(**{**vars(CONFIG), "max_passes": {"graph": 60, "node": 9}, "chunk": 100})
    assert {len(task.split(seed).train) for seed in range(SHARED_SPLITS)} == {73, 74}
    names = ["alpha", "readout_loss", "first_losses", "stable_rank", "kfac_trace"]
    task_statistics(task, config, names, anchors=ANCHORS[3:4])
    with counting(everywhere=True) as compiled:
        for seed in range(1, SHARED_SPLITS):
            task_statistics(task, config, names, seed=seed, anchors=ANCHORS[3:4])
    assert compiled.count == 0


def test_seeds_beyond_those_have_room_too() -> None:
    """Whatever the seed, the shapes fit."""
    task = make_task("graph", 3)
    assert np.isfinite(task_statistics(task, CONFIG, ["alpha"], seed=99, anchors=ANCHORS[3:4])["alpha"].value).all()
