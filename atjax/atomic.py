"""Files that are never seen half-written, and locks between processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def lock(descriptor: int, *, wait: bool) -> bool:
    """Take the kernel lock on an open file or folder, which ends with the process or with its last descriptor.

    Args:
        descriptor: Of the file.
        wait: Wait for it as long as another process has it.

    Returns:
        False only where another has it and it is not waited for; where there are no locks, nobody is kept out.
    """
    try:
        import fcntl  # POSIX only

        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # the system, or its file system, knows no locks
        return True
    return True


def write_text(path: Path, text: str) -> Path:
    """Write a text file as UTF-8, as `write_chunks` does; what UTF-8 cannot hold becomes a question mark."""
    return write_chunks(path, [text.encode("utf-8", errors="replace")])


def write_chunks(path: Path, chunks: Iterable[bytes | memoryview]) -> Path:
    """Write chunks of bytes, as `replacing` does."""
    with replacing(path) as file:
        file.writelines(chunks)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` once all is on disk, and never if writing fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
