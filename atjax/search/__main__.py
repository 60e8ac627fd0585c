"""``python -m atjax.search task=NAME``: see ``conf/search.yaml``."""

from __future__ import annotations

import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from atjax import cli, config, levels
from atjax.bank import build
from atjax.errors import whole
from atjax.prior import Prior, uniform_prior
from atjax.report import print_summary, progress
from atjax.search.loop import SearchConfig, run_trials
from atjax.search.outcomes import outcomes as outcomes_of
from atjax.search.run import Recorder, new_result
from atjax.transfer import Transfer

PRIORS = ("transfer", "uniform")


def main(cfg: DictConfig) -> None:
    """One search, or one job of a sweep."""
    console = Console()
    seed = whole("seed", cfg.seed, 0)
    source = cli.choice(cfg.search.prior, "search.prior", PRIORS)
    settings = SearchConfig(str(cfg.search.algorithm), cfg.search.trials)
    resume = cli.flag(cfg.search.resume, "search.resume")
    own = None if cfg.search.append is None else cli.own_bank(cfg.search.append, "search.append")
    budget, space = config.build(cfg.budget), config.build(cfg.space)
    budget.check(space)
    prepared = cli.prepare_transfer(cfg) if source == "transfer" else None
    folder = Path(HydraConfig.get().runtime.output_dir)
    start = time.perf_counter()
    task = config.build_task(cfg)
    split = task.split(seed)
    data_seconds = time.perf_counter() - start
    cli.print_remarks(console, task, split)

    found: Transfer | None = None
    if prepared is not None:
        found = cli.transfer_with_progress(prepared[task.level], task, space, budget, seed, console)
        prior: Prior = found.prior
    else:
        prior = uniform_prior(space)
    if own is not None and found is not None:
        cli.embed_with_progress(task, own, levels.compared(cfg.fisher), seed, console)
    result = new_result(task, prior, space, budget, config=settings, seed=seed, found=found)
    result["seconds"]["data"] = data_seconds
    recorder = Recorder(folder, task, result, resume=resume, config=OmegaConf.to_yaml(levels.at_level(cfg, task.level)))
    if recorder.recorded:
        console.print(f"{task.name}: going on after {len(recorder.recorded)} trials on record.", markup=False)
        if own is not None:  # named for the first time now, or the search was stopped between the two
            build.add_missing(task, outcomes_of(recorder.result, task, budget), folder=own)
    with progress.progress(console) as bar:
        outcomes = run_trials(
            task,
            prior,
            space,
            budget,
            config=settings,
            seed=seed,
            recorded=recorder.recorded,
            progress=progress.trials(bar, task.name, settings.trials, len(recorder.recorded)),
        )
        try:
            recorder.run(outcomes if own is None else build.kept(task, outcomes, folder=own))
        except KeyboardInterrupt:
            bar.stop()
            print_summary(console, recorder.result, folder)
            raise
    print_summary(console, recorder.result, folder)


if __name__ == "__main__":
    cli.run(main, "search")
