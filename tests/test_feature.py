"""The task feature, its cache and its settings."""

from __future__ import annotations

import dataclasses
import functools
import linecache
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atjax import atomic, feature, fisher
from atjax.errors import UserError
from atjax.feature import TaskFeature, task_feature
from atjax.fisher import FisherConfig, Values
from atjax.space import ANCHORS
from atjax.task import Graphs, Split, Task

CONFIG = FisherConfig(hidden=4, seeds=2, ridge=1e-2, max_passes={"graph": 20, "node": 20}, max_nodes=50, chunk=64)


def make_task(**changes: Any) -> Task:
    """20 pairs of nodes, two classes."""
    count = 20
    nodes = np.random.default_rng(0).normal(size=(2 * count, 3)).astype(np.float32)
    first = np.arange(0, 2 * count, 2)
    graphs = Graphs.from_edges(nodes, first, first + 1, np.full(count, 2))
    labels = (np.arange(count) % 2).astype(np.int32)
    task = Task("pairs", "graph", "cross_entropy", "accuracy", graphs, labels, 2)
    return dataclasses.replace(task, **changes)


class Stage:
    """Stands in for the Fisher stage: random alphas, and a count of how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, task: Task, config: FisherConfig, statistics: Sequence[str], *, seed: int, progress: Callable | None
    ) -> dict[str, Values]:
        self.calls += 1
        self.asked = list(statistics)
        if progress is not None:
            progress(12, 12)
        value = 1 + np.random.default_rng(self.calls).random((12, config.seeds))
        return {name: Values(value + number, 0 * value) for number, name in enumerate(statistics)}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    fake = Stage()
    monkeypatch.setattr(feature, "task_statistics", fake)
    return fake


# The numbers


@given(hnp.arrays(np.float64, (12, 3), elements=st.floats(1, 1e6)))
def test_vector_is_the_mean_over_seeds_scaled_to_norm_1(alphas: np.ndarray) -> None:
    made = TaskFeature(alphas, "key", 0.0, {"alpha": 12})
    np.testing.assert_array_equal(made.mean, [np.mean(row) for row in alphas])
    np.testing.assert_allclose(made.vector, made.mean / np.sqrt(np.sum(made.mean**2)))
    np.testing.assert_allclose(np.linalg.norm(made.vector), 1)


def test_feature_is_made_of_the_alphas_of_the_anchors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real stage, on one anchor; then read back, number for number."""
    monkeypatch.setattr(feature, "task_statistics", functools.partial(fisher.task_statistics, anchors=ANCHORS[9:10]))
    calls: list[tuple[int, int]] = []
    targets = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    task = make_task(loss="mse", metric="mae", labels=targets)
    made = task_feature(task, config=CONFIG, seed=1, cache=tmp_path, progress=lambda *done: calls.append(done))
    assert calls == [(1, 1)]
    assert made.values.shape == (1, 2)
    assert made.values.dtype == np.float64
    assert np.all(made.values > 1)
    assert made.fisher == CONFIG.key
    assert not made.cached
    read = task_feature(task, config=CONFIG, seed=1, cache=tmp_path)
    assert read.cached
    assert (read.fisher, read.seconds) == (made.fisher, made.seconds)
    np.testing.assert_array_equal(read.values, made.values)
    # Targets for training that are all 0 leave the last layer at 0, and nothing before it matters.
    trained = np.isin(np.arange(20), task.split(1).train)[:, None]
    still = dataclasses.replace(task, labels=np.where(trained, np.float32(0), targets))
    with pytest.raises(UserError) as error:
        task_feature(still, config=CONFIG, seed=1, cache=tmp_path)
    assert str(error.value) == (
        "pairs: alpha of anchor 1 is not finite, as where the Fisher information is 0, so the task has no feature; "
        "check its features and labels, take another statistic, or search with search.prior=uniform."
    )
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_anchor_without_a_number_is_named(monkeypatch: pytest.MonkeyPatch, fault: float) -> None:
    alphas = np.full((12, 2), 2.0)
    alphas[[6, 8], 1] = fault
    monkeypatch.setattr(feature, "task_statistics", lambda *_, **__: {"alpha": Values(alphas, alphas)})
    with pytest.raises(UserError, match="pairs: alpha of anchor 7 is not finite, "):
        task_feature(make_task(), config=CONFIG)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GB\nand more"), "RESOURCE_EXHAUSTED: 9 GB"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_device_that_gives_up_is_told_of(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(feature, "task_statistics", give_up)
    with pytest.raises(UserError) as told:
        task_feature(make_task(), config=CONFIG)
    assert str(told.value) == (
        f"pairs: the device gave up in the Fisher stage ({said}); bound its memory by fisher.chunk=1024, which changes "
        "no result, or search with search.prior=uniform."
    )


# The cache


def test_second_call_is_read_from_the_cache(stage: Stage, tmp_path: Path) -> None:
    cache = tmp_path / "not" / "there" / "yet"
    made, read = (task_feature(make_task(), config=CONFIG, cache=cache) for _ in range(2))
    assert stage.calls == 1
    assert (made.cached, read.cached) == (False, True)
    assert (read.fisher, read.seconds) == (made.fisher, made.seconds)
    np.testing.assert_array_equal(read.values, made.values)
    assert [path.suffix for path in cache.iterdir()] == [".json"]


def test_what_a_longer_feature_shares_with_others_is_read(stage: Stage, tmp_path: Path) -> None:
    """Each statistic by itself, whatever stood beside it; but not where all of them say how much is enough."""
    task, cache = make_task(), tmp_path / "each"
    first = task_feature(task, config=with_(statistic=("alpha", "trace")), cache=cache)
    assert stage.asked == ["alpha", "trace"]
    assert not np.array_equal(*np.split(first.values, 2))
    second = task_feature(task, config=with_(statistic=("entropy", "alpha")), cache=cache)
    assert (stage.asked, stage.calls, second.cached) == (["entropy"], 2, False)
    np.testing.assert_array_equal(second.values[12:], first.values[:12])
    last = task_feature(task, config=with_(statistic=("trace", "alpha", "entropy")), cache=cache)
    assert (stage.calls, last.cached) == (2, True)
    np.testing.assert_array_equal(last.values, [*first.values[12:], *first.values[:12], *second.values[:12]])
    assert last.seconds == pytest.approx(first.seconds + second.seconds - first.seconds / 2)
    for statistic in (("alpha", "trace"), ("alpha",)):
        task_feature(task, config=with_(statistic=statistic, tolerance=0.5), cache=cache)
        assert stage.asked == list(statistic)


def test_functions_of_ones_own_are_computed_anew_once_their_text_changes(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics and estimators; of those that have not changed, and of atjax's own, what is kept is read."""
    monkeypatch.syspath_prepend(tmp_path)
    estimators = {"graph": "changing.estimator", "node": "exact"}
    for own, kept in (({"statistic": ("changing.statistic",)}, "one"), ({"estimator": estimators}, "two")):
        for text, calls in (("first = 1", 1), ("first = 1", 0), ("second = 2", 1)):
            (tmp_path / "changing.py").write_text(text)
            monkeypatch.delitem(sys.modules, "changing", raising=False)
            linecache.clearcache()
            before = stage.calls
            task_feature(make_task(), config=with_(**own), cache=tmp_path / kept)
            assert stage.calls - before == calls


def test_without_a_cache_nothing_is_kept(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        task_feature(make_task(), config=CONFIG)
    assert stage.calls == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        "cut",
        "empty",
        "bytes",
        "{}",
        "[1]",
        '{"values": [[1], null], "entries": {"alpha": 2}, "seconds": 1}',
        '{"values": [[1]], "entries": [1], "seconds": 1}',
        '{"values": [[1]], "entries": {"alpha": 2}, "seconds": 1}',
    ],
)
def test_broken_cache_file_is_made_anew(stage: Stage, tmp_path: Path, damage: str) -> None:
    task_feature(make_task(), config=CONFIG, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    damaged = {"cut": content[: len(content) // 2], "empty": b"", "bytes": b"\xff\xfe" + content}
    path.write_bytes(damaged.get(damage, damage.encode()))
    made = task_feature(make_task(), config=CONFIG, cache=tmp_path)
    assert stage.calls == 2
    assert not made.cached
    assert task_feature(make_task(), config=CONFIG, cache=tmp_path).cached
    assert list(tmp_path.iterdir()) == [path]


def test_whatever_the_numbers_depend_on_has_a_place_of_its_own(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task()
    graphs = dataclasses.replace(task.graphs, nodes=task.graphs.nodes + 1)
    train, validation, test = (getattr(task.split(0), name) for name in ("train", "validation", "test"))
    asked: list[dict[str, Any]] = [
        {"task": task, "config": CONFIG},
        {"task": task, "config": CONFIG, "seed": 1},
        {"task": task, "config": dataclasses.replace(CONFIG, ridge=0.1)},
        {"task": make_task(graphs=graphs), "config": CONFIG},
        {"task": make_task(labels=1 - task.labels), "config": CONFIG},
        {"task": make_task(fixed_split=Split(train[2:], validation, test)), "config": CONFIG},
        {"task": make_task(fixed_split=Split(train[3:], validation, test)), "config": CONFIG},
        {"task": make_task(fixed_split=Split(train[3:], validation, test)), "config": CONFIG, "seed": 1},
    ]
    for number, arguments in enumerate(asked, start=1):
        assert not task_feature(**arguments, cache=tmp_path).cached
        assert stage.calls == number
    # Neither the name nor how the work is cut up changes the numbers.
    for same in ({"task": make_task(name="renamed"), "config": CONFIG}, {"task": task, "config": with_(chunk=1)}):
        assert task_feature(**same, cache=tmp_path).cached
    monkeypatch.setattr(feature.runtime, "versions", lambda: {"atjax": "another"})
    assert not task_feature(task, config=CONFIG, cache=tmp_path).cached


def test_cache_file_is_complete_before_it_has_its_name(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []

    def replace(source: Path, target: Path) -> None:
        named.append(Path(source).read_text())
        assert Path(source).parent == Path(target).parent
        assert not Path(target).exists()
        Path(source).rename(target)

    monkeypatch.setattr(atomic.os, "replace", replace)
    task_feature(make_task(), config=CONFIG, cache=tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == named


# The settings


def with_(**changes: Any) -> FisherConfig:
    return dataclasses.replace(CONFIG, **changes)


@pytest.mark.parametrize(
    ("name", "least"), [*((name, 1) for name in ("hidden", "seeds", "max_nodes", "draws")), ("chunk", 0)]
)
@pytest.mark.parametrize("value", [-3, 2.5, 4.0, float("nan"), True, "8"])
def test_counts_are_whole_numbers(name: str, least: int, value: object) -> None:
    with pytest.raises(UserError) as error:
        with_(**{name: value})
    assert str(error.value) == f"fisher.{name} must be a whole number of at least {least}; it is {value!r}."


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        *(("ridge", value, "be positive") for value in (0, -3, float("nan"))),
        *(("tolerance", value, "not be negative") for value in (-3, float("nan"))),
    ],
)
def test_settings_must_not_be_negative(name: str, value: float, what: str) -> None:
    with pytest.raises(UserError) as error:
        with_(**{name: value})
    assert str(error.value) == f"fisher.{name} must {what}; it is {value}."


def test_estimators_and_statistics_are_checked_at_once() -> None:
    with pytest.raises(
        UserError, match=r"fisher\.estimator must be a table, as in fisher\.estimator\.node=.*; it is 3"
    ):
        with_(estimator=3)
    with pytest.raises(UserError, match=r"fisher\.estimator\.node must be one of empirical, exact, .*; it is 'sketch'"):
        with_(estimator={"graph": "exact", "node": "sketch"})
    with pytest.raises(UserError, match="names no statistic"):
        with_(statistic=[])
    assert with_(statistic="alpha").statistic == ("alpha",)


def test_entries_of_several_statistics_stand_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scalars [A, R], and lists of [R, K] with K of each anchor: rows [A + sum of K, R]."""
    rng = np.random.default_rng(0)
    scalar, vectors = rng.random((2, 3)), [rng.random((3, 4)), rng.random((3, 1))]
    found = {"alpha": Values(scalar, scalar), "layer_alpha": Values(vectors, vectors)}
    monkeypatch.setattr(feature, "task_statistics", lambda _, __, names, **___: {name: found[name] for name in names})
    for settings in (with_(statistic=list(found)), with_(statistic=list(found), tolerance=0.5)):
        for cached in (False, True):
            got = task_feature(make_task(), config=settings, cache=tmp_path)
            np.testing.assert_array_equal(got.values, [*scalar, *vectors[0].T, *vectors[1].T])
            assert got.entries == {"alpha": 2, "layer_alpha": 5}
            assert got.cached == cached


@pytest.mark.parametrize("level", ["graph", "node"])
@pytest.mark.parametrize("passes", [1, 20.5])
def test_two_examples_are_the_least(level: str, passes: float) -> None:
    examples = {"graph": 2, "node": 2, level: passes}
    with pytest.raises(UserError) as error:
        with_(max_passes=examples)
    said = f"fisher.max_passes must hold whole numbers of at least 2; it is {dict(edge=examples['node']) | examples}."
    assert str(error.value) == said


def test_key_tells_all_settings_apart_but_chunk() -> None:
    others = [
        with_(hidden=5),
        with_(seeds=3),
        with_(ridge=2e-2),
        with_(max_nodes=51),
        with_(max_passes={"graph": 20, "node": 21}),
        with_(max_passes={"graph": 21, "node": 20}),
        with_(statistic=["full_alpha"]),
        with_(statistic=["alpha", "full_alpha"]),
        with_(estimator={"graph": "exact", "node": "exact"}),
        with_(draws=17),
        with_(tolerance=0.5),
        with_(fit_on="sampled"),
    ]
    assert len({config.key for config in (CONFIG, *others)}) == 13
    assert with_(chunk=1).key == CONFIG.key == with_(max_passes={"node": 20, "graph": 20}).key
    assert CONFIG.key.startswith("alpha-h4-r2-")
    changed = {field.name for field in dataclasses.fields(FisherConfig)}
    assert changed == {
        *("hidden", "seeds", "ridge", "max_nodes", "max_passes", "chunk"),
        *("statistic", "estimator", "draws", "fit_on", "tolerance"),
    }, "test the new one too"


def test_key_changes_with_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = CONFIG.key
    monkeypatch.setattr("atjax.fisher.config.VERSION", -1)
    assert CONFIG.key != before
