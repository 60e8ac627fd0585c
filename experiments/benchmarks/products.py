"""The per-example products X_i^T D_i by themselves: their rate as a share of the matrix-product peak.

    taskset -c 0 python experiments/benchmarks/products.py cox2 --anchors 2 3 5 9 --hidden 256 --examples 128

The engine's products of one batch of graphs, with the squares and sums that follow them, against the product of two
square matrices; and, for what bounds them, the same products without squares and sums. Processor time of one core; all
take turns, and the best of the rounds counts. ``padded`` counts the work that is done, ``useful`` that of real nodes.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from atjax import config
from atjax.fisher import disjoint
from atjax.fisher.config import FisherConfig
from atjax.fisher.estimators import Fitted
from atjax.fisher.examples import draw_examples
from atjax.fisher.preparation import fitted
from atjax.fisher.slots import SlotIndex
from atjax.model.gnn import Variables, build
from atjax.products import einsum, matmul
from atjax.space import ANCHORS
from atjax.task import Task

SQUARE = 1024


def compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """A compiled call on one thread."""
    program = jax.jit(function).lower(*arguments).compile({"xla_cpu_multi_thread_eigen": False})
    return lambda: program(*arguments)


def cases(
    task: Task, number: int, settings: FisherConfig
) -> tuple[dict[str, tuple[Callable[[], Any], float]], float, tuple[tuple[int, int], ...]]:
    """What to time, each with the floating-point operations it does; the share of real nodes; the sizes of places."""
    gnn = build(ANCHORS[number - 1], hidden=settings.hidden, level=task.level, num_outputs=task.num_outputs)
    examples = draw_examples(task, settings, 0)
    models = Fitted(gnn, task, fitted(gnn, task, examples, settings), examples)
    model = jax.tree.map(lambda leaf: leaf[0], models.variables)
    placed = examples.placed
    assert placed is not None
    index = jax.tree.map(lambda leaf: leaf[0], placed)

    def through(model: Variables, index: SlotIndex) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        passes = disjoint.Passes.over(gnn, models.cotangents("exact"), model, models.data, placed)
        layouts.append(passes.layout)
        return passes.through(index).maps[0]

    layouts: list[disjoint.Layout] = []
    xs, ds = jax.jit(through)(model, index)
    zeros = layouts[0].zeros(jnp.float32).maps[0]
    slots, here = placed.slots, index.places
    done = int(np.sum(here.n_node))

    def engine(xs: tuple[jax.Array, ...], ds: tuple[jax.Array, ...], sums: jax.Array) -> jax.Array:
        return disjoint._add_blocks(sums, xs, ds, here)

    def whole(xs: tuple[jax.Array, ...], ds: tuple[jax.Array, ...], sums: jax.Array) -> jax.Array:
        return disjoint._add_whole(sums, xs, ds, here)

    def alone(x: jax.Array, d: jax.Array) -> jax.Array:
        def product(_: jax.Array, rows: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            return jax.lax.optimization_barrier(einsum("nt,nh->th", *rows)), None

        return jax.lax.scan(product, jnp.zeros((x.shape[2], d.shape[2])), (x, d))[0]

    places, nodes = max(slots.groups, key=lambda group: group[0] * group[1])
    tile, width = zeros.shape[1:]
    directions = ds[0].shape[1]
    key = jax.random.key(0)
    block = (
        jax.random.normal(key, (places, nodes, tile)),
        jax.random.normal(key, (places, nodes, directions * width)),
    )
    square = jax.random.normal(key, (SQUARE, SQUARE))
    work = 2.0 * done * directions * zeros.size
    real = float(np.sum(index.node_mask)) / done
    return (
        {
            "square matrices": (compiled(lambda a: matmul(a, a), square), 2.0 * SQUARE**3),
            "engine": (compiled(engine, xs, ds, zeros), work),
            "all examples at once": (compiled(whole, xs, ds, zeros), work),
            "one block, products alone": (compiled(alone, *block), 2.0 * places * nodes * tile * width * directions),
        },
        real,
        slots.groups,
    )


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a graph task")
    parser.add_argument("--anchors", nargs="+", type=int, default=[2, 3, 5, 9])
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    task = config.load_task(arguments.task)
    passes = arguments.examples * (task.num_outputs - (task.loss == "cross_entropy"))
    settings = dataclasses.replace(
        config.load("fisher", "alpha"),
        hidden=arguments.hidden,
        seeds=1,
        max_passes={"graph": passes, "node": passes},
        estimator={"graph": "exact", "node": "exact"},
    )
    for number in arguments.anchors:
        timed, real, sizes = cases(task, number, settings)
        best = dict.fromkeys(timed, np.inf)
        for _ in range(arguments.rounds):
            for name, (call, _) in timed.items():
                jax.block_until_ready(call())
                start = time.process_time()
                jax.block_until_ready(call())
                best[name] = min(best[name], time.process_time() - start)
        rates = {name: work / best[name] / 1e9 for name, (_, work) in timed.items()}
        peak = rates["square matrices"]
        print(f"anchor {number}, width {settings.hidden}, places {sizes}: peak {peak:.0f} GFLOP/s; ", end="")
        print(
            "; ".join(f"{name} {rate:.0f} ({rate / peak:.0%})" for name, rate in rates.items() if rate != peak), end=""
        )
        print(f"; engine, useful {rates['engine'] * real:.0f} ({rates['engine'] * real / peak:.0%})", flush=True)


if __name__ == "__main__":
    main()
