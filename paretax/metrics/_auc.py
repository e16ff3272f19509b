"""The area under the ROC curve of a binary task."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from paretax._checks import is_concrete

__all__ = ["auc"]


def auc(
    scores: Float[Array, " n"] | ArrayLike, labels: Float[Array, " n"] | ArrayLike
) -> Float[Array, ""]:
    """The chance that a positive example scores higher than a negative one.

    AUC = mean over positives p and negatives q of [s_p > s_q] + ½ [s_p = s_q].

    Args:
      scores: s, shape [n], logits or probabilities: only their order counts.
      labels: shape [n], 0 or 1.

    Returns:
      A scalar in [0, 1], ½ for scores that say nothing; NaN where one class is absent
      or a score is NaN. Unchanged by any increasing function of the scores. Its
      derivative is zero.

    Raises:
      ValueError: shapes that are not [n], labels besides 0 and 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import metrics
      >>> float(metrics.auc(jnp.array([0.1, 0.4, 0.3, 0.9]), jnp.array([0, 0, 1, 1])))
      0.75

    Cost: one sort, O(n log n).

    Reference: Hanley & McNeil, "The meaning and use of the area under a receiver
    operating characteristic (ROC) curve", Radiology 143 (1982).
    """
    s, y = jnp.asarray(scores, dtype=float), jnp.asarray(labels)
    if s.ndim != 1 or s.shape != y.shape:
        raise ValueError(
            f"labels: expected shape [n] like scores, got {y.shape} and {s.shape}; for "
            "many tasks at once, jax.vmap over them."
        )
    if is_concrete(y) and not bool(jnp.all((y == 0) | (y == 1))):
        raise ValueError("labels: expected 0 and 1 only, got others.")
    positive = y == 1
    negatives = jnp.sum(~positive)
    # negatives in order, and what is not one of them above everything
    order = jnp.sort(jnp.where(positive, jnp.inf, s))
    below = jnp.searchsorted(order, s, side="left")
    equal = jnp.minimum(jnp.searchsorted(order, s, side="right"), negatives) - below
    share = (below + 0.5 * jnp.maximum(equal, 0)) / negatives
    mean = jnp.sum(jnp.where(positive, share, 0.0)) / jnp.sum(positive)
    return jnp.where(jnp.isnan(s).any(), jnp.nan, mean)
