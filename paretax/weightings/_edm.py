"""The central direction: equal angles with every task gradient."""

import jax.numpy as jnp

from paretax._types import Solution
from paretax._weighting import Weighting, stateless
from paretax.solvers import condition
from paretax.weightings._mgda import mgda

__all__ = ["edm"]


def edm() -> Weighting:
    """The equiangular direction: the shortest combination of the unit gradients.

    With nᵢ = ‖gᵢ‖ and c = argmin over the simplex of ‖Σᵢ cᵢ gᵢ/nᵢ‖², the weights are
    wᵢ = (cᵢ/nᵢ)/Σⱼ(cⱼ/nⱼ). They sum to 1, so d = Jᵀw is in the convex hull of the
    gradients, and every task with cᵢ > 0 has the same cosine with d, the others a
    larger one. For two tasks d = (n₂g₁ + n₁g₂)/(n₁ + n₂) bisects their angle.

    Returns:
      A weighting on the Gramian; weights on the simplex of the active tasks. The
      direction harms no task and is 0 exactly at Pareto-stationary points; rescaling a
      task's loss changes its length but not where it points. A task whose gradient
      vanishes takes all the weight. `error` and `converged` are `solvers.min_norm`'s,
      on the matrix of cosines.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weights, _ = px.edm().update(jnp.array([[4.0, 0.0], [0.0, 1.0]]),
      ...                              px.edm().init(2))
      >>> [round(w, 3) for w in weights.tolist()]
      [0.333, 0.667]

    Cost: a few m×m factorizations; m backward passes a step.

    Reference: Katrutsa et al., "Follow the bisector: a simple method for
    multi-objective optimization", arXiv:2007.06937; as the "central direction" of the
    public code of Mizuno Nakamura, Grassi & Wolf, arXiv:2204.06698. Departures: the
    problem is solved exactly instead of by at most 250 Frank–Wolfe steps, so two
    parallel gradients get 1 and 0 where that code gives 0.999 and 0.001.
    """
    return stateless(central)


def central(gram, active=None):
    """The weights of the central direction, with the certificate of their solve."""
    cosines, scale, _ = condition(gram)
    shortest = mgda()
    c, state = shortest.update(cosines, shortest.init(gram.shape[0]), active=active)
    pull = c * scale
    total = jnp.sum(pull)
    weights = pull / jnp.where(total > 0, total, 1.0)
    return Solution(weights, state.converged, jnp.zeros((), jnp.int32), state.error)
