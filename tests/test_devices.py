"""Models are dealt to devices, and how many there are changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import pytest
from dense import MODELS, PLAIN, WIDTH, design, make_task, random_models, settings
from tiny import environment

from atjax.fisher import engine, estimators, preparation
from atjax.fisher.engine import task_statistics
from atjax.fisher.estimators import Fitted
from atjax.fisher.moments import Moments
from atjax.model.gnn import GNN, Variables
from atjax.task import Level, Task

pytestmark = pytest.mark.usefixtures("doubles")


def report() -> dict[str, Any]:
    """Statistics of a small graph and a small node task, and the devices on which models lay."""
    devices: set[int] = set()
    real = estimators.moments

    def listen(models: Fitted, *rest: Any) -> Moments:
        leaves = jax.tree.leaves((models.variables, models.examples.rows))
        devices.update(device.id for leaf in leaves for device in leaf.devices())
        return real(models, *rest)

    anchors = [PLAIN, design("general", "sum")]
    found: dict[str, Any] = {"available": len(jax.local_devices())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(engine.MADE_BY, "moments", listen)
        patch.setattr(preparation, "random_models", random_models)
        real_fit = engine.fitted

        def fit(gnn: GNN, task: Task, *rest: Any) -> Variables:
            # Softmax regression is long to compile; ridge regression is not.
            return real_fit(gnn, task, *rest) if task.loss == "mse" else random_models(gnn, WIDTH, MODELS)

        patch.setattr(engine, "fitted", fit)
        cases: list[tuple[Level, str, int | None]] = [("graph", "exact", 3), ("node", "sign_sketch", None)]
        for level, estimator, classes in cases:
            devices.clear()
            config = settings(level, estimator, draws=4)
            values = task_statistics(make_task(level, classes), config, ["alpha"], anchors=anchors)["alpha"]
            found[level] = [np.asarray(values.value).tolist(), np.asarray(values.error).tolist()]
            found[f"{level} devices"] = sorted(devices)
    return found


REPORT = """
import json, jax, test_devices
jax.config.update("jax_disable_most_optimizations", True)
print(json.dumps(test_devices.report()))
"""


def test_number_of_devices_changes_nothing() -> None:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(
        [sys.executable, "-c", REPORT], env=environment(**flags), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    many, one = json.loads(process.stdout.splitlines()[-1]), report()
    assert (many["available"], one["available"]) == (8, 1)
    for level in ("graph", "node"):
        assert many[f"{level} devices"] == [0, 1]
        assert one[f"{level} devices"] == [0]
        np.testing.assert_allclose(many[level], one[level], rtol=1e-6)
        assert np.shape(one[level][0]) == (2, MODELS)


class Broken(Exception):
    """Of a made-up anchor."""


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_what_has_not_begun_is_left_when_one_anchor_fails(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, closed = [], threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            closed.set()
            super().shutdown(wait=wait)

    def made_up(*rest: Any) -> Any:
        begun.append(rest)
        if len(begun) > 1:  # does not outrun the one who hears of the first
            closed.wait(60)
        raise error

    monkeypatch.setattr(engine.runtime, "cores", lambda: 1)
    monkeypatch.setattr(engine, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(engine, "design_statistics", made_up)
    with pytest.raises(error):
        task_statistics(make_task("node", 2), settings("node"), ["alpha"])
    assert len(begun) <= 2
