"""Banks as benchmarks: what every design scored on every task, to be looked up instead of trained."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import atjax
from atjax import config, load_bank
from atjax.bank import Bank, performance_matrix
from atjax.bank.importers import read_graphgym, read_nas_bench_graph
from atjax.bank.importers.names import TASKS
from atjax.bank.importers.nas_bench_graph import canonical
from atjax.bank.records import frame_designs
from atjax.bank.store import data_set
from atjax.prior import PriorConfig, design_distribution
from atjax.samplers import Candidates, Listed, WholeSpace
from atjax.space import ANCHORS, Probabilities, Space

PRODUCT: PriorConfig = config.load("prior", "product")
PRIORS = ("product", "rank", "calibrated", "frugal")


@dataclass(frozen=True, eq=False)
class Recorded:
    """Scores of N designs on T tasks, of which a search sees one split.

    Attributes:
        name: Of the bank.
        space: Its space.
        tasks: Names, [T].
        levels: ``node``, ``edge`` or ``graph``, [T].
        rows: The designs, int8 [N, D].
        validation: More is better, [S, N, T]; NaN where a design was not run, -inf where it failed. A task with fewer
            than S splits has them again and again.
        validation_loss: Which of equals is better, less is, [S, N, T]; infinity where it is not known.
        test: More is better, [S, N, T]; the validation scores where the bank has no others.
        tested: Whether the bank has test scores.
        known: What the bank may tell of other tasks: validation performance over all splits, or that of some designs
            only, [N, T].
        best: P(c | t) of every task, from the same records (`atjax.prior.design_distribution`), [T].
        find: The number of a design by its row, or -1.
        whole: Whether every design of the space has results; if not, searches are kept to the recorded ones.
        features: Mean alphas of the tasks that have any, by name, [A] each.
        losses: The same for the losses of the first training steps (paper, Table 2), [A K] each.
        seconds: Of a training, mean over splits, [N, T]; NaN where it is not known.
    """

    name: str
    space: Space
    tasks: tuple[str, ...]
    levels: np.ndarray
    rows: np.ndarray
    validation: np.ndarray
    validation_loss: np.ndarray
    test: np.ndarray
    tested: bool
    known: np.ndarray
    best: tuple[Probabilities, ...]
    find: Callable[[np.ndarray], int]
    whole: bool
    features: dict[str, np.ndarray]
    losses: dict[str, np.ndarray]
    seconds: np.ndarray

    @functools.cached_property
    def key(self) -> str:
        """The bank's name and a hash of what searches depend on, code included, so that none is taken for another."""
        named = [each[name] for each in (self.features, self.losses) for name in sorted(each)]
        others = [self.others(task) for task in range(len(self.tasks))]
        arrays = (self.rows, self.levels.astype("S"), self.validation, self.known, self.seconds, *others, *named)
        content = b"".join(array.tobytes() for array in arrays) + repr(self.best).encode() + _code()
        return f"{self.name}-{hashlib.sha256(content).hexdigest()[:8]}"

    @functools.cached_property
    def one_hot(self) -> np.ndarray:
        """Codes of all designs, [N, C]."""
        choices = np.arange(max(len(d.choices) for d in self.space.dimensions))
        return (self.rows[:, :, None] == choices).reshape(len(self.rows), -1).astype(float)

    def others(self, task: int) -> np.ndarray:
        """Numbers of the tasks that a search on one may know, those of other data sets, ascending."""
        made_of = [data_set(name) for name in self.tasks]
        return np.array([other for other, name in enumerate(made_of) if name != made_of[task]])

    def split(self, seed: int | np.ndarray) -> int | np.ndarray:
        """The split that searches of a seed see."""
        return seed % len(self.validation)

    def designs(self, task: int, seed: int) -> np.ndarray:
        """Numbers of the designs that a task was run with on the split of a seed."""
        return np.flatnonzero(~np.isnan(self.validation[self.split(seed), :, task]))

    def candidates(self, task: int, seed: int) -> Candidates:
        """What a search on a task may draw from."""
        return WholeSpace(self.space) if self.whole else Listed(self.space, self.rows[self.designs(task, seed)])


@functools.cache
def _code() -> bytes:
    """What decides how searches go: the rules, the priors and their settings."""
    package, here = Path(atjax.__file__).parent, Path(__file__).parent
    files = [here / "priors.py", here / "replay.py", *sorted((package / "samplers").glob("*.py"))]
    files += [package / f"{name}.py" for name in ("affinity", "bank/similarity", "embedding", "prior", "ranking")]
    return (
        b"".join(file.read_bytes() for file in files) + repr([config.load("prior", name) for name in PRIORS]).encode()
    )


def _recorded(
    name: str,
    bank: Bank,
    *,
    whole: bool,
    lookup: Callable[[Space, list], Callable] | None = None,
    told: Callable[[Bank], Bank] = lambda bank: bank,
) -> Recorded:
    """A bank as a benchmark; ``told`` is what of it the others tell of their tasks."""
    every = performance_matrix(bank)
    said = told(bank)
    known = performance_matrix(said).reindex(index=every.index, columns=every.columns)
    tested = bool(bank.records["test"].notna().any())
    validation, test = (_by_split(bank, every, score) for score in ("validation", "test" if tested else "validation"))
    first = bank.records.drop_duplicates("design").set_index("design").loc[every.index].reset_index()
    designs = frame_designs(first, bank.space)
    rows = bank.space.numbers(designs)
    place = {row.tobytes(): number for number, row in enumerate(rows)}
    levels = bank.records.groupby("content_hash")["level"].first()
    taken = bank.records.groupby(["design", "content_hash"])["seconds"].mean()
    tasks = tuple(bank.tasks[content] for content in known.columns)
    compared = {name: values for name, values in features().items() if name in tasks}
    return Recorded(
        name,
        bank.space,
        tasks,
        levels[known.columns].to_numpy(str),
        rows,
        validation,
        _losses_by_split(bank, every),
        test,
        tested,
        known.to_numpy(float),
        tuple(_best(said, task) for task in known.columns),
        lookup(bank.space, designs) if lookup else lambda row: place.get(row.tobytes(), -1),
        whole,
        {name: values[: len(ANCHORS)] for name, values in compared.items()},
        {name: values[len(ANCHORS) :] for name, values in compared.items()},
        taken.unstack().reindex_like(every).to_numpy(float),
    )


def _by_split(bank: Bank, known: pd.DataFrame, score: str) -> np.ndarray:
    """Performances on every split, [S, N, T], of the designs and tasks of ``known``."""
    matrices = (performance_matrix(part, score) for part in splits(bank))
    return np.stack([m.reindex(index=known.index, columns=known.columns).to_numpy(float) for m in matrices])


def _losses_by_split(bank: Bank, every: pd.DataFrame) -> np.ndarray:
    """Validation losses on every split, [S, N, T]; infinity where there is none."""
    frames = (
        part.records.pivot(index="design", columns="content_hash", values="validation_loss") for part in splits(bank)
    )
    return np.nan_to_num(np.stack([f.reindex_like(every).to_numpy(float) for f in frames]), nan=np.inf)


def _best(bank: Bank, content_hash: str) -> Probabilities:
    """What the best designs of a task are like, as `prior=product` sees it."""
    own = bank.records[bank.records["content_hash"] == content_hash]
    return design_distribution(own, bank.space, PRODUCT.top_k, PRODUCT.correct)


def splits(bank: Bank) -> list[Bank]:
    """The bank by splits: as many as are a multiple of every task's own, which take turns."""
    records = bank.records
    turn = records.groupby("content_hash")["seed"].rank("dense").astype(int) - 1
    count = records.groupby("content_hash")["seed"].transform("nunique")
    every = math.lcm(*(int(n) for n in count.unique()))
    return [dataclasses.replace(bank, records=records[turn == number % count]) for number in range(every)]


def features() -> dict[str, np.ndarray]:
    """What the embedded bank holds of its tasks by name: alphas, then first losses, means over initialisations.

    And what the bank in ``synthetic`` holds of GraphGym's synthetic tasks, which the embedded one does not know.
    """
    banks = (load_bank(), load_bank(Path(__file__).parent / "synthetic"))
    rows = pd.concat([bank.where(fisher=config.load("fisher", "losses").key).features for bank in banks])
    return {task: np.mean([a.mean(axis=1) for a in own["values"]], axis=0) for task, own in rows.groupby("task")}


@functools.cache
def embedded_bank() -> Bank:
    """The bank that atjax ships: records of the budget and the space that replays are about."""
    bank = load_bank().where(budget="quick")
    inside = [design in bank.space for design in frame_designs(bank.records)]
    return dataclasses.replace(bank, records=bank.records[inside])


def embedded() -> Recorded:
    """The bank that atjax ships; designs of the paper's space only."""
    return _recorded("embedded", embedded_bank(), whole=False)


def embedded_one_split() -> Recorded:
    """The same, where the bank knows of every task what the first split says: what the others add to a prior."""
    return _recorded("embedded-one-split", embedded_bank(), whole=False, told=lambda bank: splits(bank)[0])


def _grid() -> Path:
    return config.data_root() / "graphgym" / "design_v2_grid_round2" / "val.csv"


def graphgym(file: Path | None = None) -> Recorded:
    """GraphGym's grid on its 12 real tasks. Its one score both selects and reports."""
    bank = read_graphgym(file or _grid())
    real = bank.records["task"].isin(list(TASKS.values()))
    return _recorded("graphgym", dataclasses.replace(bank, records=bank.records[real]), whole=True)


def graphgym_32(file: Path | None = None) -> Recorded:
    """The same with the grid's 20 synthetic tasks, which had no part in any choice of priors."""
    return _recorded("graphgym-32", read_graphgym(file or _grid()), whole=True)


def nas_bench_graph() -> Recorded:
    """NAS-Bench-Graph on its eight full sets; a choice that the package lacks is looked up under its equivalent."""
    return _recorded("nas-bench-graph", read_nas_bench_graph(), whole=True, lookup=_equivalent)


def nas_bench_graph_72() -> Recorded:
    """The same, where the other tasks were run with 72 random designs only: searches leave what the bank has seen."""

    def few(bank: Bank) -> Bank:
        designs = np.sort(bank.records["design"].unique())
        chosen = np.random.default_rng(0).choice(designs, 72, replace=False)
        return dataclasses.replace(bank, records=bank.records[bank.records["design"].isin(chosen)])

    return _recorded("nas-bench-graph-72", read_nas_bench_graph(), whole=True, lookup=_equivalent, told=few)


def _equivalent(space: Space, designs: list) -> Callable[[np.ndarray], int]:
    held = {canonical(design): number for number, design in enumerate(designs)}
    every = list(space)
    numbers = np.array([held.get(canonical(design), -1) for design in every])
    radix = np.array([9**4, 9**3, 9**2, 9, 1])
    assert np.array_equal(space.numbers(every) @ radix, np.arange(len(every)))
    return lambda row: int(numbers[int(row @ radix)])


BANKS: dict[str, Callable[[], Recorded]] = {
    "embedded": embedded,
    "embedded-one-split": embedded_one_split,
    "graphgym": graphgym,
    "graphgym-32": graphgym_32,
    "nas-bench-graph": nas_bench_graph,
    "nas-bench-graph-72": nas_bench_graph_72,
}
