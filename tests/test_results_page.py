"""The tables of docs/results.md and of its pages are those that the experiments wrote."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
import tiny

EXPERIMENTS = tiny.REPOSITORY / "experiments"
RESULTS = EXPERIMENTS / "transfer" / "results"
DOCS = tiny.REPOSITORY / "docs"
PAGE = "\n".join(page.read_text() for page in [DOCS / "results.md", *sorted((DOCS / "results").glob("*.md"))])

Table = list[list[str]]
"""Rows of cells, the heading first."""

PRODUCT = "product random"
WORTH = "3 trials are worth (random trials)"
BANKS = {"embedded": "embedded", "GraphGym": "graphgym", "NAS-Bench-Graph": "nas-bench-graph"}


def tables(text: str) -> Iterator[Table]:
    """The Markdown tables of a text."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        heading, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines())
        yield [heading, *rows]


def the_table(text: str, *heading: str) -> Table:
    """The one table whose heading has these cells."""
    (found,) = (table for table in tables(text) if set(heading) <= set(table[0]))
    return found


def by_method(table: Table) -> dict[str, dict[str, str]]:
    """The rows of a table by their first cell, each by column; without what the page adds to the name of a method."""
    heading, *rows = table
    return {re.sub(r"( \(.*\)|: upper bound)$", "", row[0]): dict(zip(heading[1:], row[1:])) for row in rows}


def replays(name: str, *heading: str) -> dict[str, dict[str, str]]:
    return by_method(the_table((RESULTS / f"{name}.md").read_text(), *heading))


def called(method: str) -> str:
    """How the results call a method of the page."""
    full = {
        "product": PRODUCT,
        "product, fisher": PRODUCT,
        "mixture of top designs, fisher": "mixture, fisher",
        "boosted trees, fisher": "boosted, fisher",
        "portfolio, then TPE": "portfolio tpe",
    }
    return full.get(method, re.sub("^calibrated", "rank, calibrated", method))


@pytest.mark.parametrize(("runs", "options"), re.findall(r"table\.py( runs)?((?: --\w+ \S+)+)", PAGE))
def test_live_searches(runs: str, options: str) -> None:
    """Every line that the command prints stands on the page; of tasks that were shown before, of the gains alone."""
    program = EXPERIMENTS / "results" / "table.py"
    command = [sys.executable, str(program), *options.split()]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tiny.REPOSITORY).stdout
    scores, gains = (table.splitlines() for table in printed.strip().split("\n\n"))
    asked = dict(zip(options.split()[::2], options.split()[1::2]))
    methods = len(asked.get("--priors", "calibrated,product,uniform").split(",")) + 1  # two of uniform
    assert (len(scores), len(gains)) == (2 + len(asked["--tasks"].split(",")) + 1, 2 + methods * (methods - 1) // 2)
    shown = [*scores, *gains] if runs else gains
    assert [line for line in shown if line not in PAGE.splitlines()] == []


def test_what_3_trials_are_worth() -> None:
    banks = {**BANKS, "72 designs known": "nas-bench-graph-72"}
    page = by_method(the_table(PAGE, "method", "GraphGym", "72 designs known"))
    for title, name in banks.items():
        of_bank = replays(name, WORTH)
        for method, row in page.items():
            expected = of_bank[called(method)][WORTH]
            if row[title] == "the same":  # as with equal weights, since all tasks are of one level
                assert expected == page[method.replace("level", "equal")][title]
            else:
                assert row[title] == expected, (method, title)


def test_gains_over_random_search() -> None:
    columns = {
        "at 3 over 3": "gain at 3 over random 3",
        "at 3 over random 10": "gain at 3 over random 10",
        "at 30 over 30": "gain at 30 over random 30",
    }
    heading, *rows = the_table(PAGE, "bank", *columns)
    for row in rows:
        cells = dict(zip(heading, row))
        of_bank = replays(BANKS[cells["bank"]], WORTH)[called(cells["method"])]
        assert {name: cells[name] for name in columns} == {name: of_bank[whole] for name, whole in columns.items()}, row
        worse, total = cells["tasks worse at 30"].split(" of ")
        assert worse == of_bank["tasks more than 1 s.e. below random at 30"]
        assert total == of_bank["tasks where 3 pass random 10"].split(" of ")[1]


def test_calibrated_over_product_by_level() -> None:
    """Live from the lines that the test above holds to the searches; replays from the pairs of methods."""
    heading, *rows = the_table(PAGE, "level", "live", *BANKS)
    live = [
        row
        for table in tables(PAGE)
        if "by task" in table[0]
        for row in table
        if row[0] == "calibrated, 3 over product, 3"
    ]
    for (level, *cells), (*_, by_task, _, _, _) in zip(rows, live, strict=True):
        shown = dict(zip(heading[1:], cells))
        assert shown.pop("live") == by_task
        for title, gain in shown.items():
            names, *pairs = the_table((RESULTS / f"{BANKS[title]}.md").read_text(), "against", "level")
            of = [dict(zip(names, pair)) for pair in pairs if pair[:2] == ["rank, calibrated, smooth, trials", PRODUCT]]
            found = [pair["score at 3"] for pair in of if pair["level"] == level or (level == "node" and len(of) == 1)]
            assert [gain] == (found or [""]), (level, title)


def test_what_trials_take_to_train() -> None:
    taken = replays("embedded", "method", "all", "graph", "node")
    gained = replays("embedded", WORTH)
    for prior, row in by_method(the_table(PAGE, "prior", "time of 3 trials")).items():
        method = {"calibrated": "rank, calibrated, smooth, trials", "frugal": "rank, frugal"}.get(prior, PRODUCT)
        shares = [taken[method][level] for level in ("all", "graph", "node", "edge")]
        assert list(row.values()) == [*shares, gained[method][WORTH], gained[method]["gain at 3 over random 3"]], prior


def test_where_picks_stand() -> None:
    of_bank = replays("embedded", "graph, by validation")
    page = by_method(the_table(PAGE, "graph, by validation"))
    assert len(page) == 6
    for method, row in page.items():
        assert row == {column: of_bank[method][column] for column in row}, method


def test_gains_in_long_searches_split_by_split() -> None:
    _, *rows = the_table((RESULTS / "embedded.md").read_text(), "task", PRODUCT, "rank, kendall (upper bound)")
    (page,) = (
        t for t in tables(PAGE) if t[0] == ["task", "product", "calibrated, smooth, trials", "kendall: upper bound"]
    )
    assert page[1:] == rows


def test_what_long_searches_lose_and_splits_are_worth() -> None:
    text, page = (RESULTS / "embedded.md").read_text(), " ".join(PAGE.split())
    below = re.search(r"Below random at 30 by rank, calibrated, smooth, trials: (.*)\.", text)
    assert below is not None
    *most, last = below[1].split(", ")
    assert f"{len(most) + 1} of 35 with calibrated, smooth and trials seen: {', '.join(most)} and {last};" in page
    worth = re.search(r"On these 12 tasks.*smooth, trials, 3 trials (.*?); .*by other splits (.*)\.", text)
    assert worth is not None
    assert f"two splits are worth {worth[2]} random trials on the third" in page
    assert f"knows nothing of the task, gets {worth[1]} there" in page


def test_how_far_records_agree() -> None:
    """The means and extremes of Kendall's tau that the page tells."""
    heading, *rows = the_table((RESULTS / "embedded.md").read_text(), "test with that of another split")
    cells = [dict(zip(heading, row)) for row in rows]

    def mean(column: str, level: str) -> str:
        values = [float(row[column]) for row in cells if row["level"] == level and row[column]]
        return f"{sum(values) / len(values):.2f}"

    text = " ".join(PAGE.split())
    node, graph = (mean("validation with test", level) for level in ("node", "graph"))
    assert f"is {node} on average on node tasks, {graph} on graph tasks" in text
    tests = {row["task"]: row["test with that of another split"] for row in cells}
    assert f"have {tests['chameleon_filtered']} and {tests['wisconsin']} on chameleon_filtered and wisconsin" in text
    of_graphs = {float(tests[row["task"]]) for row in cells if row["level"] == "graph" and tests[row["task"]]}
    assert (min(of_graphs), max(of_graphs)) == (float(tests["ptc_mr"]), float(tests["enzymes"]))
    average = mean("test with that of another split", "graph")
    assert f"{tests['ptc_mr']} (ptc_mr) to {tests['enzymes']} (enzymes), {average} on average" in text


def test_how_many_designs_a_bank_should_know() -> None:
    drawn, picked = tables((RESULTS / "size.md").read_text())
    page = the_table(PAGE, "designs known", "smoothed ranks")
    assert page[0] == drawn[0]
    assert [row for row in drawn if row not in page] == [next(row for row in drawn if row[0] == "96")]
    beside = the_table(PAGE, "picked among", "over drawn, recorded ranks")
    assert beside[1:] == [[*row[:2], row[4], row[7]] for row in picked[1:]]


def test_how_many_tasks_a_bank_should_know() -> None:
    """All tasks, beside those without others of their kind; single draws are left out of the page."""
    every, alone = tables((RESULTS / "tasks.md").read_text())
    _, *rows = the_table(PAGE, "tasks known", "30 tasks: product")
    assert rows == [[*one[:1], *one[1::2], *other[1::2]] for one, other in zip(every[1:], alone[1:], strict=True)]


def test_what_levels_tell() -> None:
    """Worth by the levels that a bank knows, and the mean correlations that the text names."""
    embedded, _ = (RESULTS / "levels.md").read_text().split("\n## graphgym\n")
    (heading, *agree), worth = tables(embedded)
    assert the_table(PAGE, "left out", "known", "frugal")[1:] == worth[1:]
    tau = {(row[0], level): cell for row in agree for level, cell in zip(heading[1:], row[1:])}
    text = " ".join(PAGE.split())
    assert (
        f"is {tau['node', 'node']} among nodes, {tau['edge', 'edge']} among links, {tau['graph', 'graph']} among "
        f"graphs; {tau['node', 'edge']} between nodes and links, {tau['node', 'graph']} between nodes and graphs, and "
        f"{tau['edge', 'graph']} between links and graphs" in text
    )
    pairs = re.findall(r"(\w+) and (\w+) (\d\.\d+)", embedded.split("Of tasks of one data set: ")[1].split(".\n")[0])
    same = sorted((float(cell), min(pair, key=len), cell) for *pair, cell in pairs)
    assert len(same) == 8
    (_, least, low), (_, most, high) = same[0], same[-1]
    assert f"have {low} ({least}) to {high} ({most})" in text


def test_tasks_that_are_unlike() -> None:
    agree, worth, pairs = tables((RESULTS / "synthetic.md").read_text())
    known = {"real": worth[1][1], "synthetic": worth[2][1], "both": worth[3][1]}
    page = the_table(PAGE, "left out", "kendall: upper bound")
    assert [[row[0], known[row[1]], *row[2:]] for row in page[1:]] == worth[1:]
    assert [called(name) for name in page[0][2:3]] == worth[0][2:3]
    assert [f"rank, {name.replace(': upper bound', ' (upper bound)')}" for name in page[0][3:]] == worth[0][3:]
    assert pairs in tables(PAGE)
    tau = {row[0]: dict(zip(agree[0][1:], row[1:])) for row in agree[1:]}
    node = tau["real node"]
    told = f"is {node['real node']} among real node tasks, {tau['synthetic node']['synthetic node']} among synthetic "
    assert f"{told}ones, and {node['synthetic node']} between the two" in " ".join(PAGE.split())


def test_three_trials_among_tasks_that_are_unlike() -> None:
    """Of all 32, and of those 20 that had no part in any choice."""
    text = (RESULTS / "graphgym-32.md").read_text()
    gains = by_method(the_table(text, WORTH))
    needed = by_method(next(table for table in tables(text) if "within 3" in table[0]))
    for name, row in by_method(the_table(PAGE, "method of the 32")).items():
        method = {"TPE": "uniform tpe", "product": PRODUCT}.get(name, name)
        found, trials = gains[method], needed[method]
        expected = [
            found[WORTH],
            found["tasks where 3 pass random 10"],
            f"{trials['within 3']} of 32",
            trials["median"],
        ]
        assert list(row.values()) == [*expected, f"{found['tasks more than 1 s.e. below random at 30']} of 32"]
    made = {task: n for task, n in needed["rank, calibrated"].items() if task.startswith(("scalefree", "smallworld"))}
    assert len(made) == 20
    passed = sum(n in ("1", "2", "3") for n in made.values())
    assert f"3 trials of calibrated pass 30 random ones on {passed}:" in " ".join(PAGE.split())


def test_trials_to_pass_random_and_tpe() -> None:
    text = (RESULTS / "nas-bench-graph.md").read_text()
    heading, *rows = the_table(PAGE, "to pass", "cora", "arxiv")
    tasks = [{"cs": "coauthor_cs", "physics": "coauthor_physics", "arxiv": "ogbn_arxiv"}.get(t, t) for t in heading[2:]]
    tasks = [f"amazon_{task}" if task in ("photo", "computers") else task for task in tasks]
    target = ""
    for to_pass, method, *counts in rows:
        target = to_pass or target
        sampler = {"30 random trials": "random", "30 trials of TPE": "tpe"}[target]
        _, after = text.split(f"mean test score of uniform {sampler} with 30 trials**")
        of_method = by_method(next(tables(after)))[called(method)]
        assert counts == [of_method[task] for task in tasks], (target, method)


def test_four_tasks_that_had_no_part_in_any_choice() -> None:
    text = (RESULTS / "embedded.md").read_text()
    heading, *rows = the_table(PAGE, "by", "texas", "mutagenicity")
    by = ""
    for score, method, *counts in rows:
        by = score or by
        _, after = text.split(f"mean {by} score of uniform random with 30 trials**")
        of_method = by_method(next(tables(after)))[{"TPE": "uniform tpe"}.get(method, called(method))]
        assert counts == [of_method[task] for task in heading[2:]], (by, method)


SETTINGS = {
    **dict.fromkeys(("first_losses", "readout_loss", "descent_accuracy", "descent_loss"), "alpha"),
    "alpha": "bank",
    "alpha, two initialisations": "few",
    "alpha by `reference`": "reference",
    "alpha by `empirical`": "empirical",
}
"""What the page's statistics were made with, where that is not ``few``."""

COMPARED = {
    "": "projection",
    "two initialisations": "projection",
    "standardised logarithms": "projection",
    "the paper's inputs": "projection, paper's inputs",
    "cosine of standardised logarithms": "cosine",
}
"""What the page's ways to compare are called in the table, where that differs."""

NO_STATISTICS = (
    *("what the noise", "same level", "random features", "meta-features", "**with"),
    *("first_losses, descents", "these and"),  # of two commits
)


def scores_of_statistics(bank: str) -> set[tuple[str, ...]]:
    """Statistic, way to compare, score and score within levels, of those of 12 anchors."""
    text = (EXPERIMENTS / "statistics" / "table.md").read_text()
    _, after = text.split(f"\n## {bank}")
    found = next(table for table in tables(after.split("\n## ")[0].split("Statistics, best first:")[1]))
    assert found[0][:4] == ["feature", "compared by", "anchors", "score"]
    assert found[0][6] == "within"
    return {(row[0], row[1], row[3], row[6]) for row in found[1:] if row[2] == "12"}


def test_scores_of_statistics() -> None:
    scores = [scores_of_statistics(bank) for bank in ("The embedded bank", "GraphGym")]
    _, *rows = the_table(PAGE, "feature (12 anchors)", "embedded", "GraphGym")
    for name, *cells in rows:
        if name.startswith(NO_STATISTICS):
            continue
        plain = re.sub(r" \(.*\)$", "", name)
        feature, _, how = plain.partition(", ")
        setting = SETTINGS.get(plain, SETTINGS.get(feature, "few"))
        whole = (f"{feature.split(' by ')[0]} [{setting}]", COMPARED.get(how, how))
        assert (*whole, *cells[:2]) in scores[0], name
        assert (*whole, *cells[3:5]) in scores[1], name
