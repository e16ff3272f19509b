"""Every gradient projected onto the cone of directions that harm no task."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._types import Solution, Weights
from paretax._weighting import Weighting
from paretax.solvers import project_cone
from paretax.weightings._preferred import preferred

__all__ = ["upgrad"]


def upgrad(*, preference: Weights | ArrayLike | None = None) -> Weighting:
    """The mean of the task gradients, each projected onto the non-conflicting cone.

    d = Σᵢ pᵢ π(gᵢ), where π projects onto the cone {d : J d ≥ 0} of directions that
    harm no task. π(gᵢ) = Jᵀvᵢ with vᵢ = argmin vᵀKv subject to v ≥ eᵢ, so w = Σᵢ pᵢ vᵢ.
    Where no two gradients conflict d is their mean.

    Args:
      preference: p, shape [m], non-negative, summing to 1; None is 1/m each. A task
        with pᵢ = 0 is not followed, but still not harmed.

    Returns:
      A weighting on the Gramian with w ≥ p. No task is harmed: gᵢᵀd ≥ 0 for all. The
      direction scales with each gradient: multiplying gᵢ by a factor multiplies π(gᵢ)
      by it and leaves the other projections as they are. With missing tasks p is
      divided by its sum over the active ones. The state's `error` is the largest over
      the projections of `solvers.project_cone`'s.

    Raises:
      ValueError: p is no point of the simplex; at `init`, m is not its length.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> gram = jnp.array([[1.0, -0.5], [-0.5, 1.0]])
      >>> weights, state = px.upgrad().update(gram, px.upgrad().init(2))
      >>> [round(w, 3) for w in weights.tolist()], bool(state.converged)
      ([0.75, 0.75], True)

    Cost: that of `solvers.project_cone` for m targets; m backward passes a step.

    Reference: Quinton & Rey, "Jacobian Descent for Multi-Objective Optimization",
    arXiv:2406.16232 (A_UPGrad). Departure: nothing is added to the diagonal of K, where
    the authors' library, TorchJD, adds 1e-4 of its trace.
    """
    return preferred(_weights, preference)


def _weights(gram, p):
    solution = project_cone(gram, jnp.diag(p))
    return Solution(
        jnp.sum(solution.value, axis=0),
        jnp.all(solution.converged),
        jnp.max(solution.steps),
        jnp.max(solution.error),
    )
