"""How far the losses are from what one aspires to, the worst first."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from paretax._checks import check_non_negative, check_preference
from paretax._types import Losses, Weights
from paretax.scalarizations._masked import (
    Scalarization,
    check_point,
    keep,
    largest,
    present,
)

__all__ = ["aasf"]


def aasf(
    preference: Weights | ArrayLike,
    *,
    aspiration: Losses | ArrayLike = 0.0,
    augmentation: float | Array = 1e-3,
) -> Scalarization:
    """The augmented achievement scalarizing function, of worst and of mean.

    s(f) = maxᵢ pᵢ (fᵢ − aᵢ) + ρ Σᵢ pᵢ (fᵢ − aᵢ)

    s is negative where every loss is better than aspired to, so the aspiration point a
    may be attainable or not. The sum breaks the ties that the maximum leaves: without
    it a minimizer may be dominated by a point that is as bad in the worst task.

    Args:
      preference: p, shape [m], non-negative, summing to 1.
      aspiration: a, scalar or shape [m], in units of the losses. At the ideal point
        this is the augmented weighted Tchebycheff distance.
      augmentation: ρ ≥ 0, small; 0 is the achievement function without the sum.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, over the
      active tasks (0 if none is). Non-decreasing in each loss, increasing where pᵢ > 0
      and ρ > 0: for p > 0 every minimizer is then properly Pareto-optimal. At a tie the
      derivative of the maximum is shared equally.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; a is
        not finite or of another shape; ρ < 0; when called, losses of another shape than
        [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> scalarize = scalarizations.aasf(
      ...     jnp.array([0.5, 0.5]), aspiration=1.0, augmentation=0.1)
      >>> round(float(scalarize(jnp.array([2.0, 4.0]))), 4)
      1.7

    Cost: 3m operations.

    Reference: A. P. Wierzbicki, "The Use of Reference Objectives in Multiobjective
    Optimization", 1980; in this form K. Miettinen, Nonlinear Multiobjective
    Optimization, 1999, §3.5. Sources disagree. pymoo divides by its weights in both
    terms: that is p proportional to 1/weights, up to a factor. LibMOON divides in a
    smoothed maximum and multiplies in the sum: that is not offered here.
    """
    p = check_preference(preference)
    a = check_point("aspiration", aspiration, p.size)
    rho = check_non_negative("augmentation", augmentation)

    def scalarize(losses: Losses, *, active=None):
        distance = p * (present(losses, active, p.size) - a)
        total = jnp.sum(keep(distance, active, 0.0))
        return largest(distance, active) + rho * total

    return scalarize
