"""How evenly points are spread."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._checks import check_points
from paretax.metrics._distances import length

__all__ = ["generalized_spread", "spacing", "spread"]


def spacing(points: Float[Array, "n m"] | ArrayLike) -> Float[Array, ""]:
    """Schott's spacing: how much the distances to the nearest neighbor differ.

    S = √(Σᵢ (dᵢ − d̄)²/(n − 1)), dᵢ = min over j ≠ i of ‖yᵢ − yⱼ‖₁, d̄ their mean.

    Args:
      points: yᵢ, shape [n, m], n ≥ 2.

    Returns:
      A scalar, at least 0, in units of the objectives, which should be on one scale; 0
      for points that are evenly spaced, but also for pairs of copies: a small value
      says nothing of extent. NaN if a number is NaN. Differentiable.

    Raises:
      ValueError: fewer than two points.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> points = jnp.array([[0.0, 3.0], [1.0, 2.0], [3.0, 0.0]])
      >>> round(float(metrics.spacing(points)), 4)
      1.1547

    Cost: n²m operations and numbers.

    Reference: Schott, "Fault tolerant design using single and multicriteria genetic
    algorithm optimization", MIT 1995. pymoo divides by n in place of n − 1; libmoon
    does so too and takes Euclidean distances.
    """
    y = check_points("points", points, least=2)
    nearest = _nearest(jnp.sum(jnp.abs(y[:, None] - y[None]), axis=-1))
    return length(nearest - jnp.mean(nearest)) / (y.shape[0] - 1) ** 0.5


def spread(
    points: Float[Array, "n 2"] | ArrayLike, ends: Float[Array, "2 2"] | ArrayLike
) -> Float[Array, ""]:
    """Deb's Δ for two objectives: uneven gaps, and ends of the front not reached.

    Δ = (a + b + Σᵢ |dᵢ − d̄|)/(a + b + (n − 1) d̄), with the points sorted by the first
    objective, dᵢ the n − 1 Euclidean distances from one to the next, d̄ their mean, and
    a, b the distances of the first and the last point from the ends of the true front.

    Args:
      points: shape [n, 2], n ≥ 2.
      ends: the two ends of the true front, shape [2, 2], in either order.

    Returns:
      A scalar, at least 0; 0 if the gaps are equal and both ends are reached. NaN if a
      number is NaN, and if all points and ends are one point. Differentiable.

    Raises:
      ValueError: fewer than two points, not two objectives, not two ends.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> points = jnp.array([[0.0, 3.0], [1.0, 2.0], [3.0, 0.0]])
      >>> round(float(metrics.spread(points, points[jnp.array([0, 2])])), 4)
      0.3333

    Cost: a sort of n.

    Reference: Deb, Pratap, Agarwal & Meyarivan, "A fast and elitist multiobjective
    genetic algorithm: NSGA-II", IEEE TEVC 6(2), 2002, where d̄ is the mean of the gaps
    between the points, not of those to the ends.
    """
    y, e = _points_and_ends(points, ends)
    if y.shape[1] != 2:
        raise ValueError(
            f"points: expected 2 objectives, got {y.shape[1]}; for more, "
            "generalized_spread."
        )
    y, e = (p[jnp.lexsort((p[:, 1], p[:, 0]))] for p in (y, e))
    gaps = length(jnp.diff(y, axis=0))
    missed = jnp.sum(length(y[jnp.array([0, -1])] - e))
    uneven = jnp.sum(jnp.abs(gaps - jnp.mean(gaps)))
    return (missed + uneven) / (missed + jnp.sum(gaps))


def generalized_spread(
    points: Float[Array, "n m"] | ArrayLike, ends: Float[Array, "m m"] | ArrayLike
) -> Float[Array, ""]:
    """Δ for any number of objectives, by distances to the nearest neighbor.

    Δ* = (Σₑ d(e, Y) + Σᵢ |dᵢ − d̄|)/(Σₑ d(e, Y) + n d̄), with d(e, Y) the Euclidean
    distance from an end e of the true front to the nearest point, dᵢ that from point i
    to the nearest other point, and d̄ the mean of the dᵢ.

    Args:
      points: Y, shape [n, m], n ≥ 2.
      ends: e, shape [m, m], the points where the true front is largest in one objective
        each.

    Returns:
      A scalar, at least 0, with the weakness of `spacing`: pairs of copies are even.
      For m = 2 it is not the value of `spread`. NaN if a number is NaN, and if all
      points and ends are one point. Differentiable.

    Raises:
      ValueError: fewer than two points, not m ends.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> corners = jnp.eye(3)
      >>> float(metrics.generalized_spread(corners, corners))
      0.0

    Cost: n²m operations and numbers.

    Reference: Zhou, Jin, Zhang, Sendhoff & Tsang, "Combining model-based and
    genetics-based offspring generation for multi-objective optimization using a
    convergence criterion", CEC 2006, read off jMetal's GeneralizedSpread. PlatEMO has n
    − m in place of n.
    """
    y, e = _points_and_ends(points, ends)
    nearest = _nearest(length(y[:, None] - y[None]))
    missed = jnp.sum(jnp.min(length(e[:, None] - y[None]), axis=1))
    uneven = jnp.sum(jnp.abs(nearest - jnp.mean(nearest)))
    return (missed + uneven) / (missed + jnp.sum(nearest))


def _nearest(distances):
    """The distance to the nearest other point."""
    itself = jnp.eye(distances.shape[0], dtype=bool)
    return jnp.min(jnp.where(itself, jnp.inf, distances), axis=1)


def _points_and_ends(points, ends):
    y, e = check_points("points", points, least=2), check_points("ends", ends)
    m = y.shape[1]
    if e.shape != (m, m):
        raise ValueError(
            f"ends: expected shape {(m, m)}, one end an objective, got {e.shape}."
        )
    return y, e
