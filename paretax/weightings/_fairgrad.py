"""Gradients shared out by α-fairness."""

from paretax._checks import check_positive
from paretax._weighting import Weighting, stateless
from paretax.solvers import bargain
from paretax.weightings._nash_mtl import cut, with_units

__all__ = ["fairgrad"]


def fairgrad(*, alpha: float = 1.0, max_norm: float | None = 1.0) -> Weighting:
    """The α-fair direction: w > 0 with K w = w^(−1/α), element by element.

    d = Jᵀw is along the maximizer of Σᵢ (gᵢᵀd)^(1−α)/(1−α) over a ball: the larger α,
    the more the task that gains least counts. α = 1 is proportional fairness, the Nash
    bargain; α = 2 minimizes the potential delay Σᵢ 1/gᵢᵀd; α → ∞ makes all gains
    gᵢᵀd equal where it can, α → 0 the direction of their sum.

    Args:
      alpha: α > 0, a number.
      max_norm: the direction is shortened to this norm, in the norm of the shared
        parameters; > 0, or None to leave it. ‖d‖² = Σᵢ wᵢ^(1−1/α), so for α = 1 it is m
        whatever the gradients; on c·J it is c^((1−α)/(1+α)) as long as on J.

    Returns:
      A weighting on the Gramian with strictly positive weights. No task is harmed:
      gᵢᵀd = wᵢ^(−1/α) > 0. Only for α = 1 does the direction not depend on the scale of
      each loss: for α > 1 it favors tasks with small gradients, for α < 1 those with
      large ones. Where no solution exists (a Pareto-stationary point, a task with zero
      gradient) the weights are finite, and the state has `converged` False. `error` is
      `solvers.bargain`'s.

    Raises:
      ValueError: α or `max_norm` is not above 0.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> fair = px.fairgrad(alpha=2.0, max_norm=None)
      >>> weights, state = fair.update(jnp.diag(jnp.array([8.0, 1.0])), fair.init(2))
      >>> [round(w, 3) for w in weights.tolist()], bool(state.converged)
      ([0.25, 1.0], True)

    Cost: about ten m×m factorizations; m backward passes a step.

    Reference: Ban & Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024,
    arXiv:2402.15638, eq. (4) and Algorithm 1. Departures: the equation is solved by
    Newton's method on its convex potential, where the official code minimizes the
    residual by bounded least squares from w = 1/m to a default tolerance, which stops
    short on badly scaled tasks; that code multiplies d by m and then clips the gradient
    of the shared parameters to the norm 1, so a d shorter than 1 stays longer there;
    α = 0, plain averaging, is `uniform`.
    """
    check_positive("alpha", alpha)
    if max_norm is not None:
        check_positive("max_norm", max_norm)

    def weights(gram, active=None):
        gram = with_units(gram, active)
        solution = bargain(gram, alpha=alpha)
        return solution._replace(value=cut(solution.value, gram, active, max_norm))

    return stateless(weights)
