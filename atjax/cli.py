"""What the command-line programs share: Hydra, errors in one sentence with exit code 2, progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import hydra
import hydra.utils
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from atjax import compilation, config, runtime
from atjax.bank.store import load_bank
from atjax.budget import Budget
from atjax.errors import UserError
from atjax.space import Space
from atjax.task import Task
from atjax.transfer import Transfer, transfer


def run(job: Callable[[DictConfig], None], config_name: str) -> NoReturn:
    """Run a Hydra program: compose ``conf/<config_name>.yaml`` with the command line, and do the job.

    Exits with 0; with 2 and one sentence where the user can mend the fault; with 130 after Ctrl-C.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here, instead of a printed traceback and exit code 1
    compilation.keep_compiled(runtime.cache_dir() / "xla")

    def guarded(cfg: DictConfig) -> None:
        # Within a job, Hydra would print lines of its own before the sentence.
        try:
            job(cfg)
        except UserError as error:
            _fail(str(error))

    program = hydra.main(version_base="1.3", config_path=str(config.conf_dir()), config_name=config_name)(guarded)
    try:
        program()
    except MissingConfigException as error:
        _fail(_unknown_choice(error))
    except (HydraException, OmegaConfBaseException) as error:
        _fail(f"{_first_line(error)} See --help for what there is.")
    except KeyboardInterrupt:
        print("atjax: stopped.", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def _fail(sentence: str) -> NoReturn:
    print(f"atjax: {sentence}", file=sys.stderr)
    sys.exit(2)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _unknown_choice(error: MissingConfigException) -> str:
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    if not group or not error.options:
        return _first_line(error)
    return f"There is no {group} {choice!r}{config.choose_from(choice, sorted(error.options))}."


def build(node: DictConfig) -> Any:
    """The object that a configuration node's ``_target_`` and values describe.

    Raises:
        UserError: A value is missing, unknown or of the wrong type.
    """
    try:
        return hydra.utils.instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(
            f"The configuration {OmegaConf.to_container(node)} is not valid: {_first_line(error)}"
        ) from error


def choice(value: object, name: str, choices: tuple[str, ...]) -> str:
    """A configuration value that must be one of a few words."""
    if value not in choices:
        raise UserError(f"{name} must be one of {', '.join(choices)}; it is {value!r}.")
    return str(value)


def whole(value: object, name: str, minimum: int) -> int:
    """A configuration value that must be a whole number, at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise UserError(f"{name} must be a whole number, {minimum} or more; it is {value!r}.")
    return value


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """A progress display with time left."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield bar


def transfer_with_progress(
    cfg: DictConfig, task: Task, space: Space, budget: Budget, seed: int, console: Console
) -> Transfer:
    """The transferred prior as a configuration describes it (``bank``, ``fisher``, ``prior``, ``projection``)."""
    bank, fisher = load_bank(cfg.bank), build(cfg.fisher)
    settings, projection = build(cfg.prior), build(cfg.projection)
    with progress(console) as bar:
        anchors = bar.add_task(f"{task.name}: Fisher of anchors", total=None)
        return transfer(
            task,
            bank,
            space,
            budget=budget.name,
            fisher=fisher,
            seed=seed,
            prior=settings,
            projection=projection,
            cache=runtime.cache_dir() / "features",
            progress=lambda done, total: bar.update(anchors, completed=done, total=total),
        )
