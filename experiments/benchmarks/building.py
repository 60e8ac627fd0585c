"""How fast a bank grows: `build_bank` against training the same designs one at a time, one process a design.

    python experiments/benchmarks/building.py cox2 --first 12 --designs 6
    python experiments/benchmarks/building.py cora --first 12 --designs 6 --workers 1 2

The designs are those of the fixed sequence of `atjax.space.bank_designs`, from number ``--first`` on. Every way starts
from an empty bank, cold with an empty folder of compiled programs, warm with the one that its cold pass left. Told are
records per hour of wall time, processor seconds (of all processes, imports and compilation included; on a machine that
others use, these say more), programs compiled or loaded from the cache on disk, and the share of the workers' time that
went into compilation. All ways must leave the same records, which is checked.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from atjax import compilation, config
from atjax.bank import build
from atjax.bank.store import load_bank
from atjax.budget import Budget
from atjax.space import bank_designs, paper_space


@dataclass
class Pass:
    """One way, once: what it took.

    Attributes:
        records: Designs trained.
        seconds: Wall time.
        cpu: Processor seconds.
        programs: Programs compiled or loaded.
        compiling: Seconds of the workers spent on that.
        busy: Seconds of the workers in trainings.
    """

    records: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    programs: int = 0
    compiling: float = 0.0
    busy: float = 0.0


def train(task: str, first: int, designs: int, workers: int, folder: Path) -> None:
    """What a process does: add these designs to the bank, and print what that took as JSON."""
    compilation.keep_compiled(config.cache_dir() / "xla")
    budget: Budget = config.load("budget", "quick")
    with compilation.counting(everywhere=True) as compiled:
        grown = build.train_designs(
            config.load_task(task),
            bank_designs(paper_space(), first + designs)[first:],
            folder=folder,
            budget=budget,
            seed=0,
            progress=lambda *_: None,
            workers=workers,
        )
    print(json.dumps([grown.added, compiled.count, grown.compile_seconds, grown.busy_seconds]))


def measured(task: str, parts: list[tuple[int, int]], workers: int, folder: Path, cache: Path) -> Pass:
    """Run one process after another, each on its part of the designs (first, number)."""
    result, start, before = Pass(), time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for first, number in parts:
        arguments = [__file__, task, "--first", str(first), "--designs", str(number), "--into", str(folder)]
        out = subprocess.run(
            [sys.executable, *arguments, "--workers", str(workers)],
            env=os.environ | {"ATJAX_CACHE": str(cache)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        added, programs, compiling, busy = json.loads(out.splitlines()[-1])
        result.records += added
        result.programs += programs
        result.compiling += compiling
        result.busy += busy
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result.seconds = time.perf_counter() - start
    result.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return result


def compare(task: str, first: int, designs: int, workers: list[int]) -> Table:
    """All ways, cold and warm, in one table."""
    columns = ("way", "cache", "records/h", "wall s", "CPU s", "programs", "compiling")
    table = Table(*columns, title=f"{task}, {designs} designs")
    alone = [(first + number, 1) for number in range(designs)]
    ways = {"a process a design": (alone, 1)} | {f"build_bank workers={n}": ([(first, designs)], n) for n in workers}
    seen = []
    for way, (parts, count) in ways.items():
        with tempfile.TemporaryDirectory() as place:
            for state in ("cold", "warm"):
                folder = Path(place) / state
                got = measured(task, parts, count, folder, Path(place) / "cache")
                records = load_bank(folder).records
                seen.append(records[["key", "state", "validation", "test", "best_epoch"]])
                if not seen[0].equals(seen[-1]):
                    raise SystemExit(f"{way}, {state}, left other records than the first way.")
                rate, share = 3600 * got.records / got.seconds, got.compiling / got.busy
                row = (f"{rate:.0f}", f"{got.seconds:.1f}", f"{got.cpu:.1f}", str(got.programs), f"{share:.0%}")
                table.add_row(way, state, *row)
                Console(stderr=True).print(way, state, *row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--first", type=int, default=0, help="number of the first design within the sequence")
    parser.add_argument("--designs", type=int, default=6)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.into is not None:
        train(given.task, given.first, given.designs, given.workers[0], given.into)
        return
    Console().print(compare(given.task, given.first, given.designs, given.workers))


if __name__ == "__main__":
    main()
