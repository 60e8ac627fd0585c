"""NAS-Bench-Graph: the package's files where it is installed, small ones in their exact layout where not."""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import pickle
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from atjax.bank import performance_matrix
from atjax.bank.importers import nas_bench_graph, read_nas_bench_graph
from atjax.bank.importers.nas_bench_graph import LINKS, OPERATIONS, Architecture, canonical, nas_bench_graph_space
from atjax.bank.records import frame_designs
from atjax.errors import UserError


def network(architecture: Architecture) -> nx.DiGraph:
    """The network that a choice stands for, skips that only pass on left out one by one; by networkx."""
    graph = nx.DiGraph()
    graph.add_node(0, operation="data")
    for node, operation in enumerate(architecture.operations, 1):
        graph.add_node(node, operation=operation)
    graph.add_edges_from((int(start), node) for node, start in enumerate(architecture.link, 1))
    for node in range(1, 5):
        above = next(graph.predecessors(node))
        path = nx.shortest_path(graph, 0, node)[1:]
        lone = graph.out_degree(above) == 1
        if graph.nodes[node]["operation"] == "skip" and (
            graph.out_degree(node) or lone or all(graph.nodes[n]["operation"] == "skip" for n in path)
        ):
            graph.add_edges_from((above, after) for after in list(graph.successors(node)))
            graph.remove_node(node)
    return graph


def test_choices_of_the_same_network_are_known_as_such() -> None:
    rng = np.random.default_rng(0)
    few = ["skip", "gcn", "fc"]  # so that equal networks are met
    sample = [
        Architecture(LINKS[rng.integers(9)], *(few[n] for n in rng.integers(3, size=4)))  # type: ignore[arg-type]
        for _ in range(90)
    ]
    for one, other in itertools.combinations(sample, 2):
        same = nx.is_isomorphic(network(one), network(other), node_match=lambda a, b: a == b)
        assert same == (canonical(one) == canonical(other)), (one.key, other.key)


def bench(folder: Path, name: str, keys: list[int]) -> Path:
    """A file as the package has it: a pickled dictionary of dictionaries, of floats and numpy's floats."""
    rows = {
        key: {"valid_perf": n / 10, "perf": np.float64(n / 20), "latency": 0.1, "para": np.float64(0.5)}
        for n, key in enumerate(keys)
    }
    file = folder / f"{name}.bench"
    file.write_bytes(pickle.dumps(rows))
    return file


def test_the_layout_of_nas_bench_graph(tmp_path: Path) -> None:
    for name in ("cora", "cs", "proteins"):
        bench(tmp_path, name, [0, 10000, 31478])
    bank = read_nas_bench_graph(tmp_path, ["cora", "cs"])
    assert set(bank.tasks.values()) == {"cora", "coauthor_cs"}
    assert bank.space.size == 9 * 9**4
    order = bank.records[["content_hash", "key"]]
    pd.testing.assert_frame_equal(order, order.sort_values(["content_hash", "key"], ignore_index=True))
    row = bank.records[(bank.records["task"] == "coauthor_cs") & (bank.records["design"] == "0012-gcn-sage-fc-skip")]
    assert (row["validation"].item(), row["test"].item(), row["parameters"].item()) == (0.2, 0.1, 500000)
    designs = frame_designs(bank.records, bank.space)
    assert designs[row.index[0]] == Architecture("0012", "gcn", "sage", "fc", "skip")
    assert performance_matrix(bank).shape == (3, 2)
    both = read_nas_bench_graph(tmp_path, ["proteins", "cora"]).records
    assert read_nas_bench_graph(tmp_path, ["cora", "cora"]).records["key"].is_unique
    assert dict(zip(both["task"], both["metric"])) == {"ogbn_proteins": "roc_auc", "cora": "accuracy"}


def test_the_eight_full_sets_are_read_unless_others_are_named(tmp_path: Path) -> None:
    for name in ("cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers", "arxiv", "proteins"):
        bench(tmp_path, name, [0])
    assert sorted(read_nas_bench_graph(tmp_path).tasks.values()) == [
        *("amazon_computers", "amazon_photo", "citeseer", "coauthor_cs", "coauthor_physics", "cora", "ogbn_arxiv"),
        "pubmed",
    ]


@pytest.mark.parametrize(
    "content",
    [b"", b"no pickle", pickle.dumps(print), pickle.dumps([1]), pickle.dumps({}), pickle.dumps({99999: {"perf": 1}})],
    ids=["empty", "text", "function", "list", "nothing", "key"],
)
def test_broken_or_hostile_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "cora.bench").write_bytes(content)
    with pytest.raises(UserError, match="is no file of NAS-Bench-Graph, or is broken"):
        read_nas_bench_graph(tmp_path, ["cora"])


@pytest.mark.parametrize("call", [os.mkdir, np.save], ids=["python", "numpy"])
def test_nothing_in_a_file_is_run(call: Any, tmp_path: Path) -> None:
    marker = tmp_path / "run.npy"

    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return call, (str(marker), 0o700)

    pickle.loads(pickle.dumps(Hostile()))
    assert marker.exists()
    marker.rename(tmp_path / "moved")
    (tmp_path / "cora.bench").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(UserError, match="is no file of NAS-Bench-Graph, or is broken"):
        read_nas_bench_graph(tmp_path, ["cora"])
    assert not marker.exists()


@pytest.mark.parametrize(
    "change",
    [
        *({"valid_perf": value} for value in (77.0, -0.1, math.nan, "0.5", None)),
        *({"perf": value} for value in (77.0, -0.1, math.inf, True)),
        *({"para": value} for value in (-1.0, 1e30, "0.5", 10**400)),
        {"latency": math.nan},
    ],
    ids=lambda change: str(change)[:20],
)
def test_numbers_that_no_benchmark_gives(change: dict[str, Any], tmp_path: Path) -> None:
    file = bench(tmp_path, "cora", [0, 1])
    rows = pickle.loads(file.read_bytes())
    rows[1] |= change
    file.write_bytes(pickle.dumps(rows))
    with pytest.raises(UserError, match="is no file of NAS-Bench-Graph, or is broken"):
        read_nas_bench_graph(tmp_path, ["cora"])


@pytest.mark.parametrize("key", [True, -1, 90000, 9, "0", 1.0, 100000], ids=repr)
def test_keys_that_no_benchmark_has(key: Any, tmp_path: Path) -> None:
    bench(tmp_path, "cora", [key])
    with pytest.raises(UserError, match="is no file of NAS-Bench-Graph, or is broken"):
        read_nas_bench_graph(tmp_path, ["cora"])


@pytest.mark.parametrize("part", ["valid_perf", "perf", "para"])
def test_rows_that_lack_a_number(part: str, tmp_path: Path) -> None:
    file = bench(tmp_path, "cora", [0, 1])
    rows = pickle.loads(file.read_bytes())
    del rows[1][part]
    file.write_bytes(pickle.dumps(rows))
    with pytest.raises(UserError, match="is no file of NAS-Bench-Graph, or is broken"):
        read_nas_bench_graph(tmp_path, ["cora"])


def test_nas_bench_graph_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_nas_bench_graph(tmp_path, ["cora"])
    with pytest.raises(UserError, match="No set of NAS-Bench-Graph is asked for; it has cora"):
        read_nas_bench_graph(tmp_path, [])
    with pytest.raises(UserError, match="has no set 'moon'"):
        read_nas_bench_graph(tmp_path, ["moon"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="is not installed"):
        read_nas_bench_graph()


def test_files_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench(tmp_path, "cora", [0])
    monkeypatch.setattr(nas_bench_graph, "LARGEST_FILE", 100)
    with pytest.raises(UserError, match="is larger than 0 MiB, and no file of NAS-Bench-Graph"):
        read_nas_bench_graph(tmp_path, ["cora"])


@pytest.mark.skipif(importlib.util.find_spec("nas_bench_graph") is None, reason="nas-bench-graph is not installed")
def test_the_real_nas_bench_graph() -> None:
    bank = read_nas_bench_graph(tasks=["cora"])
    assert bank.records.groupby("task").size().tolist() == [26206]
    held = {canonical(design): design for design in frame_designs(bank.records, bank.space)}
    assert len(held) == 26206  # one of each kind
    every = list(nas_bench_graph_space())
    lost = {canonical(design) for design in every} - set(held)
    assert lost == {canonical(Architecture("0123", "skip", "skip", "skip", "skip"))}
    from nas_bench_graph import Arch  # the package's own rules, as an oracle

    rng = np.random.default_rng(1)
    for design in rng.choice(len(every), 1000, replace=False):
        one = every[design]
        named = Arch([int(digit) for digit in one.link], list(one.operations)).valid_hash()
        if named != 88888:
            link, *operations = (int(digit) for digit in f"{named:05d}")
            assert held[canonical(one)] == Architecture(LINKS[link], *(OPERATIONS[n] for n in operations))
