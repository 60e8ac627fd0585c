"""The projection g from task features to task embeddings (section 4.3, Equation 2, Algorithm 2).

    z_e = g(z_f) / |g(z_f)|,    g(x) = W2 relu(W1 x + b1) + b2,    d_e(i, j) = 1 - z_e(i) . z_e(j)

g is trained so that d_e ranks tasks as the bank's distance d_g does: over triplets (i, j, k) with
y = 1 if d_g(i, j) < d_g(i, k) else -1,

    loss = mean of max(0, margin - y (z_i . z_j - z_i . z_k)).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from atjax.errors import UserError, check_whole
from atjax.products import matmul

MINIMUM_TASKS = 3
"""A triplet needs three tasks."""

_SMALLEST = 1e-12
"""Keeps logarithms and norms finite."""


Inputs = Literal["log", "paper", "plain"]
"""What goes into the projection; see `ProjectionConfig.inputs`."""


@dataclass(frozen=True)
class ProjectionConfig:
    """Settings of the projection and of its training; the defaults are the paper's (appendix A) but for ``inputs``.

    Attributes:
        inputs: ``log``: the logarithm of the features, standardised over the training tasks. ``paper``: the features
            scaled to norm 1. Alphas are skewed, and the largest of them fills most of a vector of norm 1, whose other
            entries then hardly differ between tasks; logarithms tell tasks apart by every anchor. ``plain``: the
            features, standardised, for statistics that can be 0 or negative.
        hidden: Width of the hidden layer.
        dimension: D, the dimension of embeddings (the paper does not state it).
        margin: Margin of the ranking loss.
        learning_rate: Adam's.
        iterations: Number of updates.
        batch: Triplets an update.
    """

    inputs: Inputs = "log"
    hidden: int = 16
    dimension: int = 16
    margin: float = 0.1
    learning_rate: float = 5e-3
    iterations: int = 1000
    batch: int = 128

    def __post_init__(self) -> None:
        if self.inputs not in get_args(Inputs):
            raise UserError(f"projection.inputs must be one of {', '.join(get_args(Inputs))}; it is {self.inputs!r}.")
        for name in ("hidden", "dimension", "iterations", "batch"):
            check_whole(f"projection.{name}", getattr(self, name))
        if not 0 <= self.margin < math.inf or not 0 < self.learning_rate < math.inf:
            raise UserError(
                "projection.margin must not be negative and projection.learning_rate must be positive; "
                f"they are {self.margin} and {self.learning_rate}."
            )


class Weights(NamedTuple):
    """Parameters of g: w1 [E, H], b1 [H], w2 [H, D], b2 [D], with E the entries of a feature and H the hidden width."""

    w1: jax.Array
    b1: jax.Array
    w2: jax.Array
    b2: jax.Array


@dataclass(frozen=True, eq=False)
class Projection:
    """A trained projection.

    Attributes:
        weights: Parameters of g.
        shift: Subtracted from the inputs, [E].
        scale: The inputs are then divided by it, [E].
        config: What it was trained with.
        losses: Loss of every iteration, [iterations].
    """

    weights: Weights
    shift: np.ndarray
    scale: np.ndarray
    config: ProjectionConfig
    losses: np.ndarray

    def embed(self, features: np.ndarray) -> np.ndarray:
        """Embeddings of norm 1, float32 [..., D], of task features [..., E].

        The features must be of the kind that the projection was trained on.
        """
        inputs = (_inputs(features, self.config) - self.shift) / self.scale
        return np.asarray(_embed(self.weights, jnp.asarray(inputs, jnp.float32)))


def normalize(features: np.ndarray) -> np.ndarray:
    """Task features z_f of norm 1 from means over initialisations, [..., E] (section 4.2)."""
    return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), _SMALLEST)


def embedding_distance(embeddings: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """d_e = 1 - z . z0 of each of T tasks [T, D] to one task [D]: [T], between 0 and 2."""
    return 1 - embeddings @ embedding


def project(weights: Weights, inputs: jax.Array) -> jax.Array:
    """g and its normalisation: [..., E] to [..., D] of norm 1."""
    hidden = jax.nn.relu(matmul(inputs, weights.w1) + weights.b1)
    z = matmul(hidden, weights.w2) + weights.b2
    return z / jnp.sqrt(jnp.sum(z**2, axis=-1, keepdims=True) + _SMALLEST)


def ranking_loss(z: jax.Array, triplets: jax.Array, distances: jax.Array, margin: float) -> jax.Array:
    """Equation 2, the mean over triplets of max(0, margin - y (z_i . z_j - z_i . z_k)), a scalar.

    Args:
        z: Embeddings, [T, D].
        triplets: Task numbers (i, j, k), int [B, 3].
        distances: d_g, [T, T]. A triplet whose two distances tie, or are not both known (NaN), has no order and
            is left out of the mean.
        margin: The margin.
    """
    i, j, k = triplets.T
    similarity = matmul(z, z.T)
    y = jnp.nan_to_num(jnp.sign(distances[i, k] - distances[i, j]))
    loss = jnp.maximum(0, margin - y * (similarity[i, j] - similarity[i, k])) * jnp.abs(y)
    return jnp.sum(loss) / jnp.maximum(1, jnp.sum(jnp.abs(y)))


def sample_triplets(rng: np.random.Generator, tasks: int, shape: tuple[int, ...]) -> np.ndarray:
    """Triplets (i, j, k) of distinct task numbers, uniform, int32 [*shape, 3]."""
    i, j, k = (rng.integers(tasks - n, size=shape, dtype=np.int32) for n in range(3))
    # Number the tasks that are left: j skips i, and k skips the smaller of the two, then the larger.
    j = j + (j >= i)
    k = k + (k >= np.minimum(i, j))
    k = k + (k >= np.maximum(i, j))
    return np.stack([i, j, k], axis=-1)


def initial_weights(rng: np.random.Generator, anchors: int, config: ProjectionConfig) -> Weights:
    """He-normal matrices and zero biases, float32."""

    def matrix(rows: int, columns: int) -> jax.Array:
        return jnp.asarray(rng.normal(scale=np.sqrt(2 / rows), size=(rows, columns)), jnp.float32)

    first, second = matrix(anchors, config.hidden), matrix(config.hidden, config.dimension)
    return Weights(first, jnp.zeros(config.hidden), second, jnp.zeros(config.dimension))


def train_projection(
    features: np.ndarray, distances: np.ndarray, *, seed: int = 0, config: ProjectionConfig | None = None
) -> Projection:
    """Train g on a bank's tasks (Algorithm 2).

    One program for all iterations, compiled once for given shapes and settings.

    Args:
        features: Of T tasks, means over initialisations of their E entries, [T, E] (`TaskFeature.mean`).
        distances: d_g between the tasks, [T, T], NaN where it is not known.
        seed: Seed of the initialisation and of the triplets.
        config: Settings; the defaults if None.

    Raises:
        UserError: Fewer than three tasks, or no two distances from one task differ, so there is nothing to rank.
    """
    config = config or ProjectionConfig()
    distances = np.asarray(distances, np.float32)
    if len(features) < MINIMUM_TASKS:
        raise UserError(
            f"The projection needs at least {MINIMUM_TASKS} tasks in the bank and has {len(features)}; add more tasks."
        )
    if not has_order(distances):
        raise UserError("No task of the bank is known to be nearer to one task than to another; add shared designs.")
    inputs = _inputs(features, config)
    shift, scale = np.zeros(inputs.shape[1]), np.ones(inputs.shape[1])
    if config.inputs != "paper":
        shift, scale = inputs.mean(axis=0), inputs.std(axis=0)
        scale = np.where(scale > 1e-6, scale, 1.0)  # an entry that all tasks agree on tells nothing
    standardised = jnp.asarray((inputs - shift) / scale, jnp.float32)
    # Random numbers are drawn by numpy: XLA takes longer to compile its generator than to train.
    rng = np.random.default_rng(seed)
    weights = initial_weights(rng, inputs.shape[1], config)
    triplets = sample_triplets(rng, len(features), (config.iterations, config.batch))
    weights, losses = _train(weights, jnp.asarray(triplets), standardised, jnp.asarray(distances), config)
    return Projection(weights, shift, scale, config, np.asarray(losses))


def has_order(distances: np.ndarray) -> bool:
    """Whether some task has two known, different distances to others, so that a triplet can be ranked; [T, T]."""
    others = np.where(np.eye(len(distances), dtype=bool), np.nan, distances)
    known = [row[~np.isnan(row)] for row in others]
    return any(len(row) > 1 and row.min() < row.max() for row in known)


def _inputs(features: np.ndarray, config: ProjectionConfig) -> np.ndarray:
    features = np.asarray(features, np.float64)
    if config.inputs == "log" and not np.all(features > 0):
        raise UserError("The feature has entries that are not positive; set projection.inputs=plain.")
    if config.inputs == "plain":
        return features
    return normalize(features) if config.inputs == "paper" else np.log(features)


_embed = jax.jit(project)


@functools.partial(jax.jit, static_argnames="config")
def _train(
    weights: Weights, triplets: jax.Array, inputs: jax.Array, distances: jax.Array, config: ProjectionConfig
) -> tuple[Weights, jax.Array]:
    optimiser = optax.adam(config.learning_rate)

    def loss(weights: Weights, batch: jax.Array) -> jax.Array:
        return ranking_loss(project(weights, inputs), batch, distances, config.margin)

    def update(
        state: tuple[Weights, optax.OptState], batch: jax.Array
    ) -> tuple[tuple[Weights, optax.OptState], jax.Array]:
        weights, moments = state
        value, gradient = jax.value_and_grad(loss)(weights, batch)
        step, moments = optimiser.update(gradient, moments)
        return (optax.apply_updates(weights, step), moments), value

    (weights, _), losses = jax.lax.scan(update, (weights, optimiser.init(weights)), triplets)
    return weights, losses
