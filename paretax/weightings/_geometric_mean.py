"""The geometric mean of the losses."""

import jax.numpy as jnp

from paretax._weighting import Weighting, from_losses
from paretax.weightings._loss_values import on_positive_losses

__all__ = ["geometric_mean"]


def geometric_mean() -> Weighting:
    """The geometric loss strategy: the gradient of s = (∏ᵢ Lᵢ)^(1/m), wᵢ = s/(m Lᵢ).

    The direction is that of `scale_invariant`, its length that of a loss: it shrinks
    as the losses do.

    Returns:
      A weighting on the losses; positive weights, wᵢLᵢ = s/m for every task. m counts
      the tasks that take part. A loss of at most 0 has no logarithm: its task is left
      out of that step (weight 0), and the state has `converged` False and in `error`
      the number of such tasks. The weight of a task whose loss is not finite is NaN.

    Raises:
      ValueError: at update, `losses` missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.geometric_mean()
      >>> weights, _ = weighting.update(
      ...     None, weighting.init(2), losses=jnp.array([1.0, 4.0]))
      >>> [round(w, 3) for w in weights.tolist()]
      [1.0, 0.25]

    Cost: m logarithms; one backward pass a step.

    Reference: Chennupati et al., "MultiNet++: Multi-Stream Feature Aggregation and
    Geometric Loss Strategy for Multi-Task Learning", CVPR Workshops 2019,
    arXiv:1904.08492. Departures: computed as exp(mean log Lᵢ), so that the product
    neither overflows nor underflows; losses of at most 0 are left out, where the
    product is 0 and its root has no derivative.
    """
    return on_positive_losses(from_losses(_geometric_mean))


def _geometric_mean(losses, *, active=None):
    if active is None:
        return jnp.exp(jnp.mean(jnp.log(losses)))
    logs = jnp.log(jnp.where(active, losses, 1.0))
    return jnp.exp(jnp.sum(logs) / jnp.maximum(jnp.sum(active), 1))
