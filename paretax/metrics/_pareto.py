"""Dominance."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

__all__ = ["pareto_mask"]


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
