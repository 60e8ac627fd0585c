"""A trained model on disk: an Orbax checkpoint of its variables, and `model.json` with all that rebuilds it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
import orbax.checkpoint as ocp
from scipy.special import expit

from atjax import interop
from atjax.atomic import lock
from atjax.batch import Batch, BatchIndex, Rows, deal, device_rows, gather, index_batches, shape_for, single_batch
from atjax.encoding import Encoding
from atjax.errors import UserError
from atjax.graphs import check_graphs
from atjax.model.gnn import GNN, Variables, apply, build, initialize
from atjax.raw import RawGraphs
from atjax.runtime import VERSION
from atjax.space import Design
from atjax.task import Graphs, Level, Loss, Task, check_pairs
from atjax.train import Fit
from atjax.values import as_array

_BATCH = 32

_MARGIN = 1 << 16
"""Bytes that the files of a saved model take beside twice its parameters."""
_TRIES = 20
"""How often `load` begins again where another process has saved a model meanwhile."""


@functools.partial(jax.jit, static_argnums=0)
def _apply(gnn: GNN, variables: Variables, batch: Batch) -> jax.Array:
    return apply(gnn, variables, batch)


@functools.partial(jax.jit, static_argnums=0)
def _apply_indexed(gnn: GNN, variables: Variables, rows: jax.Array | Rows, index: BatchIndex) -> jax.Array:
    return jax.lax.map(lambda one: apply(gnn, variables, gather(rows, one)), index)


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained GNN.

    Attributes:
        gnn: Its structure.
        variables: Parameters and BatchNorm statistics.
        info: What `model.json` holds: design, task, metric, scores, versions.
    """

    gnn: GNN
    variables: Variables
    info: dict[str, Any]

    def __repr__(self) -> str:
        known = self.info
        size = sum(leaf.size for leaf in jax.tree.leaves(self.variables.get("params", {})))
        scores = [f"{part} {known[part]:.4f}" for part in ("validation", "test") if known.get(part) is not None]
        measured = f", {known.get('metric')}: {', '.join(scores)}" if scores else ""
        design = Design(**known["design"]).key if "design" in known else self.gnn.design.key
        return f"TrainedModel({known.get('task')!r}, a {self.gnn.level} task: {design}, {size:,} parameters{measured})"

    def outputs(self, graphs: Any, pairs: Any = None) -> np.ndarray:
        """Logits or regression outputs, float32 [N, C], of every graph, every node or every pair.

        Args:
            graphs: Encoded graphs, or whatever `encode` takes; of an edge task, their edges are those along which
                messages pass.
            pairs: For an edge task, the pairs of nodes asked for, int [N, 2]; None for others.

        Raises:
            UserError: The graphs have other numbers of features of nodes or edges than the model was trained on, or
                weights where there were none, or none; they are broken or empty; pairs are missing, of no use, or name
                nodes that do not exist; outputs are not finite.
        """
        outputs = self._outputs(graphs if isinstance(graphs, Graphs) else self.encode(graphs), pairs)
        if (bad := np.flatnonzero(~np.isfinite(outputs).all(axis=1))).size:
            raise UserError(
                f"The outputs of {self.gnn.level} {bad[0]} are not finite; give features of the size that training had."
            )
        return outputs

    def _outputs(self, graphs: Graphs, pairs: Any) -> np.ndarray:
        if graphs.num_features != self.info["num_features"]:
            raise UserError(
                f"The model was trained on {self.info['num_features']} node features, but these graphs have "
                f"{graphs.num_features}; give them the same columns."
            )
        trained = _edge_words(self.info.get("num_edge_features", 0), self.info.get("weighted", False))
        here = _edge_words(graphs.num_edge_features, graphs.weights is not None)
        if here != trained:
            raise UserError(f"The model was trained on graphs {trained}, but these are {here}; give what those had.")
        check_graphs(graphs, "graphs")
        if (pairs is not None) != (self.gnn.level == "edge"):
            raise UserError(
                f"The model was trained on a task of level {self.gnn.level}; give pairs of nodes for level edge only."
            )
        if pairs is not None:
            pairs = as_array(pairs, "pairs")
            check_pairs(pairs, int(graphs.n_node.sum()), "pairs")
        if self.gnn.level != "graph":
            return np.asarray(_apply(self.gnn, self.variables, single_batch(graphs, pairs=pairs)))
        ids = np.arange(len(graphs.n_node))
        if (empty := np.flatnonzero(graphs.n_node == 0)).size:
            raise UserError(f"Graph {empty[0]} has no nodes; drop it.")
        if not len(ids):
            return np.zeros((0, self.gnn.num_outputs), np.float32)
        index = index_batches(graphs, deal(graphs, ids, _BATCH), shape_for(graphs, ids, _BATCH))
        raw = np.asarray(_apply_indexed(self.gnn, self.variables, device_rows(graphs.dense()), index))
        result = np.empty((len(ids), raw.shape[-1]), raw.dtype)
        result[index.graphs[index.graphs >= 0]] = raw[index.graphs >= 0]
        return result

    @functools.cached_property
    def encoding(self) -> Encoding | None:
        """How the graphs that it was trained on became features and classes; None for tasks that are no user's own."""
        fields = self.info.get("encoding")
        return None if fields is None else Encoding.from_dict(fields)

    def encode(self, graphs: Any) -> Graphs:
        """New graphs in the form that the model takes, with features made as those of its training.

        Args:
            graphs: Graphs of NetworkX, PyTorch Geometric or DGL, one or several; a mapping with arguments of
                `atjax.interop.from_arrays`, without labels; or what `atjax.read_graphs` gave.

        Raises:
            UserError: The graphs lack an attribute or hold a value that the training did not have, are broken, or the
                model's task was not made of a user's own graphs.
        """
        if self.encoding is None:
            raise UserError(
                f"The model was trained on {self.info['task']}, whose features are made by its own loader; give graphs "
                "of that task, such as atjax.load_task(...).graphs."
            )
        if not isinstance(graphs, RawGraphs):
            weight = [interop.WEIGHT] if self.encoding.weight is not None else []
            graphs = interop.read(
                graphs,
                [column.name for column in self.encoding.columns],
                [*(column.name for column in self.encoding.edge_columns), *weight],
            )
        return Graphs.from_encoded(self.encoding.apply(graphs))

    def predict(self, graphs: Any, pairs: Any = None) -> np.ndarray:
        """What the task asks for, of every graph, node or pair.

        Args:
            graphs: As in `outputs`, and so are the errors.
            pairs: As in `outputs`.

        Returns:
            The predicted class, int [N]; for ``binary_cross_entropy`` the probability that each label is 1, float32
            [N, C]; for ``mse`` the predicted targets, float32 [N, C].
        """
        outputs = self.outputs(graphs, pairs)
        if self.info["loss"] == "cross_entropy":
            return outputs.argmax(axis=1)
        return expit(outputs) if self.info["loss"] == "binary_cross_entropy" else outputs

    def predict_labels(self, graphs: Any) -> list[Any]:
        """Predicted label of every graph or node, as the owner of the task calls it: `predict`, in their words.

        Raises:
            UserError: As `encode`; or the task is a regression.
        """
        if self.encoding is None or self.encoding.classes is None:
            raise UserError(f"The task {self.info['task']} has no labels of its owner's; take predict.")
        return [self.encoding.classes[number] for number in self.predict(graphs)]


def _edge_words(features: int, weighted: bool) -> str:
    return f"with {features} edge features and {'with' if weighted else 'without'} edge weights"


def _check_room(folder: Path, variables: Variables | None) -> None:
    """Raise OSError, and remove the folder, if it has no room for a model: zeros are written, and removed again.

    Orbax writes in threads of its own, which end on a full disk with thousands of lines of tracebacks.
    """
    left = 2 * sum(leaf.nbytes for leaf in jax.tree.leaves(variables)) + _MARGIN
    zeros = folder / "zeros"
    try:
        with zeros.open("wb") as file:
            while left > 0:
                left -= file.write(bytes(min(left, 1 << 20)))
        zeros.unlink()
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise OSError(error.errno, error.strerror, str(folder.parent)) from None


def save(folder: Path, task: Task, outcome: Fit, versions: dict[str, str]) -> None:
    """Write a trained model into a folder, in place of what was there.

    Wherever it is stopped, `load` finds the old model or the new one, whole. Several processes may save into one folder
    at once: one waits for the other.

    Args:
        folder: The model's folder.
        task: The task it was trained on.
        outcome: A complete training.
        versions: Versions of the libraries.

    Raises:
        OSError: The folder cannot be written into, or has no room for the model.
    """
    with _alone(folder := folder.absolute()):
        _save(folder, task, outcome, versions)


def _save(folder: Path, task: Task, outcome: Fit, versions: dict[str, str]) -> None:
    _recover(folder)
    new, old = _beside(folder)
    new.mkdir(parents=True)
    _check_room(new, outcome.variables)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(new / "variables", outcome.variables)
    info = {
        "design": outcome.design.as_dict(),
        "hidden": outcome.schedule.hidden,
        "level": task.level,
        "loss": task.loss,
        "metric": task.metric,
        "num_features": task.graphs.num_features,
        "num_edge_features": task.graphs.num_edge_features,
        "weighted": task.graphs.weights is not None,
        "num_outputs": task.num_outputs,
        "task": task.name,
        "encoding": None if task.encoding is None else task.encoding.as_dict(),
        "content_hash": task.content_hash,
        "seed": outcome.seed,
        "budget": outcome.budget,
        "epoch": outcome.best_epoch,
        "validation": outcome.validation,
        "test": outcome.test,
        "versions": versions,
    }
    (new / "model.json").write_text(json.dumps(info, indent=1) + "\n")
    try:
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
    finally:
        _recover(folder)


def recover(folder: Path) -> None:
    """Put back the model that a stopped `save` had moved out of a folder, and remove what else it left."""
    with _alone(folder := folder.absolute()):
        _recover(folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process saves into a folder, and keep others waiting.

    A kernel lock on a file that is removed at the end; who waited for it looks whether it is still the one there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    with contextlib.ExitStack() as held:
        while True:
            file = held.enter_context(path.open("ab"))
            lock(file.fileno(), wait=True)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    break
            held.close()
        held.callback(path.unlink, missing_ok=True)
        yield


def _recover(folder: Path) -> None:
    new, old = _beside(folder)
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)


def _beside(folder: Path) -> tuple[Path, Path]:
    """Where `save` keeps the new model until it is whole, and the old one until the new one has its place."""
    return folder.parent / f".{folder.name}.new", folder.parent / f".{folder.name}.old"


def load(path: str | Path) -> TrainedModel:
    """Load a trained model.

    Args:
        path: The folder ``best_model`` of a search, or the run directory that holds it.

    Raises:
        UserError: There is no model, or it is broken, or of a version that this one cannot read.

    Example:
        >>> model = atjax.load("runs/cox2/random-auto-quick-seed0")
        >>> model.predict(atjax.load_task("cox2").graphs)
    """
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"The path of a model is of type {type(path).__name__}; give that of a folder.")
    given = Path(path).absolute()
    for _ in range(_TRIES):
        places = [place for model in (given, given / "best_model") for place in (model, _beside(model)[1])]
        folder = next((place for place in places if (place / "model.json").exists()), None)
        if folder is None:  # or it was moved while we looked for it
            continue
        before, info, fault = _written(folder), None, None
        try:
            info = json.loads((folder / "model.json").read_text())
            model = _rebuilt(folder, info)
        except Exception as error:  # what stands in a damaged file, or in one of another version, may be anything
            fault = error
        if _written(folder) != before:
            continue
        if fault is not None:
            raise UserError(_fault(folder, info)) from fault
        return model
    raise UserError(f"There is no model at {path}; give the run folder of a search, or its best_model.")


def _written(folder: Path) -> tuple[int, int] | None:
    """Tells a model from one that another process has put in its place; None if there is none."""
    try:
        status = (folder / "model.json").stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _rebuilt(folder: Path, info: dict[str, Any]) -> TrainedModel:
    """The model in a folder; raises whatever is raised where something is missing or makes no sense."""
    if info["level"] not in get_args(Level) or info["loss"] not in get_args(Loss) or "task" not in info:
        raise ValueError("no level, loss or task that is known")
    size = {name: info[name] for name in ("hidden", "level", "num_outputs")}
    gnn = build(Design(**info["design"]), **size)
    like = initialize(gnn, info["num_features"], jax.random.key(0), info.get("num_edge_features", 0))
    with ocp.StandardCheckpointer() as checkpointer:
        model = TrainedModel(gnn, checkpointer.restore(folder / "variables", like), info)
    _ = model.encoding  # read now, so that a broken one is told now
    return model


def _fault(folder: Path, info: Any) -> str:
    """A sentence on a model that cannot be read, from what its `model.json` says, if that can be."""
    versions = info.get("versions") if isinstance(info, dict) else None
    version = versions.get("atjax") if isinstance(versions, dict) else None
    if version in (None, VERSION):
        return f"The model in {folder} is broken or incomplete; run the search again."
    return (
        f"The model in {folder} is of atjax {version} and cannot be read by {VERSION}; take that version, or run the "
        "search again."
    )
