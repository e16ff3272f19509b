"""Losses and the combined direction of a weighting, on the Gramian engine."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from paretax._combine import check_weighting, weigh, where_needed
from paretax._jacobian import value_and_gramian, value_and_pullback
from paretax._weighting import Weighting

__all__ = ["value_and_direction"]


def value_and_direction(
    fun: Callable, weighting: Weighting, *, has_aux: bool = False, **options: Any
) -> Callable:
    """The losses, the direction Jᵀw with w = weighting(J Jᵀ), and the next state.

    The numbers of `combine(weighting, m)` on stacked gradients, without them: K where
    the weighting reads it, and one weighted backward pass where it does not, so that
    `every(nash_mtl(), num_steps=10)` saves nine Gramians in ten, and weightings on
    losses cost one backward pass.

    Args:
      fun: `fun(params, *args, **kwargs) -> losses` of shape [m], or `(losses, aux)`.
      weighting: what makes the weights; its state is `weighting.init(m)` (`init(b * m)`
        with `instance_axes`).
      has_aux: whether `fun` returns a pair.
      **options: `shared`, `weight_heads`, `chunk_size`, `route`, `precise`,
        `instance_axes`, `axis_name`, as for `value_and_gramian`.

    Returns:
      `(params, state, *args, **kwargs) -> (losses, direction, state)`, or `((losses,
      aux), direction, state)`. The direction is a gradient, to be handed to an optax
      optimizer. Keywords of its own: `active`, a bool array [m] ([b, m] with
      `instance_axes`), and `extra_args`, a dictionary of what else the weighting reads.

    Raises:
      ValueError: as `value_and_gramian`; `weighting` is no weighting.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> step = px.value_and_direction(
      ...     lambda x: jnp.stack([x @ x, jnp.sum((x - 2) ** 2)]), px.mgda())
      >>> losses, direction, state = step(jnp.array([3.0, 1.0]), px.mgda().init(2))
      >>> [round(x, 3) for x in direction.tolist()], bool(state.converged)
      ([2.0, -2.0], True)

    Cost: that of `value_and_gramian` and `pullback`, or of one forward and one backward
    pass. Under `jax.vmap`, `every` takes both at every step: a `lax.cond` becomes a
    select there.
    """
    check_weighting(weighting)
    precise = options.get("precise", False)
    with_gram = value_and_gramian(fun, has_aux=has_aux, **options)
    kept = {k: options[k] for k in options if k not in _OF_THE_GRAMIAN}
    without_gram = value_and_pullback(fun, has_aux=has_aux, **kept)
    instances = options.get("instance_axes") is not None

    def wrapped(params, state, *args, active=None, extra_args=None, **kwargs):
        def run(engine):
            if engine is None and not instances:
                gram = None
                out, back = without_gram(params, *args, active=active, **kwargs)
            else:
                out, gram, back = with_gram(params, *args, active=active, **kwargs)
                gram = None if engine is None else gram
            losses = out[0] if has_aux else out
            extra = {"losses": losses.reshape(-1), **(extra_args or {})}
            if active is not None:
                extra["active"] = jnp.reshape(active, -1)
            weights, new_state = weigh(weighting, gram, state, precise, extra)
            return out, back(weights), new_state

        return where_needed(weighting.needs_gram(state), run, with_gram)

    return wrapped


_OF_THE_GRAMIAN = ("chunk_size", "route", "precise", "instance_axes")
