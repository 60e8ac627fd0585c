"""``python -m atjax.build_bank task=NAME designs=N``: train designs on a task and append the records to a bank."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from atjax import cli, config
from atjax.bank import build, store
from atjax.space import bank_designs


def main(cfg: DictConfig) -> None:
    """The job behind the command line; see ``conf/build_bank.yaml``."""
    console = Console()
    folder = Path(cfg.bank)
    seed = cli.whole(cfg.seed, "seed", 0)
    budget, space, fisher = cli.build(cfg.budget), cli.build(cfg.space), cli.build(cfg.fisher)
    designs = bank_designs(space, cli.whole(cfg.designs, "designs", 0))
    task = config.build_task(cfg)
    folder.mkdir(parents=True, exist_ok=True)
    build.note_provenance(folder, ["python -m atjax.build_bank", *sorted(sys.argv[1:])])
    start = time.perf_counter()
    with cli.progress(console) as bar:
        row = bar.add_task(f"{task.name}: train", total=len(designs))
        added = build.train_designs(
            task,
            designs,
            folder=folder,
            budget=budget,
            seed=seed,
            progress=lambda done, total, key: bar.update(row, completed=done, description=f"{task.name}: {key}"),
        )
        minutes = (time.perf_counter() - start) / 60
        embedded = False
        if cfg.feature:
            anchors = bar.add_task(f"{task.name}: Fisher", total=None)
            embedded = build.embed_task(
                task,
                folder=folder,
                config=fisher,
                seed=seed,
                progress=lambda done, total: bar.update(anchors, completed=done, total=total),
            )
    if cfg.compact:
        store.compact(folder)
    console.print(
        f"{task.name}: {added} of {len(designs)} designs trained in {minutes:.1f} min under budget {budget.name}"
        f"{', and embedded' if embedded else ''}; the bank is in {folder}."
    )


if __name__ == "__main__":
    cli.run(main, "build_bank")
