"""A benchmark's gains over single-task models, and its curves on validation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

__all__ = ["bench_curves", "bench_gains"]


def bench_gains(report: Mapping[str, Any]) -> Figure:
    """Δm % of every method on every data set, mean ± standard error over seeds.

    Args:
      report: what report.json of a benchmark holds, as `bench.report` returns it.

    Returns:
      A figure: one panel a data set, methods in the order of their mean rank, the best
      on top. Left of the line at 0 is better than single-task models. What diverged on
      a data set has no dot there.

    Raises:
      KeyError: `report` is not that of a benchmark.

    Example:
      >>> from paretax import viz
      >>> row = {"delta_mean": 1.0, "delta_se": 0.1}
      >>> figure = viz.bench_gains({"overall": {"total": {"rank": 1.0}},
      ...     "datasets": {"yeast": {"methods": {"total": row}}}})
      >>> len(figure.axes)
      1

    Cost: well below a second.
    """
    order = _order(report)
    tables = report["datasets"]
    figure = Figure(
        figsize=(2.2 + 2.6 * len(tables), 1.2 + 0.28 * len(order)), layout="constrained"
    )
    panels = np.atleast_1d(figure.subplots(1, len(tables), sharey=True))
    colors = _colors(order)
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        for place, method in enumerate(order):
            row = table["methods"][method]
            if row["delta_mean"] is not None:
                axes.errorbar(
                    row["delta_mean"], place, xerr=row["delta_se"], fmt="o",
                    color=colors[method], capsize=2,
                )  # fmt: skip
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.grid(axis="y", color="0.92")
        axes.set(title=name, xlabel="Δm % (lower is better)")
    panels[0].set_yticks(range(len(order)), order)
    panels[0].invert_yaxis()
    return figure


def bench_curves(report: Mapping[str, Any]) -> Figure:
    """Δm % on validation while training, with the learning rate that was chosen.

    Args:
      report: what report.json of a benchmark holds.

    Returns:
      A figure: one panel a data set, one line a method, the mean over seeds.

    Raises:
      KeyError: `report` is not that of a benchmark.

    Example:
      >>> from paretax import viz
      >>> curves = {"steps": [10, 20], "validation_delta": [4.0, 1.0]}
      >>> figure = viz.bench_curves({"overall": {"total": {"rank": 1.0}},
      ...     "datasets": {"yeast": {"methods": {"total": {"curves": curves}}}}})
      >>> len(figure.axes[0].lines)
      1

    Cost: well below a second.
    """
    order = _order(report)
    tables = report["datasets"]
    figure = Figure(figsize=(1.5 + 3.2 * len(tables), 3.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(tables)))
    colors = _colors(order)
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        for method in order:
            curves = table["methods"][method]["curves"]
            if curves is None:
                continue
            values = [np.nan if x is None else x for x in curves["validation_delta"]]
            axes.plot(curves["steps"], values, color=colors[method], label=method)
        axes.set(title=name, xlabel="step", ylabel="validation Δm %")
    panels[-1].legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _order(report):
    return sorted(report["overall"], key=lambda name: report["overall"][name]["rank"])


def _colors(order):
    shades = colormaps["turbo"](np.linspace(0.03, 0.97, len(order)))
    return dict(zip(order, shades, strict=True))
