"""Edge features and weights: through graphs, convolutions, the Fisher stage and models, against loops over edges."""

from __future__ import annotations

import dataclasses
import itertools
import zipfile
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
from atjax.fisher import engine
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
    ("graph", 2, ANCHORS[9], (False, True)),  # mean
    ("graph", 2, Design("gin", None, "sum", "relu", 0, "stack", 1, 2, 2, 0.0, 0), (True, True)),
    ("node", 3, ANCHORS[9], (True, True)),
    ("node", 2, Design("gat", 2, None, "relu", 0, "stack", 1, 1, 2, 0.0, 0), (True, False)),
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
        np.testing.assert_allclose(got.first[r], each.sum(axis=0), rtol=1e-9, atol=1e-9 * each.max())
        np.testing.assert_allclose(got.alpha[r], np.mean(mean**2) / np.mean(mean) ** 2, rtol=1e-9)


def test_sketches_of_nodes_with_edge_data_have_the_mean_of_the_definition() -> None:
    task, design = with_edges(make_task("node", 2)), ANCHORS[9]
    expected = run(task, design)
    drawing = dataclasses.replace(CONFIG, estimator={"graph": "exact", "node": "sign_sketch"}, draws=2000)
    got = run(task, design, drawing)
    exact = expected.first / expected.sampled
    sums = exact.sum(axis=1)  # the trace: a mean over parameters of an unbiased estimate
    # The deviation of a draw is at most sqrt(2) of the trace, that of 2000 draws 3%: three of them.
    np.testing.assert_allclose((got.first / 2000).sum(axis=1), sums, rtol=0.1)


def test_graphs_with_edge_data_are_taken_each_by_itself() -> None:
    task = with_edges(make_task("graph", 2))
    examples = draw_examples(task, CONFIG, 0)
    assert examples.placed is None
    models = Fitted(built(task), task, fit(task), examples)
    with pytest.raises(atjax.UserError, match="graph tasks without edge features and weights"):
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


def test_from_graphs_to_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    jax.config.update("jax_enable_x64", False)
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


def test_real_sizes_in_single_precision(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With bonds as features, the sums over many molecules at once are those of each alone, as users run it."""
    monkeypatch.undo()
    jax.config.update("jax_enable_x64", False)
    task, settings = config.load_task("mutag", data_root=data, edges=True), config.load("fisher", "default")
    settings = dataclasses.replace(settings, seeds=2)
    examples = draw_examples(task, settings, 0)
    gnn = build(ANCHORS[9], hidden=settings.hidden, level="graph", num_outputs=2)
    variables = engine.fitted(gnn, task, examples, settings)
    alphas = test_fisher.design_alpha(task, ANCHORS[9], settings)
    singles = [jax.tree.map(lambda leaf: leaf.reshape(-1, 1, *leaf.shape[2:]), chunk) for chunk in examples.chunks]
    alone = jax.jit(lambda *given: test_fisher.graph_sums(gnn, test_fisher.exact(task), *given))
    parts = [jax.device_get(alone(model(variables, 1), examples.features, chunk)) for chunk in singles]
    sums = [np.sum([test_fisher.ravel_pytree(part[k])[0] for part in parts], axis=0, dtype=np.float64) for k in (0, 1)]
    expected = test_fisher.alpha_of_sample(*sums, examples.sampled, examples.population)
    np.testing.assert_allclose(alphas[1], expected, rtol=1e-4)


# The same edges from everywhere

EDGES = [(0, 1), (1, 2), (3, 4), (2, 0)]
BONDS, WEIGHTS = [1, 2, 1, 2], [0.5, 1.0, 0.25, 0.75]
GRAPH_OF, KIND, LABELS = [0, 0, 0, 1, 1], [7, 8, 7, 7, 8], [1, 0]


def write_tables(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    ids = "id,graph,kind\n" + "".join(f"{n},{g},k{k}\n" for n, (g, k) in enumerate(zip(GRAPH_OF, KIND)))
    (folder / "nodes.csv").write_text(ids)
    rows = [f"{a},{b},b{bond},{w}" for (a, b), bond, w in zip(EDGES, BONDS, WEIGHTS)]
    (folder / "edges.csv").write_text("source,target,bond,weight\r\n" + "\r\n".join(rows))
    (folder / "graphs.csv").write_text("id,label\n0,1\n1,0\n")
    return {"path": str(folder)}


def write_npz(path: Path) -> dict[str, Any]:
    arrays = {
        "x": np.eye(2, dtype=np.float32)[np.array(KIND) - 7],
        "edge_index": np.array(EDGES).T,
        "edge_attr": np.eye(2)[np.array(BONDS) - 1],
        "edge_weight": np.array(WEIGHTS),
        "graph": np.array(GRAPH_OF),
        "y": np.array(LABELS),
    }
    np.savez(path, **arrays)
    return {"path": str(path)}


def own_networkx() -> Task:
    graphs = [nx.Graph(), nx.Graph()]
    for node, (graph, kind) in enumerate(zip(GRAPH_OF, KIND)):
        graphs[graph].add_node(node, kind=f"k{kind}")
    for (a, b), bond, weight in zip(EDGES, BONDS, WEIGHTS):
        graphs[GRAPH_OF[a]].add_edge(a, b, bond=f"b{bond}", weight=weight)
    return Task.from_networkx(graphs, LABELS)


class Fake:
    """A graph as PyTorch Geometric or DGL has it."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__ |= fields


def parts() -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Of both graphs: features, ends, bonds and weights."""
    found = []
    for graph, start in ((0, 0), (1, 3)):
        here = [number for number, (a, _) in enumerate(EDGES) if GRAPH_OF[a] == graph]
        nodes = np.flatnonzero(np.array(GRAPH_OF) == graph)
        x = np.eye(2)[np.array(KIND)[nodes] - 7]
        bonds = np.eye(2)[np.array(BONDS)[here] - 1]
        found.append((x, np.array(EDGES)[here].T - start, bonds, np.array(WEIGHTS)[here]))
    return found


def own_pyg() -> Task:
    return Task.from_pyg(
        [
            Fake(x=x, edge_index=ends, edge_attr=bonds, edge_weight=weights, y=np.array([label]), num_nodes=len(x))
            for (x, ends, bonds, weights), label in zip(parts(), LABELS)
        ]
    )


def own_dgl() -> Task:
    graphs = [
        Fake(
            ndata={"x": x},
            edata={"bond": bonds, "weight": weights, "_ID": weights},
            num_nodes=lambda x=x: len(x),
            edges=lambda ends=ends: (ends[0], ends[1]),
        )
        for x, ends, bonds, weights in parts()
    ]
    return Task.from_dgl(graphs, LABELS)


def test_the_same_edges_from_everywhere(tmp_path: Path) -> None:
    tasks = {
        "tables": config.load_task("custom", **write_tables(tmp_path / "tables")),
        "npz": config.load_task("custom", **write_npz(tmp_path / "arrays.npz")),
        "networkx": own_networkx(),
        "pyg": own_pyg(),
        "dgl": own_dgl(),
    }
    assert {task.content_hash for task in tasks.values()} == {own_networkx().content_hash}
    expected = {pair: (np.eye(2)[b - 1].tolist(), w) for pair, b, w in zip(EDGES, BONDS, WEIGHTS)}
    expected |= {pair[::-1]: row for pair, row in expected.items()}
    assert edge_table(own_networkx().graphs) == expected
    assert "Columns that are not used" not in " ".join(tasks["tables"].notes)
    directed = config.load_task("custom", path=str(tmp_path / "tables"), directed=True)
    assert set(edge_table(directed.graphs)) == set(EDGES)
    without = config.load_task("custom", path=str(tmp_path / "tables"), ignore=["bond", "weight"])
    assert without.graphs.plain
    assert (
        without.content_hash
        == config.load_task(
            "custom", path=str(tmp_path / "arrays.npz"), ignore=["edge_attr", "edge_weight"]
        ).content_hash
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0,1,b1,0.5", "0,1,b1,-2", r"edges.csv: row 1: weight is -2; give weights of 0 or more"),
        ("0,1,b1,0.5", "0,1,b1,", r"edges.csv: row 1: weight is missing, NaN or infinite; fill it in, drop that edge"),
        ("0,1,b1,0.5", "0,1,b1,heavy", r"edges.csv: row 1: weight is 'heavy', but most rows have numbers"),
        ("0,1,b1,0.5", "0,1,,0.5", r"edges.csv: row 1: bond is missing; fill it in, drop that edge"),
    ],
)
def test_faults_of_edge_columns_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    options = write_tables(tmp_path / "tables")
    file = tmp_path / "tables" / "edges.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(atjax.UserError, match=message):
        config.load_task("custom", **options)


def test_listings_that_differ_are_told_of(tmp_path: Path) -> None:
    options = write_tables(tmp_path / "tables")
    with (tmp_path / "tables" / "edges.csv").open("a") as file:
        file.write("\n1,0,b2,0.5\n")
    task = config.load_task("custom", **options)
    assert "Edges listed several times with differing features or weights, now their mean: 1." in task.notes
    assert edge_table(task.graphs)[0, 1] == ([0.5, 0.5], 0.5)


def test_large_weights_are_divided_by_their_mean() -> None:
    x, ends = np.eye(4), np.array([[0, 1, 2], [1, 2, 3]])
    labels = [0, 1, 0, 1]
    task = Task.from_arrays(x, ends, labels, edge_weight=[100, 300, 800])
    assert "Edge weights: divided by their mean, 400." in task.notes
    assert sorted(set(np.asarray(task.graphs.weights).tolist())) == [0.25, 0.75, 2]
    for wrong, message in (
        ([1, 2], "edge_weight has the shape .2,., but there are 3 edges"),
        ([1, -1, 1], "edge 1: weight is -1"),
    ):
        with pytest.raises(atjax.UserError, match=message):
            Task.from_arrays(x, ends, labels, edge_weight=wrong)


# TU sets


TU = {
    "A": "1, 2\n2, 1\n4, 5\n5, 4\n3, 2\n2, 3\n3, 3\n",
    "graph_indicator": "1\n1\n1\n2\n2\n3\n",
    "node_labels": "0\n1\n1\n0\n1\n0\n",
    "edge_labels": "1\n1\n3\n3\n1\n1\n9\n",
    "edge_attributes": "0.5,2\n0.5,2\n1.5,4\n1.5,4\n1.5,2\n1.5,2\n1.5,2\n",
    "graph_attributes": "-0.4, 1e-3, 7\n2.5, 2e-3, 8\n1.0, -3.5E+1, 9\n",
}
"""In the layout of QM9, ZINC_full and alchemy_full: targets with commas, no graph labels; a self-loop."""


def write_tu(root: Path, **changes: str | None) -> None:
    (root / "tu-original").mkdir(exist_ok=True)
    with zipfile.ZipFile(root / "tu-original" / "QM9.zip", "w") as archive:
        for part, text in (TU | changes).items():
            if text is not None:
                archive.writestr(f"QM9/QM9_{part}.txt", text)


def load_tu(root: Path, **options: Any) -> Task:
    return config.load_task("tu", data_root=root, dataset="QM9", **options)


def test_tu_sets_with_graph_attributes_are_regressions(tmp_path: Path) -> None:
    write_tu(tmp_path)
    task = load_tu(tmp_path)
    table = np.array([[-0.4, 1e-3, 7], [2.5, 2e-3, 8], [1, -35, 9]], np.float32)
    assert (task.level, task.loss, task.metric, task.num_outputs) == ("graph", "mse", "mae", 3)
    np.testing.assert_array_equal(task.labels, table)
    np.testing.assert_array_equal(load_tu(tmp_path, target=1).labels, table[:, [1]])
    chosen = load_tu(tmp_path, target=[2, 0], metric="rmse")
    assert (chosen.num_outputs, chosen.metric) == (2, "rmse")
    np.testing.assert_array_equal(chosen.labels, table[:, [2, 0]])
    own = config.load_task("custom", path=str(tmp_path / "tu-original" / "QM9.zip"), target=[2, 0])
    np.testing.assert_array_equal(own.labels, table[:, [2, 0]])
    for wrong in (3, -1, [0, 0], [], True, "a", [0, "x"], 1.0):
        with pytest.raises(atjax.UserError, match="names no columns of the labels, of which there are 3"):
            load_tu(tmp_path, target=wrong)
    with pytest.raises(atjax.UserError, match="no graph labels, but graph attributes"):
        load_tu(tmp_path, target="labels")


def test_tu_sets_with_both_kinds_of_labels(tmp_path: Path) -> None:
    write_tu(tmp_path, graph_labels="5\n6\n5\n", graph_attributes="1\nnan\n3\n")
    task = load_tu(tmp_path)
    np.testing.assert_array_equal(task.labels, [[1], [np.nan], [3]])
    classes = load_tu(tmp_path, target="labels")
    assert (classes.loss, classes.labels.tolist()) == ("cross_entropy", [0, 1, 0])
    write_tu(tmp_path, graph_labels="5\n6\n")
    with pytest.raises(atjax.UserError, match=r"QM9_graph_attributes.txt has 3 lines but QM9_graph_labels.txt has 2"):
        load_tu(tmp_path)
    write_tu(tmp_path, graph_labels="5\n6\n5\n", graph_attributes=None)
    with pytest.raises(atjax.UserError, match="target=0 is for sets with graph attributes"):
        load_tu(tmp_path, target=0)
    assert load_tu(tmp_path).num_outputs == 2


def test_edges_of_tu_sets_are_asked_for(tmp_path: Path) -> None:
    write_tu(tmp_path)
    assert load_tu(tmp_path).graphs.edges is None
    graphs = load_tu(tmp_path, edges=True).graphs
    numbers = np.array([[0.5, 2], [0.5, 2], [1.5, 4], [1.5, 4], [1.5, 2], [1.5, 2], [1.5, 2]])
    scored = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    rows = {(0, 1): [1, 0, 0, *scored[0]], (3, 4): [0, 1, 0, *scored[2]], (2, 1): [1, 0, 0, *scored[4]]}
    assert graphs.edges is not None
    for a, b, row in zip(graphs.senders.tolist(), graphs.receivers.tolist(), graphs.edges):
        np.testing.assert_allclose(row, rows[(a, b) if (a, b) in rows else (b, a)], rtol=1e-6)
    # What is not asked for is not read, and the content by which a set is known does not count it.
    write_tu(tmp_path, edge_labels="x\n")
    assert load_tu(tmp_path).graphs.edges is None
    with pytest.raises(atjax.UserError, match=r"QM9_edge_labels.txt: line 1 does not hold whole numbers"):
        load_tu(tmp_path, edges=True)
    write_tu(tmp_path, edge_labels="1\n", edge_attributes=None)
    with pytest.raises(atjax.UserError, match=r"QM9_edge_labels.txt has 1 lines but QM9_A.txt has 7"):
        load_tu(tmp_path, edges=True)
    write_tu(tmp_path, edge_labels=None, edge_attributes=None)
    with pytest.raises(atjax.UserError, match="the set has neither edge labels nor edge attributes; take edges=false"):
        load_tu(tmp_path, edges=True)
    own = config.load_task("custom", path=str(tmp_path / "tu-original" / "QM9.zip"))
    assert own.graphs.plain


def test_arrays_that_claim_too_much() -> None:
    x, ends = np.eye(4), np.array([[0, 1, 2], [1, 2, 3]])
    with pytest.raises(atjax.UserError, match=r"graph names graph 1099511627776 for 4 nodes; number graphs from 0 on"):
        Task.from_arrays(x, ends, [0, 1], graph=[0, 0, 1, 2**40])
    with pytest.raises(atjax.UserError, match=r"edge 1: edge_attr is beyond single precision"):
        Task.from_arrays(x, ends, [0, 1, 0, 1], edge_attr=[1.0, 1e200, 2.0])
    swapped = Task.from_arrays(x.astype(">f8"), ends.astype(">i8"), np.array([0, 1, 0, 1], ">i4"))
    assert swapped.content_hash == Task.from_arrays(x, ends, [0, 1, 0, 1]).content_hash
