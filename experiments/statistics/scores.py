"""How well one similarity between tasks ranks them as another does, and how sure that is.

With T tasks, sigma_t(j, k) in {-1, 0, 1} says whether task t is more like j than like k; the order of a similarity is
all of them. The score of a feature is, as in the paper's Figure 4c, the mean over tasks t of Kendall's tau-b between
the similarities of t to the T - 1 others by feature and by performance,

    tau_t = sum_{j<k} f_t(j, k) p_t(j, k) / sqrt(sum f_t^2 sum p_t^2).

So scores are products of scaled orders: those of S features under N permutations of the tasks are one matrix product
[S, Q] x [Q, N], Q = T (T - 1) T / 2.
"""

from __future__ import annotations

import itertools

import numpy as np

TOLERANCE = 1e-9
"""Similarities closer than this, relative to the largest of their row, tie: rounding ranks nothing."""


def kendall(values: np.ndarray) -> np.ndarray:
    """Kendall's tau-b between all pairs of tasks over designs, [..., T, T] from performances [..., D, T].

    NaN where a design was not run, as in `atjax.bank.kendall_distance`, of which this is the form for many banks at
    once.
    """
    known = ~np.isnan(values)
    first, second = np.triu_indices(values.shape[-2], 1)
    left, right = values[..., first, :], values[..., second, :]
    signs = (left > right).astype(np.float32) - (left < right)
    counted = (known[..., first, :] & known[..., second, :]).astype(np.float32)
    strict = np.swapaxes(np.abs(signs), -1, -2) @ counted
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.swapaxes(signs, -1, -2) @ signs / np.sqrt(strict * np.swapaxes(strict, -1, -2))


def pairs(tasks: int) -> tuple[np.ndarray, np.ndarray]:
    """The M = T (T - 1) / 2 pairs j < k, [M] each."""
    return np.triu_indices(tasks, 1)


def order(similarity: np.ndarray) -> np.ndarray:
    """Whether t is more like j than like k: int8 [..., T, M] from similarities [..., T, T].

    0 for a tie, where either is not known, and where t is j or k. Row t is what t sees: rows need not agree.
    """
    tasks = similarity.shape[-1]
    first, second = pairs(tasks)
    with np.errstate(invalid="ignore"):
        difference = similarity[..., first] - similarity[..., second]
        others = np.where(np.eye(tasks, dtype=bool), np.nan, similarity)
        largest = np.max(np.abs(others), axis=-1, keepdims=True, initial=0, where=~np.isnan(others))
        signs = np.where(np.abs(difference) > TOLERANCE * largest, np.nan_to_num(np.sign(difference)), 0)
    return np.where(_apart(tasks), signs, 0).astype(np.int8)


def _apart(tasks: int) -> np.ndarray:
    """Whether t is neither of the pair, [T, M]."""
    first, second = pairs(tasks)
    central = np.arange(tasks)[:, None]
    return (central != first) & (central != second)


def scaled(orders: np.ndarray) -> np.ndarray:
    """Orders with each task's row scaled to norm 1, [..., T, M]; a row without any order stays 0, and scores 0."""
    length = np.sqrt(np.sum(orders.astype(np.float32) ** 2, axis=-1, keepdims=True))
    return orders / np.maximum(length, 1)


def task_scores(orders: np.ndarray, target: np.ndarray) -> np.ndarray:
    """tau_t of every task, mean over n draws: [T] from orders [n, T, M] and the order by performance [T, M]."""
    return np.sum(scaled(orders).mean(axis=0) * scaled(target), axis=-1)


def within(levels: np.ndarray) -> np.ndarray:
    """Pairs of one level, bool [M]: multiplied into orders it leaves what level alone cannot say."""
    first, second = pairs(len(levels))
    return levels[first] == levels[second]


def shuffles(levels: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Permutations of tasks within their levels, uniform, int [N, T]."""
    result = np.tile(np.arange(len(levels)), (number, 1))
    for level in np.unique(levels):
        members = np.flatnonzero(levels == level)
        result[:, members] = rng.permuted(np.tile(members, (number, 1)), axis=1)
    return result


def permuted(target: np.ndarray, permutations: np.ndarray) -> np.ndarray:
    """A scaled order [T, M] with its tasks renamed by each permutation, float32 [N, T M].

    Its products with the scaled order of a feature are T times the scores of that feature given to other tasks (by the
    inverse permutation, which is as likely).
    """
    tasks = len(target)
    first, second = pairs(tasks)
    cube = np.zeros((tasks, tasks, tasks), np.float32)
    cube[:, first, second], cube[:, second, first] = target, -target
    central = permutations[:, :, None]
    moved = cube[central, permutations[:, None, first], permutations[:, None, second]]
    return moved.reshape(len(permutations), -1)


def null_scores(orders: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Scores of one feature [n, T, M] under the permutations that made ``targets`` [N, T M] (see `permuted`), [N]."""
    mean = scaled(orders).mean(axis=0)
    return targets @ mean.ravel().astype(np.float32) / len(mean)


def p_value(score: float, null: np.ndarray) -> float:
    """One-sided: how often chance does as well, the feature as given counted as one of the draws."""
    return float((1 + np.sum(null >= score - 1e-6)) / (1 + len(null)))


def holm(p: np.ndarray) -> np.ndarray:
    """p values corrected for their number, in their order (Holm, 1979)."""
    rank = np.argsort(p)
    stepped = np.maximum.accumulate(p[rank] * np.arange(len(p), 0, -1))
    result = np.empty(len(p))
    result[rank] = np.minimum(stepped, 1)
    return result


def max_t(scores: np.ndarray, nulls: np.ndarray) -> np.ndarray:
    """p values corrected for their number by the null of the largest of all (Westfall and Young, 1993), [S].

    Args:
        scores: Of S features, [S].
        nulls: Under the same N permutations for all, [S, N]; each is standardised by its own mean and deviation.
    """
    deviation = nulls.std(axis=1)
    scale = np.where(deviation > 1e-6, deviation, np.inf)  # what no permutation changes is no test
    standard = (scores - nulls.mean(axis=1)) / scale
    largest = np.max((nulls - nulls.mean(axis=1, keepdims=True)) / scale[:, None], axis=0)
    return np.array([p_value(value, largest) for value in standard])


def resamples(levels: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """How often each task occurs in samples of tasks, drawn with replacement within levels, [B, T]."""
    result = np.zeros((number, len(levels)), np.float32)
    for level in np.unique(levels):
        members = np.flatnonzero(levels == level)
        result[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), number)
    return result


def bootstrap(orders: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Scores of one feature on resampled tasks, [B].

    A task drawn twice counts twice, as the central one and among the others; its copies are not compared with each
    other.

    Args:
        orders: [n, T, M], averaged over n.
        target: [T, M].
        weights: How often each task occurs, [B, T].
    """
    first, second = pairs(len(target))
    double = weights[:, first] * weights[:, second]  # [B, M]
    agreement = np.einsum("bm,ntm->bnt", double, (orders * target).astype(np.float32), optimize=True)
    own = np.einsum("bm,ntm->bnt", double, np.abs(orders).astype(np.float32), optimize=True)
    other = double @ np.abs(target).astype(np.float32).T
    tau = (agreement / np.maximum(np.sqrt(own * other[:, None]), 1)).mean(axis=1)
    central = np.where(other > 0, weights, 0)
    return np.sum(central * tau, axis=1) / np.maximum(central.sum(axis=1), 1)


def halves(designs: int, number: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random halves of the designs, ``number`` pairs of ids."""
    orders = (rng.permutation(designs) for _ in itertools.repeat(None, number))
    return [(ids[: designs // 2], ids[designs // 2 :]) for ids in orders]
