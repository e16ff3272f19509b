"""The best worst task within a ball around the mean gradient: CAGrad's inner problem.

The direction is d = Jᵀ(u + x), u = 1/m, x ≥ 0, and optimality reads K(u + x) ≥ ν, with
equality where x > 0, and ‖Jᵀx‖ = c‖Jᵀu‖. On a known support x is linear in ν, and the
norm a quadratic equation for ν. So a step solves one system for the present support,
then the quadratic, then exchanges what has the wrong sign. Should that cycle, ν is
bracketed, for ‖Jᵀx(ν)‖ grows with ν, each x(ν) a non-negative quadratic program.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_non_negative, check_square
from paretax._types import Gramian, Solution
from paretax.solvers._condition import (
    TOLERANCE,
    condition,
    in_float64,
    or_nan,
    precision_scope,
    ridged,
    verdict,
)
from paretax.solvers._exchange import exchange
from paretax.solvers._implicit import implicit
from paretax.solvers._linear import product
from paretax.solvers._min_norm import shortest
from paretax.solvers._nnqp import nnqp, solve_on_support

__all__ = ["trade_off"]

_BISECTIONS = 60


def trade_off(gram: Gramian, c: float | Float[Array, ""] = 0.4) -> Solution:
    """The weights of the direction d that serves the worst task best near the mean.

    d = Jᵀv solves max_d minᵢ gᵢᵀd subject to ‖d − g₀‖ ≤ c‖g₀‖, g₀ = Jᵀ1/m the mean
    gradient and gᵢ the rows of J, K = J Jᵀ. Its dual is min over the simplex of wᵀKu +
    c‖g₀‖ √(wᵀKw), u = 1/m, and v = u + x with w = x/Σᵢxᵢ.

    Args:
      gram: K, shape [m, m], symmetric, positive semi-definite, float32 or float64.
      c: ≥ 0, the radius relative to ‖g₀‖; 0 gives the mean.

    Returns:
      A `Solution` with value v, shape [m], v ≥ 1/m. `error` is the largest of (ν −
      (Kv)ᵢ) relative to √Kᵢᵢ (1 + c)‖g₀‖, of the same without its sign where xᵢ > 0,
      and of ‖Jᵀx‖/(c‖g₀‖) − 1; `converged` says that it is at most 1e-4 in float32 or
      1e-8 in float64. At a Pareto-stationary point no direction serves all tasks, and
      the dual's w has no direction; v then is that of the direction nearest to g₀ with
      K v ≥ 0, if it lies within the ball, and `error` counts how far K is from
      stationary: maxᵢ |(Kw)ᵢ| relative to √Kᵢᵢ √(wᵀ|K|w), w of `min_norm`. Where K is
      not finite, v is NaN.

      Differentiable in K and c, forward and reverse, on the support of x.

    Raises:
      ValueError: K is not square, or c < 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import trade_off
      >>> gram = jnp.array([[4.0, 0.0], [0.0, 1.0]])
      >>> solution = trade_off(gram, 0.5)
      >>> [round(v, 3) for v in solution.value.tolist()], bool(solution.converged)
      ([0.5, 1.059], True)

    Cost: a Cholesky factorization of m×m a step, commonly 3 to 8 steps; some hundred
    where the supports cycle.

    Reference: Liu et al., "Conflict-averse gradient descent for multi-task learning",
    NeurIPS 2021, arXiv:2110.14048, problem (3) and its dual. Departures: their code
    minimizes the dual by a general-purpose solver to its default tolerance and adds
    1e-8 to ‖Jᵀw‖; the active-set method on ν is ours, and so is the answer at
    stationary points.
    """
    check_square(gram)
    check_non_negative("c", c)
    with precision_scope(gram.dtype):
        gram = jnp.asarray(gram)
        return _solution(gram, jnp.asarray(c, gram.dtype))


# Compiled once for all calls outside a compiled program; inside one, part of it.
@functools.partial(jax.jit, inline=True)
def _solution(gram, c):
    fixed, radius = jax.lax.stop_gradient((gram, c))
    answer = _solve(fixed, radius)
    x = or_nan(answer.x, fixed, radius)
    root, support = (x, answer.level), (answer.x > 0, answer.inside)
    root = implicit(_conditions, _linearized, (gram, c), root, support)
    error, converged = verdict(answer.error, x)
    value = 1 / gram.shape[0] + root[0]
    return Solution(value, converged, answer.steps, error)


class _Scaled(NamedTuple):
    """C z + p ≥ ν d with z ≥ 0 and zᵀCz = c²: lengths in units of ‖g₀‖."""

    c: Float[Array, "m m"]
    p: Float[Array, " m"]
    d: Float[Array, " m"]
    alive: Bool[Array, " m"]
    back: Float[Array, " m"]
    highest: Float[Array, ""]


class _Answer(NamedTuple):
    x: Float[Array, " m"]
    level: Float[Array, ""]
    inside: Bool[Array, ""]
    error: Float[Array, ""]
    steps: Int[Array, ""]


def _solve(gram, c):
    problem = _scaled(gram, c)

    def judged(z, level, steps, inside=False):
        x = jnp.where(problem.alive, jnp.maximum(z, 0.0), 0.0) * problem.back
        inside = jnp.asarray(inside) | (c == 0)
        error = _certificate(gram, x, c, inside.astype(gram.dtype))
        return _Answer(x, level, inside, error, steps)

    def better(first, second):
        worse = ~(first.error <= second.error)
        return jax.tree.map(lambda a, b: jnp.where(worse, b, a), first, second)

    def again(answer):
        z, level, steps = _bracketed(problem, c)
        answer = better(answer, judged(z, level, answer.steps + steps))
        nearest = nnqp(problem.c, -problem.p, unroll=False)
        rest = judged(nearest.x, jnp.zeros_like(level), answer.steps, inside=True)
        moving = _stationarity(gram, shortest(gram, unroll=False)[0])
        rest = rest._replace(error=jnp.maximum(rest.error, moving))
        return better(answer, rest)._replace(steps=answer.steps + nearest.steps)

    z, level, steps = _pivoted(problem, c)
    at_cap = (level == 0) & (problem.highest == 0)
    answer = judged(z, level, steps, inside=at_cap)
    # A loop of at most one turn: a batch skips it unless a member needs it.
    needed = answer.error > TOLERANCE[gram.dtype.name]
    turn = jax.lax.while_loop(
        lambda carry: carry[1],
        lambda carry: (again(carry[0]), jnp.zeros((), bool)),
        (answer, needed),
    )
    return turn[0]


def _scaled(gram, c):
    m = gram.shape[0]
    scaled = condition(gram, active=jnp.diagonal(gram) > 0)
    alive = scaled.alive
    image = jnp.sum(gram, axis=1) / m
    length = jnp.sqrt(jnp.maximum(jnp.mean(image), 0.0))
    length = jnp.where(length > 0, length, 1.0)
    top = jnp.max(jnp.where(alive, scaled.scale, 0.0))
    return _Scaled(
        c=scaled.matrix,
        p=jnp.where(alive, scaled.scale * image / length, 0.0),
        d=jnp.where(alive, scaled.scale / jnp.where(top > 0, top, 1.0), 0.0),
        alive=alive,
        back=scaled.scale * length,
        highest=jnp.where(jnp.all(alive), 1 + c, 0.0),
    )


def _level(problem, c, support, *, unroll=True):
    """z = ν a − q on the support, and the ν with zᵀCz = c²."""
    sides = jnp.stack([problem.d, problem.p], axis=1)
    h = ridged(problem.c)
    a, q = solve_on_support(h, sides, support, unroll=unroll).T
    aa, ab, bb = product(problem.d, a), product(problem.d, q), product(problem.p, q)
    safe = jnp.where(aa > 0, aa, 1.0)
    # ν = (ab + √(ab² − aa (bb − c²)))/aa, with the minimum over ν if none reaches c.
    spread = jnp.sqrt(jnp.maximum(ab * ab - aa * (bb - c * c), 0.0))
    return jnp.minimum((ab + spread) / safe, problem.highest), a, q


def _pivoted(problem, c):
    """Exchanges on the support, ν solved for anew at each."""
    m = problem.p.shape[0]
    slack = 4 * m * jnp.finfo(problem.p.dtype).eps * (1 + c)

    def look(support):
        level, a, q = _level(problem, c, support)
        z = level * a - q
        rest = product(problem.c, z) + problem.p - level * problem.d
        return (z, level), problem.alive & jnp.where(support, z < 0, rest < -slack)

    last = exchange(look, problem.alive, max_steps=10 + m)
    return *last.found, last.steps


class _Bracket(NamedTuple):
    low: Float[Array, ""]
    high: Float[Array, ""]
    level: Float[Array, ""]
    z: Float[Array, " m"]
    support: Bool[Array, " m"]
    turns: Int[Array, ""]
    steps: Int[Array, ""]


def _bracketed(problem, c):
    """x(ν) by `nnqp`, ν between bounds: by the quadratic where that falls inside."""
    eps = jnp.finfo(problem.p.dtype).eps
    tolerance = TOLERANCE[problem.p.dtype.name] / 10

    def body(carry):
        right = carry.level * problem.d - problem.p
        pivoted = nnqp(problem.c, right, carry.support, unroll=False)
        image = product(problem.c, pivoted.x)
        short = right - image
        # Beyond what any x reaches, a singular C leaves a constraint unmet.
        high = (product(pivoted.x, image) > c * c) | (jnp.max(short) > tolerance)
        low = jnp.where(high, carry.low, carry.level)
        high = jnp.where(high, carry.level, carry.high)
        proposed, _, _ = _level(problem, c, pivoted.support, unroll=False)
        inside = (proposed > low) & (proposed < high)
        level = jnp.where(inside, proposed, 0.5 * (low + high))
        turns, steps = carry.turns + 1, carry.steps + pivoted.steps
        return _Bracket(low, high, level, pivoted.x, pivoted.support, turns, steps)

    def keep_going(carry):
        wide = carry.high - carry.low > 4 * eps * (1 + c)
        return wide & (carry.turns < _BISECTIONS)

    low = jnp.where(
        problem.alive, problem.p / jnp.where(problem.alive, problem.d, 1), 0
    )
    low = jnp.minimum(jnp.min(low), problem.highest) - eps
    level = 0.5 * (low + problem.highest)
    zero, count = jnp.zeros_like(problem.p), jnp.zeros((), jnp.int32)
    first = _Bracket(low, problem.highest, level, zero, problem.alive, count, count)
    last = jax.lax.while_loop(keep_going, body, first)
    return last.z, last.level, last.steps


@in_float64
def _certificate(gram, x, c, inside):
    image = jnp.mean(gram, axis=1) + product(gram, x)
    length = jnp.sqrt(jnp.maximum(jnp.mean(gram), 0.0))
    total = jnp.sum(x)
    level = product(x, image) / jnp.where(total > 0, total, 1.0)
    level = jnp.where(total > 0, level, jnp.min(image))
    level = jnp.where(inside > 0, 0.0, level)
    unit = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0)) * (1 + c) * length
    short = jnp.where(x > 0, jnp.abs(level - image), level - image)
    short = jnp.where(c == 0, 0.0, short)
    violation = jnp.where(unit > 0, short / jnp.where(unit > 0, unit, 1.0), 0.0)
    reach = jnp.sqrt(jnp.maximum(product(x, product(gram, x)), 0.0))
    radius = c * length
    over = reach / jnp.where(radius > 0, radius, 1.0) - 1
    over = jnp.where(inside > 0, jnp.maximum(over, 0.0), jnp.abs(over))
    over = jnp.where(radius > 0, over, reach)
    return jnp.maximum(jnp.max(violation), over)


@in_float64
def _stationarity(gram, w):
    """How far Jᵀw is from 0, seen from the tasks: maxᵢ |gᵢᵀJᵀw| without units."""
    size = jnp.sqrt(product(w, product(jnp.abs(gram), w)))
    unit = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0)) * size
    image = jnp.abs(product(gram, w)) / jnp.where(unit > 0, unit, 1.0)
    return jnp.max(jnp.where(unit > 0, image, 0.0))


def _conditions(params, root, fixed):
    (gram, c), (x, level), (_, inside) = params, root, fixed
    image = jnp.mean(gram, axis=1) + product(gram, x) - level
    reach = product(x, product(gram, x)) - c * c * jnp.mean(gram)
    return image, jnp.where(inside, level, 0.5 * reach)


def _linearized(params, root, fixed, right):
    """K dx − dν = right₀ on the support, and xᵀK dx = right₁ (or dν = right₁)."""
    gram, _ = params
    (x, _), (support, inside), (image, reach) = root, fixed, right
    total = jnp.sum(x)
    onto = reach - product(x, jnp.where(support, image, 0.0))
    level = jnp.where(inside, reach, onto / jnp.where(total > 0, total, 1.0))
    scaled = condition(gram)
    h = ridged(scaled.matrix)
    dx = scaled.scale * solve_on_support(h, scaled.scale * (image + level), support)
    return jnp.where(support, dx, 0.0), level
