"""What keeping only the surroundings of some nodes does to alpha: `FisherConfig.max_nodes` against the whole graph.

    python experiments/benchmarks/surroundings.py cora --nodes 339 677 1354 --seeds-of-split 5

Both by the same estimator; the cut is drawn anew for every seed of the split. Differences are relative, of the means
over initialisations, with their deviation over seeds; beside them how far two wholes of different splits are apart,
which a cut cannot be told from.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

from atjax import config
from atjax.fisher import FisherConfig, task_statistics
from atjax.space import ANCHORS
from atjax.task import Task


def alphas(task: Task, settings: FisherConfig, numbers: list[int], seeds: int) -> np.ndarray:
    """alpha of the anchors of these numbers, means over initialisations, a row for each seed of the split."""
    anchors = [ANCHORS[number - 1] for number in numbers]
    found = [task_statistics(task, settings, ["alpha"], seed=seed, anchors=anchors)["alpha"] for seed in range(seeds)]
    return np.mean([values.value for values in found], axis=2)


def main() -> None:
    """Print a line for every cut, an entry an anchor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a node task")
    parser.add_argument("--nodes", type=int, nargs="+", required=True, help="max_nodes of each cut")
    parser.add_argument("--anchors", type=int, nargs="+", default=[1, 4, 5, 12], help="numbers of anchors, from 1")
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--seeds-of-split", type=int, default=5)
    chosen = parser.parse_args()
    task = config.load_task(chosen.task)
    settings = dataclasses.replace(config.load("fisher", "alpha"), draws=chosen.draws)
    whole = alphas(task, settings, chosen.anchors, chosen.seeds_of_split)

    def told(name: str, differences: np.ndarray) -> None:
        each = zip(chosen.anchors, differences.mean(axis=0), differences.std(axis=0, ddof=1))
        print(f"{name}: " + ", ".join(f"anchor {a} {m:+.1%} ± {s:.1%}" for a, m, s in each), flush=True)

    told("whole, another split", whole / np.roll(whole, 1, axis=0) - 1)
    for nodes in chosen.nodes:
        cut = dataclasses.replace(settings, max_nodes=nodes)
        told(f"{nodes} nodes", alphas(task, cut, chosen.anchors, chosen.seeds_of_split) / whole - 1)


if __name__ == "__main__":
    main()
