"""The whole feature of a task, such as a large node task: seconds and memory.

    python experiments/benchmarks/feature.py coauthor_physics
    python experiments/benchmarks/feature.py arxiv-sized
    python experiments/benchmarks/feature.py cox2 --hidden 256 --passes 128 --again 1
    python experiments/benchmarks/feature.py enzymes --fisher losses --seeds 3

``arxiv-sized`` is a random graph with about as many nodes, edges, features and classes as ogbn-arxiv (Hu et al., 2020),
whose degrees follow a power law.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import time

import numpy as np

from atjax import compilation, config
from atjax.fisher import task_statistics
from atjax.fisher.config import FIT_ON
from atjax.task import Graphs, Task

NODES, EDGES, FEATURES, CLASSES = 169_343, 1_166_243, 128, 40
HOMOPHILY = 0.65
"""Share of edges that are drawn within a class."""


def arxiv_sized(seed: int = 0) -> Task:
    """A random task of that size."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, NODES, p=np.sort(rng.dirichlet(np.ones(CLASSES))))
    weight = rng.pareto(2.0, NODES) + 1  # of being cited
    senders, receivers = [], []
    by_class = [np.flatnonzero(labels == c) for c in range(CLASSES)]
    shares = [weight[members] / weight[members].sum() for members in by_class]
    citing = rng.integers(NODES, size=int(1.002 * EDGES))  # some are listed twice, or cite themselves
    alike = rng.random(len(citing)) < HOMOPHILY
    for c in range(CLASSES):
        here = citing[alike & (labels[citing] == c)]
        if len(here):
            senders.append(here)
            receivers.append(rng.choice(by_class[c], len(here), p=shares[c]))
    senders.append(citing[~alike])
    receivers.append(rng.choice(NODES, int((~alike).sum()), p=weight / weight.sum()))
    ends = np.concatenate(senders), np.concatenate(receivers)
    kept = ends[0] != ends[1]
    centres = rng.normal(size=(CLASSES, FEATURES))
    features = (0.3 * centres[labels] + rng.normal(size=(NODES, FEATURES))).astype(np.float32)
    graphs = Graphs.from_edges(features, ends[0][kept], ends[1][kept], np.array([NODES]))
    return Task("arxiv-sized", "node", "cross_entropy", "accuracy", graphs, labels.astype(np.int32), CLASSES)


def main() -> None:
    """Print what a feature takes, anchor by anchor as they are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a task, or arxiv-sized")
    parser.add_argument("--hidden", type=int, help="width of the anchors")
    parser.add_argument("--passes", type=int, help="the most backward passes a model")
    parser.add_argument("--fit-on", choices=FIT_ON, default="all", help="as fisher.fit_on")
    parser.add_argument("--fisher", default="alpha", help="settings, as fisher= on the command line")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of the split, one after the other")
    parser.add_argument("--again", type=int, default=0, help="how often more, with all programs compiled")
    chosen = parser.parse_args()
    name, settings = chosen.task, dataclasses.replace(config.load("fisher", chosen.fisher), fit_on=chosen.fit_on)
    if chosen.hidden:
        settings = dataclasses.replace(settings, hidden=chosen.hidden)
    if chosen.passes:
        settings = dataclasses.replace(settings, max_passes=dict.fromkeys(settings.max_passes, chosen.passes))
    task = arxiv_sized() if name == "arxiv-sized" else config.load_task(name)
    nodes, edges = len(task.labels), len(task.graphs.senders)
    print(f"{task.name}: {nodes} nodes, {edges} directed edges, {task.num_outputs} classes")
    start, processor = time.perf_counter(), time.process_time()

    def progress(done: int, count: int) -> None:
        print(f"{done} of {count} anchors, {time.perf_counter() - start:.0f} s", flush=True)

    with compilation.counting(everywhere=True) as compiled:
        values = task_statistics(task, settings, settings.statistic, progress=progress)["alpha"]
    for number, (value, error) in enumerate(zip(values.value, values.error), start=1):
        spread = np.std(value, ddof=1)
        print(f"anchor {number:2}: alpha {np.mean(value):.3f}, deviation {spread:.3f}, error {np.mean(error):.3f}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{time.perf_counter() - start:.0f} s, {time.process_time() - processor:.0f} s of the processor, "
        f"{compiled.count} programs, {memory:.2f} GiB at most"
    )
    for seed in [*range(1, chosen.seeds), *[0] * chosen.again]:
        start, processor = time.perf_counter(), time.process_time()
        with compilation.counting(everywhere=True) as compiled:
            task_statistics(task, settings, settings.statistic, seed=seed)
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        print(
            f"{f'seed {seed}' if seed else 'again'}: {seconds:.1f} s, {processor:.1f} s of the processor, "
            f"{compiled.count} programs compiled in {compiled.seconds:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
