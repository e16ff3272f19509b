"""The Tchebycheff distances with a smooth maximum."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from paretax._checks import check_positive, check_preference
from paretax._types import Losses, Weights
from paretax.scalarizations._masked import (
    Scalarization,
    check_point,
    check_positive_preference,
    present,
    smooth_largest,
)

__all__ = [
    "log_smooth_tchebycheff",
    "smooth_modified_tchebycheff",
    "smooth_tchebycheff",
]


def smooth_tchebycheff(
    preference: Weights | ArrayLike,
    *,
    ideal: Losses | ArrayLike = 0.0,
    temperature: float | Array = 0.1,
) -> Scalarization:
    """The smooth Tchebycheff scalarization s(f) = μ log Σᵢ exp(pᵢ (fᵢ − zᵢ)/μ).

    Args:
      preference: p, shape [m], non-negative, summing to 1.
      ideal: z, scalar or shape [m], in units of the losses.
      temperature: μ > 0, in units of the losses. s − maxᵢ pᵢ(fᵢ − zᵢ) lies in [0, μ log
        m].

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, over the
      active tasks (0 if none is). Non-decreasing in each loss, smooth in the losses,
      and convex where they are.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; z is
        not finite or of another shape; μ ≤ 0; when called, losses of another shape
        than [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> p = jnp.array([0.5, 0.5])
      >>> scalarize = scalarizations.smooth_tchebycheff(p, temperature=0.5)
      >>> round(float(scalarize(jnp.array([2.0, 1.0]))), 4)
      1.1566

    Cost: m exponentials.

    Reference: Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective
    Optimization", ICML 2024, arXiv:2402.19078, eq. 9. The code of its multi-task
    experiments takes another form: `log_smooth_tchebycheff`.
    """
    p = check_preference(preference)
    z = check_point("ideal", ideal, p.size)
    mu = check_positive("temperature", temperature)

    def scalarize(losses: Losses, *, active=None):
        distance = p * (present(losses, active, p.size) - z)
        return smooth_largest(distance, active, mu)

    return scalarize


def smooth_modified_tchebycheff(
    preference: Weights | ArrayLike,
    *,
    ideal: Losses | ArrayLike = 0.0,
    temperature: float | Array = 0.1,
) -> Scalarization:
    """The smooth form with the preference below: s(f) = μ log Σᵢ exp((fᵢ − zᵢ)/(μ pᵢ)).

    Args:
      preference: p, shape [m], positive, summing to 1: a direction among the losses, as
        in `modified_tchebycheff`.
      ideal: z, scalar or shape [m], in units of the losses.
      temperature: μ > 0, in units of the losses. s − maxᵢ (fᵢ − zᵢ)/pᵢ lies in [0, μ
        log m]. Since 1/p is at least 1, the same smoothness takes a larger μ here than
        in `smooth_tchebycheff`: about m² times, for equal entries.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, over the
      active tasks (0 if none is). Non-decreasing in each loss, smooth in the losses,
      and convex where they are.

    Raises:
      ValueError: p is not a vector, has an entry that is not positive or does not sum
        to 1; z is not finite or of another shape; μ ≤ 0; when called, losses of another
        shape than [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> p = jnp.array([0.5, 0.5])
      >>> scalarize = scalarizations.smooth_modified_tchebycheff(p, temperature=2.0)
      >>> round(float(scalarize(jnp.array([2.0, 1.0]))), 4)
      4.6265

    Cost: m exponentials.

    Reference: the `softmtche` of Zhang et al., "LibMOON: A Gradient-based
    MultiObjective OptimizatioN Library in PyTorch", NeurIPS 2024, arXiv:2409.02969, on
    Lin et al., ICML 2024, arXiv:2402.19078. Departure: none in the formula.
    """
    p = check_positive_preference(preference)
    z = check_point("ideal", ideal, p.size)
    mu = check_positive("temperature", temperature)

    def scalarize(losses: Losses, *, active=None):
        distance = (present(losses, active, p.size) - z) / p
        return smooth_largest(distance, active, mu)

    return scalarize


def log_smooth_tchebycheff(
    preference: Weights | ArrayLike,
    *,
    nadir: Losses | ArrayLike = 1.0,
    temperature: float | Array = 0.1,
) -> Scalarization:
    """The smooth form on logarithms: s(f) = μ log Σᵢ exp(pᵢ log(fᵢ/nᵢ)/μ).

    What counts is each loss as a multiple of its nadir value, so that losses in
    different units compete as equals: rescaling a loss together with its nᵢ changes
    nothing.

    Args:
      preference: p, shape [m], non-negative, summing to 1.
      nadir: n > 0, scalar or shape [m], in units of the losses: a bad value of each,
        such as its mean over an early epoch.
      temperature: μ > 0, without a unit. s − maxᵢ pᵢ log(fᵢ/nᵢ) lies in [0, μ log m].

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m], positive, to a scalar,
      over the active tasks (0 if none is). Non-decreasing in each loss. A loss of
      exactly 0 has weight 0 (s is −∞ if all are 0); a negative loss gives NaN.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; n is
        not positive and finite or of another shape; μ ≤ 0; when called, losses of
        another shape than [m].

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> p, nadir = jnp.array([0.5, 0.5]), jnp.array([1.0, 100.0])
      >>> scalarize = scalarizations.log_smooth_tchebycheff(
      ...     p, nadir=nadir, temperature=0.5)
      >>> round(float(scalarize(jnp.array([0.5, 25.0]))), 4)
      -0.1438

    Cost: m logarithms and m exponentials.

    Reference: the STCH of the multi-task experiments of Lin et al., ICML 2024,
    arXiv:2402.19078, in their code only; the paper has `smooth_tchebycheff`.
    Departures: the code has no preference and multiplies by m, so that, with pᵢ = 1/m
    and our μ a factor m below its own, it is m² times s; it adds 1e-20 to fᵢ/nᵢ; it
    minimizes Σᵢ log fᵢ in the epochs in which it averages the nadir point.
    """
    p = check_preference(preference)
    n = check_point("nadir", nadir, p.size, positive=True)
    mu = check_positive("temperature", temperature)

    def scalarize(losses: Losses, *, active=None):
        ratio = present(losses, active, p.size) / n
        done = ratio == 0
        score = p * jnp.log(jnp.where(done, 1.0, ratio))
        # A loss of 0 adds exp(−∞) = 0: it is left out, and only zeros make −∞.
        known = jnp.ones_like(done) if active is None else active
        value = smooth_largest(score, known & ~done, mu)
        only_zeros = jnp.any(known) & jnp.all(done | ~known)
        return jnp.where(only_zeros, -jnp.inf, value)

    return scalarize
