"""Nash bargaining and its relatives: K a = (p/a)^(1/α), by Newton on a convex
potential.

In unit-diagonal coordinates a = D u the equation reads C u = r(u) with rᵢ =
(qᵢ/uᵢ)^(1/α) and q = p·D^(α−1): the gradient of ½uᵀCu minus a concave separable term,
zero. A Newton step in relative coordinates, u ← u∘(1 + t v), solves (U C U + H) v =
u∘(r − C u), H = diag(u∘r/α). Scaled by H^(−1/2) its matrix has eigenvalues of at least
1, singular C or not.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import (
    check_non_negative,
    check_positive,
    check_square,
    is_concrete,
)
from paretax._types import Gramian, Solution, Weights
from paretax.solvers._condition import (
    TOLERANCE,
    condition,
    in_float64,
    precision_scope,
    verdict,
)
from paretax.solvers._implicit import implicit
from paretax.solvers._linear import product, solve_spd

__all__ = ["bargain"]

_MAX_STEPS = 60
_DAMPED_STEPS = 8
_POLISHING_STEPS = 3


def bargain(
    gram: Gramian,
    *,
    preference: Weights | ArrayLike | None = None,
    alpha: float = 1.0,
    ridge: float = 0.0,
) -> Solution:
    """The positive solution a of K a = (p/a)^(1/α), element by element.

    It minimizes ½aᵀKa − Σᵢ pᵢ^(1/α) aᵢ^(1−1/α)/(1−1/α) (with α = 1: ½aᵀKa − Σᵢ pᵢ log
    aᵢ) over a > 0, which is strictly convex for every positive semi-definite K; so
    there is at most one solution, and there is one unless some v ≥ 0, v ≠ 0 has vᵀKv =
    0, that is, unless the point is Pareto-stationary.

    Args:
      gram: K, shape [m, m], symmetric, positive semi-definite, float32 or float64.
      preference: p, shape [m], positive; None is 1 for every task.
      alpha: α > 0. 1 is Nash bargaining; other values are the α-fair family (2 is
        minimum potential delay, large ones approach max-min fairness). A concrete
        number: no derivative is taken in it.
      ridge: ≥ 0, relative to each Kᵢᵢ: solves with K + ridge·diag(K), which always has
        a solution where no Kᵢᵢ is 0.

    Returns:
      A `Solution` with value a, shape [m]. `error` is maxᵢ |aᵢ (Ka)ᵢ^α/pᵢ − 1| (1 where
      (Ka)ᵢ ≤ 0) plus a bound on the rounding of forming it, α·m·eps·maxᵢ aᵢ(|K|a)ᵢ
      relative to aᵢ(Ka)ᵢ; `converged` says that it is at most 1e-4 in float32 or 1e-8
      in float64. The bound grows with m: in float32 good answers are mostly not claimed
      from about a hundred tasks on, and partly from forty; take float64 there
      (`precise=True`). Rescaling a task, K → S K S, rescales a → S⁻¹a for α = 1.
      Where no solution exists a is finite and `converged` is False; where K is not
      finite a is NaN.

      Differentiable in K and p, forward and reverse, by the optimality condition.

    Raises:
      ValueError: K not square, p not positive or of another shape, α ≤ 0, ridge < 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import bargain
      >>> solution = bargain(jnp.array([[4.0, 0.0], [0.0, 0.25]]))
      >>> solution.value.tolist(), bool(solution.converged)
      ([0.5, 2.0], True)

    Cost: a Cholesky factorization of m×m a step; 1 to 10 steps on ordinary Gramians, up
    to 60 under extreme conflict.

    Reference: the equation is (GᵀG)α = 1/α of Navon et al., "Multi-Task Learning as a
    Bargaining Game", ICML 2022, arXiv:2202.01017, and, for α ≠ 1, that of Ban & Ji,
    "Fair Resource Allocation in Multi-Task Learning", ICML 2024, arXiv:2402.15638.
    Departure: both use general-purpose solvers (a concave-convex procedure; nonlinear
    least squares); the step 1/(1+λ) is that of Nesterov & Nemirovskii for
    self-concordant functions.
    """
    check_square(gram)
    check_positive("alpha", alpha)
    check_non_negative("ridge", ridge)
    with precision_scope(gram):
        gram = jnp.asarray(gram)
        power = _check_power(preference, gram)
        ridged = gram + ridge * jnp.diag(jnp.diagonal(gram))
        fixed, fixed_power = jax.lax.stop_gradient((ridged, power))
        plain = preference is None and alpha == 1
        found, steps = _solve(fixed, fixed_power, alpha, plain)
        found, error, more = _polish(fixed, fixed_power, found, alpha)
        finite = jnp.all(jnp.isfinite(fixed)) & jnp.all(jnp.isfinite(fixed_power))
        found = jnp.where(finite, found, jnp.nan)
        value = implicit(
            functools.partial(_conditions, alpha),
            functools.partial(_linearized, alpha),
            (ridged, power),
            found,
        )
        error, converged = verdict(error, found)
        return Solution(value, converged, steps + more, error)


class _Newton(NamedTuple):
    u: Float[Array, " m"]
    best: Float[Array, " m"]
    best_residual: Float[Array, ""]
    step: Int[Array, ""]
    going: Bool[Array, ""]


def _solve(gram, power, alpha, plain):
    """The best a found, and the number of steps; `plain` is p = 1 and α = 1."""
    scaled = condition(gram)
    c, scale = scaled.matrix, scaled.scale
    q = power * _power(scale, alpha - 1) if alpha != 1 else power

    def loop(step_size, most_steps, first, unroll):
        def body(carry):
            u = carry.u
            pull = u * (_power(q / u, 1 / alpha) - product(c, u))
            v, decrement = _newton_step(c, q, u, pull, alpha, unroll)
            return _moved(c, q, carry, u * (1 + step_size(u, v, decrement) * v), alpha)

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


def _power(x, exponent):
    """x^exponent, without a transcendental function where there is no need of one."""
    if exponent == 1:
        return x
    return 1 / x if exponent == -1 else x**exponent


def _damped(u, v, decrement):
    del u, v
    return jnp.where(decrement < 0.25, 1.0, 1 / (1 + decrement))


def _residual(c, q, u, alpha):
    """maxᵢ |uᵢ (Cu)ᵢ^α/qᵢ − 1|, and how small rounding lets it become."""
    relative = u * _power(jnp.maximum(product(c, u), 0.0), alpha) / q - 1
    size = jnp.max(u * product(jnp.abs(c), u))
    floor = 4 * jnp.finfo(c.dtype).eps
    return jnp.max(jnp.abs(relative)), floor * jnp.maximum(1.0, size)


def _start(c, q, alpha):
    """The best multiple of the orthogonal tasks' solution; exact for m = 2, p = 1."""
    base = _power(q, 1 / (1 + alpha))
    square = jnp.sum(base * base)
    curvature = product(base, product(c, base))
    least = jnp.finfo(c.dtype).eps * square
    stretch = square / jnp.maximum(curvature, least)
    return base * _power(stretch, alpha / (1 + alpha))


def _newton_step(c, q, u, pull, alpha, unroll=True):
    """The relative step v for u∘(r − C u) = pull, and the decrement √(pullᵀv)."""
    root = jax.lax.rsqrt(u * _power(q / u, 1 / alpha) / alpha)
    side = u * root
    matrix = side[:, None] * c * side[None, :] + jnp.eye(u.shape[0], dtype=u.dtype)
    v = root * solve_spd(matrix, root * pull, unroll=unroll)
    return v, jnp.sqrt(jnp.maximum(product(pull, v), 0.0))


def _line_search(c, q, alpha, u, v, _):
    """The minimizer of the potential along u∘(1 + t v): safeguarded scalar Newton."""
    w = u * v
    slope = product(w, product(c, u))
    curve = product(w, product(c, w))
    pull = w * _power(q / u, 1 / alpha)
    most = jnp.minimum(0.999 / jnp.maximum(jnp.max(-v), 1e-3), 100.0)

    def body(_, carry):
        low, high, t = carry
        stretch = 1 + t * v
        shrunk = pull * _power(stretch, -1 / alpha)
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


class _Polished(NamedTuple):
    a: Float[Array, " m"]
    error: Float[Array, ""]
    step: Int[Array, ""]
    going: Bool[Array, ""]


def _polish(gram, power, a, alpha):
    """Newton steps on K itself, their right-hand side in float64: rounding's floor.

    Taken only while the error is within a factor of ten of what `converged` allows, or
    above it, and falls; so none on ordinary problems.
    """
    pulled = in_float64(functools.partial(_pull, alpha))
    certificate = in_float64(functools.partial(_certificate, alpha))
    scaled = condition(gram)
    q = power * scaled.scale ** (alpha - 1) if alpha != 1 else power
    enough = TOLERANCE[gram.dtype.name] / 10

    def body(carry):
        pull = pulled(gram, power, carry.a)
        u = carry.a / scaled.scale
        v, _ = _newton_step(scaled.matrix, q, u, pull, alpha, unroll=False)
        a = carry.a * jnp.maximum(1 + v, 0.5)
        error = certificate(gram, power, a)
        better = error < 0.5 * carry.error
        return _Polished(
            a=jnp.where(error < carry.error, a, carry.a),
            error=jnp.minimum(error, carry.error),
            step=carry.step + 1,
            going=better & (error > enough),
        )

    def keep_going(carry):
        return carry.going & (carry.step < _POLISHING_STEPS)

    error = certificate(gram, power, a)
    first = _Polished(a, error, jnp.zeros((), jnp.int32), enough < error)
    last = jax.lax.while_loop(keep_going, body, first)
    return last.a, last.error, last.step


def _pull(alpha, gram, power, a):
    return a * (_power(power / a, 1 / alpha) - product(gram, a))


def _certificate(alpha, gram, power, a):
    """The residual on K itself, and a bound on the rounding of forming it."""
    image = product(gram, a)
    size = a * product(jnp.abs(gram), a)
    residual = jnp.abs(a * _power(jnp.maximum(image, 0.0), alpha) / power - 1)
    eps = jnp.finfo(gram.dtype).eps
    gain = jnp.maximum(a * image, eps * size)
    rounding = alpha * a.shape[0] * eps * size / jnp.where(gain > 0, gain, 1.0)
    error = residual + (1 + residual) * rounding
    # Asked for apart: a maximum may pass over NaN in compiled code.
    return jnp.where(jnp.all(jnp.isfinite(error)), jnp.max(error), jnp.inf)


def _conditions(alpha, params, a, _):
    gram, power = params
    return product(gram, a) - _power(power / a, 1 / alpha)


def _linearized(alpha, params, a, _, right):
    """(AKA + diag(a∘r/α)) (da/a) = a∘right, r = (p/a)^(1/α)."""
    gram, power = params
    root = jax.lax.rsqrt(a * _power(power / a, 1 / alpha) / alpha)
    side = a * root
    matrix = side[:, None] * gram * side[None, :] + jnp.eye(a.shape[0], dtype=a.dtype)
    return side * solve_spd(matrix, side * right)


def _check_power(preference, gram):
    m = gram.shape[0]
    if preference is None:
        return jnp.ones(m, gram.dtype)
    power = jnp.asarray(preference, gram.dtype)
    if power.shape != (m,):
        raise ValueError(f"preference: expected shape ({m},), got {power.shape}.")
    if is_concrete(power) and not bool(jnp.all(power > 0)):
        raise ValueError(
            f"preference: expected positive entries, got {power.tolist()}."
        )
    return power
