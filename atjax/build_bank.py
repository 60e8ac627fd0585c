"""``python -m atjax.build_bank task=NAME designs=N``: train designs on a task and append the records to a bank."""

from __future__ import annotations

from collections.abc import Iterable

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from atjax import cli, config, levels
from atjax.bank import build, provenance, store
from atjax.errors import whole
from atjax.report import words
from atjax.space import bank_designs

MACHINE = ("bank", "data.root", "task.root", "workers")
"""Arguments that tell of this machine: its folders, and how busy it may be."""


def main(cfg: DictConfig) -> None:
    """The job behind the command line; see ``conf/build_bank.yaml``."""
    console = Console()
    folder = cli.own_bank(cfg.bank, "bank")
    seed = whole("seed", cfg.seed, 0)
    feature, compact = cli.flag(cfg.feature, "feature"), cli.flag(cfg.compact, "compact")
    budget, space, fisher = config.build(cfg.budget), config.build(cfg.space), levels.compared(cfg.fisher)
    budget.check(space)
    workers = build.default_workers() if cfg.workers is None else whole("workers", cfg.workers, 1)
    designs = bank_designs(space, whole("designs", cfg.designs, 0))
    task = config.build_task(cfg)
    folder.mkdir(parents=True, exist_ok=True)
    provenance.note(folder, command(HydraConfig.get().overrides.task))
    with cli.progress(console) as bar:
        row = bar.add_task(f"{task.name}: train", total=len(designs))
        grown = build.train_designs(
            task,
            designs,
            folder=folder,
            budget=budget,
            seed=seed,
            progress=lambda done, total, key: bar.update(
                row, completed=done, description=f"{task.name}: {key or 'train'}"
            ),
            workers=workers,
        )
    embedded = feature and cli.embed_with_progress(task, folder, fisher, seed, console)
    if compact:
        store.compact(folder)
    speed = f" ({grown.rate:.0f} records per hour, {grown.compiling:.0%} of the time in compilation)"
    console.print(
        f"{task.name}: {grown.added} of {len(designs)} designs trained in {words.duration(grown.seconds)}"
        f"{speed if grown.added else ''} under "
        f"budget {budget.name}{', and embedded' if embedded else ''}; the bank is in {folder}.",
        soft_wrap=True,
        markup=False,
    )


def command(overrides: Iterable[str]) -> list[str]:
    """The command for the bank's provenance, in an order of its own, without what tells of this machine."""
    kept = [override for override in overrides if override.lstrip("+").partition("=")[0] not in MACHINE]
    return ["python -m atjax.build_bank", *sorted(kept)]


if __name__ == "__main__":
    cli.run(main, "build_bank")
