"""The projection: Equation 2 against a plain loop, and a metric that it must recover."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kendalltau

from atjax.compilation import counting
from atjax.embedding import (
    ProjectionConfig,
    embedding_distance,
    has_order,
    initial_weights,
    normalize,
    project,
    ranking_loss,
    sample_triplets,
    train_projection,
)
from atjax.errors import UserError


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return normalize(rng.normal(size=shape))


def symmetric(rng: np.random.Generator, size: int) -> np.ndarray:
    distances = rng.random((size, size))
    return distances + distances.T


# Equation 2


def loop_loss(z: np.ndarray, triplets: np.ndarray, distances: np.ndarray, margin: float) -> float:
    """Equation 2 as it is written; a triplet without an order is skipped."""
    terms = []
    for i, j, k in triplets:
        if not (distances[i, j] < distances[i, k] or distances[i, j] > distances[i, k]):
            continue
        y = 1 if distances[i, j] < distances[i, k] else -1
        terms.append(max(0.0, -y * (z[i] @ z[j] - z[i] @ z[k]) + margin))
    return sum(terms) / max(1, len(terms))


@pytest.mark.parametrize("seed", range(3))
def test_loss_is_equation_2(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, distances = unit(rng, 9, 4), symmetric(rng, 9)
    distances[2, 5] = distances[2, 6] = 0.3  # a tie
    distances[4] = np.nan
    triplets = np.array(list(itertools.permutations(range(9), 3)))
    with jax.enable_x64(True):
        loss = float(ranking_loss(jnp.asarray(z), jnp.asarray(triplets), jnp.asarray(distances), 0.1))
    assert loss == pytest.approx(loop_loss(z, triplets, distances, 0.1), rel=1e-12)


def test_a_tie_has_no_part_in_the_loss() -> None:
    z = np.eye(3)
    tied = np.array([[0, 0.5, 0.5], [0.5, 0, 0.2], [0.5, 0.2, 0]])
    triplets = np.array([[0, 1, 2]])
    assert float(ranking_loss(jnp.asarray(z), jnp.asarray(triplets), jnp.asarray(tied), 0.1)) == 0
    both = np.array([[0, 1, 2], [1, 0, 2]])  # the second is ordered; orthogonal embeddings cost the margin
    assert float(ranking_loss(jnp.asarray(z), jnp.asarray(both), jnp.asarray(tied), 0.1)) == pytest.approx(0.1)


def test_gradient_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    inputs, distances = rng.normal(size=(7, 5)), symmetric(rng, 7)
    triplets = sample_triplets(rng, 7, (40,))
    config = ProjectionConfig(hidden=6, dimension=4)
    with jax.enable_x64(True):
        weights = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64) + 0.1 * rng.normal(size=leaf.shape),
            initial_weights(rng, 5, config),
        )

        @jax.jit
        def loss(weights):  # type: ignore[no-untyped-def]
            return ranking_loss(project(weights, jnp.asarray(inputs)), triplets, jnp.asarray(distances), 0.1)

        gradient = jax.grad(loss)(weights)
        for name in weights._fields:
            leaf = np.asarray(getattr(weights, name))
            for index in [tuple(rng.integers(leaf.shape)) for _ in range(4)]:
                step = np.zeros_like(leaf)
                step[index] = 1e-6
                up, down = (loss(weights._replace(**{name: leaf + sign * step})) for sign in (1, -1))
                assert float(getattr(gradient, name)[index]) == pytest.approx(float(up - down) / 2e-6, abs=1e-7)


# Algorithm 2


def test_triplets_are_distinct_and_uniform() -> None:
    triplets = sample_triplets(np.random.default_rng(0), 4, (24000,))
    found, counts = np.unique(triplets, axis=0, return_counts=True)
    assert {tuple(row) for row in found.tolist()} == set(itertools.permutations(range(4), 3))
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(1000))


def circle(seed: int, tasks: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Tasks on a circle: alphas are a random nonlinear map of the position, with a large nuisance; and distances."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, tasks)
    position = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    signal = np.tanh(position @ rng.normal(size=(2, 8)) * 1.5) @ rng.normal(size=(8, 12))
    nuisance = np.outer(rng.normal(size=tasks), rng.normal(size=12))
    alphas = 1 + np.exp(rng.uniform(0.2, 2.5, 12) * signal + 1.4 * nuisance)
    return alphas, np.linalg.norm(position[:, None] - position[None], axis=-1)


def agreement(embeddings: np.ndarray, distances: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Mean Kendall tau between d_e and d_g, from each left-out task to the training tasks."""
    taus = [
        kendalltau(embedding_distance(embeddings[train], embeddings[t]), distances[t, train]).statistic for t in test
    ]
    return float(np.mean(taus))


@pytest.mark.parametrize("seed", range(3))
def test_the_projection_ranks_the_neighbours_of_unseen_tasks(seed: int) -> None:
    alphas, distances = circle(seed)
    train, test = np.arange(24), np.arange(24, 30)
    taus = {}
    for inputs in ("log", "paper"):
        config = ProjectionConfig(inputs=inputs)  # type: ignore[arg-type]
        projection = train_projection(alphas[train], distances[np.ix_(train, train)], seed=seed, config=config)
        taus[inputs] = agreement(projection.embed(alphas), distances, train, test)
        assert projection.losses[-20:].mean() < 0.4 * projection.losses[:20].mean()
    raw = agreement(normalize(alphas), distances, train, test)
    assert taus["log"] > 0.8
    assert taus["log"] > taus["paper"] > raw


def test_shuffled_distances_cannot_be_predicted() -> None:
    """The check of the check above: where there is nothing to learn, nothing is found."""
    alphas, distances = circle(0)
    order = np.random.default_rng(0).permutation(30)
    shuffled = distances[np.ix_(order, order)]
    train, test = np.arange(24), np.arange(24, 30)
    projection = train_projection(alphas[train], shuffled[np.ix_(train, train)])
    assert abs(agreement(projection.embed(alphas), shuffled, train, test)) < 0.4


def test_embeddings_have_norm_1_and_keep_leading_axes() -> None:
    alphas, distances = circle(1, tasks=12)
    projection = train_projection(alphas, distances, config=ProjectionConfig(iterations=10, dimension=5))
    embeddings = projection.embed(alphas.reshape(3, 4, 12))
    assert embeddings.shape == (3, 4, 5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(projection.embed(alphas[5]), embeddings[1, 1], atol=1e-6)


def test_inputs_of_the_paper_ignore_the_scale_of_features() -> None:
    alphas, distances = circle(1, tasks=12)
    projection = train_projection(alphas, distances, config=ProjectionConfig(inputs="paper", iterations=10))
    np.testing.assert_allclose(projection.embed(7 * alphas), projection.embed(alphas), atol=1e-6)


def test_the_seed_decides_all() -> None:
    alphas, distances = circle(2, tasks=12)
    first, again, other = (train_projection(alphas, distances, seed=seed).embed(alphas) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_one_compilation_for_the_same_shapes() -> None:
    alphas, distances = circle(3, tasks=13)
    config = ProjectionConfig(iterations=7)
    train_projection(alphas, distances, config=config).embed(alphas)
    with counting() as seen:
        for seed in range(3):
            train_projection(
                alphas[::-1], distances[::-1, ::-1], seed=seed, config=ProjectionConfig(iterations=7)
            ).embed(alphas)
    assert seen.count == 0
    with counting() as seen:
        train_projection(alphas[:12], distances[:12, :12], config=config)
    assert seen.count > 0


def test_distance_is_one_minus_cosine() -> None:
    rng = np.random.default_rng(0)
    z = unit(rng, 6, 3)
    expected = [1 - sum(a * b for a, b in zip(z[t], z[0])) for t in range(6)]
    np.testing.assert_allclose(embedding_distance(z, z[0]), expected, atol=1e-12)
    assert embedding_distance(z, -z[0])[0] == pytest.approx(2)


def test_what_cannot_be_trained_on() -> None:
    alphas, distances = circle(0, tasks=12)
    with pytest.raises(UserError, match="needs at least 3 tasks in the bank and has 2; add more tasks"):
        train_projection(alphas[:2], distances[:2, :2])
    with pytest.raises(UserError, match="No task of the bank is known to be nearer"):
        train_projection(alphas, np.where(np.eye(12) > 0, 0, np.nan))


def test_order_needs_two_different_known_distances() -> None:
    nan = np.nan
    assert has_order(np.array([[0, 1, 2], [1, 0, nan], [2, nan, 0]]))
    assert not has_order(np.array([[0, 1, nan], [1, 0, nan], [nan, nan, 0]]))
    assert not has_order(1 - np.eye(4))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("inputs", "foo"), ("hidden", 0), ("dimension", 0), ("iterations", 0), ("iterations", 2.5), ("batch", True)),
        *(("margin", -1), ("margin", math.nan), ("learning_rate", 0), ("learning_rate", math.nan)),
    ],
)
def test_settings_are_checked(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"projection.{name} must"):
        ProjectionConfig(**{name: value})
