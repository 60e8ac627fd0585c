"""Aggregation over neighbours, forward and backward: gathers by lists against gathering and scattering every message.

    python experiments/benchmarks/aggregation.py coauthor_physics

Both compute the same sums and maxima of random rows [V, H], and their gradients, in this process, in turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from atjax import config
from atjax.neighbours import gather_max, gather_sum, lists

ROUNDS = 7


def scatter(x: jax.Array, senders: jax.Array, receivers: jax.Array, kind: str) -> jax.Array:
    """Gather the messages of all edges, and scatter them to their receivers."""
    reduce = jax.ops.segment_sum if kind == "sum" else jax.ops.segment_max
    out = reduce(x[senders], receivers, len(x), indices_are_sorted=True)
    return jnp.where(jnp.isfinite(out), out, 0)


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a node task")
    parser.add_argument("--width", type=int, default=64, help="H")
    arguments = parser.parse_args()
    graphs = config.load_task(arguments.task).graphs
    nodes = int(graphs.n_node.sum())
    x, weight = jnp.asarray(np.random.default_rng(0).normal(size=(2, nodes, arguments.width)), jnp.float32)
    edges = (jnp.asarray(graphs.senders), jnp.asarray(graphs.receivers))
    near = jax.tree.map(jnp.asarray, lists(graphs.senders, graphs.receivers, nodes))

    def with_gradient(aggregate: Callable[..., jax.Array]) -> Callable[..., tuple[jax.Array, jax.Array]]:
        return jax.jit(jax.value_and_grad(lambda x, *data: jnp.sum(aggregate(x, *data) * weight)))

    print(f"{arguments.task}: {nodes} nodes, {len(graphs.senders)} directed edges, width {arguments.width}")
    for kind, gather in (("sum", gather_sum), ("max", gather_max)):
        calls = {
            "gather": (with_gradient(gather), (x, near)),
            "scatter": (with_gradient(lambda x, s, r, kind=kind: scatter(x, s, r, kind)), (x, *edges)),
        }
        results = {name: jax.block_until_ready(function(*data)) for name, (function, data) in calls.items()}
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(ROUNDS):
            for name, (function, data) in calls.items():
                start = time.perf_counter()
                jax.block_until_ready(function(*data))
                times[name].append(time.perf_counter() - start)
        ratios = [slow / fast for slow, fast in zip(times["scatter"], times["gather"])]
        apart = float(jnp.max(jnp.abs(results["gather"][1] - results["scatter"][1])))
        gather_ms, scatter_ms = (1000 * statistics.median(times[name]) for name in ("gather", "scatter"))
        print(
            f"{kind}: gather {gather_ms:.1f} ms, scatter {scatter_ms:.1f} ms, ratio {min(ratios):.1f} to "
            f"{max(ratios):.1f}; gradients differ by at most {apart:.1e}"
        )


if __name__ == "__main__":
    main()
