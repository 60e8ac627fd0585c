"""Stand-ins for the objects of other libraries, and graphs to try them with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np

from atjax import Graphs


class Tensor:
    """What is used of a tensor that may live on a device: it is no array until it is asked to be one."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        return self._values

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("this tensor lives on a device")


class Narrow(Tensor):
    """A tensor of a type that numpy does not have."""

    dtype = "torch.bfloat16"

    def numpy(self) -> np.ndarray:
        raise TypeError("Got unsupported ScalarType BFloat16")

    def float(self) -> Tensor:
        return Tensor(self._values.astype(np.float32))


class Empty(Tensor):
    """A tensor of the meta device, without any data."""

    def cpu(self) -> Tensor:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")


class Sparse(Tensor):
    """A sparse tensor: entries that are listed twice are added, and it is no array."""

    layout = "torch.sparse_csr"
    shape: tuple[int, ...] = property(lambda self: self._values.shape)  # type: ignore[assignment]

    def dim(self) -> int:
        return int(self._values.ndim)

    def dense_dim(self) -> int:
        return 0

    def to_sparse_coo(self) -> Sparse:
        return self

    def coalesce(self) -> Sparse:
        return self

    def indices(self) -> Tensor:
        return Tensor(np.stack(np.nonzero(self._values)))

    def values(self) -> Tensor:
        return Tensor(self._values[np.nonzero(self._values)])

    def numpy(self) -> np.ndarray:
        raise TypeError("can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.")


def data(edges: Any, num_nodes: int, **fields: Any) -> SimpleNamespace:
    """A stand-in for a ``Data`` of PyTorch Geometric, which has None where a field was not given."""
    given = {"x": None, "y": None} | {
        name: value if isinstance(value, Tensor) else Tensor(value) for name, value in fields.items()
    }
    ends = np.asarray(edges, np.int64).reshape(-1, 2).T
    return SimpleNamespace(edge_index=Tensor(ends), num_nodes=num_nodes, **given)


class Dataset:
    """A stand-in for an ``InMemoryDataset``: a sequence of graphs that also has the fields of all of them joined."""

    edge_index = y = x = None

    def __init__(self, graphs: list[SimpleNamespace]) -> None:
        self._graphs = graphs

    def indices(self) -> range:
        return range(len(self._graphs))

    def __len__(self) -> int:
        return len(self._graphs)

    def __getitem__(self, number: int) -> SimpleNamespace:
        return self._graphs[number]


class Heterogeneous:
    """A stand-in for a ``HeteroData``, which has a length and items, but not by number."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Any:
        raise NotImplementedError


class DGLGraph:
    """A stand-in for a graph of DGL."""

    def __init__(
        self, edges: Any, num_nodes: int, *, homogeneous: bool = True, batch: list[int] | None = None, **ndata: Any
    ) -> None:
        self._ends = np.asarray(edges, np.int64).reshape(-1, 2).T
        self._num_nodes = num_nodes
        self._batch = batch or [num_nodes]
        self.is_homogeneous = homogeneous
        self.ndata = {name: Tensor(value) for name, value in ndata.items()}
        self.edata: dict[str, Tensor] = {}

    def num_nodes(self) -> int:
        return self._num_nodes

    def batch_num_nodes(self) -> Tensor:
        return Tensor(self._batch)

    def edges(self) -> tuple[Tensor, Tensor]:
        return Tensor(self._ends[0]), Tensor(self._ends[1])


def molecules(count: int = 24, seed: int = 0) -> list[nx.Graph]:
    """Rings and stars of random sizes with words, numbers and lists of numbers at their nodes."""
    rng = np.random.default_rng(seed)
    graphs = []
    for number in range(count):
        ring = number % 2 == 0
        graph = nx.relabel_nodes((nx.cycle_graph if ring else nx.star_graph)(rng.integers(4, 9)), "atom{}".format)
        graph.graph["label"] = "ring" if ring else "star"
        for node in graph:
            graph.nodes[node].update(
                element=str(rng.choice(["C", "N", "O"])), mass=rng.normal(50, 9), place=rng.random(2).tolist()
            )
        graphs.append(graph)
    return graphs


def arrays_of(graphs: list[nx.Graph]) -> tuple[np.ndarray, np.ndarray]:
    """Edges and graph of each node, numbered through, made graph by graph."""
    edges, owner = np.zeros((2, 0), np.int64), np.zeros(0, np.int64)
    for number, graph in enumerate(graphs):
        place = {node: len(owner) + n for n, node in enumerate(graph)}
        edges = np.concatenate([edges, np.array([(place[a], place[b]) for a, b in graph.edges]).T], axis=1)
        owner = np.concatenate([owner, np.full(len(graph), number)])
    return edges, owner


def neighbours(graphs: Graphs) -> set[tuple[int, int]]:
    return set(zip(graphs.senders.tolist(), graphs.receivers.tolist()))


def ring(size: int = 4, **attributes: Any) -> nx.Graph:
    graph = nx.cycle_graph(size)
    for name, values in attributes.items():
        nx.set_node_attributes(graph, dict(zip(graph, values)), name)
    return graph


AB = ["a", "b", "a", "b"]
X = np.ones((4, 2))
E = [[0, 1], [1, 2]]
