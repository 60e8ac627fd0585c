"""Small sets in the formats in which the real ones are published."""

from __future__ import annotations

import collections
import functools
import io
import pickle
import pickletools

import numpy as np
from scipy import sparse

TU = {
    "S_A.txt": b"1, 2\n2, 1\n2,3\n3, 2\n4, 5\r\n5, 4\n5, 5\n",
    "S_graph_indicator.txt": b"1\n1\n1\n2\n2\n",
    "S_graph_labels.txt": b"1\n-1\n",
    "S_node_labels.txt": b"7\n7\n9\n9\n2\n",
    "S_node_attributes.txt": b" 1.5, -2.0\n0.5, 1e2\n0, 0\n1, 1\n2, 2\n",
}


MOLECULES = {
    "raw/edge": "0,1\n1,2\n0,1\n0,1\n1,2\n2,0\n1,1\n",
    "raw/num-node-list": "3\n2\n3\n1\n",
    "raw/num-edge-list": "2\n1\n4\n0\n",
    "raw/node-feat": "5,0\n6,0\n5,1\n5,0\n8,0\n5,0\n5,0\n5,1\n8,1\n",
    "raw/edge-feat": "0,0\n3,1\n0,0\n3,0\n3,0\n1,0\n9,0\n",
    "raw/graph-label": "1\n0\n1\n0\n",
    "split/scaffold/train": "2\n1\n",
    "split/scaffold/valid": "3\n",
    "split/scaffold/test": "0\n",
    "mapping/mol": "not read\n",
}
"""Four molecules, a self-loop in the third."""

PAPERS = {
    "raw/edge": "0,1\n1,0\n3,2\n0,3\n",
    "raw/num-node-list": "4\n",
    "raw/num-edge-list": "4\n",
    "raw/node-feat": "0.5,1\n-0.25,2\n1e-3,3\n0,4\n",
    "raw/node-label": "2\n0\n1\n2\n",
    "raw/node_year": "2013\n2015\n2014\n2018\n",
    "split/time/train": "0\n2\n",
    "split/time/valid": "1\n",
    "split/time/test": "3\n",
}


def python2_pickle(value: object) -> bytes:
    """A pickle as Python 2 and the scipy and numpy of its time wrote it: bytes as strings, old names of modules."""
    content = bytearray(pickle.dumps(value, protocol=3))
    for operation, _, position in pickletools.genops(bytes(content)):
        # The two kinds of operation differ in nothing but their code.
        content[position] = {"SHORT_BINBYTES": b"U", "BINBYTES": b"T"}.get(
            operation.name, content[position : position + 1]
        )[0]
    old = {b"numpy._core": b"numpy.core", b"scipy.sparse._csr": b"scipy.sparse.csr", b"builtins": b"__builtin__"}
    return functools.reduce(lambda text, name: text.replace(name, old[name]), old, bytes(content))


def planetoid_files() -> dict[str, bytes]:
    """Six nodes in the range, of which node 4 is absent from the test index; two words, two classes."""

    def pickled(values: list[list[int]]) -> bytes:
        return python2_pickle(sparse.csr_matrix(np.array(values, np.float32)))

    return {
        "allx": pickled([[1, 0], [0, 1], [1, 1]]),
        "ally": python2_pickle(np.array([[1, 0], [0, 1], [0, 0]], np.int32)),
        "tx": pickled([[0, 1], [1, 0]]),
        "ty": python2_pickle(np.array([[0, 1], [1, 0]], np.int32)),
        "graph": python2_pickle(collections.defaultdict(list, {0: [1, 5], 1: [0], 2: [2, 3], 3: [], 4: [], 5: [0, 0]})),
        "test.index": b"5\n3\n",
    }


def npz_arrays() -> dict[str, np.ndarray]:
    adjacency = sparse.csr_matrix(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 3]], np.float32))
    features = sparse.csr_matrix(np.array([[0, 1], [2, 0], [0, 0]], np.float32))
    arrays = {"labels": np.array([0, 1, 1], np.int8)}
    for part, matrix in {"adj": adjacency, "attr": features}.items():
        arrays |= {f"{part}_{field}": getattr(matrix, field) for field in ("data", "indices", "indptr")}
        arrays[f"{part}_shape"] = np.array(matrix.shape)
    return arrays


def npz_bytes(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def heterophilous_arrays() -> dict[str, np.ndarray]:
    masks = np.eye(4, dtype=bool)[[[0, 1], [1, 3], [2, 2]]]
    return {
        "node_features": np.array([[0, 1], [2, 0], [0, 0], [0, 3]], np.float32),
        "node_labels": np.array([1, 0, 1, 0]),
        "edges": np.array([[0, 1], [3, 1], [2, 2], [1, 0]]),
        "train_masks": masks[0],
        "val_masks": masks[1],
        "test_masks": masks[2],
    }


GEOM_NODES = b"node_id\tfeature\tlabel\n2\t0,1,2.5\t1\n0\t1,0,0\t0\r\n1\t0,0,0\t1\n"
GEOM_EDGES = b"node_id\tnode_id\n0\t1\n1\t0\n2\t1\n2\t2\n"
GEOM_SETS = b"node_id\tfeature(feature_amount:3)\tlabel\n1\t3,0,3\t1\n0\t\t0\n2\t2\t1\n"
"""Nodes that name the columns that are 1."""


TU_NUMBERS = {
    "S_A.txt": b"1, 2\n2, 1\n4, 5\n5, 4\n3, 2\n2, 3\n3, 3\n",
    "S_graph_indicator.txt": b"1\n1\n1\n2\n2\n3\n",
    "S_node_labels.txt": b"0\n1\n1\n0\n1\n0\n",
    "S_edge_labels.txt": b"1\n1\n3\n3\n1\n1\n9\n",
    "S_edge_attributes.txt": b"0.5,2\n0.5,2\n1.5,4\n1.5,4\n1.5,2\n1.5,2\n1.5,2\n",
    "S_graph_attributes.txt": b"-0.4, 1e-3, 7\n2.5, 2e-3, 8\n1.0, -3.5E+1, 9\n",
}
"""A TU set in the layout of QM9, ZINC_full and alchemy_full: several targets a graph, no graph labels."""

TABLES = {
    "nodes.csv": b"id,graph,kind,size\n0,a,C,1.5\n1,a,N,2\n2,a,C,3\n0,b,C,-1\n1,b,N,7\n",
    "edges.csv": b"graph,source,target,bond,weight\na,0,1,s,0.5\na,1,2,d,1\na,2,1,s,1\nb,0,1,d,2.5\n",
    "graphs.csv": b"id,label\na,yes\nb,no\n",
}
"""Tables of a user's own, with a kind and a weight for every edge."""


def own_arrays() -> dict[str, np.ndarray]:
    """Arrays of a user's own, under PyTorch Geometric's names: two graphs, edges with features and weights."""
    return {
        "x": np.array([[0.5, 1], [2, 3], [4, 5], [6, 7], [8, 9]], np.float32),
        "edge_index": np.array([[0, 1, 3], [1, 2, 4]]),
        "edge_attr": np.array([[1.0, 2], [3, 4], [5, 6]]),
        "edge_weight": np.array([0.5, 1, 3]),
        "graph": np.array([0, 0, 0, 1, 1]),
        "y": np.array([1, 0]),
    }
