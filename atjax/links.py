"""Link prediction: from the graph of a task to a task of pairs of its nodes, linked or not.

The links of a graph are its pairs of different nodes with an edge, in either direction or both. They are shared out at
random:

    training 80%, of which 80% carry messages and 20% are examples; validation 10%; test 10%

All models, whatever part they are asked about, see one graph: the edges of the links that carry messages. A link that
is an example never carries messages, in training as little as in testing, so that a model learns what it is tested on.
Beside the links of each part stand as many pairs without an edge, drawn uniformly from all such pairs of the graph as
it was given, without repeats within a part or between them.

Features must not tell of links that are held out. One-hot degrees, which graphs without attributes get, are taken anew
from the links that carry messages. Whatever else was computed from edges (clustering coefficients, PageRank, positions)
is for the caller to leave out, or to compute without these links.

GraphGym splits 80/10/10 too, with one negative a link. It differs in three ways. By default all its training links
carry messages as well as being examples (``message=1`` here); its mode *disjoint* is ours, with the same 80%. Its
models are tested on a graph that holds the validation links too. And its decoder is the dot product of two nodes' rows
after the head, where here the head works on the entry-by-entry product (see `atjax.model.gnn.pair_rows`), and so can
give any number of outputs and ends in a linear layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from atjax.encoding import degree_one_hot
from atjax.errors import UserError
from atjax.task import METRICS, Graphs, Metric, Split, Task

SHARES = (0.8, 0.1, 0.1)
"""Of the links in the training, validation and test part."""


def link_prediction(
    name: str,
    graphs: Graphs,
    *,
    seed: int = 0,
    negatives: int = 1,
    message: float = 0.8,
    metric: Metric = "roc_auc",
    notes: Sequence[str] = (),
) -> Task:
    """A task of level edge: which pairs of nodes are linked (1) and which are not (0).

    Args:
        name: Name of the task.
        graphs: One graph or several; pairs are within a graph. Self-loops stay, and are no links.
        seed: Of the split, of the links that carry messages and of the negatives: the task's split is one for all seeds
            of a search.
        negatives: Pairs without an edge for each link that is an example.
        message: Share of the training links that carry messages, the others being examples; with 1 all are both.
        metric: A metric of classes.
        notes: Sentences on the graphs.

    Raises:
        UserError: A value is out of range, or the graphs have too few links or too few pairs without one.

    Example:
        >>> task = atjax.link_prediction("coauthors", graphs)
        >>> result = atjax.search(task)
        >>> atjax.load("run").predict(task.graphs, np.array([[0, 5], [0, 9]]))
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise UserError(f"{name}: the seed {seed!r} of the split must be a whole number of at least 0.")
    if isinstance(negatives, bool) or not isinstance(negatives, int) or negatives < 1:
        raise UserError(f"{name}: negatives={negatives!r} must be a whole number of at least 1.")
    if not isinstance(message, int | float) or not 0 < message <= 1:
        raise UserError(f"{name}: message={message!r} must be above 0 and at most 1.")
    if metric not in (known := METRICS["binary_cross_entropy"]):
        raise UserError(f"{name}: metric={metric!r} is unknown; choose from {', '.join(known)}.")
    rng = np.random.default_rng([seed, 0x11C5])
    codes = _PairCodes(graphs)
    links = np.unique(codes.of(graphs.senders, graphs.receivers)[graphs.senders != graphs.receivers])
    order = rng.permutation(links)
    held_out = [round(share * len(links)) for share in SHARES[1:]]
    training, validation, test = np.split(order, np.cumsum([len(links) - sum(held_out), held_out[0]]))
    carrying = training[: round(message * len(training))]
    positive = [training if message == 1 else training[len(carrying) :], validation, test]
    if min(map(len, [carrying, *positive])) == 0:
        raise UserError(f"{name}: {len(links)} links are too few to share out; give a graph of 20 or more.")
    wanted = negatives * sum(map(len, positive))
    free = codes.total - len(links)
    if wanted > free:
        raise UserError(f"{name}: {wanted} pairs without an edge are asked for, and there are {free}; lower negatives.")
    # Ranks among the pairs without an edge; so many links stand before the pair of a rank.
    rank = rng.permutation(rng.choice(free, wanted, replace=False, shuffle=False))
    without = rank + np.searchsorted(links - np.arange(len(links)), rank, side="right")
    negative = np.split(without, negatives * np.cumsum([len(part) for part in positive])[:-1])
    examples = [np.concatenate(both) for both in zip(positive, negative)]
    ends = np.cumsum([len(part) for part in examples])
    linked = [np.arange(len(part)) < len(first) for part, first in zip(examples, positive)]
    left, degree_notes = _keep_links(graphs, codes, carrying)
    return Task(
        name,
        "edge",
        "binary_cross_entropy",
        metric,
        left,
        np.concatenate(linked).astype(np.float32),
        1,
        (
            *notes,
            f"Links: {len(links):,}, of which {len(carrying):,} carry messages; examples are "
            f"{', '.join(f'{len(part):,}' for part in positive)} links for training, validation and test, with "
            f"{negatives} {'pair' if negatives == 1 else 'pairs'} without an edge for each.",
            *degree_notes,
        ),
        Split(*np.split(np.arange(ends[-1]), ends[:-1])),
        codes.pairs(np.concatenate(examples)).astype(np.int32),
    )


def _keep_links(graphs: Graphs, codes: _PairCodes, links: np.ndarray) -> tuple[Graphs, tuple[str, ...]]:
    """The graphs with the edges of these links alone and their self-loops, and notes on what else changed."""
    loops = graphs.senders == graphs.receivers
    left = graphs.keep_edges(loops | np.isin(codes.of(graphs.senders, graphs.receivers), links))
    nodes = graphs.nodes
    before = degree_one_hot(graphs.receivers, nodes.shape[0])
    width = before.shape[1]
    if not isinstance(nodes, np.ndarray) or not np.array_equal(nodes[:, :width], before):
        return left, ()
    after = degree_one_hot(left.receivers, len(nodes))
    replaced = dataclasses.replace(left, nodes=np.concatenate([after, nodes[:, width:]], axis=1))
    return replaced, ("Degrees count the links that carry messages alone, so as not to tell of the others.",)


class _PairCodes:
    """Numbers for the unordered pairs of different nodes of a graph, 0, 1, ... without gaps, graph after graph.

    Within a graph the pair i < j has the number j (j - 1) / 2 + i.
    """

    def __init__(self, graphs: Graphs) -> None:
        sizes = graphs.n_node.astype(np.int64)
        self.first_node = graphs.node_start
        self.first_code = np.concatenate([[0], np.cumsum(sizes * (sizes - 1) // 2)])
        self.total = int(self.first_code[-1])

    def of(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Numbers of pairs of nodes [N], given in either order; without meaning for a node with itself."""
        graph = np.searchsorted(self.first_node, one, side="right") - 1
        low, high = (bound(one, other) - self.first_node[graph] for bound in (np.minimum, np.maximum))
        return self.first_code[graph] + high * (high - 1) // 2 + low

    def pairs(self, codes: np.ndarray) -> np.ndarray:
        """The pairs of these numbers, the smaller node first, int64 [N, 2]."""
        graph = np.searchsorted(self.first_code, codes, side="right") - 1
        within = codes - self.first_code[graph]
        high = ((1 + np.sqrt(1 + 8 * within.astype(np.float64))) / 2).astype(np.int64)
        high -= high * (high - 1) // 2 > within  # the root may be rounded up to the next whole number, or down
        high += (high + 1) * high // 2 <= within
        return np.stack([within - high * (high - 1) // 2, high], axis=1) + self.first_node[graph][:, None]
