"""``python -m atjax.bank``: info, validate, merge, export."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tiny

from atjax.bank import append, load_bank, provenance, store
from atjax.bank.__main__ import main
from atjax.bank.manage import describe, merge, problems
from atjax.bank.store import claim
from atjax.errors import UserError
from atjax.space import bank_designs, paper_space


def test_info_says_what_each_task_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = tiny.fill_bank(tmp_path / "bank", tasks=("a", "b"), designs=5)
    assert main(["info", str(bank)]) == 0
    out = capsys.readouterr().out
    assert "2 tasks, 10 records and 2 features" in out
    assert out.count("100%") == 2
    assert main(["info"]) == 0  # the bank that is shipped
    assert "cora" in capsys.readouterr().out


def test_info_shows_tasks_with_features_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = tiny.fill_bank(tmp_path / "bank", tasks=("a", "b"), designs=5)
    for key in load_bank(bank).where(task="b").records["key"]:
        (bank / "records" / f"{key}.shard.parquet").unlink()
    rows = describe(load_bank(bank)).set_index("task")
    assert rows[["records", "designs", "features"]].to_numpy().tolist() == [[5, 5, 1], [0, 0, 1]]
    assert rows["budget"].tolist() == ["quick", ""]
    assert main(["info", str(bank)]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("│ b "))
    assert "nan" not in row


def test_the_shipped_bank_has_no_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate"]) == 0
    assert "0 faults" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("key", "f" * 16, "the key is not that of its task"),
        ("hidden", 64, "the design's columns are those of"),
        ("state", "asleep", "the state is 'asleep'"),
        ("state", "failed", "it has a score, and is failed"),
        ("validation", 1.5, "accuracy is not between 0 and 1"),
        ("level", "node", "it has several levels"),
    ],
)
def test_faults_are_found(column: str, value: object, fault: str, tmp_path: Path) -> None:
    bank = load_bank(tiny.fill_bank(tmp_path / "bank", tasks=("a",), designs=4))
    assert problems(bank) == []
    records = bank.records.copy()
    row = records.index[records["hidden"] == 256][0]
    records.loc[row, column] = value
    assert any(fault in problem for problem in problems(dataclasses.replace(bank, records=records)))


@pytest.mark.parametrize(("metric", "faults"), [("roc_auc", 4), ("average_precision", 4), ("rmse", 0)])
def test_what_is_a_share_is_checked_to_be_one(metric: str, faults: int, tmp_path: Path) -> None:
    bank = load_bank(tiny.fill_bank(tmp_path / "bank", tasks=("a",), designs=4))
    found = problems(dataclasses.replace(bank, records=bank.records.assign(metric=metric, test=1.5)))
    assert [problem.split(": ")[1] for problem in found] == [f"{metric} is not between 0 and 1"] * faults


def test_broken_features_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = load_bank(tiny.fill_bank(tmp_path / "bank", tasks=("a",), designs=1))
    bad = bank.features.assign(values=[np.full((12, 5), np.inf)], seed=3)
    faults = problems(dataclasses.replace(bank, features=bad))
    assert [fault.split(": ")[1] for fault in faults] == [
        "the key is not that of its task, seed and settings",
        "its numbers are not finite, or no table",
    ]


def test_merging_adds_what_is_lacking_and_changes_nothing_else(tmp_path: Path) -> None:
    one = tiny.fill_bank(tmp_path / "one", tasks=("a", "b"), designs=3)
    two = tiny.fill_bank(tmp_path / "two", tasks=("b", "c"), designs=4)
    for folder, command in ((one, "first"), (two, "second")):
        (folder / "PROVENANCE.json").write_text(json.dumps({"runs": [{"command": command}]}))
    before = load_bank(one)
    added = merge(one, [two, two])
    after = load_bank(one)
    assert added == len(after.records) + len(after.features) - len(before.records) - len(before.features) > 0
    kept = after.records[after.records["key"].isin(before.records["key"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before.records)
    assert set(load_bank(two).records["key"]) <= set(after.records["key"])
    assert problems(after) == []
    runs = json.loads((one / "PROVENANCE.json").read_text())["runs"]
    assert [run["command"] for run in runs] == ["first", "second"]
    assert merge(tmp_path / "new", [one]) == len(after.records) + len(after.features)
    pd.testing.assert_frame_equal(load_bank(tmp_path / "new").records, after.records)


def test_merging_adds_nothing_unless_all_can_be_read_and_the_target_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.fill_bank(tmp_path / "one", tasks=("a",), designs=1)
    assert main(["merge", "new", "one", "nope"]) == 2
    assert "There is no bank at nope" in capsys.readouterr().err
    assert main(["merge", "embedded", "one"]) == 2
    assert "The bank to merge into is embedded, the bank that atjax ships" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_provenance_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    bank = tiny.fill_bank(tmp_path, tasks=("a",), designs=1)
    assert problems(load_bank(bank)) == []
    (bank / "PROVENANCE.json").write_text("{")
    assert problems(load_bank(bank)) == [f"{bank / 'PROVENANCE.json'} is not readable; move it elsewhere."]


@pytest.mark.parametrize("broken", ["one", "two", "new"])
def test_merging_adds_nothing_where_a_provenance_cannot_be_read(broken: str, tmp_path: Path) -> None:
    one, two, new = tmp_path / "one", tmp_path / "two", tmp_path / "new"
    for folder, task in ((one, "a"), (two, "b")):
        tiny.fill_bank(folder, tasks=(task,), designs=1)
    new.mkdir()
    (tmp_path / broken / "PROVENANCE.json").write_text('{"runs": 3}')
    with pytest.raises(UserError, match=f"{broken}/PROVENANCE.json is not readable; move it elsewhere"):
        merge(new, [one, two])
    assert store.keys(new) == set()


def test_names_with_brackets_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(tmp_path, tiny.record("a[/b] [red]", "x" * 64, bank_designs(paper_space(), 1)[0], 0.5))
    assert main(["info", str(tmp_path)]) == 0
    assert "a[/b] [red]" in capsys.readouterr().out


def test_merging_holds_the_lock_of_the_provenance_from_reading_to_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that another process notes meanwhile waits, and is not overwritten."""
    banks = [tiny.fill_bank(tmp_path / name, tasks=("a",), designs=1) for name in ("one", "two")]
    for folder in banks:
        (folder / "PROVENANCE.json").write_text(json.dumps({"runs": [{"command": folder.name}]}))
    free: list[bool] = []

    def watched(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            with claim(banks[0], "provenance") as mine:
                free.append(mine)
            return function(*arguments)

        return call

    monkeypatch.setattr("atjax.bank.provenance.json.loads", watched(json.loads))
    monkeypatch.setattr("atjax.bank.provenance.write_text", watched(provenance.write_text))
    merge(banks[0], [banks[1]])
    assert free == [True, True, False, False]  # both are looked at first, for what cannot be read


def test_merging_keeps_failures_and_curves(tmp_path: Path) -> None:
    bank = tiny.fill_bank(tmp_path / "one", tasks=("a",), designs=1)
    record = tiny.record("a", "x" * 64, bank_designs(paper_space(), 7)[-1], 0.5)
    failed = dataclasses.replace(
        record, state="failed", reason="memory", validation=np.nan, validation_loss=np.nan, test=np.nan, best_epoch=0
    )
    append(bank, failed)
    merge(tmp_path / "two", [bank])
    pd.testing.assert_frame_equal(load_bank(tmp_path / "two").records, load_bank(bank).records)


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = tiny.fill_bank(tmp_path / "bank", tasks=("a",), designs=4)
    assert main(["export", str(bank), str(tmp_path / "x.csv")]) == 0
    frame = pd.read_csv(tmp_path / "x.csv")
    records = load_bank(bank).records
    np.testing.assert_allclose(frame["validation"], records["validation"])
    assert "validation_curve" not in frame
    assert main(["export", str(bank), str(tmp_path / "new" / "x.parquet")]) == 0
    assert pq.read_table(tmp_path / "new" / "x.parquet")["validation_curve"].to_pylist() == [
        list(curve) for curve in records["validation_curve"]
    ]
    capsys.readouterr()
    assert main(["export", str(bank), str(tmp_path / "x.txt")]) == 2
    assert "ends in .csv or .parquet" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "moon")]) == 2
    assert capsys.readouterr().err.startswith("atjax: There is no bank at")
