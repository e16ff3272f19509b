"""The nearest point of the simplex."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paretax._types import Active

__all__ = ["project_simplex"]


def project_simplex(
    point: Float[Array, " m"], active: Active | None = None
) -> Float[Array, " m"]:
    """argmin ‖w − v‖² over w ≥ 0, Σ w = 1.

    w = (v − θ)₊, where θ is the number that makes the sum 1: of the entries sorted
    downwards, u₁ ≥ u₂ ≥ ..., the first r are positive in w, with r the largest k for
    which k uₖ > u₁ + ... + uₖ − 1.

    Args:
      point: v, shape [m], of any size and sign.
      active: bool, shape [m]: the other entries are left out, whatever they hold, and
        are 0 in w. None is all.

    Returns:
      w, shape [m]; zeros if no entry is active. NaN or +∞ in an active entry gives NaN.
      The derivative is that of the projection onto the face that w lies in, finite
      everywhere and exact wherever there is one.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> px.solvers.project_simplex(jnp.array([1.0, 0.5, -3.0])).tolist()
      [0.75, 0.25, 0.0]

    Cost: a sort of m numbers.

    Reference: Duchi et al., "Efficient projections onto the ℓ₁-ball for learning in
    high dimensions", ICML 2008. Departure: the largest entry is subtracted first, which
    changes nothing but the rounding of large points.
    """
    m = point.shape[0]
    keep = jnp.ones(m, bool) if active is None else active
    some = jnp.any(keep)
    masked = jnp.where(keep, point, -jnp.inf)
    top = jax.lax.stop_gradient(jnp.max(masked))
    shifted = jnp.where(keep, point, 0.0) - jnp.where(some, top, 0.0)
    downwards = -jnp.sort(-jnp.where(keep, jax.lax.stop_gradient(shifted), -jnp.inf))
    numbers = jnp.arange(1, m + 1, dtype=point.dtype)
    # By a threshold, not by the smallest entry that stays: a compiler may compute an
    # entry twice with other rounding, and comparing it with itself would drop it.
    threshold = jnp.max((jnp.cumsum(downwards) - 1.0) / numbers)
    face = keep & (shifted > threshold)
    size = jnp.maximum(jnp.sum(face), 1)
    theta = (jnp.sum(jnp.where(face, shifted, 0.0)) - 1.0) / size
    weights = jnp.where(face, shifted - theta, 0.0)
    return jnp.where(some & ~jnp.isfinite(top), jnp.nan, weights)
