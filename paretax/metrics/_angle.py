"""How well members keep to their preferences."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._checks import check_points
from paretax.metrics._distances import length

__all__ = ["cross_angle"]


def cross_angle(
    losses: Float[Array, "k m"] | ArrayLike,
    preferences: Float[Array, "k m"] | ArrayLike,
) -> Float[Array, ""]:
    """The mean angle between each member's losses and its preference, in degrees.

    (180/π)·mean over k of arccos(fₖ·λₖ/(‖fₖ‖ ‖λₖ‖)).

    Args:
      losses: fₖ, shape [k, m], measured from the ideal point, which is 0 here; subtract
        it first if it is elsewhere.
      preferences: λₖ, shape [k, m], of any length. The ray of a preference is the
        direction of λ itself; where the losses are to be inversely proportional to the
        preference, λᵢfᵢ = λⱼfⱼ, pass 1/λ.

    Returns:
      A scalar in [0, 180], 0 if every member lies on its ray; NaN if a number is NaN or
      a vector is 0. Differentiable, with derivative 0 on the ray.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> losses = jnp.array([[1.0, 1.0], [0.0, 2.0]])
      >>> round(float(metrics.cross_angle(losses, jnp.eye(2))), 3)
      22.5

    Cost: k·m operations.

    Reference: the cross angle of libmoon (X. Zhang et al., "LibMOON: a gradient-based
    multiobjective optimization library in PyTorch", 2024, arXiv:2409.02969). Departure:
    the angle of unit vectors u and v is computed as 2 arctan(‖u − v‖/‖u + v‖), for the
    arccosine loses half of the digits at small angles.
    """
    f, ray = check_points("losses", losses), check_points("preferences", preferences)
    if f.shape != ray.shape:
        raise ValueError(
            f"preferences: expected shape {f.shape}, as losses have, got {ray.shape}."
        )
    u, v = (p / length(p)[:, None] for p in (f, ray))
    return jnp.mean(jnp.rad2deg(2 * jnp.arctan2(length(u - v), length(u + v))))
