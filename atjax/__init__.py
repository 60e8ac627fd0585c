"""AutoTransfer in JAX: AutoML for graph neural networks that transfers design knowledge between tasks."""

__version__ = "0.1.0"
