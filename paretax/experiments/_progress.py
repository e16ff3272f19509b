"""A progress bar with losses and hypervolume, or nothing."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from rich import progress as rich_progress
from rich.console import Console

__all__ = ["progress_bar"]


@contextlib.contextmanager
def progress_bar(
    task_names: Sequence[str], epochs: int, done: int, shown: bool
) -> Iterator[Callable[[np.ndarray, float | None], None]]:
    """Yields `show(losses [k, m], hypervolume)`, to be called after each epoch.

    On a terminal one line is kept up to date; elsewhere each epoch writes a line.
    """
    if not shown:
        yield lambda losses, volume: None
        return
    console = Console(stderr=True)
    bar = rich_progress.Progress(
        rich_progress.TextColumn("epoch"),
        rich_progress.MofNCompleteColumn(),
        rich_progress.BarColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[told]}"),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        line = bar.add_task("", total=epochs, completed=done, told="compiling")

        def show(losses, volume):
            told = _told(task_names, losses, volume)
            bar.update(line, advance=1, told=told)
            if not console.is_terminal:
                number = int(bar.tasks[0].completed)
                console.print(f"epoch {number}/{epochs}  {told}", soft_wrap=True)

        yield show


def _told(task_names, losses, volume):
    best = ", ".join(
        f"{name} {value:.3f}"
        for name, value in zip(task_names, losses.min(axis=0), strict=True)
    )
    told = f"best train loss: {best}"
    return told if volume is None else f"{told}  validation hypervolume {volume:.4f}"
