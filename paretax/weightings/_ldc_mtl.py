"""Weights learned so that the weighted losses stay close to one another."""

import jax
import jax.numpy as jnp
import optax

from paretax._checks import check_non_negative
from paretax._weighting import Weighting, as_before, never
from paretax.weightings._learned import (
    LearnedState,
    check_optimizer,
    init_learned,
    step_learned,
)
from paretax.weightings._loss_values import read_losses, show

__all__ = ["ldc_mtl"]


def ldc_mtl(
    *, penalty: float = 0.01, optimizer: optax.GradientTransformation | None = None
) -> Weighting:
    """Loss discrepancy control: one objective for the parameters θ and the logits s,

    Σᵢ σ(sᵢ)Lᵢ / Σⱼσ(sⱼ) + λ Σᵢ |σ(sᵢ)Lᵢ − σ(sᵢ₊₁)Lᵢ₊₁|, σ the logistic function.

    The weights are its derivatives with respect to the losses,
    wᵢ = σ(sᵢ)[1/Σⱼσ(sⱼ) + λ(sign(vᵢ − vᵢ₊₁) − sign(vᵢ₋₁ − vᵢ))], vᵢ = σ(sᵢ)Lᵢ; then s
    takes its own step along ∂/∂s, the sum Σⱼσ(sⱼ) held constant.

    Args:
      penalty: λ ≥ 0, on the differences between neighboring tasks; 0 leaves a weighted
        mean of the losses.
      optimizer: steps s; None is `optax.adam(1e-3)`. Its state is kept in the
        weighting's, one copy a task.

    Returns:
      A weighting on the losses; the weights depend on the order of the tasks, and one
      may be negative where 2λ > 1/Σⱼσ(sⱼ). Neighbors are neighbors among the active
      tasks; s and the optimizer's memory of a missing task stay as they are. A loss
      that is not finite is left out and not remembered: its weight is NaN, `converged`
      False. Losses of different units should be divided by typical values first.

    Raises:
      ValueError: λ < 0, `optimizer` is no optax transformation; at update, `losses`
        missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, optax, paretax as px
      >>> weighting = px.ldc_mtl(penalty=0.1)
      >>> weights, _ = weighting.update(
      ...     None, weighting.init(2), losses=jnp.array([1.0, 5.0]))
      >>> [round(w, 3) for w in weights.tolist()]
      [0.427, 0.573]

    Cost: a derivative of a function of 2m numbers, and the optimizer on m numbers; one
    backward pass a step.

    Reference: Xiao, Dong, Zou & Ji, "LDC-MTL: Balancing Multi-Task Learning through
    Scalable Loss Discrepancy Control", 2025, arXiv:2502.08585, as in the authors' code
    for CelebA: one free logit a task, 1 at first, λ = 0.01, Adam with 1e-3. Departures:
    the routers that compute s from features in the paper's other experiments are not
    here; nor is the division by initial losses of the second version. A single-level
    penalty stands for the bilevel problem, as in that code.
    """
    check_non_negative("penalty", penalty)
    optimizer = check_optimizer(optimizer, 1e-3)

    def init(num_tasks):
        return init_learned(num_tasks, optimizer, start=1.0)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        values = read_losses(losses, state, active, positive=False)

        def objective(losses, logits):
            return _objective(losses, logits, values.readable, penalty)

        both = jax.grad(objective, argnums=(0, 1))
        weights, gradients = both(values.losses, state.parameters)
        learned = step_learned(optimizer, gradients, state, values.readable)
        weights, shown = show(weights, values, state)
        return weights, jax.tree.map(as_before, LearnedState(*shown, *learned), state)

    return Weighting(init, update, never)


def _objective(losses, logits, present, penalty):
    shares = jnp.where(present, jax.nn.sigmoid(logits), 0.0)
    whole = jax.lax.stop_gradient(jnp.sum(shares))
    weighted = shares * losses
    # Present tasks first, in their order, so that neighbors are neighbors among them.
    order = jnp.argsort(~present, stable=True)
    side = weighted[order]
    pairs = present[order][1:]
    apart = jnp.where(pairs, jnp.abs(side[:-1] - side[1:]), 0.0)
    mean = jnp.sum(weighted) / jnp.where(whole > 0, whole, 1.0)
    return mean + penalty * jnp.sum(apart)
