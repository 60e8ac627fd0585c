"""Designs and spaces against enumeration."""

from __future__ import annotations

import collections
import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atjax.errors import UserError
from atjax.space import ANCHORS, FIELDS, Design, Dimension, Space, bank_designs, paper_space

PAPER = paper_space()


def test_paper_space_is_the_product_of_its_free_dimensions() -> None:
    # 3 aggregations of general, sage and gin; gcn; 3 numbers of heads of gat: 13 convolutions.
    free = itertools.product(
        range(13), range(4), (64, 256), range(3), (1, 2), (2, 4, 6, 8), (2, 3), (0.1, 0.001), (200, 800, 1600)
    )
    assert PAPER.size == len(list(free)) == 29952


def test_iteration_gives_each_design_once() -> None:
    designs = list(PAPER)
    assert len(set(designs)) == len(designs) == PAPER.size
    assert len({design.key for design in designs}) == PAPER.size
    for design in designs[:: PAPER.size // 500]:
        assert (design.heads is not None) == (design.convolution == "gat")
        assert (design.aggregation is not None) == (design.convolution in ("general", "sage", "gin"))


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(1, 3), st.sets(st.integers(0, 2))), max_size=3),
)
def test_size_equals_the_count_of_designs(free: list[int], conditional: list[tuple[int, set[int]]]) -> None:
    names = iter(FIELDS)
    dimensions = [Dimension(next(names), tuple(range(size))) for size in free]
    root = dimensions[0]
    for size, when in conditional:
        dimensions.append(Dimension(next(names), tuple(range(size)), root.name, tuple(when & set(root.choices))))  # type: ignore[arg-type]
    dimensions += [Dimension(name, (0,)) for name in names]
    space = Space("random", tuple(dimensions))
    assert space.size == len(set(space))


def test_codes_are_one_hot_and_tell_designs_apart() -> None:
    assert len({PAPER.encode(design).tobytes() for design in PAPER}) == PAPER.size
    for design in itertools.islice(PAPER, 0, None, 97):
        code = PAPER.encode(design)
        inactive = 1 if design.convolution == "gat" else 2 if design.convolution == "gcn" else 1
        assert code.sum() == len(PAPER.dimensions) - inactive
        assert set(code) == {0.0, 1.0}


def test_membership() -> None:
    design = next(iter(PAPER))
    assert design in PAPER
    assert dataclasses.replace(design, hidden=65) not in PAPER
    assert dataclasses.replace(design, heads=2) not in PAPER
    assert design.as_dict() not in PAPER
    assert all(anchor not in PAPER for anchor in ANCHORS)


def test_samples_follow_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    table = PAPER.uniform()
    table["convolution"] = {"gat": 0.7, "gcn": 0.3}
    table["heads"] = {1: 0.0, 2: 0.25, 4: 0.75}
    draws = [PAPER.sample(rng, table) for _ in range(2000)]
    assert all(design in PAPER for design in draws)
    kinds = collections.Counter(design.convolution for design in draws)
    assert set(kinds) == {"gat", "gcn"}
    assert abs(kinds["gat"] / 2000 - 0.7) < 0.05
    heads = collections.Counter(design.heads for design in draws if design.convolution == "gat")
    assert set(heads) == {2, 4}
    assert abs(heads[4] / kinds["gat"] - 0.75) < 0.05


def test_design_from_values() -> None:
    values = ANCHORS[0].as_dict() | {"learning_rate": 0.1, "epochs": 200}
    assert PAPER.design(values) == Design(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 100}, r"hidden=100 is no choice .* choose from 64, 256\."),
        ({"heads": 2}, r"heads=2 is no choice .* choose from None\."),
        ({"aggregation": None}, r"aggregation=None is no choice .* choose from sum, mean, max\."),
        ({"learning_rate": "fast"}, r"learning_rate='fast' is no choice .* choose from 0.1, 0.001\."),
        ({"depth": 3}, r"needs exactly the fields .* see \['depth'\]"),
    ],
)
def test_design_names_the_bad_value(change: dict, message: str) -> None:
    values = ANCHORS[0].as_dict() | {"learning_rate": 0.1, "epochs": 200} | change
    with pytest.raises(UserError, match=message):
        PAPER.design(values)


def test_design_names_the_missing_field() -> None:
    values = ANCHORS[0].as_dict()
    del values["epochs"]
    with pytest.raises(UserError, match=r"see \['epochs'\]"):
        PAPER.design(values)


def test_anchors_are_those_of_the_paper() -> None:
    rows = [(a.pre_layers, a.mp_layers, a.post_layers, a.connectivity, a.aggregation) for a in ANCHORS]
    assert rows == [
        (1, 8, 2, "skip_sum", "sum"),
        (1, 4, 2, "skip_concat", "sum"),
        (2, 6, 3, "skip_concat", "sum"),
        (2, 2, 2, "skip_concat", "sum"),
        (2, 4, 3, "skip_sum", "max"),
        (2, 6, 2, "skip_sum", "max"),
        (2, 8, 3, "skip_sum", "mean"),
        (2, 6, 3, "skip_sum", "mean"),
        (2, 6, 2, "skip_concat", "mean"),
        (2, 2, 2, "skip_concat", "mean"),
        (1, 2, 2, "skip_concat", "max"),
        (1, 2, 3, "skip_concat", "mean"),
    ]
    shared = {(a.convolution, a.heads, a.activation, a.hidden, a.learning_rate, a.epochs) for a in ANCHORS}
    assert shared == {("general", None, "prelu", 256, 0.01, 400)}


def test_bank_designs_are_a_fixed_sequence_of_distinct_designs() -> None:
    designs = bank_designs(PAPER, 60)
    assert len(set(designs)) == 60
    assert all(design in PAPER for design in designs)
    assert bank_designs(PAPER, 20) == designs[:20]
    for anchor, design in zip(ANCHORS, designs):
        assert dataclasses.replace(design, learning_rate=0.01, epochs=400) == anchor


def test_bank_designs_use_all_choices_evenly() -> None:
    designs = bank_designs(PAPER, 120)
    for name in ("activation", "hidden", "connectivity", "pre_layers", "mp_layers", "post_layers", "learning_rate"):
        counts = collections.Counter(getattr(design, name) for design in designs)
        expected = 120 / len(PAPER[name].choices)
        assert all(abs(counts[choice] - expected) <= 0.2 * expected for choice in PAPER[name].choices), name


def test_bank_designs_can_be_the_whole_space_and_no_more() -> None:
    tiny = Space(
        "tiny",
        tuple(dataclasses.replace(d, choices=d.choices[-2:][: 1 + (d.name == "hidden")]) for d in PAPER.dimensions),
    )
    assert set(bank_designs(tiny, tiny.size)) == set(tiny)
    with pytest.raises(UserError, match=f"has {tiny.size} designs; designs={tiny.size + 1} asks for more"):
        bank_designs(tiny, tiny.size + 1)
