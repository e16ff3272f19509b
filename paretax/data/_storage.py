"""Where prepared data sets lie, and their records as memory-mapped arrays."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from paretax.data._contents import TaskSpec

__all__ = ["quiet_progress", "read_arrays", "read_facts", "root", "write_arrays"]


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
    rows = source.__getitems__(range(len(source)))
    for field in kind._fields:
        array = np.stack([row[field] for row in rows])
        part = folder / f".{split}-{field}.{os.getpid()}.npy"
        np.save(part, array)
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
