"""Configuration files, and tasks by name.

The YAML files under ``conf/`` are the one place where tasks and their options are written down; the command-line
programs and `load_task` both read them.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra.utils
import pooch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from atjax.errors import UserError, first_line
from atjax.task import Task

FIXED_KEYS = frozenset({"_target_", "root"})
"""Keys of a task's file that are no options of `load_task`: the first is what it is, `root` is ``data_root``."""


def conf_dir() -> Path:
    """The folder of YAML files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    shipped = package / "conf"
    return shipped if shipped.is_dir() else package.parent / "conf"


def task_names(*, offline: bool = False) -> list[str]:
    """Names of all tasks, ascending.

    Args:
        offline: Only those that need no file: their data are made by code, or come with scikit-learn.
    """
    files = sorted((conf_dir() / "task").glob("*.yaml"))
    return [file.stem for file in files if not (offline and {"root", "path"} & set(OmegaConf.load(file)))]


def name_of_path(path: object) -> str:
    """The name of a task that is a file or a folder and has no other: its last part, without its ending.

    Letters of any language stay; what is neither letter nor digit, but for ``_.+-``, becomes ``_``.
    """
    return re.sub(r"[^\w.+-]+", "_", Path(str(path)).expanduser().absolute().stem) or "own"


def name_of_prior(source: str, name: str, fisher: str) -> str:
    """What a search with this ``search.prior``, ``prior.name`` and choice of ``fisher`` is called by.

    Fisher settings are named where they matter and are not those taken if nothing is said.
    """
    if source != "transfer":
        return source
    return name if fisher == default_choice("fisher") else f"{name}-{fisher}"


def name_of_budget(budget: Mapping[Any, Any]) -> str:
    """The name of a budget, from its name and its values.

    Records of a bank are known by it. So one that is named as a file under ``conf/budget`` and has other values gets
    the start of a hash of its values beside the name, such as ``quick-3f2a1c``; all others keep their name.
    """
    given = str(budget.get("name"))
    name = re.sub(r"-[0-9a-f]{6}$", "", given)  # as it was before, if it has been through here already
    shipped = _shipped_budgets()
    if name not in shipped or _values(budget) == shipped[name]:
        return name if name in shipped else given
    return f"{name}-{hashlib.sha256(_values(budget).encode()).hexdigest()[:6]}"


@functools.cache
def _shipped_budgets() -> dict[str, str]:
    """The values of the budgets under ``conf/budget``, by name."""
    budgets = [OmegaConf.load(file) for file in (conf_dir() / "budget").glob("*.yaml")]
    return {str(budget.name): _values(budget) for budget in budgets}  # type: ignore[arg-type]


def _values(budget: Mapping[Any, Any]) -> str:
    """The values of a budget as text, the same however its numbers and names of widths were written."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    held = {key: value for key, value in budget.items() if key not in ("_target_", "name")}
    return json.dumps(plain(held), sort_keys=True, default=str)


def teach_omegaconf() -> None:
    """Let configuration files call the functions that make names; once is enough, and again does no harm."""
    OmegaConf.register_new_resolver("task_names", lambda: ", ".join(task_names()), replace=True)
    for resolver in (name_of_path, name_of_prior, name_of_budget):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the data files: ``root``, else the environment variable ATJAX_DATA, else the user's cache folder.

    A relative path counts from the working directory.
    """
    chosen = root or os.environ.get("ATJAX_DATA")
    return Path(chosen).expanduser().absolute() if chosen else Path(pooch.os_cache("atjax")) / "data"


def cache_dir() -> Path:
    """The user's cache folder for atjax; the environment variable ATJAX_CACHE overrides it."""
    return Path(os.environ.get("ATJAX_CACHE") or pooch.os_cache("atjax"))


def load_task(name: str, /, *, data_root: str | os.PathLike[str] | None = None, **options: Any) -> Task:
    """Load a task by name.

    Args:
        name: One of `task_names`.
        data_root: Folder of the data files; see `data_root`. Files that it lacks are downloaded into it.
        **options: Options of the task's YAML file, such as ``cleaned=True``; ``name``, too, which is what the task is
            called, and for a file of many sets says which, as on the command line.

    Raises:
        UserError: The name or an option is unknown, a value is bad, or the data are absent or broken.

    Example:
        >>> load_task("digits", count=100).num_examples
        100
    """
    teach_omegaconf()
    if name not in task_names():
        raise UserError(f"There is no task {name!r}{choose_from(name, task_names())}.")
    config = OmegaConf.load(conf_dir() / "task" / f"{name}.yaml")
    known = sorted(str(key) for key in config if key not in FIXED_KEYS)
    for option in options:
        if option not in known:
            raise UserError(f"The task {name!r} has no option {option!r}{choose_from(option, known)}.")
    if OmegaConf.is_missing(config, "name"):
        # A file for many sets: the task is named by its set.
        if not {"dataset", "name"} & set(options):
            raise UserError(f"The task {name!r} is for many sets; say which, with dataset=NAME.")
        options = {"name": options.get("dataset"), **options}
    needed = [key for key in known if key not in options and OmegaConf.is_missing(config, key)]
    if needed:
        raise UserError(f"The task {name!r} needs {needed[0]}; give {needed[0]}=VALUE.")
    root = None if data_root is None else os.fspath(data_root)
    # An option replaces the file's value as a whole: merging would keep parts of a mapping.
    task = DictConfig({**OmegaConf.to_container(config, resolve=False), **options})  # type: ignore[dict-item]
    return build_task(OmegaConf.create({"task": task, "data": {"root": root}}))


def load(group: str, name: str) -> Any:
    """The object that ``conf/<group>/<name>.yaml`` describes, such as the budget ``quick``."""
    return hydra.utils.instantiate(composed(group, name), _convert_="all")


def choices(group: str) -> list[str]:
    """Names of the files of a group, ascending."""
    return sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))


def composed(group: str, name: str) -> DictConfig:
    """A file of a group over the files that its ``defaults`` name, as Hydra composes it."""
    file = OmegaConf.load(conf_dir() / group / f"{name}.yaml")
    assert isinstance(file, DictConfig)
    beneath = [composed(group, str(base)) for base in file.pop("defaults", []) if base != "_self_"]
    merged = OmegaConf.merge(*beneath, file)
    assert isinstance(merged, DictConfig)
    return merged


def default(group: str) -> Any:
    """The object of a group, such as ``fisher``, that ``conf/search.yaml`` takes if nothing else is said."""
    return load(group, default_choice(group))


def default_choice(group: str) -> str:
    """The name of `default`, such as ``alpha``."""
    for file in ("search", "common"):
        for entry in OmegaConf.load(conf_dir() / f"{file}.yaml").defaults:
            if isinstance(entry, DictConfig) and group in entry:
                return str(entry[group])
    raise KeyError(group)


def build(node: DictConfig) -> Any:
    """The object that a configuration node's ``_target_`` and values describe; its name is text, also where it is 7.

    Raises:
        UserError: A value is missing, unknown or of the wrong type; or the object's own, without Hydra's wrapping.
    """
    named = "name" in node and not OmegaConf.is_missing(node, "name") and not isinstance(node["name"], str)
    try:
        return hydra.utils.instantiate(node, _convert_="all", **({"name": str(node["name"])} if named else {}))
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        values = ", ".join(f"{key!s}={value}" for key, value in node.items() if key != "_target_")
        reason = first_line(cause or error)
        raise UserError(f"{node.get('_target_')} does not take {values} ({reason}); mend these values.") from error


def build_task(config: DictConfig) -> Task:
    """The task that the node ``task`` of a configuration describes; ``data.root`` must be there too.

    Raises:
        UserError: As from `build`.
    """
    return build(config.task)


def choose_from(word: str, words: Sequence[str]) -> str:
    """Ends a sentence on an unknown word: the nearest ones, if any is near, and all."""
    near = difflib.get_close_matches(word, words, n=3)
    question = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"{question}; choose from {', '.join(words)}"
