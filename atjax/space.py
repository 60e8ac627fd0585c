"""Designs, and the spaces they are drawn from (paper, Table 3; GraphGym's anchors).

A `Design` is one full choice of architecture and training recipe. A `Space` lists the choices of every dimension.
Two dimensions are conditional: `heads` exists for GAT only, `aggregation` for the convolutions that leave it open.
An inactive dimension holds None, so that no two designs are the same model. Recorded banks of others have spaces of
their own, some with designs of another kind, which atjax reads and ranks but does not train.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atjax.errors import UserError

Choice = str | int | float
Probabilities = Mapping[str, Mapping[Choice, float]]
"""For every dimension a distribution over its choices: ``{dimension: {choice: probability}}``."""


@dataclass(frozen=True)
class Design:
    """One GNN design: architecture and training recipe.

    ``heads`` is None unless the convolution is gat; ``aggregation`` is None for gcn and gat, whose papers fix it.
    ``hidden`` and ``epochs`` are nominal, as in the paper; a `Budget` says what is trained for them.
    """

    convolution: str
    heads: int | None
    aggregation: str | None
    activation: str
    hidden: int
    connectivity: str
    pre_layers: int
    mp_layers: int
    post_layers: int
    learning_rate: float
    epochs: int

    def as_dict(self) -> dict[str, Choice | None]:
        """The fields by name, in their order."""
        return dataclasses.asdict(self)

    @property
    def key(self) -> str:
        """A short, unique, readable name, such as ``gat-4h-relu-64-stack-1.2.2-lr0.1-e200``."""
        kind = self.convolution
        if self.heads is not None:
            kind += f"-{self.heads}h"
        if self.aggregation is not None:
            kind += f"-{self.aggregation}"
        layers = f"{self.pre_layers}.{self.mp_layers}.{self.post_layers}"
        recipe = f"lr{self.learning_rate:g}-e{self.epochs}"
        return f"{kind}-{self.activation}-{self.hidden}-{self.connectivity}-{layers}-{recipe}"


EDGE_DATA: dict[str, tuple[str, ...]] = {
    "features": ("general", "gin", "gat"),
    "weights": ("general", "gcn", "sage", "gin"),
}
"""Which convolutions make use of what edges have; of weights only where neighbours are summed or averaged."""


def ignoring(what: str) -> list[str]:
    """Kinds of designs that make no use of edge ``features`` or ``weights``, in words."""
    kinds = [kind for kind in ("general", "gcn", "sage", "gin", "gat") if kind not in EDGE_DATA[what]]
    return [*kinds, "the aggregation max"] if what == "weights" else kinds


def ignored(design: Design, *, features: bool, weights: bool) -> list[str]:
    """What a design makes no use of, among the edge features and weights that there are."""
    there = {"features": features, "weights": weights}
    unused = [what for what, given in there.items() if given and design.convolution not in EDGE_DATA[what]]
    if weights and design.aggregation == "max":
        unused.append("weights")
    return [f"edge {what}" for what in unused]


FIELDS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Design))


@dataclass(frozen=True)
class Dimension:
    """One dimension of a space: a field of `Design`, and its choices.

    If ``parent`` is given, the dimension is active only where that field's choice is in ``when``.
    """

    name: str
    choices: tuple[Choice, ...]
    parent: str | None = None
    when: tuple[Choice, ...] = ()

    def active(self, chosen: Mapping[str, Choice | None]) -> bool:
        """Whether the dimension exists, given the choices made so far."""
        return self.parent is None or chosen[self.parent] in self.when


@dataclass(frozen=True)
class Space:
    """A design space: the dimensions in order, a parent before its children.

    ``kind`` is the class of its designs: a frozen dataclass whose fields are the dimensions, with the ``as_dict`` and
    ``key`` of `Design`.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    kind: type = Design

    def __getitem__(self, name: str) -> Dimension:
        return self._by_name[name]

    @functools.cached_property
    def _by_name(self) -> dict[str, Dimension]:
        return {dimension.name: dimension for dimension in self.dimensions}

    @functools.cached_property
    def size(self) -> int:
        """The number of distinct designs."""
        roots = {d.parent for d in self.dimensions if d.parent is not None}
        free = [d for d in self.dimensions if d.parent is None and d.name not in roots]
        count = math.prod(len(d.choices) for d in free)
        for root in roots:
            assert root is not None
            children = [d for d in self.dimensions if d.parent == root]
            count *= sum(
                math.prod(len(child.choices) for child in children if choice in child.when)
                for choice in self[root].choices
            )
        return count

    def __iter__(self) -> Iterator[Any]:
        """All designs, in a fixed order."""

        def extend(chosen: dict[str, Choice | None], rest: Sequence[Dimension]) -> Iterator[Design]:
            if not rest:
                yield self.kind(**chosen)
                return
            head, *tail = rest
            options: Sequence[Choice | None] = head.choices if head.active(chosen) else (None,)
            for option in options:
                yield from extend({**chosen, head.name: option}, tail)

        return extend({}, self.dimensions)

    def __contains__(self, design: object) -> bool:
        if not isinstance(design, self.kind):
            return False
        chosen = design.as_dict()  # type: ignore[attr-defined]
        return all(chosen[d.name] in d.choices if d.active(chosen) else chosen[d.name] is None for d in self.dimensions)

    def uniform(self) -> dict[str, dict[Choice, float]]:
        """The uniform distribution over the choices of every dimension."""
        return {d.name: dict.fromkeys(d.choices, 1 / len(d.choices)) for d in self.dimensions}

    def sample(self, rng: np.random.Generator, probabilities: Probabilities | None = None) -> Any:
        """Draw a design, one active dimension after another.

        Args:
            rng: Source of randomness.
            probabilities: A distribution for every dimension; uniform if None.
        """
        table = self.uniform() if probabilities is None else probabilities
        chosen: dict[str, Choice | None] = {}
        for dimension in self.dimensions:
            if not dimension.active(chosen):
                chosen[dimension.name] = None
                continue
            weights = np.array([table[dimension.name].get(choice, 0.0) for choice in dimension.choices])
            chosen[dimension.name] = dimension.choices[rng.choice(len(weights), p=weights / weights.sum())]
        return self.kind(**chosen)

    def encode(self, design: Any) -> np.ndarray:
        """One-hot code of a design, shape [sum of choices]; an inactive dimension is all zeros."""
        chosen = design.as_dict()
        return np.concatenate([[float(chosen[d.name] == choice) for choice in d.choices] for d in self.dimensions])

    def numbers(self, designs: Iterable[Any]) -> np.ndarray:
        """The number of every choice within its dimension, int8 [n, D]; -1 where a dimension is inactive.

        Raises:
            ValueError: A design is not of this space.
        """
        index = [{choice: number for number, choice in enumerate(d.choices)} | {None: -1} for d in self.dimensions]
        try:
            rows = [[place[getattr(design, d.name)] for d, place in zip(self.dimensions, index)] for design in designs]
        except KeyError as error:
            raise ValueError(f"{error.args[0]!r} is no choice of the space {self.name!r}") from error
        return np.array(rows, np.int8).reshape(len(rows), len(self.dimensions))

    def numbered(self, row: np.ndarray) -> Any:
        """The design of these numbers; the inverse of `numbers` for one design."""
        chosen = {d.name: d.choices[n] if n >= 0 else None for d, n in zip(self.dimensions, row.tolist())}
        return self.kind(**chosen)

    def design(self, values: Mapping[str, Choice | None]) -> Any:
        """A design from plain values, checked.

        Raises:
            UserError: A field is missing or unknown, or a value is no choice of this space.
        """
        if strange := set(values) ^ set(self._by_name):
            raise UserError(f"A design needs exactly the fields {', '.join(self._by_name)}; see {sorted(strange)}.")
        for dimension in self.dimensions:
            choices: tuple[Choice | None, ...] = dimension.choices if dimension.active(values) else (None,)
            if values[dimension.name] not in choices:
                raise UserError(
                    f"{dimension.name}={values[dimension.name]!r} is no choice of the space {self.name!r}; "
                    f"with the other values of this design choose from {', '.join(map(str, choices))}."
                )
        return self.kind(**values)


OPEN_AGGREGATION = ("general", "sage", "gin")
"""Convolutions whose aggregation is a choice; gcn and gat fix theirs."""


def paper_space() -> Space:
    """The design space of the paper (Table 3), 29,952 distinct designs."""
    return Space(
        "paper",
        (
            Dimension("convolution", ("general", "gcn", "sage", "gin", "gat")),
            Dimension("heads", (1, 2, 4), "convolution", ("gat",)),
            Dimension("aggregation", ("sum", "mean", "max"), "convolution", OPEN_AGGREGATION),
            Dimension("activation", ("relu", "prelu", "leaky_relu", "elu")),
            Dimension("hidden", (64, 256)),
            Dimension("connectivity", ("stack", "skip_sum", "skip_concat")),
            Dimension("pre_layers", (1, 2)),
            Dimension("mp_layers", (2, 4, 6, 8)),
            Dimension("post_layers", (2, 3)),
            Dimension("learning_rate", (0.1, 0.001)),
            Dimension("epochs", (200, 800, 1600)),
        ),
    )


def _anchor(pre: int, mp: int, post: int, connectivity: str, aggregation: str) -> Design:
    return Design("general", None, aggregation, "prelu", 256, connectivity, pre, mp, post, 0.01, 400)


ANCHORS: tuple[Design, ...] = (
    _anchor(1, 8, 2, "skip_sum", "sum"),
    _anchor(1, 4, 2, "skip_concat", "sum"),
    _anchor(2, 6, 3, "skip_concat", "sum"),
    _anchor(2, 2, 2, "skip_concat", "sum"),
    _anchor(2, 4, 3, "skip_sum", "max"),
    _anchor(2, 6, 2, "skip_sum", "max"),
    _anchor(2, 8, 3, "skip_sum", "mean"),
    _anchor(2, 6, 3, "skip_sum", "mean"),
    _anchor(2, 6, 2, "skip_concat", "mean"),
    _anchor(2, 2, 2, "skip_concat", "mean"),
    _anchor(1, 2, 2, "skip_concat", "max"),
    _anchor(1, 2, 3, "skip_concat", "mean"),
)
"""The U = 12 anchor designs of GraphGym, which the paper takes over (section 4.2 and appendix A)."""


def bank_designs(space: Space, count: int) -> tuple[Design, ...]:
    """The first ``count`` designs of a fixed sequence, the same for every task, so that rankings compare.

    The sequence starts with the structures of the 12 anchors (their layers, connectivity, aggregation and activation;
    learning rate and epochs cycle through the choices of the space, since the anchors' own are not in it). Random
    designs follow, each the one of 64 draws that keeps the counts of all choices most even.
    """
    designs: dict[Design, None] = {}
    recipes = itertools.cycle(itertools.product(space["epochs"].choices, space["learning_rate"].choices))
    for anchor, (epochs, rate) in zip(ANCHORS, recipes):
        design = dataclasses.replace(anchor, epochs=epochs, learning_rate=rate)  # type: ignore[arg-type]
        if design in space:
            designs[design] = None
    rng = np.random.default_rng(0)
    if count > space.size:
        raise UserError(f"The space {space.name!r} has {space.size} designs; designs={count} asks for more.")
    counts = np.sum([space.encode(design) for design in designs], axis=0) if designs else np.zeros(1)
    share = np.concatenate([np.full(len(d.choices), len(d.choices)) for d in space.dimensions])
    while len(designs) < count:
        draws = [design for design in (space.sample(rng) for _ in range(64)) if design not in designs]
        if not draws:
            continue
        best = min(draws, key=lambda design: float(np.sum(share * (counts + space.encode(design)) ** 2)))
        designs[best] = None
        counts = counts + space.encode(best)
    return tuple(designs)[:count]
