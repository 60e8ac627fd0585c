"""alpha of a node task from few backward passes against the exact one, which takes minutes an anchor.

python experiments/benchmarks/sketches.py cora --anchors 4 1 5
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np

from atjax import config
from atjax.fisher import FisherConfig, task_statistics
from atjax.space import ANCHORS


def main() -> None:
    """Print values and standard errors of every estimate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a node task")
    parser.add_argument("--anchors", type=int, nargs="+", default=[4], help="numbers of anchors, from 1")
    parser.add_argument("--seeds", type=int, default=2, help="initialisations")
    arguments = parser.parse_args()
    task = config.load_task(arguments.task)
    settings: FisherConfig = dataclasses.replace(config.load("fisher", "alpha"), seeds=arguments.seeds)

    def exact(passes: int) -> FisherConfig:
        estimator, most = {**settings.estimator, "node": "exact"}, {**settings.max_passes, "node": passes}
        return dataclasses.replace(settings, estimator=estimator, max_passes=most)

    ways = {"exact": exact(10**9), "exact, 96 passes": exact(96)}
    ways |= {f"{draws} sketches": dataclasses.replace(settings, draws=draws) for draws in (16, 64)}
    for anchor in arguments.anchors:
        for name, way in ways.items():
            start = time.perf_counter()
            alpha = task_statistics(task, way, ["alpha"], anchors=[ANCHORS[anchor - 1]])["alpha"]
            found = ", ".join(f"{v:.3f} ± {e:.3f}" for v, e in zip(np.ravel(alpha.value), np.ravel(alpha.error)))
            print(f"anchor {anchor}, {name}: {found} ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
