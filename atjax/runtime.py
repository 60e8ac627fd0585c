"""Where atjax runs: versions, device and cores."""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import os
import platform
from pathlib import Path

import jax

from atjax.errors import first_line

VERSION = "0.1.0"
"""Of atjax; `pyproject.toml` says the same."""

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux tells of the memory of a container."""

DEVICE_FAILURES = (jax.errors.JaxRuntimeError, MemoryError)
"""What is raised where a device gives up, nearly always for want of memory."""


def versions() -> dict[str, str]:
    """Versions of atjax, Python and the libraries that its numbers depend on."""
    libraries = ("jax", "flax", "optax", "jraph", "numpy", "scikit-learn")
    return {"atjax": VERSION, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in libraries
    }


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory(device: jax.Device) -> float:
    """Bytes that a device has left; infinity where that cannot be told."""
    if device.platform != "cpu":
        statistics = device.memory_stats() or {}
        return statistics.get("bytes_limit", math.inf) - statistics.get("bytes_in_use", 0)
    found = [math.inf]
    with contextlib.suppress(OSError, StopIteration, ValueError):  # other systems have no such files
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    with contextlib.suppress(OSError, KeyError, ValueError):  # "max" where a container has no limit of its own
        limit, used = (int((CGROUP / f"memory.{what}").read_text()) for what in ("max", "current"))
        parts = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        found.append(max(0, limit - used + int(parts["inactive_file"])))  # files that would give way
    return min(found)


def gave_up(error: BaseException) -> str:
    """What a device says as it gives up (`DEVICE_FAILURES`), 300 letters at most."""
    return first_line(error)[:300] if str(error).strip() else "out of memory"


def device() -> str:
    """The device in words, such as ``cpu (x86_64, 2 cores)`` or ``gpu (NVIDIA H100 80GB HBM3)``."""
    first = jax.devices()[0]
    if first.platform == "cpu":
        return f"cpu ({platform.machine()}, {os.cpu_count()} cores)"
    return f"{first.platform} ({first.device_kind})"
