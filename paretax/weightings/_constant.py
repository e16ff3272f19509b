"""Weights that look at nothing."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._checks import is_concrete
from paretax._types import Weights
from paretax._weighting import (
    Weighting,
    as_default_float,
    certify,
    init_state,
    never,
)

__all__ = ["fixed", "total", "uniform"]


def uniform() -> Weighting:
    """The mean of the task gradients: wᵢ = 1/m.

    Returns:
      A weighting that needs no Gramian. The mean runs over the active tasks.

    Example:
      >>> import paretax as px
      >>> weights, _ = px.uniform().update(None, px.uniform().init(4))
      >>> weights.tolist()
      [0.25, 0.25, 0.25, 0.25]

    Cost: none; one backward pass a step.

    Reference: linear scalarization with equal weights, the usual baseline.
    """

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, losses, extra_args
        ones = jnp.ones_like(state.weights)
        if active is not None:
            ones = jnp.where(active, ones, 0.0)
        return certify(ones / jnp.maximum(jnp.sum(ones), 1.0), state, active)

    return Weighting(init_state, update, never)


def total() -> Weighting:
    """The sum of the task gradients: wᵢ = 1.

    Returns:
      A weighting that needs no Gramian. The sum runs over the active tasks.

    Example:
      >>> import paretax as px
      >>> weights, _ = px.total().update(None, px.total().init(2))
      >>> weights.tolist()
      [1.0, 1.0]

    Cost: none; one backward pass a step.

    Reference: linear scalarization, called LS or EW in the literature's tables.
    """

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, losses, extra_args
        return certify(jnp.ones_like(state.weights), state, active)

    return Weighting(init_state, update, never)


def fixed(weights: Weights | ArrayLike) -> Weighting:
    """Weights chosen beforehand: wᵢ = cᵢ.

    Args:
      weights: c, shape [m], finite; neither normalized nor required to be positive.

    Returns:
      A weighting that needs no Gramian. Inactive tasks get 0, the others keep theirs.

    Raises:
      ValueError: c is not a finite vector; at `init`, m is not its length.

    Example:
      >>> import paretax as px
      >>> tuned = px.fixed([1.0, 0.1])
      >>> [round(w, 2) for w in tuned.update(None, tuned.init(2))[0].tolist()]
      [1.0, 0.1]

    Cost: none; one backward pass a step.

    Reference: linear scalarization with tuned weights.
    """
    chosen = as_default_float(weights)
    if chosen.ndim != 1:
        raise ValueError(f"weights: expected shape [m], got {chosen.shape}.")
    if is_concrete(chosen) and not bool(jnp.all(jnp.isfinite(chosen))):
        raise ValueError(f"weights: expected finite numbers, got {chosen.tolist()}.")

    def init(num_tasks):
        state = init_state(num_tasks)
        if chosen.shape != (num_tasks,):
            raise ValueError(
                f"weights: expected {num_tasks} of them (num_tasks), got "
                f"{chosen.shape[0]}."
            )
        return state

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, losses, extra_args
        return certify(chosen, state, active)

    return Weighting(init, update, never)
