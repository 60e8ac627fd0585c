"""``python -m atjax.predict model=FOLDER path=PATH``: what a trained model says of new graphs, as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.console import Console
from scipy.special import softmax

from atjax import checkpoint, cli
from atjax.atomic import write_text
from atjax.raw import RawGraphs
from atjax.sources import custom


def main(cfg: DictConfig) -> None:
    """The job behind the command line; see ``conf/predict.yaml``."""
    output = cli.new_file(cfg.output, "output")
    model = checkpoint.load(cli.folder(cfg.model, "model"))
    table = predictions(model, custom.read(str(cfg.path), label=str(cfg.label)))
    write_text(output, table.to_csv(index=False))
    level = model.info["level"]
    Console().print(f"{model.info['task']}: {len(table):,} {level}s predicted: {output}", markup=False, soft_wrap=True)


def predictions(model: checkpoint.TrainedModel, raw: RawGraphs) -> pd.DataFrame:
    """A row for each node or graph.

    The columns are ``id``; for classes ``prediction``, in the owner's words, and its ``probability``; for a regression
    ``prediction``, or ``prediction 1`` and so on where there are several targets.
    """
    outputs = model.outputs(model.encode(raw))
    assert model.encoding is not None  # or `encode` had refused
    ids = raw.names.get(model.encoding.level, np.arange(len(outputs)))
    classes = model.encoding.classes
    if classes is None:
        names = ["prediction"] if outputs.shape[1] == 1 else [f"prediction {n + 1}" for n in range(outputs.shape[1])]
        return pd.DataFrame({"id": ids} | dict(zip(names, outputs.T)))
    chosen = outputs.argmax(axis=1)
    probability = softmax(outputs, axis=1).max(axis=1)
    return pd.DataFrame(
        {"id": ids, "prediction": [classes[number] for number in chosen], "probability": probability.round(4)}
    )


if __name__ == "__main__":
    cli.run(main, "predict")
