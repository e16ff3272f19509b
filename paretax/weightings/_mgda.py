"""The shortest vector of the convex hull of the task gradients."""

import jax.numpy as jnp

from paretax._weighting import Weighting, stateless
from paretax.solvers import min_norm

__all__ = ["mgda"]


def mgda() -> Weighting:
    """The multiple-gradient descent algorithm: w = argmin ‖Jᵀw‖² over the simplex.

    The direction d = Jᵀw is the shortest vector in the convex hull of the gradients:
    gᵢᵀd ≥ ‖d‖² for every task, so −d descends for all of them, and d = 0 exactly at
    Pareto-stationary points. Small gradients dominate it: a task whose gradient
    vanishes takes all the weight.

    Returns:
      A weighting on the Gramian; weights on the simplex of the active tasks. The
      state's `error` and `converged` are `solvers.min_norm`'s.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weights, _ = px.mgda().update(jnp.array([[4.0, 0.0], [0.0, 1.0]]),
      ...                               px.mgda().init(2))
      >>> [round(w, 3) for w in weights.tolist()]
      [0.2, 0.8]

    Cost: a few m×m factorizations; m backward passes a step.

    Reference: J.-A. Désidéri, "Multiple-gradient descent algorithm (MGDA) for
    multiobjective optimization", 2012; Sener & Koltun, "Multi-Task Learning as
    Multi-Objective Optimization", NeurIPS 2018, arXiv:1810.04650. Departures: the
    problem is solved exactly instead of by Frank–Wolfe steps; gradients are taken at
    the parameters, not at the shared representation.
    """
    return stateless(_weights)


def _weights(gram, active=None):
    if active is None:
        return min_norm(gram)
    # A copy of an active task changes neither the hull nor its shortest vector, so the
    # inactive ones become copies of the first active one and hand their weight to it.
    m = gram.shape[0]
    donor = jnp.where(active, jnp.arange(m), jnp.argmax(active))
    solution = min_norm(gram[donor][:, donor])
    weights = jnp.zeros_like(solution.value).at[donor].add(solution.value)
    return solution._replace(value=weights)
