"""Scalarizations whose ideal and nadir points are learned from the losses seen."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from paretax._checks import check_fraction, check_non_negative
from paretax._types import Losses, Weights
from paretax._weighting import Weighting, certify, init_state, never, require_losses
from paretax.scalarizations import Scalarization

__all__ = ["RunningPointsState", "running_points"]


class RunningPointsState(NamedTuple):
    """The state of `running_points`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite.
      error: 0.
      ideal: the best loss of each task so far, shape [m]; +∞ before its first.
      nadir: the worst loss of each task so far, shape [m]; −∞ before its first.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    ideal: Losses
    nadir: Losses


def running_points(
    make: Callable[[Losses, Losses], Scalarization],
    *,
    decay: float | Array = 1.0,
    margin: float | Array = 0.0,
) -> Weighting:
    """A scalarization between the best and the worst losses seen: w = ∂s/∂f.

    At each step zᵢ ← min(fᵢ, β zᵢ + (1 − β) fᵢ) and nᵢ ← max(fᵢ, β nᵢ + (1 − β) fᵢ),
    then s = make(z, n), whose derivative at f takes z and n for constants.

    Args:
      make: `make(ideal, nadir) -> scalarization`, with both points of shape [m]. It may
        use one of them only, as in `lambda _, nadir: log_smooth_tchebycheff(p,
        nadir=nadir)`: a loss that keeps falling is its own ideal point at every step,
        which says nothing, where 0 may be a bound that is known.
      decay: β in [0, 1], a step: old extremes drift towards the current loss and are
        forgotten after about 1/(1 − β) steps. 1 forgets nothing.
      margin: ≥ 0: `make` gets a box that is wider at both ends by this share of n − z,
        for scalarizations that are flat or undefined at a point: `pnorm` and `cosmos`
        at the ideal, `log_hypervolume` at the nadir.

    Returns:
      A weighting on the losses, with `needs_gram` False and the laws of the
      scalarization. `make` gets z < n always: where they are equal, as at a task's
      first loss, |fᵢ| stands for n − z (1 if that is 0), and z is lowered, so that a
      first positive loss lies at its nadir point over an ideal point of 0. Inactive
      tasks keep their z and n; the points that `make` gets for a task never seen are 0
      and 1. A loss that is not finite is not remembered; a NaN shows in the weights of
      its step, where the scalarization's derivative depends on that loss.

    Raises:
      ValueError: `make` is not callable, `decay` outside of [0, 1], `margin` < 0; at
        update, `losses` is missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> from paretax.scalarizations import linear, normalized
      >>> half = linear([0.5, 0.5])
      >>> weighting = px.running_points(
      ...     lambda ideal, nadir: normalized(half, ideal=ideal, nadir=nadir))
      >>> state = weighting.init(2)
      >>> for losses in ([4.0, 100.0], [2.0, 60.0]):
      ...     w, state = weighting.update(None, state, losses=jnp.array(losses))
      ...     print([round(x, 4) for x in w.tolist()], state.ideal.tolist())
      [0.125, 0.005] [4.0, 100.0]
      [0.25, 0.0125] [2.0, 60.0]

    Cost: that of the scalarization and a few operations a task; 2m numbers of state.

    Reference: the ideal point as in Zhang & Li, "MOEA/D: A Multiobjective Evolutionary
    Algorithm Based on Decomposition", IEEE Trans. Evol. Comput. 11(6), 2007, step 2.3.
    Departures: the nadir point in the same way (it is the worst loss seen, not the
    worst on the Pareto front); forgetting, margin and the range of a first loss.
    """
    if not callable(make):
        raise ValueError(
            "make: expected a function of (ideal, nadir) that returns a scalarization, "
            f"got {type(make).__name__}."
        )
    check_fraction("decay", decay)
    check_non_negative("margin", margin)

    def init(num_tasks):
        first = init_state(num_tasks)
        far = jnp.full_like(first.weights, jnp.inf)
        return RunningPointsState(*first, far, -far)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del gram, extra_args
        losses = require_losses(losses, state.weights.shape[0])
        known = jnp.isfinite(losses)
        if active is not None:
            known = known & active
            losses = jnp.where(active, losses, 0.0)
        ideal, nadir = _remember(losses, known, state, decay)
        scalarize = make(*_box(ideal, nadir, margin))
        if active is None:
            weights = jax.grad(scalarize)(losses)
        else:
            weights = jax.grad(lambda f: scalarize(f, active=active))(losses)
        weights, shown = certify(weights, state, active)
        points = (ideal.astype(state.ideal.dtype), nadir.astype(state.nadir.dtype))
        return weights, RunningPointsState(*shown, *points)

    return Weighting(init, update, never)


def _remember(losses, known, state, decay):
    """The points after one more loss of each task that is known."""

    def drifted(point):
        last = jnp.where(jnp.isfinite(point), point, losses)
        return last + (1 - decay) * (losses - last)

    ideal = jnp.minimum(losses, drifted(state.ideal))
    nadir = jnp.maximum(losses, drifted(state.nadir))
    ideal = jnp.where(known, ideal, state.ideal)
    return ideal, jnp.where(known, nadir, state.nadir)


def _box(ideal, nadir, margin):
    """Two points, one strictly below the other, for every task."""
    seen = jnp.isfinite(ideal)
    high = jnp.where(seen, nadir, 1.0)
    low = jnp.where(seen, ideal, 0.0)
    level = jnp.where(high == 0, 1.0, jnp.abs(high))
    # A range of rounding errors is none.
    flat = high - low <= 4 * jnp.finfo(high.dtype).eps * level
    low = jnp.where(flat, high - level, low)
    size = high - low
    return low - margin * size, high + margin * size
