"""The box between the losses and a point that is worse in every task."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._checks import check_preference
from paretax._types import Losses, Weights
from paretax.scalarizations._masked import (
    Scalarization,
    check_point,
    check_positive_preference,
    keep,
    present,
    show_nan,
)
from paretax.scalarizations._norm import norm

__all__ = ["hypervolume_scalarization", "log_hypervolume"]


def log_hypervolume(
    preference: Weights | ArrayLike, *, nadir: Losses | ArrayLike
) -> Scalarization:
    """The logarithm of the box up to the nadir point, s(f) = −Σᵢ pᵢ log(rᵢ − fᵢ).

    For equal pᵢ = 1/m, s is −1/m times the logarithm of ∏ᵢ (rᵢ − fᵢ), the hypervolume
    of the one point f. The weight pᵢ/(rᵢ − fᵢ) of a task grows as it nears its bound.

    Args:
      preference: p, shape [m], non-negative, summing to 1: exponents of the sides.
      nadir: r, scalar or shape [m], in units of the losses: above every loss that the
        training meets. The farther, the more alike to `linear`.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, over the
      active tasks (0 if none is). Increasing in each loss with pᵢ > 0 inside of the
      box, smooth there, and convex where the losses are; NaN, with its derivative,
      where an active loss is at its bound or beyond: there is no box.

    Raises:
      ValueError: p is not a vector, has a negative entry or does not sum to 1; r is
        not finite or of another shape; when called, losses of another shape than [m].

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> scalarize = scalarizations.log_hypervolume(jnp.array([0.5, 0.5]), nadir=5.0)
      >>> jax.grad(scalarize)(jnp.array([1.0, 4.5])).tolist()
      [0.125, 1.0]

    Cost: m logarithms.

    Reference: Miranda & Von Zuben, "Multi-Objective Optimization for Self-Adjusting
    Weighted Gradient in Machine Learning Tasks", 2015, arXiv:1506.01113; Albuquerque et
    al., "Multi-objective training of Generative Adversarial Networks with multiple
    discriminators", ICML 2019, arXiv:1901.08680. Departures: theirs is the sum for pᵢ =
    1; with a preference it is the weighted Nash product. They move r with the losses;
    here it stands still, or comes from `running_points`.
    """
    p = check_preference(preference)
    r = check_point("nadir", nadir, p.size)

    def scalarize(losses: Losses, *, active=None):
        side = keep(r - present(losses, active, p.size), active, 1.0)
        # A factor, so that the derivative is NaN beyond the bound too.
        inside = side * jnp.where(side > 0, 1.0, jnp.nan)
        return -jnp.sum(p * jnp.log(inside))

    return scalarize


def hypervolume_scalarization(
    preference: Weights | ArrayLike, *, nadir: Losses | ArrayLike
) -> Scalarization:
    """How far the box reaches along p, s(f) = −(minᵢ max(0, (rᵢ − fᵢ)/uᵢ))ᵐ, u = p/‖p‖.

    For u uniform on the part of the unit sphere where all uᵢ > 0, the mean of −s times
    π^(m/2)/(2ᵐ Γ(m/2 + 1)) is the hypervolume of f; with the least s of many points in
    its place, the hypervolume of the set. Without the power, which changes no
    minimizer, s is `modified_tchebycheff` with r for the ideal point, which also has a
    slope beyond r.

    Args:
      preference: p, shape [m], positive, summing to 1.
      nadir: r, scalar or shape [m], in units of the losses: the reference point of the
        hypervolume.

    Returns:
      `scalarize(losses, *, active=None)`: losses of shape [m] to a scalar, at most 0,
      over the active tasks, with m their number (0 if none is). Non-decreasing in each
      loss; 0 with derivative 0 where an active loss is beyond rᵢ. At a tie the
      derivative is shared equally. The power overflows where it has to, for
      large losses or many tasks.

    Raises:
      ValueError: p is not a vector, has an entry that is not positive or does not sum
        to 1; r is not finite or of another shape; when called, losses of another shape
        than [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> scalarize = scalarizations.hypervolume_scalarization(
      ...     jnp.array([0.5, 0.5]), nadir=4.0)
      >>> round(float(scalarize(jnp.array([1.0, 2.0]))), 4)
      -8.0

    Cost: 4m operations and a power.

    Reference: Zhang & Golovin, "Random Hypervolume Scalarizations for Provable
    Multi-Objective Black Box Optimization", ICML 2020, arXiv:2006.04655. Departures: to
    be minimized, hence the sign; u is made of a p on the simplex. p uniform on the
    simplex is not u uniform on the sphere: for the mean above take p = |g|/Σ|gᵢ| for a
    normal g.
    """
    p = check_positive_preference(preference)
    r = check_point("nadir", nadir, p.size)

    def scalarize(losses: Losses, *, active=None):
        size = norm(keep(p, active, 0.0))
        sides = show_nan((r - present(losses, active, p.size)) / p)
        if active is None:
            count, shortest = p.size, jnp.min(sides)
        else:
            some = jnp.any(active)
            count = jnp.maximum(jnp.sum(active), 1)
            shortest = jnp.min(jnp.where(active, sides, jnp.inf))
            shortest = jnp.where(some, shortest, 0.0)
        return -(jnp.maximum(size * shortest, 0.0) ** count)

    return scalarize
