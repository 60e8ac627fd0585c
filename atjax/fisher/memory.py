"""Memory of a device that models side by side share: who finds too little left waits for the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import jax

from atjax import runtime
from atjax.batch import Batch
from atjax.fisher.config import FisherConfig
from atjax.fisher.examples import Examples
from atjax.model.gnn import GNN
from atjax.space import Design

ARRAYS = 6
"""Arrays of the size of a layer's outputs that a device holds at most for each layer, forward and backward pass
together. Measured on 169,343 nodes, one model: 4.9 to 5.8 with sums and means."""

ARRAYS_OF_MAXIMUM = 8
"""The same where neighbours are aggregated by their maximum."""

SHARE = 0.5
"""Of the memory that is left when a feature is begun; the rest is for what is not counted, and for others."""


class Memory:
    """So many bytes, for threads to share."""

    def __init__(self, total: float) -> None:
        self.total = total
        self._held: list[float] = []  # a running sum would be left with rounding errors, and never be 0 again
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def held(self, wanted: float) -> Iterator[None]:
        """Hold bytes for the ``with`` block, once there is room for them, or nobody else holds any.

        Raises:
            RuntimeError: It was closed, while we waited or before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._held or sum(self._held) + wanted <= self.total)
            if self._closed:
                raise RuntimeError("No more memory is given out.")
            self._held.append(wanted)
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(wanted)
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody begin who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def memory_of(devices: Sequence[jax.Device]) -> list[Memory]:
    """What each device has to give, `SHARE` of what it has left; those of a CPU share one."""
    if devices[0].platform == "cpu":
        return [Memory(SHARE * runtime.free_memory(devices[0]))] * len(devices)
    return [Memory(SHARE * runtime.free_memory(device)) for device in devices]


def widths(design: Design, hidden: int, num_outputs: int) -> int:
    """Numbers that the layers of a model put out for each node, of all layers together."""
    grown = sum(range(2, design.mp_layers + 2)) if design.connectivity == "skip_concat" else design.mp_layers
    return hidden * (design.pre_layers + grown + design.post_layers - 1) + num_outputs


def needed(gnn: GNN, examples: Examples, config: FisherConfig) -> int:
    """Bytes that the models of a design take on a device at most, about; on a CPU they take turns.

    A pass goes over all nodes that models are calibrated on; those over batches of graphs are smaller. Where neighbours
    are in no lists, as those over edges with features or weights, every edge has a row of its own.
    """
    data = examples.fitting(gnn)
    rows = _rows(data) if isinstance(data, Batch) else max(map(len, data.counts))
    models = 1 if jax.default_backend() == "cpu" else config.seeds
    arrays = ARRAYS_OF_MAXIMUM if gnn.design.aggregation == "max" else ARRAYS
    return 4 * arrays * rows * models * widths(gnn.design, gnn.hidden, gnn.num_outputs)


def _rows(batch: Batch) -> int:
    """Rows that a layer makes of a batch, one for every node, and without lists of neighbours for every edge."""
    return len(batch.weights) + (0 if batch.lists is not None else len(batch.graph.senders))
