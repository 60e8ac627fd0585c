"""Where atjax runs: versions, device and cores."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import jax

VERSION = "0.1.0"
"""Of atjax; `pyproject.toml` says the same."""


def versions() -> dict[str, str]:
    """Versions of atjax, Python and the libraries that its numbers depend on."""
    libraries = ("jax", "flax", "optax", "jraph", "numpy", "scikit-learn")
    return {"atjax": VERSION, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in libraries
    }


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device() -> str:
    """The device in words, such as ``cpu (x86_64, 2 cores)`` or ``gpu (NVIDIA H100 80GB HBM3)``."""
    first = jax.devices()[0]
    if first.platform == "cpu":
        return f"cpu ({platform.machine()}, {os.cpu_count()} cores)"
    return f"{first.platform} ({first.device_kind})"
