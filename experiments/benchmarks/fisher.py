"""Per-example Fisher moments of the anchors: atjax's engine against the usual ways to get them, in one run.

    python experiments/benchmarks/fisher.py cox2 --anchors 2 5 --hidden 256 --examples 128
    python experiments/benchmarks/fisher.py cora --anchors all --json cora.json
    python experiments/benchmarks/fisher.py cox2 --anchors 2 --scaling folder

All are given the same models, with BatchNorm calibrated and the last layer fitted (the time of that is told apart, and
so is that of alpha's standard error), and the same examples. Each computes alpha of every model from sum f_i and
sum f_i^2 over the examples, with the exact expectation over labels (C - 1 backward passes an example):

    engine      atjax, the estimator `exact`
    sketch      atjax, the estimator `sign_sketch` (the default of node tasks): of all training nodes, with an error
    jax loop    a compiled gradient, one example of one model a call
    jax vmap    vmap(grad) over padded graphs; for nodes that is what `exact` does
    torch loop  PyTorch autograd, one example of one model after the other
    torch vmap  torch.func: vmap(vjp) over padded graphs, or vmap of the pullback over nodes

PyTorch is optional (`pip install torch`); parameters are copied into the same architecture written in it, and the
outputs have to agree to 1e-10 in float64. ``cold`` is the first call, compilation included; ``warm`` the median of
rounds in each of which all methods run once, so that their ratios are of neighbours in time; ``cpu``, the processor
time of the same rounds, shows whether the machine was shared. GFLOP/s counts the products X_i^T D_i alone, the weight
gradients of each example, over the whole time; the peak is that of a product of square matrices in full precision.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from methods import METHODS, Problem, names, torch, torch_models
from rich.console import Console
from rich.table import Table
from scaling import scaling

from atjax import compilation, config, runtime
from atjax.atomic import write_text
from atjax.fisher import statistics as fisher_statistics
from atjax.fisher.config import FisherConfig
from atjax.fisher.engine import anchor_alpha, evaluate
from atjax.fisher.estimators import Fitted, moments
from atjax.fisher.examples import draw_examples
from atjax.fisher.preparation import fitted, random_models
from atjax.model.gnn import build
from atjax.products import matmul
from atjax.space import ANCHORS
from atjax.task import Task

TOLERANCE = 1e-3
"""By how much alpha of the methods may differ, relatively: sums in single precision, in another order."""

DEFAULT = {"graph": "exact", "node": "sign_sketch"}
"""Estimators of the feature."""


@dataclass(frozen=True)
class Measurement:
    """Times of one method on one anchor, in seconds, a round each; ``ratio`` is to the engine's."""

    method: str
    anchor: int
    examples: int  # that the result is of
    cold: float
    compiling: float
    compilations: int
    warm: list[float]
    cpu: list[float]  # of this process, all threads, in the warm rounds
    ratio: list[float]
    cpu_ratio: list[float]
    milliseconds: float  # an example and seed
    gflops: float  # of the per-example products
    deviation: float  # of alpha, relative to the engine's, at most
    outputs: float  # how far the model's float32 outputs are from JAX's, relative, at most

    @property
    def median(self) -> float:
        """Warm time."""
        return statistics.median(self.warm)

    @property
    def wrong(self) -> bool:
        """Whether alpha is another than the engine's. A sketch has an error of its own."""
        return self.method != "sketch" and not self.deviation < TOLERANCE


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a function returns, how long it takes, and the processor time of that."""
    start, busy = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(function())
    return result, time.perf_counter() - start, time.process_time() - busy


def measure(problem: Problem, anchor: int, chosen: Sequence[str], rounds: int) -> list[Measurement]:
    """All methods on one anchor."""
    methods = {name: METHODS[name](problem) for name in chosen}
    cold, compiled, alpha = {}, {}, {}
    for name, method in methods.items():
        with compilation.counting(everywhere=True) as compiled[name]:
            alpha[name], cold[name], _ = timed(method)
    warm: dict[str, list[float]] = {name: [] for name in methods}
    cpu: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        for name, method in methods.items():
            _, seconds, busy = timed(method)
            warm[name].append(seconds)
            cpu[name].append(busy)
    result = []
    for name, times in warm.items():
        median, covered = statistics.median(times), problem.covered(name)
        result.append(
            Measurement(
                name,
                anchor,
                covered,
                cold[name],
                compiled[name].seconds,
                compiled[name].count,
                times,
                cpu[name],
                [own / reference for own, reference in zip(times, warm["engine"])],
                [own / reference for own, reference in zip(cpu[name], cpu["engine"])],
                1e3 * median / (covered * problem.seeds),
                problem.flops(name) / median / 1e9,
                float(np.max(np.abs(alpha[name] / alpha["engine"] - 1))),
                torch_models(problem)[1] if name.startswith("torch") else 0.0,
            )
        )
    return result


def matmul_peak(repeats: int = 7) -> float:
    """Best rate of a compiled product of square matrices in full float32, GFLOP/s."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
    product = jax.jit(lambda a: matmul(a, a))
    timed(lambda: product(a))
    return 2 * size**3 / min(timed(lambda: product(a))[1] for _ in range(repeats)) / 1e9


def prepared(task: Task, number: int, settings: FisherConfig, chunk: int) -> tuple[Problem, dict[str, float]]:
    """The problem of an anchor, and the seconds of calibration and fit."""
    gnn = build(ANCHORS[number - 1], hidden=settings.hidden, level=task.level, num_outputs=task.num_outputs)

    def models(settings: FisherConfig) -> tuple[Fitted, float, float]:
        examples = draw_examples(task, settings, 0)
        fit = functools.partial(fitted, gnn, task, examples, settings)
        variables, cold, _ = timed(fit)
        return Fitted(gnn, task, variables, examples), cold, timed(fit)[1]

    exact, cold, warm = models(settings)
    sketching = dataclasses.replace(settings, estimator=DEFAULT)
    sketched = (models(sketching)[0], sketching) if task.level == "node" else None
    return Problem(ANCHORS[number - 1], exact, settings, sketched, chunk), {"fit_cold": cold, "fit_warm": warm}


def concluded(problem: Problem) -> dict[str, float]:
    """The seconds of alpha with its standard error from the engine's moments, and that error, relative."""
    form = moments(*(problem.sketched or (problem.models, problem.settings)))
    statistic = functools.partial(evaluate, fisher_statistics.alpha, form)
    (value, error), cold, _ = timed(statistic)
    relative = float(np.sqrt(np.mean((error / value) ** 2)))
    return {"statistic_cold": cold, "statistic_warm": timed(statistic)[1], "standard_error": relative}


def spread(values: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def table(rows: list[Measurement], peak: float, title: str) -> Table:
    """One row a method and anchor."""
    result = Table(title=title, title_justify="left")
    result.add_column("anchor", justify="right")
    result.add_column("method")
    for heading in (
        "N",
        "cold s",
        "compile s (n)",
        "warm s",
        "cpu s",
        "ms/ex/seed",
        "time / engine's",
        "cpu / engine's",
        "GFLOP/s",
        "of peak",
        "alpha off",
        "logits off",
    ):
        result.add_column(heading, justify="right")
    for row, after in zip(rows, [*rows[1:], None]):
        result.add_row(
            str(row.anchor),
            row.method,
            str(row.examples),
            f"{row.cold:.2f}",
            f"{row.compiling:.2f} ({row.compilations})",
            f"{row.median:.3f}",
            f"{statistics.median(row.cpu):.3f}",
            f"{row.milliseconds:.2f}",
            spread(row.ratio),
            spread(row.cpu_ratio),
            f"{row.gflops:.1f}",
            f"{row.gflops / peak:.1%}",
            f"{row.deviation:.0e}",
            f"{row.outputs:.0e}" if row.outputs else "",
            end_section=after is not None and after.anchor != row.anchor,
        )
    return result


def totals(rows: list[Measurement]) -> list[str]:
    """Over all anchors: each method's time, and its ratio to the engine's with its range over rounds."""
    result = []
    engine = np.sum([row.warm for row in rows if row.method == "engine"], axis=0)
    for name in dict.fromkeys(row.method for row in rows):
        own = np.sum([row.warm for row in rows if row.method == name], axis=0)
        result.append(f"{name} {np.median(own):.2f} s warm, {spread((own / engine).tolist())} x")
    return result


def whole_feature(task: Task, settings: FisherConfig, rounds: int) -> dict[str, Any]:
    """Seconds of `anchor_alpha` of all anchors, cold and warm; compilations of all threads, whose seconds overlap."""
    jax.clear_caches()
    random_models.cache_clear()
    with compilation.counting(everywhere=True) as compiled:
        cold = timed(lambda: anchor_alpha(task, settings))[1]
    warm = [timed(lambda: anchor_alpha(task, settings)) for _ in range(rounds)]
    return {
        "estimator": settings.estimator[task.level],
        "cold": cold,
        "compiling": compiled.seconds,
        "compilations": compiled.count,
        "warm": [seconds for _, seconds, _ in warm],
        "cpu": [busy for _, _, busy in warm],
    }


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a graph or node task, such as cox2 or cora")
    parser.add_argument("--anchors", nargs="+", default=["2"], help="numbers from 1, or all")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--examples", type=int, help="default 128 graphs, or 16 nodes")
    parser.add_argument("--draws", type=int, default=16, help="of the sketch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk", type=int, help="nodes in flight where vmapped; default 512, or 4096 on a GPU")
    parser.add_argument("--skip", nargs="*", default=[], help="methods to leave out, such as jax-loop torch-vmap")
    parser.add_argument("--json", type=Path, metavar="FILE", help="for the numbers")
    parser.add_argument("--scaling", type=Path, metavar="FOLDER", help="measure the engine's scaling, and that alone")
    parser.add_argument("--counts", nargs="+", type=int, default=[32, 64, 128, 256, 374], help="of --scaling")
    parser.add_argument("--widths", nargs="+", type=int, default=[16, 32, 64, 128], help="of --scaling")
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, store the numbers."""
    arguments = parsed()
    if torch is not None:
        # Both libraries are to find room on a GPU; set before JAX first looks at one.
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    console = Console(width=180)
    task = config.load_task(arguments.task)
    anchors = range(1, len(ANCHORS) + 1) if arguments.anchors == ["all"] else [int(a) for a in arguments.anchors]
    count = arguments.examples or (128 if task.level == "graph" else 16)
    passes = count * (task.num_outputs - (task.loss == "cross_entropy"))
    settings = dataclasses.replace(
        config.load("fisher", "alpha"),
        hidden=arguments.hidden,
        seeds=arguments.seeds,
        draws=arguments.draws,
        estimator={"graph": "exact", "node": "exact"},
        max_passes={"graph": passes, "node": passes},
    )
    if arguments.scaling:
        scaling(task, anchors[0], settings, arguments, console)
        return
    chosen = [name for name in names(task.level) if name == "engine" or name.replace(" ", "-") not in arguments.skip]
    if torch is None:
        console.print("PyTorch is not installed; its methods are left out.")
    chunk = arguments.chunk or (512 if jax.default_backend() == "cpu" else 4096)
    record: dict[str, Any] = {
        "task": task.name,
        "seeds": settings.seeds,
        "hidden": settings.hidden,
        "draws": settings.draws,
        "cores": len(os.sched_getaffinity(0)),
        "device": runtime.device(),
        "versions": runtime.versions() | {"torch": None if torch is None else torch.__version__},
        "peak_gflops": matmul_peak(),
        "fits": [],
        "whole": {},
        "rows": [],
    }

    def keep() -> None:
        if arguments.json:
            write_text(arguments.json, json.dumps(record, indent=1) + "\n")

    rows: list[Measurement] = []
    for number in anchors:
        problem, seconds = prepared(task, number, settings, chunk)
        record |= {"examples": len(problem.ids), "population": problem.examples.population}
        here = measure(problem, number, chosen, arguments.rounds)
        record["fits"].append({"anchor": number, **seconds, **concluded(problem)})
        console.print(f"anchor {number}: " + ", ".join(f"{row.method} {row.median:.2f} s" for row in here))
        rows += here
        record["rows"] += [dataclasses.asdict(row) for row in here]
        keep()
    record["peak_gflops"] = peak = max(record["peak_gflops"], matmul_peak())
    title = (
        f"{task.name}: {record['examples']} of {record['population']} examples, {settings.seeds} seeds, hidden "
        f"{settings.hidden}; {record['device']}, {record['cores']} cores; matrix product {peak:.0f} GFLOP/s"
    )
    console.print(table(rows, peak, title))
    for each in record["fits"]:
        console.print(
            "anchor {anchor}: calibration and fit {fit_cold:.2f} s cold, {fit_warm:.2f} s warm; alpha and its standard "
            "error ({standard_error:.1%}) {statistic_cold:.2f} s cold, {statistic_warm:.3f} s warm".format(**each)
        )
    if len(anchors) > 1:
        console.print("Sum: " + "; ".join(totals(rows)))
    if len(anchors) == len(ANCHORS):
        whole = record["whole"] = whole_feature(
            task, dataclasses.replace(settings, estimator=DEFAULT), arguments.rounds
        )
        console.print(
            f"Whole feature ({whole['estimator']}), all anchors side by side: {whole['cold']:.1f} s cold "
            f"({whole['compilations']} compilations, {whole['compiling']:.1f} s in all threads together), "
            f"{spread(whole['warm'])} s warm, processor {spread(whole['cpu'])} s"
        )
    keep()
    wrong = [f"{row.method} of anchor {row.anchor} by {row.deviation:.1e}" for row in rows if row.wrong]
    if wrong:
        raise SystemExit(f"alpha is another than the engine's: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
