"""Every level with every loss, from training to the saved model, the bank and the report."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import atjax
from atjax import meta, metrics
from atjax.bank import load_bank, performance_matrix
from atjax.bank.build import train_designs
from atjax.budget import Budget
from atjax.report.__main__ import main as report
from atjax.report.result import read
from atjax.space import Design
from atjax.task import METRICS, Level, Loss, Metric, Task
from atjax.train import fit

BUDGET = Budget(
    "quick",
    {"64": 4, "256": 4},
    dict.fromkeys(("graph", "edge", "node"), 0.02),
    dict.fromkeys(("graph", "edge", "node"), 2),
)
OUTPUTS = {"cross_entropy": 2, "binary_cross_entropy": 3, "mse": 2}


pytestmark = pytest.mark.usefixtures("unoptimised")


def make_task(level: Level, loss: Loss, metric: Metric) -> Task:
    """Random paths, or pairs of the nodes of one; some labels are missing where they may be."""
    plain = tiny.path_task(count=40, level="graph" if level == "graph" else "node")
    rng = np.random.default_rng(0)
    count = 60 if level == "edge" else 40
    pairs = rng.integers(0, 40, (count, 2)) if level == "edge" else None
    labels: Any = rng.integers(0, 2, count).astype(np.int32)
    if loss != "cross_entropy":
        labels = rng.normal(size=(count, 2)) * 50 + 1000 if loss == "mse" else rng.integers(0, 2, (count, 3))
        labels = np.where(rng.random(labels.shape) < 0.1, np.nan, labels).astype(np.float32)
    return Task(f"{level}-{loss}", level, loss, metric, plain.graphs, labels, OUTPUTS[loss], pairs=pairs)


CASES: list[tuple[Level, Loss, Metric]] = [
    ("graph", "mse", "rmse"),
    ("graph", "binary_cross_entropy", "roc_auc"),
    ("node", "mse", "mae"),
    ("node", "binary_cross_entropy", "average_precision"),
    ("edge", "binary_cross_entropy", "accuracy"),
    ("edge", "cross_entropy", "average_precision"),
]


@pytest.mark.parametrize(("level", "loss", "metric"), CASES)
def test_a_search_from_data_to_report(
    level: Level, loss: Loss, metric: Metric, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = make_task(level, loss, metric)
    result = atjax.search(task, trials=2, space=tiny.space(), budget=BUDGET, folder=tmp_path / "run")
    trials = result["trials"]
    assert [trial["state"] for trial in trials] == ["complete"] * 2
    assert read(tmp_path / "run")["task"] == result["task"]
    assert (result["task"]["level"], result["task"]["metric"]) == (level, metric)
    validation = [trial["validation"] for trial in trials]
    assert result["best"] is not None
    best = result["best"]["validation"]
    assert best == (max(validation) if metrics.larger_is_better(metric) else min(validation))

    model = atjax.load(tmp_path / "run")
    predicted, test = model.predict(task.graphs, task.pairs), task.split(0).test
    if loss == "cross_entropy":
        assert predicted.shape == (task.num_examples,)
    else:
        assert predicted.shape == task.labels.shape
        outputs = np.log(predicted / (1 - predicted)) if loss == "binary_cross_entropy" else predicted
        again = metrics.score(metric, task.labels[test], outputs[test])
        np.testing.assert_allclose(again, result["best"]["test"], rtol=1e-4)

    page = (tmp_path / "run" / "report.html").read_text()
    asked = {"cross_entropy": "2 classes", "binary_cross_entropy": "3 binary labels", "mse": "2 targets"}[loss]
    assert f"and {asked}." in page
    assert f"{'An edge' if level == 'edge' else f'A {level}'} task of" in page
    capsys.readouterr()
    assert report([str(tmp_path / "run"), "--out", str(tmp_path / "report")]) == 0
    words = {"rmse": "root mean squared error", "mae": "mean absolute error", "roc_auc": "ROC-AUC"}
    assert words.get(metric, metric.replace("_", " ")) in (tmp_path / "report" / "summary.html").read_text()
    assert np.isfinite(list(meta.meta_features(task).values())).all()


@pytest.mark.parametrize("metric", ["rmse", "average_precision"])
def test_the_bank_ranks_by_the_metric(metric: Metric, tmp_path: Path) -> None:
    """Of one program: designs that differ in learning rate alone."""
    loss: Loss = "mse" if metric in METRICS["mse"] else "binary_cross_entropy"
    task = make_task("edge", loss, metric)
    designs = [design for design in tiny.space() if (design.hidden, design.epochs) == (64, 200)]
    grown = train_designs(task, designs, folder=tmp_path, budget=BUDGET, seed=0, progress=lambda *_: None)
    assert grown.added == len(designs) == 2
    bank = load_bank(tmp_path)
    values = bank.records.set_index("design")["validation"]
    matrix = performance_matrix(bank)[task.content_hash]
    np.testing.assert_allclose(matrix.loc[values.index], -values if metric == "rmse" else values)
    assert set(bank.records["level"]) == {"edge"}


DESIGN = Design("general", None, "mean", "prelu", 8, "skip_sum", 1, 1, 2, 0.01, 3000)


@pytest.mark.parametrize(("zero", "unit"), [(1024, 2.0**6), (0, 2.0**-80), (0, 2.0**80)])
def test_training_does_not_depend_on_the_units_of_targets(zero: float, unit: float) -> None:
    """Degrees of the nodes of a random graph in two units: errors are in the targets' own."""
    rng = np.random.default_rng(0)
    ends = rng.integers(0, 60, (2, 150))
    graphs = atjax.Graphs.from_edges(np.ones((60, 1)), *ends, np.array([60]))
    degree = np.bincount(graphs.receivers, minlength=60)
    nodes = np.stack([degree, rng.normal(size=60)], axis=1).astype(np.float32)
    graphs = dataclasses.replace(graphs, nodes=nodes)
    task = Task("degree", "node", "mse", "mae", graphs, degree.astype(np.float32), 1)
    far = dataclasses.replace(task, labels=(zero + unit * degree).astype(np.float32))
    near, other = fit(task, DESIGN, budget=BUDGET), fit(far, DESIGN, budget=BUDGET)
    np.testing.assert_allclose(other.curve.train_loss, near.curve.train_loss, rtol=1e-3)
    np.testing.assert_allclose(other.test, unit * near.test, rtol=1e-2)
    assert near.test < 0.6 * np.abs(degree - degree.mean()).mean()


def test_labels_that_are_missing_do_not_train() -> None:
    """The bias of a label that is never there stays where it begins, at 0."""
    task = make_task("graph", "binary_cross_entropy", "roc_auc")
    labels = task.labels.copy()
    labels[:, 2] = np.nan
    outcome = fit(dataclasses.replace(task, labels=labels), dataclasses.replace(DESIGN, epochs=200), budget=BUDGET)
    assert outcome.state == "complete"
    assert outcome.variables is not None
    bias = outcome.variables["params"]["out"]["bias"]
    assert bias[2] == 0
    assert np.all(bias[:2] != 0)


def test_a_budget_without_the_level() -> None:
    task = make_task("edge", "mse", "mae")
    with pytest.raises(atjax.UserError, match=r"budget.epochs_scale has no value for the level edge; add one"):
        fit(task, DESIGN, budget=dataclasses.replace(tiny.BUDGET, epochs_scale={"graph": 0.01, "node": 0.025}))
