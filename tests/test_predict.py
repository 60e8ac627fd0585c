"""Tables of predictions for a user's own files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from written import molecules

from atjax import Task, checkpoint, load, load_task, predict, search
from atjax.sources import custom


def test_predictions_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    molecules(tmp_path / "mine")
    task = load_task("custom", path="mine")
    search(task, trials=1, budget=tiny.BUDGET, space=tiny.space(), folder="run")
    new = pd.read_csv(tmp_path / "mine" / "graphs.csv").drop(columns="label").sample(frac=1, random_state=0)
    (tmp_path / "new").mkdir()
    new.to_csv(tmp_path / "new" / "graphs.csv", index=False)
    for part in ("nodes.csv", "edges.csv"):
        (tmp_path / "new" / part).write_bytes((tmp_path / "mine" / part).read_bytes())
    assert tiny.run("predict", "model=run", "path=new") == 0
    assert capsys.readouterr().out.splitlines() == ["mine: 20 graphs predicted: predictions.csv"]
    table = pd.read_csv("predictions.csv")
    model = load("run")
    assert table["id"].tolist() == new["id"].tolist()
    expected = dict(zip((f"m{number}" for number in range(20)), model.predict_labels(task.graphs)))
    assert dict(zip(table["id"], table["prediction"])) == expected
    assert table["probability"].between(0.5, 1).all()
    assert tiny.run("predict", "model=run", "path=mine/nodes.csv") == 2
    assert capsys.readouterr().err.startswith("atjax: mine/nodes.csv: this is a file of another kind; give a folder")


def test_of_tables_to_predict_only_what_the_model_takes_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    molecules(tmp_path / "mine")
    nodes = pd.read_csv("mine/nodes.csv", dtype={"id": str})
    nodes.assign(when="2030-01-01").to_csv("mine/nodes.csv", index=False)
    edges = pd.read_csv("mine/edges.csv", dtype=str)
    edges.assign(when="2030-01-01", order=1.5, weight=0.5).to_csv("mine/edges.csv", index=False)
    pd.read_csv("mine/graphs.csv").rename(columns={"label": "mass"}).to_csv("mine/graphs.csv", index=False)
    nodes = nodes.rename(columns={"mass": "label"})  # of another name than the labels of the training
    nodes.assign(when="2030-01-01").to_csv("mine/nodes.csv", index=False)
    task = load_task("custom", path="mine", label="mass", ignore=["when"])
    assert task.encoding is not None
    design = next(iter(tiny.space()))
    checkpoint.save(tmp_path / "model", task, tiny.made_up(task, design, budget=tiny.BUDGET), {})
    assert tiny.run("predict", "model=model", "path=mine") == 0
    assert capsys.readouterr().out.splitlines() == ["mine: 20 graphs predicted: predictions.csv"]
    assert pd.read_csv("predictions.csv")["prediction"].tolist() == load("model").predict_labels(task.graphs)
    raw = custom.read("mine", encoding=task.encoding)
    assert (set(raw.columns), set(raw.edge_columns), raw.labels) == ({"element", "label"}, {"order"}, {})
    assert raw.weights is not None
    nodes.assign(element="X").to_csv("mine/nodes.csv", index=False)
    assert tiny.run("predict", "model=model", "path=mine") == 2
    assert capsys.readouterr().err.startswith("atjax: mine: nodes.csv: row 1: element is 'X', which no graph had when")
    nodes.drop(columns="element").to_csv("mine/nodes.csv", index=False)
    assert tiny.run("predict", "model=model", "path=mine") == 2
    assert capsys.readouterr().err.startswith("atjax: mine: The nodes have no attribute 'element'; it is needed")


@pytest.mark.parametrize(("level", "width"), [("node", 1), ("node", 2), ("graph", 1)])
def test_tables_of_predicted_targets(tmp_path: Path, level: str, width: int) -> None:
    path, _ = molecules(tmp_path / "own", 3)
    raw = custom.read(path)
    targets = np.random.default_rng(0).normal(size=(raw.count(level), width))
    task = Task.from_raw(dataclasses.replace(raw, labels={level: targets}))
    design = next(iter(tiny.space()))
    checkpoint.save(tmp_path / "model", task, tiny.made_up(task, design, budget=tiny.BUDGET), {})
    model = load(tmp_path / "model")
    table = predict.predictions(model, raw)
    rows = pd.read_csv(path / f"{level}s.csv", dtype=str)
    ids = rows["id"] if level == "graph" else rows["graph"] + ": " + rows["id"]
    assert table["id"].tolist() == ids.tolist()
    assert list(table)[1:] == (["prediction"] if width == 1 else ["prediction 1", "prediction 2"])
    np.testing.assert_array_equal(table.drop(columns="id"), model.predict(task.graphs))


@pytest.mark.parametrize("width", [1, 3])
def test_tables_of_labels_each_by_itself_hold_probabilities(tmp_path: Path, width: int) -> None:
    path, _ = molecules(tmp_path / "own", 3)
    raw = custom.read(path)
    labels = np.random.default_rng(0).integers(0, 2, (raw.num_nodes, width)).astype(float)
    task = Task.from_raw(dataclasses.replace(raw, labels={"node": labels}), loss="binary_cross_entropy")
    design = next(iter(tiny.space()))
    checkpoint.save(tmp_path / "model", task, tiny.made_up(task, design, budget=tiny.BUDGET), {})
    model = load(tmp_path / "model")
    table = predict.predictions(model, raw).drop(columns="id")
    assert list(table) == (["prediction"] if width == 1 else [f"prediction {n + 1}" for n in range(width)])
    np.testing.assert_array_equal(table, model.predict(task.graphs))
    outputs = model.outputs(task.graphs)
    np.testing.assert_allclose(table, 1 / (1 + np.exp(-outputs)), rtol=1e-5)
