"""Replays of experiments/transfer from a bank that knows some designs or some tasks only, by hand."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import sys

import numpy as np
import pandas as pd
import pytest
import tiny
from replayed import ROWS, bank
from scipy.stats import kendalltau

sys.path.append(str(tiny.REPOSITORY / "experiments" / "transfer"))

import levels
import measures
import priors
import replay
import size
import synthetic
import tables
import tasks


def test_banks_of_some_designs() -> None:
    """Neighbours by brute force; what is added is new, and the best by prediction of what may be added."""
    whole = size.Whole(dataclasses.replace(bank(), validation=bank().validation[:1]))
    near = whole.neighbours(np.array([0, 7]))
    apart = [[np.sum(row != ROWS[k]) for k in (0, 7)] for row in ROWS]
    assert near.tolist() == [n for n, both in enumerate(apart) if 1 in both]
    others = np.array([1, 2, 3, 4])
    known = np.array([0, 3, 5, 6, 9])
    codes = np.eye(4)[ROWS[:, 0]], np.eye(3)[ROWS[:, 1]]
    x, ranks = np.hstack(codes), pd.DataFrame(whole.bank.known[np.ix_(known, others)]).rank().to_numpy() / 5
    mean = ranks.mean(axis=1)
    weights = np.linalg.solve(
        x[known].T @ x[known] + priors.CALIBRATED.ridge * np.eye(7), x[known].T @ (mean - mean.mean())
    )
    np.testing.assert_allclose(whole.predicted(known, others), mean.mean() + x @ weights, rtol=1e-5)
    assert whole.worth(np.array([1.0, np.mean(np.arange(1, 13) / 12)])).tolist() == pytest.approx([12, 1])


@pytest.mark.parametrize("near", [False, True])
def test_a_bank_grows_by_new_designs(near: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best by prediction, of all, or of those one choice from the best as long as there are any."""
    monkeypatch.setattr(size, "START", 3)
    monkeypatch.setattr(size, "EACH", 2)
    monkeypatch.setattr(size, "BEST", 1)
    whole = size.Whole(dataclasses.replace(bank(), validation=bank().validation[:1]))
    others = np.array([0, 1])
    grown = {count: size.picked(near)(whole, others, np.random.default_rng(24), count) for count in (3, 5, 12)}
    assert grown[3].tolist() == size.drawn(whole, others, np.random.default_rng(24), 3).tolist()
    assert grown[5][:3].tolist() == grown[12][:3].tolist() == grown[3].tolist()
    assert sorted(grown[12]) == list(range(12))
    said = whole.predicted(grown[3], others)
    free = np.setdiff1d(np.arange(12), grown[3])
    anywhere = free[np.argsort(-said[free])[:2]].tolist()
    if near:
        recorded = pd.DataFrame(whole.bank.known[np.ix_(grown[3], others)]).rank().mean(axis=1) / 3
        best = grown[3][np.argmax(recorded + said[grown[3]])]
        free = np.setdiff1d(whole.neighbours(np.array([best])), grown[3])
    assert grown[5][3:].tolist() == free[np.argsort(-said[free])[:2]].tolist()
    assert near == (grown[5][3:].tolist() != anywhere)


def test_banks_of_some_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they know is drawn of the other tasks; with all of these, searches are those of the replays."""
    some = bank()
    draws = [tasks.drawn(some, 2, 3, draw).tolist() for draw in range(20)]
    assert {tuple(draw) for draw in draws} == set(itertools.combinations((0, 1, 3, 4), 3))
    assert tasks.drawn(some, 2, 3, 7).tolist() == draws[7]
    found = tasks.measured(some, lambda task: tasks.drawn(some, task, 4, 0), 6)
    sources = [priors.prepare(some, task) for task in range(5)]
    tried = {
        method: [
            np.stack([replay.search(some, task, priors.METHODS[method](source, seed, 3), seed, 3) for seed in range(6)])
            for task, source in enumerate(sources)
        ]
        for method in tasks.FOLLOWED
    }
    expected = measures.worth(some, tried, 3)
    for method, worth in found.items():
        np.testing.assert_allclose(worth, expected[method], rtol=1e-12)
    fewer = tasks.measured(some, lambda task: tasks.drawn(some, task, 3, 0), 6)
    assert any(not np.allclose(fewer[method], worth) for method, worth in found.items())
    monkeypatch.setattr(tasks, "KIN", ("w", "y"))
    text = tasks.report(some, (3,), 2, 6)
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows] == 2 * ["tasks known", "---", "3", "all"]
    assert rows[3][1::2] == [tables.geometric(worth) for worth in found.values()]
    assert rows[7][1::2] == [tables.geometric(worth[[0, 2, 4]]) for worth in found.values()]
    assert [bool(cell) for cell in rows[3][2::2]] == [False] * len(found)
    assert all(rows[2])
    assert "3 tasks that have none of their own kind, as w, y have." in text


def test_banks_of_some_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tasks n, g, g, n, g, of which w and links_w are of one data set: what is known by hand, and tau by scipy."""
    some = dataclasses.replace(bank(), tasks=("v", "w", "x", "y", "links_w"))
    known = (("graph",), ("node",), ("graph", "node"))
    numbers = {each: [levels.known_to(some, task, some.levels, each).tolist() for task in (0, 4)] for each in known}
    assert numbers == {
        ("graph",): [[1, 2, 4], [2]],
        ("node",): [[3], [0, 3]],
        ("graph", "node"): [[1, 2, 3, 4], [0, 2, 3]],
    }
    monkeypatch.setattr(levels, "KNOWN", known)
    text = levels.report(some, 6)
    agree, worths = (
        [[cell.strip() for cell in line[1:-1].split("|")] for line in part.splitlines() if line.startswith("|")][2:]
        for part in text.split("What the first")
    )

    def tau(*pairs: tuple[int, int]) -> str:
        return f"{np.mean([kendalltau(some.known[:, a], some.known[:, b])[0] for a, b in pairs]):.2f}"

    across = tau((0, 1), (0, 2), (0, 4), (3, 1), (3, 2), (3, 4))
    assert agree == [["graph", tau((1, 2), (2, 4)), across], ["node", across, tau((0, 3))]]
    assert f"Of tasks of one data set: w and links_w {tau((1, 4))}." in text
    assert [row[:2] for row in worths] == [
        [left_out, ", ".join(each)] for left_out in ("3 graph", "2 node") for each in known
    ]
    for rows, left_out in ((worths[:3], [1, 2, 4]), (worths[3:], [0, 3])):
        for (_, _, *cells), each in zip(rows, known, strict=True):
            of_each = functools.partial(levels.known_to, some, kinds=some.levels, known=each)
            worth = tasks.measured(some, of_each, 6, levels.FOLLOWED)
            assert cells == [tables.geometric(worth[method][left_out]) for method in levels.FOLLOWED]


def test_real_and_synthetic_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks of each kind; those on one family's graphs do not tell of each other."""
    names = ["cora", "citeseer", "cox2", "dd"]
    names += [f"{graphs}_{task}" for graphs in synthetic.FAMILIES for task in ("onehot_pagerank", "onehot_path_length")]
    levels = np.array(["node", "node", "graph", "graph", *2 * ["node", "graph"]])
    some = dataclasses.replace(bank(tasks=8), tasks=tuple(names), levels=levels)
    real, made = ["real graph", "real node"], ["synthetic graph", "synthetic node"]
    of = synthetic.kinds(some)
    assert of.tolist() == ["real node", "real node", "real graph", "real graph", *2 * made[::-1]]
    assert [some.others(task).tolist() for task in (1, 4)] == [[0, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 6, 7]]
    monkeypatch.setattr(synthetic, "FOLLOWED", ("product random", "rank, equal"))
    monkeypatch.setattr(synthetic, "PAIRS", (("rank, equal", "product random"),))
    lines = synthetic.report(some, 4).splitlines()
    cells = [line[2:-2].split(" | ") for line in lines if re.match(r"\| \d", line)]
    known = [", ".join(each) for each in (real, made, real + made)]
    assert [row[:2] for row in cells] == [[f"2 {kind}", each] for kind in real + made for each in known]
    alone = tasks.measured(some, lambda task: np.setdiff1d(some.others(task), range(4, 8)), 4, synthetic.FOLLOWED)
    assert cells[6][2:] == [tables.geometric(worth[[5, 7]]) for worth in alone.values()]
    every = tasks.measured(some, some.others, 4, synthetic.FOLLOWED)
    gain = np.log(every["rank, equal"]) - np.log(every["product random"])
    parts = ([2, 3], [0, 1], [5, 7], [4, 6], range(8))
    assert lines[-1][2:-2].split(" | ")[2:] == [tables.mean(gain[list(part)]) for part in parts]


def test_what_is_followed_is_the_best_of_the_first_three() -> None:
    """Where all tasks agree the best known designs are followed whatever the weights of the tasks."""
    same = np.tile(np.arange(12.0)[:, None], (1, 5))
    whole = size.Whole(dataclasses.replace(bank(), validation=same[None], known=same))
    known, others = np.array([8, 1, 4, 6, 2]), np.array([1, 2, 3, 4])
    assert size.followed(whole, known, others, 0, keep=1.0) == pytest.approx(9 / 12)
    flipped = same.copy()
    flipped[:, 0] *= -1
    assert size.followed(
        size.Whole(dataclasses.replace(whole.bank, validation=flipped[None])), known, others, 0, keep=1.0
    ) == pytest.approx(8 / 12)
