"""Estimates stop when they are certain enough, and are then those of what they used."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tiny
from dense import PLAIN, TIGHT, make_task, random_fit, settings

from atjax.fisher import engine, estimators
from atjax.fisher.engine import evaluate
from atjax.fisher.examples import draw_examples
from atjax.fisher.moments import Diagonal
from atjax.fisher.statistics import alpha
from atjax.task import Level

pytestmark = pytest.mark.usefixtures("doubles")


@pytest.mark.parametrize(
    ("level", "estimator", "most"),
    [("graph", "exact", 8), ("node", "sign_sketch", 6), tiny.slow(("node", "monte_carlo", 6))],
)
def test_tolerance_stops_early(level: Level, estimator: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Diagonal] = []

    def listen(*arguments: Any) -> Diagonal:
        held.append(estimators.diagonal(*arguments))
        return held[-1]

    monkeypatch.setattr(engine, "diagonal", listen)
    fit = random_fit(level, 3).variables
    monkeypatch.setattr(engine, "fitted", lambda *_: fit)
    task = make_task(level, 3)

    # 11 of 18 graphs: one can never be certain.
    config = settings(level, estimator, draws=6, max_passes={level: 22}, chunk=1)
    examples = draw_examples(task, config, 0)

    def outcome(tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        stopping = dataclasses.replace(config, tolerance=tolerance)
        return engine.design_statistics(task, PLAIN, examples, stopping, ["alpha"])[0]

    results = [outcome(tolerance) for tolerance in (0.0, 1e-9, 1e9)]
    never, stopped = held
    whole = estimators.diagonal(random_fit(level, 3)._replace(task=task, examples=examples), config)
    used = [np.count_nonzero(form.counts[0]) for form in (whole, never, stopped)]
    assert used == [most, most, 2]
    assert never.sums.shape[1] == stopped.sums.shape[1]  # one program for all of them
    np.testing.assert_array_equal(never.sums[:, :most], whole.sums)
    np.testing.assert_array_equal(stopped.sums[:, :2], whole.sums[:, :2])
    assert not stopped.sums[:, 2:].any()
    alone = dataclasses.replace(whole, sums=whole.sums[:, :2], counts=whole.counts[:, :2])
    np.testing.assert_allclose(results[2], evaluate(engine._of_diagonal(alpha), alone), **TIGHT)
    np.testing.assert_allclose(results[1], results[0], **TIGHT)
    assert np.all(results[2][0] != results[0][0])


def test_one_draw_is_never_certain() -> None:
    models = random_fit("node", 3)
    form = estimators.diagonal(models, settings("node", "sign_sketch", draws=1), lambda form: True)
    value, error = evaluate(engine._of_diagonal(alpha), form)
    np.testing.assert_allclose(value, [np.mean(d**2) / np.mean(d) ** 2 for d in form.sums[:, 0]], **TIGHT)
    assert np.isnan(error).all()
