"""The weighted ℓ_q distance to the ideal point."""

from jax.typing import ArrayLike
from jaxtyping import Array

from paretax._checks import check_positive, check_preference, is_concrete
from paretax._types import Losses, Weights
from paretax.scalarizations._masked import Scalarization, check_point, keep, present
from paretax.scalarizations._norm import norm

__all__ = ["pnorm"]


def pnorm(
    preference: Weights | ArrayLike,
    *,
    ideal: Losses | ArrayLike = 0.0,
    order: float | Array = 2.0,
) -> Scalarization:
    """The weighted norm of the distance to the ideal point, s(f) = ‖p ∘ (f − z)‖_q.

    Between `linear` (q = 1, above the ideal point) and `tchebycheff` (q → ∞): the
    larger q, the more of a front that is not convex is reached.

    Args:
      preference: p, shape [m], non-negative, summing to 1.
      ideal: z, scalar or shape [m], in units of the losses: at most the best loss of
        each task.
      order: q ≥ 1, finite.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, over the
      active tasks (0 if none is). Non-decreasing in each loss that is above zᵢ,
      non-increasing below; convex. A loss at its ideal zᵢ has the derivative 0 (for
      q = 1, and for all losses there, that is a subgradient).

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; z is
        not finite or of another shape; q < 1 or infinite (that is `tchebycheff`); when
        called, losses of another shape than [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> scalarize = scalarizations.pnorm(jnp.array([0.5, 0.5]), ideal=1.0)
      >>> round(float(scalarize(jnp.array([7.0, 9.0]))), 4)
      5.0

    Cost: m powers.

    Reference: M. Zeleny, "Compromise Programming", 1973; Miettinen 1999, §3.4 (there
    the weights stand outside of the power).
    """
    p = check_preference(preference)
    z = check_point("ideal", ideal, p.size)
    q = check_positive("order", order)
    if is_concrete(q) and q < 1:
        raise ValueError(f"order: expected a number of at least 1, got {q}.")

    def scalarize(losses: Losses, *, active=None):
        distance = p * (present(losses, active, p.size) - z)
        return norm(keep(distance, active, 0.0), q)

    return scalarize
