"""Edge features and weights: through graphs, convolutions, the Fisher stage and models, against loops over edges."""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
import test_fisher
import tiny
from test_fisher import CONFIG, all_scores, built, dense_fisher, fit, float64, make_task, model, run

import atjax
from atjax import checkpoint, config
from atjax.batch import BatchShape, single_batch
from atjax.fisher import engine, estimators
from atjax.fisher.estimators import Fitted, factors
from atjax.fisher.examples import draw_examples, induced
from atjax.links import link_prediction
from atjax.model.gnn import build, initialize
from atjax.model.layers import Edges, convolution
from atjax.search.run import describe_trial
from atjax.space import ANCHORS, Design, ignored
from atjax.task import Graphs, Task
from atjax.train import fit as train

__all__ = ["float64"]

WIDTH, KINDS, HIDDEN = 3, 2, 8
CONVOLUTIONS: tuple[tuple[str, str | None, int | None], ...] = (
    *((kind, aggregation, None) for kind in ("general", "sage", "gin") for aggregation in ("sum", "mean", "max")),
    ("gcn", None, None),
    ("gat", None, 2),
)
DATA = list(itertools.product([True, False], repeat=2))[:-1]
"""With edge features, with weights."""


def random_graphs(rng: np.random.Generator, sizes: tuple[int, ...] = (5, 2, 7, 4)) -> Graphs:
    """Directed graphs in float64; the last node of each has no edge, and one edge has weight 0."""
    ends, start = [], 0
    for size in sizes:
        dense = np.triu(rng.random((size, size)) < 0.6, 1) | np.tril(rng.random((size, size)) < 0.3, -1)
        dense[-1] = dense[:, -1] = False
        ends.append(np.argwhere(dense) + start)
        start += size
    senders, receivers = np.concatenate(ends).T
    graphs = Graphs.from_edges(np.zeros((start, WIDTH)), senders, receivers, np.array(sizes), undirected=False)
    count = len(graphs.senders)
    weights = rng.uniform(0.2, 3, count)
    weights[1] = 0
    nodes, edges = rng.normal(size=(start, WIDTH)), rng.normal(size=(count, KINDS))
    return dataclasses.replace(graphs, nodes=nodes, edges=edges, weights=weights)


def only(graphs: Graphs, features: bool, weights: bool) -> Graphs:
    return dataclasses.replace(
        graphs, edges=graphs.edges if features else None, weights=graphs.weights if weights else None
    )


GRAPHS = random_graphs(np.random.default_rng(0))


def random_like(rng: np.random.Generator, tree: Any) -> Any:
    def draw(path: Any, leaf: Any) -> np.ndarray:
        value = 0.5 * rng.normal(size=leaf.shape)
        return 0.5 + np.abs(value) if path[-1].key in ("var", "scale") else value

    return jax.tree_util.tree_map_with_path(draw, tree)


# The stored form


@pytest.mark.parametrize("undirected", [False, True])
def test_edges_listed_again_have_the_mean_of_what_they_had(undirected: bool) -> None:
    rng = np.random.default_rng(1)
    senders, receivers = rng.integers(0, 6, (2, 60))
    senders, receivers = senders[senders != receivers], receivers[senders != receivers]
    features, weights = rng.normal(size=(len(senders), KINDS)), rng.random(len(senders))
    listed = defaultdict(list)
    for number, (a, b) in enumerate(zip(senders.tolist(), receivers.tolist())):
        for pair in {(a, b), (b, a)} if undirected else {(a, b)}:
            listed[pair].append(number)
    order = rng.permutation(len(senders))
    for rows in (np.arange(len(senders)), order):
        graphs = Graphs.from_edges(
            np.zeros((6, 1)),
            senders[rows],
            receivers[rows],
            np.array([6]),
            undirected=undirected,
            edges=features[rows],
            weights=weights[rows],
        )
        assert graphs.edges is not None
        assert graphs.weights is not None
        pairs = list(zip(graphs.senders.tolist(), graphs.receivers.tolist()))
        assert pairs == sorted(listed, key=lambda pair: pair[::-1])
        for pair, feature, weight in zip(pairs, graphs.edges, graphs.weights):
            np.testing.assert_allclose(feature, features[listed[pair]].mean(axis=0), rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(weight, weights[listed[pair]].mean(), rtol=1e-6)
    plain = Graphs.from_edges(np.zeros((6, 1)), senders, receivers, np.array([6]), undirected=undirected)
    np.testing.assert_array_equal(plain.senders, graphs.senders)
    np.testing.assert_array_equal(plain.receivers, graphs.receivers)


def edge_table(graphs: Graphs) -> dict[tuple[int, int], tuple[list[float], float]]:
    assert graphs.edges is not None
    assert graphs.weights is not None
    pairs = zip(graphs.senders.tolist(), graphs.receivers.tolist())
    return dict(zip(pairs, zip(graphs.edges.tolist(), graphs.weights.tolist())))


def test_parts_of_graphs_keep_what_their_edges_have() -> None:
    whole = edge_table(GRAPHS)
    taken = GRAPHS.take(np.array([2, 0]))
    origin = np.concatenate([np.arange(*GRAPHS.node_start[g : g + 2]) for g in (2, 0)])
    for (a, b), row in edge_table(taken).items():
        assert whole[origin[a], origin[b]] == row
    one = dataclasses.replace(GRAPHS, n_node=np.array([18]), n_edge=np.array([len(GRAPHS.senders)]))
    nodes = np.array([0, 2, 3, 8, 9, 10])
    for (a, b), row in edge_table(induced(one, nodes)).items():
        assert whole[nodes[a], nodes[b]] == row
    big = random_graphs(np.random.default_rng(8), (30,))
    message = link_prediction("links", big, seed=3).graphs
    assert 0 < len(message.senders) < len(big.senders)
    for pair, row in edge_table(message).items():
        assert edge_table(big)[pair] == row


def test_content_tells_edge_data_and_tasks_without_it_stay() -> None:
    labels = np.array([0, 1, 0, 1], np.int32)
    hashes = {
        Task("t", "graph", "cross_entropy", "accuracy", only(GRAPHS, *which), labels, 2).content_hash
        for which in [*DATA, (False, False)]
    }
    assert len(hashes) == 4
    # As it was before edges could have anything; banks find a task by it.
    assert tiny.path_task().content_hash.startswith("578f2118b719ca63")


def test_faults_of_edge_data_are_named() -> None:
    labels = np.array([0, 1, 0, 1], np.int32)
    bad = [
        (dataclasses.replace(GRAPHS, weights=-GRAPHS.weights), "the weights of edge 0 hold .* below 0"),  # type: ignore[operator]
        (dataclasses.replace(GRAPHS, edges=GRAPHS.edges[1:]), "the edge features are of shape"),  # type: ignore[index]
        (dataclasses.replace(GRAPHS, edges=GRAPHS.edges * np.nan), "the features of edge 0 hold NaN"),  # type: ignore[operator]
    ]
    for graphs, message in bad:
        with pytest.raises(atjax.UserError, match=message):
            Task("t", "graph", "cross_entropy", "accuracy", graphs, labels, 2)


# The convolutions


def loop_convolution(kind: str, aggregation: str | None, heads: int | None, p: Any, graphs: Graphs) -> np.ndarray:
    """From the papers, one edge after another."""
    x = graphs.nodes
    count, edges, weights = len(x), graphs.edges, graphs.weights
    incoming: list[list[int]] = [[] for _ in range(count)]
    for number, receiver in enumerate(graphs.receivers.tolist()):
        incoming[receiver].append(number)
    weight = np.ones(len(graphs.senders)) if weights is None else weights

    def message(number: int) -> np.ndarray:
        row = x[graphs.senders[number]]
        if kind == "general":
            row = row @ p["neighbour"]["kernel"]
            return row if edges is None else row + edges[number] @ p["edge"]["kernel"]
        if kind == "gin" and edges is not None:
            return np.maximum(row + edges[number] @ p["edge"]["kernel"], 0)
        if kind == "sage" and aggregation == "max":
            return np.maximum(row @ p["pool"]["kernel"] + p["pool"]["bias"], 0)
        return row

    def aggregate(node: int, width: int) -> np.ndarray:
        numbers = incoming[node]
        if not numbers:
            return np.zeros(width)
        rows = np.array([message(number) for number in numbers])
        if aggregation == "max":
            return rows.max(axis=0)
        total = sum(weight[number] * row for number, row in zip(numbers, rows))
        whole = sum(weight[number] for number in numbers)
        return total / whole if aggregation == "mean" and whole > 0 else total

    if kind == "gcn":
        strength = np.array([1 + sum(weight[number] for number in incoming[i]) for i in range(count)])
        h = x @ p["linear"]["kernel"]
        out = h / strength[:, None]
        for number, (j, i) in enumerate(zip(graphs.senders, graphs.receivers)):
            out[i] += weight[number] * h[j] / np.sqrt(strength[i] * strength[j])
        return out
    if kind == "general":
        near = np.array([aggregate(i, HIDDEN) for i in range(count)])
        return near + x @ p["self"]["kernel"]
    if kind == "gin":
        h = (1 + p["eps"]) * x + np.array([aggregate(i, WIDTH) for i in range(count)])
        return np.maximum(h @ p["first"]["kernel"] + p["first"]["bias"], 0) @ p["second"]["kernel"]
    if kind == "sage":
        width = HIDDEN if aggregation == "max" else WIDTH
        near = np.array([aggregate(i, width) for i in range(count)]) @ p["neighbour"]["kernel"]
        h = near + x @ p["self"]["kernel"]
        return h / np.linalg.norm(h, axis=1, keepdims=True)
    assert heads is not None
    width = HIDDEN // heads
    out = np.zeros((count, HIDDEN))
    for head in range(heads):
        h = x @ p["linear"]["kernel"][:, head * width : (head + 1) * width]
        for i in range(count):
            near = [
                (graphs.senders[n], 0 if edges is None else edges[n] @ p["edge"]["kernel"][:, head])
                for n in incoming[i]
            ]
            near.append((i, 0))
            score = np.array(
                [h[i] @ p["attend_receiver"][head] + h[j] @ p["attend_sender"][head] + term for j, term in near]
            )
            share = np.exp(np.where(score > 0, score, 0.2 * score))
            out[i, head * width : (head + 1) * width] = sum(a * h[j] for a, (j, _) in zip(share / share.sum(), near))
    return out


@pytest.mark.parametrize("which", DATA, ids=str)
@pytest.mark.parametrize("kind", CONVOLUTIONS, ids=str)
def test_convolutions_are_those_of_a_loop(kind: tuple[str, str | None, int | None], which: tuple[bool, bool]) -> None:
    graphs = only(GRAPHS, *which)
    module = convolution(kind[0], HIDDEN, kind[1], kind[2])
    x = jnp.asarray(graphs.nodes)
    edges = Edges.of(
        jnp.asarray(graphs.senders), jnp.asarray(graphs.receivers), x, rows=single_batch(graphs).graph.edges
    )
    variables = random_like(np.random.default_rng(2), jax.eval_shape(module.init, jax.random.key(0), x, edges))
    expected = loop_convolution(*kind, variables["params"], graphs)
    np.testing.assert_allclose(module.apply(variables, x, edges), expected, rtol=1e-10, atol=1e-10)


def outputs(
    graphs: Graphs, kind: tuple[str, str | None, int | None], level: Any, shape: BatchShape | None
) -> np.ndarray:
    design = Design(kind[0], kind[2], kind[1], "elu", 64, "skip_concat", 1, 2, 2, 0.1, 200)
    gnn = build(design, hidden=HIDDEN, level=level, num_outputs=2)
    start = jax.eval_shape(lambda: initialize(gnn, WIDTH, jax.random.key(0), graphs.num_edge_features))
    return np.asarray(gnn.apply(random_like(np.random.default_rng(3), start), single_batch(graphs, shape)))


ONE_EACH = [kind for kind in CONVOLUTIONS if kind[1] in (None, "mean", "max")]


@pytest.mark.parametrize("kind", ONE_EACH, ids=str)
def test_padding_and_order_do_not_matter(kind: tuple[str, str | None, int | None]) -> None:
    rng = np.random.default_rng(4)
    old_of_new = np.concatenate([rng.permutation(np.arange(a, b)) for a, b in itertools.pairwise(GRAPHS.node_start)])
    new_of_old = np.argsort(old_of_new)
    ends = np.stack([new_of_old[GRAPHS.receivers], new_of_old[GRAPHS.senders]])
    order = np.lexsort(ends[::-1])
    assert GRAPHS.edges is not None
    assert GRAPHS.weights is not None
    permuted = dataclasses.replace(
        GRAPHS,
        nodes=GRAPHS.nodes[old_of_new],
        senders=ends[1][order].astype(np.int32),
        receivers=ends[0][order].astype(np.int32),
        edges=GRAPHS.edges[order],
        weights=GRAPHS.weights[order],
    )
    for level in ("node", "graph"):
        expected = outputs(GRAPHS, kind, level, None)
        padded = outputs(GRAPHS, kind, level, BatchShape(5, 40, 96))
        again = outputs(permuted, kind, level, None)
        size = 18 if level == "node" else 4
        np.testing.assert_allclose(padded[:size], expected[:size], rtol=1e-9, atol=1e-10)
        back = again[new_of_old] if level == "node" else again
        np.testing.assert_allclose(back[:size], expected[:size], rtol=1e-9, atol=1e-10)
    alone = np.stack([outputs(GRAPHS.take(np.array([g])), kind, "graph", None)[0] for g in range(4)])
    np.testing.assert_allclose(alone, expected[:4], rtol=1e-9, atol=1e-10)


def test_padding_edges_have_zeros() -> None:
    batch, count = single_batch(GRAPHS, BatchShape(5, 40, 96)), len(GRAPHS.senders)
    assert count < 96
    for padded, given in zip(batch.graph.edges, (GRAPHS.edges, GRAPHS.weights), strict=True):
        np.testing.assert_array_equal(padded[:count], given)
        assert not padded[count:].any()


@pytest.mark.parametrize("kind", CONVOLUTIONS, ids=str)
def test_designs_make_use_of_what_they_are_said_to(kind: tuple[str, str | None, int | None]) -> None:
    assert GRAPHS.edges is not None
    assert GRAPHS.weights is not None
    design = Design(kind[0], kind[2], kind[1], "elu", 64, "stack", 1, 2, 2, 0.1, 200)
    before = outputs(GRAPHS, kind, "graph", None)[:4]
    others = {
        "edge features": dataclasses.replace(GRAPHS, edges=GRAPHS.edges[::-1].copy()),
        "edge weights": dataclasses.replace(GRAPHS, weights=GRAPHS.weights[::-1].copy()),
    }
    for what, graphs in others.items():
        same = np.allclose(outputs(graphs, kind, "graph", None)[:4], before, atol=1e-9)
        assert same == (what in ignored(design, features=True, weights=True))
    assert ignored(design, features=False, weights=False) == []


# The Fisher stage


def with_edges(task: Task, features: bool = True, weights: bool = True) -> Task:
    rng = np.random.default_rng(5)
    count = len(task.graphs.senders)
    edges, weight = rng.normal(size=(count, KINDS)), rng.uniform(0.2, 2, count)
    graphs = dataclasses.replace(task.graphs, edges=edges if features else None, weights=weight if weights else None)
    return dataclasses.replace(task, graphs=graphs)


CASES = [
    ("graph", 3, ANCHORS[3], (True, True)),  # sum
    ("graph", None, ANCHORS[10], (True, False)),  # max
    tiny.slow(("graph", 2, ANCHORS[9], (False, True))),  # mean
    ("graph", 2, Design("gin", None, "sum", "relu", 0, "stack", 1, 2, 2, 0.0, 0), (True, True)),
    ("node", 3, ANCHORS[9], (True, True)),
    tiny.slow(("node", 2, Design("gat", 2, None, "relu", 0, "stack", 1, 1, 2, 0.0, 0), (True, False))),
]


@pytest.mark.parametrize(("level", "classes", "design", "which"), CASES, ids=str)
def test_fisher_is_that_of_the_definition(level: Any, classes: int | None, design: Design, which: Any) -> None:
    task = with_edges(make_task(level, classes), *which)
    gnn, examples = built(task, design), task.split(0).train
    got, variables = run(task, design), fit(task, design)
    assert ("edge" in variables["params"]["mp_0"]["conv"]) == which[0]
    for r in range(2):
        probabilities, score = all_scores(gnn, task, model(variables, r), examples)
        each = np.array([np.diag(dense_fisher(p, s)) for p, s in zip(probabilities, score)])
        mean = each.mean(axis=0)
        np.testing.assert_allclose(got.sums[r], each.sum(axis=0), rtol=1e-9, atol=1e-9 * each.max())
        np.testing.assert_allclose(got.alpha[r], np.mean(mean**2) / np.mean(mean) ** 2, rtol=1e-9)


def test_sketches_of_nodes_with_edge_data_have_the_mean_of_the_definition() -> None:
    task, design = with_edges(make_task("node", 2)), ANCHORS[9]
    expected = run(task, design)
    drawing = dataclasses.replace(CONFIG, estimator={"graph": "exact", "node": "sign_sketch"}, draws=2000)
    got = run(task, design, drawing)
    exact = expected.sums / expected.sampled
    sums = exact.sum(axis=1)  # the trace: a mean over parameters of an unbiased estimate
    # The deviation of a draw is at most sqrt(2) of the trace, that of 2000 draws 3%: three of them.
    np.testing.assert_allclose((got.sums / 2000).sum(axis=1), sums, rtol=0.1)


def test_graphs_with_edge_data_are_taken_each_by_itself() -> None:
    task = with_edges(make_task("graph", 2))
    examples = draw_examples(task, CONFIG, 0)
    assert examples.placed is None
    models = Fitted(built(task), task, fit(task), examples)
    with pytest.raises(atjax.UserError, match="graphs without edge features and weights"):
        factors(models, CONFIG)
    assert draw_examples(make_task("graph", 2), CONFIG, 0).placed is not None


def test_weights_of_one_change_nothing() -> None:
    task = make_task("graph", 3)
    ones = np.ones(len(task.graphs.senders))
    weighted = dataclasses.replace(task, graphs=dataclasses.replace(task.graphs, weights=ones))
    np.testing.assert_allclose(run(weighted).alpha, run(task).alpha, rtol=1e-9)


# From a user's graphs to predictions


def molecules(count: int, seed: int) -> tuple[list[nx.Graph], list[str]]:
    """Rings of 5 or 6 atoms; what tells the kinds apart are the bonds alone."""
    rng = np.random.default_rng(seed)
    graphs = []
    for number in range(count):
        graph = nx.cycle_graph(int(rng.integers(5, 7)))
        for node in graph:
            graph.nodes[node]["mass"] = float(rng.normal())
        for a, b in graph.edges:
            graph.edges[a, b].update(bond=str(rng.choice(["single", "double"])), weight=float(rng.uniform(1, 3)))
        if number % 2:
            nx.set_edge_attributes(graph, "single", "bond")
        graphs.append(graph)
    return graphs, ["mixed", "single"] * (count // 2)


@pytest.mark.usefixtures("as_users_run")
def test_from_graphs_to_predictions(tmp_path: Path) -> None:
    graphs, labels = molecules(100, 0)
    task = Task.from_networkx(graphs, labels, name="molecules")
    assert task.graphs.num_edge_features == 2
    assert "Edge features: bond (one-hot of 2)." in task.notes
    assert task.remarks[-2:] == (
        "Edge features are not used by gcn and sage.",
        "Edge weights are not used by gat and the aggregation max.",
    )
    budget = dataclasses.replace(
        tiny.BUDGET, hidden={"64": 16, "256": 16}, epochs_scale={"graph": 0.3, "edge": 1, "node": 1}
    )
    design = Design("general", None, "sum", "prelu", 64, "skip_sum", 1, 2, 2, 0.1, 200)
    outcome = train(task, design, budget=budget)
    assert outcome.test >= 0.9  # the bonds say it all
    blind = train(task, dataclasses.replace(design, convolution="sage"), budget=budget)
    assert blind.validation_loss > outcome.validation_loss
    assert "ignored" not in describe_trial(0, outcome, tiny.path_task().graphs)
    assert describe_trial(0, outcome, task.graphs)["ignored"] == []
    assert describe_trial(0, blind, task.graphs)["ignored"] == ["edge features"]
    checkpoint.save(tmp_path / "model", task, outcome, {})
    trained = checkpoint.load(tmp_path / "model")
    new, truth = molecules(20, 1)
    assert np.mean(np.array(trained.predict_labels(new)) == np.array(truth)) >= 0.9
    np.testing.assert_array_equal(trained.predict(graphs), trained.predict(task.graphs))
    # A graph without edges says nothing of bonds, and needs to say nothing.
    lonely = nx.Graph()
    lonely.add_node(0, mass=1.0)
    assert len(trained.predict([lonely])) == 1
    for change, message in (
        (
            lambda graph: graph.edges[0, 1].update(bond="triple"),
            r"graph 0: edge 0 - 1: bond is 'triple', which no graph",
        ),
        (lambda graph: graph.edges[0, 1].pop("weight"), r"graph 0: edge 0 - 1 has no attribute 'weight'"),
        (lambda graph: graph.edges[1, 2].update(weight=-1.0), r"graph 0: edge 1 - 2: weight is -1"),
    ):
        (broken, *others), _ = molecules(4, 2)
        change(broken)
        with pytest.raises(atjax.UserError, match=message):
            trained.predict([broken, *others])
    with pytest.raises(atjax.UserError, match="with 2 edge features and with edge weights, but these are with 0"):
        trained.predict(only(task.graphs, False, False))


@pytest.mark.usefixtures("as_users_run")
def test_real_sizes_in_single_precision(data: Path) -> None:
    """With bonds as features, the sums over many molecules at once are those of each alone, as users run it."""
    task, settings = config.load_task("mutag", data_root=data, edges=True), config.load("fisher", "alpha")
    settings = dataclasses.replace(settings, seeds=2)
    examples = draw_examples(task, settings, 0)
    gnn = build(ANCHORS[9], hidden=settings.hidden, level="graph", num_outputs=2)
    variables = engine.fitted(gnn, task, examples, settings)
    form = estimators.diagonal(Fitted(gnn, task, variables, examples), settings)
    singles = [jax.tree.map(lambda leaf: leaf.reshape(-1, 1, *leaf.shape[2:]), chunk) for chunk in examples.chunks]
    alone = jax.jit(lambda *given: test_fisher.graph_sums(gnn, test_fisher.exact(task), *given))
    each = [test_fisher.ravel_pytree(alone(model(variables, 1), examples.features, chunk))[0] for chunk in singles]
    expected = np.sum(each, axis=0, dtype=np.float64)
    np.testing.assert_allclose(form.sums[1].sum(axis=0), expected, rtol=1e-3, atol=1e-6 * expected.max())
