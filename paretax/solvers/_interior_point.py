"""Mehrotra's interior point for small dense convex quadratic programs.

Predictor and corrector on the optimality conditions of min ½xᵀQx + qᵀx subject to Ax =
b, Gx ≤ h. With slack s and multipliers y, z a step solves

    (Q + Gᵀ(z/s)G + AᵀA) dx + Aᵀdy = r − Aᵀ(Ax − b),    A dx = −(Ax − b),

where AᵀA changes nothing in exact arithmetic and makes the matrix definite whenever the
program has one solution.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax.solvers._condition import TOLERANCE
from paretax.solvers._linear import product, solve_spd

__all__ = ["Point", "Program", "largest", "residuals", "solve", "solve_kkt"]

_MAX_STEPS = 60
_PATIENCE = 6
# The unit of an error where all its terms vanish, as at an optimum of 0; of the scaled
# program.
_LEAST = 1e-12


class Program(NamedTuple):
    """min ½xᵀQx + qᵀx subject to Ax = b and Gx ≤ h."""

    quadratic: Float[Array, "n n"]
    linear: Float[Array, " n"]
    equal: Float[Array, "p n"]
    equal_to: Float[Array, " p"]
    below: Float[Array, "l n"]
    below_to: Float[Array, " l"]


class Point(NamedTuple):
    x: Float[Array, " n"]
    s: Float[Array, " l"]
    y: Float[Array, " p"]
    z: Float[Array, " l"]


def largest(x):
    """max |x|, 0 of nothing."""
    return jnp.max(jnp.abs(x), initial=0.0)


class _Carry(NamedTuple):
    point: Point
    best: Point
    error: Float[Array, ""]
    step: Int[Array, ""]
    stalled: Int[Array, ""]
    going: Bool[Array, ""]


def solve(program):
    """The best point found, its error and the number of steps."""
    enough = TOLERANCE[program.linear.dtype.name] / 1000

    def body(carry):
        point = _step(program, carry.point)
        error = _error(program, point)
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in point]))
        better = finite & (error < carry.error)
        stalled = jnp.where(error < 0.9 * carry.error, 0, carry.stalled + 1)
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), point, carry.best)
        return _Carry(
            point=point,
            best=best,
            error=jnp.where(better, error, carry.error),
            step=carry.step + 1,
            stalled=stalled,
            going=finite & (error > enough) & ((stalled < _PATIENCE) | (error > 1e-3)),
        )

    def keep_going(carry):
        return carry.going & (carry.step < _MAX_STEPS)

    start = _start(program)
    count = jnp.zeros((), jnp.int32)
    going = jnp.ones((), bool)
    first = _Carry(start, start, _error(program, start), count, count, going)
    last = jax.lax.while_loop(keep_going, body, first)
    return last.best, last.error, last.step


def _start(program):
    """The nearest to all constraints as equations; slack and multipliers of 1."""
    ones = jnp.ones_like(program.below_to)
    right = product(program.below.T, program.below_to) - program.linear
    x, y = solve_kkt(program, ones, right, program.equal_to)
    gap = program.below_to - product(program.below, x)
    return Point(x, jnp.maximum(gap, 1.0), y, ones)


def solve_kkt(program, ratio, right, below):
    """(x, y) with (Q + GᵀRG) x + Aᵀy = right and A x = below; linear in both."""
    n = right.shape[0]
    a = program.equal
    matrix = program.quadratic + product(a.T, a)
    matrix = matrix + product(program.below.T * ratio, program.below)
    size = jnp.max(jnp.diagonal(matrix))
    ridge = n * jnp.finfo(matrix.dtype).eps * jnp.where(size > 0, size, 1.0)
    matrix = matrix + ridge * jnp.eye(n, dtype=matrix.dtype)
    right = right + product(a.T, below)
    if a.shape[0] == 0:
        return solve_spd(matrix, right, unroll=False), below
    both = solve_spd(matrix, a.T, unroll=False)
    schur = product(a, both)
    tiny = jnp.finfo(matrix.dtype).eps * jnp.max(jnp.diagonal(schur))
    schur = schur + tiny * jnp.eye(a.shape[0], dtype=matrix.dtype)
    free = solve_spd(matrix, right, unroll=False)
    y = solve_spd(schur, product(a, free) - below, unroll=False)
    return free - product(both, y), y


def _step(program, point):
    """One predictor and corrector."""
    _, s, _, z = point
    dual, equal, below = residuals(program, point)

    def toward(target):
        """The Newton step to s∘z = target."""
        push = (z * below + target - s * z) / s
        dx, dy = solve_kkt(
            program, z / s, -dual - product(program.below.T, push), -equal
        )
        ds = -below - product(program.below, dx)
        return Point(dx, ds, dy, (target - s * z - z * ds) / s)

    if s.shape[0] == 0:
        return jax.tree.map(jnp.add, point, toward(s))
    affine = toward(jnp.zeros_like(s))
    t = _reach(point, affine)
    gap = jnp.mean(s * z)
    ahead = jnp.mean((s + t * affine.s) * (z + t * affine.z))
    center = (ahead / gap) ** 3 * gap
    full = toward(center - affine.s * affine.z)
    t = jnp.minimum(1.0, 0.99 * _reach(point, full))
    return jax.tree.map(lambda a, d: a + t * d, point, full)


def _reach(point, move):
    shrink = jnp.maximum(jnp.max(-move.s / point.s), jnp.max(-move.z / point.z))
    return 1 / jnp.maximum(shrink, 1.0)


def residuals(program, point):
    """Qx + q + Aᵀy + Gᵀz, Ax − b and Gx + s − h."""
    x, s, y, z = point
    dual = product(program.quadratic, x) + program.linear
    dual = dual + product(program.equal.T, y) + product(program.below.T, z)
    equal = product(program.equal, x) - program.equal_to
    return dual, equal, product(program.below, x) + s - program.below_to


def _error(program, point):
    """The largest residual, each relative to the size of its terms."""
    x, _, y, z = point
    curved = product(program.quadratic, x)
    dual, equal, _ = residuals(program, point)
    pulls = (
        program.linear,
        curved,
        product(program.equal.T, y),
        product(program.below.T, z),
    )
    reached = product(program.below, x)
    over = jnp.max(reached - program.below_to, initial=0.0)
    limits = (x, program.equal_to, program.below_to)
    value, cost = product(x, curved), product(program.linear, x)
    paid = product(program.equal_to, y) + product(program.below_to, z)
    costs = (
        product(jnp.abs(x), jnp.abs(curved)),
        product(jnp.abs(program.linear), jnp.abs(x)),
        largest(program.linear) * largest(x),
        product(jnp.abs(program.equal_to), jnp.abs(y)),
        product(jnp.abs(program.below_to), z),
    )
    parts = [
        _relative(largest(dual), pulls),
        _relative(jnp.maximum(largest(equal), over), limits),
        _relative(jnp.abs(value + cost + paid), costs),
    ]
    error = jnp.stack(parts)
    return jnp.where(jnp.all(jnp.isfinite(error)), jnp.max(error), jnp.inf)


def _relative(size, terms):
    unit = jnp.max(jnp.stack([largest(term) for term in terms]))
    return size / jnp.maximum(unit, _LEAST)
