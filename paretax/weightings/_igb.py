"""Weights from how much of each loss is left to improve."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_count
from paretax._types import Losses, Weights
from paretax._weighting import Weighting, as_before, init_state, never
from paretax.weightings._loss_values import read_losses, show

__all__ = ["IgbState", "igb"]


class IgbState(NamedTuple):
    """The state of `igb`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite and every active loss could be read.
      error: the number of active losses that could not.
      base: each task's base loss, as far as it is known, shape [m].
      calls: how many losses have been read, until the base is known, shape [m].
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    base: Losses
    calls: Int[Array, " m"]


def igb(*, skip: int = 0, window: int = 1) -> Weighting:
    """Improvable gap balancing, first version: wᵢ = m·softmax(L/L⁰)ᵢ / Lᵢ.

    That is the gradient of Σᵢ aᵢ log Lᵢ, with a = m·softmax(L/L⁰) held constant: on top
    of `scale_invariant`, the losses that have fallen least since the base L⁰ have more
    weight. L⁰ is each task's mean loss over n steps, after those that are skipped;
    until it is known a = 1.

    Args:
      skip: ≥ 0, steps before the base is taken.
      window: n ≥ 1, steps that the base is the mean of. The authors' code takes the
        second epoch: `skip` and `window` are then both the number of its steps.

    Returns:
      A weighting on the losses; positive weights with Σᵢ wᵢLᵢ = m, the number of active
      tasks. A task whose base is not known yet counts as at its base; a missing one
      keeps what it has. A loss of at most 0 has no logarithm: its task is left out of
      that step (weight 0, nothing remembered), and the state has `converged` False. The
      weight of a task whose loss is not finite is NaN.

    Raises:
      ValueError: `skip` is negative or `window` not positive; at update, `losses`
        missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.igb()
      >>> state = weighting.init(2)
      >>> for losses in ([1.0, 8.0], [1.0, 4.0]):
      ...     weights, state = weighting.update(
      ...         None, state, losses=jnp.array(losses))
      ...     print([round(w, 3) for w in weights.tolist()])
      [1.0, 0.125]
      [1.245, 0.189]

    Cost: m exponentials; one backward pass a step.

    Reference: Dai, Fei & Lu, "Improvable Gap Balancing for Multi-Task Learning", UAI
    2023, arXiv:2307.15429, IGBv1 (the second version learns weights by reinforcement).
    Departures: the base is counted in steps, where the code counts epochs; losses of at
    most 0 are left out.
    """
    skip = check_count("skip", skip, least=0)
    window = check_count("window", window)

    def init(num_tasks):
        first = init_state(num_tasks)
        base = jnp.zeros(num_tasks, float)
        return IgbState(*first, base, jnp.zeros(num_tasks, jnp.int32))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        values = read_losses(losses, state, active)
        known = state.calls == skip + window
        gap = values.losses / jnp.where(known, state.base, 1.0)
        gap = jnp.where(known, gap, 1.0)
        share = jax.nn.softmax(gap, where=values.readable)
        weights = jnp.sum(values.readable) * share / values.losses
        weights, shown = show(weights, values, state)
        counted = values.readable & (state.calls >= skip) & ~known
        base = jnp.where(counted, state.base + values.losses / window, state.base)
        calls = jnp.minimum(state.calls + values.readable, skip + window)
        new = IgbState(*shown, base, calls)
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update, never)
