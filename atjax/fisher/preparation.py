"""Random models, made ready for a task: BatchNorm calibrated on its training data, the last layer fitted.

    random parameters -> calibrated -> last layer fitted

Nothing else is trained (paper, section 4.2). All R models of a design go through one program a step.
"""

from __future__ import annotations

import functools
from typing import cast

import jax
import jax.numpy as jnp

from atjax.batch import Batch
from atjax.fisher.config import FisherConfig
from atjax.fisher.examples import Examples
from atjax.fisher.last_layer import LastLayer, fit_last_layer
from atjax.fisher.programs import over_models, program
from atjax.model.gnn import GNN, Variables, initialize
from atjax.model.taps import linear_outputs
from atjax.refinement import Refined
from atjax.task import Task


@program(static_argnames=("gnn", "keep"))
def prepare(
    gnn: GNN, variables: Variables, data: Batch | Refined, rows: jax.Array, keep: bool = False
) -> tuple[Variables, jax.Array]:
    """Calibrate BatchNorm by one pass over the training data, and read what the last layer will see.

    Args:
        gnn: The model.
        variables: Of R models, leading axis R.
        data: The training data as one batch, or colour by colour.
        rows: Rows of the output that are training examples, int [N].
        keep: Whether ``linear`` is to hold what the linear maps of message passing yield, by path, for every row.

    Returns:
        The variables with calibrated statistics, and the last layer's input [R, N, H].
    """
    calibrating = gnn.clone(momentum=0.0)
    method = GNN.encode_refined if isinstance(data, Refined) else GNN.encode

    def one(variables: Variables) -> tuple[Variables, jax.Array]:
        # In training mode the statistics are those of this very batch, so one pass both sets and uses them.
        with linear_outputs() as outputs:
            hidden, updated = calibrating.apply(variables, data, train=True, mutable=["batch_stats"], method=method)
        found = {"params": variables["params"], "batch_stats": updated["batch_stats"]}
        return found | ({"linear": outputs} if keep else {}), hidden[rows]

    return over_models(one, variables)


@functools.lru_cache(maxsize=24)
def random_models(gnn: GNN, num_features: int, seeds: int, num_edge_features: int = 0) -> Variables:
    """Random parameters and fresh BatchNorm statistics of R models, leading axis R; the keys are 0 to R - 1.

    Kept: following a model's initialisation through Flax takes longer than an accelerator needs for all that follows.
    """
    keys = jnp.stack([jax.random.key(number) for number in range(seeds)])
    start = functools.partial(initialize, gnn, num_features, num_edge_features=num_edge_features)
    return cast(Variables, jax.device_get(jax.vmap(start)(keys)))


def starting_models(gnn: GNN, task: Task, config: FisherConfig) -> Variables:
    """The random models of one design that a task begins with, leading axis R."""
    return random_models(gnn, task.graphs.num_features, config.seeds, task.graphs.num_edge_features)


def fitted(gnn: GNN, task: Task, examples: Examples, config: FisherConfig) -> Variables:
    """R random models of one design, calibrated, the last layer fitted; leading axis R."""
    models = starting_models(gnn, task, config)
    rows, labels, weights = examples.filled
    variables, hidden = prepare(gnn, models, examples.fitting(gnn), rows, examples.recalls(gnn, config.seeds))
    layer: LastLayer = fit_last_layer(
        task.loss, hidden, labels, weights, num_outputs=task.num_outputs, ridge=config.ridge
    )
    return variables | {"params": {**variables["params"], "out": layer}}
