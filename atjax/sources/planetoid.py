"""Citation networks in the pickles of Planetoid (Yang, Cohen and Salakhutdinov, 2016), read without trusting them."""

from __future__ import annotations

import io
import itertools
import pickle
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from atjax.errors import UserError
from atjax.sources.arrays import compressed_rows
from atjax.sources.edges import drop_self_loops
from atjax.sources.files import obtain
from atjax.sources.parsed import Parsed
from atjax.sources.text import read_table
from atjax.task import Graphs, Task, canonical_csr, hash_arrays

MIRRORS = (
    "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data/ind.{dataset}.{part}",
    "https://raw.githubusercontent.com/tkipf/gcn/master/gcn/data/ind.{dataset}.{part}",
)
"""Where the files are published."""

PARTS = ("allx", "ally", "tx", "ty", "graph", "test.index")
"""The files that are read; x and y repeat rows of allx and ally, for the fixed split, which is not used."""


class _Dtype:
    """Stands in for a pickled numpy dtype."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1].replace("|", "=")


class _Array:
    """Stands in for a pickled numpy array: plain numbers only, taken from their bytes when they are asked for."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def values(self, part: str) -> np.ndarray:
        """The array; raises UserError if it is damaged."""
        try:
            _, shape, dtype, fortran, raw = self.state
            if not re.fullmatch("[iuf][1248]", dtype.code):
                raise UserError(f"{part}: an array of type {dtype.code} is not allowed")
            # Strings of Python 2 arrive as text, a character a byte.
            content = raw.encode("latin1") if isinstance(raw, str) else raw
            flat = np.frombuffer(content, np.dtype(dtype.code).newbyteorder(dtype.order))
            return flat.reshape(shape, order="F" if fortran else "C")
        except UserError:
            raise
        except Exception as error:  # What stands in a damaged pickle may be of any type.
            raise UserError(f"{part}: an array is damaged ({type(error).__name__})") from None


class _Matrix:
    """Stands in for a pickled scipy matrix: pickle sets its fields."""


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _dtype(code: str, *_: object) -> _Dtype:
    return _Dtype(code)


def _empty_mapping(*_: object) -> dict:
    return {}


def _empty_list() -> list:
    return []


ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("scipy.sparse.csr", "csr_matrix"): _Matrix,
    ("scipy.sparse._csr", "csr_matrix"): _Matrix,
    ("collections", "defaultdict"): _empty_mapping,
    ("__builtin__", "list"): _empty_list,
    ("builtins", "list"): _empty_list,
}
"""All that these pickles may name, by the names of old and new numpy and scipy, and what is built instead: numpy and
scipy never restore a state that a stranger wrote, and nothing is built that copies what it is given."""


class _Unpickler(pickle._Unpickler):
    """The one in Python, slower: that in C gives room for as many objects, or bytes, as a damaged pickle claims."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)
    del dispatch[pickle.BYTEARRAY8[0]]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise UserError(f"the pickle asks for {module}.{name}, which is not allowed")
        found = ALLOWED[module, name]
        # A class of its own each time: a pickle can set what it likes on it.
        return type("_Matrix", (_Matrix,), {}) if found is _Matrix else found


def unpickle(content: bytes, part: str) -> Any:
    """The object of a pickle that names nothing but `ALLOWED`; `_Array` and `_Matrix` stand for arrays and matrices.

    Raises:
        UserError: It names something else, or is damaged.
    """
    try:
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except UserError as error:
        raise UserError(f"{part}: {error}") from None
    except Exception as error:  # A damaged pickle raises almost anything.
        raise UserError(f"{part}: the pickle is damaged ({type(error).__name__})") from None


def load(
    name: str,
    dataset: str,
    *,
    root: str | None = None,
    content: str | None = None,
    counts: Mapping[str, int] | None = None,
    mirrors: Sequence[str] = MIRRORS,
) -> Task:
    """A node classification task from a Planetoid set.

    The fixed split is not used: nodes are split by seed (paper, section 5.1). Nodes that have no label, of which
    CiteSeer has 15, get the label -1 and the features that they have: none.

    Args:
        name: Name of the task.
        dataset: ``cora``, ``citeseer`` or ``pubmed``.
        root: Folder of the data, as in `atjax.config.data_root`.
        content: Expected hash; None skips the check.
        counts: Expected numbers, for a set whose hash is not known, as in `atjax.sources.files.check_counts`.
        mirrors: URLs to download from, with ``{dataset}`` and ``{part}`` in them.

    Raises:
        UserError: The files are absent, broken or not the expected ones.
    """
    paths = {part: f"planetoid/ind.{dataset}.{part}" for part in PARTS}
    urls = [{path: url.format(dataset=dataset, part=part) for part, path in paths.items()} for url in mirrors]

    def read(files: Mapping[str, bytes]) -> Parsed:
        return parse({part: files[path] for part, path in paths.items()})

    parsed = obtain(name, root, list(paths.values()), urls, "planetoid", read, content, counts)
    labels, classes = parsed.arrays["labels"], int(parsed.arrays["classes"])
    return Task(name, "node", "cross_entropy", "accuracy", parsed.graphs, labels, classes, parsed.notes)


def parse(files: Mapping[str, bytes]) -> Parsed:
    """Graph, ``labels``, int32 [V], and the number of ``classes``, from the content of each of `PARTS`.

    Raises:
        UserError: A file is damaged, or two of them do not fit together.
    """
    allx, tx = _matrix(files, "allx"), _matrix(files, "tx")
    ally, ty = _one_hot(files, "ally"), _one_hot(files, "ty")
    neighbours = unpickle(files["graph"], "graph")
    test = read_table(files["test.index"], "test.index", np.int64, 1)[:, 0]
    if not isinstance(neighbours, dict) or not all(isinstance(ends, list) for ends in neighbours.values()):
        raise UserError("graph: this is no mapping from nodes to lists of neighbours")
    total = len(neighbours)
    if sum(len(ends) for ends in neighbours.values()) > len(files["graph"]):
        raise UserError("graph: one list stands for the neighbours of many nodes, which is not allowed")
    ids = np.concatenate([np.arange(allx.shape[0]), test])
    if (
        (len(ally), len(ty)) != (allx.shape[0], tx.shape[0])
        or len(test) != len(ty)
        or (allx.shape[1], ally.shape[1]) != (tx.shape[1], ty.shape[1])
        or len(np.unique(ids)) != len(ids)
        or ids.min(initial=0) < 0
        or ids.max(initial=-1) >= total
    ):
        raise UserError("the sizes of allx, ally, tx, ty, test.index and graph do not fit together")
    place = sparse.csr_matrix((np.ones(len(ids)), (ids, np.arange(len(ids)))), shape=(total, len(ids)))
    one_hot = np.concatenate([ally, ty])
    labels = np.full(total, -1, np.int32)
    labels[ids] = np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), -1)
    ends = [end for ends in neighbours.values() for end in ends]
    if not all(type(node) is int and 0 <= node < total for node in itertools.chain(neighbours, ends)):
        raise UserError(f"graph: a node is not a whole number, 0 to {total - 1}")
    receivers = np.repeat(np.array(list(neighbours), np.int64), [len(ends) for ends in neighbours.values()])
    senders = np.array(ends, np.int64)
    senders, receivers, notes = drop_self_loops(senders, receivers)
    nodes = canonical_csr(place @ sparse.vstack([allx, tx], format="csr"))
    graphs = Graphs.from_edges(nodes, senders, receivers, np.array([total]))
    unlabelled = int(np.sum(labels < 0))
    if unlabelled:
        notes += (f"Nodes without a label, which take part in message passing only: {unlabelled}.",)
    arrays = [graphs.senders, graphs.receivers, nodes.data, nodes.indices, nodes.indptr, labels]
    notes = (f"Features: a bag of {nodes.shape[1]} words.", *notes)
    return Parsed(
        graphs, {"labels": labels, "classes": np.array(ally.shape[1])}, notes, hash_arrays("planetoid", arrays)
    )


def _matrix(files: Mapping[str, bytes], part: str) -> sparse.csr_matrix:
    fields = getattr(unpickle(files[part], part), "__dict__", {})
    found = [fields.get(field) for field in ("data", "indices", "indptr")]
    arrays = [array.values(part) for array in found if isinstance(array, _Array)]
    shape = fields.get("_shape")
    if len(arrays) < 3 or not isinstance(shape, tuple) or not all(type(size) is int for size in shape):
        raise UserError(f"{part}: this is no sparse matrix")
    return compressed_rows(arrays[0], arrays[1], arrays[2], shape, part)


def _one_hot(files: Mapping[str, bytes], part: str) -> np.ndarray:
    array = unpickle(files[part], part)
    values = array.values(part) if isinstance(array, _Array) else np.zeros(0)
    if values.ndim != 2 or values.dtype.kind not in "iu":
        raise UserError(f"{part}: this is no matrix of one-hot labels")
    return values
