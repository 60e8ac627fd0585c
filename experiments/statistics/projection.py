"""Scores with the learned projection: trained without the task that it is scored on, many trainings at once.

The same numbers as `atjax.embedding.train_projection` gives one by one (a test says so), by its own parts: here the
left-out tasks and the seeds go through one compiled program.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from atjax.embedding import (
    ProjectionConfig,
    Weights,
    initial_weights,
    project,
    ranking_loss,
    sample_triplets,
)

VERSION = 1
"""Raised when the same inputs come to give other numbers."""

SEEDS = 10
"""Trainings that a score is averaged over."""

CHUNK = 50
"""Permutations that are trained side by side."""

WIDTHS = (16, 32, 64, 128, 256)
"""Inputs are padded by zeros up to one of these, so that few programs are compiled; wider ones are first reduced."""


@functools.partial(jax.jit, static_argnames="config")
def _train(weights: Weights, triplets: Any, inputs: Any, others: Any, distances: Any, config: ProjectionConfig) -> Any:
    """Embeddings of all tasks, [seeds, left out, T, D].

    Args:
        weights: Initial weights, leading axis seeds.
        triplets: [seeds, iterations, batch, 3].
        inputs: Of all T tasks, as scaled for each left-out one, [left out, T, F].
        others: The tasks that are trained on, int [left out, T - 1].
        distances: Between them, [left out, T - 1, T - 1].
        config: Settings.
    """
    optimiser = optax.adam(config.learning_rate)

    def one(weights: Weights, triplets: Any, inputs: Any, others: Any, distances: Any) -> Any:
        seen = inputs[others]

        def loss(weights: Weights, batch: Any) -> Any:
            return ranking_loss(project(weights, seen), batch, distances, config.margin)

        def update(state: Any, batch: Any) -> Any:
            weights, moments = state
            step, moments = optimiser.update(jax.grad(loss)(weights, batch), moments)
            return (optax.apply_updates(weights, step), moments), None

        (weights, _), _ = jax.lax.scan(update, (weights, optimiser.init(weights)), triplets)
        return project(weights, inputs)

    left_out = jax.vmap(one, in_axes=(None, None, 0, 0, 0))
    return jax.vmap(left_out, in_axes=(0, 0, None, None, None))(weights, triplets, inputs, others, distances)


def scaled_for(inputs: np.ndarray, scale: bool) -> tuple[np.ndarray, np.ndarray]:
    """Inputs as each left-out task has them standardised over the others, [T, T, F], and the others, [T, T - 1]."""
    tasks = len(inputs)
    others = np.array([[j for j in range(tasks) if j != t] for t in range(tasks)])
    if not scale:
        return np.broadcast_to(inputs, (tasks, *inputs.shape)), others
    result = []
    for rest in others:
        deviation = inputs[rest].std(axis=0)
        standard = (inputs - inputs[rest].mean(axis=0)) / np.where(deviation > 1e-6, deviation, 1.0)
        if standard.shape[1] > WIDTHS[-1]:  # all that the others differ in, and the new task's share of it
            standard = standard @ np.linalg.svd(standard[rest], full_matrices=False)[2].T
        result.append(standard)
    return np.stack(result), others


def similarities(
    inputs: np.ndarray, distances: np.ndarray, seeds: Sequence[int], *, scale: bool = True, config: ProjectionConfig
) -> np.ndarray:
    """What each left-out task's projection says of it and the others, [seeds, n, T, T]: row t is of the one without t.

    Args:
        inputs: n features of T tasks, [n, T, F].
        distances: By performance, [T, T]; row and column t are not seen by t's projection.
        seeds: Of the trainings.
        scale: Standardise over the tasks that are trained on.
        config: Settings of the training; its ``inputs`` are not looked at.
    """
    number, tasks = inputs.shape[:2]
    prepared = [scaled_for(one, scale) for one in inputs]
    ready = np.concatenate([one for one, _ in prepared])
    others = np.concatenate([rest for _, rest in prepared])
    width = ready.shape[-1]
    most = next(limit for limit in WIDTHS if width <= limit)
    ready = np.pad(ready, [(0, 0), (0, 0), (0, most - width)]).astype(np.float32)
    starts, triplets = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        start = initial_weights(rng, width, config)
        starts.append(start._replace(w1=jnp.pad(start.w1, [(0, most - width), (0, 0)])))
        triplets.append(sample_triplets(rng, tasks - 1, (config.iterations, config.batch)))
    weights = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    among = np.stack([distances[np.ix_(rest, rest)] for rest in others]).astype(np.float32)
    z = np.asarray(_train(weights, np.stack(triplets), ready, others, among, config), np.float64)
    z = z.reshape(len(seeds), number, tasks, *z.shape[2:])
    own = np.arange(tasks)
    return np.einsum("sntd,sntjd->sntj", z[:, :, own, own], z)


def stored(
    folder: Path,
    inputs: np.ndarray,
    distances: np.ndarray,
    seeds: Sequence[int],
    *,
    scale: bool = True,
    config: ProjectionConfig,
) -> np.ndarray:
    """`similarities`, read from a folder if they were had before."""
    digest = hashlib.sha256(f"{VERSION} {list(seeds)} {scale} {config}".encode())
    for array in (inputs, distances):
        digest.update(f"{array.shape}".encode() + np.ascontiguousarray(array, np.float64).tobytes())
    file = folder / f"{digest.hexdigest()[:24]}.npy"
    if file.exists():
        return np.load(file, allow_pickle=False)
    result = similarities(inputs, distances, seeds, scale=scale, config=config).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.stem}.{os.getpid()}.npy")
    np.save(temporary, result)
    os.replace(temporary, file)
    return result


def null(
    folder: Path,
    inputs: np.ndarray,
    distances: np.ndarray,
    permutations: np.ndarray,
    *,
    scale: bool = True,
    config: ProjectionConfig,
) -> Iterator[np.ndarray]:
    """Similarities with the features given to other tasks, and the projections trained anew; [T, T] for each.

    Args:
        inputs: One feature of T tasks, [T, F].
        permutations: [N, T]; those of one chunk of `CHUNK` share a seed, which goes round.
    """
    for start in range(0, len(permutations), CHUNK):
        moved = inputs[permutations[start : start + CHUNK]]
        seed = start // CHUNK % SEEDS
        yield from stored(folder, moved, distances, [seed], scale=scale, config=config)[0]
