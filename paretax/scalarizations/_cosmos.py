"""The weighted sum, less the cosine to the preference."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from paretax._checks import check_non_negative, check_preference
from paretax._types import Losses, Weights
from paretax.scalarizations._masked import Scalarization, check_point, keep, present
from paretax.scalarizations._norm import unit

__all__ = ["cosmos"]


def cosmos(
    preference: Weights | ArrayLike,
    *,
    penalty: float | Array,
    ideal: Losses | ArrayLike = 0.0,
) -> Scalarization:
    """The objective of COSMOS, s(f) = pᵀ(f − z) − κ cos(p, f − z).

    The sum brings the losses down, the cosine turns their vector towards p, so that a
    model conditioned on p spreads its answers over the front. The two pull apart: the
    sum lets a task with a large pᵢ have a small loss, the cosine a large one.

    Args:
      preference: p, shape [m], non-negative, summing to 1.
      penalty: κ ≥ 0, in units of the losses. The paper's lie between 0.01 and 8,
        chosen for each data set; 0 is `linear`.
      ideal: z, scalar or shape [m], in units of the losses; 0 is the paper's.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, with p and f
      of the active tasks only (0 if none is). Not monotone for κ > 0, and neither
      convex: a minimizer need not be Pareto-optimal. At f = z the cosine and its
      derivative count as 0.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; z is
        not finite or of another shape; κ < 0; when called, losses of another shape than
        [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> scalarize = scalarizations.cosmos(jnp.array([0.5, 0.5]), penalty=2.0)
      >>> round(float(scalarize(jnp.array([3.0, 1.0]))), 4)
      0.2111

    Cost: about 6m operations.

    Reference: Ruchte & Grabocka, "Scalable Pareto Front Approximation for Deep
    Multi-Objective Learning", ICDM 2021, arXiv:2103.13392. Departures: none in the
    formula; the paper also draws p from a Dirichlet distribution at each step and feeds
    it to the model, which is the caller's part. LibMOON divides p by its norm in the
    sum too.
    """
    p = check_preference(preference)
    z = check_point("ideal", ideal, p.size)
    kappa = check_non_negative("penalty", penalty)

    def scalarize(losses: Losses, *, active=None):
        distance = keep(present(losses, active, p.size) - z, active, 0.0)
        weights = keep(p, active, 0.0)
        total = jnp.sum(weights * distance)
        cosine = jnp.sum(unit(weights) * unit(distance))
        return total - kappa * cosine

    return scalarize
