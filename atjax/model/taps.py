"""What passes through the parameters of the message-passing layers, node by node.

A linear map y = x W, a BatchNorm on fixed statistics y = scale * z + bias and a PReLU y = max(x, 0) + slope * min(x, 0)
act on every node alone. The gradient with respect to their parameters is therefore a sum over nodes of products of an
input (x, z or min(x, 0)) and the gradient delta of the output; so the gradient of one example is that sum over its own
nodes, and one backward pass over a batch of disjoint graphs holds the gradients of them all (Goodfellow, 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from atjax.batch import Batch
from atjax.model.gnn import GNN, Variables
from atjax.model.layers import Linear

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


def tapped(gnn: GNN, variables: Variables, batch: Batch, shifts: Taps | None) -> tuple[jax.Array, Inputs, Taps]:
    """Run a model in evaluation mode and listen.

    Args:
        gnn: The model.
        variables: Its parameters and BatchNorm statistics.
        batch: The batch.
        shifts: Added to the outputs of the tapped modules; the gradient with respect to them is delta.

    Returns:
        Outputs [G, C] or [V, C], the inputs, and the outputs of the tapped modules.
    """
    inputs, outputs = Inputs({}, {}, {}), {}

    def listen(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if context.method_name != "__call__" or not module.path or not module.path[0].startswith("mp_"):
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
        y = call(*args, **kwargs)
        outputs[name] = y
        return y if shifts is None else y + shifts[name]

    with nn.intercept_methods(listen):
        values = gnn.apply(variables, batch)
    assert isinstance(values, jax.Array)
    return values, inputs, outputs
