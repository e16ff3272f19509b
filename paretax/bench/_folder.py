"""The folder of a benchmark: its settings, which never change, and its cells."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paretax.bench._cells import Cell, cell_path, read_cell
from paretax.bench._group import bound_of
from paretax.bench._settings import Settings, as_json, from_json
from paretax.experiments._folder import write_bytes

__all__ = ["check_cells", "open_folder", "settings_of"]

_NAME = "settings.json"


def open_folder(folder: Path, settings: Settings) -> None:
    """Make the folder, or enter that of the same benchmark.

    Args:
      folder: of the benchmark.
      settings: asked for.

    Raises:
      FileExistsError: the folder holds other things and no benchmark.
      ValueError: the benchmark that is there has other settings; names them.

    Cost: none.
    """
    wanted = as_json(settings)
    path = folder / _NAME
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(
                f"{folder} is not the folder of a benchmark (no {_NAME} in it) and not "
                "empty; name another one by --out."
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, (wanted + "\n").encode())
        return
    found = _read(path)
    told = "; ".join(_differences(found, json.loads(wanted)))
    if told:
        raise ValueError(
            f"{folder} was made by other settings: {told}. Go back to those, or name "
            "another folder by --out."
        )


def _differences(found: Any, wanted: Any, where: str = "") -> list[str]:
    """Each place where two trees of JSON differ, in words."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = dict.fromkeys([*found, *wanted])
        return [
            told
            for key in keys
            for told in _differences(
                found.get(key, "nothing"),
                wanted.get(key, "nothing"),
                f"{where}.{key}" if where else str(key),
            )
        ]
    same = found == wanted
    return [] if same else [f"{where}: the folder has {found!r}, asked for {wanted!r}"]


def settings_of(folder: Path) -> Settings:
    """The settings of the benchmark in a folder.

    Args:
      folder: of the benchmark.

    Returns:
      `Settings`.

    Raises:
      FileNotFoundError: no benchmark there.

    Cost: none.
    """
    path = folder / _NAME
    if not path.exists():
        raise FileNotFoundError(
            f"{folder}: expected the folder of a benchmark, found no {_NAME} in it."
        )
    return from_json(path.read_text())


def check_cells(folder: Path, settings: Settings, cells: Sequence[Cell]) -> None:
    """Cells that are there were made from the data that is here.

    Args:
      folder: of the benchmark.
      settings: of the benchmark.
      cells: whose files exist; one of each data set is looked at.

    Raises:
      ValueError: other data, or a damaged file.

    Cost: one look at every byte of the data of each data set with cells.
    """
    first = {cell.dataset: cell for cell in reversed(cells)}
    for name, cell in first.items():
        had = read_cell(cell_path(folder, cell)).config["data"]
        mark = bound_of(settings, name)[1]
        if had != mark:
            raise ValueError(
                f"{folder}: the cells of {name} were made from other data ({had}, now "
                f"{mark}); name another folder by --out."
            )


def _read(path):
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got an error: {error}.") from error
