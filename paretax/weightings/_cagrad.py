"""The best worst task within a ball around the mean gradient."""

import jax.numpy as jnp

from paretax._checks import check_non_negative
from paretax._weighting import Weighting, stateless
from paretax.solvers import trade_off

__all__ = ["cagrad"]


def cagrad(*, c: float = 0.4, rescale: bool = False) -> Weighting:
    """Conflict-averse gradient descent: the worst task served best, near the mean.

    d = argmax minᵢ gᵢᵀd subject to ‖d − g₀‖ ≤ c‖g₀‖, g₀ the mean gradient. d = g₀ +
    c‖g₀‖ g_w/‖g_w‖ with g_w = Jᵀw, w the minimizer over the simplex of g_wᵀg₀ + c‖g₀‖
    ‖g_w‖; the weights of d are 1/m + c‖g₀‖ w/‖g_w‖.

    Args:
      c: ≥ 0, the radius relative to ‖g₀‖. 0 is the mean; for c < 1 steps along d lead
        to stationary points of the mean loss; large c approaches the direction of
        `mgda`.
      rescale: divide by 1 + c², as some of the official code does, so that the length
        changes less with c.

    Returns:
      A weighting on the Gramian with w ≥ 1/m (before `rescale`). It may harm a task:
      the ball need not reach the cone of directions that harm none. With missing tasks
      the mean and the worst are those of the active ones. The state's `error` and
      `converged` are `solvers.trade_off`'s; it says there what is answered at
      Pareto-stationary points.

    Raises:
      ValueError: c < 0.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> averse = px.cagrad(c=0.5)
      >>> weights, state = averse.update(jnp.array([[4.0, 0.0], [0.0, 1.0]]),
      ...                                averse.init(2))
      >>> [round(w, 3) for w in weights.tolist()], bool(state.converged)
      ([0.5, 1.059], True)

    Cost: that of `solvers.trade_off`; m backward passes a step.

    Reference: Liu, Liu, Jin, Stone & Liu, "Conflict-Averse Gradient Descent for
    Multi-task Learning", NeurIPS 2021, arXiv:2110.14048, Algorithm 1. Departures: w is
    found exactly, without the official code's 1e-8 under its square roots. Codes differ
    in the length of d: TorchJD and the official Cityscapes experiment return d as here;
    LibMTL by default and the official reinforcement-learning experiment divide it by
    1 + c² (`rescale`), FairGrad's copy also multiplies it by m, to match a sum of
    losses. TorchJD returns 0 where ‖g_w‖² is below 1e-8 of the trace of K.
    """
    check_non_negative("c", c)
    shrink = 1 + c * c if rescale else 1.0

    def weights(gram, active=None):
        if active is None:
            solution = trade_off(gram, c)
            return solution._replace(value=solution.value / shrink)
        # An inactive task becomes the mean of the active ones: that leaves the mean and
        # the worst as they are. Its weight goes to them in equal parts.
        m = gram.shape[0]
        mean = active / jnp.maximum(jnp.sum(active), 1).astype(gram.dtype)
        rows = jnp.where(active[:, None], jnp.eye(m, dtype=gram.dtype), mean)
        inner = jnp.matmul(rows, gram, precision="highest")
        solution = trade_off(jnp.matmul(inner, rows.T, precision="highest"), c)
        back = jnp.matmul(solution.value, rows, precision="highest")
        return solution._replace(value=back / shrink)

    return stateless(weights)
