"""min ½xᵀHx − bᵀx over x ≥ 0: pivoting, and an interior point where it cycles."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax.solvers._condition import in_float64, ridged
from paretax.solvers._exchange import exchange
from paretax.solvers._linear import product, solve_spd

__all__ = ["Pivoted", "nnqp", "solve_on_support"]

_REFINEMENTS = 4


class Pivoted(NamedTuple):
    """A solution x ≥ 0 with the set of its positive entries.

    Attributes:
      x: shape [m].
      support: bool, shape [m].
      steps: pivots taken.
    """

    x: Float[Array, " m"]
    support: Bool[Array, " m"]
    steps: Int[Array, ""]


class _Inner(NamedTuple):
    x: Float[Array, " m"]
    y: Float[Array, " m"]
    steps: Int[Array, ""]


@functools.partial(jax.jit, static_argnames="unroll")
def nnqp(
    h: Float[Array, "m m"],
    b: Float[Array, " m"],
    start: Bool[Array, " m"] | None = None,
    *,
    unroll: bool = True,
) -> Pivoted:
    """The minimizer of ½xᵀHx − bᵀx over x ≥ 0, for a positive semi-definite H.

    Complementarity picks a support: x = H⁻¹b on it, the slack Hx − b ≥ 0 off it, found
    by `exchange`. Where rounding makes signs a matter of chance, as on a singular H,
    that cycles, and an interior-point method takes over. Both work on H + 2m·eps·I;
    what that ridge changes is then taken back on the support by iterative refinement,
    which needs b in the range of H.

    Args:
      h: shape [m, m], symmetric, positive semi-definite, of unit size.
      b: shape [m].
      start: bool, shape [m]; the first guess of the support. None is b > 0.
      unroll: as for `solve_spd`.

    Returns:
      A `Pivoted`. Signs count as wrong beyond m·eps·max|b|. The caller judges the
      answer by its own residual.

    Cost: a Cholesky factorization of m×m a step, commonly 2 to 6 steps, at most 50 +
    2m.

    Reference: that of `exchange`; Mehrotra, "On the implementation of a primal-dual
    interior point method", 1992.
    """
    size = jnp.max(jnp.abs(b))
    b = b / jnp.where(size > 0, size, 1.0)
    safe = ridged(h)
    pivoted, failed = _pivot(safe, b, b > 0 if start is None else start, unroll)
    inner = _interior_point(safe, b, failed)
    chosen = Pivoted(inner.x, inner.x > inner.y, pivoted.steps + inner.steps)
    found = jax.tree.map(lambda a, b: jnp.where(failed, a, b), chosen, pivoted)
    found = _refine(h, safe, b, found)
    return found._replace(x=size * found.x)


def _pivot(h, b, support, unroll):
    m = b.shape[0]
    slack = m * jnp.finfo(b.dtype).eps * jnp.max(jnp.abs(b))

    def look(support):
        x = solve_on_support(h, b, support, unroll=unroll)
        return x, jnp.where(support, x < 0, product(h, x) - b < -slack)

    last = exchange(look, support, max_steps=10 + 2 * m)
    failed = jnp.any(last.wrong) | ~jnp.all(jnp.isfinite(last.found))
    return Pivoted(jnp.maximum(last.found, 0.0), last.support, last.steps), failed


def _interior_point(h, b, needed):
    """Predictor and corrector steps from the inside; none at all unless `needed`."""
    eps = jnp.finfo(b.dtype).eps

    def step(x, y, target):
        """dx, dy with H dx − dy = −(Hx − b − y) and y dx + x dy = target − x y."""
        d = jnp.sqrt(x / y)
        matrix = d[:, None] * h * d[None, :] + jnp.eye(b.shape[0], dtype=b.dtype)
        right = target / x - (product(h, x) - b)
        dx = d * solve_spd(matrix, d * right, unroll=False)
        return dx, (target - x * y - y * dx) / x

    def reach(x, dx, y, dy):
        """The longest step, at most 1, that keeps x and y non-negative."""
        shrink = jnp.maximum(jnp.max(-dx / x), jnp.max(-dy / y))
        return 1 / jnp.maximum(shrink, 1.0)

    def body(carry):
        x, y = carry.x, carry.y
        dx, dy = step(x, y, jnp.zeros_like(x))
        t = reach(x, dx, y, dy)
        gap = jnp.mean(x * y)
        center = (jnp.mean((x + t * dx) * (y + t * dy)) / gap) ** 3 * gap
        dx, dy = step(x, y, center - dx * dy)
        t = jnp.minimum(1.0, 0.99 * reach(x, dx, y, dy))
        return _Inner(x + t * dx, y + t * dy, carry.steps + 1)

    def keep_going(carry):
        gap = jnp.max(carry.x * carry.y)
        return needed & (carry.steps < 40) & (gap > eps * eps)

    one = jnp.ones_like(b)
    start = _Inner(one, one, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(keep_going, body, start)


class _Refined(NamedTuple):
    x: Float[Array, " m"]
    rest: Float[Array, " m"]
    steps: Int[Array, ""]
    going: Bool[Array, ""]


def _refine(h, safe, b, found):
    """x + (H + ridge)⁻¹(b − Hx) on the support, while that keeps x ≥ 0 and helps."""
    enough = 8 * jnp.finfo(b.dtype).eps * jnp.max(jnp.abs(b))
    defect = in_float64(lambda h, b, x: b - product(h, x))

    def left(x):
        return jnp.where(found.support, defect(h, b, x), 0.0)

    def body(carry):
        x = carry.x + solve_on_support(safe, carry.rest, found.support, unroll=False)
        rest = left(x)
        size = jnp.max(jnp.abs(rest))
        better = (size < 0.5 * jnp.max(jnp.abs(carry.rest))) & jnp.all(x >= 0)
        return _Refined(
            x=jnp.where(better, x, carry.x),
            rest=jnp.where(better, rest, carry.rest),
            steps=carry.steps + 1,
            going=better & (size > enough),
        )

    def keep_going(carry):
        return carry.going & (carry.steps < _REFINEMENTS)

    rest = left(found.x)
    going = jnp.max(jnp.abs(rest)) > enough
    first = _Refined(found.x, rest, jnp.zeros((), jnp.int32), going)
    last = jax.lax.while_loop(keep_going, body, first)
    return Pivoted(last.x, found.support, found.steps + last.steps)


def solve_on_support(h, b, support, *, unroll=True):
    """X with (HX)ᵢ = bᵢ on the support and Xᵢ = 0 off it; b of shape [m] or [m, r]."""
    both = support[:, None] & support[None, :]
    eye = jnp.eye(b.shape[0], dtype=b.dtype)
    inside = support.reshape(-1, *(1 for _ in b.shape[1:]))
    matrix = jnp.where(both, h, eye)
    return solve_spd(matrix, jnp.where(inside, b, 0.0), unroll=unroll)
