"""Trajectories through a plane of two losses, and the front that they should end on."""

from collections.abc import Mapping

import numpy as np
from jax.typing import ArrayLike
from matplotlib import colormaps
from matplotlib.figure import Figure

__all__ = ["trajectories"]

MOST_COLUMNS = 5


def trajectories(
    paths: Mapping[str, ArrayLike],
    front: ArrayLike,
    *,
    axis_names: tuple[str, str] = (r"$\ell_1$", r"$\ell_2$"),
) -> Figure:
    """Several methods on one problem, a panel each.

    Args:
      paths: name → losses along the way, shape [time, starts, 2].
      front: the Pareto front, shape [n, 2], in order along it.
      axis_names: what the two losses are called.

    Returns:
      A figure: the front thick and grey, starts black, each path colored by time from
      light to dark. All panels have the same axes.

    Raises:
      ValueError: no path, or a shape that is not [time, starts, 2] or [n, 2].

    Example:
      >>> import numpy as np
      >>> from paretax import viz
      >>> time = np.linspace(0, 1, 9)[:, None, None]
      >>> figure = viz.trajectories({"straight": np.ones((9, 3, 2)) - time},
      ...                           front=[[-1.0, 1.0], [0.0, 0.0], [1.0, -1.0]])
      >>> [ax.get_title() for ax in figure.axes]
      ['straight']

    Cost: well below a second for a few thousand points.
    """
    front = np.asarray(front)
    arrays = {name: np.asarray(path) for name, path in paths.items()}
    if not arrays:
        raise ValueError("paths: expected at least one method, got none.")
    if front.ndim != 2 or front.shape[1] != 2:
        raise ValueError(f"front: expected shape [n, 2], got {front.shape}.")
    for name, path in arrays.items():
        if path.ndim != 3 or path.shape[2] != 2:
            raise ValueError(
                f"paths[{name!r}]: expected shape [time, starts, 2], got {path.shape}."
            )
    rows = -(-len(arrays) // MOST_COLUMNS)
    columns = -(-len(arrays) // rows)
    figure = Figure(figsize=(2.6 * columns, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(axes.ravel())
    for index, (ax, name) in enumerate(zip(axes, arrays, strict=False)):
        _panel(ax, arrays[name], front)
        ax.set_title(name)
        if index + columns >= len(arrays):
            ax.set_xlabel(axis_names[0])
            ax.tick_params(labelbottom=True)
        if index % columns == 0:
            ax.set_ylabel(axis_names[1])
    for ax in axes[len(arrays) :]:
        ax.remove()
    return figure


def _panel(ax, path, front):
    time, starts, _ = path.shape
    ax.plot(*front.T, color="0.6", linewidth=6, solid_capstyle="round", zorder=1)
    shade = np.broadcast_to(np.linspace(0.1, 0.9, time)[:, None], (time, starts))
    ax.scatter(
        *path.reshape(-1, 2).T,
        c=colormaps["magma_r"](shade.ravel()),
        s=2,
        linewidths=0,
        zorder=2,
    )
    ax.scatter(*path[0].T, color="black", s=24, zorder=3)
    ax.spines[["top", "right"]].set_visible(False)
