"""What was parsed once, kept in the user's cache folder: arrays in one file, which is mapped into memory.

A file is one entry: a checksum, a header in JSON, and the bytes of the arrays, each at a multiple of 64. An entry that
is damaged, or was made by other code, counts as absent. No failure of the cache keeps a task from loading.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import mmap
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import atjax.encoding
import atjax.graphs
import atjax.task
import atjax.values
from atjax.atomic import write_chunks
from atjax.config import cache_dir

MAGIC = b"atjax parsed 1\n\0"
"""First bytes of an entry, 16; the checksum and the length of the header follow, 8 each."""

ALIGNMENT = 64
"""Bytes: arrays start at multiples of it, as numpy has it in its own files."""

SWITCH = "ATJAX_TASK_CACHE"
"""Environment variable that switches the cache off, if it is ``off``. ATJAX_CACHE moves it."""


class Entry(NamedTuple):
    """Arrays by name, read-only when they come from the cache, and whatever else JSON can hold."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def name_entry(kind: str, contents: Iterable[bytes]) -> str:
    """Name of an entry: a hash over what kind it is and the bytes that it is made from."""
    digest = hashlib.sha256(kind.encode())
    for content in contents:
        digest.update(f" {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()[:32]


def recall(name: str) -> Entry | None:
    """An entry, or None if it is not there, is damaged, was made by other code, or the cache is off.

    The checksum takes a look at every byte, at over a gigabyte a second.
    """
    if os.environ.get(SWITCH) == "off":
        return None
    try:
        with _path(name).open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):  # absent, or empty, which cannot be mapped
        return None
    checksum, length = (int.from_bytes(content[start : start + 8], "little") for start in (16, 24))
    if len(content) < 32 or content[:16] != MAGIC or checksum != zlib.crc32(content[24:]):
        return None
    header = json.loads(bytes(content[32 : 32 + length]))
    if header["code"] != _code():
        return None
    arrays = {}
    for key, (dtype, shape, start) in header["arrays"].items():
        count = math.prod(shape)
        # Offset 0 for an empty array, which may stand at the end of the file.
        flat = np.frombuffer(content, dtype, count, 32 + length + start if count else 0)
        arrays[key] = flat.reshape(shape)
    return Entry(arrays, header["facts"])


def keep(name: str, entry: Entry) -> None:
    """Write an entry, in place of another of that name. Nothing happens if the folder cannot be written."""
    if os.environ.get(SWITCH) == "off":
        return
    places: dict[str, tuple[str, tuple[int, ...], int]] = {}
    chunks: list[bytes | memoryview] = []
    end = 0
    for key, array in entry.arrays.items():
        places[key] = (array.dtype.str, array.shape, end)
        chunks += [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, bytes(-array.nbytes % ALIGNMENT)]
        end += array.nbytes + -array.nbytes % ALIGNMENT
    header = json.dumps({"code": _code(), "facts": entry.facts, "arrays": places}).encode()
    header += b" " * (-(32 + len(header)) % ALIGNMENT)
    chunks = [len(header).to_bytes(8, "little"), header, *chunks]
    checksum = functools.reduce(lambda sofar, chunk: zlib.crc32(chunk, sofar), chunks, 0)
    with contextlib.suppress(OSError):
        write_chunks(_path(name), [MAGIC, checksum.to_bytes(8, "little"), *chunks])


def _path(name: str) -> Path:
    return cache_dir() / "tasks" / name


@functools.cache
def _code() -> str:
    """Hash of the code that turns files into arrays: what older code has parsed is parsed anew."""
    others = [Path(module.__file__ or "") for module in (atjax.encoding, atjax.graphs, atjax.task, atjax.values)]
    return name_entry("code", (path.read_bytes() for path in [*sorted(Path(__file__).parent.glob("*.py")), *others]))
