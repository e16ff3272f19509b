"""The Nash bargain by the concave-convex procedure of its paper, step by step.

In unit-diagonal coordinates a = D u a step minimizes a linear function of u over
uᵢ(Cu)ᵢ ≥ 1, u > 0: m rotated second-order cones, whose barrier −Σ log(uᵢ(Cu)ᵢ − 1) is
self-concordant. Each step follows its central path by Newton's method.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_count, check_square
from paretax._types import Gramian, Solution, Weights
from paretax.solvers._bargain import bargain
from paretax.solvers._condition import (
    condition,
    in_float64,
    or_nan,
    precision_scope,
    verdict,
)
from paretax.solvers._linear import product, solve_spd

__all__ = ["concave_convex"]

# The path's parameter falls tenfold whenever a Newton decrement is below a quarter, to
# a gap of 1e-11 of the objective; a few dozen steps do. Where rounding stops it
# earlier, 1e-8 is enough.
_GAP = 1e-11
_ENOUGH = 1e-8
_MAX_NEWTON_STEPS = 50  # for each value of the parameter
# The procedure is at rest: as in the paper's code.
_AT_REST = 1e-6


def concave_convex(gram: Gramian, start: Weights, *, num_steps: int = 20) -> Solution:
    """The iterate towards K a = 1/a after some steps of the concave-convex procedure.

    From aₜ, aₜ₊₁ minimizes Σᵢ(Ka)ᵢ + ∇φ(aₜ)ᵀa subject to aᵢ(Ka)ᵢ ≥ 1 and a > 0, where
    φ(a) = Σᵢ log aᵢ(Ka)ᵢ, so ∇φ(a) = 1/a + K(1/(Ka)). Every solution of K a = 1/a is at
    rest, but not everything at rest solves it, and unlike the solution the steps depend
    on the scales of the tasks.

    Args:
      gram: K, shape [m, m], symmetric, positive semi-definite, float32 or float64.
      start: a₀, shape [m], positive.
      num_steps: ≥ 1.

    Returns:
      A `Solution` with value a, shape [m]. It stops early where a moves by less than
      1e-6, and, as the paper's code does where its solver fails, returns the last
      iterate where a step has no minimum. `error` is maxᵢ |aᵢ(Ka)ᵢ − 1| and `converged`
      says that it is at most 1e-4 in float32 or 1e-8 in float64: that the iterate
      solves K a = 1/a, which it need not. `steps` counts steps of the procedure. Not
      differentiable: constant in K, as in the paper. Where K or a₀ is not finite a is
      NaN.

    Raises:
      ValueError: K not square, a₀ of another shape, `num_steps` no positive integer.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import concave_convex
      >>> solution = concave_convex(jnp.diag(jnp.array([4.0, 0.25])), jnp.ones(2))
      >>> solution.value.round(3).tolist(), bool(solution.converged)
      ([0.5, 2.0], True)

    Cost: 10 to 100 Cholesky factorizations of m×m in float64 a step.

    Reference: §3.2 of Navon et al., "Multi-Task Learning as a Bargaining Game", ICML
    2022, arXiv:2202.01017, and its public code, which solves the steps by ECOS to
    absolute tolerances on a normalized K and so stops short on badly scaled tasks.
    Departure: each step is solved to a relative gap of 1e-8 or below, in float64.
    """
    check_square(gram)
    check_count("num_steps", num_steps)
    m = jnp.shape(gram)[0]
    if jnp.shape(start) != (m,):
        raise ValueError(f"start: expected shape ({m},), got {jnp.shape(start)}.")
    with precision_scope(gram.dtype):
        gram, start = jax.lax.stop_gradient((jnp.asarray(gram), jnp.asarray(start)))
        return _solution(gram, start.astype(gram.dtype), num_steps)


class _Procedure(NamedTuple):
    u: Float[Array, " m"]
    step: Int[Array, ""]
    going: Bool[Array, ""]


@in_float64
def _iterate(gram, start, inside, num_steps):
    cosines, scale, _ = condition(gram)

    def body(carry):
        image = product(cosines, carry.u)
        slope = product(cosines, 1 / scale) + 1 / carry.u
        slope = slope + product(cosines, 1 / image)
        new, solved = _along_the_path(cosines, slope, inside / scale)
        moved = jnp.linalg.norm(scale * (new - carry.u)) >= _AT_REST
        u = jnp.where(solved, new, carry.u)
        return _Procedure(u, carry.step + 1, solved & moved)

    def keep_going(carry):
        return carry.going & (carry.step < num_steps)

    first = _Procedure(start / scale, jnp.zeros((), jnp.int32), jnp.array(True))
    last = jax.lax.while_loop(keep_going, body, first)
    a = scale * last.u
    return a, jnp.max(jnp.abs(a * product(gram, a) - 1)), last.step


def _solution(gram, start, num_steps):
    # A bargain, longer by a half, is strictly inside the cones of every step.
    inside = 1.5 * bargain(gram).value
    a, error, steps = _iterate(gram, start, inside, jnp.asarray(num_steps))
    a = or_nan(a, gram, start)
    error, converged = verdict(error, a)
    return Solution(a, converged, steps, error)


class _Path(NamedTuple):
    u: Float[Array, " m"]
    mu: Float[Array, ""]
    step: Int[Array, ""]
    gap: Float[Array, ""]
    going: Bool[Array, ""]


def _along_the_path(cosines, slope, inside):
    """argmin slopeᵀu over uᵢ(Cu)ᵢ ≥ 1, from a point inside; whether it was found."""
    m = inside.shape[0]

    def body(path):
        v, decrement = _newton(cosines, slope / path.mu, path.u)
        u, moved = _line_search(cosines, slope / path.mu, path.u, v)
        near = decrement < 0.25
        here = 2 * m * path.mu / jnp.maximum(jnp.abs(jnp.vdot(slope, u)), 1e-300)
        gap = jnp.where(near, here, path.gap)
        going = moved & jnp.all(jnp.isfinite(u)) & (gap > _GAP)
        return _Path(
            u=jnp.where(moved, u, path.u),
            mu=jnp.where(near, path.mu / 10, path.mu),
            step=jnp.where(near, 0, path.step + 1),
            gap=gap,
            going=going,
        )

    def keep_going(path):
        return path.going & (path.step < _MAX_NEWTON_STEPS)

    known = jnp.all(jnp.isfinite(slope)) & _is_inside(cosines, inside)
    mu = jnp.maximum(jnp.max(jnp.abs(slope * inside)) / (2 * m), 1e-30)
    far = jnp.full_like(mu, jnp.inf)
    first = _Path(inside, mu, jnp.zeros((), jnp.int32), far, known)
    last = jax.lax.while_loop(keep_going, body, first)
    return last.u, last.gap <= _ENOUGH


def _is_inside(cosines, u):
    image = product(cosines, u)
    return jnp.all((u > 0) & (image > 0) & (u * image > 1))


def _newton(cosines, slope, u):
    """The Newton direction of slopeᵀu − Σ log wᵢ, wᵢ = uᵢ(Cu)ᵢ − 1, and its decrement.

    In steps relative to u, R = diag(u) C diag(u), the Hessian is
    (I + R) diag(w⁻²) (I + R) + diag((w + 2)/w).
    """
    r = cosines * u[:, None] * u[None, :]
    w = jnp.sum(r, axis=1) - 1
    gradient = u * slope - (1 + w) / w - product(r, 1 / w)
    scaled = (jnp.eye(u.shape[0], dtype=u.dtype) + r) / w
    hessian = product(scaled, scaled.T) + jnp.diag((w + 2) / w)
    v = -solve_spd(hessian, gradient, unroll=False)
    return u * v, jnp.sqrt(jnp.maximum(-jnp.vdot(gradient, v), 0.0))


def _line_search(cosines, slope, u, v):
    """The best of some step lengths that stay inside; whether one is better."""

    def value(u):
        inside = _is_inside(cosines, u)
        gap = jnp.where(inside, u * product(cosines, u) - 1, 1.0)
        value = jnp.vdot(slope, u) - jnp.sum(jnp.log(gap))
        return jnp.where(inside, value, jnp.inf)

    lengths = 0.5 ** jnp.arange(30.0, dtype=u.dtype)
    values = jax.vmap(lambda length: value(u + length * v))(lengths)
    best = jnp.min(values)
    # Not argmin, which is lowered outside the scope of float64.
    length = jnp.max(jnp.where(values == best, lengths, 0.0))
    return u + length * v, jnp.isfinite(best)
