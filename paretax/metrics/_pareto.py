"""Dominance."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from paretax._checks import check_points

__all__ = ["nondominated_fraction", "pareto_mask"]


def pareto_mask(points: Float[Array, "n m"] | ArrayLike) -> Bool[Array, " n"]:
    """Which points no other point dominates.

    y dominates z if y ≤ z in every objective and y < z in one.

    Args:
      points: shape [n, m], objectives to be minimized; n may be 0.

    Returns:
      Bool, shape [n]. All copies of a non-dominated point are kept. A point with NaN
      neither dominates nor is kept.

    Raises:
      ValueError: not a matrix.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> metrics.pareto_mask(jnp.array([[0., 1.], [1., 0.], [1., 1.]])).tolist()
      [True, True, False]

    Cost: n²m comparisons.
    """
    y = jnp.asarray(points)
    if y.ndim != 2:
        raise ValueError(f"points: expected shape [n, m], got {y.shape}.")
    no_worse = jnp.all(y[:, None] <= y[None], axis=-1)
    better = jnp.any(y[:, None] < y[None], axis=-1)
    dominated = jnp.any(no_worse & better, axis=0)
    return ~dominated & ~jnp.any(jnp.isnan(y), axis=1)


def nondominated_fraction(points: Float[Array, "n m"] | ArrayLike) -> Float[Array, ""]:
    """The share of points that no other point dominates.

    Args:
      points: shape [n, m], n ≥ 1, objectives to be minimized.

    Returns:
      A scalar in [0, 1]: copies of a non-dominated point all count, a point with NaN
      does not. Its derivative is 0.

    Raises:
      ValueError: not a matrix with at least one row.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> points = jnp.array([[0., 1.], [1., 0.], [1., 1.], [2., 0.]])
      >>> float(metrics.nondominated_fraction(points))
      0.5

    Cost: n²m comparisons.
    """
    mask = pareto_mask(check_points("points", points))
    return jnp.mean(mask, dtype=jnp.result_type(float))
