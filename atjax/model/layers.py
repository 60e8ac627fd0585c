"""Layers of a GNN: linear maps, activations, aggregations and the five convolutions of the design space.

Shapes: V nodes, E directed edges, d input width, H output width. No layer here has a bias of its own where a
BatchNorm follows, since the BatchNorm would take it out again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from atjax.batch import EdgeRows, Features
from atjax.model.draws import glorot_uniform
from atjax.neighbours import Lists, gather_max, gather_sum
from atjax.products import matmul
from atjax.refinement import Step

Activation = Callable[[jax.Array], jax.Array]


class Edges(NamedTuple):
    """The edges of a batch as the convolutions need them.

    They lead from V rows to V others: the same nodes, or those of the next round of `atjax.refinement.Refined`.

    Attributes:
        senders: int32 [E].
        receivers: int32 [E], ascending.
        degree: Incoming edges of each node, float [V].
        lists: The edges as lists, if the batch has them; never beside features or weights.
        features: Features of the edges, float [E, K], or None.
        weights: Weights of the edges, float [E], or None.
        strength: Sum of the weights of each node's incoming edges, float [V]; the degree where there are no weights.
        sources: For rows of the next round the same node's row in this one, int32 [V]; None if they are the same.
    """

    senders: jax.Array
    receivers: jax.Array
    degree: jax.Array
    lists: Lists | None
    features: jax.Array | None
    weights: jax.Array | None
    strength: jax.Array
    sources: jax.Array | None = None

    @classmethod
    def of(
        cls,
        senders: jax.Array,
        receivers: jax.Array,
        like: jax.Array,
        lists: Lists | None = None,
        rows: EdgeRows | None = None,
    ) -> Edges:
        """Count the degrees once for all layers; ``like`` [V, d] gives V and the type."""
        if lists is not None:
            assert rows is None
            degree = jnp.asarray(lists.degree, like.dtype)
            return cls(senders, receivers, degree, lists, None, None, degree)

        def arriving(values: jax.Array) -> jax.Array:
            return jax.ops.segment_sum(values, receivers, like.shape[0], indices_are_sorted=True)

        degree = arriving(jnp.ones(receivers.shape, like.dtype))
        features, weights = rows or (None, None)
        return cls(
            senders, receivers, degree, None, features, weights, degree if weights is None else arriving(weights)
        )

    @classmethod
    def onward(cls, step: Step, like: jax.Array) -> Edges:
        """From round to round of `atjax.refinement.Refined`, for convolutions that ask for `own`; as ``like``."""
        none, degree = jnp.zeros(0, jnp.int32), jnp.asarray(step.degree, like.dtype)
        return cls(none, none, degree, Lists(step.near, None, degree), None, None, degree, step.own)

    def own(self, rows: jax.Array) -> jax.Array:
        """What every receiving node itself has."""
        return rows if self.sources is None else rows[self.sources]

    def sum(self, messages: jax.Array) -> jax.Array:
        """Sum what arrives at each node: [E, H] -> [V, H]."""
        return jax.ops.segment_sum(messages, self.receivers, self.degree.shape[0], indices_are_sorted=True)

    def max(self, messages: jax.Array) -> jax.Array:
        """Largest of what arrives at each node, -inf where nothing does: [E, H] -> [V, H]."""
        return jax.ops.segment_max(messages, self.receivers, self.degree.shape[0], indices_are_sorted=True)

    def aggregate(
        self, x: jax.Array, aggregation: str, message: Callable[[jax.Array], jax.Array] = lambda rows: rows
    ) -> jax.Array:
        """Aggregate the neighbours' rows of ``x``: [V, H] -> [V, H]; 0 for a node without neighbours.

        Sums and means are weighted where edges have weights; a maximum does not know them.

        Args:
            x: A row for each node.
            aggregation: ``sum``, ``mean`` or ``max``.
            message: What an edge makes of its sender's row, [E, H] -> [E, H]; for edges without lists.
        """
        if aggregation == "max":
            if self.lists is not None:
                return gather_max(x, self.lists)
            return jnp.where(self.degree[:, None] > 0, self.max(message(x[self.senders])), 0)
        if self.lists is not None:
            total = gather_sum(x, self.lists)
        else:
            rows = message(x[self.senders])
            total = self.sum(rows if self.weights is None else self.weights[:, None] * rows)
        if aggregation == "sum":
            return total
        if self.weights is None:
            return total / jnp.maximum(self.degree, 1)[:, None]
        # Nothing arrives over edges of weight 0, however many.
        return total / jnp.where(self.strength > 0, self.strength, 1)[:, None]


class PReLU(nn.PReLU):
    """max(x, 0) + slope * min(x, 0) (He et al., 2015), with a slope whose gradient is quick to sum in training.

    Attributes:
        train: Whether the slope enters by a product with ones. Its gradient, a sum over all of [V, H], is then a
            product too, where XLA on a CPU would add one number after another.
    """

    train: bool = False

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        slope = self.param("negative_slope", lambda _: jnp.asarray(self.negative_slope_init, self.param_dtype))
        slopes = slope.astype(inputs.dtype)
        if self.train:
            slopes = matmul(jnp.ones((len(inputs), 1), inputs.dtype), jnp.broadcast_to(slopes, (1, inputs.shape[1])))
        return jnp.where(inputs >= 0, inputs, slopes * inputs)


def activate(name: str, train: bool = False) -> Activation:
    """The activation of this name; call it inside a compact method, since prelu has a parameter.

    prelu starts at slope 0.25 (He et al., 2015), leaky_relu has slope 0.1 (GraphGym's), elu has alpha 1.
    """
    if name == "prelu":
        return PReLU(negative_slope_init=0.25, train=train, name="prelu")
    if name == "leaky_relu":
        return lambda x: nn.leaky_relu(x, 0.1)
    return {"relu": nn.relu, "elu": nn.elu}[name]


def l2_normalize(x: jax.Array) -> jax.Array:
    """Scale each row to Euclidean norm 1; rows near 0 stay near 0.

    The squares are summed by a product: of a sum, XLA (of jaxlib 0.10.2, on a CPU) compiles a wrong gradient for many
    cotangents of thousands of rows.
    """
    return x * jax.lax.rsqrt(jnp.maximum(matmul(x * x, jnp.ones((x.shape[-1], 1), x.dtype)), 1e-12))


class Linear(nn.Module):
    """A linear map of dense rows or of `SparseRows`, Glorot-uniform; [V, d] -> [V, features]."""

    features: int
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Features) -> jax.Array:
        width = x.shape[-1] if isinstance(x, jax.Array) else x.num_columns
        kernel = self.param("kernel", glorot_uniform, (width, self.features))
        y = matmul(x, kernel) if isinstance(x, jax.Array) else x @ kernel
        return y + self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else y


class MaskedBatchNorm(nn.Module):
    """BatchNorm over the real rows only (Ioffe and Szegedy, 2015), 0 in the others; [V, H] -> [V, H].

    In place of a mask, the nodes that each row stands for may be given, float [V]: the statistics are theirs then.
    """

    momentum: float

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        # The two-pass variance: sums over neighbours can have means far larger than their spread.
        norm = nn.BatchNorm(momentum=self.momentum, epsilon=1e-5, use_fast_variance=False, name="norm")
        if not train or mask.dtype == bool:
            return _masked(norm(x, use_running_average=not train, mask=mask[:, None] > 0), mask)
        # Flax knows no weights. The statistics of this batch take the place of the running ones while it is normalised.
        weights = mask.astype(x.dtype)[:, None]
        share = weights / jnp.sum(weights)
        mean = jnp.sum(share * x, axis=0)
        seen = {"mean": mean, "var": jnp.sum(share * (x - mean) ** 2, axis=0)}
        running: dict[str, jax.Array] = {name: norm.get_variable("batch_stats", name) for name in seen}
        for name, value in seen.items():
            norm.put_variable("batch_stats", name, value)
        normalized = norm(x, use_running_average=True)
        for name, value in seen.items():
            norm.put_variable("batch_stats", name, self.momentum * running[name] + (1 - self.momentum) * value)
        return _masked(normalized, mask)


def _masked(x: jax.Array, mask: jax.Array) -> jax.Array:
    """0 in rows that are padding.

    All padding edges meet in one node; were it not 0, sums over them would overflow after some layers, and a NaN there,
    masked or not, is a NaN in the loss and in every gradient.
    """
    return jnp.where(mask[:, None] > 0, x, 0)


class GeneralConv(nn.Module):
    """W x_j + W_edge e_ij aggregated over neighbours, plus W_self x_i (You et al., 2020).

    With edge features it is GraphGym's GeneralEdgeConv, whose linear map takes [x_j, e_ij].
    """

    features: int
    aggregation: str

    @nn.compact
    def __call__(self, x: jax.Array, edges: Edges) -> jax.Array:
        rows = Linear(self.features, name="neighbour")(x)
        if edges.features is None:
            neighbours = edges.aggregate(rows, self.aggregation)
        else:
            term = Linear(self.features, name="edge")(edges.features)
            neighbours = edges.aggregate(rows, self.aggregation, lambda rows: rows + term)
        return neighbours + edges.own(Linear(self.features, name="self")(x))


class GCNConv(nn.Module):
    """Symmetrically normalised sum over neighbours and the node itself (Kipf and Welling, 2017, equation 2).

    Weights enter as entries of the adjacency matrix, to which the node itself comes with weight 1. Edge features play
    no part.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, edges: Edges) -> jax.Array:
        scale = jax.lax.rsqrt(edges.strength + 1)[:, None]
        h = scale * Linear(self.features, name="linear")(x)
        return scale * (edges.aggregate(h, "sum") + h)


class SAGEConv(nn.Module):
    """GraphSAGE (Hamilton et al., 2017, algorithm 1): W [x_i, aggregate of x_j], rows scaled to norm 1.

    max is the paper's pooling aggregator (equation 3): a one-layer network on each neighbour, then the maximum.
    The scaling comes before the layer's BatchNorm and activation; it sets sum and mean apart from `GeneralConv`.
    Sum and mean are weighted where edges have weights; edge features play no part.
    """

    features: int
    aggregation: str

    @nn.compact
    def __call__(self, x: jax.Array, edges: Edges) -> jax.Array:
        if self.aggregation == "max":
            pooled = edges.aggregate(nn.relu(Linear(self.features, use_bias=True, name="pool")(x)), "max")
            neighbours = Linear(self.features, name="neighbour")(pooled)
        else:
            # Sum and mean commute with the linear map, and its output is never wider than its input.
            neighbours = edges.aggregate(Linear(self.features, name="neighbour")(x), self.aggregation)
        return l2_normalize(neighbours + edges.own(Linear(self.features, name="self")(x)))


class GINConv(nn.Module):
    """MLP((1 + eps) x_i + aggregate of x_j), eps learnt from 0 (Xu et al., 2019, equation 4.1).

    With edge features it is GINE (Hu et al., 2020): ReLU(x_j + W_edge e_ij) in place of x_j.
    """

    features: int
    aggregation: str

    @nn.compact
    def __call__(self, x: jax.Array, edges: Edges) -> jax.Array:
        eps = self.param("eps", nn.initializers.zeros, ())
        own = (1 + eps) * edges.own(x)
        if edges.features is None:
            h = own + edges.aggregate(x, self.aggregation)
        else:
            term = Linear(x.shape[-1], name="edge")(edges.features)
            h = own + edges.aggregate(x, self.aggregation, lambda rows: nn.relu(rows + term))
        return Linear(self.features, name="second")(nn.relu(Linear(self.features, use_bias=True, name="first")(h)))


class GATConv(nn.Module):
    """Attention over neighbours and the node itself, heads concatenated (Velickovic et al., 2018, equations 1 to 5).

    With edge features, a linear map of them is added to the score of each head; the node itself has none. Weights play
    no part: the attention takes their place.
    """

    features: int
    heads: int

    @nn.compact
    def __call__(self, x: jax.Array, edges: Edges) -> jax.Array:
        shape = (self.heads, self.features // self.heads)
        h = Linear(self.features, name="linear")(x).reshape(-1, *shape)
        init = nn.initializers.glorot_uniform()
        to_sender = (h * self.param("attend_sender", init, shape)).sum(-1)
        to_receiver = (h * self.param("attend_receiver", init, shape)).sum(-1)
        score = to_sender[edges.senders] + to_receiver[edges.receivers]
        if edges.features is not None:
            score = score + Linear(self.heads, name="edge")(edges.features)
        score = nn.leaky_relu(score, 0.2)
        score_self = nn.leaky_relu(to_sender + to_receiver, 0.2)
        # The softmax runs over the edges and the node itself; taking out the maximum changes no value.
        top = jax.lax.stop_gradient(jnp.maximum(edges.max(score), score_self))
        weight, weight_self = jnp.exp(score - top[edges.receivers]), jnp.exp(score_self - top)
        total = edges.sum(weight) + weight_self
        summed = edges.sum(weight[..., None] * h[edges.senders]) + weight_self[..., None] * h
        return (summed / total[..., None]).reshape(-1, self.features)


def convolution(kind: str, features: int, aggregation: str | None, heads: int | None) -> nn.Module:
    """The convolution module of a design, named ``conv``."""
    if kind == "gcn":
        return GCNConv(features, name="conv")
    if kind == "gat":
        assert heads is not None
        return GATConv(features, heads, name="conv")
    assert aggregation is not None
    return {"general": GeneralConv, "sage": SAGEConv, "gin": GINConv}[kind](features, aggregation, name="conv")
