"""GraphGym's published grid: 96 designs on 12 real and 20 synthetic tasks (You et al., 2020, "design_v2_grid_round2").

One CSV file, one row for each task and design, averaged over trainings (see `SEEDS`). The one score of a row is the
accuracy on the held-out split at the last epoch; there is no test split, so ``test`` is NaN.
"""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from pandas.errors import EmptyDataError, ParserError

from atjax.bank.importers.names import AGGREGATION, CONNECTIVITY, computed
from atjax.bank.records import FEATURE_SCHEMA, Record, records_table
from atjax.bank.store import Bank
from atjax.errors import UserError
from atjax.space import Design, Dimension, Space

BUDGET = "graphgym"
SEEDS = 3
"""Repeats that the grid averages over: the accuracies of TU_BZR are multiples of 1 / (3 x 81), and their deviations
those of 3 numbers, divided by 3."""

DIMENSIONS = {
    "l_pre": "pre_layers",
    "l_mp": "mp_layers",
    "l_post": "post_layers",
    "stage": "connectivity",
    "agg": "aggregation",
}
"""The columns that vary, and what atjax calls them."""

_COLUMNS = (*DIMENSIONS, "dataset", "task", "feature", "label", "epoch", "loss", "params", "accuracy", "accuracy_std")


def graphgym_space() -> Space:
    """The grid's 96 designs: the layers, connectivity and aggregation of the anchors, all else fixed."""
    return Space(
        "graphgym",
        (
            Dimension("convolution", ("general",)),
            Dimension("heads", (1,), "convolution", ("gat",)),
            Dimension("aggregation", ("sum", "mean", "max")),
            Dimension("activation", ("prelu",)),
            Dimension("hidden", (256,)),
            Dimension("connectivity", ("skip_sum", "skip_concat")),
            Dimension("pre_layers", (1, 2)),
            Dimension("mp_layers", (2, 4, 6, 8)),
            Dimension("post_layers", (2, 3)),
            Dimension("learning_rate", (0.01,)),
            Dimension("epochs", (400,)),
        ),
    )


def read_grid(file: Path) -> pd.DataFrame:
    """The file's rows, with tasks and dimensions under atjax's names.

    Returns:
        The file's columns with those of `DIMENSIONS` renamed, and the column ``name``: the task. A synthetic task is
        named by its graphs, feature and label.

    Raises:
        UserError: The file is absent or cannot be read, is no such table, or has a number that no training gives, a
            design that is not of the grid, or one twice.
    """
    try:
        if not file.is_file():
            raise UserError(f"There is no file {file}; it is published with GraphGym, under run/results_agg.")
        if file.name == "train.csv":  # of the same columns and designs
            raise UserError(f"{file} has the scores on the training examples; give the val.csv beside it.")
        frame = pd.read_csv(file, dtype={name: str for name in ("dataset", "feature", "label")})
    except OSError as error:
        raise UserError(f"{file} cannot be read; give GraphGym's aggregated val.csv.") from error
    except (ParserError, EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no CSV table; give GraphGym's aggregated val.csv.") from error
    if missing := [column for column in _COLUMNS if column not in frame]:
        raise UserError(f"{file} has no column {missing[0]!r}; give the val.csv of GraphGym's design_v2_grid_round2.")
    if frame.empty:
        raise UserError(f"{file} has no rows; give the val.csv of GraphGym's design_v2_grid_round2.")
    frame = _checked(file, frame)
    named = frame[["dataset", "feature", "label"]].fillna("").itertuples(index=False)
    frame = frame.assign(
        name=[computed(data_set, filter(None, made)) for data_set, *made in named],
        stage=frame["stage"].map(CONNECTIVITY),
        agg=frame["agg"].map(AGGREGATION),
    ).rename(columns=DIMENSIONS)
    for name in DIMENSIONS.values():
        wrong = ~frame[name].isin(graphgym_space()[name].choices)
        if wrong.any():
            raise UserError(f"{file}: row {int(wrong.argmax()) + 2} has a {name} that the grid does not have; mend it.")
    again = frame.duplicated(["name", *DIMENSIONS.values()])
    if again.any():
        raise UserError(f"{file}: row {int(again.argmax()) + 2} has the task and design of an earlier row; delete one.")
    return frame.astype({name: int for name in ("pre_layers", "mp_layers", "post_layers")})  # as 1.0 another's key


def _checked(file: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with their numbers as numbers, once all are what a training gives."""
    number = frame[["accuracy", "accuracy_std", "loss", "epoch", "params"]].apply(pd.to_numeric, errors="coerce")
    right = {
        "dataset": frame["dataset"].notna(),
        "task": frame["task"].isin(["node", "edge", "graph"]),
        "accuracy": number["accuracy"].between(0, 1),
        "accuracy_std": number["accuracy_std"].between(0, 1),
        "loss": number["loss"].notna() | frame["loss"].isna(),
        "epoch": number["epoch"].isin(range(400)),
        "params": number["params"].between(0, 2**53) & (number["params"] % 1 == 0),
    }
    for name, holds in right.items():
        if not holds.all():
            row, value = int(holds.argmin()), str(frame[name].iloc[int(holds.argmin())])
            raise UserError(f"{file}: row {row + 2} has {name}={value[:40]!r}, which no training gives; mend the file.")
    return frame.assign(**number).astype({"epoch": int})


def read_graphgym(file: str | Path) -> Bank:
    """The grid as a bank, without features.

    Args:
        file: ``val.csv`` of ``design_v2_grid_round2``.

    Raises:
        UserError: As from `read_grid`.
    """
    file = Path(file)
    records = [
        Record(
            task=row["name"],
            level=row["task"],
            content_hash=f"graphgym-{row['name']}",
            metric="accuracy",
            design=Design(
                convolution="general",
                heads=None,
                activation="prelu",
                hidden=256,
                learning_rate=0.01,
                epochs=400,
                **{name: row[name] for name in DIMENSIONS.values()},
            ),
            seed=0,
            budget=BUDGET,
            hidden_trained=256,
            epochs_trained=row["epoch"] + 1,
            state="complete",
            reason="",
            validation=row["accuracy"],
            validation_loss=row["loss"],
            test=math.nan,
            best_epoch=row["epoch"] + 1,
            parameters=int(row["params"]),
            seconds=math.nan,
            compile_seconds=math.nan,
            epochs=[],
            validation_curve=[],
            test_curve=[],
            train_loss_curve=[],
            versions="{}",
            device="",
            date="",
        )
        for row in read_grid(file).to_dict("records")
    ]
    frame = records_table(records).to_pandas().sort_values(["content_hash", "key"], ignore_index=True)
    return Bank(frame, FEATURE_SCHEMA.empty_table().to_pandas(), file, graphgym_space())
