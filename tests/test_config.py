"""Tasks by name, and the sentences for what is not there."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pooch
import pytest
from hydra import compose, initialize_config_dir

from atjax import config, levels, load_bank
from atjax.config import conf_dir, data_root, load_task, task_names
from atjax.embedding import ProjectionConfig
from atjax.errors import UserError
from atjax.fisher import FisherConfig
from atjax.prior import PriorConfig
from atjax.task import Level

ALL = [
    *("amazon_computers", "amazon_photo", "bzr", "citeseer", "coauthor_cs", "coauthor_physics", "cora", "cox2", "dd"),
    *("digits", "digits_knn", "enzymes", "imdb_multi", "mutag", "proteins"),
    *("actor", "chameleon", "chameleon_filtered", "cornell", "minesweeper", "texas", "wisconsin"),
    *("cora_full", "ogb", "ogbn_arxiv", "pubmed", "synthetic"),
    *("aids", "geom_gcn", "imdb_binary", "msrc_9", "mutagenicity", "nci1", "ptc_mr", "tu"),
]


def test_names() -> None:
    assert set(ALL) <= set(task_names())
    assert task_names() == sorted(task_names())
    assert {"digits", "digits_knn", "synthetic"} <= set(task_names(offline=True))
    assert not {"cox2", "cora", "amazon_photo"} & set(task_names(offline=True))


FAMILIES = {"custom", "geom_gcn", "links", "ogb", "synthetic", "tu"}
"""Files for many sets: each task is named by its set."""


def test_each_file_names_itself() -> None:
    for name in set(task_names()) - FAMILIES:
        assert f"\nname: {name}\n" in (conf_dir() / "task" / f"{name}.yaml").read_text()


def test_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATJAX_DATA", raising=False)
    assert data_root() == Path(pooch.os_cache("atjax")) / "data"
    monkeypatch.setenv("ATJAX_DATA", "here")
    assert data_root() == tmp_path / "here"
    assert data_root("there") == tmp_path / "there"
    assert data_root(tmp_path / "x") == tmp_path / "x"
    assert data_root("~/x") == Path.home() / "x"
    monkeypatch.setenv("ATJAX_DATA", "")
    assert data_root() == Path(pooch.os_cache("atjax")) / "data"


def test_a_task_may_be_called_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of many sets takes the name for the set, as on the command line."""

    def offline(url: str, path: Path) -> None:
        raise OSError("offline")

    monkeypatch.setattr("atjax.sources.files._download", offline)
    assert load_task("digits", count=40, name="ink").name == "ink"
    with pytest.raises(UserError, match=r"^NCI109: .*NCI109.* not found under"):
        load_task("tu", name="NCI109", data_root=tmp_path)


def test_options_reach_the_source() -> None:
    assert load_task("digits", count=40).num_examples == 40


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cox", {}, r"There is no task 'cox' \(did you mean cox2\?\); choose from actor, .*proteins"),
        ("zzz", {}, r"There is no task 'zzz'; choose from actor, aids, "),
        ("../task/cox2", {}, "There is no task"),
        ("digits", {"cuont": 3}, r"'digits' has no option 'cuont' \(did you mean count\?\); choose from count"),
        ("cox2", {"root": "x"}, "'cox2' has no option 'root'.* choose from attributes, cleaned, content"),
        ("digits", {"count": 5}, "count=5 is out of range; give a whole number, 10 to 1797"),
        ("digits", {"count": "many"}, "count='many' is out of range"),
        ("digits_knn", {"neighbours": 0}, "neighbours=0 is out of range"),
        ("cox2", {"cleaned": "yes"}, "cleaned='yes' is neither true nor false"),
        ("tu", {}, "The task 'tu' is for many sets; say which, with dataset=NAME"),
        ("tu", {"dataset": "../x"}, r"\.\./x: dataset='\.\./x' is no name of a set"),
        ("tu", {"dataset": 3}, "3: dataset=3 is no name of a set"),
        ("dd", {"cleaned": True}, "no cleaned version of DD is known; take cleaned=false"),
    ],
)
def test_user_faults(name: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_task(name, **options)


def test_the_embedded_bank_has_both_features_of_every_task() -> None:
    """Settings that differ in the statistic alone, each with a feature of all tasks."""
    alpha, losses = (config.load("fisher", name) for name in ("alpha", "losses"))
    assert losses.key == dataclasses.replace(alpha, statistic=("alpha", "first_losses")).key
    bank = load_bank()
    for settings, entries in ((alpha, 12), (losses, 12 + 120)):
        rows = bank.features[bank.features["fisher"] == settings.key]
        assert set(rows["content_hash"]) == set(bank.records["content_hash"])
        assert {values.shape for values in rows["values"]} == {(entries, settings.seeds)}


def test_the_files_and_the_classes_have_the_same_defaults() -> None:
    """Python users who give no settings get what the command line gives."""
    assert config.load("prior", "product") == PriorConfig()
    assert config.load("prior", "rank") == PriorConfig("rank", joint=True)
    assert config.load("prior", "calibrated") == PriorConfig(
        "calibrated",
        **{"threshold": 2.0, "joint": True, "keep": 0.5, "reweigh": 1.0, "weights": "calibrated"},
        statistic=("alpha", "first_losses"),
    )
    assert config.load("prior", "frugal") == dataclasses.replace(
        config.load("prior", "calibrated"), name="frugal", price=0.05
    )
    assert config.load("projection", "default") == ProjectionConfig()
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        composed = compose("search")
        others = {
            (group, name): compose("search", [f"{group}={name}"])[group]
            for group in ("prior", "fisher", "budget")
            for name in sorted(file.stem for file in (config.conf_dir() / group).glob("*.yaml"))
        }
    for group in ("fisher", "space", "budget", "projection"):
        assert config.default(group) == config.build(composed[group])
    for (group, name), node in others.items():
        assert config.load(group, name) == config.build(node)
    assert config.load("fisher", "auto") == config.load("fisher", "alpha")


def test_the_prior_and_what_it_compares_follow_the_level() -> None:
    product, calibrated, frugal = (config.load("prior", name) for name in ("product", "calibrated", "frugal"))
    alpha, losses = config.load("fisher", "alpha"), config.load("fisher", "losses")

    def settled(level: Level, *arguments: str) -> tuple[PriorConfig, FisherConfig]:
        with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
            composed = compose("search", list(arguments))
        before = composed.copy()
        own = levels.at_level(composed, level)
        assert composed == before
        return config.build(own.prior), config.build(own.fisher)

    assert settled("node") == (frugal, losses)
    assert settled("edge") == (frugal, losses)
    assert settled("graph") == (product, alpha)
    every: tuple[Level, ...] = ("node", "graph", "edge")
    assert [levels.default_prior(level) for level in every] == [frugal, product, frugal]
    # What is said outright stands.
    assert settled("graph", "prior=calibrated") == (calibrated, losses)
    assert settled("node", "prior=rank") == (config.load("prior", "rank"), alpha)
    assert settled("node", "fisher=alpha") == (frugal, alpha)
    assert settled("node", "prior.by_level.node=product") == (product, alpha)
    meta = dataclasses.replace(alpha, statistic=("meta",), seeds=3)
    assert settled("node", "fisher.statistic=[meta]", "fisher.seeds=3") == (frugal, meta)


def test_a_bank_gets_what_every_prior_compares() -> None:
    alpha, losses = config.load("fisher", "alpha"), config.load("fisher", "losses")
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        asked = {name: compose("build_bank", [f"fisher={name}"]).fisher for name in ("auto", "alpha", "losses")}
        less = compose("build_bank", ["fisher.seeds=2"]).fisher
    assert {name: levels.compared(node) for name, node in asked.items()} == {
        "auto": [alpha, losses],
        "alpha": [alpha],
        "losses": [losses],
    }
    assert levels.compared(less) == [dataclasses.replace(each, seeds=2) for each in (alpha, losses)]


def test_searches_from_other_priors_have_run_directories_of_their_own() -> None:
    config.teach_omegaconf()
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        chosen = [[f"prior={name}"] for name in ("auto", "product", "rank", "calibrated")] + [["search.prior=uniform"]]
        chosen += [[*arguments, "fisher=losses"] for arguments in chosen[3:]]
        composed = [compose("search", arguments, return_hydra_config=True).hydra for arguments in chosen]
    priors = ("auto", "product", "rank", "calibrated", "uniform", "calibrated-losses", "uniform")
    names = [f"digits/random-{name}-quick-seed0" for name in priors]
    assert [hydra.sweep.subdir for hydra in composed] == names
    assert [hydra.run.dir for hydra in composed] == [f"runs/{name}" for name in names]


def test_a_budget_is_named_by_its_values() -> None:
    config.teach_omegaconf()
    quick = config.load("budget", "quick")
    assert (quick.name, config.load("budget", "paper").name) == ("quick", "paper")
    less = dataclasses.replace(quick, batch_size=16)
    assert re.fullmatch(r"quick-[0-9a-f]{6}", less.name)
    assert dataclasses.replace(quick, batch_size=8).name not in (less.name, "quick")
    assert dataclasses.replace(less, batch_size=32) == quick  # not quick-...-...
    assert dataclasses.replace(less, name="mine").name == "mine"
    whole = dataclasses.replace(config.load("budget", "paper"), epochs_scale={"graph": 1, "edge": 1, "node": 1})
    assert whole.name == "paper"
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        composed = compose("search", ["budget.batch_size=16"], return_hydra_config=True)
    assert config.build(composed.budget) == less
    assert composed.hydra.run.dir == f"runs/digits/random-auto-{less.name}-seed0"
    assert composed.hydra.sweep.subdir == f"digits/random-auto-{less.name}-seed0"


def test_a_path_names_its_task_in_its_own_letters() -> None:
    names = {"my graphs/": "my_graphs", "données été.zip": "données_été", "a/graphs.v2": "graphs", "分子": "分子"}
    assert {path: config.name_of_path(path) for path in names} == names
    assert config.name_of_path("a/???") == "_"
