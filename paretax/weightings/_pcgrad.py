"""Gradient surgery: projecting conflicting gradients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from paretax._checks import check_key
from paretax._types import Weights
from paretax._weighting import (
    Weighting,
    as_before,
    certify,
    init_state,
    read_gram,
)

__all__ = ["PCGradState", "orders", "pcgrad"]


class PCGradState(NamedTuple):
    """The state of `pcgrad`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite.
      error: 0 after the first update.
      key: what the next step draws its orders from.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    key: Key[Array, ""]


def pcgrad(*, key: Key[Array, ""]) -> Weighting:
    """The sum of the gradients, each first freed of its conflicts with the others.

    From gᵢ' = gᵢ, for the other tasks j in random order: where gᵢ'ᵀgⱼ < 0,
    gᵢ' ← gᵢ' − (gᵢ'ᵀgⱼ/‖gⱼ‖²) gⱼ. Then d = Σᵢ gᵢ'.

    Args:
      key: a typed key, as `jax.random.key(0)` makes it; each task draws an order of its
        own at each step.

    Returns:
      A weighting on the Gramian with weights of at least 1. For two tasks the direction
      harms none; for more, a later projection may undo an earlier one. The order in
      which task i visits others depends on the key, the step and the tasks' indices
      only.

    Raises:
      ValueError: `key` is no single typed key.

    Example:
      >>> import jax, jax.numpy as jnp, paretax as px
      >>> surgery = px.pcgrad(key=jax.random.key(0))
      >>> weights, _ = surgery.update(jnp.array([[4.0, -1.0], [-1.0, 1.0]]),
      ...                             surgery.init(2))
      >>> [round(w, 3) for w in weights.tolist()]
      [1.25, 2.0]

    Cost: m³ multiply-adds, for all tasks at once, and m² random numbers; m backward
    passes a step.

    Reference: Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020,
    arXiv:2001.06782, algorithm 1: the sum, not the mean. Departure: the vectors are
    never formed; all happens in the Gramian. Layer by layer: docs/recipes.md.
    """
    check_key(key)

    def init(num_tasks):
        return PCGradState(*init_state(num_tasks), key)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del losses, extra_args
        m = state.weights.shape[0]
        gram = read_gram(gram, m, active)
        now, after = jax.random.split(state.key)
        weights, shown = certify(_surgery(gram, orders(now, m)), state, active)
        new = PCGradState(*shown, after)
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update)


def orders(key, num_tasks):
    """A random order of all tasks for each task, [m, m], the same for more tasks."""

    def draw(i):
        # In float32 whatever the default, so that the order does not depend on it.
        row = jax.random.fold_in(key, i)
        return jax.random.uniform(row, (num_tasks,), jnp.float32)

    return jnp.argsort(jax.vmap(draw)(jnp.arange(num_tasks)), axis=1)


def _surgery(gram, order):
    """The sums of the coefficients of all gᵢ', one visit of every task at a time."""
    m = gram.shape[0]
    rows = jnp.arange(m)
    square = jnp.diagonal(gram)

    def visit(t, carry):
        coefficients, products = carry
        j = order[:, t]
        gain = products[rows, j]
        conflict = (gain < 0) & (j != rows) & (square[j] > 0)
        part = jnp.where(conflict, gain / jnp.where(conflict, square[j], 1.0), 0.0)
        return coefficients.at[rows, j].add(-part), products - part[:, None] * gram[j]

    start = jnp.eye(m, dtype=gram.dtype), gram
    coefficients, products = jax.lax.fori_loop(0, m, visit, start)
    # A comparison passes over NaN, which must not leave as an ordinary weight.
    missing = jnp.where(jnp.all(jnp.isfinite(products)), 0.0, jnp.nan)
    return jnp.sum(coefficients, axis=0) + missing
