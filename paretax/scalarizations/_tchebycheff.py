"""The largest weighted distance to the ideal point."""

from jax.typing import ArrayLike

from paretax._checks import check_preference
from paretax._types import Losses, Weights
from paretax.scalarizations._masked import (
    Scalarization,
    check_point,
    check_positive_preference,
    largest,
    present,
)

__all__ = ["modified_tchebycheff", "tchebycheff"]


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
      over the active tasks (0 if none is). Non-decreasing in each loss. For p > 0 every
      Pareto-optimal point, convex front or not, is the minimizer for some p. At a tie
      the derivative is shared equally.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; z is
        not finite or of another shape; when called, losses of another shape than [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> scalarize = scalarizations.tchebycheff(jnp.array([0.25, 0.75]), ideal=1.0)
      >>> float(scalarize(jnp.array([9.0, 2.0])))
      2.0

    Cost: 2m operations.

    Reference: V. J. Bowman, "On the Relationship of the Tchebycheff Norm and the
    Efficient Frontier of Multiple-Criteria Objectives", 1976; Miettinen 1999, §3.4.
    Departure: no absolute values, which losses above the ideal point do not need.
    """
    p = check_preference(preference)
    z = check_point("ideal", ideal, p.size)

    def scalarize(losses: Losses, *, active=None):
        return largest(p * (present(losses, active, p.size) - z), active)

    return scalarize


def modified_tchebycheff(
    preference: Weights | ArrayLike, *, ideal: Losses | ArrayLike = 0.0
) -> Scalarization:
    """The Tchebycheff distance with the preference below, s(f) = maxᵢ (fᵢ − zᵢ)/pᵢ.

    A large pᵢ says here that task i may have a large loss: p is a direction among the
    losses, and the minimizer is where the ray z + t p first meets what can be attained.
    It is `tchebycheff` for a preference proportional to 1/p, times Σᵢ 1/pᵢ.

    Args:
      preference: p, shape [m], positive, summing to 1.
      ideal: z, scalar or shape [m], in units of the losses: at most the best loss of
        each task.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, the maximum
      over the active tasks (0 if none is). Non-decreasing in each loss; evenly spread p
      give points that are evenly spread by angle, on fronts convex or not. At a tie,
      which is where the ray is met, the derivative is shared equally.

    Raises:
      ValueError: p is not a vector, has an entry that is not positive or does not sum
        to 1; z is not finite or of another shape; when called, losses of another shape
        than [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> scalarize = scalarizations.modified_tchebycheff(jnp.array([0.25, 0.75]))
      >>> float(scalarize(jnp.array([1.0, 6.0])))
      8.0

    Cost: 2m operations.

    Reference: Ma et al., "On Tchebycheff Decomposition Approaches for Multiobjective
    Evolutionary Optimization", IEEE Trans. Evol. Comput. 22(2), 2018; the `mtche` of
    Zhang et al., "LibMOON", NeurIPS 2024, arXiv:2409.02969. Departure: their codes
    replace an entry of 0 by a small number or divide by it; here it raises.
    """
    p = check_positive_preference(preference)
    z = check_point("ideal", ideal, p.size)

    def scalarize(losses: Losses, *, active=None):
        return largest((present(losses, active, p.size) - z) / p, active)

    return scalarize
