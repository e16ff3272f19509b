"""The task tensioner: the central direction, pulled by each task's convergence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_fraction
from paretax._types import Weights
from paretax._weighting import (
    Weighting,
    as_before,
    certify,
    init_state,
    read_gram,
    require_losses,
)
from paretax.weightings._edm import central

__all__ = ["TaskTensionerState", "task_tensioner"]

_WINDOW = 10


class TaskTensionerState(NamedTuple):
    """The state of `task_tensioner`.

    Attributes:
      weights: the last weights, shape [m].
      converged: the certificate of the central direction.
      error: likewise.
      norms: the last ten gradient norms of every task, shape [m, 10], in a ring.
      calls: how many norms each task has handed in, shape [m].
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    norms: Float[Array, "m window"]
    calls: Int[Array, " m"]


def task_tensioner(*, alpha: float = 0.3) -> Weighting:
    """Weights from each task's convergence behaviour: tension on a central direction.

    d is the central direction (`edm`). With Sᵢ(k) the sum of task i's last ten gradient
    norms, pᵢ = Sᵢ(k)/Sᵢ(k−1) + log₁₀ Lᵢ says whether task i diverges, and
    fᵢ = α·sigmoid(e(pᵢ − 1)) + 1 − α, e = 2.718…, how hard it pulls:
    v = d + Σᵢ fᵢ (gᵢ − d)/‖gᵢ − d‖. Then, task after task, where gᵢᵀv < 0, v moves
    straight towards gᵢ until gᵢᵀv = 0. The first ten calls use d. The direction is v.

    Args:
      alpha: α in [0, 1], how much tensions may differ; fᵢ lies in (1 − α, 1). With 0
        every task pulls equally.

    Returns:
      A weighting on the Gramian that reads `losses` too (raw losses, positive). Weights
      sum to 1; a weight may be negative. For two tasks the direction never harms one;
      for more, a later projection may undo an earlier one. The tension has a length of
      order 1 whatever the gradients', so for small gradients it dominates, and v does
      not vanish at Pareto-stationary points.

      Where the definition has no value: a task on d itself (parallel gradients, one
      task) pulls nowhere; a loss of at most 0 gives the lower limit fᵢ = 1 − α; a task
      whose last ten gradients were all 0 counts as steady, Sᵢ(k)/Sᵢ(k−1) = 1. While an
      active task has a zero gradient, or one is not finite, the weights are the
      central direction's (a zero direction, or NaN) and nothing is remembered. With
      missing tasks each counts its own calls, and tension begins when every active task
      has had ten.

    Raises:
      ValueError: α outside [0, 1]; at update, `losses` missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> tensioner = px.task_tensioner(alpha=0.3)
      >>> state, gram = tensioner.init(2), jnp.array([[4.0, 0.0], [0.0, 1.0]])
      >>> for _ in range(11):
      ...     weights, state = tensioner.update(
      ...         gram, state, losses=jnp.array([10.0, 1.0]))
      >>> [round(w, 3) for w in weights.tolist()]
      [0.392, 0.608]

    Cost: a few m×m factorizations and m³ + 2m² multiply-adds; m backward passes a step.

    Reference: Mizuno Nakamura, Grassi & Wolf, "Leveraging convergence behavior to
    balance conflicting tasks in multi-task learning", Neurocomputing 511, 2022,
    arXiv:2204.06698. Follows the authors' public code and that of Gama & Grassi,
    arXiv:2505.10347, whose handling of zero gradients it keeps. Departures: the vectors
    are never formed, all happens in the Gramian; the projection is written
    v ← gᵢ + s(v − gᵢ), s = ‖gᵢ‖²/(‖gᵢ‖² − gᵢᵀv), without the tangent; the central
    direction is exact; the cases above, which that code leaves to NaN.
    """
    check_fraction("alpha", alpha)

    def init(num_tasks):
        first = init_state(num_tasks)
        norms = jnp.zeros((num_tasks, _WINDOW), float)
        return TaskTensionerState(*first, norms, jnp.zeros(num_tasks, jnp.int32))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del extra_args
        m = state.weights.shape[0]
        gram = read_gram(gram, m, active)
        losses = require_losses(losses, m)
        present = jnp.ones(m, bool) if active is None else active
        middle = central(gram, active)
        norms, calls, known = _remember(gram, present, state)
        warm = known & jnp.all(jnp.where(present, calls > _WINDOW, True))
        f = _tensions(alpha, losses, jnp.sum(norms, 1), jnp.sum(state.norms, 1))
        pulled = _pull(gram, middle.value, jnp.where(present, f, 0.0))
        pulled = _project(gram, pulled, present)
        answer = middle._replace(value=jnp.where(warm, pulled, middle.value))
        weights, shown = certify(answer, state, active)
        new = TaskTensionerState(*shown, norms, calls)
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update)


def _remember(gram, present, state):
    """The ring of norms with this call's, unless one is 0 or not finite."""
    norm = jnp.sqrt(jnp.diagonal(gram))
    usable = jnp.isfinite(norm) & (norm > 0)
    known = jnp.all(jnp.where(present, usable, True))
    here = jnp.arange(_WINDOW) == (state.calls % _WINDOW)[:, None]
    written = here & (present & known)[:, None]
    norms = jnp.where(written, norm[:, None], state.norms)
    return norms, state.calls + (present & known), known


def _tensions(alpha, losses, now, before):
    """fᵢ, from the sums of norms now and one call ago and the losses."""
    moved = before > 0
    ratio = jnp.where(moved, now / jnp.where(moved, before, 1.0), 1.0)
    nothing = losses <= 0
    p = ratio + jnp.log10(jnp.where(nothing, 1.0, losses))
    f = alpha * jax.nn.sigmoid(jnp.e * (p - 1.0)) + 1.0 - alpha
    return jnp.where(nothing, 1.0 - alpha, f)


def _pull(gram, weights, f):
    """The weights of d + Σᵢ fᵢ (gᵢ − d)/‖gᵢ − d‖."""
    m = gram.shape[0]
    offsets = jnp.eye(m, dtype=gram.dtype) - weights
    images = jnp.matmul(offsets, gram, precision="highest")
    squares = jnp.sum(offsets * images, axis=1)
    # What rounding leaves of a square that is 0: eps for each of its m terms, each at
    # most the square of ‖gᵢ‖ + Σⱼ|wⱼ|‖gⱼ‖.
    norms = jnp.sqrt(jnp.diagonal(gram))
    size = norms + jnp.sum(jnp.abs(weights) * norms)
    apart = squares > m * jnp.finfo(gram.dtype).eps * size**2
    distance = jnp.sqrt(jnp.where(apart, squares, 1.0))
    force = jnp.where(apart, f / distance, 0.0)
    return weights + jnp.matmul(force, offsets, precision="highest")


def _project(gram, weights, present):
    """One pass over the tasks: none that is in the way of v stays so when visited."""

    def visit(i, carry):
        w, gains = carry
        square = gram[i, i]
        harmed = present[i] & (gains[i] < 0)
        s = jnp.where(harmed, square / jnp.where(harmed, square - gains[i], 1.0), 1.0)
        w = s * w + (1 - s) * (jnp.arange(w.shape[0]) == i)
        return w, s * gains + (1 - s) * gram[i]

    gains = jnp.matmul(gram, weights, precision="highest")
    return jax.lax.fori_loop(0, gram.shape[0], visit, (weights, gains))[0]
