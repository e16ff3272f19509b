"""Weights that walk on the simplex, one step at a time; how tasks leave and return."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from paretax._types import Active, Gramian, Weights
from paretax._weighting import as_default_float, init_state

__all__ = ["SimplexState", "init_simplex", "require_cross_gram", "step_active"]


class SimplexState(NamedTuple):
    """The state of weightings that remember a point of the simplex.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite.
      error: 0; nothing is solved to a tolerance.
      multipliers: λ, shape [m], on the simplex, 1/m each at first; that of an inactive
        task is kept.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    multipliers: Weights


def init_simplex(num_tasks: int) -> SimplexState:
    """The middle of the simplex."""
    first = init_state(num_tasks)
    return SimplexState(*first, jnp.full(num_tasks, 1.0 / num_tasks, float))


def step_active(
    step: Callable[[Weights], Weights], multipliers: Weights, active: Active | None
) -> tuple[Weights, Weights]:
    """One step among the active tasks, as if there were no others.

    Args:
      step: from a point of the simplex of the active tasks to the next one; entries of
        inactive tasks are 0 in what it is given, and what it returns there is ignored.
      multipliers: λ of all tasks.
      active: bool, shape [m], or None.

    Returns:
      The new point of the simplex of the active tasks, and the new λ: the active tasks
      share what they had together, the others keep theirs.
    """
    if active is None:
        new = step(multipliers)
        return new, new
    mass = jnp.sum(jnp.where(active, multipliers, 0.0))
    share = multipliers / jnp.where(mass == 0, 1.0, mass)
    even = 1.0 / jnp.maximum(jnp.sum(active), 1)
    new = step(jnp.where(active, jnp.where(mass == 0, even, share), 0.0))
    new = jnp.where(active, new, 0.0)
    return new, jnp.where(active, mass * new, multipliers)


def require_cross_gram(
    cross_gram: Gramian | None, num_tasks: int, active: Active | None
) -> Gramian:
    """J₁J₂ᵀ with zeros for inactive tasks, or an error that says how to pass it."""
    if cross_gram is None:
        raise ValueError(
            "cross_gram: this weighting needs the products of the task gradients of "
            "two more batches, got None; pass them as tx.update(jac, state, params, "
            "cross_gram=px.cross_gramian(jac_a, jac_b))."
        )
    m = num_tasks
    if jnp.shape(cross_gram) != (m, m):
        raise ValueError(
            f"cross_gram: expected shape ({m}, {m}), got {jnp.shape(cross_gram)}."
        )
    cross_gram = as_default_float(cross_gram)
    if active is None:
        return cross_gram
    return jnp.where(active[:, None] & active[None, :], cross_gram, 0.0)
