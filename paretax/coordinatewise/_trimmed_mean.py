"""The mean of what lies in the middle, coordinate by coordinate."""

import jax.numpy as jnp
import optax

from paretax._checks import check_count
from paretax._combine import end_tasks
from paretax._jacobian import keep_rows
from paretax._shared import Shared

__all__ = ["trimmed_mean"]


def trimmed_mean(
    num_tasks: int, *, trim: int, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """The mean over tasks without the b largest and the b smallest entries, at each
    coordinate.

    d = (1/(m − 2b)) Σ_{b < k ≤ m − b} g₍ₖ₎, where g₍₁₎ ≤ g₍₂₎ ≤ ... are the entries of
    one coordinate in order.

    Args:
      num_tasks: m ≥ 1.
      trim: b ≥ 0 with 2b < m; 0 is the mean.
      shared: which leaves are treated, as in `px.combine`; the others get the sum over
        tasks.

    Returns:
      An optax transformation as `px.combine`'s, without state. Whatever b of the tasks
      send, infinities included, each coordinate lies between two entries of the others.
      NaN in an active row is not trimmed: the coordinate is NaN. With `active`, the
      entries are those of the n active tasks; where 2b ≥ n, as many are trimmed as
      leave one or two, the median.

    Raises:
      ValueError: `num_tasks` is no positive integer, or `trim` no integer with
        0 ≤ 2b < m; what `px.combine`'s update raises.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import coordinatewise
      >>> tx = coordinatewise.trimmed_mean(4, trim=1)
      >>> jac = jnp.array([[1.0, 0.0], [2.0, 0.0], [4.0, 8.0], [1e9, -1e9]])
      >>> tx.update(jac, tx.init(jac[0]))[0].tolist()
      [3.0, 0.0]

    Cost: a sort of m numbers a coordinate; m backward passes.

    Reference: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates", ICML 2018, arXiv:1803.01498. Departure: b is a count, where the
    paper gives the fraction β of the workers, b = βm.
    """
    m = check_count("num_tasks", num_tasks)
    b = check_count("trim", trim, least=0)
    if 2 * b >= m:
        raise ValueError(
            f"trim: expected less than half of the {m} tasks, got {b}; what is left "
            "would be empty."
        )

    def reduce(trunk, state, *, active=None, **extra_args):
        del extra_args
        present = jnp.ones(m, bool) if active is None else active
        return None, [_mean(leaf, present, b) for leaf in trunk], state

    return end_tasks(lambda params: optax.EmptyState(), reduce, m, shared=shared)


def _mean(leaf, active, trim):
    wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    count = jnp.sum(active)
    cut = jnp.minimum(trim, jnp.maximum(count - 1, 0) // 2)
    ordered = _sorted(keep_rows(wide, active, jnp.inf))
    number = jnp.arange(leaf.shape[0])
    middle = (number >= cut) & (number < count - cut)
    total = jnp.sum(keep_rows(ordered, middle), axis=0)
    mean = total / jnp.maximum(count - 2 * cut, 1).astype(wide.dtype)
    unknown = jnp.any(jnp.isnan(wide), axis=0)
    return jnp.where(unknown, jnp.nan, mean).astype(leaf.dtype)


def _sorted(rows):
    """The rows in ascending order at every coordinate, by Batcher's bitonic network.

    log²(m)/2 passes of minima and maxima over all rows: 10 to 70 times as fast as XLA's
    sort on a CPU, which compares coordinate by coordinate.
    """
    m = rows.shape[0]
    size = 1 << (m - 1).bit_length()
    rest = jnp.full((size - m, *rows.shape[1:]), jnp.inf, rows.dtype)
    x = jnp.concatenate([rows, rest])
    lengths = [2**k for k in range(1, size.bit_length())]
    for length in lengths:
        for apart in reversed([half for half in lengths if half <= length]):
            x = _exchange(x, apart // 2, length)
    return x[:m]


def _exchange(x, apart, length):
    """Pairs `apart` rows from each other, ordered up and down by turns of `length`."""
    pairs = x.reshape(-1, 2, apart, *x.shape[1:])
    low, high = jnp.minimum(*pairs.swapaxes(0, 1)), jnp.maximum(*pairs.swapaxes(0, 1))
    start = 2 * apart * jnp.arange(pairs.shape[0])
    up = (start // length % 2 == 0).reshape((-1,) + (1,) * x.ndim)
    both = jnp.where(up, low, high), jnp.where(up, high, low)
    return jnp.stack(both, axis=1).reshape(x.shape)
