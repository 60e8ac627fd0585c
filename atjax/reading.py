"""From a user's own graphs and labels to the parts of a task: levels, losses, labels, splits."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np

from atjax.encoding import LARGEST, SHOWN, Encoded, Encoding, describe_features, factorize, learn
from atjax.errors import UserError
from atjax.raw import RawGraphs, members_of_parts, parts_of_sets
from atjax.values import as_float


class Options(TypedDict, total=False):
    """Settings of a task that is made of a user's own graphs.

    Attributes:
        name: Name of the task; ``own`` if not given.
        level: Whose labels are learnt, ``node`` or ``graph``; needed only where both have some.
        loss: One of `atjax.task.METRICS`; by default ``cross_entropy`` for words, truth values and whole numbers,
            ``binary_cross_entropy`` for several columns of 0 and 1, ``mse`` for other numbers.
        metric: One of `atjax.task.METRICS` of the loss; the first by default.
        split: The numbers of the examples, or a mask, for each of ``train``, ``validation`` and ``test``; instead of a
            split that the graphs carry themselves. Without any, the task is split by seed.
        directed: Keep the direction of edges, of those that have one; by default both directions are used.
        categories: Attributes of nodes or edges whose numbers are kinds, to be coded one-hot as words are.
        unlabelled: A label that says that there is none; None and NaN always say so.
        target: Which columns of the labels are learnt, counted from 0, where there are several: one, or a list.
    """

    name: str
    level: str | None
    loss: str | None
    metric: str | None
    split: Mapping[str, Any] | None
    directed: bool
    categories: str | Sequence[str]
    unlabelled: Hashable | None
    target: int | Sequence[int] | None


class Labels(NamedTuple):
    """Labels as a task has them, its loss, its number of outputs, its classes where it has such, and notes."""

    values: np.ndarray
    loss: str
    num_outputs: int
    classes: tuple[Hashable, ...] | None
    notes: tuple[str, ...]

    @property
    def missing(self) -> np.ndarray:
        """Which examples have no label at all, bool [N]."""
        return self.values < 0 if self.loss == "cross_entropy" else np.isnan(self.values).all(axis=1)


class Reading(NamedTuple):
    """The parts of a task: the split is ids of training, validation and test examples, or None."""

    level: str
    labels: Labels
    encoding: Encoding
    encoded: Encoded
    split: tuple[np.ndarray, ...] | None
    notes: tuple[str, ...]


def read(raw: RawGraphs, options: Options) -> Reading:
    """All that a task needs, and notes on how it was found.

    Raises:
        UserError: An option is wrong, or the graphs, their labels or their split are faulty.
    """
    if unknown := [name for name in options if name not in Options.__annotations__]:
        known = ", ".join(Options.__annotations__)
        raise UserError(f"{unknown[0]!r} is no option of a task; choose from {known}.")
    level = raw.level(options.get("level"))
    if (shape := raw.labels[level].shape)[2:]:
        raise UserError(f"The labels have the shape {shape}; give one, or a row of them, for each {level}.")
    if not isinstance(unlabelled := options.get("unlabelled"), Hashable):
        raise UserError(f"unlabelled={unlabelled!r} is no label; give the one label that says that there is none.")
    if (target := options.get("target")) is not None:
        given = choose_targets(raw.labels[level].reshape(len(raw.labels[level]), -1), target)
        raw = dataclasses.replace(raw, labels={**raw.labels, level: given})
    labels = read_labels(raw, level, options.get("loss"), unlabelled)
    categories, directed = options.get("categories", ()), options.get("directed", False)
    if not isinstance(directed, bool):
        raise UserError(f"directed={directed!r} is neither true nor false; give one of them.")
    encoding = learn(raw, level, labels.classes, directed=directed, categories=categories)
    split, said = read_split(raw, level, labels, options.get("split"))
    encoded = encoding.apply(raw)
    notes = (*raw.notes, *describe_features(encoding), *labels.notes, *encoded.notes, *said)
    return Reading(level, labels, encoding, encoded, split, notes)


def choose_targets(table: np.ndarray, target: object) -> np.ndarray:
    """Some columns of labels [N, K] by their numbers: one, or a list; None for all.

    Raises:
        UserError: There is no such column, or one is named twice.
    """
    if target is None:
        return table
    wanted = list(target) if isinstance(target, list | tuple) else [target]
    whole = [int(number) for number in wanted if isinstance(number, int | np.integer)]
    columns = [number for number in whole if number in range(table.shape[1])]
    if not wanted or len(set(columns)) < len(wanted) or any(isinstance(number, bool) for number in wanted):
        raise UserError(
            f"target={target!r} names no columns of the labels, of which there are {table.shape[1]}; give a whole "
            f"number from 0 to {table.shape[1] - 1}, or a list of different ones."
        )
    return table[:, columns]


def read_labels(raw: RawGraphs, level: str, loss: str | None, unlabelled: Hashable | None) -> Labels:
    """Labels of nodes or graphs in the form of a task; see `Options` for what they are taken for.

    Args:
        raw: The set.
        level: Whose labels.
        loss: How they are learnt; None to choose by their kind.
        unlabelled: A label that says that there is none; None and NaN always say so.

    Raises:
        UserError: Their number is wrong, all are missing, or they are of no use for the loss.
    """
    given, count = raw.labels[level], raw.count(level)
    if not count:
        raise UserError(f"There are no {level}s; give at least one.")
    if len(given) != count:
        raise UserError(f"There are {len(given)} labels for {count} {level}s; give one label each.")
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if not isinstance(loss, str | None):
        raise UserError(f"loss={loss!r} is none; give the name of one.")
    if loss is None:
        loss = _loss_of(given, unlabelled)
    labels = _classes(given, level, unlabelled) if loss == "cross_entropy" else _outputs(raw, level, loss, unlabelled)
    if missing := int(labels.missing.sum()):
        if missing == count:
            raise UserError(f"None of the {count} {level}s has a label; give some.")
        role = "which take part in message passing only" if level == "node" else "which are left out"
        note = f"{level.capitalize()}s without a label, {role}: {missing:,}."
        labels = labels._replace(notes=(*labels.notes, note))
    return labels


def _loss_of(given: np.ndarray, unlabelled: Hashable | None) -> str:
    """What labels of this kind are learnt by."""
    if given.ndim == 2 and given.dtype.kind in "biuf":
        none = np.isnan(given) if unlabelled is None else np.isnan(given) | (given == unlabelled)
        if np.all(np.isin(given, (0, 1)) | none):
            return "binary_cross_entropy"
    return "mse" if given.dtype.kind == "f" else "cross_entropy"


def _classes(given: np.ndarray, level: str, unlabelled: Hashable | None) -> Labels:
    """Classes in ascending order of the owner's labels, -1 for none."""
    if given.ndim != 1:
        raise UserError(f"The labels have the shape {given.shape}; give one class for each {level}.")
    codes, found = factorize(given)
    if unlabelled is not None and unlabelled in found:
        place = found.index(unlabelled)
        codes = np.where(codes == place, -1, codes - (codes > place))
        found = (*found[:place], *found[place + 1 :])
    sizes = np.bincount(codes[codes >= 0], minlength=len(found))
    listed = ", ".join(f"{number} = {label!r} ({size:,})" for number, (label, size) in enumerate(zip(found, sizes)))
    if len(found) > SHOWN:
        listed = f"{len(found)}, in ascending order from {found[0]!r} to {found[-1]!r}"
    return Labels(codes.astype(np.int32), "cross_entropy", len(found), found, (f"Classes: {listed}.",))


def _outputs(raw: RawGraphs, level: str, loss: str, unlabelled: Hashable | None) -> Labels:
    """Numbers [N, C], each output by itself, NaN for none."""
    given = raw.labels[level]
    if given.dtype == object and not any(isinstance(label, str) for label in given.flat):
        # Whole numbers, or true and false, of which some are missing.
        with contextlib.suppress(TypeError, ValueError):
            given = np.reshape([np.nan if label is None else as_float(label) for label in given.flat], given.shape)
    if given.dtype.kind not in "biuf":
        raise UserError(f"The labels of the {level}s are words, not numbers; take loss=cross_entropy for classes.")
    values = given.astype(np.float64).reshape(len(given), -1)
    if unlabelled is not None:
        values[given.reshape(values.shape) == unlabelled] = np.nan
    bad = np.flatnonzero((np.abs(values) > LARGEST).any(axis=1))
    if bad.size:
        raise UserError(f"{raw.where(level, bad[0])}: the label is infinite; give a number, or none.")
    if loss == "mse" and not np.isnan(values).all():
        what = f"numbers from {np.nanmin(values):.4g} to {np.nanmax(values):.4g}"
    else:
        what = "0 or 1" if loss == "binary_cross_entropy" else "numbers"
    columns = f", {values.shape[1]} for each {level}" if values.shape[1] > 1 else ""
    return Labels(values, loss, values.shape[1], None, (f"Labels: {what}{columns} (loss={loss}).",))


def read_split(
    raw: RawGraphs, level: str, labels: Labels, sets: Mapping[str, object] | None
) -> tuple[tuple[np.ndarray, ...] | None, tuple[str, ...]]:
    """Ids of training, validation and test examples by the owner's own split, ascending, and notes; None without one.

    Raises:
        UserError: The split is faulty (`atjax.raw.parts_of_sets`), of the nodes alone where graphs are the examples; a
            part is empty, or holds what has no label.
    """
    codes, notes = _own_parts(raw, level, labels, sets)
    if codes is None or (sets is None and not np.any(codes >= 0)):
        return None, ()
    ids = members_of_parts(codes, labels.missing, level, raw.where)
    sizes = ", ".join(f"{len(members):,}" for members in ids)
    return ids, (f"Split: the data's own, {sizes} {level}s for training, validation and test.", *notes)


def _own_parts(
    raw: RawGraphs, level: str, labels: Labels, sets: Mapping[str, object] | None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Codes of the examples' parts, of sets or as the data have them, None if they have none; notes on other splits.

    A graph's part is that of its nodes, those with a label, where only graphs have one and nodes are the examples.
    """
    if sets is not None:
        return parts_of_sets(sets, raw.count(level), level, raw.where), ()
    found = {whose: codes for whose, codes in raw.parts.items() if np.any(codes >= 0)}
    if level in found:
        return found[level], tuple(f"The split of the {other}s is not used." for other in found if other != level)
    if "graph" in found:
        codes = np.repeat(found["graph"], raw.n_node)
        return np.where(labels.missing, -1, codes), ("The split is that of the graphs, each for all of its nodes.",)
    if "node" in found:
        raise UserError(
            "The nodes have a split, but graphs are the examples; give each graph its part, or take the split away."
        )
    return None, ()
