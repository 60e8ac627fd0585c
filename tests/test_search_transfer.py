"""Searches from a transferred prior: where it comes from, what is told of it, and what they add to a bank."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from omegaconf import OmegaConf
from searching import quick, replace_fit, search

import atjax
from atjax import checkpoint, config
from atjax.bank import append, load_bank
from atjax.bank.records import frame_designs
from atjax.bank.store import append_feature
from atjax.prior import PriorConfig
from atjax.report import read
from atjax.space import Design
from atjax.train import Fit

__all__ = ["quick"]


@pytest.fixture
def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up Fisher stage, with a cache of its own."""
    monkeypatch.setenv("ATJAX_CACHE", str(tmp_path / "cache"))
    alphas = 1 + np.random.default_rng(9).random((12, 5))
    monkeypatch.setattr("atjax.feature.task_statistics", tiny.fisher_stage(alphas))


TRANSFER = (*tiny.TASK, "prior=product", "prior.threshold=2", "projection.iterations=20", "search.trials=1")


@pytest.mark.usefixtures("quick", "features")
def test_trials_are_added_to_a_bank_of_ones_own(tmp_path: Path) -> None:
    bank, own = tiny.fill_bank(tmp_path / "bank"), tmp_path / "own"
    result = search(tmp_path / "run", f"bank={bank}", f"search.append={own}", "search.trials=3", base=TRANSFER)
    grown = load_bank(own)
    assert grown.records["content_hash"].unique().tolist() == [result["task"]["content_hash"]]
    assert set(grown.records["design"]) == {Design(**trial["design"]).key for trial in result["trials"]}
    features = grown.features.set_index("fisher")["values"]
    assert set(features.index) == {tiny.fisher_key("alpha"), tiny.fisher_key("losses")}  # what any prior compares
    np.testing.assert_allclose(features[tiny.fisher_key("alpha")], result["embedding"]["values"]["alpha"])
    search(tmp_path / "other", "seed=1", f"search.append={own}", "search.trials=1")
    assert len(load_bank(own).records) == 4


@pytest.mark.usefixtures("quick")
def test_a_bank_named_on_resuming_gets_the_trials_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(trial: int, outcome: Fit) -> Fit:
        return tiny.unsuccessful(outcome, "failed", "memory") if trial == 1 else outcome

    run, timeless = tmp_path / "run", ["date", "versions", "device"]
    replace_fit(monkeypatch, change)
    search(tmp_path / "whole", "search.trials=4", f"search.append={tmp_path / 'whole_bank'}")
    replace_fit(monkeypatch, change)
    search(run, "search.trials=2")
    monkeypatch.setattr("atjax.search.loop.fit", tiny.made_up)
    search(run, "search.trials=4", f"search.append={tmp_path / 'bank'}", "search.resume=true")
    grown, whole = load_bank(tmp_path / "bank").records, load_bank(tmp_path / "whole_bank").records
    pd.testing.assert_frame_equal(grown.drop(columns=timeless), whole.drop(columns=timeless))
    assert set(grown["state"]) == {"complete", "failed"}


def test_a_trial_is_on_record_before_it_goes_to_the_bank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(folder: Path, record: object) -> None:
        raise OSError(28, "No space left on device", str(folder))

    replace_fit(monkeypatch, lambda _, outcome: outcome)
    monkeypatch.setattr("atjax.bank.store.append", full)
    result = search(tmp_path / "run", "search.trials=2", f"search.append={tmp_path / 'own'}", code=2)
    said = " ".join(capsys.readouterr().err.split())
    assert f"The bank {tmp_path / 'own'} cannot take the trial (No space left on device), which the search" in said
    assert (len(result["trials"]), result["state"]) == (1, "interrupted")
    monkeypatch.undo()
    replace_fit(monkeypatch, lambda _, outcome: outcome)
    resumed = search(tmp_path / "run", "search.trials=2", f"search.append={tmp_path / 'own'}", "search.resume=true")
    assert (len(resumed["trials"]), resumed["state"]) == (2, "complete")
    assert len(load_bank(tmp_path / "own").records) == 2


@pytest.mark.usefixtures("quick", "features")
def test_whole_designs_that_rank_first_are_tried_first(tmp_path: Path) -> None:
    bank = tiny.fill_bank(tmp_path / "bank")
    result = search(tmp_path / "run", f"bank={bank}", "prior=rank", base=TRANSFER)
    assert (result["prior_source"], result["prior_name"]) == ("transfer", "rank")
    seen = {design.key for design in frame_designs(load_bank(bank).records)}
    assert Design(**result["trials"][0]["design"]).key in seen


@pytest.mark.usefixtures("quick", "features")
def test_the_transferred_prior_is_used_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = tiny.fill_bank(tmp_path / "bank")
    result = search(tmp_path / "run", f"bank={bank}", base=TRANSFER)
    assert (result["prior_source"], result["prior_name"]) == ("transfer", "product")
    assert result["prior_reason"] == "4 of 4 tasks of the bank lie within distance 2."
    embedding = result["embedding"]
    assert embedding is not None
    assert {name: [len(row) for row in rows] for name, rows in embedding["values"].items()} == {"alpha": [5] * 12}
    assert np.linalg.norm(embedding["feature"]) == pytest.approx(1)  # type: ignore[arg-type]
    assert np.linalg.norm(embedding["vector"]) == pytest.approx(1, abs=1e-5)  # type: ignore[arg-type]
    assert sorted(near["task"] for near in embedding["nearest"]) == ["a", "b", "c", "d"]
    assert sum(near["weight"] for near in embedding["nearest"]) == pytest.approx(1)  # type: ignore[misc]
    for table in result["prior"].values():
        assert sum(table.values()) == pytest.approx(1)  # type: ignore[arg-type]
        assert min(table.values()) > 0  # type: ignore[type-var, operator]
    assert result["prior"]["convolution"] != pytest.approx(dict.fromkeys(result["prior"]["convolution"], 0.2))
    assert set(result["seconds"]) == {"data", "feature", "prior", "search", "total"}
    assert "4 of 4 tasks of the bank" in capsys.readouterr().out.replace("\n", " ")
    again = search(tmp_path / "run", f"bank={bank}", base=TRANSFER)
    assert tiny.timeless(again) == tiny.timeless(result)


@pytest.mark.usefixtures("quick", "features")
def test_the_result_tells_what_the_prior_came_from(tmp_path: Path) -> None:
    bank = tiny.fill_bank(tmp_path / "bank")
    settings = search(tmp_path / "run", f"bank={bank}", "prior.top_k=3", base=TRANSFER)["settings"]
    told = {"bank": str(bank), "fisher": tiny.fisher_key(), "prior.top_k": 3, "prior.threshold": 2}
    assert settings is not None
    assert told.items() <= settings.items()
    assert search(tmp_path / "plain", f"bank={bank}", "search.prior=uniform", base=TRANSFER)["settings"] is None


@pytest.mark.usefixtures("quick", "features")
def test_a_sweep_over_fisher_settings_has_a_run_directory_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bank = f"bank={tiny.fill_bank(tmp_path / 'bank')}"
    assert tiny.run("search", "-m", *TRANSFER, bank, "fisher=auto,losses") == 0
    runs = {run.name: read(run)["settings"] for run in (tmp_path / "runs" / "digits").iterdir()}
    assert {name: settings["fisher"].split("-")[0] for name, settings in runs.items() if settings is not None} == {
        "random-product-quick-seed0": "alpha",
        "random-product-losses-quick-seed0": "alpha+first_losses",
    }


@pytest.mark.usefixtures("quick", "features")
def test_resume_refuses_another_prior_of_the_same_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank, other = tiny.fill_bank(tmp_path / "bank"), tiny.fill_bank(tmp_path / "other", "abcde")
    run, arguments = tmp_path / "run", (f"bank={bank}", "search.resume=true")

    def refused(sentence: str, *changed: str) -> None:
        before = tiny.files(run), (run / "result.json").read_bytes()
        capsys.readouterr()
        search(run, *arguments, *changed, code=2, base=TRANSFER)
        assert sentence in capsys.readouterr().err
        assert (tiny.files(run), (run / "result.json").read_bytes()) == before

    first = search(run, *arguments, base=TRANSFER)
    assert len(search(run, *arguments, "search.trials=2", base=TRANSFER)["trials"]) == 2
    refused("holds a search with prior.power 4.0, not 3.0", "prior.power=3.0")
    refused("holds a search with projection.iterations 20, not 25", "projection.iterations=25")
    refused(f"holds a search with bank '{bank}', not '{other}'", f"bank={other}")
    other.rename(tmp_path / "third")
    bank.rename(other)
    (tmp_path / "third").rename(bank)
    refused("holds a search from a prior of other probabilities, as one of a changed bank")
    del first["settings"]  # as an earlier version wrote it
    (run / "result.json").write_text(json.dumps(first))
    refused("holds a search from a prior of other probabilities", f"bank={other}", "prior.epsilon=0.2")
    assert len(search(run, *arguments, f"bank={other}", "search.trials=2", base=TRANSFER)["trials"]) == 2


@pytest.mark.usefixtures("quick", "features")
def test_resume_refuses_other_fisher_settings_where_both_fall_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither names nor probabilities tell such searches apart."""
    bank = f"bank={tiny.fill_bank(tmp_path / 'bank', 'ab')}"
    search(tmp_path / "run", bank, base=TRANSFER)
    search(tmp_path / "run", bank, "fisher.seeds=4", "search.resume=true", code=2, base=TRANSFER)
    assert f"holds a search with fisher '{tiny.fisher_key()}', not 'alpha-h64-r4-" in capsys.readouterr().err


@pytest.mark.usefixtures("quick", "features")
def test_the_tasks_own_records_are_never_used(tmp_path: Path) -> None:
    """Perfect scores on this very task, under another name, and under its name with other data: nothing changes."""
    bank = tiny.fill_bank(tmp_path / "bank")
    clean = search(tmp_path / "clean", f"bank={bank}", base=TRANSFER)
    task = atjax.load_task("digits", count=40)
    rows = load_bank(bank)
    for name, content in [("alias", task.content_hash), ("digits", "f" * 64)]:
        for number, design in enumerate(atjax.paper_space()):
            if number % 1500 == 0:
                append(bank, tiny.record(name, content, design, 1.0))
        first = rows.features.iloc[0]
        append_feature(
            bank,
            tiny.FeatureRow(name, "graph", content, 0, first["fisher"], np.ones((12, 5)), 1.0, "{}", "2030-01-01"),
        )
    assert len(load_bank(bank).tasks) == 6
    salted = search(tmp_path / "salted", f"bank={bank}", base=TRANSFER)
    assert tiny.timeless(salted) == tiny.timeless(clean)


@pytest.mark.usefixtures("quick", "features")
@pytest.mark.parametrize(
    ("bank_of", "arguments", "message", "warning"),
    [
        (
            {"budget": "paper"},
            (),
            "The bank has 0 other tasks",
            "the bank has no records of the budget quick, only of p",
        ),
        ({"tasks": "ab"}, (), "The bank has 2 other tasks", "The bank has 2 other tasks with records of this budget"),
        ({"designs": 7}, (), "The bank's tasks share too few designs", None),
        ({}, ("fisher.hidden=32",), "The bank has 0 other tasks", "The bank has 0 other tasks with records of this"),
        ({}, ("prior.threshold=0",), "No task of the bank lies within distance 0. The prior is uniform.", None),
    ],
)
def test_without_comparable_tasks_the_prior_is_uniform_and_says_so(
    bank_of: dict,
    arguments: tuple[str, ...],
    message: str,
    warning: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bank = tiny.fill_bank(tmp_path / "bank", **bank_of)
    result = search(tmp_path / "run", f"bank={bank}", *arguments, base=TRANSFER)
    out = " ".join(capsys.readouterr().out.split())
    assert (result["prior_source"], result["prior_name"]) == ("uniform", "product")
    assert result["prior_reason"] is not None
    assert result["prior_reason"].startswith(message)
    assert out.count(message) == 2 + (warning or "").count(message)  # where designs come from, and nothing transferred
    assert "uniform (fall-back) prior" in out
    assert ("prior will be uniform." in out) == (warning is not None)
    assert warning is None or f"Warning: {warning}" in out
    if arguments == ("fisher.hidden=32",):
        assert re.search(rf"Wanted are alpha-h32-r5-\w+; its features are {tiny.fisher_key()} of 4\.", out)
    for table in result["prior"].values():
        assert table == pytest.approx(dict.fromkeys(table, 1 / len(table)))
    plain = search(tmp_path / "plain", "search.prior=uniform", base=TRANSFER)
    assert [trial["design"] for trial in result["trials"]] == [trial["design"] for trial in plain["trials"]]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("bank_of", [{"budget": "paper"}, {"tasks": "ab"}], ids=["budget", "tasks"])
def test_without_comparable_tasks_there_is_no_fisher_stage(
    bank_of: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take minutes for nothing; a feature that is asked for, as for the bank, is computed all the same."""
    asked: list[str] = []

    def statistics(task: atjax.Task, config: object, names: list[str], **rest: object) -> dict:
        asked.append(task.name)
        return tiny.fisher_stage(np.ones((12, 2)) + np.arange(12)[:, None])(task, config, names, **rest)

    monkeypatch.setenv("ATJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("atjax.feature.task_statistics", statistics)
    bank = tiny.fill_bank(tmp_path / "bank", **bank_of)
    result = search(tmp_path / "run", f"bank={bank}", base=TRANSFER)
    assert (asked, result["prior_source"], result["seconds"]["feature"]) == ([], "uniform", 0)
    found = atjax.transfer_prior(atjax.load_task("digits", count=40), load_bank(bank))
    assert found.feature is not None
    assert (asked, found.prior.reason) == (["digits"], result["prior_reason"])
    search(tmp_path / "kept", f"bank={bank}", f"search.append={tmp_path / 'own'}", base=TRANSFER)
    assert len(asked) > 1
    assert len(load_bank(tmp_path / "own").features)


@pytest.mark.usefixtures("quick", "features")
def test_a_calibrated_prior_of_alpha_alone_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = tiny.fill_bank(tmp_path / "bank")
    for number, (prior, fisher, warned) in enumerate(
        (("calibrated", "alpha", True), ("calibrated", "auto", False), ("rank", "alpha", False))
    ):
        search(tmp_path / str(number), f"bank={bank}", f"prior={prior}", f"fisher={fisher}", base=TRANSFER)
        out = " ".join(capsys.readouterr().out.split())
        assert ("Warning: prior=calibrated is made for fisher=losses, and takes it where fisher is" in out) == warned


@pytest.mark.usefixtures("quick", "features")
def test_the_default_prior_follows_the_level(tmp_path: Path) -> None:
    """In Python and on the command line, and in all that is written of it."""
    bank = tiny.fill_bank(tmp_path / "bank", fisher=("alpha", "losses"))
    for task, level, prior, fisher in (
        ("digits", "graph", "product", "alpha"),
        ("digits_knn", "node", "frugal", "losses"),
    ):
        arguments = (f"task={task}", "projection.iterations=20", "search.trials=1", f"bank={bank}")
        result = search(tmp_path / task, base=arguments)
        assert (result["task"]["level"], result["prior_source"], result["prior_name"]) == (level, "transfer", prior)
        settings = result["settings"]
        assert settings is not None
        assert (settings["prior.name"], settings["fisher"]) == (prior, tiny.fisher_key(fisher))
        kept = OmegaConf.load(tmp_path / task / "config.yaml")
        assert (kept.prior.name, config.build(kept.fisher).key) == (prior, tiny.fisher_key(fisher))
        found = atjax.transfer_prior(atjax.load_task(task), load_bank(bank))
        assert (found.prior.name, found.feature.fisher) == (prior, tiny.fisher_key(fisher))


@pytest.mark.usefixtures("quick", "features")
def test_a_broken_bank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = tiny.fill_bank(tmp_path / "bank")
    broken = next((bank / "records").iterdir())
    broken.write_bytes(broken.read_bytes()[:200])
    for folder, message in [
        (bank, f"{broken} is no readable Parquet file, perhaps cut off; delete it"),
        (tmp_path / "none", f"There is no bank at {tmp_path / 'none'}; build one"),
        (tmp_path / "cache", f"The folder {tmp_path / 'cache'} holds no records of a bank"),
    ]:
        (tmp_path / "cache").mkdir(exist_ok=True)
        capsys.readouterr()
        assert tiny.run("search", *TRANSFER, f"bank={folder}", f"hydra.run.dir={tmp_path / 'run'}") == 2
        err = capsys.readouterr().err
        assert err.startswith(f"atjax: {message}")
        assert err.count("\n") == 1
        assert not [path for path in tmp_path.glob("run/**/*") if path.is_file()]


@pytest.mark.usefixtures("quick", "features")
def test_names_that_are_numbers_are_text(tmp_path: Path) -> None:
    names = ("task.name=2024", "prior.name=5", "budget.name=7")
    bank = tiny.fill_bank(tmp_path / "bank", budget="7")
    result = search(tmp_path / "run", *names, f"bank={bank}", f"search.append={tmp_path / 'own'}", base=TRANSFER)
    assert (result["task"]["name"], result["prior_name"], result["budget"]["name"]) == ("2024", "5", "7")
    assert (result["prior_source"], checkpoint.load(tmp_path / "run").info["task"]) == ("transfer", "2024")
    assert set(load_bank(tmp_path / "own").records["task"]) == {"2024"}
    assert (PriorConfig(name=5).name, tiny.path_task(2024).name) == ("5", "2024")  # type: ignore[arg-type]
