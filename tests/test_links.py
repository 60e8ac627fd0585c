"""Link prediction: what is held out, the head for pairs, training, and the Fisher information of pairs."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atjax
from atjax import checkpoint, metrics
from atjax.batch import single_batch
from atjax.budget import Budget
from atjax.errors import UserError
from atjax.fisher import FisherConfig, task_statistics
from atjax.fisher.examples import draw_examples
from atjax.fisher.preparation import fitted
from atjax.links import _PairCodes, link_prediction
from atjax.model.gnn import GNN, build, initialize, pair_rows
from atjax.sources.features import degrees
from atjax.space import Design
from atjax.task import Graphs, Split, Task
from atjax.train import Fit, fit

DESIGN = Design("general", None, "mean", "prelu", 8, "stack", 1, 1, 2, 0.01, 60)
BUDGET = Budget("tiny", {}, {"edge": 1}, {"edge": 10})

seeds = st.integers(0, 2**32 - 1)


pytestmark = pytest.mark.usefixtures("unoptimised")


def random_graphs(seed: int, *, sizes: tuple[int, ...] = (1, 30, 0, 12), undirected: bool = True) -> Graphs:
    """Graphs of so many nodes, with loops, a fifth of all pairs joined."""
    rng = np.random.default_rng(seed)
    start = np.cumsum(sizes) - sizes
    ends = [first + rng.integers(0, size, (size * size // 8, 2)) for first, size in zip(start, sizes) if size]
    nodes = rng.normal(size=(sum(sizes), 3))
    return Graphs.from_edges(nodes, *np.concatenate(ends).T, np.array(sizes), undirected=undirected)


def two_blocks() -> Graphs:
    """Two communities of 40 nodes; a pair without an edge is in one of them every sixth time. Features hint at them."""
    graph = nx.stochastic_block_model([40, 40], [[0.8, 0.02], [0.02, 0.8]], seed=0)
    nodes = np.random.default_rng(0).normal(size=(80, 4))
    nodes[:, 0] += 3 * (np.arange(80) >= 40)
    return Graphs.from_edges(nodes, *np.array(graph.edges).T, np.array([80]))


def edges(graphs: Graphs) -> set[tuple[int, int]]:
    return set(zip(graphs.senders.tolist(), graphs.receivers.tolist()))


def parts(task: Task) -> list[tuple[set[tuple[int, int]], set[tuple[int, int]]]]:
    """Linked pairs and others of training, validation and test, each with the smaller node first."""
    assert task.pairs is not None
    assert task.fixed_split is not None
    split, found = task.fixed_split, []
    for ids in (split.train, split.validation, split.test):
        pairs, linked = task.pairs[ids], task.labels[ids, 0] == 1
        assert np.all(pairs[:, 0] < pairs[:, 1])
        found.append(tuple({(int(a), int(b)) for a, b in pairs[which]} for which in (linked, ~linked)))
        assert len(found[-1][0]) + len(found[-1][1]) == len(ids)  # no repeats
    return found  # type: ignore[return-value]


# What is held out


@given(seeds, st.integers(1, 3), st.sampled_from([0.5, 0.8, 1]), st.booleans())
@settings(max_examples=40)
def test_examples_carry_no_messages_and_negatives_are_no_edges(
    seed: int, negatives: int, message: float, undirected: bool
) -> None:
    graphs = random_graphs(seed, undirected=undirected)
    task = link_prediction("t", graphs, seed=seed % 7, negatives=negatives, message=message)
    before, carrying = edges(graphs), edges(task.graphs)
    owner = np.repeat(np.arange(4), graphs.n_node)
    links = {(min(e), max(e)) for e in before if e[0] != e[1]}
    passed = {(min(e), max(e)) for e in carrying if e[0] != e[1]}
    train, validation, test = parts(task)
    for linked, others in (train, validation, test):
        assert linked <= links
        assert not others & links
        assert all(owner[a] == owner[b] for a, b in others)
        assert len(others) == negatives * len(linked)
    assert not (validation[0] | test[0]) & passed
    assert (train[0] == passed) if message == 1 else not train[0] & passed
    assert train[0] | passed | validation[0] | test[0] == links
    assert sum(map(len, (train[0] | passed, validation[0], test[0]))) == len(links)
    assert len(set().union(*(others for _, others in (train, validation, test)))) == negatives * sum(
        len(linked) for linked, _ in (train, validation, test)
    )
    for part, share in ((validation, 0.1), (test, 0.1)):
        assert abs(len(part[0]) - share * len(links)) <= 0.5
    assert abs(len(passed) - message * 0.8 * len(links)) <= 2
    # Of a link that carries messages all edges are kept, and so are loops.
    assert carrying == {e for e in before if e[0] == e[1] or (min(e), max(e)) in passed}
    np.testing.assert_array_equal(task.graphs.n_edge, np.bincount(owner[task.graphs.receivers], minlength=4))
    order = task.graphs.receivers.astype(np.int64) * len(owner) + task.graphs.senders
    assert np.all(np.diff(order) > 0)


@pytest.mark.parametrize("own", [0, 2])
def test_degrees_do_not_tell_of_links_that_are_held_out(own: int) -> None:
    """Of a graph without attributes: another graph with the same links that carry messages looks the same."""
    graph = nx.barabasi_albert_graph(300, 3, seed=0)
    ends = np.array(graph.edges).T
    rest = np.random.default_rng(0).normal(size=(300, own))

    def with_degrees(ends: np.ndarray) -> Graphs:
        bare = Graphs.from_edges(np.zeros((300, 0)), *ends, np.array([300]))
        return dataclasses.replace(bare, nodes=np.hstack([degrees(bare), rest]).astype(np.float32))

    task = link_prediction("t", with_degrees(ends))
    kept = np.array([edge for edge in edges(task.graphs) if edge[0] < edge[1]]).T
    assert kept.shape[1] < ends.shape[1]
    np.testing.assert_array_equal(task.graphs.nodes, with_degrees(kept).nodes)
    assert any("Degrees count the links that carry messages" in note for note in task.notes)


def test_other_features_stay() -> None:
    graphs = random_graphs(0)
    task = link_prediction("t", graphs)
    np.testing.assert_array_equal(task.graphs.nodes, graphs.nodes)
    assert not any("Degrees" in note for note in task.notes)


def test_the_seed_decides() -> None:
    graphs = random_graphs(0)
    hashes = [link_prediction("t", graphs, seed=seed).content_hash for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_pairs_without_an_edge_are_equally_likely() -> None:
    """A path of 25 nodes has 276 pairs without an edge."""
    path = Graphs.from_edges(np.ones((25, 1)), np.arange(24), np.arange(1, 25), np.array([25]))
    counts = np.zeros((25, 25), int)
    for seed in range(2000):
        for _, others in parts(link_prediction("t", path, seed=seed)):
            for pair in others:
                counts[pair] += 1
    free = [pair for pair in itertools.combinations(range(25), 2) if pair[1] > pair[0] + 1]
    drawn = np.array([counts[pair] for pair in free])
    mean = drawn.mean()
    assert drawn.sum() == counts.sum()
    assert np.sum((drawn - mean) ** 2) / mean == pytest.approx(len(free), abs=5 * np.sqrt(2 * len(free)))  # chi squared


def test_all_pairs_without_an_edge_may_be_asked_for() -> None:
    """A complete graph of 9 nodes less 4 edges."""
    missing = {(0, 1), (2, 7), (3, 4), (7, 8)}
    ends = np.array([pair for pair in itertools.combinations(range(9), 2) if pair not in missing])
    graphs = Graphs.from_edges(np.ones((9, 1)), *ends.T, np.array([9]))
    with pytest.raises(UserError, match="11 pairs without an edge are asked for, and there are 4; lower negatives"):
        link_prediction("t", graphs)
    more = Graphs.from_edges(np.ones((12, 1)), *ends.T, np.array([12]))  # 37 more pairs without an edge
    train, validation, test = parts(link_prediction("t", more, negatives=3))
    assert missing <= {pair for pair in itertools.combinations(range(12), 2)} - edges(more)
    assert sum(len(others) for _, others in (train, validation, test)) == 33


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_pairs_are_numbered_without_gaps(sizes: list[int]) -> None:
    none = np.zeros(0, int)
    codes = _PairCodes(Graphs.from_edges(np.ones((sum(sizes), 1)), none, none, np.array(sizes)))
    start = np.cumsum(sizes) - sizes
    pairs = [(a, b) for s, n in zip(start, sizes) for a, b in itertools.combinations(range(s, s + n), 2)]
    assert codes.total == len(pairs)
    if pairs:
        assert sorted(map(tuple, codes.pairs(np.arange(codes.total)).tolist())) == sorted(pairs)
        low, high = np.array(pairs).T
        np.testing.assert_array_equal(codes.of(low, high), codes.of(high, low))
        np.testing.assert_array_equal(codes.pairs(codes.of(low, high)), pairs)


def test_numbers_of_large_graphs_are_exact() -> None:
    none = np.zeros(0, int)
    total = 2**25
    codes = _PairCodes(Graphs(np.zeros((total, 0), np.float32), none, none, np.array([total]), np.array([0])))
    high = np.array([total - 1, total - 1, total - 2, 2**24 + 1, 1])
    low = np.array([0, total - 2, total - 3, 2**24, 0])
    np.testing.assert_array_equal(codes.pairs(codes.of(low, high)), np.stack([low, high], axis=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "the seed -1 of the split must be a whole number of at least 0"),
        ({"seed": "x"}, "the seed 'x' of the split must be a whole number"),
        ({"message": "x"}, "message='x' must be above 0 and at most 1"),
        ({"negatives": 0}, "negatives=0 must be a whole number of at least 1"),
        ({"message": 0}, "message=0 must be above 0 and at most 1"),
        ({"message": 1.5}, "message=1.5 must be"),
        ({"metric": "mae"}, "metric='mae' is unknown; choose from accuracy, roc_auc, average_precision"),
        ({"negatives": 99}, "pairs without an edge are asked for, and there are"),
    ],
)
def test_faulty_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        link_prediction("t", random_graphs(0), **options)


def test_too_few_links() -> None:
    pair = Graphs.from_edges(np.ones((9, 1)), np.array([0, 1]), np.array([1, 2]), np.array([9]))
    with pytest.raises(UserError, match="2 links are too few to share out"):
        link_prediction("t", pair)


def test_tasks_by_name() -> None:
    task = atjax.load_task("links", dataset="digits_knn", negatives=2, metric="average_precision")
    assert (task.name, task.level, task.metric) == ("links_digits_knn", "edge", "average_precision")
    other = atjax.load_task("digits_knn")
    assert edges(task.graphs) < edges(other.graphs)
    assert task.notes[: len(other.notes)] == other.notes
    assert "2 pairs without an edge for each" in task.notes[-1]
    assert task.split(0) is task.split(1)
    again = atjax.load_task("links", dataset="digits_knn", negatives=2, metric="average_precision", split_seed=1)
    assert again.content_hash != task.content_hash
    with pytest.raises(UserError, match="links is a task of pairs itself"):
        atjax.load_task("links", dataset="links")
    with pytest.raises(UserError, match="the features of synthetic are computed from its links; choose another"):
        atjax.load_task("links", dataset="synthetic")


# The head


def variables_of(gnn: GNN, features: int) -> Any:
    """Random values, also of what starts at 0 or 1."""
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: jax.Array) -> jax.Array:
        value = 0.5 * rng.normal(size=leaf.shape)
        return jnp.asarray(0.5 + np.abs(value) if path[-1].key in ("var", "scale") else value)

    return jax.tree_util.tree_map_with_path(draw, initialize(gnn, features, jax.random.key(0)))


def test_a_pair_is_read_from_the_rows_of_its_nodes() -> None:
    """In either order, and whatever other pairs are asked for."""
    graphs = two_blocks()
    pairs = np.array([[0, 1], [1, 0], [5, 70], [9, 9]])
    gnn = build(DESIGN, hidden=8, level="edge", num_outputs=2)
    variables, apply = variables_of(gnn, 4), jax.jit(gnn.apply)
    rows = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    got = pair_rows(jnp.asarray(rows), jnp.array([[0, 3], [5, 5]]))
    np.testing.assert_allclose(got, np.sqrt(5) * np.stack([rows[0] * rows[3], rows[5] ** 2]), rtol=1e-6)
    outputs = np.asarray(apply(variables, single_batch(graphs, pairs=pairs)))
    assert outputs.shape == (4, 2)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.ptp(outputs, axis=0).min() > 0.01
    for pair, output in zip(pairs, outputs):
        alone = apply(variables, single_batch(graphs, pairs=pair[None]))
        np.testing.assert_allclose(alone[0], output, rtol=1e-4, atol=1e-5)


# Training


@pytest.fixture(scope="module")
def trained() -> tuple[Task, Fit]:
    task = link_prediction("blocks", two_blocks())
    return task, fit(task, DESIGN, budget=BUDGET)


def test_training_learns_the_blocks(trained: tuple[Task, Fit]) -> None:
    _, result = trained
    assert (result.state, result.curve.epoch) == ("complete", [10, 20, 30, 40, 50, 60])
    assert result.test > 0.8
    assert result.curve.train_loss[-1] < 0.7 * result.curve.train_loss[0]


def test_pairs_that_are_held_out_do_not_train(trained: tuple[Task, Fit]) -> None:
    """Neither their labels nor which pairs they are."""
    task, before = trained
    split = task.split(0)
    labels, pairs = task.labels.copy(), task.pairs.copy()  # type: ignore[union-attr]
    labels[split.test] = 1 - labels[split.test]
    pairs[split.validation] = [[0, 1]]
    after = fit(dataclasses.replace(task, labels=labels, pairs=pairs), DESIGN, budget=BUDGET)
    assert after.curve.train_loss == before.curve.train_loss
    np.testing.assert_allclose(after.curve.test, 1 - np.array(before.curve.test))


def test_the_saved_model_tells_the_probability_of_a_link(trained: tuple[Task, Fit], tmp_path: Any) -> None:
    task, result = trained
    checkpoint.save(tmp_path / "best_model", task, result, {"atjax": "0"})
    model = atjax.load(tmp_path)
    test = task.split(0).test
    assert task.pairs is not None
    outputs = model.outputs(task.graphs, task.pairs[test])
    assert metrics.score("roc_auc", task.labels[test], outputs) == result.test
    np.testing.assert_allclose(model.predict(task.graphs, task.pairs[test]), 1 / (1 + np.exp(-outputs)), rtol=1e-5)
    with pytest.raises(UserError, match="level edge; give pairs of nodes for level edge only"):
        model.predict(task.graphs)
    with pytest.raises(UserError, match=r"pairs: pair 0 is \[0, 80\], but nodes are numbered 0 to 79"):
        model.predict(task.graphs, np.array([[0, 80]]))


# The Fisher information


FISHER = FisherConfig(
    hidden=4,
    seeds=2,
    ridge=1e-2,
    max_passes={"graph": 999, "node": 999},
    max_nodes=999,
    estimator={"graph": "exact", "node": "exact"},
)
SHALLOW = Design("general", None, "sum", "prelu", 4, "skip_sum", 1, 1, 2, 0.01, 400)


def test_fisher_settings_of_edges_are_those_of_nodes_unless_given() -> None:
    assert (FISHER.max_passes["edge"], FISHER.estimator["edge"]) == (999, "exact")
    named = dataclasses.replace(FISHER, estimator={"graph": "exact", "edge": "exact", "node": "exact"})
    other = dataclasses.replace(FISHER, estimator={"graph": "exact", "edge": "sign_sketch", "node": "exact"})
    assert FISHER.key == named.key != other.key
    with pytest.raises(UserError, match=r"fisher.estimator.edge must be one of .*; it is 'no'"):
        dataclasses.replace(FISHER, estimator={"graph": "exact", "edge": "no", "node": "exact"})


def test_alpha_of_pairs_is_that_of_the_definition() -> None:
    """p (1 - p) J^T J of the logit of each training pair alone, in double precision."""
    task = link_prediction("t", random_graphs(1, sizes=(25,)))
    train = task.split(0).train
    assert task.pairs is not None
    gnn = build(SHALLOW, hidden=4, level="edge", num_outputs=1)
    variables = fitted(gnn, task, draw_examples(task, FISHER, 0), FISHER)
    got = task_statistics(task, FISHER, ["alpha"], anchors=[SHALLOW])["alpha"].value[0]
    assert np.all(np.asarray(got) > 1)
    with jax.enable_x64(True):
        graphs = dataclasses.replace(task.graphs, nodes=task.graphs.nodes.astype(np.float64))
        for r in range(2):
            one = jax.tree.map(lambda leaf, r=r: jnp.asarray(np.asarray(leaf[r], np.float64)), variables)

            @jax.jit
            def logit(theta: Any, pair: jax.Array, one: Any = one) -> jax.Array:
                whole = {"params": one["params"] | {"mp_0": theta}, "batch_stats": one["batch_stats"]}
                return gnn.apply(whole, single_batch(graphs)._replace(pairs=pair[None]))[0, 0]

            theta, value_and_grad, diagonal = one["params"]["mp_0"], jax.jit(jax.value_and_grad(logit)), 0.0
            for pair in task.pairs[train]:
                z, gradient = value_and_grad(theta, jnp.asarray(pair))
                flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])
                p = 1 / (1 + np.exp(-float(z)))
                diagonal = diagonal + p * (1 - p) * flat**2
            expected = np.mean(diagonal**2) / np.mean(diagonal) ** 2
            np.testing.assert_allclose(got[r], expected, rtol=1e-4)


def test_what_the_fisher_information_of_pairs_is_taken_over() -> None:
    """A long ring of which only the surroundings of the sampled pairs fit: pairs and edges among the nodes kept."""
    ring = np.arange(300)
    graphs = Graphs.from_edges(np.random.default_rng(0).normal(size=(300, 2)), ring, (ring + 1) % 300, np.array([300]))
    task = link_prediction("t", graphs)
    config = dataclasses.replace(FISHER, max_passes={"graph": 9, "node": 5}, max_nodes=40)
    examples = draw_examples(task, config, 0)
    assert task.pairs is not None
    assert isinstance(task.fixed_split, Split)
    nodes = np.asarray(examples.batch.graph.nodes)
    kept = [int(np.flatnonzero((task.graphs.nodes == row).all(axis=1))[0]) for row in nodes]
    train = [i for i in task.fixed_split.train if set(task.pairs[i].tolist()) <= set(kept)]
    np.testing.assert_array_equal(np.array(kept)[np.asarray(examples.batch.pairs)], task.pairs[train])
    np.testing.assert_array_equal(examples.labels, task.labels[train])
    np.testing.assert_array_equal(examples.targets, task.labels[train])
    np.testing.assert_array_equal(examples.rows, np.arange(len(train)))
    np.testing.assert_array_equal(examples.ids, np.arange(len(train)))
    assert (examples.sampled, examples.population, len(kept)) == (5, len(task.fixed_split.train), 40)
    rows = np.ravel(examples.chunks[0])
    assert len(set(rows[rows >= 0].tolist())) == 5
    assert rows.max() < len(train)
    graph = examples.batch.graph
    inside = {(kept[s], kept[r]) for s, r in zip(graph.senders.tolist(), graph.receivers.tolist())}
    assert inside == {(s, r) for s, r in edges(task.graphs) if {s, r} <= set(kept)}
