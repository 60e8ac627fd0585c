"""Saved models: bit for bit what was saved, and a sentence for whatever is broken."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tiny
from scipy import sparse

import atjax
from atjax import checkpoint
from atjax.checkpoint import TrainedModel
from atjax.errors import UserError
from atjax.model.gnn import build
from atjax.runtime import VERSION
from atjax.space import Design
from atjax.task import Graphs, Task
from atjax.train import Fit

GCN = Design("gcn", None, None, "prelu", 64, "skip_concat", 1, 2, 2, 0.1, 200)
GAT = Design("gat", 2, None, "relu", 256, "stack", 2, 2, 3, 0.001, 800)
VERSIONS = {"atjax": VERSION}


def outcome(task: Task, design: Design = GCN, seed: int = 0) -> Fit:
    """A made-up training with BatchNorm statistics of its own."""
    made = tiny.made_up(task, design, budget=tiny.BUDGET, seed=seed)
    rng = np.random.default_rng(seed)
    assert made.variables is not None
    noisy = jax.tree.map(lambda leaf: leaf + rng.random(leaf.shape).astype(leaf.dtype), made.variables)
    return dataclasses.replace(made, variables=noisy)


def in_memory(task: Task, fit: Fit) -> TrainedModel:
    gnn = build(fit.design, hidden=fit.schedule.hidden, level=task.level, num_outputs=task.num_outputs)
    assert fit.variables is not None
    return TrainedModel(gnn, fit.variables, {"num_features": task.graphs.num_features, "loss": task.loss})


def regression(task: Task) -> Task:
    targets = np.random.default_rng(0).normal(size=(task.num_examples, 3)).astype(np.float32)
    return Task("regression", task.level, "mse", "mae", task.graphs, targets, 3)


def with_sparse_features(task: Task) -> Task:
    dense = task.graphs
    nodes = sparse.csr_matrix(np.where(dense.nodes > 0.5, dense.nodes, 0))
    graphs = Graphs(nodes, dense.senders, dense.receivers, dense.n_node, dense.n_edge)
    return dataclasses.replace(task, graphs=graphs)


TASKS = {
    "graph": tiny.path_task(count=70),  # three batches
    "node": tiny.path_task(count=30, level="node"),
    "regression": regression(tiny.path_task(count=30)),
    "sparse graph": with_sparse_features(tiny.path_task(count=30)),
    "sparse node": with_sparse_features(tiny.path_task(count=30, level="node")),
}


@pytest.mark.parametrize(
    ("kind", "design"),
    [("graph", GAT), ("node", GCN), ("regression", GCN), ("sparse graph", GCN), ("sparse node", GAT)],
    ids=TASKS,
)
def test_a_model_survives_the_round_trip(kind: str, design: Design, tmp_path: Path) -> None:
    task = TASKS[kind]
    fit = outcome(task, design)
    checkpoint.save(tmp_path / "best_model", task, fit, VERSIONS)
    model = atjax.load(tmp_path)
    assert jax.tree.structure(model.variables) == jax.tree.structure(fit.variables)
    for saved, loaded in zip(jax.tree.leaves(fit.variables), jax.tree.leaves(model.variables), strict=True):
        assert loaded.dtype == saved.dtype
        np.testing.assert_array_equal(loaded, saved)
    outputs, expected = model.outputs(task.graphs), in_memory(task, fit).outputs(task.graphs)
    np.testing.assert_array_equal(outputs, expected)
    assert outputs.shape == (task.num_examples, task.num_outputs)
    assert outputs.std() > 0
    predicted = model.predict(task.graphs)
    np.testing.assert_array_equal(predicted, outputs if task.loss == "mse" else outputs.argmax(axis=1))
    assert model.info["design"] == design.as_dict()
    assert model.info["content_hash"] == task.content_hash
    assert (model.info["validation"], model.info["test"]) == (fit.validation, fit.test)
    assert (model.info["seed"], model.info["epoch"], model.info["versions"]) == (0, fit.best_epoch, VERSIONS)


def test_each_graph_has_the_outputs_it_has_alone(tmp_path: Path) -> None:
    task = TASKS["graph"]
    model = in_memory(task, outcome(task))
    together = model.outputs(task.graphs)
    for number in (0, 33, 69):
        alone = model.outputs(task.graphs.take(np.array([number])))
        np.testing.assert_allclose(alone[0], together[number], rtol=1e-5, atol=1e-5)


def test_a_new_model_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    task, folder = TASKS["graph"], tmp_path / "best_model"
    checkpoint.save(folder, task, outcome(task, GCN), VERSIONS)
    (tmp_path / ".best_model.new").mkdir()  # of a run that was killed
    (tmp_path / ".best_model.new" / "rest").write_text("")
    second = outcome(task, GAT, seed=1)
    checkpoint.save(folder, task, second, VERSIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["best_model"]
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "variables"]
    model = checkpoint.load(folder)
    np.testing.assert_array_equal(model.outputs(task.graphs), in_memory(task, second).outputs(task.graphs))


def disk_full(*args: Any, **kwargs: Any) -> None:
    raise OSError(28, "No space left on device")


def test_an_older_model_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, folder = TASKS["graph"], tmp_path / "best_model"
    first = outcome(task)
    checkpoint.save(folder, task, first, VERSIONS)

    monkeypatch.setattr(Path, "write_text", disk_full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(folder, task, outcome(task, GAT), VERSIONS)
    monkeypatch.undo()
    np.testing.assert_array_equal(
        checkpoint.load(tmp_path).outputs(task.graphs), in_memory(task, first).outputs(task.graphs)
    )


def held(path: Path, *fits: Fit) -> bool:
    """Whether the model there is one of these."""
    model = checkpoint.load(path)
    return any(
        model.info["design"] == fit.design.as_dict()
        and jax.tree.all(jax.tree.map(np.array_equal, model.variables, fit.variables))
        for fit in fits
    )


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_stop_at_any_rename_leaves_a_model(
    number: int, done: bool, killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before or after each of the two renames; nothing happens after a kill. The next save is cut short, too."""
    task, folder = TASKS["graph"], tmp_path / "best_model"
    first, second, third = outcome(task), outcome(task, seed=1), outcome(task, seed=2)
    checkpoint.save(folder, task, first, VERSIONS)
    renames, dead = itertools.count(), False

    def faulty(function: Callable[..., None], renaming: bool) -> Callable[..., None]:
        def call(path: Path, *others: Any, **options: Any) -> None:
            nonlocal dead
            if Path(path).parent != tmp_path:
                return function(path, *others, **options)
            now = renaming and next(renames) == number
            if not dead and (done or not now):
                function(path, *others, **options)
            dead = dead or (killed and now)
            if dead or now:
                raise KeyboardInterrupt

        return call

    replace, rmtree = faulty(os.replace, True), faulty(shutil.rmtree, False)
    with monkeypatch.context() as patch:
        patch.setattr("atjax.checkpoint.os.replace", replace)
        patch.setattr("atjax.checkpoint.shutil.rmtree", rmtree)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(folder, task, second, VERSIONS)
    assert held(tmp_path, first, second)
    assert held(folder, first, second)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", disk_full)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(folder, task, third, VERSIONS)
    assert held(tmp_path, first, second)
    checkpoint.save(folder, task, third, VERSIONS)
    assert held(tmp_path, third)
    assert [path.name for path in tmp_path.iterdir()] == ["best_model"]


def test_two_may_save_into_one_folder_at_once(tmp_path: Path) -> None:
    task, folder = TASKS["graph"], tmp_path / "best_model"
    fits = [outcome(task, seed=seed) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda fit: [checkpoint.save(folder, task, fit, VERSIONS) for _ in range(3)], fits))
    assert held(folder, *fits)
    assert [path.name for path in tmp_path.iterdir()] == ["best_model"]


def test_what_a_killed_process_left_keeps_no_one_out(tmp_path: Path) -> None:
    (tmp_path / ".best_model.lock").touch()
    checkpoint.recover(tmp_path / "best_model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_model_that_is_replaced_while_it_is_read_is_read_anew(
    late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables of one must not go with what is said of the other; nor is it broken, if of another design."""
    task, folder = TASKS["graph"], tmp_path / "best_model"
    fits = [outcome(task), outcome(task, GAT, seed=1)]
    checkpoint.save(folder, task, fits[0], VERSIONS)
    rebuilt, calls = checkpoint._rebuilt, itertools.count()

    def slow(*arguments: Any) -> TrainedModel:
        first = next(calls) == 0
        model = rebuilt(*arguments) if late or not first else None
        if first:
            checkpoint.save(folder, task, fits[1], VERSIONS)
        return rebuilt(*arguments) if model is None else model

    monkeypatch.setattr(checkpoint, "_rebuilt", slow)
    assert held(tmp_path, fits[1])
    assert next(calls) == 2


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "best_model"
    checkpoint.save(folder, TASKS["graph"], outcome(TASKS["graph"]), VERSIONS)
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(**values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        info = json.loads((folder / "model.json").read_text()) | values
        (folder / "model.json").write_text(json.dumps({key: value for key, value in info.items() if value != "drop"}))

    return apply


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no variables": lambda folder: shutil.rmtree(folder / "variables"),
    "empty variables": lambda folder: [path.unlink() for path in (folder / "variables").rglob("*") if path.is_file()],  # type: ignore[dict-item, return-value]
    "metadata cut": lambda folder: cut(folder / "variables" / "_METADATA"),
    "manifest cut": lambda folder: cut(folder / "variables" / "manifest.ocdbt"),
    "data cut": lambda folder: [cut(path) for path in (folder / "variables").rglob("d/*")],  # type: ignore[dict-item, return-value]
    "model.json cut": lambda folder: cut(folder / "model.json"),
    "model.json not text": lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe\x00"),  # type: ignore[dict-item, return-value]
    "model.json a list": lambda folder: (folder / "model.json").write_text("[]"),  # type: ignore[dict-item, return-value]
    "no design": change(design="drop"),
    "design without a field": change(design={"convolution": "gcn"}),
    "design with another field": change(design=GCN.as_dict() | {"dropout": 0.5}),
    "other layers": change(design=GCN.as_dict() | {"mp_layers": 4}),
    "unknown convolution": change(design=GCN.as_dict() | {"convolution": "sgc"}),
    "no width": change(hidden="drop"),
    "width 0": change(hidden=0),
    "width of half a unit": change(hidden=4.5),
    "other outputs": change(num_outputs=5),
    "unknown level": change(level="molecule"),
    "no loss": change(loss="drop"),
    "no task": change(task="drop"),
    "encoding without columns": change(encoding={"level": "graph"}),
    "model.json too deep": lambda folder: (folder / "model.json").write_text("[" * 100_000),  # type: ignore[dict-item, return-value]
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax leaves its readers half done
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_model(damage: str, sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "best_model"
    shutil.copytree(sound, folder)
    checkpoint.load(folder)
    DAMAGES[damage](folder)
    with pytest.raises(UserError, match="run the search again") as error:
        checkpoint.load(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    del error
    gc.collect()  # so that Orbax's warnings come here


def test_a_broken_model_of_another_version(sound: Path, tmp_path: Path) -> None:
    """The version is told where it differs; a model of another version that can be read is read."""
    folder = tmp_path / "best_model"
    shutil.copytree(sound, folder)
    change(versions={"atjax": "9.1"})(folder)
    checkpoint.load(folder)
    change(design=GCN.as_dict() | {"dropout": 0.5})(folder)
    message = f"The model in {folder} is of atjax 9.1 and cannot be read by {VERSION}; take that version, or run the"
    with pytest.raises(UserError, match=re.escape(message)):
        checkpoint.load(folder)
    change(versions=["9.1"])(folder)
    with pytest.raises(UserError, match="is broken or incomplete; run the search again"):
        checkpoint.load(folder)


def test_no_graphs_have_no_outputs(sound: Path) -> None:
    model, nothing = checkpoint.load(sound), TASKS["graph"].graphs.take(np.array([], int))
    assert model.outputs(nothing).shape == (0, 2)
    assert model.predict(nothing).shape == (0,)


def test_no_model(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=rf"There is no model at {path}; give the run folder of a search"):
            atjax.load(path)


def test_graphs_of_other_features(sound: Path) -> None:
    model = checkpoint.load(sound)
    graphs = TASKS["graph"].graphs
    wider = dataclasses.replace(graphs, nodes=np.hstack([graphs.nodes, graphs.nodes]))
    message = "trained on 3 node features, but these graphs have 6; give them the same columns"
    with pytest.raises(UserError, match=message):
        model.predict(wider)


def test_a_full_disk_is_told_before_orbax_meets_it(tmp_path: Path) -> None:
    """By a limit on the size of files; a model that was there stays."""
    resource = pytest.importorskip("resource")
    nodes = TASKS["node"]
    checkpoint.save(tmp_path / "best_model", nodes, outcome(nodes), VERSIONS)
    before = tiny.files(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            checkpoint.save(tmp_path / "best_model", nodes, outcome(nodes, seed=1), VERSIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(tmp_path)
    assert tiny.files(tmp_path) == before
    atjax.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": np.full((2, 3), np.nan)}, "graphs: the features of node 0 hold NaN or infinity"),
        ({"nodes": np.full((2, 3), 1e38, np.float32)}, "outputs of graph 0 are not finite; give features of the size"),
        ({"senders": np.array([1, 2], np.int32)}, "graphs: the edges are not in the order that Graphs has"),
        ({"n_node": np.array([2, 0], np.int32), "n_edge": np.array([2, 0], np.int32)}, "Graph 1 has no nodes; drop it"),
    ],
    ids=["NaN", "huge", "no such node", "empty"],
)
def test_graphs_of_no_use(change: dict[str, Any], message: str, sound: Path) -> None:
    """Of outputs that are NaN the first class would be the largest."""
    graphs = Graphs.from_edges(np.zeros((2, 3)), np.array([0]), np.array([1]), np.array([2]))
    with pytest.raises(UserError, match=message):
        checkpoint.load(sound).predict(dataclasses.replace(graphs, **change))


def test_pairs_may_be_a_list() -> None:
    nodes, pairs = TASKS["node"], [[0, 1], [5, 2], [2, 5]]
    task = Task("pairs", "edge", "cross_entropy", "accuracy", nodes.graphs, np.array([0, 1, 1]), 2, pairs=pairs)  # type: ignore[arg-type]
    model = in_memory(task, outcome(task))
    np.testing.assert_array_equal(model.outputs(task.graphs, pairs), model.outputs(task.graphs, task.pairs))
    for given, message in (([[0, 30]], "pair 0 is"), ([[0], [1, 2]], "rows differ in length"), ("ab", "give the two")):
        with pytest.raises(UserError, match=f"pairs.*{message}"):
            model.predict(task.graphs, given)


@pytest.mark.parametrize("path", [None, 3])
def test_a_path_is_a_path(path: Any) -> None:
    with pytest.raises(UserError, match=r"The path of a model is of type .*; give that of a folder"):
        atjax.load(path)
