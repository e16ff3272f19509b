"""The shortest vector of a convex hull, exactly."""

import functools

import jax
import jax.numpy as jnp

from paretax._checks import check_square
from paretax._types import Gramian, Solution
from paretax.solvers._condition import (
    condition,
    in_float64,
    or_nan,
    precision_scope,
    ridged,
    verdict,
)
from paretax.solvers._implicit import implicit
from paretax.solvers._linear import product
from paretax.solvers._nnqp import nnqp, solve_on_support

__all__ = ["min_norm", "shortest"]


def min_norm(gram: Gramian) -> Solution:
    """The weights w = argmin wᵀKw over the simplex, w ≥ 0 and Σᵢ wᵢ = 1.

    With K = J Jᵀ, Jᵀw is the shortest vector in the convex hull of the rows of J. In
    unit-diagonal coordinates w = D x, with s = D1/‖D1‖, x is a multiple of the
    minimizer of ½xᵀ(C + s sᵀ)x − sᵀx over x ≥ 0: a non-negative quadratic program that
    is bounded at Pareto-stationary points too.

    Args:
      gram: K, shape [m, m], symmetric, positive semi-definite, float32 or float64.

    Returns:
      A `Solution` with value w, shape [m]. Optimality is (Kw)ᵢ ≥ wᵀKw for every i;
      `error` is the largest violation, relative to √Kᵢᵢ √(wᵀ|K|w), and `converged` says
      that it is at most 1e-4 in float32 or 1e-8 in float64. Tasks with a zero gradient
      share all the weight, for then the hull holds 0. Where K is not finite, w is NaN.

      Differentiable in K, forward and reverse, on the support of w.

    Raises:
      ValueError: K is not square.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import min_norm
      >>> solution = min_norm(jnp.array([[4.0, 0.0], [0.0, 1.0]]))
      >>> [round(w, 3) for w in solution.value.tolist()], bool(solution.converged)
      ([0.2, 0.8], True)

    Cost: a closed form for m = 2, else a Cholesky factorization of m×m a pivot,
    commonly 2 to 6 of them.

    Reference: the problem is that of Désidéri, "Multiple-gradient descent algorithm
    (MGDA) for multiobjective optimization", 2012; P. Wolfe, "Finding the nearest point
    in a polytope", 1976.
    """
    check_square(gram)
    with precision_scope(gram.dtype):
        return _solution(jnp.asarray(gram))


# Compiled once for all calls outside a compiled program; inside one, part of it.
@functools.partial(jax.jit, inline=True)
def _solution(gram):
    fixed = jax.lax.stop_gradient(gram)
    weights, support, steps = shortest(fixed)
    weights = or_nan(weights, fixed)
    value = implicit(_conditions, _linearized, (gram,), weights, support)
    error, converged = verdict(_certificate(fixed, weights), weights)
    return Solution(value, converged, steps, error)


def shortest(gram, *, unroll=True):
    """The weights, their support and the steps, of a Gramian that is finite."""
    m = gram.shape[0]
    if m == 1:
        one = jnp.ones(1, gram.dtype)
        return one, jnp.ones(1, bool), jnp.zeros((), jnp.int32)
    dead = jnp.diagonal(gram) <= 0
    if m == 2:
        weights, support, steps = _pair(gram)
    else:
        weights, support, steps = _hull(gram, unroll)
    share = dead / jnp.maximum(jnp.sum(dead), 1).astype(gram.dtype)
    weights = jnp.where(jnp.any(dead), share, weights)
    return weights, support & ~dead, steps


def _pair(gram):
    """m = 2: the point of the segment nearest to 0."""
    # Each share from its own numerator: 1 − share would lose a small one.
    cross = gram[0, 1]
    above = jnp.stack([gram[1, 1] - cross, gram[0, 0] - cross])
    length = above[0] + above[1]
    shares = above / jnp.where(length > 0, length, 1.0)
    weights = jnp.where(length > 0, jnp.clip(shares, 0.0, 1.0), 0.5)
    return weights, weights > 0, jnp.zeros((), jnp.int32)


def _hull(gram, unroll):
    c, s, _ = _program(gram)
    pivoted = nnqp(c, s, unroll=unroll)
    weights = s * pivoted.x
    total = jnp.sum(weights)
    weights = weights / jnp.where(total > 0, total, 1.0)
    return weights, pivoted.support, pivoted.steps


def _program(gram):
    """H = C + s sᵀ, s, and D = scale."""
    scaled = condition(gram)
    top = jnp.max(jnp.where(scaled.alive, scaled.scale, 0.0))
    top = jnp.where(top > 0, top, 1.0)
    s = jnp.where(scaled.alive, scaled.scale / top, 1.0)
    s = s / jnp.sqrt(jnp.sum(s * s))
    h = scaled.matrix + s[:, None] * s[None, :]
    return h, s, scaled.scale


@in_float64
def _certificate(gram, weights):
    image = product(gram, weights)
    square = product(weights, image)
    size = jnp.sqrt(product(weights, product(jnp.abs(gram), weights)))
    unit = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0)) * size
    violation = jnp.maximum(square - image, 0.0) / jnp.where(unit > 0, unit, 1.0)
    return jnp.max(jnp.where(unit > 0, violation, 0.0))


def _conditions(params, weights, _):
    return product(params[0], weights)


def _linearized(params, _, support, right):
    """K dw − dν 1 = right on the support and 1ᵀdw = 0, in unit-diagonal coordinates."""
    h, s, scale = _program(params[0])
    h = ridged(h)
    # Two solves: stacked, the constant one would be transposed with the linear one.
    first = solve_on_support(h, scale * right, support)
    second = solve_on_support(h, s, support)
    onto = product(s, second)
    free = first - second * product(s, first) / jnp.where(onto > 0, onto, 1.0)
    return jnp.where(support, scale * free, 0.0)
