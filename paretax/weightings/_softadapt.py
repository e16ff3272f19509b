"""Weights from the last change of each loss."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from paretax._checks import check_finite
from paretax._types import Losses, Weights
from paretax._weighting import Weighting, as_before, init_state, never
from paretax.weightings._loss_values import read_losses, show

__all__ = ["SoftAdaptState", "softadapt"]


class SoftAdaptState(NamedTuple):
    """The state of `softadapt`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite and every active loss could be read.
      error: the number of active losses that could not.
      previous: each task's last loss, shape [m].
      known: whether it had one, shape [m].
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    previous: Losses
    known: Bool[Array, " m"]


def softadapt(
    *, beta: float = 0.1, normalized: bool = False, loss_weighted: bool = False
) -> Weighting:
    """SoftAdapt: w = softmax(βs), sᵢ = Lᵢ(t) − Lᵢ(t−1), the last change of each loss.

    With `normalized`, s is divided by Σⱼ|sⱼ|. With `loss_weighted`, wᵢ ∝ L̄ᵢ e^(βsᵢ),
    L̄ᵢ the mean of Lᵢ(t) and Lᵢ(t−1).

    Args:
      beta: β, finite, per unit of the losses (without unit if `normalized`). β > 0
        favors the losses that fall least, β < 0 those that fall most.
      normalized: whether changes are relative to all of them together.
      loss_weighted: whether large losses have more weight.

    Returns:
      A weighting on the losses; weights on the simplex of the active tasks. A task
      without an earlier loss has s = 0; a missing one keeps its last loss. A loss that
      is not finite is not remembered: its weight is NaN and `converged` False. With
      `loss_weighted` the same holds of losses of at most 0, but for the weight, which
      is 0.

    Raises:
      ValueError: β is not finite; at update, `losses` missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.softadapt(beta=0.5)
      >>> state = weighting.init(2)
      >>> for losses in ([1.0, 8.0], [1.0, 6.0]):
      ...     weights, state = weighting.update(
      ...         None, state, losses=jnp.array(losses))
      ...     print([round(w, 3) for w in weights.tolist()])
      [0.5, 0.5]
      [0.731, 0.269]

    Cost: m exponentials; one backward pass a step.

    Reference: Heydari, Thompson & Mehmood, "SoftAdapt: Techniques for Adaptive Loss
    Weighting of Neural Networks with Multi-Part Loss Functions", 2019,
    arXiv:1912.12355. Departures: changes are first differences at every step (the
    authors' package offers higher orders over stored points); weights begin as the
    softmax of no change, not as ones; no ε. The package divides by Σⱼsⱼ with its sign
    for `normalized`, which turns the preference round wherever losses fall; here it is
    the sum of absolute values, as in the authors' first code. The rule with
    Lᵢ(t)/Lᵢ(t−1) in place of sᵢ, which some libraries call SoftAdapt, is
    `relobralo(decay=0.0, temperature=1.0)` over m.
    """
    check_finite("beta", beta)

    def init(num_tasks):
        first = init_state(num_tasks)
        previous = jnp.zeros(num_tasks, float)
        return SoftAdaptState(*first, previous, jnp.zeros(num_tasks, bool))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        values = read_losses(losses, state, active, positive=loss_weighted)
        seen = values.readable & state.known
        previous = jnp.where(seen, state.previous, values.losses)
        change = values.losses - previous
        if normalized:
            whole = jnp.sum(jnp.abs(change))
            change = change / jnp.where(whole > 0, whole, 1.0)
        exponent = beta * change
        if loss_weighted:
            exponent = exponent + jnp.log(0.5 * values.losses + 0.5 * previous)
        weights = jax.nn.softmax(exponent, where=values.readable)
        weights, shown = show(weights, values, state)
        previous = jnp.where(values.readable, values.losses, state.previous)
        new = SoftAdaptState(*shown, previous, state.known | values.readable)
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update, never)
