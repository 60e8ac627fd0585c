"""Neighbours of every node as lists of one width, so that aggregation gathers instead of scattering.

On a CPU a fused gather of W rows is many times faster than gathering all messages and scattering them to their
receivers, and on any device its backward pass is a gather too: along the edges the other way. A node with more than W
neighbours continues in further rows, which a small scatter adds up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = np.ndarray | jax.Array

WIDTHS = (4, 8, 16)
"""The widths to choose from: unrolled loops, so no wider ones."""


class Neighbours(NamedTuple):
    """Lists of one direction. The id V, which no node has, fills up a list.

    Attributes:
        first: The first W neighbours of every node, int32 [V, W].
        more: The others, W at a time, int32 [Q, W].
        owner: The node that each of these rows continues, int32 [Q], ascending; V for padding.
    """

    first: Array
    more: Array
    owner: Array


class Lists(NamedTuple):
    """Lists of both directions.

    Attributes:
        incoming: For every receiver its senders.
        outgoing: For every sender its receivers; None if nothing is to be differentiated.
        degree: Incoming edges of each node, float32 [V].
    """

    incoming: Neighbours
    outgoing: Neighbours | None
    degree: Array


def width_for(degrees: np.ndarray) -> int:
    """The width with the least work, a row that continues another costing 12 entries more; ``degrees`` are int [V]."""
    cost = [width * len(degrees) + (width + 12) * int(rows_beyond(degrees, width).sum()) for width in WIDTHS]
    return WIDTHS[int(np.argmin(cost))]


def rows_beyond(degrees: np.ndarray, width: int) -> np.ndarray:
    """How many rows continue each node, int [V]."""
    return np.maximum(0, -(-(degrees - width) // width))


def neighbours(owners: np.ndarray, others: np.ndarray, count: int, width: int, rows: int | None = None) -> Neighbours:
    """Lists of one direction.

    Args:
        owners: The node that each edge belongs to, int [E], ascending.
        others: The node at its other end, int [E].
        count: V.
        width: W.
        rows: Q, by default as many as are needed; more are padding.
    """
    degrees = np.bincount(owners, minlength=count)
    place = np.arange(len(owners)) - (np.cumsum(degrees) - degrees)[owners]
    beyond = rows_beyond(degrees, width)
    rows = int(beyond.sum()) if rows is None else rows
    first = np.full((count, width), count, np.int32)
    more = np.full((rows, width), count, np.int32)
    owner = np.full(rows, count, np.int32)
    owner[: beyond.sum()] = np.repeat(np.arange(count), beyond)
    early = place < width
    first[owners[early], place[early]] = others[early]
    late, rest = ~early, place[~early] - width
    more[(np.cumsum(beyond) - beyond)[owners[late]] + rest // width, rest % width] = others[late]
    return Neighbours(first, more, owner)


class ListShapes(NamedTuple):
    """For lists of both directions: W, and Q."""

    incoming: tuple[int, int | None]
    outgoing: tuple[int, int | None]


def lists(senders: np.ndarray, receivers: np.ndarray, count: int, shapes: ListShapes | None = None) -> Lists:
    """Lists of a graph of V = ``count`` nodes; edges int [E], ascending in receivers; by default of the least work."""
    degree = np.bincount(receivers, minlength=count)
    if shapes is None:
        shapes = ListShapes((width_for(degree), None), (width_for(np.bincount(senders, minlength=count)), None))
    order = np.argsort(senders, kind="stable")
    return Lists(
        neighbours(receivers, senders, count, *shapes.incoming),
        neighbours(senders[order], receivers[order], count, *shapes.outgoing),
        degree.astype(np.float32),
    )


def _reduce(
    term: Callable[[Array], jax.Array], combine: Callable[[jax.Array, jax.Array], jax.Array], ids: Array
) -> jax.Array:
    """Combine the terms of the columns of ``ids`` [Q, W], each [Q, H]; unrolled, so that XLA makes one loop of it."""
    total = term(ids[:, 0])
    for k in range(1, ids.shape[1]):
        total = combine(total, term(ids[:, k]))
    return total


def _pick(x: jax.Array, ids: Array, fill: float) -> jax.Array:
    return jnp.asarray(x).at[ids].get(mode="fill", fill_value=fill)


def _sum(x: jax.Array, near: Neighbours) -> jax.Array:
    def total(ids: Array) -> jax.Array:
        return _reduce(lambda column: _pick(x, column, 0), jnp.add, ids)

    out = total(near.first)
    if len(near.owner):
        out = out.at[near.owner].add(total(near.more), indices_are_sorted=True, mode="drop")
    return out


@jax.custom_vjp
def gather_sum(x: jax.Array, lists: Lists) -> jax.Array:
    """Sum over each node's senders: [V, H] -> [V, H]; 0 for a node without any."""
    return _sum(x, lists.incoming)


def _sum_forward(x: jax.Array, lists: Lists) -> tuple[jax.Array, Lists]:
    return gather_sum(x, lists), lists


def _sum_backward(lists: Lists, delta: jax.Array) -> tuple[jax.Array, None]:
    assert lists.outgoing is not None
    return _sum(delta, lists.outgoing), None


gather_sum.defvjp(_sum_forward, _sum_backward)


@jax.custom_vjp
def gather_max(x: jax.Array, lists: Lists) -> jax.Array:
    """Largest over each node's senders: [V, H] -> [V, H]; 0 for a node without any.

    Senders that tie share the gradient evenly, as with JAX's own maxima.
    """
    return _max_forward(x, lists)[0]


def _max_forward(x: jax.Array, lists: Lists) -> tuple[jax.Array, tuple[jax.Array, jax.Array, Lists]]:
    near = lists.incoming

    def largest(ids: Array) -> jax.Array:
        return _reduce(lambda column: _pick(x, column, -jnp.inf), jnp.maximum, ids)

    top = largest(near.first)
    if len(near.owner):
        top = top.at[near.owner].max(largest(near.more), indices_are_sorted=True, mode="drop")
    # Not told by the degree: of a receptive field's outermost nodes the senders are not there.
    return jnp.where(top == -jnp.inf, 0, top), (x, top, lists)


def _max_backward(kept: tuple[jax.Array, jax.Array, Lists], delta: jax.Array) -> tuple[jax.Array, None]:
    x, top, lists = kept
    near, back = lists.incoming, lists.outgoing
    assert back is not None

    def ties(ids: Array, of: jax.Array) -> jax.Array:
        return _reduce(lambda column: (_pick(x, column, jnp.nan) == of).astype(x.dtype), jnp.add, ids)

    count = ties(near.first, top)
    if len(near.owner):
        more = ties(near.more, _pick(top, near.owner, 0))
        count = count.at[near.owner].add(more, indices_are_sorted=True, mode="drop")
    share = delta / jnp.maximum(count, 1)

    def received(ids: Array, of: jax.Array) -> jax.Array:
        def term(column: Array) -> jax.Array:
            return jnp.where(_pick(top, column, jnp.nan) == of, _pick(share, column, 0), 0)

        return _reduce(term, jnp.add, ids)

    gradient = received(back.first, x)
    if len(back.owner):
        more = received(back.more, _pick(x, back.owner, 0))
        gradient = gradient.at[back.owner].add(more, indices_are_sorted=True, mode="drop")
    return gradient, None


gather_max.defvjp(_max_forward, _max_backward)
