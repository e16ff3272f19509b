"""The hypervolume, exact and on the device."""

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
      points: shape [n, m], n may be 0. Dominated points, duplicates and points that are
        not below the reference add nothing.
      reference: r, shape [m], in units of the objectives.

    Returns:
      A scalar, at least 0, in the product of the objectives' units; NaN if a point
      holds NaN. Differentiable: the gradient is 0 for dominated points, ties in a
      coordinate included, and for points beyond the reference. Copies of one point get
      some split of a one-sided derivative.

    Raises:
      ValueError: wrong shapes.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> front = jnp.array([[0.0, 1.0], [1.0, 0.0], [1.5, 1.5]])
      >>> float(metrics.hypervolume(front, jnp.array([2.0, 2.0])))
      3.0

    Cost: one sort for m = 2; n² operations and numbers for m = 3. For m ≥ 4, of the
    order of m nᵐ⁻¹ operations, which suits m = 4 with hundreds of points and m = 5 with
    dozens, and m² n² numbers, in the backward pass too; for more, `host_hypervolume`.

    Reference: Zitzler & Thiele, "Multiobjective evolutionary algorithms: a comparative
    case study and the strength Pareto approach", 1999. Slices along one axis, as in
    Fonseca, Paquete & López-Ibáñez 2006, without their tree: of the points sorted by
    the last objective, HVₘ = Σᵢ (yᵢ₊₁,ₘ − yᵢₘ) HVₘ₋₁(y₁, …, yᵢ without the last), with
    the reference as the last step's end.
    """
    y = jnp.asarray(points, dtype=jnp.result_type(float))
    r = jnp.asarray(reference, y.dtype)
    if y.ndim != 2 or r.ndim != 1 or y.shape[1] != r.shape[0] or r.shape[0] == 0:
        raise ValueError(
            "points: expected shape [n, m] with a reference of shape [m], got "
            f"{y.shape} and {r.shape}."
        )
    if y.shape[0] == 0:
        return jnp.zeros((), y.dtype)
    known = ~(jnp.any(jnp.isnan(y)) | jnp.any(jnp.isnan(r)))
    y = jnp.minimum(y, r)  # a point at the reference in one objective has no volume
    volume = (_length, _area, _volume, _slabs)[min(r.shape[0], 4) - 1](y, r)
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


def _slabs(y, r):
    """Between successive values of the last objective the volume is a cylinder."""
    useful = pareto_mask(y) & jnp.all(y < r, axis=1)
    y = jnp.where(useful[:, None], y, r)
    y = y[jnp.argsort(y[:, -1])]
    place = jnp.arange(y.shape[0])
    base = _volume if r.shape[0] == 4 else _slabs

    def area(level):
        there = (place <= level)[:, None]
        return base(jnp.where(there, y[:, :-1], r[:-1]), r[:-1])

    # One level after the other, and what a level needs is made again in the backward
    # pass: else memory would grow with the number of operations.
    areas = jax.lax.map(jax.checkpoint(area, prevent_cse=False), place)
    return _dot(_widths(y[:, -1], r[-1]), areas)


def _before(values, start):
    """Each value's predecessor, the first one's being the start."""
    return jnp.append(start, values[:-1])


def _dot(a, b):
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)


def _widths(values, end):
    """Steps from each sorted value to the next, the last one to the end."""
    return jnp.append(values[1:], end) - values
