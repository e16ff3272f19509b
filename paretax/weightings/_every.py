"""The inner problem solved at some steps only, its weights kept in between."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_count
from paretax._types import Weights
from paretax._weighting import Weighting, as_before, check_num_tasks
from paretax.weightings._wrapped import check_inner, pack, unpack

__all__ = ["EveryState", "every"]


class EveryState(NamedTuple):
    """The state of `every`.

    Attributes:
      weights: the last weights, shape [m].
      converged: the certificate of the step that made them.
      error: likewise.
      step: steps since then; 0 where the next update makes new ones.
      inner: the leaves of the wrapped weighting's state.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    step: Int[Array, ""]
    inner: tuple[Any, ...]


def every(weighting: Weighting, *, num_steps: int) -> Weighting:
    """New weights at steps 0, n, 2n, ...; the same weights in between.

    In between `needs_gram` is False: `value_and_direction` then takes one backward
    pass instead of m, and `combine` forms no K.

    Args:
      weighting: what makes the weights.
      num_steps: n ≥ 1; 1 is `weighting` itself.

    Returns:
      A weighting that obeys the laws of `weighting` at the steps that make new weights.
      A task that is inactive at another step has the weight 0 there. Weights made while
      a task was inactive hold 0 for it until the next new ones.

    Raises:
      ValueError: `weighting` is no weighting, or `num_steps` no positive integer.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.every(px.mgda(), num_steps=2)
      >>> state = weighting.init(2)
      >>> for gram in (jnp.diag(jnp.array([4.0, 1.0])), None):
      ...     needs = bool(weighting.needs_gram(state))
      ...     weights, state = weighting.update(gram, state)
      ...     print(needs, [round(w, 3) for w in weights.tolist()])
      True [0.2, 0.8]
      False [0.2, 0.8]

    Cost: that of `weighting` once in n steps.

    Reference: `update_weights_every` of Navon et al., "Multi-Task Learning as a
    Bargaining Game", ICML 2022, arXiv:2202.01017. Departure: none in the rule; the
    Gramian is not formed at the steps that do not read it.
    """
    check_inner(weighting, "px.every(px.nash_mtl(), num_steps=10)")
    n = check_count("num_steps", num_steps)

    def init(num_tasks):
        check_num_tasks(num_tasks)
        inner = weighting.init(num_tasks)
        first = inner.weights, inner.converged, inner.error
        return EveryState(*first, jnp.zeros((), jnp.int32), pack(inner))

    def needs_gram(state):
        inner = weighting.needs_gram(unpack(weighting, state))
        return inner if inner is False else jnp.logical_and(state.step == 0, inner)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        extra_args = {"losses": losses, "active": active, **extra_args}
        inner = unpack(weighting, state)

        def renew():
            _, new = weighting.update(gram, inner, **extra_args)
            new = jax.tree.map(as_before, new, inner)
            return new.weights, new.converged, new.error, pack(new)

        def keep():
            return state.weights, state.converged, state.error, state.inner

        if gram is None and weighting.needs_gram(inner) is True:
            made = keep()
        else:
            made = jax.lax.cond(state.step == 0, renew, keep)
        weights, converged, error, leaves = made
        new = EveryState(weights, converged, error, (state.step + 1) % n, leaves)
        shown = weights if active is None else jnp.where(active, weights, 0)
        return shown, new

    return Weighting(init, update, needs_gram)
