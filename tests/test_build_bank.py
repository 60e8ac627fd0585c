"""Building a bank: each training once, whoever is at work and however they end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import atjax
from atjax.bank import Bank, load_bank, provenance, store
from atjax.bank import build as bank_build
from atjax.bank.manage import problems
from atjax.errors import UserError
from atjax.space import Design, bank_designs
from atjax.task import Split
from atjax.train import Fit, program_of

DESIGNS = 12


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Made-up trainings and Fisher stages, with a cache of their own; lists the designs that are trained."""
    trained: list[str] = []

    def fit(task: Any, design: Any, **kwargs: Any) -> Any:
        trained.append(design.key)
        return tiny.made_up(task, design, **kwargs)

    alphas = 1 + np.random.default_rng(5).random((12, 5))
    monkeypatch.setenv("ATJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr("atjax.bank.build.fit", fit)
    monkeypatch.setattr("atjax.feature.task_statistics", tiny.fisher_stage(alphas))
    return trained


def command(bank: Path, *arguments: str, designs: int = DESIGNS) -> tuple[str, ...]:
    return (*tiny.SMALL, f"bank={bank}", f"designs={designs}", *arguments)


def expected_keys(designs: int = DESIGNS) -> set[str]:
    return {design.key for design in bank_designs(tiny.space(), designs)}


def complete(bank: Bank) -> None:
    """Each design once, and the record that a training of it gives."""
    assert Counter(bank.records["design"]) == dict.fromkeys(expected_keys(), 1)
    task = atjax.load_task("digits", count=40)
    for design in bank_designs(tiny.space(), DESIGNS):
        made = tiny.made_up(task, design, budget=tiny.BUDGET)
        row = bank.records[bank.records["design"] == design.key].iloc[0]
        assert (row["validation"], row["test"], row["state"]) == (made.validation, made.test, "complete")


def test_a_build_and_its_repeat(tmp_path: Path, made_up: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "bank"
    assert tiny.run("build_bank", *command(folder)) == 0
    assert "digits: 12 of 12 designs trained in " in capsys.readouterr().out
    bank = load_bank(folder)
    complete(bank)
    assert list(bank.tasks.values()) == ["digits"]
    assert set(bank.features["fisher"]) == {tiny.fisher_key("alpha"), tiny.fisher_key("losses")}
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    assert len(made_up) == 12
    assert tiny.run("build_bank", *command(folder)) == 0
    assert "digits: 0 of 12 designs trained in " in capsys.readouterr().out
    assert len(made_up) == 12
    assert {path: path.read_bytes() for path in folder.rglob("*.parquet")} == before
    assert len(json.loads((folder / "PROVENANCE.json").read_text())["runs"]) == 1


def test_more_designs_are_added_to_fewer(tmp_path: Path, made_up: list[str]) -> None:
    assert tiny.run("build_bank", *command(tmp_path, "feature=false", designs=5)) == 0
    assert len(load_bank(tmp_path).features) == 0
    assert set(load_bank(tmp_path).records["design"]) == expected_keys(5)
    assert tiny.run("build_bank", *command(tmp_path, "compact=true")) == 0
    assert len(made_up) == len(set(made_up)) == 12
    assert [path.name.split("-")[0] for path in (tmp_path / "records").iterdir()] == ["digits"]  # merged
    complete(load_bank(tmp_path))
    assert tiny.run("build_bank", *command(tmp_path, "seed=1")) == 0
    assert Counter(load_bank(tmp_path).records["seed"]) == {0: 12, 1: 12}


def test_a_failed_training_is_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*args: Any, **kwargs: Any) -> Any:
        return tiny.unsuccessful(tiny.made_up(*args, **kwargs), "failed", "out of memory")

    monkeypatch.setattr("atjax.bank.build.fit", fit)
    assert tiny.run("build_bank", *command(tmp_path, designs=2)) == 0
    records = load_bank(tmp_path).records
    assert records["state"].tolist() == ["failed", "failed"]
    assert records["reason"].tolist() == ["out of memory", "out of memory"]
    assert records["validation"].isna().all()


def test_a_failure_does_not_replace_what_the_bank_has_of_the_training(tmp_path: Path) -> None:
    task = atjax.load_task("digits", count=40)
    first, second = (tiny.made_up(task, design, budget=tiny.BUDGET) for design in bank_designs(tiny.space(), 2))

    def states(*outcomes: Fit) -> list[str]:
        assert list(bank_build.kept(task, outcomes, folder=tmp_path)) == list(outcomes)
        return load_bank(tmp_path).records.sort_values("design")["state"].tolist()

    def failed(outcome: Fit) -> Fit:
        return tiny.unsuccessful(outcome, "failed", "out of memory")

    assert states(first) == ["complete"]
    assert states(failed(first)) == ["complete"]
    assert sorted(states(failed(second))) == ["complete", "failed"]
    assert states(second) == ["complete", "complete"]


def test_the_record_of_a_training() -> None:
    task, design = tiny.path_task(), bank_designs(tiny.space(), 1)[0]
    outcome = tiny.made_up(task, design, budget=tiny.BUDGET, seed=2)
    record = bank_build.record_of(task, outcome)
    assert (record.design, record.seed, record.task) == (design, 2, "paths")
    assert record.content_hash == task.content_hash
    assert (record.hidden_trained, record.epochs_trained) == (4, outcome.schedule.epochs)
    assert record.validation_curve[record.epochs.index(record.best_epoch)] == record.validation
    assert record.test_curve[record.epochs.index(record.best_epoch)] == record.test
    assert record.seconds + record.compile_seconds == pytest.approx(outcome.seconds)
    assert set(json.loads(record.versions)) >= {"atjax", "jax", "python"}


def test_provenance_names_commands_but_no_folders_of_this_machine(tmp_path: Path, data: Path) -> None:
    for arguments in (("designs=1",), ("designs=2", f"data.root={data}"), ("seed=3", "designs=1", "feature=false")):
        assert tiny.run("build_bank", *tiny.SMALL, f"bank={tmp_path}", *arguments) == 0
    text = (tmp_path / "PROVENANCE.json").read_text()
    assert str(tmp_path) not in text
    assert str(data) not in text
    start = "python -m atjax.build_bank"
    assert [run["command"] for run in json.loads(text)["runs"]] == [
        " ".join([start, *sorted([*tiny.SMALL, *more])])
        for more in (["designs=1"], ["designs=2"], ["designs=1", "feature=false", "seed=3"])
    ]
    (tmp_path / "PROVENANCE.json").write_text("{")
    assert tiny.run("build_bank", *command(tmp_path)) == 2


def test_provenance_of_a_sweep_has_a_command_for_each_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tiny.run("build_bank", "-m", *command(tmp_path / "bank", "seed=0,1", designs=1)) == 0
    runs = json.loads((tmp_path / "bank" / "PROVENANCE.json").read_text())["runs"]
    assert [word for run in runs for word in run["command"].split() if "seed" in word] == ["seed=0", "seed=1"]


@pytest.mark.parametrize("text", ["[]", '{"runs": [1]}', '{"runs": null}', '{"runs": {}}', "{", "\xff"])
def test_a_broken_provenance_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "PROVENANCE.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="is not readable; move it elsewhere"):
        provenance.note(tmp_path, ["x"])


def test_the_progress_is_told(tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    designs = bank_designs(tiny.space(), 3)
    added = bank_build.train_designs(
        tiny.path_task(),
        designs,
        folder=tmp_path,
        budget=tiny.BUDGET,
        seed=0,
        progress=lambda *call: calls.append(call),
    )
    assert added.added == 3
    assert calls == [*((done, 3, design.key) for done, design in enumerate(designs)), (3, 3, "")]


def test_what_another_process_has_just_finished_is_not_trained_again(tmp_path: Path, made_up: list[str]) -> None:
    """The other one, played by the progress callback, does all the designs once this one has begun."""
    task, designs = tiny.path_task(), bank_designs(tiny.space(), 3)
    settings: dict[str, Any] = {"folder": tmp_path, "budget": tiny.BUDGET, "seed": 0}

    def meanwhile(done: int, total: int, key: str) -> None:
        if done == 1:
            assert bank_build.train_designs(task, designs, progress=lambda *call: None, **settings).added == 2

    assert bank_build.train_designs(task, designs, progress=meanwhile, **settings).added == 1
    assert Counter(made_up) == {design.key: 1 for design in designs}


def test_a_task_is_trained_anew_on_another_split_of_its_own(tmp_path: Path, made_up: list[str]) -> None:
    task, ids = tiny.path_task(), np.arange(20)
    design, config = bank_designs(tiny.space(), 1), atjax.config.default("fisher")
    settings: dict[str, Any] = {"folder": tmp_path / "bank", "seed": 0, "progress": lambda *_: None}
    for _ in range(2):
        for split in (None, Split(ids[:10], ids[10:15], ids[15:]), Split(ids[:10], ids[15:], ids[10:15])):
            own = dataclasses.replace(task, fixed_split=split)
            bank_build.train_designs(own, design, budget=tiny.BUDGET, **settings)
            bank_build.embed_task(own, configs=[config], cache=tmp_path / "cache", **settings)
    assert len(made_up) == 3
    bank = load_bank(tmp_path / "bank")
    assert len(set(bank.features["content_hash"]) & set(bank.records["content_hash"])) == len(bank.tasks) == 3
    assert task.content_hash in bank.tasks
    assert problems(bank) == []
    assert bank.without(content_hash=task.content_hash, name="other").tasks == {}


# Several workers


def structures(count: int) -> list[Design]:
    """Designs of ``count`` programs, two of each, the twins apart."""
    designs = [Design("gcn", None, None, "relu", 64, "stack", 1, layers + 1, 2, 0.1, 200) for layers in range(count)]
    return designs + [dataclasses.replace(design, learning_rate=0.001) for design in designs]


def build(folder: Path, designs: Sequence[Design], **settings: Any) -> bank_build.Growth:
    given: dict[str, Any] = {"folder": folder, "budget": tiny.BUDGET, "seed": 0, "progress": lambda *_: None}
    return bank_build.train_designs(tiny.path_task(), designs, **{**given, **settings})


def test_workers_leave_the_records_that_one_leaves(tmp_path: Path, made_up: list[str]) -> None:
    designs, told = structures(5), []
    build(tmp_path / "one", designs)
    grown = build(tmp_path / "three", designs, workers=3, progress=lambda *call: told.append(call))
    assert grown.added == 10
    assert Counter(made_up) == {design.key: 2 for design in designs}
    one, three = (load_bank(tmp_path / name).records.drop(columns="date") for name in ("one", "three"))
    assert one.equals(three)
    assert told[-1] == (10, 10, "")
    assert {key for _, _, key in told[:-1]} == {design.key for design in designs}


def test_designs_of_one_program_go_to_one_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four workers wait for each other in their first training; the twin of a design follows in the same thread."""
    barrier, at_work, threads = threading.Barrier(4, timeout=60), threading.local(), {}

    def fit(task: Any, design: Any, **kwargs: Any) -> Any:
        if not hasattr(at_work, "begun"):
            at_work.begun = True
            barrier.wait()
        threads[design] = threading.get_ident()
        return tiny.made_up(task, design, **kwargs)

    monkeypatch.setattr("atjax.bank.build.fit", fit)
    designs = structures(4)
    assert build(tmp_path, designs, workers=9).added == 8
    assert len(set(threads.values())) == 4
    for design, twin in zip(designs[:4], designs[4:]):
        assert threads[design] == threads[twin]


def test_a_program_that_another_process_compiles_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, designs = store.claim, structures(3)
    program = bank_build.program_name(tiny.path_task(), program_of(tiny.path_task(), designs[0], tiny.BUDGET))
    order: list[Design] = []

    @contextlib.contextmanager
    def claimed(folder: Path, key: str) -> Iterator[bool]:
        with claim(folder, key) as mine:
            yield mine and key != program

    def fit(task: Any, design: Any, **kwargs: Any) -> Any:
        order.append(design)
        return tiny.made_up(task, design, **kwargs)

    monkeypatch.setattr("atjax.bank.store.claim", claimed)
    monkeypatch.setattr("atjax.bank.build.fit", fit)
    build(tmp_path, designs)
    assert order == [designs[i] for i in (1, 4, 2, 5, 0, 3)]


def test_what_fails_beside_another_is_trained_again_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    designs, tries = structures(3), Counter[Design]()
    poor, hopeless = designs[0], designs[1]

    def fit(task: Any, design: Any, **kwargs: Any) -> Any:
        tries[design] += 1
        outcome = tiny.made_up(task, design, **kwargs)
        failed = design == hopeless or (design == poor and tries[design] == 1)
        return tiny.unsuccessful(outcome, "failed", "out of memory") if failed else outcome

    monkeypatch.setattr("atjax.bank.build.fit", fit)
    assert build(tmp_path, designs, workers=3).added == 6
    assert tries == {design: 1 + (design in (poor, hopeless)) for design in designs}
    states = load_bank(tmp_path).records.set_index("design")["state"].to_dict()
    assert states == {design.key: "failed" if design == hopeless else "complete" for design in designs}


def test_a_fault_in_one_worker_stops_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    designs = structures(2)

    def fit(task: Any, design: Any, *, progress: Any, **kwargs: Any) -> Any:
        if design == designs[0]:
            raise OSError("the disk is full")
        for epoch in range(6000):  # until it is told to stop
            progress(epoch, 6000)
            time.sleep(0.01)
        raise AssertionError("was not stopped")

    monkeypatch.setattr("atjax.bank.build.fit", fit)
    with pytest.raises(OSError, match="the disk is full"):
        build(tmp_path, designs, workers=2)
    assert store.keys(tmp_path) == set()


def test_the_speed_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grown = bank_build.Growth(added=5, seconds=60, busy_seconds=80, compile_seconds=20)
    assert (grown.rate, grown.compiling) == (300, 0.25)
    assert (bank_build.Growth().rate, bank_build.Growth().compiling) == (0, 0)
    assert tiny.run("build_bank", *command(tmp_path, "workers=2")) == 0
    # Made-up trainings say that they took half a second, a half of it in compilation.
    said = capsys.readouterr().out
    assert re.search(r"12 of 12 designs trained in .* s \(\d+ records per hour, 50% of the time in compilation\)", said)
    assert tiny.run("build_bank", *command(tmp_path, "workers=0")) == 2
    assert "workers must be a whole number, 1 or more" in capsys.readouterr().err


# Several processes

SLOWED = (
    "import os, random, sys, time, tiny, numpy, atjax.feature, atjax.bank.build as build;"
    "log = os.open(os.environ['TRAINED'], os.O_WRONLY | os.O_APPEND | os.O_CREAT);"
    "wait = lambda: time.sleep(random.uniform(0, 0.5));"
    "note = lambda design: os.write(log, (design.key + chr(10)).encode());"
    "build.fit = lambda task, design, **k: (wait(), note(design), tiny.made_up(task, design, **k))[-1];"
    "v = 1 + numpy.random.default_rng(5).random((12, 5));"
    "atjax.feature.task_statistics = tiny.fisher_stage(v);"
    "sys.exit(tiny.run('build_bank', *sys.argv[1:]))"
)


def start(bank: Path, log: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SLOWED, *command(bank)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=tiny.environment(TRAINED=str(log)),
    )


def test_two_processes_one_killed_and_one_more(tmp_path: Path, made_up: list[str]) -> None:
    """Two builds at once share the designs; when one is killed, the next build completes the bank."""
    bank, log = tmp_path / "bank", tmp_path / "log"
    first, second = (start(bank, log) for _ in range(2))
    for _ in range(12000):
        if log.exists() and len(log.read_text().split()) >= 7:
            break
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    os.kill(second.pid, signal.SIGKILL)
    second.communicate()
    err = first.communicate(timeout=120)[1]
    assert first.returncode == 0, err
    held = set(load_bank(bank).records["design"])
    trained = Counter(log.read_text().split())
    assert held <= set(trained) <= expected_keys()
    assert sum(trained.values()) - len(trained) <= 1  # none twice, but for the one that was killed
    assert len(held) >= 11  # all but that one

    assert tiny.run("build_bank", *command(bank)) == 0
    complete(load_bank(bank))
    assert set(made_up) == expected_keys() - held
    assert len(load_bank(bank).features) == 2
    assert not [path for path in bank.rglob("*.tmp") if not path.name.startswith(".")]


def test_budgets_are_kept_apart(tmp_path: Path) -> None:
    assert tiny.run("build_bank", *command(tmp_path, designs=2)) == 0
    assert tiny.run("build_bank", *command(tmp_path, "budget.name=other", designs=2)) == 0
    assert Counter(load_bank(tmp_path).records["budget"]) == {tiny.BUDGET.name: 2, "other": 2}


def test_names_that_are_numbers_are_text(tmp_path: Path) -> None:
    assert tiny.run("build_bank", *command(tmp_path, "task.name=2024", "budget.name=7", designs=1)) == 0
    bank = load_bank(tmp_path)
    assert (set(bank.records["task"]), set(bank.records["budget"])) == ({"2024"}, {"7"})
    assert set(bank.features["task"]) == {"2024"}


def test_a_budget_with_other_values_is_another_budget(tmp_path: Path) -> None:
    for _ in range(2):
        for arguments in ((), ("budget.batch_size=16",), ("budget.batch_size=32",)):
            assert tiny.run("build_bank", *command(tmp_path, *arguments, designs=1)) == 0
    names = list(load_bank(tmp_path).records["budget"])
    assert len(names) == len(set(names)) == 2
    assert all(re.fullmatch(r"quick-[0-9a-f]{6}", name) for name in names)
