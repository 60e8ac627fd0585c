"""How long it takes to read a task: against readers that do it with numpy's text loaders, and a second time.

    python experiments/benchmarks/parsing.py

Needs DD and CoauthorPhysics in the data folder (ATJAX_DATA). Every row is the best of `REPEATS` runs in one process.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from atjax.config import data_root, load_task
from atjax.sources import files, tu
from atjax.sources.text import read_table
from atjax.task import Graphs

REPEATS = 5

PARTS = ("A", "graph_indicator", "graph_labels", "node_labels")
"""The tables of DD."""


def best(job: Callable[[], object], repeats: int = REPEATS) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def members(content: bytes) -> dict[str, bytes]:
    """The tables of DD, by what they hold."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {part: archive.read(f"DD/DD_{part}.txt") for part in PARTS}


def unique_rows(edges: np.ndarray, count: int) -> np.ndarray:
    """Edges [E, 2] without repeats, as the documentation of numpy suggests."""
    return np.unique(edges, axis=0)


def unique_keys(edges: np.ndarray, count: int) -> np.ndarray:
    """The same by a whole number for each edge."""
    return np.stack(np.divmod(np.unique(edges[:, 0] * count + edges[:, 1]), count), axis=1)


def sorted_keys(edges: np.ndarray, count: int) -> np.ndarray:
    """The same by sorting these numbers and comparing neighbours: the fastest way that numpy has."""
    keys = np.sort(edges[:, 0] * count + edges[:, 1])
    return np.stack(np.divmod(keys[np.diff(keys, prepend=-1) != 0], count), axis=1)


def plain(content: bytes, loader: Callable[..., np.ndarray], unique: Callable[[np.ndarray, int], np.ndarray]) -> Graphs:
    """DD as numpy alone makes it: its text loader, unique edges in both directions, and a one-hot."""
    tables = {part: loader(io.BytesIO(text), dtype=np.int64, delimiter=",") for part, text in members(content).items()}
    edges = tables["A"] - 1
    edges = unique(np.concatenate([edges, edges[:, ::-1]]), len(tables["graph_indicator"]))
    edges = edges[edges[:, 0] != edges[:, 1]]
    n_node = np.bincount(tables["graph_indicator"] - 1)
    n_edge = np.bincount(tables["graph_indicator"][edges[:, 0]] - 1, minlength=len(n_node))
    values, codes = np.unique(tables["node_labels"], return_inverse=True)
    nodes = np.eye(len(values), dtype=np.float32)[codes]
    return Graphs(nodes, edges[:, 1].astype(np.int32), edges[:, 0].astype(np.int32), n_node, n_edge)


def same(one: Graphs, other: Graphs) -> bool:
    """Whether two readers agree."""
    fields = ("nodes", "senders", "receivers", "n_node", "n_edge")
    return all(np.array_equal(getattr(one, field), getattr(other, field)) for field in fields)


def main() -> None:
    """Print the tables."""
    content = (data_root() / "tu-original" / "DD.zip").read_bytes()
    tables = members(content)
    os.environ["ATJAX_TASK_CACHE"] = "off"
    for unique in (unique_rows, unique_keys, sorted_keys):
        assert same(plain(content, np.loadtxt, unique), load_task("dd").graphs)

    def whole() -> object:
        return tu._with_features("dd", tu.parse(files.read_archive(content), "DD"), "labels", False)

    def text(loader: Callable[[str, bytes], object]) -> Callable[[], object]:
        return lambda: [loader(part, table) for part, table in tables.items()]

    columns = {part: 2 if part == "A" else 1 for part in PARTS}
    rows = {
        "text to numbers": (
            best(text(lambda part, table: read_table(table, part, np.int64, columns[part]))),
            best(text(lambda part, table: np.loadtxt(io.BytesIO(table), np.int64, delimiter=","))),
            best(text(lambda part, table: np.genfromtxt(io.BytesIO(table), np.int64, delimiter=",")), 1),
        ),
    }
    ours = best(whole)
    for unique in (unique_rows, unique_keys, sorted_keys):
        what = f"archive to graphs with features, {unique.__name__.replace('_', ' ')}"
        rows[what] = (
            ours,
            best(lambda unique=unique: plain(content, np.loadtxt, unique)),
            best(lambda unique=unique: plain(content, np.genfromtxt, unique), 1),
        )
    print(f"{os.cpu_count()} cores; best of {REPEATS}, genfromtxt once; seconds, and how many times atjax's")
    print("\n| DD | atjax | np.loadtxt | np.genfromtxt |\n|---|---|---|---|")
    for what, (ours, loadtxt, genfromtxt) in rows.items():
        others = " | ".join(f"{seconds:.2f} s ({seconds / ours:.1f}x)" for seconds in (loadtxt, genfromtxt))
        print(f"| {what} | {ours:.2f} s | {others} |")
    print("\n| `load_task` | cache off | first load | second load |\n|---|---|---|---|")
    for name in ("dd", "coauthor_physics"):
        os.environ["ATJAX_TASK_CACHE"] = "off"
        uncached = best(lambda name=name: load_task(name))
        with tempfile.TemporaryDirectory() as folder:
            os.environ |= {"ATJAX_TASK_CACHE": "on", "ATJAX_CACHE": folder}
            first, second = best(lambda name=name: load_task(name), 1), best(lambda name=name: load_task(name))
            size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        print(f"| {name} ({size / 2**20:.0f} MiB in the cache) | {uncached:.2f} s | {first:.2f} s | {second:.2f} s |")


if __name__ == "__main__":
    main()
