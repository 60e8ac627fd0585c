"""Damaged files for the readers: what a broken download, a slip of an editor or a stranger does to a valid set."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import published

from atjax.sources import custom, geom_gcn, heterophilous, npz, ogb, planetoid, tu
from atjax.task import Task

Files = dict[str, bytes]

EXTREMES = (b"", b"0", b"-1", b"1", b"3", b"65536", b"2147483648", b"9223372036854775808", b"99999999999999999999")
NUMBERS = (*EXTREMES, b"1e308", b"1e999", b"-0.0", b"nan", b"inf", b"0x10", b"1_0", b"two", b'"1"', b"1 2", b"\xff")
"""What takes the place of a number in a text."""


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A zip archive, the same for the same members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def unzipped(content: bytes) -> Files:
    """The members of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@dataclass(frozen=True)
class Format:
    """A reader, and a set that it reads.

    Attributes:
        files: Content of each file, by its path under the data folder.
        load: The task in such a folder.
    """

    files: Files
    load: Callable[[str], Task]


def formats() -> dict[str, Format]:
    """The formats by name; archives are undamaged, and compressed members too."""
    tables = {part: f"planetoid/ind.s.{part}" for part in planetoid.PARTS}
    tiny = published.planetoid_files()
    molecules, papers = (
        {f"s/{name}.csv.gz": gzip.compress(text.encode(), mtime=0) for name, text in tables.items()}
        for tables in (published.MOLECULES, published.PAPERS)
    )

    def npz_file(arrays: Mapping[str, np.ndarray]) -> bytes:
        members = {}
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            members[f"{name}.npy"] = buffer.getvalue()
        return zipped(members)

    return {
        "tu": Format(
            {"tu-original/S.zip": zipped({f"S/{name}": content for name, content in published.TU.items()})},
            lambda root: tu.load("s", "S", root=root, attributes=True, mirrors=()),
        ),
        "planetoid": Format(
            {tables[part]: tiny[part] for part in planetoid.PARTS},
            lambda root: planetoid.load("s", "s", root=root, mirrors=()),
        ),
        "npz": Format(
            {"npz/s.npz": npz_file(published.npz_arrays())}, lambda root: npz.load("s", "s", "s", root=root, mirrors=())
        ),
        "heterophilous": Format(
            {"heterophilous/s.npz": npz_file(published.heterophilous_arrays())},
            lambda root: heterophilous.load("s", "s", root=root, split=0, mirrors=()),
        ),
        "geom_gcn": Format(
            {
                f"geom-gcn/s/{geom_gcn.NODES}": published.GEOM_NODES,
                f"geom-gcn/s/{geom_gcn.EDGES}": published.GEOM_EDGES,
            },
            lambda root: geom_gcn.load("s", "s", root=root, mirrors=()),
        ),
        "geom_gcn by columns": Format(
            {
                f"geom-gcn/s/{geom_gcn.NODES}": published.GEOM_SETS,
                f"geom-gcn/s/{geom_gcn.EDGES}": published.GEOM_EDGES,
            },
            lambda root: geom_gcn.load("s", "s", root=root, mirrors=()),
        ),
        "tu regression": Format(
            {"tu-original/S.zip": zipped({f"S/{name}": content for name, content in published.TU_NUMBERS.items()})},
            lambda root: tu.load("s", "S", root=root, features="auto", edges=True, mirrors=()),
        ),
        "tables": Format(published.TABLES, lambda root: custom.load("s", root)),
        "arrays": Format({"s.npz": npz_file(published.own_arrays())}, lambda root: custom.load("s", f"{root}/s.npz")),
        "ogb graphs": Format({"ogb/s.zip": zipped(molecules)}, lambda root: ogb.load("s", "s", root=root, mirrors=())),
        "ogb nodes": Format({"ogb/s.zip": zipped(papers)}, lambda root: ogb.load("s", "s", root=root, mirrors=())),
    }


def damage(files: Files, rng: np.random.Generator) -> Files:
    """The files after one to three faults."""
    files = dict(files)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        files = _fault(files, rng)
    return files


def _fault(files: Files, rng: np.random.Generator) -> Files:
    """One fault, in a file or, half of the time, in what an archive holds."""
    if not files:
        return files
    kind = rng.integers(10)
    name, other = rng.choice(list(files), 2)
    if kind == 0 and len(files) > 1:
        return {key: content for key, content in files.items() if key != name}
    if kind == 1:
        return files | {name: files[other], other: files[name]}
    content = files[name]
    inner = rng.integers(4) > 0
    try:
        if inner and content[:2] == b"PK":
            return files | {name: zipped(_fault(unzipped(content), rng))}
        if inner and content[:2] == b"\x1f\x8b":
            return files | {name: gzip.compress(_changed(gzip.decompress(content), rng), mtime=0)}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError):
        pass  # damaged before; damage its bytes
    except Exception as error:  # zlib.error is no subclass of anything above
        if type(error).__module__ != "zlib":
            raise
    return files | {name: _changed(content, rng)}


def _changed(content: bytes, rng: np.random.Generator) -> bytes:
    if content[:6] == b"\x93NUMPY" and rng.integers(2):
        return _array_changed(content, rng)
    text = not re.search(rb"[^\t\r\n -~]", content)
    changes = [_bits, _cut, _piece, _overwritten] + ([_line, _number, _number, _number, _separator] if text else [])
    return changes[rng.integers(len(changes))](content, rng)


def _bits(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for position in rng.integers(max(len(changed), 1), size=rng.integers(1, 9)):
        if changed:
            changed[position] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content) + 1)]


def _piece(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece is lost, doubled, or made of chance."""
    start, end = sorted(rng.integers(len(content) + 1, size=2))
    middle = (b"", content[start:end] * 2, rng.bytes(int(rng.integers(1, 20))))[rng.integers(3)]
    return content[:start] + middle + content[end:]


def _overwritten(content: bytes, rng: np.random.Generator) -> bytes:
    """A number of 1 to 8 bytes takes an extreme value."""
    size = int(rng.choice([1, 2, 4, 8]))
    start = int(rng.integers(len(content) + 1))
    value = (bytes(size), b"\xff" * size, b"\xff" * (size - 1) + b"\x7f", bytes(size - 1) + b"\x40")[rng.integers(4)]
    return content[:start] + value + content[start + size :]


def _line(content: bytes, rng: np.random.Generator) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    first, second = rng.integers(len(lines), size=2)
    kind = rng.integers(3)
    if kind == 0:
        del lines[first]
    elif kind == 1:
        lines.insert(second, lines[first])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def _number(content: bytes, rng: np.random.Generator) -> bytes:
    places = list(re.finditer(rb"-?[0-9][0-9.e]*", content))
    if not places:
        return content
    place = places[rng.integers(len(places))]
    return content[: place.start()] + NUMBERS[rng.integers(len(NUMBERS))] + content[place.end() :]


def _separator(content: bytes, rng: np.random.Generator) -> bytes:
    old, new = (
        (b",", b"\t"), (b",", b";"), (b"\n", b"\r\n"), (b"\n", b"\r"), (b"\n", b"\n\n"), (b",", b", "), (b"\n", b" "),
        (b"\t", b" "), (b"\n", b",\n"), (b"1", b"\xef\xbb\xbf1"),
    )[rng.integers(10)]  # fmt: skip
    return content.replace(old, new, int(rng.choice([1, -1])))


def _array_changed(content: bytes, rng: np.random.Generator) -> bytes:
    """The array of an npy file with other values, another type or another shape."""
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception:  # damaged before, in whatever way
        return _bits(content, rng)
    kind = rng.integers(4)
    if kind == 0 and array.size and array.dtype.kind in "iuf":
        whole = [] if array.dtype.kind == "f" else [0, 1, 3, np.iinfo(array.dtype).min, np.iinfo(array.dtype).max]
        values = whole or [np.nan, np.inf, -1e30]
        array.flat[rng.integers(array.size)] = values[rng.integers(len(values))]
    elif kind == 1:
        with np.errstate(all="ignore"):
            array = array.astype(rng.choice(["?", "i1", "<i8", ">i4", "<u8", "<f4", "<f8", "<c8", "U3"]))
    elif kind == 2:
        array = array.reshape((-1, 1)) if array.ndim == 1 else array.ravel() if array.size else array[None]
    else:
        array = array[: rng.integers(len(array) + 1)] if array.ndim else array[None]
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write(root: Path, files: Files) -> None:
    """Put the files into a data folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
