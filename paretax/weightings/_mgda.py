"""The shortest vector of the convex hull of the task gradients."""

import jax.numpy as jnp

from paretax._weighting import (
    Weighting,
    as_default_float,
    certify,
    check_gram,
    init_state,
    stateless,
)
from paretax.solvers import min_norm
from paretax.weightings._normalize import normalizers

__all__ = ["mgda"]


def mgda(*, norm: bool = False, loss: bool = False) -> Weighting:
    """The multiple-gradient descent algorithm: w = argmin ‖Jᵀw‖² over the simplex.

    The direction d = Jᵀw is the shortest vector in the convex hull of the gradients:
    gᵢᵀd ≥ ‖d‖² for every task, so −d descends for all of them, and d = 0 exactly at
    Pareto-stationary points. Small gradients dominate it: a task whose gradient
    vanishes takes all the weight.

    With `norm` or `loss` the weights are those of the normalized gradients, w = argmin
    ‖Σᵢ wᵢ gᵢ/nᵢ‖², nᵢ = ‖gᵢ‖ (`norm`), Lᵢ (`loss`) or Lᵢ‖gᵢ‖ (both), but they multiply
    the gradients as they are. The direction then is in their convex hull still, but not
    the shortest of it: it may harm a task, and it does not vanish at Pareto-stationary
    points. `normalize(mgda(), norm=..., loss=...)` has the same weights multiply the
    normalized gradients, and so harms no task and vanishes there. Preferences are
    `prefer(mgda(), preference=p)`: the shortest Σᵢ wᵢ pᵢ gᵢ.

    Args:
      norm: normalize by the norms of the gradients.
      loss: normalize by the losses, which then must be positive and be given.

    Returns:
      A weighting on the Gramian; weights on the simplex of the active tasks. The
      state's `error` and `converged` are `solvers.min_norm`'s. With `loss`, an active
      loss that is not positive ends in NaN.

    Raises:
      ValueError: at update, with `loss`: `losses` missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weights, _ = px.mgda().update(jnp.array([[4.0, 0.0], [0.0, 1.0]]),
      ...                               px.mgda().init(2))
      >>> [round(w, 3) for w in weights.tolist()]
      [0.2, 0.8]

    Cost: a few m×m factorizations; m backward passes a step.

    Reference: J.-A. Désidéri, "Multiple-gradient descent algorithm (MGDA) for
    multiobjective optimization", 2012; Sener & Koltun, "Multi-Task Learning as
    Multi-Objective Optimization", NeurIPS 2018, arXiv:1810.04650. The normalizations
    are options of the latter's code ("l2", "loss" and "loss+"; not in the paper), which
    multiplies the losses by the weights as Navon et al.'s MGDA does; LibMTL without
    `rep_grad` multiplies the normalized gradients. Departures: the problem is solved
    exactly instead of by Frank–Wolfe steps; gradients are taken at the parameters, not
    at the shared representation; no weight is kept from 0 as the code's 0.001 does.
    """
    if not (norm or loss):
        return stateless(_weights)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del extra_args
        m = state.weights.shape[0]
        check_gram(gram, m)
        scale = normalizers(gram, losses, active, m, norm=norm, loss=loss)
        gram = (as_default_float(gram) * scale[:, None]) * scale[None, :]
        return certify(_weights(gram, active), state, active)

    return Weighting(init_state, update)


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
