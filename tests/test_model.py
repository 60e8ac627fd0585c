"""The GNNs against dense-matrix oracles in float64, and the properties that batching and graphs ask of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from atjax.batch import Batch, BatchShape, SparseRows, single_batch
from atjax.compilation import counting
from atjax.model.gnn import GNN, build, initialize
from atjax.model.layers import Edges, PReLU, activate, convolution, l2_normalize
from atjax.space import Design
from atjax.task import Graphs, Level

HIDDEN, WIDTH, OUTPUTS = 8, 5, 3
TIGHT = {"rtol": 1e-10, "atol": 1e-10}

Kind = tuple[str, str | None, int | None]
KINDS: tuple[Kind, ...] = (
    *((kind, aggregation, None) for kind in ("general", "sage", "gin") for aggregation in ("sum", "mean", "max")),
    ("gcn", None, None),
    *(("gat", None, heads) for heads in (1, 2, 4)),
)
"""Every convolution with its aggregation and heads."""

ONE_OF_EACH = [kind for kind in KINDS if kind[2] in (None, 2)]
"""The same with one number of heads."""

CONNECTIVITIES = ("stack", "skip_sum", "skip_concat")


pytestmark = pytest.mark.usefixtures("doubles")


# Random inputs


def random_graphs(rng: np.random.Generator, sizes: tuple[int, ...], undirected: bool = False) -> Graphs:
    """Random graphs without self-loops; the last node of each graph has no edges at all."""
    senders, receivers, start = [], [], 0
    for size in sizes:
        dense = rng.random((size, size)) < 0.4
        np.fill_diagonal(dense, False)
        dense[-1] = dense[:, -1] = False
        to, by = np.nonzero(dense)
        senders.append(by + start)
        receivers.append(to + start)
        start += size
    graphs = Graphs.from_edges(
        rng.normal(size=(start, WIDTH)),
        np.concatenate(senders),
        np.concatenate(receivers),
        np.array(sizes),
        undirected=undirected,
    )
    return dataclasses.replace(graphs, nodes=rng.normal(size=(start, WIDTH)))


GRAPHS = random_graphs(np.random.default_rng(0), (5, 2, 7, 4))
"""What most tests run on; one set of shapes keeps compilation short."""
OWNER = np.repeat(np.arange(4), GRAPHS.n_node)
PADDED = BatchShape(5, 40, 96)


def adjacency(graphs: Graphs) -> np.ndarray:
    """A[i, j] = 1 where j sends to i."""
    dense = np.zeros((len(graphs.nodes), len(graphs.nodes)))
    dense[graphs.receivers, graphs.senders] = 1
    return dense


def random_like(rng: np.random.Generator, variables: Any) -> Any:
    """Random values for every parameter and statistic: no 0, no 1, no initial value; variances are positive."""

    def draw(path: Any, leaf: Any) -> np.ndarray:
        value = 0.5 * rng.normal(size=leaf.shape)
        return 0.5 + np.abs(value) if path[-1].key in ("var", "scale") else value

    return jax.tree_util.tree_map_with_path(draw, variables)


def random_variables(rng: np.random.Generator, gnn: GNN) -> Any:
    return random_like(rng, jax.eval_shape(gnn.init, jax.random.key(0), single_batch(GRAPHS)))


def make_design(
    kind: Kind = ("general", "sum", None),
    activation: str = "prelu",
    connectivity: str = "stack",
    layers: tuple[int, int, int] = (1, 2, 2),
) -> Design:
    return Design(kind[0], kind[2], kind[1], activation, 64, connectivity, *layers, 0.1, 200)


def make_gnn(design: Design, level: Level) -> GNN:
    return build(design, hidden=HIDDEN, level=level, num_outputs=OUTPUTS)


# The oracle: dense matrices and loops over nodes, from the papers


def dense_aggregate(a: np.ndarray, x: np.ndarray, aggregation: str) -> np.ndarray:
    out = np.zeros((len(a), x.shape[1]))
    for i, row in enumerate(a):
        neighbours = x[row > 0]
        if len(neighbours):
            out[i] = {"sum": np.sum, "mean": np.mean, "max": np.max}[aggregation](neighbours, axis=0)
    return out


def unit_rows(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def dense_convolution(kind: str, aggregation: str | None, heads: int | None, p: Any, a: np.ndarray, x: np.ndarray):
    if kind == "general":
        return dense_aggregate(a, x @ p["neighbour"]["kernel"], str(aggregation)) + x @ p["self"]["kernel"]
    if kind == "gcn":
        loops = a + np.eye(len(a))
        half = np.diag(loops.sum(axis=1) ** -0.5)
        return half @ loops @ half @ x @ p["linear"]["kernel"]
    if kind == "sage":
        seen = x
        if aggregation == "max":
            seen = np.maximum(x @ p["pool"]["kernel"] + p["pool"]["bias"], 0)
        joined = np.concatenate([x, dense_aggregate(a, seen, str(aggregation))], axis=1)
        return unit_rows(joined @ np.concatenate([p["self"]["kernel"], p["neighbour"]["kernel"]]))
    if kind == "gin":
        h = (1 + p["eps"]) * x + dense_aggregate(a, x, str(aggregation))
        return np.maximum(h @ p["first"]["kernel"] + p["first"]["bias"], 0) @ p["second"]["kernel"]
    assert kind == "gat"
    assert heads is not None
    outputs = []
    width = HIDDEN // heads
    for head in range(heads):
        wx = x @ p["linear"]["kernel"][:, head * width : (head + 1) * width]
        out = np.zeros_like(wx)
        for i in range(len(a)):
            members = [j for j in range(len(a)) if j == i or a[i, j] > 0]
            score = np.array([wx[i] @ p["attend_receiver"][head] + wx[j] @ p["attend_sender"][head] for j in members])
            score = np.where(score > 0, score, 0.2 * score)
            out[i] = (np.exp(score) / np.exp(score).sum()) @ wx[members]
        outputs.append(out)
    return np.concatenate(outputs, axis=1)


def dense_activation(name: str, x: np.ndarray, slope: float) -> np.ndarray:
    negative = {"relu": 0 * x, "prelu": slope * x, "leaky_relu": 0.1 * x, "elu": np.exp(np.minimum(x, 0)) - 1}[name]
    return np.where(x > 0, x, negative)


def dense_gnn(
    design: Design, variables: Any, a: np.ndarray, x: np.ndarray, owner: np.ndarray | None, train: bool
) -> tuple[np.ndarray, Any]:
    """Outputs, and the BatchNorm statistics after the pass; ``owner`` is the graph of each node, None at node level."""
    params, stats = jax.tree.map(np.asarray, (variables["params"], variables["batch_stats"]))
    updated: dict[str, Any] = {}

    def norm(name: str, h: np.ndarray) -> np.ndarray:
        weights, running = params[name]["bn"]["norm"], stats[name]["bn"]["norm"]
        mean, var = running["mean"], running["var"]
        if train:
            mean, var = h.mean(axis=0), h.var(axis=0)
            new = {"mean": 0.9 * running["mean"] + 0.1 * mean, "var": 0.9 * running["var"] + 0.1 * var}
            updated[name] = {"bn": {"norm": new}}
        return (h - mean) / np.sqrt(var + 1e-5) * weights["scale"] + weights["bias"]

    def activated(name: str, h: np.ndarray) -> np.ndarray:
        slope = params[name]["prelu"]["negative_slope"] if design.activation == "prelu" else 0.0
        return dense_activation(design.activation, h, slope)

    def dense_layer(name: str, h: np.ndarray) -> np.ndarray:
        return activated(name, norm(name, h @ params[name]["linear"]["kernel"]))

    for i in range(design.pre_layers):
        x = dense_layer(f"pre_{i}", x)
    for i in range(design.mp_layers):
        name = f"mp_{i}"
        h = dense_convolution(design.convolution, design.aggregation, design.heads, params[name]["conv"], a, x)
        h = norm(name, h)
        if design.connectivity == "skip_sum":
            h = x + h
        if design.connectivity == "skip_concat":
            h = np.concatenate([x, h], axis=1)
        x = activated(name, h)
    x = unit_rows(x)
    if owner is not None:
        x = np.stack([x[owner == g].sum(axis=0) for g in range(owner.max() + 1)])
    for i in range(design.post_layers - 1):
        x = dense_layer(f"post_{i}", x)
    return x @ params["out"]["kernel"] + params["out"]["bias"], updated


# Against the oracle


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_convolution_is_that_of_its_paper(kind: Kind) -> None:
    rng = np.random.default_rng(1)
    x = jnp.asarray(GRAPHS.nodes)
    name, aggregation, heads = kind
    module = convolution(name, HIDDEN, aggregation, heads)
    edges = Edges.of(jnp.asarray(GRAPHS.senders), jnp.asarray(GRAPHS.receivers), x)
    variables = random_like(rng, jax.eval_shape(module.init, jax.random.key(0), x, edges))
    got = module.apply(variables, x, edges)
    params = jax.tree.map(np.asarray, variables["params"])
    expected = dense_convolution(name, aggregation, heads, params, adjacency(GRAPHS), np.asarray(GRAPHS.nodes))
    assert got.dtype == jnp.float64
    np.testing.assert_allclose(got, expected, **TIGHT)


@pytest.mark.parametrize("name", ["relu", "prelu", "leaky_relu", "elu"])
def test_activation(name: str) -> None:
    x = jnp.linspace(-3, 3, 13)
    module = activate(name)
    got = module.init_with_output(jax.random.key(0), x)[0] if isinstance(module, nn.Module) else module(x)
    np.testing.assert_allclose(got, dense_activation(name, np.asarray(x), 0.25), rtol=1e-6)


@pytest.mark.parametrize("level", ["node", "edge", "graph"])
@pytest.mark.parametrize("convolution", ["general", "gin", "gat"])
def test_initial_values_are_those_of_flax(convolution: str, level: Level) -> None:
    aggregation, heads = (None, 2) if convolution == "gat" else ("max", None)
    design = Design(convolution, heads, aggregation, "prelu", 0, "skip_concat", 1, 2, 3, 0.0, 0)
    gnn = build(design, hidden=6, level=level, num_outputs=2)
    graphs = Graphs.from_edges(np.ones((3, 5), np.float32), np.array([0]), np.array([1]), np.array([3]))
    batch = single_batch(graphs, pairs=np.array([[0, 2]]) if level == "edge" else None)
    keys = jax.random.key(3), jax.random.key(4)
    expected = [gnn.init(key, batch) for key in keys]
    got = [initialize(gnn, 5, key) for key in keys]
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    stacked = jax.vmap(lambda key: initialize(gnn, 5, key))(jnp.stack(keys))
    jax.tree.map(lambda leaf, *each: np.testing.assert_array_equal(leaf, np.stack(each)), stacked, *expected)


def test_initial_values_need_kernels_of_the_initialisers_alone() -> None:
    """Another activation and connectivity with the same widths need none."""
    design = Design("gcn", None, None, "relu", 0, "stack", 1, 2, 2, 0.0, 0)
    initialize(build(design, hidden=13, level="graph", num_outputs=2), 5, jax.random.key(0))
    other = dataclasses.replace(design, activation="elu", connectivity="skip_sum", mp_layers=3)
    with counting() as compiled:
        initialize(build(other, hidden=13, level="graph", num_outputs=2), 5, jax.random.key(0))
    assert compiled.count == 0


@pytest.mark.parametrize("shape", [(7, 5), (1, 3), (0, 2)])
def test_prelu_of_training_is_that_of_evaluation(shape: tuple[int, int]) -> None:
    """Values to the last digit, and the gradients of any function of them; at 0 too, where the slope is 1."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, weight = np.round(rng.normal(size=shape), 1), rng.normal(size=shape)
        variables = {"params": {"negative_slope": jnp.asarray(0.3)}}

        def value(variables: Any, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
            y = PReLU(train=train).apply(variables, x)
            assert isinstance(y, jax.Array)
            return jnp.sum(weight * jnp.sin(y)), y

        (one, other), outputs = zip(
            *(
                jax.grad(value, argnums=(0, 1), has_aux=True)(variables, jnp.asarray(x), train)
                for train in (True, False)
            )
        )
        np.testing.assert_array_equal(outputs[0], outputs[1])
        np.testing.assert_array_equal(outputs[1], nn.PReLU().apply(variables, jnp.asarray(x)))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), one, other)


def sampled() -> list[tuple[Design, Level]]:
    """Every kind with every connectivity; the other dimensions go round beside them."""
    activations = itertools.cycle(["relu", "prelu", "leaky_relu", "elu"])
    depths = itertools.cycle([(1, 2, 2), (2, 1, 3), (1, 3, 1), (2, 2, 2), (1, 3, 3)])
    levels: Iterator[Level] = itertools.cycle(["node", "node", "node", "node", "graph", "graph", "graph", "graph"])
    return [
        (make_design(kind, activation, connectivity, layers), level)
        for (kind, connectivity), activation, layers, level in zip(
            itertools.product(KINDS, CONNECTIVITIES), activations, depths, levels
        )
    ]


@pytest.mark.parametrize(("design", "level"), sampled(), ids=lambda value: getattr(value, "key", value))
def test_gnn_is_the_dense_one(design: Design, level: Level) -> None:
    rng = np.random.default_rng(2)
    owner = OWNER if level == "graph" else None
    batch = single_batch(GRAPHS, PADDED)
    gnn = make_gnn(design, level)
    variables = random_variables(rng, gnn)
    for train in (False, True):
        expected, statistics = dense_gnn(design, variables, adjacency(GRAPHS), np.asarray(GRAPHS.nodes), owner, train)
        got, updated = gnn.apply(variables, batch, train=train, mutable=["batch_stats"])
        np.testing.assert_allclose(got[: len(expected)], expected, **TIGHT)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, **TIGHT),
            updated["batch_stats"],
            statistics if train else variables["batch_stats"],
        )


# Properties


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=str)
def test_padded_batch_gives_each_graph_what_it_gives_alone(kind: Kind) -> None:
    rng = np.random.default_rng(3)
    batch = single_batch(GRAPHS, PADDED)
    for level in ("node", "graph"):
        gnn = make_gnn(make_design(kind, "elu", "skip_sum"), level)
        variables = random_variables(rng, gnn)
        together = np.asarray(gnn.apply(variables, batch))
        if level == "node":
            # Padding rows are 0 all the way: were they not, sums over the padding edges, which all meet in one node,
            # could overflow after some layers, and 0 times NaN is NaN in the loss.
            bias = np.broadcast_to(variables["params"]["out"]["bias"], (40 - 18, OUTPUTS))
            np.testing.assert_array_equal(together[18:], bias)
        for g in (0, 2):
            alone = np.asarray(gnn.apply(variables, single_batch(GRAPHS.take(np.array([g])))))
            if level == "graph":
                np.testing.assert_allclose(together[g], alone[0], **TIGHT)
            else:
                np.testing.assert_allclose(together[GRAPHS.node_start[g] : GRAPHS.node_start[g + 1]], alone, **TIGHT)


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=str)
def test_order_of_nodes_does_not_matter(kind: Kind) -> None:
    rng = np.random.default_rng(4)
    old_of_new = np.concatenate(
        [rng.permutation(np.arange(begin, end)) for begin, end in itertools.pairwise(GRAPHS.node_start)]
    )
    new_of_old = np.argsort(old_of_new)
    permuted = Graphs.from_edges(
        GRAPHS.nodes[old_of_new],
        new_of_old[GRAPHS.senders],
        new_of_old[GRAPHS.receivers],
        GRAPHS.n_node,
        undirected=False,
    )
    permuted = dataclasses.replace(permuted, nodes=GRAPHS.nodes[old_of_new])  # float64 again
    for level in ("node", "graph"):
        gnn = make_gnn(make_design(kind, "elu", "skip_sum"), level)
        variables = random_variables(rng, gnn)
        before = np.asarray(gnn.apply(variables, single_batch(GRAPHS)))
        after = np.asarray(gnn.apply(variables, single_batch(permuted)))
        np.testing.assert_allclose(after, before[old_of_new] if level == "node" else before, **TIGHT)


def training_loss(gnn: GNN, variables: Any, batch: Batch) -> Callable[[Any], jax.Array]:
    """A training-mode loss over the real graphs, as a function of the parameters."""

    def loss(params: Any) -> jax.Array:
        given = {"params": params, "batch_stats": variables["batch_stats"]}
        outputs, _ = gnn.apply(given, batch, train=True, mutable=["batch_stats"])
        return jnp.sum(batch.graph_mask[:, None] * jnp.sin(outputs))

    return loss


@pytest.mark.parametrize(
    "kind", [("general", "sum", None), ("sage", "max", None), ("gin", "sum", None), ("gat", None, 2)], ids=str
)
def test_gradient_is_the_finite_difference(kind: Kind) -> None:
    """Also where nodes are isolated (the last of each graph), and in a batch with padding."""
    rng = np.random.default_rng(5)
    activation = "prelu" if kind[0] in ("general", "gat") else "elu"
    gnn = make_gnn(make_design(kind, activation, "skip_sum", (1, 1, 2)), "graph")
    variables = random_variables(rng, gnn)
    loss = training_loss(gnn, variables, single_batch(GRAPHS, PADDED))
    gradient = jax.jit(jax.grad(loss))(variables["params"])
    direction = random_like(rng, variables["params"])
    ahead, behind = (
        float(loss(jax.tree.map(lambda p, d, step=step: p + step * d, variables["params"], direction)))
        for step in (1e-6, -1e-6)
    )
    slope = sum(float(jnp.sum(g * d)) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction)))
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=str)
def test_graphs_without_edges(kind: Kind) -> None:
    """Every node then is alone, and its output is that of the dense oracle with a zero matrix."""
    none = np.zeros(0, np.int32)
    graphs = Graphs(GRAPHS.nodes, none, none, GRAPHS.n_node, 0 * GRAPHS.n_edge)
    design = make_design(kind, "relu", "skip_sum")
    gnn = make_gnn(design, "graph")
    variables = random_variables(np.random.default_rng(6), gnn)
    batch = single_batch(graphs)
    expected, _ = dense_gnn(design, variables, 0 * adjacency(GRAPHS), graphs.nodes, OWNER, False)
    np.testing.assert_allclose(gnn.apply(variables, batch)[:4], expected, **TIGHT)
    if kind in (("general", "max", None), ("gat", None, 2)):
        gradient = jax.jit(jax.grad(training_loss(gnn, variables, batch)))(variables["params"])
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_attention_with_large_scores_is_finite() -> None:
    rng = np.random.default_rng(8)
    x = 1e4 * jnp.asarray(GRAPHS.nodes)
    edges = Edges.of(jnp.asarray(GRAPHS.senders), jnp.asarray(GRAPHS.receivers), x)
    module = convolution("gat", HIDDEN, None, 2)
    variables = random_like(rng, jax.eval_shape(module.init, jax.random.key(0), x, edges))
    assert np.isfinite(module.apply(variables, x, edges)).all()


def test_l2_normalize() -> None:
    rows = jnp.array([[3.0, 4.0], [0.0, 0.0], [-1e-30, 0.0]])
    np.testing.assert_allclose(l2_normalize(rows), [[0.6, 0.8], [0, 0], [0, 0]], atol=1e-20)
    assert np.isfinite(jax.grad(lambda x: l2_normalize(x).sum())(rows)).all()


@pytest.mark.parametrize("shape", [(120, 50, 16), (600, 20, 64)])
def test_the_gradient_of_many_normalised_rows_is_that_of_each(shape: tuple[int, int, int]) -> None:
    """In single precision, for many cotangents at once, at sizes at which XLA got it wrong of a sum of squares."""
    rng = np.random.default_rng(0)
    x, cotangents = (rng.normal(size=size).astype(np.float32) for size in (shape[1:], shape))
    _, pull = jax.vjp(l2_normalize, jnp.asarray(x))
    (got,) = jax.jit(jax.vmap(pull))(jnp.asarray(cotangents))
    length = np.linalg.norm(x.astype(float), axis=-1, keepdims=True)
    unit = x / length
    expected = (cotangents - unit * np.sum(unit * cotangents, axis=-1, keepdims=True)) / length
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_sparse_features_equal_dense_ones() -> None:
    rng = np.random.default_rng(9)
    graphs = random_graphs(rng, (9,))
    values = graphs.nodes * (rng.random(graphs.nodes.shape) < 0.3)
    values[4] = 0  # a row with no entry
    dense = dataclasses.replace(graphs, nodes=values)
    scattered = dataclasses.replace(graphs, nodes=sparse.csr_matrix(values))
    gnn = make_gnn(make_design(), "node")
    variables = random_variables(rng, gnn)
    batches = single_batch(dense), single_batch(scattered)
    assert isinstance(batches[1].graph.nodes, SparseRows)
    np.testing.assert_allclose(gnn.apply(variables, batches[1]), gnn.apply(variables, batches[0]), **TIGHT)


def test_no_two_designs_are_the_same_function() -> None:
    """Given the same numbers for their parameters, any two designs differ in outputs."""
    batch = single_batch(GRAPHS)
    designs = [make_design(kind, "relu", connectivity) for kind in KINDS for connectivity in CONNECTIVITIES]
    designs += [make_design(activation=activation) for activation in ("relu", "prelu", "leaky_relu", "elu")[1:]]
    designs += [make_design(layers=layers) for layers in ((2, 2, 2), (1, 1, 2), (1, 2, 3), (2, 1, 2))]
    outputs = []
    for design in designs:
        gnn = make_gnn(design, "graph")
        outputs.append(np.asarray(gnn.apply(random_variables(np.random.default_rng(11), gnn), batch))[:4])
    for (one, a), (other, b) in itertools.combinations(zip(designs, outputs), 2):
        assert np.abs(a - b).max() > 1e-3, f"{one.key} is {other.key}"


# The module as a value


def test_build_leaves_out_what_only_training_needs() -> None:
    design = make_design()
    gnn = make_gnn(design, "graph")
    for change in ({"learning_rate": 0.001}, {"epochs": 1600}, {"hidden": 256}):
        same = make_gnn(dataclasses.replace(design, **change), "graph")
        assert same == gnn
        assert hash(same) == hash(gnn)
    others = [make_gnn(dataclasses.replace(design, activation="elu"), "graph"), make_gnn(design, "node")]
    others.append(build(design, hidden=HIDDEN + 1, level="graph", num_outputs=OUTPUTS))
    others.append(build(design, hidden=HIDDEN, level="graph", num_outputs=OUTPUTS + 1))
    assert len({gnn, *others}) == 5


def test_parameters_are_grouped_by_stage() -> None:
    design = make_design(connectivity="skip_concat", layers=(2, 3, 3))
    graphs = random_graphs(np.random.default_rng(12), (3,))
    shapes = jax.eval_shape(make_gnn(design, "graph").init, jax.random.key(0), single_batch(graphs))["params"]
    assert set(shapes) == {"pre_0", "pre_1", "mp_0", "mp_1", "mp_2", "post_0", "post_1", "out"}
    widths = [shapes[f"mp_{i}"]["conv"]["self"]["kernel"].shape for i in range(3)]
    assert widths == [(8, 8), (16, 8), (24, 8)]  # the input grows by the hidden width a layer
    assert shapes["post_0"]["linear"]["kernel"].shape == (32, 8)
    assert shapes["out"]["bias"].shape == (OUTPUTS,)


@pytest.mark.parametrize("kind", ONE_OF_EACH, ids=str)
def test_initial_values(kind: Kind) -> None:
    """Kernels within the Glorot bound and not all of a kind, biases and eps 0, BatchNorm the identity."""
    variables = make_gnn(make_design(kind, layers=(1, 1, 1)), "graph").init(jax.random.key(0), single_batch(GRAPHS))
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        name = path[-1].key
        if name in ("kernel", "attend_sender", "attend_receiver"):
            assert np.std(leaf) > 0
            assert np.abs(leaf).max() <= np.sqrt(6 / sum(leaf.shape))
        else:
            np.testing.assert_array_equal(leaf, {"scale": 1, "var": 1, "negative_slope": 0.25}.get(name, 0))
