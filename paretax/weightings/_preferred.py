"""A preference over tasks, as several weightings take it: checked, cut to a mask."""

from collections.abc import Callable

import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._checks import check_preference
from paretax._types import Active, Weights
from paretax._weighting import Weighting, as_default_float, stateless

__all__ = ["preferred", "shares"]


def preferred(fun: Callable, preference: Weights | ArrayLike | None) -> Weighting:
    """The stateless weighting of `fun(gram, p)`, whose p sums to 1 over active tasks.

    Args:
      fun: (K, p) -> weights or a `Solution`; the rows and columns of inactive tasks
        reach it as zeros, and so do their shares.
      preference: p, shape [m], non-negative, summing to 1; None is 1/m each.

    Raises:
      ValueError: p is no point of the simplex; at `init`, m is not its length.
    """
    chosen = None if preference is None else check_preference(preference)

    def weights(gram, active=None):
        return fun(gram, shares(chosen, active, gram.shape[0]))

    weighting = stateless(weights)

    def init(num_tasks):
        state = weighting.init(num_tasks)
        if chosen is not None and chosen.shape != (num_tasks,):
            raise ValueError(
                f"preference: expected {num_tasks} entries (num_tasks), got "
                f"{chosen.shape[0]}."
            )
        return state

    return weighting._replace(init=init)


def shares(
    preference: Weights | None, active: Active | None, num_tasks: int
) -> Weights:
    """p over the active tasks, divided by its sum there; zeros where that is 0."""
    if preference is None:
        p = jnp.ones(num_tasks, float)
    else:
        p = as_default_float(preference)
    p = p if active is None else jnp.where(active, p, 0.0)
    total = jnp.sum(p)
    return p / jnp.where(total > 0, total, 1.0)
