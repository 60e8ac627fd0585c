"""A user's own files, written for a test."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd


def folder(path: Path, **tables_: str | bytes) -> Path:
    """A folder with the files, of which a dot in the name is written as two underscores."""
    path.mkdir(exist_ok=True)
    for name, content in tables_.items():
        (path / name.replace("__", ".")).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def molecules(path: Path, count: int = 20, seed: int = 0) -> tuple[Path, list[nx.Graph]]:
    """Tables of random molecules, their rows in random order, and the same as graphs in memory."""
    rng = np.random.default_rng(seed)
    graphs = []
    nodes, edges = [], []
    for number in range(count):
        graph = nx.gnp_random_graph(int(rng.integers(2, 7)), 0.6, seed=int(rng.integers(1 << 30)))
        for node in graph:
            graph.nodes[node].update(
                element=str(rng.choice(["C", "N, or O"])), mass=float(np.round(rng.normal(9, 2), 4))
            )
            nodes.append({"graph": f"m{number}", "id": f"{node:02}", **graph.nodes[node]})
        graph.graph["label"] = ("no", "yes")[number % 2]
        edges += [{"graph": f"m{number}", "source": f"{a:02}", "target": f"{b:02}"} for a, b in graph.edges]
        graphs.append(graph)
    path.mkdir(exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(edges))
    pd.DataFrame(nodes).to_csv(path / "nodes.csv", index=False)
    pd.DataFrame([edges[row] for row in order]).to_csv(path / "edges.csv", index=False)
    labels = [graph.graph["label"] for graph in graphs]
    pd.DataFrame({"id": [f"m{n}" for n in range(count)], "label": labels}).to_csv(path / "graphs.csv", index=False)
    return path, graphs
