"""AutoTransfer in JAX: AutoML for graph neural networks that transfers design knowledge between tasks."""

from atjax import search
from atjax.api import load_bank, load_task, read_graphs, task_feature, transfer_prior
from atjax.budget import Budget
from atjax.checkpoint import TrainedModel, load
from atjax.errors import UserError
from atjax.links import link_prediction
from atjax.runtime import VERSION as __version__
from atjax.space import Design, Space, paper_space
from atjax.task import Graphs, Split, Task

__all__ = [
    "Budget",
    "Design",
    "Graphs",
    "Space",
    "Split",
    "Task",
    "TrainedModel",
    "UserError",
    "__version__",
    "link_prediction",
    "load",
    "load_bank",
    "load_task",
    "paper_space",
    "read_graphs",
    "search",
    "task_feature",
    "transfer_prior",
]
