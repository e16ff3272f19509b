"""How alike two partitions are."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

__all__ = ["adjusted_rand_index"]


def adjusted_rand_index(
    first: Int[Array, " n"] | ArrayLike, second: Int[Array, " n"] | ArrayLike
) -> Float[Array, ""]:
    """The share of pairs on which two partitions agree, corrected for chance.

    With a, b the numbers of pairs together in the first and in the second, c those
    together in both, t all pairs: (c − ab/t)/((a + b)/2 − ab/t).

    Args:
      first: the group of each of n things, integers, shape [n].
      second: likewise. Only which are equal matters, not the numbers.

    Returns:
      A scalar: 1 for the same partition, 0 on average for random ones with groups of
      the same sizes, negative below that; at least −½. Symmetric. 1 if both put all in
      one group, or each thing in its own. Its derivative is zero.

    Raises:
      ValueError: shapes that are not [n], or that differ.

    Example:
      >>> from paretax import metrics
      >>> value = metrics.adjusted_rand_index([0, 0, 1, 1], [0, 0, 1, 2])
      >>> round(float(value), 4)
      0.5714

    Cost: n² comparisons.

    Reference: Hubert & Arabie, "Comparing partitions", Journal of Classification 2(1),
    1985.
    """
    x, y = jnp.asarray(first), jnp.asarray(second)
    if x.ndim != 1 or x.shape != y.shape or x.size == 0:
        raise ValueError(
            f"second: expected shape [n] like the first, got {y.shape} and {x.shape}; "
            "for many at once, jax.vmap."
        )
    n = x.size
    pairs = jnp.arange(n)[:, None] < jnp.arange(n)
    in_first = pairs & (x[:, None] == x)
    in_second = pairs & (y[:, None] == y)
    a, b, c = (jnp.sum(m) for m in (in_first, in_second, in_first & in_second))
    t = n * (n - 1) // 2
    chance = a * (b / max(t, 1))
    # Both trivial and the same: numerator and denominator are 0.
    trivial = (a == b) & ((a == 0) | (a == t))
    whole = jnp.where(trivial, 1.0, (a + b) / 2 - chance)
    return jnp.where(trivial, 1.0, (c - chance) / whole)
