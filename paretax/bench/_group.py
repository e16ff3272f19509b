"""A group of cells: one method on one data set, trained by one compiled program."""

import dataclasses
import functools
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from paretax.bench._cells import Cell, Result, cell_path, slug, write_cell
from paretax.bench._measures import measures
from paretax.bench._program import Bound, bind, trainer
from paretax.bench._settings import (
    SINGLE_TASK,
    TUNED,
    DatasetSettings,
    Settings,
    as_json,
    from_json,
)
from paretax.bench._weights import cell_weights
from paretax.experiments import named
from paretax.experiments._folder import write_json
from paretax.experiments._task import fingerprint

__all__ = ["Group", "bound_of", "run_group", "speed_path", "versions"]

_PACKAGES = ("paretax", "jax", "jaxlib", "optax", "flax", "numpy")


class Group(NamedTuple):
    """Cells that share a program.

    Attributes:
      dataset: its name.
      method: its name.
      cells: all of one data set and method.
    """

    dataset: str
    method: str
    cells: tuple[Cell, ...]


def versions() -> dict[str, str]:
    """What a result depends on besides its settings."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    kind = str(jax.devices()[0].device_kind)
    return {**found, "python": platform.python_version(), "device": kind}


@functools.lru_cache(maxsize=16)
def _bound(part: DatasetSettings, text: str) -> tuple[Bound, str]:
    task = named(part.name, examples=part.examples)
    return bind(task, part, from_json(text)), fingerprint(task)


def bound_of(settings: Settings, dataset: str) -> tuple[Bound, str]:
    """The data set on the device and its fingerprint; both are kept for later calls.

    Args:
      settings: of the benchmark.
      dataset: the name of one of its data sets.

    Returns:
      `(bound, fingerprint)`.

    Cost: that of `experiments.named`, once.
    """
    part = next(part for part in settings.datasets if part.name == dataset)
    return _bound(part, as_json(settings))


def speed_path(folder: Path, dataset: str, method: str) -> Path:
    """Where time and memory of a method on a data set stand."""
    return folder / "speed" / slug(dataset) / f"{slug(method)}.json"


def run_group(
    folder: Path,
    settings: Settings,
    group: Group,
    told: Callable[[Cell], None] = lambda cell: None,
) -> None:
    """Train the cells of a group that have no file yet, and write each when it is done.

    Args:
      folder: of the benchmark.
      settings: of the benchmark.
      group: the cells.
      told: called with each cell that was written.

    Raises:
      OSError: a file could not be written.

    Cost: one compilation, and the training of the missing cells.
    """
    missing = [c for c in group.cells if not cell_path(folder, c).exists()]
    if not missing:
        return
    bound, mark = bound_of(settings, group.dataset)
    started = time.perf_counter()
    if group.method in (SINGLE_TASK, TUNED):
        program = _baselines(bound.part, as_json(settings))
    else:
        program = _program(bound, group.method, settings.methods[group.method])
    del program.seconds[:]
    for cells in _chunks(missing, settings.cells_at_once):
        results = _train(bound, program, cells, mark)
        for cell, result in dict(zip(cells, results, strict=True)).items():
            write_cell(cell_path(folder, cell), result)
            told(cell)
    _write_speed(folder, group, program, time.perf_counter() - started)


class _Program(NamedTuple):
    begin: Any
    segment: Any
    compiled: list[Any]  # the segment, once its arguments are known
    seconds: list[float]  # a step and cell


def _program(bound: Bound, name: str, options: Mapping[str, Any]) -> _Program:
    begin, segment = trainer(bound, name, options)
    return _Program(jax.jit(begin), jax.jit(segment, donate_argnums=0), [], [])


@functools.lru_cache(maxsize=16)
def _baselines(part: DatasetSettings, text: str) -> _Program:
    """Both baselines are one program: their weights are its arguments."""
    return _program(_bound(part, text)[0], "fixed", {})


def _chunks(cells: Sequence[Cell], size: int) -> Iterator[list[Cell]]:
    """So many at a time; the last ones are filled up with one of them again."""
    for first in range(0, len(cells), size):
        chunk = list(cells[first : first + size])
        yield chunk + [chunk[-1]] * (size - len(chunk))


def _train(bound: Bound, program: _Program, cells: list[Cell], mark: str):
    """The results of some cells, trained at once."""
    settings, m = bound.settings, len(bound.task.task_names)
    seeds = jnp.array([cell.seed for cell in cells], jnp.int32)
    rates = jnp.array([cell.rate for cell in cells], jnp.float32)
    weights = np.stack([cell_weights(cell, m) for cell in cells])
    params, rows = bound.start(seeds)
    state = program.begin(params, seeds)
    curves = []
    for part in rows:
        arguments = (state, rates, weights, part, bound.splits["train"])
        if not program.compiled:
            program.compiled.append(program.segment.lower(*arguments).compile())
        started = time.perf_counter()
        state, losses = jax.block_until_ready(program.compiled[0](*arguments))
        seconds = time.perf_counter() - started
        program.seconds.append(seconds / len(part) / len(cells))
        found = bound.evaluate(state.params, bound.splits["validation"])
        curves.append([np.asarray(x) for x in (losses, *found)])
    steps = bound.part.steps // settings.evaluations
    points = np.arange(1, settings.evaluations + 1) * steps
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)]
    return [
        Result(
            _config(bound, cell, weights[i], mark),
            points,
            *(np.stack([row[kind][i] for row in curves]) for kind in range(3)),
            params=[leaf[i] for leaf in leaves],
        )
        for i, cell in enumerate(cells)
    ]


def _config(bound: Bound, cell: Cell, weights, mark: str) -> dict[str, Any]:
    settings = bound.settings
    return {
        **cell._asdict(),
        **dataclasses.asdict(bound.part),
        "options": dict(settings.methods.get(cell.method, {})),
        "weights": weights.tolist() if cell.method in (SINGLE_TASK, TUNED) else None,
        "optimizer": settings.optimizer,
        "evaluations": settings.evaluations,
        "cells_at_once": settings.cells_at_once,
        "measures": [list(measure) for measure in measures(bound.task)],
        "data": mark,
        "versions": versions(),
    }


def _write_speed(folder, group, program, seconds):
    times = program.seconds
    memory = program.compiled[0].memory_analysis()
    used = (
        memory.argument_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
    )
    path = speed_path(folder, group.dataset, group.method)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        path,
        {
            "seconds_per_step": float(np.median(times)),
            "fastest": float(min(times)),
            "segments": len(times),
            "memory_bytes": int(used),
            "temporary_bytes": int(memory.temp_size_in_bytes),
            "group_seconds": round(seconds, 3),
        },
    )
