"""The bank as a benchmark: every task left out in turn, searches replayed on its recorded results.

    python experiments/transfer/run.py                              # all banks but embedded-one-split, 200 seeds
    python experiments/transfer/run.py --bank nas-bench-graph --simulation
    python experiments/transfer/run.py --tables-only
    python experiments/transfer/run.py --bank embedded-one-split --method "product random" --method "rank, fisher"

Results are written as they come, one file for each task and method, and what is there is not run again. The tables are
printed in Markdown, and written with the figures beside the results.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import figure
import numpy as np
import optuna
import tables
from measures import RANDOM, TPE
from priors import METHODS, SIMULATION, methods_for, prepare
from recorded import BANKS, Recorded
from replay import optuna_search, search

from atjax.errors import UserError
from atjax.samplers import WARM_UP

HERE = Path(__file__).parent
OPTUNA = {
    RANDOM: lambda seed: optuna.samplers.RandomSampler(seed),
    TPE: lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=WARM_UP),
}
"""Optuna's own, where it can be kept to the recorded designs: on banks of whole spaces."""


def file_of(out: Path, bank: Recorded, task: str, method: str) -> Path:
    """Where the searches of a task and method are kept."""
    return out / "searches" / bank.key / task / f"{method.replace(' ', '_').replace(',', '')}.npy"


def replay(bank: Recorded, task: int, methods: Sequence[str], seeds: int, trials: int, out: Path) -> int:
    """Run what is missing of one task; how many searches that were."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    source, done = None, 0
    for method in methods:
        file = file_of(out, bank, bank.tasks[task], method)
        if file.exists() and np.load(file).shape == (seeds, trials):
            continue
        if bank.whole and method in OPTUNA:
            tried = [optuna_search(bank, task, OPTUNA[method](seed), seed, trials) for seed in range(seeds)]
        else:
            source = source or prepare(bank, task)
            rules = (METHODS[method](source, seed, trials) for seed in range(seeds))
            tried = [search(bank, task, rule, seed, trials) for seed, rule in enumerate(rules)]
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp.npy")
        np.save(temporary, np.stack(tried).astype(np.int32))
        os.replace(temporary, file)
        done += seeds
    return done


_BANK: dict[str, Recorded] = {}


def _job(name: str, task: int, methods: Sequence[str], seeds: int, trials: int, out: Path) -> int:
    if name not in _BANK:
        _BANK[name] = BANKS[name]()
    return replay(_BANK[name], task, methods, seeds, trials, out)


def main() -> None:
    """Replay what is missing, then make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", choices=BANKS, action="append", help="one of them; may be given again")
    parser.add_argument("--simulation", action="store_true", help=f"only {', '.join(SIMULATION)}")
    parser.add_argument("--method", choices=METHODS, action="append", help="one of them, beside uniform ones")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tables-only", action="store_true", help="run nothing")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    chosen = parser.parse_args()
    some = (RANDOM, TPE, *chosen.method) if chosen.method else METHODS
    asked = SIMULATION if chosen.simulation else tuple(dict.fromkeys(some))
    for name in chosen.bank or [name for name in BANKS if name != "embedded-one-split"]:
        try:
            bank = BANKS[name]()
        except UserError as error:
            print(f"{name} is left out. {error}")
            continue
        methods = methods_for(bank, asked)
        start = time.perf_counter()
        if not chosen.tables_only:
            with ProcessPoolExecutor(chosen.processes, get_context("spawn")) as pool:
                size = (methods, chosen.seeds, chosen.trials, chosen.out)
                count = sum(
                    pool.map(_job, [name] * len(bank.tasks), range(len(bank.tasks)), *map(itertools.repeat, size))
                )
            took = f"{time.perf_counter() - start:.0f} s, {chosen.processes} processes"
            print(f"{name}: {count} searches of {chosen.trials} trials in {took}.\n")
        found = {
            method: [np.load(file_of(chosen.out, bank, task, method)) for task in bank.tasks]
            for method in methods
            if all(file_of(chosen.out, bank, task, method).exists() for task in bank.tasks)
        }
        text = tables.report(bank, found)
        (chosen.out / f"{name}.md").write_text(text)
        figure.draw(bank, found, chosen.out / f"{name}.svg")
        print(text)


if __name__ == "__main__":
    main()
