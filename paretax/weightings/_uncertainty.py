"""Weights from learned task uncertainties."""

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

__all__ = ["uncertainty"]


def uncertainty(*, optimizer: optax.GradientTransformation | None = None) -> Weighting:
    """Uncertainty weighting: Σᵢ ½e^(−sᵢ)Lᵢ + ½sᵢ, the log-variances s learned with θ.

    wᵢ = ½e^(−sᵢ) multiplies the gradients at the present s; then s takes its own step
    along ∂/∂sᵢ = ½ − wᵢLᵢ. At its minimum in s every task has wᵢLᵢ = ½.

    Args:
      optimizer: steps s; None is `optax.adam(0.025)`. Its state is kept in the
        weighting's, one copy a task.

    Returns:
      A weighting on the losses; positive weights, ½ each at first. s and the
      optimizer's memory of a missing task stay as they are. A loss of at most 0 is
      read as it is: its s falls without bound. A loss that is not finite is not
      remembered: its weight is NaN, `converged` False.

    Raises:
      ValueError: `optimizer` is no optax transformation; at update, `losses` missing
        or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, optax, paretax as px
      >>> weighting = px.uncertainty(optimizer=optax.sgd(0.1))
      >>> state = weighting.init(2)
      >>> for _ in range(2):
      ...     weights, state = weighting.update(
      ...         None, state, losses=jnp.array([1.0, 5.0]))
      ...     print([round(w, 3) for w in weights.tolist()])
      [0.5, 0.5]
      [0.5, 0.409]

    Cost: m exponentials and the optimizer on m numbers; one backward pass a step.

    Reference: Kendall, Gal & Cipolla, "Multi-Task Learning Using Uncertainty to Weigh
    Losses for Scene Geometry and Semantics", CVPR 2018, arXiv:1705.07115, in the form
    that Nash-MTL's code and LibMTL use for every loss. (The paper has e^(−s)L without ½
    for a classification loss.) Departures: s starts at 0,
    as in Nash-MTL's code (LibMTL: −½); s has an optimizer of its own, in the same step
    as θ's, with Nash-MTL's learning rate.
    """
    optimizer = check_optimizer(optimizer)

    def init(num_tasks):
        return init_learned(num_tasks, optimizer)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        values = read_losses(losses, state, active, positive=False)
        weights = 0.5 * jnp.exp(-state.parameters)
        gradients = 0.5 - weights * values.losses
        learned = step_learned(optimizer, gradients, state, values.readable)
        weights, shown = show(weights, values, state)
        return weights, jax.tree.map(as_before, LearnedState(*shown, *learned), state)

    return Weighting(init, update, never)
