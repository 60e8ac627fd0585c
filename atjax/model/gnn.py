"""The GNN of a design: pre-process layers, message-passing layers, post-process head (paper, section 5.1; Table 3)."""

from __future__ import annotations

import functools
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.interpreters.partial_eval import dce_jaxpr

from atjax.batch import Batch, Features, single_batch
from atjax.model.layers import Edges, Linear, MaskedBatchNorm, activate, convolution, l2_normalize
from atjax.refinement import Refined
from atjax.space import Design
from atjax.task import Graphs, Level

Params = Any
"""A tree of parameters."""

Variables = dict[str, Any]
"""``params``, a tree of parameters grouped by stage, and ``batch_stats``, the BatchNorm statistics."""


class DenseLayer(nn.Module):
    """Linear map, BatchNorm, activation; [V, d] -> [V, features]."""

    features: int
    activation: str
    momentum: float

    @nn.compact
    def __call__(self, x: Features, mask: jax.Array, train: bool) -> jax.Array:
        h = Linear(self.features, name="linear")(x)
        return activate(self.activation, train)(MaskedBatchNorm(self.momentum, name="bn")(h, mask, train))


class ConvLayer(nn.Module):
    """Convolution, BatchNorm, connectivity, activation.

    In a skip block (every layer) the activation follows the sum or the concatenation, so with skip_concat
    [V, d] -> [V, d + features], otherwise [V, d] -> [V, features].
    """

    features: int
    kind: str
    aggregation: str | None
    heads: int | None
    activation: str
    connectivity: str
    momentum: float

    @nn.compact
    def __call__(self, x: jax.Array, edges: Edges, mask: jax.Array, train: bool) -> jax.Array:
        h = convolution(self.kind, self.features, self.aggregation, self.heads)(x, edges)
        h = MaskedBatchNorm(self.momentum, name="bn")(h, mask, train)
        if self.connectivity == "skip_sum":
            h = edges.own(x) + h
        elif self.connectivity == "skip_concat":
            h = jnp.concatenate([edges.own(x), h], axis=-1)
        return activate(self.activation, train)(h)


class GNN(nn.Module):
    """A GNN as a hashable value; equal designs of equal size are the same module, and share compiled programs.

    Parameters are grouped by stage: ``pre_i``, ``mp_i``, ``post_i`` and ``out``, the last linear layer.

    Attributes:
        design: Learning rate and epochs should be 0 (see `build`), so that they need no new compilation.
        hidden: Width of the hidden layers that is really built.
        level: ``node``, ``edge`` or ``graph``.
        num_outputs: C.
        momentum: Of the BatchNorm statistics; 0 makes one training-mode pass calibrate them.
    """

    design: Design
    hidden: int
    level: Level
    num_outputs: int
    momentum: float = 0.9

    def setup(self) -> None:
        design = self.design
        dense = (self.hidden, design.activation, self.momentum)
        self.pre = [DenseLayer(*dense) for _ in range(design.pre_layers)]
        self.mp = [
            ConvLayer(
                self.hidden,
                design.convolution,
                design.aggregation,
                design.heads,
                design.activation,
                design.connectivity,
                self.momentum,
            )
            for _ in range(design.mp_layers)
        ]
        self.post = [DenseLayer(*dense) for _ in range(design.post_layers - 1)]
        self.out = Linear(self.num_outputs, use_bias=True)

    def embed(self, batch: Batch, train: bool = False) -> jax.Array:
        """What the first message-passing layer sees, each node by itself: [V, H]."""
        return self._embed(batch.graph.nodes, batch.weights, train)

    def _embed(self, x: Features, mask: jax.Array, train: bool) -> jax.Array:
        for dense in self.pre:
            x = dense(x, mask, train)
        return cast(jax.Array, x)

    def encode(self, batch: Batch, train: bool = False) -> jax.Array:
        """What the last linear layer sees: [V, H] for node tasks, [N, H] for the N pairs of edge tasks, [G, H] for
        graph tasks, padding included."""
        graph, mask = batch.graph, batch.weights
        x = self.embed(batch, train)
        edges = Edges.of(graph.senders, graph.receivers, x, batch.lists, graph.edges)
        for conv in self.mp:
            x = conv(x, edges, mask, train)
        x = l2_normalize(x)
        if self.level == "graph":
            if batch.counts is not None:
                x = jnp.asarray(batch.counts, x.dtype)[:, None] * x
            x, mask = _pooled(x, graph.n_node), batch.graph_mask
        elif self.level == "edge":
            assert batch.pairs is not None
            x, mask = pair_rows(x, batch.pairs), jnp.ones(len(batch.pairs), bool)
        return self._read(x, mask, train)

    def encode_refined(self, graphs: Refined, train: bool = False) -> jax.Array:
        """The same of graphs that are computed colour by colour, [G, H]; see `refinable`."""
        x = self._embed(graphs.features, graphs.counts[0], train)
        for conv, (step, counts) in zip(self.mp, graphs.rounds):
            x = conv(x, Edges.onward(step, x), counts, train)
        x = l2_normalize(x)[graphs.rows[-1]]
        return self._read(_pooled(x, graphs.n_node), graphs.graph_mask, train)

    def _read(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        for dense in self.post:
            x = dense(x, mask, train)
        return x

    def __call__(self, batch: Batch, train: bool = False) -> jax.Array:
        """Logits or regression outputs: [V, C] for node tasks, [N, C] for edge tasks, [G, C] for graph tasks."""
        return self.out(self.encode(batch, train))


def refinable(gnn: GNN) -> bool:
    """Whether `GNN.encode_refined` knows the convolution: in gcn and gat, what a node sends is more than its row."""
    return gnn.design.convolution in ("general", "sage", "gin")


def recallable(gnn: GNN) -> bool:
    """Whether every linear map of message passing takes rows as its layer gets them, before any is aggregated: what it
    yields for a node then depends on the node's colour of that layer."""
    return gnn.design.convolution == "general"


def _pooled(x: jax.Array, n_node: jax.Array) -> jax.Array:
    """Sums over the nodes of each graph, [V, H] -> [G, H]."""
    count = n_node.shape[0]
    owner = jnp.repeat(jnp.arange(count), n_node, total_repeat_length=x.shape[0])
    return jax.ops.segment_sum(x, owner, count, indices_are_sorted=True)


def pair_rows(x: jax.Array, pairs: jax.Array) -> jax.Array:
    """Rows of pairs of nodes, the same for both orders: [V, d], [N, 2] -> [N, d].

    The product, entry by entry, of two rows of norm 1; its sum is their cosine. Scaled so that entries are of the size
    that they have in the rows, 1 / sqrt(d), where BatchNorm's epsilon is small beside their variance.
    """
    return jnp.sqrt(jnp.asarray(x.shape[1], x.dtype)) * x[pairs[:, 0]] * x[pairs[:, 1]]


def apply(gnn: GNN, variables: Variables, batch: Batch) -> jax.Array:
    """Outputs in evaluation mode: BatchNorm on its running statistics, so that examples are independent."""
    return cast(jax.Array, gnn.apply(variables, batch))


def build(design: Design, *, hidden: int, level: Level, num_outputs: int) -> GNN:
    """The GNN of a design, of this width; what only training needs is left out of its identity."""
    structure = Design(**{**design.as_dict(), "hidden": 0, "learning_rate": 0.0, "epochs": 0})  # type: ignore[arg-type]
    return GNN(structure, hidden, level, num_outputs)


def initialize(gnn: GNN, num_features: int, key: jax.Array, num_edge_features: int = 0) -> Variables:
    """Random parameters and fresh BatchNorm statistics, for graphs of so many features of nodes and of edges."""
    # Parameters depend on widths only, so a graph of two nodes will do. Of what the model does, only the initialisers
    # are run, one operation at a time, by kernels that all models share: a compiled `init` would cost seconds a model,
    # and Flax's `lazy_init` also runs, and compiles, whatever the model does with parameters alone.
    one = np.ones(1, np.int32)
    edges = np.zeros((1, num_edge_features), np.float32) if num_edge_features else None
    smallest = Graphs(np.zeros((2, num_features), np.float32), one, one, np.array([2], np.int32), one, edges)
    batch = functools.partial(single_batch, smallest, pairs=np.zeros((1, 2)) if gnn.level == "edge" else None)
    closed, shapes = jax.make_jaxpr(gnn.init, return_shape=True)(key, jax.eval_shape(batch))
    needed = [True] * len(closed.jaxpr.outvars)
    jaxpr, used = dce_jaxpr(closed.jaxpr, needed, instantiate=[True] + [False] * (len(closed.jaxpr.invars) - 1))
    assert sum(used) == 1  # the key: no initialiser looks at the batch
    leaves = jaxpr_as_fun(ClosedJaxpr(jaxpr, closed.consts))(key)
    return cast(Variables, jax.tree.unflatten(jax.tree.structure(shapes), leaves))
