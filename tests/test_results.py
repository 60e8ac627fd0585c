"""Result files, and what is picked from them."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import THREE, printed, result, trial

from atjax.errors import UserError
from atjax.report import html
from atjax.report.result import best_so_far, read, write, write_text

# Result files


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    original = result(*THREE, best=1)
    write(tmp_path / "new" / "folder", original)
    assert read(tmp_path / "new" / "folder") == original
    assert read(tmp_path / "new" / "folder" / "result.json") == original
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["result.json"]


def test_nan_and_numpy_values_are_written_as_plain_json(tmp_path: Path) -> None:
    odd = trial(0, np.float32(0.5), float("nan"), seconds=np.float64("inf"), parameters=np.int64(7))
    odd["curve"] = {"epoch": np.array([1, 2]), "train_loss": [np.nan, 1.0], "validation": (0.5, 0.5), "test": []}
    path = write(tmp_path, result(odd))
    assert "NaN" not in path.read_text()
    found = read(tmp_path)["trials"][0]
    assert (found["validation"], found["test"], found["seconds"]) == (0.5, None, None)
    assert found["curve"] == {"epoch": [1, 2], "train_loss": [None, 1.0], "validation": [0.5, 0.5], "test": []}


def test_the_order_of_keys_does_not_change_the_bytes(tmp_path: Path) -> None:
    forward = result(*THREE)
    backward = {key: forward[key] for key in reversed(forward)}
    assert write(tmp_path / "a", forward).read_bytes() == write(tmp_path / "b", backward).read_bytes()  # type: ignore[arg-type]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_text(tmp_path / "file.txt", "old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
    assert path.read_text() == "old"


def changed(way: list[Any], value: Any) -> str:
    """The JSON of a good result, but for one place."""
    whole = copy.deepcopy(result(*THREE))
    place = whole
    for step in way[:-1]:
        place = place[step]
    if value is KeyError:
        del place[way[-1]]
    else:
        place[way[-1]] = value
    return json.dumps(whole)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (json.dumps(result(*THREE))[:500], "cut off or is not JSON"),
        ("", "cut off or is not JSON"),
        ("[" * 100_000, "cut off or is not JSON"),
        ("[1, 2]", r"\(the file is no object\)"),
        ('{"loss": 1}', r"\(task is missing\)"),
        (changed(["trials", 2, "state"], KeyError), r"\(trials\[2\]\.state is missing\)"),
        (changed(["trials", 1, "state"], "fine"), r"trials\[1\]\.state is none of complete, diverged, failed, stopped"),
        (changed(["trials", 0, "curve", "epoch"], KeyError), r"trials\[0\]\.curve\.epoch is missing"),
        (changed(["trials", 0, "validation"], "0.5"), r"trials\[0\]\.validation is no number"),
        (changed(["seed"], True), "seed is no number"),
        (changed(["task", "name"], 3), r"task\.name is no text"),
        (changed(["trials"], {}), "trials is no list"),
        (changed(["prior", "heads"], [1]), r"prior\.heads is no object"),
        (changed(["embedding", "values", "alpha", 3], 0.5), r"embedding\.values\.alpha\[3\] is no list"),
    ],
)
def test_a_cut_off_or_foreign_file_is_told_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match=sentence) as caught:
        read(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_a_missing_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no result.json at .*; give the run directory of a search\."):
        read(tmp_path)


def test_optional_keys_may_be_absent(tmp_path: Path) -> None:
    whole = result(*(copy.deepcopy(t) for t in THREE), embedding=None)
    del whole["prior_reason"], whole["task"]["notes"]
    for one in whole["trials"]:
        del one["reason"], one["validation_loss"], one["compile_seconds"]
    write(tmp_path, whole)
    html.write_html(tmp_path, read(tmp_path))
    assert "cox2" in printed(read(tmp_path), tmp_path)


# Best so far


def test_best_so_far_is_by_validation_and_shows_the_test_of_the_trial_picked() -> None:
    trials = [trial(0, None), *(trial(i, *scores) for i, scores in enumerate([(0.8, 0.7), (0.7, 0.99), (0.9, 0.5)], 1))]
    picks = best_so_far(trials, "accuracy")
    assert [pick and pick["number"] for pick in picks] == [None, 1, 1, 3]
    assert [pick and pick["test"] for pick in picks] == [None, 0.7, 0.7, 0.5]


def test_a_lower_error_is_better_and_order_is_by_number() -> None:
    trials = [trial(2, 1.5, 3.0), trial(0, 2.0, 1.0), trial(1, 4.0, 0.1)]
    assert [pick and pick["number"] for pick in best_so_far(trials, "mae")] == [0, 0, 2]


def test_ties_go_to_the_lower_validation_loss_and_then_to_the_earlier_trial() -> None:
    trials = [
        trial(0, 0.8),
        trial(1, 0.8),
        trial(2, 0.8, validation_loss=0.6),
        trial(3, 0.8, validation_loss=0.6),
        trial(4, 0.8, validation_loss=0.5),
        trial(5, 0.8),
    ]
    assert [pick and pick["number"] for pick in best_so_far(trials, "accuracy")] == [0, 0, 2, 2, 4, 4]


def test_a_diverged_trial_is_never_picked_even_if_it_has_scores() -> None:
    trials = [trial(0, 0.5), trial(1, 0.9, state="diverged"), trial(2, None, state="complete")]
    assert [pick and pick["number"] for pick in best_so_far(trials, "accuracy")] == [0, 0, 0]
    assert best_so_far([], "accuracy") == []


@pytest.mark.parametrize("metric", ["accuracy", "mae"])
def test_best_so_far_agrees_with_numpy_on_random_scores(metric: str) -> None:
    scores = np.random.default_rng(1).random(40)
    picks = best_so_far([trial(i, float(score)) for i, score in enumerate(scores)], metric)
    accumulate = np.minimum if metric == "mae" else np.maximum
    assert [pick and pick["validation"] for pick in picks] == accumulate.accumulate(scores).tolist()
