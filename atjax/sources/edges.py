"""Self-loops, which no task keeps."""

from __future__ import annotations

import numpy as np


def drop_self_loops(senders: np.ndarray, receivers: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Edges without self-loops, and a note if there were some.

    The convolutions add the node itself in their own ways (GCN and GAT as an edge, the others by a second weight), so
    a self-loop of the data would count it twice, and only for some nodes.

    Args:
        senders: Sending node of each edge, [E].
        receivers: Receiving node of each edge, [E].
    """
    loops = senders == receivers
    if not loops.any():
        return senders, receivers, ()
    count = len(np.unique(senders[loops]))
    return senders[~loops], receivers[~loops], (f"Self-loops were dropped; nodes that had one: {count}.",)
