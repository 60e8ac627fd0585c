"""What is wrong with a command line, each in one sentence that says what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from atjax import config
from atjax.errors import UserError, first_line

_LONG = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun"),
    *("--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info"),
)
_SHORT = ("-h", "-c", "-p", "-r", "-m", "-sc", "-cp", "-cn", "-cd", "-i")
"""The options of every Hydra program; all else is SETTING=VALUE."""


def unusable(arguments: Sequence[str]) -> str | None:
    """A sentence on the first argument that Hydra would not tell of as well; None where there is none.

    Of what begins with a dash and is no option Hydra would print a list of its own options; of a list of tasks, priors
    or the like it would take the last one without a word.
    """
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if value.startswith("[") and name.isidentifier() and (config.conf_dir() / name).is_dir():
            several = value.strip("[] ")
            return (
                f"{name} takes one value, not the list {value}; write {name}={several} and add -m for a run with each."
            )
        if not argument.startswith("-") or name in _SHORT or any(long.startswith(name) for long in _LONG):
            continue
        if equals:
            return f"Settings have no dashes before them; write {name.lstrip('-')}={value}."
        near = difflib.get_close_matches(name, _LONG, n=1)
        question = f" (did you mean {near[0]}?)" if near else ""
        return f"There is no option {argument}{question}; settings are given as SETTING=VALUE, see --help."
    return None


def sentence(error: Exception, config_name: str, arguments: Sequence[str]) -> str:
    """What is wrong, and what to do, in one sentence.

    Args:
        error: What was raised.
        config_name: The program's file under ``conf/``, whose settings are suggested.
        arguments: The command line, without the program.
    """
    first = first_line(error).strip().rstrip(".")
    if missing := re.search(r"Missing mandatory value: ([\w.]+)", str(error)):
        return f"The setting {missing[1]} must be given, as {missing[1]}=VALUE; see --help for what there is."
    if several := re.search(r"Ambiguous value for argument '(.*)'", first):
        key, _, value = several[1].partition("=")
        return (
            f"{key} has several values, {value}; add -m for a run with each of them, "
            f"or put them in quotes if they are one: {_quoted(key, value)}."
        )
    match error:
        case UserError():
            return str(error)
        case MissingConfigException(missing_cfg_file=str(file), options=[*options]) if "/" in file:
            group, _, choice = file.rpartition("/")
            return f"There is no {group} {choice!r}{config.choose_from(choice, sorted(options))}."
        case OverrideParseException(override=str(override)) if part := re.fullmatch(
            r"([+]*[\w./@-]+)=([^\[{'\"].*)", override
        ):
            return f"The value of {part[1]} is to be put in quotes, for the signs in it: {_quoted(part[1], part[2])}."
        case OverrideParseException(override=str(word)) if word in config.task_names():
            return f"The argument {word!r} is not of the form key=value; for that task, write task={word}."
        case OverrideParseException():
            return f"The argument {error.override!r} is not of the form key=value ({first}); see --help for examples."
        case ConfigCompositionException() if first.startswith("Could not override '"):
            setting = first.removeprefix("Could not override ").strip("'")
            near = _near(setting, _settings(config_name, arguments))
            question = f" (did you mean {' or '.join(near)}?)" if near else ""
            if setting.startswith("prior."):
                return (
                    f"There is no setting {setting!r} of this prior{question}; "
                    "name one that has it, as in prior=product."
                )
            return f"There is no setting {setting!r}{question}; see --help for what there is."
        case OSError(filename=file, strerror=str(reason)):
            return f"{file or 'A file'} cannot be read or written ({reason}); mend that first."
    return f"{first}; see --help for what there is."


def _quoted(key: str, value: str) -> str:
    """An argument whose value is in quotes, and the whole in quotes for the shell."""
    inner = value.replace("'", "\\'")
    return f"\"{key}='{inner}'\""


def _settings(config_name: str, arguments: Sequence[str]) -> list[str]:
    """A program's settings, such as ``search.trials``, under the choices of its command line; none if these are bad."""
    chosen = [argument for argument in arguments if (config.conf_dir() / argument.partition("=")[0]).is_dir()]
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
            composed = OmegaConf.to_container(hydra.compose(config_name, chosen), resolve=False)
    except (HydraException, OmegaConfBaseException, ValueError):
        return []
    return [setting for setting in _keys(composed) if "_target_" not in setting]


def _keys(tree: Any, above: str = "") -> Iterator[str]:
    if isinstance(tree, Mapping):
        for name, inside in tree.items():
            yield f"{above}{name}"
            yield from _keys(inside, f"{above}{name}.")


def _near(setting: str, known: Sequence[str]) -> list[str]:
    """Settings that may have been meant: beside a known one those spelt alike, else those that end alike, if any."""
    above, dot, last = setting.rpartition(".")
    if above in known:
        beside = [each.removeprefix(above + dot) for each in known if each.rpartition(".")[0] == above]
        return [above + dot + each for each in difflib.get_close_matches(last, beside, n=1)]
    alike = [each for each in known if each.endswith(f".{setting}")]
    return alike[:3] or difflib.get_close_matches(setting, known, n=1)
