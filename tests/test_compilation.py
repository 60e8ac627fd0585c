"""Counting compilations: of this thread, or of all."""

from __future__ import annotations

import threading

import jax
import numpy as np

from atjax.compilation import counting


def test_other_threads_are_counted_only_where_asked_for() -> None:
    data = np.ones(3, np.float32)
    thread = threading.Thread(target=lambda: jax.jit(lambda x: x * 3 + 1)(data))
    with counting() as own, counting(everywhere=True) as all_threads:
        thread.start()
        thread.join()
    assert (own.count, all_threads.count) == (0, 1)
    assert all_threads.seconds > 0 == own.seconds
    with counting() as own, counting(everywhere=True) as all_threads:
        jax.jit(lambda x: x * 5 + 1)(data)
    assert own == all_threads
    assert own.count == 1
