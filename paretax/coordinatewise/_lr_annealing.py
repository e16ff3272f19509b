"""Weights that bring every gradient to the size of a reference."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from paretax._checks import check_count, check_fraction
from paretax._combine import end_tasks
from paretax._shared import Shared
from paretax._types import Weights
from paretax._weighting import certify, init_state

__all__ = ["LrAnnealingState", "lr_annealing"]


class LrAnnealingState(NamedTuple):
    """The state of `lr_annealing`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite.
      error: 0; nothing is solved.
      average: λ, shape [m], ones at first; that of an inactive task is kept.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    average: Float[Array, " m"]


def lr_annealing(
    num_tasks: int,
    *,
    decay: float = 0.9,
    reference: int = 0,
    shared: Shared = None,
    weight_heads: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Learning-rate annealing: d = g_r + Σ_{i≠r} λᵢ gᵢ, where λᵢ is the moving average
    of max |g_r| / mean |gᵢ|.

    Maximum and mean run over the coordinates of all shared leaves. In physics-informed
    networks r is the residual of the equation, whose gradient outgrows those of the
    boundary and initial conditions.

    Args:
      num_tasks: m ≥ 1.
      decay: β in [0, 1]: λ ← β λ + (1 − β) max |g_r| / mean |gᵢ|, from λ = 1.
      reference: r, the number of the task whose weight is 1.
      shared: which leaves enter maximum and mean, as in `px.combine`.
      weight_heads: what the other leaves get, as in `px.combine`.

    Returns:
      An optax transformation as `px.combine`'s. Its weights are non-negative and do not
      sum to 1. λ of an inactive task is kept, and so are all of them where the
      reference is inactive; so is λ of a task whose gradient is zero.

    Raises:
      ValueError: `num_tasks` is no positive integer, β outside [0, 1], or r no task;
        what `px.combine`'s update raises.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import coordinatewise
      >>> tx = coordinatewise.lr_annealing(2, decay=0.5)
      >>> jac = jnp.array([[6.0, 0.0], [1.0, 3.0]])  # max 6, mean 2
      >>> d, state = tx.update(jac, tx.init(jac[0]))
      >>> state.weights.tolist(), d.tolist()
      ([1.0, 2.0], [8.0, 6.0])

    Cost: a sweep over J; m backward passes.

    Reference: Wang, Teng & Perdikaris, "Understanding and Mitigating Gradient Flow
    Pathologies in Physics-Informed Neural Networks", SIAM J. Sci. Comput. 2021,
    arXiv:2001.04536, Algorithm 1. Departures: the paper writes (1 − α) λ + α λ̂ and
    recommends α = 0.9; its code keeps 0.9 of the old λ, as the default here. The code
    renews λ at every tenth step, takes the mean of |λᵢ ∇Lᵢ| and looks at weight
    matrices only; here λ is renewed at every step, the mean is that of |∇Lᵢ|, and
    `shared` chooses the leaves.
    """
    m = check_count("num_tasks", num_tasks)
    check_fraction("decay", decay)
    r = check_count("reference", reference, least=0)
    if r >= m:
        raise ValueError(f"reference: expected one of the tasks 0 to {m - 1}, got {r}.")

    def init(params):
        del params
        return LrAnnealingState(*init_state(m), jnp.ones(m, float))

    def reduce(trunk, state, *, active=None, **extra_args):
        del extra_args
        present = jnp.ones(m, bool) if active is None else active
        largest, mean = _sizes(trunk, r)
        ratio = largest / jnp.where(mean == 0, 1.0, mean)
        moved = decay * state.average + (1 - decay) * ratio
        renew = present & present[r] & (mean != 0) & (jnp.arange(m) != r)
        average = jnp.where(renew, moved, state.average)
        weights, shown = certify(average, state, active)
        return weights, None, LrAnnealingState(*shown, average)

    return end_tasks(init, reduce, m, shared=shared, weight_heads=weight_heads)


def _sizes(trunk, reference):
    """max |g_r|, and mean |gᵢ| for each task, over the coordinates of all leaves."""
    sizes = [
        jnp.abs(leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)))
        for leaf in trunk
    ]
    count = sum(size[0].size for size in sizes)
    largest = jnp.stack([jnp.max(size[reference], initial=0.0) for size in sizes])
    total = [jnp.sum(size, axis=tuple(range(1, size.ndim))) for size in sizes]
    mean = sum(part.astype(float) for part in total) / count
    return jnp.max(largest).astype(float), mean
