"""The Gram matrix and the Kronecker factors against dense matrices, in float64."""

from __future__ import annotations

import dataclasses
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
    model,
    paths,
    random_fit,
    random_models,
    settings,
    softmax,
)

from atjax.batch import Batch, single_batch
from atjax.errors import UserError
from atjax.fisher import estimators, fields, score_products, statistics
from atjax.fisher.engine import evaluate
from atjax.fisher.estimators import Fitted
from atjax.fisher.examples import draw_examples
from atjax.fisher.moments import Estimate, Gram
from atjax.fisher.score_products import self_product, whole
from atjax.fisher.slots import SlotIndex
from atjax.model.gnn import GNN, Variables, build
from atjax.model.layers import Linear
from atjax.space import Design
from atjax.task import Level, Split, Task

pytestmark = pytest.mark.usefixtures("doubles")

# The Gram matrix

GRAMS: list[tuple[Level, int | None, Design, int, bool]] = [
    ("graph", 3, PLAIN, 999, True),
    ("graph", 3, DEEP, 22, True),
    ("graph", None, GIN, 22, False),
    ("node", 3, PLAIN, 999, True),
    ("node", None, PLAIN, 22, True),
    ("node", 3, PLAIN, 22, False),
]
"""Level, classes, design and most passes, for all 18 examples, or for 11 of them; and whether they go together."""


def spectrum(gram: Gram) -> Estimate:
    """Three statistics as one, which compiles once."""
    chosen = (statistics.full_alpha, statistics.largest_eigenvalue, statistics.spectral_entropy)
    return Estimate(*(jnp.stack(parts) for parts in zip(*(statistic(gram) for statistic in chosen))))


def ids_of(models: Fitted) -> np.ndarray:
    """The examples in the order in which their rows come."""
    ids = np.concatenate([models.examples.ids_of(chunk).ravel() for chunk in models.examples.layouts(models.depth)])
    return ids[ids >= 0]


@pytest.mark.parametrize(("level", "classes", "kind", "passes", "together"), GRAMS)
def test_gram_is_that_of_the_dense_rows(
    level: Level, classes: int | None, kind: Design, passes: int, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fields, "SPARE", 0 if together else 999)  # whether receptive fields are worth it
    monkeypatch.setattr(score_products, "SMALLEST", 5)
    monkeypatch.setattr(estimators, "FINE", 2)  # room for more examples than there are
    # Another chunk for each: fields are laid out once.
    chunk = 36 if level == "graph" else 50 + together
    models = random_fit(level, classes, kind, passes=passes, chunk=chunk)
    layouts = models.examples.layouts(models.depth)
    assert all(isinstance(layout, SlotIndex) == together for layout in layouts)
    if together:
        assert len(layouts[0].graphs) > 1
    ids = ids_of(models)
    got = estimators.gram(models, settings(level))
    n, population, directions = len(ids), 18, 2
    assert n == (18 if passes == 999 else 11)
    assert got.parameters.tolist() == [sum(layer.size for layer in models.layers)] * MODELS
    assert got.count.tolist() == [n] * MODELS
    assert got.population.tolist() == [population] * MODELS
    values, errors = evaluate(spectrum, got)
    for r in range(MODELS):
        unit = got.unit[r]
        real = unit >= 0
        number = unit[real].reshape(n, directions)
        np.testing.assert_array_equal(number, np.repeat(number[:, :1], directions, axis=1))
        np.testing.assert_array_equal(np.sort(number[:, 0]), np.arange(n))
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


@pytest.mark.parametrize("count", [1, 5, 11, 64])
def test_a_product_of_halves_is_the_product(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_products, "SMALLEST", 2)
    rows = np.random.default_rng(count).normal(size=(count, 7))
    np.testing.assert_allclose(whole(self_product(jnp.asarray(rows))), rows @ rows.T, rtol=1e-12, atol=1e-12)


def test_gram_of_the_labels_in_the_data() -> None:
    models = random_fit("node", 3)
    got = estimators.gram(models, settings("node", "empirical"))
    for r in range(MODELS):
        rows = dense(models, r, ids_of(models)).observed
        np.testing.assert_allclose(got.products[r], rows @ rows.T, atol=1e-10 * np.sum(rows**2), **TIGHT)
        assert sorted(got.unit[r]) == list(range(18))


def test_units_of_the_gram_matrix_are_dealt_without_regard_to_size() -> None:
    """Places of a batch are sorted by size. Blocks that each had as many large graphs as the next, as those of every
    eighth place would have, make standard errors too small."""
    sizes = np.random.default_rng(0).permutation(np.repeat([3, 4, 5, 6, 8, 9, 11, 12], 10))
    graphs = paths(sizes)
    split = Split(np.arange(60), np.arange(60, 70), np.arange(70, 80))
    task = Task("sizes", "graph", "cross_entropy", "accuracy", graphs, np.arange(80) % 2, 2, fixed_split=split)
    config = settings("graph", max_passes={"graph": 24}, chunk=400)
    gnn = build(PLAIN, hidden=4, level="graph", num_outputs=2)
    variables = random_models(gnn, graphs.num_features, 1)
    means = []
    for seed in range(40):
        examples = draw_examples(task, config, seed)
        (ids,) = map(examples.ids_of, examples.layouts(gnn.design.mp_layers))
        units = estimators.gram(Fitted(gnn, task, variables, examples), config).unit[0]
        taken = sizes[ids[ids >= 0]]
        means.append([taken[units[units >= 0] % 8 == block].mean() for block in range(8)])
    # Blocks of 3 of the 60.
    assert 0.7 < np.var(means) / (sizes[:60].var(ddof=1) / 3) < 1.3


# The Kronecker factors


@functools.partial(jax.jit, static_argnames="gnn")
def inputs_and_deltas(
    gnn: GNN, variables: Variables, batch: Batch, row: jax.Array | int = 0
) -> tuple[jax.Array, dict[str, Any], Any]:
    """Outputs [C] of a graph or node; the input of each message-passing layer, and dz / dy [C, V, H] of linear maps."""

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
        return values[row], layers | {"seen": seen}

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


def node_deltas(models: Fitted, r: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Of linear maps by name: the inputs [V, d], and the deltas of every training example [N, L, V, H]."""
    variables, task = model(models.variables, r), models.task
    inputs: dict[str, np.ndarray] = {}
    deltas: dict[str, list[np.ndarray]] = {}
    whole_graph = single_batch(task.graphs, pairs=task.pairs)
    nodes = int(task.graphs.n_node.sum())
    for example in task.split(0).train:
        z, layers, jacobian = inputs_and_deltas(models.gnn, variables, whole_graph, int(example))
        factor = columns(softmax(np.asarray(z)[None])[0])
        for name, each in jacobian.items():
            inputs[name] = np.asarray(layers["pre_0" if name.startswith("mp_0") else "mp_0"])[:nodes]
            deltas.setdefault(name, []).append(np.einsum("cl,cvh->lvh", factor, np.asarray(each)[:, :nodes]))
    return inputs, {name: np.stack(each) for name, each in deltas.items()}


@pytest.mark.parametrize("level", ["node", "edge"])
@pytest.mark.parametrize(("estimator", "passes"), [("exact", 999), ("exact", 22), ("sign_sketch", 22)])
def test_factors_of_examples_that_share_a_graph(level: Level, estimator: str, passes: int) -> None:
    models = random_fit(level, 3, DEEP, passes=passes, train=18)
    config = settings(level, estimator, draws=6)
    got = estimators.factors(models, config)
    train = models.task.split(0).train
    ids = example_ids(models)
    value, error = evaluate(statistics.kfac_trace, got)
    for r in range(MODELS):
        inputs, deltas = node_deltas(models, r)
        trace = 0.0
        for number, name in enumerate(sorted(inputs)):
            x, d = inputs[name], deltas[name]
            np.testing.assert_allclose(got.inputs[number][r], [x.T @ x], atol=1e-9 * np.max(x.T @ x), **TIGHT)
            if estimator == "exact":
                # Outputs are those of all nodes, or of the training pairs.
                chosen = d[np.searchsorted(train, ids) if level == "node" else ids]
                expected = np.einsum("nlvh,nlvk->hk", chosen, chosen)
                found = got.deltas[number][r].sum(axis=0)
                count = len(ids)
            else:
                # One draw after another, with its own signs.
                signs = [jax.random.rademacher(jax.random.key(k), d.shape[:2], float) for k in range(6)]
                sums = [np.einsum("nl,nlvh->vh", np.asarray(sign), d) for sign in signs]
                expected = np.stack([each.T @ each for each in sums]) / len(train)
                found, count = got.deltas[number][r], 1
            np.testing.assert_allclose(found, expected, atol=1e-9 * np.max(np.abs(expected)), **TIGHT)
            mean = expected / count if estimator == "exact" else expected.mean(axis=0)
            trace += np.trace(x.T @ x) / len(x) * np.trace(mean)
        np.testing.assert_allclose(value[r], np.log(trace), **TIGHT)
        assert got.nodes[r] == len(x)
    assert np.all(error == 0) if passes == 999 else np.all((error > 0) & np.isfinite(error))


@pytest.mark.parametrize(("level", "estimator"), [("graph", "exact"), ("node", "exact"), ("node", "sign_sketch")])
def test_errors_of_factors_leave_out_one_block_after_another(level: Level, estimator: str) -> None:
    models = random_fit(level, 3, DEEP, passes=34, chunk=1 if level == "graph" else 0)
    got = estimators.factors(models, settings(level, estimator, draws=5))
    error = evaluate(statistics.kfac_trace, got)[1]
    total = got.counts.shape[1]
    assert (got.nodes.shape[1] == total) == (level == "graph")

    def without(block: int) -> np.ndarray:
        def rest(x: Any) -> Any:
            return np.delete(x, block, axis=1) if x.shape[1] == total else x

        kept = dataclasses.replace(
            got,
            inputs=tuple(map(rest, got.inputs)),
            deltas=tuple(map(rest, got.deltas)),
            nodes=rest(got.nodes),
            counts=rest(got.counts),
        )
        return evaluate(statistics.kfac_trace, kept)[0]

    each = np.stack([without(block) for block in range(total)])
    unseen = 1 - got.counts.sum(axis=1) / got.population
    expected = np.sqrt((total - 1) / total * np.sum((each - each.mean(axis=0)) ** 2, axis=0) * unseen)
    np.testing.assert_allclose(error, expected, **TIGHT)


def test_sketched_factors_are_right_on_average() -> None:
    """Within five standard errors of the mean of 2,000 draws, entry by entry."""
    models = random_fit("node", 3, PLAIN)
    got = estimators.factors(models, settings("node", "sign_sketch", draws=2000))
    exact = estimators.factors(models, settings("node"))
    for drawn, each in zip(got.deltas, exact.deltas):
        expected = each.sum(axis=1) / exact.counts.sum(axis=1)[:, None, None]
        error = drawn.std(axis=1, ddof=1) / 2000**0.5
        assert np.all(np.abs(drawn.mean(axis=1) - expected) <= 5 * error + 1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(("level", "kind"), [("node", GAT), ("graph", GIN), ("graph", GAT)])
def test_factors_are_there_for_some_designs_only(level: Level, kind: Design) -> None:
    with pytest.raises(UserError, match=r"^random: Kronecker factors are there for graphs without .*Gram matrix\.$"):
        estimators.factors(random_fit(level, 3, kind), settings(level))
