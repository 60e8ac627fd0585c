"""All that is scored on one bank: the statistics, and what they have to be better than."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import projection
import scores
from banks import Performances
from views import META, VIEWS, Feature, derived, similarity, together

from atjax.embedding import ProjectionConfig, normalize

DRAWS = 10
"""Of random features, of ties, of initialisations."""

COUNTS = (3, 6, 9)
"""Numbers of anchors, beside all 12."""

SUBSETS = 20
"""Random subsets of the anchors that a score is averaged over."""

PROJECTION, PAPER = "projection", "projection, paper's inputs"
LEVEL = "same level"
FIRST, RANDOM = "first {}", "any {}"


@dataclass(frozen=True, eq=False)
class Projected:
    """What a projection is trained on: inputs [n, T, F], and whether they are standardised first."""

    inputs: np.ndarray
    scale: bool = True


@dataclass(frozen=True, eq=False)
class Entry:
    """A similarity between tasks, to be scored.

    Attributes:
        kind: ``baseline``, ``statistic`` (what is tried), or ``anchors`` (a statistic of fewer of them).
        feature: Name.
        view: How features are compared.
        anchors: Which.
        orders: See `scores.order`, int8 [n, T, M]; scores are averaged over n.
        spread: Deviation of the score over draws of what is random in it; NaN if nothing is.
        projected: The inputs, if there is a projection.
    """

    kind: str
    feature: str
    view: str
    anchors: str
    orders: np.ndarray
    spread: float
    projected: Projected | None = None


class Scorer:
    """Makes entries on one bank, and scores them."""

    def __init__(self, bank: Performances, cache: Path | None, config: ProjectionConfig, quiet: bool = False) -> None:
        """
        Args:
            bank: The performances.
            cache: Folder of trained projections; None to do without projections.
            config: Settings of the projection.
            quiet: Say nothing of the progress.
        """
        self.bank, self.cache, self.config, self.quiet = bank, cache, config, quiet
        self.target = scores.order(bank.similarity)

    def _say(self, text: str) -> None:
        if not self.quiet:
            print(f"{self.bank.name}: {text}", flush=True)

    def spread(self, orders: np.ndarray) -> float:
        """Deviation of the score over the draws, [n, T, M]."""
        return float(np.std([self.score(one[None]) for one in orders])) if len(orders) > 1 else np.nan

    def score(self, orders: np.ndarray) -> float:
        """Mean over tasks and draws."""
        return float(scores.task_scores(orders, self.target).mean())

    # Entries

    def plain(self, kind: str, feature: Feature, view: str, anchors: str) -> Entry:
        """A feature as it is."""
        orders = scores.order(similarity(feature, view))
        if len(orders) == 1 and feature.values.shape[3] > 1:
            rng = np.random.default_rng(0)
            drawn = [scores.order(similarity(feature.resampled(rng), view))[0] for _ in range(DRAWS)]
            return Entry(kind, feature.name, view, anchors, orders, self.spread(np.stack(drawn)))
        return Entry(kind, feature.name, view, anchors, orders, self.spread(orders))

    def trained(self, kind: str, name: str, view: str, anchors: str, projected: Projected) -> list[Entry]:
        """A feature behind the learned projection; none if projections are not asked for."""
        if self.cache is None:
            return []
        found = projection.stored(
            self.cache,
            projected.inputs,
            self.bank.distance,
            range(projection.SEEDS),
            scale=projected.scale,
            config=self.config,
        )
        orders = scores.order(found).reshape(-1, *self.target.shape)
        return [Entry(kind, name, view, anchors, orders, self.spread(orders), projected)]

    def baselines(self) -> list[Entry]:
        """The level of a task, and random numbers."""
        tasks = len(self.bank.tasks)
        same = (self.bank.levels[:, None] == self.bank.levels).astype(float)
        rng = np.random.default_rng(0)
        ties = scores.order(same + rng.uniform(0, 0.5, (DRAWS, tasks, tasks)))
        noise = rng.normal(size=(DRAWS, tasks, 12))
        feature = Feature("random features", "random features", noise[:, :, :, None, None], ())
        level = np.unique(self.bank.levels)[:, None] == self.bank.levels
        return [
            Entry("baseline", LEVEL, "ties at random", "", ties, self.spread(ties)),
            Entry("baseline", LEVEL, "tau-b with ties", "", scores.order(same[None]), np.nan),
            *self.trained("baseline", LEVEL, PROJECTION, "", Projected(level.T[None].astype(float))),
            self.plain("baseline", feature, "cosine", ""),
            *self.trained("baseline", feature.name, PROJECTION, "", Projected(noise)),
        ]

    def of_feature(self, kind: str, feature: Feature) -> list[Entry]:
        """All views of a feature, with all of its anchors."""
        anchors = str(len(feature.anchors) or "")
        found = [self.plain(kind, feature, view, anchors) for view in VIEWS]
        found += self.trained(kind, feature.name, PROJECTION, anchors, Projected(feature.inputs))
        if feature.statistic == "alpha":
            found += self.trained(kind, feature.name, PAPER, anchors, Projected(normalize(feature.raw), scale=False))
        return found

    def of_subsets(self, feature: Feature) -> list[Entry]:
        """Views of a feature with fewer anchors: the first ones, and random ones."""
        total = len(feature.anchors)
        rng = np.random.default_rng(0)
        found = []
        for count in (count for count in COUNTS if count < total):
            first = feature.take(range(count))
            subsets = [feature.take(sorted(rng.choice(total, count, replace=False).tolist())) for _ in range(SUBSETS)]
            for view in VIEWS:
                found.append(self.plain("anchors", first, view, FIRST.format(count)))
                drawn = np.concatenate([scores.order(similarity(subset, view)) for subset in subsets])
                found.append(Entry("anchors", feature.name, view, RANDOM.format(count), drawn, self.spread(drawn)))
            found += self.trained("anchors", first.name, PROJECTION, FIRST.format(count), Projected(first.inputs))
        return found

    def all(self, features: Sequence[Feature]) -> list[Entry]:
        """Baselines, statistics, what is derived from them, and all of them side by side."""
        found = self.baselines()
        meta = [feature for feature in features if feature.statistic == META]
        base = [feature for feature in features if feature.statistic != META]
        for feature in meta:
            found += self.of_feature("baseline", feature)
        for number, feature in enumerate(base, start=1):
            found += self.of_feature("statistic", feature) + self.of_subsets(feature)
            for other in derived(feature):
                found += self.of_feature("statistic", other)
            self._say(f"{number} of {len(base)} statistics scored")
        for source in sorted({feature.source for feature in base}):
            parts = [feature for feature in base if feature.source == source]
            if len(parts) > 1:
                found += self.of_feature("statistic", together("all together", source, parts))
            for feature in meta if parts else []:
                found += self.of_feature("statistic", together("all and meta", source, [*parts, feature]))
        return found

    # Scores

    def table(
        self,
        entries: Sequence[Entry],
        *,
        permutations: int,
        resamples: int,
        projected_permutations: int,
        tested: int | Sequence[str],
    ) -> pd.DataFrame:
        """Scores of all entries with what chance gives, one row each.

        Args:
            entries: See `all`.
            permutations: Of the null without a projection.
            resamples: Of tasks, for intervals.
            projected_permutations: Of the null with a projection, which is trained anew for each.
            tested: Which projections are compared with that null: so many of the best and the meta-features, or the
                features of these names. The others count as tried, with p = 1.
        """
        levels = self.bank.levels
        rng = np.random.default_rng(1)
        moves = scores.shuffles(levels, permutations, rng)
        targets = scores.permuted(scores.scaled(self.target), moves)
        weights = scores.resamples(levels, resamples, rng)
        inside = scores.within(levels)
        rows, nulls = [], []
        for entry in entries:
            sample = scores.bootstrap(entry.orders, self.target, weights)
            each = np.array([scores.task_scores(one[None], self.target) for one in entry.orders])
            low, high = np.quantile(sample, [0.025, 0.975])
            rows.append(
                {
                    "bank": self.bank.name,
                    "kind": entry.kind,
                    "feature": entry.feature,
                    "view": entry.view,
                    "anchors": entry.anchors,
                    "score": each.mean(),
                    "over_tasks": each.std(),
                    "spread": entry.spread,
                    "low": low,
                    "high": high,
                    "within": scores.task_scores(entry.orders * inside, self.target * inside).mean(),
                }
            )
            shuffled = entry.kind != "anchors" and entry.projected is None
            nulls.append(scores.null_scores(entry.orders, targets) if shuffled else None)
        frame = pd.DataFrame(rows)
        for position in self._to_test(frame, entries, tested) if projected_permutations else []:
            nulls[position] = self._projected_null(entries[position], moves[:projected_permutations])
        return self._with_nulls(frame, entries, nulls)

    def _to_test(self, frame: pd.DataFrame, entries: Sequence[Entry], tested: int | Sequence[str]) -> list[int]:
        """Positions of projections whose null is worth its time."""
        projected = np.array([entry.projected is not None for entry in entries])
        if not isinstance(tested, int):
            return list(frame.index[projected & (frame["kind"] != "anchors") & frame["feature"].isin(tested)])
        best = frame[projected & (frame["kind"] == "statistic")].nlargest(tested, "score")
        return sorted({*best.index, *frame.index[projected & (frame["feature"] == META)]})

    def _projected_null(self, entry: Entry, moves: np.ndarray) -> np.ndarray:
        """Scores of a projection trained on shuffled features, with one seed each, [N].

        The score that they are compared with is a mean over seeds, which varies less: the p value is a little too high.
        """
        assert entry.projected is not None
        assert self.cache is not None
        found, last = [], len(moves)
        source = projection.null(
            self.cache,
            entry.projected.inputs[0],
            self.bank.distance,
            moves,
            scale=entry.projected.scale,
            config=self.config,
        )
        for number, one in enumerate(source, start=1):
            found.append(self.score(scores.order(one)[None]))
            if number % (4 * projection.CHUNK) == 0 or number == last:
                self._say(f"null of {entry.feature}, {entry.view}: {number} of {last}")
        return np.array(found)

    @staticmethod
    def _with_nulls(frame: pd.DataFrame, entries: Sequence[Entry], nulls: Sequence[np.ndarray | None]) -> pd.DataFrame:
        """p values, alone and for the number of statistics tried."""
        for name in ("null", "null_low", "null_high", "p", "p_holm", "p_max"):
            frame[name] = np.nan
        for position, null in enumerate(nulls):
            if null is not None:
                values = [null.mean(), *np.quantile(null, [0.05, 0.95])]
                frame.loc[position, ["null", "null_low", "null_high"]] = values
                frame.loc[position, "p"] = scores.p_value(frame["score"][position], null)
        tried = frame["kind"] == "statistic"
        if tried.any():
            frame.loc[tried, "p_holm"] = scores.holm(frame.loc[tried, "p"].fillna(1).to_numpy())
        with_projection = np.array([entry.projected is not None for entry in entries])
        families = [np.flatnonzero(tried & (with_projection == side)) for side in (False, True)]
        for family in families:
            known = [nulls[position] for position in family]
            if len(family) and all(null is not None for null in known):
                corrected = scores.max_t(frame["score"].to_numpy()[family], np.stack(known))
                both = 1 + (len(families[0]) > 0 and len(families[1]) > 0)  # two families, each at half the level
                frame.loc[family, "p_max"] = np.minimum(both * corrected, 1)
        return frame

    def ceilings(self) -> pd.DataFrame:
        """What a second look at the same performances scores, and a feature that knows the truth would."""
        rows = []
        inside = scores.within(self.bank.levels)
        for retest in self.bank.retests:
            orders = scores.order(retest.similarity)
            targets = [self.target] * len(orders) if retest.target is None else list(scores.order(retest.target))
            each = np.array([scores.task_scores(a[None], b) for a, b in zip(orders, targets)])
            alike = [scores.task_scores(a[None] * inside, b * inside).mean() for a, b in zip(orders, targets)]
            rows.append(
                {
                    "bank": self.bank.name,
                    "name": retest.name,
                    "score": each.mean(),
                    "over_tasks": each.std(),
                    "spread": each.mean(axis=1).std() if len(each) > 1 else np.nan,
                    "within": np.mean(alike),
                    "ceiling": retest.ceiling(each.mean()),
                }
            )
        return pd.DataFrame(rows)
