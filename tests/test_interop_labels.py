"""Labels of a user's own, of every kind and with gaps, as classes and targets."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from library_objects import data, molecules, ring

from atjax import Task, UserError
from atjax.encoding import factorize
from atjax.units import Units


def test_regression_of_one_and_of_several_targets() -> None:
    graphs = molecules(20)
    targets = np.random.default_rng(0).normal(size=(20, 2))
    one = Task.from_networkx(graphs, targets[:, 0].tolist())
    assert (one.loss, one.metric, one.num_outputs) == ("mse", "mae", 1)
    np.testing.assert_allclose(one.labels, targets[:, :1].astype(np.float32))
    two = Task.from_pyg([data([(0, 1)], 2, y=row[None]) for row in targets])
    assert (two.loss, two.num_outputs, two.labels.shape) == ("mse", 2, (20, 2))
    whole = Task.from_networkx(graphs, list(range(20)), loss="mse")
    assert whole.labels[:, 0].tolist() == list(range(20))
    classes = Task.from_networkx(graphs, [1.5, 2.5] * 10, loss="cross_entropy", metric="roc_auc")
    assert classes.encoding is not None
    assert (classes.encoding.classes, classes.metric) == ((1.5, 2.5), "roc_auc")


def test_targets_that_single_precision_cannot_tell_apart_are_refused() -> None:
    targets = np.random.default_rng(0).normal(size=20)
    for offset in (1e8, -3e9):
        with pytest.raises(UserError, match=r"own: the targets of column 0 vary by .* subtract their mean first\.$"):
            Task.from_arrays(None, [[0], [1]], targets + offset)
    task = Task.from_arrays(None, [[0], [1]], targets + 1e5)
    np.testing.assert_array_equal(task.labels[:, 0], (targets + 1e5).astype(np.float32))
    assert task.labels.dtype == np.float32
    # Of equal numbers, mean and deviation have rounding errors.
    equal = Task.from_arrays(None, [[0], [1]], np.stack([np.full(20, 0.1), targets], axis=1)).labels[:, :1]
    assert Units.of("mse", equal).deviation == 1
    with pytest.raises(UserError, match="own: all targets are equal, so there is nothing to learn"):
        Task.from_arrays(None, [[0], [1]], equal)


def test_several_labels_of_yes_and_no() -> None:
    y = np.random.default_rng(0).integers(0, 2, (20, 3))
    task = Task.from_pyg([data([(0, 1)], 2, y=row[None]) for row in y], metric="average_precision")
    assert (task.loss, task.metric, task.num_outputs) == ("binary_cross_entropy", "average_precision", 3)
    np.testing.assert_array_equal(task.labels, y)
    assert task.notes[1] == "Labels: 0 or 1, 3 for each graph (loss=binary_cross_entropy)."


@pytest.mark.parametrize("kind", [int, float])
def test_several_labels_of_which_a_number_says_that_there_is_none(kind: type) -> None:
    y = np.array([[0, 1, -1], [1, -1, 0], [1, 0, 1], [-1, -1, -1]], kind)
    task = Task.from_arrays(None, [[0], [1]], y, unlabelled=-1)
    assert task.loss == "binary_cross_entropy"
    np.testing.assert_array_equal(task.labels, np.where(y < 0, np.nan, y))


def test_targets_may_be_missing() -> None:
    task = Task.from_arrays(None, [[0], [1]], [0.5, None, 1.5, -9.0], unlabelled=-9)
    np.testing.assert_array_equal(task.labels[:, 0], [0.5, np.nan, 1.5, np.nan])
    assert task.notes[1:3] == (
        "Labels: numbers from 0.5 to 1.5 (loss=mse).",
        "Nodes without a label, which take part in message passing only: 2.",
    )


@pytest.mark.parametrize("gap", [None, pd.NA, float("nan")])
@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64, np.array, Decimal, Fraction])
def test_numbers_of_any_kind_are_targets_also_where_some_are_missing(kind: Any, gap: Any) -> None:
    labels = [kind(0.5), gap, kind(1.25), kind(-2.0)]
    task = Task.from_arrays(None, [[0], [1]], labels)
    assert task.loss == "mse"
    np.testing.assert_array_equal(task.labels[:, 0], [0.5, np.nan, 1.25, -2.0])
    objects = Task.from_arrays(None, [[0], [1]], pd.Series(labels, dtype=object).to_numpy())
    np.testing.assert_array_equal(objects.labels, task.labels)
    several = Task.from_networkx([ring()] * 4, [[kind(0.5), gap], [gap, kind(2.5)], [kind(1), kind(2)], [kind(3), gap]])
    np.testing.assert_array_equal(several.labels, [[0.5, np.nan], [np.nan, 2.5], [1, 2], [3, np.nan]])


@pytest.mark.parametrize("gap", [None, pd.NA])
@pytest.mark.parametrize("kind", [int, bool, np.int64, np.uint8, np.bool_, np.array, str])
def test_classes_of_any_kind_are_classes_also_where_some_are_missing(kind: Any, gap: Any) -> None:
    task = Task.from_arrays(None, [[0], [1]], [kind(1), gap, kind(0), kind(1)])
    assert task.loss == "cross_entropy"
    first = task.labels[0]
    assert task.labels.tolist() == [first, -1, 1 - first, first]
    assert task.encoding is not None
    assert json.loads(json.dumps(task.encoding.as_dict()))["classes"] == sorted(task.encoding.classes or ())


def test_a_label_may_stand_for_none() -> None:
    task = Task.from_arrays(None, [[0], [1]], [-1, 2, 5, -1, 2], unlabelled=-1)
    assert task.labels.tolist() == [-1, 0, 1, -1, 0]
    assert task.encoding is not None
    assert task.encoding.classes == (2, 5)
    assert Task.from_arrays(None, [[0], [1]], [-1, 1, 1, -1]).labels.tolist() == [0, 1, 1, 0]


@given(st.lists(st.one_of(st.integers(-3, 3), st.text(max_size=2), st.tuples(st.integers(0, 2))), min_size=1))
def test_labels_of_any_kind_get_numbers_and_come_back(labels: list[Any]) -> None:
    values = np.empty(len(labels), object)
    values[:] = labels
    codes, found = factorize(values)
    assert [found[code] for code in codes] == labels
    assert sorted(set(codes.tolist())) == list(range(len(set(labels))))
    if len({type(label) for label in labels}) == 1:
        assert list(found) == sorted(set(labels))


MASK = [True, False, False, False]


@pytest.mark.parametrize(
    ("labels", "loss", "expected"),
    [
        (np.ma.array([7, 7, 8, 9], mask=MASK), "cross_entropy", [-1, 0, 1, 2]),
        (np.ma.array(["a", "a", "b", "c"], mask=MASK), "cross_entropy", [-1, 0, 1, 2]),
        (np.ma.array([7.5, 7, 8, 9], mask=MASK), "mse", [[np.nan], [7], [8], [9]]),
        (np.ma.array([[1, 0], [1, 0], [0, 1], [1, 1]], mask=[[1, 0]] * 2 + [[0, 0]] * 2), "binary_cross_entropy", None),
    ],
    ids=["whole", "words", "numbers", "table"],
)
@pytest.mark.parametrize("make", [np.ma.array, list], ids=["array", "list"])
def test_masked_labels_are_missing(labels: Any, loss: str, expected: Any, make: Any) -> None:
    task = Task.from_arrays(None, [[0], [1]], make(labels))
    assert task.loss == loss
    np.testing.assert_array_equal(task.labels, expected or [[np.nan, 0], [np.nan, 0], [0, 1], [1, 1]])
    graphs = [data([(0, 1)], 2) for _ in labels]
    for graph, row in zip(graphs, labels[:, None]):
        graph.y = row
    np.testing.assert_array_equal(Task.from_pyg(graphs).labels, task.labels)


def test_yes_and_no_may_be_missing_in_lists() -> None:
    task = Task.from_arrays(None, [[0], [1]], [[1, None], [0, 1], [1, 0]])
    assert task.loss == "binary_cross_entropy"
    np.testing.assert_array_equal(task.labels, [[1, np.nan], [0, 1], [1, 0]])


def test_whole_numbers_beyond_64_bits() -> None:
    large = [2**70, 2**71, 2**72]
    assert Task.from_arrays(None, [[0], [1]], large).encoding.classes == tuple(large)  # type: ignore[union-attr]
    assert Task.from_arrays(None, [[0], [1]], large, loss="mse").labels[:, 0].tolist() == large
    for labels, options in (([2**2000, 1, 2], {"loss": "mse"}), ([0.5, 1, -(2**2000)], {})):
        with pytest.raises(UserError, match="the label is infinite"):
            Task.from_arrays(None, [[0], [1]], labels, **options)  # type: ignore[arg-type]
