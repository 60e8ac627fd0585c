"""GraphGym's synthetic tasks (You, Ying and Leskovec, Design space for GNNs, 2020, section 5.1): made by code.

Two families of 256 graphs of 64 nodes, spread evenly over an 8 x 8 grid of average clustering coefficient and average
path length, with labels that are computed from the structure. The graphs are not GraphGym's own, whose seed is not
known, but of the same kind.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, get_args

import networkx as nx
import numpy as np

from atjax.errors import UserError
from atjax.sources.cache import Entry, keep, name_entry, recall
from atjax.task import Graphs, Task

Family = Literal["scalefree", "smallworld"]
Feature = Literal["constant", "onehot", "clustering", "pagerank"]
Label = Literal["clustering", "pagerank", "path_length"]

SIZE = 64
"""Nodes of a graph."""

CUTS = np.stack([np.linspace(0.3, 0.6, 7), np.linspace(1.8, 3.0, 7)])
"""Where the grid is cut, by clustering coefficient and by path length; its outer cells are open."""

CELLS, PER_CELL = 8, 4
"""Cells of the grid in each direction, and graphs in each cell."""

STEPS: dict[Family, tuple[int, int, int]] = {"scalefree": (2, 11, 1), "smallworld": (4, 22, 2)}
"""First, last and step of the parameter k; the parameter p goes from 0 to 1."""

FIRST_DRAWS, ROUND_DRAWS, MOST_DRAWS = 1000, 60, 20_000
"""Graphs drawn with uniform parameters, then in every round at least, and in all: several times what is needed."""

NEAREST, JITTER = 4, 0.03
"""Graphs whose parameters are tried next for a cell that is not full (one alone may be a dead end), and how far from
their p."""

DAMPING = 0.85
"""Damping factor of PageRank."""

FEATURE_BINS, LABEL_BINS = 10, 5


def load(name: str, *, graphs: Family, feature: Feature, label: Label, seed: int = 0) -> Task:
    """One of the synthetic tasks.

    A node task is one graph of 256 components, whose nodes are split as in every node task; graph tasks predict the
    average path length. Labels are 5 bins and features 10, balanced over the set as well as can be: equal values share
    a bin.

    Args:
        name: Name of the task.
        graphs: ``scalefree`` (Holme and Kim, 2002; k 2 to 11) or ``smallworld`` (Watts and Strogatz, 1998; k even, 4
            to 22).
        feature: ``constant``: 1; ``onehot``: the node's place in a random order of its graph; ``clustering``: its
            clustering coefficient; ``pagerank``: its PageRank. All but the constant are one-hot over bins.
        label: ``clustering`` or ``pagerank`` of each node, or ``path_length`` of each graph.
        seed: Of the graphs and the random order.

    Raises:
        UserError: A value is unknown, or the feature tells the label.
    """
    choices: dict[str, tuple[str, tuple[str, ...]]] = {
        "graphs": (graphs, get_args(Family)),
        "feature": (feature, get_args(Feature)),
        "label": (label, get_args(Label)),
    }
    for option, (chosen, known) in choices.items():
        if chosen not in known:
            raise UserError(f"{name}: {option}={chosen!r} is unknown; choose from {', '.join(known)}.")
    if feature == label:
        raise UserError(f"{name}: the feature {feature} tells the label; choose another feature.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise UserError(f"{name}: seed={seed!r} is out of range; give a whole number, 0 or more and below 2^63.")
    adjacency, misplaced = family(graphs, seed)
    count = len(adjacency)
    if feature == "constant":
        nodes = np.ones((count * SIZE, 1), np.float32)
    else:
        if feature == "onehot":
            rng = np.random.default_rng(seed)
            values = np.stack([rng.permutation(SIZE) for _ in range(count)])
        else:
            values = NODE_PROPERTIES[feature](adjacency)
        bins = balanced_bins(values.ravel(), FEATURE_BINS)
        nodes = np.equal.outer(bins, np.arange(bins.max() + 1)).astype(np.float32)
    of_nodes = label in NODE_PROPERTIES
    measured = NODE_PROPERTIES[label](adjacency).ravel() if of_nodes else path_lengths(adjacency)
    labels = balanced_bins(measured, LABEL_BINS)
    which, receivers, senders = np.nonzero(adjacency)
    n_node = np.array([count * SIZE]) if of_nodes else np.full(count, SIZE)
    built = Graphs.from_edges(nodes, which * SIZE + senders, which * SIZE + receivers, n_node)
    notes: tuple[str, ...] = (
        f"{count} random graphs of {SIZE} nodes ({graphs}, seed {seed}), {PER_CELL} in each cell of a grid over "
        "clustering coefficient and path length.",
        f"Features: {feature}, {nodes.shape[1]} columns; labels: {label}, {labels.max() + 1} bins.",
    )
    if misplaced:
        notes += (f"Graphs that are only near their cell, since none was found in it: {misplaced}.",)
    level: Literal["node", "graph"] = "node" if of_nodes else "graph"
    return Task(name, level, "cross_entropy", "accuracy", built, labels, int(labels.max()) + 1, notes)


def clustering(adjacency: np.ndarray) -> np.ndarray:
    """Clustering coefficient of every node, [G, V], from adjacency matrices, bool [G, V, V]; 0 below degree 2."""
    ones = adjacency.astype(np.float32)  # exact: there are fewer than 2^24 triangles
    degree = ones.sum(axis=-1, dtype=np.float64)
    pairs = degree * (degree - 1)
    return ((ones @ ones) * ones).sum(axis=-1, dtype=np.float64) / np.where(pairs > 0, pairs, 1)


def pagerank(adjacency: np.ndarray) -> np.ndarray:
    """PageRank of every node, [G, V]: the solution of its linear equations; no node may be isolated.

    Rounded to 10 digits, so that nodes that are alike have one value, and fall into one bin on every machine.
    """
    ones = adjacency.astype(np.float64)
    size = ones.shape[-1]
    equations = np.eye(size) - DAMPING * ones / ones.sum(axis=-2, keepdims=True)
    start = np.full((len(ones), size, 1), (1 - DAMPING) / size)
    return np.round(np.linalg.solve(equations, start)[..., 0], 10)


def path_lengths(adjacency: np.ndarray) -> np.ndarray:
    """Average length of the shortest paths between two nodes of each graph, [G]; infinite where it falls apart.

    A pair at distance d is out of reach for the steps 0 .. d - 1, so that the pairs out of reach, summed over steps,
    are the sum of the distances. All graphs take their steps at once, as products of matrices.
    """
    size = adjacency.shape[-1]
    near = (adjacency | np.eye(size, dtype=bool)).astype(np.float32)
    lengths = np.full(len(adjacency), np.inf)
    open_, reach = np.arange(len(adjacency)), near
    total = np.full(len(adjacency), size * (size - 1))
    apart = size * size - np.count_nonzero(reach, axis=(1, 2))
    while open_.size:
        done = apart == 0
        lengths[open_[done]] = total[done] / (size * (size - 1))
        open_, reach, total, before = open_[~done], reach[~done], (total + apart)[~done], apart[~done]
        reach = np.minimum(reach @ near[open_], 1)
        apart = size * size - np.count_nonzero(reach, axis=(1, 2))
        moved = apart < before  # the others never arrive
        open_, reach, total, apart = open_[moved], reach[moved], total[moved], apart[moved]
    return lengths


NODE_PROPERTIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"clustering": clustering, "pagerank": pagerank}


def balanced_bins(values: np.ndarray, count: int) -> np.ndarray:
    """Bins of about equally many values, by order, int32 [N]; equal values share a bin, so that there may be fewer."""
    ordered = np.sort(values)
    first = np.unique(ordered[np.linspace(0, len(values), count, endpoint=False).astype(int)])
    return (np.searchsorted(first, values, side="right") - 1).astype(np.int32)


def family(graphs: Family, seed: int) -> tuple[np.ndarray, int]:
    """Adjacency matrices of a family, bool [256, 64, 64], and how many are not in their cell.

    From the cache, or drawn, which takes about ten seconds.
    """
    name = name_entry(f"synthetic {graphs} {seed} networkx {nx.__version__}", [])
    entry = recall(name)
    if entry is None:
        adjacency, misplaced = draw(graphs, seed)
        entry = Entry({"adjacency": np.packbits(adjacency, axis=-1)}, {"misplaced": misplaced})
        keep(name, entry)
    return np.unpackbits(entry.arrays["adjacency"], axis=-1).astype(bool), entry.facts["misplaced"]


def draw(graphs: Family, seed: int, most: int = MOST_DRAWS) -> tuple[np.ndarray, int]:
    """Draw graphs until each cell of the grid has four: bool [256, 64, 64], by cell, and how many lie outside theirs.

    Parameters are uniform at first, which fills the common cells. What is rare is then sought near the parameters of
    the graphs that came nearest to the cell. Where that fails, the nearest graphs stand in.

    Args:
        graphs: The family.
        seed: Of the draws.
        most: Draws after which cells that are not full are given up.
    """
    rng = random.Random(f"{graphs} {seed}")
    low, high, step = STEPS[graphs]
    parameters = [(rng.randrange(low, high + 1, step), rng.random()) for _ in range(FIRST_DRAWS)]
    drawn: list[tuple[int, float]] = []
    seen: set[bytes] = set()  # with p near 0 the small-world graphs are few
    adjacency, places = np.zeros((0, SIZE, SIZE), bool), np.zeros((0, 2))
    while True:
        batch = np.stack([_random_graph(graphs, k, p, rng) for k, p in parameters])
        lengths = path_lengths(batch)
        whole = np.isfinite(lengths)
        for number, one in enumerate(batch):
            whole[number] &= one.tobytes() not in seen
            seen.add(one.tobytes())
        drawn += [pair for pair, kept in zip(parameters, whole) if kept]
        found = np.stack([clustering(batch[whole]).mean(axis=-1), lengths[whole]], axis=-1)
        adjacency, places = np.concatenate([adjacency, batch[whole]]), np.concatenate([places, found])
        cells = cell_of(places)
        lacking = np.flatnonzero(np.bincount(cells, minlength=CELLS**2) < PER_CELL)
        if not lacking.size or len(drawn) >= most:
            break
        parameters = []
        for cell in lacking.tolist():
            near = np.argsort(_distance(places, cell), kind="stable")[:NEAREST]
            for _ in range(max(PER_CELL, ROUND_DRAWS // len(lacking))):
                k, p = drawn[rng.choice(near)]
                k = min(max(k + step * rng.randint(-1, 1), low), high)
                parameters.append((k, min(max(p + rng.uniform(-JITTER, JITTER), 0.0), 1.0)))
    chosen = [np.flatnonzero(cells == cell)[:PER_CELL] for cell in range(CELLS**2)]
    spare = np.setdiff1d(np.arange(len(places)), np.concatenate(chosen))
    for cell in lacking.tolist():
        missing = PER_CELL - len(chosen[cell])
        near = spare[np.argsort(_distance(places[spare], cell), kind="stable")[:missing]]
        chosen[cell], spare = np.concatenate([chosen[cell], near]), np.setdiff1d(spare, near)
    ids = np.concatenate(chosen)
    return adjacency[ids], int(np.sum(cells[ids] != np.repeat(np.arange(CELLS**2), PER_CELL)))


def cell_of(places: np.ndarray) -> np.ndarray:
    """Cell of the grid, 0 to 63, of clustering coefficients and path lengths, [N, 2]."""
    row, column = (np.digitize(values, cuts) for values, cuts in zip(places.T, CUTS))
    return row * CELLS + column


def _distance(places: np.ndarray, cell: int) -> np.ndarray:
    """How far from a cell each place is, in widths of a cell, [N]."""
    corner = np.array(divmod(cell, CELLS))
    position = (places - CUTS[:, 0]) / (CUTS[:, 1] - CUTS[:, 0]) + 1
    below = np.where(corner == 0, 0, corner - position)
    above = np.where(corner == CELLS - 1, 0, position - corner - 1)
    return np.maximum(np.maximum(below, above), 0).max(axis=1)


def _random_graph(graphs: Family, k: int, p: float, rng: random.Random) -> np.ndarray:
    generate = nx.powerlaw_cluster_graph if graphs == "scalefree" else nx.watts_strogatz_graph
    first, second = np.array(generate(SIZE, k, p, seed=rng).edges).T
    adjacency = np.zeros((SIZE, SIZE), bool)
    adjacency[first, second] = adjacency[second, first] = True
    return adjacency
