"""The mean gradient projected onto the cone of directions that harm no task."""

from jax.typing import ArrayLike

from paretax._types import Weights
from paretax._weighting import Weighting
from paretax.solvers import project_cone
from paretax.weightings._preferred import preferred

__all__ = ["dual_proj"]


def dual_proj(*, preference: Weights | ArrayLike | None = None) -> Weighting:
    """The mean gradient, bent as little as makes it harm no task.

    d = argmin ‖d − Σᵢ pᵢ gᵢ‖ subject to J d ≥ 0. d = Jᵀw with w = argmin vᵀKv subject
    to v ≥ p: what is added to p are the multipliers of the constraints.

    Args:
      preference: p, shape [m], non-negative, summing to 1; None is 1/m each.

    Returns:
      A weighting on the Gramian with w ≥ p. No task is harmed: gᵢᵀd ≥ 0 for all, with
      equality where wᵢ > pᵢ. Where the mean harms none, w = p. With missing tasks p is
      divided by its sum over the active ones. The state's `error` and `converged` are
      `solvers.project_cone`'s.

    Raises:
      ValueError: p is no point of the simplex; at `init`, m is not its length.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> gram = jnp.array([[4.0, -1.0], [-1.0, 0.5]])
      >>> weights, state = px.dual_proj().update(gram, px.dual_proj().init(2))
      >>> [round(w, 3) for w in weights.tolist()], bool(state.converged)
      ([0.5, 1.0], True)

    Cost: that of `solvers.project_cone` for one target; m backward passes a step.

    Reference: Lopez-Paz & Ranzato, "Gradient Episodic Memory for Continual Learning",
    NeurIPS 2017, arXiv:1706.08840, where the vector is the newest task's gradient and
    the constraints are the older tasks'; with the mean gradient, as A_DualProj in
    Quinton & Rey, "Jacobian Descent for Multi-Objective Optimization",
    arXiv:2406.16232. Departures: no margin is added to the multipliers, as the former's
    code does, and nothing to the diagonal of K, as TorchJD does (1e-4 of its trace).
    """
    return preferred(project_cone, preference)
