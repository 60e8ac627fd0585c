"""From stored features to similarities between tasks: which numbers, of which anchors, compared how."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atjax.bank import Bank
from atjax.space import ANCHORS, Design

FEATURES = Path(__file__).parent / "features"

LOGARITHMS = ("log_alpha", "layer_trace", "largest_eigenvalue", "kfac_trace", "kfac_moments")
"""Statistics that are logarithms already. Of others the logarithm is taken, if all values are positive."""

META = "meta"
"""The source and the statistic of what no model was asked for."""

VIEWS = ("cosine of norm 1", "cosine", "euclid")
"""Similarities: the paper's, and two of standardised logarithms."""

Key = tuple[str, str]
"""A task and the seed of its split."""


@dataclass(frozen=True, eq=False)
class Feature:
    """One statistic on T tasks, of n feature seeds.

    Attributes:
        statistic: Its name.
        source: Settings of the estimator, and the anchors.
        values: [n, T, A, R, K], NaN where anchors have no such entry.
        anchors: What tells the A designs apart (see `structure`); empty for what has none.
        plain: Whether the values are compared as they are, and not their logarithms.
    """

    statistic: str
    source: str
    values: np.ndarray
    anchors: tuple[str, ...]
    plain: bool = False

    @property
    def name(self) -> str:
        return self.statistic if self.statistic == self.source else f"{self.statistic} [{self.source}]"

    def take(self, anchors: Sequence[int]) -> Feature:
        """The feature of some of the anchors."""
        kept = tuple(self.anchors[a] for a in anchors)
        return dataclasses.replace(self, values=self.values[:, :, list(anchors)], anchors=kept)

    def resampled(self, rng: np.random.Generator) -> Feature:
        """The feature of R initialisations drawn with replacement, the same for all tasks."""
        drawn = rng.integers(self.values.shape[3], size=self.values.shape[3])
        return dataclasses.replace(self, values=self.values[:, :, :, drawn])

    @property
    def raw(self) -> np.ndarray:
        """Means over initialisations, anchors one after another, [n, T, F]; NaN became the mean over tasks."""
        count = np.sum(~np.isnan(self.values), axis=3)
        mean = np.nansum(self.values, axis=3) / np.where(count, count, np.nan)
        flat = mean.reshape(*mean.shape[:2], -1)
        flat = flat[:, :, ~np.all(np.isnan(flat), axis=(0, 1))]
        known = ~np.isnan(flat)
        average = np.sum(np.where(known, flat, 0), axis=1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
        return np.where(known, flat, average)

    @property
    def inputs(self) -> np.ndarray:
        """Logarithms of the means; the means where these are logarithms already, or not all positive; [n, T, F]."""
        raw = self.raw
        return raw if self.plain or raw.min() <= 0 else np.log(raw)


def similarity(feature: Feature, view: str) -> np.ndarray:
    """Similarities between tasks, [n, T, T]."""
    if view == "cosine of norm 1":
        return cosine(feature.raw)
    inputs = standardised(feature.inputs)
    return cosine(inputs) if view == "cosine" else -euclid(inputs)


def standardised(inputs: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 over tasks, [..., T, F]; what does not differ between tasks is 0."""
    centred = inputs - inputs.mean(axis=-2, keepdims=True)
    deviation = centred.std(axis=-2, keepdims=True)
    return centred / np.where(deviation > 1e-6, deviation, np.inf)


def cosine(vectors: np.ndarray) -> np.ndarray:
    """Cosines between all rows, [..., T, T]."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return unit @ np.swapaxes(unit, -1, -2)


def euclid(vectors: np.ndarray) -> np.ndarray:
    """Distances between all rows, [..., T, T]."""
    return np.linalg.norm(vectors[..., :, None, :] - vectors[..., None, :, :], axis=-1)


# What anchors that differ in known ways say together


def derived(feature: Feature) -> Iterator[Feature]:
    """Features made of one that has a number an anchor: what design choices do to it, in logarithms.

    ``paired``: its change between any two anchors that differ in one choice. ``effects``: the effects of all choices,
    by least squares over the anchors. ``spread``: the deviation over initialisations.
    """
    values = feature.values
    if values.shape[-1] != 1 or len(feature.anchors) < 3:
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = values if feature.plain or np.nanmin(values) <= 0 else np.log(values)
    designs = [tuple(key.split("/")) for key in feature.anchors]

    def made(kind: str, values: np.ndarray) -> Feature:
        return Feature(f"{feature.statistic}: {kind}", feature.source, values, ("",) * values.shape[2], plain=True)

    pairs = one_choice_apart(designs)
    if len(pairs):
        yield made("paired", logs[:, :, pairs[:, 1]] - logs[:, :, pairs[:, 0]])
    yield made("effects", np.einsum("ea,ntark->nterk", effects(designs), logs))
    if values.shape[3] > 2:
        yield made("spread", np.log(np.maximum(logs.std(axis=3, keepdims=True), 1e-12)))


def structure(design: Design) -> str:
    """What anchors differ in: ``pre/mp/post/connectivity/aggregation``."""
    return f"{design.pre_layers}/{design.mp_layers}/{design.post_layers}/{design.connectivity}/{design.aggregation}"


def one_choice_apart(designs: Sequence[tuple[str, ...]]) -> np.ndarray:
    """Pairs of designs that differ in exactly one choice, [pairs, 2]."""
    found = [
        (a, b)
        for b in range(len(designs))
        for a in range(b)
        if sum(x != y for x, y in zip(designs[a], designs[b])) == 1
    ]
    return np.array(found, int).reshape(-1, 2)


def effects(designs: Sequence[tuple[str, ...]]) -> np.ndarray:
    """Least-squares effects of the choices from values of the designs, [effects, A].

    Numbers of layers act linearly, others by choice against their first one; the mean is left out. Of choices that
    these designs do not tell apart, the smallest effects are taken.
    """
    columns = []
    for choices in zip(*designs):
        if all(choice.isdigit() for choice in choices):
            columns.append(np.array(choices, float) - np.mean(np.array(choices, float)))
        else:
            columns += [np.array([c == kind for c in choices], float) for kind in sorted(set(choices))[1:]]
    used = [column for column in columns if np.ptp(column) > 0]
    return np.linalg.pinv(np.stack([np.ones(len(designs)), *used], axis=1))[1:]


def together(name: str, source: str, parts: Sequence[Feature]) -> Feature:
    """Several features side by side, each standardised and of equal weight; [n, T, 1, 1, F]."""
    number = min(part.values.shape[0] for part in parts)
    blocks = [standardised(part.inputs[:number]) for part in parts]
    joined = np.concatenate([block / np.sqrt(block.shape[-1]) for block in blocks], axis=-1)
    return Feature(name, source, joined[:, :, None, None, :], (), plain=True)


# Stored features


def load(folder: Path, tasks: Sequence[str]) -> tuple[list[Feature], list[str]]:
    """Features of these tasks, and sentences on those that some task lacks."""
    stored: dict[tuple[str, str], dict[Key, np.ndarray]] = defaultdict(dict)
    anchors: dict[tuple[str, str], tuple[str, ...]] = {}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file, allow_pickle=False) as arrays:
            head = json.loads(str(arrays["head"]))
            for name in head["statistics"]:
                place = (name, head["source"])
                stored[place][head["task"], str(head["seed"])] = arrays[f"value/{name}"]
                anchors[place] = tuple(head["anchors"])
    features, lacks = [], []
    for (name, source), found in stored.items():
        seeds = {seed for _, seed in found}
        whole = sorted(seed for seed in seeds if all((task, seed) in found for task in tasks))
        if not whole:
            have = max(sum((task, seed) in found for task in tasks) for seed in seeds)
            lacks.append(f"{name} [{source}]: {have} of {len(tasks)} tasks")
            continue
        values = [[found[task, seed] for task in tasks] for seed in whole]
        features.append(Feature(name, source, padded(values), anchors[name, source], name in (*LOGARITHMS, META)))
    return features, lacks


def padded(values: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Arrays [A, R] or [A, R, K] of n seeds and T tasks as one, [n, T, A, R, K], NaN where K falls short."""
    cubes = [[value if value.ndim == 3 else value[..., None] for value in row] for row in values]
    most = max(cube.shape[-1] for row in cubes for cube in row)
    return np.stack(
        [
            np.stack([np.pad(c, [(0, 0), (0, 0), (0, most - c.shape[-1])], constant_values=np.nan) for c in row])
            for row in cubes
        ]
    ).astype(float)


def of_bank(bank: Bank, tasks: Sequence[str]) -> list[Feature]:
    """The alphas that a bank holds of these tasks, if it holds all; not its features of several statistics."""
    alone = bank.features[bank.features["values"].map(len) == len(ANCHORS)]
    found: Mapping[str, np.ndarray] = dict(zip(alone["task"], alone["values"]))
    if not all(task in found for task in tasks):
        return []
    values = np.stack([np.asarray(found[task], float) for task in tasks])[None, ..., None]
    return [Feature("alpha", "bank", values, tuple(structure(anchor) for anchor in ANCHORS))]
