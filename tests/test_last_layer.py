"""The last layer's fit against scipy and the normal equations, and what it must survive."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from atjax.fisher.last_layer import NEWTON_SIZE, LastLayer, fit_last_layer, objective
from atjax.task import Loss

RIDGE = 5e-4
N, H = 60, 5


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


# The oracle


def softmax_objective(
    flat: np.ndarray, hidden: np.ndarray, labels: np.ndarray, ridge: float
) -> tuple[float, np.ndarray]:
    """mean_i -log p(y_i | h_i) + ridge / 2 |W|^2 and its gradient; the last row of ``flat`` [(H + 1) C] is the bias."""
    count = len(labels)
    layer = flat.reshape(hidden.shape[1] + 1, -1)
    log_p = special.log_softmax(hidden @ layer[:-1] + layer[-1], axis=1)
    error = (np.exp(log_p) - np.eye(layer.shape[1])[labels]) / count
    value = -log_p[np.arange(count), labels].mean() + 0.5 * ridge * np.sum(layer[:-1] ** 2)
    return value, np.vstack([hidden.T @ error + ridge * layer[:-1], error.sum(axis=0)]).ravel()


def scipy_fit(hidden: np.ndarray, labels: np.ndarray, classes: int, ridge: float = RIDGE) -> tuple[float, np.ndarray]:
    """The least value of the objective, and the probabilities there, [N, C]."""
    start = np.zeros((hidden.shape[1] + 1) * classes)
    options = {"gtol": 1e-11, "ftol": 0, "maxiter": 20000, "maxfun": 40000, "maxcor": 30}
    best = optimize.minimize(
        softmax_objective, start, (hidden, labels, ridge), jac=True, method="L-BFGS-B", options=options
    )
    layer = best.x.reshape(-1, classes)
    return best.fun, special.softmax(hidden @ layer[:-1] + layer[-1], axis=1)


def flat(layer: LastLayer) -> np.ndarray:
    """The layer as the oracle takes it."""
    return np.vstack([np.asarray(layer["kernel"], np.float64), np.asarray(layer["bias"], np.float64)]).ravel()


def probabilities(layer: LastLayer, hidden: np.ndarray) -> np.ndarray:
    return special.softmax(hidden @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]), axis=1)


# Random inputs


def make_data(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hidden values [N, H] and labels [N] that they tell something of."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(N, H))
    noisy = hidden @ rng.normal(size=(H, classes)) + rng.gumbel(size=(N, classes))
    return hidden, noisy.argmax(axis=1)


def fit_one(loss: Loss, hidden: np.ndarray, labels: np.ndarray, outputs: int, tolerance: float = 1e-10) -> LastLayer:
    layers = fit_last_layer(
        loss, jnp.asarray(hidden)[None], jnp.asarray(labels), num_outputs=outputs, ridge=RIDGE, tolerance=tolerance
    )
    return {name: value[0] for name, value in layers.items()}


# Softmax regression


@pytest.mark.parametrize("classes", [3, 5])
def test_softmax_optimum_is_that_of_scipy(classes: int) -> None:
    hidden, labels = make_data(classes)
    layer = fit_one("cross_entropy", hidden, labels, classes)
    least, expected = scipy_fit(hidden, labels, classes)
    value, gradient = softmax_objective(flat(layer), hidden, labels, RIDGE)
    assert layer["kernel"].shape == (H, classes)
    assert layer["bias"].shape == (classes,)
    np.testing.assert_allclose(value, least, rtol=1e-12)
    np.testing.assert_allclose(probabilities(layer, hidden), expected, atol=1e-7)
    assert np.abs(gradient).max() < 1e-9
    np.testing.assert_allclose(objective("cross_entropy", layer, hidden, jnp.asarray(labels), RIDGE), value, rtol=1e-12)


def test_columns_far_from_0_and_of_unlike_scale() -> None:
    """The fit sees the same problem if the columns move; if they stretch, another one, which it solves as well."""
    hidden, labels = make_data(3)
    moved = fit_one("cross_entropy", hidden + 100, labels, 3)
    np.testing.assert_allclose(probabilities(moved, hidden + 100), scipy_fit(hidden, labels, 3)[1], atol=1e-7)
    stretched = hidden * np.logspace(-1, 1, H)
    layer = fit_one("cross_entropy", stretched, labels, 3)
    least, expected = scipy_fit(stretched, labels, 3)
    np.testing.assert_allclose(softmax_objective(flat(layer), stretched, labels, RIDGE)[0], least, rtol=1e-9)
    np.testing.assert_allclose(probabilities(layer, stretched), expected, atol=1e-5)


def test_separable_classes_stay_finite() -> None:
    hidden, labels = make_data(3)
    hidden = hidden + 100 * np.eye(H)[labels]
    layer = fit_one("cross_entropy", hidden, labels, 3)
    least, expected = scipy_fit(hidden, labels, 3)
    assert np.all(probabilities(layer, hidden)[np.arange(N), labels] > 0.9)
    np.testing.assert_allclose(softmax_objective(flat(layer), hidden, labels, RIDGE)[0], least, rtol=1e-9)
    np.testing.assert_allclose(probabilities(layer, hidden), expected, atol=1e-6)


def test_class_without_an_example() -> None:
    """Its probability goes to 0, as far as the tolerance asks, and nothing overflows."""
    hidden, labels = make_data(2)
    layer = fit_one("cross_entropy", hidden, labels, 3, tolerance=1e-5)
    p = probabilities(layer, hidden)
    assert np.isfinite(flat(layer)).all()
    assert p[:, 2].max() < 1e-3
    np.testing.assert_allclose(p[:, :2], scipy_fit(hidden, labels, 2, 2 * RIDGE)[1], atol=0.05)


# Logistic regression of outputs each by itself


def binary_labels(hidden: np.ndarray, outputs: int) -> np.ndarray:
    """Labels [N, C] that the hidden values tell something of, a quarter of them missing."""
    rng = np.random.default_rng(7)
    noisy = hidden @ rng.normal(size=(H, outputs)) + rng.logistic(size=(N, outputs))
    return np.where(rng.random((N, outputs)) < 0.25, np.nan, noisy > 0)


@pytest.mark.parametrize("offset", [0, 100])
def test_logistic_optimum_is_that_of_scipy_label_by_label(offset: float) -> None:
    """One output is two classes, of which one has logit 0; the terms are divided by all examples, labelled or not."""
    hidden, _ = make_data(3)
    labels = binary_labels(hidden, 3)
    layer = fit_one("binary_cross_entropy", hidden + offset, labels, 3)
    for c, column in enumerate(labels.T):
        known = ~np.isnan(column)

        def value(flat: np.ndarray, known: np.ndarray = known, y: np.ndarray = column[known]) -> float:
            z = hidden[known] @ flat[:-1] + flat[-1]
            return np.sum(np.logaddexp(0, z) - y * z) / N + 0.5 * RIDGE * np.sum(flat[:-1] ** 2)

        best = optimize.minimize(value, np.zeros(H + 1), options={"gtol": 1e-9})
        kernel, bias = layer["kernel"][:, c], layer["bias"][c] + offset * layer["kernel"][:, c].sum()
        np.testing.assert_allclose([*kernel, bias], best.x, atol=2e-5)


def test_logistic_regression_of_many_units_takes_the_other_way() -> None:
    """Beyond `NEWTON_SIZE` L-BFGS finds the same: units that do nothing make the layer wide."""
    hidden, _ = make_data(2)
    labels = binary_labels(hidden, 2)
    wide = np.hstack([hidden, np.zeros((N, NEWTON_SIZE))])
    layer = fit_one("binary_cross_entropy", hidden, labels, 2)
    other = fit_one("binary_cross_entropy", wide, labels, 2, tolerance=1e-8)
    np.testing.assert_allclose(other["kernel"][:H], layer["kernel"], atol=1e-4)
    np.testing.assert_allclose(other["bias"], layer["bias"], atol=1e-4)


def test_label_that_never_changes_or_is_never_there() -> None:
    hidden, _ = make_data(2)
    labels = np.stack([np.zeros(N), np.full(N, np.nan), np.ones(N)], axis=1)
    layer = fit_one("binary_cross_entropy", hidden, labels, 3, tolerance=1e-5)
    p = special.expit(hidden @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]))
    assert p[:, 0].max() < 1e-3
    assert np.all(p[:, 1] == 0.5)
    assert p[:, 2].min() > 1 - 1e-3


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_constant_columns_change_nothing(loss: Loss) -> None:
    """Dead units: the bias is free, so that the ridge leaves no weight on them."""
    hidden, labels = make_data(3)
    dead = hidden.copy()
    dead[:, [0, -1]] = 0, 3
    if loss == "mse":
        layer = fit_one(loss, dead, np.eye(3)[labels], 3)
        np.testing.assert_allclose(layer["kernel"][1:-1], normal_equations(hidden[:, 1:-1], np.eye(3)[labels])[:-1])
    else:
        layer = fit_one(loss, dead, labels, 3)
        np.testing.assert_allclose(probabilities(layer, dead), scipy_fit(hidden[:, 1:-1], labels, 3)[1], atol=1e-7)
    np.testing.assert_allclose(layer["kernel"][np.array([0, -1])], np.zeros((2, 3)), atol=1e-10)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_models_at_once_are_the_models_alone(loss: Loss) -> None:
    """Also where one needs far more steps than the others."""
    rng = np.random.default_rng(1)
    hidden, classes = make_data(3)
    labels = np.eye(3)[classes] if loss == "mse" else classes
    models = np.stack([hidden, 30 * rng.normal(size=(N, H)), 1e-3 * rng.normal(size=(N, H))])
    together = fit_last_layer(
        loss, jnp.asarray(models), jnp.asarray(labels), num_outputs=3, ridge=RIDGE, tolerance=1e-10
    )
    for r, model in enumerate(models):
        alone = fit_one(loss, model, labels, 3)
        np.testing.assert_allclose(together["kernel"][r], alone["kernel"], atol=1e-8)
        np.testing.assert_allclose(together["bias"][r], alone["bias"], atol=1e-8)


@pytest.mark.parametrize(
    ("loss", "outputs", "hidden_size"),
    [("cross_entropy", 3, H), ("cross_entropy", 2, NEWTON_SIZE), ("binary_cross_entropy", 2, H), ("mse", 2, H)],
)
def test_rows_of_no_weight_count_nothing(loss: Loss, outputs: int, hidden_size: int) -> None:
    """Whatever is in them; by Newton's method, by L-BFGS and in closed form, with labels missing and without."""
    rng = np.random.default_rng(8)
    hidden = rng.normal(size=(N, hidden_size))
    labels = rng.integers(0, outputs, N) if loss == "cross_entropy" else rng.integers(0, 2, (N, outputs)) * 1.0
    if loss != "cross_entropy":
        labels[3, 0] = np.nan
    fillers = rng.integers(0, N, 7)
    filled, more = (
        np.vstack([hidden, 100 * rng.normal(size=(7, hidden_size))]),
        np.concatenate([labels, labels[fillers]]),
    )
    rows = rng.permutation(N + 7)
    weights = (rows < N).astype(np.float32)
    settings = {"num_outputs": outputs, "ridge": RIDGE, "tolerance": 1e-11}
    layer = fit_last_layer(
        loss, jnp.asarray(filled[rows])[None], jnp.asarray(more[rows]), jnp.asarray(weights), **settings
    )
    alone = fit_last_layer(loss, jnp.asarray(hidden)[None], jnp.asarray(labels), **settings)
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(layer[name], alone[name], atol=1e-7)


# Ridge regression


def normal_equations(hidden: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """[H + 1, C], the bias last: least squares with a row sqrt(N ridge) for every weight but the bias."""
    count, width = hidden.shape
    design = np.block([[hidden, np.ones((count, 1))], [np.sqrt(count * RIDGE) * np.eye(width), np.zeros((width, 1))]])
    return np.linalg.lstsq(design, np.vstack([targets, np.zeros((width, targets.shape[1]))]), rcond=None)[0]


@pytest.mark.parametrize("offset", [0, 100])
def test_ridge_optimum_is_that_of_least_squares(offset: float) -> None:
    rng = np.random.default_rng(2)
    hidden, targets = rng.normal(size=(N, H)) + offset, rng.normal(size=(N, 2)) - 7
    layer = fit_one("mse", hidden, targets, 2)
    np.testing.assert_allclose(flat(layer).reshape(-1, 2), normal_equations(hidden, targets), rtol=1e-8, atol=1e-10)
    gradient = jax.grad(lambda layer: objective("mse", layer, jnp.asarray(hidden), jnp.asarray(targets), RIDGE))(layer)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) < 1e-9


def test_ridge_optimum_without_the_targets_that_are_missing() -> None:
    rng = np.random.default_rng(5)
    hidden, targets = rng.normal(size=(N, H)) + 3, rng.normal(size=(N, 3)) - 7
    targets[rng.random(targets.shape) < 0.3] = np.nan
    targets[:, 2] = np.nan
    layer = fit_one("mse", hidden, targets, 3)
    for c in range(2):
        known = ~np.isnan(targets[:, c])
        above = np.hstack([hidden[known], np.ones((known.sum(), 1))])
        rows = np.vstack([above, np.sqrt(N * RIDGE) * np.eye(H, H + 1)])
        expected = np.linalg.lstsq(rows, np.append(targets[known, c], np.zeros(H)), rcond=None)[0]
        np.testing.assert_allclose(flat(layer).reshape(H + 1, 3)[:, c], expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(flat(layer).reshape(H + 1, 3)[:, 2], 0)


def test_ridge_of_dependent_columns_and_few_rows() -> None:
    rng = np.random.default_rng(3)
    few = rng.normal(size=(4, 3))
    hidden, targets = np.hstack([few, few, few]), rng.normal(size=(4, 2))
    layer = fit_one("mse", hidden, targets, 2)
    np.testing.assert_allclose(flat(layer).reshape(-1, 2), normal_equations(hidden, targets), rtol=1e-8, atol=1e-10)


def test_objective_of_mse() -> None:
    """Half the squared error, summed over outputs and averaged over examples."""
    layer = {"kernel": jnp.array([[1.0, 0.0]]), "bias": jnp.array([0.0, 2.0])}
    value = objective("mse", layer, jnp.array([[1.0], [3.0]]), jnp.array([[2.0, 2.0], [3.0, 5.0]]), 0.5)
    assert value == (0.5 * 1 + 0.5 * 9) / 2 + 0.25


# Single precision, at the size of a real task


@pytest.mark.parametrize("noise", [3.0, 0.01], ids=["overlapping", "nearly separable"])
def test_single_precision_at_the_size_of_cox2(noise: float) -> None:
    """N = 374 training graphs, 22% of them positive, H = 64 units that depend on 12 hidden causes, two models."""
    rng = np.random.default_rng(4)
    causes = rng.normal(size=(374, 12))
    labels = (causes[:, 0] + noise * rng.normal(size=374) > 0.77 * np.hypot(1, noise)).astype(np.int32)
    raw = causes @ rng.normal(size=(2, 12, 64)) + 0.1 * rng.normal(size=(2, 374, 64))
    normed = (raw - raw.mean(axis=1, keepdims=True)) / raw.std(axis=1, keepdims=True)
    hidden = np.where(normed > 0, normed, 0.25 * normed).astype(np.float32)
    with jax.enable_x64(False):
        layers = fit_last_layer("cross_entropy", jnp.asarray(hidden), jnp.asarray(labels), num_outputs=2, ridge=RIDGE)
    assert layers["kernel"].dtype == np.float32
    for r in range(2):
        single = hidden[r].astype(np.float64)
        least, expected = scipy_fit(single, labels, 2)
        layer = {name: np.asarray(value[r], np.float64) for name, value in layers.items()}
        value, gradient = softmax_objective(flat(layer), single, labels, RIDGE)
        assert value - least < 1e-5
        assert np.abs(gradient).max() < 1e-4
        np.testing.assert_allclose(probabilities(layer, single), expected, atol=0.02)


# Several at once


FITS = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
from concurrent.futures import ThreadPoolExecutor

import jax
from atjax.fisher.last_layer import fit_last_layer

hidden = jax.random.normal(jax.random.key(0), (5, 400, 100))
labels = jax.random.randint(jax.random.key(1), (400,), 0, 2)
fit = lambda _: fit_last_layer("cross_entropy", hidden, labels, num_outputs=2, ridge=0.0, tolerance=0.0, max_steps=6)
with ThreadPoolExecutor(2) as pool:
    for layers in pool.map(fit, range(40)):
        layers["bias"].block_until_ready()
"""


def test_two_fits_at_once_end() -> None:
    """On two cores; with a batch of matrices for LAPACK they waited for each other for ever (jaxlib 0.10)."""
    subprocess.run([sys.executable, "-c", FITS], check=True, timeout=60, env={**os.environ, "JAX_PLATFORMS": "cpu"})
