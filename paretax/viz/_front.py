"""A front in loss space and accuracy space, and its hypervolume over training."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["front", "png"]


def front(report: Mapping[str, Any]) -> Figure:
    """The picture of a run.

    Args:
      report: what front.json holds, as `experiments.front` returns it.

    Returns:
      A figure: test losses of the members, test accuracies where there are any, each
      member colored by its preference for the first task; hypervolume over epochs
      beside it. The axes are the first two tasks.

    Raises:
      KeyError: `report` is not that of a front.

    Example:
      >>> from paretax import viz
      >>> loss = {"left": 0.2, "right": 0.3}
      >>> member = {"preference": [0.5, 0.5], "test": {"loss": loss, "accuracy": None}}
      >>> figure = viz.front({"task": "toy", "task_names": ["left", "right"],
      ...     "members": [member], "hypervolume": {"reference": [2.0, 2.0],
      ...     "validation": [2.5], "test": [2.6]}})
      >>> len(figure.axes)
      3

    Cost: well below a second.
    """
    members = report["members"]
    spaces = [
        space
        for space in ("loss", "accuracy")
        if all(member["test"][space] is not None for member in members)
    ]
    figure = Figure(figsize=(4.6 * (len(spaces) + 1), 4.2), layout="constrained")
    axes = figure.subplots(1, len(spaces) + 1, squeeze=False)[0]
    shade = np.array([member["preference"][0] for member in members])
    dots = [
        _space(ax, report, space, shade)
        for ax, space in zip(axes, spaces, strict=False)
    ]
    figure.colorbar(
        dots[-1],
        ax=axes[len(spaces) - 1],
        label=f"preference for {report['task_names'][0]}",
    )
    _hypervolume(axes[-1], report["hypervolume"])
    figure.suptitle(f"{report['task']}: {len(members)} models trained in one pass")
    return figure


def png(figure: Figure) -> bytes:
    """A figure as a PNG file, 150 dots an inch.

    Example:
      >>> from matplotlib.figure import Figure
      >>> from paretax import viz
      >>> viz.png(Figure())[1:4]
      b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _space(ax: Axes, report, space, shade):
    first, second = (list(report["task_names"]) * 2)[:2]
    x = [member["test"][space][first] for member in report["members"]]
    y = [member["test"][space][second] for member in report["members"]]
    ax.plot(x, y, color="0.8", linewidth=1, zorder=1)
    dots = ax.scatter(
        x, y, c=shade, cmap=colormaps["viridis"], s=60, edgecolor="white", zorder=2
    )
    ax.set(
        xlabel=f"{first}: test {space}",
        ylabel=f"{second}: test {space}",
        title=f"{space} space",
    )
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    return dots


def _hypervolume(ax: Axes, hypervolume):
    for split, style in (("validation", "--"), ("test", "-")):
        values = [np.nan if v is None else v for v in hypervolume[split]]
        epochs = np.arange(1, len(values) + 1)
        ax.plot(epochs, values, style, color="C0", label=split, marker=".")
    reference = ", ".join(f"{value:g}" for value in hypervolume["reference"])
    ax.set(xlabel="epoch", ylabel="hypervolume", title=f"hypervolume at ({reference})")
    ax.grid(color="0.92")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
