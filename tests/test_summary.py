"""Tables and pages over many searches: what is averaged, and what is not."""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import HOSTILE, ODD, THREE, Page, result, trial

from atjax.report import summary
from atjax.report.__main__ import main
from atjax.report.result import write, write_text


def runs(folder: Path, scores: np.ndarray, **changes: Any) -> None:
    """One finished search for each row (validation, test) of the scores, with seeds 0, 1, ..."""
    for seed, (validation, test) in enumerate(scores.tolist()):
        write(folder / str(seed), result(trial(0, validation, test), seed=seed, **changes))


def test_mean_and_deviation_agree_with_numpy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores, others = rng.random((10, 2)), rng.random((3, 2))
    runs(tmp_path / "a", scores)
    runs(tmp_path / "b", others, algorithm="tpe", budget={"name": "paper"})
    found = summary.summarise(summary.find([tmp_path]))
    assert [(g.algorithm, g.budget, len(g.runs)) for g in found.groups] == [
        ("random", "quick", 10),
        ("tpe", "paper", 3),
    ]
    for group, values in zip(found.groups, (scores, others)):
        np.testing.assert_allclose(group.validation(), (values[:, 0].mean(), values[:, 0].std(ddof=1)), rtol=1e-12)
        np.testing.assert_allclose(group.test(), (values[:, 1].mean(), values[:, 1].std(ddof=1)), rtol=1e-12)
    assert summary.mean_and_deviation([]) == (None, None)
    assert summary.mean_and_deviation([2.0, None]) == (2.0, None)


def test_rows_say_what_their_columns_are_called(tmp_path: Path) -> None:
    runs(tmp_path, np.array([[0.5, 0.25], [0.7, 0.75]]), seconds={"total": 90.0})
    header, (row,) = summary.summary_rows(summary.summarise(summary.find([tmp_path])))
    assert dict(zip(header, row, strict=True)) == {
        **{"task": "cox2", "algorithm": "random", "prior": "transfer", "budget": "quick", "space": "paper"},
        **{"trials": "1", "seeds": "2", "metric": "accuracy", "time": "1 min 30 s"},
        **{"test": "0.5000 ± 0.3536", "validation": "0.6000 ± 0.1414"},
    }


def test_test_by_trial_is_the_mean_over_seeds_of_the_trial_picked_so_far(tmp_path: Path) -> None:
    write(tmp_path / "0", result(trial(0, 0.8, 0.7), trial(1, 0.7, 0.9), trial(2, 0.9, 0.5), best=2, seed=0))
    write(tmp_path / "1", result(trial(0, None), trial(1, 0.5, 0.4), trial(2, 0.6, 0.3), best=2, seed=1))
    (group,) = summary.summarise(summary.find([tmp_path])).groups
    means, deviations = zip(*group.test_by_trial())
    assert means == pytest.approx((0.7, 0.55, 0.4))
    assert deviations[0] is None
    assert deviations[1:] == pytest.approx((np.std([0.7, 0.4], ddof=1), np.std([0.5, 0.3], ddof=1)))


def test_what_differs_in_more_than_the_seed_is_not_averaged(tmp_path: Path) -> None:
    scores = np.array([[0.5, 0.5]])
    runs(tmp_path / "a", scores)
    runs(tmp_path / "b", scores, prior_source="uniform", embedding=None)
    runs(tmp_path / "c", scores, prior_source="uniform")
    runs(tmp_path / "d", scores, budget={"name": "quick", "hidden": {"64": 8}})
    runs(tmp_path / "e", scores, space="small")
    runs(tmp_path / "f", scores, task=result()["task"] | {"content_hash": "cd" * 32})
    write(tmp_path / "g", result(*THREE))
    runs(tmp_path / "h", scores, prior_name="rank")
    groups = summary.summarise(summary.find([tmp_path])).groups
    assert len(groups) == 8
    assert all(len(group.runs) == 1 for group in groups)
    assert {group.prior for group in groups} == {"transfer", "rank", "uniform", "uniform (fall-back)"}
    assert {group.task for group in groups} == {"cox2 #ababab", "cox2 #cdcdcd"}
    assert len({group.budget for group in groups}) == 2


def test_searches_on_other_splits_are_not_averaged(tmp_path: Path) -> None:
    """A set's own splits are told apart from each other and from those by seed, of which each seed has another."""
    scores, info = np.array([[0.5, 0.5], [0.75, 0.5]]), result()["task"]
    for name, own, hashes in (("seeds", False, "ab"), ("first", True, "cc"), ("second", True, "dd")):
        for seed, (validation, test) in enumerate(scores.tolist()):
            task = info | {"split": hashes[seed] * 16, "own_split": own}
            write(tmp_path / name / str(seed), result(trial(0, validation, test), seed=seed, task=task))
    found = summary.summarise(summary.find([tmp_path]))
    assert [len(group.runs) for group in found.groups] == [2, 2, 2]
    labels = {group.task for group in found.groups}
    assert len(labels) == 3
    assert len(found.by_task()) == 3
    assert all(label.startswith("cox2") for label in labels)
    told = {note.partition(": ")[2] for note in found.notes}
    assert told == {"split by seed.", "the data's own split cccccc.", "the data's own split dddddd."}
    # Of one split there is nothing to tell.
    (group,) = summary.summarise(summary.find([tmp_path / "first"])).groups
    assert group.task == "cox2"


def test_settings_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Three searches by priors of one name, and one by another; what three of them have in common is not told."""
    common = {"bank": "embedded", "prior.top_k": 16}
    for number, settings in enumerate(({"fisher": "f0"} | common, {"fisher": "f1"} | common, None)):
        scores = np.array([[0.25 * number, 0.5]])
        runs(tmp_path / str(number), scores, prior_name="calibrated", settings=settings)
    runs(tmp_path / "other", np.array([[0.5, 0.5]]), prior_name="product", settings={"fisher": "f1"} | common)
    found = summary.summarise(summary.find([tmp_path]))
    label = {group.validation()[0]: group.prior for group in found.groups if group.prior.startswith("calibrated #")}
    assert sorted(label) == [0.0, 0.25, 0.5]
    assert len(set(label.values())) == 3
    assert [group.prior for group in found.groups if group.prior not in label.values()] == ["product"]
    assert set(found.notes) == {
        "Rows of one seed have no deviation; search with -m seed=0,1,2 to see how much of a score is chance.",
        *(f"Prior {label[0.0]}: fisher=f0.", f"Prior {label[0.25]}: fisher=f1."),
        f"Prior {label[0.5]}: its settings are not on record.",
    }


def test_unfinished_repeated_and_empty_searches_are_told(tmp_path: Path) -> None:
    runs(tmp_path / "a", np.array([[0.5, 0.5], [0.7, 0.7]]))
    write(tmp_path / "running", result(trial(0, 0.9, 0.9), seed=2, state="running"))
    again = write(tmp_path / "again", result(trial(0, 0.6, 0.6), seed=0))
    os.utime(again, (2**31, 2**31))
    write(tmp_path / "failed", result(trial(0, None), best=None, seed=3))
    found = summary.summarise(summary.find([tmp_path]))
    (group,) = found.groups
    assert [run["seed"] for run in group.runs] == [0, 1, 3]
    assert len(group.found) == 2
    assert group.test() == pytest.approx((0.65, np.std([0.6, 0.7], ddof=1)))
    assert len(found.notes) == 3
    notes = "\n".join(found.notes)
    assert f"not finished (running): {tmp_path / 'running' / 'result.json'}" in notes
    assert f"{again} is a newer run of the same search and seed: {tmp_path / 'a' / '0' / 'result.json'}" in notes
    assert "1 of 3 searches completed no trial" in notes


def test_a_folder_given_twice_counts_once(tmp_path: Path) -> None:
    runs(tmp_path, np.array([[0.5, 0.5], [0.7, 0.7]]))
    assert len(summary.find([tmp_path, tmp_path / "0", tmp_path])) == 2


def test_the_command_writes_table_page_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(tmp_path / "runs" / "a", np.array([[0.5, 0.25], [0.7, 0.75]]))
    changes = {"task": result()["task"] | {"name": HOSTILE, "metric": "mae"}, "algorithm": ODD}
    runs(tmp_path / "runs" / "b", np.array([[3.0, 2.0]]), **changes)
    out = tmp_path / "out"
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["summary.csv", "summary.html", "task1.svg", "task2.svg"]
    rows = {row["task"]: row for row in csv.DictReader((out / "summary.csv").read_text().splitlines())}
    assert float(rows["cox2"]["test_mean"]) == 0.5
    assert float(rows["cox2"]["test_std"]) == pytest.approx(0.125**0.5)
    assert (rows["cox2"]["seeds"], rows["cox2"]["metric"], rows["cox2"]["trials"]) == ("2", "accuracy", "1")
    assert rows[HOSTILE]["test_std"] == ""
    page = Page((out / "summary.html").read_text())
    assert page.tags.count("svg") == 2
    assert "0.5000 ± 0.3536" in page.words
    assert not {"script", "img"} & set(page.tags)
    assert "0.5000 ± 0.3536" in capsys.readouterr().out
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    # A table of fewer tasks leaves no figure of those before, and nothing else is touched.
    (out / "tasks.svg").write_text("own")
    assert main([str(tmp_path / "runs" / "a"), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["summary.csv", "summary.html", "task1.svg", "tasks.svg"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["absent"], "atjax: There is no folder absent; give folders that hold runs of atjax.search.\n"),
        (["empty"], "atjax: There is no result.json under empty; give folders that hold runs of atjax.search.\n"),
        (
            ["broken"],
            "atjax: broken/result.json is cut off or is not JSON; run the search again, or remove the file.\n",
        ),
        (["n" * 300], f"atjax: {'n' * 300} cannot be read (File name too long); give another folder.\n"),
        (["good", "--out", "file"], "atjax: Nothing can be written into file (File exists); choose another --out.\n"),
    ],
)
def test_a_fault_of_the_user_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    write_text(Path("broken") / "result.json", "{")
    Path("file").touch()
    write(Path("good"), result(*THREE))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err == sentence
    assert captured.out == ""
    assert not Path("report").exists()


def test_a_result_that_cannot_be_read_is_left_out_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs(tmp_path / "runs" / "good", np.full((2, 2), 0.5))
    numbered = result(trial(0, 0.5, 0.5))
    write(tmp_path / "runs" / "number", {**numbered, "task": {**numbered["task"], "name": 2024}})
    write_text(tmp_path / "runs" / "broken" / "result.json", "{")
    assert main(["runs"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("Left out: ") == 2
    assert "Left out: runs/broken/result.json is cut off or is not JSON" in out
    page = (tmp_path / "report" / "summary.html").read_text()
    assert "Left out: runs/number/result.json is not a result of an atjax search (task.name is no text)" in page
