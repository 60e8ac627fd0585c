"""Which statistic says which tasks like the same designs? Features, scores, table and figure.

    python experiments/statistics/run.py
    python experiments/statistics/run.py --score-only --projection-permutations 0

Computes the features of `features.PLANS` that are missing (features.py takes other estimators, anchors and seeds, and
all that stands in the folder is scored), then scores all on both banks. May be killed and started again: features and
trained projections are kept. GraphGym's results are looked for in the data folder (ATJAX_DATA), and left out where they
are not.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

import features
import report
from banks import Performances, embedded, graphgym
from entries import Scorer
from views import FEATURES, Feature, load, of_bank

from atjax import compilation, config, load_bank
from atjax.errors import UserError

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "runs" / "statistics"


def found(bank: Performances, folder: Path) -> tuple[list[Feature], list[str]]:
    """The stored features of a bank's tasks; the bank's own alphas stand in where these settings' were not computed."""
    stored, lacks = load(folder, bank.tasks)
    if not any((feature.statistic, feature.source) == ("alpha", features.PLANS[0].source) for feature in stored):
        stored += of_bank(load_bank(), bank.tasks)
    return stored, lacks


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--score-only", action="store_true", help="compute no features")
    parser.add_argument("--no-projection", action="store_true", help="do without learned projections")
    parser.add_argument("--permutations", type=int, default=20000, help="of the null without projection")
    parser.add_argument("--projection-permutations", type=int, default=1000, help="of the null with it; 0 for none")
    parser.add_argument("--tested", type=int, default=5, help="projections that are compared with their null")
    parser.add_argument("--test", nargs="+", metavar="FEATURE", help="compare the projections of these instead")
    parser.add_argument("--resamples", type=int, default=2000, help="of the tasks, for intervals")
    parser.add_argument("--features", type=Path, default=FEATURES, help="folder of the features")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the trained projections")
    parser.add_argument("--out", type=Path, default=HERE, help="where the table and the figure go")
    chosen = parser.parse_args()
    start = time.perf_counter()
    if not chosen.score_only:
        compilation.keep_compiled(config.cache_dir() / "xla")  # plans share programs
        for plan in features.PLANS:
            features.compute(plan, features.tasks(), folder=chosen.features)
    banks = [embedded()]
    try:
        banks.append(graphgym())
    except UserError as error:
        print(f"GraphGym's grid is left out. {error}")
    frames, ceilings, sizes, lacks = {}, {}, {}, {}
    for bank in banks:
        stored, lacks[bank.name] = found(bank, chosen.features)
        cache = None if chosen.no_projection else chosen.cache
        scorer = Scorer(bank, cache, config.load("projection", "default"))
        ceilings[bank.name] = scorer.ceilings()
        frames[bank.name] = scorer.table(
            scorer.all(stored),
            permutations=chosen.permutations,
            resamples=chosen.resamples,
            projected_permutations=chosen.projection_permutations,
            tested=chosen.test or chosen.tested,
        )
        levels = ", ".join(f"{sum(bank.levels == level)} {level}" for level in sorted(set(bank.levels)))
        sizes[bank.name] = f"{len(bank.tasks)} tasks ({levels}), {len(bank.values)} designs: {', '.join(bank.tasks)}."
    command = shlex.join(["python", "experiments/statistics/run.py", *sys.argv[1:]])
    text = report.markdown(frames, ceilings, sizes, lacks, command)
    report.write(chosen.out, text, frames, ceilings)
    print(text)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
