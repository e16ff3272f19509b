"""Learned weights that balance gradient norms against training rates."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from paretax._checks import check_non_negative
from paretax._types import Losses, Solution, Weights
from paretax._weighting import (
    Weighting,
    as_before,
    as_default_float,
    certify,
    check_gram,
    require_losses,
)
from paretax.weightings._learned import check_optimizer, init_learned, step_learned

__all__ = ["GradNormState", "gradnorm"]


class GradNormState(NamedTuple):
    """The state of `gradnorm`.

    Attributes:
      weights: the weights of the last step, shape [m].
      converged: whether the step's gradients and losses were finite.
      error: 0 after the first update.
      parameters: w for the next step, shape [m], sum m.
      initial: every task's first loss, shape [m].
      seen: which tasks have had a first loss, bool [m].
      optimizer: the optimizer's state, one a task on a leading axis.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    parameters: Weights
    initial: Losses
    seen: Bool[Array, " m"]
    optimizer: Any


def gradnorm(
    *,
    alpha: float = 1.5,
    optimizer: optax.GradientTransformation | None = None,
) -> Weighting:
    """GradNorm: weights w under which all tasks train at similar rates.

    With Gᵢ = wᵢ‖gᵢ‖, their mean Ḡ, and rᵢ the loss ratio Lᵢ(t)/Lᵢ(0) divided by the
    mean of these, w takes one step of the optimizer down Σᵢ |Gᵢ − Ḡ rᵢ^α|, the targets
    Ḡ rᵢ^α held constant, and is renormalized to Σᵢ wᵢ = m. A task that lags gets a
    larger gradient. The step's direction uses w before that, so the first one is the
    sum.

    Args:
      alpha: α ≥ 0, how hard lagging tasks are pulled; 0 makes all norms equal.
      optimizer: steps w, one task at a time; None is `optax.adam(0.025)`. It sees
        derivatives of order 1: ±‖gᵢ‖ in units of the mean norm.

    Returns:
      A weighting on the Gramian's diagonal that reads `losses` too (raw, positive).
      Weights are non-negative and sum to the number of active tasks. A task's w, its
      first loss and its optimizer state stand still while it is missing; the active
      tasks keep their joint share of m. A step whose gradients or losses are
      not finite, or whose ratios are not, has `converged` False and teaches nothing.

    Raises:
      ValueError: α < 0, or no optax transformation; at update, no `losses`.

    Example:
      >>> import jax.numpy as jnp, optax, paretax as px
      >>> balance = px.gradnorm(alpha=0.0, optimizer=optax.sgd(0.1))
      >>> state, gram = balance.init(2), jnp.diag(jnp.array([9.0, 1.0]))
      >>> for _ in range(2):
      ...     weights, state = balance.update(gram, state, losses=jnp.ones(2))
      ...     print([round(w, 3) for w in weights.tolist()])
      [1.0, 1.0]
      [0.895, 1.105]

    Cost: that of the optimizer on m numbers; m backward passes a step.

    Reference: Chen, Badrinarayanan, Lee & Rabinovich, "GradNorm: Gradient Normalization
    for Adaptive Loss Balancing in Deep Multitask Networks", ICML 2018,
    arXiv:1711.02257. Departures: norms are taken over all shared leaves, not at the
    last shared layer; derivatives are in units of the mean norm, which changes nothing
    for a single step of an optimizer that ignores scale, as Adam does; a w that a step
    takes below 0 becomes 0. LibMTL learns the logits of w = m·softmax and takes the
    first epoch's mean losses for Lᵢ(0); here, as in the paper, w itself is learned and
    Lᵢ(0) is the first loss. Both use w before its step, as here.
    """
    check_non_negative("alpha", alpha)
    chosen = check_optimizer(optimizer)

    def init(num_tasks):
        first = init_learned(num_tasks, chosen, start=1.0)
        ones, unseen = jnp.ones(num_tasks, float), jnp.zeros(num_tasks, bool)
        shown = first.weights, first.converged, first.error
        return GradNormState(*shown, first.parameters, ones, unseen, first.optimizer)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del extra_args
        m = state.weights.shape[0]
        check_gram(gram, m)
        losses = require_losses(losses, m)
        present = jnp.ones(m, bool) if active is None else active
        norms = _norms(gram, present)
        initial = jnp.where(state.seen, as_default_float(state.initial), losses)
        ratio = jnp.where(present, losses / initial, 0.0)
        finite = jnp.isfinite(norms) & jnp.isfinite(ratio) & (ratio >= 0)
        known = jnp.all(finite | ~present)
        learns = present & known
        shown, share = _shares(as_default_float(state.parameters), present)
        slope = _slope(shown, norms, ratio, present, alpha)
        stepped, memory = step_learned(chosen, slope, state, learns)
        moved, _ = _shares(jnp.maximum(stepped, 0.0), present)
        answer = Solution(shown, known, jnp.zeros((), jnp.int32), jnp.zeros(()))
        weights, certificate = certify(answer, state, active)
        new = GradNormState(
            *certificate,
            parameters=jnp.where(learns, share * moved, state.parameters),
            initial=jnp.where(learns, initial, state.initial),
            seen=state.seen | learns,
            optimizer=memory,
        )
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update)


def _norms(gram, present):
    square = jnp.where(present, jnp.diagonal(as_default_float(gram)), 0.0)
    still = square == 0
    return jnp.where(still, 0.0, jnp.sqrt(jnp.where(still, 1.0, square)))


def _shares(w, present):
    """The active tasks' w with mean 1, and the mean that they had."""
    w = jnp.where(present, w, 0.0)
    count = jnp.maximum(jnp.sum(present), 1)
    mean = jnp.sum(w) / count
    even = jnp.where(present, 1.0, 0.0)
    return jnp.where(mean > 0, w / jnp.where(mean > 0, mean, 1.0), even), mean


def _slope(w, norms, ratio, present, alpha):
    """The derivative of Σᵢ |Gᵢ − Ḡ rᵢ^α|/n̄ in w, n̄ the mean norm."""
    count = jnp.maximum(jnp.sum(present), 1)

    def mean(x):
        return jnp.sum(jnp.where(present, x, 0.0)) / count

    mean_ratio, mean_norm = mean(ratio), mean(norms)
    rate = jnp.where(
        mean_ratio > 0, ratio / jnp.where(mean_ratio > 0, mean_ratio, 1), 1
    )
    target = mean(w * norms) * rate**alpha
    unit = norms / jnp.where(mean_norm > 0, mean_norm, 1.0)
    gap = w * norms - target
    # Equal norms, as at a first step after `normalize`, are not told apart by rounding.
    gap = jnp.where(jnp.abs(gap) <= 8 * jnp.finfo(gap.dtype).eps * target, 0.0, gap)
    return jnp.where(present, jnp.sign(gap) * unit, 0.0)
