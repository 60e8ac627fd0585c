"""From a task to its prior: each stage gets what it should, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny

from atjax import api, config
from atjax.bank import load_bank
from atjax.embedding import ProjectionConfig
from atjax.prior import PriorConfig, prior_from_bank
from atjax.report import read
from atjax.space import paper_space
from atjax.transfer import transfer

SETTINGS = PriorConfig(threshold=2)
PROJECTION = ProjectionConfig(iterations=20)


@pytest.fixture(autouse=True)
def alphas(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A made-up Fisher stage."""
    values = 1 + np.random.default_rng(5).random((12, 5))
    monkeypatch.setattr("atjax.feature.task_statistics", tiny.fisher_stage(values))
    return values


def test_a_transfer_is_its_stages_one_after_another(alphas: np.ndarray, tmp_path: Path) -> None:
    task, bank = tiny.path_task("a"), load_bank(tiny.fill_bank(tmp_path, "abcde"))
    found = transfer(
        task,
        bank,
        paper_space(),
        budget="quick",
        fisher=config.default("fisher"),
        seed=3,
        prior=SETTINGS,
        projection=PROJECTION,
    )
    prior, embedding = prior_from_bank(
        alphas.mean(axis=1),  # not scaled to norm 1
        "graph",
        bank,
        paper_space(),
        exclude_hash=task.content_hash,
        exclude_name="a",
        fisher=tiny.fisher_key(),
        budget="quick",
        config=SETTINGS,
        projection=PROJECTION,
        seed=3,
    )
    assert found.prior == prior
    assert {name for name, _, _ in prior.nearest} == set("bcde")  # a is left out by its name
    np.testing.assert_array_equal(found.embedding.novel, embedding.novel)  # type: ignore[union-attr]
    np.testing.assert_array_equal(found.feature.values, alphas)
    told = {"bank": str(tmp_path), "fisher": tiny.fisher_key(), "prior.threshold": 2, "projection.iterations": 20}
    assert told.items() <= found.settings.items()
    assert len(found.settings) == 1 + len(dataclasses.fields(PriorConfig)) + len(dataclasses.fields(ProjectionConfig))
    assert "prior.statistic" not in found.settings
    assert set(found.seconds) == {"feature", "prior"}
    assert min(found.seconds.values()) >= 0


def test_the_python_interface_has_the_defaults_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATJAX_CACHE", str(tmp_path / "cache"))
    task, bank = tiny.path_task(), load_bank(tiny.fill_bank(tmp_path / "bank"))
    feature = api.task_feature(task)
    assert not feature.cached
    assert api.task_feature(task).cached
    assert not api.task_feature(task, seed=1).cached
    assert feature.fisher == tiny.fisher_key()
    got: dict = {}

    def spy(*args: object, **kwargs: object) -> str:
        got.update(kwargs, args=args)
        return "transfer"

    monkeypatch.setattr("atjax.api.transfer", spy)
    assert api.transfer_prior(task, bank) == "transfer"
    assert callable(got.pop("progress"))
    assert got == {
        **{
            "args": (task, bank, paper_space()),
            "budget": "quick",
            "fisher": config.default("fisher"),
            "seed": 0,
        },
        **{"prior": config.load("prior", "product"), "cache": tmp_path / "cache" / "features"},
    }


@pytest.mark.slow
def test_the_command_with_a_real_fisher_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build a bank of three tasks and search from it, all for real."""
    monkeypatch.undo()  # the made-up Fisher stage
    small = (
        *("budget.hidden.64=4", "budget.hidden.256=4", "budget.epochs_scale.graph=0.01"),
        *("fisher=alpha", "fisher.hidden=4", "fisher.seeds=1", "fisher.max_passes={graph:4,node:4}"),
        f"bank={tmp_path / 'bank'}",
    )
    for number, count in enumerate((30, 40, 50)):
        arguments = (*small, f"task.count={count}", f"task.name=t{number}", "designs=8")
        assert tiny.run("build_bank", "task=digits", *arguments) == 0
    run = f"hydra.run.dir={tmp_path / 'run'}"
    arguments = (*small, "task.count=60", "prior=product", "prior.threshold=2", "search.trials=2", run)
    assert tiny.run("search", "task=digits", *arguments) == 0
    result = read(tmp_path / "run")
    assert result["prior_source"] == "transfer"
    assert result["embedding"] is not None
    assert len(result["embedding"]["nearest"]) == 3
