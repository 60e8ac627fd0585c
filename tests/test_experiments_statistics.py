"""The scores of experiments/statistics on tiny cases, by hand and by brute force."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from scipy.stats import kendalltau

sys.path.append(str(tiny.REPOSITORY / "experiments" / "statistics"))

import banks
import features
import projection
import report
import scores
import views
from entries import Scorer

from atjax.bank import kendall_distance
from atjax.embedding import ProjectionConfig, train_projection

LEVELS = np.array(["node", "graph", "graph", "node", "graph", "node", "graph", "node"])
SAME = (LEVELS[:, None] == LEVELS).astype(float)


def symmetric(seed: int, tasks: int = 8, ties: bool = False) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(tasks, tasks))
    values = values + values.T
    return np.round(values) if ties else values


def brute_force(similarity: np.ndarray, target: np.ndarray) -> float:
    """Mean over tasks of SciPy's tau-b between what a task sees of the others."""
    each = []
    for t in range(len(target)):
        others = np.arange(len(target)) != t
        each.append(kendalltau(similarity[t, others], target[t, others]).statistic)
    return float(np.mean(each))


def score(similarity: np.ndarray, target: np.ndarray) -> float:
    return float(scores.task_scores(scores.order(similarity)[None], scores.order(target)).mean())


@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_scipys_tau_b_averaged_over_tasks(ties: bool) -> None:
    for seed in range(5):
        similarity, target = symmetric(seed, ties=ties), symmetric(seed + 100, ties=ties)
        assert score(similarity, target) == pytest.approx(brute_force(similarity, target), abs=1e-6)


def test_a_feature_that_knows_the_truth_scores_one() -> None:
    target = symmetric(0)
    assert score(target, target) == pytest.approx(1)
    assert score(np.exp(target), target) == pytest.approx(1)  # ranks only
    assert score(-target, target) == pytest.approx(-1)
    assert score(np.zeros_like(target), target) == 0  # what says nothing
    assert score(target + 1e-13 * symmetric(1), target) == pytest.approx(1)  # rounding


def test_the_same_level_is_scored_with_ties_and_shuffling_within_levels_does_nothing_to_it() -> None:
    target = symmetric(3)
    order, wanted = scores.order(SAME), scores.order(target)
    expected = brute_force(SAME, target)
    assert score(SAME, target) == pytest.approx(expected, abs=1e-6)
    rng = np.random.default_rng(0)
    targets = scores.permuted(scores.scaled(wanted), scores.shuffles(LEVELS, 50, rng))
    null = scores.null_scores(order[None], targets)
    np.testing.assert_allclose(null, expected, atol=1e-6)
    assert scores.p_value(expected, null) == 1
    inside = scores.within(LEVELS)
    assert np.all(scores.task_scores(order[None] * inside, wanted * inside) == 0)


def test_shuffles_stay_within_levels_and_reach_all() -> None:
    moves = scores.shuffles(LEVELS, 8000, np.random.default_rng(0))
    assert np.all(LEVELS[moves] == LEVELS)
    assert len(np.unique(moves, axis=0)) == 576  # 4! x 4!


def test_the_null_is_what_shuffled_features_score() -> None:
    similarity, target = symmetric(5), symmetric(6)
    moves = scores.shuffles(LEVELS, 20, np.random.default_rng(0))
    targets = scores.permuted(scores.scaled(scores.order(target)), moves)
    null = scores.null_scores(scores.order(similarity)[None], targets)
    for move, found in zip(moves, null):
        back = np.argsort(move)
        assert found == pytest.approx(brute_force(similarity[np.ix_(back, back)], target), abs=1e-5)


def test_p_values_of_random_features_are_uniform() -> None:
    rng = np.random.default_rng(1)
    target = scores.order(symmetric(7) + 2 * SAME)
    targets = scores.permuted(scores.scaled(target), scores.shuffles(LEVELS, 999, rng))
    p = []
    for _ in range(400):
        drawn = rng.normal(size=(8, 3)) + (LEVELS == "node")[:, None]  # knows the level, and nothing else
        order = scores.order(-views.euclid(drawn))
        found = float(scores.task_scores(order[None], target).mean())
        p.append(scores.p_value(found, scores.null_scores(order[None], targets)))
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert abs(np.mean(np.array(p) <= level) - level) < 3.5 * np.sqrt(level * (1 - level) / 400) + 0.002


def test_corrections_for_the_number_of_things_tried() -> None:
    np.testing.assert_allclose(scores.holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    nulls = np.random.default_rng(0).normal(size=(3, 999)) * [[1], [10], [0]]
    corrected = scores.max_t(np.array([5.0, 0.0, 7.0]), nulls)
    assert corrected[0] == pytest.approx(0.001)  # beyond all
    assert corrected[1] > 0.5
    assert corrected[2] > 0.5  # no permutation changes it: no evidence, whatever its score


def test_resampled_tasks_keep_their_levels_and_the_plain_sample_its_score() -> None:
    similarity, target = symmetric(8), symmetric(9)
    weights = scores.resamples(LEVELS, 100, np.random.default_rng(0))
    assert np.all(weights[:, LEVELS == "node"].sum(axis=1) == 4)
    weights[0] = 1
    found = scores.bootstrap(scores.order(similarity)[None], scores.order(target), weights)
    assert found[0] == pytest.approx(brute_force(similarity, target), abs=1e-6)
    # Twice the first task: it counts twice, alone and among the others.
    weights[0] = [2, 0, 1, 1, 1, 1, 1, 1]
    twice = np.array([0, 0, 2, 3, 4, 5, 6, 7])
    first, second = similarity[np.ix_(twice, twice)], target[np.ix_(twice, twice)]
    each = []
    for t in range(8):
        others = twice != twice[t]
        # SciPy drops the pair of the two copies, which tie in both.
        each.append(kendalltau(first[t, others], second[t, others]).statistic)
    found = scores.bootstrap(scores.order(similarity)[None], scores.order(target), weights)
    assert found[0] == pytest.approx(np.mean(each), abs=1e-6)


def test_tau_over_designs_is_the_banks() -> None:
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=(3, 30, 5)), 1)
    values[0][rng.random((30, 5)) < 0.2] = np.nan
    values[1][rng.random((30, 5)) < 0.1] = -np.inf
    for one, tau in zip(values, scores.kendall(values)):
        np.testing.assert_allclose((1 - tau) / 2, kendall_distance(pd.DataFrame(one)).to_numpy(), atol=1e-6)


def test_the_projection_is_the_packages() -> None:
    """The batched trainings against `train_projection`, which takes features and their logarithms itself."""
    rng = np.random.default_rng(0)
    inputs, distances = rng.normal(size=(2, 6, 5)), (symmetric(0, 6) + 10) / 20
    config = ProjectionConfig(iterations=40)
    found = projection.similarities(inputs, distances, [0, 3], config=config)
    rest = [0, 1, 2, 4, 5]
    one = train_projection(np.exp(inputs[1, rest]), distances[np.ix_(rest, rest)], seed=3, config=config)
    z = one.embed(np.exp(inputs[1]))
    np.testing.assert_allclose(found[1, 1, 3], z @ z[3], atol=1e-4)


def test_the_left_out_task_is_not_trained_on() -> None:
    rng = np.random.default_rng(0)
    inputs, distances = rng.normal(size=(1, 6, 5)), (symmetric(0, 6) + 10) / 20
    config = ProjectionConfig(iterations=40)
    changed = distances.copy()
    changed[2, [0, 1, 3, 4, 5]] = changed[[0, 1, 3, 4, 5], 2] = rng.random(5)
    before, after = (projection.similarities(inputs, d, [0], config=config)[0, 0] for d in (distances, changed))
    np.testing.assert_array_equal(before[2], after[2])
    assert not np.allclose(before[3], after[3])


def test_effects_of_choices() -> None:
    designs = [(pre, kind) for pre in ("1", "2") for kind in ("max", "mean")]
    values = np.array([3.0 * (pre == "2") - 2.0 * (kind == "mean") + 7 for pre, kind in designs])
    np.testing.assert_allclose(views.effects(designs) @ values, [3, -2])
    assert views.one_choice_apart(designs).tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    grid = [tuple(views.structure(design).split("/")) for design in features.STAR]
    assert len(set(grid)) == 9
    assert {tuple(pair) for pair in views.one_choice_apart(grid)} >= {(0, b) for b in range(1, 9)}


def test_what_a_file_lacks_is_computed_and_the_rest_kept(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def compute(names: list[str]) -> dict[str, np.ndarray]:
        asked.append(names)
        rows = {"wide": [np.ones((2, 3)), np.ones((2, 1))]}
        return {f"value/{name}": features.by_anchor(rows.get(name, np.full((2, 2), 5.0))) for name in names}

    for task in ("a", "b"):
        head = {"task": task, "seed": 0, "source": "s", "settings": "x", "anchors": ["1/2", "1/3"]}
        file = features.place(tmp_path, task, "s", 0)
        assert features.update(file, head, ["alpha"], compute)
        assert not features.update(file, head, ["alpha"], compute)
        assert features.update(file, head, ["alpha", "wide"], compute)
    assert asked == [["alpha"], ["wide"]] * 2
    found, lacks = views.load(tmp_path, ["a", "b"])
    assert not lacks
    assert [(feature.name, feature.values.shape) for feature in found] == [
        ("alpha [s]", (1, 2, 2, 2, 1)),
        ("wide [s]", (1, 2, 2, 2, 3)),
    ]
    assert found[1].raw.shape == (1, 2, 4)  # entries that no task has are gone
    assert views.load(tmp_path, ["a", "c"]) == ([], ["alpha [s]: 1 of 2 tasks", "wide [s]: 1 of 2 tasks"])
    assert features.update(file, {**head, "settings": "y"}, ["alpha"], compute)  # other settings: anew
    assert features.read_head(file)["statistics"] == ["alpha"]
    file.write_bytes(b"broken")
    assert features.update(file, head, ["alpha"], compute)


def test_a_whole_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(8, 2)) + 2 * (LEVELS == "node")[:, None]
    values = rng.normal(size=(40, 2)) @ hidden.T
    retest = banks.Retest("again", scores.kendall(values + 0.1 * rng.normal(size=(5, *values.shape))))
    bank = banks.Performances("embedded", tuple("abcdefgh"), LEVELS, values, (retest,))
    tau = views.cosine(hidden)
    knows = np.linalg.cholesky(tau + 1e-6 * np.eye(8))[None, :, :, None, None]  # its cosines are what matters
    noise = 1 + rng.exponential(size=(1, 8, 4, 3, 1))
    grid = ("1/2", "1/4", "2/2", "2/4")
    stored = [views.Feature("knows", "s", knows, ()), views.Feature("alpha", "s", noise, grid)]
    scorer = Scorer(bank, tmp_path, ProjectionConfig(iterations=20), quiet=True)
    entries = scorer.all(stored)
    frame = scorer.table(entries, permutations=500, resamples=50, projected_permutations=20, tested=1)
    frame = frame.set_index(["feature", "view", "anchors"])
    assert frame.loc[("knows [s]", "cosine of norm 1", ""), "score"] > 0.9
    assert frame.loc[("knows [s]", "cosine of norm 1", ""), "p"] < 0.01
    assert frame.loc[("same level", "tau-b with ties", ""), "score"] == pytest.approx(
        brute_force(SAME, bank.similarity), abs=1e-6
    )
    assert set(frame["kind"]) == {"baseline", "statistic", "anchors"}
    assert {"alpha: paired [s]", "alpha: effects [s]", "all together [s]"} <= set(frame.index.get_level_values(0))
    tested = frame[(frame["kind"] == "statistic") & frame["p"].notna()].index.get_level_values("view")
    assert sum(view.startswith("projection") for view in tested) == 1
    named = scorer.table(entries, permutations=5, resamples=5, projected_permutations=5, tested=["alpha [s]"])
    tested = named[named["view"].str.startswith("projection") & named["p"].notna()]
    assert list(tested["feature"]) == ["alpha [s]"] * 2
    assert (frame["p_holm"].dropna() >= frame["p"].reindex(frame["p_holm"].dropna().index).fillna(0)).all()
    ceilings = scorer.ceilings()
    assert ceilings["ceiling"][0] > 0.8
    frames, looks = {"embedded": frame.reset_index()}, {"embedded": ceilings}
    text = report.markdown(frames, looks, {"embedded": ""}, {"embedded": ["x"]}, "command")
    report.write(tmp_path / "out", text, frames, looks)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "table.md",
        "scores.csv",
        "ceilings.csv",
        "scores.svg",
        "scores.png",
    }


def test_the_embedded_bank() -> None:
    bank = banks.embedded()
    assert len(bank.tasks) == len(bank.levels) == bank.values.shape[1]
    assert set(bank.levels) == {"graph", "node"}
    assert all(0 < retest.ceiling(0.3) < 1 for retest in bank.retests)


def test_graphgyms_grid(data: Path) -> None:
    bank = banks.graphgym(data)
    assert bank.values.shape == (96, 12)
    assert not np.isnan(bank.values).any()
    assert sorted(bank.levels) == ["graph"] * 6 + ["node"] * 6
