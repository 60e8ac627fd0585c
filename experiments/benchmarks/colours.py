"""What colour refinement saves: rows of a forward pass, nodes of an example, and seconds.

    python experiments/benchmarks/colours.py
    python experiments/benchmarks/colours.py --time cox2 imdb_multi --hidden 256 --anchors 1 2 5
    python experiments/benchmarks/colours.py --train cox2 imdb_multi

Rows: colours of all training graphs after so many rounds, as a share of their nodes. Nodes: of their quotients. Times:
calibration by nodes and by colours, and the sums over examples by graphs and by quotients; or trainings by graphs and
by quotients, budget `quick`. In one process, in turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from atjax import config, refinement, train
from atjax.fisher.estimators import Fitted, moments
from atjax.fisher.examples import Examples, Taken, draw_examples, nodes_in_flight
from atjax.fisher.preparation import fitted, prepare, starting_models
from atjax.fisher.slots import in_places
from atjax.model.gnn import build
from atjax.refinement import Colours, Quotient
from atjax.space import ANCHORS
from atjax.task import Task

TASKS = (
    *("cox2", "bzr", "mutag", "aids", "nci1", "mutagenicity", "ptc_mr"),
    *("proteins", "enzymes", "imdb_binary", "imdb_multi", "msrc_9", "dd"),
)
SHOWN = (0, 1, 2, 3, 4, 6, 8)


def shares(task: Task) -> None:
    """Print rows and nodes as shares of the nodes."""
    graphs = task.graphs.dense().take(task.split(0).train)
    total, start = len(graphs.nodes), time.perf_counter()
    colours = Colours.refine(graphs, max(SHOWN))
    rows = [(colours.stages[colours.stage[k]].max() + 1) / total for k in SHOWN]
    nodes = len(Quotient.of(graphs).nodes) / total
    seconds = time.perf_counter() - start
    print(f"{task.name:14} {total:7}  {'  '.join(f'{row:5.1%}' for row in rows)}   {nodes:4.0%}   {seconds:.2f} s")


def by_graphs(task: Task, examples: Examples, settings: Any) -> Examples:
    """The same examples as the graphs themselves, in place of their quotients."""
    taken = Taken.of(task, settings, 0)
    return dataclasses.replace(
        examples, placed=jax.device_put(in_places(task.graphs, taken.parts(), nodes_in_flight(settings)))
    )


def best(rounds: int, *calls: Callable[[], Any]) -> list[float]:
    """Processor seconds of each, the best of so many rounds after one to compile."""
    found = [np.inf] * len(calls)
    for number in range(rounds + 1):
        for place, call in enumerate(calls):
            start = time.process_time()
            jax.block_until_ready(call())
            if number:
                found[place] = min(found[place], time.process_time() - start)
    return found


def timed(task: Task, number: int, settings: Any, rounds: int) -> None:
    """Print seconds of one anchor."""
    task = dataclasses.replace(task, graphs=task.graphs.dense())
    examples = draw_examples(task, settings, 0)
    gnn = build(ANCHORS[number - 1], hidden=settings.hidden, level=task.level, num_outputs=task.num_outputs)
    start = starting_models(gnn, task, settings)
    variables = fitted(gnn, task, examples, settings)
    before, after = best(
        rounds,
        lambda: prepare(gnn, start, examples.batch, examples.rows),
        lambda: prepare(gnn, start, examples.fitting(gnn), examples.rows),
    )
    assert examples.placed is not None
    anew = dataclasses.replace(examples, placed=dataclasses.replace(examples.placed, recalled=()))
    forms = [Fitted(gnn, task, variables, each) for each in (by_graphs(task, examples, settings), anew, examples)]
    whole, small, known = best(rounds, *(functools.partial(moments, each, settings) for each in forms))
    recalled = f", {known:.3f} s with what calibration knows" if "linear" in variables else ""
    print(
        f"{task.name}, width {settings.hidden}, anchor {number}, {settings.seeds} models: calibration {before:.3f} s "
        f"by nodes, {after:.3f} s by colours ({before / after:.1f} times); sums {whole:.3f} s by graphs, {small:.3f} s "
        f"by quotients ({whole / small:.1f} times){recalled}",
        flush=True,
    )


def trained(task: Task, number: int, rounds: int) -> None:
    """Print seconds of the training of one anchor."""
    budget, limit = config.load("budget", "quick"), refinement.MOST_NODES

    def training(most: float) -> None:
        refinement.MOST_NODES = most
        train.fit(task, ANCHORS[number - 1], budget=budget)

    whole, small = best(rounds, functools.partial(training, 0), functools.partial(training, 1))
    refinement.MOST_NODES = limit
    print(
        f"{task.name}, anchor {number}: a training takes {whole:.2f} s by graphs, {small:.2f} s by quotients "
        f"({whole / small:.2f} times)",
        flush=True,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", nargs="+", metavar="TASK", help="time these in place of counting rows")
    parser.add_argument("--train", nargs="+", metavar="TASK", help="time trainings of these")
    parser.add_argument("--anchors", nargs="+", type=int, default=[1, 2, 5])
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    for name in chosen.train or ():
        for number in chosen.anchors:
            trained(config.load_task(name), number, chosen.rounds)
    if not chosen.time and not chosen.train:
        print(
            f"task             nodes  rows after {', '.join(map(str, SHOWN))} rounds   nodes of quotients   refined in"
        )
        for name in TASKS:
            shares(config.load_task(name))
        return
    settings = dataclasses.replace(config.load("fisher", "alpha"), hidden=chosen.hidden, seeds=chosen.seeds)
    for name in chosen.time or ():
        for number in chosen.anchors:
            timed(config.load_task(name), number, settings, chosen.rounds)


if __name__ == "__main__":
    main()
