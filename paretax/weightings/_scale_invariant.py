"""The sum of the logarithms of the losses."""

import jax.numpy as jnp

from paretax._weighting import Weighting, from_losses
from paretax.weightings._loss_values import on_positive_losses

__all__ = ["scale_invariant"]


def scale_invariant() -> Weighting:
    """Scale-invariant linear scalarization: the gradient of Σᵢ log Lᵢ, wᵢ = 1/Lᵢ.

    Multiplying a task's loss by a constant changes nothing.

    Returns:
      A weighting on the losses; positive weights. A loss of at most 0 has no logarithm:
      its task is left out of that step (weight 0), and the state has `converged` False
      and in `error` the number of such tasks. The weight of a task whose loss is not
      finite is NaN.

    Raises:
      ValueError: at update, `losses` missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.scale_invariant()
      >>> weights, _ = weighting.update(
      ...     None, weighting.init(2), losses=jnp.array([0.5, 4.0]))
      >>> weights.tolist()
      [2.0, 0.25]

    Cost: m logarithms; one backward pass a step.

    Reference: the baseline SI of Navon et al., "Multi-Task Learning as a Bargaining
    Game", ICML 2022, arXiv:2202.01017. Departure: losses of at most 0 are left out,
    where the code returns NaN or infinity.
    """
    return on_positive_losses(from_losses(_sum_of_logarithms))


def _sum_of_logarithms(losses, *, active=None):
    if active is not None:
        losses = jnp.where(active, losses, 1.0)
    return jnp.sum(jnp.log(losses))
