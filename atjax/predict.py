"""``python -m atjax.predict model=FOLDER path=PATH``: what a trained model says of new graphs, as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.console import Console
from scipy.special import softmax

from atjax import checkpoint, cli
from atjax.atomic import write_text
from atjax.errors import UserError
from atjax.raw import RawGraphs
from atjax.sources import custom


def main(cfg: DictConfig) -> None:
    """The job behind the command line; see ``conf/predict.yaml``."""
    output = cli.new_file(cfg.output, "output")
    model = checkpoint.load(cli.folder(cfg.model, "model"))
    path = str(cfg.path)
    raw = custom.read(path, encoding=model.encoding)
    try:
        table = predictions(model, raw)
    except UserError as error:
        raise custom.located(path, error) from None
    write_text(output, table.to_csv(index=False))
    level = model.info["level"]
    Console().print(f"{model.info['task']}: {len(table):,} {level}s predicted: {output}", markup=False, soft_wrap=True)


def predictions(model: checkpoint.TrainedModel, raw: RawGraphs) -> pd.DataFrame:
    """A row for each node or graph.

    The columns are ``id``; for classes ``prediction``, in the owner's words, and its ``probability``; for other tasks
    ``prediction``, as `atjax.checkpoint.TrainedModel.predict` gives it (the value of a regression, the probability of a
    label that is 0 or 1), or ``prediction 1`` and so on where there are several targets or labels.
    """
    graphs = model.encode(raw)
    assert model.encoding is not None  # or `encode` had refused
    classes, count = model.encoding.classes, raw.count(model.encoding.level)
    ids = raw.names.get(model.encoding.level, np.arange(count))
    if classes is None:
        values = model.predict(graphs)
        names = ["prediction"] if values.shape[1] == 1 else [f"prediction {n + 1}" for n in range(values.shape[1])]
        return pd.DataFrame({"id": ids} | dict(zip(names, values.T)))
    outputs = model.outputs(graphs)
    chosen = outputs.argmax(axis=1)
    probability = softmax(outputs, axis=1).max(axis=1)
    return pd.DataFrame(
        {"id": ids, "prediction": [classes[number] for number in chosen], "probability": probability.round(4)}
    )


if __name__ == "__main__":
    cli.run(main, "predict")
