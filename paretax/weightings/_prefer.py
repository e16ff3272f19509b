"""Any weighting, with some tasks preferred to others."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._checks import check_positive_preference
from paretax._types import Weights
from paretax._weighting import Weighting, as_default_float
from paretax.weightings._wrapped import check_inner, rescaled

__all__ = ["prefer"]


def prefer(weighting: Weighting, *, preference: Weights | ArrayLike) -> Weighting:
    """The weighting, of losses that are multiplied by the preference: m pᵢ Lᵢ.

    Task i's gradient is scaled by sᵢ = m pᵢ before the weighting sees it: with D =
    diag(s) it is given D K D and the losses D f, and its weights w become D w. Equal
    preferences change nothing.

    What that does depends on the weighting. `uniform` becomes the weighted sum Σᵢ pᵢ gᵢ
    and a weighting on losses follows the rescaled losses. `mgda` becomes the shortest
    Σᵢ wᵢ pᵢ gᵢ: every task gains gᵢᵀd ≥ ‖d‖²/(m pᵢ), so the *less* preferred task is
    guaranteed *more*; multiply by 1/pᵢ to turn that round. A weighting that is
    invariant to the scale of each task, as `nash_mtl` is, keeps its direction: give
    it its own `preference`.

    Args:
      weighting: what is wrapped.
      preference: p, shape [m], positive, summing to 1.

    Returns:
      A weighting that needs the Gramian where the wrapped one does, and has its
      certificate. A direction that harms no task does so still, and one that is zero at
      Pareto-stationary points is so still. With missing tasks, m counts the active ones
      and p is divided by its sum over them.

    Raises:
      ValueError: `weighting` is no weighting; p is not positive with sum 1; at `init`,
        m is not its length.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.prefer(px.uniform(), preference=[0.75, 0.25])
      >>> weights, _ = weighting.update(None, weighting.init(2))
      >>> weights.tolist()
      [0.75, 0.25]

    Cost: that of `weighting`, and 2m² multiplications.

    Reference: none; linear scalarization's weights, put before any method. Departure,
    for `prefer(mgda(), ...)`: the weighted Chebyshev MGDA of Momma, Dong & Liu, ICML
    2022, is another problem, which also trades the rescaled losses against the norm.
    """
    check_inner(weighting, "px.prefer(px.mgda(), preference=[0.7, 0.3])")
    chosen = check_positive_preference(preference, "leave it out with active=")

    def scales(gram, losses, active, num_tasks):
        del gram, losses, num_tasks
        p = as_default_float(chosen)
        present = jnp.ones(p.shape, bool) if active is None else active
        p = jnp.where(present, p, 0.0)
        total = jnp.sum(p)
        share = p / jnp.where(total > 0, total, 1.0)
        return jnp.sum(present) * share

    wrapper = rescaled(weighting, scales)

    def init(num_tasks):
        state = wrapper.init(num_tasks)
        if chosen.shape != (num_tasks,):
            raise ValueError(
                f"preference: expected {num_tasks} entries (num_tasks), got "
                f"{chosen.shape[0]}."
            )
        return state

    return wrapper._replace(init=init)
