"""The hypervolume, exact and on the device, for up to three objectives."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax.metrics._pareto import pareto_mask

__all__ = ["hypervolume"]


def hypervolume(
    points: Float[Array, "n m"] | ArrayLike, reference: Float[Array, " m"] | ArrayLike
) -> Float[Array, ""]:
    """The volume that is dominated by some point and lies below the reference.

    HV(Y; r) = volume of ∪_{y ∈ Y} {z : y ≤ z ≤ r}, for objectives to be minimized.

    Args:
      points: shape [n, m], m ≤ 3, n may be 0. Dominated points, duplicates and points
        that are not below the reference add nothing.
      reference: r, shape [m], in units of the objectives.

    Returns:
      A scalar, at least 0, in the product of the objectives' units; NaN if a point
      holds NaN. Differentiable: the gradient is 0 for dominated points, ties in a
      coordinate included, and for points beyond the reference. Copies of one point get
      some split of a one-sided derivative.

    Raises:
      ValueError: wrong shapes, or m > 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> front = jnp.array([[0.0, 1.0], [1.0, 0.0], [1.5, 1.5]])
      >>> float(metrics.hypervolume(front, jnp.array([2.0, 2.0])))
      3.0

    Cost: one sort for m = 2; n² operations and numbers for m = 3.

    Reference: Zitzler & Thiele, "Multiobjective evolutionary algorithms: a comparative
    case study and the strength Pareto approach", 1999. Slices along one axis, as in
    Fonseca, Paquete & López-Ibáñez 2006, without their tree.
    """
    y = jnp.asarray(points, dtype=jnp.result_type(float))
    r = jnp.asarray(reference, y.dtype)
    if y.ndim != 2 or r.ndim != 1 or y.shape[1] != r.shape[0] or r.shape[0] == 0:
        raise ValueError(
            "points: expected shape [n, m] with a reference of shape [m], got "
            f"{y.shape} and {r.shape}."
        )
    if r.shape[0] > 3:
        raise ValueError(
            f"points: expected at most 3 objectives, got {r.shape[0]}; for more, "
            "moocore.hypervolume computes it on the host."
        )
    if y.shape[0] == 0:
        return jnp.zeros((), y.dtype)
    known = ~(jnp.any(jnp.isnan(y)) | jnp.any(jnp.isnan(r)))
    y = jnp.minimum(y, r)  # a point at the reference in one objective has no volume
    volume = (_length, _area, _volume)[r.shape[0] - 1](y, r)
    return jnp.where(known, volume, jnp.nan)


def _length(y, r):
    return r[0] - jnp.min(y[:, 0])


def _area(y, r):
    y = y[jnp.lexsort((y[:, 1], y[:, 0]))]
    useful = y[:, 1] < _before(jax.lax.cummin(y[:, 1]), r[1])
    # Without the others there are no ties, at which cummin would share its derivative.
    best = jax.lax.cummin(jnp.where(useful, y[:, 1], r[1]))
    return _dot(r[0] - y[:, 0], _before(best, r[1]) - best)


def _volume(y, r):
    y = jnp.where(pareto_mask(y)[:, None], y, r)
    y = y[jnp.argsort(y[:, 2])]
    across = jnp.argsort(y[:, 0])
    ordered = y[across]
    widths = _widths(ordered[:, 0], r[0])

    def slice_area(level):
        """The area dominated by the first points up to this level of the third."""
        there = jnp.where(across <= level, ordered[:, 1], r[1])
        return _dot(widths, r[1] - jax.lax.cummin(there))

    areas = jax.vmap(slice_area)(jnp.arange(y.shape[0]))
    return _dot(_widths(y[:, 2], r[2]), areas)


def _before(values, start):
    """Each value's predecessor, the first one's being the start."""
    return jnp.append(start, values[:-1])


def _dot(a, b):
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)


def _widths(values, end):
    """Steps from each sorted value to the next, the last one to the end."""
    return jnp.append(values[1:], end) - values
