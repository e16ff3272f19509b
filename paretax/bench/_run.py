"""A benchmark from its settings to its report: cell by cell, resumable."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from paretax._checks import check_count
from paretax.bench._cells import Cell, cell_path
from paretax.bench._folder import check_cells, open_folder
from paretax.bench._group import Group, bound_of, run_group
from paretax.bench._measures import measures
from paretax.bench._methods import make_method
from paretax.bench._progress import progress_of
from paretax.bench._report import report
from paretax.bench._select import baseline, cells_of, choose, tuned_cells
from paretax.bench._settings import SINGLE_TASK, TUNED, Settings
from paretax.bench._weights import num_trials

__all__ = ["run"]


def run(
    settings: Settings,
    out: str | os.PathLike,
    *,
    jobs: int = 1,
    progress: bool = False,
) -> dict[str, Any]:
    """Train every cell that the folder lacks, choose on validation, read test, report.

    A cell is a data set, a method, a learning rate and a seed; its file appears when it
    is whole. The same call goes on after any interruption, kill -9 included, and a
    finished cell is never computed again. Cells do not depend on `jobs` nor on which
    others are missing, bit for bit on one machine.

    Args:
      settings: what is compared.
      out: the folder: settings.json, cells/, speed/, test/, and the report's files.
      jobs: processes; each trains the cells of one data set and method at a time.
      progress: show cells done and the time that is left.

    Returns:
      The report, as `report(out)` does.

    Raises:
      ValueError: a fault of the settings, found before anything is trained; or `out`
        holds a benchmark of other settings or other data, and the message names what
        differs.
      As `paretax.data.load`.

    Example:
      >>> from paretax import bench
      >>> settings = bench.read_settings("full.toml")  # doctest: +SKIP
      >>> bench.run(settings, "runs/full")["datasets"].keys()  # doctest: +SKIP

    Cost: data sets × methods × rates × seeds runs, tasks × rates × seeds for the
    single-task models, and the search for the tuned weights.
    """
    check_count("jobs", jobs)
    folder = Path(out)
    sizes = _check(settings)
    open_folder(folder, settings)
    plan = [
        Group(name, method, cells_of(settings, name, method, m))
        for name, m in sizes.items()
        for method in (SINGLE_TASK, TUNED, *settings.methods)
    ]
    planned = [cell for group in plan for cell in group.cells]
    done = [cell for cell in planned if cell_path(folder, cell).exists()]
    check_cells(folder, settings, done)
    later = len(sizes) * (len(settings.seeds) - 1)
    with progress_of(len(planned) + later, len(done), progress) as told:
        _train(folder, settings, plan, jobs, told)
        _train(folder, settings, _tuned(folder, settings, sizes), jobs, told)
    return report(folder)


def _check(settings: Settings) -> dict[str, int]:
    """The number of tasks of each data set; every fault before anything is trained."""
    sizes = {}
    for part in settings.datasets:
        bound, _ = bound_of(settings, part.name)
        m = sizes[part.name] = len(bound.task.task_names)
        for name, options in settings.methods.items():
            make_method(bound.task.losses, name, options, m)
        params = jax.eval_shape(bound.task.init, jax.random.key(0))
        jax.eval_shape(bound.task.losses, params, _two(bound.task.train))
        num_trials(settings, m)
    return sizes


def _two(split):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[:2]), split)


def _tuned(folder: Path, settings: Settings, sizes: dict[str, int]) -> list[Group]:
    """The chosen weights with all seeds."""
    groups = []
    for name, m in sizes.items():
        better = [
            x.higher_is_better for x in measures(bound_of(settings, name)[0].task)
        ]
        _, reference = baseline(folder, settings, name, better)
        cells = cells_of(settings, name, TUNED, m)
        found = choose(folder, cells, reference, better)
        groups.append(Group(name, TUNED, tuned_cells(settings, found)))
    return groups


def _train(
    folder: Path,
    settings: Settings,
    groups: Sequence[Group],
    jobs: int,
    told: Callable[[Cell], None],
) -> None:
    missing = [
        group
        for group in groups
        if any(not cell_path(folder, cell).exists() for cell in group.cells)
    ]
    if jobs == 1 or len(missing) < 2:
        for group in missing:
            run_group(folder, settings, group, told)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        min(jobs, len(missing)), context, _watch, (os.getpid(),)
    ) as pool:
        running = [pool.submit(run_group, folder, settings, group) for group in missing]
        try:
            with _counted(folder, missing, told):
                for future in concurrent.futures.as_completed(running):
                    future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextlib.contextmanager
def _counted(folder, groups, told) -> Iterator[None]:
    """Tells of each cell whose file appears meanwhile."""
    waiting = {c for g in groups for c in g.cells if not cell_path(folder, c).exists()}
    over = threading.Event()

    def look():
        for cell in [c for c in waiting if cell_path(folder, c).exists()]:
            waiting.remove(cell)
            told(cell)

    def watch():
        while not over.wait(0.5):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()


def _watch(parent: int) -> None:
    """A process of the pool ends when the one that started it is gone."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
