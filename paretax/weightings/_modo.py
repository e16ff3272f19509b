"""One projected step a step, on two batches that know nothing of each other."""

import jax.numpy as jnp

from paretax._checks import check_non_negative, check_positive
from paretax._weighting import Weighting, certify, never
from paretax.solvers import project_simplex
from paretax.weightings._simplex_memory import (
    SimplexState,
    init_simplex,
    require_cross_gram,
    step_active,
)

__all__ = ["modo"]


def modo(*, step_size: float, ridge: float = 0.0) -> Weighting:
    """Multi-objective descent with double sampling: λ ← Π(λ − γ (J₁J₂ᵀ + ρ I) λ).

    J₁ and J₂ are the task gradients of two independent batches and Π projects onto the
    simplex. J₁J₂ᵀλ is an unbiased estimate of the derivative of ½‖Jᵀλ‖² in the true
    gradients, which a single batch cannot give: J₁J₁ᵀ adds the noise's variance to
    the diagonal. The direction is J₃ᵀλ with the new λ, on a third batch.

    Args:
      step_size: γ > 0, in units of 1/‖gradient‖². The official code takes 0.1, LibMTL
        0.001.
      ridge: ρ ≥ 0, in units of ‖gradient‖²; draws λ towards 1/m. The official code
        takes 0.1, 0 is MGDA's problem.

    Returns:
      A weighting that reads the extra argument `cross_gram`, shape [m, m],
      `px.cross_gramian(jac_a, jac_b)`, and no Gramian of its own: `combine` forms no K.
      Weights on the simplex of the active tasks; the state (`SimplexState`) keeps λ.

    Raises:
      ValueError: γ ≤ 0 or ρ < 0; at update, `cross_gram` missing or not [m, m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> balance = px.modo(step_size=0.1)
      >>> cross = px.cross_gramian(jnp.array([[2.0, 0.0], [0.0, 1.0]]),
      ...                          jnp.array([[1.5, 0.0], [0.0, 1.0]]))
      >>> weights, _ = balance.update(None, balance.init(2), cross_gram=cross)
      >>> [round(w, 3) for w in weights.tolist()]
      [0.45, 0.55]

    Cost: one m×m product; 2m backward passes for J₁ and J₂ and one, weighted, on the
    third batch.

    Reference: Chen et al., "Three-Way Trade-Off in Multi-Objective Learning:
    Optimization, Generalization and Conflict-Avoidance", NeurIPS 2023, JMLR 2024,
    arXiv:2305.20057. Departures: none in the update of λ. Which batches make the
    direction is the caller's choice: LibMTL takes a third one, the official code the
    sum J₁ + J₂, that is, twice the mean, for which `jac` is (J₁ + J₂)/2.
    """
    check_positive("step_size", step_size)
    check_non_negative("ridge", ridge)

    def update(gram, state, *, losses=None, active=None, cross_gram=None, **extra_args):
        del gram, losses, extra_args
        cross = require_cross_gram(cross_gram, state.weights.shape[0], active)

        def step(multipliers):
            slope = jnp.matmul(cross, multipliers, precision="highest")
            slope = slope + ridge * multipliers
            return project_simplex(multipliers - step_size * slope, active)

        weights, multipliers = step_active(step, state.multipliers, active)
        weights, shown = certify(weights, state, active)
        return weights, SimplexState(*shown, multipliers)

    return Weighting(init_simplex, update, never)
