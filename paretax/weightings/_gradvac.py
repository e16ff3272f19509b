"""Gradient vaccine: cosines raised to what they usually are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from paretax._checks import check_fraction, check_key
from paretax._types import Weights
from paretax._weighting import (
    Weighting,
    as_before,
    certify,
    init_state,
    read_gram,
)
from paretax.weightings._pcgrad import orders

__all__ = ["GradVacState", "gradvac"]


class GradVacState(NamedTuple):
    """The state of `gradvac`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite.
      error: 0 after the first update.
      targets: the running means of the cosines, shape [m, m]; row i is task i's.
      key: what the next step draws its orders from.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    targets: Float[Array, "m m"]
    key: Key[Array, ""]


def gradvac(*, key: Key[Array, ""], decay: float = 0.99) -> Weighting:
    """The sum of the gradients, each first turned to its usual cosine with the others.

    From gᵢ' = gᵢ, for the other tasks j in random order: φ is the cosine of gᵢ' and gⱼ,
    t = targets[i, j] its running mean. Where φ < t, gᵢ' ← gᵢ' + a gⱼ with
    a = ‖gᵢ'‖(t√(1−φ²) − φ√(1−t²))/(‖gⱼ‖√(1−t²)), so that the cosine becomes t. Then
    targets[i, j] ← decay·t + (1 − decay)·φ, and last d = Σᵢ gᵢ'.

    Args:
      key: a typed key, as `jax.random.key(0)` makes it; each task draws an order of its
        own at each step.
      decay: in [0, 1], of the running means, which start at 0: the first step is
        `pcgrad`'s with the same key.

    Returns:
      A weighting on the Gramian with weights of at least 1. With missing tasks the
      means of their pairs stay as they are; so do all means of a pair where a gradient
      is zero.

    Raises:
      ValueError: `key` is no single typed key; `decay` outside [0, 1].

    Example:
      >>> import jax, jax.numpy as jnp, paretax as px
      >>> vaccine = px.gradvac(key=jax.random.key(0))
      >>> weights, _ = vaccine.update(jnp.array([[4.0, -1.0], [-1.0, 1.0]]),
      ...                             vaccine.init(2))
      >>> [round(w, 3) for w in weights.tolist()]
      [1.25, 2.0]

    Cost: m³ multiply-adds, for all tasks at once, and m² random numbers; m backward
    passes a step.

    Reference: Wang et al., "Gradient Vaccine: Investigating and Improving Multi-task
    Optimization in Massively Multilingual Models", ICLR 2021, arXiv:2010.05874,
    algorithm 1. `decay` is its 1 − β, with β = 0.01; TorchJD and LibMTL default to
    β = 0.5. Departures: the vectors are never formed; nothing is added to denominators;
    a pair whose mean is 1 is left alone. Layer by layer: docs/recipes.md.
    """
    check_key(key)
    check_fraction("decay", decay)

    def init(num_tasks):
        first = init_state(num_tasks)
        targets = jnp.zeros((num_tasks, num_tasks), float)
        return GradVacState(*first, targets, key)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del losses, extra_args
        m = state.weights.shape[0]
        gram = read_gram(gram, m, active)
        now, after = jax.random.split(state.key)
        start = _Turning(jnp.eye(m, dtype=gram.dtype), gram, state.targets)
        turned = _turn(gram, orders(now, m), decay, start)
        known = jnp.all(jnp.isfinite(turned.products))
        weights = jnp.sum(turned.coefficients, axis=0)
        weights = jnp.where(known, weights, jnp.nan)
        weights, shown = certify(weights, state, active)
        targets = jnp.where(known, turned.targets, state.targets)
        new = GradVacState(*shown, targets, after)
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update)


class _Turning(NamedTuple):
    """Row i: the coefficients of gᵢ', its products with all gradients, its targets."""

    coefficients: Float[Array, "m m"]
    products: Float[Array, "m m"]
    targets: Float[Array, "m m"]


def _turn(gram, order, decay, start):
    rows = jnp.arange(gram.shape[0])
    square = jnp.diagonal(gram)

    def visit(t, carry):
        coefficients, products, targets = carry
        j = order[:, t]
        own = jnp.sum(coefficients * products, axis=1)
        usable = (j != rows) & (own > 0) & (square[j] > 0)
        length = jnp.sqrt(jnp.where(usable, own, 1.0))
        other = jnp.sqrt(jnp.where(usable, square[j], 1.0))
        cosine = jnp.clip(products[rows, j] / length / other, -1.0, 1.0)
        target = targets[rows, j]
        turned = usable & (cosine < target) & (target < 1)
        part = length * _tilt(cosine, target, turned) / other
        part = jnp.where(turned, part, 0.0)
        mean = jnp.where(usable, decay * target + (1 - decay) * cosine, target)
        return _Turning(
            coefficients.at[rows, j].add(part),
            products + part[:, None] * gram[j],
            targets.at[rows, j].set(mean),
        )

    return jax.lax.fori_loop(0, gram.shape[0], visit, start)


def _tilt(cosine, target, turned):
    """(t√(1−φ²) − φ√(1−t²))/√(1−t²), where it is used."""
    square = jnp.where(turned & (cosine > -1), 1 - cosine**2, 1.0)
    sine = jnp.where(cosine > -1, jnp.sqrt(square), 0.0)
    slope = target / jnp.sqrt(jnp.where(turned, 1 - target**2, 1.0))
    return slope * sine - cosine
