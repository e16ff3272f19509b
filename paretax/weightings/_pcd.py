"""The first task's gradient, bent as little as the others' progress asks for."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_fraction, check_non_negative, is_concrete
from paretax._types import Solution, Weights
from paretax._weighting import (
    Weighting,
    as_before,
    as_default_float,
    certify,
    init_state,
    read_gram,
)
from paretax.solvers import condition, nonnegative_qp

__all__ = ["PcdState", "pcd"]


class PcdState(NamedTuple):
    """The state of `pcd`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether the program was solved; False where it has no solution.
      error: the larger of `solvers.nonnegative_qp`'s error and the largest unmet
        progress, relative to the primary gradient's.
      squares: v, the averages of ‖gᵢ‖², shape [m].
      calls: how many gradients each task has handed in, shape [m].
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    squares: Float[Array, " m"]
    calls: Int[Array, " m"]


def pcd(
    *,
    tau: float | Float[ArrayLike, " m"] = 0.02,
    beta: float = 0.999,
    eps: float = 0.0,
) -> Weighting:
    """Priority-constrained descent: nearest to task 1, with progress for all others.

    With hᵢ = gᵢ/√(vᵢ + ε), vᵢ the bias-corrected exponential average of ‖gᵢ‖², p
    minimizes ½‖p − h₁‖² subject to hⱼᵀp ≥ τ‖hⱼ‖² for j ≥ 2: each secondary task makes
    at least the fraction τ of the progress that its own gradient would bring. The
    direction is p at the length of g₁. By duality p = h₁ + Σⱼ μⱼ hⱼ, μ ≥ 0.

    Args:
      tau: τ in [0, 1], one for all tasks or one a task, shape [m] (the first is not
        read).
      beta: β in [0, 1), the decay of the averages.
      eps: ε ≥ 0, in units of a squared gradient norm.

    Returns:
      A weighting on the Gramian. The order of tasks matters: the first active one is
      the primary. Its gradient gives the direction's length, and if it is zero so is
      the direction. Rescaling a secondary task at every step leaves the direction as it
      was, for ε = 0. Where no direction meets all constraints they are dropped: the
      direction is g₁ and `converged` is False. Where p vanishes to rounding so does the
      direction. With missing tasks each has its own count of calls; a Gramian that is
      not finite gives NaN and is not remembered.

    Raises:
      ValueError: τ outside [0, 1], β outside [0, 1), ε < 0; at `init`, a vector τ whose
        length is not m.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> priority = px.pcd(tau=0.5)
      >>> weights, state = priority.update(jnp.array([[1.0, 0.0], [0.0, 4.0]]),
      ...                                  priority.init(2))
      >>> [round(w, 3) for w in weights.tolist()], bool(state.converged)
      ([0.894, 0.224], True)

    Cost: a Cholesky factorization of m×m a pivot, commonly 1 to 6 of them; m backward
    passes a step.

    Reference: Varam & AlHajri, "Not All Objectives Are Born Equal: Priority-Constrained
    Descent for Hierarchical Multi-Objective Optimization", TMLR 2026, arXiv:2606.29521.
    Departures: pivoting where the official code enumerates sets of constraints; ε is 0
    and not 1e-8, which would weigh gradients shorter than 1e-4 by their units; v itself
    is averaged, v ← v + (1 − β)/(1 − βᵗ)(‖g‖² − v), which is the same in exact
    arithmetic and in float32 loses no digits to 1 − β.
    """
    tau = np.asarray(tau, np.float64) if is_concrete(tau) else tau
    _check(tau, beta, eps)

    def init(num_tasks):
        first = init_state(num_tasks)
        if jnp.ndim(tau) and jnp.shape(tau) != (num_tasks,):
            raise ValueError(
                f"tau: expected a number or shape ({num_tasks},), got {jnp.shape(tau)}."
            )
        calls = jnp.zeros(num_tasks, jnp.int32)
        return PcdState(*first, jnp.zeros(num_tasks, float), calls)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del losses, extra_args
        m = state.weights.shape[0]
        gram = read_gram(gram, m, active)
        present = jnp.ones(m, bool) if active is None else active
        known = jnp.all(jnp.isfinite(gram))
        squares, calls = _remember(gram, present & known, state, beta)
        norms = _normalized(gram, squares, eps)
        answer = _solve(
            gram, norms, jnp.broadcast_to(as_default_float(tau), (m,)), present
        )
        answer = answer._replace(
            value=jnp.where(known, answer.value, jnp.nan),
            converged=answer.converged & known,
        )
        weights, shown = certify(answer, state, active)
        new = PcdState(*shown, squares, calls)
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update)


def _check(tau, beta, eps):
    if jnp.ndim(tau) > 1:
        raise ValueError(f"tau: expected a number or shape [m], got {jnp.shape(tau)}.")
    if is_concrete(tau):
        for entry in np.ravel(tau):
            check_fraction("tau", entry)
    if is_concrete(beta) and not 0 <= beta < 1:
        raise ValueError(f"beta: expected a number in [0, 1), got {beta}.")
    check_non_negative("eps", eps)


def _remember(gram, known, state, beta):
    """v and the calls, of the tasks that are known."""
    calls = state.calls + known
    beta = as_default_float(beta)
    total = -jnp.expm1(calls * jnp.log(beta))  # 1 − βᵗ
    rate = -jnp.expm1(jnp.log(beta)) / jnp.where(calls > 0, total, 1.0)
    step = rate * (jnp.diagonal(gram) - state.squares)
    return jnp.where(known, state.squares + step, state.squares), calls


def _normalized(gram, squares, eps):
    """‖hᵢ‖ = ‖gᵢ‖/√(vᵢ + ε), 0 where the gradient is."""
    square, unit = jnp.diagonal(gram), squares + eps
    alive = square > 0
    ratio = jnp.where(alive, square, 1.0) / jnp.where(alive, unit, 1.0)
    return jnp.where(alive, jnp.sqrt(ratio), 0.0)


def _solve(gram, norms, tau, present):
    """The weights of d; unknowns are uⱼ = μⱼ‖hⱼ‖/‖h₁‖, on the matrix of cosines C."""
    cosines, scale, alive = condition(gram, active=present)
    m = gram.shape[0]
    first = jnp.arange(m) == jnp.argmax(present)
    moving = jnp.any(first & alive)
    length = jnp.where(moving, jnp.sum(jnp.where(first, norms, 0.0)), 1.0)
    secondary = alive & ~first
    asked = jnp.where(secondary, tau * norms / length, 0.0)
    along = jnp.sum(jnp.where(first, cosines, 0.0), axis=1)
    # Tasks that ask for nothing are orthogonal to all others and cost 1, so u = 0.
    both = secondary[:, None] & secondary[None, :]
    eye = jnp.eye(m, dtype=gram.dtype)
    linear = jnp.where(secondary, along - asked, 1.0)
    solution = nonnegative_qp(jnp.where(both, cosines, eye), linear)
    u = jnp.where(secondary, solution.value, 0.0)
    unmet = jnp.where(secondary, asked - along - _product(cosines, u), 0.0)
    error = jnp.maximum(solution.error, jnp.max(unmet, initial=0.0))
    met = solution.converged & (error <= jnp.sqrt(jnp.finfo(error.dtype).eps))
    v = first + jnp.where(met, u, 0.0)
    weights = jnp.where(moving, _at_length(gram, cosines, scale, v, first), 0.0)
    converged = met | ~moving
    return Solution(weights, converged, solution.steps, jnp.where(moving, error, 0.0))


def _at_length(gram, cosines, scale, v, first):
    """The weights of the unit gradients v, of the length of the primary gradient."""
    square = jnp.vdot(v, _product(cosines, v))
    rounding = 10 * jnp.finfo(gram.dtype).eps * jnp.sum(v) ** 2
    moves = square > rounding
    unit = jnp.where(moves, jax.lax.rsqrt(jnp.where(moves, square, 1.0)), 0.0)
    length = 1 / jnp.sum(jnp.where(first, scale, 0.0))
    return v * scale * unit * length


def _product(matrix, vector):
    return jnp.matmul(matrix, vector, precision="highest")
