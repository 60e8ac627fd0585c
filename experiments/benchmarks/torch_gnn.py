"""The anchors' architecture written in PyTorch, and its per-example Fisher sums: what the benchmark compares with.

Nothing here calls atjax's model code; only the parameters are copied, and the benchmark asserts that the outputs agree.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from atjax.space import Design


def device() -> str:
    """A GPU where JAX has one too and PyTorch can use it; else the CPU."""
    return "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


class Graph(NamedTuple):
    """One graph, or with a leading axis B several of one padded size.

    Attributes:
        nodes: Features [V, D].
        senders: int64 [E].
        receivers: int64 [E]; padding edges join the last node to itself.
        degree: Incoming edges of each node, [V].
        real: 1 for real nodes and 0 for padding, [V].
    """

    nodes: Tensor
    senders: Tensor
    receivers: Tensor
    degree: Tensor
    real: Tensor

    @classmethod
    def of(cls, nodes: np.ndarray, senders: np.ndarray, receivers: np.ndarray, real: np.ndarray | None = None) -> Graph:
        """From numpy arrays of one graph."""
        degree = np.bincount(receivers, minlength=len(nodes)).astype(np.float32)
        real = np.ones(len(nodes), np.float32) if real is None else real.astype(np.float32)
        arrays = (np.asarray(nodes, np.float32), senders.astype(np.int64), receivers.astype(np.int64), degree, real)
        return cls(*(torch.from_numpy(np.array(array)).to(device()) for array in arrays))


def aggregate(messages: Tensor, graph: Graph, aggregation: str) -> Tensor:
    """[E, H] -> [V, H]; 0 for a node without neighbours."""
    empty = messages.new_zeros(len(graph.degree), messages.shape[1])
    if aggregation == "max":
        index = graph.receivers[:, None].expand_as(messages)
        return empty.scatter_reduce(0, index, messages, "amax", include_self=False)
    total = empty.index_add(0, graph.receivers, messages)
    return total / graph.degree.clamp(min=1)[:, None] if aggregation == "mean" else total


class GeneralConv(nn.Module):
    """W x_j aggregated over neighbours, plus W_self x_i."""

    def __init__(self, width: int, hidden: int, aggregation: str) -> None:
        super().__init__()
        self.neighbour = nn.Linear(width, hidden, bias=False)
        self.self = nn.Linear(width, hidden, bias=False)
        self.aggregation = aggregation

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        messages = self.neighbour(x)[graph.senders]
        return aggregate(messages, graph, self.aggregation) + self.self(x)


class ConvLayer(nn.Module):
    """Convolution, BatchNorm, connectivity, PReLU."""

    def __init__(self, width: int, hidden: int, design: Design) -> None:
        super().__init__()
        assert design.convolution == "general"
        assert design.aggregation is not None
        self.conv = GeneralConv(width, hidden, design.aggregation)
        self.norm = nn.BatchNorm1d(hidden)
        self.prelu = nn.PReLU()
        self.connectivity = design.connectivity

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        h = self.norm(self.conv(x, graph)) * graph.real[:, None]
        if self.connectivity == "skip_sum":
            h = x + h
        elif self.connectivity == "skip_concat":
            h = torch.cat([x, h], dim=-1)
        return self.prelu(h)


class DenseLayer(nn.Module):
    """Linear map, BatchNorm, PReLU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.prelu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.norm(self.linear(x)))


class GNN(nn.Module):
    """An anchor: [C] for a graph, [V, C] for the nodes of one."""

    def __init__(self, design: Design, hidden: int, level: str, num_features: int, num_outputs: int) -> None:
        super().__init__()
        widths = [num_features] + [hidden] * design.pre_layers
        self.pre = nn.ModuleList(DenseLayer(width, hidden) for width in widths[:-1])
        grows = hidden if design.connectivity == "skip_concat" else 0
        self.mp = nn.ModuleList(ConvLayer(hidden + i * grows, hidden, design) for i in range(design.mp_layers))
        widths = [hidden + design.mp_layers * grows] + [hidden] * (design.post_layers - 1)
        self.post = nn.ModuleList(DenseLayer(width, hidden) for width in widths[:-1])
        self.out = nn.Linear(hidden, num_outputs)
        self.level = level
        self.eval()

    def forward(self, graph: Graph) -> Tensor:
        x = graph.nodes
        for dense in self.pre:
            x = dense(x)
        x = x * graph.real[:, None]
        for conv in self.mp:
            x = conv(x, graph)
        x = x * torch.rsqrt((x * x).sum(dim=-1, keepdim=True).clamp(min=1e-12))
        if self.level == "graph":
            x = x.sum(dim=0, keepdim=True)
        for dense in self.post:
            x = dense(x)
        x = self.out(x)
        return x[0] if self.level == "graph" else x


def copied(
    design: Design, hidden: int, level: str, variables: dict[str, Any], num_features: int, num_outputs: int
) -> GNN:
    """The model with the parameters and BatchNorm statistics of a Flax model."""
    model = GNN(design, hidden, level, num_features, num_outputs)

    def tensor(array: Any) -> Tensor:
        return torch.from_numpy(np.array(array, np.float32).T.copy())

    state = {"out.weight": tensor(variables["params"]["out"]["kernel"])}
    state["out.bias"] = tensor(variables["params"]["out"]["bias"])
    for stage, layer in variables["params"].items():
        if stage == "out":
            continue
        name = stage.replace("_", ".")
        linears = {"linear": layer["linear"]} if "linear" in layer else layer["conv"]
        for part, linear in linears.items():
            prefix = name if part == "linear" else f"{name}.conv"
            state[f"{prefix}.{part}.weight"] = tensor(linear["kernel"])
        state[f"{name}.norm.weight"] = tensor(layer["bn"]["norm"]["scale"])
        state[f"{name}.norm.bias"] = tensor(layer["bn"]["norm"]["bias"])
        state[f"{name}.norm.running_mean"] = tensor(variables["batch_stats"][stage]["bn"]["norm"]["mean"])
        state[f"{name}.norm.running_var"] = tensor(variables["batch_stats"][stage]["bn"]["norm"]["var"])
        state[f"{name}.norm.num_batches_tracked"] = torch.tensor(0)
        state[f"{name}.prelu.weight"] = tensor(layer["prelu"]["negative_slope"]).reshape(1)
    model.load_state_dict(state, strict=True)
    return model.requires_grad_(False).to(device())


def outputs(model: GNN, graphs: list[Graph], dtype: torch.dtype) -> np.ndarray:
    """Outputs of graphs [G, C], or of the nodes of the only graph [V, C], in another precision."""
    model = copy.deepcopy(model).to(dtype)

    def cast(graph: Graph) -> Graph:
        return Graph(*(part.to(dtype) if part.is_floating_point() else part for part in graph))

    each = [model(cast(graph)).cpu().numpy() for graph in graphs]
    return np.stack(each) if model.level == "graph" else each[0]


def label_directions(loss: str, outputs: Tensor) -> Tensor:
    """[C - 1, C] with L L^T = diag(p) - p p^T, or the identity: as in `atjax.fisher.cotangents`."""
    count = outputs.shape[0]
    if loss == "mse":
        return torch.eye(count, dtype=outputs.dtype, device=outputs.device)
    p = outputs.softmax(0)
    rest = p.flip(0).cumsum(0).flip(0)
    tiny = torch.finfo(p.dtype).tiny
    here, after, first = rest[:-1].clamp(min=tiny), rest[1:].clamp(min=tiny), p[:-1]
    below = torch.ones_like(p).expand(count - 1, count).triu(1)
    scale = torch.sqrt(first / here) / torch.sqrt(after)
    diagonal = torch.sqrt(first * rest[1:] / here)
    return nn.functional.pad(torch.diag(diagonal), (0, 1)) - below * scale[:, None] * p[None, :]


def _theta(model: GNN) -> dict[str, Tensor]:
    return {name: value for name, value in model.named_parameters() if name.startswith("mp.")}


class _Sums:
    """Sums over examples of f."""

    def __init__(self, theta: dict[str, Tensor]) -> None:
        self.totals = [torch.zeros_like(value) for value in theta.values()]

    def add(self, f: Iterable[Tensor]) -> None:
        """Add one example's f."""
        for total, x in zip(self.totals, f):
            total.add_(x)

    def add_many(self, f: Iterable[Tensor]) -> None:
        """Add f [B, ...] of B examples."""
        for total, x in zip(self.totals, f):
            total.add_(x.sum(dim=0))

    def flat(self) -> np.ndarray:
        """All in one, [P]."""
        return torch.cat([total.flatten() for total in self.totals]).cpu().numpy()


def _sum_of_squares(rows: Tensor, pull: Callable[[Tensor], Iterable[Tensor]]) -> list[Tensor]:
    total: list[Tensor] = []
    for row in rows.unbind():
        squares = [gradient.mul_(gradient) for gradient in pull(row)]  # square_ has no batching rule
        total = [a.add_(b) for a, b in zip(total, squares)] if total else squares
    return total


def _loop(model: GNN, loss: str, outputs: Iterable[Tensor]) -> np.ndarray:
    """Differentiate outputs [C], one example's after the other's, by autograd."""
    sums = _Sums(_theta(model))
    leaves = list(_theta(model).values())
    for output in outputs:
        rows = label_directions(loss, output.detach())
        with torch.no_grad():
            sums.add(_sum_of_squares(rows, functools.partial(_gradients, output, leaves)))
    return sums.flat()


def _gradients(output: Tensor, leaves: list[Tensor], row: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(output, leaves, row, retain_graph=True)


def graph_loop(model: GNN, loss: str, graphs: list[Graph]) -> np.ndarray:
    """Autograd, one graph after the other."""
    with _differentiable(model):
        return _loop(model, loss, (model(graph) for graph in graphs))


def node_loop(model: GNN, loss: str, graph: Graph, nodes: np.ndarray) -> np.ndarray:
    """Autograd, one forward pass and then one node after the other."""
    with _differentiable(model):
        outputs = model(graph)
        return _loop(model, loss, (outputs[node] for node in nodes.tolist()))


@contextmanager
def _differentiable(model: GNN) -> Iterator[None]:
    leaves = _theta(model).values()
    for leaf in leaves:
        leaf.requires_grad_(True)
    yield
    for leaf in leaves:
        leaf.requires_grad_(False)


def graph_vmap(model: GNN, loss: str, chunks: list[Graph]) -> np.ndarray:
    """torch.func: the gradient of one padded graph, vmapped over the graphs of a chunk."""
    theta, call = _functional(model)
    sums = _Sums(theta)

    def one(graph: Graph) -> list[Tensor]:
        outputs, pullback = vjp(lambda theta: call(theta, graph), theta)
        rows = label_directions(loss, outputs.detach())
        return _sum_of_squares(rows, lambda row: pullback(row)[0].values())

    with torch.no_grad():
        for chunk in chunks:
            sums.add_many(vmap(one)(chunk))
    return sums.flat()


def node_vmap(model: GNN, loss: str, graph: Graph, nodes: np.ndarray, width: int) -> np.ndarray:
    """torch.func: one forward pass, and its pullback vmapped over ``width`` nodes."""
    theta, call = _functional(model)
    sums = _Sums(theta)
    outputs, pullback = vjp(lambda theta: call(theta, graph), theta)
    places = torch.arange(len(outputs), device=outputs.device)

    def one(node: Tensor, rows: Tensor) -> list[Tensor]:
        here = (places == node).to(rows.dtype)[:, None]
        return _sum_of_squares(rows, lambda row: pullback(here * row)[0].values())

    with torch.no_grad():
        for chunk in torch.as_tensor(nodes, device=outputs.device).split(width):
            rows = torch.stack([label_directions(loss, outputs[node].detach()) for node in chunk])
            sums.add_many(vmap(one)(chunk, rows))
    return sums.flat()


def _functional(model: GNN) -> tuple[dict[str, Tensor], Callable[[dict[str, Tensor], Graph], Tensor]]:
    """theta, and the outputs as a function of it and of a graph."""
    theta = _theta(model)
    others = {name: value for name, value in model.state_dict().items() if name not in theta}
    return theta, lambda theta, graph: functional_call(model, {**others, **theta}, (graph,))
