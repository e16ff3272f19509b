"""Groups without a search: colors of a conflict graph, clusters of loss curves."""

import numpy as np
from jax.typing import ArrayLike
from scipy.cluster import hierarchy

from paretax._checks import check_count, check_finite

__all__ = ["cluster_trajectories", "color_conflicts"]


def color_conflicts(affinity: ArrayLike, *, threshold: float = 0.0) -> np.ndarray:
    """Groups without conflict inside: a greedy coloring of the conflict graph.

    Tasks i and j are joined where (A_ij + A_ji)/2 < threshold. Tasks in order of
    falling degree each take the first color that no neighbor has (Welsh–Powell).

    Args:
      affinity: A, shape [N, N], such as `affinity_cosine`; the diagonal is not read.
      threshold: a finite number in units of the affinity.

    Returns:
      The group of each task, shape [N], numbered in the order of their first tasks. Two
      tasks of a group are never joined; at most one more than the largest degree is
      used, which need not be the fewest.

    Raises:
      ValueError: not square, numbers that are not finite.

    Example:
      >>> from paretax import grouping
      >>> grouping.color_conflicts([[1, -1, 1], [-1, 1, -1], [1, -1, 1]]).tolist()
      [0, 1, 0]

    Cost: N² operations on the host.

    Reference: Welsh & Powell, "An upper bound for the chromatic number of a graph and
    its application to timetabling problems", The Computer Journal 10(1), 1967. For
    tasks, Patapati & Srinivasan, "Gradient Interference-Aware Graph Coloring for
    Multitask Learning", 2025, arXiv:2509.16959, of which only the abstract was at hand:
    there one color steps at a time and the graph is made anew as training goes on.
    """
    a = np.asarray(affinity, np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or a.size == 0:
        raise ValueError(f"affinity: expected shape [N, N], got {a.shape}.")
    off = ~np.eye(len(a), dtype=bool)
    if not np.isfinite(a[off]).all():
        raise ValueError("affinity: expected finite numbers, got others.")
    joined = (a + a.T < 2 * float(check_finite("threshold", threshold))) & off
    color = np.full(len(a), -1)
    for task in np.argsort(-joined.sum(axis=1), kind="stable"):
        taken = set(color[joined[task]].tolist())
        color[task] = next(c for c in range(len(a)) if c not in taken)
    return in_order(color)


def cluster_trajectories(losses: ArrayLike, num_groups: int) -> np.ndarray:
    """Tasks whose losses rise and fall together: clusters by average linkage.

    The distance of two tasks is 1 − the correlation of their losses over the run, 1 for
    a loss that never changes; clusters are merged while more than K are left, those of
    the smallest mean distance first.

    Args:
      losses: shape [T, N], T ≥ 2 records of N tasks, smoothed or logarithms as it
        suits: all losses that fall are alike in falling, so take out the trend, for
        instance by differences of logarithms.
      num_groups: K ≥ 1.

    Returns:
      The group of each task, shape [N], numbered in the order of their first tasks; K
      groups, or fewer where distances are tied.

    Raises:
      ValueError: another shape, numbers that are not finite, K < 1.

    Example:
      >>> from paretax import grouping
      >>> grouping.cluster_trajectories([[0, 5, 1], [1, 3, 2], [0, 5, 0]], 2).tolist()
      [0, 1, 0]

    Cost: N²T operations on the host.

    Reference: this library's own, with SciPy's linkage; no published rule.
    """
    f = np.asarray(losses, np.float64)
    if f.ndim != 2 or f.shape[0] < 2 or f.shape[1] == 0 or not np.isfinite(f).all():
        raise ValueError(
            "losses: expected finite numbers of shape [T, N] with T at least 2, got "
            f"shape {f.shape}."
        )
    k = check_count("num_groups", num_groups)
    n = f.shape[1]
    if n == 1:
        return np.zeros(1, np.int32)
    moved = f - f.mean(axis=0)
    length = np.sqrt((moved**2).sum(axis=0))
    unit = moved / np.where(length > 0, length, 1.0)
    apart = np.maximum(1 - unit.T @ unit, 0)[np.triu_indices(n, 1)]
    tree = hierarchy.linkage(apart, method="average")
    return in_order(hierarchy.fcluster(tree, k, criterion="maxclust"))


def in_order(labels: np.ndarray) -> np.ndarray:
    """Labels 0, 1, … in the order in which they first appear."""
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return rank[place].astype(np.int32)
