"""Products of all pairs of score rows, from batches of disjoint graphs and from rows held in full.

    taskset -c 0 python experiments/benchmarks/spectrum.py cox2 --anchors 2 5 9 [--hidden 256 --examples 128]

One model, in one process on one core: processor time of a warm call, the best of some rounds; and of the cold one,
which compiles. Memory is what the compiled programs ask for beside arguments and results.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import jax
import numpy as np

from atjax import config
from atjax.fisher.estimators import Fitted, _products
from atjax.fisher.examples import Chunk, draw_examples
from atjax.fisher.preparation import fitted
from atjax.model.gnn import build
from atjax.space import ANCHORS


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a graph task")
    parser.add_argument("--anchors", nargs="+", type=int, default=[2, 5, 9], help="numbers of anchors, from 1")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--examples", type=int, default=512, help="at most so many backward passes")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    task = config.load_task(chosen.task)
    settings = dataclasses.replace(
        config.load("fisher", "alpha"),
        hidden=chosen.hidden,
        seeds=1,
        max_passes={"graph": chosen.examples, "node": chosen.examples},
    )
    examples = draw_examples(task, settings, 0)
    for number in chosen.anchors:
        gnn = build(ANCHORS[number - 1], hidden=chosen.hidden, level=task.level, num_outputs=task.num_outputs)
        models = Fitted(gnn, task, fitted(gnn, task, examples, settings), examples)
        ways = {"rows in full": examples.layouts(None), "batches": examples.layouts(models.depth)}
        found, spent, spectra = {}, {}, {}
        for name, layouts in ways.items():
            found[name] = compiled, seconds = _compiled(models, layouts)
            spectra[name] = np.linalg.eigvalsh(np.asarray(compiled(*_arguments(models, layouts)))[0])[
                -examples.sampled :
            ]
            spent[name] = np.inf
            print(f"anchor {number}, {name}: compiling {seconds:.1f} s, {_memory(compiled):.0f} MB", flush=True)
        for _ in range(chosen.rounds):
            for name, layouts in ways.items():
                start = time.process_time()
                jax.block_until_ready(found[name][0](*_arguments(models, layouts)))
                spent[name] = min(spent[name], time.process_time() - start)
        full, batches = (spectra[name] for name in ways)
        print(
            f"anchor {number}, {sum(layer.size for layer in models.layers)} parameters, {examples.sampled} examples: "
            + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in spent.items())
            + f": {spent['rows in full'] / spent['batches']:.1f} times as fast; eigenvalues differ by at most "
            f"{np.abs(full - batches).max() / full.max():.0e} of the largest",
            flush=True,
        )


def _arguments(models: Fitted, layouts: tuple[Chunk, ...]) -> tuple[object, ...]:
    return models.cotangents("exact"), models.variables, models.data, layouts


def _compiled(models: Fitted, layouts: tuple[Chunk, ...]) -> tuple[jax.stages.Compiled, float]:
    """The program, and the processor time that it took."""
    start = time.process_time()
    program = jax.jit(_products.__wrapped__, static_argnames=("gnn", "count"))
    lowered = program.lower(models.gnn, *_arguments(models, layouts), count=models.examples.sampled)
    return lowered.compile(), time.process_time() - start


def _memory(compiled: jax.stages.Compiled) -> float:
    """Megabytes of temporary arrays."""
    analysis = compiled.memory_analysis()
    return analysis.temp_size_in_bytes / 1e6


if __name__ == "__main__":
    main()
