"""Nash bargaining and its relatives: K a = (p/a)^(1/α).

In unit-diagonal coordinates a = D u the equation reads C u = (q/u)^(1/α) with q =
p·D^(α−1), solved in `_newton.py`; here are the certificate, on K itself, and the
derivative.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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
    in_float64,
    or_nan,
    precision_scope,
    verdict,
)
from paretax.solvers._implicit import implicit
from paretax.solvers._linear import product
from paretax.solvers._newton import in_unit_coordinates, newton_step, power_of, solve

__all__ = ["bargain"]

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
      (Ka)ᵢ ≤ 0), formed in float64, plus a bound on the rounding of forming it,
      α·m·eps·maxᵢ aᵢ(|K|a)ᵢ relative to aᵢ(Ka)ᵢ; `converged` says that it is at most
      1e-4 in float32 or 1e-8 in float64. In float32 rounding a alone leaves about
      6e-8·maxᵢ aᵢ(|K|a)ᵢ: enough wherever pairs of tasks conflict down to a cosine of
      −0.99, too much beyond, or where many tasks share one conflict; `precise=True`
      avoids it. Rescaling a task, K → S K S, rescales a → S⁻¹a for α = 1. Where no
      solution exists a is finite and `converged` is False; where K is not finite a is
      NaN.

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
    to 63 under extreme conflict, which α below 1 can exhaust.

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
    with precision_scope(gram.dtype):
        gram = jnp.asarray(gram)
        power = _check_power(preference, gram)
        plain = preference is None and alpha == 1
        return _solution(gram, power, ridge, float(alpha), plain)


# Compiled once for all calls outside a compiled program; inside one, part of it.
@functools.partial(jax.jit, static_argnums=(3, 4), inline=True)
def _solution(gram, power, ridge, alpha, plain):
    ridged = gram + ridge * jnp.diag(jnp.diagonal(gram))
    fixed, fixed_power = jax.lax.stop_gradient((ridged, power))
    found, steps = solve(fixed, fixed_power, alpha, plain)
    found, error, more = _polish(fixed, fixed_power, found, alpha)
    found = or_nan(found, fixed, fixed_power)
    value = implicit(
        functools.partial(_conditions, alpha),
        functools.partial(_linearized, alpha),
        (ridged, power),
        found,
    )
    error, converged = verdict(error, found)
    return Solution(value, converged, steps + more, error)


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
    c, q, scale = in_unit_coordinates(gram, power, alpha)
    enough = TOLERANCE[gram.dtype.name] / 10

    def body(carry):
        pull = pulled(gram, power, carry.a)
        v = newton_step(c, q, carry.a / scale, pull, alpha, unroll=False)
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
    return a * (power_of(power / a, 1 / alpha) - product(gram, a))


def _certificate(alpha, gram, power, a):
    """The residual on K itself, and a bound on the rounding of forming it."""
    image = product(gram, a)
    size = a * product(jnp.abs(gram), a)
    residual = jnp.abs(a * power_of(jnp.maximum(image, 0.0), alpha) / power - 1)
    eps = jnp.finfo(gram.dtype).eps
    gain = jnp.maximum(a * image, eps * size)
    rounding = alpha * a.shape[0] * eps * size / jnp.where(gain > 0, gain, 1.0)
    error = residual + (1 + residual) * rounding
    # Asked for apart: a maximum may pass over NaN in compiled code.
    return jnp.where(jnp.all(jnp.isfinite(error)), jnp.max(error), jnp.inf)


def _conditions(alpha, params, a, _):
    gram, power = params
    return product(gram, a) - power_of(power / a, 1 / alpha)


def _linearized(alpha, params, a, _, right):
    """(K + diag(r/(α a))) da = right, r = (p/a)^(1/α): a Newton step on K itself."""
    gram, power = params
    return a * newton_step(gram, power, a, a * right, alpha)


def _check_power(preference, gram):
    m = gram.shape[0]
    if preference is None:
        return jnp.ones(m, gram.dtype)
    power = jnp.asarray(preference, gram.dtype)
    if power.shape != (m,):
        raise ValueError(f"preference: expected shape ({m},), got {power.shape}.")
    if is_concrete(power) and not np.all(np.asarray(power) > 0):
        raise ValueError(
            f"preference: expected positive entries, got {power.tolist()}."
        )
    return power
