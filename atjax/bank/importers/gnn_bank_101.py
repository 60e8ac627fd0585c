"""The layout of GNN-Bank-101, the paper's bank: one folder a trial, 45 characters long in name, which holds

config.yaml        the trial's settings, as GraphGym writes them
val/stats.json     one JSON object a line, one line a recorded epoch
test/stats.json    the same epochs on the test split
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from atjax.bank.importers.names import AGGREGATION, CONNECTIVITY, computed
from atjax.bank.records import FEATURE_SCHEMA, Record, records_table
from atjax.bank.store import Bank
from atjax.errors import UserError
from atjax.space import Choice, Design, Dimension, Space, paper_space

BUDGET = "gnn-bank-101"
FOLDER_NAME = 45
"""Characters of a trial's folder name; other folders are no trials."""
PERIOD = 20
"""Epochs from one record to the next; a trial that had as many left, or more, was cut off."""
LARGEST_FILE = 16 * 2**20
"""Bytes; a real one has a few thousand."""

_CONVOLUTION = {f"{name}conv": name for name in ("general", "gcn", "sage", "gin", "gat")}
_ACTIVATION = {"relu": "relu", "prelu": "prelu", "elu": "elu", "lrelu_01": "leaky_relu"}
_LEVELS = {"node": "node", "graph": "graph", "link_pred": "edge"}
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, where it is built: ten times as fast


def gnn_bank_space() -> Space:
    """The paper's space (Table 3), with the anchors' learning rate and epochs."""
    more = {
        "learning_rate": Dimension("learning_rate", (0.1, 0.01, 0.001)),
        "epochs": Dimension("epochs", (200, 400, 800, 1600)),
    }
    return Space("gnn-bank-101", tuple(more.get(d.name, d) for d in paper_space().dimensions))


def read_gnn_bank_101(folder: str | Path) -> Bank:
    """A folder of trials as a bank, without features.

    Of trials of one design, task and seed, the last by the folder's name is kept, of those that completed if any did.

    Args:
        folder: The folder that holds the trials' folders.

    Raises:
        UserError: There is no trial in the folder, or one cannot be read.
    """
    folder = Path(folder)
    try:
        trials = sorted(t for t in folder.iterdir() if len(t.name) == FOLDER_NAME and (t / "config.yaml").is_file())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} cannot be read; give the folder that holds the trials' folders.") from error
    if not trials:
        raise UserError(f"{folder} holds no trials of GNN-Bank-101: folders with {FOLDER_NAME} letters in their names.")
    frame = records_table([read_trial(trial) for trial in trials]).to_pandas()
    frame = frame.iloc[(frame["state"] == "complete").argsort(kind="stable")]
    frame = frame.drop_duplicates("key", keep="last").sort_values(["content_hash", "key"], ignore_index=True)
    return Bank(frame, FEATURE_SCHEMA.empty_table().to_pandas(), folder, gnn_bank_space())


def read_trial(folder: Path) -> Record:
    """One trial: the epoch of the best validation accuracy, ties to the lower loss, and the test accuracy there.

    A trial that was cut off is a failed one; one whose last loss is not finite diverged.

    Raises:
        UserError: A file is absent or not as GraphGym writes it, or the design is not of the bank's space.
    """
    file = folder / "config.yaml"
    try:
        config = yaml.load(_text(file), Loader=_Loader)
        design = _design(config)
        seed, level = _whole(config.get("seed", 0)), _LEVELS[config["dataset"]["task"]]
        parts = _parts(config["dataset"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{file} is no GraphGym configuration of a design of this bank's space; leave the trial out."
        ) from error
    validation, test = (_stats(folder / part / "stats.json") for part in ("val", "test"))
    epochs = [line["epoch"] + 1 for line in validation]
    if epochs != [line["epoch"] + 1 for line in test]:
        raise UserError(f"{folder} has other epochs in test/stats.json than in val/stats.json; leave the trial out.")
    if any(early >= late for early, late in itertools.pairwise([0, *epochs, design.epochs + 1])):
        raise UserError(f"{folder} has epochs in val/stats.json that are not of one training; leave the trial out.")
    state, reason = "complete", ""
    if not epochs or epochs[-1] + PERIOD <= design.epochs:
        state, reason = "failed", f"cut off after {len(validation)} recorded epochs"
    elif not math.isfinite(validation[-1]["loss"]):
        state, reason = "diverged", "the loss is not finite"
    losses = [line["loss"] if math.isfinite(line["loss"]) else math.inf for line in validation]
    best = max(range(len(epochs)), key=lambda n: (validation[n]["accuracy"], -losses[n]), default=0)
    complete = state == "complete"
    links = "links_" if level == "edge" else ""  # another task than the nodes of the same graph
    data_set, *made = parts
    return Record(
        task=links + computed(data_set, made),
        level=level,
        content_hash=f"gnn-bank-101-{links}{'_'.join(parts)}",
        metric="accuracy",
        design=design,
        seed=seed,
        budget=BUDGET,
        hidden_trained=design.hidden,
        epochs_trained=design.epochs,
        state=state,
        reason=reason,
        validation=validation[best]["accuracy"] if complete else math.nan,
        validation_loss=validation[best]["loss"] if complete else math.nan,
        test=test[best]["accuracy"] if complete else math.nan,
        best_epoch=epochs[best] if complete else 0,
        parameters=validation[0]["params"] if validation else 0,
        seconds=math.nan,
        compile_seconds=math.nan,
        epochs=epochs,
        validation_curve=[line["accuracy"] for line in validation],
        test_curve=[line["accuracy"] for line in test],
        train_loss_curve=[math.nan] * len(epochs),
        versions="{}",
        device="",
        date="",
    )


def _parts(dataset: Mapping[str, Any]) -> list[str]:
    """The data set's name, then those of features and of a label that were made."""
    parts = [dataset["name"], *(dataset.get("augment_feature") or ()), dataset.get("augment_label") or ""]
    if not parts[0] or not all(isinstance(part, str) for part in parts):
        raise ValueError("no name")
    return [part for part in parts if part]


def _design(config: Mapping[str, Any]) -> Design:
    gnn, optim = config["gnn"], config["optim"]
    convolution = _CONVOLUTION[gnn["layer_type"]]
    chosen: dict[str, Choice | None] = {
        "convolution": convolution,
        "heads": _whole(gnn.get("att_heads", 1)),
        "aggregation": AGGREGATION[gnn["agg"]],
        "activation": _ACTIVATION[gnn["act"]],
        "hidden": _whole(gnn["dim_inner"]),
        "connectivity": CONNECTIVITY[gnn["stage_type"]],
        "pre_layers": _whole(gnn["layers_pre_mp"]),
        "mp_layers": _whole(gnn["layers_mp"]),
        "post_layers": _whole(gnn["layers_post_mp"]),
        "learning_rate": float(optim["base_lr"]),
        "epochs": _whole(optim["max_epoch"]),
    }
    space = gnn_bank_space()
    # The bank writes heads and aggregation for every convolution; where they play no part, atjax has none.
    design = {d.name: chosen[d.name] if d.active(chosen) else None for d in space.dimensions}
    try:
        return space.design(design)
    except UserError as error:
        raise ValueError(str(error)) from error


def _stats(file: Path) -> Sequence[dict[str, Any]]:
    try:
        return [_line(json.loads(line)) for line in _text(file).splitlines() if line.strip()]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(
            f"{file} is not one JSON object a line with epoch, loss and an accuracy from 0 to 1; leave the trial out."
        ) from error


def _line(line: dict[str, Any]) -> dict[str, Any]:
    accuracy = _number(line["accuracy"])
    if not 0 <= accuracy <= 1:
        raise ValueError
    epoch, params = _whole(line["epoch"]), _whole(line.get("params", 0))
    return {"epoch": epoch, "params": params, "loss": _number(line["loss"]), "accuracy": accuracy}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _whole(value: Any) -> int:
    """From 0 up, of what the bank's 64 bits hold."""
    if not 0 <= _number(value) < 2**63 or value != int(value):
        raise ValueError
    return int(value)


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise UserError(f"{file} is larger than {LARGEST_FILE // 2**20} MiB; leave the trial out.")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read; leave the trial out, or mend it.") from error
