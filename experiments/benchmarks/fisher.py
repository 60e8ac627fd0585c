"""The Fisher moments of one anchor on a task: the engine against a loop over models and examples.

    python experiments/benchmarks/fisher.py mutag

The baseline differentiates one example of one model a call, with a compiled gradient; it does the same sum over labels.
Both run in this process, one after the other, three times; warm, compilation is reported apart.
"""

from __future__ import annotations

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from atjax import compilation, config
from atjax.batch import BatchShape, bucket, single_batch
from atjax.fisher.diagonal import split_params
from atjax.fisher.engine import design_alpha, fitted
from atjax.fisher.examples import draw_examples
from atjax.model.gnn import apply, build
from atjax.space import ANCHORS


def main() -> None:
    """Print both times, their ratio, and how far the results are apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a graph task")
    parser.add_argument("--anchor", type=int, default=10, help="number of the anchor, from 1")
    arguments = parser.parse_args()
    task, settings = config.load_task(arguments.task), config.load("fisher", "default")
    anchor = ANCHORS[arguments.anchor - 1]
    examples = draw_examples(task, settings, 0)
    gnn = build(anchor, hidden=settings.hidden, level=task.level, num_outputs=task.num_outputs)
    variables = fitted(gnn, task, examples, settings)
    train = task.split(0).train
    graphs = task.graphs
    shape = BatchShape(2, bucket(int(graphs.n_node[train].max()) + 1), bucket(int(graphs.n_edge[train].max())))
    singles = [single_batch(graphs.take(np.array([graph])), shape) for graph in train]

    @jax.jit
    def score(model, batch, label):  # type: ignore[no-untyped-def]
        theta, others = split_params(model["params"])

        def log_p(theta):  # type: ignore[no-untyped-def]
            logits = apply(gnn, {**model, "params": {**others, **theta}}, batch)[0]
            return jax.nn.log_softmax(logits)[label]

        value, gradient = jax.value_and_grad(log_p)(theta)
        return jnp.exp(value), ravel_pytree(gradient)[0]

    def baseline() -> np.ndarray:
        alphas = []
        for seed in range(settings.seeds):
            model = jax.tree.map(lambda leaf, seed=seed: leaf[seed], variables)
            diagonal = 0.0
            for batch in singles:
                for label in range(task.num_outputs):
                    p, s = score(model, batch, label)
                    diagonal = diagonal + p * s**2 / len(singles)
            diagonal = np.asarray(diagonal, np.float64)
            alphas.append(np.mean(diagonal**2) / np.mean(diagonal) ** 2)
        return np.array(alphas)

    def timed(function) -> tuple[np.ndarray, float]:  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        return function(), time.perf_counter() - start

    with compilation.counting() as compiled:
        design_alpha(task, anchor, examples, settings)
    baseline()
    times: dict[str, list[float]] = {"engine": [], "loop": []}
    for _ in range(3):
        fast, seconds = timed(lambda: design_alpha(task, anchor, examples, settings))
        times["engine"].append(seconds)
        slow, seconds = timed(baseline)
        times["loop"].append(seconds)
    ratios = [loop / engine for loop, engine in zip(times["loop"], times["engine"])]
    print(
        f"{task.name}, anchor {arguments.anchor}, {len(train)} graphs, {settings.seeds} models, width {settings.hidden}"
    )
    print(
        f"engine {statistics.median(times['engine']):.2f} s (fit of the last layer included), loop "
        f"{statistics.median(times['loop']):.2f} s, ratio {min(ratios):.1f} to {max(ratios):.1f}"
    )
    print(f"compilation {compiled.seconds:.1f} s; alpha differs by at most {np.max(np.abs(fast / slow - 1)):.1e}")


if __name__ == "__main__":
    main()
