"""What passes through the parameters of the message-passing layers, node by node.

A linear map y = x W, a BatchNorm on fixed statistics y = scale * z + bias and a PReLU y = max(x, 0) + slope * min(x, 0)
act on every node alone. The gradient with respect to their parameters is therefore a sum over nodes of products of an
input (x, z or min(x, 0)) and the gradient delta of the output; so the gradient of one example is that sum over its own
nodes, and one backward pass over a batch of disjoint graphs holds the gradients of them all (Goodfellow, 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from atjax.batch import Batch
from atjax.model.gnn import GNN, Variables
from atjax.model.layers import Linear
from atjax.products import matmul

Taps = dict[str, jax.Array]
"""One array [V, ...] for each tapped module, by its path."""


class Inputs(NamedTuple):
    """What the parameters are multiplied with.

    Attributes:
        linear: x of every linear map, [V, d]. Maps of the same x hold the same array.
        norm: z of every BatchNorm, [V, H].
        slope: min(x, 0) of every PReLU, [V, H].
    """

    linear: Taps
    norm: Taps
    slope: Taps


@contextmanager
def linear_outputs() -> Iterator[Taps]:
    """What the linear maps of message passing yield, [V, H], while a model runs."""
    noted: Taps = {}

    def listen(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        y = call(*args, **kwargs)
        if isinstance(context.module, Linear) and context.method_name == "__call__" and _in_theta(context.module):
            noted["/".join(context.module.path)] = y
        return y

    with nn.intercept_methods(listen):
        yield noted


def _in_theta(module: nn.Module) -> bool:
    """Whether its parameters are those of message passing."""
    return bool(module.path) and module.path[0].startswith("mp_")


def round_of(name: str) -> int:
    """The message-passing layer that a module belongs to, from 0."""
    return int(name.split("/")[0].removeprefix("mp_"))


@jax.custom_vjp
def _known(x: jax.Array, kernel: jax.Array, y: jax.Array) -> jax.Array:
    """The product of the first two, which is known to be the third; its gradient with respect to x alone."""
    return y


def _known_forward(x: jax.Array, kernel: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    return y, kernel


def _known_backward(kernel: jax.Array, delta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return matmul(delta, kernel.T), jnp.zeros_like(kernel), jnp.zeros_like(delta)


_known.defvjp(_known_forward, _known_backward)


def tapped(
    gnn: GNN, variables: Variables, batch: Batch, shifts: Taps | None, known: Taps | None = None
) -> tuple[jax.Array, Inputs, Taps]:
    """Run a model in evaluation mode and listen.

    Args:
        gnn: The model.
        variables: Its parameters and BatchNorm statistics.
        batch: The batch.
        shifts: Added to the outputs of the tapped modules; the gradient with respect to them is delta.
        known: Outputs of linear maps without bias, which need not be computed then.

    Returns:
        Outputs [G, C] or [V, C], the inputs, and the outputs of the tapped modules.
    """
    inputs, outputs = Inputs({}, {}, {}), {}

    def listen(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if context.method_name != "__call__" or not _in_theta(module):
            return call(*args, **kwargs)
        name = "/".join(module.path)
        if isinstance(module, Linear):
            inputs.linear[name] = args[0]
        elif isinstance(module, nn.PReLU):
            inputs.slope[name] = jnp.minimum(args[0], 0)
        elif isinstance(module, nn.BatchNorm):
            statistics = module.variables["batch_stats"]
            spread = jax.lax.rsqrt(statistics["var"] + module.epsilon)
            inputs.norm[name] = (args[0] - statistics["mean"]) * spread
        else:
            return call(*args, **kwargs)
        if known is not None and name in known:
            y = _known(args[0], module.variables["params"]["kernel"], known[name])
        else:
            y = call(*args, **kwargs)
        outputs[name] = y
        return y if shifts is None else y + shifts[name]

    with nn.intercept_methods(listen):
        values = gnn.apply(variables, batch)
    assert isinstance(values, jax.Array)
    return values, inputs, outputs
