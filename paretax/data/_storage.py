"""Where prepared data sets lie, and their records as memory-mapped arrays."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from paretax.data._contents import TaskSpec

__all__ = ["quiet_progress", "read_arrays", "read_facts", "root", "write_arrays"]

_CHUNK = 256  # records held at a time


def root(data_dir: str | os.PathLike | None) -> Path:
    """The root of all data sets."""
    default = os.environ.get("PARETAX_DATA") or "~/.cache/paretax/data"
    return Path(data_dir or default).expanduser()


def read_facts(folder: Path) -> tuple[tuple[TaskSpec, ...], dict[str, Any]]:
    """Tasks and statistics of a prepared data set; nothing where it holds none."""
    path = folder / "metadata.json"
    if not path.is_file():
        return (), {}
    facts = json.loads(path.read_text())
    tasks = tuple(TaskSpec(**spec) for spec in facts.get("tasks", []))
    return tasks, facts.get("statistics", {})


def read_arrays(folder: Path, split: str, kind: Any) -> Any:
    """A split as a NamedTuple of memory-mapped arrays.

    Raises:
      OSError, ValueError, EOFError: a copy is absent or damaged.
    """
    files = (_array_file(folder, split, field) for field in kind._fields)
    return kind(*(np.load(file, mmap_mode="r") for file in files))


def write_arrays(folder: Path, split: str, kind: Any) -> None:
    """The records of a split as .npy files, each under its name only when whole."""
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(str(folder))
    source = builder.as_data_source(split=split)
    parts = {f: folder / f".{split}-{f}.{os.getpid()}.npy" for f in kind._fields}
    arrays = {}
    for start in range(0, len(source), _CHUNK):
        rows = source.__getitems__(range(start, min(start + _CHUNK, len(source))))
        for field, part in parts.items():
            values = np.stack([row[field] for row in rows])
            if field not in arrays:
                shape = (len(source), *values.shape[1:])
                arrays[field] = np.lib.format.open_memmap(
                    part, "w+", values.dtype, shape
                )
            arrays[field][start : start + len(rows)] = values
    for field, part in parts.items():
        arrays[field].flush()
        os.replace(part, _array_file(folder, split, field))


@contextlib.contextmanager
def quiet_progress():
    """Without the writer's own bars, which break up any other display."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    try:
        yield
    finally:
        tfds.enable_progress_bar()


def _array_file(folder: Path, split: str, field: str) -> Path:
    return folder / f"{split}-{field}.npy"
