"""Reports from results made by hand: what is picked, what is averaged, what is written, what is said."""

import copy
import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from rich.console import Console

from atjax.errors import UserError
from atjax.report import figures, html, summary, words
from atjax.report.__main__ import main
from atjax.report.result import best_so_far, fell_back, read, write, write_text
from atjax.report.tables import print_summary, write_trials_csv
from atjax.space import ANCHORS, FIELDS, paper_space

HOSTILE = '--><script>alert(1)</script><img src="http://evil.example/x"> $\\frac{1 id="figure_1" {{ 7*7 }}'
ODD = "\x01$\\frac{$"
DESIGNS = [design for _, design in zip(range(40), paper_space())]


def trial(number: int, validation: float | None, test: float | None = None, **changes: Any) -> dict[str, Any]:
    """A trial; without a validation score it has failed."""
    complete = validation is not None
    curve = {"epoch": [20, 40], "train_loss": [0.7, 0.6], "validation": [0.5, validation], "test": [0.5, test]}
    return {
        "number": number,
        "design": DESIGNS[number].as_dict(),
        "state": "complete" if complete else "failed",
        "reason": None if complete else "the device ran out of memory.",
        "validation": validation,
        "validation_loss": None,
        "test": test,
        "epoch": 40 if complete else None,
        "parameters": 1234 + number,
        "seconds": 1.5 + number,
        "compile_seconds": 0.5,
        "curve": curve if complete else None,
    } | changes


def result(*trials: dict[str, Any], best: int | None = 0, **changes: Any) -> Any:
    """A result with these trials, the best being that number."""
    chosen = next((t for t in trials if t["number"] == best), None)
    fields = ("number", "design", "validation", "test", "epoch", "parameters")
    space = paper_space()
    return {
        "task": {
            "name": "cox2",
            "level": "graph",
            "metric": "accuracy",
            "loss": "cross_entropy",
            "content_hash": "ab" * 32,
            "graphs": 467,
            "nodes": 19252,
            "edges": 40578,
            "features": 35,
            "classes": 2,
            "examples": {"train": 373, "validation": 47, "test": 47},
            "notes": ["Node labels are one-hot features."],
        },
        "seed": 0,
        "algorithm": "random",
        "prior_source": "transfer",
        "prior_reason": "2 tasks are within distance 0.2.",
        "space": "paper",
        "budget": {"name": "quick", "hidden": {"64": 16, "256": 64}, "epochs_scale": {"graph": 0.05}},
        "best": None if chosen is None else {field: chosen[field] for field in fields},
        "trials": list(trials),
        "embedding": {
            "anchors": [anchor.key for anchor in ANCHORS],
            "alpha": [[2.0 + index, 4.0 + index] for index in range(12)],
            "feature": [12**-0.5] * 12,
            "vector": [0.25] * 16,
            "nearest": [
                {"task": "bzr", "distance": 0.05, "weight": 0.75},
                {"task": "dd", "distance": 0.15, "weight": 0.25},
                {"task": "cora", "distance": 0.9, "weight": 0.0},
            ],
        },
        "prior": {name: {str(c): p for c, p in choices.items()} for name, choices in space.uniform().items()},
        "seconds": {"data": 0.2, "feature": 12.0, "prior": 0.01, "search": 30.0, "total": 42.21},
        "versions": {"jax": "0.10.0", "atjax": "0.1.0"},
        "device": "cpu",
        "state": "complete",
    } | changes


THREE = (trial(0, 0.80, 0.70), trial(1, 0.85, 0.60), trial(2, 0.82, 0.95))


def printed(console_result: Any, folder: Path) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_summary(console, console_result, folder)
    return console.file.getvalue()  # type: ignore[attr-defined]


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data: str) -> None:
        self.words += data


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
        (changed(["trials", 1, "state"], "fine"), r"trials\[1\]\.state is none of complete, diverged, failed"),
        (changed(["trials", 0, "curve", "epoch"], KeyError), r"trials\[0\]\.curve\.epoch is missing"),
        (changed(["trials", 0, "validation"], "0.5"), r"trials\[0\]\.validation is no number"),
        (changed(["seed"], True), "seed is no number"),
        (changed(["task", "name"], 3), r"task\.name is no text"),
        (changed(["trials"], {}), "trials is no list"),
        (changed(["prior", "heads"], [1]), r"prior\.heads is no object"),
        (changed(["embedding", "alpha", 3], 0.5), r"embedding\.alpha\[3\] is no list"),
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


# Tables of one search


def test_trials_csv_has_a_row_for_each_trial(tmp_path: Path) -> None:
    path = write_trials_csv(tmp_path, result(THREE[0], trial(1, None)))
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert list(rows[0]) == [
        *("number", "state", *FIELDS, "validation", "test", "epoch", "parameters", "seconds"),
    ]
    assert (rows[0]["validation"], rows[0]["test"], rows[0]["state"]) == ("0.8", "0.7", "complete")
    assert (rows[1]["validation"], rows[1]["epoch"], rows[1]["state"]) == ("", "", "failed")
    assert rows[0]["convolution"] == THREE[0]["design"]["convolution"]
    assert len(rows) == 2
    assert b"\r" not in path.read_bytes()


def test_the_closing_table_marks_the_best_and_names_what_was_made(tmp_path: Path) -> None:
    (tmp_path / "result.json").touch()
    text = printed(result(*THREE, trial(3, None), best=1), tmp_path)
    marked = [line for line in text.splitlines() if line.strip().startswith("best")]
    assert len(marked) == 1
    assert marked[0].split()[1:4] == ["1", "0.8500", "0.6000"]
    for part in ("bzr (0.0500)", "feature 12.0 s", "total 42.2 s", "prior transferred", "quick", "random search"):
        assert part in text
    assert "Trial 3 failed: the device ran out of memory." in text
    assert "result.json" in text
    assert "trials.csv" not in text


def test_markup_in_names_and_reasons_is_printed_as_it_is(tmp_path: Path) -> None:
    hostile = result(trial(0, None, reason="[red]bad[/red] [/]"), best=None, prior_reason="[i]why[/i]")
    hostile["task"]["name"] = "[bold]x[/bold]"
    text = printed(hostile, tmp_path)
    assert "[bold]x[/bold]" in text
    assert "[red]bad[/red] [/]" in text
    assert "[i]why[/i]" in text


def test_numbers_in_words() -> None:
    assert [words.score(v) for v in (None, 0.81255, -0.5, 12.34567, 1234.5)] == [
        "—",
        "0.8125",
        "-0.5000",
        "12.35",
        "1234",
    ]
    assert [words.duration(v) for v in (None, 0.417, 9.996, 59.94, 59.96, 125.2, 3599.7, 3725)] == [
        *("—", "0.42 s", "10.0 s", "59.9 s", "1 min 00 s", "2 min 05 s", "1 h 00 min", "1 h 02 min"),
    ]
    assert words.count(1, "graph") == "1 graph"
    assert words.count(1113, "class", "classes") == "1,113 classes"
    assert words.in_order(["1600", "200", "0.1", "b", "a"]) == ["0.1", "200", "1600", "a", "b"]
    assert words.stages({"total": 3.0, "other": 1.0, "search": 2.0, "data": 0.5}) == [
        *(("data", 0.5), ("search", 2.0), ("other", 1.0), ("total", 3.0)),
    ]
    assert words.budget({"name": "q", "hidden": {"256": 64, "64": 16}, "epochs_scale": {"graph": 0.05}}) == [
        *(("hidden", "64 as 16, 256 as 64"), ("epochs scale", "graph 0.05")),
    ]


# The page


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    with matplotlib.rc_context(
        {"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red", "xtick.major.size": 20}
    ):
        first = html.write_html(tmp_path / "a", result(*THREE, best=1)).read_bytes()
    assert html.write_html(tmp_path / "b", result(*THREE, best=1)).read_bytes() == first
    other = result(*THREE, best=1)
    other["trials"][0]["curve"]["validation"][0] = 0.51
    assert html.write_html(tmp_path / "c", other).read_bytes() != first


def test_nothing_of_matplotlib_changes_and_pyplot_stays_away(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    html.write_html(tmp_path, result(*THREE))
    assert dict(matplotlib.rcParams) == before
    code = "import sys, atjax.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_is_small_quick_and_whole(tmp_path: Path) -> None:
    html.write_html(tmp_path, result(*THREE, best=1))  # matplotlib reads its fonts at the first figure
    start = time.perf_counter()
    path = html.write_html(tmp_path, result(*THREE, best=1))
    assert time.perf_counter() - start < 6  # about 0.5 s on two cores
    assert path.stat().st_size < 400_000
    page = Page(path.read_text())
    assert page.tags.count("svg") == 2 + len(paper_space().dimensions) + 2
    text = " ".join(page.words.split())
    assert "The best of 3 trials is trial 1" in text
    assert "validation accuracy of 0.8500 and a test accuracy of 0.6000" in text
    assert "Budget quick (hidden 64 as 16, 256 as 64; epochs scale graph 0.05)" in text
    assert "Examples: 373 for training, 47 for validation, 47 for test." in text
    for part in (
        "bzr",
        "0.0500 weight 0.75",
        "jax 0.10.0",
        "feature",
        "12.0 s",
        "best so far",
        "Node labels are one-hot",
    ):
        assert part in text


def test_a_feature_of_several_statistics(tmp_path: Path) -> None:
    """Its first entries are shown, one an anchor, and how many there are more."""
    longer = result(*THREE)
    plain = html.write_html(tmp_path, longer).read_text()
    assert "more entries" not in plain
    longer["embedding"] |= {
        "alpha": longer["embedding"]["alpha"] + [[0.25, 0.5]] * 120,
        "feature": [132**-0.5] * 132,
    }
    text = html.write_html(tmp_path, longer).read_text()
    assert "120 more entries, of other statistics of the same anchors, not shown." in text
    drawn = [page[page.index("Alpha of every anchor") : page.index("What the task feature")] for page in (plain, text)]
    assert drawn[0] == drawn[1]


def test_the_page_loads_and_runs_nothing(tmp_path: Path) -> None:
    text = html.write_html(tmp_path, result(*THREE)).read_text()
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "image"} & set(page.tags)
    assert all(
        value is not None and value.startswith("#") for name, value in page.attributes if name in ("href", "src")
    )
    assert all(target == "#" for target in re.findall(r"url\((.)", text))
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_ids_are_distinct_and_references_resolve(tmp_path: Path) -> None:
    text = html.write_html(tmp_path, result(*THREE)).read_text()
    page = Page(text)
    ids = [value for name, value in page.attributes if name == "id"]
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    assert len(ids) == len(set(ids))
    assert used
    assert used <= set(ids)


def test_every_colour_follows_the_page_into_dark_mode(tmp_path: Path) -> None:
    page = Page(html.write_html(tmp_path, result(*THREE)).read_text())
    styles = [value or "" for name, value in page.attributes if name == "style"]
    assert any("var(--first)" in style for style in styles)
    assert not [style for style in styles if re.search(r"#[0-9a-f]{6}", style)]


def test_hostile_names_and_reasons_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    hostile = result(THREE[0], trial(1, None, reason=HOSTILE), prior_reason=HOSTILE, device=HOSTILE)
    hostile["task"] |= {"name": HOSTILE, "notes": [HOSTILE], "metric": HOSTILE + ODD}
    hostile["embedding"] |= {"anchors": [HOSTILE] * 12}
    hostile["embedding"]["nearest"][0]["task"] = HOSTILE
    hostile["prior"] = {HOSTILE: {HOSTILE: 0.5, "\x00": 0.5}}
    write(tmp_path, hostile)
    page = Page(html.write_html(tmp_path, read(tmp_path)).read_text())
    assert not {"script", "img"} & set(page.tags)
    assert page.words.count(HOSTILE) >= 5
    assert not [
        name for name, value in page.attributes if name in ("src", "href") and not (value or "").startswith("#")
    ]


def test_an_interrupted_search_without_a_best_is_told_so(tmp_path: Path) -> None:
    stopped = result(trial(0, None), best=None, state="interrupted", embedding=None, prior_source="uniform")
    text = Page(html.write_html(tmp_path, stopped).read_text()).words
    for part in (
        "interrupted after 1 trial; the same command with search.resume=true goes on from here",
        "no best design and no model",
        "Trial 0 failed: the device ran out of memory.",
        "every choice is equally likely",
    ):
        assert part in text
    assert "The best of" not in text
    assert "Similar tasks" not in text
    assert "no best design" in " ".join(printed(stopped, tmp_path).split())


def test_a_search_without_trials_can_be_reported(tmp_path: Path) -> None:
    empty = result(best=None, state="interrupted", prior={}, seconds={}, embedding=None)
    assert "interrupted after 0 trials" in html.write_html(tmp_path, empty).read_text()
    assert write_trials_csv(tmp_path, empty).read_text().count("\n") == 1
    assert "interrupted after 0 trials" in printed(empty, tmp_path)


def test_a_fall_back_to_the_uniform_prior_is_told(tmp_path: Path) -> None:
    back = result(*THREE, prior_source="uniform", prior_reason="the nearest task is at distance 0.6.")
    assert fell_back(back)
    assert not fell_back(result(*THREE))
    assert not fell_back(result(*THREE, prior_source="uniform", embedding=None))
    text = Page(html.write_html(tmp_path, back).read_text()).words
    assert "The prior is uniform, not transferred" in text
    assert "fell back to the uniform prior. The nearest task is at distance 0.6." in text
    assert "uniform (fall-back) prior" in printed(back, tmp_path)


def test_figures_show_the_numbers_they_are_given() -> None:
    # Trials out of order; the one with the best test score is not the one that validation picks.
    figure = figures.best_so_far_figure([THREE[1], THREE[0], THREE[2]], "accuracy")  # type: ignore[list-item]
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["best so far"].get_ydata().tolist() == [0.80, 0.85, 0.85]  # type: ignore[union-attr]
    assert lines["its test score"].get_ydata().tolist() == [0.70, 0.60, 0.60]  # type: ignore[union-attr]
    bars = figures.prior_figure({"8": 0.1, "2": 0.6, "4": 0.3}, "4").axes[0]
    assert [bar.get_width() for bar in bars.patches] == [0.6, 0.3, 0.1]  # type: ignore[attr-defined]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["2", "4", "8"]
    assert bars.lines[0].get_xdata() == [1 / 3, 1 / 3]
    assert figures.short_names(["a-sum-8.2-x", "a-max-8.2-y"]) == ["sum x", "max y"]
    assert figures.short_names(["same", "same"]) == ["same", "same"]
    assert figures.short_names(["one-two"]) == ["one-two"]


# Many searches


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


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["absent"], "atjax: There is no folder absent; give folders that hold runs of atjax.search.\n"),
        (["empty"], "atjax: There is no result.json under empty; give folders that hold runs of atjax.search.\n"),
        (
            ["broken"],
            "atjax: broken/result.json is cut off or is not JSON; run the search again, or remove the file.\n",
        ),
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
