"""The search end to end: what it writes, that it is reproducible, and that breaking it off loses nothing."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
from searching import UNIFORM, quick, replace_fit, search, stop_at

import atjax
from atjax import checkpoint
from atjax.errors import UserError
from atjax.prior import Prior, uniform_prior
from atjax.report import Result, read, write
from atjax.search.loop import Recorded, SearchConfig, run_trials
from atjax.space import FIELDS, Design
from atjax.task import Task
from atjax.train import Fit

__all__ = ["quick"]


# What a search writes; with real trainings


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a search with real trainings."""
    folder = tmp_path_factory.mktemp("trained")
    search(folder, "search.trials=4", "task.count=60")
    return folder


def test_the_result(trained: Path) -> None:
    result = read(trained)
    assert (result["state"], result["seed"], result["algorithm"]) == ("complete", 0, "random")
    assert (result["prior_source"], result["prior_name"]) == ("uniform", "uniform")
    assert (result["space"], result["embedding"]) == ("tiny", None)
    assert [trial["number"] for trial in result["trials"]] == [0, 1, 2, 3]
    assert {trial["state"] for trial in result["trials"]} == {"complete"}
    designs = [Design(**trial["design"]) for trial in result["trials"]]
    assert len(set(designs)) == 4
    assert all(design in tiny.space() for design in designs)
    assert result["prior"] == {
        dimension.name: {str(choice): pytest.approx(1 / len(dimension.choices)) for choice in dimension.choices}
        for dimension in tiny.space().dimensions
    }
    assert result["budget"] == {
        **{"name": tiny.BUDGET.name, "hidden": {"64": 4, "256": 4}, "batch_size": 32},
        "epochs_scale": {"graph": 0.01, "edge": 0.025, "node": 0.025},
        "eval_every": {"graph": 2, "edge": 5, "node": 5},
    }
    assert result["task"]["examples"] == {"train": 48, "validation": 6, "test": 6}
    seconds = result["seconds"]
    assert seconds["total"] == pytest.approx(seconds["data"] + seconds["search"])  # type: ignore[operator]
    for trial, design in zip(result["trials"], designs):
        curve = trial["curve"]
        assert curve is not None
        at = curve["epoch"].index(trial["epoch"])  # type: ignore[arg-type]
        assert (curve["validation"][at], curve["test"][at]) == (trial["validation"], trial["test"])
        assert trial["validation"] == max(curve["validation"])  # type: ignore[type-var]
        assert curve["epoch"] == list(range(2, design.epochs // 100 + 1, 2))


def best_by_validation(result: Result) -> int:
    """The best trial by a plain reading of the rule: best validation, then lower validation loss; never by test."""
    done = [trial for trial in result["trials"] if trial["state"] == "complete"]
    return min(done, key=lambda t: (-t["validation"], t["validation_loss"]))["number"]  # type: ignore[operator]


def test_the_best_is_picked_by_validation(trained: Path) -> None:
    result = read(trained)
    best = result["best"]
    assert best is not None
    trial = result["trials"][best_by_validation(result)]
    assert best == {key: trial[key] for key in best}  # type: ignore[literal-required]


def test_the_files(trained: Path) -> None:
    result = read(trained)
    top = {path.name for path in trained.iterdir()}
    assert top == {"result.json", "trials.csv", "report.html", "best_model", "config.yaml"}
    with open(trained / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, trial in zip(rows, result["trials"], strict=True):
        assert int(row["number"]) == trial["number"]
        assert float(row["validation"]) == trial["validation"]
        assert float(row["test"]) == trial["test"]
        for field in FIELDS:
            value = trial["design"][field]
            assert row[field] == ("" if value is None else str(value))
    page = (trained / "report.html").read_text()
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert "<svg" in page


def test_the_model_repeats_its_test_metric_in_a_new_process(trained: Path) -> None:
    code = (
        "import atjax, numpy, sys; task = atjax.load_task('digits', count=60); model = atjax.load(sys.argv[1]);"
        "test = task.split(0).test; all = model.predict(task.graphs)[test];"
        "print(numpy.mean(all == task.labels[test]), numpy.array_equal(all, model.predict(task.graphs.take(test))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(trained)], capture_output=True, text=True, env=tiny.environment()
    )
    assert done.returncode == 0, done.stderr
    metric, alike = done.stdout.split()
    best = read(trained)["best"]
    assert best is not None
    assert float(metric) == best["test"]
    assert alike == "True"


def test_the_same_command_gives_the_same_result(trained: Path, tmp_path: Path) -> None:
    again = search(tmp_path / "again", "search.trials=4", "task.count=60")
    assert tiny.timeless(again) == tiny.timeless(read(trained))
    other = search(tmp_path / "other", "search.trials=4", "task.count=60", "seed=1")
    assert tiny.timeless(other)["trials"] != tiny.timeless(again)["trials"]


# One run after another; from here on trainings are made up


@pytest.mark.usefixtures("quick")
def test_an_earlier_run_is_set_aside(tmp_path: Path) -> None:
    first = search(tmp_path / "run", "search.trials=2")
    second = search(tmp_path / "run", "search.trials=2", "seed=1")
    third = search(tmp_path / "run", "search.trials=3", "seed=2")
    assert read(tmp_path / "run" / "previous" / "1") == first
    assert read(tmp_path / "run" / "previous" / "2") == second
    assert read(tmp_path / "run") == third
    assert checkpoint.load(tmp_path / "run" / "previous" / "1").info["seed"] == 0
    assert checkpoint.load(tmp_path / "run").info["seed"] == 2
    assert {path.name for path in (tmp_path / "run" / "previous" / "1").iterdir()} == {
        *("result.json", "trials.csv", "report.html", "best_model", "config.yaml")
    }


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("number", range(5))
def test_a_stop_while_a_run_is_set_aside_loses_nothing_of_it(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop comes after each of the moves."""
    run = tmp_path / "run"
    first = search(run, "search.trials=1")
    files = {path.name for path in run.iterdir()}
    moves, move = itertools.count(), os.replace

    def stopping(source: Path, target: Path) -> None:
        move(source, target)
        if target.parent.parent.name == "previous" and next(moves) == number:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("atjax.search.run.os.replace", stopping)
        assert tiny.run("search", *UNIFORM, f"hydra.run.dir={run}", "search.trials=1", "seed=1") == 130
    search(run, "search.trials=1", "seed=2")
    previous = sorted((run / "previous").iterdir())
    aside = {path.name: path for folder in previous for path in folder.iterdir()}
    assert set(aside) == files
    assert read(aside["result.json"]) == first
    assert checkpoint.load(aside["best_model"]).info["seed"] == 0
    assert checkpoint.load(run).info["seed"] == 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("resume", [False, True])
def test_a_model_that_a_kill_left_under_its_other_name_is_the_runs(resume: bool, tmp_path: Path) -> None:
    search(tmp_path, "search.trials=1")
    (tmp_path / "best_model").rename(tmp_path / ".best_model.old")
    search(tmp_path, "search.trials=1", f"search.resume={resume}")
    assert (tmp_path / ("." if resume else "previous/1") / "best_model").exists()
    assert not (tmp_path / ".best_model.old").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("resume", [False, True])
def test_a_model_that_a_kill_left_without_a_result_is_set_aside(resume: bool, tmp_path: Path) -> None:
    run = tmp_path / "run"
    search(run, "search.trials=1")
    left = (run / "best_model" / "model.json").read_bytes()
    for path in run.iterdir():
        if path.is_file():
            path.unlink()
    again = search(run, "search.trials=1", "seed=1", f"search.resume={resume}")
    assert (again["seed"], checkpoint.load(run).info["seed"]) == (1, 1)
    assert (run / "previous" / "1" / "best_model" / "model.json").read_bytes() == left


@pytest.mark.usefixtures("quick")
def test_the_python_function_does_as_the_command(tmp_path: Path) -> None:
    command = search(tmp_path / "command", "search.trials=3", "seed=4")
    task = atjax.load_task("digits", count=40)
    function = atjax.search(  # type: ignore[operator]
        task, trials=3, seed=4, space=tiny.space(), budget=tiny.BUDGET, folder=tmp_path / "function"
    )
    assert tiny.timeless(function) == tiny.timeless(command)
    written = tiny.timeless(read(tmp_path / "function"))
    assert written == tiny.timeless(command)


# Breaking off and going on


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a search of four made-up trials gives, without its times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atjax.search.loop.fit", tiny.made_up)
        return tiny.timeless(search(tmp_path_factory.mktemp("unbroken"), "search.trials=4"))


@pytest.mark.parametrize("number", [0, 1, 3])
def test_ctrl_c_keeps_what_was_done_and_resume_goes_on(
    number: int,
    unbroken: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace_fit(monkeypatch, stop_at(number))
    capsys.readouterr()
    broken = search(tmp_path / "run", "search.trials=4", code=130)
    out, err = capsys.readouterr()
    assert err == "atjax: stopped.\n"
    assert "search.resume=true goes on from here" in out
    assert broken["state"] == "interrupted"
    assert tiny.timeless(broken)["trials"] == unbroken["trials"][:number]
    assert (broken["best"] is None) == (number == 0)
    assert (tmp_path / "run" / "report.html").exists()
    assert len((tmp_path / "run" / "trials.csv").read_text().splitlines()) == 1 + number
    trained: list[int] = []
    replace_fit(monkeypatch, lambda trial, outcome: (trained.append(trial), outcome)[1])
    resumed = search(tmp_path / "run", "search.trials=4", "search.resume=true")
    assert len(trained) == 4 - number  # what is on record is not trained again
    assert tiny.timeless(resumed) == unbroken
    assert resumed["seconds"]["search"] >= broken["seconds"]["search"]  # type: ignore[operator]
    assert not (tmp_path / "run" / "previous").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("moment", ["atjax.checkpoint.save", "atjax.search.run.write", "atjax.search.run.write_html"])
def test_ctrl_c_while_files_are_written(
    moment: str, unbroken: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes, the result on disk is whole: each trial in it had its say in what is best."""
    module, _, name = moment.rpartition(".")
    original = getattr(sys.modules[module], name)
    for count in (1, 2):
        calls = iter(range(100))

        def faulty(*args: Any, calls: Any = calls, count: int = count, **kwargs: Any) -> Any:
            if next(calls) == count - 1:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        folder = tmp_path / str(count)
        with monkeypatch.context() as patch:
            patch.setattr(moment, faulty)
            code = tiny.run("search", *UNIFORM, f"hydra.run.dir={folder}", "search.trials=4")
        if code == 0:  # not so many calls
            continue
        assert code == 130
        broken = read(folder)
        if broken["trials"]:
            assert broken["best"] is not None
            assert broken["best"]["number"] == best_by_validation(broken)
        resumed = search(folder, "search.trials=4", "search.resume=true")
        assert tiny.timeless(resumed) == unbroken
        assert resumed["best"] is not None
        assert checkpoint.load(folder).info["design"] == resumed["best"]["design"]


@pytest.mark.usefixtures("quick")
def test_resume_extends_a_search(tmp_path: Path) -> None:
    longer = search(tmp_path / "longer", "search.trials=5")
    search(tmp_path / "run", "search.trials=2")
    assert tiny.timeless(search(tmp_path / "run", "search.trials=5", "search.resume=true")) == tiny.timeless(longer)
    unchanged = search(tmp_path / "run", "search.trials=5", "search.resume=true")
    assert tiny.timeless(unchanged) == tiny.timeless(longer)
    fewer = search(tmp_path / "run", "search.trials=2", "search.resume=true")
    assert tiny.timeless(fewer) == tiny.timeless(longer)  # never drops a trial


@pytest.mark.usefixtures("quick")
def test_resume_without_an_earlier_run_starts_one(tmp_path: Path) -> None:
    fresh = search(tmp_path / "fresh", "search.trials=2", "search.resume=true")
    assert tiny.timeless(fresh) == tiny.timeless(search(tmp_path / "plain", "search.trials=2"))


@pytest.mark.usefixtures("quick")
def test_resume_refuses_another_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    search(run, "search.trials=2")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for argument, message in {
        "seed=1": "holds a search with seed 0, not 1",
        "space._target_=atjax.space.paper_space": "holds a search with space 'tiny', not 'paper'",
        "task.count=50": "holds a search on other data or another budget",
        "budget.batch_size=16": "holds a search on other data or another budget",
        "budget.name=mine": "holds a search on other data or another budget",
    }.items():
        capsys.readouterr()
        search(run, "search.trials=3", "search.resume=true", argument, code=2)
        assert message in capsys.readouterr().err
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "prior_name": "rank"}))
    search(run, "search.trials=3", "search.resume=true", code=2)
    assert "holds a search with prior_name 'rank', not 'uniform'" in capsys.readouterr().err
    first, second = result["trials"]
    first["design"], second["design"] = second["design"], first["design"]
    (run / "result.json").write_text(json.dumps(result))
    capsys.readouterr()
    search(run, "search.trials=3", "search.resume=true", code=2)
    assert "Trial 0 on record is" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_resume_refuses_another_split_of_the_same_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "edges.csv").write_text("source,target\n" + "".join(f"{n},{n + 1}\n" for n in range(29)))
    arguments = ("task=custom", f"task.path={own}", *tiny.SMALL[2:], "search.prior=uniform")
    for turn, code in ((0, 0), (0, 0), (1, 2)):
        parts = [("train", "train", "val", "test")[(n + turn) % 4] for n in range(30)]
        rows = "".join(f"{n},{n / 7},{'ab'[n // 2 % 2]},{part}\n" for n, part in enumerate(parts))
        (own / "nodes.csv").write_text("id,x,label,split\n" + rows)
        search(tmp_path / "run", "search.trials=2", "search.resume=true", base=arguments, code=code)
    assert "holds a search on another split of the data; leave search.resume out." in capsys.readouterr().err
    result = read(tmp_path / "run")
    assert result["task"]["own_split"]
    del result["task"]["split"], result["task"]["own_split"]  # as earlier versions
    write(tmp_path / "run", result)
    search(tmp_path / "run", "search.trials=2", "search.resume=true", base=arguments)


MADE_UP = (
    "import time, tiny, atjax.search.loop as loop;"
    "loop.fit = lambda *a, **k: (time.sleep(0.3), tiny.made_up(*a, **k))[1];"
)


def start(folder: Path, before: str, *arguments: str) -> subprocess.Popen[str]:
    """A search in a process of its own, which Ctrl-C reaches even where the tests run in the background."""
    code = (
        f"import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); {before}"
        "runpy.run_module('atjax.search', run_name='__main__', alter_sys=True)"
    )
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *UNIFORM, f"hydra.run.dir={folder}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=tiny.environment(),
    )


def wait_for_trials(process: subprocess.Popen[str], folder: Path, trials: int) -> None:
    for _ in range(6000):
        if (folder / "result.json").exists() and len(read(folder)["trials"]) >= trials:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("no trial in two minutes")


@pytest.mark.parametrize("before", [MADE_UP, pytest.param("", marks=pytest.mark.slow)], ids=["made_up", "real"])
def test_a_real_ctrl_c_then_a_real_kill_then_the_rest(
    before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes; the trials are those of one unbroken search."""
    if before:
        monkeypatch.setattr("atjax.search.loop.fit", tiny.made_up)
    arguments = ("search.trials=12", "task.count=60")
    run = tmp_path / "run"
    process = start(run, before, *arguments)
    wait_for_trials(process, run, 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err == "atjax: stopped.\n"
    assert "search.resume=true goes on from here" in out
    stopped = read(run)
    assert stopped["state"] == "interrupted"
    assert 1 <= len(stopped["trials"]) < 12
    assert (run / "report.html").exists()

    process = start(run, before, *arguments, "search.resume=true")
    wait_for_trials(process, run, len(stopped["trials"]) + 1)
    process.kill()
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    killed = read(run)
    assert killed["state"] == "running"
    assert killed["best"] is not None
    checkpoint.load(run)

    resumed = search(run, *arguments, "search.resume=true")
    unbroken = search(tmp_path / "unbroken", *arguments)
    assert tiny.timeless(resumed) == tiny.timeless(unbroken)


@pytest.mark.parametrize("resume", ["false", "true"])
def test_a_run_directory_has_one_search_at_a_time(
    resume: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two would move each other's files away, or write one result with the model of the other."""
    monkeypatch.setattr("atjax.search.loop.fit", tiny.made_up)
    run = tmp_path / "run"
    process = start(run, MADE_UP, "search.trials=500", "task.count=60")
    try:
        wait_for_trials(process, run, 1)
        search(run, "search.trials=2", "task.count=60", f"search.resume={resume}", code=2)
        assert capsys.readouterr().err == (
            f"atjax: Another search is at work in {run}; wait until it is done, or give this one another folder.\n"
        )
        assert not (run / "previous").exists()
        assert read(run)["state"] == "running"
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate(timeout=120)
    assert len(search(run, "search.trials=2", "task.count=60")["trials"]) == 2
    assert len(search(run, "search.trials=3", "task.count=60", "search.resume=true")["trials"]) == 3


# Trials that fail


def test_a_failing_trial_is_recorded_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(trial: int, outcome: Fit) -> Fit:
        states = {0: "diverged", 2: "failed"}
        return tiny.unsuccessful(outcome, states[trial], f"reason {trial}") if trial in states else outcome

    replace_fit(monkeypatch, change)
    result = search(tmp_path, "search.trials=4")
    assert [trial["state"] for trial in result["trials"]] == ["diverged", "complete", "failed", "complete"]
    assert [trial["reason"] for trial in result["trials"]] == ["reason 0", "", "reason 2", ""]
    assert result["trials"][0]["validation"] is None
    assert result["best"] is not None
    assert result["best"]["number"] == best_by_validation(result)
    assert result["state"] == "complete"
    out = capsys.readouterr().out
    assert "diverged" in out
    assert "nan" not in out.lower()
    assert "nan" not in (tmp_path / "trials.csv").read_text()


def test_a_search_whose_trials_all_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_fit(monkeypatch, lambda trial, outcome: tiny.unsuccessful(outcome, "failed", "out of memory"))
    result = search(tmp_path, "search.trials=2")
    assert result["best"] is None
    assert [trial["state"] for trial in result["trials"]] == ["failed", "failed"]
    assert {path.name for path in tmp_path.iterdir()} == {"result.json", "trials.csv", "report.html", "config.yaml"}
    resumed = search(tmp_path, "search.trials=3", "search.resume=true")
    assert len(resumed["trials"]) == 3


@pytest.mark.usefixtures("quick")
def test_more_trials_than_designs(tmp_path: Path) -> None:
    """12 designs, 14 trials: each design once before any comes twice."""
    result = search(tmp_path, "search.trials=14")
    designs = [Design(**trial["design"]) for trial in result["trials"]]
    assert len(set(designs[:12])) == 12
    assert len(designs) == 14


# The loop by itself


def outcomes(task: Task, prior: Prior, **settings: Any) -> list[Fit]:
    trials = run_trials(task, prior, tiny.space(), tiny.BUDGET, **settings)
    return list(trials)


@pytest.mark.usefixtures("quick")
def test_trials_come_one_by_one_and_the_progress_is_told() -> None:
    task = tiny.path_task()
    prior = uniform_prior(tiny.space())
    calls: list[tuple[int, int, int]] = []
    fits = outcomes(task, prior, config=SearchConfig("random", 3), seed=0, progress=lambda *call: calls.append(call))
    assert [call[0] for call in calls] == [0, 1, 2]
    recorded = [Recorded(fit.design, fit.validation) for fit in fits[:2]]
    rest = outcomes(task, prior, config=SearchConfig("random", 3), seed=0, recorded=recorded)
    assert [fit.design for fit in rest] == [fits[2].design]
    with pytest.raises(UserError, match=r"Trial 1 on record is .* it would be .*; start anew without search.resume"):
        outcomes(task, prior, config=SearchConfig("random", 3), seed=0, recorded=[recorded[0], recorded[0]])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("algorithm", ["tpe", "evolution"])
def test_a_search_that_learns_goes_on_from_recorded_results(algorithm: str) -> None:
    task, prior = tiny.path_task(), uniform_prior(tiny.space())
    settings = SearchConfig(algorithm, 9)
    fits = outcomes(task, prior, config=settings, seed=3)
    assert len({fit.design for fit in fits}) == 9
    recorded = [Recorded(fit.design, fit.validation) for fit in fits[:7]]
    rest = outcomes(task, prior, config=settings, seed=3, recorded=recorded)
    assert [fit.design for fit in rest] == [fit.design for fit in fits[7:]]


@pytest.mark.usefixtures("quick")
def test_designs_are_drawn_from_the_prior() -> None:
    probabilities = tiny.space().uniform()
    probabilities["epochs"] = {200: 0.0, 800: 1.0, 1600: 0.0}
    prior = Prior(probabilities, (), "transfer", "")
    fits = outcomes(tiny.path_task(), prior, config=SearchConfig("random", 4), seed=0)
    assert {fit.design.epochs for fit in fits} == {800}
    assert len({fit.design for fit in fits}) == 4  # all that there are


@pytest.mark.parametrize(("algorithm", "trials"), [("grid", 3), ("random", 0)])
def test_settings_of_a_search(algorithm: str, trials: int) -> None:
    with pytest.raises(UserError, match=r"search\.(algorithm|trials) must be"):
        SearchConfig(algorithm, trials)
