"""Pareto multi-task learning: descent that stays in the sector of a preference."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_count, check_preference
from paretax._types import Weights
from paretax._weighting import (
    Weighting,
    as_default_float,
    certify,
    init_state,
    read_gram,
    require_losses,
)
from paretax.ensembles._preferences import check_preferences
from paretax.ensembles._shortest import shortest

__all__ = ["ParetoMTLState", "pareto_mtl"]


class ParetoMTLState(NamedTuple):
    """The last weights, and which phase the member is in.

    Attributes:
      weights: shape [m]; zeros before the first update.
      converged: whether the shortest vector was found to its tolerance.
      error: its residual, as `solvers.min_norm` defines it.
      step: updates so far.
      inside: whether the member has begun the second phase.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    step: Int[Array, ""]
    inside: Bool[Array, ""]


def pareto_mtl(
    preference: Weights | ArrayLike,
    preferences: Float[Array, "k m"] | ArrayLike,
    *,
    init_steps: int | None = None,
    normalize: bool = False,
) -> Weighting:
    """Into the sector of p among the rays of k preferences, then down inside of it.

    With the unit vectors u = p/‖p‖ and u_j, the sector holds the losses that are no
    nearer in angle to any other u_j: g_j(f) = (u_j − u)ᵀf ≤ 0. The constraints with
    g_j > 0 are active; ∇g_j = Jᵀ(u_j − u).

    1. While one is active: the shortest vector in the hull of the active ∇g_j, whose
       descent brings the losses into the sector. It may raise all of them.
    2. From then on: the shortest in the hull of the gᵢ and the active ∇g_j. It harms no
       task, and it makes no active constraint worse.

    As in `scalarizations.pbi`, p is a direction among the losses: a large pᵢ lets task
    i have a large loss.

    Args:
      preference: p, shape [m], non-negative, summing to 1. May be a tracer.
      preferences: shape [k, m], likewise, of all members; p may be among them.
      init_steps: the first phase ends after so many updates at the latest, ≥ 0; None is
        no limit.
      normalize: in the second phase, divide the weights by the mean of |wᵢ|, so that
        they keep a size where the shortest vector does not.

    Returns:
      A weighting on the Gramian and the losses. A weight wᵢ sums task i's share of
      every row of the hull and may be negative. With missing tasks, the sectors are
      those of the active ones. The state is a `ParetoMTLState`.

    Raises:
      ValueError: a preference is not on the simplex, or not of shape [m]; `init_steps`
        is no integer ≥ 0; at update, `losses` missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> weighting = ensembles.pareto_mtl([0.75, 0.25], [[0.75, 0.25], [0.25, 0.75]])
      >>> state = weighting.init(2)
      >>> for f in ([1.0, 3.0], [3.0, 1.0]):
      ...     weights, state = weighting.update(jnp.eye(2), state, losses=jnp.array(f))
      ...     print([round(w, 3) for w in weights.tolist()], bool(state.inside))
      [-0.632, 0.632] False
      [0.5, 0.5] True

    Cost: `min_norm` on m + k rows twice, and m backward passes a step. Sectors are
    bounded by their neighbors: for large k, `preferences` may hold those only.

    Reference: Lin et al., "Pareto Multi-Task Learning", NeurIPS 2019, arXiv:1912.12854,
    and its public code, which has `normalize` for MultiMNIST (on the weights' sum, so
    times m) and not for its toy. Departures: for any m, where the code writes out m =
    2; the shortest vector is exact; the batch that finds the losses inside the sector
    begins the second phase, where the code drops it. The code limits the first phase to
    two epochs, or for the toy to one fifth of the steps.
    """
    p = check_preference(preference)
    grid = check_preferences(preferences)
    if grid.shape[1] != p.size:
        raise ValueError(
            f"preferences: expected shape [k, {p.size}], got {grid.shape}."
        )
    limit = None if init_steps is None else check_count("init_steps", init_steps, 0)

    def init(num_tasks):
        first = init_state(num_tasks)
        return ParetoMTLState(*first, jnp.zeros((), jnp.int32), jnp.zeros((), bool))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del extra_args
        m = state.weights.shape[0]
        gram = read_gram(gram, m, active)
        present = jnp.ones(m, bool) if active is None else active
        losses = jnp.where(present, require_losses(losses, m), 0.0)
        sides = _sides(as_default_float(p), as_default_float(grid), present)
        out = jnp.sum(sides * losses, axis=1) > 0
        known = jnp.all(jnp.isfinite(losses))
        inside = state.inside | (known & ~jnp.any(out))
        if limit is not None:
            inside = inside | (state.step >= limit)
        rows = jnp.concatenate([jnp.eye(m, dtype=gram.dtype), sides])
        hull = jnp.concatenate([present & inside, out])
        solution = _in_the_hull(gram, rows, hull)
        weights = solution.value
        if normalize:
            weights = jnp.where(inside, _of_mean_one(weights, present), weights)
        solution = solution._replace(
            value=jnp.where(known, weights, jnp.nan),
            converged=solution.converged & known,
        )
        weights, new = certify(solution, state, active)
        return weights, ParetoMTLState(*new, state.step + 1, inside)

    return Weighting(init, update)


def _sides(p, grid, present):
    """u_j − u, [k, m]: exactly 0 for p itself, and where tasks are missing."""

    def unit(vector):
        vector = jnp.where(present, vector, 0.0)
        square = jnp.sum(vector**2)
        return vector / jnp.sqrt(jnp.where(square > 0, square, 1.0))

    apart = jax.vmap(unit)(grid) - unit(p)
    # One ray computed twice may differ from itself by rounding.
    return jnp.where(jnp.all(grid == p, axis=1)[:, None], 0.0, apart)


def _in_the_hull(gram, rows, present):
    """Weights on tasks of the shortest vector in the hull of the rows' gradients."""
    high = jax.lax.Precision.HIGHEST
    wide = jnp.einsum("ai,ij,bj->ab", rows, gram, rows, precision=high)
    solution = shortest((wide + wide.T) / 2, present)
    value = jnp.matmul(solution.value, rows, precision=high)
    return solution._replace(value=value)


def _of_mean_one(weights, present):
    mean = jnp.sum(jnp.abs(weights)) / jnp.maximum(jnp.sum(present), 1)
    return weights / jnp.where(mean > 0, mean, 1.0)
