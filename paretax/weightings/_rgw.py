"""Random weights on the gradients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from paretax._checks import check_key
from paretax._types import Weights
from paretax._weighting import (
    Weighting,
    as_default_float,
    certify,
    init_state,
    never,
)

__all__ = ["RgwState", "rgw"]


class RgwState(NamedTuple):
    """The state of `rgw`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite.
      error: 0 after the first update.
      key: what the next step draws from.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    key: Key[Array, ""]


def rgw(*, key: Key[Array, ""]) -> Weighting:
    """Random gradient weighting: w = softmax(z), z ~ N(0, I), drawn anew at each step.

    E[w] = 1/m, so the direction is that of `uniform` with a multiplicative noise on top
    of the mini-batch's.

    Args:
      key: a typed key, as `jax.random.key(0)` makes it.

    Returns:
      A weighting that needs neither the Gramian nor the losses; weights on the simplex.
      With missing tasks the softmax runs over the active ones. z of a task depends on
      the key, the step and the task's index only.

    Raises:
      ValueError: `key` is no single typed key.

    Example:
      >>> import jax, paretax as px
      >>> random = px.rgw(key=jax.random.key(0))
      >>> weights, state = random.update(None, random.init(3))
      >>> round(float(weights.sum()), 3), bool((weights > 0).all())
      (1.0, True)

    Cost: m random numbers; one backward pass a step.

    Reference: Lin, Ye, Zhang & Tsang, "Reasonable Effectiveness of Random Weighting: A
    Litmus Test for Multi-Task Learning", TMLR 2022, arXiv:2111.10603. Departure: none
    in the rule; the weights multiply the shared parameters' gradients only, as in
    LibMTL's RGW; with `combine(..., weight_heads=True)` it is random loss weighting.
    """
    key = check_key(key)

    def init(num_tasks):
        return RgwState(*init_state(num_tasks), key)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, losses, extra_args
        following, now = jax.random.split(state.key)
        m = state.weights.shape[0]
        keys = jax.vmap(jax.random.fold_in, (None, 0))(now, jnp.arange(m))
        # In float32, so that the draws are the same in an x64 program.
        z = jax.vmap(lambda k: jax.random.normal(k, dtype=jnp.float32))(keys)
        weights = jax.nn.softmax(as_default_float(z), where=active)
        weights, shown = certify(weights, state, active)
        return weights, RgwState(*shown, following)

    return Weighting(init, update, never)
