"""Data sets by name: what there is, what is ready, how it is prepared and loaded."""

import contextlib
import difflib
import importlib.util
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paretax.data._multi_mnist import CANVAS, CONFIGS, SPLITS, TASKS
from paretax.data._sources import SOURCES, find_source

__all__ = [
    "Dataset",
    "Split",
    "config_name",
    "info",
    "load",
    "names",
    "prepare",
    "status",
]

_EXTRA = "pip install 'paretax[data]'"


class Split(NamedTuple):
    """Examples in memory.

    Attributes:
      image: uint8, shape [n, 36, 36].
      label: int32, shape [n, tasks], classes 0 to 9.
    """

    image: np.ndarray
    label: np.ndarray


class Dataset(NamedTuple):
    """A data set whose splits are disjoint and the same on every machine."""

    name: str
    train: Split
    validation: Split
    test: Split
    task_names: tuple[str, ...]
    source: str


def names() -> list[str]:
    """The names that `load` knows.

    Example:
      >>> from paretax import data
      >>> data.names()
      ['multi_mnist/mnist', 'multi_mnist/fashion', 'multi_mnist/fashion_and_mnist']
    """
    return [f"multi_mnist/{config}" for config in CONFIGS]


def status(name: str, data_dir: str | os.PathLike | None = None) -> str:
    """ "ready", "can be prepared", or "missing: " and the command that brings it.

    Raises:
      ValueError: an unknown name; the nearest known one is named.

    Example:
      >>> from paretax import data
      >>> data.status("multi_mnist/fashoin")
      Traceback (most recent call last):
      ValueError: ... Did you mean 'multi_mnist/fashion'? ...
    """
    config = config_name(name)
    if _version_dir(config, data_dir).is_dir():
        return "ready"
    if importlib.util.find_spec("tensorflow_datasets") is None:
        return f"missing: {_EXTRA}"
    for source in dict.fromkeys(CONFIGS[config]):
        if find_source(source) is None:
            return f"missing: {SOURCES[source].command}"
    return "can be prepared"


def info(name: str, data_dir: str | os.PathLike | None = None) -> dict[str, str]:
    """What a data set holds and where it lies, as text by heading.

    Raises:
      ValueError: an unknown name; the nearest known one is named.

    Example:
      >>> from paretax import data
      >>> data.info("multi_mnist")["tasks"]
      'left, right: 10 classes each, cross-entropy, accuracy'
    """
    config = config_name(name)
    left, right = CONFIGS[config]
    return {
        "name": f"multi_mnist/{config}",
        "pictures": f"{CANVAS}×{CANVAS}, uint8; {left} at (0, 0), {right} at (8, 8)",
        "tasks": f"{', '.join(TASKS)}: 10 classes each, cross-entropy, accuracy",
        "splits": "50,000 train, 10,000 validation, 10,000 test; no picture in two",
        "sources": "; ".join(SOURCES[s].title for s in dict.fromkeys((left, right))),
        "folder": str(_version_dir(config, data_dir)),
        "status": status(name, data_dir),
    }


def prepare(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
) -> Path:
    """Write a data set as array_record files; does nothing where they are already.

    Files appear under their final name only when whole, so an interrupted call leaves
    nothing that `load` would read.

    Args:
      name: one of `names()`; "multi_mnist" is "multi_mnist/mnist".
      data_dir: the root of all data sets; by default $PARETAX_DATA or
        ~/.cache/paretax/data.
      manual_dir: a folder with IDX files of one's own in `mnist/` or `fashion/`.

    Returns:
      The folder of the data set.

    Raises:
      ValueError: an unknown name, or a source that is damaged.
      ImportError: the extra `data` is not installed.
      FileNotFoundError: a source is missing; the message holds the command.

    Cost: 10 to 20 seconds and 100 MB of disk for 70,000 examples.
    """
    config = config_name(name)
    folder = _version_dir(config, data_dir)
    if not folder.is_dir():
        builder = _builder(config, data_dir, manual_dir)
        with warnings.catch_warnings(), _quiet_progress():
            warnings.simplefilter("ignore")  # third-party writers' deprecations
            builder.download_and_prepare()
    return folder


def load(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
) -> Dataset:
    """A data set as arrays in memory, prepared first where it has to be.

    Args:
      name: one of `names()`; "multi_mnist" is "multi_mnist/mnist".
      data_dir: the root of all data sets; by default $PARETAX_DATA or
        ~/.cache/paretax/data.
      manual_dir: a folder with IDX files of one's own in `mnist/` or `fashion/`.

    Returns:
      A `Dataset`. Pictures are memory-mapped read-only from a copy that is made beside
      the records on first use.

    Raises:
      As `prepare`.

    Example:
      >>> from paretax import data
      >>> digits = data.load("multi_mnist")  # doctest: +SKIP
      >>> digits.train.image.shape, digits.train.label.shape  # doctest: +SKIP
      ((50000, 36, 36), (50000, 2))

    Cost: a few seconds at first use, milliseconds afterwards.
    """
    config = config_name(name)
    folder = prepare(name, data_dir=data_dir, manual_dir=manual_dir)
    splits = {}
    for split in SPLITS:
        try:
            splits[split] = _read_arrays(folder, split)
        except (OSError, ValueError, EOFError):  # absent or damaged: records have it
            _write_arrays(folder, split, _builder(config, data_dir, manual_dir))
            splits[split] = _read_arrays(folder, split)
    source = "; ".join(SOURCES[s].title for s in dict.fromkeys(CONFIGS[config]))
    return Dataset(f"multi_mnist/{config}", **splits, task_names=TASKS, source=source)


def config_name(name: str) -> str:
    """The configuration behind a name; an unknown name is answered with the nearest."""
    known = names()
    full = "multi_mnist/mnist" if name == "multi_mnist" else name
    if full in known:
        return full.split("/")[1]
    near = difflib.get_close_matches(str(name), [*known, "multi_mnist"], 1, 0.0)[0]
    raise ValueError(
        f"name: unknown data set {name!r}. Did you mean {near!r}? Known: "
        f"{', '.join(known)}."
    )


def _root(data_dir) -> Path:
    default = os.environ.get("PARETAX_DATA") or "~/.cache/paretax/data"
    return Path(data_dir or default).expanduser()


def _version_dir(config, data_dir) -> Path:
    return _root(data_dir) / "multi_mnist" / config / "1.0.0"


def _builder(config, data_dir, manual_dir):
    try:
        from paretax.data._builder import MultiMnist
    except ImportError as error:
        raise ImportError(
            f"preparing data needs tensorflow-datasets: {_EXTRA} ({error})"
        ) from error
    return MultiMnist(
        config=config,
        data_dir=str(_root(data_dir)),
        file_format="array_record",
        manual_dir=manual_dir,
    )


@contextlib.contextmanager
def _quiet_progress():
    """Without the writer's own bars, which break up any other display."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    try:
        yield
    finally:
        tfds.enable_progress_bar()


def _array_file(folder: Path, split: str, field: str) -> Path:
    return folder / f"{split}-{field}.npy"


def _read_arrays(folder: Path, split: str) -> Split:
    files = (_array_file(folder, split, field) for field in Split._fields)
    return Split(*(np.load(file, mmap_mode="r") for file in files))


def _write_arrays(folder: Path, split: str, builder) -> None:
    """The records of a split as .npy files, each under its name only when whole."""
    source = builder.as_data_source(split=split)
    rows = source.__getitems__(range(len(source)))
    for field in Split._fields:
        array = np.stack([row[field] for row in rows])
        part = folder / f".{split}-{field}.{os.getpid()}.npy"
        np.save(part, array)
        os.replace(part, _array_file(folder, split, field))
