"""Pictures of a few graphs of a task, in one figure."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from atjax.overview import class_names
from atjax.report.figures import MUTED, PALETTE, PAPER, SOFT, printable
from atjax.task import Graphs, Task

PLACES = (3, 3)
"""Rows and columns of pictures."""

MOST_NODES = 80
"""Nodes of the largest picture: beyond, one sees a ball of wool."""

HOPS = 2
"""How far the surroundings of a node reach that stand for one large graph."""

COLOURS = (*(light for light, _ in list(PALETTE.values())[5:]), "#4a5a6b", "#7f9a1e", "#2aa5b8", "#d97f9f")
"""Of classes and kinds; those beyond take them again."""


@dataclass(frozen=True)
class Picture:
    """What is drawn in one place.

    Attributes:
        title: What it is.
        nodes: The nodes, as numbered in the task's graphs.
        centre: The node whose surroundings they are, or None.
    """

    title: str
    nodes: np.ndarray
    centre: int | None


def choose(task: Task, seed: int) -> list[Picture]:
    """Graphs that stand for a task: of every class in turn, of middling size or less; or surroundings of nodes.

    Args:
        task: The task.
        seed: Of the choice.
    """
    rng = np.random.default_rng([seed, 0x91C])
    names = class_names(task)
    graphs = task.graphs
    if task.level == "graph":
        small = graphs.n_node <= max(min(MOST_NODES, np.median(graphs.n_node)), graphs.n_node.min())
        ids = rng.permutation(np.flatnonzero(small))
    else:
        centres = np.arange(task.num_examples) if task.pairs is None else task.pairs[:, 0]
        ids = rng.permutation(task.num_examples)
        joined = np.isin(centres[ids], graphs.receivers)
        ids = ids[np.argsort(~joined, kind="stable")]
    if task.loss == "cross_entropy":
        ids = _in_turn(ids[task.labels[ids] >= 0], task.labels)
    pictures = []
    for number in ids[: PLACES[0] * PLACES[1]].tolist():
        label = repr(names[task.labels[number]]) if names else f"{task.labels[number][0]:.3g}"
        if task.level == "graph":
            nodes = np.arange(graphs.node_start[number], graphs.node_start[number + 1])
            part = len(nodes) > MOST_NODES
            shown = surroundings(graphs, int(nodes[0])) if part else nodes
            pictures.append(Picture(f"{'part of ' * part}graph {number}: {label}", shown, None))
        else:
            centre = int(centres[number])
            what = f"node {number}" if task.pairs is None else f"pair {task.pairs[number].tolist()}"
            pictures.append(Picture(f"{what}: {label}", surroundings(graphs, centre), centre))
    return pictures


def surroundings(graphs: Graphs, centre: int) -> np.ndarray:
    """Nodes from which a node is reached in `HOPS` steps, near ones first, itself included, at most `MOST_NODES`."""
    near, edge = [centre], [centre]
    for _ in range(HOPS):
        reached: list[int] = []
        for node in edge:
            first, last = np.searchsorted(graphs.receivers, [node, node + 1])
            reached += graphs.senders[first:last].tolist()
        edge = list(dict.fromkeys(node for node in reached if node not in near))[: MOST_NODES - len(near)]
        near += edge
    return np.array(near)


def figure(task: Task, seed: int = 0) -> Figure:
    """The pictures, for `atjax.report.figures.svg`. The same task and seed give the same figure.

    Nodes of a node task have the colour of their class or target, and the node in the middle is larger; nodes of a
    graph task that of their largest feature, or the shade of the feature that varies most where one is always largest.

    Args:
        task: The task.
        seed: Of the choice of graphs and of the layouts.
    """
    pictures = choose(task, seed)
    colours, legend = _colours(task)
    drawn = Figure((9, 9.4), layout="constrained", facecolor=PAPER)
    drawn.suptitle(printable(f"{task.name}: {legend}"), fontsize=10, color=MUTED)
    for place, axes in enumerate(drawn.subplots(*PLACES).flat):
        axes.axis("off")
        if place < len(pictures):
            _draw(axes, task, pictures[place], colours, seed)
    return drawn


def _draw(axes: Axes, task: Task, picture: Picture, colours: np.ndarray, seed: int) -> None:
    axes.set_title(picture.title[:40], fontsize=9)
    axes.set_aspect("equal", adjustable="datalim")
    ends = _inner_edges(task.graphs, picture.nodes)
    graph = nx.Graph(ends.tolist())
    graph.add_nodes_from(picture.nodes.tolist())
    layout = nx.spring_layout(graph, seed=seed, iterations=80, k=1.2 / np.sqrt(len(graph)))
    lines = [(layout[sender], layout[receiver]) for sender, receiver in ends.tolist()]
    axes.add_collection(LineCollection(lines, colors=SOFT, linewidths=0.7, zorder=1))
    spots = np.array([layout[node] for node in picture.nodes.tolist()])
    sizes = np.where(picture.nodes == picture.centre, 90, 26)
    axes.scatter(
        spots[:, 0], spots[:, 1], s=sizes, c=colours[picture.nodes], linewidths=0.5, edgecolors=PAPER, zorder=2
    )


def _in_turn(ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Ids reordered so that the classes take turns, each in the order that its ids had."""
    turn = np.empty(len(ids), np.int64)
    for label in np.unique(labels[ids]):
        mine = np.flatnonzero(labels[ids] == label)
        turn[mine] = np.arange(len(mine))
    return ids[np.lexsort((labels[ids], turn))]


def _inner_edges(graphs: Graphs, nodes: np.ndarray) -> np.ndarray:
    """Edges among nodes, each pair once, [E, 2]."""
    inside = np.isin(graphs.receivers, nodes) & np.isin(graphs.senders, nodes)
    pairs = np.sort(np.stack([graphs.senders[inside], graphs.receivers[inside]], axis=1), axis=1)
    return np.unique(pairs, axis=0)


def _colours(task: Task) -> tuple[np.ndarray, str]:
    """Colour of each node, RGBA [V, 4], and what it says."""
    if task.level == "node" and task.loss == "cross_entropy":
        rgba = _palette(task.labels)
        rgba[task.labels < 0] = matplotlib.colors.to_rgba(SOFT)
        return rgba, "nodes coloured by class"
    if task.level == "node":
        return _shades(task.labels[:, 0]), "nodes shaded by target"
    nodes = task.graphs.nodes
    largest = np.asarray(nodes.argmax(axis=1)).ravel()
    if len(np.unique(largest)) > 1:
        return _palette(largest), "nodes coloured by their largest feature"
    dense = task.graphs.dense().nodes
    return _shades(dense[:, int(np.argmax(dense.std(axis=0)))]), "nodes shaded by a feature"


def _palette(codes: np.ndarray) -> np.ndarray:
    return np.array([matplotlib.colors.to_rgba(colour) for colour in COLOURS])[codes % len(COLOURS)]


def _shades(values: np.ndarray) -> np.ndarray:
    known = values[~np.isnan(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    rgba = np.asarray(matplotlib.colormaps["viridis"]((values - low) / ((high - low) or 1)))
    rgba[np.isnan(values)] = matplotlib.colors.to_rgba(SOFT)
    return rgba
