"""Any scalarization, on losses in units of their range."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from paretax._checks import is_concrete
from paretax._types import Losses
from paretax.scalarizations._masked import Scalarization, check_point, present

__all__ = ["normalized"]


def normalized(
    scalarization: Scalarization,
    *,
    ideal: Losses | ArrayLike = 0.0,
    nadir: Losses | ArrayLike = 1.0,
) -> Scalarization:
    """A scalarization of (fᵢ − zᵢ)/(nᵢ − zᵢ): 0 at the ideal, 1 at the nadir point.

    Args:
      scalarization: losses [m] to a scalar, as in `paretax.scalarizations`; its own
        points are then in the new unit (its `ideal=0.0` is z).
      ideal: z, scalar or shape [m], in units of the losses.
      nadir: n > z, scalar or shape [m], in units of the losses.

    Returns:
      `scalarize(losses, *, active=None)`: changing the unit of a loss together with zᵢ
      and nᵢ changes nothing. It is as monotone and as convex as what it wraps.

    Raises:
      ValueError: z or n is not finite or no vector, or n is not above z in every task;
        when called, points of another shape than the losses.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import scalarizations
      >>> half = scalarizations.linear(jnp.array([0.5, 0.5]))
      >>> scalarize = scalarizations.normalized(half, nadir=jnp.array([2.0, 100.0]))
      >>> float(scalarize(jnp.array([1.0, 50.0])))
      0.5

    Cost: 2m operations, and that of what it wraps.

    Reference: Miettinen 1999, §2.4.
    """
    z, n = check_point("ideal", ideal), check_point("nadir", nadir)
    sizes = {point.size for point in (z, n) if point.ndim}
    if len(sizes) > 1:
        raise ValueError(
            f"nadir: expected the shape {z.shape} of ideal, got {n.shape}."
        )
    if is_concrete(z) and is_concrete(n) and not np.all(np.asarray(n) > np.asarray(z)):
        raise ValueError(
            f"nadir: expected more than ideal {z.tolist()} in every task, got "
            f"{n.tolist()}."
        )

    def scalarize(losses: Losses, *, active=None):
        losses = jnp.asarray(losses)
        losses = present(losses, active, max(sizes, default=losses.size))
        scaled = (losses - z) / (n - z)
        if active is None:
            return scalarization(scaled)
        return scalarization(scaled, active=active)

    return scalarize
