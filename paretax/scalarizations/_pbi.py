"""Along a direction, and away from it."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from paretax._checks import check_non_negative, check_preference
from paretax._types import Losses, Weights
from paretax.scalarizations._masked import Scalarization, check_point, keep, present
from paretax.scalarizations._norm import norm, unit

__all__ = ["pbi"]


def pbi(
    preference: Weights | ArrayLike,
    *,
    ideal: Losses | ArrayLike = 0.0,
    penalty: float | Array = 5.0,
) -> Scalarization:
    """Penalty-based boundary intersection, s(f) = d₁ + θ d₂.

    u = p/‖p‖,  d₁ = uᵀ(f − z),  d₂ = ‖(f − z) − d₁ u‖

    d₁ is the distance along the ray z + t p, d₂ the distance to it. As in
    `modified_tchebycheff`, p is a direction among the losses: a large pᵢ lets task i
    have a large loss.

    Args:
      preference: p, shape [m], non-negative, summing to 1.
      ideal: z, scalar or shape [m], in units of the losses: at most the best loss of
        each task.
      penalty: θ ≥ 0. A large one keeps closer to the ray, and is harder to minimize.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, with p and f
      of the active tasks only (0 if none is). Convex, but not monotone for θ > 0: off
      the ray a smaller loss may give a larger s, and a minimizer need not be
      Pareto-optimal. On the ray the derivative of d₂ is the subgradient 0.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; z is
        not finite or of another shape; θ < 0; when called, losses of another shape than
        [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> scalarize = scalarizations.pbi(jnp.array([0.5, 0.5]), penalty=2.0)
      >>> round(float(scalarize(jnp.array([3.0, 1.0]))), 4)
      5.6569

    Cost: about 8m operations.

    Reference: Zhang & Li, "MOEA/D: A Multiobjective Evolutionary Algorithm Based on
    Decomposition", IEEE Trans. Evol. Comput. 11(6), 2007 (its experiments take θ = 5).
    Departure: d₁ keeps its sign, where the paper takes its absolute value, which is the
    same for losses above the ideal point.
    """
    p = check_preference(preference)
    z = check_point("ideal", ideal, p.size)
    theta = check_non_negative("penalty", penalty)

    def scalarize(losses: Losses, *, active=None):
        distance = keep(present(losses, active, p.size) - z, active, 0.0)
        direction = unit(keep(p, active, 0.0))
        along = jnp.vdot(direction, distance, precision="highest")
        return along + theta * norm(distance - along * direction)

    return scalarize
