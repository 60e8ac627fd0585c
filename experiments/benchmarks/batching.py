"""What batching costs: how much of the batches is padding, and how long making them takes.

    python experiments/benchmarks/batching.py

Of every TU set in the data folder (ATJAX_DATA), both versions. Training batches are those of `atjax.train`, of graphs
or of their quotients; Fisher batches those of `atjax.fisher.slots`, or of every graph by itself for gin, gat and tasks
with edge features. How often a design compiles is counted by a test (`tests/test_train.py`).
"""

from __future__ import annotations

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from atjax import config, train
from atjax.batch import BatchIndex, Rows, deal, gather
from atjax.config import data_root
from atjax.fisher.examples import Examples, draw_examples
from atjax.model.gnn import build, initialize
from atjax.refinement import trained_graphs
from atjax.sources import tu
from atjax.space import Design
from atjax.task import Task

SMALLEST = Design("gcn", None, None, "relu", 64, "stack", 1, 2, 2, 0.001, 200)
"""The quickest step of all designs: whatever batching takes is the largest share there."""
LARGE = Design("gat", 4, None, "prelu", 256, "skip_concat", 2, 8, 3, 0.001, 200)
LARGE_OF = ("MUTAG", "PROTEINS")
"""Sets that the large design is timed on, too."""
SECONDS, FEWEST, MOST = 4.0, 15, 301
"""What is timed is repeated for about so long, within these numbers of rounds: small differences of short times."""
EPOCHS = 40
"""Dealt to see how many batches fit the usual shape."""


def tasks() -> list[tuple[str, Task]]:
    """All TU sets of the data folder with their names."""
    found = []
    for version, folder in tu.FOLDERS.items():
        for path in sorted((data_root() / folder).glob("*.zip")):
            task = tu.load(path.stem, path.stem, cleaned=version == "cleaned", features="auto")
            found.append((f"{path.stem}{', cleaned' if version == 'cleaned' else ''}", task))
    return found


def wasted(real: int, padded: int) -> float:
    """Share of padding."""
    return 1 - real / padded


def padding(task: Task) -> list[float]:
    """Shares of padding nodes: in training with one shape and as it is, in evaluation, in the Fisher stage thrice."""
    (graphs, _), split = trained_graphs(task), task.split(0)
    batch_size = config.load("budget", "quick").batch_size
    shape, most, evaluation = train.graph_batches(task, split, batch_size)
    usual = most or shape
    rng = np.random.default_rng([0, 0xBA7C])
    dealt = np.concatenate([deal(graphs, split.train, batch_size, rng) for _ in range(EPOCHS)])
    nodes, edges = (np.where(dealt >= 0, sizes[dealt], 0).sum(axis=1) for sizes in (graphs.n_node, graphs.n_edge))
    cut = np.where((nodes < usual.nodes) & (edges <= usual.edges), usual.nodes, shape.nodes)

    examples = draw_examples(task, config.load("fisher", "alpha"), 0)
    return [
        wasted(int(nodes.sum()), len(nodes) * shape.nodes),
        wasted(int(nodes.sum()), int(cut.sum())),
        wasted(int(graphs.n_node[split.held_out].sum()), evaluation.nodes.size),
        *_together(examples),
        _alone(task, examples),
    ]


def _together(examples: Examples) -> tuple[float, float]:
    """Of batches in the Fisher stage, and of the places that they fill."""
    placed = examples.placed
    if placed is None:
        return np.nan, np.nan
    real, filled = int(np.sum(placed.node_mask)), np.where(np.asarray(placed.graphs) >= 0, placed.slots.sizes, 0)
    return wasted(real, placed.node_mask.size), wasted(real, int(filled.sum()))


def _alone(task: Task, examples: Examples) -> float:
    real = padded = 0
    for chunk in examples.chunks:
        assert isinstance(chunk, BatchIndex)
        ids = Examples.ids_of(chunk)
        real += int(task.graphs.n_node[ids[ids >= 0]].sum())
        padded += chunk.nodes.size
    return wasted(real, padded)


def times(task: Task, design: Design) -> tuple[float, float, float, float]:
    """Seconds of a training step, and what of it batching takes.

    Medians over blocks of epochs, in turns; a block has the epochs between two records of the metrics.

    Returns:
        A step as it is, the next block being dealt meanwhile; how much less the block after it took, whose batches were
        dealt before; dealing and padding by themselves; gathering by itself, less reading as many rows side by side.
    """
    budget = config.load("budget", "quick")
    schedule = budget.schedule(design, "graph")
    gnn = build(design, hidden=schedule.hidden, level="graph", num_outputs=task.num_outputs)
    loader = train._graph_loader(task, task.labels, task.split(0), budget.batch_size, 0)
    rates = train.cosine(0.001, np.arange(schedule.eval_every), schedule.epochs)
    state = train._start(initialize(gnn, task.graphs.num_features, jax.random.key(0)))
    assert isinstance(loader.data, train.GraphData)
    rows = loader.data.features
    nodes = rows.nodes if isinstance(rows, Rows) else rows
    twice = jnp.concatenate([nodes, nodes])  # so that no slice ends before it is full

    @jax.jit
    def gathered(batches: BatchIndex) -> jax.Array:
        """Only what makes a batch: a number of each, so that nothing is left out."""
        return jax.lax.map(lambda index: gather(rows, index).graph.nodes.sum(), batches)

    @jax.jit
    def read(whole: jax.Array, batches: BatchIndex) -> jax.Array:
        """As many rows, as they lie."""
        size = batches.nodes.shape[1]
        return jax.lax.map(
            lambda start: jax.lax.dynamic_slice_in_dim(whole, start, size).sum(), jnp.asarray(batches.nodes)[:, 0]
        )

    def block(state: train.TrainState, steps: train.Steps, ahead: bool) -> tuple[train.TrainState, train.Steps]:
        state, losses, raw = train.train_block(gnn, task.loss, state, loader.data, steps)
        steps = loader.steps(rates) if ahead else steps
        jax.block_until_ready((losses, raw))
        return state, steps

    steps = loader.steps(rates)
    count = len(steps.learning_rate)
    assert steps.batches is not None
    state, steps = block(state, steps, True)
    jax.block_until_ready((gathered(steps.batches), read(twice, steps.batches)))
    start = time.perf_counter()
    state, steps = block(state, steps, True)
    rounds = int(np.clip(SECONDS / 2 / (time.perf_counter() - start), FEWEST, MOST))
    seconds: list[list[float]] = [[], [], [], []]
    for _ in range(rounds):
        marks = [time.perf_counter()]
        state, steps = block(state, steps, True)
        marks.append(time.perf_counter())
        state, steps = block(state, steps, False)
        marks.append(time.perf_counter())
        steps = loader.steps(rates)
        marks.append(time.perf_counter())
        jax.block_until_ready(gathered(steps.batches))
        marks.append(time.perf_counter())
        jax.block_until_ready(read(twice, steps.batches))
        marks.append(time.perf_counter())
        ahead, before, host, device, reading = np.diff(marks) / count
        for each, taken in zip(seconds, (ahead, ahead - before, host, device - reading)):
            each.append(taken)
    return tuple(float(np.median(each)) for each in seconds)  # type: ignore[return-value]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("padding", "times"), help="one of the two tables")
    parser.add_argument("--sets", nargs="+", help="their names; all if not given")
    arguments = parser.parse_args()
    found = [(name, task) for name, task in tasks() if not arguments.sets or name.split(",")[0] in arguments.sets]
    if arguments.only != "times":
        print_padding(found)
    if arguments.only != "padding":
        print_times(found)


def print_padding(found: list[tuple[str, Task]]) -> None:
    """Shares of padding of each set."""
    print("| TU set | training, one shape | training | evaluation | Fisher, batches | their places | by itself |")
    print("|---|---|---|---|---|---|---|")
    shares = {name: padding(task) for name, task in found}
    for name, row in shares.items():
        print(f"| {name} | {' | '.join(f'{share:.1%}' for share in row)} |")
    most = np.nanmax(list(shares.values()), axis=0)
    print(f"| most | {' | '.join(f'{share:.1%}' for share in most)} |")


def print_times(found: list[tuple[str, Task]]) -> None:
    """What batching takes of a step, of each set."""
    print("| TU set | design | step | dealing and padding | what of it a step waits for | gathering | batching |")
    print("|---|---|---|---|---|---|---|")
    for name, task in found:
        for what, design in (("smallest", SMALLEST), ("large", LARGE)):
            if what == "large" and name not in LARGE_OF:
                continue
            step, waited, host, device = times(task, design)
            share = (max(0.0, waited) + max(0.0, device)) / step
            cells = " | ".join(f"{1e3 * part:.2f} ms" for part in (step, host, waited, device))
            print(f"| {name} | {what} | {cells} | {share:.1%} |", flush=True)


if __name__ == "__main__":
    main()
