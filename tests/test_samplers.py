"""The samplers: random draws what the prior says, and all of them keep one contract."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import optuna
import pytest
import tiny
from optuna.trial import Trial, TrialState
from scipy.stats import chi2_contingency, chisquare

from atjax.samplers import (
    TPE,
    WARM_UP,
    Candidates,
    DesignSampler,
    Evolution,
    History,
    Listed,
    Random,
    WholeSpace,
    suggest,
    table_of,
)
from atjax.search.loop import designs
from atjax.space import Design, Dimension, Probabilities, Space, paper_space

PAPER = paper_space()
DRAWS = 3000


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


RULES = {"random": Random, "tpe": TPE, "evolution": Evolution}
every_rule = pytest.mark.parametrize("kind", RULES.values(), ids=list(RULES))


def study_of(
    probabilities: Probabilities, seed: int = 0, space: Space = PAPER, kind: type = Random, direction: str = "minimize"
) -> optuna.Study:
    rule = kind(WholeSpace(space), table_of(space, probabilities))
    return optuna.create_study(sampler=DesignSampler(rule, space, seed), direction=direction)


def random_prior(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    return {
        dimension.name: dict(zip(dimension.choices, rng.dirichlet(np.full(len(dimension.choices), 3.0)).tolist()))
        for dimension in PAPER.dimensions
    }


@pytest.fixture(scope="module")
def drawn() -> tuple[dict, list[Design]]:
    """A random prior, and designs drawn from it."""
    prior = random_prior(1)
    study = study_of(prior, seed=5)
    return prior, [suggest(study.ask(), PAPER) for _ in range(DRAWS)]


@pytest.mark.parametrize("dimension", PAPER.dimensions, ids=lambda dimension: dimension.name)
def test_frequencies_are_those_of_the_prior(dimension: Dimension, drawn: tuple[dict, list[Design]]) -> None:
    prior, sample = drawn
    counts = Counter(getattr(design, dimension.name) for design in sample if dimension.active(design.as_dict()))
    total = sum(counts.values())
    assert set(counts) <= set(dimension.choices)
    expected = [total * prior[dimension.name][choice] for choice in dimension.choices]
    assert chisquare([counts[choice] for choice in dimension.choices], expected).pvalue > 1e-3


def test_dimensions_are_independent(drawn: tuple[dict, list[Design]]) -> None:
    names = [d.name for d in PAPER.dimensions if d.parent is None]
    worst = 1.0
    pairs = list(itertools.combinations(names, 2))
    for first, second in pairs:
        codes = [
            np.unique([str(getattr(d, name)) for d in drawn[1]], return_inverse=True)[1] for name in (first, second)
        ]
        table = np.zeros([code.max() + 1 for code in codes])
        np.add.at(table, tuple(codes), 1)
        worst = min(worst, chi2_contingency(table).pvalue)
    assert worst > 1e-3 / len(pairs)


def test_inactive_dimensions_are_absent(drawn: tuple[dict, list[Design]]) -> None:
    assert all(design in PAPER for design in drawn[1])
    study = study_of(PAPER.uniform())
    for _ in range(50):
        trial = study.ask()
        design = suggest(trial, PAPER)
        assert ("heads" in trial.params) == (design.convolution == "gat")
        assert ("aggregation" in trial.params) == (design.convolution in ("general", "sage", "gin"))
        assert trial.params == {name: value for name, value in design.as_dict().items() if value is not None}


def test_a_choice_of_probability_zero_never_comes() -> None:
    prior = random_prior(2)
    prior["activation"] = {"relu": 0.0, "prelu": 1.0, "leaky_relu": 0.0, "elu": 0.0}
    study = study_of(prior)
    assert {suggest(study.ask(), PAPER).activation for _ in range(100)} == {"prelu"}


def test_a_draw_depends_on_seed_and_number_only() -> None:
    prior = random_prior(3)
    whole = [suggest(trial, PAPER) for trial in (study_of(prior, 7).ask() for _ in range(1))]
    study, other = study_of(prior, 7), study_of(prior, 7)
    first = [suggest(study.ask(), PAPER) for _ in range(20)]
    assert first[0] == whole[0]
    for number in range(20):  # with results told in between, and in another order
        trial = other.ask()
        backwards = Space("backwards", PAPER.dimensions[:3] + PAPER.dimensions[:2:-1])
        assert suggest(trial, backwards) == first[number]
        other.tell(trial, float(number))
    different = study_of(prior, 8)
    assert [suggest(different.ask(), PAPER) for _ in range(20)] != first


def test_a_longer_search_begins_with_the_designs_of_a_shorter_one() -> None:
    def begin(count: int) -> list[Design]:
        return [design for _, (_, design) in zip(range(count), designs(study_of(random_prior(4), 1), PAPER))]

    assert begin(5) == begin(30)[:5]


def test_designs_never_come_twice_while_there_are_new_ones() -> None:
    space = tiny.space()
    peaked = space.uniform()
    peaked["epochs"] = {200: 0.9, 800: 0.05, 1600: 0.05}
    study = study_of(peaked, space=space)
    found = [design for _, (_, design) in zip(range(space.size), designs(study, space))]
    assert set(found) == set(space)
    assert sum(trial.state == TrialState.PRUNED for trial in study.trials) > 0  # what came again was put back


def test_designs_go_on_when_all_have_been_seen() -> None:
    space = tiny.space()
    found = [
        design for _, (_, design) in zip(range(space.size + 3), designs(study_of(space.uniform(), space=space), space))
    ]
    assert len(set(found)) == space.size
    assert all(design in space for design in found)


def test_optuna_can_drive_it() -> None:
    """The contract of a sampler: `study.optimize`, with failures and pruning, gives what `ask` gives."""
    prior = random_prior(6)
    found: list[Design] = []

    def objective(trial: Trial) -> float:
        found.append(suggest(trial, PAPER))
        if trial.number == 2:
            raise optuna.TrialPruned
        if trial.number == 3:
            raise ArithmeticError
        return float(trial.number)

    study = study_of(prior)
    study.optimize(objective, n_trials=6, catch=(ArithmeticError,))
    states = [trial.state for trial in study.trials]
    assert states[2:4] == [TrialState.PRUNED, TrialState.FAIL]
    assert study.best_trial.number == 0
    other = study_of(prior)
    assert [suggest(other.ask(), PAPER) for _ in range(6)] == found
    study.optimize(objective, n_trials=2)
    assert [suggest(other.ask(), PAPER) for _ in range(2)] == found[6:]


def test_a_parameter_that_is_asked_twice_is_the_same() -> None:
    trial = study_of(PAPER.uniform()).ask()
    assert suggest(trial, PAPER) == suggest(trial, PAPER)


# The contract of every sampler


def score(design: Design) -> float:
    """A made-up score that some choices raise."""
    return design.mp_layers / 8 + (design.convolution == "gat") + (design.learning_rate == 0.1)


def search(study: optuna.Study, count: int, space: Space = PAPER) -> list[Design]:
    found = []
    for number, (trial, design) in zip(range(count), designs(study, space)):
        found.append(design)
        if number == 3:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, score(design))
    return found


@every_rule
def test_every_sampler_proposes_designs_of_the_space_without_repeats(kind: type) -> None:
    study = study_of(random_prior(1), kind=kind, direction="maximize")
    found = search(study, 40)
    assert len(set(found)) == 40
    assert all(design in PAPER for design in found)
    for trial in study.trials:
        assert trial.params == {n: v for n, v in suggest_again(trial.params).as_dict().items() if v is not None}


def suggest_again(params: dict) -> Design:
    return Design(**{d.name: params.get(d.name) for d in PAPER.dimensions})  # type: ignore[arg-type]


@every_rule
def test_every_sampler_repeats_itself_under_its_seed(kind: type) -> None:
    prior = random_prior(1)
    first = search(study_of(prior, 3, kind=kind), 20)
    assert search(study_of(prior, 3, kind=kind), 20) == first
    assert search(study_of(prior, 3, kind=kind), 9) == first[:9]
    assert search(study_of(prior, 4, kind=kind), 20) != first


@every_rule
def test_every_sampler_begins_with_draws_from_the_prior(kind: type) -> None:
    prior = random_prior(2)
    prior["connectivity"] = {"stack": 0.0, "skip_sum": 1.0, "skip_concat": 0.0}
    for seed in range(20):
        found = search(study_of(prior, seed, kind=kind), WARM_UP)
        assert {design.connectivity for design in found} == {"skip_sum"}
        assert found == search(study_of(prior, seed), WARM_UP)  # the same draws as at random


@every_rule
def test_every_sampler_goes_through_a_small_space(kind: type) -> None:
    space = tiny.space()
    found = search(study_of(space.uniform(), space=space, kind=kind), space.size, space)
    assert set(found) == set(space)


@pytest.mark.parametrize("kind", [TPE, Evolution])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_what_learns_from_results_beats_what_does_not(kind: type, direction: str) -> None:
    sign = 1 if direction == "maximize" else -1

    def mean(kind: type) -> float:
        runs = [search(study_of(PAPER.uniform(), s, kind=kind, direction=direction), 40)[20:] for s in range(8)]
        return sign * float(np.mean([score(design) for run in runs for design in run]))

    assert mean(kind) > mean(Random) + 0.25


def test_the_densities_of_tpe_by_hand() -> None:
    """Two choices, prior (0.75, 0.25): pseudo-counts 1.5 and 0.5; one best trial of choice 1, nine of choice 0."""
    space = Space("two", (Dimension("link", ("a", "b")),), kind=dict)  # type: ignore[arg-type]
    rule = TPE(WholeSpace(space), np.array([[0.75, 0.25]]))
    np.testing.assert_allclose(rule._density(np.array([[1]])), [[1.5 / 3, 1.5 / 3]])
    np.testing.assert_allclose(rule._density(np.zeros((9, 1), np.int8)), [[10.5 / 11, 0.5 / 11]])
    history = History(np.array([[1], *[[0]] * 9], np.int8), np.array([1.0, *[0.0] * 9]))
    assert {int(rule.propose(history, np.random.default_rng(n))[0]) for n in range(20)} == {1}


def test_evolution_changes_one_choice_of_a_good_parent() -> None:
    rule = Evolution(WholeSpace(PAPER), table_of(PAPER, PAPER.uniform()), tournament=6)
    rows = PAPER.numbers([PAPER.sample(np.random.default_rng(n)) for n in range(6)])
    history = History(rows, np.array([0, 0, 0, 9.0, 0, -np.inf]))
    parent = PAPER.numbered(rows[3])
    changed = Counter()
    for seed in range(300):
        child = PAPER.numbered(rule.propose(history, np.random.default_rng(seed)))
        assert child in PAPER
        differ = {name for name, choice in parent.as_dict().items() if choice != getattr(child, name)}
        assert len(differ - {"heads", "aggregation"}) <= 1
        assert differ
        changed.update(differ)
    assert set(changed) == set(Design.__annotations__) - {"heads"} | (
        {"heads"} if parent.convolution == "gat" or "heads" in changed else set()
    )


@pytest.mark.parametrize("seen", [0, 5])
def test_a_list_is_drawn_from_by_the_products_of_its_choices(seen: int) -> None:
    prior = random_prior(5)
    rows = PAPER.numbers([PAPER.sample(np.random.default_rng(n)) for n in range(12)])
    table = table_of(PAPER, prior)
    drawn = Listed(PAPER, rows).draw(table, np.random.default_rng(0), 20000, rows[:seen])
    weights = []
    for row in rows[seen:]:
        chosen = {name: c for name, c in PAPER.numbered(row).as_dict().items() if c is not None}
        weights.append(np.prod([prior[name][choice] for name, choice in chosen.items()]))
    counts = [(drawn == row).all(axis=1).sum() for row in rows[seen:]]
    assert chisquare(counts, 20000 * np.array(weights) / np.sum(weights)).pvalue > 1e-3


def test_the_neighbour_in_a_list_is_the_nearest_that_is_new() -> None:
    rows = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 1]], np.int8)
    space = Space("four", tuple(Dimension(name, (1, 2)) for name in "abcd"))
    some: Candidates = Listed(space, rows)
    rng = np.random.default_rng(0)
    assert some.change(rows[0], rng, rows[:1]).tolist() == rows[1].tolist()
    assert some.change(rows[0], rng, rows[:2]).tolist() == rows[3].tolist()
    assert some.change(rows[0], rng, rows).tolist() == rows[0].tolist()  # nothing is left: a repeat
