"""What a notebook shows of the things one looks at there: a few lines each, not their arrays."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hand_made import THREE, result
from searching import quick
from test_checkpoint import VERSIONS, outcome

import atjax
from atjax import checkpoint
from atjax.bank import load_bank
from atjax.errors import UserError
from atjax.prior import Prior, uniform_prior
from atjax.report import Result
from atjax.report.tables import Finding
from atjax.space import paper_space
from atjax.transfer import Transfer

__all__ = ["quick"]


def test_graphs_tell_their_counts() -> None:
    graphs = atjax.load_task("digits", count=10).graphs
    expected = f"Graphs(10 graphs, {len(graphs.nodes)} nodes, {len(graphs.senders):,} directed edges, 3 features)"
    assert repr(graphs) == expected
    edge = np.zeros(1, np.int64)
    full = atjax.Graphs.from_edges(
        np.ones((2, 3), np.float32), edge, edge + 1, np.array([2]), edges=np.ones((1, 4)), weights=np.ones(1)
    )
    assert repr(full) == "Graphs(1 graphs, 2 nodes, 2 directed edges, 3 features, 4 edge features, edge weights)"


def test_a_task_tells_its_examples_and_its_split() -> None:
    task = atjax.load_task("digits", count=60)
    assert repr(task) == f"Task('digits': 60 graphs, 10 classes, accuracy; {task.graphs!r})"
    split = task.split(0)
    assert repr(split) == "Split(48 training, 6 validation, 6 test)"
    own = dataclasses.replace(task, fixed_split=split)
    assert repr(own) == f"Task('digits': 60 graphs, 10 classes, accuracy; {task.graphs!r}, {split!r} of its own)"
    targets = np.linspace(0, 1, 60)
    of_targets = dataclasses.replace(task, labels=targets, loss="mse", metric="mae", num_outputs=1)
    assert repr(of_targets) == f"Task('digits': 60 graphs, 1 targets, mae; {task.graphs!r})"


def test_a_bank_tells_what_it_holds() -> None:
    shown = repr(atjax.load_bank())
    assert shown.startswith("Bank('embedded': ")
    assert shown.endswith(" features, designs of the space 'paper')")
    assert len(shown) < 120


def test_a_prior_lists_its_choices_likely_ones_first() -> None:
    table = dict(uniform_prior(tiny.space()).probabilities) | {"hidden": {64: 0.25, 256: 0.75}}
    near = tuple((f"t{n}", n / 10, 0.1) for n in range(1, 8))
    prior = Prior(table, near, "transfer", "So it is.", name="own")
    lines = repr(prior).splitlines()
    assert lines[0] == "Prior 'own', transfer: So it is."
    assert "  hidden         256 0.75, 64 0.25" in lines
    assert lines[-1] == "  nearest tasks  t1 (0.100), t2 (0.200), t3 (0.300), t4 (0.400), t5 (0.500), ..."
    found = Transfer(prior, None, None, {"feature": 1.25, "prior": 0.5}, {"bank": "embedded"})  # type: ignore[arg-type]
    assert repr(found) == f"{prior!r}\n  From the bank 'embedded'; feature in 1.2 s, prior in 0.5 s."


def test_a_model_tells_its_task_design_and_scores(tmp_path: Path) -> None:
    task = atjax.load_task("digits", count=40)
    fit = outcome(task)
    checkpoint.save(tmp_path, task, fit, VERSIONS)
    shown = repr(atjax.load(tmp_path))
    assert shown.startswith(f"TrainedModel('digits', a graph task: {fit.design.key}, ")
    assert shown.endswith(f" parameters, accuracy: validation {fit.validation:.4f}, test {fit.test:.4f})")


def test_a_result_shows_its_table_and_is_a_dictionary(tmp_path: Path) -> None:
    plain = result(*THREE, best=1)
    found = Finding(plain, tmp_path)
    assert found == plain
    assert any(line.startswith(" best      1      0.8500  0.6000") for line in repr(found).splitlines())
    assert "curve" not in repr(found)


@pytest.mark.usefixtures("quick")
def test_a_search_in_python_can_be_gone_on_with(tmp_path: Path) -> None:
    task = atjax.load_task("digits", count=40)

    def search(trials: int, resume: bool) -> Result:
        return atjax.search(task, trials=trials, folder=tmp_path, space=tiny.space(), budget=tiny.BUDGET, resume=resume)

    first = search(2, resume=False)
    more = search(4, resume=True)
    assert len(more["trials"]) == 4
    assert more["trials"][:2] == first["trials"]
    assert not (tmp_path / "previous").exists()
    assert len(search(1, resume=False)["trials"]) == 1
    assert (tmp_path / "previous").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(({"trials": trials}, "trials must be a whole number, 1 or more") for trials in (0, -1, "3", 1.5, True)),
        *(({"seed": seed}, "seed must be a whole number, 0 or more") for seed in (-1, 2**63, 0.0, None)),
        ({"prior": "uniform"}, "prior must be a Prior or Transfer, or left out; it is of type str"),
        ({"space": "paper"}, "space must be a Space, or left out; it is of type str"),
        ({"budget": "paper"}, "budget must be a Budget, or left out; it is of type str"),
        ({"task": "digits"}, "task must be a Task; it is of type str"),
        ({"prior": uniform_prior(paper_space())}, "The prior is not one over the space 'tiny', whose choices of conv"),
    ],
)
def test_arguments_of_no_use_are_told_before_anything_is_written(
    wrong: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = {"task": atjax.load_task("digits", count=40), "folder": tmp_path, "space": tiny.space(), **wrong}
    with pytest.raises(UserError) as error:
        atjax.search(given.pop("task"), **given)
    assert str(error.value).startswith(message)
    assert tiny.files(tmp_path) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": "digits"}, "task must be a Task; it is of type str"),
        ({"bank": "embedded"}, "bank must be a Bank; it is of type str"),
        ({"bank": None}, "bank must be a Bank; it is of type NoneType"),
        ({"prior": "rank"}, "prior must be a PriorConfig, or left out; it is of type str"),
        ({"budget": "paper"}, "budget must be a Budget, or left out; it is of type str"),
        ({"space": "paper"}, "space must be a Space, or left out; it is of type str"),
    ],
)
def test_a_prior_asks_for_its_arguments(wrong: dict[str, Any], message: str) -> None:
    given = {"task": atjax.load_task("digits", count=40), "bank": load_bank(), **wrong}
    with pytest.raises(UserError) as error:
        atjax.transfer_prior(**given)
    assert str(error.value).startswith(message)


@pytest.mark.usefixtures("quick")
def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    task, settings = atjax.load_task("digits", count=40), {"space": tiny.space(), "budget": tiny.BUDGET}
    plain = atjax.search(task, trials=2, seed=3, folder=tmp_path / "plain", **settings)
    other = atjax.search(task, trials=np.int64(2), seed=np.int32(3), folder=tmp_path / "numpy", **settings)
    assert tiny.timeless(other) == tiny.timeless(plain)
