"""The projection onto the dual cone of the task gradients: many targets, one Gramian.

With v = t + x, x ≥ 0, each row is a non-negative quadratic program with one matrix for
all. Small ones are pivoted, row beside row. For larger ones a factorization a row would
cost m⁴/3; there all rows take conjugate-gradient steps on their supports together, one
m×m product a step, and exchange indices when their residual is small beside what is
wrong with their signs. Rows that this does not finish, as on ill-conditioned Gramians,
are pivoted one by one."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

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

__all__ = ["project_cone"]

# Up to this size a factorization a row is as fast as products for all rows together.
_PIVOTED = 5
_MAX_PRODUCTS = 100


def project_cone(gram: Gramian, target: Float[Array, "*r m"]) -> Solution:
    """v = argmin vᵀKv subject to v ≥ t, for one target t or for each of r.

    With K = J Jᵀ, Jᵀv is the vector nearest to Jᵀt that conflicts with no row of J: its
    projection onto {d : J d ≥ 0}.

    Args:
      gram: K, shape [m, m], symmetric, positive semi-definite, float32 or float64.
      target: t, shape [m] or [r, m].

    Returns:
      A `Solution` with value v of the shape of t, v ≥ t. Optimality is K v ≥ 0, with
      (Kv)ᵢ = 0 where vᵢ > tᵢ; `error` is the largest violation relative to √Kᵢᵢ
      √(|v|ᵀ|K||v|), and `converged` says that it is at most 1e-4 in float32 or 1e-8 in
      float64. `converged`, `steps` and `error` have the shape of t without its last
      axis. A task with a zero gradient keeps vᵢ = tᵢ. Where K or t is not finite, v is
      NaN.

      Differentiable in K and t, forward and reverse, on the support of v − t.

    Raises:
      ValueError: K not square, or t not of shape [m] or [r, m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import project_cone
      >>> gram = jnp.array([[1.0, -0.5], [-0.5, 1.0]])
      >>> solution = project_cone(gram, jnp.eye(2))
      >>> solution.value.round(3).tolist(), solution.converged.tolist()
      ([[1.0, 0.5], [0.5, 1.0]], [True, True])

    Cost: for m ≤ 5, a Cholesky factorization of m×m a row and pivot, commonly 2 to 5
    pivots; above, 20 to 60 products of [r, m] with [m, m] for all rows together where K
    is well conditioned, and 2 to 10 factorizations more for each row where it is not.

    Reference: Quinton & Rey, "Jacobian descent for multi-objective optimization",
    arXiv:2406.16232, projects every row (UPGrad); Lopez-Paz & Ranzato, "Gradient
    episodic memory for continual learning", NeurIPS 2017, arXiv:1706.08840, one vector.
    The sharing of products among rows is ours.
    """
    check_square(gram)
    m = jnp.shape(gram)[0]
    shape = jnp.shape(target)
    if len(shape) not in (1, 2) or shape[-1] != m:
        raise ValueError(f"target: expected shape [{m}] or [r, {m}], got {shape}.")
    with precision_scope(gram.dtype):
        gram = jnp.asarray(gram)
        rows = jnp.asarray(target, gram.dtype).reshape(-1, m)
        solution = _solution(gram, rows)
        return jax.tree.map(lambda x: x.reshape(shape[:-1] + x.shape[1:]), solution)


# Compiled once for all calls outside a compiled program; inside one, part of it.
@functools.partial(jax.jit, inline=True)
def _solution(gram, rows):
    fixed, goal = jax.lax.stop_gradient((gram, rows))
    found, support, steps = _solve(fixed, goal)
    found = or_nan(found, fixed, goal)
    value = implicit(_conditions, _linearized, (gram, rows), found, support)
    error, converged = verdict(_certificate(fixed, goal, found), found)
    return Solution(value, converged, steps, error)


def _solve(gram, target):
    """v, where v > t, and steps: [r, m], bool [r, m], [r]."""
    # A dead task enters nothing; as a row of the identity it keeps x = 0.
    scaled = condition(gram, active=jnp.diagonal(gram) > 0)
    c, dead = scaled.matrix, ~scaled.alive
    inner = jnp.where(dead, 0.0, target / scaled.scale)
    size = jnp.max(jnp.abs(inner), axis=1, keepdims=True)
    size = jnp.where(size > 0, size, 1.0)
    b = -product(inner / size, c)
    if gram.shape[0] <= _PIVOTED:
        pivoted = jax.vmap(nnqp, in_axes=(None, 0))(c, b)
        x, support, steps = pivoted.x, pivoted.support, pivoted.steps
    else:
        x, support, steps = _one_by_one(c, b, _together(c, b))
    support = support & ~dead
    x = jnp.where(support, x, 0.0)
    return target + scaled.scale * size * x, support, steps


class _Rows(NamedTuple):
    """The state of all rows: x, the image Cx, the search direction, and what next."""

    x: Float[Array, "r m"]
    image: Float[Array, "r m"]
    direction: Float[Array, "r m"]
    square: Float[Array, " r"]
    support: Bool[Array, "r m"]
    dropping: Bool[Array, " r"]
    done: Bool[Array, " r"]
    steps: Int[Array, " r"]


def _together(c, b):
    """Conjugate gradients on every row's support, exchanging supports as they go.

    One product a step serves all rows: of its search direction, or, where a row has
    just dropped negative entries of x, of what it dropped, to keep the image Cx right.
    """
    eps = jnp.finfo(b.dtype).eps
    slack = b.shape[1] * eps * jnp.max(jnp.abs(b), axis=1)

    def body(rows):
        return _decide(b, slack, rows, *_advance(c, rows))

    def keep_going(rows):
        return jnp.any(~rows.done) & (jnp.max(rows.steps) < _MAX_PRODUCTS)

    zero = jnp.zeros_like(b)
    support = b > 0
    start = jnp.where(support, b, 0.0)
    no = jnp.zeros(b.shape[0], bool)
    count = jnp.zeros(b.shape[0], jnp.int32)
    first = _Rows(zero, zero, start, _squares(start), support, no, no, count)
    return jax.lax.while_loop(keep_going, body, first)


def _squares(rows):
    return jnp.sum(rows * rows, axis=1)


def _advance(c, rows):
    """x and Cx after a step along the direction; where dropping, x moved already."""
    image = product(rows.direction, c)
    curve = jnp.sum(rows.direction * image, axis=1)
    length = rows.square / jnp.where(curve > 0, curve, 1.0)
    length = jnp.where(rows.dropping, 1.0, length)[:, None]
    step = jnp.where(rows.dropping[:, None], 0.0, length * rows.direction)
    return rows.x + step, rows.image + length * image


def _decide(b, slack, rows, x, image):
    """Go on, or exchange indices, or be done: by residual and by signs."""
    rest = b - image
    inside = jnp.where(rows.support, rest, 0.0)
    # What is wrong with the signs, in units of the residual: C has a unit diagonal.
    wrong = jnp.where(rows.support, -x, rest)
    worst = jnp.max(wrong, axis=1)
    left = jnp.max(jnp.abs(inside), axis=1)
    done = rows.done | (jnp.maximum(left, worst) <= slack)
    exchanged = (worst > slack) & (left <= 0.1 * worst)
    flipped = exchanged[:, None] & (wrong > jnp.maximum(left, slack)[:, None])
    dropped = jnp.where(flipped & rows.support, -x, 0.0)
    dropping = exchanged & jnp.any(dropped > 0, axis=1)
    support = rows.support ^ flipped
    # The next direction: conjugate, or afresh, or what has been dropped.
    again = exchanged | rows.dropping
    fresh = jnp.where(support, rest, 0.0)
    ratio = _squares(inside) / jnp.where(rows.square > 0, rows.square, 1.0)
    conjugate = inside + ratio[:, None] * rows.direction
    direction = jnp.where(again[:, None], fresh, conjugate)
    direction = jnp.where(dropping[:, None], dropped, direction)
    return _Rows(
        x=jnp.where(dropping[:, None], x + dropped, x),
        image=image,
        direction=jnp.where(done[:, None], 0.0, direction),
        square=jnp.where(done, 0.0, _squares(jnp.where(again[:, None], fresh, inside))),
        support=support,
        dropping=dropping,
        done=done,
        steps=rows.steps + ~rows.done,
    )


class _Left(NamedTuple):
    x: Float[Array, "r m"]
    support: Bool[Array, "r m"]
    steps: Int[Array, " r"]
    done: Bool[Array, " r"]


def _one_by_one(c, b, rows):
    """Pivots the rows that are not done, from where they stand."""

    def body(left):
        i = jnp.argmin(left.done)
        pivoted = nnqp(c, b[i], left.support[i])
        return _Left(
            x=left.x.at[i].set(pivoted.x),
            support=left.support.at[i].set(pivoted.support),
            steps=left.steps.at[i].add(pivoted.steps),
            done=left.done.at[i].set(True),
        )

    def keep_going(left):
        return ~jnp.all(left.done)

    first = _Left(rows.x, rows.support, rows.steps, rows.done)
    last = jax.lax.while_loop(keep_going, body, first)
    return jnp.maximum(last.x, 0.0), last.support, last.steps


@in_float64
def _certificate(gram, target, v):
    image = product(v, gram)
    size = jnp.abs(v)
    size = jnp.sqrt(jnp.sum(size * product(size, jnp.abs(gram)), axis=1))
    unit = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0)) * size[:, None]
    violation = jnp.where(v > target, jnp.abs(image), jnp.maximum(-image, 0.0))
    below = jnp.where(v < target, jnp.inf, 0.0)
    return jnp.max(violation / jnp.where(unit > 0, unit, 1.0) + below, axis=1)


def _conditions(params, v, support):
    gram, target = params
    return jnp.where(support, product(v, gram), v - target)


def _linearized(params, _, support, right):
    """dv off the support is given; on it K dv = right, in unit-diagonal coordinates."""
    scaled = condition(params[0])
    given = jnp.where(support, 0.0, right)
    rest = scaled.scale * (right - product(given, params[0]))
    c = ridged(scaled.matrix)
    inside = jax.vmap(solve_on_support, in_axes=(None, 0, 0))(c, rest, support)
    return jnp.where(support, scaled.scale * inside, given)
