"""How a benchmark prints its rows."""

from rich.console import Console
from rich.table import Table


def show(title, rows, *, digits=3, width=140):
    """One table, a column for each key of the rows; floats to some digits."""
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(_written(value, digits) for value in row.values()))
    Console(width=width).print(table)


def _written(value, digits):
    if value is None:
        return "–"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
