"""Who hands parameters to whom: row-stochastic matrices, constant or adaptive."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from paretax._checks import check_positive, is_concrete
from paretax.ensembles._diagnostics import member_distances
from paretax.ensembles._preferences import check_preferences

__all__ = [
    "Coupling",
    "check_one_each",
    "distance_coupling",
    "fixed_coupling",
    "neighbor_coupling",
    "neighbor_kernel",
    "no_coupling",
]


class Coupling(NamedTuple):
    """A rule for the transfer matrix M: row k holds what member k takes from each.

    Attributes:
      init: `init(params) -> state`, with leaves [k, ...].
      update: `update(params, state) -> (M, state)`; M has shape [k, k], non-negative
        rows that sum to 1, and carries no gradient.
    """

    init: Callable[[PyTree], Any]
    update: Callable[[PyTree, Any], tuple[Float[Array, "k k"] | None, Any]]


def no_coupling() -> Coupling:
    """M = I: independent members, bit for bit as without transfer.

    Returns:
      A `Coupling`.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> rule = ensembles.no_coupling()
      >>> rule.update(jnp.zeros((2, 3)), rule.init(jnp.zeros((2, 3))))
      (None, ())

    Cost: none.
    """

    def update(params, state):
        del params
        return None, state

    return Coupling(lambda params: (), update)


def fixed_coupling(matrix: Float[Array, "k k"] | ArrayLike) -> Coupling:
    """A constant M.

    Args:
      matrix: shape [k, k], non-negative, each row summing to 1.

    Returns:
      A `Coupling`.

    Raises:
      ValueError: not square, a negative entry, or a row that does not sum to 1.

    Example:
      >>> from paretax import ensembles
      >>> rule = ensembles.fixed_coupling([[0.75, 0.25], [0.0, 1.0]])

    Cost: none.

    Reference: constant coefficients are those of Bai et al., "Multi-task gradient
    descent for multi-task learning", Memetic Computing 12(4), 2020.
    """
    m = jnp.asarray(matrix, dtype=float)
    if m.ndim != 2 or m.shape[0] != m.shape[1]:
        raise ValueError(f"matrix: expected shape [k, k], got {m.shape}.")
    if is_concrete(m):
        rows = np.asarray(m, np.float64)
        if not np.isfinite(rows).all() or (rows < 0).any():
            raise ValueError(
                f"matrix: expected non-negative entries, got {rows.min():.6g}."
            )
        if (abs(rows.sum(1) - 1) > 1e-4).any():
            raise ValueError(
                f"matrix: expected rows that sum to 1, got sums {rows.sum(1).tolist()}."
            )

    def update(params, state):
        if _num_members(params) != m.shape[0]:
            raise ValueError(
                f"matrix: expected one row for each of {_num_members(params)} members, "
                f"got {m.shape[0]}."
            )
        return m, state

    return Coupling(lambda params: (), update)


def neighbor_coupling(
    preferences: Float[Array, "k m"] | ArrayLike,
    *,
    strength: float | Callable[[Array], ArrayLike] = 0.2,
    bandwidth: float = 0.5,
) -> Coupling:
    """M = (1 − a) I + a N, with N a kernel over neighboring preferences.

    N_kj ∝ exp(−d_kj/bandwidth) for j ≠ k, rows summing to 1, with d the Euclidean
    distance of preferences in units of the smallest one: |k − j| on an even grid for
    two tasks. The average over neighbors lowers the variance of own mini-batches and
    adds a bias that grows with the distance of the members' optima; so let the strength
    fade.

    Args:
      preferences: shape [k, m]; rows non-negative, summing to 1, no two the same.
      strength: a in [0, 1], or a schedule: step (from 0) to a, as in optax, whose
        values are clipped to [0, 1].
      bandwidth: > 0, in units of the smallest distance of two preferences.

    Returns:
      A `Coupling`.

    Raises:
      ValueError: a row that is no preference, equal rows, a strength outside [0, 1], a
        bandwidth that is not positive.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> rule = ensembles.neighbor_coupling(ensembles.das_dennis(2, 1), strength=0.25)
      >>> rule.update(jnp.zeros((2, 3)), rule.init(jnp.zeros((2, 3))))[0].tolist()
      [[0.75, 0.25], [0.25, 0.75]]

    Cost: k² numbers a step.

    Reference: this library's own; no published rule.
    """
    grid = np.asarray(check_preferences(preferences), np.float64)
    check_positive("bandwidth", bandwidth)
    if not callable(strength) and is_concrete(strength) and not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a number in [0, 1], got {strength}.")
    kernel = jnp.asarray(neighbor_kernel(grid, bandwidth), dtype=float)

    def init(params):
        check_one_each(grid, _num_members(params))
        return jnp.zeros((), jnp.int32)

    def update(params, step):
        del params
        share = strength(step) if callable(strength) else strength
        share = jnp.clip(jnp.asarray(share, kernel.dtype), 0.0, 1.0)
        return (1 - share) * jnp.eye(len(grid)) + share * kernel, step + 1

    return Coupling(init, update)


class DistanceState(NamedTuple):
    """Distances a step ago, and the running maximum of their mean."""

    distances: Float[Array, "k k"]
    scale: Float[Array, " k"]
    step: Int[Array, ""]


def distance_coupling() -> Coupling:
    """Members that have come closer since the last step hand parameters to each other.

    With d_kj = ‖θ_k − θ_j‖ and r_kj = max(0, d_kj before − d_kj now):
    M_kj = r_kj/(D_k + Σ_l r_kl) for j ≠ k, M_kk the rest. D_k is the mean distance of k
    from the others, the largest so far. Transfers end by themselves at convergence. A
    distance that is not finite counts for nothing: no transfer, and no part in D.

    Returns:
      A `Coupling`; M = I at the first step, and while all members are equal.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> rule = ensembles.distance_coupling()
      >>> far, near = jnp.array([[0.0], [4.0]]), jnp.array([[0.0], [3.0]])
      >>> _, state = rule.update(far, rule.init(far))
      >>> matrix, _ = rule.update(near, state)
      >>> [[round(x, 3) for x in row] for row in matrix.tolist()]
      [[0.8, 0.2], [0.2, 0.8]]

    Cost: k² distances of whole members a step.

    Reference: a reconstruction from the abstract of Bai, Gupta & Ong, "Multi-Task
    Learning with Multi-Task Optimization", arXiv:2403.16162, and the same authors'
    earlier published updates (IEEE Trans. Cybernetics 52(8), 2022). Departure: there
    D_k is the distance at the start, which is 0 for a common initialization; here it is
    the running maximum.
    """

    def init(params):
        k = _num_members(params)
        return DistanceState(jnp.zeros((k, k)), jnp.zeros(k), jnp.zeros((), jnp.int32))

    def update(params, state):
        now = jax.lax.stop_gradient(member_distances(params))
        known = jnp.isfinite(now)
        others = jnp.maximum(jnp.sum(known, axis=1) - 1, 1)
        mean = jnp.sum(jnp.where(known, now, 0.0), axis=1) / others
        now = jnp.where(known, now, state.distances)
        scale = jnp.maximum(state.scale, mean)
        closer = jnp.maximum(state.distances - now, 0.0)
        closer = jnp.where(state.step > 0, closer, 0.0)
        total = scale + jnp.sum(closer, axis=1)
        share = closer / jnp.where(total > 0, total, 1.0)[:, None]
        matrix = share + jnp.diag(1 - jnp.sum(share, axis=1))
        return matrix, DistanceState(now, scale, state.step + 1)

    return Coupling(init, update)


def neighbor_kernel(grid, bandwidth, *, itself=False):
    """Rows ∝ exp(−distance/bandwidth), in units of the smallest distance, summing to 1.

    A member's own entry is 0, or with `itself` that of the distance 0.
    """
    k = len(grid)
    if k == 1:
        return np.ones((1, 1))
    apart = np.linalg.norm(grid[:, None] - grid[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.min(1, keepdims=True)
    least = nearest.min()
    if least == 0:
        raise ValueError("preferences: expected distinct rows, got two that are equal.")
    if itself:
        np.fill_diagonal(apart, 0.0)
        nearest = np.zeros_like(nearest)
    # Rows are normalized, so each may be scaled: its largest entry is 1, never 0.
    kernel = np.exp(-(apart - nearest) / least / bandwidth)
    return kernel / kernel.sum(1, keepdims=True)


def check_one_each(grid, k):
    """As many preferences as members."""
    if k != len(grid):
        raise ValueError(
            f"preferences: expected one for each of {k} members, got {len(grid)}."
        )


def _num_members(params) -> int:
    return jax.tree.leaves(params)[0].shape[0]
