"""HyperBand: who is stopped at which rung, against the rule written out; and a search that stops trainings."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
import shutil
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import tiny

from atjax import config, train
from atjax.bank import load_bank
from atjax.budget import Budget
from atjax.prior import Prior, uniform_prior
from atjax.ranking import Ranking
from atjax.report import Result, read
from atjax.samplers import DesignSampler, History, Random, WholeSpace, table_of
from atjax.search.hyperband import HyperBand, Judge
from atjax.search.loop import Recorded, SearchConfig, designs, run_trials
from atjax.search.run import recorded_trial
from atjax.space import Design, Space, bank_designs, paper_space
from atjax.task import Task
from atjax.train import Curve, Fit

NAN = float("nan")
PAPER = paper_space()
BUDGET = config.default("budget")
"""Records after every 5th, 20th or 40th of the epochs."""
NINTHS = dataclasses.replace(BUDGET, epochs_scale={"graph": 0.045}, eval_every={"graph": 1})
"""Records after every 9th, 36th or 72nd."""


def scores_of(design: Design, records: int) -> list[float]:
    """A made-up learning curve: it rises by random steps, goes back now and then, and may lack values."""
    rng = np.random.default_rng(zlib.crc32(design.key.encode()))
    scores = np.round(np.cumsum(rng.normal(0.2, 0.5, records)), 1)  # so coarse that there are ties
    undefined = rng.random() < 0.2
    return [NAN if undefined and record < records / 2 else float(score) for record, score in enumerate(scores)]


def curved(task: Task, design: Design, *, budget: Budget, seed: int = 0, progress: Any = None, stop: Any = None) -> Fit:
    """In place of `atjax.train.fit`: a made-up learning curve; every tenth training fails after half of it."""
    schedule = budget.schedule(design, task.level)
    curve = Curve()
    blank = Fit(design, seed, budget.name, schedule, "failed", "", NAN, NAN, NAN, 0, 7, 0.5, 0.25, curve, None)
    for record, score in enumerate(scores_of(design, schedule.epochs // schedule.eval_every), 1):
        done = record * schedule.eval_every
        curve.epoch.append(done)
        curve.train_loss.append(1.0)
        curve.validation.append(score)
        curve.test.append(score)
        if zlib.crc32(design.key.encode()) % 10 == 0 and 2 * done > schedule.epochs:
            return blank
        if stop is not None and done < schedule.epochs and stop(done, schedule.epochs, score):
            return dataclasses.replace(blank, state="stopped")
    best = max(score for score in curve.validation if not math.isnan(score))
    return dataclasses.replace(blank, state="complete", validation=best)


def by_the_rule(fits: Sequence[Fit], seed: int, sign: int) -> list[Fraction | None]:
    """At which share of its epochs each of these designs is stopped, from whole curves; None if it is not."""
    rungs: dict[tuple[int, Fraction], list[float]] = {}
    ends: list[Fraction | None] = []
    for number, fit in enumerate(fits):
        lot = zlib.crc32(f"seed {seed}_{number}".encode()) % (9 + 5 + 3)
        bracket = 0 if lot < 9 else 1 if lot < 14 else 2
        ahead = [Fraction(1, 9), Fraction(1, 3)][bracket:]
        epochs, end, best = fit.schedule.epochs, None, NAN
        records = range(fit.schedule.eval_every, epochs, fit.schedule.eval_every)
        scores = scores_of(fit.design, len(records) + 1)
        failing = zlib.crc32(fit.design.key.encode()) % 10 == 0
        for done, score in zip(records, scores):
            if failing and 2 * done > epochs:
                break
            if not math.isnan(score):
                best = score if math.isnan(best) else sign * max(sign * best, sign * score)
            while end is None and ahead and Fraction(done, epochs) >= ahead[0]:
                there = rungs.setdefault((bracket, ahead.pop(0)), [])
                if not math.isnan(best):
                    there.append(best)
                better = sum(sign * other > sign * best for other in there)
                if math.isnan(best) or better >= max(1, len(there) // 3):
                    end = Fraction(done, epochs)
            if end is not None:
                break
        ends.append(end)
    return ends


def ends_of(fits: Sequence[Fit]) -> list[Fraction | None]:
    """At which share of its epochs each was stopped; None if it was not."""
    return [Fraction(fit.curve.epoch[-1], fit.schedule.epochs) if fit.state == "stopped" else None for fit in fits]


def task_of(metric: str) -> Task:
    """A task whose metric is to be large (accuracy) or small (mae)."""
    task = tiny.path_task()
    if metric == "accuracy":
        return task
    labels = task.labels[:, None].astype(np.float32)
    return dataclasses.replace(task, labels=labels, loss="mse", metric="mae", num_outputs=1)


def loop(task: Task, algorithm: str = "hyperband", trials: int = 60, seed: int = 0, **settings: Any) -> list[Fit]:
    prior, budget = settings.pop("prior", uniform_prior(PAPER)), settings.pop("budget", BUDGET)
    return list(run_trials(task, prior, PAPER, budget, config=SearchConfig(algorithm, trials), seed=seed, **settings))


@pytest.fixture
def curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atjax.search.loop.fit", curved)


# Who is stopped


@pytest.mark.usefixtures("curves")
@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("mae", -1)])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("budget", [BUDGET, NINTHS], ids=["quick", "ninths"])
def test_who_is_stopped_is_what_the_rule_says(metric: str, sign: int, seed: int, budget: Budget) -> None:
    fits = loop(task_of(metric), seed=seed, budget=budget)
    ends = by_the_rule(fits, seed, sign)
    assert ends_of(fits) == ends
    stopped = [end for end in ends if end is not None]
    assert len(fits) == 60
    assert any(end < Fraction(1, 3) for end in stopped)
    assert any(end >= Fraction(1, 3) for end in stopped)
    assert {fit.state for fit in fits} == {"complete", "stopped", "failed"}


@pytest.mark.usefixtures("curves")
def test_designs_are_those_of_a_random_search() -> None:
    probabilities = PAPER.uniform() | {"convolution": {"gin": 0.9, "gat": 0.1}}
    for prior in (uniform_prior(PAPER), Prior(probabilities, (), "transfer", "")):
        plain = loop(tiny.path_task(), "random", 20, prior=prior)
        assert {fit.state for fit in plain} <= {"complete", "failed"}
        assert [fit.design for fit in loop(tiny.path_task(), trials=20, prior=prior)] == [fit.design for fit in plain]
    assert {fit.design.convolution for fit in plain} <= {"gin", "gat"}


@pytest.mark.usefixtures("curves")
def test_designs_that_a_bank_ranks_come_in_its_order() -> None:
    """Though they are dealt into brackets, and some are stopped."""
    ranked = bank_designs(PAPER, 12)
    shares = np.arange(12, 0, -1, np.float32)[:, None]
    prior = Prior(PAPER.uniform(), (), "transfer", "", Ranking(PAPER.numbers(ranked), shares, np.ones(1), 0.0))
    fits = loop(tiny.path_task(), trials=15, prior=prior)
    assert [fit.design for fit in fits[:12]] == list(ranked)
    assert len({fit.design for fit in fits}) == 15
    assert "stopped" in {fit.state for fit in fits[:8]}
    assert ends_of(fits) == by_the_rule(fits, 0, 1)


@pytest.mark.usefixtures("curves")
@pytest.mark.parametrize("known", [1, 17, 40])
def test_a_search_goes_on_from_recorded_curves(known: int) -> None:
    task = tiny.path_task()
    fits = loop(task)
    recorded = [
        Recorded(fit.design, fit.validation, fit.state, tuple(zip(fit.curve.epoch, fit.curve.validation)))
        for fit in fits[:known]
    ]
    rest = loop(task, recorded=recorded)
    assert [(fit.design, fit.state, fit.curve.epoch) for fit in rest] == [
        (fit.design, fit.state, fit.curve.epoch) for fit in fits[known:]
    ]
    if known == 40:  # without the curves others would be stopped
        bare = loop(task, recorded=[Recorded(one.design, one.validation, one.state) for one in recorded])
        assert [fit.state for fit in bare] != [fit.state for fit in rest]


def test_a_trial_of_a_result_is_recorded_with_its_curve() -> None:
    design = next(iter(PAPER))
    curve = {"epoch": [2, 4], "train_loss": [1.0, None], "validation": [0.5, None], "test": [None, None]}
    trial: Any = {"design": design.as_dict(), "validation": None, "state": "stopped", "curve": curve}
    found = recorded_trial(trial)
    assert (found.design, found.validation, found.state, found.scores[0]) == (design, None, "stopped", (2, 0.5))
    assert found.scores[1][0] == 4
    assert math.isnan(found.scores[1][1])
    assert recorded_trial(trial | {"curve": None}).scores == ()


def test_a_sampler_sees_the_trials_of_all_brackets_and_the_stopped_ones() -> None:
    seen: list[History] = []

    class Spy(Random):
        def propose(self, history: History, rng: np.random.Generator) -> np.ndarray:
            seen.append(history)
            return super().propose(history, rng)

    space: Space = tiny.space()
    sampler = DesignSampler(Spy(WholeSpace(space), table_of(space, space.uniform())), space, 0)
    study = optuna.create_study(study_name="seed 0", direction="maximize", sampler=sampler, pruner=HyperBand())
    told: dict[Design, float] = {}
    stopped = 0
    for number, (trial, design) in enumerate(itertools.islice(designs(study, space), 12)):
        assert len(seen[-1].values) == number  # designs that were put back are not among them
        assert {space.numbered(row): value for row, value in zip(*seen[-1])} == told
        judge, score = Judge(trial, study.direction), -float(number)
        told[design] = score
        if judge(4, 9, score):
            stopped += 1
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, score)
    assert stopped >= 6


# A search with real trainings

SEARCH = (
    *tiny.SMALL,
    "search.prior=uniform",
    "search.algorithm=hyperband",
    "search.trials=12",
    "task.count=150",
    "seed=1",
)


def search(folder: Path, *arguments: str, code: int = 0) -> Result:
    assert tiny.run("search", *SEARCH, f"hydra.run.dir={folder}", *arguments) == code
    return read(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a search, and within it a bank that its trials were added to."""
    folder = tmp_path_factory.mktemp("whole")
    search(folder, f"search.append={folder / 'bank'}")
    return folder


def test_a_search_that_stops_trainings(whole: Path) -> None:
    result = read(whole)
    assert (result["state"], result["algorithm"], len(result["trials"])) == ("complete", "hyperband", 12)
    stopped = [trial for trial in result["trials"] if trial["state"] == "stopped"]
    complete = [trial for trial in result["trials"] if trial["state"] == "complete"]
    assert len(stopped) >= 2
    assert len(stopped) + len(complete) == 12
    for trial in stopped:
        assert trial["curve"] is not None
        done, epochs = trial["curve"]["epoch"][-1], trial["design"]["epochs"] // 100
        assert done < epochs
        assert trial["reason"] == f"stopped early, after {done} of {epochs} epochs"
        assert (trial["validation"], trial["test"], trial["epoch"]) == (None, None, None)
        assert all(value is not None for value in trial["curve"]["validation"])
    assert result["best"] is not None
    assert result["best"]["number"] in {trial["number"] for trial in complete}
    with open(whole / "trials.csv", newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == [trial["state"] for trial in result["trials"]]
    assert stopped[0]["reason"] in (whole / "report.html").read_text()


def test_stopped_trials_go_into_no_bank(whole: Path, tmp_path: Path) -> None:
    """Neither as they come nor from a run directory, when a bank is named with `search.resume` only."""
    complete = [trial for trial in read(whole)["trials"] if trial["state"] == "complete"]
    again, late = shutil.copytree(whole, tmp_path / "again"), tmp_path / "late"
    search(again, f"search.append={late}", "search.resume=true")
    for folder in (whole / "bank", late):
        records = load_bank(folder).records
        assert set(records["design"]) == {Design(**trial["design"]).key for trial in complete}
        assert set(records["state"]) == {"complete"}


@pytest.mark.parametrize("number", [3, 8])
def test_a_search_that_was_interrupted_goes_on_as_if_it_had_not_been(
    number: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = itertools.count()

    def interrupted(*args: Any, **kwargs: Any) -> Fit:
        if next(count) == number:
            raise KeyboardInterrupt
        return train.fit(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("atjax.search.loop.fit", interrupted)
        assert len(search(tmp_path, code=130)["trials"]) == number
    resumed = search(tmp_path, "search.resume=true")
    assert tiny.timeless(resumed) == tiny.timeless(read(whole))
