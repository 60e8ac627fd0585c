"""The Gram matrix and the Kronecker factors against dense matrices, in float64."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
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
    alone,
    columns,
    dense,
    example_ids,
    float64,
    model,
    random_fit,
    settings,
    softmax,
)

from atjax.batch import Batch
from atjax.errors import UserError
from atjax.fisher import estimators, statistics
from atjax.fisher.engine import evaluate
from atjax.fisher.moments import Estimate, Gram
from atjax.model.gnn import GNN, Variables
from atjax.model.layers import Linear
from atjax.space import Design
from atjax.task import Level

__all__ = ["float64"]

# The Gram matrix

GRAMS: list[tuple[Level, int | None, Design, int]] = [
    ("graph", 3, PLAIN, 999),
    ("graph", None, GIN, 22),
    ("node", 3, PLAIN, 999),
    ("node", 3, PLAIN, 22),
]
"""Level, classes, design and most passes: for all 18 examples, or for 11 of them."""


def spectrum(gram: Gram) -> Estimate:
    """Three statistics as one, which compiles once."""
    chosen = (statistics.full_alpha, statistics.largest_eigenvalue, statistics.spectral_entropy)
    return Estimate(*(jnp.stack(parts) for parts in zip(*(statistic(gram) for statistic in chosen))))


@pytest.mark.parametrize(("level", "classes", "kind", "passes"), GRAMS)
def test_gram_is_that_of_the_dense_rows(level: Level, classes: int | None, kind: Design, passes: int) -> None:
    models = random_fit(level, classes, kind, passes=passes, chunk=36 if level == "graph" else 200)
    ids = example_ids(models)
    got = estimators.gram(models, settings(level))
    n, population, directions = len(ids), 18, 2
    assert n == (18 if passes == 999 else 11)
    assert got.parameters == sum(layer.size for layer in models.layers)
    assert got.count.tolist() == [n] * MODELS
    assert got.population.tolist() == [population] * MODELS
    values, errors = evaluate(spectrum, got)
    for r in range(MODELS):
        unit = got.unit[r]
        real = unit >= 0
        np.testing.assert_array_equal(unit[real], np.repeat(np.arange(n), directions))
        assert not got.products[r][~real].any()
        exact = dense(models, r, ids)
        rows = exact.rows.reshape(n * directions, -1)
        products, fisher = rows @ rows.T, exact.fisher
        scale = np.abs(products).max()
        np.testing.assert_allclose(got.products[r][np.ix_(real, real)], products, atol=1e-9 * scale, **TIGHT)
        # tr F^2 of the population: pairs of a unit with itself as often as they are there, and all others.
        own = np.sum([np.sum((each @ each.T) ** 2) for each in exact.rows])
        others = np.sum(products**2) - own
        second = own / (n * population) + (1 - 1 / population) * others / (n * (n - 1))
        if n == population:
            np.testing.assert_allclose(second, np.sum(fisher**2), **TIGHT)
        eigenvalues = np.linalg.eigvalsh(fisher)
        p = eigenvalues[eigenvalues > 1e-12 * eigenvalues[-1]] / np.trace(fisher)
        expected = (len(fisher) * second / np.trace(fisher) ** 2, np.log(eigenvalues[-1]), -np.sum(p * np.log(p)))
        np.testing.assert_allclose(values[r], expected, rtol=1e-8)
    assert np.all(errors == 0) if n == population else np.all((errors > 0) & np.isfinite(errors))


def test_gram_of_the_labels_in_the_data() -> None:
    models = random_fit("node", 3)
    got = estimators.gram(models, settings("node", "empirical"))
    for r in range(MODELS):
        rows = dense(models, r, example_ids(models)).observed
        np.testing.assert_allclose(got.products[r], rows @ rows.T, atol=1e-10 * np.sum(rows**2), **TIGHT)
        assert got.unit[r].tolist() == list(range(18))


# The Kronecker factors


@functools.partial(jax.jit, static_argnames="gnn")
def inputs_and_deltas(gnn: GNN, variables: Variables, batch: Batch) -> tuple[jax.Array, dict[str, Any], Any]:
    """Outputs [C] of the first graph; the input of each message-passing layer, and dz / dy [C, V, H] of linear maps."""

    def run(shifts: Any) -> tuple[jax.Array, dict[str, Any]]:
        def shift(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            name = "/".join(context.module.path)
            y = call(*args, **kwargs)
            if not isinstance(context.module, Linear) or not name.startswith("mp_"):
                return y
            seen[name] = jnp.zeros_like(y)
            return y if shifts is None else y + shifts[name]

        seen: dict[str, Any] = {}
        with nn.intercept_methods(shift):
            values, rest = gnn.apply(
                variables,
                batch,
                capture_intermediates=lambda module, _: len(module.path) == 1,
                mutable=["intermediates"],
            )
        layers = {name: value["__call__"][0] for name, value in rest["intermediates"].items() if name != "out"}
        return values[0], layers | {"seen": seen}

    values, found = run(None)
    jacobian, _ = jax.jacrev(run, has_aux=True)(found.pop("seen"))
    return values, found, jacobian


@pytest.mark.parametrize("passes", [999, 34])
def test_factors_are_those_of_single_graphs(passes: int) -> None:
    models = random_fit("graph", 3, DEEP, passes=passes, chunk=1)
    ids = example_ids(models)
    whole = len(ids) == 18
    got = estimators.factors(models, settings("graph"))
    if not whole:  # blocks of 2 and of 3 graphs
        assert sorted(set(got.counts[0])) == [2, 3]
    names = [f"mp_{layer}/conv/{part}" for layer in range(2) for part in ("neighbour", "self")]
    sizes = models.task.graphs.n_node[ids]
    assert got.counts.sum(axis=1).tolist() == [len(ids)] * MODELS
    assert got.nodes.sum(axis=1).tolist() == [sizes.sum()] * MODELS
    assert (got.counts.shape[1] == 1) == whole
    assert len(got.inputs) == len(got.deltas) == len(names)
    value, error = evaluate(statistics.kfac_trace, got)
    for r in range(MODELS):
        variables = model(models.variables, r)
        total = {name: (0.0, 0.0) for name in names}
        for graph, size in zip(ids, sizes):
            z, layers, jacobian = inputs_and_deltas(models.gnn, variables, alone(models.task, graph))
            factor = columns(softmax(np.asarray(z)[None])[0])
            for name in names:
                x = np.asarray(layers["pre_0" if name.startswith("mp_0") else "mp_0"])[:size]
                delta = np.einsum("cl,cvh->lvh", factor, np.asarray(jacobian[name])[:, :size])
                a, b = total[name]
                total[name] = (a + x.T @ x, b + np.einsum("lvh,lvk->hk", delta, delta))
        for (a, b), found_a, found_b in zip(total.values(), got.inputs, got.deltas):
            np.testing.assert_allclose(found_a[r].sum(axis=0), a, atol=1e-9 * np.max(a), **TIGHT)
            np.testing.assert_allclose(found_b[r].sum(axis=0), b, atol=1e-9 * np.max(b), **TIGHT)
        trace = sum(np.trace(a) / sizes.sum() * np.trace(b) / len(ids) for a, b in total.values())
        np.testing.assert_allclose(value[r], np.log(trace), **TIGHT)
    assert np.all(error == 0) if whole else np.all(error > 0)


@pytest.mark.parametrize(("level", "kind"), [("node", PLAIN), ("graph", GIN), ("graph", GAT)])
def test_factors_are_there_for_some_designs_only(level: Level, kind: Design) -> None:
    with pytest.raises(
        UserError, match=r"^random: Kronecker factors are there for graph tasks without .*Gram matrix\.$"
    ):
        estimators.factors(random_fit(level, 3, kind), settings(level))
