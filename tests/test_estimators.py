"""Every estimator of the Fisher information against dense matrices, made of one Jacobian an example, in float64."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import (
    DEEP,
    GAT,
    GIN,
    MODELS,
    PLAIN,
    TIGHT,
    Dense,
    dense,
    example_ids,
    mean_of,
    model,
    random_fit,
    settings,
    softmax,
    theta_of,
)

from atjax.batch import Batch, BatchShape, single_batch
from atjax.fisher import estimators, fields, statistics, sums
from atjax.fisher.engine import _of_diagonal, evaluate
from atjax.fisher.estimators import Fitted
from atjax.fisher.examples import draw_examples
from atjax.fisher.moments import Diagonal, Estimate, stages
from atjax.fisher.statistics import alpha
from atjax.model.gnn import GNN, Variables
from atjax.space import Design
from atjax.task import Level

pytestmark = pytest.mark.usefixtures("doubles")

# Estimators that take example after example

CASES: list[tuple[Level, int | None, Design, str]] = [
    ("graph", 3, DEEP, "exact"),
    ("graph", 2, PLAIN, "empirical"),
    ("graph", None, PLAIN, "empirical"),
    ("graph", None, GIN, "exact"),
    ("graph", 3, GAT, "empirical"),
    ("node", 3, PLAIN, "exact"),
    ("node", None, GAT, "exact"),
    ("node", None, PLAIN, "empirical"),
    ("node", 3, PLAIN, "empirical"),
]


@pytest.mark.parametrize(("level", "classes", "kind", "estimator"), CASES)
def test_diagonal_is_that_of_the_definition(level: Level, classes: int | None, kind: Design, estimator: str) -> None:
    models = random_fit(level, classes, kind)
    got = estimators.diagonal(models, settings(level, estimator))
    train = models.task.split(0).train
    assert got.counts.sum(axis=1).tolist() == [len(train)] * MODELS
    assert got.population.tolist() == [len(train)] * MODELS
    assert sum(layer.size for layer in got.layers) == got.sums.shape[-1]
    value, error = evaluate(alpha, estimators.moments(models, settings(level, estimator)))
    for r in range(MODELS):
        exact = dense(models, r, train)
        f = exact.each if estimator == "exact" else exact.observed**2
        expected = f.mean(axis=0)
        np.testing.assert_allclose(mean_of(got)[r], expected, atol=1e-9 * expected.max(), **TIGHT)
        np.testing.assert_allclose(value[r], np.mean(expected**2) / np.mean(expected) ** 2, **TIGHT)
        assert abs(exact.each.mean() / (exact.observed**2).mean() - 1) > 0.01  # two matrices
    assert error.tolist() == [0] * MODELS


@pytest.mark.parametrize(("level", "kind"), [("graph", PLAIN), ("graph", GIN), ("node", PLAIN)])
def test_blocks_of_a_sample_add_up(level: Level, kind: Design) -> None:
    """Whether they are cut for an early stop or not; what fills up the blocks counts nothing."""
    models = random_fit(level, 3, kind, passes=22, chunk=1)  # 11 of 18, one at a time if the level allows it
    ids = example_ids(models)
    assert models.examples.sampled == len(set(ids)) == 11 < models.examples.population == 18
    assert set(ids) <= set(models.task.split(0).train)
    config = settings(level)
    plain, early = estimators.diagonal(models, config), estimators.diagonal(models, config, lambda form: False)
    assert 1 < plain.sums.shape[1] == early.sums.shape[1] <= estimators.BLOCKS
    for form in (plain, early):
        filled = np.count_nonzero(form.counts[0])
        assert form.counts.sum(axis=1).tolist() == [11] * MODELS
        assert form.population.tolist() == [18] * MODELS
        assert filled == plain.sums.shape[1]
        assert not form.sums[:, filled:].any()
        for r in range(MODELS):
            f = dense(models, r, ids).each
            np.testing.assert_allclose(form.sums[r].sum(axis=0), f.sum(axis=0), atol=1e-9 * f.max(), **TIGHT)
    value, error = evaluate(alpha, estimators.moments(models, config))
    for form in (plain, early):
        np.testing.assert_allclose(evaluate(_of_diagonal(alpha), form), (value, error), **TIGHT)
    assert np.all(error > 0)


# Estimators that draw


@pytest.mark.parametrize("estimator", ["monte_carlo", "sign_sketch"])
def test_moments_of_draws_are_those_of_the_diagonal(estimator: str) -> None:
    """Without the diagonal ever being there; of examples that is tested above."""
    models, config = random_fit("graph", 3), settings("graph", estimator, draws=5)
    found, expected = estimators.moments(models, config), estimators.diagonal(models, config)
    names, sizes = zip(*stages(expected.layers))
    assert found.layers == names
    np.testing.assert_array_equal(found.sizes, [sizes] * MODELS)
    for statistic in (alpha, statistics.layer_trace):
        got, of_diagonal = evaluate(statistic, found), evaluate(_of_diagonal(statistic), expected)
        np.testing.assert_allclose(got, of_diagonal, rtol=1e-9)
    for r, draws in enumerate(expected.sums):
        whole = draws.sum(axis=0)
        square = (whole**2 - (draws**2).sum(axis=0)) / 20  # pairs of two different draws
        value = np.mean(square) / np.mean(whole / 5) ** 2
        np.testing.assert_allclose(evaluate(alpha, found)[0][r], max(1, value), rtol=1e-9)


def draws_of(models: Fitted, estimator: str, draws: int) -> np.ndarray:
    """Draws d, [R, K, P]."""
    form = estimators.diagonal(models, settings(models.task.level, estimator, draws=draws))
    np.testing.assert_array_equal(form.counts, np.ones((MODELS, draws)))
    assert np.all(form.population == np.inf)
    return np.asarray(form.sums)


@functools.cache
def many_draws(level: Level, classes: int | None, estimator: str, draws: int) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimators, "TOGETHER", 100)  # the same draws in fewer calls
        return draws_of(random_fit(level, classes), estimator, draws)


def sign_sketch_variance(exact: Dense) -> tuple[np.ndarray, float]:
    """Of the entries [P] and of the trace, from e^T K e / n for random signs e."""
    rows = exact.rows.reshape(-1, exact.rows.shape[-1])
    n = len(exact.rows)
    entries = 2 * ((rows**2).sum(axis=0) ** 2 - (rows**4).sum(axis=0)) / n**2
    products = rows @ rows.T
    return entries, float(2 * (np.sum(products**2) - np.sum(np.diag(products) ** 2)) / n**2)


def hutchinson_variance(exact: Dense) -> tuple[np.ndarray, float]:
    """Of v * F v and of v^T F v for random signs v."""
    squares = exact.fisher**2
    entries = squares.sum(axis=1) - np.diag(squares)
    return entries, float(2 * entries.sum())


def monte_carlo_variance(exact: Dense, loss: str) -> tuple[np.ndarray, float]:
    """Of the mean over examples of s^2, for a score s of a drawn label: over labels, or by Isserlis' theorem."""
    n = len(exact.rows)
    if loss == "mse":
        gram = exact.jacobian @ np.swapaxes(exact.jacobian, 1, 2)
        return 2 * (exact.each**2).sum(axis=0) / n**2, float(2 * np.sum(gram**2) / n**2)
    p = softmax(exact.outputs)
    scores = exact.jacobian - np.einsum("nc,ncp->np", p, exact.jacobian)[:, None]
    squares, norms = scores**2, (scores**2).sum(axis=2)
    entries = np.einsum("nc,ncp->np", p, squares**2) - np.einsum("nc,ncp->np", p, squares) ** 2
    trace = np.sum(p * norms**2, axis=1) - np.sum(p * norms, axis=1) ** 2
    return entries.sum(axis=0) / n**2, float(trace.sum() / n**2)


DRAWS: list[tuple[Level, int | None, str, int, float]] = [
    ("graph", 3, "monte_carlo", 200, 0.08),
    ("node", None, "monte_carlo", 200, 0.08),
    ("graph", 3, "sign_sketch", 2000, 0.1),
    ("node", 3, "sign_sketch", 2000, 0.1),
    ("node", 3, "hutchinson", 2000, 0.15),
]
"""Level, classes, estimator, draws, and the relative error of the trace that these must bring."""


@pytest.mark.parametrize(("level", "classes", "estimator", "draws", "bound"), DRAWS)
def test_draws_are_unbiased(level: Level, classes: int | None, estimator: str, draws: int, bound: float) -> None:
    """Against the standard errors that theory gives for so many draws: 4 of them for an entry, 3 for the trace."""
    models = random_fit(level, classes)
    d = many_draws(level, classes, estimator, draws)
    for r in range(MODELS):
        exact = dense(models, r, models.task.split(0).train)
        if estimator == "monte_carlo":
            entries, trace = monte_carlo_variance(exact, models.task.loss)
        else:
            entries, trace = {"sign_sketch": sign_sketch_variance, "hutchinson": hutchinson_variance}[estimator](exact)
        expected = np.diag(exact.fisher)
        informative = expected > 1e-9 * expected.max()
        z = (d[r].mean(axis=0) - expected)[informative] / np.sqrt(entries[informative] / draws)
        assert np.abs(z).max() < 4
        assert np.mean(z**2) < 3  # entries are correlated, or the bound would be 1.6
        total = d[r].sum(axis=1)
        assert abs(total.mean() - expected.sum()) < 3 * np.sqrt(trace / draws)
        assert 3 * np.sqrt(trace / draws) < bound * expected.sum()
        # The spread of the draws is that of theory too; of 200 or more, some per cent, for tails are heavy.
        assert 0.7 < total.var() / trace < 1.4


@pytest.mark.parametrize("estimator", ["monte_carlo", "sign_sketch", "hutchinson", "reference"])
def test_draws_differ_and_come_again(estimator: str) -> None:
    """Seven: no multiple of what goes into one call. Fewer draws are the first of more."""
    models = random_fit("node", 3)
    assert 7 % estimators.TOGETHER
    first, again, fewer = (draws_of(models, estimator, draws) for draws in (7, 7, 3))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[:, :3], fewer)
    for a, b in itertools.combinations(range(7), 2):
        assert not np.allclose(first[:, a], first[:, b])


def test_variance_of_sign_sketch_is_that_of_its_docstring() -> None:
    """2 [(sum_a r_ak^2)^2 - sum_a r_ak^4] / N^2, about 2 F_kk^2 and never above it."""
    models = random_fit("graph", 3)
    d = many_draws("graph", 3, "sign_sketch", 2000)
    for r in range(MODELS):
        exact = dense(models, r, models.task.split(0).train)
        stated, _ = sign_sketch_variance(exact)
        twice = 2 * np.diag(exact.fisher) ** 2
        informative = twice > 1e-9 * twice.max()
        assert np.all(stated <= twice)
        assert 0.4 < stated.sum() / twice.sum() < 1
        # An entry's d is nearly F_kk times a chi-square of 1 degree: its variance is known to sqrt(14 / 2000) = 8%.
        ratio = d[r].var(axis=0, ddof=1)[informative] / stated[informative]
        assert abs(np.median(ratio) - 1) < 0.1
        assert 0.65 < ratio.min() < ratio.max() < 1.5


def unbiased_square(diagonal: Diagonal) -> Estimate:
    """The square of the diagonal, [P]."""
    return diagonal.estimate(lambda d, square: square)


def replications(level: Level, classes: int | None, size: int) -> Diagonal:
    """2000 draws of `sign_sketch` in groups of so many; leading axis R * 2000 / size, models slowest."""
    d = many_draws(level, classes, "sign_sketch", 2000)
    first = d.reshape(-1, size, d.shape[-1])
    count = len(first)
    layers = random_fit(level, classes).layers
    return Diagonal(first, np.ones((count, size)), np.full(count, np.inf), layers)


def test_square_of_the_diagonal_from_pairs_of_draws_is_unbiased() -> None:
    """The square of the mean of two draws would be 1 + 2 / 2 times too large: their variance is 2 F_kk^2."""
    models = random_fit("graph", 3)
    square, _ = evaluate(unbiased_square, replications("graph", 3, 2))
    squares = square.reshape(MODELS, 1000, -1)
    for r in range(MODELS):
        expected = np.diag(dense(models, r, models.task.split(0).train).fisher) ** 2
        informative = expected > 1e-12 * expected.max()
        z = (squares[r].mean(axis=0) - expected) / (squares[r].std(axis=0, ddof=1) / np.sqrt(1000) + 1e-300)
        assert np.abs(z[informative]).max() < 4
        assert abs(squares[r].sum(axis=1).mean() / expected.sum() - 1) < 0.3


def check_coverage(value: np.ndarray, error: np.ndarray, truth: float) -> None:
    """Of independent replications: the errors are the spread, to 30 or 40%, and cover about as often as they should.

    Nominally one covers in 68% and two cover in 95% of cases; of 40 replications the shares have standard errors of 7%
    and 3%, and alpha is skewed, with the smaller errors where it is too low. The jackknife is a little too wide on
    average (Efron and Stein, 1981).
    """
    spread = value.std(ddof=1)
    assert 0.7 < np.sqrt(np.mean(error**2)) / spread < 1.4
    assert abs(value.mean() - truth) < 4 * spread / np.sqrt(len(value)) + 0.02 * truth  # ratios keep a little bias
    distance = np.abs(value - truth) / error
    assert 0.5 < np.mean(distance < 1) < 0.85
    assert np.mean(distance < 2) > 0.75


@pytest.mark.parametrize(("level", "size"), [("graph", 50), ("node", 50)])
def test_standard_errors_of_draws_cover(level: Level, size: int) -> None:
    models = random_fit(level, 3)
    replicated = replications(level, 3, size)
    value, error = (each.reshape(MODELS, -1) for each in evaluate(_of_diagonal(alpha), replicated))
    for r in range(MODELS):
        check_coverage(value[r], error[r], dense(models, r, models.task.split(0).train).alpha)


def test_standard_errors_of_samples_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 of 120 nodes drawn 120 times: without the finite-population factor errors would be sqrt(3) too large.

    Ten nodes a block. With three, of tails as heavy as these, two standard errors covered 73% and 93% in two models.
    """
    monkeypatch.setattr(fields, "SPARE", 999)  # receptive fields of every sample would be another program
    forms = []
    for seed in range(120):
        models = random_fit("node", 3, passes=160, train=120, seed=seed)
        forms.append(estimators.diagonal(models, settings("node")))
    assert forms[0].sums.shape[1] == estimators.BLOCKS
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *forms)
    assert np.all(together.counts.sum(axis=1) == 80)
    values, errors = evaluate(_of_diagonal(alpha), together)
    squares, _ = evaluate(unbiased_square, together)
    for r in range(MODELS):
        exact = dense(models, r, models.task.split(0).train)
        # The ratio is biased by O(1/n), and f_i has heavy tails: what it is on average, from many samples of dense f_i.
        f, rng = exact.each, np.random.default_rng(r)
        subsets = np.stack([f[rng.choice(120, 80, replace=False)] for _ in range(2000)])
        first, second = subsets.sum(axis=1), (subsets**2).sum(axis=1)
        square = second / (80 * 120) + (1 - 1 / 120) * (first**2 - second) / (80 * 79)
        average = np.mean(square.mean(axis=1) / (first / 80).mean(axis=1) ** 2)
        assert abs(average / exact.alpha - 1) < 0.2
        check_coverage(values[r::MODELS], errors[r::MODELS], float(average))
        total = squares[r::MODELS].sum(axis=1)
        expected = np.sum(np.diag(exact.fisher) ** 2)
        assert abs(total.mean() - expected) < 4 * total.std(ddof=1) / np.sqrt(40)


# The reference


@functools.partial(jax.jit, static_argnames="gnn")
def training_gradient(
    gnn: GNN, variables: Variables, batch: Batch, rows: jax.Array, ids: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The gradient of the mean log-likelihood of drawn labels with BatchNorm in training mode [P], and the labels."""

    def forward(theta: Any) -> jax.Array:
        whole = {"params": variables["params"] | theta, "batch_stats": variables["batch_stats"]}
        return gnn.apply(whole, batch, train=True, mutable=["batch_stats"])[0][rows]

    theta = theta_of(variables)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(ids)
    drawn = jax.vmap(jax.random.categorical)(keys, forward(theta))

    def log_likelihood(theta: Any) -> jax.Array:
        return jnp.mean(jax.nn.log_softmax(forward(theta))[jnp.arange(len(ids)), drawn])

    leaves = jax.tree.leaves(jax.grad(log_likelihood)(theta))
    return jnp.concatenate([leaf.ravel() for leaf in leaves]), drawn


@pytest.mark.parametrize("level", ["graph", "node"])
def test_reference_is_the_squared_gradient_of_a_batch(level: Level) -> None:
    models = random_fit(level, 3)
    train = models.task.split(0).train
    d = draws_of(models, "reference", 5)
    if level == "graph":
        batch, rows = single_batch(models.task.graphs.take(train), BatchShape(19, 131, 303)), np.arange(len(train))
    else:
        batch, rows = single_batch(models.task.graphs), train
    for r in range(MODELS):
        exact, one = dense(models, r, train), model(models.variables, r)
        for draw in range(5):
            gradient, drawn = training_gradient(models.gnn, one, batch, rows, train, jax.random.key(draw))
            expected = np.asarray(gradient) ** 2
            np.testing.assert_allclose(d[r, draw], expected, atol=1e-9 * expected.max(), **TIGHT)
            # With BatchNorm in evaluation mode the gradient is another.
            residual = np.eye(3)[drawn] - softmax(exact.outputs)
            still = np.einsum("nc,ncp->np", residual, exact.jacobian).mean(axis=0) ** 2
            assert np.abs(still - expected).max() > 0.1 * expected.max()


# Scale


@pytest.mark.parametrize("level", ["graph", "node"])
def test_squares_stay_within_single_precision(level: Level) -> None:
    """A last layer times c multiplies F by c^2 in regression, and changes no ratio; f_i^2 alone is beyond float32."""
    models = random_fit(level, None)
    exact = [dense(models, r, models.task.split(0).train) for r in range(MODELS)]
    ratios = [len(f) * np.sum(f**2) / np.trace(f) ** 2 for f in (each.fisher for each in exact)]
    jax.config.update("jax_enable_x64", False)
    examples = draw_examples(models.task, settings(level), 0)
    sampling = settings(level, max_passes={level: 22})
    some = draw_examples(models.task, sampling, 0)
    assert some.sampled < some.population
    sketched, sampled = {}, {}
    for scale in (1e12, 1.0, 1e-12):
        variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), models.variables)
        variables["params"]["out"]["kernel"] *= scale
        scaled = models._replace(variables=variables, examples=examples)
        form = estimators.diagonal(scaled, settings(level))
        with np.errstate(over="ignore", under="ignore"):
            held = np.float32(np.max([each.each.max() * scale**2 for each in exact])) ** 2
        assert (np.finfo(np.float32).tiny < held < np.inf) == (scale == 1)
        for value, _ in (
            evaluate(_of_diagonal(alpha), form),
            evaluate(alpha, estimators.moments(scaled, settings(level))),
        ):
            np.testing.assert_allclose(value, [each.alpha for each in exact], rtol=1e-3)
        traces = [np.trace(each.fisher) * scale**2 for each in exact]
        np.testing.assert_allclose(mean_of(form).sum(axis=1), traces, rtol=1e-3)
        drawn = estimators.diagonal(scaled, settings(level, "sign_sketch", draws=4))
        sketched[scale] = evaluate(_of_diagonal(alpha), drawn)[0]
        sampled[scale] = evaluate(alpha, estimators.moments(scaled._replace(examples=some), sampling))
        full, _ = evaluate(statistics.full_alpha, estimators.gram(scaled, settings(level)))
        np.testing.assert_allclose(full, ratios, rtol=1e-3)
    for scale in (1e12, 1e-12):
        np.testing.assert_allclose(sketched[scale], sketched[1.0], rtol=1e-3)
        np.testing.assert_allclose(sampled[scale], sampled[1.0], rtol=1e-3)  # value and standard error


def test_sums_are_divided_by_the_scale_they_were_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no scale brings them into range."""

    def out_of_range(
        gnn: Any, source: Any, layers: Any, cotangents: Any, variables: Any, scale: Any, *rest: Any
    ) -> Any:
        first = (np.asarray(scale, float) ** 2)[:, None, None]
        return first, None, np.full(len(first), 4e15)

    monkeypatch.setattr(sums, "_sums", out_of_range)
    found = sums.summed(None, None, None, {"w": np.zeros(2)}, None, None)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.sums, np.ones((2, 1, 1)))


def test_sums_far_beyond_single_precision_take_more_than_one_other_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = np.array([1e45, 1e70, 1e-60, 1e-70, 0])

    def single(gnn: Any, source: Any, layers: Any, cotangents: Any, variables: Any, scale: Any, *rest: Any) -> Any:
        with np.errstate(over="ignore", under="ignore"):
            first = np.float32(np.asarray(scale, float) ** 2 * exact)
            return first[:, None, None], (first**2)[:, None, None, None], first

    monkeypatch.setattr(sums, "_sums", single)
    found = sums.summed(None, None, None, {"w": np.zeros(5)}, None, None, ())  # type: ignore[arg-type]
    assert found.products is not None
    np.testing.assert_allclose(found.sums.ravel(), exact, rtol=1e-6)
    np.testing.assert_allclose(found.products.ravel(), exact**2, rtol=1e-6)
