"""One program for many designs: what tells them apart enters as data.

Compiling a design costs seconds on a CPU, often more than training it. A `SharedGNN` is a structure with room for the
most layers of each stage; `Knobs`, scalars on the device, say which layers are used, which activation, whether rows are
summed or averaged, and whether a layer skips. Its outputs and gradients are those of `atjax.model.gnn.GNN`, to
rounding, and so is a training: what is not used has parameters 0 and gradient 0, and Adam leaves it there.

Structures remain apart where sharing would cost time in training: convolution, heads, the maximum against sum and mean,
width, and, for skip_concat, whose layers are of different widths, the number of message-passing layers. Without
skip_concat all layers are of one shape, and are scanned over.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from atjax.batch import Batch, Features
from atjax.model.gnn import GNN, Params, Variables, edges_of, readout
from atjax.model.layers import Edges, Linear, MaskedBatchNorm, convolution, l2_normalize
from atjax.task import Level

ACTIVATIONS = ("relu", "prelu", "leaky_relu", "elu")
"""Activations by number."""

_ROOM = {"pre": 2, "mp": 8, "post": 2}
"""Layers of a stage come in multiples of this, so that designs of the paper's space share them all."""


class Knobs(NamedTuple):
    """What designs of one program differ in: scalars.

    Attributes:
        activation: Number within `ACTIVATIONS`, int32.
        skip: Whether a layer's input is added to its output (skip_sum), bool.
        mean: Whether neighbours are averaged rather than summed, bool.
        pre: Pre-process layers, int32.
        mp: Message-passing layers, int32; not looked at by structures with skip_concat.
        post: Post-process layers before the last linear one, int32.
    """

    activation: Any
    skip: Any
    mean: Any
    pre: Any
    mp: Any
    post: Any


class _Averaged:
    """Edges whose sums over neighbours are divided by a number a node; all else is that of the edges."""

    def __init__(self, edges: Edges, divisor: jax.Array) -> None:
        self._edges, self._divisor = edges, divisor

    def aggregate(self, x: jax.Array, aggregation: str) -> jax.Array:
        assert aggregation == "sum"
        return self._edges.aggregate(x, "sum") / self._divisor[:, None]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._edges, name)


@dataclass(frozen=True)
class SharedGNN:
    """The structure that a program is compiled for; a hashable value.

    Attributes:
        kind: The convolution.
        aggregation: ``max``; ``sum``, which stands for the mean too; None where the convolution fixes it.
        heads: Of gat, else None.
        concat: Whether layers are concatenated with their input.
        hidden: H.
        level: ``node``, ``edge`` or ``graph``.
        num_outputs: C.
        pre: Room for pre-process layers.
        mp: Room for message-passing layers; with ``concat`` their number.
        post: Room for post-process layers before the last linear one.
        momentum: Of the BatchNorm statistics.
    """

    kind: str
    aggregation: str | None
    heads: int | None
    concat: bool
    hidden: int
    level: Level
    num_outputs: int
    pre: int
    mp: int
    post: int
    momentum: float

    @classmethod
    def of(cls, gnn: GNN) -> tuple[SharedGNN, Knobs] | None:
        """The structure that a model shares with others, and what sets it apart.

        None if a model can share nothing: without pre-process or message-passing layers its widths are others.
        """
        design = gnn.design
        if design.pre_layers < 1 or design.mp_layers < 1 or design.activation not in ACTIVATIONS:
            return None
        concat = design.connectivity == "skip_concat"

        def room(stage: str, layers: int) -> int:
            return -(-layers // _ROOM[stage]) * _ROOM[stage]

        structure = cls(
            kind=design.convolution,
            aggregation="sum" if design.aggregation == "mean" else design.aggregation,
            heads=design.heads,
            concat=concat,
            hidden=gnn.hidden,
            level=gnn.level,
            num_outputs=gnn.num_outputs,
            pre=room("pre", design.pre_layers),
            mp=design.mp_layers if concat else room("mp", design.mp_layers),
            post=room("post", design.post_layers - 1),
            momentum=gnn.momentum,
        )
        knobs = Knobs(
            activation=np.int32(ACTIVATIONS.index(design.activation)),
            skip=np.bool_(design.connectivity == "skip_sum"),
            mean=np.bool_(design.aggregation == "mean"),
            pre=np.int32(design.pre_layers),
            mp=np.int32(design.mp_layers),
            post=np.int32(design.post_layers - 1),
        )
        return structure, knobs

    def pack(self, variables: Variables) -> Variables:
        """A model's parameters or statistics as this structure holds them, on the host: 0 where it has no layer."""
        return {collection: self._pack(tree) for collection, tree in variables.items()}

    def _pack(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        tree = jax.tree.map(np.asarray, dict(tree))
        packed = {"out": tree["out"]} if "out" in tree else {}
        layers = {name: self._with_slope(layer) for name, layer in tree.items() if name != "out"}
        inner = self._inner(layers)
        for stage, room in (("pre", self.pre), ("post", self.post)):
            for i in range(room):
                packed[f"{stage}_{i}"] = layers.get(f"{stage}_{i}", inner)
        if self.concat:
            return packed | {f"mp_{i}": layers[f"mp_{i}"] for i in range(self.mp)}
        blank = jax.tree.map(np.zeros_like, layers["mp_0"])
        each = [layers.get(f"mp_{i}", blank) for i in range(self.mp)]
        return packed | {"mp": jax.tree.map(lambda *leaves: np.stack(leaves), *each)}

    def _inner(self, layers: Mapping[str, Any]) -> Any:
        """A dense layer of H inputs with all parameters 0, in the place of one that a model lacks."""
        blank = jax.tree.map(np.zeros_like, layers["pre_0"])
        if "linear" in blank:  # parameters, not statistics
            blank["linear"] = {"kernel": np.zeros((self.hidden, self.hidden), blank["linear"]["kernel"].dtype)}
        return blank

    @staticmethod
    def _with_slope(layer: Mapping[str, Any]) -> dict[str, Any]:
        """Layers of parameters have a slope, whether their activation is prelu or not."""
        if "prelu" in layer or "scale" not in layer["bn"]["norm"]:
            return dict(layer)
        return {**layer, "prelu": {"negative_slope": np.zeros((), layer["bn"]["norm"]["scale"].dtype)}}

    def unpack(self, packed: Variables, like: Variables) -> Variables:
        """The reverse of `pack`, for variables of the structure of ``like``."""

        def layer(tree: Mapping[str, Any], name: str) -> Any:
            if name.startswith("mp_") and not self.concat:
                return jax.tree.map(lambda leaf: leaf[int(name.removeprefix("mp_"))], tree["mp"])
            return tree[name]

        return {
            collection: {name: _parts(layer(packed[collection], name), part) for name, part in tree.items()}
            for collection, tree in like.items()
        }

    def apply(
        self, knobs: Knobs, params: Params, stats: Any, batch: Batch, *, train: bool
    ) -> tuple[jax.Array, Any]:
        """Run the model: outputs as of `GNN`, and the BatchNorm statistics, new ones in training.

        Args:
            knobs: What sets the model apart.
            params: Packed parameters.
            stats: Packed BatchNorm statistics.
            batch: The batch.
            train: Whether BatchNorm normalises by the batch.
        """
        norm = functools.partial(_norm, MaskedBatchNorm(self.momentum), train=train)
        linear, new = Linear(self.hidden), {}

        def dense(p: Params, s: Any, x: Features, mask: jax.Array) -> tuple[jax.Array, Any]:
            h, bn = norm(p["bn"], s["bn"], linear.apply({"params": p["linear"]}, x), mask)
            return activate(knobs.activation, p["prelu"]["negative_slope"], h), {"bn": bn}

        def optional(wanted: Any, layer: Callable[..., tuple[jax.Array, Any]], p: Any, s: Any, x: Any) -> Any:
            return jax.lax.cond(wanted, layer, lambda p, s, x: (x, s), p, s, x)

        def dense_stage(stage: str, room: int, used: Any, x: Any, mask: jax.Array) -> jax.Array:
            for i in range(room):
                name, layer = f"{stage}_{i}", functools.partial(dense, mask=mask)
                # The first one is always there, and its input may be wider than its output.
                run = functools.partial(optional, i < used) if i else lambda layer, *operands: layer(*operands)
                x, new[name] = run(layer, params[name], stats[name], x)
            return cast(jax.Array, x)

        mask = batch.node_mask
        x = dense_stage("pre", self.pre, knobs.pre, batch.graph.nodes, mask)
        edges = edges_of(batch, x)
        if self.aggregation == "sum":
            divisor = jnp.where(knobs.mean, jnp.maximum(edges.degree, 1), 1)
            edges = cast(Edges, _Averaged(edges, divisor))
        module = convolution(self.kind, self.hidden, self.aggregation, self.heads)

        def conv(p: Params, s: Any, x: jax.Array) -> tuple[jax.Array, Any]:
            h, bn = norm(p["bn"], s["bn"], module.apply({"params": p["conv"]}, x, edges), mask)
            h = jnp.concatenate([x, h], axis=-1) if self.concat else jnp.where(knobs.skip, x + h, h)
            return activate(knobs.activation, p["prelu"]["negative_slope"], h), {"bn": bn}

        if self.concat:
            for i in range(self.mp):
                x, new[f"mp_{i}"] = conv(params[f"mp_{i}"], stats[f"mp_{i}"], x)
        else:

            def one(x: jax.Array, layer: Any) -> tuple[jax.Array, Any]:
                number, p, s = layer
                return cast(tuple[jax.Array, Any], optional(number < knobs.mp, conv, p, s, x))

            x, new["mp"] = jax.lax.scan(one, x, (jnp.arange(self.mp), params["mp"], stats["mp"]))
        x, mask = readout(self.level, l2_normalize(x), batch)
        x = dense_stage("post", self.post, knobs.post, x, mask)
        outputs = Linear(self.num_outputs, use_bias=True).apply({"params": params["out"]}, x)
        return cast(jax.Array, outputs), new


def _parts(tree: Any, like: Any) -> Any:
    """What a tree of dictionaries holds under the names of another."""
    return {name: _parts(tree[name], part) for name, part in like.items()} if isinstance(like, Mapping) else tree


def _norm(
    module: MaskedBatchNorm, params: Params, stats: Any, x: jax.Array, mask: jax.Array, *, train: bool
) -> tuple[jax.Array, Any]:
    given = {"params": params, "batch_stats": stats}
    if not train:
        return cast(jax.Array, module.apply(given, x, mask, False)), stats
    y, updated = module.apply(given, x, mask, True, mutable=["batch_stats"])
    return cast(jax.Array, y), updated["batch_stats"]


def activate(which: jax.Array, slope: jax.Array, x: jax.Array) -> jax.Array:
    """The activation of this number within `ACTIVATIONS`, prelu with this slope; any shape.

    Values and gradients are those of `atjax.model.layers.activate`, the gradient at 0 too, where relu has 0 and the
    others 1: columns that never change are exactly 0 after BatchNorm.
    """
    relu, prelu, leaky, elu = (which == number for number in range(len(ACTIVATIONS)))
    straight = jnp.where(relu, x > 0, x >= 0)
    low = jnp.where(straight, 0, x)
    bent = jnp.where(prelu, slope, jnp.where(leaky, 0.1, 0.0)).astype(x.dtype)
    low = jax.lax.cond(elu, jnp.expm1, lambda low: bent * low, low)
    return jnp.where(straight, x, low)
