"""What the command-line programs share: Hydra, errors in one sentence with exit code 2, progress."""

from __future__ import annotations

import functools
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, get_args

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from atjax import compilation, config, levels, mistakes
from atjax.bank.build import embed_task
from atjax.bank.store import Bank, load_bank
from atjax.bank.target import check_target
from atjax.budget import Budget
from atjax.errors import UserError
from atjax.fisher import FisherConfig
from atjax.overview import warnings
from atjax.prior import PriorConfig, comparable, too_few_tasks
from atjax.report.progress import anchors, ctrl_c, progress
from atjax.space import Space
from atjax.task import Level, Split, Task
from atjax.transfer import Transfer, transfer


def run(job: Callable[[DictConfig], None], config_name: str) -> NoReturn:
    """Run a Hydra program: compose ``conf/<config_name>.yaml`` with the command line, and do the job.

    Exits with 0; with 2 and one sentence where the user can mend the fault; with 130 after Ctrl-C.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here, instead of a printed traceback and exit code 1
    composed = False

    def guarded(cfg: DictConfig) -> None:
        nonlocal composed
        composed = True
        # Within a job, Hydra would print lines of its own before the sentence.
        try:
            job(cfg)
        except (UserError, OmegaConfBaseException, OSError) as error:
            _remove_empty(Path(HydraConfig.get().runtime.output_dir))
            _fail(_job() + mistakes.sentence(error, config_name, sys.argv[1:]))

    config.teach_omegaconf()
    program = hydra.main(version_base="1.3", config_path=str(config.conf_dir()), config_name=config_name)(guarded)
    if (told := mistakes.unusable(sys.argv[1:])) is not None:
        _fail(told)
    try:
        compilation.keep_compiled(config.cache_dir() / "xla")
        with _noting_ctrl_c():
            program()
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        if composed:  # by Hydra, that is; what the job raises now is a fault of ours
            raise
        _fail(mistakes.sentence(error, config_name, sys.argv[1:]))
    except KeyboardInterrupt:
        print("atjax: stopped.", file=sys.stderr)
        _leave(130)
    sys.exit(0)


def _leave(code: int) -> NoReturn:
    """End the process here and now: in the usual end of Python, what XLA was broken off at may crash."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


@contextmanager
def _noting_ctrl_c() -> Iterator[None]:
    """Note Ctrl-C for the ``with`` block, beside raising KeyboardInterrupt, which progress displays then raise again.

    Python drops what is raised in callbacks, as of the garbage collector. Where Ctrl-C is ignored, as in the
    background, or handled by others, that stays so.
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(*_: object) -> None:
        ctrl_c.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ctrl_c.clear()


def _fail(sentence: str) -> NoReturn:
    print(f"atjax: {sentence}", file=sys.stderr)
    sys.exit(2)


def _job() -> str:
    """How the sentence on a fault in a job of a sweep begins; empty if there is no sweep."""
    job = HydraConfig.get()
    if job.mode != RunMode.MULTIRUN:
        return ""
    sweeping = [each for each in _overrides() if each.is_sweep_override()]
    keys = {each.key_or_group for each in sweeping}
    varied = [each for each in job.overrides.task if each.lstrip("+").partition("=")[0] in keys]
    number = job.job.num + 1
    try:
        total = math.prod(len(list(each.sweep_string_iterator())) for each in sweeping)
    except HydraException:  # glob(...) is not counted without Hydra's own loader
        return f"Job {number} ({', '.join(varied)}), after which none was run: "
    left = f", after which {total - number} were not run" if number < total else ""
    return f"Job {number} of {total} ({', '.join(varied)}){left}: "


def _overrides() -> list[Override]:
    """The arguments of the command line that set something."""
    given = [each for each in sys.argv[1:] if "=" in each and not each.startswith("-")]
    return OverridesParser.create().parse_overrides(given)


def _remove_empty(folder: Path) -> None:
    """Remove the run directory that Hydra made for a job that then wrote nothing, and what it left empty above."""
    with suppress(OSError):  # as where a disk is mounted: it stays, and the sentence on the fault is told all the same
        while Path.cwd() in folder.parents and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def choice(value: object, name: str, choices: tuple[str, ...]) -> str:
    """A configuration value that must be one of a few words."""
    if value not in choices:
        raise UserError(f"{name} must be one of {', '.join(choices)}; it is {value!r}.")
    return str(value)


def flag(value: object, name: str) -> bool:
    """A configuration value that must be true or false."""
    if not isinstance(value, bool):
        raise UserError(f"{name} must be true or false; it is {value!r}.")
    return value


def folder(value: object, name: str) -> Path:
    """A configuration value that must be the path of a folder."""
    if not isinstance(value, str) or not value:
        raise UserError(f"{name} must be the path of a folder; it is {value!r}.")
    return Path(value)


def new_file(value: object, name: str) -> Path:
    """A configuration value that must be the path of a file that can be written, whether it is there or not."""
    if not isinstance(value, str) or not value:
        raise UserError(f"{name} must be the path of a file; it is {value!r}.")
    path = Path(value)
    try:
        there = next(above for above in (*path.parents, path) if above.exists())
        folder = path.is_dir() or value.endswith(("/", os.sep))
    except OSError as error:  # as of a name that is too long
        raise UserError(f"{name} cannot be {value} ({error.strerror}); give another file.") from None
    if folder:
        raise UserError(f"{name} must be the path of a file; {value} is a folder.")
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "may not be written into" if there.is_dir() else "is no folder"
        raise UserError(f"{name} cannot be {value} ({there} {reason}); give another file.")
    return path


def own_bank(value: object, name: str) -> Path:
    """A configuration value that must be the path of a folder that a bank can be written into."""
    path = folder(value, name)
    check_target(path, name)
    return path


def print_remarks(console: Console, task: Task, split: Split) -> None:
    """Print how a task's data were read, and what may be wrong with them."""
    for note in task.remarks:
        console.print(note, style="dim", markup=False, highlight=False)
    for warning in warnings(task, split):
        console.print(f"Warning: {warning}", style="yellow", markup=False, highlight=False)


def prepare_transfer(cfg: DictConfig) -> dict[Level, functools.partial[Transfer]]:
    """`atjax.transfer.transfer` with the bank and the settings of a configuration; task, space and budget are to come.

    By level of the task. Made before the data are loaded, so that a wrong setting is told at once.
    """
    shared = functools.partial(
        transfer,
        bank=load_bank(str(folder(cfg.bank, "bank"))),
        projection=config.build(cfg.projection),
        cache=config.cache_dir() / "features",
    )
    settled: dict[Level, DictConfig] = {level: levels.at_level(cfg, level) for level in get_args(Level)}
    return {
        level: functools.partial(shared, fisher=levels.fisher_of(own.fisher), prior=config.build(own.prior))
        for level, own in settled.items()
    }


def transfer_with_progress(
    prepared: functools.partial[Transfer],
    task: Task,
    space: Space,
    budget: Budget,
    seed: int,
    console: Console,
    *,
    always: bool = False,
) -> Transfer:
    """Do a prepared transfer, with a progress display of the Fisher stage; says beforehand what it cannot bring.

    Then there is no Fisher stage, unless the feature is wanted ``always``.
    """
    for warning in _warnings_of_transfer(task=task, budget=budget, **prepared.keywords):
        console.print(f"Warning: {warning}", style="yellow", markup=False, highlight=False)
    with progress(console) as bar:
        return prepared(
            task,
            space=space,
            budget=budget.name,
            seed=seed,
            progress=anchors(bar, f"{task.name}: Fisher of anchors"),
            always=always,
        )


def embed_with_progress(task: Task, bank: Path, configs: Sequence[FisherConfig], seed: int, console: Console) -> bool:
    """Add the task's features to a bank, with a progress display of each; whether one was lacking."""
    with progress(console) as bar:
        return embed_task(
            task,
            folder=bank,
            configs=configs,
            seed=seed,
            cache=config.cache_dir() / "features",
            progress=anchors(bar, f"{task.name}: Fisher of anchors, for the bank"),
        )


def _warnings_of_transfer(
    *, task: Task, budget: Budget, bank: Bank, fisher: FisherConfig, prior: PriorConfig, **_: object
) -> Iterator[str]:
    """What can be told of a transfer before the Fisher stage, which may take minutes."""
    held = sorted(set(bank.records["budget"]))
    if budget.name not in held:
        lacking = f"the bank has no records of the budget {budget.name}, only of {', '.join(held) or 'none'}"
        yield f"{lacking}, so the prior will be uniform."
    else:
        rest = comparable(
            bank,
            exclude_hash=task.content_hash,
            exclude_name=task.name,
            fisher=fisher.key,
            budget=budget.name,
            level=prior.alone(task.level),
        )
        if (obstacle := too_few_tasks(rest, prior.alone(task.level))) is not None:
            counts = bank.features.groupby("fisher")["content_hash"].nunique()
            there = ", ".join(f"{key} of {count}" for key, count in counts.items()) or "none"
            yield f"{obstacle} Wanted are {fisher.key}; its features are {there}. The prior will be uniform."
    if prior.weights == "calibrated" and "first_losses" not in fisher.statistic:
        told = f"prior={prior.name} is made for fisher=losses, and takes it where fisher is left out"
        yield f"{told}; else prior=rank does."
