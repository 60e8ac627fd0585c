"""The prior sampler: it draws what the prior says, each dimension by itself, the same whenever it is asked."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import optuna
import pytest
import tiny
from optuna.trial import Trial, TrialState
from scipy.stats import chi2_contingency, chisquare

from atjax.samplers import PriorSampler, suggest
from atjax.search.loop import designs
from atjax.space import Design, Dimension, Probabilities, Space, paper_space

PAPER = paper_space()
DRAWS = 3000


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def study_of(probabilities: Probabilities, seed: int = 0) -> optuna.Study:
    return optuna.create_study(sampler=PriorSampler(probabilities, seed))


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
    study = study_of(peaked)
    found = [design for _, (_, design) in zip(range(space.size), designs(study, space))]
    assert set(found) == set(space)
    assert sum(trial.state == TrialState.PRUNED for trial in study.trials) > 0  # what came again was put back


def test_designs_go_on_when_all_have_been_seen() -> None:
    space = tiny.space()
    found = [design for _, (_, design) in zip(range(space.size + 3), designs(study_of(space.uniform()), space))]
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
