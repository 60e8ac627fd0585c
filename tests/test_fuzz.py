"""Whatever happens to a file, reading it ends in a task or in one clear sentence: soon, and in little memory."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import damage
import numpy as np
import pytest

from atjax.errors import UserError
from atjax.task import Task

SECONDS = 5
"""For one input, which takes a few milliseconds."""

MEMORY = 2**30
"""Bytes that may be asked for beyond what the process has mapped when the test starts."""

GROWTH = 128 * 2**20
"""Bytes by which the largest memory in use may grow over all inputs."""

FORMATS = damage.formats()


@pytest.fixture
def bounds() -> Iterator[None]:
    """An input that takes too much memory raises MemoryError, and one that takes too long TimeoutError."""

    def late(*_: object) -> None:
        raise TimeoutError

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, late)
    if pages is not None:
        resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def outcome(name: str, files: damage.Files, root: Path) -> str:
    """What a format makes of files, in a word; anything but a task or a clear error is raised."""
    shutil.rmtree(root, ignore_errors=True)
    damage.write(root, files)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        # Not Python's warnings only, which nobody reads: an array that numpy has to warn of is a fault not found.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            task = FORMATS[name].load(str(root))
            assert isinstance(task, Task)
            _ = task.content_hash
            with contextlib.suppress(UserError):  # too few examples for three parts
                task.split(0)
        return "task"
    except UserError as error:
        sentence = str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert "\n" not in sentence
    assert len(sentence) < 1000
    return "error"


def fuzz(root: Path, name: str, seeds: range) -> Counter[str]:
    """Outcomes of many damaged inputs of a format."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts: Counter[str] = Counter()
    for seed in seeds:
        files = damage.damage(FORMATS[name].files, np.random.default_rng(seed))
        try:
            counts[outcome(name, files, root)] += 1
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}: {type(error).__name__}: {error}") from error
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024
    assert growth < GROWTH, f"{name}: the memory grew by {growth:,} bytes"
    return counts


@pytest.mark.parametrize("name", FORMATS)
def test_the_undamaged_set_is_a_task(name: str, tmp_path: Path) -> None:
    damage.write(tmp_path, FORMATS[name].files)
    assert FORMATS[name].load(str(tmp_path)).num_examples >= 2


@pytest.mark.parametrize("name", FORMATS)
def test_some_damaged_inputs(name: str, tmp_path: Path, bounds: None) -> None:
    counts = fuzz(tmp_path / "data", name, range(40))
    assert counts["error"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_damaged_inputs(name: str, tmp_path: Path, bounds: None) -> None:
    start = time.perf_counter()
    count = 1500
    counts = fuzz(tmp_path / "data", name, range(1000, 1000 + count))
    print(f"{name}: {count} inputs, {dict(counts)}, {time.perf_counter() - start:.0f} s")
    assert counts["task"] > 10
