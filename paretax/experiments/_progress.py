"""A progress bar that says how far a run is and how it does, or nothing."""

import contextlib
from collections.abc import Callable, Iterator

from rich import progress as rich_progress
from rich.console import Console

__all__ = ["progress_bar"]


@contextlib.contextmanager
def progress_bar(
    unit: str, total: int, done: int, shown: bool
) -> Iterator[Callable[[str], None]]:
    """Yields `show(text)`, to be called after each epoch or phase, the unit.

    On a terminal one line is kept up to date; elsewhere each unit writes a line.
    """
    if not shown:
        yield lambda told: None
        return
    console = Console(stderr=True)
    bar = rich_progress.Progress(
        rich_progress.TextColumn(unit),
        rich_progress.MofNCompleteColumn(),
        rich_progress.BarColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[told]}"),
        console=console,
        disable=not console.is_terminal,
    )
    with bar:
        line = bar.add_task("", total=total, completed=done, told="compiling")

        def show(told):
            bar.update(line, advance=1, told=told)
            if not console.is_terminal:
                number = int(bar.tasks[0].completed)
                console.print(f"{unit} {number}/{total}  {told}", soft_wrap=True)

        yield show
