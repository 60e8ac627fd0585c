"""Finding data files, fetching those that are absent, and reading zip archives safely.

A file that is downloaded gets its name only once it has been read and verified, so that the data folder never holds
half a file. What is verified is the parsed content (see `verify`), not the bytes of an archive.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pooch
from rich.console import Console
from rich.progress import Progress

from atjax.config import data_root, task_names
from atjax.errors import UserError
from atjax.sources.cache import keep, name_entry, recall
from atjax.sources.parsed import Parsed

MEMBER_LIMIT, TOTAL_LIMIT = 2**30, 2**31
"""Bytes that one member of an archive, and all together, may decompress to. The largest member of the sets that are
known, the features of ogbn-arxiv, has 0.2 GiB."""

PIECE = 2**22
"""Bytes that are decompressed at a time."""

TIMEOUT = 30.0
"""Seconds without an answer after which a server is given up."""

Parser = Callable[[Mapping[str, bytes]], Parsed]
"""Turns the bytes of the files of a set, by path, into what they say; raises UserError if they are broken."""


def obtain(
    task: str,
    root: str | None,
    paths: Sequence[str],
    mirrors: Sequence[Mapping[str, str]],
    kind: str,
    parse: Parser,
    content: str | None,
    counts: Mapping[str, int] | None = None,
) -> Parsed:
    """Parse the files of a set, after fetching those that are absent, or take what was parsed of them from the cache.

    Args:
        task: Name of the task, for error messages.
        root: Folder of the data, as in `atjax.config.data_root`.
        paths: The files, relative to the folder.
        mirrors: For each mirror the URL of every path; tried in order until one gives files that parse and are the
            expected ones.
        kind: Says how ``parse`` reads the files: the cache tells by it the ways in which the same bytes can be read.
        parse: Reads them.
        content: Expected hash of the content; None expects nothing.
        counts: Expected numbers, for sets whose hash is not known; see `check_counts`.

    Raises:
        UserError: A file is broken, is not the expected one, or is absent and cannot be had.
    """

    def read(files: Mapping[str, bytes]) -> Parsed:
        name = name_entry(kind, files.values())
        entry = recall(name)
        if entry is not None:
            parsed = Parsed.from_entry(entry)
        else:
            parsed = parse(files)
            keep(name, parsed.entry())
        verify(parsed.content, content)
        check_counts(parsed, counts or {})
        return parsed

    folder = data_root(root)
    missing = [path for path in paths if not (folder / path).is_file()]
    if not missing:
        try:
            return read({path: (folder / path).read_bytes() for path in paths})
        except OSError as error:
            raise UserError(f"{task}: cannot read {error.filename}: {error.strerror}; make it readable.") from None
        except UserError as error:
            where = ", ".join(str(folder / path) for path in paths)
            raise UserError(f"{task}: {error}; mend or delete {where} (what is absent is downloaded).") from None
    failures = []
    for urls in mirrors:
        try:
            return _fetch(folder, missing, paths, urls, read)
        except (OSError, ValueError, UserError) as error:
            failures.append(f"{os.path.dirname(urls[missing[0]])} ({_reason(error)})")
    tried = f"no download worked: {'; '.join(failures)}" if mirrors else "no place to download from is known"
    raise UserError(
        f"{task}: {', '.join(missing)} not found under {folder}, and {tried}; "
        f"put the missing files there by hand, point data.root or ATJAX_DATA at a folder that holds them, or take a "
        f"task that needs no files ({', '.join(task_names(offline=True))})."
    )


def _fetch(
    folder: Path,
    missing: Sequence[str],
    paths: Sequence[str],
    urls: Mapping[str, str],
    read: Parser,
) -> Parsed:
    """Download the missing files under temporary names, read all, and only then give them their names."""
    temporary = {path: (folder / path).with_name(f".{uuid.uuid4().hex}.part") for path in missing}
    try:
        for path, part in temporary.items():
            part.parent.mkdir(parents=True, exist_ok=True)
            _download(urls[path], part)
        result = read({path: temporary.get(path, folder / path).read_bytes() for path in paths})
        for path, part in temporary.items():
            os.replace(part, folder / path)
        return result
    finally:
        for part in temporary.values():
            part.unlink(missing_ok=True)


class _Bar:
    """Pooch's protocol of a progress bar, drawn by rich."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.total = 0
        self._progress = progress
        self._task = progress.add_task(name)

    def update(self, size: int) -> None:
        self._progress.update(self._task, total=self.total or None, advance=size)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        self._progress.stop_task(self._task)


def _download(url: str, path: Path) -> None:
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = _Bar(progress, os.path.basename(url))
        pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=TIMEOUT)(url, str(path), None)


def _reason(error: Exception) -> str:
    """Why a download failed, short: of errors from the network the kind says more than their long text."""
    if isinstance(error, UserError) or (isinstance(error, OSError) and error.filename):
        return str(error)
    response = getattr(error, "response", None)
    return f"HTTP status {response.status_code}" if response is not None else type(error).__name__


def base_name(path: str) -> str:
    """What follows the last slash: published archives differ in the folders they put before it."""
    return path.rsplit("/", 1)[-1]


def read_archive(content: bytes, name_of: Callable[[str], str | None] = base_name) -> dict[str, bytes]:
    """The members of a zip archive by name; those gzipped by themselves are decompressed and lose the ``.gz``.

    Nothing is unpacked to disk, and no size that the archive claims is believed.

    Args:
        content: The archive.
        name_of: Name of a member by its path in the archive; None leaves it out.

    Raises:
        UserError: It is no zip archive or a damaged one, two members share a name, or they decompress to more than
            `MEMBER_LIMIT` bytes, one of them, or `TOTAL_LIMIT`, all together.
    """
    members: dict[str, bytes] = {}
    left = TOTAL_LIMIT
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                name = None if info.is_dir() else name_of(info.filename)
                if name is None:
                    continue
                name, gzipped = name.removesuffix(".gz"), name.endswith(".gz")
                if name in members:
                    raise UserError(f"the archive has two members named {name}")
                with archive.open(info) as member:
                    member_content = read_bounded(member, name, left)
                if gzipped:
                    with gzip.GzipFile(fileobj=io.BytesIO(member_content)) as packed:
                        member_content = read_bounded(packed, name, left)
                members[name] = member_content
                left -= len(member_content)
    except UserError:
        raise
    except Exception as error:  # A damaged archive raises almost anything.
        raise UserError(f"this is no zip archive, or a truncated or damaged one ({str(error)[:80]!r})") from None
    return members


def read_bounded(stream: IO[bytes] | gzip.GzipFile, name: str, left: int) -> bytes:
    """All of a stream that decompresses, piece by piece, so that a bomb is left off before it fills the memory."""
    limit, pieces, size = min(MEMBER_LIMIT, left), [], 0
    while piece := stream.read(PIECE):
        size += len(piece)
        if size > limit:
            what = f"the member {name} decompresses" if limit == MEMBER_LIMIT else "the members decompress, together,"
            bound = MEMBER_LIMIT if limit == MEMBER_LIMIT else TOTAL_LIMIT
            raise UserError(f"{what} to more than {bound:,} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def plain_name(task: str, option: str, value: object) -> str:
    """A name that becomes part of a path and a URL: letters, digits and ``_``, then also ``-``, ``+``, ``.``.

    Args:
        task: Name of the task, for the error message.
        option: Name of the setting.
        value: What the user gave.

    Raises:
        UserError: It is no such name.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", value):
        raise UserError(f"{task}: {option}={value!r} is no name of a set; give letters, digits, _, -, + and . only.")
    return value


def verify(found: str, expected: str | None) -> None:
    """Compare content hashes; None expects nothing.

    Hashes are taken over the parsed arrays in canonical order (`atjax.task.hash_arrays`). One set is published in
    archives that differ in compression, folder names, and the order of lines, none of which matters here; and what is
    hashed is what a task is built from, so that a change anywhere in it shows.

    Raises:
        UserError: The hashes differ.
    """
    if expected is not None and found != expected:
        raise UserError(
            f"the content has the hash {found[:12]}, not the expected {expected[:12]} (content=null skips this check)"
        )


def check_counts(parsed: Parsed, expected: Mapping[str, int]) -> None:
    """Compare a set with published counts of ``graphs``, ``nodes``, undirected ``edges``, ``features``, ``classes``.

    Raises:
        UserError: Another thing is counted, or a count differs.
    """
    graphs, labels = parsed.graphs, parsed.arrays.get("labels", np.zeros(0, int))
    found = {
        "graphs": len(graphs.n_node),
        "nodes": graphs.nodes.shape[0],
        "edges": len(graphs.senders) // 2,
        "features": graphs.num_features,
        "classes": len(np.unique(labels[labels >= 0])),
    }
    for what, count in expected.items():
        if what not in found:
            raise UserError(f"counts.{what} is not among {', '.join(found)}")
        if found[what] != count:
            raise UserError(
                f"the content has {found[what]:,} {what}, not the expected {count:,} (counts=null skips this check)"
            )
