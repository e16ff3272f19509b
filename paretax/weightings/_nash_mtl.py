"""Multi-task learning as a bargaining game."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from paretax._checks import (
    check_count,
    check_non_negative,
    check_positive,
    check_positive_preference,
)
from paretax._types import Weights
from paretax._weighting import (
    Weighting,
    as_before,
    as_default_float,
    certify,
    check_gram,
    init_state,
    stateless,
)
from paretax.solvers import bargain, concave_convex
from paretax.weightings._clip_norm import shorten
from paretax.weightings._every import every

__all__ = ["NashMTLState", "cut", "nash_mtl", "with_units"]


def nash_mtl(
    *,
    max_norm: float | None = 1.0,
    update_every: int = 1,
    preference: Weights | ArrayLike | None = None,
    ridge: float = 0.0,
    concave_convex_steps: int | None = None,
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
      update_every: ≥ 1, a new bargain once in that many steps, the same weights in
        between, as `every(nash_mtl(), num_steps=update_every)`.
      preference: bargaining power p, shape [m], positive, summing to 1; None is 1/m
        each. Solves K w = m p/w.
      ridge: ≥ 0, added to the diagonal of the cosine matrix: a bargain then exists at
        Pareto-stationary points too. 0 is the method.
      concave_convex_steps: None solves the equation. A number n follows n steps of the
        paper's concave-convex procedure instead, from the bargain of the step before
        (ones at first): the paper's own results come from 20 such steps. Weights are
        then constants to a derivative, as in the paper, they depend on the scales of
        the losses, and `preference` and `ridge` do not apply.

    Returns:
      A weighting on the Gramian with strictly positive weights; rescaling a
      task's loss rescales its weight inversely and leaves the direction as it was.
      Where no bargain exists (a Pareto-stationary point, a task with zero gradient) the
      weights are finite, and the state has `converged` False and the size of the
      `error`.

    Raises:
      ValueError: `max_norm` ≤ 0, `ridge` < 0, p is not positive with sum 1, a count is
        no positive integer, or `concave_convex_steps` comes with a preference or ridge.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> bargaining = px.nash_mtl(max_norm=None)
      >>> weights, state = bargaining.update(jnp.array([[4.0, 0.0], [0.0, 1.0]]),
      ...                                    bargaining.init(2))
      >>> [round(w, 3) for w in weights.tolist()], bool(state.converged)
      ([0.5, 1.0], True)

    Cost: about ten m×m factorizations; m backward passes a step (in between updates
    one). The procedure takes up to a hundred in float64 for each of its steps.

    Reference: Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022,
    arXiv:2202.01017. Departures: the equation is solved exactly by Newton's method on
    its convex potential, where the paper takes up to 20 steps of a concave-convex
    procedure and keeps the last answer if the solver fails (`concave_convex_steps=20`,
    each step solved exactly); `max_norm` shortens the weights, so with
    `combine(..., weight_heads=True)` heads are shortened too. The official code weights
    the heads and clips the shared parameters only: `max_norm=None` there, and after it
    `optax.masked(optax.clip_by_global_norm(1.0), shared)`, as in docs/recipes.md.
    """
    if max_norm is not None:
        check_positive("max_norm", max_norm)
    check_non_negative("ridge", ridge)
    outside = "leave it out of the bargain with active="
    power = (
        None if preference is None else check_positive_preference(preference, outside)
    )

    check_count("update_every", update_every)
    if concave_convex_steps is None:
        bargaining = _exact(power, ridge, max_norm)
    else:
        check_count("concave_convex_steps", concave_convex_steps)
        if power is not None or ridge > 0:
            raise ValueError(
                "concave_convex_steps: expected None beside a preference or a ridge, "
                f"got {concave_convex_steps}; the paper's procedure has neither."
            )
        bargaining = _procedure(concave_convex_steps, max_norm)
    return (
        bargaining if update_every == 1 else every(bargaining, num_steps=update_every)
    )


def _exact(power, ridge, max_norm):
    def weights(gram, active=None):
        gram = with_units(gram, active)
        p = None if power is None else gram.shape[0] * power.astype(gram.dtype)
        solution = bargain(gram, preference=p, ridge=ridge)
        return solution._replace(value=cut(solution.value, gram, active, max_norm))

    return stateless(weights)


class NashMTLState(NamedTuple):
    """The state of `nash_mtl` where it follows the concave-convex procedure.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they solve the bargain, which the procedure need not.
      error: how far from it they are.
      bargain: the weights before they were shortened, where the next step starts.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    bargain: Weights


def _procedure(num_steps, max_norm):
    def init(num_tasks):
        first = init_state(num_tasks)
        return NashMTLState(*first, jnp.ones(num_tasks, float))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del losses, extra_args
        check_gram(gram, state.weights.shape[0])
        gram = with_units(as_default_float(gram), active)
        start = as_default_float(state.bargain)
        start = start if active is None else jnp.where(active, start, 1.0)
        solution = concave_convex(gram, start, num_steps=num_steps)
        shortened = cut(solution.value, gram, active, max_norm)
        weights, shown = certify(solution._replace(value=shortened), state, active)
        keep = jnp.isfinite(solution.value)
        keep = keep if active is None else keep & active
        new = NashMTLState(*shown, jnp.where(keep, solution.value, state.bargain))
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update)


def with_units(gram, active):
    """A task orthogonal to all others leaves their bargain as it is."""
    if active is None:
        return gram
    both = active[:, None] & active[None, :]
    return jnp.where(both, gram, jnp.eye(gram.shape[0], dtype=gram.dtype))


def cut(weights, gram, active, max_norm):
    """Inactive tasks at 0, and the direction no longer than `max_norm`."""
    w = weights if active is None else jnp.where(active, weights, 0.0)
    return w if max_norm is None else shorten(w, gram, max_norm)
