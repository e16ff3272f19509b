"""The report of a finished benchmark: tables, pictures, one interactive page."""

import importlib.util
import os
from pathlib import Path
from typing import Any

from paretax.bench._folder import settings_of
from paretax.bench._summary import summary
from paretax.bench._tables import as_csv, latex, markdown
from paretax.experiments._folder import write_bytes, write_json

__all__ = ["headline", "report"]

_FILES = ("report.md", "report.tex", "report.csv", "report.html", "gains.png")


def report(folder: str | os.PathLike) -> dict[str, Any]:
    """Write the report of a finished benchmark into its folder.

    report.json, report.md, report.tex, report.csv; with the extra `viz` gains.png and
    curves.png; with the extra `report` report.html, interactive and without network.

    Args:
      folder: of the benchmark.

    Returns:
      What report.json holds: settings, versions, datasets (tasks, single-task models,
      and for each method the learning rate, metrics, Δm %, mean rank, curves, time and
      memory), overall, paired, same (methods that nobody can tell apart).

    Raises:
      FileNotFoundError: no benchmark there, or cells are missing.

    Example:
      >>> from paretax import bench
      >>> bench.report("no such folder")
      Traceback (most recent call last):
      FileNotFoundError: no such folder: expected the folder of a benchmark, ...

    Cost: reads the cells; a forward pass over test where test was not read before.
    """
    path = Path(folder)
    settings = settings_of(path)
    try:
        found = summary(path, settings)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: expected a finished benchmark, {error.filename} is missing; go "
            f"on by paretax bench FILE.toml --out {path}."
        ) from error
    write_json(path / "report.json", found)
    for name, made in (("md", markdown), ("tex", latex), ("csv", as_csv)):
        write_bytes(path / f"report.{name}", made(found).encode())
    if importlib.util.find_spec("matplotlib") is not None:
        from paretax import viz

        write_bytes(path / "gains.png", viz.png(viz.bench_gains(found)))
        write_bytes(path / "curves.png", viz.png(viz.bench_curves(found)))
    if importlib.util.find_spec("plotly") is not None:
        from paretax.bench._html import page

        write_bytes(path / "report.html", page(found).encode())
    return found


def headline(folder: str | os.PathLike) -> str:
    """The notes and the first table of a report, and where the rest lies.

    Args:
      folder: of a benchmark with a report.

    Returns:
      Markdown.

    Raises:
      FileNotFoundError: no report there.

    Example:
      >>> from paretax import bench
      >>> print(bench.headline("runs/full"))  # doctest: +SKIP

    Cost: none.
    """
    path = Path(folder)
    parts = (path / "report.md").read_text().split("\n## ")
    files = [str(path / name) for name in _FILES if (path / name).is_file()]
    return "\n## ".join(parts[:2]) + "\n".join(files)
