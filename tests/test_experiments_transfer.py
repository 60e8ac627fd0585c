"""The replays of experiments/transfer on a tiny bank, by hand and by brute force."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import tiny
from replayed import ROWS, SPACE, bank, best_of

sys.path.append(str(tiny.REPOSITORY / "experiments" / "transfer"))

import coverage
import figure
import hyperband
import measures
import priors
import recorded
import replay
import tables
from recorded import Recorded

from atjax import config
from atjax.bank import Bank, load_bank
from atjax.prior import prior_from_bank
from atjax.samplers import Follow, History, Random, WholeSpace, table_of

# By its path: experiments/statistics has a run.py too.
SPEC = importlib.util.spec_from_file_location("run_transfer", Path(replay.__file__).with_name("run.py"))
assert SPEC is not None
assert SPEC.loader is not None
run = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(run)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("method", [m for m in priors.METHODS if not m.startswith("boosted")])
def test_no_search_tries_a_design_twice_or_one_without_results(method: str, whole: bool) -> None:
    some = bank(whole)
    rule = priors.METHODS[method](priors.prepare(some, 0), 3, 15)
    tried = replay.search(some, 0, rule, 3, 15)
    done = tried[tried >= 0]
    assert len(set(done)) == len(done) >= 6
    assert not np.isnan(some.validation[1, done, 0]).any()  # seed 3 sees the second of two splits
    assert (tried[len(done) :] == -1).all()


def test_what_is_kept_of_replays_is_told_apart_by_all_that_they_depend_on() -> None:
    """By how long trainings took, too, which `prior=frugal` reads, and by which tasks a search may know."""
    plain = bank()
    others = (
        dataclasses.replace(plain, seconds=2 * plain.seconds + 1),
        dataclasses.replace(plain, tasks=("v", "w", "x", "y", "links_v")),
    )
    assert len({each.key for each in (plain, *others)}) == 3
    assert bank().key == plain.key


def test_nothing_of_the_left_out_task_reaches_its_prior() -> None:
    some, rng = bank(), np.random.default_rng(1)
    other = some.validation.copy()
    other[:, :, 2] = rng.normal(size=(2, 12))
    best = (*some.best[:2], best_of(other[0, :, 2]), *some.best[3:])
    scores = {"validation": other, "test": other, "known": other[0], "best": best}
    changed = Recorded(**{**vars(some), **scores, "name": "changed"})
    one, two = (priors.prepare(b, 2) for b in (some, changed))
    np.testing.assert_array_equal(one.shares, two.shares)
    np.testing.assert_array_equal(one.smooth, two.smooth)
    for similarity in ("equal", "level", "fisher", "losses", "calibrated, alpha", "calibrated"):
        np.testing.assert_allclose(*(priors.weights_by(each, similarity) for each in (one, two)))
        np.testing.assert_allclose(priors.product(one, similarity), priors.product(two, similarity))
    bounds = [priors.weights_by(each, "kendall") for each in (one, two)]
    assert not np.allclose(*bounds)  # the upper bound looks, and is called so


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_a_search_is_told_the_scores_of_its_split(seed: int) -> None:
    some, told = bank(), []

    class Listed:
        def propose(self, history: History, rng: np.random.Generator) -> np.ndarray:
            told.append(history.values.tolist())
            return ROWS[len(history.values)]

    tried = replay.search(some, 3, Listed(), seed, 6)
    assert tried.tolist() == list(range(6))
    assert told[-1] == some.validation[seed % 2, :5, 3].tolist()


def test_a_known_ranking_is_followed() -> None:
    some = bank()
    source = priors.prepare(some, 1)
    joint = priors.ranking(source, "equal", 0, 0.0)
    tried = replay.search(some, 1, Follow(joint), 0, 12)
    np.testing.assert_array_equal(tried, np.argsort(-(source.shares @ joint.weights)))


def test_the_best_so_far_by_hand() -> None:
    some = bank()
    tried = np.array([[4, 0, 7, -1], [4, 0, 7, 5], [11, 3, 2, 4]])
    for seed, (row, found) in enumerate(zip(tried, replay.best_so_far(some, 3, tried))):
        scores = some.validation[seed % 2, :, 3]
        for number in range(4):
            done = [design for design in row[: number + 1] if design >= 0]
            assert found[number] == max(done, key=lambda design: scores[design])
            assert measures.curves(some, 3, tried, some.test)[seed, number] == scores[found[number]] + 10


def test_ties_go_to_the_lower_validation_loss_then_to_the_earlier_trial() -> None:
    some = bank()
    losses = np.random.default_rng(3).integers(0, 3, size=some.validation.shape).astype(float)
    losses[:, 9] = np.inf  # not known
    ties = dataclasses.replace(some, validation=np.round(some.validation), validation_loss=losses)
    tried = np.stack([np.random.default_rng(seed).permutation(12) for seed in range(40)])
    for seed, (row, found) in enumerate(zip(tried, replay.best_so_far(ties, 3, tried))):
        for number in range(12):
            ranks = [(-ties.validation[seed % 2, d, 3], losses[seed % 2, d, 3]) for d in row[: number + 1]]
            assert found[number] == row[ranks.index(min(ranks))]


def test_the_expected_best_of_n_random_designs_by_brute_force() -> None:
    shares = np.random.default_rng(2).random(7)
    expected = measures.random_shares(shares)
    for n in (1, 3, 7):
        every = [max(chosen) for chosen in itertools.combinations(shares, n)]
        assert expected[n - 1] == pytest.approx(np.mean(every))


def test_random_trials_are_worth_what_they_are() -> None:
    some = bank()
    rule = Random(WholeSpace(SPACE), table_of(SPACE, SPACE.uniform()))
    found = {"random": [np.stack([replay.search(some, t, rule, s, 6) for s in range(400)]) for t in range(5)]}
    np.testing.assert_allclose(measures.worth(some, found, 3)["random"], 3, atol=0.35)


def test_agreement_by_hand() -> None:
    """Two splits of four designs; the third turn is the first split again."""
    first, second, test = [1.0, 2.0, 3.0, np.nan], [1.0, 3.0, 2.0, 9.0], [3.0, 2.0, 1.0, np.nan]
    turns = np.array([first, second, first])[:, :, None]
    tests = np.array([test, second, test])[:, :, None]
    some = dataclasses.replace(bank(), validation=turns, test=tests)
    assert measures.agreement(some, 0) == pytest.approx((2, (-1 + 1) / 2, 1 / 3, -1 / 3, 3))
    single = dataclasses.replace(some, validation=turns[:1], test=tests[:1])
    assert measures.agreement(single, 0) == pytest.approx((1, -1, np.nan, np.nan, np.nan), nan_ok=True)


def test_what_other_splits_tell_by_simulation() -> None:
    """The best 3 of 30 designs by two splits, on the third; and random trials, drawn."""
    rng = np.random.default_rng(5)
    common = rng.normal(size=30)
    turns = common + rng.normal(size=(3, 30))
    some = dataclasses.replace(bank(), validation=turns[:, :, None], test=turns[:, :, None])
    ranks = turns.argsort(axis=1).argsort(axis=1)
    best = np.mean([max(ranks[s][np.argsort(-np.delete(turns, s, 0).mean(axis=0))[:3]]) for s in range(3)])
    drawn = np.array([rng.permutation(30) for _ in range(20_000)])
    reached = np.maximum.accumulate(drawn, axis=1).mean(axis=0)
    assert measures.agreement(some, 0).worth == pytest.approx(np.interp(best, reached, np.arange(1, 31)), rel=0.05)


def test_gains_by_split_by_hand() -> None:
    """Seeds take turns with the splits; a task of one split has one mean, however often the bank repeats it."""
    some, seeds = bank(), np.arange(8)
    uniform = np.linspace(0, 1, 8)
    assert measures.own_splits(some, 2).tolist() == [0, 1]
    gains = measures.gains_by_split(some, 2, uniform + np.where(seeds % 2 == 0, 3.0, -1.0), uniform)
    np.testing.assert_allclose(gains, [3, -1])
    once = dataclasses.replace(some, validation=some.validation[[0, 0]])
    assert measures.own_splits(once, 2).tolist() == [0]
    np.testing.assert_allclose(measures.gains_by_split(once, 2, uniform + seeds, uniform), [3.5])


def test_passing_a_target() -> None:
    assert measures.passes(np.array([0.1, 0.5, 0.7]), 0.5) == 2
    assert measures.passes(np.array([0.1, 0.5, 0.7]), 0.8) == np.inf


def test_optunas_samplers_are_replayed() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tried = replay.optuna_search(bank(), 0, optuna.samplers.RandomSampler(0), 0, 12)
    assert len(set(tried[tried >= 0])) == (tried >= 0).sum() >= 10


def test_a_run_is_kept_and_not_done_again(tmp_path: Path) -> None:
    some, methods = bank(), ("uniform random", "uniform tpe", "rank, fisher, trials")
    for task in range(5):
        assert run.replay(some, task, methods, 3, 10, tmp_path) == 9
        assert run.replay(some, task, methods, 3, 10, tmp_path) == 0
        assert run.replay(bank(whole=False), task, methods[:1], 3, 10, tmp_path) == 3  # other scores, other searches
    found = {m: [np.load(run.file_of(tmp_path, some, task, m)) for task in some.tasks] for m in methods}
    text = tables.report(some, found)
    assert "Trials needed to pass the mean test score of uniform tpe with 10 trials" in text
    assert "Trials needed to pass the mean validation score of uniform random with 10 trials" in text
    assert text.count("| rank, fisher, trials |") == 6
    figure.draw(some, found, tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")


def test_methods_are_compared_task_by_task() -> None:
    some, rng = bank(), np.random.default_rng(4)
    pair = tables.PAIRS[0]
    found = {m: [rng.integers(12, size=(8, 30)) for _ in range(5)] for m in (measures.RANDOM, measures.TPE, *pair)}
    lines = [line[2:-2].split(" | ") for line in tables.report(some, found).splitlines()]
    rows = {row[2]: row for row in lines if tuple(row[:2]) == pair}
    assert set(rows) == {"all", "graph", "node"}
    for level, row in rows.items():
        which = [t for t in range(5) if level in ("all", some.levels[t])]
        assert 2 <= len(which) <= 5
        for place, number in ((4, 2), (5, 29)):
            one, other = (
                np.array([100 * measures.curves(some, t, found[m][t], some.test)[:, number].mean() for t in which])
                for m in pair
            )
            error = np.std(one - other, ddof=1) / len(which) ** 0.5
            assert f"{np.mean(one - other):+.2f} ± {error:.2f}" == row[place]
            assert f"{sum(one > other)} of {len(which)}" == row[place + 2]


def test_which_tasks_long_searches_lose_and_what_splits_are_worth() -> None:
    """By one design: the best of a task, the worst of two, and the best or the worst of two more by split."""
    some, method = bank(), tables.LONG[0]
    scores = np.tile(np.arange(12.0)[:, None], (2, 1, 5)) / 12
    scores[:, :, [1, 3]] *= -1
    scores[1, :, [2, 4]] = np.roll(scores[0, :, 4], [-1])
    some = dataclasses.replace(some, validation=scores, test=scores)
    assert [len(measures.own_splits(some, task)) for task in range(5)] == [1, 1, 2, 1, 2]
    rng = np.random.default_rng(0)
    random = [rng.permuted(np.tile(np.arange(12), (8, 1)), axis=1)[:, :10] for _ in range(5)]
    found = {measures.RANDOM: random, measures.TPE: random, method: [np.full((8, 10), 11)] * 5}
    lines = tables.report(some, found).splitlines()
    assert [line for line in lines if line.startswith("Below")] == [f"Below random at 10 by {method}: w, x, y, z."]
    assert sum(line.startswith(f"| {method} | ") and line.endswith(" | 4 |") for line in lines) == 1
    own = tables.geometric(measures.worth(some, found, 3)[method][[2, 4]])
    other = tables.geometric(np.array([measures.agreement(some, task).worth for task in (2, 4)]))
    told = f"{method}, 3 trials {own}; the 3 best by other splits {other}."
    assert f"On these 2 tasks, worth in random trials: {told}" in lines


def test_where_a_pick_stands_by_brute_force() -> None:
    """Among the designs that its task was run with on the split of its seed; those that failed are last."""
    some, rng = bank(), np.random.default_rng(6)
    validation = rng.integers(6, size=(2, 12, 5)).astype(float)
    validation[:, 3], validation[0, 5, 1] = np.nan, -np.inf
    some = dataclasses.replace(some, validation=validation, validation_loss=rng.random((2, 12, 5)))
    some = dataclasses.replace(some, test=np.where(np.isfinite(validation), rng.random((2, 12, 5)), validation))
    have = np.flatnonzero(~np.isnan(validation[0, :, 0]))
    found = {
        m: [rng.permuted(np.tile(have, (6, 1)), axis=1) for _ in range(5)] for m in (measures.RANDOM, measures.TPE)
    }

    def place(scores: np.ndarray, seed: int, task: int, tried: np.ndarray) -> float:
        own = validation[seed % 2, :, task]
        loss = some.validation_loss[seed % 2, :, task]
        pick = min(tried[:3], key=lambda design: (-own[design], loss[design]))
        ranked = scores[seed % 2, have, task]
        value = scores[seed % 2, pick, task]
        return 100 * (np.sum(ranked < value) + (np.sum(ranked == value) + 1) / 2) / len(have)

    lines = tables.report(some, found).partition("after 3 stands")[2].splitlines()
    (row,) = [line[2:-2].split(" | ") for line in lines[3:6] if line.startswith(f"| {measures.TPE}")]
    for start, which in ((1, range(5)), (3, np.flatnonzero(some.levels == "graph"))):
        for cell, scores in zip(row[start : start + 2], (validation, some.test)):
            places = [np.mean([place(scores, s, t, found[measures.TPE][t][s]) for s in range(6)]) for t in which]
            assert cell == f"{np.mean(places):.0f} ± {np.std(places, ddof=1) / len(places) ** 0.5:.0f}"


def test_what_first_trials_take_to_train() -> None:
    some, rng = bank(), np.random.default_rng(5)
    found = {m: [rng.integers(12, size=(2, 30)) for _ in range(5)] for m in (measures.RANDOM, measures.TPE)}
    uniform, method = measures.RANDOM, measures.TPE

    def took(name: str, task: int) -> float:
        return float(sum(some.seconds[design, task] for seed in found[name][task] for design in seed[:3])) / 6

    ratios = np.log([took(method, task) / took(uniform, task) for task in range(5)])
    mean, error = ratios.mean(), ratios.std(ddof=1) / 5**0.5
    told = f"{np.exp(mean):.1f} ({np.exp(mean - error):.1f} to {np.exp(mean + error):.1f})"
    lines = tables.report(some, found).partition("take to train")[2].splitlines()
    (row,) = [line.split(" | ") for line in lines if line.startswith(f"| {method}")]
    assert row[1] == told
    silent = dataclasses.replace(some, seconds=np.full((12, 5), np.nan))
    assert "take to train" not in tables.report(silent, found)


def test_what_hyperband_saves_by_hand() -> None:
    """Trainings of 10 epochs with a record every 5; the second is stopped at its first record."""

    def training(last: float, state: str = "complete") -> hyperband.Trained:
        return hyperband.Trained(state, np.array([5, 10]), np.array([0.1, last]), last, 1.0, last / 2)

    trained = [training(0.6), training(0.9), training(0.7), training(0.8, "failed")]
    found = hyperband.measured(hyperband.Outcome(trained, [10, 5, 10, 10]))
    assert found == pytest.approx((0.9, 0.45, 0.7, 0.35, 0.9, 0.45, 35 / 40))  # its epochs pay for three
    study = optuna.create_study(study_name="seed 0", direction="maximize", pruner=hyperband.HyperBand())
    given = []
    for number in range(60):
        curve = np.linspace(0.1, 1, 9) / (1 + number)
        worse = hyperband.Trained("complete", np.arange(1, 10), curve, curve[-1], 1.0, 0.0)
        given.append(hyperband.followed(study, study.ask(), worse))
    assert set(given) == {1, 3, 9}  # rungs; ever worse, only the first of a bracket and those of the last go on
    assert given[0] == 9


def test_mixtures_are_of_the_best_designs_of_the_other_tasks() -> None:
    mixture = priors.Mixture(priors.prepare(bank(), 0), "equal", 0)
    best = np.argsort(-priors.prepare(bank(), 0).shares, axis=0)[:3]
    inside = np.isin(np.arange(12), best)
    assert mixture.weights[inside].min() > mixture.weights[~inside].max()
    assert mixture.weights.sum() == pytest.approx(1)


def test_a_portfolio_raises_the_mean_best_rank_most() -> None:
    joint = priors.ranking(priors.prepare(bank(), 0), "equal", 0, 0.0)
    rule = priors.Portfolio(joint, 2)
    first, second = ([tuple(r) for r in joint.rows.tolist()].index(tuple(r)) for r in rule.rows.tolist())
    assert first == np.argmax(joint.shares @ joint.weights)
    both = [np.maximum(joint.shares[first], s) @ joint.weights for s in joint.shares]
    assert both[second] == pytest.approx(max(both), rel=1e-6)
    none = History(np.empty((0, 2), np.int8), np.empty(0))
    np.testing.assert_array_equal(rule.propose(none, np.random.default_rng(0)), joint.rows[first])


def test_tasks_take_turns_with_their_splits() -> None:
    """Two splits of one task, three of another and one of a third: six in all, each as often as the task's others."""
    rows = [("t", 0), ("t", 5), ("u", 1), ("u", 2), ("u", 4), ("v", 3)]
    records = pd.DataFrame(rows, columns=["content_hash", "seed"])
    parts = recorded.splits(Bank(records, pd.DataFrame(), Path()))
    seen = [
        {content: part.records.loc[part.records["content_hash"] == content, "seed"].item() for content in "tuv"}
        for part in parts
    ]
    assert [each["t"] for each in seen] == [0, 5, 0, 5, 0, 5]
    assert [each["u"] for each in seen] == [1, 2, 4, 1, 2, 4]
    assert [each["v"] for each in seen] == [3] * 6


@pytest.mark.parametrize("name", ["mutag", "cora"])
def test_priors_are_those_of_the_live_search(name: str) -> None:
    """Marginals of `prior=product` and ranks of `prior=rank`, with the task left out."""
    some, every = recorded.embedded(), load_bank()
    task = some.tasks.index(name)
    source = priors.prepare(some, task)
    content = next(content for content, other in every.tasks.items() if other == name)
    settings = {"exclude_hash": content, "exclude_name": name, "budget": "quick"}
    settings["fisher"] = config.load("fisher", "alpha").key
    for kind in ("product", "rank"):
        prior, _ = prior_from_bank(
            some.features[name], some.levels[task], every, every.space, **settings, config=config.load("prior", kind)
        )
        table = table_of(every.space, prior.probabilities)
        np.testing.assert_allclose(priors.product(source, "fisher"), table, atol=1e-6)
    assert prior.ranking is not None
    run = ~np.isnan(some.known[:, source.others])
    heavy = np.array([sum(w for w, has in zip(priors.weights_by(source, "fisher"), row) if has) for row in run])
    seen = heavy >= heavy.max() / 2
    assert 72 <= seen.sum() < (run.any(axis=1)).sum()  # some designs were run on a few tasks only
    live = {row.tobytes(): score for row, score in zip(prior.ranking.rows, prior.ranking.scores(prior.ranking.weights))}
    mine = source.shares[seen] @ priors.weights_by(source, "fisher")
    assert set(live) == {row.tobytes() for row in some.rows[seen]}
    np.testing.assert_allclose([live[row.tobytes()] for row in some.rows[seen]], mine, atol=1e-5)


def test_the_price_on_time_is_that_of_the_live_search() -> None:
    some, every = recorded.embedded(), load_bank()
    content = next(content for content, other in every.tasks.items() if other == "mutag")
    prior, _ = prior_from_bank(
        np.concatenate([some.features["mutag"], some.losses["mutag"]]),
        *("graph", every, every.space),
        **{"exclude_hash": content, "exclude_name": "mutag", "budget": "quick"},
        fisher=config.load("fisher", "losses").key,
        config=config.load("prior", "frugal"),
    )
    rule = priors.METHODS[priors.PRICED](priors.prepare(some, some.tasks.index("mutag")), 0, 3)
    assert isinstance(rule, Follow)
    assert prior.ranking is not None
    live, mine = (dict(zip(map(bytes, each.rows), np.asarray(each.penalty))) for each in (prior.ranking, rule.ranking))
    assert max(mine.values()) - min(mine.values()) > 0.05
    np.testing.assert_allclose([live[row] for row in mine], list(mine.values()), atol=1e-6)


def test_first_designs_with_and_without_those_of_few_tasks() -> None:
    """Of bzr, one of whose first designs few tasks have run."""
    bank = recorded.embedded_bank()
    counts = bank.records[bank.records["task"] != "bzr"].groupby("design")["task"].nunique()
    every, half = (counts[coverage.first_designs(bank, "bzr", share)] for share in coverage.COVERAGES)
    assert len(every) == len(half) == 3
    assert every.min() < counts.max() / 2 <= half.min()


def test_where_a_pick_stands_on_its_split_and_on_others_by_hand() -> None:
    """Three designs of five on two splits; a is picked on both, on the second by its loss."""
    scores = {
        0: {"a": (0.9, 0.1, 0.5), "b": (0.8, 0.1, 0.9), "c": (0.7, 0.1, 0.7), "d": (0.95, 0, 0.6), "e": (0.1, 0, 0.5)},
        1: {"a": (0.9, 0.1, 0.4), "b": (0.9, 0.2, 0.9), "c": (0.7, 0.1, 0.3), "d": (0.95, 0, 0.2), "e": (0.1, 0, 0.1)},
    }
    rows = [("t", d, s, "complete", *values) for s, of in scores.items() for d, values in of.items()]
    known = pd.DataFrame(rows, columns=[*coverage.KEYS, *coverage.SCORES])
    found = coverage.standing(Bank(known, pd.DataFrame(), Path()), known, "t", ["a", "b", "c"])
    validation, test = [(3 + 0.5) / 5, (2 + 0.5 * 2) / 5], [(0 + 0.5 * 2) / 5, (3 + 0.5) / 5]
    np.testing.assert_allclose(
        found, [100 * np.mean(validation), 100 * np.mean(test), 100 * np.mean(test), 45, 45], rtol=1e-12
    )


def test_a_bank_without_times_has_no_price() -> None:
    timed = bank()
    silent = dataclasses.replace(timed, seconds=np.full((12, 5), np.nan))
    asked = ("uniform random", priors.PRICED)
    assert (priors.methods_for(timed, asked), priors.methods_for(silent, asked)) == (asked, asked[:1])


def test_the_embedded_bank_as_a_benchmark() -> None:
    """Scores looked up are those of single trainings; what is known of a task is their mean over splits."""
    some, every = recorded.embedded(), load_bank().records
    assert some.validation.shape[1:] == some.known.shape == (len(some.rows), len(some.tasks))
    assert not some.whole
    for task, name in enumerate(some.tasks):
        own = every[every["task"] == name].pivot(index="design", columns="seed", values="validation").sort_index()
        for seed, column in enumerate(own):
            held = some.validation[seed, :, task]
            np.testing.assert_array_equal(held[~np.isnan(held)], own[column].dropna())
        assert (~np.isnan(some.known[:, task])).sum() == len(own)
