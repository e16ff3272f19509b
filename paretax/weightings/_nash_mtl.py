"""Multi-task learning as a bargaining game."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._checks import (
    check_non_negative,
    check_positive,
    check_preference,
    is_concrete,
)
from paretax._types import Weights
from paretax._weighting import Weighting, stateless
from paretax.solvers import bargain

__all__ = ["nash_mtl"]


def nash_mtl(
    *,
    max_norm: float | None = 1.0,
    preference: Weights | ArrayLike | None = None,
    ridge: float = 0.0,
) -> Weighting:
    """The Nash bargaining solution among tasks: w > 0 with K w = 1/w, element by
    element.

    d = Jᵀw maximizes Σᵢ pᵢ log gᵢᵀd over a ball: each task gains in proportion,
    whatever the units of its loss, and no task loses. Without `max_norm` the direction
    has the norm √m however long the gradients are (wᵀKw = m), so where gradients are
    large the weights are small: that is right, and the learning rate acts on a step of
    known length.

    Args:
      max_norm: the direction is shortened to this norm, in the norm of the shared
        parameters; > 0, or None to leave √m. The paper's code uses 1. For m ≥ 2 an
        exact solution is always shortened, so the direction's norm is then exactly
        `max_norm`.
      preference: bargaining power p, shape [m], positive, summing to 1; None is 1/m
        each. Solves K w = m p/w.
      ridge: ≥ 0, added to the diagonal of the cosine matrix: a bargain then exists at
        Pareto-stationary points too. 0 is the method.

    Returns:
      A weighting on the Gramian with strictly positive weights; rescaling a
      task's loss rescales its weight inversely and leaves the direction as it was.
      Where no bargain exists (a Pareto-stationary point, a task with zero gradient) the
      weights are finite, and the state has `converged` False and the size of the
      `error`.

    Raises:
      ValueError: `max_norm` ≤ 0, `ridge` < 0, or p is not positive with sum 1.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> bargaining = px.nash_mtl(max_norm=None)
      >>> weights, state = bargaining.update(jnp.array([[4.0, 0.0], [0.0, 1.0]]),
      ...                                    bargaining.init(2))
      >>> [round(w, 3) for w in weights.tolist()], bool(state.converged)
      ([0.5, 1.0], True)

    Cost: about ten m×m factorizations; m backward passes a step.

    Reference: Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022,
    arXiv:2202.01017. Departures: the equation is solved exactly by Newton's method on
    its convex potential, where the paper takes up to 20 steps of a concave-convex
    procedure and keeps the last answer if the solver fails; `max_norm` shortens the
    weights, so with `combine(..., weight_heads=True)` heads are shortened too, where
    the official code clips shared parameters only.
    """
    if max_norm is not None:
        check_positive("max_norm", max_norm)
    check_non_negative("ridge", ridge)
    power = None if preference is None else check_preference(preference)
    if power is not None and is_concrete(power) and not bool(jnp.all(power > 0)):
        raise ValueError(
            f"preference: expected positive entries, got {power.tolist()}; a task "
            "without bargaining power belongs outside the bargain (see active=)."
        )

    def weights(gram, active=None):
        m = gram.shape[0]
        if active is not None:
            # A task orthogonal to all others leaves their bargain as it is.
            both = active[:, None] & active[None, :]
            gram = jnp.where(both, gram, jnp.eye(m, dtype=gram.dtype))
        p = None if power is None else m * power.astype(gram.dtype)
        solution = bargain(gram, preference=p, ridge=ridge)
        w = solution.value
        if active is not None:
            w = jnp.where(active, w, 0.0)
        return solution._replace(value=_shorten(w, gram, max_norm))

    return stateless(weights)


def _shorten(weights, gram, max_norm):
    if max_norm is None:
        return weights
    image = jnp.matmul(gram, weights, precision="highest")
    square = jnp.vdot(weights, image, precision="highest")
    positive = square > max_norm**2
    norm = jnp.sqrt(jnp.where(positive, square, 1.0))
    return weights * jnp.where(positive, max_norm / norm, 1.0)
