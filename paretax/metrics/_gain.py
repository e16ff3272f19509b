"""How much better than a baseline, on average over the tasks."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._checks import is_concrete

__all__ = ["relative_gain"]


def relative_gain(
    values: Float[Array, " m"] | ArrayLike,
    baseline: Float[Array, " m"] | ArrayLike,
    *,
    higher_is_better: bool | ArrayLike = False,
) -> Float[Array, ""]:
    """The mean over tasks of the gain relative to a baseline, in percent.

    100 · mean over i of ±(bᵢ − vᵢ)/bᵢ, with minus where a higher value is better.

    Args:
      values: v, shape [m], one number a task: an error, a loss, an accuracy.
      baseline: b > 0, shape [m], of single-task models, say, or of naive multi-task
        learning. A task whose baseline is close to 0 decides the mean alone.
      higher_is_better: for all tasks, or bool of shape [m].

    Returns:
      A scalar, positive if better; 100 if all errors are 0. Differentiable.

    Raises:
      ValueError: shapes that are not [m], or a baseline that is not above 0.

    Example:
      >>> from paretax import metrics
      >>> gain = metrics.relative_gain(
      ...     [0.5, 0.9], [1.0, 0.75], higher_is_better=[False, True])
      >>> round(float(gain), 3)
      35.0

    Cost: m operations.

    Reference: Δm of Maninis, Radosavovic & Kokkinos, "Attentive Single-Tasking of
    Multiple Tasks", CVPR 2019, arXiv:1904.08918; papers on weightings report its
    negative. On errors, the normalized gain in DMTG's code.
    """
    v, b = jnp.asarray(values, float), jnp.asarray(baseline, float)
    better = jnp.asarray(higher_is_better)
    if v.ndim != 1 or v.shape != b.shape or v.size == 0:
        raise ValueError(
            f"baseline: expected shape [m] like values, got {b.shape} and {v.shape}."
        )
    if better.dtype != bool or better.shape not in {(), v.shape}:
        raise ValueError(
            f"higher_is_better: expected a bool or bools of shape {v.shape}, got "
            f"{better.dtype} of shape {better.shape}."
        )
    if is_concrete(b) and not np.all(np.asarray(b) > 0):
        raise ValueError(f"baseline: expected numbers above 0, got {b.tolist()}.")
    return 100 * jnp.mean(jnp.where(better, v - b, b - v) / b)
