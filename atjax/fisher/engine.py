"""alpha of every anchor and initialisation on a task: the numbers that a task feature is made of.

For each anchor: initialise R models at random, calibrate their BatchNorm statistics on the training data, fit their
last layers to the optimum, and take the first two moments of the diagonal Fisher information. All R models go through
one compiled program a step, one after the other where one fills the machine; anchors are compiled and run side by side.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from atjax.batch import Batch, BatchIndex
from atjax.fisher.config import FisherConfig
from atjax.fisher.diagonal import Sums, graph_sums, moments, node_sums
from atjax.fisher.disjoint import separable, slot_sums
from atjax.fisher.examples import Examples, draw_examples
from atjax.fisher.last_layer import LastLayer, fit_last_layer
from atjax.fisher.slots import SlotIndex
from atjax.model.gnn import GNN, Variables, build, initialize
from atjax.space import ANCHORS, Design
from atjax.task import Loss, Task

Progress = Callable[[int, int], None]


@functools.partial(jax.jit, static_argnames="gnn")
def prepare(gnn: GNN, variables: Variables, batch: Batch, rows: jax.Array) -> tuple[Variables, jax.Array]:
    """Calibrate BatchNorm by one pass over the training data, and read what the last layer will see.

    Args:
        gnn: The model.
        variables: Of R models, leading axis R.
        batch: The training data as one batch.
        rows: Rows of the output that are training examples, int [N].

    Returns:
        The variables with calibrated statistics, and the last layer's input [R, N, H].
    """
    calibrating = gnn.clone(momentum=0.0)

    def one(variables: Variables) -> tuple[Variables, jax.Array]:
        # In training mode the statistics are those of this very batch, so one pass both sets and uses them.
        hidden, updated = calibrating.apply(variables, batch, train=True, mutable=["batch_stats"], method=GNN.encode)
        return {"params": variables["params"], "batch_stats": updated["batch_stats"]}, hidden[rows]

    # One model after the other: this pass holds the whole training set, and is a small part of the work.
    return jax.lax.map(one, variables)


@functools.partial(jax.jit, static_argnames=("gnn", "loss", "width"))
def _sums(
    gnn: GNN, loss: Loss, variables: Variables, data: Any, chunk: SlotIndex | BatchIndex | jax.Array, width: int
) -> Sums:
    """`Sums` of R models over examples of one layout, flattened to [R, P] each."""

    def one(variables: Variables) -> Sums:
        if isinstance(chunk, SlotIndex):
            return slot_sums(gnn, loss, variables, data, chunk)
        if isinstance(chunk, BatchIndex):
            return graph_sums(gnn, loss, variables, data, chunk)
        return node_sums(gnn, loss, variables, data, chunk, width)

    # A chunk of one model fills the cores by itself. Even a batch axis of one would be carried through the program.
    sums = jax.lax.map(one, variables, batch_size=width if width > 1 else None)
    return Sums(*(jax.vmap(lambda tree: ravel_pytree(tree)[0])(tree) for tree in sums))


def fitted(gnn: GNN, task: Task, examples: Examples, config: FisherConfig) -> Variables:
    """R random models of one design, calibrated, the last layer fitted; leading axis R."""
    keys = [jax.random.key(number) for number in range(config.seeds)]
    models = [initialize(gnn, task.graphs.num_features, key) for key in keys]
    variables, hidden = prepare(
        gnn, jax.tree.map(lambda *leaves: jnp.stack(leaves), *models), examples.batch, examples.rows
    )
    layer: LastLayer = fit_last_layer(
        task.loss, hidden, examples.labels, num_outputs=task.num_outputs, ridge=config.ridge
    )
    return {"params": {**variables["params"], "out": layer}, "batch_stats": variables["batch_stats"]}


def design_alpha(task: Task, design: Design, examples: Examples, config: FisherConfig) -> np.ndarray:
    """alpha of R random models of one design, float64 [R]."""
    gnn = build(design, hidden=config.hidden, level=task.level, num_outputs=task.num_outputs)
    variables = fitted(gnn, task, examples, config)
    data = examples.batch if examples.features is None else examples.features
    chunks = examples.chunks if examples.placed is None or not separable(gnn) else (examples.placed,)
    parts = [_sums(gnn, task.loss, variables, data, chunk, examples.width) for chunk in chunks]
    first, second = (np.sum([np.asarray(part[k], np.float64) for part in parts], axis=0) for k in (0, 1))
    return moments(first, second, examples.sampled, examples.population).alpha


def anchor_alpha(
    task: Task,
    config: FisherConfig,
    *,
    seed: int = 0,
    anchors: Sequence[Design] = ANCHORS,
    progress: Progress | None = None,
) -> np.ndarray:
    """alpha = m2 / m1^2 of the diagonal Fisher information over message-passing parameters (paper, section 4.2).

    Args:
        task: The task; only training examples of the split, and their labels, are looked at.
        config: Settings.
        seed: Of the split and of what is sampled.
        anchors: The A designs.
        progress: Called with anchors done and anchors in all.

    Returns:
        float64 [A, R], each at least 1; NaN where the Fisher information vanishes.
    """
    examples = draw_examples(task, config, seed)
    result = np.empty((len(anchors), config.seeds))
    with ThreadPoolExecutor(max_workers=min(len(anchors), os.cpu_count() or 1)) as pool:
        futures = {
            pool.submit(design_alpha, task, anchor, examples, config): position
            for position, anchor in enumerate(anchors)
        }
        for done, future in enumerate(as_completed(futures), start=1):
            result[futures[future]] = future.result()
            if progress is not None:
                progress(done, len(anchors))
    return result
