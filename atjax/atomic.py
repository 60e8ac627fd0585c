"""Files that are never seen half-written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def write_text(path: Path, text: str) -> Path:
    """Write a text file as UTF-8, as `write_chunks` does; what UTF-8 cannot hold becomes a question mark."""
    return write_chunks(path, [text.encode("utf-8", errors="replace")])


def write_chunks(path: Path, chunks: Iterable[bytes | memoryview]) -> Path:
    """Write chunks of bytes under a temporary name and rename the file, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.writelines(chunks)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
