"""Weights from each loss relative to an earlier one, now and then to the first."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from paretax._checks import check_fraction, check_key, check_positive
from paretax._types import Losses, Weights
from paretax._weighting import Weighting, as_before, init_state, never
from paretax.weightings._loss_values import read_losses, show

__all__ = ["ReLoBRaLoState", "relobralo"]


class ReLoBRaLoState(NamedTuple):
    """The state of `relobralo`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite and every active loss could be read.
      error: the number of active losses that could not.
      average: λ, each task's last weight, shape [m]; 1 at first.
      first: each task's first loss, shape [m].
      previous: its last one, likewise.
      calls: 0, 1, or 2 for more, shape [m].
      key: what the next step draws from.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    average: Weights
    first: Losses
    previous: Losses
    calls: Int[Array, " m"]
    key: Key[Array, ""]


def relobralo(
    *,
    key: Key[Array, ""],
    decay: float = 0.999,
    temperature: float = 0.1,
    saudade: float = 0.99,
) -> Weighting:
    """Relative loss balancing with random lookback.

    With λ̂(t, s) = m·softmax(L(t)/(T·L(s))), the weights are
    λ(t) = α[ρ λ(t−1) + (1 − ρ) λ̂(t, 0)] + (1 − α) λ̂(t, t−1), where ρ ∈ {0, 1} is
    drawn at each step, 1 with probability E[ρ]: a loss that fell less since the last
    step has more weight, and where ρ = 0 the average is begun anew from what has
    happened since the first. λ(0) = 1 and λ(1) = λ̂(1, 0).

    Args:
      key: a typed key, as `jax.random.key(0)` makes it.
      decay: α in [0, 1], how much of the average is kept.
      temperature: T > 0; the larger, the more even the weights.
      saudade: E[ρ] in [0, 1], the probability of not looking back.

    Returns:
      A weighting on the losses; positive weights that sum to m, the number of active
      tasks, while the same ones are active. A missing task keeps λ and its losses, and
      its steps are counted without the ones it missed. A loss of at most 0 has its
      ratio but is not remembered, and the state has `converged` False. One that is not
      finite is left out and not remembered; its weight is NaN.

    Raises:
      ValueError: `key` is no single typed key, α or E[ρ] outside [0, 1], T ≤ 0; at
        update, `losses` missing or not of shape [m].

    Example:
      >>> import jax, jax.numpy as jnp, paretax as px
      >>> weighting = px.relobralo(key=jax.random.key(0), temperature=1.0)
      >>> state = weighting.init(2)
      >>> for losses in ([1.0, 8.0], [1.0, 4.0]):
      ...     weights, state = weighting.update(
      ...         None, state, losses=jnp.array(losses))
      ...     print([round(w, 3) for w in weights.tolist()])
      [1.0, 1.0]
      [1.245, 0.755]

    Cost: 2m exponentials and one random number; one backward pass a step.

    Reference: Bischof & Kraus, "Multi-Objective Loss Balancing for Physics-Informed
    Deep Learning", 2021, arXiv:2110.09813. Recurrence and defaults are those of the
    Keras loss its authors published with their tutorial: L(0) is the first step's loss
    (their script keeps the second's, with T = 1 and E[ρ] = 1). Departure: no ε in the
    denominators. jinns takes the ratio weights of the step before, not their average,
    for λ(t−1).
    """
    key = check_key(key)
    alpha = check_fraction("decay", decay)
    check_positive("temperature", temperature)
    check_fraction("saudade", saudade)

    def init(num_tasks):
        start = init_state(num_tasks)
        ones = jnp.ones(num_tasks, float)
        calls = jnp.zeros(num_tasks, jnp.int32)
        return ReLoBRaLoState(*start, ones, ones, ones, calls, key)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        finite = read_losses(losses, state, active, positive=False)
        values = read_losses(losses, state, active)
        following, now = jax.random.split(state.key)
        persists = jax.random.bernoulli(now, saudade)
        last, origin = _balanced(finite, state, temperature)
        kept = jnp.where(persists, state.average, origin)
        average = alpha * kept + (1 - alpha) * last
        average = jnp.where(state.calls == 1, last, average)
        average = jnp.where(state.calls == 0, 1.0, average)
        weights, shown = show(average, values, state)
        new = ReLoBRaLoState(
            *shown,
            average=jnp.where(finite.readable, average, state.average),
            first=jnp.where(
                values.readable & (state.calls == 0), values.losses, state.first
            ),
            previous=jnp.where(values.readable, values.losses, state.previous),
            calls=jnp.minimum(state.calls + values.readable, 2),
            key=following,
        )
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update, never)


def _balanced(values, state, temperature):
    """λ̂ with respect to the last loss and to the first."""
    count = jnp.sum(values.readable)

    def balanced(reference):
        reference = jnp.where(state.calls == 0, values.losses, reference)
        usable = reference != 0
        ratio = values.losses / jnp.where(usable, reference, 1.0)
        ratio = jnp.where(usable, ratio, 1.0) / temperature
        return count * jax.nn.softmax(ratio, where=values.readable)

    return balanced(state.previous), balanced(state.first)
