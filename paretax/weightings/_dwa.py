"""Weights from how fast each loss fell of late."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_count, check_positive
from paretax._types import Weights
from paretax._weighting import Weighting, as_before, init_state, never
from paretax.weightings._loss_values import read_losses, show

__all__ = ["DwaState", "dwa"]


class DwaState(NamedTuple):
    """The state of `dwa`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite and every active loss could be read.
      error: the number of active losses that could not.
      history: each task's last 2n losses, oldest first, shape [m, 2n].
      calls: how many of them are there, shape [m].
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    history: Float[Array, "m two_n"]
    calls: Int[Array, " m"]


def dwa(*, temperature: float = 2.0, window: int = 1) -> Weighting:
    """Dynamic weight average: w = m·softmax(r/T), rᵢ = Lᵢ(t−1)/Lᵢ(t−2).

    A loss that fell less than the others has more weight. L(t−1) and L(t−2) are the
    means of a task's last n losses and of the n before them, the present one excluded;
    w = 1 until 2n are known. The losses of single batches are noisy: the paper compares
    epochs, that is, n steps of one epoch.

    Args:
      temperature: T > 0; the larger, the more even the weights.
      window: n ≥ 1, in steps.

    Returns:
      A weighting on the losses; positive weights that sum to m, the number of active
      tasks. A task with fewer than 2n losses so far counts as steady, rᵢ = 1; a missing
      one remembers what it has. A loss that is not positive and finite is not
      remembered, and the state has `converged` False; the weight is NaN where it is not
      finite.

    Raises:
      ValueError: `temperature` ≤ 0, `window` no positive integer; at update, `losses`
        missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.dwa(temperature=2.0)
      >>> state = weighting.init(2)
      >>> for losses in ([1.0, 8.0], [1.0, 4.0], [1.0, 2.0]):
      ...     weights, state = weighting.update(
      ...         None, state, losses=jnp.array(losses))
      ...     print([round(w, 3) for w in weights.tolist()])
      [1.0, 1.0]
      [1.0, 1.0]
      [1.124, 0.876]

    Cost: 2n numbers a task; one backward pass a step.

    Reference: Liu, Johns & Davison, "End-to-End Multi-Task Learning with Attention",
    CVPR 2019, arXiv:1803.10704. Departures: windows of steps, in a sliding mean, where
    the paper has epochs. Nash-MTL's code (n = 25) has such windows too, but counts the
    present loss in the later one, begins after n steps with ones for what it has not
    seen yet, and minimizes the mean of the weighted losses, not their sum.
    """
    check_positive("temperature", temperature)
    n = check_count("window", window)

    def init(num_tasks):
        first = init_state(num_tasks)
        history = jnp.zeros((num_tasks, 2 * n), float)
        return DwaState(*first, history, jnp.zeros(num_tasks, jnp.int32))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        values = read_losses(losses, state, active)
        ratio = _ratio(state, n) / temperature
        count = jnp.sum(values.active)
        weights = count * jax.nn.softmax(ratio, where=values.active)
        weights, shown = show(weights, values, state)
        later = jnp.concatenate([state.history[:, 1:], values.losses[:, None]], axis=1)
        history = jnp.where(values.readable[:, None], later, state.history)
        calls = jnp.minimum(state.calls + values.readable, 2 * n)
        new = DwaState(*shown, history, calls)
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update, never)


def _ratio(state, n):
    known = state.calls >= 2 * n
    earlier = jnp.mean(state.history[:, :n], axis=1)
    later = jnp.mean(state.history[:, n:], axis=1)
    return jnp.where(known, later / jnp.where(known, earlier, 1.0), 1.0)
