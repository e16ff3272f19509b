"""Weights that bring all losses to one scale."""

import jax
import jax.numpy as jnp
import optax

from paretax._weighting import Weighting, as_before, never
from paretax.weightings._learned import (
    LearnedState,
    check_optimizer,
    init_learned,
    step_learned,
)
from paretax.weightings._loss_values import read_losses, show

__all__ = ["imtl_l"]


def imtl_l(*, optimizer: optax.GradientTransformation | None = None) -> Weighting:
    """Impartial learning, loss balance: Σᵢ e^(sᵢ)Lᵢ − sᵢ, the scales s learned with θ.

    wᵢ = e^(sᵢ) multiplies the gradients at the present s; then s takes its own step
    along ∂/∂sᵢ = wᵢLᵢ − 1. At its minimum in s every scaled loss wᵢLᵢ is 1. (It is
    twice `uncertainty` with −s for s: they differ by the step that s takes.)

    Args:
      optimizer: steps s; None is `optax.adam(0.025)`. Its state is kept in the
        weighting's, one copy a task.

    Returns:
      A weighting on the losses; positive weights, 1 each at first. s and the
      optimizer's memory of a missing task stay as they are. A loss of at most 0 is
      read as it is: its s grows without bound. A loss that is not finite is not
      remembered: its weight is NaN, `converged` False.

    Raises:
      ValueError: `optimizer` is no optax transformation; at update, `losses` missing
        or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, optax, paretax as px
      >>> weighting = px.imtl_l(optimizer=optax.sgd(0.1))
      >>> state = weighting.init(2)
      >>> for _ in range(2):
      ...     weights, state = weighting.update(
      ...         None, state, losses=jnp.array([1.0, 5.0]))
      ...     print([round(w, 3) for w in weights.tolist()])
      [1.0, 1.0]
      [1.0, 0.67]

    Cost: m exponentials and the optimizer on m numbers; one backward pass a step.

    Reference: Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021
    (https://openreview.net/forum?id=IMPnRXEWpvr), its loss balance.
    Departures: s has an optimizer of its own, in the same step as θ's; the gradient
    balance is another weighting.
    """
    optimizer = check_optimizer(optimizer)

    def init(num_tasks):
        return init_learned(num_tasks, optimizer)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        values = read_losses(losses, state, active, positive=False)
        weights = jnp.exp(state.parameters)
        gradients = weights * values.losses - 1.0
        learned = step_learned(optimizer, gradients, state, values.readable)
        weights, shown = show(weights, values, state)
        return weights, jax.tree.map(as_before, LearnedState(*shown, *learned), state)

    return Weighting(init, update, never)
