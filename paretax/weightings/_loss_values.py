"""Which losses a weighting may read, and what its state shows of the others."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool

from paretax._types import Active, Losses, Solution, Weights
from paretax._weighting import (
    Weighting,
    WeightingState,
    certify,
    never,
    require_losses,
)

__all__ = ["LossValues", "on_positive_losses", "read_losses", "show"]


class LossValues(NamedTuple):
    """The losses of one step, safe to compute with.

    Attributes:
      losses: shape [m]; 1 where they may not be read.
      active: bool, shape [m]: the tasks that take part.
      readable: bool, shape [m]: those of them whose loss is finite, and positive where
        the method asks for that. No other loss is remembered.
      lost: bool, shape [m]: the active tasks whose loss is not finite.
    """

    losses: Losses
    active: Bool[Array, " m"]
    readable: Bool[Array, " m"]
    lost: Bool[Array, " m"]


def read_losses(
    losses: Losses | None, state: Any, active: Active | None, *, positive: bool = True
) -> LossValues:
    """The losses, with a mask of those that may be read.

    Args:
      losses: shape [m], as `update` gets them.
      state: any weighting's state; its weights tell m.
      active: bool, shape [m], or None.
      positive: whether a loss of at most 0 has no meaning in the method.

    Returns:
      `LossValues`.

    Raises:
      ValueError: `losses` is missing or not of shape [m].
    """
    m = state.weights.shape[0]
    losses = require_losses(losses, m)
    taking_part = jnp.ones(m, bool) if active is None else active
    finite = jnp.isfinite(losses)
    readable = taking_part & finite
    if positive:
        readable = readable & (losses > 0)
    safe = jnp.where(readable, losses, 1.0)
    return LossValues(safe, taking_part, readable, taking_part & ~finite)


def show(
    weights: Weights, values: LossValues, state: Any
) -> tuple[Weights, WeightingState]:
    """The weights, and the certificate: every active loss could be read.

    `error` is the number of active losses that could not; a loss that is not finite
    makes its task's weight NaN, so that it shows.
    """
    weights = jnp.where(values.lost, jnp.nan, weights)
    missed = jnp.sum(values.active & ~values.readable)
    sound = (missed == 0) & jnp.all(jnp.isfinite(weights) | ~values.active)
    answer = Solution(weights, sound, jnp.zeros((), jnp.int32), missed.astype(float))
    return certify(answer, state, values.active)


def on_positive_losses(weighting: Weighting) -> Weighting:
    """A stateless weighting on losses, its tasks without a positive loss left out."""

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        values = read_losses(losses, state, active)
        weights, _ = weighting.update(
            None, state, losses=values.losses, active=values.readable
        )
        return show(weights, values, state)

    return Weighting(weighting.init, update, never)
