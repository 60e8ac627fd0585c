"""What HyperBand saves, and what it costs: searches replayed on the learning curves of the embedded bank.

    python experiments/transfer/hyperband.py

Every task is left out in turn. The same designs are drawn with the same seed, and trained to the end or stopped by
`search.algorithm=hyperband`; beside them as many of these designs, trained to the end, as HyperBand's epochs would have
paid for. A trial is picked by validation and reported by test. Writes a table of every task, and prints it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
from priors import Source, prepare, product
from recorded import Recorded, embedded, embedded_bank

from atjax.atomic import write_text
from atjax.metrics import larger_is_better
from atjax.samplers import DesignSampler, Random, table_of
from atjax.search.hyperband import HyperBand, Judge
from atjax.search.loop import designs

OUT = Path(__file__).parent / "results" / "hyperband.md"
PRIORS = ("uniform", "product")
SHOWN = [1, 3, 5, 6]
"""Test scores and the share of epochs, of what `measured` has."""


class Trained(NamedTuple):
    """What a bank recorded of one training.

    Attributes:
        state: How it ended.
        epochs: Those recorded; the last are all.
        curve: Validation scores there.
        validation: Score of the best epoch, as are the next two.
        validation_loss: Decides between equals.
        test: For reports.
    """

    state: str
    epochs: np.ndarray
    curve: np.ndarray
    validation: float
    validation_loss: float
    test: float

    @property
    def length(self) -> int:
        """Epochs in all."""
        return int(self.epochs[-1]) if len(self.epochs) else 0


def trainings(task: str) -> list[dict[str, Trained]]:
    """Of every split of a task, by design; more is better on all tasks of the bank."""
    records = embedded_bank().records
    own = records[records["task"] == task]
    assert all(map(larger_is_better, own["metric"]))
    columns = ("state", "epochs", "validation_curve", "validation", "validation_loss", "test")
    return [
        {design: Trained(*values) for design, *values in zip(part["design"], *(part[name] for name in columns))}
        for _, part in own.groupby("seed")
    ]


class Outcome(NamedTuple):
    """One search: the trainings in order, and the epochs that HyperBand gave each."""

    trained: list[Trained]
    given: list[int]


def search(bank: Recorded, source: Source, prior: str, known: dict[str, Trained], seed: int, trials: int) -> Outcome:
    """Begin so many trainings, some of them stopped."""
    uniform = table_of(bank.space, bank.space.uniform())
    rule = Random(bank.candidates(source.task, seed), uniform if prior == "uniform" else product(source, "fisher"))
    study = optuna.create_study(
        study_name=f"seed {seed}",
        direction="maximize",
        sampler=DesignSampler(rule, bank.space, seed),
        pruner=HyperBand(),
    )
    done = Outcome([], [])
    for _, (trial, design) in zip(range(trials), designs(study, bank.space)):
        training = known[design.key]
        done.trained.append(training)
        done.given.append(followed(study, trial, training))
    return done


def followed(study: optuna.Study, trial: optuna.Trial, training: Trained) -> int:
    """Tell a study of a training as it goes; how many epochs it is given."""
    judge = Judge(trial, study.direction)
    for epoch, score in zip(training.epochs[:-1], training.curve):
        if judge(int(epoch), training.length, float(score)):
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return int(epoch)
    if training.state == "complete":
        study.tell(trial, training.validation)
    else:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return training.length


def picked(trained: Sequence[Trained]) -> tuple[float, float]:
    """Validation and test score of the best by validation, then by validation loss, then the earliest; NaN if none."""
    complete = [t for t in trained if t.state == "complete"]
    if not complete:
        return np.nan, np.nan
    best = min(complete, key=lambda t: (-t.validation, t.validation_loss))
    return best.validation, best.test


def measured(outcome: Outcome) -> tuple[float, ...]:
    """Validation and test score of all to the end, of HyperBand, of what its epochs pay for; its share of epochs."""
    trained, given = outcome
    kept = [training for training, epochs in zip(trained, given) if epochs == training.length]
    total = np.cumsum([training.length for training in trained])
    paid = max(1, int(np.searchsorted(total, sum(given), side="right")))
    return *picked(trained), *picked(kept), *picked(trained[:paid]), sum(given) / total[-1]


def table(bank: Recorded, prior: str, seeds: int, trials: int) -> list[str]:
    """A row for each task and one for their mean, in Markdown; percent, mean and deviation over seeds."""
    rows, means = [], []
    for task, name in enumerate(bank.tasks):
        source, known = prepare(bank, task), trainings(name)
        found = [
            measured(search(bank, source, prior, known[bank.split(seed) % len(known)], seed, trials))
            for seed in range(seeds)
        ]
        values = 100 * np.array(found)[:, SHOWN]
        means.append(100 * np.mean(found, axis=0))
        rows.append([name, *(f"{value.mean():.1f} ± {value.std():.1f}" for value in values.T)])
        print(f"{prior}, {name}: {', '.join(rows[-1][1:])}", flush=True)
    every = np.array(means)
    rows.append(["mean over tasks", *(f"{mean:.1f}" for mean in every.mean(axis=0)[SHOWN])])
    head = ["task", "all to the end", "hyperband", "as many as its epochs pay for", "its share of epochs"]
    lines = [f"**{prior}**, {trials} trials begun, {seeds} seeds: test score of the best by validation, in percent", ""]
    lines += ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    lines += ["", "| HyperBand against | validation | test |", "|---|---|---|"]
    for against, other in (("all to the end", 0), ("as many as its epochs pay for", 4)):
        gains = every[:, 2:4] - every[:, other : other + 2]
        errors = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
        told = [f"{gain:+.2f} ± {error:.2f}" for gain, error in zip(gains.mean(axis=0), errors)]
        lines.append("| " + " | ".join([against, *told]) + " |")
    return [*lines, ""]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    bank = embedded()
    lines = [line for prior in PRIORS for line in table(bank, prior, chosen.seeds, chosen.trials)]
    text = "\n".join(lines)
    write_text(chosen.out, text)
    print(text)


if __name__ == "__main__":
    main()
