"""Newton's method for C u = (q/u)^(1/α), u > 0, C with a unit diagonal.

The gradient of ½uᵀCu minus a concave separable term, zero. With r = (q/u)^(1/α), a step
in relative coordinates, u ← u∘(1 + t v), solves (U C U + H) v = u∘(r − C u), H =
diag(u∘r/α). Scaled by H^(−1/2) its matrix has eigenvalues of at least 1, singular C or
not.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax.solvers._condition import condition
from paretax.solvers._linear import product, solve_spd

__all__ = ["in_unit_coordinates", "newton_step", "power_of", "solve"]

_MAX_STEPS = 60
_DAMPED_STEPS = 8


class _Newton(NamedTuple):
    u: Float[Array, " m"]
    best: Float[Array, " m"]
    best_residual: Float[Array, ""]
    step: Int[Array, ""]
    going: Bool[Array, ""]


def in_unit_coordinates(gram, power, alpha):
    """C, q = p·D^(α−1) and D: with a = D u the equation is C u = (q/u)^(1/α)."""
    scaled = condition(gram)
    q = power if alpha == 1 else power * power_of(scaled.scale, alpha - 1)
    return scaled.matrix, q, scaled.scale


def solve(gram, power, alpha, plain):
    """The best a found, and the number of steps; `plain` is p = 1 and α = 1."""
    c, q, scale = in_unit_coordinates(gram, power, alpha)

    def loop(step_size, most_steps, first, unroll):
        def body(carry):
            u = carry.u
            pull = u * (power_of(q / u, 1 / alpha) - product(c, u))
            v = newton_step(c, q, u, pull, alpha, unroll)
            return _moved(c, q, carry, u * (1 + step_size(u, v, pull) * v), alpha)

        def keep_going(carry):
            return carry.going & (carry.step < most_steps)

        return jax.lax.while_loop(keep_going, body, first)

    start = _start(c, q, alpha)
    size, enough = _residual(c, q, start, alpha)
    last = _Newton(start, start, size, jnp.zeros((), jnp.int32), size > enough)
    # Two loops, so that a batch pays for line searches only where one is needed.
    if plain:  # the damped step is proved for p ≥ 1 and α = 1 only
        last = loop(_damped, _DAMPED_STEPS, last, unroll=True)
    search = functools.partial(_line_search, c, q, alpha)
    last = loop(search, _MAX_STEPS, last, unroll=not plain)
    return last.best * scale, last.step


def _moved(c, q, carry, u, alpha):
    size, enough = _residual(c, q, u, alpha)
    # Asked for apart: a maximum may pass over NaN in compiled code.
    finite = jnp.all(jnp.isfinite(u))
    better = finite & (size < carry.best_residual)
    return _Newton(
        u=u,
        best=jnp.where(better, u, carry.best),
        best_residual=jnp.where(better, size, carry.best_residual),
        step=carry.step + 1,
        going=finite & (size > enough),
    )


def power_of(x, exponent):
    """x^exponent, without a transcendental function where there is no need of one."""
    if exponent == 1:
        return x
    return 1 / x if exponent == -1 else x**exponent


def _damped(u, v, pull):
    """1/(1 + λ), or 1 where the Newton decrement λ = √(pullᵀv) is below 1/4."""
    del u
    decrement = jnp.sqrt(jnp.maximum(product(pull, v), 0.0))
    return jnp.where(decrement < 0.25, 1.0, 1 / (1 + decrement))


def _residual(c, q, u, alpha):
    """maxᵢ |uᵢ (Cu)ᵢ^α/qᵢ − 1|, and how small rounding lets it become."""
    relative = u * power_of(jnp.maximum(product(c, u), 0.0), alpha) / q - 1
    size = jnp.max(u * product(jnp.abs(c), u))
    floor = 4 * jnp.finfo(c.dtype).eps
    return jnp.max(jnp.abs(relative)), floor * jnp.maximum(1.0, size)


def _start(c, q, alpha):
    """The best multiple of the orthogonal tasks' solution; exact for m = 2, p = 1."""
    base = power_of(q, 1 / (1 + alpha))
    square = jnp.sum(base * base)
    curvature = product(base, product(c, base))
    least = jnp.finfo(c.dtype).eps * square
    stretch = square / jnp.maximum(curvature, least)
    return base * power_of(stretch, alpha / (1 + alpha))


def newton_step(c, q, u, pull, alpha, unroll=True):
    """The relative step v, (U C U + diag(u∘r/α)) v = pull; linear in pull."""
    root = jax.lax.rsqrt(u * power_of(q / u, 1 / alpha) / alpha)
    side = u * root
    matrix = side[:, None] * c * side[None, :] + jnp.eye(u.shape[0], dtype=u.dtype)
    return root * solve_spd(matrix, root * pull, unroll=unroll)


def _line_search(c, q, alpha, u, v, _):
    """The minimizer of the potential along u∘(1 + t v): safeguarded scalar Newton."""
    w = u * v
    slope = product(w, product(c, u))
    curve = product(w, product(c, w))
    pull = w * power_of(q / u, 1 / alpha)
    most = jnp.minimum(0.999 / jnp.maximum(jnp.max(-v), 1e-3), 100.0)

    def body(_, carry):
        low, high, t = carry
        stretch = 1 + t * v
        shrunk = pull * power_of(stretch, -1 / alpha)
        first = slope + t * curve - jnp.sum(shrunk)
        second = curve + jnp.sum(shrunk * v / stretch) / alpha
        low = jnp.where(first < 0, t, low)
        high = jnp.where(first < 0, high, t)
        newton = t - first / second
        inside = (newton > low) & (newton < high)
        return low, high, jnp.where(inside, newton, 0.5 * (low + high))

    zero = jnp.zeros((), u.dtype)
    start = (zero, most, jnp.minimum(1.0, 0.9 * most))
    return jax.lax.fori_loop(0, 8, body, start)[2]
