"""Task groups: how they came about, and how near the tasks are to one another."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure
from scipy.cluster import hierarchy

__all__ = ["affinity", "assignment", "dendrogram"]


def assignment(
    probabilities: ArrayLike | Sequence[ArrayLike],
    *,
    steps: Sequence[int],
    task_names: Sequence[str],
) -> Figure:
    """The probability of each group for each task, over training, as a heat map.

    Args:
      probabilities: shape [T, N, K]: at T times, of N tasks, of K groups.
      steps: the T times, rising.
      task_names: N names.

    Returns:
      A figure: time to the right; a band of K rows a task, group 1 at its top.

    Raises:
      ValueError: another shape, other numbers of steps or names.

    Example:
      >>> import numpy as np
      >>> from paretax import viz
      >>> p = np.array([[[0.5, 0.5], [0.5, 0.5]], [[0.9, 0.1], [0.2, 0.8]]])
      >>> figure = viz.assignment(p, steps=[0, 100], task_names=["age", "smile"])
      >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
      ['age', 'smile']

    Cost: well below a second for 40 tasks.
    """
    p = np.asarray(probabilities, float)
    if p.ndim != 3 or p.shape[:2] != (len(steps), len(task_names)):
        raise ValueError(
            f"probabilities: expected shape [{len(steps)}, {len(task_names)}, K], one "
            f"of steps and one of task_names, got {p.shape}."
        )
    _, n, k = p.shape
    figure = Figure(figsize=(7, 1.5 + 0.11 * n * max(k, 2)), layout="constrained")
    ax = figure.subplots()
    # Each column ends where the next begins; the last one is as wide as the one before.
    times = np.asarray(steps, float)
    ends = np.append(
        times, times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1)
    )
    mesh = ax.pcolormesh(
        ends, np.arange(n * k + 1), p.transpose(1, 2, 0).reshape(n * k, -1),
        vmin=0, vmax=1, cmap="viridis",
    )  # fmt: skip
    ax.hlines(np.arange(1, n) * k, ends[0], ends[-1], color="white", linewidth=1.5)
    ax.set_yticks(k * (np.arange(n) + 0.5), task_names)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set(xlabel="step", title=f"probability of each of {k} groups")
    figure.colorbar(mesh, ax=ax)
    return figure


def affinity(
    matrix: ArrayLike,
    *,
    task_names: Sequence[str],
    group: Sequence[int] | None = None,
) -> Figure:
    """An affinity matrix, with lines between groups.

    Args:
      matrix: shape [N, N], row i the task that helps, as `grouping.affinity_cosine`.
      task_names: N names.
      group: of each task; tasks of a group are put side by side. None for the order
        given, without lines.

    Returns:
      A figure: red is positive, blue negative, white 0.

    Raises:
      ValueError: a matrix that is not [N, N], or not one group a task.

    Example:
      >>> from paretax import viz
      >>> figure = viz.affinity([[1.0, -0.5, 0.8], [-0.5, 1.0, -0.4], [0.8, -0.4, 1.0]],
      ...                       task_names=["a", "b", "c"], group=[0, 1, 0])
      >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
      ['a', 'c', 'b']

    Cost: well below a second for 40 tasks.
    """
    a, number = _checked(matrix, task_names, group)
    order = np.argsort(number, kind="stable")
    n = len(a)
    names = [str(task_names[i]) for i in order.tolist()]
    figure = Figure(figsize=(3 + 0.28 * n, 2.4 + 0.28 * n), layout="constrained")
    ax = figure.subplots()
    most = max(np.nanmax(np.abs(a[~np.eye(n, dtype=bool)]), initial=0.0), 1e-12)
    image = ax.imshow(a[np.ix_(order, order)], cmap="RdBu_r", vmin=-most, vmax=most)
    ax.set_xticks(range(n), names, rotation=90)
    ax.set_yticks(range(n), names)
    for edge in np.flatnonzero(np.diff(number[order])) + 0.5:
        ax.axhline(edge, color="black", linewidth=1)
        ax.axvline(edge, color="black", linewidth=1)
    ax.set_title("affinity")
    figure.colorbar(image, ax=ax)
    return figure


def dendrogram(
    matrix: ArrayLike,
    *,
    task_names: Sequence[str],
    group: Sequence[int] | None = None,
) -> Figure:
    """Tasks joined by average linkage, the most alike first, names colored by group.

    Args:
      matrix: an affinity, shape [N, N], N ≥ 2; two tasks are joined at the mean of both
        directions.
      task_names: N names.
      group: of each task, a color each; None for one color.

    Returns:
      A figure: the axis is the affinity at which tasks join.

    Raises:
      ValueError: a matrix that is not [N, N] with N ≥ 2 or not finite, or not one group
        a task.

    Example:
      >>> from paretax import viz
      >>> figure = viz.dendrogram(
      ...     [[1.0, -0.5, 0.8], [-0.5, 1.0, -0.4], [0.8, -0.4, 1.0]],
      ...     task_names=["a", "b", "c"], group=[0, 1, 0])
      >>> sorted(label.get_text() for label in figure.axes[0].get_yticklabels())
      ['a', 'b', 'c']

    Cost: N² log N on the host.
    """
    a, number = _checked(matrix, task_names, group)
    n = len(a)
    pairs = ((a + a.T) / 2)[np.triu_indices(n, 1)]
    if n < 2 or not np.isfinite(pairs).all():
        raise ValueError(
            f"matrix: expected finite numbers for at least two tasks, got shape "
            f"{a.shape}."
        )
    # Linkage wants distances, and the first join is seen only a little way off the
    # names; the ticks undo the shift.
    top = pairs.max() + (0.03 * np.ptp(pairs) or 0.1)
    tree = hierarchy.linkage(top - pairs, method="average")
    figure = Figure(figsize=(6, 1.5 + 0.28 * n), layout="constrained")
    ax = figure.subplots()
    hierarchy.dendrogram(
        tree, ax=ax, labels=list(task_names), orientation="left",
        color_threshold=0, above_threshold_color="0.4",
    )  # fmt: skip
    ax.xaxis.set_major_formatter(lambda distance, _: f"{top - distance:.2g}")
    color = dict(zip(task_names, number.tolist(), strict=True))
    for label in ax.get_yticklabels():
        label.set_color(f"C{color[label.get_text()] % 10}")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set(xlabel="affinity", title="tasks, most alike first; colors are groups")
    return figure


def _checked(matrix, task_names, group):
    a, n = np.asarray(matrix, float), len(task_names)
    if a.shape != (n, n):
        raise ValueError(
            f"matrix: expected shape [{n}, {n}], one row a task, got {a.shape}."
        )
    number = np.zeros(n, int) if group is None else np.asarray(group)
    if number.shape != (n,):
        raise ValueError(f"group: expected shape [{n}], got {number.shape}.")
    return a, number
