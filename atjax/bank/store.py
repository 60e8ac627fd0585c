"""The bank on disk: many small Parquet files, safe to write from several processes at once, and to kill.

A bank is a folder::

    records/*.parquet     trainings, `RECORD_SCHEMA`
    features/*.parquet    task features, `FEATURE_SCHEMA`
    PROVENANCE.json       how it was made
    locks/                empty files; who works on what

Each write is a shard of its own, named by its key, so that a repeat overwrites itself. `compact` merges shards into
one file a task. Reading drops duplicate keys, a shard's row before a merged one, so that a crash between the two steps
of `compact` loses and doubles nothing. Writing needs POSIX file locks; reading does not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from atjax.atomic import replacing
from atjax.bank.records import FEATURE_SCHEMA, RECORD_SCHEMA, FeatureRow, Record, features_table, records_table
from atjax.errors import UserError
from atjax.space import Space, paper_space

T = TypeVar("T")

_SHARD = ".shard.parquet"
_SCHEMAS = {"records": RECORD_SCHEMA, "features": FEATURE_SCHEMA}
_RENAMED = {"alphas": "values"}
"""Columns of banks that an earlier version has written, and what they are called now."""


@dataclass(frozen=True, eq=False)
class Bank:
    """A bank in memory.

    Attributes:
        records: One row a training, columns of `RECORD_SCHEMA`, sorted by content hash and key.
        features: One row a task feature, columns of `FEATURE_SCHEMA`, sorted alike; ``values`` are arrays [E, R].
        path: The folder or file it was read from.
        space: What its designs are taken from; the paper's space, unless the bank was imported. The columns of another
            space's designs stand in place of the paper's.
    """

    records: pd.DataFrame
    features: pd.DataFrame
    path: Path
    space: Space = field(default_factory=paper_space)

    def __repr__(self) -> str:
        held = f"{len(self.tasks)} tasks, {len(self.records):,} records, {len(self.features)} features"
        return f"Bank({self.name!r}: {held}, designs of the space {self.space.name!r})"

    @property
    def name(self) -> str:
        """What it was asked for by: ``embedded``, or its path."""
        return "embedded" if self.path == _embedded() else str(self.path)

    @property
    def tasks(self) -> dict[str, str]:
        """The tasks with a record or a feature: content hash to name (the first by alphabet, if it has several)."""
        columns = ["content_hash", "task"]
        named = pd.concat([self.records[columns], self.features[columns]]).drop_duplicates()
        first = named.groupby("content_hash")["task"].min()
        return dict(zip(first.index, first))

    def without(self, *, content_hash: str, name: str) -> Bank:
        """The bank without a task: neither what has its content nor what has its name, however that is written.

        A set read with other features has another content, and under the collection's own name for it, as COX2 for
        cox2, another name. Of a task with a split of its own, all splits are left out (`Task.bank_hash`). And all that
        is of the same data set (`data_set`) as the name, or as any name of the same content: links of a graph like
        designs that its nodes like, so links_cora goes with cora, and cora with links_cora.
        """
        content = content_hash.partition(":")[0]

        def same(frame: pd.DataFrame) -> pd.Series:
            return frame["content_hash"].map(lambda held: held.partition(":")[0]) == content

        names = {name}.union(*(frame.loc[same(frame), "task"] for frame in (self.records, self.features)))
        made_of = set(map(data_set, names))

        def other(frame: pd.DataFrame) -> pd.DataFrame:
            return frame[~same(frame) & ~frame["task"].map(data_set).isin(made_of)]

        return dataclasses.replace(self, records=other(self.records), features=other(self.features))

    def where(self, **equal: object) -> Bank:
        """The rows whose columns equal the values given; a frame without such a column is not narrowed by it.

        Raises:
            UserError: Neither records nor features have such a column.
        """
        records, features = self.records, self.features
        for column, value in equal.items():
            if column not in records and column not in features:
                raise UserError(f"The bank has no column {column!r}; its columns are {', '.join(RECORD_SCHEMA.names)}.")
            records = records[records[column] == value] if column in records else records
            features = features[features[column] == value] if column in features else features
        return dataclasses.replace(self, records=records, features=features)


def data_set(name: str) -> str:
    """What a task is made of, by its name: in lower case, without what stands between its words, without the ``links_``
    of pairs of nodes and the ``_filtered`` of what is a part of a set (chameleon's), and of a synthetic task its graphs
    (`atjax.sources.synthetic`)."""
    graphs = re.sub(r"^links[\W_]+|[\W_]+filtered$", "", name.lower())
    return re.sub(r"[\W_]+", "", re.sub(r"^(scalefree|smallworld)_.*", r"\1", graphs))


def append(folder: Path, record: Record) -> None:
    """Write one record as a shard, in place of an earlier one of the same key."""
    _write_shard(folder, "records", record.key, records_table([record]))


def append_feature(folder: Path, row: FeatureRow) -> None:
    """Write one task feature as a shard, in place of an earlier one of the same key."""
    _write_shard(folder, "features", row.key, features_table([row]))


def keys(folder: Path) -> set[str]:
    """The keys of all records and features in the folder; empty if there is no folder.

    Raises:
        UserError: A merged file cannot be read.
    """
    held = {file.name.removesuffix(_SHARD) for kind in _SCHEMAS for file in _shards(folder / kind)}
    return held | _merged_keys(folder)


def has(folder: Path, key: str) -> bool:
    """Whether the folder holds the record or the feature of this key; for many keys ask `keys` once.

    Raises:
        UserError: A merged file cannot be read.
    """
    return any((folder / kind / (key + _SHARD)).exists() for kind in _SCHEMAS) or key in _merged_keys(folder)


@contextlib.contextmanager
def claim(folder: Path, key: str) -> Iterator[bool]:
    """Claim a key for the ``with`` block: True if it was free, False if another process (or thread) has it.

    The claim is a kernel lock on a file, so it ends with the process however that ends. Ask `has` once more after a
    claim: another process may have just finished the key.
    """
    with _flock(folder / "locks" / key, wait=False) as mine:
        yield mine


@contextlib.contextmanager
def exclusively(folder: Path, name: str) -> Iterator[None]:
    """Wait for, then hold, a lock of this name on the bank for the ``with`` block."""
    with _flock(folder / "locks" / name, wait=True):
        yield


def compact(folder: Path) -> None:
    """Merge all shards into one file a task, ``<task>-<start of content hash>.parquet``.

    Waits for writers, and makes them wait. May be killed at any point: merged files are complete before the first
    shard goes.

    Raises:
        UserError: A file cannot be read; nothing of its kind is changed then.
    """
    with exclusively(folder, "compact"):
        for kind, schema in _SCHEMAS.items():
            for leftover in (folder / kind).glob(".*.tmp"):  # of killed writers: none is at work now
                leftover.unlink()
            merged, shards = _merged(folder / kind), _shards(folder / kind)
            if not shards:
                continue
            table = pa.concat_tables(_read_all([*merged, *shards], schema))
            frame = _newest(_frame(table.select(["key", "task", "content_hash"])))
            names = [f"{_plain(task)}-{content[:8]}" for task, content in zip(frame["task"], frame["content_hash"])]
            for name, rows in frame.groupby(names):
                _write(folder / kind / f"{name}.parquet", table.take(rows.index.to_numpy()), compression="zstd")
            renamed = [file for file in merged if file.stem not in names]  # all its keys came anew, as another task's
            for file in [*renamed, *shards]:
                file.unlink()


def load_bank(path: str | Path = "embedded") -> Bank:
    """Read a bank.

    Args:
        path: A bank's folder; ``embedded`` for the bank that atjax ships.

    Raises:
        UserError: There is no such folder, nothing in it, or a file in it cannot be read.
    """
    if path == "embedded":
        folder = _embedded()
        if not folder.is_dir():
            raise UserError(
                "This copy of atjax ships no bank; build one with python -m atjax.build_bank and give bank=."
            )
    else:
        folder = Path(path)
        if not folder.is_dir():
            raise UserError(f"There is no bank at {folder}; build one with python -m atjax.build_bank, or mend bank=.")
    tables = {kind: _load(folder / kind, schema) for kind, schema in _SCHEMAS.items()}
    if not any(map(len, tables.values())):
        raise UserError(f"The folder {folder} holds no records of a bank; build some with python -m atjax.build_bank.")
    records, features = (
        _newest(_frame(tables[kind])).sort_values(["content_hash", "key"], ignore_index=True) for kind in _SCHEMAS
    )
    features = features.assign(values=features["values"].map(np.stack))
    return Bank(records, features, folder)


def _embedded() -> Path:
    """The folder of the bank that atjax ships."""
    return Path(str(resources.files("atjax.bank"))) / "data"


def _load(folder: Path, schema: pa.Schema) -> pa.Table:
    def listed() -> pa.Table:
        # Shards are listed first: one that `compact` merges from now on is then found to be gone. With merged files
        # first, `compact` in between could move records from a list not yet made into one already made.
        shards = _shards(folder)
        return pa.concat_tables([schema.empty_table(), *_read_all([*_merged(folder), *shards], schema)])

    return _still(folder, listed)


def _still(folder: Path, read: Callable[[], T]) -> T:
    """What is read of a folder, once no file vanishes meanwhile: `compact` removes those that it has merged."""
    for _ in range(10):
        try:
            return read()
        except FileNotFoundError:
            continue
    raise UserError(f"Files in {folder} keep vanishing while they are read; try again once nothing writes there.")


def _frame(table: pa.Table) -> pd.DataFrame:
    """A table as a frame, made without Arrow's own threads, as files are read.

    Where these are at work as a process ends it may abort, with all that it had to do done (apache/arrow#34314); for a
    bank they are no faster.
    """
    return table.to_pandas(use_threads=False)


def _newest(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a key; files are read merged ones first, so the last row is the newest."""
    return frame.drop_duplicates("key", keep="last")


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*" + _SHARD))


def _merged(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.parquet") if not file.name.endswith(_SHARD))


def _merged_keys(folder: Path) -> set[str]:
    def listed() -> list[pa.Table]:
        return [_read(file, schema, ["key"]) for kind, schema in _SCHEMAS.items() for file in _merged(folder / kind)]

    return {key for table in _still(folder, listed) for key in table["key"].to_pylist()}


def _plain(task: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", task).lstrip(".")


def _read_all(files: Sequence[Path], schema: pa.Schema) -> list[pa.Table]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda file: _read(file, schema), files))


def _read(file: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    try:
        with pq.ParquetFile(file, memory_map=True, pre_buffer=False) as parquet:
            found = parquet.schema_arrow
            found = pa.schema([field.with_name(_RENAMED.get(field.name, field.name)) for field in found])
            table = parquet.read(columns=columns, use_threads=False) if found.equals(schema) else None
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{file} is no readable Parquet file, perhaps cut off; delete it and build its records again."
        ) from error
    if table is None:
        strange = sorted({(f.name, f.type) for f in found} ^ {(f.name, f.type) for f in schema}, key=str)
        differ = ", ".join(dict.fromkeys(name for name, _ in strange)) or "their order"
        raise UserError(f"{file} is not of this version's bank (columns that differ: {differ}); move it elsewhere.")
    names = [_RENAMED.get(name, name) for name in table.column_names]
    return table.rename_columns(names).replace_schema_metadata(None)


def _write_shard(folder: Path, kind: str, key: str, table: pa.Table) -> None:
    with _flock(folder / "locks" / "compact", wait=True, shared=True):
        # Of one row, so statistics, dictionaries and compression only make the file larger and slower to read.
        _write(folder / kind / (key + _SHARD), table, compression="none", use_dictionary=False, write_statistics=False)


def _write(path: Path, table: pa.Table, **options: object) -> None:
    with replacing(path) as file:
        pq.write_table(table, file, **options)


@contextlib.contextmanager
def _flock(path: Path, *, wait: bool, shared: bool = False) -> Iterator[bool]:
    """Hold a kernel lock on a file, made if need be; False if another holds it and we do not wait.

    Where there are no locks this raises `OSError`, unlike `atjax.atomic.lock`: writers that go on would lose records.
    """
    import fcntl  # POSIX only: kept from those who only read a bank

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
