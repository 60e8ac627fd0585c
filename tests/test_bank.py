"""The bank's records and their store: nothing lost, nothing doubled, one worker a key."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atjax.bank import (
    Bank,
    FeatureRow,
    Record,
    append,
    append_feature,
    claim,
    compact,
    has,
    keys,
    load_bank,
    record_key,
)
from atjax.bank import store as store_module
from atjax.bank.records import (
    FEATURE_SCHEMA,
    RECORD_SCHEMA,
    frame_designs,
    frame_records,
    goodness,
    records_table,
)
from atjax.errors import UserError
from atjax.sources.synthetic import Family
from atjax.space import FIELDS, Design, bank_designs, paper_space

DESIGNS = bank_designs(paper_space(), 12)


def record(number: int, task: str = "alpha", content: str = "a" * 64, **changes: object) -> Record:
    """A made-up record; the number picks design and seed, and every random value."""
    rng = np.random.default_rng(number)
    epochs = list(range(20, 20 * int(rng.integers(2, 6)), 20))
    curves = rng.random((3, len(epochs)))
    made = Record(
        task=task,
        level="graph",
        content_hash=content,
        metric="accuracy",
        design=DESIGNS[number % len(DESIGNS)],
        seed=number // len(DESIGNS),
        budget="quick",
        hidden_trained=32,
        epochs_trained=epochs[-1],
        state="complete",
        reason="",
        validation=float(rng.random()),
        validation_loss=float(rng.random()),
        test=float(rng.random()),
        best_epoch=epochs[0],
        parameters=int(rng.integers(1000)),
        seconds=float(rng.random()),
        compile_seconds=float(rng.random()),
        epochs=epochs,
        validation_curve=curves[0].tolist(),
        test_curve=curves[1].tolist(),
        train_loss_curve=curves[2].tolist(),
        versions='{"jax": "0.10"}',
        device="cpu",
        date="2030-01-01T00:00:00+00:00",
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def feature_row(number: int, task: str = "alpha", content: str = "a" * 64) -> FeatureRow:
    alphas = 1 + np.random.default_rng(number).random((12, 5))
    return FeatureRow(task, "graph", content, number, "f0", alphas, 1.5, "{}", "2030-01-01T00:00:00+00:00")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bank of two tasks, 20 records and 2 features each, in shards."""
    for task, content in [("alpha", "a" * 64), ("beta", "b" * 64)]:
        for number in range(20):
            append(tmp_path, record(number, task, content))
        for number in range(2):
            append_feature(tmp_path, feature_row(number, task, content))
    return tmp_path


def same(left: Bank, right: Bank) -> None:
    pd.testing.assert_frame_equal(left.records, right.records, check_exact=True)
    pd.testing.assert_frame_equal(left.features.drop(columns="values"), right.features.drop(columns="values"))
    for a, b in zip(left.features["values"], right.features["values"], strict=True):
        np.testing.assert_array_equal(a, b)


# Records


def test_records_survive_the_round_trip(tmp_path: Path) -> None:
    nan = math.nan
    records = [record(number) for number in range(30)]
    records.append(
        record(31, state="failed", reason="out of memory", validation=nan, validation_loss=nan, test=nan, best_epoch=0)
    )
    pq.write_table(records_table(records), tmp_path / "x.parquet")
    for old, new in zip(records, frame_records(pd.read_parquet(tmp_path / "x.parquet")), strict=True):
        assert repr(old) == repr(new)  # repr, since NaN is not equal to itself


def test_a_bank_has_the_name_it_was_asked_for_by(folder: Path) -> None:
    assert load_bank().name == "embedded"
    assert load_bank(folder).name == str(folder)


def test_feature_rows_survive_the_round_trip(folder: Path) -> None:
    file = next((folder / "features").glob(f"{feature_row(1).key}*"))
    (row,) = pq.read_table(file).to_pylist()
    np.testing.assert_array_equal(row.pop("values"), feature_row(1).values)
    kept = {name: value for name, value in dataclasses.asdict(feature_row(1)).items() if name != "values"}
    assert row == kept | {"key": feature_row(1).key}


def test_every_design_field_is_a_column_with_its_value(folder: Path) -> None:
    records = load_bank(folder).records
    designs = frame_designs(records)
    assert [design.key for design in designs] == list(records["design"])
    for name in FIELDS:
        column = "design_epochs" if name == "epochs" else name
        for design, value in zip(designs, records[column]):
            mine = getattr(design, name)
            assert pd.isna(value) if mine is None else value == mine
    assert {type(design.hidden) for design in designs} == {int}
    assert {type(design.learning_rate) for design in designs} == {float}
    assert {type(design.heads) for design in designs} <= {int, type(None)}


def test_the_key_tells_content_design_seed_and_budget_but_not_the_name() -> None:
    base = record(0)
    assert dataclasses.replace(base, task="another", seconds=9.0).key == base.key
    others = [{"content_hash": "c"}, {"design": DESIGNS[1]}, {"seed": 7}, {"budget": "paper"}]
    assert len({base.key, *(dataclasses.replace(base, **change).key for change in others)}) == 5  # type: ignore[arg-type]
    # Stable over versions and processes, or banks would be built twice.
    design = Design("gat", 4, None, "relu", 64, "stack", 1, 2, 2, 0.1, 200)
    assert (
        record_key("c", design, 0, "quick")
        == sha256(b"record\nc\n" + design.key.encode() + b"\n0\nquick").hexdigest()[:16]
    )
    assert record_key("c", design, 0, "quick") == "af7c6f0fe797448d"


def test_a_record_checks_itself() -> None:
    with pytest.raises(ValueError, match="is none of"):
        record(0, state="lost")
    with pytest.raises(ValueError, match="lengths"):
        record(0, test_curve=[])
    with pytest.raises(ValueError, match="has no metrics"):
        record(0, state="diverged")
    with pytest.raises(ValueError, match="finite"):
        dataclasses.replace(feature_row(0), values=np.full((12, 5), np.nan))


def test_goodness_turns_errors_and_drops_what_did_not_complete() -> None:
    nan = math.nan
    frame = records_table(
        [
            record(0, validation=0.7),
            record(1, validation=0.2, metric="mae"),
            record(2, state="diverged", validation=nan, validation_loss=nan, test=nan),
        ]
    ).to_pandas()
    np.testing.assert_array_equal(goodness(frame), [0.7, -0.2, nan])


# Store


def test_what_is_appended_is_read(folder: Path) -> None:
    bank = load_bank(folder)
    assert len(bank.records) == 40
    assert len(bank.features) == 4
    assert bank.tasks == {"a" * 64: "alpha", "b" * 64: "beta"}
    expected = {
        record(n, t, c).key: record(n, t, c) for n in range(20) for t, c in [("alpha", "a" * 64), ("beta", "b" * 64)]
    }
    for _, row in bank.records.iterrows():
        assert row["test"] == expected[row["key"]].test
        np.testing.assert_array_equal(row["validation_curve"], expected[row["key"]].validation_curve)
    assert bank.features["values"].iloc[0].shape == (12, 5)
    assert not list(folder.rglob("*.tmp"))


def test_a_repeat_overwrites_itself(folder: Path) -> None:
    append(folder, record(3, test=0.125))
    for _ in range(2):
        records = load_bank(folder).records
        assert len(records) == 40
        assert records.set_index("key").loc[record(3).key, "test"] == 0.125
        compact(folder)
    append(folder, record(3, test=0.25))  # newer than the merged one, before and after it is merged in turn
    for _ in range(2):
        records = load_bank(folder).records
        assert len(records) == 40
        assert records.set_index("key").loc[record(3).key, "test"] == 0.25
        compact(folder)


def test_has_and_keys_see_shards_and_merged_files(folder: Path) -> None:
    expected = {record(n, c[0], c * 64).key for n in range(20) for c in "ab"}
    expected |= {feature_row(n, c[0], c * 64).key for n in range(2) for c in "ab"}
    for _ in range(2):
        assert keys(folder) == expected
        assert has(folder, record(0).key)
        assert has(folder, feature_row(0).key)
        assert not has(folder, record(99).key)
        compact(folder)
    assert keys(folder / "absent") == set()
    assert not has(folder / "absent", record(0).key)


def test_compact_keeps_all_in_one_file_a_task(folder: Path) -> None:
    append(folder, record(0, "../odd name", "c" * 64))
    before = load_bank(folder)
    compact(folder)
    files = sorted(file.name for file in (folder / "records").iterdir())
    assert files == ["_odd_name-cccccccc.parquet", "alpha-aaaaaaaa.parquet", "beta-bbbbbbbb.parquet"]
    same(load_bank(folder), before)
    append(folder, record(50, "beta", "b" * 64))
    before = load_bank(folder)
    compact(folder)
    assert len(list((folder / "records").iterdir())) == 3
    same(load_bank(folder), before)


def test_compact_clears_what_killed_writers_left(folder: Path) -> None:
    before = load_bank(folder)
    leftover = folder / "records" / ".0123456789abcdef.shard.parquet.99.tmp"
    leftover.write_bytes(b"half a file")
    same(load_bank(folder), before)
    compact(folder)
    assert not leftover.exists()


def test_a_task_renamed_in_all_its_records_keeps_the_new_name(folder: Path) -> None:
    compact(folder)
    for number in range(20):
        append(folder, record(number, "aardvark", "a" * 64))
    for number in range(2):
        append_feature(folder, feature_row(number, "aardvark", "a" * 64))
    before = load_bank(folder)
    assert before.tasks == {"a" * 64: "aardvark", "b" * 64: "beta"}
    compact(folder)
    same(load_bank(folder), before)


@pytest.mark.parametrize("step", range(0, 30, 3))
def test_compact_may_die_at_any_step(folder: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    before = load_bank(folder)
    left = step

    def dying(function):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying(os.replace))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            compact(folder)
    same(load_bank(folder), before)
    compact(folder)
    same(load_bank(folder), before)
    assert len(list((folder / "records").iterdir())) == 2  # no leftovers either


@pytest.mark.parametrize("lister", ["_shards", "_merged"])
def test_reading_beside_a_compaction_lists_again(lister: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compaction comes just after the first listing of shards, or of merged files."""
    before = load_bank(folder)
    listed = getattr(store_module, lister)
    calls = []

    def list_then_compact(path: Path) -> list[Path]:
        files = listed(path)
        if not calls:
            calls.append(path)
            compact(folder)
        return files

    monkeypatch.setattr(store_module, lister, list_then_compact)
    same(load_bank(folder), before)
    assert calls


def test_keys_are_listed_again_where_a_merged_file_has_got_another_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(folder)
    before, listed = keys(folder), store_module._merged
    moved = []

    def list_then_move(path: Path) -> list[Path]:
        files = listed(path)
        if not moved:
            moved.extend(files)
            for file in files:
                file.rename(file.with_name(f"new-{file.name}"))
        return files

    monkeypatch.setattr(store_module, "_merged", list_then_move)
    assert keys(folder) == before
    assert moved


THREADS = """
import os, sys
from atjax.bank import compact, load_bank
from atjax.bank.store import Path, pa, pd, pq  # which may start threads
before = set(os.listdir("/proc/self/task"))
load_bank()
load_bank(sys.argv[1])
compact(Path(sys.argv[1]))
print(len(set(os.listdir("/proc/self/task")) - before))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted where Linux lists them")
def test_a_bank_leaves_no_threads_of_arrow_at_work(folder: Path) -> None:
    """With them a process may abort as it ends, once in some hundred times."""
    counted = subprocess.run([sys.executable, "-c", THREADS, str(folder)], capture_output=True, text=True, check=True)
    assert counted.stdout == "0\n"


def test_a_bank_of_an_earlier_version_is_read_and_merged(folder: Path) -> None:
    """The column of `values` was called after the only statistic there was."""
    expected = load_bank(folder)
    for file in (folder / "features").iterdir():
        table = pq.read_table(file)
        earlier = ["alphas" if name == "values" else name for name in table.column_names]
        pq.write_table(table.rename_columns(earlier), file)
    same(load_bank(folder), expected)
    assert keys(folder) == set(expected.records["key"]) | set(expected.features["key"])
    compact(folder)
    same(load_bank(folder), expected)
    for file in (folder / "features").iterdir():
        assert pq.read_schema(file).names == FEATURE_SCHEMA.names


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "foreign"])
def test_a_damaged_file_is_named(folder: Path, damage: str) -> None:
    file = sorted((folder / "records").iterdir())[7]
    if damage == "foreign":
        pq.write_table(pa.table({"key": ["x"], "accuracy": [0.5]}), file)
        sentence = (
            rf"{file.name} is not of this version's bank \(columns that differ: .*accuracy.*\); move it elsewhere\."
        )
    else:
        content = {"cut": file.read_bytes()[:-100], "empty": b"", "text": b"task,accuracy\n"}[damage]
        file.write_bytes(content)
        sentence = (
            rf"{re.escape(file.name)} is no readable Parquet file, perhaps cut off; delete it and build its records"
        )
    with pytest.raises(UserError, match=sentence):
        load_bank(folder)
    count = len(list(folder.rglob("*.parquet")))
    with pytest.raises(UserError, match=sentence):
        compact(folder)
    assert len(list(folder.rglob("*.parquet"))) == count


def test_no_bank(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no bank at .*absent; build one with python -m atjax.build_bank"):
        load_bank(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no records of a bank"):
        load_bank(tmp_path)


def test_no_embedded_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module.resources, "files", lambda package: tmp_path)
    with pytest.raises(UserError, match="ships no bank; build one"):
        load_bank()


def test_hundreds_of_shards_are_read(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    table = records_table([record(0)])
    position = RECORD_SCHEMA.names.index("key")
    for number in range(300):
        renamed = table.set_column(position, "key", pa.array([f"{number:016x}"]))
        pq.write_table(renamed, tmp_path / "records" / f"{number:016x}.shard.parquet")
    assert len(load_bank(tmp_path).records) == 300


# Bank


def test_without_drops_by_content_and_by_name(folder: Path) -> None:
    append(folder, record(0, "alias", "a" * 64, seed=9))  # the same content under another name
    append(folder, record(0, "alpha", "c" * 64))  # other content under the same name
    append(folder, record(0, "parts", "a" * 64 + ":5f"))  # the same content, with a split of its own
    bank = load_bank(folder)
    rest = bank.without(content_hash="a" * 64, name="alpha")
    assert rest.tasks == {"b" * 64: "beta"}
    assert len(rest.records) == 20
    assert len(rest.features) == 2
    same(bank.without(content_hash="a" * 64 + ":5f", name="alpha"), rest)
    same(bank.without(content_hash="none", name="none"), bank)


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("COX2", {"cox2"}),
        ("IMDB-BINARY", {"imdb_binary"}),
        ("PTC_MR", {"ptc_mr", "links_ptc_mr"}),
        ("Amazon Photo", {"amazon_photo"}),
        ("cora", {"cora", "links_cora"}),
        ("links_cora", {"cora", "links_cora"}),
        ("links-Cora", {"cora", "links_cora"}),
        ("linkscora", set()),
        ("chameleon", {"chameleon_filtered", "links_chameleon_filtered"}),
        ("links_chameleon", {"chameleon_filtered", "links_chameleon_filtered"}),
        ("filtered", set()),
    ],
)
def test_without_drops_a_task_by_its_name_however_it_is_written(name: str, gone: set[str]) -> None:
    """As the collection itself writes it: with other features its content is another. So is that of a graph's links."""
    bank = load_bank()
    rest = bank.without(content_hash="another", name=name)
    assert set(bank.tasks.values()) - set(rest.tasks.values()) == gone
    for frame, whole in ((rest.records, bank.records), (rest.features, bank.features)):
        assert set(frame["task"]) == set(whole["task"]) - gone


def test_kin_of_a_task_go_by_whatever_name_its_content_has() -> None:
    """Cora under a name of one's own is told by the links of cora as well as by cora."""
    bank = load_bank()
    (cora,) = (content for content, name in bank.tasks.items() if name == "cora")
    rest = bank.without(content_hash=cora, name="my_graph")
    assert set(bank.tasks.values()) - set(rest.tasks.values()) == {"cora", "links_cora"}


def test_synthetic_tasks_on_the_same_graphs_go_together(tmp_path: Path) -> None:
    families = get_args(Family)
    names = {f"{graphs}_{task}" for graphs in families for task in ("onehot_clustering", "constant_path_length")}
    for number, name in enumerate(sorted(names | {"scale"})):
        append(tmp_path, record(0, name, f"{number}" * 64))
    for graphs in families:
        rest = load_bank(tmp_path).without(content_hash="none", name=f"{graphs}_pagerank_path_length")
        assert set(rest.tasks.values()) == {"scale"} | {name for name in names if not name.startswith(graphs)}


def test_where_narrows_the_frames_that_have_the_column(folder: Path) -> None:
    append(folder, record(0, budget="paper"))
    bank = load_bank(folder)
    assert len(bank.where(budget="paper").records) == 1
    assert len(bank.where(budget="paper").features) == 4
    narrowed = bank.where(seed=1, task="beta")
    assert len(narrowed.records) == 8
    assert len(narrowed.features) == 1
    assert len(bank.where(fisher="f1").features) == 0
    with pytest.raises(UserError, match="no column 'colour'"):
        bank.where(colour="red")


# Claims

HOLD = """
import sys, time
from pathlib import Path
from atjax.bank import claim
with claim(Path(sys.argv[1]), "k") as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_one_claim_a_key(tmp_path: Path) -> None:
    with claim(tmp_path, "k") as mine, claim(tmp_path, "k") as second, claim(tmp_path, "other") as third:
        assert (mine, second, third) == (True, False, True)
    with claim(tmp_path, "k") as mine:
        assert mine


def test_a_claim_ends_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), claim(tmp_path, "k"):
        raise RuntimeError
    with claim(tmp_path, "k") as mine:
        assert mine


def test_a_killed_process_gives_its_claim_back(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with claim(tmp_path, "k") as mine:
            assert not mine
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        with claim(tmp_path, "k") as mine:
            assert mine
    finally:
        process.kill()
        process.communicate()


def test_designs_outside_the_space_are_kept_as_they_are() -> None:
    odd = Design("general", None, "sum", "prelu", 100, "stack", 1, 3, 2, 0.01, 400)
    assert frame_designs(records_table([record(0, design=odd)]).to_pandas()) == [odd]
