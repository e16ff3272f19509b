"""Cells done and the time that is left, or nothing."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich import progress as rich_progress
from rich.console import Console

from paretax.bench._cells import Cell

__all__ = ["progress_of"]

_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def progress_of(total: int, done: int, shown: bool) -> Iterator[Callable[[Cell], None]]:
    """Yields `told(cell)`, to be called for each cell that is written.

    On a terminal one line is kept up to date; elsewhere a line is written at the first
    and last cell, and every ten seconds in between. Time left: that of a mean cell of
    this call, times the cells that are missing.
    """
    if not shown:
        yield lambda cell: None
        return
    console = Console(stderr=True)
    bar = rich_progress.Progress(
        rich_progress.TextColumn("cells"),
        rich_progress.MofNCompleteColumn(),
        rich_progress.BarColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("{task.fields[told]}"),
        console=console,
        disable=not console.is_terminal,
    )
    started = time.monotonic()
    state = {"done": done, "shown": -_SECONDS_BETWEEN_LINES}
    with bar:
        line = bar.add_task("", total=total, completed=done, told="compiling")

        def told(cell):
            state["done"] += 1
            passed = time.monotonic() - started
            left = passed / (state["done"] - done) * (total - state["done"])
            text = f"{_written(left)} left  {cell.dataset} {cell.method}"
            bar.update(line, advance=1, told=text)
            last = state["done"] == total
            due = passed - state["shown"] >= _SECONDS_BETWEEN_LINES
            if not console.is_terminal and (last or due):
                state["shown"] = passed
                console.print(f"cells {state['done']}/{total}  {text}", soft_wrap=True)

        yield told


def _written(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
