"""Weights that learn to let all losses fall at the same rate."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from paretax._checks import check_non_negative, is_concrete
from paretax._types import Losses, Weights
from paretax._weighting import (
    Weighting,
    as_before,
    as_default_float,
    never,
    require_losses,
)
from paretax.weightings._learned import check_optimizer, init_learned, step_learned
from paretax.weightings._loss_values import read_losses, show

__all__ = ["FamoState", "famo"]


class FamoState(NamedTuple):
    """The state of `famo`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite and every active loss could be read.
      error: the number of active losses that could not.
      parameters: the logits ξ, shape [m].
      optimizer: the optimizer's state, one copy a task.
      previous: L − b of the last step, shape [m].
      known: the tasks that took part in that step, shape [m].
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    parameters: Float[Array, " m"]
    optimizer: Any
    previous: Losses
    known: Bool[Array, " m"]


def famo(
    *,
    ideal: Losses | ArrayLike = 0.0,
    decay: float = 1e-3,
    optimizer: optax.GradientTransformation | None = None,
) -> Weighting:
    """Fast adaptive multitask optimization: w ∝ z/(L − b), Σᵢwᵢ = 1, z = softmax(ξ).

    The direction is that of Σᵢ zᵢ log(Lᵢ − bᵢ). ξ is learned from what the last step
    did: with δ the logarithms of the losses before it minus those after it, on the same
    batch, ξ steps along z∘(δ − zᵀδ) + γξ, so that the tasks that gained most lose
    weight.

    `update` reads, besides `losses`, `losses_after`, shape [m]: the losses of the
    previous step's batch at the present parameters, which cost a forward pass, as in
    `tx.update(jac, state, losses=losses, losses_after=fun(params, batch_before))`. At
    the first step there is no batch before; anything of that shape will do, `losses`
    for one, and has no effect.

    Args:
      ideal: b, scalar or shape [m], in units of the losses: at most the least loss of
        each task.
      decay: γ ≥ 0, pulls ξ to 0, that is, z to even weights. It competes with the
        changes of log L in one step: where those are as small as γ, z stays near even.
      optimizer: steps ξ; None is `optax.adam(0.025)`. Its state is kept in the
        weighting's, one copy a task.

    Returns:
      A weighting on the losses; weights on the simplex of the active tasks. ξ of a task
      takes a step where the task was active in the previous step. A loss of at most b
      has no logarithm: its task is left out of that step (weight 0, nothing
      remembered), and the state has `converged` False. The weight of a task whose loss
      is not finite is NaN.

    Raises:
      ValueError: γ < 0, b is not finite or of another shape, `optimizer` is no optax
        transformation; at update, `losses` or `losses_after` missing or not of shape
        [m].

    Example:
      >>> import jax.numpy as jnp, optax, paretax as px
      >>> weighting = px.famo(optimizer=optax.sgd(1.0))
      >>> state, losses = weighting.init(2), jnp.array([1.0, 4.0])
      >>> for after in (losses, jnp.array([1.0, 1.0])):
      ...     weights, state = weighting.update(
      ...         None, state, losses=losses, losses_after=after)
      ...     print([round(w, 3) for w in weights.tolist()])
      [0.8, 0.2]
      [0.889, 0.111]

    Cost: one forward pass for `losses_after` and one backward pass a step; the
    optimizer on m numbers.

    Reference: Liu, Feng, Stone & Liu, "FAMO: Fast Adaptive Multitask Optimization",
    NeurIPS 2023, arXiv:2306.03792. γ = 1e-3 as in the paper's Algorithm 2 and LibMTL;
    the authors' code has 1e-5 in its benchmark class and 0.01 in its example and in its
    command line, to be tuned. Departures: ξ takes its step at the beginning of the next
    update, not at the end of this one, from the same numbers; no 1e-8 in L − b; the
    direction is not clipped (chain `optax.clip_by_global_norm(1.0)` for that).
    """
    _check_ideal(ideal)
    check_non_negative("decay", decay)
    optimizer = check_optimizer(optimizer)

    def init(num_tasks):
        learned = init_learned(num_tasks, optimizer)
        shape = as_default_float(ideal).shape
        if shape not in ((), (num_tasks,)):
            raise ValueError(
                f"ideal: expected a number or shape [{num_tasks}], got {shape}."
            )
        ones = jnp.ones(num_tasks, float)
        return FamoState(*learned, ones, jnp.zeros(num_tasks, bool))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram
        m = state.weights.shape[0]
        lowest = as_default_float(ideal)
        values = read_losses(require_losses(losses, m) - lowest, state, active)
        after = _require_after(extra_args.get("losses_after"), m) - lowest
        fell = state.known & jnp.isfinite(after) & (after > 0)
        gradients = _gradients(state, jnp.where(fell, after, 1.0), fell, decay)
        learned = step_learned(optimizer, gradients, state, fell)
        # In logarithms; softmax's denominator is the constant that makes the sum 1.
        logits = learned[0] - jnp.log(values.losses)
        weights = jax.nn.softmax(logits, where=values.readable)
        weights, shown = show(weights, values, state)
        previous = jnp.where(values.readable, values.losses, state.previous)
        new = FamoState(*shown, *learned, previous, values.readable)
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update, never)


def _check_ideal(ideal):
    lowest = as_default_float(ideal)
    finite = not is_concrete(lowest) or bool(jnp.isfinite(lowest).all())
    if lowest.ndim > 1 or not finite:
        raise ValueError(
            "ideal: expected a finite number or one a task, got "
            f"{lowest.tolist() if is_concrete(lowest) else lowest.shape}."
        )


def _gradients(state, after, fell, decay):
    """∂/∂ξ of Σᵢ zᵢδᵢ + ½γξᵢ², δ held constant, over the tasks of the last step."""
    gain = jnp.where(fell, jnp.log(state.previous) - jnp.log(after), 0.0)
    z = jax.nn.softmax(state.parameters, where=fell)
    return z * (gain - jnp.sum(z * gain)) + decay * state.parameters


def _require_after(losses_after, num_tasks):
    if losses_after is None:
        raise ValueError(
            "losses_after: famo needs the losses of the previous step's batch at the "
            "present parameters, got None; pass them as tx.update(jac, state, params, "
            "losses=losses, losses_after=fun(params, batch_before)), or to "
            "value_and_direction in extra_args={'losses_after': ...}. At the first "
            "step, pass losses."
        )
    if jnp.shape(losses_after) != (num_tasks,):
        raise ValueError(
            f"losses_after: expected shape ({num_tasks},), got "
            f"{jnp.shape(losses_after)}."
        )
    return as_default_float(losses_after)
