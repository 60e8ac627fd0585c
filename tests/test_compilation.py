"""Counting compilations, of this thread or of all, and dropping programs that pile up."""

from __future__ import annotations

import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from atjax.compilation import counting, make_room


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


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells its mappings")
def test_programs_that_pile_up_are_dropped() -> None:
    """Their mappings are given back, and what is needed again compiles again; a few programs stay."""

    def mappings() -> int:
        return len(Path("/proc/self/maps").read_text().splitlines())

    programs = [jax.jit(lambda x, k=k: jnp.sin(x + k)) for k in range(20)]
    for program in programs:
        program(jnp.ones(3))
    before = mappings()
    make_room(before + 1000)
    with counting() as compiled:
        programs[0](jnp.ones(3))
    assert compiled.count == 0
    make_room(before - 1)
    assert mappings() < before
    with counting() as compiled:
        programs[0](jnp.ones(3))
    assert compiled.count > 0
