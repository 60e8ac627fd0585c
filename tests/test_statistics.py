"""Statistics of the Fisher information against dense matrices in float64, and their standard errors against chance."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from atjax.fisher import statistics
from atjax.fisher.moments import (
    Diagonal,
    Estimate,
    Factors,
    Gram,
    Layer,
    Moments,
    Statistic,
    jackknife,
    layer_products,
    layer_totals,
    stages,
)
from atjax.fisher.statistics import DAMPING, names, reads, resolve

LAYERS = (
    Layer("mp_0/bn/scale", (3,)),
    Layer("mp_0/conv/neighbour", (2, 3)),
    Layer("mp_0/conv/self", (2, 3)),
    Layer("mp_1/conv/neighbour", (3, 2)),
    Layer("mp_1/prelu", ()),
)
P = sum(layer.size for layer in LAYERS)
MAPS = ((2, 3), (2, 3), (3, 2))
SCALE = np.logspace(-1, 0.5, P)[np.random.default_rng(0).permutation(P)]
FISHER = [name for name in names() if reads(resolve(name)) in ("moments", "diagonal", "gram", "factors")]
"""Statistics of F; those of a little learning have tests of their own."""
GROWTH = {"layer_trace": 1, "largest_eigenvalue": 1, "kfac_trace": 1, "kfac_moments": np.repeat([1, 2], 3)}
"""By how much each statistic grows where F grows by a factor e; the others not at all."""


pytestmark = pytest.mark.usefixtures("doubles")


# The reduced forms, by hand


def draw(rng: np.random.Generator, units: int, rows: int = 2) -> np.ndarray:
    """Score rows [n, rows, P], some units larger than others."""
    return SCALE * rng.normal(size=(units, rows, P)) * rng.uniform(0.5, 1.5, size=(units, 1, 1))


def blocked(units: np.ndarray, blocks: int = 8) -> np.ndarray:
    """Sums over the units [n, ...] dealt into J blocks, [J, ...]."""
    return np.stack([units[j::blocks].sum(axis=0) for j in range(blocks)])


def diagonal_of(rows: np.ndarray, population: float, blocks: int = 8) -> Diagonal:
    d = (rows**2).sum(axis=1)
    return Diagonal(blocked(d, blocks), blocked(np.ones(len(rows)), blocks), np.float64(population), LAYERS)


def moments_of(rows: np.ndarray, population: float, blocks: int = 8) -> Moments:
    form = diagonal_of(rows, population, blocks)
    parts = np.split(form.sums, [15], axis=1)
    first = np.stack([part.sum(axis=1) for part in parts], axis=1)
    products = np.stack([part @ part.T for part in parts], axis=2)
    return Moments(first, products, form.counts, form.population, np.array([15.0, P - 15]), ("mp_0", "mp_1"))


def gram_of(rows: np.ndarray, population: float, blocks: int = 8, room: int = 80) -> Gram:
    """Rows of padding are strewn among the others, so that there are ``room``."""
    place = np.sort(np.random.default_rng(0).permutation(room)[: rows.shape[0] * rows.shape[1]])
    flat, unit = np.zeros((room, P)), np.full(room, -1)
    flat[place], unit[place] = rows.reshape(-1, P), np.repeat(np.arange(len(rows)), rows.shape[1])
    return Gram(flat @ flat.T, unit, *map(np.float64, (len(rows), population, P)), blocks)


def passing(rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each linear map, two nodes an example, inputs [n, 2, d] and output gradients [n, 2, H]: cut out of rows."""
    for start, (d, h) in enumerate(MAPS):
        yield rows[:, :, start : start + d], rows[:, :, 6 + start : 6 + start + h]


def factors_of(rows: np.ndarray, population: float, blocks: int = 8) -> Factors:
    counts = blocked(np.ones(len(rows)), blocks)
    inputs, deltas = (
        tuple(blocked(np.einsum("nva,nvb->nab", x, x), blocks) for x in column) for column in zip(*passing(rows))
    )
    return Factors(inputs, deltas, 2 * counts, counts, np.float64(population))


FORMS: dict[str, Callable[..., Any]] = {
    "moments": moments_of,
    "diagonal": diagonal_of,
    "gram": gram_of,
    "factors": factors_of,
}


@functools.cache
def compiled(statistic: Statistic, many: bool = False) -> Statistic:
    return jax.jit(jax.vmap(statistic) if many else statistic)


def of(name: str, rows: np.ndarray, *arguments: float) -> Estimate:
    """The statistic of score rows; arguments are the population and blocks."""
    return compiled(resolve(name))(FORMS[reads(resolve(name))](rows, *arguments))


def of_each(statistic: Statistic, draws: list[np.ndarray], *arguments: float, dtype: type = np.float64) -> Estimate:
    """The statistic of many samples at once."""
    forms = [FORMS[reads(statistic)](rows, *arguments) for rows in draws]
    stacked = jax.tree.map(lambda *x: np.stack(x).astype(dtype if x[0].dtype == float else int), *forms)
    return compiled(statistic, many=True)(stacked)


# The oracle: F [P, P] and its eigenvalues


def oracle(name: str, rows: np.ndarray) -> np.ndarray:
    n = len(rows)
    fisher = np.einsum("nqa,nqb->ab", rows, rows) / n
    d, e = np.diag(fisher), np.linalg.eigvalsh(fisher)
    share = e[e > 1e-12 * e[-1]] / e.sum()
    kernels = [d[3:9].reshape(2, 3), d[9:15].reshape(2, 3), d[15:21].reshape(3, 2)]
    vector = np.concatenate([kernel.mean(axis=0) for kernel in kernels])
    kronecker = []
    for x, delta in passing(rows):
        a, b = (sum(np.outer(v, v) for v in each.reshape(2 * n, -1)) / n for each in (x, delta))
        kronecker.append(np.linalg.eigvalsh(np.kron(a / 2, b)))
    spectrum = np.concatenate(kronecker)

    def concentration(values: np.ndarray) -> float:
        return float(np.mean(values**2) / np.mean(values) ** 2)

    values: dict[str, Any] = {
        "alpha": concentration(d),
        "log_alpha": np.log(concentration(d)),
        "layer_trace": np.log([d[:15].sum(), d[15:].sum()]),
        "layer_alpha": [concentration(d[:15]), concentration(d[15:])],
        "task2vec": vector / np.sqrt((vector**2).sum()),
        "full_alpha": concentration(e),
        "participation_ratio": np.trace(fisher) ** 2 / np.trace(fisher @ fisher),
        "stable_rank": np.trace(fisher) / np.linalg.norm(fisher, 2),
        "largest_eigenvalue": np.log(e[-1]),
        "spectral_entropy": -np.sum(share * np.log(share)),
        "log_determinant": np.linalg.slogdet(np.eye(P) + fisher / (DAMPING * np.trace(fisher)))[1],
        "kfac_alpha": concentration(spectrum),
        "kfac_trace": np.log(spectrum.sum()),
        "kfac_moments": np.log([e.mean() for e in kronecker] + [(e**2).mean() for e in kronecker]),
    }
    return np.asarray(values[name])


# Values


@pytest.mark.parametrize("name", FISHER)
def test_a_statistic_of_all_examples_is_exact(name: str) -> None:
    """Fewer rows than parameters, with empty blocks, and more."""
    for units in (5, 40):
        rows = draw(np.random.default_rng(units), units)
        expected = oracle(name, rows)
        value, error = of(name, rows, units)
        np.testing.assert_allclose(value, expected, rtol=1e-8)
        np.testing.assert_array_equal(error, np.zeros_like(expected))


@pytest.mark.parametrize("name", FISHER)
def test_scale_and_order_change_nothing(name: str) -> None:
    """Scores times a thousand; the inputs of linear maps are cut out of the same rows, so that A (x) B grows twice."""
    rows = draw(np.random.default_rng(1), 20)
    value, error = of(name, rows, 50)
    assert np.all(error > 0)
    large = of(name, 1e3 * rows, 50)
    growth = np.log(1e6) * (2 if name.startswith("kfac") else 1) * GROWTH.get(name, 0)
    np.testing.assert_allclose(large.value, value + growth, rtol=1e-8)
    np.testing.assert_allclose(large.error, error, rtol=1e-6)
    order = np.arange(20)
    for j in range(8):  # within blocks: dealt into others, a sample is another draw
        order[j::8] = np.random.default_rng(j).permutation(order[j::8])
    shuffled = of(name, rows[order], 50)
    np.testing.assert_allclose(shuffled.value, value, rtol=1e-8)
    np.testing.assert_allclose(shuffled.error, error, rtol=1e-6)


@pytest.mark.parametrize("name", ["alpha", "stable_rank", "kfac_alpha"])
def test_empty_blocks_and_padding_change_nothing(name: str) -> None:
    rows = draw(np.random.default_rng(3), 6)
    room = {"room": 12} if name == "stable_rank" else {}
    tight = compiled(resolve(name))(FORMS[reads(resolve(name))](rows, 30, 6, **room))
    np.testing.assert_allclose(of(name, rows, 30), tight, rtol=1e-8)


@pytest.mark.parametrize("name", FISHER)
def test_no_information(name: str) -> None:
    value = of(name, np.zeros((9, 2, P)), 9).value
    assert np.all(np.isneginf(value) if name in GROWTH else np.isnan(value))


@pytest.mark.parametrize("name", ["alpha", "layer_alpha", "full_alpha"])
def test_alpha_is_at_least_1_and_keeps_its_error(name: str) -> None:
    """Three examples whose parts hardly overlap: by chance, the unbiased m2 falls short of m1^2."""
    rows = np.full((3, 1, P), 0.03)
    for unit in range(3):
        rows[unit, 0, unit::3] = 1
    value, error = of(name, rows, np.inf)
    assert np.all(value == 1)
    assert np.max(error) > 0


@pytest.mark.parametrize("rank", [1, P])
def test_bounds_of_the_spectrum(rank: int) -> None:
    """Equal eigenvalues, as many as said."""
    expected = {"full_alpha": P / rank, "participation_ratio": rank, "stable_rank": rank}
    expected |= {"spectral_entropy": np.log(rank), "log_determinant": rank * np.log1p(1 / (rank * DAMPING))}
    for name, value in expected.items():
        np.testing.assert_allclose(of(name, np.eye(P)[:rank, None, :], rank).value, value, rtol=1e-12, atol=1e-12)


def test_kfac_is_exact_for_one_layer_whose_input_never_changes() -> None:
    """One node an example: F = x x^T (x) E[delta delta^T]."""
    rng = np.random.default_rng(4)
    x, deltas = rng.normal(size=2), rng.normal(size=(12, 2, P // 2))
    rows = np.einsum("a,nqb->nqab", x, deltas).reshape(12, 2, P)
    inputs = blocked(np.tile(np.outer(x, x), (12, 1, 1)))
    counts = blocked(np.ones(12))
    outer = blocked(np.einsum("nqa,nqb->nab", deltas, deltas))
    factors = Factors((inputs,), (outer,), counts, counts, np.float64(12))
    np.testing.assert_allclose(compiled(statistics.kfac_alpha)(factors), of("full_alpha", rows, 12), rtol=1e-12)
    np.testing.assert_allclose(compiled(statistics.kfac_trace)(factors).value, np.log((rows**2).sum() / 12), rtol=1e-12)


# The moments of the diagonal


@pytest.mark.parametrize("population", [9, 30, np.inf])
def test_moments_say_what_the_diagonal_says(population: float) -> None:
    """Value and standard error, with empty blocks, whichever of the two they are computed from."""
    rows = draw(np.random.default_rng(10), 9)

    def alphas(diagonal: Diagonal) -> Estimate:
        def each(d: jax.Array, square: jax.Array) -> jax.Array:
            cuts = (slice(P), slice(15), slice(15, P))
            return jnp.stack([jnp.mean(square[cut]) / jnp.mean(d[cut]) ** 2 for cut in cuts])

        return diagonal.estimate(each)

    expected = compiled(alphas)(diagonal_of(rows, population, 12))
    for form in (moments_of(rows, population, 12), diagonal_of(rows, population, 12).moments()):
        got = [compiled(statistic)(form) for statistic in (statistics.alpha, statistics.layer_alpha)]
        for part in ("value", "error"):
            found = np.append(*(getattr(each, part) for each in got))
            np.testing.assert_allclose(found, getattr(expected, part), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [3, 100_000])
def test_sums_over_layers_are_those_of_long_vectors(size: int) -> None:
    """Also in single precision, nearly to its digits: a plain sum of so many would be off by 1e-5 and more."""
    layers = (Layer("mp_0/conv/self", (size, 1)), Layer("mp_0/prelu", ()), Layer("mp_1/conv/self", (7, 2)))
    assert stages(layers) == (("mp_0", size + 1), ("mp_1", 14))
    vectors = np.random.default_rng(size).gamma(0.3, size=(5, size + 15))
    parts = [vectors[:, : size + 1], vectors[:, size + 1 :]]
    sums = jax.jit(lambda x: (layer_totals(x, stages(layers)), layer_products(x, stages(layers))))
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 3e-6)):
        found, products = sums(vectors.astype(dtype))
        assert found.dtype == products.dtype == dtype
        np.testing.assert_allclose(found, np.stack([part.sum(axis=1) for part in parts], axis=1), rtol=rtol)
        np.testing.assert_allclose(products, np.stack([part @ part.T for part in parts], axis=2), rtol=rtol)


# Samples


@pytest.mark.parametrize(("count", "blocks"), [(2, 3), (5, 3), (5, 2), (6, 4)])
def test_moments_of_a_sample_are_unbiased(count: int, blocks: int) -> None:
    """Averaged over all subsets, in all orders, they are those of the population; of all of it, every time.

    From sums over all units alone, tr F^2 would be too large.
    """

    def moments(diagonal: Diagonal) -> Estimate:
        return diagonal.estimate(lambda d, square: jnp.stack([d, square]))

    def traces(gram: Gram) -> Estimate:
        return gram.estimate(lambda k, n: jnp.stack([jnp.trace(k) / n, gram.second_moment(k, n)]))

    rows = draw(np.random.default_rng(5), 6)
    fisher = np.einsum("nqa,nqb->ab", rows, rows) / 6
    dealt = [rows[list(ids)] for ids in itertools.permutations(range(6), count)]
    each = of_each(moments, dealt, 6, blocks).value
    expected = np.array([np.diag(fisher), np.diag(fisher) ** 2])
    np.testing.assert_allclose(each.mean(axis=0), expected, rtol=1e-10)
    assert np.allclose(each, expected, rtol=1e-10) == (count == 6)
    subsets = [rows[list(ids)] for ids in itertools.combinations(range(6), count)]
    got = of_each(traces, subsets, 6, blocks).value.mean(axis=0)
    np.testing.assert_allclose(got, [np.trace(fisher), np.sum(fisher**2)], rtol=1e-10)
    naive = [np.sum((np.einsum("nqa,nqb->ab", s, s) / count) ** 2) for s in subsets]
    assert (np.mean(naive) > 1.01 * np.sum(fisher**2)) == (count < 6)


def trace(diagonal: Diagonal) -> Estimate:
    """tr F, linear in F."""
    return diagonal.estimate(lambda d, square: jnp.sum(d))


@pytest.mark.parametrize("population", [np.inf, 96])
@pytest.mark.parametrize("statistic", [trace, statistics.alpha, statistics.layer_trace])
def test_two_standard_errors_cover_the_truth(statistic: Statistic, population: float) -> None:
    """64 units in 8 blocks: nominally 91%, with 7 degrees of freedom; a little less for alpha, which is skewed."""
    rng = np.random.default_rng(6)
    if population == np.inf:
        everything = np.sqrt(2) * draw(rng, 100_000, 1)
        draws = [draw(rng, 64) for _ in range(1000)]
    else:
        everything = draw(rng, 96)
        draws = [everything[rng.permutation(96)[:64]] for _ in range(1000)]
    truth = compiled(statistic)(FORMS[reads(statistic)](everything, len(everything))).value
    value, error = of_each(statistic, draws, population)
    covered = np.mean(np.abs(value - truth) <= 2 * error, axis=0)
    assert np.all((covered > 0.86) & (covered < 0.95)), covered


@pytest.mark.parametrize("name", ["layer_alpha", "task2vec", "spectral_entropy", "log_determinant", "kfac_moments"])
def test_two_standard_errors_cover_the_mean(name: str) -> None:
    """Of what is biased, and by more than a standard error: they know of the spread alone."""
    rng = np.random.default_rng(11)
    draws = [draw(rng, 32, 1) for _ in range(200)]
    value, error = of_each(resolve(name), draws, np.inf)
    covered = np.mean(np.abs(value - np.mean(value, axis=0)) <= 2 * error, axis=0)
    assert np.all((covered > 0.82) & (covered < 0.98)), covered


@pytest.mark.parametrize("name", FISHER)
def test_standard_errors_are_as_large_as_the_spread(name: str) -> None:
    """Over samples of half the population, drawn without replacement; many at once in single precision, one alone."""
    rng = np.random.default_rng(7)
    everything = draw(rng, 80)
    draws = [everything[rng.permutation(80)[:40]] for _ in range(100)]
    value, error = of_each(resolve(name), draws, 80, dtype=np.float32)
    assert value.dtype == error.dtype == np.float32
    ratio = np.sqrt(np.mean(error**2, axis=0)) / np.std(value, axis=0)
    assert np.all((ratio > 0.75) & (ratio < 1.4)), ratio
    alone = of(name, draws[0], 80)
    np.testing.assert_allclose(value[0], alone.value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(error[0], alone.error, rtol=2e-2)


def test_one_block_says_nothing_of_its_error() -> None:
    rows = draw(np.random.default_rng(8), 4)
    assert np.isnan(of("alpha", rows, 9, 1).error)
    assert of("alpha", rows, 4, 1).error == 0
    assert np.isnan(jackknife(jnp.sum, jnp.ones(1), 9.0).error)  # also of what is finite without any block


def test_the_jackknife_of_a_mean_is_the_textbook_standard_error() -> None:
    x = jnp.asarray(np.random.default_rng(9).normal(size=10))
    value, error = jackknife(lambda weights: weights @ x / jnp.sum(weights), jnp.ones(10), 40)
    np.testing.assert_allclose(value, np.mean(x), rtol=1e-12)
    np.testing.assert_allclose(error, np.std(x, ddof=1) / np.sqrt(10) * np.sqrt(1 - 10 / 40), rtol=1e-12)


@pytest.mark.parametrize(("population", "evaluations"), [(12.0, 1), (40.0, 9), (np.inf, 9)])
def test_what_is_exact_is_evaluated_once(population: float, evaluations: int) -> None:
    """Nothing is left out where every example was used: eigenvalues are dear."""
    seen = []

    def function(weights: jax.Array) -> jax.Array:
        jax.debug.callback(lambda w: seen.append(w), weights)
        return weights @ jnp.arange(8.0)

    counts = jnp.asarray([2.0] * 6 + [0.0, 0.0])
    value, error = jax.jit(lambda: jackknife(function, counts, population))()
    jax.effects_barrier()
    assert len(seen) == evaluations
    assert value == 15
    assert (error == 0) == (population == 12)
