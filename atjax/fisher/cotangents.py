"""What is sent backward from the outputs of an example: factors of the covariance of its score.

With logits z(x), J = dz/dtheta and y drawn from the model, the Fisher information of an example is

    E_y [s s^T] = J^T (diag(p) - p p^T) J = sum over l of (J^T l) (J^T l)^T,    s = J^T (e_y - p),

for the columns l of any L with L L^T = diag(p) - p p^T. Outputs that are each by themselves have independent scores,
so their covariance is diagonal: diag(p (1 - p)) for C binary labels of probabilities p, the identity for C targets with
a Gaussian likelihood of variance 1. One of three kinds of columns is taken:

* ``exact``: the C - 1 columns of a triangular L (Tanabe and Sagae, 1992): one backward pass less an example than one
  for each class, half for two classes. C columns sqrt(p_c (1 - p_c)) e_c for binary labels, e_c for targets.
* ``sampled``: the single column e_y - p (or y - p) of a label drawn from p: right on average over draws.
* ``observed``: that of the label in the data: the empirical Fisher, which is another matrix (Kunstner et al., 2019).

Labels that are missing in the data change only what is observed, where their entries are 0: the Fisher information is
that of all outputs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from atjax.task import Loss

Kind = Literal["exact", "sampled", "observed"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cotangents:
    """The columns l of every example.

    Attributes:
        labels: Labels by example id, int [N] or float [N, C].
        key: Of what is drawn; an example's own draw depends on its id alone.
        scale: Multiplies all columns, so that squares of gradients stay within single precision; a scalar.
        loss: The loss.
        kind: Which columns.
    """

    labels: jax.Array
    key: jax.Array
    scale: jax.Array
    loss: Loss = dataclasses.field(metadata={"static": True})
    kind: Kind = dataclasses.field(metadata={"static": True})

    def keyed(self, key: jax.Array) -> Cotangents:
        """The same with another key."""
        return dataclasses.replace(self, key=key)

    def scaled(self, scale: jax.Array) -> Cotangents:
        """The same with another scale."""
        return dataclasses.replace(self, scale=scale)

    def of(self, outputs: jax.Array, example: jax.Array) -> jax.Array:
        """Columns l of one example as rows, [L, C], from its outputs [C] and its id; all 0 for an id below 0."""
        return self.scale * (example >= 0) * self._unscaled(outputs, example)

    def _unscaled(self, outputs: jax.Array, example: jax.Array) -> jax.Array:
        if self.kind == "exact":
            return label_directions(self.loss, outputs)
        if self.kind == "observed":
            return _residual(self.loss, outputs, self.labels[example])
        key = jax.random.fold_in(self.key, example)
        if self.loss == "mse":
            return jax.random.normal(key, (1, *outputs.shape), outputs.dtype)
        if self.loss == "binary_cross_entropy":
            drawn = jax.random.bernoulli(key, jax.nn.sigmoid(outputs))
            return _residual(self.loss, outputs, drawn.astype(outputs.dtype))
        return _residual(self.loss, outputs, jax.random.categorical(key, outputs))


def _residual(loss: Loss, outputs: jax.Array, label: jax.Array) -> jax.Array:
    """The gradient of log p(label) with respect to the outputs, as a row [1, C]; 0 where a label is NaN."""
    if loss == "cross_entropy":
        return (jax.nn.one_hot(label, outputs.shape[0], dtype=outputs.dtype) - jax.nn.softmax(outputs))[None]
    mean = outputs if loss == "mse" else jax.nn.sigmoid(outputs)
    return jnp.where(jnp.isnan(label), 0, label - mean)[None]


def num_directions(loss: Loss, num_outputs: int) -> int:
    """L, the columns that `label_directions` gives for C outputs."""
    return num_outputs - 1 if loss == "cross_entropy" else num_outputs


def label_directions(loss: Loss, outputs: jax.Array) -> jax.Array:
    """The factor L of the covariance of the score with respect to the outputs.

    Args:
        loss: The loss.
        outputs: Logits, or regression outputs, [C].

    Returns:
        The columns l as rows: [C - 1, C] with L L^T = diag(p) - p p^T; or a diagonal matrix [C, C].
    """
    count = outputs.shape[0]
    if loss == "mse":
        return jnp.eye(count, dtype=outputs.dtype)
    if loss == "binary_cross_entropy":
        # By logarithms, for p rounds to 1 where 1 - p still counts.
        return jnp.diag(jnp.exp(0.5 * (jax.nn.log_sigmoid(outputs) + jax.nn.log_sigmoid(-outputs))))
    p = jax.nn.softmax(outputs)
    # rest[j] = p_j + p_{j+1} + ..., summed from the end, so that small tails keep their digits.
    rest = jnp.append(jnp.cumsum(p[::-1])[::-1], 0)
    after, tiny = rest[1:-1], jnp.finfo(p.dtype).tiny
    p_j, here = p[:-1], rest[:-2]
    diagonal = jnp.sqrt(p_j * after / jnp.maximum(here, tiny))
    scale = jnp.sqrt(p_j / jnp.maximum(here, tiny)) / jnp.sqrt(jnp.maximum(after, tiny))
    below = jnp.arange(count)[None, :] > jnp.arange(count - 1)[:, None]
    return jnp.where(below, -scale[:, None] * p[None, :], 0) + jnp.pad(jnp.diag(diagonal), ((0, 0), (0, 1)))
