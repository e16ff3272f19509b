"""How a benchmark prints its rows, and what it ran with."""

import platform

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


def versions():
    """Name -> version of what the numbers of a table depend on."""
    import jax  # here: some benchmarks set up processes before JAX starts

    import paretax

    return {
        "device": jax.devices()[0].device_kind,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "paretax": paretax.__version__,
    }


def _written(value, digits):
    if value is None:
        return "–"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
