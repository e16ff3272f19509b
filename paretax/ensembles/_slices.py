"""Sums over all parameters where each device has a slice of them."""

import jax
from jaxtyping import Array

from paretax._jacobian._gramian._devices import varying

__all__ = ["over_slices"]


def over_slices(part: Array) -> Array:
    """The sum over parameters, from each device's sum over its slice.

    What a coupling computes from parameters, squared distances or inner products, goes
    through here: under a `Placement` the rule sees slices [k, n], and a sum over them
    is one device's share. A rule that forgets is refused while tracing, since its M
    would differ between devices.

    Args:
      part: sums over the parameters that are seen here, of any shape.

    Returns:
      Their sum over the devices that slices are split over; elsewhere, `part` itself.

    Cost: one all-reduce of its size.
    """
    names = tuple(sorted(varying(jax.typeof(part))))
    return jax.lax.psum(part, names) if names else part
