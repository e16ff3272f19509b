"""min ½xᵀHx − bᵀx over x ≥ 0: pivoting, and an interior point where it cycles."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax.solvers._linear import product, solve_spd

__all__ = ["Pivoted", "nnqp", "solve_on_support"]

_CHANCES = 3


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


class _Carry(NamedTuple):
    support: Bool[Array, " m"]
    x: Float[Array, " m"]
    wrong: Bool[Array, " m"]
    fewest: Int[Array, ""]
    chances: Int[Array, ""]
    steps: Int[Array, ""]


class _Inner(NamedTuple):
    x: Float[Array, " m"]
    y: Float[Array, " m"]
    steps: Int[Array, ""]


def nnqp(h: Float[Array, "m m"], b: Float[Array, " m"]) -> Pivoted:
    """The minimizer of ½xᵀHx − bᵀx over x ≥ 0, for a positive definite H.

    Complementarity picks a support: x = H⁻¹b on it, the slack Hx − b ≥ 0 off it. Each
    step exchanges every index of the wrong sign; when that has not reduced their number
    three times running, only the largest such index. Where rounding makes signs a
    matter of chance, as on a singular H, this cycles, and an interior-point method
    takes over.

    Args:
      h: shape [m, m], symmetric, positive definite, of unit size.
      b: shape [m], with positive entries.

    Returns:
      A `Pivoted`. Signs count as wrong beyond m·eps·max|b|. The caller judges the
      answer by its own residual.

    Cost: a Cholesky factorization of m×m a step, commonly 2 to 6 steps, at most 50 +
    2m.

    Reference: Portugal, Júdice & Vicente, "A comparison of block pivoting and
    interior-point algorithms for linear least squares problems with nonnegative
    variables", 1994; Murty, "Note on a Bard-type scheme for solving the complementarity
    problem", 1974; Mehrotra, "On the implementation of a primal-dual interior point
    method", 1992.
    """
    pivoted, failed = _pivot(h, b)
    inner = _interior_point(h, b, failed)
    chosen = Pivoted(inner.x, inner.x > inner.y, pivoted.steps + inner.steps)
    return jax.tree.map(lambda a, b: jnp.where(failed, a, b), chosen, pivoted)


def _pivot(h, b):
    m = b.shape[0]
    slack = m * jnp.finfo(b.dtype).eps * jnp.max(jnp.abs(b))
    order = jnp.arange(m, dtype=jnp.int32)

    def look(support):
        x = solve_on_support(h, b, support)
        y = product(h, x) - b
        return x, jnp.where(support, x < 0, y < -slack)

    def body(carry):
        count = jnp.sum(carry.wrong, dtype=jnp.int32)
        chances = jnp.where(count < carry.fewest, _CHANCES, carry.chances - 1)
        last = carry.wrong & (order == jnp.max(jnp.where(carry.wrong, order, -1)))
        support = carry.support ^ jnp.where(chances > 0, carry.wrong, last)
        x, wrong = look(support)
        fewest = jnp.minimum(carry.fewest, count)
        return _Carry(support, x, wrong, fewest, chances, carry.steps + 1)

    def keep_going(carry):
        return jnp.any(carry.wrong) & (carry.steps < 10 + 2 * m)

    support = b > 0
    x, wrong = look(support)
    count = jnp.asarray([m + 1, _CHANCES, 0], jnp.int32)
    last = jax.lax.while_loop(keep_going, body, _Carry(support, x, wrong, *count))
    failed = jnp.any(last.wrong) | ~jnp.all(jnp.isfinite(last.x))
    return Pivoted(jnp.maximum(last.x, 0.0), last.support, last.steps), failed


def _interior_point(h, b, needed):
    """Predictor and corrector steps from the inside; none at all unless `needed`."""
    eps = jnp.finfo(b.dtype).eps

    def step(x, y, target):
        """dx, dy with H dx − dy = −(Hx − b − y) and y dx + x dy = target − x y."""
        d = jnp.sqrt(x / y)
        matrix = d[:, None] * h * d[None, :] + jnp.eye(b.shape[0], dtype=b.dtype)
        right = target / x - (product(h, x) - b)
        dx = d * solve_spd(matrix, d * right)
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


def solve_on_support(h, b, support):
    """x with (Hx)ᵢ = bᵢ on the support and xᵢ = 0 off it; linear in b."""
    both = support[:, None] & support[None, :]
    eye = jnp.eye(b.shape[0], dtype=b.dtype)
    return solve_spd(jnp.where(both, h, eye), jnp.where(support, b, 0.0))
