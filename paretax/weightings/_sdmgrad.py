"""Min-norm weights around a preferred direction, from two independent batches."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._checks import (
    check_count,
    check_non_negative,
    check_positive,
    check_preference,
    is_concrete,
)
from paretax._types import Weights
from paretax._weighting import Weighting, certify, never
from paretax.solvers import project_simplex
from paretax.weightings._simplex_memory import (
    SimplexState,
    init_simplex,
    require_cross_gram,
    step_active,
)

__all__ = ["sdmgrad"]


class _Walk(NamedTuple):
    point: Weights
    velocity: Weights


def sdmgrad(
    *,
    regularization: float = 0.3,
    preference: Weights | ArrayLike | None = None,
    step_size: float = 10.0,
    momentum: float = 0.5,
    num_steps: int = 20,
) -> Weighting:
    """Direction-oriented multi-objective descent: weights (w + λ w̃)/(1 + λ), where w
    walks towards argmin ‖Jᵀ(w + λ w̃)‖² over the simplex.

    The walk takes n projected steps with momentum from the last step's w:
    v ← μ v + A (w + λ w̃), w ← Π(w − γ v), from v = 0, with A = J₁J₂ᵀ/s², J₁ and J₂ the
    task gradients of two independent batches and s the mean of √(diagonal)₊. The
    direction is taken on a third batch. λ = 0 is MGDA, λ → ∞ the preferred direction.

    Args:
      regularization: λ ≥ 0. The paper's multi-task runs and LibMTL take 0.3, its
        reinforcement-learning runs and the default of its code 0.6.
      preference: w̃, shape [m], non-negative, summing to 1; None is 1/m each.
      step_size: γ > 0; without unit, since A is scaled.
      momentum: μ in [0, 1).
      num_steps: n ≥ 1.

    Returns:
      A weighting that reads the extra argument `cross_gram`, shape [m, m],
      `px.cross_gramian(jac_a, jac_b)`, and no Gramian of its own: `combine` forms no K.
      Weights on the simplex of the active tasks; scaling all gradients by one
      number leaves them as they are. The state (`SimplexState`) keeps w. The
      defaults are the official code's. Their steps are long: w jumps between faces of
      the simplex, and where it ends is not the minimum and hangs on rounding. Steps
      below 1/λ_max(A), which is at least 1/m² where J₁ = J₂, end at the minimum if
      there are enough of them.

    Raises:
      ValueError: a number outside its range; at update, `cross_gram` missing or not
        [m, m], or a preference of another length.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> balance = px.sdmgrad(regularization=0.0, step_size=0.2)
      >>> cross = jnp.diag(jnp.array([4.0, 1.0]))
      >>> weights, _ = balance.update(None, balance.init(2), cross_gram=cross)
      >>> [round(w, 2) for w in weights.tolist()]
      [0.2, 0.8]

    Cost: n products m×m and sorts of m numbers; 2m backward passes for J₁ and J₂ and
    one, weighted, on the third batch.

    Reference: Xiao, Ban & Ji, "Direction-oriented Multi-objective Learning: Simple and
    Provable Stochastic Algorithms", NeurIPS 2023, arXiv:2305.18409. Departures: LibMTL
    takes γ = 5. The official code adds 1e-8 to s²; here nothing, and where the whole
    diagonal is ≤ 0, so that there is no scale, w is left as it is.
    """
    check_non_negative("regularization", regularization)
    check_positive("step_size", step_size)
    check_count("num_steps", num_steps)
    _check_momentum(momentum)
    wanted = None if preference is None else check_preference(preference)

    def update(gram, state, *, losses=None, active=None, cross_gram=None, **extra_args):
        del gram, losses, extra_args
        m = state.weights.shape[0]
        cross = _scaled(require_cross_gram(cross_gram, m, active), active)
        target = _among(_preference(wanted, state.weights), active)

        def walk(_, now):
            mixed = now.point + regularization * target
            slope = jnp.matmul(cross, mixed, precision="highest")
            velocity = momentum * now.velocity + slope
            point = project_simplex(now.point - step_size * velocity, active)
            return _Walk(point, velocity)

        def step(start):
            first = _Walk(start, jnp.zeros_like(start))
            return jax.lax.fori_loop(0, num_steps, walk, first).point

        point, multipliers = step_active(step, state.multipliers, active)
        weights = (point + regularization * target) / (1 + regularization)
        weights, shown = certify(weights, state, active)
        return weights, SimplexState(*shown, multipliers)

    return Weighting(init_simplex, update, never)


def _check_momentum(momentum):
    if is_concrete(momentum) and not 0 <= momentum < 1:
        raise ValueError(f"momentum: expected a number in [0, 1), got {momentum}.")


def _scaled(cross, active):
    """A = C/s², s the mean of √(diagonal)₊ over the active tasks; 0 where s is 0."""
    m = cross.shape[0]
    # First by the largest entry, so that no square leaves the range of the type.
    largest = jnp.max(jnp.abs(cross))
    cross = cross / jnp.where(largest == 0, 1.0, largest)
    diagonal = jnp.maximum(jnp.diagonal(cross), 0.0)
    roots = jnp.where(
        diagonal == 0, 0.0, jnp.sqrt(jnp.where(diagonal == 0, 1, diagonal))
    )
    count = m if active is None else jnp.maximum(jnp.sum(active), 1)
    square = jnp.square(jnp.sum(roots) / count)
    return jnp.where(square == 0, 0.0, cross / jnp.where(square == 0, 1.0, square))


def _preference(wanted, like):
    if wanted is None:
        return jnp.full_like(like, 1.0 / like.shape[0])
    if wanted.shape != like.shape:
        raise ValueError(
            f"preference: expected {like.shape[0]} entries (num_tasks), got "
            f"{wanted.shape[0]}."
        )
    return wanted.astype(like.dtype)


def _among(target, active):
    """The preference among the active tasks, again with the sum 1."""
    if active is None:
        return target
    target = jnp.where(active, target, 0.0)
    mass = jnp.sum(target)
    even = active / jnp.maximum(jnp.sum(active), 1)
    return jnp.where(mass == 0, even, target / jnp.where(mass == 0, 1.0, mass))
