"""Norms and directions whose derivative at zero is zero."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["norm", "unit"]


def norm(values: Float[Array, " m"], order: float | Array = 2.0) -> Float[Array, ""]:
    """(Σᵢ |vᵢ|^q)^(1/q), for q ≥ 1 and numbers of any size.

    The numbers are divided by the largest, so that no power leaves the range of the
    dtype; the result does not depend on that divisor, which is therefore a constant to
    the derivative. An entry of 0 has the derivative 0, for q = 1 too, where that is one
    of its subgradients.
    """
    size = values * jnp.sign(values)
    top = jax.lax.stop_gradient(jnp.max(size))
    zero = top == 0
    scale = jnp.where(zero, 1.0, top)
    total = jnp.where(zero, 1.0, jnp.sum((size / scale) ** order))
    return jnp.where(zero, 0.0, scale * total ** (1 / order))


def unit(vector: Float[Array, " m"]) -> Float[Array, " m"]:
    """v/‖v‖, and 0 where v = 0."""
    length = norm(vector)
    zero = length == 0
    return jnp.where(zero, 0.0, vector / jnp.where(zero, 1.0, length))
