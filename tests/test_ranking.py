"""The joint score of designs against brute force, and searches that follow it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata
from sklearn.linear_model import Ridge

from atjax.bank import load_bank
from atjax.bank.records import frame_designs, goodness
from atjax.prior import Prior, PriorConfig, joint_ranking, uniform_prior
from atjax.ranking import Ranking, fill_shares, rank_shares, relative_times, widely_run
from atjax.samplers import WARM_UP, Follow, History, Random, WholeSpace, table_of
from atjax.search.loop import rule_of
from atjax.space import Design, bank_designs, paper_space

PAPER = paper_space()


def performances(seed: int, designs: int = 12, tasks: int = 4) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 8, (designs, tasks)).astype(float)
    values[0, 0] = np.nan
    values[3, 1] = -np.inf
    return values


def ranked(seed: int, reweigh: float = 0.0) -> Ranking:
    rows = PAPER.numbers(bank_designs(PAPER, 12))
    shares = rank_shares(np.random.default_rng(seed).normal(size=(12, 4)))
    weights = np.random.default_rng(seed).dirichlet(np.ones(4))
    return Ranking(rows, shares.astype(np.float32), weights, reweigh)


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_scipys_ranks(seed: int) -> None:
    values = performances(seed)
    shares = rank_shares(values)
    for own, share in zip(values.T, shares.T):
        known = ~np.isnan(own)
        np.testing.assert_allclose(share[known], rankdata(own[known]) / known.sum())
        assert np.isnan(share[~known]).all()


def test_what_a_task_lacks_is_predicted_by_ridge_regression() -> None:
    one_hot = np.stack([PAPER.encode(design) for design in bank_designs(PAPER, 12)])
    shares = rank_shares(performances(0))
    filled = fill_shares(one_hot, shares, 3.0)
    known = ~np.isnan(shares)
    np.testing.assert_allclose(filled[known], shares[known], rtol=1e-6)
    mean = shares[1:, 0].mean()
    model = Ridge(alpha=3.0, fit_intercept=False).fit(one_hot[1:], shares[1:, 0] - mean)
    np.testing.assert_allclose(filled[0, 0], mean + model.predict(one_hot[:1])[0], rtol=1e-5)


@pytest.mark.parametrize("keep", [0.0, 0.3, 1.0])
def test_recorded_shares_count_in_part(keep: float) -> None:
    one_hot = np.stack([PAPER.encode(design) for design in bank_designs(PAPER, 12)])
    shares = rank_shares(performances(0))
    filled = fill_shares(one_hot, shares, 3.0, keep)
    for task, own in enumerate(shares.T):
        has = ~np.isnan(own)
        model = Ridge(alpha=3.0, fit_intercept=False).fit(one_hot[has], own[has] - own[has].mean())
        for design in range(12):
            predicted = own[has].mean() + model.predict(one_hot[design : design + 1])[0]
            expected = keep * own[design] + (1 - keep) * predicted if has[design] else predicted
            assert math.isclose(filled[design, task], expected, rel_tol=1e-5, abs_tol=1e-6)


def test_trials_seen_favour_the_tasks_that_rank_them_right() -> None:
    ranking = ranked(1, reweigh=0.7)
    seen, values = np.array([2, 5, 7, 1]), np.array([0.3, -np.inf, 0.9, 0.4])
    tau = [kendalltau(ranking.shares[seen, t], rankdata(values)).statistic for t in range(4)]
    expected = ranking.weights * np.exp(0.7 * 4 * np.array(tau))
    np.testing.assert_allclose(ranking.posterior(seen, values), expected / expected.sum(), rtol=1e-5)
    np.testing.assert_array_equal(ranking.posterior(seen[:1], values[:1]), ranking.weights)
    np.testing.assert_array_equal(ranked(1).posterior(seen, values), ranking.weights)
    two = ranking.posterior(seen[:2], np.array([-np.inf, -np.inf]))  # two failures rank nothing
    np.testing.assert_allclose(two, ranking.weights)
    level = dataclasses.replace(ranking, shares=np.concatenate([ranking.shares[:, :3], np.full((12, 1), 0.5)], axis=1))
    with_ties = expected * [1, 1, 1, np.exp(-0.7 * 4 * tau[3])]  # a task on which all designs tie orders none
    np.testing.assert_allclose(level.posterior(seen, values), with_ties / with_ties.sum(), rtol=1e-5)


def test_however_many_trials_favour_a_task_its_weight_is_finite() -> None:
    ranking = ranked(1, reweigh=500.0)
    values = ranking.shares[:, 2].astype(float)
    np.testing.assert_allclose(ranking.posterior(np.arange(12), values), [0, 0, 1, 0], atol=1e-12)
    left_out = dataclasses.replace(ranking, weights=np.array([0.6, 0.4, 0, 0]))  # what has no weight gets none
    posterior = left_out.posterior(np.arange(12), values)
    assert np.isclose(posterior[:2].sum(), 1)
    assert posterior[2:].tolist() == [0, 0]


def follow(ranking: Ranking, count: int, then: bool = True) -> list[tuple[int, ...]]:
    rule = Follow(ranking, Random(WholeSpace(PAPER), table_of(PAPER, PAPER.uniform())) if then else None)
    rows = np.empty((0, len(PAPER.dimensions)), np.int8)
    for number in range(count):
        row = rule.propose(History(rows, np.linspace(0, 1, number)), np.random.default_rng(number))
        rows = np.concatenate([rows, row[None]])
    return [tuple(row) for row in rows.tolist()]


def test_the_ranking_is_followed_from_the_top_and_then_the_marginals() -> None:
    ranking = ranked(2)
    order = np.argsort(-(ranking.shares @ ranking.weights))
    found = follow(ranking, 15)
    assert found[:12] == [tuple(row) for row in ranking.rows[order].tolist()]
    assert all(row not in found[:12] for row in found[12:])
    assert follow(ranking, 13, then=False)[12] in found[:12]


def test_designs_that_tie_come_in_any_order() -> None:
    ranking = ranked(2)
    flat = Ranking(ranking.rows, np.ones((12, 4), np.float32), ranking.weights, 0.0)
    rule, none = Follow(flat), History(np.empty((0, 11), np.int8), np.empty(0))
    assert len({tuple(rule.propose(none, np.random.default_rng(n))) for n in range(200)}) == 12


def test_results_change_the_path_after_the_warm_up_only() -> None:
    plain, learning = follow(ranked(3), 12), follow(ranked(3, reweigh=3.0), 12)
    assert plain[:WARM_UP] == learning[:WARM_UP]
    assert plain != learning
    assert set(plain) == set(learning)


def test_the_joint_ranking_of_a_bank_by_brute_force() -> None:
    bank = load_bank().where(budget="quick")
    names = {name: content for content, name in bank.tasks.items()}
    tasks, weights = [names["cora"], names["mutag"]], np.array([0.75, 0.25])
    ranking = joint_ranking(bank, tasks, weights, PAPER, PriorConfig(joint=True))
    assert ranking is not None
    place = {PAPER.numbered(row): number for number, row in enumerate(ranking.rows)}
    for column, task in enumerate(tasks):
        own = bank.records[bank.records["content_hash"] == task]
        runs: dict[Design, list[float]] = {}
        for design, score in zip(frame_designs(own), goodness(own)):
            runs.setdefault(design, []).append(score)
        assert len({len(each) for each in runs.values()}) == 1  # on as many splits each: plain means
        scores = {design: round(sum(sorted(each)) / len(each), 9) for design, each in runs.items()}
        inside = {design: score for design, score in scores.items() if design in PAPER}
        for design, score in inside.items():
            behind = sum(other < score for other in inside.values())
            ties = sum(other == score for other in inside.values())
            assert math.isclose(
                ranking.shares[place[design], column], (behind + (ties + 1) / 2) / len(inside), rel_tol=1e-5
            )
    assert set(scores) - set(place) == {design for design in scores if design not in PAPER}


@pytest.mark.parametrize("coverage", [0.0, 0.3, 0.5, 1.0])
def test_designs_of_few_tasks_are_not_followed(coverage: float) -> None:
    """By hand, on a bank where every task has designs of its own; tasks of no weight count nothing."""
    rng = np.random.default_rng(8)
    for _ in range(20):
        run, weights = rng.random((12, 5)) < 0.5, rng.dirichlet(np.ones(5))
        weights[2] = 0
        by_design = [sum(w for w, has in zip(weights, row) if has) for row in run]
        expected = [w > 0 and w >= coverage * max(by_design) - 1e-9 for w in by_design]
        assert widely_run(run, weights, coverage).tolist() == expected
    assert not widely_run(np.zeros((3, 2), bool), weights[:2], coverage).any()


def test_the_ranking_of_the_bank_is_of_designs_that_half_of_the_tasks_have() -> None:
    bank = load_bank().where(budget="quick")
    tasks = sorted(bank.tasks)
    weights = np.full(len(tasks), 1 / len(tasks))
    every, some = (
        joint_ranking(bank, tasks, weights, PAPER, PriorConfig(joint=True, keep=0.5, price=0.05, coverage=coverage))
        for coverage in (0.0, 0.5)
    )
    assert every is not None
    assert some is not None
    counts = bank.records.groupby("design")["content_hash"].nunique()
    of_every, of_some = ([PAPER.numbered(row).key for row in each.rows] for each in (every, some))
    assert of_some == [key for key in of_every if counts[key] >= counts.max() / 2]
    assert len(of_every) > len(of_some) >= 72
    place = [of_every.index(key) for key in of_some]
    np.testing.assert_array_equal(some.shares, every.shares[place])  # predicted from all designs, followed or not
    np.testing.assert_array_equal(some.penalty, np.asarray(every.penalty)[place])


def test_relative_times_by_hand() -> None:
    seconds = np.random.default_rng(6).lognormal(2, 1, (9, 3))
    seconds[:, 1] *= 100  # a task that takes longer says the same
    seconds[0, 1], seconds[2, 0], seconds[5] = np.nan, 0, np.nan
    for design, found in enumerate(relative_times(seconds)):
        logs = []
        for column in seconds.T:
            known = sorted(math.log(s) for s in column if s > 0)
            middle = (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
            logs += [math.log(column[design]) - middle] if column[design] > 0 else []
        assert math.isclose(found, sum(logs) / len(logs) if logs else 0.0, rel_tol=1e-5, abs_tol=1e-7)
    assert not relative_times(np.full((3, 2), np.nan)).any()


def test_a_price_on_time_lowers_the_score_of_slow_designs() -> None:
    """On the embedded bank: each score by what its design takes on the tasks of the ranking, and so the order."""
    bank = load_bank().where(budget="quick")
    tasks = sorted(bank.tasks)[:5]
    weights = np.full(5, 0.2)
    plain, priced = (
        joint_ranking(bank, tasks, weights, PAPER, PriorConfig(joint=True, price=price)) for price in (0.0, 0.1)
    )
    assert plain is not None
    assert priced is not None
    own = bank.records[bank.records["content_hash"].isin(tasks)]
    seconds = own.groupby(["content_hash", "design"])["seconds"].mean()
    logs = np.log(seconds) - np.log(seconds).groupby("content_hash").median()
    mean = logs.groupby("design").mean()
    lower = [0.1 * mean[PAPER.numbered(row).key] for row in priced.rows]
    np.testing.assert_allclose(plain.scores(weights) - priced.scores(weights), lower, atol=1e-5)
    fast, slow = np.argmin(lower), np.argmax(lower)
    assert priced.scores(weights)[fast] - plain.scores(weights)[fast] > 0.05
    assert priced.scores(weights)[slow] - plain.scores(weights)[slow] < -0.05
    np.testing.assert_array_equal(priced.shares, plain.shares)  # tasks are re-weighted by performance alone


def test_algorithms_start_from_the_ranking() -> None:
    ranking = ranked(4)
    prior = Prior(PAPER.uniform(), (), "transfer", "", ranking)
    top = ranking.rows[np.argmax(ranking.scores(ranking.weights))]
    none = History(np.empty((0, len(PAPER.dimensions)), np.int8), np.empty(0))
    for algorithm in ("random", "tpe", "evolution", "hyperband"):
        rule = rule_of(algorithm, prior, PAPER)
        np.testing.assert_array_equal(rule.propose(none, np.random.default_rng(0)), top)
    drawn = rule_of("random", uniform_prior(PAPER), PAPER)
    assert isinstance(drawn, Random)
