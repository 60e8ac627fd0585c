"""What can be done with a bank as a whole: describe it, check it, merge banks, export one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from atjax.atomic import replacing, write_text
from atjax.bank import provenance, store
from atjax.bank.records import (
    FEATURE_SCHEMA,
    RECORD_SCHEMA,
    STATES,
    FeatureRow,
    feature_key,
    frame_designs,
    frame_records,
    record_key,
)
from atjax.bank.store import Bank
from atjax.bank.target import check_target
from atjax.errors import UserError
from atjax.metrics import larger_is_better

_FLAT = [name for name, kind in zip(RECORD_SCHEMA.names, RECORD_SCHEMA.types) if not pa.types.is_list(kind)]


def describe(bank: Bank) -> pd.DataFrame:
    """One row a task and budget: level, metric, records, designs, seeds, share complete, features.

    A task of which the bank has features alone has no budget and no metric, and NaN for the share.
    """
    frame = bank.records.assign(complete=bank.records["state"] == "complete")
    table = frame.groupby(["task", "budget", "level", "metric", "content_hash"]).agg(
        records=("key", "size"), designs=("design", "nunique"), seeds=("seed", "nunique"), complete=("complete", "mean")
    )
    named = ["task", "level", "content_hash"]
    alone = bank.features.loc[~bank.features["content_hash"].isin(bank.records["content_hash"]), named]
    alone = alone.drop_duplicates().assign(budget="", metric="", records=0, designs=0, seeds=0, complete=np.nan)
    table = pd.concat([table.reset_index(), alone]).sort_values(["task", "budget"])
    counts = bank.features.groupby("content_hash").size()
    return table.assign(features=table["content_hash"].map(counts).fillna(0).astype(int)).reset_index(drop=True)


def problems(bank: Bank) -> list[str]:
    """What is wrong with a bank, a sentence each; empty if nothing is."""
    found = []
    try:
        provenance.runs_of(bank.path)
    except UserError as error:
        found.append(str(error))
    records, features = bank.records, bank.features
    for row, design in zip(records.to_dict("records"), frame_designs(records, bank.space)):
        where = f"record {row['key']} ({row['task']}, {row['design']})"
        if row["key"] != record_key(row["content_hash"], design, row["seed"], row["budget"]):
            found.append(f"{where}: the key is not that of its task, design, seed and budget")
        if row["design"] != design.key:
            found.append(f"{where}: the design's columns are those of {design.key}")
        if row["state"] not in STATES:
            found.append(f"{where}: the state is {row['state']!r}")
        shares = larger_is_better(row["metric"])
        if shares and not all(np.isnan(row[part]) or 0 <= row[part] <= 1 for part in ("validation", "test")):
            found.append(f"{where}: {row['metric']} is not between 0 and 1")
        if row["state"] != "complete" and not np.isnan(row["validation"]):
            found.append(f"{where}: it has a score, and is {row['state']}")
        lengths = {len(row[name]) for name in ("epochs", "validation_curve", "test_curve", "train_loss_curve")}
        if len(lengths) > 1:
            found.append(f"{where}: its curves have different lengths")
    for row in features.to_dict("records"):
        where = f"feature {row['key']} ({row['task']}, {row['fisher']})"
        if row["key"] != feature_key(row["content_hash"], row["seed"], row["fisher"]):
            found.append(f"{where}: the key is not that of its task, seed and settings")
        if np.ndim(row["values"]) != 2 or not np.isfinite(row["values"]).all():
            found.append(f"{where}: its numbers are not finite, or no table")
    for frame in (records, features):
        for column in ("level", "metric"):
            if column in frame:
                kinds = frame.groupby("content_hash")[column].nunique()
                found += [f"task {bank.tasks[task]}: it has several {column}s" for task in kinds[kinds > 1].index]
    return found


def merge(target: Path, sources: Sequence[str | Path]) -> int:
    """Add to a bank what other banks hold and it lacks; what it has stays as it is.

    Args:
        target: The bank's folder; made if absent.
        sources: Folders of banks, or ``embedded``.

    Returns:
        How many records and features were added.

    Raises:
        UserError: A source cannot be read, and nothing is added then; or the target cannot be written.
    """
    check_target(target, "The bank to merge into")
    banks = [store.load_bank(source) for source in sources]
    provenance.runs_of(target)  # what cannot be read is told before anything is added
    runs = [provenance.runs_of(bank.path) for bank in banks]
    added = 0
    for bank, noted in zip(banks, runs):
        held = store.keys(target)
        new = bank.records[~bank.records["key"].isin(held)]
        for record in frame_records(new):
            store.append(target, record)
        rows = bank.features[~bank.features["key"].isin(held)]
        for row in rows[[name for name in FEATURE_SCHEMA.names if name != "key"]].to_dict("records"):
            store.append_feature(target, FeatureRow(**{str(name): value for name, value in row.items()}))
        added += len(new) + len(rows)
        provenance.add(target, noted)
    store.compact(target)
    return added


def export(bank: Bank, file: Path) -> None:
    """Write a bank's records into one file: ``.csv`` without the curves, or ``.parquet`` with them.

    Raises:
        UserError: The file's name ends otherwise.
    """
    if file.suffix == ".csv":
        write_text(file, bank.records[[name for name in bank.records if name in _FLAT]].to_csv(index=False))
    elif file.suffix == ".parquet":
        with replacing(file) as opened:
            pq.write_table(pa.Table.from_pandas(bank.records, preserve_index=False), opened, compression="zstd")
    else:
        raise UserError(f"A bank is exported to a file that ends in .csv or .parquet; {file} does not.")
