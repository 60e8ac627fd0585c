"""What was parsed is read again, as it was; a cache that is damaged, old or off is no cache."""

from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from atjax.config import load_task
from atjax.sources import cache, tu
from atjax.sources.cache import Entry, keep, name_entry, recall
from atjax.sources.parsed import Parsed
from atjax.task import Graphs

DTYPES = ["?", "i1", "<i4", "<i8", "<f4", "<f8"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATJAX_CACHE", str(tmp_path))
    return tmp_path / "tasks"


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=3)),
        max_size=4,
    ),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
)
def test_entries_come_back(shapes: dict[str, tuple[str, list[int]]], facts: dict[str, str]) -> None:
    rng = np.random.default_rng(0)
    arrays = {key: rng.integers(0, 99, shape).astype(dtype) for key, (dtype, shape) in shapes.items()}
    keep("entry", Entry(arrays, facts))
    found = recall("entry")
    assert found is not None
    assert found.facts == facts
    assert list(found.arrays) == list(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[key], array)
        assert (found.arrays[key].dtype, found.arrays[key].shape) == (array.dtype, array.shape)
        assert not array.size or not found.arrays[key].flags.writeable


def test_arrays_lie_in_the_file(folder: Path) -> None:
    keep("entry", Entry({"a": np.arange(3, dtype=np.int8), "b": np.arange(5.0)}, {}))
    found = recall("entry")
    assert found is not None
    for array in found.arrays.values():
        assert array.ctypes.data % cache.ALIGNMENT == 0
        assert not array.flags.owndata


def test_any_damage_makes_an_entry_absent(folder: Path) -> None:
    keep("entry", Entry({"a": np.arange(20), "b": np.zeros(0)}, {"note": "x"}))
    path = folder / "entry"
    whole = path.read_bytes()
    assert recall("entry") is not None
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert recall("entry") is None, position
        path.write_bytes(whole[:position])
        assert recall("entry") is None, position
    path.write_bytes(whole + b"\0")
    assert recall("entry") is None


def test_entries_of_other_code_are_absent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep("entry", Entry({}, {}))
    monkeypatch.setattr(cache, "_code", lambda: "other")
    assert recall("entry") is None
    keep("entry", Entry({}, {}))
    assert recall("entry") is not None


def test_names_tell_kinds_and_contents_apart() -> None:
    names = [name_entry(*args) for args in (("a", [b"x"]), ("b", [b"x"]), ("a", [b"x", b""]), ("a", [b""]), ("a", []))]
    assert len(set(names)) == len(names)
    assert name_entry("a", [b"xy", b"z"]) != name_entry("a", [b"x", b"yz"])


def test_the_cache_can_be_switched_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep("entry", Entry({}, {}))
    monkeypatch.setenv("ATJAX_TASK_CACHE", "off")
    assert recall("entry") is None
    keep("other", Entry({}, {}))
    assert [path.name for path in folder.iterdir()] == ["entry"]


def test_a_folder_that_cannot_be_written_is_no_fault(folder: Path) -> None:
    folder.write_text("")
    keep("entry", Entry({}, {}))
    assert recall("entry") is None


@pytest.mark.parametrize("nodes", [np.eye(3, 2, dtype=np.float32), sparse.csr_matrix(np.eye(3, 2, dtype=np.float32))])
def test_parsed_sets_come_back(nodes: np.ndarray | sparse.csr_matrix) -> None:
    graphs = Graphs.from_edges(nodes, np.array([0]), np.array([2]), np.array([3]))
    parsed = Parsed(graphs, {"labels": np.array([1, 2])}, ("a note",), "hash")
    again = Parsed.from_entry(parsed.entry())
    assert (again.notes, again.content) == (parsed.notes, parsed.content)
    np.testing.assert_array_equal(again.arrays["labels"], [1, 2])
    assert sparse.issparse(again.graphs.nodes) == sparse.issparse(nodes)
    np.testing.assert_array_equal(again.graphs.dense().nodes, graphs.dense().nodes)
    for field in ("senders", "receivers", "n_node", "n_edge"):
        np.testing.assert_array_equal(getattr(again.graphs, field), getattr(graphs, field))


@pytest.mark.parametrize("name", ["mutag", "cora", "texas", "amazon_photo"])
def test_a_task_is_parsed_once(data: Path, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_task(name, data_root=data)
    (entry,) = folder.iterdir()
    written = entry.stat().st_mtime_ns
    monkeypatch.setattr(cache, "keep", None)
    second = load_task(name, data_root=data)
    assert second.content_hash == first.content_hash
    assert second.notes == first.notes
    assert entry.stat().st_mtime_ns == written
    for seed in range(2):
        for ids, same in zip(dataclasses.astuple(first.split(seed)), dataclasses.astuple(second.split(seed))):
            np.testing.assert_array_equal(ids, same)
    entry.write_bytes(entry.read_bytes()[:-1])
    monkeypatch.undo()
    monkeypatch.setenv("ATJAX_CACHE", str(folder.parent))
    assert load_task(name, data_root=data).content_hash == first.content_hash
    assert recall(entry.name) is not None


def test_options_do_not_share_what_they_change(data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_task("mutag", data_root=data)
    monkeypatch.setattr(tu, "parse", None)
    assert load_task("mutag", data_root=data, features="degree").graphs.num_features == tu.DEGREE_CAP + 1


def _write(folder: str, number: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATJAX_CACHE", folder)
        for _ in range(50):
            keep("entry", Entry({"a": np.full(10_000, number)}, {}))
            found = recall("entry")
            assert found is not None
            assert len(np.unique(found.arrays["a"])) == 1


def test_two_processes_do_not_disturb_each_other(tmp_path: Path) -> None:
    other = multiprocessing.get_context("spawn").Process(target=_write, args=(str(tmp_path), 1))
    other.start()
    while other.is_alive():
        _write(str(tmp_path), 2)
    assert other.exitcode == 0
