"""Design priors: counts by hand, Equation 3 by hand, and nothing of the novel task in its own prior."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from atjax.affinity import fit_affinity, held_out_distances, mean_distances
from atjax.bank import Bank, FeatureRow, Record
from atjax.bank.records import features_table, records_table
from atjax.embedding import ProjectionConfig
from atjax.errors import UserError
from atjax.prior import (
    Embedding,
    Prior,
    PriorConfig,
    Weighting,
    close_weights,
    design_distribution,
    mix,
    prior_from_bank,
    uniform_prior,
)
from atjax.space import Design, Dimension, Space, bank_designs, paper_space

SPACE = paper_space()
DESIGNS = bank_designs(SPACE, 80)
GCN = Design("gcn", None, None, "relu", 64, "stack", 1, 2, 2, 0.1, 200)
GAT = dataclasses.replace(GCN, convolution="gat", heads=2)
SAGE = dataclasses.replace(GCN, convolution="sage", aggregation="max")


def trial(
    design: Design,
    validation: float,
    *,
    loss: float = 1.0,
    test: float = 0.5,
    seed: int = 0,
    task: str = "t",
    content: str = "t",
    state: str = "complete",
    metric: str = "accuracy",
    level: str = "graph",
) -> Record:
    if state != "complete":
        validation = loss = test = math.nan
    numbers = (validation, loss, test, 0, 10, 1.0, 0.0)
    return Record(
        task,
        level,
        content,
        metric,
        design,
        seed,
        "quick",
        32,
        50,
        state,
        "",
        *numbers,
        [],
        [],
        [],
        [],
        "{}",
        "cpu",
        "",
    )


def frame(trials: list[Record]) -> pd.DataFrame:
    return records_table(trials).to_pandas()


def variants(design: Design, count: int) -> list[Design]:
    """Designs that differ from this one in their depths, which no test here looks at."""
    depths = itertools.product(*(SPACE[name].choices for name in ("pre_layers", "mp_layers", "post_layers")))
    others = [dataclasses.replace(design, pre_layers=a, mp_layers=b, post_layers=c) for a, b, c in depths]
    return [other for other in others if other != design][:count]


# P(c | T)


def test_frequencies_of_the_best_quarter() -> None:
    """12 trials, so K = 3: gcn, sage and sage are the best by validation; the best by test are others."""
    best = [
        trial(GCN, 0.9, test=0),
        trial(SAGE, 0.8, test=0),
        trial(dataclasses.replace(SAGE, hidden=256), 0.7, test=0),
    ]
    rest = [trial(design, 0.1, test=1) for design in variants(GAT, 9)]
    table = design_distribution(frame(rest + best), SPACE, correct=False)
    assert table["convolution"] == pytest.approx({"general": 0, "gcn": 1 / 3, "sage": 2 / 3, "gin": 0, "gat": 0})
    assert table["hidden"] == pytest.approx({64: 2 / 3, 256: 1 / 3})
    assert table["aggregation"] == {"sum": 0, "mean": 0, "max": 1}  # counted over the two sage trials only
    assert table["heads"] == pytest.approx({1: 1 / 3, 2: 1 / 3, 4: 1 / 3})  # no gat among the best: uniform
    top_1 = design_distribution(frame(rest + best), SPACE, top_k=1, correct=False)
    assert top_1["convolution"]["gcn"] == 1


@pytest.mark.parametrize("metric", ["accuracy", "mae"])
@pytest.mark.parametrize("seed", range(4))
def test_uncorrected_frequencies_are_plain_counts(seed: int, metric: str) -> None:
    """Against a plain recount, on random trials with ties and failures."""
    rng = np.random.default_rng(seed)
    trials = [
        trial(
            design,
            float(rng.integers(0, 5)),
            loss=float(rng.integers(0, 3)),
            metric=metric,
            state="complete" if rng.random() < 0.8 else "diverged",
        )
        for design in DESIGNS
    ]
    sign = 1 if metric == "mae" else -1
    done = [t for t in trials if t.state == "complete"]
    best = sorted(done, key=lambda t: (sign * t.validation, t.validation_loss, t.key))[:16]
    table = design_distribution(frame(trials), SPACE, correct=False)
    for dimension in SPACE.dimensions:
        counts = Counter(getattr(t.design, dimension.name) for t in best)
        total = sum(counts[choice] for choice in dimension.choices)
        for choice in dimension.choices:
            expected = counts[choice] / total if total else 1 / len(dimension.choices)
            assert table[dimension.name][choice] == pytest.approx(expected)


def test_ties_go_to_the_lower_loss_then_to_the_key() -> None:
    trials = [trial(GAT, 0.9, loss=2.0), trial(GCN, 0.9, loss=1.0), *(trial(d, 0.1) for d in variants(SAGE, 2))]
    assert design_distribution(frame(trials), SPACE, correct=False)["convolution"]["gcn"] == 1
    level = [trial(GAT, 0.9), trial(GCN, 0.9), *(trial(d, 0.1) for d in variants(SAGE, 2))]
    first = min(level[:2], key=lambda t: t.key).design.convolution
    assert design_distribution(frame(level), SPACE, correct=False)["convolution"][first] == 1
    assert design_distribution(frame(level[::-1]), SPACE, correct=False)["convolution"][first] == 1


def test_correction_undoes_an_uneven_bank() -> None:
    """8 designs, K = 2, one gcn and one gat best; 6 were gcn and two gat, so gat is 3 times as good."""
    trials = [
        trial(GCN, 0.9),
        trial(GAT, 0.8),
        *(trial(d, 0.1) for d in variants(GAT, 1)),
        *(trial(d, 0.2) for d in variants(GCN, 5)),
    ]
    plain = design_distribution(frame(trials), SPACE, correct=False)["convolution"]
    corrected = design_distribution(frame(trials), SPACE)["convolution"]
    assert (plain["gcn"], plain["gat"]) == (0.5, 0.5)
    assert (corrected["gcn"], corrected["gat"]) == pytest.approx((0.25, 0.75))


def test_an_even_bank_needs_no_correction() -> None:
    small = Space("small", tuple(d for d in SPACE.dimensions if d.name in ("hidden", "connectivity", "activation")))
    designs = [
        dataclasses.replace(GCN, hidden=h, connectivity=c, activation=a)
        for h in (64, 256)
        for c in ("stack", "skip_sum", "skip_concat")
        for a in ("relu", "prelu", "leaky_relu", "elu")
    ]
    rng = np.random.default_rng(0)
    records = frame([trial(design, float(rng.random())) for design in designs])
    plain, corrected = (design_distribution(records, small, correct=correct) for correct in (False, True))
    for name, choices in plain.items():
        assert corrected[name] == pytest.approx(choices)


def test_designs_outside_the_space_do_not_count() -> None:
    odd = dataclasses.replace(GCN, learning_rate=0.01)
    trials = [trial(d, 0.99) for d in (odd, *variants(odd, 3))] + [trial(SAGE, 0.2), trial(GCN, 0.1)]
    assert design_distribution(frame(trials), SPACE)["convolution"]["sage"] == 1


def test_a_design_counts_once_by_all_its_splits() -> None:
    """On the easy split 1 all are better by 0.3; gcn is the best there is, though others have the best trials."""
    best, *rest = variants(GCN, 1) + variants(GAT, 7)
    trials = [trial(best, 0.6)] + [
        trial(design, 0.3 * split + 0.01 * number, seed=split) for number, design in enumerate(rest) for split in (0, 1)
    ]
    table = design_distribution(frame(trials), SPACE, top_k=1, correct=False)
    assert table["convolution"]["gcn"] == 1
    trials.append(trial(best, -1.0, seed=1))
    assert design_distribution(frame(trials), SPACE, top_k=1, correct=False)["convolution"]["gat"] == 1


def test_no_complete_trial_leaves_all_uniform() -> None:
    table = design_distribution(frame([trial(GCN, 0, state="failed")]), SPACE)
    assert table == SPACE.uniform()


def test_choices_keep_their_types() -> None:
    table = design_distribution(frame([trial(d, 0.5) for d in DESIGNS[:40]]), SPACE)
    for dimension in SPACE.dimensions:
        assert tuple(table[dimension.name]) == dimension.choices
        assert [type(choice) for choice in table[dimension.name]] == [type(choice) for choice in dimension.choices]
        assert {type(share) for share in table[dimension.name].values()} == {float}
        assert sum(table[dimension.name].values()) == pytest.approx(1)


# Equation 3


def test_equation_3_by_hand() -> None:
    """Distances 0.1, 0.5 and 0.6 under threshold 0.5: weights 10 and 2 over their sum 12; the third is not close.

    relu:  (10 * 0.6 + 2 * 0.0) / 12 = 0.5;    with epsilon 0.2: 0.8 * 0.5 + 0.2 / 2 = 0.5
    elu:   (10 * 0.4 + 2 * 1.0) / 12 = 0.5
    64:    (10 * 1.0 + 2 * 0.4) / 12 = 0.9;    with epsilon 0.2: 0.8 * 0.9 + 0.2 / 2 = 0.82
    256:   (10 * 0.0 + 2 * 0.6) / 12 = 0.1;    with epsilon 0.2: 0.8 * 0.1 + 0.2 / 2 = 0.18
    """
    weights = close_weights(np.array([0.1, 0.5, 0.6]), threshold=0.5, floor=0.05)
    np.testing.assert_allclose(weights, [10 / 12, 2 / 12, 0])
    tables = [
        {"activation": {"relu": 0.6, "elu": 0.4}, "hidden": {64: 1.0, 256: 0.0}},
        {"activation": {"relu": 0.0, "elu": 1.0}, "hidden": {64: 0.4, 256: 0.6}},
        {"activation": {"relu": 1.0, "elu": 0.0}, "hidden": {64: 0.0, 256: 1.0}},
    ]
    mixed = mix(tables, weights, epsilon=0.2)
    assert mixed["activation"] == pytest.approx({"relu": 0.5, "elu": 0.5})
    assert mixed["hidden"] == pytest.approx({64: 0.82, 256: 0.18})
    assert mix(tables, weights, epsilon=0.0)["hidden"] == pytest.approx({64: 0.9, 256: 0.1})


def test_weights_have_a_floor_and_a_threshold() -> None:
    np.testing.assert_allclose(close_weights(np.array([0.0, -1e-7, 0.1]), 0.5, 0.05), [0.4, 0.4, 0.2])
    np.testing.assert_array_equal(close_weights(np.array([0.6, np.inf]), 0.5, 0.05), [0, 0])


def test_uniform_prior() -> None:
    prior = uniform_prior(SPACE)
    assert prior.probabilities == SPACE.uniform()
    assert (prior.source, prior.nearest) == ("uniform", ())


# The whole way


TRAINING = ProjectionConfig(iterations=50, batch=32)


def position(number: int, tasks: int) -> float:
    return number / (tasks - 1)


def task_rows(number: int, tasks: int, *, task: str | None = None, seeds: int = 1) -> tuple[list[Record], FeatureRow]:
    """Task ``number`` of a line of tasks: gcn is best at one end of it and gat at the other."""
    x = position(number, tasks)
    rng = np.random.default_rng(number)
    name, content = task or f"task{number}", f"{number:064d}"
    taste = {"gcn": 1 - x, "gat": x, "general": 0.3, "sage": 0.2, "gin": 0.1}
    trials = [
        trial(
            design,
            taste[design.convolution] + 0.02 * float(rng.random()),
            seed=seed,
            task=name,
            content=content,
            level="node" if number % 2 else "graph",
        )
        for design in DESIGNS[:60]
        for seed in range(seeds)
    ]
    alphas = 1 + np.exp(np.linspace(-2, 2, 12) * (3 * x - 1.5))[:, None] * (1 + 0.02 * rng.random((12, 5)))
    return trials, FeatureRow(name, trials[0].level, content, 0, "f0", alphas, 1.0, "{}", "")


def build(rows: list[tuple[list[Record], FeatureRow]]) -> Bank:
    """What `load_bank` makes of these rows."""
    records = frame([t for trials, _ in rows for t in trials])
    features = features_table([row for _, row in rows]).to_pandas()
    features["values"] = [np.stack(values) for values in features["values"]]
    order = ["content_hash", "key"]
    return Bank(
        records.sort_values(order, ignore_index=True), features.sort_values(order, ignore_index=True), Path("made-up")
    )


def ask(
    number: int,
    bank: Bank,
    *,
    name: str = "novel",
    config: PriorConfig | None = None,
    space: Space = SPACE,
    **changes: str,
) -> tuple[Prior, Embedding | None]:
    """The prior of task ``number`` of the line of nine."""
    _, row = task_rows(number, 9)
    settings = {"exclude_hash": row.content_hash, "exclude_name": name, "fisher": "f0", "budget": "quick", **changes}
    return prior_from_bank(
        row.values.mean(axis=1), row.level, bank, space, config=config, projection=TRAINING, **settings
    )


def others(number: int) -> list[tuple[list[Record], FeatureRow]]:
    return [task_rows(t, 9) for t in range(9) if t != number]


def test_the_prior_is_that_of_similar_tasks() -> None:
    for number, choice in [(0, "gcn"), (8, "gat")]:
        prior, embedding = ask(number, build(others(number)), config=PriorConfig(threshold=0.3))
        assert embedding is not None
        assert prior.source == "transfer"
        assert max(prior.probabilities["convolution"], key=prior.probabilities["convolution"].get) == choice  # type: ignore[arg-type]
        names, distances, weights = zip(*prior.nearest)
        assert abs(int(names[0].removeprefix("task")) - number) <= 2
        assert len(names) == 8
        assert list(distances) == sorted(distances)
        assert sum(weights) == pytest.approx(1)
        assert all((weight > 0) == (distance <= 0.3) for distance, weight in zip(distances, weights))
        assert min(min(choices.values()) for choices in prior.probabilities.values()) >= 0.1 / 5 - 1e-12
        assert prior.reason == f"{sum(w > 0 for w in weights)} of 8 tasks of the bank lie within distance 0.3."


def test_the_prior_is_equation_3_over_the_tasks_named() -> None:
    bank = build(others(4))
    prior, _ = ask(4, bank, config=PriorConfig(threshold=1.0, epsilon=0.1))
    total: dict[str, dict] = {d.name: dict.fromkeys(d.choices, 0.0) for d in SPACE.dimensions}
    inverse = {name: 1 / max(distance, 0.05) for name, distance, _ in prior.nearest if distance <= 1.0}
    for name, weight in inverse.items():
        table = design_distribution(bank.records[bank.records["task"] == name], SPACE)
        for dimension in SPACE.dimensions:
            for choice in dimension.choices:
                total[dimension.name][choice] += weight / sum(inverse.values()) * table[dimension.name][choice]
    for dimension in SPACE.dimensions:
        for choice in dimension.choices:
            expected = 0.9 * total[dimension.name][choice] + 0.1 / len(dimension.choices)
            assert prior.probabilities[dimension.name][choice] == pytest.approx(expected)


def test_calibrated_weights_from_the_records() -> None:
    """The steps of `atjax.affinity` one by one: tau by SciPy, and a projection for every task left out."""
    rows = others(4)
    settings = PriorConfig(weights="calibrated", threshold=2.0, power=3.0)
    prior, embedding = ask(4, build(rows), config=settings)
    scores = np.array([[t.validation for t in trials] for trials, _ in rows])
    distances = np.array([[(1 - kendalltau(a, b).statistic) / 2 for b in scores] for a in scores])
    features = np.array([row.values.mean(axis=1) for _, row in rows])
    novel = task_rows(4, 9)[1].values.mean(axis=1)
    near = mean_distances(features, distances, novel, config=TRAINING)
    affinity = fit_affinity(held_out_distances(features, distances, config=TRAINING), distances, 0.05)
    assert affinity.slope < 0
    raised = np.maximum(affinity.expected(near), 0.02) ** 3
    found = {name: (distance, weight) for name, distance, weight in prior.nearest}
    for (_, row), distance, weight in zip(rows, near, raised / raised.sum()):
        assert found[row.task] == pytest.approx((distance, weight), rel=1e-3, abs=1e-5)
    assert [d for _, d, _ in prior.nearest] == sorted(d for _, d, _ in prior.nearest)
    assert embedding is not None
    np.testing.assert_allclose(embedding.features, features)
    assert prior.reason == f"{len(rows)} of {len(rows)} tasks of the bank lie within distance 2."
    none, _ = ask(4, build(rows), config=dataclasses.replace(settings, threshold=float(near.min()) / 2))
    assert none.source == "uniform"


@pytest.mark.parametrize("weights", ["inverse", "calibrated"])
@pytest.mark.parametrize("disguise", ["own name", "other name", "other content"])
def test_nothing_of_the_novel_task_reaches_its_prior(disguise: str, weights: Weighting) -> None:
    """Bit for bit: the novel task's own rows, under its name, another name, or changed content, alter nothing."""
    trials, row = task_rows(4, 9, task="alias" if disguise == "other name" else "novel", seeds=2)
    if disguise == "other content":
        trials = [dataclasses.replace(t, content_hash="x") for t in trials]
        row = dataclasses.replace(row, content_hash="x")
    config = PriorConfig(weights=weights)
    expected, before = ask(4, build(others(4)), config=config)
    found, after = ask(4, build([*others(4), (trials, row)]), config=config)
    assert expected == found
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before.novel, after.novel)
    np.testing.assert_array_equal(before.tasks, after.tasks)
    # The check can fail: were it not left out, it would be seen.
    leaked, _ = ask(4, build([*others(4), (trials, row)]), name="another", exclude_hash="another", config=config)
    assert leaked != expected


def test_only_this_budget_and_these_fisher_settings_count() -> None:
    trials, row = task_rows(4, 9)
    noise = (
        [dataclasses.replace(t, task="noise", content_hash="noise", budget="paper") for t in trials],
        dataclasses.replace(row, task="noise", content_hash="noise", fisher="f1"),
    )
    expected, _ = ask(4, build(others(4)))
    found, _ = ask(4, build([*others(4), noise]))
    assert expected == found
    found, _ = ask(0, build(others(0)), budget="paper")
    assert found.reason == (
        "The bank has 0 other tasks with records of this budget and features of these Fisher settings, "
        "and 3 are needed. The prior is uniform."
    )
    half = (trials, dataclasses.replace(row, fisher="f1"))  # records, but no feature of these settings
    halved, _ = ask(0, build([*(rows for rows in others(0) if rows[1].task != "task4"), half]))
    assert [name for name, _, _ in halved.nearest if name == "task4"] == []
    assert len(halved.nearest) == 7


def test_nothing_close_is_uniform_and_says_so() -> None:
    prior, embedding = ask(0, build(others(0)), config=PriorConfig(threshold=0.0))
    assert embedding is not None
    assert prior.source == "uniform"
    assert prior.probabilities == SPACE.uniform()
    assert prior.reason == "No task of the bank lies within distance 0. The prior is uniform."
    assert len(prior.nearest) == 8
    assert all(weight == 0 for _, _, weight in prior.nearest)


def test_a_bank_without_designs_of_the_space_is_uniform_and_says_so() -> None:
    widths = tuple(
        dataclasses.replace(dimension, choices=(32, 128)) if dimension.name == "hidden" else dimension
        for dimension in SPACE.dimensions
    )
    wide = dataclasses.replace(SPACE, name="wide", dimensions=widths)
    prior, embedding = ask(0, build(others(0)), space=wide)
    assert embedding is not None
    assert (prior.source, prior.ranking) == ("uniform", None)
    assert prior.probabilities == wide.uniform()
    assert prior.reason == "The close tasks of the bank have no design of the space 'wide'. The prior is uniform."


def test_too_small_a_bank_is_uniform_and_says_so() -> None:
    prior, embedding = ask(0, build(others(0)[:2]))
    assert embedding is None
    assert (prior.source, prior.nearest, prior.name) == ("uniform", (), "product")
    assert prior.reason.startswith("The bank has 2 other tasks with records")
    unlike = [
        ([t for t in trials if DESIGNS.index(t.design) % 4 == n], row) for n, (trials, row) in enumerate(others(0)[:4])
    ]
    prior, embedding = ask(0, build(unlike))
    assert embedding is None
    assert "share too few designs" in prior.reason


@pytest.mark.parametrize("weights", ["inverse", "calibrated"])
def test_with_one_level_alone_all_is_as_if_the_bank_knew_no_other(weights: Weighting) -> None:
    """Projection, weights, marginals and ranking."""
    settings = PriorConfig(threshold=2.0, joint=True, weights=weights)
    own = [(trials, row) for trials, row in others(4) if row.level == "graph"]
    prior, embedding = ask(4, build(others(4)), config=dataclasses.replace(settings, same_level=True))
    expected, alone = ask(4, build(own), config=settings)
    assert [name for name, _, _ in prior.nearest] == [name for name, _, _ in expected.nearest]
    assert {name for name, _, _ in prior.nearest} == {"task0", "task2", "task6", "task8"}
    assert prior.nearest == expected.nearest
    assert prior.probabilities == expected.probabilities
    assert prior.reason == expected.reason.replace("tasks of", "tasks of level graph of")
    assert embedding is not None
    assert alone is not None
    np.testing.assert_array_equal(embedding.novel, alone.novel)
    assert prior.ranking is not None
    assert expected.ranking is not None
    np.testing.assert_array_equal(prior.ranking.shares, expected.ranking.shares)
    every, _ = ask(4, build(others(4)), config=settings)
    assert every.probabilities != prior.probabilities


def test_too_few_tasks_of_the_level_are_told() -> None:
    few = [(trials, row) for trials, row in others(4) if row.level == "node" or row.task in ("task0", "task2")]
    prior, embedding = ask(4, build(few), config=PriorConfig(same_level=True))
    assert embedding is None
    assert prior.reason.startswith("The bank has 2 other tasks of level graph with records of this budget")


@pytest.mark.parametrize(
    ("feature", "sentence"),
    [
        (np.full(12, np.nan), "holds NaN or infinity"),
        (np.full(12, 12**-0.5), "scaled to norm 1; give the mean values"),
        (np.full(11, 2.0), "feature of task1 has 12 entries and the novel task's 11; use the same anchors"),
    ],
)
def test_a_feature_that_does_not_fit(feature: np.ndarray, sentence: str) -> None:
    bank = build(others(0)[:4])
    with pytest.raises(UserError, match=sentence):
        prior_from_bank(feature, "graph", bank, SPACE, exclude_hash="", exclude_name="", fisher="f0", budget="quick")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("top_k", 0), ("epsilon", 1.5), ("distance_floor", 0.0), ("keep", 1.1), ("power", -1), ("weights", "equal")),
        *((name, math.nan) for name in ("threshold", "epsilon", "distance_floor", "ridge", "reweigh", "keep", "power")),
        *(("top_k", 2.5), ("top_k", True), ("threshold", -1)),
    ],
)
def test_settings_are_checked(name: str, value: float | str) -> None:
    with pytest.raises(UserError, match=f"prior.{name} must"):
        PriorConfig(**{name: value})


def test_a_space_with_other_choices_is_followed() -> None:
    narrow = Space(
        "narrow",
        tuple(d if d.name != "convolution" else Dimension("convolution", ("gcn", "gat")) for d in SPACE.dimensions),
    )
    table = design_distribution(frame(task_rows(8, 9)[0]), narrow)
    assert tuple(table["convolution"]) == ("gcn", "gat")
    assert table["convolution"]["gat"] > 0.9
