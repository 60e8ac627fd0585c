"""NAS-Bench-Graph (Qin et al., 2022): all architectures of its space trained on nine node tasks, mean of 3 seeds.

An architecture has four computing nodes, each with one input: the data, or an earlier node. The `link` says which; each
node has an operation. Different choices may be the same network: where a skip leads on to others, it can be left out,
and like branches can be exchanged. The package holds one of each such class: 26,206 architectures, under the key of
five digits LOOOO, the link's number and four operations' numbers.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import itertools
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from atjax.bank.records import FEATURE_SCHEMA, RECORD_SCHEMA, record_key
from atjax.bank.store import Bank
from atjax.errors import UserError
from atjax.space import Choice, Dimension, Space

BUDGET = "nas-bench-graph"
TASKS = {
    "cora": "cora",
    "citeseer": "citeseer",
    "pubmed": "pubmed",
    "cs": "coauthor_cs",
    "physics": "coauthor_physics",
    "photo": "amazon_photo",
    "computers": "amazon_computers",
    "arxiv": "ogbn_arxiv",
    "proteins": "ogbn_proteins",
}
"""The nine sets, in the order of the publication, and what atjax calls them."""
FULL = tuple(TASKS)[:8]
"""Those with all architectures; on proteins, only those of five operations were trained."""

LINKS = ("0000", "0001", "0011", "0012", "0013", "0111", "0112", "0122", "0123")
"""For each of the four nodes its input: 0 for the data, or the number of an earlier node."""
OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
NODES = ("operation_1", "operation_2", "operation_3", "operation_4")
LARGEST_FILE = 64 * 2**20
"""Bytes; the package's files have 2 MB."""


@dataclass(frozen=True)
class Architecture:
    """One architecture: where each of four nodes takes its input, and what it does."""

    link: str
    operation_1: str
    operation_2: str
    operation_3: str
    operation_4: str

    def as_dict(self) -> dict[str, Choice | None]:
        """The fields by name, in their order."""
        return dataclasses.asdict(self)

    @property
    def operations(self) -> tuple[str, str, str, str]:
        """The four operations."""
        return self.operation_1, self.operation_2, self.operation_3, self.operation_4

    @property
    def key(self) -> str:
        """A readable name, such as ``0112-gcn-gat-skip-fc``."""
        return "-".join((self.link, *self.operations))


def nas_bench_graph_space() -> Space:
    """9 links and 9 operations for each of 4 nodes: 59,049 choices of 26,206 architectures (and one of skips only)."""
    nodes = [Dimension(node, OPERATIONS) for node in NODES]
    return Space("nas-bench-graph", (Dimension("link", LINKS), *nodes), Architecture)


def canonical(architecture: Architecture) -> tuple[int, Any]:
    """What is the same for two choices if they are the same network.

    The nodes form a tree with the data as its root. A skip is left out if nodes follow it, if it stands alone at its
    input, or if only skips lead to it from the data; what followed it then follows its input. Trees count up to the
    order of branches.

    Returns:
        How many skips were left out, and the tree: an operation, and the sorted trees that follow it.
    """
    operation = {0: "", **dict(enumerate(architecture.operations, 1))}
    source = {node: int(digit) for node, digit in enumerate(architecture.link, 1)}

    def from_data(node: int) -> bool:
        return node == 0 or (operation[node] == "skip" and from_data(source[node]))

    removed = 0
    for node in range(1, 5):
        if operation[node] != "skip":
            continue
        followed = node in source.values()
        alone = sum(other == source[node] for other in source.values()) == 1
        if followed or alone or from_data(node):
            onward = source.pop(node)
            source = {other: onward if start == node else start for other, start in source.items()}
            removed += 1

    def tree(node: int) -> tuple[str, tuple[Any, ...]]:
        return operation[node], tuple(sorted(tree(other) for other, start in source.items() if start == node))

    return removed, tree(0)


def read_nas_bench_graph(folder: str | Path | None = None, tasks: Sequence[str] = FULL) -> Bank:
    """The package's results as a bank, without features; one record for each architecture it holds.

    Args:
        folder: Folder of the ``.bench`` files; those of the installed package if None.
        tasks: The package's names of the sets, of `TASKS`.

    Raises:
        UserError: The package is not installed, or a file is absent or not as the package has it.
    """
    if folder is None:
        found = importlib.util.find_spec("nas_bench_graph")
        if found is None or not found.submodule_search_locations:
            raise UserError("NAS-Bench-Graph is not installed; do so with pip install 'atjax[nas-bench-graph]'.")
        folder = Path(found.submodule_search_locations[0]) / "light"
    folder = Path(folder)
    if strange := [name for name in tasks if name not in TASKS]:
        raise UserError(f"NAS-Bench-Graph has no set {strange[0]!r}; it has {', '.join(TASKS)}.")
    if not tasks:
        raise UserError(f"No set of NAS-Bench-Graph is asked for; it has {', '.join(TASKS)}.")
    frames = [_frame(_bench(folder / f"{name}.bench"), TASKS[name]) for name in dict.fromkeys(tasks)]
    records = pd.concat(frames).sort_values(["content_hash", "key"], ignore_index=True)
    return Bank(records, FEATURE_SCHEMA.empty_table().to_pandas(), folder, nas_bench_graph_space())


def _frame(bench: dict[int, dict[str, float]], task: str) -> pd.DataFrame:
    designs = [_architecture(key) for key in bench]
    content = f"nas-bench-graph-{task}"
    columns: dict[str, Any] = {
        "key": [record_key(content, design, 0, BUDGET) for design in designs],
        "task": task,
        "level": "node",
        "content_hash": content,
        "metric": "roc_auc" if task == "ogbn_proteins" else "accuracy",
        "design": [design.key for design in designs],
        **{name: [getattr(design, name) for design in designs] for name in ("link", *NODES)},
        "seed": 0,
        "budget": BUDGET,
        "state": "complete",
        "reason": "",
        "validation": [float(bench[key]["valid_perf"]) for key in bench],
        "test": [float(bench[key]["perf"]) for key in bench],
        "parameters": [round(1e6 * float(bench[key]["para"])) for key in bench],
    }
    unknown: dict[str, Any] = {name: np.nan for name in ("validation_loss", "seconds", "compile_seconds")}
    unknown |= {"versions": "{}", "device": "", "date": "", "hidden_trained": 0, "epochs_trained": 0, "best_epoch": 0}
    lists = [name for name, kind in zip(RECORD_SCHEMA.names, RECORD_SCHEMA.types) if str(kind).startswith("list")]
    return pd.DataFrame(columns | unknown | {name: [()] * len(designs) for name in lists})


def _architecture(key: int) -> Architecture:
    link, *operations = (int(digit) for digit in f"{key:05d}")
    return Architecture(LINKS[link], *(OPERATIONS[number] for number in operations))


class _Plain(pickle.Unpickler):
    """Reads dictionaries of numbers, numpy's among them, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if (module.removeprefix("numpy."), name) in (("core.multiarray", "scalar"), ("_core.multiarray", "scalar")):
            return np.float64(0).__reduce__()[0]
        raise pickle.UnpicklingError(f"{module}.{name} is not a number")


def _bench(file: Path) -> dict[int, dict[str, float]]:
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise UserError(f"{file} is larger than {LARGEST_FILE // 2**20} MiB, and no file of NAS-Bench-Graph.")
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read; install nas-bench-graph 1.4.0 again.") from error
    try:
        bench = _Plain(io.BytesIO(content)).load()
        numbers = list(itertools.chain.from_iterable(row.values() for row in bench.values()))
        right = all(type(key) is int and 0 <= key <= 88888 and "9" not in f"{key}" for key in bench)
        right = right and all(type(number) in (int, float, np.float64) for number in numbers)
        right = right and all(0 <= row[score] <= 1 for row in bench.values() for score in ("valid_perf", "perf"))
        right = right and all(0 <= row["para"] < 1e9 for row in bench.values())  # millions
        if not right or not len(bench) or not np.isfinite(np.array(numbers, float)).all():
            raise ValueError
    except Exception as error:  # whatever a broken or hostile pickle raises
        raise UserError(f"{file} is no file of NAS-Bench-Graph, or is broken; install the package again.") from error
    return bench
