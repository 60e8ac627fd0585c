"""Models side by side take no more memory than there is."""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest
from dense import design, make_task, settings

from atjax import runtime
from atjax.batch import single_batch
from atjax.fisher import engine, memory
from atjax.fisher.examples import draw_examples
from atjax.fisher.memory import Memory, memory_of, needed, widths
from atjax.model.gnn import build
from atjax.space import ANCHORS

# Holding


def test_no_more_is_held_than_there_is_but_by_one_alone() -> None:
    """Many threads that want random shares, some more than there is; nobody waits for ever."""
    shared, lock, inside, seen = Memory(10), threading.Lock(), [], []

    def work(wanted: float) -> None:
        with shared.held(wanted):
            with lock:
                inside.append(wanted)
                seen.append(list(inside))
            time.sleep(0.001)
            with lock:
                inside.remove(wanted)

    wants = np.random.default_rng(0).uniform(1, 14, 200).tolist()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, wants))
    assert len(seen) == 200
    assert all(len(held) == 1 or sum(held) <= 10 for held in seen)
    assert max(map(len, seen)) > 1
    assert max(map(max, seen)) > 10


def test_what_failed_gives_back_what_it_held() -> None:
    shared = Memory(10)
    with pytest.raises(ValueError, match="broken"), shared.held(8):
        raise ValueError("broken")
    done = threading.Event()

    def work() -> None:
        with shared.held(8):
            done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(10)


def test_who_waits_does_not_begin_once_it_is_closed() -> None:
    shared, began = Memory(10), threading.Event()

    def work() -> None:
        with shared.held(8):
            began.set()

    with ThreadPoolExecutor(1) as pool:
        with shared.held(8):
            waiting = pool.submit(work)
            time.sleep(0.05)
            shared.close()
        with pytest.raises(RuntimeError, match="No more memory"):
            waiting.result(10)
    assert not began.is_set()


# What is wanted


@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_widths_are_those_of_the_layers_outputs(number: int) -> None:
    task = make_task("node", 3)
    gnn = build(ANCHORS[number], hidden=4, level="node", num_outputs=3)
    batch = single_batch(task.graphs)
    variables = gnn.init(jax.random.key(0), batch)
    _, state = gnn.apply(variables, batch, capture_intermediates=True, mutable=["intermediates"])
    layers = state["intermediates"]
    found = sum(
        layers[name]["__call__"][0].shape[1] for name in layers if name.startswith(("pre_", "mp_", "post_", "out"))
    )
    assert widths(ANCHORS[number], 4, 3) == found


@pytest.mark.parametrize(("number", "arrays"), [(2, memory.ARRAYS), (4, memory.ARRAYS_OF_MAXIMUM)])
def test_what_is_needed_grows_with_nodes_and_is_one_models_on_a_cpu(number: int, arrays: int) -> None:
    config = settings("node", "sign_sketch", draws=4)
    gnn = build(ANCHORS[number], hidden=config.hidden, level="node", num_outputs=3)
    examples = draw_examples(make_task("node", 3), config, 0)
    wanted = needed(gnn, examples, config)
    assert wanted == 4 * arrays * len(examples.batch.weights) * widths(ANCHORS[number], config.hidden, 3)
    assert wanted == needed(gnn, examples, dataclasses.replace(config, seeds=7))


def test_edges_that_are_in_no_lists_have_rows_of_their_own() -> None:
    config = settings("node", "sign_sketch", draws=4)
    gnn = build(ANCHORS[2], hidden=config.hidden, level="node", num_outputs=3)
    task = make_task("node", 3)
    weighted = dataclasses.replace(task.graphs, weights=np.ones(len(task.graphs.senders), np.float32))
    without, listed = (
        draw_examples(dataclasses.replace(task, graphs=graphs), config, 0) for graphs in (weighted, task.graphs)
    )
    nodes, edges = len(without.batch.weights), len(without.batch.graph.senders)
    assert needed(gnn, without, config) * nodes == needed(gnn, listed, config) * (nodes + edges)


# Where it comes from


def test_devices_of_a_cpu_share_one_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "free_memory", lambda device: 300.0)
    first, second = memory_of([jax.devices()[0]] * 2)
    assert first is second
    assert first.total == 300 * memory.SHARE


def test_free_memory_is_no_more_than_the_machines() -> None:
    free = runtime.free_memory(jax.devices("cpu")[0])
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < free <= total


def test_a_container_has_what_its_limit_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are cached give way, what its processes hold does not; more than its limit is nothing."""
    monkeypatch.setattr(runtime, "CGROUP", tmp_path)
    device = jax.devices("cpu")[0]

    def free(limit: str, used: int) -> float:
        for name, text in (("max", limit), ("current", str(used)), ("stat", "anon 500\ninactive_file 300\nslab 7\n")):
            (tmp_path / f"memory.{name}").write_text(text)
        return runtime.free_memory(device)

    assert free("5000\n", 1000) == 5000 - 1000 + 300
    assert free("5000\n", 9000) == 0
    assert free("max\n", 1000) > 5000


def test_anchors_that_do_not_fit_beside_each_other_run_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """With next to no memory one runs at a time, with enough as many as there are threads."""
    task, config = make_task("node", None), settings("node", "sign_sketch", draws=4)
    anchors = [design("general", aggregation) for aggregation in ("sum", "mean", "max")]
    lock, inside, most = threading.Lock(), [0], [0]

    def listen(*args: object) -> list[tuple[np.ndarray, np.ndarray]]:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.05)
        with lock:
            inside[0] -= 1
        return [(np.ones(2), np.zeros(2))]

    monkeypatch.setattr(engine, "design_statistics", listen)
    monkeypatch.setattr(runtime, "cores", lambda: 3)
    for free, expected in ((1.0, 1), (1e12, 3)):
        monkeypatch.setattr(runtime, "free_memory", lambda device, free=free: free)
        most[0] = 0
        engine.task_statistics(task, config, ["alpha"], anchors=anchors)
        assert most[0] == expected
