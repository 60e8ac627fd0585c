"""How the threshold of the prior was chosen: searches replayed on the recorded trainings of the embedded bank.

    python experiments/results/replay.py

Each task of the bank is left out in turn. Designs are drawn without repeats from its 36 recorded ones, with weights
from the transferred prior or all alike; the score is the best validation score among the draws. Test scores are not
read.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd

from atjax import config
from atjax.bank.records import frame_designs, goodness
from atjax.bank.store import Bank, load_bank
from atjax.prior import PriorConfig, prior_from_bank
from atjax.space import Design, Probabilities, Space

REPLAYS = 400
THRESHOLDS = (0.2, 0.5, 0.8, 1.0, 1.2, 2.0)


def weight(design: Design, probabilities: Probabilities) -> float:
    """Probability of a design: the product over its active dimensions."""
    chosen = design.as_dict()
    return math.prod(probabilities[name][choice] for name, choice in chosen.items() if choice is not None)


def best_of(values: np.ndarray, weights: np.ndarray, trials: int) -> float:
    """Mean over replays of the best of ``trials`` values drawn without repeats, in percent."""
    share = weights / weights.sum()
    draws = [np.random.default_rng(seed).choice(len(values), trials, False, share) for seed in range(REPLAYS)]
    return 100 * float(np.mean([values[draw].max() for draw in draws]))


def replay(bank: Bank, content_hash: str, space: Space, settings: dict[str, PriorConfig], fisher: str) -> dict:
    """One left-out task: the best validation score by method."""
    own = bank.records[bank.records["content_hash"] == content_hash]
    row = bank.features[bank.features["content_hash"] == content_hash].iloc[0]
    designs, values = frame_designs(own), goodness(own).to_numpy()
    alike = np.ones(len(values))
    scores: dict = {
        "task": row["task"],
        "uniform, 3": best_of(values, alike, 3),
        "uniform, 10": best_of(values, alike, 10),
    }
    for name, setting in settings.items():
        prior, _ = prior_from_bank(
            row["alphas"].mean(axis=1),
            row["level"],
            bank,
            space,
            exclude_hash=content_hash,
            exclude_name=row["task"],
            fisher=fisher,
            budget="quick",
            config=setting,
        )
        weights = np.array([weight(design, prior.probabilities) for design in designs])
        scores[name] = best_of(values, weights, 3)
    return scores


def main() -> None:
    """Print the table in Markdown."""
    bank, space = load_bank(), config.load("space", "paper")
    fisher, prior = config.load("fisher", "default"), config.load("prior", "product")
    settings = {f"threshold {limit:g}": dataclasses.replace(prior, threshold=limit) for limit in THRESHOLDS}
    settings["threshold 1, same level"] = dataclasses.replace(prior, threshold=1.0, same_level=True)
    rows = pd.DataFrame([replay(bank, task, space, settings, fisher.key) for task in bank.tasks]).set_index("task")
    rows.loc["mean"] = rows.mean()
    print("| task | " + " | ".join(rows.columns) + " |\n|" + "---|" * (1 + len(rows.columns)))
    for task, scores in rows.iterrows():
        print(f"| {task} | " + " | ".join(f"{score:.1f}" for score in scores) + " |")


if __name__ == "__main__":
    main()
