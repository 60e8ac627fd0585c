"""Aggregation by lists against a loop over edges, forward and backward, and against the scatters it replaces."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atjax.neighbours import WIDTHS, Lists, gather_max, gather_sum, lists, neighbours, width_for


def random_edges(seed: int, nodes: int, edges: int) -> tuple[np.ndarray, np.ndarray]:
    """Directed edges, repeated ones and loops among them, ascending in receivers; the first node receives a third."""
    rng = np.random.default_rng(seed)
    receivers = np.sort(np.where(rng.random(edges) < 1 / 3, 0, rng.integers(0, nodes, edges)))
    return rng.integers(0, nodes, edges), receivers


def entries(near: tuple[np.ndarray, ...], count: int) -> list[list[int]]:
    """The lists as lists, without what fills them up."""
    found: list[list[int]] = [[n for n in row if n < count] for row in near[0].tolist()]
    for owner, row in zip(near[2].tolist(), near[1].tolist()):
        if owner < count:
            found[owner] += [n for n in row if n < count]
    return found


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(1, 9), st.integers(0, 60), st.sampled_from(WIDTHS), st.integers(0, 3))
def test_lists_hold_every_edge_once(seed: int, nodes: int, edges: int, width: int, spare: int) -> None:
    senders, receivers = random_edges(seed, nodes, edges)
    needed = len(neighbours(receivers, senders, nodes, width).owner)
    near = neighbours(receivers, senders, nodes, width, needed + spare)
    assert near.first.shape == (nodes, width)
    assert near.more.shape == (needed + spare, width)
    assert np.all(np.diff(near.owner) >= 0)
    for node, row in enumerate(entries(near, nodes)):
        assert row == senders[receivers == node].tolist()


def test_the_width_follows_the_degrees() -> None:
    assert width_for(np.full(9, 3)) == 4
    assert width_for(np.full(9, 7)) == 8
    assert width_for(np.full(9, 40)) == 16
    assert width_for(np.append(np.full(999, 2), 400)) == 4  # one hub does not widen all lists


def oracle(x: np.ndarray, senders: np.ndarray, receivers: np.ndarray, kind: str) -> np.ndarray:
    out = np.zeros_like(x)
    for node in range(len(x)):
        rows = x[senders[receivers == node]]
        if len(rows):
            out[node] = rows.sum(axis=0) if kind == "sum" else rows.max(axis=0)
    return out


def scattered(x: jax.Array, senders: np.ndarray, receivers: np.ndarray, kind: str) -> jax.Array:
    """The same by JAX's segments, whose derivative is the reference; a node without senders gets 0."""
    reduce = jax.ops.segment_sum if kind == "sum" else jax.ops.segment_max
    seen = np.bincount(receivers, minlength=len(x)) > 0
    return jnp.where(seen[:, None], reduce(x[senders], receivers, len(x)), 0)


@pytest.mark.parametrize("kind", ["sum", "max"])
@pytest.mark.parametrize(("nodes", "edges"), [(1, 0), (5, 0), (7, 12), (9, 120), (40, 200)])
def test_gathering_is_scattering(kind: str, nodes: int, edges: int) -> None:
    senders, receivers = random_edges(nodes, nodes, edges)
    rng = np.random.default_rng(3)
    gather = gather_sum if kind == "sum" else gather_max
    with jax.enable_x64(True):
        near: Lists = jax.tree.map(jnp.asarray, lists(senders, receivers, nodes))
        # Small integers: many maxima tie, and share their gradient.
        x = rng.integers(-2, 3, (nodes, 3)).astype(float)
        weight = rng.normal(size=(2, nodes, 3))
        out, pullback = jax.vjp(lambda x: gather(x, near), jnp.asarray(x))
        expected, reference = jax.vjp(lambda x: scattered(x, senders, receivers, kind), jnp.asarray(x))
        np.testing.assert_allclose(out, oracle(x, senders, receivers, kind), rtol=1e-12)
        np.testing.assert_allclose(out, expected, rtol=1e-12)
        for cotangent, several in zip(weight, jax.vmap(pullback)(weight)[0]):
            np.testing.assert_allclose(pullback(cotangent)[0], reference(cotangent)[0], rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(several, reference(cotangent)[0], rtol=1e-10, atol=1e-12)
