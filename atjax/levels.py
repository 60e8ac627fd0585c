"""What a configuration leaves to the level of the task: which prior, and what of the tasks it compares.

The prior ``auto`` names another for each level, and ``fisher.statistic`` is null where it is what the prior compares.
"""

from __future__ import annotations

import dataclasses

from omegaconf import DictConfig

from atjax import config
from atjax.errors import UserError
from atjax.fisher import FisherConfig
from atjax.fisher.engine import check_names
from atjax.prior import PriorConfig
from atjax.task import Level


def at_level(cfg: DictConfig, level: Level) -> DictConfig:
    """A configuration for tasks of one level, with nothing left open.

    Raises:
        UserError: There is no such prior.
    """
    settled = cfg.copy()
    settled.prior = _prior_at(cfg.prior, level)
    if settled.fisher.statistic is None:
        settled.fisher.statistic = settled.prior.statistic
    return settled


def fisher_of(fisher: DictConfig) -> FisherConfig:
    """Settings of the Fisher stage, whose names are known: better told now than after what comes before that stage.

    Raises:
        UserError: There is no such statistic or estimator.
    """
    built: FisherConfig = config.build(fisher)
    check_names(built.statistic, built.estimator.values())
    return built


def default_prior(level: Level) -> PriorConfig:
    """The prior that ``conf/search.yaml`` takes for tasks of a level if nothing else is said."""
    prior = _prior_at(config.composed("prior", config.default_choice("prior")), level)
    built: PriorConfig = config.build(prior)
    return built


def compared(fisher: DictConfig) -> list[FisherConfig]:
    """The settings of every feature that a bank needs.

    Those of ``fisher`` alone; but where its ``statistic`` is null, those settings with what each prior under
    ``conf/prior`` compares.

    Raises:
        UserError: There is no such statistic or estimator.
    """
    built = fisher_of(fisher)
    if fisher.statistic is not None:
        return [built]
    priors = [config.composed("prior", name) for name in config.choices("prior")]
    statistics = {tuple(prior.statistic) for prior in priors if "statistic" in prior}
    return [dataclasses.replace(built, statistic=each) for each in sorted(statistics)]


def _prior_at(prior: DictConfig, level: Level) -> DictConfig:
    if "by_level" not in prior:
        return prior
    names = config.choices("prior")
    if prior.name in names and "by_level" not in config.composed("prior", prior.name):
        raise UserError(f"prior.name={prior.name} would only name the prior; to take it, write prior={prior.name}.")
    name = str(prior.by_level[level])
    if name not in names or name == prior.name:
        rest = [each for each in names if each != prior.name]
        raise UserError(f"prior.by_level.{level}: there is no prior {name!r}{config.choose_from(name, rest)}.")
    return config.composed("prior", name)
