"""Data sets by name: what there is, what is ready, how it is prepared and loaded."""

import difflib
import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from paretax.data._contents import SPLITS, TaskSpec
from paretax.data._families import FAMILIES
from paretax.data._storage import (
    quiet_progress,
    read_arrays,
    read_facts,
    root,
    write_arrays,
)

__all__ = ["Dataset", "find", "info", "load", "names", "prepare", "status"]

_EXTRA = "pip install 'paretax[data]'"


class Dataset(NamedTuple):
    """A data set whose splits are disjoint and the same on every machine.

    Attributes:
      name: as `names()` has it.
      train, validation, test: NamedTuples of arrays with one leading axis of examples,
        `label` [n, m] among them; of nyuv2 and cityscapes one array a task, under its
        name.
      task_names: m names.
      source: where it comes from, and its license.
      tasks: m specs: loss, metric, direction, unit, rule for missing labels.
      statistics: what was learned from the training split besides: vocabularies, means
        and scales of features.
    """

    name: str
    train: Any
    validation: Any
    test: Any
    task_names: tuple[str, ...]
    source: str
    tasks: tuple[TaskSpec, ...]
    statistics: dict[str, Any]


def names(manual_dir: str | os.PathLike | None = None) -> list[str]:
    """The names that `load` knows; sets of Mulan are those in MULAN_DIR.

    Example:
      >>> from paretax import data
      >>> data.names()[:3]
      ['multi_mnist/mnist', 'multi_mnist/fashion', 'multi_mnist/fashion_and_mnist']
      >>> sorted({name.split("/")[0] for name in data.names()})
      ['celeb_a', 'census_income', 'cityscapes', 'mulan', 'multi_mnist', 'nyuv2',
      'qm9', 'solar_flare', 'yeast']
    """
    return [
        f"{name}/{config}" if config else name
        for name, family in FAMILIES.items()
        for config in family.configs(manual_dir)
    ]


def status(
    name: str,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
) -> str:
    """ "ready", "can be prepared", or what brings the source.

    That is "missing: " and a command, or "manual: " and what to put where.

    Raises:
      ValueError: an unknown name; the nearest known one is named.

    Example:
      >>> from paretax import data
      >>> data.status("multi_mnist/fashoin")
      Traceback (most recent call last):
      ValueError: ... Did you mean 'multi_mnist/fashion'? ...
    """
    family, config = find(name, manual_dir=manual_dir)
    if _version_dir(family, config, data_dir, manual_dir).is_dir():
        return "ready"
    if importlib.util.find_spec("tensorflow_datasets") is None:
        return f"missing: {_EXTRA}"
    return FAMILIES[family].missing(config, manual_dir) or "can be prepared"


def info(name: str, data_dir: str | os.PathLike | None = None) -> dict[str, str]:
    """What a data set holds and where it lies, as text by heading.

    Raises:
      ValueError: an unknown name; the nearest known one is named.

    Example:
      >>> from paretax import data
      >>> data.info("multi_mnist")["tasks"]
      'left, right: 10 classes each, cross-entropy, accuracy'
    """
    family, config = find(name)
    return {
        "name": f"{family}/{config}" if config else family,
        **FAMILIES[family].about(config),
        "folder": str(_version_dir(family, config, data_dir, None)),
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
      name: one of `names()`; a name without its configuration means the first one.
      data_dir: the root of all data sets; by default $PARETAX_DATA or
        ~/.cache/paretax/data.
      manual_dir: a folder with sources of one's own: for multi_mnist IDX files in
        `mnist/` or `fashion/`, for mulan its sets, for nyuv2 and cityscapes their
        train/ and val/, for celeb_a the records of tensorflow-datasets, else the files
        of the package.

    Returns:
      The folder of the data set.

    Raises:
      ValueError: an unknown name, or a source that is damaged, or not of the form that
        the data set's definition asks for.
      ImportError: the extra `data` is not installed.
      FileNotFoundError: a source is missing; the message holds the command.

    Cost: 10 to 20 seconds and 100 MB of disk for the 70,000 examples of multi_mnist; a
    second for yeast and solar_flare; about a minute for census_income and qm9; as much
    disk as the source twice, 10 GB for nyuv2, and memory for one picture.
    """
    family, config = find(name, manual_dir=manual_dir)
    folder = _version_dir(family, config, data_dir, manual_dir)
    if not folder.is_dir():
        builder = _builder(family, folder, data_dir, manual_dir)
        with warnings.catch_warnings(), quiet_progress():
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
      name: one of `names()`; a name without its configuration means the first one.
      data_dir: the root of all data sets; by default $PARETAX_DATA or
        ~/.cache/paretax/data.
      manual_dir: a folder with sources of one's own, as in `prepare`.

    Returns:
      A `Dataset`. Arrays are memory-mapped read-only from a copy that is made beside
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
    family, config = find(name, manual_dir=manual_dir)
    folder = prepare(name, data_dir=data_dir, manual_dir=manual_dir)
    kind = FAMILIES[family].split
    splits = {}
    for split in SPLITS:
        try:
            splits[split] = read_arrays(folder, split, kind)
        except (OSError, ValueError, EOFError):  # absent or damaged: records have it
            write_arrays(folder, split, kind)
            splits[split] = read_arrays(folder, split, kind)
    tasks, statistics = read_facts(folder)
    tasks = tasks or FAMILIES[family].tasks
    return Dataset(
        f"{family}/{config}" if config else family,
        **splits,
        task_names=tuple(spec.name for spec in tasks),
        source=FAMILIES[family].about(config)["sources"],
        tasks=tasks,
        statistics=statistics,
    )


def find(
    name: str, within: str = "", *, manual_dir: str | os.PathLike | None = None
) -> tuple[str, str]:
    """The family and the configuration behind a name.

    Args:
      name: one of `names()`, or of a family.
      within: the only family that will do, or "" for any.
      manual_dir: where else sets of Mulan may lie.

    Raises:
      ValueError: an unknown name; the nearest known one is named.
    """
    known = [n for n in names(manual_dir) if within in ("", n.split("/")[0])]
    short = {n.split("/")[0]: n for n in reversed(known)}
    full = short.get(name, name)
    if full in known:
        family, _, config = full.partition("/")
        return family, config
    near = difflib.get_close_matches(str(name), [*known, *short], 1, 0.0)[0]
    raise ValueError(
        f"name: unknown data set {name!r}. Did you mean {near!r}? Known: "
        f"{', '.join(known)}."
    )


def _version_dir(family, config, data_dir, manual_dir) -> Path:
    folder = FAMILIES[family].folder(config, manual_dir)
    return root(data_dir) / family / folder / "1.0.0"


def _builder(family, folder, data_dir, manual_dir) -> Any:
    try:
        from paretax.data import _builder
    except ImportError as error:
        raise ImportError(
            f"preparing data needs tensorflow-datasets: {_EXTRA} ({error})"
        ) from error
    config = folder.parent.name
    return getattr(_builder, FAMILIES[family].builder)(
        **({"config": config} if config != family else {}),
        data_dir=str(root(data_dir)),
        file_format="array_record",
        manual_dir=manual_dir,
    )
