"""One weight for each group of tasks that progress alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from paretax._checks import check_count, check_positive
from paretax._types import Weights
from paretax._weighting import Weighting, as_before, init_state, never
from paretax.weightings._clusters import cluster_means
from paretax.weightings._loss_values import read_losses, show

__all__ = ["Go4AlignState", "go4align"]


class Go4AlignState(NamedTuple):
    """The state of `go4align`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite and every active loss could be read.
      error: the number of active losses that could not.
      log_shares: log p, shape [m]; −log m at first.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    log_shares: Float[Array, " m"]


def go4align(*, num_groups: int, step_size: float = 1e-4) -> Weighting:
    """Group optimization for alignment: weights by groups of like progress.

    p ← p·e^(−ηL)/Z, uᵢ = pᵢ ΣⱼLⱼ/Lᵢ; the numbers u fall into K groups by k-means, and
    wᵢ is the mean of u in i's group. With equal p every weighted loss wᵢLᵢ would be the
    mean loss, but for the grouping; p remembers which losses have been small.

    Args:
      num_groups: K ≥ 1. 1 is one weight for all; m or more, no grouping.
      step_size: η > 0, per unit of the losses.

    Returns:
      A weighting on the losses; positive weights, not normalized (1 each where the
      losses have always been equal). A missing task keeps p; the others share theirs.
      A loss of at most 0 has no inverse: its task is left out of that step (weight 0,
      nothing remembered), and the state has `converged` False. The weight of a task
      whose loss is not finite is NaN.

    Raises:
      ValueError: K is no positive integer, η ≤ 0; at update, `losses` missing or not of
        shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.go4align(num_groups=2)
      >>> weights, _ = weighting.update(
      ...     None, weighting.init(3), losses=jnp.array([1.0, 3.0, 4.0]))
      >>> [round(w, 3) for w in weights.tolist()]
      [2.667, 0.778, 0.778]

    Cost: K m² operations, in K + m steps; one backward pass a step.

    Reference: Shen, Wang, Xiao, Van Noord & Worring, "GO4Align: Group Optimization for
    Multi-Task Alignment", NeurIPS 2024, arXiv:2404.06486, as in the authors' code.
    Departures: k-means is exact (numbers on a line, by dynamic programming), where the
    code iterates from random centers; p is kept as its logarithm, so that no share is
    ever 0.
    """
    num_groups = check_count("num_groups", num_groups)
    check_positive("step_size", step_size)

    def init(num_tasks):
        first = init_state(num_tasks)
        even = jnp.full(num_tasks, 1.0 / num_tasks, float)
        return Go4AlignState(*first, jnp.log(even))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        values = read_losses(losses, state, active)
        here = values.readable
        steps = state.log_shares - step_size * values.losses
        share = jax.nn.log_softmax(steps, where=here)
        together = jax.nn.logsumexp(state.log_shares, where=here)
        log_shares = jnp.where(here, share + together, state.log_shares)
        whole = jnp.log(jnp.sum(jnp.where(here, values.losses, 0.0)))
        exponent = jnp.where(here, share + whole - jnp.log(values.losses), 0.0)
        weights = cluster_means(jnp.exp(exponent), here, num_groups)
        weights, shown = show(weights, values, state)
        return weights, jax.tree.map(
            as_before, Go4AlignState(*shown, log_shares), state
        )

    return Weighting(init, update, never)
