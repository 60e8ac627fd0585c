"""``python -m atjax.build_bank task=NAME designs=N``: train designs on a task and append the records to a bank."""

from __future__ import annotations

import time
from collections.abc import Iterable

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from atjax import cli, config
from atjax.bank import build, store
from atjax.space import bank_designs

FOLDERS = ("bank", "data.root", "task.root")
"""Arguments that name folders of this machine."""


def main(cfg: DictConfig) -> None:
    """The job behind the command line; see ``conf/build_bank.yaml``."""
    console = Console()
    folder = cli.folder(cfg.bank, "bank")
    seed = cli.whole(cfg.seed, "seed", 0)
    feature, compact = cli.flag(cfg.feature, "feature"), cli.flag(cfg.compact, "compact")
    budget, space, fisher = config.build(cfg.budget), config.build(cfg.space), config.build(cfg.fisher)
    designs = bank_designs(space, cli.whole(cfg.designs, "designs", 0))
    task = config.build_task(cfg)
    folder.mkdir(parents=True, exist_ok=True)
    build.note_provenance(folder, command(HydraConfig.get().overrides.task))
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
        if feature:
            anchors = bar.add_task(f"{task.name}: Fisher", total=None)
            embedded = build.embed_task(
                task,
                folder=folder,
                config=fisher,
                seed=seed,
                progress=lambda done, total: bar.update(anchors, completed=done, total=total),
            )
    if compact:
        store.compact(folder)
    console.print(
        f"{task.name}: {added} of {len(designs)} designs trained in {minutes:.1f} min under budget {budget.name}"
        f"{', and embedded' if embedded else ''}; the bank is in {folder}.",
        soft_wrap=True,
        markup=False,
    )


def command(overrides: Iterable[str]) -> list[str]:
    """The command for the bank's provenance, in an order of its own, without this machine's folders."""
    kept = [override for override in overrides if override.lstrip("+").partition("=")[0] not in FOLDERS]
    return ["python -m atjax.build_bank", *sorted(kept)]


if __name__ == "__main__":
    cli.run(main, "build_bank")
