"""Exact k-means of numbers on a line."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["cluster_means"]


def cluster_means(
    values: Float[Array, " m"], present: Bool[Array, " m"], num_clusters: int
) -> Float[Array, " m"]:
    """Each number replaced by the mean of its cluster.

    The clusters minimize the sum of squared distances to their means. On a line they
    are runs of the sorted numbers, so dynamic programming finds them: the best cost of
    the first j numbers in k runs is the least over i of that of the first i in k − 1
    runs, plus the cost of the run from i to j.

    Args:
      values: x ≥ 0, shape [m].
      present: which of them count, shape [m].
      num_clusters: K ≥ 1; with fewer numbers than that each is its own cluster.

    Returns:
      Shape [m]; 0 where not present.

    Cost: K m² operations, in K + m steps.
    """
    m = values.shape[0]
    values = jnp.where(present, values, 0.0)
    order = jnp.argsort(jnp.where(present, values, jnp.inf), stable=True)
    largest = jnp.max(values)
    # Relative to the largest, so that no square overflows.
    line = values[order] / jnp.where(largest > 0, largest, 1.0)
    costs = _run_costs(line)

    def another(best, _):
        through = best[:, None] + costs
        return jnp.min(through, axis=0), jnp.argmin(through, axis=0)

    start = jnp.where(jnp.arange(m + 1) == 0, 0.0, jnp.inf).astype(line.dtype)
    _, begins = jax.lax.scan(another, start, length=num_clusters)

    def back(end, begin):
        return begin[end], begin[end]

    count = jnp.sum(present)
    _, cuts = jax.lax.scan(back, count, begins, reverse=True)
    # A cluster's number is that of the cuts at or before it.
    places = jnp.arange(m)
    label = jnp.sum(cuts[:, None] <= places, axis=0)
    counted = places < count
    same = (label[:, None] == label) & counted[:, None] & counted
    means = same @ values[order] / jnp.maximum(jnp.sum(same, axis=1), 1)
    return jnp.zeros_like(values).at[order].set(means)


def _run_costs(line):
    """costs[i, j], the squared distances of line[i:j] to their mean; inf for i > j.

    One number after the other joins the runs that end before it, all added terms
    positive, so that nothing cancels.
    """
    m = line.shape[0]
    begins = jnp.arange(m + 1)

    def join(carry, place):
        mean, cost = carry
        size = jnp.maximum(place - begins, 0)
        apart = line[place] - mean
        inside = begins <= place
        mean = jnp.where(inside, mean + apart / (size + 1), 0.0)
        cost = jnp.where(inside, cost + apart**2 * size / (size + 1), 0.0)
        later = begins > place + 1
        return (mean, cost), jnp.where(later, jnp.inf, cost)

    zeros = jnp.zeros(m + 1, line.dtype)
    _, columns = jax.lax.scan(join, (zeros, zeros), jnp.arange(m))
    empty = jnp.where(begins > 0, jnp.inf, zeros)
    return jnp.concatenate([empty[None], columns]).T
