"""The ways to get per-example Fisher moments that `fisher.py` compares: atjax's engine, plain JAX, and PyTorch.

Each is a function of a `Problem`, and gives alpha of its R models.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from atjax.batch import Batch, BatchIndex, BatchShape, bucket, index_batches, single_batch
from atjax.fisher.config import FisherConfig
from atjax.fisher.cotangents import Cotangents, label_directions
from atjax.fisher.engine import evaluate
from atjax.fisher.estimators import Fitted, moments
from atjax.fisher.examples import Examples
from atjax.fisher.gradients import graph_sums, split_params
from atjax.fisher.programs import over_models
from atjax.fisher.statistics import alpha
from atjax.model.gnn import GNN, Variables, apply
from atjax.space import Design
from atjax.task import Loss, Task

try:
    import torch
    import torch_gnn
except ImportError:
    torch = None

Method = Callable[[], np.ndarray]
"""Computes alpha of R models, [R]."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What every method is given.

    Attributes:
        design: The anchor.
        models: R models of it, calibrated and fitted, and the examples.
        settings: Of the engine, ``exact``.
        sketched: For node tasks the same for ``sign_sketch``, laid out for it; else None.
        chunk: Nodes in flight at once in the methods that vmap.
    """

    design: Design
    models: Fitted
    settings: FisherConfig
    sketched: tuple[Fitted, FisherConfig] | None
    chunk: int

    @property
    def task(self) -> Task:
        """The task."""
        return self.models.task

    @property
    def gnn(self) -> GNN:
        """The anchor's module."""
        return self.models.gnn

    @property
    def examples(self) -> Examples:
        """The engine's layout of the data."""
        return self.models.examples

    @functools.cached_property
    def ids(self) -> np.ndarray:
        """The examples, int [N]: ids of graphs, or of nodes within ``examples.batch``."""
        ids = np.concatenate([self.examples.ids_of(chunk).ravel() for chunk in self.examples.chunks])
        return ids[ids >= 0]

    def model(self, seed: int) -> Variables:
        """The variables of one of the R models."""
        return jax.tree.map(lambda leaf: leaf[seed], self.models.variables)

    @property
    def seeds(self) -> int:
        """R."""
        return self.settings.seeds

    @property
    def directions(self) -> int:
        """L, backward passes an example."""
        return self.task.num_outputs - (self.task.loss == "cross_entropy")

    def covered(self, method: str) -> int:
        """How many examples a method's result is of."""
        return self.examples.population if method == "sketch" else len(self.ids)

    def flops(self, method: str) -> float:
        """Of the weight gradients X^T D over all layers, backward passes and models."""
        passes = len(self.ids) * self.directions
        if self.task.level == "graph":
            rows = float(self.task.graphs.n_node[self.ids].sum()) * self.directions
        elif method == "sketch":
            assert self.sketched is not None
            rows = float(self.sketched[1].draws * self.sketched[0].examples.batch.node_mask.shape[0])
        else:
            rows = float(passes * self.examples.batch.node_mask.shape[0])
        weights = sum(layer.size for layer in self.models.layers if len(layer.shape) == 2)
        return 2 * rows * weights * self.seeds

    def alpha(self, sums: Sequence[np.ndarray]) -> np.ndarray:
        """alpha = m2 / m1^2 of the examples themselves, from sum f_i [P] of each model."""
        each = [np.asarray(first, np.float64) for first in sums]
        return np.array([np.mean(first**2) / np.mean(first) ** 2 for first in each])


# The engine


def engine(problem: Problem) -> Method:
    """``exact``, example by example; of a sample in blocks for a standard error, which no other method gives."""

    def run() -> np.ndarray:
        found = moments(problem.models, problem.settings)
        # As if the examples were all there are: the other methods give alpha of these.
        return evaluate(alpha, dataclasses.replace(found, population=np.sum(found.counts, axis=-1)))[0]

    return run


def sketch(problem: Problem) -> Method:
    """``sign_sketch``, of all training nodes."""
    assert problem.sketched is not None
    models, settings = problem.sketched
    return lambda: evaluate(alpha, moments(models, settings))[0]


# Plain JAX


@functools.partial(jax.jit, static_argnames=("gnn", "loss"), donate_argnames="sums")
def add_graph(gnn: GNN, loss: Loss, sums: Any, model: Variables, graph: Batch) -> Any:
    """Add f of one graph."""
    theta, others = split_params(model["params"])

    def outputs(theta: Any) -> jax.Array:
        return apply(gnn, {**model, "params": {**others, **theta}}, graph)[0]

    values, pullback = jax.vjp(outputs, theta)
    return _add(sums, jax.vmap(lambda row: pullback(row)[0])(label_directions(loss, values)))


@functools.partial(jax.jit, static_argnames=("gnn",))
def all_nodes(gnn: GNN, model: Variables, graph: Batch) -> Any:
    """The forward pass that all example nodes share: outputs [V, C], and the pullback."""
    theta, others = split_params(model["params"])
    return jax.vjp(lambda theta: apply(gnn, {**model, "params": {**others, **theta}}, graph), theta)


@functools.partial(jax.jit, static_argnames="loss", donate_argnames="sums")
def add_node(loss: Loss, sums: Any, values: jax.Array, pullback: Any, node: jax.Array) -> Any:
    """Add f of one node."""
    rows = label_directions(loss, values[node])
    return _add(sums, jax.lax.map(lambda row: pullback(jnp.zeros_like(values).at[node].set(row))[0], rows))


def _add(sums: Any, gradients: Any) -> Any:
    return jax.tree.map(lambda total, g: total + jnp.sum(g * g, axis=0), sums, gradients)


def jax_loop(problem: Problem) -> Method:
    """jit(grad), example by example."""
    loss, gnn = problem.task.loss, problem.gnn
    batches: list[Batch] = []
    graph = problem.examples.batch._replace(lists=None)  # edges as plain scatters
    if problem.task.level == "graph":
        graphs = problem.task.graphs.dense()
        for group in by_size(problem):
            shape = padded_shape(problem, group)
            batches += [single_batch(graphs.take(np.array([i])), shape) for i in group]

    def run() -> np.ndarray:
        result = []
        for seed in range(problem.seeds):
            model = problem.model(seed)
            sums = jax.tree.map(jnp.zeros_like, split_params(model["params"])[0])
            if batches:
                for batch in batches:
                    sums = add_graph(gnn, loss, sums, model, batch)
            else:
                values, pullback = all_nodes(gnn, model, graph)
                for node in problem.ids:
                    sums = add_node(loss, sums, values, pullback, node)
            result.append(np.asarray(ravel_pytree(sums)[0]))
        return problem.alpha(result)

    return run


@functools.partial(jax.jit, static_argnames="gnn")
def padded_sums(gnn: GNN, cotangents: Cotangents, variables: Variables, features: jax.Array, chunks: BatchIndex) -> Any:
    """Sums over graphs of R models, [R, P] each; the models as the engine takes them, side by side on a GPU only."""

    def one(variables: Variables) -> jax.Array:
        return ravel_pytree(graph_sums(gnn, cotangents, variables, features, chunks))[0]

    return over_models(one, variables)


def jax_vmap(problem: Problem) -> Method:
    """vmap(grad) over padded graphs."""
    models = problem.models
    chunks = [jax.tree.map(jnp.asarray, index) for index in padded_chunks(problem)]

    def run() -> np.ndarray:
        sent = models.cotangents("exact")
        parts = [padded_sums(problem.gnn, sent, models.variables, models.data, chunk) for chunk in chunks]
        return problem.alpha(np.sum([np.asarray(part, np.float64) for part in parts], axis=0))

    return run


def by_size(problem: Problem) -> list[np.ndarray]:
    """The example graphs in two groups of like size, each to be padded to one shape."""
    graphs = problem.task.graphs
    order = problem.ids[np.argsort(graphs.n_node[problem.ids] + graphs.n_edge[problem.ids], kind="stable")]
    return [group for group in np.array_split(order, 2) if len(group)]


def padded_shape(problem: Problem, group: np.ndarray) -> BatchShape:
    """One graph and one padding graph, as large as any of the group."""
    graphs = problem.task.graphs
    nodes, edges = int(graphs.n_node[group].max()) + 1, max(1, int(graphs.n_edge[group].max()))
    return BatchShape(2, bucket(nodes), bucket(edges))


def padded_chunks(problem: Problem) -> list[BatchIndex]:
    """Batches of one graph, in chunks: for each group [M, B, ...]; empty places fill the last chunk."""
    result = []
    for group in by_size(problem):
        shape = padded_shape(problem, group)
        width = min(len(group), max(1, problem.chunk // shape.nodes))
        rows = -(-len(group) // width)
        ids = np.append(group, np.full(rows * width - len(group), -1))
        index = index_batches(problem.task.graphs.dense(), ids[:, None], shape)
        result.append(jax.tree.map(lambda a, first=(rows, width): np.asarray(a).reshape(*first, *a.shape[1:]), index))
    return result


# PyTorch


@functools.lru_cache(maxsize=1)
def torch_models(problem: Problem) -> tuple[list[Any], float]:
    """The R models in PyTorch, and how far their float32 outputs are from JAX's, relative to the largest.

    That they are the same models is asserted in float64: in float32 the rounding of either, about 1e-5 at width 256,
    would hide a small difference, or look like one.
    """
    task, models, off = problem.task, [], 0.0
    inputs = torch_graphs(problem, task.split(0).train[:8]) if task.level == "graph" else [torch_graph(problem)]
    outputs = jax.jit(apply, static_argnums=0)
    for seed in range(problem.seeds):
        variables = jax.tree.map(np.asarray, problem.model(seed))
        model = torch_gnn.copied(
            problem.design, problem.gnn.hidden, task.level, variables, task.graphs.nodes.shape[1], task.num_outputs
        )
        models.append(model)
        here = 0.0
        for precision, limit in (("float64", 1e-10), ("float32", 1e-3)):
            actual = torch_gnn.outputs(model, inputs, getattr(torch, precision))
            with jax.enable_x64(precision == "float64"):
                given = [
                    jax.tree.map(functools.partial(_cast, precision), part)
                    for part in (variables, problem.examples.batch)
                ]
                expected = np.asarray(outputs(problem.gnn, *given))[: len(actual)]
            here = float(np.max(np.abs(actual - expected)) / max(1, np.max(np.abs(expected))))
            if not here < limit:
                raise AssertionError(f"the PyTorch model's {precision} outputs are off by {here:.1e}")
        off = max(off, here)
    return models, off


def _cast(precision: str, leaf: Any) -> jax.Array:
    array = np.asarray(leaf)
    return jnp.asarray(array, precision) if array.dtype.kind == "f" else jnp.asarray(array)


def dense(features: Any) -> np.ndarray:
    """Features as an array."""
    if isinstance(features, jax.Array):
        return np.asarray(features)
    result = np.zeros((features.num_rows, features.num_columns), np.float32)
    np.add.at(result, (np.asarray(features.rows), np.asarray(features.columns)), np.asarray(features.values))
    return result


def torch_graphs(problem: Problem, ids: np.ndarray) -> list[Any]:
    """Graphs as they are."""
    graphs = problem.task.graphs.dense()
    taken = [graphs.take(np.array([i])) for i in ids]
    return [torch_gnn.Graph.of(one.nodes, one.senders, one.receivers) for one in taken]


def torch_graph(problem: Problem) -> Any:
    """The graph of a node task."""
    graph = problem.examples.batch.graph
    return torch_gnn.Graph.of(dense(graph.nodes), np.asarray(graph.senders), np.asarray(graph.receivers))


def torch_loop(problem: Problem) -> Method:
    """Autograd, example by example."""
    models, loss = torch_models(problem)[0], problem.task.loss
    if problem.task.level == "graph":
        graphs = torch_graphs(problem, problem.ids)
        return lambda: problem.alpha([torch_gnn.graph_loop(model, loss, graphs) for model in models])
    graph = torch_graph(problem)
    return lambda: problem.alpha([torch_gnn.node_loop(model, loss, graph, problem.ids) for model in models])


def torch_vmap(problem: Problem) -> Method:
    """torch.func, vmapped over padded graphs or over nodes."""
    models, loss = torch_models(problem)[0], problem.task.loss
    if problem.task.level == "node":
        graph = torch_graph(problem)
        width = max(1, problem.chunk // len(graph.nodes))
        return lambda: problem.alpha([torch_gnn.node_vmap(model, loss, graph, problem.ids, width) for model in models])
    features = problem.task.graphs.dense().nodes
    chunks = []
    for index in padded_chunks(problem):
        for i in range(len(index.nodes)):
            taken = np.flatnonzero(index.graphs[i, :, 0] >= 0)
            nodes, senders, receivers, n_node = (
                np.asarray(a)[i, taken] for a in (index.nodes, index.senders, index.receivers, index.n_node)
            )
            real = np.arange(nodes.shape[1]) < n_node[:, :1]
            one = [torch_gnn.Graph.of(features[a], b, c, d) for a, b, c, d in zip(nodes, senders, receivers, real)]
            chunks.append(torch_gnn.Graph(*(torch.stack(parts) for parts in zip(*one))))
    return lambda: problem.alpha([torch_gnn.graph_vmap(model, loss, chunks) for model in models])


METHODS: dict[str, Callable[[Problem], Method]] = {
    "engine": engine,
    "sketch": sketch,
    "jax loop": jax_loop,
    "jax vmap": jax_vmap,
    "torch loop": torch_loop,
    "torch vmap": torch_vmap,
}


def names(level: str) -> list[str]:
    """The methods that there are for a task level, here."""
    left_out = {"graph": {"sketch"}, "node": {"jax vmap"}}[level]
    return [name for name in METHODS if name not in left_out and not (name.startswith("torch") and torch is None)]
