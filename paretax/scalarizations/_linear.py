"""The weighted sum of the losses."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._checks import check_preference
from paretax._types import Losses, Weights
from paretax.scalarizations._masked import Scalarization, keep, present

__all__ = ["linear"]


def linear(preference: Weights | ArrayLike) -> Scalarization:
    """The weighted sum s(f) = Σᵢ pᵢ fᵢ.

    Args:
      preference: p, shape [m], non-negative, summing to 1.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar. With
      `active` (bool, shape [m]) the sum runs over the active tasks. Non-decreasing in
      each loss. The minimizers over all p trace the convex part of the Pareto front
      only.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; when
        called, losses of another shape than [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> p = jnp.array([0.25, 0.75])
      >>> float(scalarizations.linear(p)(jnp.array([4.0, 8.0])))
      7.0

    Cost: m multiplications.

    Reference: K. Miettinen, Nonlinear Multiobjective Optimization, 1999, §3.1.
    """
    p = check_preference(preference)

    def scalarize(losses: Losses, *, active=None):
        return jnp.sum(keep(p * present(losses, active, p.size), active, 0.0))

    return scalarize
