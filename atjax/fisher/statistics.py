"""Statistics of the Fisher information: what a task feature is made of.

A statistic is a pure function of one argument, whose name says what it reads: a reduced form of F, ``moments``,
``diagonal``, ``gram`` or ``factors`` (see `atjax.fisher.moments`); or, for comparison, what a little learning tells,
``readout`` or ``descent`` (see `atjax.fisher.learning`). It sees one model, runs under ``jit`` and ``vmap``, and
returns an `Estimate`, a scalar or [K] with its standard error. A function of any importable module will do (see
`resolve`):

    def largest(diagonal: Diagonal) -> Estimate:
        return diagonal.estimate(lambda d, square: jnp.max(d) / jnp.mean(d))

Each is exact where every training example was used; what is said of n is about a sample of n of them. "Scale-free":
F times a constant gives the same; what is not is a natural logarithm, to which F times c adds log c, or of a square
2 log c. Where the Fisher information is 0, what is scale-free is NaN, and these logarithms are -inf.
"""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from atjax.config import choose_from
from atjax.errors import UserError
from atjax.fisher.learning import Descent, Readout
from atjax.fisher.moments import Diagonal, Estimate, Factors, Gram, Moments, Statistic
from atjax.fisher.own import imported

FORMS = ("moments", "diagonal", "gram", "factors", "readout", "descent")
"""What statistics read, as their arguments are called."""

DAMPING = 0.01
"""Of `log_determinant`, relative to tr F: smaller eigenvalues hardly count."""


# Of the diagonal's moments


def alpha(moments: Moments) -> Estimate:
    """P sum_k F_kk^2 / (sum_k F_kk)^2 = m2 / m1^2, at least 1; a scalar, scale-free (paper, section 4.2).

    Of a sample, m1 and m2 are unbiased, and their ratio is biased by O(1/n). It is clipped at 1, which an unbiased m2
    can fall short of by chance; the standard error is that of the unclipped ratio.
    """
    size = jnp.sum(moments.sizes)
    ratio = moments.estimate(lambda trace, square: size * jnp.sum(square) / jnp.sum(trace) ** 2)
    return Estimate(jnp.maximum(ratio.value, 1), ratio.error)


def log_alpha(moments: Moments) -> Estimate:
    """log of `alpha`, at least 0; its standard error by the delta method."""
    value, error = alpha(moments)
    return Estimate(jnp.log(value), error / value)


def layer_trace(moments: Moments) -> Estimate:
    """log of the trace of F over each message-passing layer, [K], one a layer in the order of the parameters.

    The traces of a sample are unbiased, and their logs low by half the squared standard error.
    """
    return moments.estimate(lambda trace, square: jnp.log(trace))


def layer_alpha(moments: Moments) -> Estimate:
    """`alpha` of the parameters of each message-passing layer alone, [K], one a layer, at least 1, scale-free.

    Bias and clipping are those of `alpha`; a layer without information is NaN.
    """
    value, error = moments.estimate(lambda trace, square: moments.sizes * square / trace**2)
    return Estimate(jnp.maximum(value, 1), error)


# Of the diagonal itself


def task2vec(diagonal: Diagonal) -> Estimate:
    """The diagonal averaged over each output unit of each linear map, scaled to norm 1; [K], scale-free.

    After Task2Vec (Achille et al., 2019, section 3), which averages over the weights of each filter of a trained
    probe network: a kernel [d, H] gives H numbers, its column means. Units of random models compare between tasks,
    since one seed gives one set of weights. What is no linear map (BatchNorm, slopes) is left out.

    The averages of a sample are unbiased; scaled to norm 1 they are low by O(1/n), since a noisy vector is too long.
    """

    def vector(d: jax.Array, square: jax.Array) -> jax.Array:
        blocks = [jnp.mean(block, axis=0) for block in diagonal.by_layer(d) if block.ndim == 2]
        whole = jnp.concatenate(blocks)
        return whole / jnp.linalg.norm(whole)

    return diagonal.estimate(vector)


# Of the full spectrum. What needs eigenvalues decomposes K [M, M] once, and once more for each block left out


def full_alpha(gram: Gram) -> Estimate:
    """P tr F^2 / (tr F)^2, from 1 to P: `alpha` of all of F, as defined in the paper's equation 1; scale-free.

    From tr F = tr K / n and tr F^2 = |K|^2 / n^2 (Papyan, 2019); no eigenvalue is needed. Of a sample, both traces are
    unbiased (products of a unit with itself are weighted as they occur in the population), and their ratio is biased
    by O(1/n). Clipped at 1 as `alpha` is.
    """

    def ratio(products: jax.Array, count: jax.Array) -> jax.Array:
        return gram.parameters * gram.second_moment(products, count) / (jnp.trace(products) / count) ** 2

    value, error = gram.estimate(ratio)
    return Estimate(jnp.maximum(value, 1), error)


def participation_ratio(gram: Gram) -> Estimate:
    """(tr F)^2 / tr F^2, from 1 to the rank of F: how many equal eigenvalues would be as spread out; scale-free.

    P / `full_alpha` (the inverse participation ratio of the spectrum; Litwin-Kumar et al., 2017), with a bias of
    O(1/n) for the ratio; the standard error is by the delta method.
    """
    value, error = full_alpha(gram)
    return Estimate(gram.parameters / value, gram.parameters * error / value**2)


def stable_rank(gram: Gram) -> Estimate:
    """tr F / lambda_max, from 1 to the rank of F: of the score rows, |R|_F^2 / |R|_2^2; scale-free.

    Rudelson and Vershynin (2007). Of a sample it is low by O(1/n), for lambda_max is too large on average.
    """

    def ratio(products: jax.Array, count: jax.Array) -> jax.Array:
        eigenvalues = _eigenvalues(products, count)
        return jnp.sum(eigenvalues) / eigenvalues[-1]

    return gram.estimate(ratio)


def largest_eigenvalue(gram: Gram) -> Estimate:
    """log of the largest eigenvalue of F; a scalar.

    Of a sample, lambda_max is too large on average, by O(1/n): it is convex in F.
    """
    return gram.estimate(lambda products, count: jnp.log(_eigenvalues(products, count)[-1]))


def spectral_entropy(gram: Gram) -> Estimate:
    """-sum_k p_k log p_k with p_k = lambda_k / tr F, from 0 to log of the rank of F, in nats; scale-free.

    Its exponential is the effective rank of Roy and Vetterli (2007). Of a sample it is too low, by O(1/n) once n is
    well above the effective rank, and it can never exceed log M: compare equal sample sizes.
    """

    def entropy(products: jax.Array, count: jax.Array) -> jax.Array:
        eigenvalues = _eigenvalues(products, count)
        return jnp.sum(jax.scipy.special.entr(eigenvalues / jnp.sum(eigenvalues)))

    return gram.estimate(entropy)


def log_determinant(gram: Gram) -> Estimate:
    """log det(I + F / epsilon) = sum_k log(1 + lambda_k / epsilon) with epsilon = `DAMPING` tr F; scale-free.

    The log-determinant of Laplace's evidence (MacKay, 1992), from the at most M eigenvalues that are not 0. Damping
    relative to tr F makes it scale-free, and unlike the mean of the nonzero eigenvalues, tr F / rank, tr F does not
    depend on how many examples were sampled. From log(1 + 1 / DAMPING) = 4.6 for rank 1 to 1 / DAMPING for a flat
    spectrum. Of a sample it is too low, by O(1/n): it is concave in F at a given trace.
    """

    def total(products: jax.Array, count: jax.Array) -> jax.Array:
        eigenvalues = _eigenvalues(products, count)
        return jnp.sum(jnp.log1p(eigenvalues / (DAMPING * jnp.sum(eigenvalues))))

    return gram.estimate(total)


def _eigenvalues(products: jax.Array, count: jax.Array) -> jax.Array:
    """Eigenvalues of F that can be other than 0, ascending, [M]; those that rounding made negative are 0."""
    return jnp.maximum(jnp.linalg.eigvalsh(products), 0) / count


# Of the Kronecker factors: K-FAC takes F to be block-diagonal over linear maps, with blocks A_l (x) B_l


def kfac_alpha(factors: Factors) -> Estimate:
    """P sum_l tr(A_l^2) tr(B_l^2) / (sum_l tr A_l tr B_l)^2, at least 1: `full_alpha` under K-FAC; scale-free.

    With P the parameters of the linear maps (Martens and Grosse, 2015). Of a sample of n, or of n draws, it is too high
    by O(1/n): the squares of the factors hold the noise of the sample, which sums over blocks do not tell apart.
    """

    def ratio(pairs: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
        size, first, second = (sum(column) for column in zip(*(_kronecker(a, b) for a, b in pairs)))
        return size * second / first**2

    return factors.estimate(ratio)


def kfac_trace(factors: Factors) -> Estimate:
    """log sum_l tr A_l tr B_l: the log of tr F under K-FAC; a scalar.

    Of a sample, the factors' traces are unbiased and taken from the same examples, so that their product is biased by
    O(1/n).
    """

    def trace(pairs: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
        return jnp.log(sum(_kronecker(a, b)[1] for a, b in pairs))

    return factors.estimate(trace)


def kfac_moments(factors: Factors) -> Estimate:
    """log m1 and log m2 of every linear map under K-FAC, [2 L]: first all log m1, then all log m2.

    m1 = tr A tr B / (d H) and m2 = tr A^2 tr B^2 / (d H) are the mean and the mean square of the eigenvalues of
    A (x) B, as in the paper's equation 1. The bias is that of `kfac_trace` and `kfac_alpha`.
    """

    def moments(pairs: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
        rows = [_kronecker(a, b) for a, b in pairs]
        first = [jnp.log(first / size) for size, first, _ in rows]
        second = [jnp.log(second / size) for size, _, second in rows]
        return jnp.stack([*first, *second])

    return factors.estimate(moments)


def _kronecker(a: jax.Array, b: jax.Array) -> tuple[int, jax.Array, jax.Array]:
    """Size, trace and trace of the square of A (x) B."""
    return len(a) * len(b), jnp.trace(a) * jnp.trace(b), jnp.sum(a**2) * jnp.sum(b**2)


# Of a little learning: no Fisher information, for comparison


def readout_loss(readout: Readout) -> Estimate:
    """Mean held-out loss of a last layer fitted on random models, in nats (Gaussian: half squared deviations).

    A cheap look at how well a design suits a task before anything but its last layer is learnt. It learns from half of
    the training examples, and so is higher than with all of them.
    """
    return readout.estimate(lambda loss, hits: loss)


def readout_accuracy(readout: Readout) -> Estimate:
    """Mean held-out accuracy of a last layer fitted on random models, from 0 to 1; NaN for regression."""
    return readout.estimate(lambda loss, hits: hits)


def first_losses(descent: Descent) -> Estimate:
    """Training losses of the first `atjax.fisher.learning.STEPS` steps, scaled to norm 1; [T].

    The paper's alternative to Fisher features (section 5.3, Table 2; after Yang et al., 2019), on half of the training
    examples: by full-batch steps, of graph tasks by batches. Of its standard error nothing is known.
    """
    losses = descent.losses / jnp.linalg.norm(descent.losses)
    return Estimate(losses, jnp.full_like(losses, jnp.nan))


def descent_loss(descent: Descent) -> Estimate:
    """Mean held-out loss after these steps, in nats (Gaussian: half squared deviations)."""
    return descent.after.estimate(lambda loss, hits: loss)


def descent_accuracy(descent: Descent) -> Estimate:
    """Mean held-out accuracy after these steps, from 0 to 1; NaN for regression."""
    return descent.after.estimate(lambda loss, hits: hits)


# By name


def names() -> list[str]:
    """Names of this module's statistics, ascending."""
    return sorted(name for name, value in globals().items() if not name.startswith("_") and _form(value) is not None)


def resolve(name: str) -> Statistic:
    """The statistic of this name.

    Args:
        name: One of `names`; or, with dots, a function that can be imported, such as ``my_package.my_module.spread``.

    Raises:
        UserError: There is no such statistic, or the function does not take one of `FORMS` as its only argument.
    """
    if name in names():
        return globals()[name]
    if "." not in name:
        raise UserError(
            f"There is no statistic {name!r}{choose_from(name, names())}, or name a function of your own as "
            "package.module.function."
        )
    statistic = imported(name, "statistic")
    reads(statistic)
    return statistic


def reads(statistic: Statistic) -> str:
    """Which of `FORMS` a statistic reads: the name of its only argument.

    Raises:
        UserError: It is no function of exactly one argument with such a name.
    """
    form = _form(statistic)
    if form is None:
        name = getattr(statistic, "__name__", repr(statistic))
        raise UserError(
            f"A statistic is a function of one argument, named {', '.join(FORMS[:-1])} or {FORMS[-1]} for what it "
            f"reads, and {name} is not; rename its argument."
        )
    return form


def _form(statistic: Any) -> str | None:
    """The name of the only argument, if it is one of `FORMS`."""
    try:
        arguments = list(inspect.signature(statistic).parameters)
    except (TypeError, ValueError):  # no function, or one that hides its arguments
        return None
    return arguments[0] if len(arguments) == 1 and arguments[0] in FORMS else None
