"""The report of one search: what is written, what is said, what is shown."""

import csv
import re
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hand_made import HOSTILE, ODD, THREE, Page, printed, result, trial

from atjax.errors import UserError
from atjax.report import figures, html, summary, words
from atjax.report.entries import Entry
from atjax.report.result import fell_back, read, write
from atjax.report.tables import write_trials_csv
from atjax.space import FIELDS, paper_space

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


def test_a_narrow_terminal_has_the_designs_below_and_paths_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my runs" / ("long" * 20)
    folder.mkdir(parents=True)
    (folder / "result.json").touch()
    text = printed(result(*THREE, best=1), folder, width=60)
    lines = text.splitlines()
    assert max(len(line) for line in lines if str(folder) not in line and "resume" not in line) <= 60
    assert [line.split()[:2] for line in lines if line.startswith(" trial ")] == [["trial", str(n)] for n in range(3)]
    assert words.structure(THREE[0]["design"]) in " ".join(text.split())
    assert f"{folder}: result.json" in text
    assert f'use the model: atjax.load("{folder}")' in text
    assert "model=" not in text
    own = result(*THREE, best=1)
    own["task"]["notes"] = ["Read as tables: nodes.csv, edges.csv."]
    assert f"python -m atjax.predict \"model='{folder}'\" path=NEW_GRAPHS\n" in printed(own, folder, width=60)
    assert "predict model=runs/x path=" in printed(own, Path("runs/x"), width=60)
    monkeypatch.chdir(tmp_path)
    assert f" my runs/{folder.name}: result.json" in printed(result(*THREE, best=1), folder, width=60)


def test_markup_in_names_and_reasons_is_printed_as_it_is(tmp_path: Path) -> None:
    hostile = result(
        trial(0, None, reason="[red]bad[/red] [/]"), best=None, prior_reason="[i]why[/i]", prior_name="[red]own[/]"
    )
    hostile["task"]["name"] = "[bold]x[/bold]"
    text = printed(hostile, tmp_path)
    assert "[bold]x[/bold]" in text
    assert "[red]bad[/red] [/]" in text
    assert "[i]why[/i]" in text
    assert "[red]own[/] prior" in text


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
    assert [words.score(v) for v in (0.0, 1.234e-5, 123456.7, -1e15)] == ["0.0000", "1.23e-05", "123,457", "-1e+15"]
    assert words.spread(12.18, 4.1877) == "12.18 ± 4.19"
    assert words.spread(0.5, 0.01) == "0.5000 ± 0.0100"
    assert words.spread(123456.7, 2.5) == "123,457 ± 2"
    assert words.spread(1e-5, 2e-7) == "1e-05 ± 2e-07"
    assert words.column([12.3456, 0.5, None]) == ["12.35", "0.50", "—"]
    assert words.column([0.00012]) == ["0.0001"]
    assert words.column([None, 0.0]) == ["—", "0.000"]
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
    assert "Budget quick (hidden 64 as 16, 256 as 64; epochs scale 0.05)" in text
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
    """Each is shown by anchor under its own name, of several entries the first and the last; the rest is told."""
    longer = result(*THREE)
    plain = Page(html.write_html(tmp_path, longer).read_text())
    assert "Of statistics with several entries" not in plain.words
    longer["embedding"]["values"] |= {
        "first_losses": [[float(step), step + 0.5] for _ in range(12) for step in range(1, 11)],
        "log_determinant": [[-3.0, -5.0]] * 12,
        "layer_trace": [[0.25, 0.5]] * 44,
    }
    text = html.write_html(tmp_path, longer).read_text()
    page = Page(text)
    drawn = [value for name, value in page.attributes if name == "aria-label" and str(value).endswith("every anchor")]
    names = ["alpha", "first losses 1", "first losses 10", "log determinant"]
    assert drawn == [f"{name} of every anchor" for name in names]
    assert "the first and the last are shown. Not shown: layer_trace, 44 entries." in page.words
    row = re.search(f"<tr><td>{longer['embedding']['anchors'][2]}</td>(.*?)</tr>", text, re.DOTALL)
    assert row is not None
    means = re.findall(r">([\d.-]+)<", row[1])[::2]
    assert [float(mean) for mean in means] == [5.0, 1.25, 10.25, -4.0]


def test_a_result_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It had one list, called alpha, whatever the statistics."""
    now, then = result(*THREE), result(*THREE)
    rows = then["embedding"].pop("values")["alpha"]
    then["embedding"]["alpha"] = rows
    write(tmp_path, then)
    assert read(tmp_path) == now
    then["embedding"]["alpha"] = [*rows, [0.5, 0.25], [1.0, None]]
    write(tmp_path, then)
    assert read(tmp_path)["embedding"] == now["embedding"] | {
        "values": {"alpha": rows, "other statistics": [[0.5, 0.25], [1.0, None]]}
    }
    html.write_html(tmp_path, read(tmp_path))
    then["embedding"]["alpha"] = 3
    write(tmp_path, then)
    with pytest.raises(UserError, match=r"embedding.values is missing"):
        read(tmp_path)


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
    hostile = result(THREE[0], trial(1, None, reason=HOSTILE), prior_reason=HOSTILE, prior_name=HOSTILE, device=HOSTILE)
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


def test_trials_that_were_stopped_are_told_as_such(tmp_path: Path) -> None:
    curve = {"epoch": [20], "train_loss": [0.7], "validation": [0.4], "test": [0.4]}
    ended = {"state": "stopped", "reason": "stopped early, after 20 of 200 epochs", "curve": curve}
    search = result(*THREE, trial(3, None, **ended), trial(4, None, **ended), algorithm="hyperband")
    note = "Stopped early, since earlier trials did better up to there: trials 3, 4."
    page = Page(html.write_html(tmp_path, search).read_text()).words
    assert note in page
    assert page.count("stopped early, after 20 of 200 epochs") == 2
    assert "a cross where the search stopped a trial" in page
    assert "a cross" not in Page(html.write_html(tmp_path, result(*THREE)).read_text()).words
    text = printed(search, tmp_path)
    assert note in text
    assert [line.split()[:2] for line in text.splitlines() if " stopped " in line] == [
        ["3", "stopped"],
        ["4", "stopped"],
    ]
    rows = list(csv.DictReader(write_trials_csv(tmp_path, search).read_text().splitlines()))
    assert [(row["state"], row["validation"]) for row in rows[3:]] == [("stopped", "")] * 2
    crosses = [line for line in figures.curves_figure(search["trials"], "accuracy", 0).axes[0].lines]
    assert [line.get_xydata().tolist() for line in crosses if line.get_marker() == "x"] == [[[20, 0.4]]] * 2


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
    assert not fell_back(result(*THREE, prior_source="uniform", embedding=None, prior_name="uniform"))
    text = Page(html.write_html(tmp_path, back).read_text()).words
    assert "Nothing was transferred from the bank. The nearest task is at distance 0.6." in text
    assert "fell back to the uniform prior. The nearest task is at distance 0.6." in text
    assert "uniform (fall-back) prior" in printed(back, tmp_path)
    assert "The prior is uniform." in words.not_done(back | {"prior_reason": None})[0]


def test_a_fall_back_without_a_comparison_says_why_and_nothing_of_distances(tmp_path: Path) -> None:
    reason = "The bank has 0 other tasks. The prior is uniform."
    back = result(*THREE, prior_source="uniform", prior_name="product", prior_reason=reason, embedding=None)
    assert fell_back(back)
    page = Page(html.write_html(tmp_path, back).read_text()).words
    for text in (page, " ".join(printed(back, tmp_path).split())):
        assert "uniform (fall-back) prior" in text
        assert text.count(reason) == 2  # the notes, and where designs come from
        assert "close" not in text


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


def test_axes_of_trials_and_epochs_count_in_whole_numbers() -> None:
    """However few there are."""
    one = THREE[:1]
    group = summary.Group("t", "accuracy", "random", "uniform", "quick", "paper", 1, (result(*one),))
    for figure in (
        figures.best_so_far_figure(one, "accuracy"),  # type: ignore[arg-type]
        figures.best_so_far_figure(THREE, "accuracy"),  # type: ignore[arg-type]
        figures.curves_figure(THREE, "accuracy", 1),  # type: ignore[arg-type]
        figures.task_figure([group]),
    ):
        axes = figure.axes[0]
        low, high = axes.get_xlim()
        shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert shown
        assert all(tick == round(tick) for tick in shown)


def test_a_task_at_no_known_distance_comes_last() -> None:
    distances = {"a": 0.4, "b": None, "c": 0.1, "d": 0.05}
    nearest = [{"task": name, "distance": distance, "weight": None} for name, distance in distances.items()]
    axes = figures.nearest_figure(nearest).axes[0]  # type: ignore[arg-type]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["d", "c", "a", "b"]
    assert [bar.get_width() for bar in axes.patches] == [0.05, 0.1, 0.4, 0.0]  # type: ignore[attr-defined]


def test_the_numbers_of_the_page_are_those_of_the_result(tmp_path: Path) -> None:
    """Row by row; every score is another number, so that none stands for another."""
    trials = (trial(0, 0.81, 0.71), trial(1, 0.85, 0.61), trial(2, None), trial(3, 0.82, 0.95))
    shown = result(*trials, best=1)
    shown["embedding"] |= {
        "values": {"alpha": [[2.0 + place, 3.0 + place, 7.0 + place] for place in range(12)]},
        "nearest": [{"task": f"t{n}", "distance": 0.1 * n, "weight": None} for n in range(1, 16)],
    }
    text = html.write_html(tmp_path, shown).read_text()
    kinds, rows = [], []
    for kind, row in re.findall(r'<tr(?: class="(\w+)")?>(.*?)</tr>', text, re.DOTALL):
        cells = [
            " ".join(re.sub("<.*?>", " ", cell).split()) for cell in re.findall("<td.*?>(.*?)</td>", row, re.DOTALL)
        ]
        kinds.append(kind)
        rows.append(cells)
    table = [(kind, row) for kind, row in zip(kinds, rows) if len(row) == 8]
    assert [kind for kind, _ in table] == ["", "best", "off", ""]
    assert [row[:7] for _, row in table] == [
        ["0", "0.8100", "0.7100", "40", "1,234", "1.50 s", "0.50 s"],
        ["1 best", "0.8500", "0.6100", "40", "1,235", "2.50 s", "0.50 s"],
        ["2", "—", "—", "—", "1,236", "3.50 s", "0.50 s"],
        ["3", "0.8200", "0.9500", "40", "1,237", "4.50 s", "0.50 s"],
    ]
    designs = [f"{words.structure(each['design'])}, {words.recipe(each['design'])}" for each in trials]
    designs[2] += " failed"
    assert [row[7] for _, row in table] == designs
    assert re.findall(r"<b>(.*?)</b>", text) == ["0.8500", "0.6100", "1,235", "42.2 s"]
    numbers = [row for row in rows if len(row) == 3]
    deviation = f"{np.std([2, 3, 7], ddof=1):.2f}"  # in decimals, too, a column is one
    assert [row[1:] for row in numbers] == [[f"{4.0 + place:.2f}", deviation] for place in range(12)]
    assert "3 more distant tasks not shown" in text
    # Of every dimension the choice of the best design is in the colour that the page says.
    chosen = {}
    for name, drawn in re.findall(r"<h3>(.*?)</h3>(<svg.*?</svg>)", text, re.DOTALL):
        choices = words.in_order(shown["prior"][name.replace(" ", "_")])
        bars = re.findall(r"fill: var\(--(first|soft)\)", drawn)
        assert len(bars) == len(choices)
        chosen[name.replace(" ", "_")] = [choice for choice, bar in zip(choices, bars) if bar == "first"]
    design = trials[1]["design"]
    assert chosen == {name: [] if design[name] is None else [str(design[name])] for name in shown["prior"]}


def test_figures_mark_what_they_say() -> None:
    curve = {"epoch": [20, 40, 60], "train_loss": [0.7] * 3, "validation": [0.5, 0.9, 0.7], "test": [0.5] * 3}
    trials = [trial(0, 0.9, 0.4, epoch=40, curve=curve), trial(1, None), trial(2, 0.8, 0.6)]
    # A dot at the epoch picked, and a dotted line for the trial without a result.
    dots = [line for line in figures.curves_figure(trials, "accuracy", 0).axes[0].lines if line.get_marker() == "o"]  # type: ignore[arg-type]
    assert [dot.get_xydata().tolist() for dot in dots] == [[[40, 0.9]], [[40, 0.8]]]
    lines = figures.best_so_far_figure(trials, "accuracy").axes[0].lines  # type: ignore[arg-type]
    assert [line.get_xdata() for line in lines if line.get_linestyle() == ":"] == [[1, 1]]
    # The choice of the best design in another colour.
    bars = figures.prior_figure({"8": 0.1, "2": 0.6, "4": 0.3}, "4").axes[0].patches
    assert [bar.get_facecolor() == bars[1].get_facecolor() for bar in bars] == [False, True, False]
    assert bars[0].get_facecolor() == bars[2].get_facecolor()
    # Mean and deviation of a statistic, cut only where a logarithmic axis ends.
    spans = spans_of([2.0, 3.0, 7.0], [0.5, 40.0])
    deviation = float(np.std([2, 3, 7], ddof=1))
    np.testing.assert_allclose(spans[0], [4 - deviation, 4 + deviation])
    assert list(spans[1]) == [4]
    np.testing.assert_allclose(spans[2], [0.5, 20.25 + np.std([0.5, 40], ddof=1)])
    np.testing.assert_allclose(spans_of([3.0, 4.0], [1.0])[0], [3.5 - 0.5**0.5, 3.5 + 0.5**0.5])
    np.testing.assert_allclose(spans_of([-3.0, 7.0], [1.0])[0], [2 - 50**0.5, 2 + 50**0.5])


def spans_of(*values: list[float]) -> list[np.ndarray]:
    """The lines and dots of a figure of two anchors."""
    figure = figures.anchors_figure(["a-b", "c-d"], Entry("alpha", values))
    return [np.asarray(line.get_xdata()) for line in figure.axes[0].lines]


def test_the_band_over_seeds_is_one_deviation_wide() -> None:
    runs = tuple(result(trial(0, 0.5, first), trial(1, 0.6, then)) for first, then in ((0.4, 0.5), (0.6, 0.9)))
    group = summary.Group("t", "accuracy", "random", "uniform", "quick", "paper", 2, runs)
    axes = figures.task_figure([group]).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[1, 0.5], [2, 0.7]])
    half = np.array([np.std([0.4, 0.6], ddof=1), np.std([0.5, 0.9], ddof=1)])
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [[2, 0.7 - half[1]], [2, 0.7 + half[1]]])
    corners = axes.collections[0].get_paths()[0].vertices
    for number, mean, deviation in zip((1, 2), (0.5, 0.7), half):
        heights = corners[corners[:, 0] == number, 1]
        np.testing.assert_allclose((heights.min(), heights.max()), (mean - deviation, mean + deviation))


@pytest.mark.parametrize(
    ("low", "high", "scale"),
    [
        *((low, high, "linear") for low, high in ((1.5, 4.0), (0.7, 0.98), (-3.0, 9.0), (0.0, 9.0), (4.0, 4.0))),
        *((low, high, "log") for low, high in ((1.01, 5.1), (2.0, 60.0), (2.0, 1e5), (2.0, 1e9), (2.0, 1e14))),
    ],
)
def test_statistics_of_any_range_have_ticks(low: float, high: float, scale: str) -> None:
    (axes,) = figures.anchors_figure(["a-b", "c-d"], Entry("alpha", [[low], [high]])).axes
    assert axes.get_xscale() == scale
    first, last = axes.get_xlim()
    shown = [place for place in axes.get_xticks() if first <= place <= last]
    assert 2 <= len(shown) <= 12
