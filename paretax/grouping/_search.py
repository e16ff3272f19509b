"""The best partition of a few tasks, and a random one."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from paretax._checks import check_count, check_key

__all__ = ["Grouping", "best_grouping", "group_scores", "random_grouping"]

MOST = 10


class Grouping(NamedTuple):
    """A partition of the tasks.

    Attributes:
      group: the group of each task, shape [N], numbered in the order of their first
        tasks.
      score: its value, the sum of its groups' scores.
    """

    group: np.ndarray
    score: float


def group_scores(affinity: ArrayLike) -> np.ndarray:
    """The score of every set of tasks, from what pairs of them tell.

    In a set S of several tasks, task j gets the mean of A_ij over the other i in S;
    alone it gets A_jj. The score of S is the sum over its tasks.

    Args:
      affinity: A, shape [N, N], N ≤ 10, larger is better: row i is the task that helps,
        column j the one that is helped. From pairs trained together ("higher-order
        approximation"): A_ij minus the loss of j trained with i, A_jj minus its loss
        alone. From `affinity_lookahead`, whose diagonal is no measure of being alone:
        set it to a large negative number, as TAG does, and no task stays alone unless
        it must; or to 0, and a task stays alone that others harm.

    Returns:
      float64, shape [2^N]: entry s is the set of those tasks i with bit i set in s.

    Raises:
      ValueError: not square, too many tasks, or a number that is not finite.

    Example:
      >>> from paretax import grouping
      >>> grouping.group_scores([[0.0, 2.0], [1.0, 0.5]]).tolist()
      [0.0, 0.0, 0.5, 3.0]

    Cost: N² 2^N operations on the host.

    Reference: Standley, Zamir, Chen, Guibas, Malik & Savarese, "Which Tasks Should Be
    Learned Together in Multi-task Learning?", ICML 2020, arXiv:1905.07553; Fifty et
    al., "Efficiently Identifying Task Groupings for Multi-Task Learning", NeurIPS 2021,
    arXiv:2109.04617. Departure: both add the scores of a task and take means over tasks
    at the end; here sums, which rank alike.
    """
    a = np.asarray(affinity, np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not 0 < a.shape[0] <= MOST:
        raise ValueError(
            f"affinity: expected shape [N, N] with N from 1 to {MOST}, got {a.shape}."
        )
    _check_finite("affinity", a)
    n = a.shape[0]
    inside = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    size = inside.sum(axis=1)
    alone = np.diagonal(a)
    helped = (inside @ a - inside * alone) / np.maximum(size - 1, 1)[:, None]
    each = np.where(size[:, None] == 1, alone, helped)
    return (inside * each).sum(axis=1)


def best_grouping(scores: ArrayLike, num_groups: int) -> Grouping:
    """The partition into at most K groups with the largest sum of scores: exact.

    Dynamic programming over sets: the best value of a set in g groups is the best over
    its subsets with its first task, as one group, plus the rest in g − 1.

    Args:
      scores: shape [N, N], an affinity, of which `group_scores` is taken; or shape
        [2^N], the score of each set of tasks as `group_scores` orders them: from
        training all sets, say. N ≤ 10.
      num_groups: K ≥ 1; a K above N is N.

    Returns:
      A `Grouping`. Of equal ones that with fewer groups.

    Raises:
      ValueError: another shape, too many tasks, a number that is not finite, K < 1.

    Example:
      >>> from paretax import grouping
      >>> affinity = [[-9, 1, -1], [1, -9, -1], [-1, -1, 0]]
      >>> best = grouping.best_grouping(affinity, 2)
      >>> best.group.tolist(), best.score
      ([0, 0, 1], 2.0)

    Cost: K·3^N/2 steps on the host: 300,000 for N = K = 10, under a second.

    Reference: as `group_scores`. Departures: both search over sets that may overlap,
    with each task served by the best, since a network may be trained for a task that it
    does not serve; here groups are a partition, as DMTG's are. TAG's and HOA's searches
    are by branching, with the same result where the best sets do not overlap.
    """
    limit = check_count("num_groups", num_groups)
    values = np.asarray(scores, np.float64)
    if values.ndim == 2:
        values = group_scores(values)
    n = values.size.bit_length() - 1
    if values.ndim != 1 or values.size != 2**n or not 0 < n <= MOST:
        raise ValueError(
            f"scores: expected shape [N, N] or [2^N] with N from 1 to {MOST}, got "
            f"{np.shape(scores)}."
        )
    _check_finite("scores", values)
    best, parts = _tables(values.tolist(), min(limit, n))
    whole = 2**n - 1
    count = max(range(1, len(best)), key=lambda g: best[g][whole])
    group = np.zeros(n, np.int32)
    rest = whole
    for g in range(count):
        part = parts[count - g][rest]
        group[[i for i in range(n) if part >> i & 1]] = g
        rest ^= part
    return Grouping(group, best[count][whole])


def random_grouping(
    key: Array, num_tasks: int, num_groups: int
) -> Int[Array, " num_tasks"]:
    """Tasks dealt out at random, the same number to each group, give or take one.

    Args:
      key: a typed key.
      num_tasks: N ≥ 1.
      num_groups: K ≥ 1; groups above N stay empty.

    Returns:
      The group of each task, shape [N]; all such deals are equally likely.

    Raises:
      ValueError: no key, or a number below 1.

    Example:
      >>> import jax
      >>> from paretax import grouping
      >>> sorted(grouping.random_grouping(jax.random.key(0), 5, 2).tolist())
      [0, 0, 0, 1, 1]

    Cost: one permutation of N.

    Reference: the baseline "RG" of Gao et al., "DMTG: One-Shot Differentiable
    Multi-Task Grouping", ICML 2024, arXiv:2407.05082, whose law is not public.
    """
    n = check_count("num_tasks", num_tasks)
    k = check_count("num_groups", num_groups)
    return jax.random.permutation(check_key(key), jnp.arange(n, dtype=jnp.int32) % k)


def _tables(scores: Sequence[float], num_groups: int):
    """best[g][s], the value of set s in exactly g groups, and its first group."""
    count = len(scores)
    worst = float("-inf")
    best = [[0.0, *[worst] * (count - 1)]]
    parts = [[0] * count]
    for _ in range(num_groups):
        before, value, part = best[-1], [worst] * count, [0] * count
        for s in range(1, count):
            first = s & -s
            others = rest = s ^ first
            while True:
                # `rest` runs through all subsets of `others`.
                total = scores[s ^ rest] + before[rest]
                if total > value[s]:
                    value[s], part[s] = total, s ^ rest
                if rest == 0:
                    break
                rest = (rest - 1) & others
        best.append(value)
        parts.append(part)
    return best, parts


def _check_finite(name, values):
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite numbers, got others.")
