"""m losses into one number, curried so that `jax.vmap` runs over preferences.

Each factory takes a preference and returns `scalarize(losses, *, active=None)`. Inside
`jax.vmap` over preferences the factory is called with a tracer, so an ensemble of k
subproblems is `jax.vmap(lambda p: linear(p)(losses))(preferences)`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._checks import check_positive, check_preference
from paretax._types import Losses, Weights

__all__ = ["Scalarization", "linear", "smooth_tchebycheff", "tchebycheff"]

Scalarization = Callable[..., Float[Array, ""]]
"""`scalarize(losses, *, active=None) -> scalar`; its derivative is a weighting."""


def linear(preference: Weights | ArrayLike) -> Scalarization:
    """The weighted sum s(f) = Σᵢ pᵢ fᵢ.

    Args:
      preference: p, shape [m], non-negative, summing to 1.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar. With
      `active` (bool, shape [m]) the sum runs over the active tasks. The minimizers over
      all p trace the convex part of the Pareto front only.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1.

    Example:
      >>> import jax.numpy as jnp
      >>> float(linear(jnp.array([0.25, 0.75]))(jnp.array([4.0, 8.0])))
      7.0

    Cost: m multiplications.

    Reference: K. Miettinen, Nonlinear Multiobjective Optimization, 1999, §3.1.
    """
    p = check_preference(preference)

    def scalarize(losses: Losses, *, active=None):
        return jnp.sum(_keep(p * _keep(losses, active, 0.0), active, 0.0))

    return scalarize


def tchebycheff(
    preference: Weights | ArrayLike, *, ideal: Losses | ArrayLike = 0.0
) -> Scalarization:
    """The weighted Tchebycheff distance to the ideal point, s(f) = maxᵢ pᵢ (fᵢ − zᵢ).

    Args:
      preference: p, shape [m], non-negative, summing to 1.
      ideal: z, scalar or shape [m], in units of the losses: at most the best loss of
        each task. 0 suits losses that cannot be negative.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, the maximum
      over the active tasks (0 if none is). For p > 0 every Pareto-optimal point, convex
      front or not, is the minimizer for some p. At a tie the derivative is shared
      equally.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1.

    Example:
      >>> import jax.numpy as jnp
      >>> float(tchebycheff(jnp.array([0.25, 0.75]), ideal=1.0)(jnp.array([9.0, 2.0])))
      2.0

    Cost: 2m operations.

    Reference: V. J. Bowman, "On the Relationship of the Tchebycheff Norm and the
    Efficient Frontier of Multiple-Criteria Objectives", 1976; Miettinen 1999, §3.4.
    """
    p = check_preference(preference)

    def scalarize(losses: Losses, *, active=None):
        distance = p * (_keep(losses, active, 0.0) - jnp.asarray(ideal))
        return _none_active(jnp.max(_keep(distance, active, -jnp.inf)), active)

    return scalarize


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
      active tasks (0 if none is). Smooth in the losses, and convex where they are.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; μ ≤ 0.

    Example:
      >>> import jax.numpy as jnp
      >>> scalarize = smooth_tchebycheff(jnp.array([0.5, 0.5]), temperature=0.5)
      >>> round(float(scalarize(jnp.array([2.0, 1.0]))), 4)
      1.1566

    Cost: m exponentials.

    Reference: Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective
    Optimization", ICML 2024, arXiv:2402.19078, eq. 9 (not the form with the logarithm
    of loss over nadir that its multi-task code uses).
    """
    p = check_preference(preference)
    mu = check_positive("temperature", temperature)

    def scalarize(losses: Losses, *, active=None):
        distance = p * (_keep(losses, active, 0.0) - jnp.asarray(ideal)) / mu
        distance = _keep(distance, active, -jnp.inf)
        return _none_active(jnp.asarray(mu * jax.nn.logsumexp(distance)), active)

    return scalarize


def _keep(values, active, otherwise):
    return values if active is None else jnp.where(active, values, otherwise)


def _none_active(value, active):
    return value if active is None else jnp.where(jnp.any(active), value, 0.0)
