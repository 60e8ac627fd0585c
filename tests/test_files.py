"""Finding, fetching and verifying files, against a server on this machine."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import http.server
import io
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from atjax.errors import UserError
from atjax.sources import files, npz, planetoid, tu
from atjax.task import Task

NOWHERE = "http://127.0.0.1:9/S.zip"
"""Port 9 has no server: stands for a machine without a network."""


def tu_members(prefix: str) -> dict[str, str]:
    """Twelve paths of two or three nodes, labelled by their length."""
    sizes = [2 + graph % 2 for graph in range(12)]
    first = np.cumsum(sizes) - sizes + 1
    edges = [(start + i, start + i + 1) for start, size in zip(first, sizes) for i in range(size - 1)]
    return {
        f"{prefix}S_A.txt": "".join(f"{a}, {b}\n{b}, {a}\n" for a, b in edges),
        f"{prefix}S_graph_indicator.txt": "".join(f"{g + 1}\n" * size for g, size in enumerate(sizes)),
        f"{prefix}S_graph_labels.txt": "".join(f"{size}\n" for size in sizes),
        f"{prefix}S_node_labels.txt": "1\n2\n" * (sum(sizes) // 2),
    }


def zipped(members: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


GOOD = zipped(tu_members("S/"))
CONTENT = {"original": tu.parse(files.read_archive(GOOD), "S").content}


@dataclasses.dataclass
class Server:
    """Serves a folder."""

    folder: Path
    url: str

    def publish(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return f"{self.url}/{name}"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path_factory.mktemp("published")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield Server(folder, f"http://127.0.0.1:{running.server_port}")
        running.shutdown()


def load(root: Path, *mirrors: str, content: dict[str, str] | None = CONTENT) -> Task:
    return tu.load("small", "S", root=str(root), content=content, mirrors=mirrors)


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def put(root: Path, content: bytes) -> Path:
    path = root / "tu-original" / "S.zip"
    path.parent.mkdir()
    path.write_bytes(content)
    return path


def test_absent_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    url = server.publish("S.zip", GOOD)
    task = load(tmp_path / "new", url)
    assert task.num_examples == 12
    assert everything(tmp_path) == ["new/tu-original/S.zip"]
    (server.folder / "S.zip").unlink()
    assert load(tmp_path / "new", url).content_hash == task.content_hash


def test_archives_that_differ_only_in_form_are_the_same(tmp_path: Path) -> None:
    # As published: a doubled slash, another order and compression, a read-me.
    members = {"S/": "", "S//README.txt": "hello"} | dict(reversed(tu_members("S//").items()))
    put(tmp_path, zipped(members, zipfile.ZIP_STORED))
    assert load(tmp_path).num_examples == 12


def test_next_mirror_is_tried(server: Server, tmp_path: Path) -> None:
    absent = f"{server.url}/absent.zip"
    truncated = server.publish("half.zip", GOOD[: len(GOOD) // 2])
    other = server.publish("other.zip", zipped(tu_members("S/") | {"S/S_graph_labels.txt": "1\n2\n" * 6}))
    good = server.publish("S.zip", GOOD)
    assert load(tmp_path, NOWHERE, absent, truncated, other, good).num_examples == 12
    assert everything(tmp_path) == ["tu-original/S.zip"]


def test_failed_downloads_are_all_named_and_leave_nothing(server: Server, tmp_path: Path) -> None:
    truncated = server.publish("half.zip", GOOD[: len(GOOD) // 2])
    other = server.publish("other.zip", zipped(tu_members("S/") | {"S/S_graph_labels.txt": "1\n2\n" * 6}))
    with pytest.raises(UserError) as caught:
        load(tmp_path, NOWHERE, f"{server.url}/absent.zip", truncated, other)
    message = str(caught.value)
    assert message.startswith(f"small: tu-original/S.zip not found under {tmp_path}, and no download worked: ")
    for part in (
        "http://127.0.0.1:9 (ConnectionError)",
        "(HTTP status 404)",
        "(this is no zip archive, or a truncated or damaged one",
        f"not the expected {CONTENT['original'][:12]} (content=null skips this check)",
        "put the missing files there by hand",
        "take a task that needs no files (digits, digits_knn",
    ):
        assert part in message
    assert everything(tmp_path) == []


def test_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(url: str, path: Path) -> None:
        path.write_bytes(GOOD[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, NOWHERE)
    assert everything(tmp_path) == []


def test_file_of_the_user_is_verified(tmp_path: Path) -> None:
    path = put(tmp_path, zipped(tu_members("S/") | {"S/S_graph_labels.txt": "1\n2\n" * 6}))
    with pytest.raises(UserError) as caught:
        load(tmp_path, NOWHERE)
    assert str(caught.value).startswith("small: the content has the hash ")
    assert f"not the expected {CONTENT['original'][:12]} (content=null skips this check)" in str(caught.value)
    assert str(caught.value).endswith(f"; mend or delete {path} (what is absent is downloaded).")
    assert load(tmp_path, content=None).num_examples == 12
    assert path.is_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is no zip archive, or a truncated or damaged one"),
        (b"<html>not found</html>", "this is no zip archive"),
        (GOOD[:-30], "this is no zip archive, or a truncated"),
        (GOOD[:60] + bytes([GOOD[60] ^ 255]) + GOOD[61:], "damaged one"),
        (zipped(tu_members("S/") | {"T/S_A.txt": "1, 2\n"}), "the archive has two members named S_A.txt"),
        (zipped({"S/S_A.txt": "1, 2\n"}), "the archive has no member S_graph_labels.txt"),
    ],
    # An archive holds the time at which it was made, and workers that collect tests at different times must agree.
    ids=["empty", "no archive", "truncated", "damaged", "two of a name", "one missing"],
)
def test_broken_archives(tmp_path: Path, content: bytes, message: str) -> None:
    path = put(tmp_path, content)
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, NOWHERE)
    assert str(path) in str(caught.value)


def test_member_that_grows_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MEMBER_LIMIT", 10_000)
    assert len(files.read_archive(zipped({"a": "0" * 10_000}))["a"]) == 10_000
    with pytest.raises(UserError, match="the member a decompresses to more than 10,000 bytes"):
        files.read_archive(zipped({"a": "0" * 10_001}))


def test_all_members_together_must_not_grow_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TOTAL_LIMIT", 10_000)
    assert len(files.read_archive(zipped({"a": "0" * 5_000, "b": "0" * 5_000}))) == 2
    with pytest.raises(UserError, match="the members decompress, together, to more than 10,000 bytes"):
        files.read_archive(zipped({"a": "0" * 5_000, "b": "0" * 5_001}))


def test_members_that_are_gzipped_are_read(tmp_path: Path) -> None:
    members = {f"{name}.gz": gzip.compress(content.encode()) for name, content in tu_members("S/").items()}
    put(tmp_path, zipped(members))
    assert load(tmp_path).num_examples == 12
    with pytest.raises(UserError, match=r"the archive has two members named S_A\.txt"):
        files.read_archive(zipped({"S_A.txt": "", "S_A.txt.gz": gzip.compress(b"")}))
    for content in (b"", b"no gzip", members["S/S_A.txt.gz"][:-9], members["S/S_A.txt.gz"] + b"more"):
        with pytest.raises(UserError, match="damaged"):
            files.read_archive(zipped({"S_A.txt.gz": content or b"\x1f"}))


def test_bombs_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gigabytes of zeros, packed by zip, by gzip, and by both, and an archive that lies about its size."""
    monkeypatch.setattr(files, "MEMBER_LIMIT", 2**24)
    zeros = gzip.compress(bytes(2**28), 1)
    plain = zipped({"a": bytes(2**28)})
    position = plain.rindex(b"PK\x01\x02") + 24  # the uncompressed size in the central directory
    lie = plain[:position] + (100).to_bytes(4, "little") + plain[position + 4 :]
    bombs = [plain, zipped({"a.gz": zeros}), zipped({"a.gz": zeros}, zipfile.ZIP_STORED), lie]
    tracemalloc.start()
    for bomb in bombs:
        with pytest.raises(UserError, match=r"the member a decompresses to more than 16,777,216 bytes|damaged one"):
            files.read_archive(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_members_outside_the_folder_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files.read_archive(zipped({"../../evil.txt": "x", "/etc/evil2.txt": "y"})) == {
        "evil.txt": b"x",
        "evil2.txt": b"y",
    }
    assert everything(tmp_path) == []


def test_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"tu-original/S.zip not found under .*file.* Not a directory"):
        load(tmp_path / "file", server.publish("S.zip", GOOD))


def test_sets_of_several_files_are_fetched_whole(server: Server, tmp_path: Path, data: Path) -> None:
    mirror = f"{server.url}/ind.{{dataset}}.{{part}}"
    for part in planetoid.PARTS[:-1]:
        server.publish(f"ind.cora.{part}", (data / "planetoid" / f"ind.cora.{part}").read_bytes())
    with pytest.raises(UserError, match=r"planetoid/ind.cora.test.index not found .*HTTP status 404"):
        planetoid.load("cora", "cora", root=str(tmp_path), mirrors=[mirror])
    assert everything(tmp_path) == []
    server.publish("ind.cora.test.index", (data / "planetoid" / "ind.cora.test.index").read_bytes())
    task = planetoid.load("cora", "cora", root=str(tmp_path), mirrors=[mirror])
    assert task.num_examples == 2708
    # Only what is absent is fetched.
    (tmp_path / "planetoid" / "ind.cora.ally").unlink()
    (server.folder / "ind.cora.allx").unlink()
    again = planetoid.load("cora", "cora", root=str(tmp_path), mirrors=[mirror])
    assert again.content_hash == task.content_hash


def test_npz_is_fetched_under_its_published_name(server: Server, tmp_path: Path, data: Path) -> None:
    server.publish("there.npz", (data / "npz" / "cora.npz").read_bytes())
    task = npz.load("c", "here", "there", root=str(tmp_path), mirrors=[f"{server.url}/{{published}}.npz"])
    assert task.num_examples == 2708
    assert everything(tmp_path) == ["npz/here.npz"]
    with pytest.raises(UserError, match=r"c: the content has the hash [0-9a-f]{12}, not the expected 000000000000 "):
        npz.load("c", "here", "there", root=str(tmp_path), content="0" * 64)
