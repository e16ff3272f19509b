"""Impartial multi-task learning, on gradients."""

import jax.numpy as jnp

from paretax._types import Solution
from paretax._weighting import Weighting, stateless
from paretax.solvers import condition, pseudo_solve
from paretax.solvers._condition import verdict

__all__ = ["equal_cosines", "imtl_g"]


def imtl_g() -> Weighting:
    """The weights, with sum 1, whose direction projects equally on every unit gradient.

    (Kw)ᵢ/√Kᵢᵢ is the same for all tasks: with C the matrix of cosines and D the inverse
    norms, u = C⁺1 and w = Du/Σ(Du). Weights may be negative.

    Returns:
      A weighting on the Gramian. Rescaling a task's loss changes the length of the
      direction but not where it points. `error` is maxᵢ |(Cu)ᵢ − 1|: where it is not 0
      the projections cannot all be equal and positive (opposite gradients, more tasks
      than parameters), and `converged` is False. The sum Σ(Du) may be negative for
      three tasks or more, and the direction then harms all of them, or come close to 0,
      and the direction is then long; where rounding makes it 0 the weights are 0 and
      `converged` is False.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weights, _ = px.imtl_g().update(jnp.array([[4.0, 0.0], [0.0, 1.0]]),
      ...                                 px.imtl_g().init(2))
      >>> [round(w, 3) for w in weights.tolist()]
      [0.333, 0.667]

    Cost: an m×m eigendecomposition; m backward passes a step.

    Reference: Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021. For
    independent gradients w is the paper's closed form. Departures: for dependent ones
    the pseudo-inverse is that of the cosines, so that duplicates share equally and
    scales of 1e-4 to 1e4 survive, where Quinton & Rey (arXiv:2406.16232) take that of
    K; gradients are those of the parameters, not of the shared representation.
    """
    return stateless(_weights)


def _weights(gram, active=None):
    ones = jnp.ones(gram.shape[0], gram.dtype)
    u, scale, error, converged = equal_cosines(gram, ones, active)
    pull = u * scale
    total = jnp.sum(pull)
    # What rounding may leave of a sum that is 0.
    m, eps = gram.shape[0], jnp.finfo(gram.dtype).eps
    nothing = jnp.abs(total) <= m * eps * jnp.sum(jnp.abs(pull))
    weights = jnp.where(nothing, 0.0, pull / jnp.where(nothing, 1.0, total))
    return Solution(weights, converged & ~nothing, jnp.zeros((), jnp.int32), error)


def equal_cosines(gram, target, active):
    """u = C⁺p on the live tasks, the inverse norms, and how well Cu = p holds there."""
    cosines, scale, alive = condition(gram, active=active)
    target = jnp.where(alive, target, 0.0)
    u = jnp.where(alive, pseudo_solve(cosines, target), 0.0)
    image = jnp.matmul(cosines, u, precision="highest")
    # No part of p can be had: what is left of it is rounding, and no direction.
    m, eps = gram.shape[0], jnp.finfo(gram.dtype).eps
    nothing = jnp.max(jnp.abs(image)) <= 10 * m * eps * jnp.max(jnp.abs(target))
    u, image = jnp.where(nothing, 0.0, u), jnp.where(nothing, 0.0, image)
    error, converged = verdict(jnp.max(jnp.abs(image - target)), u)
    # A dead task has no direction to project on.
    present = jnp.ones_like(alive) if active is None else active
    return u, scale, error, converged & jnp.all(alive | ~present)
