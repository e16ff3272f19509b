"""All numbers of a finished benchmark, from its files."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from paretax.bench._cells import Cell, cell_path, read_cell
from paretax.bench._group import speed_path
from paretax.bench._measures import Measure
from paretax.bench._paired import paired_tests
from paretax.bench._select import (
    Chosen,
    baseline,
    cells_of,
    choose,
    delta,
    read_test,
    tuned_cells,
)
from paretax.bench._settings import SINGLE_TASK, TUNED, Settings, as_json

__all__ = ["summary"]

_SAME = 1e-4  # curves closer than that, relatively, are told apart by nobody


def summary(folder: Path, settings: Settings) -> dict[str, Any]:
    """What the report shows: JSON.

    Args:
      folder: of the benchmark.
      settings: of the benchmark.

    Returns:
      Keys settings, versions (one entry for each set of versions among the chosen
      cells), datasets, overall, paired, same.

    Raises:
      FileNotFoundError: cells are missing.
      As `read_test`.

    Cost: reads the cells; a forward pass over test where test was not read before.
    """
    datasets = {
        part.name: _dataset(folder, settings, part.name) for part in settings.datasets
    }
    names = (TUNED, *settings.methods)
    deltas = {
        name: {
            (dataset, seed): np.inf if value is None else value
            for dataset, found in datasets.items()
            for seed, value in zip(
                settings.seeds, found["methods"][name]["delta"], strict=True
            )
        }
        for name in names
    }
    versions = {
        json.dumps(row.pop("versions"), sort_keys=True)
        for found in datasets.values()
        for row in found["methods"].values()
    }
    return {
        "settings": json.loads(as_json(settings)),
        "versions": [json.loads(text) for text in sorted(versions) if text != "{}"],
        "datasets": datasets,
        "overall": {name: _overall(datasets, name) for name in names},
        "paired": paired_tests(deltas),
        "same": [
            {"dataset": part.name, **row}
            for part in settings.datasets
            for row in _same(folder, settings, datasets[part.name], part.name)
        ],
    }


def _overall(datasets, name):
    rows = [found["methods"][name] for found in datasets.values()]
    means = [row["delta_mean"] for row in rows]
    return {
        "delta": None if None in means else float(np.mean(means)),
        "rank": float(np.mean([row["rank"] for row in rows])),
        "diverged": sum(row["rate"] is None for row in rows),
    }


def _dataset(folder: Path, settings: Settings, name: str) -> dict[str, Any]:
    first = Cell(name, SINGLE_TASK, settings.learning_rates[0], settings.seeds[0])
    tasks = [
        Measure(*row) for row in read_cell(cell_path(folder, first)).config["measures"]
    ]
    better = [task.higher_is_better for task in tasks]
    alone, validation = baseline(folder, settings, name, better)
    columns = [
        np.array(
            read_test(folder, settings, name, f"{SINGLE_TASK} {i}", own.cells)["metric"]
        )[:, i]
        for i, own in enumerate(alone)
    ]
    single = np.stack(columns, axis=1)
    methods = {}
    for method in (TUNED, *settings.methods):
        cells = cells_of(settings, name, method, len(tasks))
        found = choose(folder, cells, validation, better)
        if method == TUNED:
            found = found._replace(cells=tuned_cells(settings, found))
        methods[method] = _row(folder, settings, name, method, found, single, better)
        methods[method]["curves"] = _curves(folder, found.cells, validation, better)
    _rank(methods, better)
    return {
        "tasks": [task._asdict() for task in tasks],
        "single_task": {
            "rates": [own.cells[0].rate for own in alone],
            "metric": single.tolist(),
            **_spread(single),
            "speed": _speed(folder, name, SINGLE_TASK),
        },
        "methods": methods,
    }


def _row(folder, settings, dataset, method, found: Chosen, single, better):
    row: dict[str, Any] = {
        "rate": None,
        "validation": None,
        "weights": None,
        "metric": None,
        "metric_mean": None,
        "metric_se": None,
        "delta": [None] * len(settings.seeds),
        "delta_mean": None,
        "delta_se": None,
        "versions": {},
        "speed": _speed(folder, dataset, method),
    }
    if not found.cells:
        return row
    values = np.array(
        read_test(folder, settings, dataset, method, found.cells)["metric"]
    )
    deltas = np.array([delta(v, single.mean(axis=0), better) for v in values])
    config = read_cell(cell_path(folder, found.cells[0])).config
    spread = _spread(values)
    if np.isfinite(deltas).all():
        moved = _spread(deltas)
        row |= {
            "delta": deltas.tolist(),
            "delta_mean": moved["mean"],
            "delta_se": moved["se"],
        }
    return row | {
        "rate": found.cells[0].rate,
        "validation": found.validation,
        "weights": config["weights"],
        "metric": values.tolist(),
        "metric_mean": spread["mean"],
        "metric_se": spread["se"],
        "versions": config["versions"],
    }


def _speed(folder, dataset, method):
    path = speed_path(folder, dataset, method)
    return json.loads(path.read_text()) if path.exists() else {}


def _spread(values):
    """Mean over seeds and its standard error, None for one seed."""
    n = len(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else None
    return {
        "mean": values.mean(axis=0).tolist(),
        "se": None if error is None else error.tolist(),
    }


def _curves(folder: Path, cells: Sequence[Cell], reference, better):
    """Means over seeds, and Δm on validation of those means."""
    if not cells:
        return None
    results = [read_cell(cell_path(folder, cell)) for cell in cells]
    metric = np.mean([result.validation_metric for result in results], axis=0)
    moved = [delta(row, reference, better) for row in metric]
    return {
        "steps": results[0].steps.tolist(),
        "train_loss": np.mean([r.train_loss for r in results], axis=0).tolist(),
        "validation_loss": np.mean(
            [r.validation_loss for r in results], axis=0
        ).tolist(),
        "validation_delta": [x if np.isfinite(x) else None for x in moved],
    }


def _rank(methods, better):
    """Adds to each row the mean over tasks of its rank by mean metric; 1 is best."""
    worst = [np.inf] * len(better)
    table = np.array(
        [
            worst
            if row["metric_mean"] is None
            else np.where(better, -1.0, 1.0) * row["metric_mean"]
            for row in methods.values()
        ]
    )
    table = np.where(np.isfinite(table), table, np.inf)
    ranks = stats.rankdata(table, axis=0)
    for row, own in zip(methods.values(), ranks, strict=True):
        row["rank"] = float(own.mean())


def _same(folder, settings, found, dataset) -> list[dict[str, Any]]:
    """Pairs of methods whose training curves nobody can tell apart."""
    curves = {}
    for method, row in found["methods"].items():
        cells = cells_of(settings, dataset, method, len(found["tasks"]))
        if method == TUNED:
            cells = [
                cell
                for cell in cells
                if cell.rate == row["rate"] and _weights(folder, cell) == row["weights"]
            ]
        curves[method] = {
            (cell.rate, cell.seed): read_cell(cell_path(folder, cell)).train_loss
            for cell in cells
        }
    rows = []
    for a, b in itertools.combinations(curves, 2):
        keys = [key for key in curves[a] if key in curves[b]]
        apart = [_apart(curves[a][key], curves[b][key]) for key in keys]
        if apart and max(apart) < _SAME:
            rows.append({"a": a, "b": b, "difference": max(apart)})
    return rows


def _weights(folder, cell):
    return read_cell(cell_path(folder, cell)).config["weights"]


def _apart(a, b) -> float:
    """The largest difference of two curves, relative to their size; 0: equal bits."""
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float(np.max(abs(a - b) / np.maximum(abs(a), abs(b))))
