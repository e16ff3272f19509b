"""Non-negative quadratic programs, each answer with its certificate."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paretax._types import Solution
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

__all__ = ["nonnegative_qp"]


def nonnegative_qp(Q: Float[Array, "m m"], q: Float[Array, " m"]) -> Solution:
    """x = argmin ½xᵀQx + qᵀx over x ≥ 0: the dual of a projection onto half-spaces.

    Args:
      Q: shape [m, m], symmetric, positive semi-definite, float32 or float64.
      q: shape [m].

    Returns:
      A `Solution` with value x, shape [m]. Optimality is Qx + q ≥ 0, with equality
      where x > 0; `error` is the largest violation in units of √Qᵢᵢ (‖q‖ + √(xᵀ|Q|x)),
      ‖q‖ the largest |qᵢ|/√Qᵢᵢ, and `converged` says that it is at most 1e-4 in float32
      or 1e-8 in float64. A program without a solution
      returns a finite x ≥ 0: `converged` is False where Qᵢᵢ = 0 > qᵢ; where a singular
      Q lets x grow, the violation may be small beside its size. Where Q or q is not
      finite, x is NaN.

      Differentiable in Q and q, forward and reverse, on the support of x.

    Raises:
      ValueError: Q not square, or q not of shape [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import nonnegative_qp
      >>> solution = nonnegative_qp(jnp.diag(jnp.array([2.0, 1.0])),
      ...                           jnp.array([-1.0, 1.0]))
      >>> solution.value.round(3).tolist(), bool(solution.converged)
      ([0.5, 0.0], True)

    Cost: a Cholesky factorization of m×m a pivot, commonly 2 to 6 of them.

    Reference: Portugal, Júdice & Vicente, "A comparison of block pivoting and
    interior-point algorithms for linear least squares problems with nonnegative
    variables", 1994; an interior point takes over where pivots cycle.
    """
    shape = jnp.shape(Q)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"Q: expected shape [m, m], got {shape}.")
    if jnp.shape(q) != shape[:1]:
        raise ValueError(f"q: expected shape [{shape[0]}], got {jnp.shape(q)}.")
    with precision_scope(Q.dtype):
        h = jnp.asarray(Q)
        return _solution(h, -jnp.asarray(q, h.dtype))


# Compiled once for all calls outside a compiled program; inside one, part of it.
@functools.partial(jax.jit, inline=True)
def _solution(h, b):
    fixed = jax.lax.stop_gradient((h, b))
    scaled = condition(fixed[0])
    pivoted = nnqp(scaled.matrix, scaled.scale * fixed[1])
    support = pivoted.support & scaled.alive
    found = jnp.where(support, scaled.scale * pivoted.x, 0.0)
    found = or_nan(jnp.where(jnp.isfinite(found), found, 0.0), *fixed)
    value = implicit(_conditions, _linearized, (h, b), found, support)
    error, converged = verdict(_certificate(*fixed, found), found)
    return Solution(value, converged, pivoted.steps, error)


@in_float64
def _certificate(h, b, x):
    rest = b - product(h, x)
    square = jnp.maximum(jnp.diagonal(h), 0.0)
    alive = square > 0
    scale = jnp.where(alive, jax.lax.rsqrt(jnp.where(alive, square, 1.0)), 1.0)
    size = jnp.max(jnp.abs(scale * b))
    size = size + jnp.sqrt(product(x, product(jnp.abs(h), x)))
    violation = jnp.where(x > 0, jnp.abs(rest), jnp.maximum(rest, 0.0))
    return jnp.max(scale * violation) / jnp.where(size > 0, size, 1.0)


def _conditions(params, x, support):
    h, b = params
    return jnp.where(support, product(h, x) - b, x)


def _linearized(params, _, support, right):
    """dx off the support is given, and 0; on it H dx = right, on a unit diagonal."""
    scaled = condition(params[0])
    c = ridged(scaled.matrix)
    inside = solve_on_support(c, scaled.scale * right, support)
    return jnp.where(support, scaled.scale * inside, right)
