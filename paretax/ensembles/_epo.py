"""Exact Pareto optimal search: to the ray of a preference, then down along it."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from paretax._checks import check_non_negative, check_positive_preference
from paretax._types import Solution, Weights
from paretax._weighting import (
    Weighting,
    as_default_float,
    certify,
    init_state,
    read_gram,
    require_losses,
)
from paretax.ensembles._shortest import shortest
from paretax.solvers import lp

__all__ = ["epo"]


def epo(
    preference: Weights | ArrayLike,
    *,
    tol: float | Array = 1e-4,
    restricted: bool = True,
) -> Weighting:
    """The weights that bring the products rᵢ fᵢ together, and all losses down.

    With f̂ᵢ = rᵢfᵢ/Σⱼrⱼfⱼ, the non-uniformity is μ = Σᵢ f̂ᵢ log(m f̂ᵢ) ≥ 0, which is 0
    on the ray f ∝ 1/r, and the anchor is aᵢ = rᵢ(log(m f̂ᵢ) − μ). The weights solve a
    linear program over the simplex. Where μ > tol (balance):

        max wᵀKa  subject to  (Kw)ᵢ ≥ 0 for the tasks with the largest rᵢfᵢ,
                              (Kw)ᵢ ≥ (Ka)ᵢ for the others with (Ka)ᵢ ≤ 0,

    so a loss may grow, but by a step along w no faster than along a; if no (Ka)ᵢ is
    positive, (Kw)ᵢ ≥ 0 for all i. Elsewhere (descent):

        max 1ᵀKw  subject to  Kw ≥ 0  and, if restricted,  wᵀKa ≥ min(0, maxᵢ (Ka)ᵢ).

    Args:
      preference: r, shape [m], positive, summing to 1. Task i ends with a loss in
        proportion to 1/rᵢ. May be a tracer: vmap over preferences.
      tol: ≥ 0, the μ below which the losses count as balanced.
      restricted: whether descent may raise μ to first order.

    Returns:
      A weighting on the Gramian and the losses, which have to be positive; a negative
      one ends in NaN. Weights on the simplex of the active tasks. `error` and
      `converged` are `solvers.lp`'s. The restricted program of descent can be
      infeasible; where the program is not solved, `converged` is False and the weights
      are those of `mgda`, which satisfy all other constraints.

    Raises:
      ValueError: r is not positive with sum 1; tol < 0; at update, `losses` missing or
        not of shape [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> weighting = ensembles.epo([0.5, 0.5])
      >>> weights, state = weighting.update(jnp.eye(2), weighting.init(2),
      ...                                   losses=jnp.array([1.0, 3.0]))
      >>> [round(w, 3) for w in weights.tolist()], bool(state.converged)
      ([0.0, 1.0], True)

    Cost: one linear program of m variables and one `min_norm`; m backward passes a
    step.

    Reference: Mahapatra & Rajan, "Multi-Task Learning with User Preferences: Gradient
    Descent with Controlled Ascent in Pareto Optimization", ICML 2020, and its public
    code (EPOSearch), whose default is `restricted`. Departures: r sums to 1, as in the
    code of Pareto hypernetworks, where theirs has unit norm, which rescales a; the code
    multiplies w by m for networks, and the step by 10 max(μ, 0.1) for toys, here the
    learning rate does; where the program fails the code takes r for w; a loss of
    exactly 0 counts as the smallest positive number.
    """
    r = check_positive_preference(preference, "leave it out with active=")
    tol = check_non_negative("tol", tol)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del extra_args
        m = state.weights.shape[0]
        gram = read_gram(gram, m, active)
        present = jnp.ones(m, bool) if active is None else active
        losses = jnp.where(present, require_losses(losses, m), 1.0)
        share = jnp.where(present, as_default_float(r), 0.0)
        mu, anchor, largest = _anchor(losses, share, present)
        image = jnp.matmul(gram, anchor, precision="highest")
        balance = mu > tol
        bound, free = _bounds(image, largest, balance)
        cost = jnp.where(balance, image, jnp.sum(gram, axis=0))
        limit = jnp.minimum(0.0, jnp.max(jnp.where(present, image, -jnp.inf)))
        held = ~balance & restricted
        solution = _solve(gram, cost, bound, free, (image, limit, held), present)
        return certify(solution, state, active)

    return Weighting(init_state, update)


def _anchor(losses, share, present):
    """μ, a and the tasks whose rᵢfᵢ is largest."""
    product = share * jnp.where(losses >= 0, losses, jnp.nan)
    total = jnp.sum(product)
    hat = product / jnp.where(total > 0, total, 1.0)
    count = jnp.sum(present)
    tiny = jnp.finfo(hat.dtype).tiny
    log = jnp.log(count * jnp.maximum(hat, tiny))
    mu = jnp.sum(hat * log)
    anchor = share * (log - mu)
    return mu, anchor, present & (product == jnp.max(product))


def _bounds(image, largest, balance):
    """The lower bounds of Kw in the program, and where there is none."""
    falls = image > 0
    bound = jnp.where(largest | ~jnp.any(falls), 0.0, image)
    free = balance & falls & ~largest
    return jnp.where(balance, bound, 0.0), free


def _solve(gram, cost, bound, free, restriction, present):
    """max costᵀw over the simplex of present tasks; where that fails, `mgda`'s w."""
    m = gram.shape[0]
    image, limit, held = restriction
    off = free | ~present
    rows = jnp.concatenate(
        [
            -jnp.eye(m, dtype=gram.dtype),
            jnp.where(off[:, None], 0.0, -gram),
            jnp.where(held, -image, 0.0)[None],
        ]
    )
    sides = jnp.concatenate(
        [
            jnp.zeros(m, gram.dtype),
            jnp.where(off, 1.0, -bound),
            jnp.where(held, -limit, 1.0)[None],
        ]
    )
    ones = jnp.where(jnp.any(present), present, True).astype(gram.dtype)[None]
    size = jnp.max(jnp.abs(cost))
    price = jnp.where(present, -cost, jnp.where(size > 0, size, 1.0))
    solution = lp(price, ones, jnp.ones(1, gram.dtype), rows, sides)
    weights = jnp.maximum(solution.value, 0.0)
    weights = jnp.where(present, weights, 0.0)
    total = jnp.sum(weights)
    weights = weights / jnp.where(total > 0, total, 1.0)
    safe = shortest(gram, present)
    known = jnp.all(jnp.isfinite(solution.value))
    value = jnp.where(solution.converged | ~known, weights, safe.value)
    return Solution(value, solution.converged, solution.steps, solution.error)
