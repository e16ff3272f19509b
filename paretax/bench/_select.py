"""Choosing learning rates and weights on validation, then reading test once."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from paretax import metrics
from paretax.bench._cells import Cell, cell_path, read_cell, slug
from paretax.bench._group import bound_of
from paretax.bench._settings import SINGLE_TASK, TUNED, Settings
from paretax.bench._weights import num_trials
from paretax.experiments._folder import write_json

__all__ = [
    "Chosen",
    "baseline",
    "cells_of",
    "choose",
    "delta",
    "read_test",
    "tuned_cells",
]


class Chosen(NamedTuple):
    """What validation chose.

    Attributes:
      cells: one a seed, or () where every learning rate diverged.
      validation: their mean Δm % on validation; NaN where all diverged.
    """

    cells: tuple[Cell, ...]
    validation: float


def delta(
    values: Float[np.ndarray, " m"],
    reference: Float[np.ndarray, " m"],
    higher_is_better: Sequence[bool],
) -> float:
    """Δm %, lower is better: the mean relative loss against single-task models.

    Args:
      values: of a method, shape [m].
      reference: of the single-task models, above 0, shape [m].
      higher_is_better: shape [m].

    Returns:
      −`metrics.relative_gain`: 100 · mean of (vᵢ − bᵢ)/bᵢ, with the other sign where
      higher is better; infinity where a value is not finite.

    Example:
      >>> import numpy as np
      >>> from paretax import bench
      >>> round(bench.delta(np.array([2.0, 0.9]), np.array([1.0, 1.0]), [False, True]))
      55

    Cost: m operations.

    Reference: Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022,
    arXiv:2202.01017.
    """
    if not np.isfinite(values).all():
        return float("inf")
    gain = metrics.relative_gain(
        values, reference, higher_is_better=np.asarray(higher_is_better)
    )
    return -float(gain)


def cells_of(settings: Settings, dataset: str, method: str, num_tasks: int):
    """The cells whose training depends on no other cell.

    Args:
      settings: of the benchmark.
      dataset: its name.
      method: its name, a baseline's too: of the tuned weights the search.
      num_tasks: m.

    Returns:
      A tuple of `Cell`.

    Cost: none.
    """
    variants, seeds = (0,), settings.seeds
    if method == SINGLE_TASK:
        variants = range(num_tasks)
    elif method == TUNED:
        variants, seeds = range(num_trials(settings, num_tasks)), seeds[:1]
    return tuple(
        Cell(dataset, method, rate, seed, variant)
        for variant in variants
        for rate in settings.learning_rates
        for seed in seeds
    )


def _validation(folder, cells):
    """Metrics on validation at the end, one row a cell."""
    return np.stack(
        [read_cell(cell_path(folder, cell)).validation_metric[-1] for cell in cells]
    )


def baseline(
    folder: Path, settings: Settings, dataset: str, better: Sequence[bool]
) -> tuple[list[Chosen], Float[np.ndarray, " m"]]:
    """The single-task models: each task's learning rate by its own metric.

    Args:
      folder: of the benchmark, with all cells of the baseline.
      settings: of the benchmark.
      dataset: its name.
      better: whether a higher metric is better, shape [m].

    Returns:
      `(chosen, values)`: the cells of each task, and the metrics on validation [m].

    Raises:
      FloatingPointError: every learning rate diverged on a task.

    Cost: reads the cells.
    """
    chosen, values = [], []
    for task, higher in enumerate(better):
        found = []
        for rate in settings.learning_rates:
            cells = tuple(
                Cell(dataset, SINGLE_TASK, rate, seed, task) for seed in settings.seeds
            )
            value = float(_validation(folder, cells)[:, task].mean())
            if np.isfinite(value):
                found.append((-value if higher else value, value, cells))
        if not found:
            raise FloatingPointError(
                f"{dataset}: every learning rate diverged for task {task} alone; give "
                "lower learning_rates."
            )
        _, value, cells = min(found)
        chosen.append(Chosen(cells, 0.0))
        values.append(value)
    return chosen, np.array(values)


def choose(
    folder: Path,
    cells: Sequence[Cell],
    reference: Float[np.ndarray, " m"],
    better: Sequence[bool],
) -> Chosen:
    """The learning rate, and variant, of the least mean Δm over seeds on validation.

    Args:
      folder: of the benchmark, with these cells.
      cells: of one method.
      reference: the single-task models' metrics on validation, shape [m].
      better: whether a higher metric is better, shape [m].

    Returns:
      A `Chosen`.

    Cost: reads the cells.
    """
    found = []
    for key in dict.fromkeys((cell.rate, cell.variant) for cell in cells):
        own = tuple(cell for cell in cells if (cell.rate, cell.variant) == key)
        rows = _validation(folder, own)
        mean = float(np.mean([delta(row, reference, better) for row in rows]))
        if np.isfinite(mean):
            found.append((mean, own))
    if not found:
        return Chosen((), float("nan"))
    mean, own = min(found)
    return Chosen(own, mean)


def tuned_cells(settings: Settings, found: Chosen) -> tuple[Cell, ...]:
    """The tuned weights with every seed, after the search with the first one."""
    return tuple(
        cell._replace(seed=seed) for cell in found.cells for seed in settings.seeds
    )


def read_test(
    folder: Path, settings: Settings, dataset: str, label: str, cells: Sequence[Cell]
) -> dict[str, Any]:
    """Losses and metrics of chosen cells on test: computed once, then read from a file.

    Args:
      folder: of the benchmark.
      settings: of the benchmark.
      dataset: its name.
      label: of the file.
      cells: chosen on validation.

    Returns:
      `{"cells": [...], "loss": [[...]], "metric": [[...]]}`, one row a cell.

    Raises:
      ValueError: the file is there, of other cells: a choice changed after test was
        read.

    Cost: a forward pass over the test split for each cell.
    """
    path = folder / "test" / slug(dataset) / f"{slug(label)}.json"
    wanted = [list(cell) for cell in cells]
    if path.exists():
        found = json.loads(path.read_text())
        if found["cells"] != wanted:
            raise ValueError(
                f"{path}: expected the cells {wanted}, got {found['cells']}: test was "
                "read for another choice. Start again in a new folder."
            )
        return found
    bound, _ = bound_of(settings, dataset)
    like = jax.eval_shape(bound.task.init, jax.random.key(0))
    results = [read_cell(cell_path(folder, cell)) for cell in cells]
    leaves = [
        jnp.stack(rows) for rows in zip(*(r.params for r in results), strict=True)
    ]
    params = jax.tree.unflatten(jax.tree.structure(like), leaves)
    loss, metric = bound.evaluate(params, bound.task.test)
    found = {
        "cells": wanted,
        "loss": np.asarray(loss, float).tolist(),
        "metric": np.asarray(metric, float).tolist(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    return found
