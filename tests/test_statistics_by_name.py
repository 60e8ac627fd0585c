"""Statistics by name: those of atjax, and a user's own."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from atjax.errors import UserError
from atjax.fisher import estimators, statistics
from atjax.fisher.config import BY_EXAMPLE, ESTIMATORS
from atjax.fisher.engine import evaluate
from atjax.fisher.moments import Diagonal, Gram, Layer
from atjax.fisher.statistics import names, reads, resolve


def test_a_statistic_of_ones_own_in_ten_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_statistics.py").write_text(
        "import jax.numpy as jnp\n\n"
        "def geometric(diagonal):\n"
        "    return diagonal.estimate(lambda d, square: jnp.exp(jnp.mean(jnp.log(d))) / jnp.mean(d))\n\n"
        "def wrong(fisher):\n"
        "    return fisher\n"
    )
    (tmp_path / "broken_statistics.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    d = np.random.default_rng(0).uniform(0.5, 2, size=(16, 6)).astype(np.float32)
    diagonal = Diagonal(d, np.ones(16, np.float32), np.float32(20), (Layer("mp_0/conv", (2, 3)),))
    statistic = resolve("own_statistics.geometric")
    assert reads(statistic) == "diagonal"
    value, error = jax.jit(statistic)(diagonal)
    mean = d.mean(axis=0)
    np.testing.assert_allclose(value, np.exp(np.log(mean).mean()) / mean.mean(), rtol=1e-5)
    assert 0 < error < value
    for name in ("own_statistics.absent", "broken_statistics.any", "absent_statistics.any", "own_statistics.", ".x.y"):
        with pytest.raises(UserError, match=r"^The statistic '.*' cannot be imported \(\w+: .*check its spelling"):
            resolve(name)
    with pytest.raises(
        UserError, match=r"one argument, named moments, diagonal, .* or descent .*, and wrong is not; rename"
    ):
        resolve("own_statistics.wrong")


@pytest.mark.parametrize(
    "returned", ["jnp.trace(gram.products)", "(1.0, jnp.zeros(2))", "(jnp.ones((2, 2)), jnp.ones((2, 2)))", "(1.0,)"]
)
def test_what_is_no_estimate_is_told(returned: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "no_estimate", raising=False)
    (tmp_path / "no_estimate.py").write_text(f"import jax.numpy as jnp\n\ndef of(gram):\n    return {returned}\n")
    gram = Gram(*map(np.stack, ([np.eye(4)], [np.arange(4)], [np.float64(4)], [np.float64(4)], [np.float64(9)])))
    with pytest.raises(UserError, match=r"scalars or \[K\], as gram.estimate does; of returned"):
        evaluate(resolve("no_estimate.of"), gram)


def test_a_name_without_a_dot_is_one_of_this_module() -> None:
    assert resolve("alpha") is statistics.alpha
    assert len(names()) == 19
    for unknown, near in (("ful_alpha", "full_alpha or"), ("names", ""), ("_eigenvalues", ""), ("", "")):
        with pytest.raises(UserError, match=rf"no statistic '{unknown}'.*{near}.*choose from alpha, descent_acc"):
            resolve(unknown)


def _nothing() -> None: ...


@pytest.mark.parametrize(
    "wrong", [lambda gram, more: gram, lambda x: x, _nothing, 3, types.SimpleNamespace(), jnp.add, print]
)
def test_what_is_no_statistic(wrong: Callable) -> None:
    with pytest.raises(UserError, match="A statistic is a function of one argument"):
        reads(wrong)


def test_the_settings_know_every_estimator() -> None:
    assert set(BY_EXAMPLE) == set(estimators.EXAMPLES)
    assert set(ESTIMATORS) == {*estimators.EXAMPLES, *estimators.SKETCHES, "monte_carlo"}
