"""GraphGym's banks: real files where they are at hand, small ones in the exact layout where not."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from atjax.bank import append, load_bank, performance_matrix
from atjax.bank.importers import gnn_bank_101, read_gnn_bank_101, read_graphgym
from atjax.bank.importers.gnn_bank_101 import read_trial
from atjax.bank.records import frame_designs
from atjax.errors import UserError
from atjax.space import ANCHORS, paper_space

GRID = "graphgym/design_v2_grid_round2/val.csv"


def test_graphgyms_grid(data: Path) -> None:
    file = data / GRID
    bank = read_graphgym(file)
    assert (bank.space.name, bank.space.size) == ("graphgym", 96)
    designs = frame_designs(bank.records, bank.space)
    assert set(designs) == set(bank.space)
    assert {*ANCHORS} < set(designs)  # the anchors were taken from this grid
    matrix = performance_matrix(bank)
    assert matrix.shape == (96, 32)
    assert matrix.notna().all(axis=None)
    raw = pd.read_csv(file)
    row = raw[
        (raw["dataset"] == "TU_IMDB")
        & (raw[["l_pre", "l_mp", "l_post"]] == [2, 6, 3]).all(axis=1)
        & (raw["stage"] == "skipsum")
        & (raw["agg"] == "add")
    ]
    own = bank.records[bank.records["task"] == "imdb_multi"]
    found = own[own["design"] == "general-sum-prelu-256-skip_sum-2.6.3-lr0.01-e400"]
    assert found["validation"].item() == row["accuracy"].item()
    assert found["validation_loss"].item() == row["loss"].item()
    assert found["test"].isna().all()  # the file has one score, and it is not a test score
    levels = bank.records.groupby("task")["level"].first()
    assert levels[["cora", "dd", "smallworld_constant_pagerank"]].tolist() == ["node", "graph", "node"]


GRID_ROW = {
    **{"dataset": "TU_DD", "task": "graph", "feature": None, "label": None, "l_pre": 1, "l_mp": 2, "l_post": 2},
    **{"stage": "skipsum", "agg": "max", "epoch": 399, "loss": 0.5, "params": 7.0, "accuracy": 0.7},
    "accuracy_std": 0.1,
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"stage": "stack"}, "row 2 has a connectivity that the grid does not have"),
        ({"l_mp": 3}, "row 2 has a mp_layers that the grid does not have"),
        (None, "has no column 'accuracy'"),
    ],
)
def test_other_tables_are_refused(change: dict[str, Any] | None, sentence: str, tmp_path: Path) -> None:
    frame = pd.DataFrame([GRID_ROW | (change or {})])
    (frame if change else frame.drop(columns="accuracy")).to_csv(tmp_path / "val.csv")
    with pytest.raises(UserError, match=sentence):
        read_graphgym(tmp_path / "val.csv")


def test_every_task_of_the_grid_has_its_name(tmp_path: Path) -> None:
    real = {
        **{"AmazonComputers": "amazon_computers", "AmazonPhoto": "amazon_photo", "CiteSeer": "citeseer"},
        **{"CoauthorCS": "coauthor_cs", "CoauthorPhysics": "coauthor_physics", "Cora": "cora", "TU_BZR": "bzr"},
        **{"TU_COX2": "cox2", "TU_DD": "dd", "TU_ENZYMES": "enzymes", "TU_IMDB": "imdb_multi"},
        "TU_PROTEINS": "proteins",
    }
    made = [{"dataset": "scalefree", "feature": "node_const", "label": f"node_{label}"} for label in ("a", "b")]
    rows = [GRID_ROW | change for change in [*({"dataset": name} for name in real), *made]]
    pd.DataFrame(rows).to_csv(tmp_path / "val.csv", index=False)
    bank = read_graphgym(tmp_path / "val.csv")
    names = {*real.values(), "scalefree_constant_node_a", "scalefree_constant_node_b"}
    assert bank.tasks == {f"graphgym-{name}": name for name in names}
    assert bank.records["content_hash"].is_monotonic_increasing
    row = bank.records.iloc[0]
    assert (row["parameters"], row["best_epoch"], row["epochs_trained"], row["seed"]) == (7, 400, 400, 0)
    assert (row["metric"], row["state"], row["versions"]) == ("accuracy", "complete", "{}")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("dataset", ["", "NaN"]),
        ("task", ["", "moon"]),
        ("accuracy", ["", "nan", "inf", "-inf", "70.5", "-0.1", "x", "1e400", "0\x007"]),
        ("accuracy_std", ["", "x", "inf", "-0.1"]),
        ("loss", ["x"]),
        ("epoch", ["", "x", "398.5", "-1", "400", "1e30"]),
        ("params", ["", "x", "7.5", "-1", "inf", "1e30"]),
    ],
)
def test_numbers_that_no_training_gives(column: str, values: list[str], tmp_path: Path) -> None:
    for value in values:
        frame = pd.DataFrame([GRID_ROW, GRID_ROW | {"l_mp": 4, column: value}])
        frame.to_csv(tmp_path / "val.csv", index=False)
        with pytest.raises(UserError, match=f"row 3 has {column}=.*, which no training gives; mend the file"):
            read_graphgym(tmp_path / "val.csv")


def test_a_design_that_stands_there_twice(tmp_path: Path) -> None:
    rows = [GRID_ROW, GRID_ROW | {"l_mp": 4}, GRID_ROW | {"accuracy": 0.8}]
    pd.DataFrame(rows).to_csv(tmp_path / "val.csv", index=False)
    with pytest.raises(UserError, match="row 4 has the task and design of an earlier row; delete one"):
        read_graphgym(tmp_path / "val.csv")


def test_a_table_without_rows(tmp_path: Path) -> None:
    pd.DataFrame([GRID_ROW]).iloc[:0].to_csv(tmp_path / "val.csv", index=False)
    with pytest.raises(UserError, match="has no rows; give the val"):
        read_graphgym(tmp_path / "val.csv")


def test_scores_on_the_training_examples(tmp_path: Path) -> None:
    pd.DataFrame([GRID_ROW]).to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(UserError, match="has the scores on the training examples; give the val"):
        read_graphgym(tmp_path / "train.csv")


@pytest.mark.parametrize(
    ("old", "new"), [(b"\n", b"\r\n"), (b"dataset,", b"\xef\xbb\xbfdataset,"), (b"\n", b"\n\n"), (b"\n", b",\n")]
)
def test_tables_as_other_programs_write_them(old: bytes, new: bytes, tmp_path: Path) -> None:
    plain, other = tmp_path / "val.csv", tmp_path / "other.csv"
    pd.DataFrame([GRID_ROW, GRID_ROW | {"l_mp": 4, "accuracy": 0.8}]).to_csv(plain, index=False)
    other.write_bytes(plain.read_bytes().replace(old, new))
    assert other.read_bytes() != plain.read_bytes()
    pd.testing.assert_frame_equal(read_graphgym(other).records, read_graphgym(plain).records)


def test_layers_with_decimals_are_the_same_designs(tmp_path: Path) -> None:
    row = GRID_ROW | {"l_pre": 1.0, "l_mp": 2.0, "l_post": 2.0, "epoch": 399.0, "loss": None}
    pd.DataFrame([row]).to_csv(tmp_path / "val.csv", index=False)
    record = read_graphgym(tmp_path / "val.csv").records.iloc[0]
    assert record["design"] == "general-max-prelu-256-skip_sum-1.2.2-lr0.01-e400"
    assert (record["validation"], record["best_epoch"], record["epochs_trained"]) == (0.7, 400, 400)
    assert math.isnan(record["validation_loss"])


def test_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        read_graphgym(tmp_path / "val.csv")
    (tmp_path / "val.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no CSV table"):
        read_graphgym(tmp_path / "val.csv")


def test_a_table_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="cannot be read; give GraphGym's aggregated val"):
        read_graphgym(tmp_path / ("n" * 300))
    (tmp_path / "val.csv").touch()

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pd, "read_csv", refused)  # root may read everything
    with pytest.raises(UserError, match="cannot be read; give GraphGym's aggregated val"):
        read_graphgym(tmp_path / "val.csv")


CONFIG = """\
out_dir: results
dataset: {{format: PyG, name: {name}, task: {level}, task_type: classification}}
gnn: {{layers_pre_mp: 1, layers_mp: 4, layers_post_mp: 2, dim_inner: 64, layer_type: {layer}, stage_type: skipconcat,
  act: prelu, agg: add, att_heads: 2, batchnorm: true}}
optim: {{optimizer: adam, base_lr: {rate}, max_epoch: 200}}
seed: 3
"""


def trial(
    root: Path, number: int, *, name: str = "TU_BZR", level: str = "graph", layer: str = "generalconv",
    rate: float = 0.1, accuracies: tuple[float, ...] = (0.5, 0.8, 0.8, *([0.6] * 7)), losses: Any = None,
    epochs: Sequence[int] = range(0, 200, 20),
) -> Path:  # fmt: skip
    """A trial's folder as the public code reads it: a name of 45 letters, one JSON object a line."""
    folder = root / f"{number:045d}"
    (folder / "val").mkdir(parents=True)
    (folder / "test").mkdir()
    (folder / "config.yaml").write_text(CONFIG.format(name=name, level=level, layer=layer, rate=rate))
    losses = losses or [1.0, 0.4, 0.3, *([0.5] * (len(accuracies) - 3))][: len(accuracies)]
    for part, shift in (("val", 0.0), ("test", -0.05)):
        lines = [
            json.dumps({"epoch": epoch, "loss": loss, "lr": 0, "params": 11, "time_iter": 0.1, "accuracy": a + shift})
            for epoch, a, loss in zip(epochs, accuracies, losses)
        ]
        (folder / part / "stats.json").write_text("\n".join(lines) + "\n")
    return folder


def test_the_layout_of_gnn_bank_101(tmp_path: Path) -> None:
    trials = [
        trial(tmp_path, 0),
        trial(tmp_path, 1, layer="gatconv"),
        trial(tmp_path, 2, name="Cora", level="node", rate=0.01),
        trial(tmp_path, 3, layer="gcnconv", accuracies=(0.5, 0.6)),
        trial(tmp_path, 4, layer="sageconv", losses=[*([1.0] * 9), math.nan]),
    ]
    (tmp_path / "notes").mkdir()  # not a trial: its name is too short
    (tmp_path / ("x" * 45)).mkdir()  # not a trial: it has no configuration
    bank = read_gnn_bank_101(tmp_path)
    assert bank.space.name == "gnn-bank-101"
    records = {record.design.key: record for record in map(read_trial, trials)}
    assert set(bank.tasks.values()) == {"bzr", "cora"}
    first = records["general-sum-prelu-64-skip_concat-1.4.2-lr0.1-e200"]
    # Two epochs have the best accuracy; the one with the lower loss counts.
    assert (first.validation, first.validation_loss, first.best_epoch) == (0.8, 0.3, 41)
    assert (first.test, first.seed, first.parameters, first.level) == (pytest.approx(0.75), 3, 11, "graph")
    assert (first.metric, first.budget, first.versions) == ("accuracy", "gnn-bank-101", "{}")
    assert first.epochs == [1, 21, 41, 61, 81, 101, 121, 141, 161, 181]
    assert "gat-2h-prelu-64-skip_concat-1.4.2-lr0.1-e200" in records  # heads, and no aggregation
    cut = records["gcn-prelu-64-skip_concat-1.4.2-lr0.1-e200"]
    assert (cut.state, cut.reason) == ("failed", "cut off after 2 recorded epochs")
    assert records["sage-sum-prelu-64-skip_concat-1.4.2-lr0.1-e200"].state == "diverged"
    assert all(record.design in bank.space for record in records.values())
    assert all(anchor in bank.space for anchor in ANCHORS)
    for record in records.values():  # such records live in a folder of atjax like its own
        append(tmp_path / "own", record)
    pd.testing.assert_frame_equal(load_bank(tmp_path / "own").records, bank.records)


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("config.yaml", "dataset: [", "no GraphGym configuration"),
        ("config.yaml", "!!python/object/apply:os.system [exit]", "no GraphGym configuration"),
        ("config.yaml", CONFIG.format(name="Cora", level="node", layer="splineconv", rate=1), "no GraphGym config"),
        ("config.yaml", CONFIG.format(name="Cora", level="node", layer="gcnconv", rate=1), "no GraphGym config"),
        ("val/stats.json", '{"epoch": 0}\n', "not one JSON object a line"),
        ("val/stats.json", '{"loss": 1, "accuracy": 1}\n', "not one JSON object a line"),
        ("val/stats.json", '{"epoch": 0, "loss": 1, "accu', "not one JSON object a line"),
        ("val/stats.json", "[" * 100_000, "not one JSON object a line"),
        ("test/stats.json", '{"epoch": 0, "loss": 1, "accuracy": 1}\n', "other epochs in test/stats.json"),
    ],
)
def test_broken_trials(file: str, text: str, sentence: str, tmp_path: Path) -> None:
    (trial(tmp_path, 0) / file).write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_gnn_bank_101(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        *({"accuracy": value} for value in (math.nan, math.inf, 78.3, -0.1, True, "0.9", None)),
        *({"epoch": value} for value in (None, "x", math.nan, math.inf, 30.5, -5, 10**30)),
        *({"params": value} for value in (None, "x", math.inf, 1.5, -3, 10**30)),
        *({"loss": value} for value in (10**400, "0.5", None)),
    ],
    ids=lambda change: str(change)[:20],
)
def test_lines_that_no_training_writes(change: dict[str, Any], tmp_path: Path) -> None:
    file = trial(tmp_path, 0) / "val" / "stats.json"
    first, *others = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps(json.loads(first) | change), *others]))
    with pytest.raises(UserError, match=r"val/stats\.json is not one JSON object a line with epoch, loss"):
        read_gnn_bank_101(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *(("seed: 3", f"seed: {value}") for value in (".inf", "9" * 30, "3.5", "-1", "x", "[1]")),
        *(("name: TU_BZR", f"name: {value}") for value in ("null", "12", "[a, b]", "''")),
        *(("dim_inner: 64", f"dim_inner: {value}") for value in ("64.5", "128", "null", ".inf", ".nan")),
        *(("max_epoch: 200", f"max_epoch: {value}") for value in ("200.5", ".inf", "1" + "0" * 400)),
        ("task: graph", "task: moon"),
    ],
    ids=lambda text: text[:20],
)
def test_strange_configurations(old: str, new: str, tmp_path: Path) -> None:
    file = trial(tmp_path, 0) / "config.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=r"config\.yaml is no GraphGym configuration of .* leave the trial out"):
        read_gnn_bank_101(tmp_path)


def test_validation_picks_the_epoch_and_test_is_read_there(tmp_path: Path) -> None:
    folder = trial(tmp_path, 0)
    file = folder / "test" / "stats.json"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    scores = [0.9, 0.1, 0.3, 0.2, 0.25, 0.35, 0.4, 0.45, 0.5, 0.55]  # the best are elsewhere
    changed = [line | {"accuracy": score, "loss": 9.0} for line, score in zip(lines, scores)]
    file.write_text("\n".join(map(json.dumps, changed)))
    record = read_trial(folder)
    assert (record.best_epoch, record.validation, record.validation_loss, record.test) == (41, 0.8, 0.3, 0.3)
    assert record.validation_curve == [0.5, 0.8, 0.8, *[0.6] * 7]
    assert record.test_curve == scores


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ("act: prelu > act: relu, agg: add > agg: mean", "general-mean-relu-64-skip_concat-1.4.2-lr0.1-e200"),
        ("generalconv > gcnconv, act: prelu > act: elu", "gcn-elu-64-skip_concat-1.4.2-lr0.1-e200"),
        ("generalconv > sageconv, prelu > lrelu_01", "sage-sum-leaky_relu-64-skip_concat-1.4.2-lr0.1-e200"),
        ("generalconv > ginconv, agg: add > agg: max", "gin-max-prelu-64-skip_concat-1.4.2-lr0.1-e200"),
        ("generalconv > gatconv, heads: 2 > heads: 4", "gat-4h-prelu-64-skip_concat-1.4.2-lr0.1-e200"),
        ("skipconcat > stack, pre_mp: 1 > pre_mp: 2", "general-sum-prelu-64-stack-2.4.2-lr0.1-e200"),
        ("skipconcat > skipsum, post_mp: 2 > post_mp: 3", "general-sum-prelu-64-skip_sum-1.4.3-lr0.1-e200"),
        ("inner: 64 > inner: 256, layers_mp: 4 > layers_mp: 8", "general-sum-prelu-256-skip_concat-1.8.2-lr0.1-e200"),
        ("epoch: 200 > epoch: 1600, lr: 0.1 > lr: 1e-3", "general-sum-prelu-64-skip_concat-1.4.2-lr0.001-e1600"),
    ],
)
def test_every_choice_of_a_configuration(changes: str, key: str, tmp_path: Path) -> None:
    file = trial(tmp_path, 0) / "config.yaml"
    for old, new in (change.split(" > ") for change in changes.split(", ")):
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
    record = read_trial(file.parent)
    assert record.design.key == key
    assert (record.hidden_trained, record.epochs_trained) == (record.design.hidden, record.design.epochs)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_in_the_end_diverged(loss: float, tmp_path: Path) -> None:
    record = read_trial(trial(tmp_path, 0, losses=[*[1.0] * 9, loss]))
    assert (record.state, record.reason) == ("diverged", "the loss is not finite")
    assert math.isnan(record.validation)


def test_folders_of_other_names_are_no_trials(tmp_path: Path) -> None:
    trial(tmp_path, 0)
    trial(tmp_path, 1, name="Cora").rename(tmp_path / ("x" * 44))
    (tmp_path / ("y" * 45)).touch()
    assert set(read_gnn_bank_101(tmp_path).tasks.values()) == {"bzr"}


def test_files_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial(tmp_path, 0)
    monkeypatch.setattr(gnn_bank_101, "LARGEST_FILE", 100)
    with pytest.raises(UserError, match="is larger than 0 MiB; leave the trial out"):
        read_gnn_bank_101(tmp_path)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_tie_goes_to_a_finite_loss(loss: float, tmp_path: Path) -> None:
    record = read_trial(trial(tmp_path, 0, accuracies=(0.8,) * 10, losses=[loss, 0.4, 0.3, *[0.5] * 7]))
    assert (record.best_epoch, record.validation_loss) == (41, 0.3)


@pytest.mark.parametrize(
    "epochs",
    [
        [*range(0, 100, 20), *range(0, 100, 20)],  # run again into the same file
        [*range(180, -20, -20)],
        [*range(0, 180, 20), 200],  # 201 epochs, and the configuration says 200
    ],
)
def test_epochs_that_are_not_of_one_training(epochs: list[int], tmp_path: Path) -> None:
    trial(tmp_path, 0, epochs=epochs)
    with pytest.raises(UserError, match=r"epochs in val/stats\.json that are not of one training"):
        read_gnn_bank_101(tmp_path)


@pytest.mark.parametrize(
    ("recorded", "state"),
    [
        ([0, *range(19, 200, 20)], "complete"),  # as GraphGym records: the first, every 20th and the last
        ([0, *range(19, 180, 20)], "failed"),
        (range(0, 200, 20), "complete"),
        (range(0, 180, 20), "failed"),
        ([], "failed"),
    ],
)
def test_a_trial_is_complete_if_no_record_was_to_come(recorded: Sequence[int], state: str, tmp_path: Path) -> None:
    record = read_trial(trial(tmp_path, 0, accuracies=(0.5,) * len(recorded), epochs=recorded))
    assert (record.state, len(record.epochs)) == (state, len(recorded))
    assert record.reason == ("" if state == "complete" else f"cut off after {len(recorded)} recorded epochs")


def test_a_long_trial_that_was_cut_off(tmp_path: Path) -> None:
    file = trial(tmp_path, 0) / "config.yaml"
    file.write_text(file.read_text().replace("max_epoch: 200", "max_epoch: 1600"))
    record = read_trial(file.parent)
    assert (record.state, record.reason) == ("failed", "cut off after 10 recorded epochs")
    assert math.isnan(record.validation)


def test_of_equal_trials_the_last_complete_one_is_kept(tmp_path: Path) -> None:
    for number, accuracies in enumerate([(0.4,) * 10, (0.5,) * 10, (0.6, 0.7)]):
        trial(tmp_path, number, accuracies=accuracies)
    kept = read_gnn_bank_101(tmp_path).records
    assert (kept["state"].tolist(), kept["validation"].tolist()) == (["complete"], [0.5])


def test_two_seeds_of_a_design_are_two_records(tmp_path: Path) -> None:
    trial(tmp_path, 0)
    file = trial(tmp_path, 1) / "config.yaml"
    file.write_text(file.read_text().replace("seed: 3", "seed: 4"))
    kept = read_gnn_bank_101(tmp_path).records
    assert sorted(kept["seed"]) == [3, 4]
    assert kept["key"].nunique() == 2


def test_other_tasks_on_the_same_data_are_other_tasks(tmp_path: Path) -> None:
    trial(tmp_path, 0, name="Cora", level="node")
    trial(tmp_path, 1, name="Cora", level="link_pred")
    made = "augment_feature: [], augment_label: ''", "augment_feature: [node_const], augment_label: node_pagerank"
    for number, more in enumerate(made, 2):
        file = trial(tmp_path, number, name="scalefree", level="node") / "config.yaml"
        file.write_text(file.read_text().replace("format: PyG", f"format: PyG, {more}"))
    records = read_gnn_bank_101(tmp_path).records
    assert dict(zip(records["task"], records["content_hash"])) == {
        "cora": "gnn-bank-101-Cora",
        "links_cora": "gnn-bank-101-links_Cora",
        "scalefree": "gnn-bank-101-scalefree",
        "scalefree_constant_pagerank": "gnn-bank-101-scalefree_node_const_node_pagerank",
    }
    assert records.set_index("task")["level"].to_dict()["links_cora"] == "edge"


@pytest.mark.parametrize("name", ["none", "file", "n" * 300, "a\0b"], ids=["none", "file", "long", "null"])
def test_folders_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be read; give the folder that holds the trials' folders"):
        read_gnn_bank_101(tmp_path / name)


def test_a_trial_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = trial(tmp_path, 0) / "config.yaml"
    stat = os.stat

    def refused(path: Any, **options: Any) -> os.stat_result:
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refused)  # root may read everything
    with pytest.raises(UserError, match="cannot be read; give the folder that holds the trials' folders"):
        read_gnn_bank_101(tmp_path)


def test_no_trials_or_half_a_trial(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no trials"):
        read_gnn_bank_101(tmp_path)
    (trial(tmp_path, 0) / "test" / "stats.json").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read_gnn_bank_101(tmp_path)


def test_numbers_and_back() -> None:
    space = paper_space()
    designs = [space.sample(np.random.default_rng(n)) for n in range(50)]
    rows = space.numbers(designs)
    assert [space.numbered(row) for row in rows] == designs
    assert (rows[:, 1] >= 0).tolist() == [design.convolution == "gat" for design in designs]
    with pytest.raises(ValueError, match=r"0\.01 is no choice of the space 'paper'"):
        space.numbers(ANCHORS)
