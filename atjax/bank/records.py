"""What the bank holds: one record a training, one row a task feature, and their Parquet schemas.

The paper's bank is B = {(task, trials (M, H, l))} (section 3); a `Record` is one such trial with its curves, a
`FeatureRow` holds the numbers alpha of section 4.2 that a task's feature z_f is made of.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from atjax.metrics import larger_is_better
from atjax.space import FIELDS, Design, Space, paper_space

STATES = ("complete", "diverged", "failed")

_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()
_DESIGN_TYPES = {
    "convolution": _TEXT,
    "heads": _INT,
    "aggregation": _TEXT,
    "activation": _TEXT,
    "hidden": _INT,
    "connectivity": _TEXT,
    "pre_layers": _INT,
    "mp_layers": _INT,
    "post_layers": _INT,
    "learning_rate": _FLOAT,
    "epochs": _INT,
}

RECORD_SCHEMA = pa.schema(
    {
        "key": _TEXT,
        "task": _TEXT,
        "level": _TEXT,
        "content_hash": _TEXT,
        "metric": _TEXT,
        "design": _TEXT,
        **{name if name != "epochs" else "design_epochs": kind for name, kind in _DESIGN_TYPES.items()},
        "seed": _INT,
        "budget": _TEXT,
        "hidden_trained": _INT,
        "epochs_trained": _INT,
        "state": _TEXT,
        "reason": _TEXT,
        "validation": _FLOAT,
        "validation_loss": _FLOAT,
        "test": _FLOAT,
        "best_epoch": _INT,
        "parameters": _INT,
        "seconds": _FLOAT,
        "compile_seconds": _FLOAT,
        "epochs": pa.list_(_INT),
        "validation_curve": pa.list_(_FLOAT),
        "test_curve": pa.list_(_FLOAT),
        "train_loss_curve": pa.list_(_FLOAT),
        "versions": _TEXT,
        "device": _TEXT,
        "date": _TEXT,
    }
)
"""Columns of ``records/*.parquet``.

``design`` is `Design.key`; the design's fields follow under their own names, except for its nominal number of epochs,
``design_epochs``, since ``epochs`` are the recorded ones.
"""

FEATURE_SCHEMA = pa.schema(
    {
        "key": _TEXT,
        "task": _TEXT,
        "level": _TEXT,
        "content_hash": _TEXT,
        "seed": _INT,
        "fisher": _TEXT,
        "values": pa.list_(pa.list_(_FLOAT)),
        "seconds": _FLOAT,
        "versions": _TEXT,
        "date": _TEXT,
    }
)
"""Columns of ``features/*.parquet``."""

_DESIGN_COLUMNS = {name: name if name != "epochs" else "design_epochs" for name in FIELDS}


def _hash(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def now() -> str:
    """The time in UTC, ISO 8601, to the second, as the dates of rows are."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def record_key(content_hash: str, design: Any, seed: int, budget: str) -> str:
    """The key of a training, 16 hexadecimal digits, known before it is run; the task's name plays no part."""
    return _hash("record", content_hash, design.key, seed, budget)


def feature_key(content_hash: str, seed: int, fisher: str) -> str:
    """The key of a task feature, 16 hexadecimal digits, known before it is computed."""
    return _hash("feature", content_hash, seed, fisher)


@dataclass(frozen=True)
class Record:
    """One training of one design on one task.

    Attributes:
        task: The task's name.
        level: ``node``, ``edge`` or ``graph``.
        content_hash: `Task.bank_hash`, by which the task is known whatever its name.
        metric: What ``validation`` and ``test`` are, one of `atjax.task.Metric`.
        design: The nominal design.
        seed: Seed of the split and of the initialisation.
        budget: Name of the budget.
        hidden_trained: The width that the budget built for the nominal one.
        epochs_trained: The epochs that the budget trained for the nominal ones.
        state: ``complete``; ``diverged`` (the loss became NaN or infinite); or ``failed`` (such as out of memory).
        reason: Why it is not complete, in words; empty if it is.
        validation: Best validation metric; NaN unless complete, as are the next two.
        validation_loss: Validation loss at that epoch.
        test: Test metric at that epoch.
        best_epoch: That epoch; 0 unless complete.
        parameters: Number of trained parameters.
        seconds: Wall time of training, without compilation.
        compile_seconds: Wall time of compilation.
        epochs: Epochs at which the curves were recorded.
        validation_curve: Validation metric at those epochs.
        test_curve: Test metric at those epochs.
        train_loss_curve: Training loss at those epochs.
        versions: Versions of the libraries, a JSON object.
        device: The device, in words.
        date: When it ended, ISO 8601 in UTC.

    Raises:
        ValueError: Unknown state; curves that do not fit the epochs; a metric on a run that is not complete.
    """

    task: str
    level: str
    content_hash: str
    metric: str
    design: Design
    seed: int
    budget: str
    hidden_trained: int
    epochs_trained: int
    state: str
    reason: str
    validation: float
    validation_loss: float
    test: float
    best_epoch: int
    parameters: int
    seconds: float
    compile_seconds: float
    epochs: list[int]
    validation_curve: list[float]
    test_curve: list[float]
    train_loss_curve: list[float]
    versions: str
    device: str
    date: str

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state {self.state!r} is none of {STATES}")
        if any(len(curve) != len(self.epochs) for curve in self.curves):
            raise ValueError(f"the curves' lengths {[len(c) for c in self.curves]} are not {len(self.epochs)} epochs")
        if self.state != "complete" and not all(map(math.isnan, (self.validation, self.validation_loss, self.test))):
            raise ValueError(f"a {self.state} run has no metrics; give NaN")

    @property
    def curves(self) -> tuple[list[float], list[float], list[float]]:
        """Validation, test and training-loss curves."""
        return self.validation_curve, self.test_curve, self.train_loss_curve

    @property
    def key(self) -> str:
        """What tells this training from others: task by content, design, seed and budget."""
        return record_key(self.content_hash, self.design, self.seed, self.budget)


@dataclass(frozen=True, eq=False)
class FeatureRow:
    """The Fisher statistics of one task under all anchors, before they are averaged and normalised (section 4.2).

    Attributes:
        task: The task's name.
        level: ``node``, ``edge`` or ``graph``.
        content_hash: `Task.bank_hash`.
        seed: Seed of the split.
        fisher: Key of the Fisher settings; features compare only under the same settings.
        values: alpha = m2 / m1^2 for every anchor and initialisation, float64 [A, R], or what else the settings name,
            [E, R] (`atjax.feature.TaskFeature.values`).
        seconds: Wall time.
        versions: Versions of the libraries, a JSON object.
        date: When it ended, ISO 8601 in UTC.

    Raises:
        ValueError: ``values`` are not [E, R], or not finite.
    """

    task: str
    level: str
    content_hash: str
    seed: int
    fisher: str
    values: np.ndarray
    seconds: float
    versions: str
    date: str

    def __post_init__(self) -> None:
        if np.ndim(self.values) != 2 or not np.all(np.isfinite(self.values)):
            raise ValueError("values must be finite, [E, R]")

    @property
    def key(self) -> str:
        """What tells this feature from others: task by content, split seed and Fisher settings."""
        return feature_key(self.content_hash, self.seed, self.fisher)


def records_table(records: Sequence[Record]) -> pa.Table:
    """Records as a table of `RECORD_SCHEMA`."""
    rows = []
    for record in records:
        row: dict[str, Any] = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
        chosen = {_DESIGN_COLUMNS[name]: value for name, value in record.design.as_dict().items()}
        rows.append(row | chosen | {"key": record.key, "design": record.design.key})
    return pa.Table.from_pylist(rows, schema=RECORD_SCHEMA)


def features_table(rows: Sequence[FeatureRow]) -> pa.Table:
    """Feature rows as a table of `FEATURE_SCHEMA`."""
    plain = [f.name for f in dataclasses.fields(FeatureRow)]
    return pa.Table.from_pylist(
        [
            {name: getattr(row, name) for name in plain} | {"key": row.key, "values": np.asarray(row.values).tolist()}
            for row in rows
        ],
        schema=FEATURE_SCHEMA,
    )


def design_column(dimension: str) -> str:
    """The column of `Bank.records` that holds a dimension of the design."""
    return _DESIGN_COLUMNS.get(dimension, dimension)


def frame_designs(records: pd.DataFrame, space: Space | None = None) -> list[Any]:
    """The design of every row of `Bank.records`, with plain Python values.

    Args:
        records: The rows.
        space: The bank's space, for the names and types of its dimensions; the paper's if None. Designs with other
            choices than the space has are read all the same.
    """
    space = space or paper_space()
    kinds = {d.name: type(d.choices[0]) for d in (*paper_space().dimensions, *space.dimensions)}
    names = [field.name for field in dataclasses.fields(space.kind)]
    columns = [
        [None if pd.isna(value) else kinds[name](value) for value in records[design_column(name)]] for name in names
    ]
    return [space.kind(*values) for values in zip(*columns)]


def frame_records(records: pd.DataFrame) -> list[Record]:
    """The rows of `Bank.records`, designs of the paper's kind, as records again."""
    plain = [f.name for f in dataclasses.fields(Record) if f.name != "design"]
    rows = records[plain].to_dict("records")
    for name in ("epochs", "validation_curve", "test_curve", "train_loss_curve"):
        for row in rows:
            row[name] = np.asarray(row[name]).tolist()
    return [
        Record(design=design, **{str(name): value for name, value in row.items()})
        for design, row in zip(frame_designs(records), rows)
    ]


def goodness(records: pd.DataFrame, score: str = "validation") -> pd.Series:
    """The metric of every row, with its sign turned where less is better, so that more is always better.

    By ``validation``, or by ``test``, for reports only. NaN for a run that is not complete, and where the metric is
    undefined.
    """
    sign = records["metric"].map(lambda metric: 1.0 if larger_is_better(metric) else -1.0).astype(float)
    return (sign * records[score]).where(records["state"] == "complete")
