"""Losses through an exponential, so that bad ones count for much more."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from paretax._checks import check_positive, check_preference
from paretax._types import Losses, Weights
from paretax.scalarizations._masked import Scalarization, check_point, keep, present

__all__ = ["exponential_weighted_criterion"]


def exponential_weighted_criterion(
    preference: Weights | ArrayLike,
    *,
    ideal: Losses | ArrayLike = 0.0,
    rate: float | Array = 1.0,
) -> Scalarization:
    """The exponential weighted criterion s(f) = Σᵢ (exp(q pᵢ) − 1) exp(q (fᵢ − zᵢ)).

    Args:
      preference: p, shape [m], non-negative, summing to 1. A task with pᵢ = 0 does not
        count.
      ideal: z, scalar or shape [m], in units of the losses; any point that keeps f − z
        small will do, for a common shift of all losses only multiplies s.
      rate: q > 0, in units of 1/loss. The larger q, the more of a front that is not
        convex is reached. In float32 s overflows where q (fᵢ − zᵢ) passes 88:
        `normalized` keeps the losses small.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, over the
      active tasks (0 if none is). Increasing in each loss with pᵢ > 0, so that for p >
      0 every minimizer is Pareto-optimal; smooth, and convex where the losses are.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; z is
        not finite or of another shape; q ≤ 0; when called, losses of another shape than
        [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> scalarize = scalarizations.exponential_weighted_criterion(
      ...     jnp.array([0.5, 0.5]))
      >>> round(float(scalarize(jnp.array([0.0, 1.0]))), 4)
      2.4121

    Cost: 2m exponentials.

    Reference: Athan & Papalambros, "A Note on Weighted Criteria Methods for Compromise
    Solutions in Multi-Objective Optimization", Engineering Optimization 27(2), 1996;
    Marler & Arora, "Survey of multi-objective optimization methods for engineering",
    2004. Departure: the losses are measured from z; theirs from 0.
    """
    p = check_preference(preference)
    z = check_point("ideal", ideal, p.size)
    q = check_positive("rate", rate)

    def scalarize(losses: Losses, *, active=None):
        height = jnp.exp(q * (present(losses, active, p.size) - z))
        return jnp.sum(keep(jnp.expm1(q * p) * height, active, 0.0))

    return scalarize
