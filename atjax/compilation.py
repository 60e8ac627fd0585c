"""XLA compilation: a cache on disk, room for further programs, and a count of what was compiled."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax

MOST_MAPPINGS = 40_000
"""Memory mappings from which programs are dropped. On a CPU the programs of a design have 500 to 800, Linux allows a
process 65,530 (``vm.max_map_count``), and XLA does not survive the one after that."""

_MAPPINGS = Path("/proc/self/maps")

_EVENT = "/jax/core/compile/backend_compile_duration"


def keep_compiled(folder: Path) -> None:
    """Keep compiled programs in a folder, so that the next process need not compile them again."""
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def make_room(most: int = MOST_MAPPINGS) -> None:
    """Drop the compiled programs of this process where it has more memory mappings than that; on Linux only."""
    if _MAPPINGS.exists() and _MAPPINGS.read_bytes().count(b"\n") > most:
        jax.clear_caches()
        gc.collect()


@dataclass
class Compilations:
    """Compilations seen so far: their number, and the seconds they took (loads from the cache on disk included)."""

    count: int = 0
    seconds: float = 0.0


class _Listener:
    """Adds up compilations of the thread that started it, or of all."""

    def __init__(self, everywhere: bool) -> None:
        self.seen = Compilations()
        self.thread = None if everywhere else threading.get_ident()
        self.lock = threading.Lock()

    def __call__(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == _EVENT and self.thread in (None, threading.get_ident()):
            with self.lock:
                self.seen.count += 1
                self.seen.seconds += duration_secs


@contextmanager
def counting(*, everywhere: bool = False) -> Iterator[Compilations]:
    """Count the XLA compilations that this thread makes inside the ``with`` block.

    Args:
        everywhere: Count those of all threads; their seconds may overlap.
    """
    listener = _Listener(everywhere)
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        yield listener.seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
