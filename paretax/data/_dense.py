"""Dense prediction from the folders of .npy files that the literature distributes.

A folder holds train/ and val/, and each of them a folder an array, with files 0.npy,
1.npy and so on, one a picture. Where there is a file checksums.md5, as md5sum writes
it, the files it names are checked against it.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from paretax.data._contents import Contents, TaskSpec
from paretax.data._files import MissingSourceError

__all__ = [
    "CITYSCAPES", "NYUV2", "CitySplit", "DenseSet", "RoomSplit", "about", "compose",
    "missing",
]  # fmt: skip

_FOLDERS = {"train": "train", "validation": "train", "test": "val"}
_PARTS = {"train": "train", "test": "val"}
_SEED = 20260101


class RoomSplit(NamedTuple):
    """Examples of NYUv2 in memory; 288×384 pixels.

    Attributes:
      image: float32, shape [n, h, w, 3], in [0, 1].
      segmentation: int32, shape [n, h, w], classes 0 to 12, −1 for none.
      depth: float32, shape [n, h, w, 1], in m, NaN where it was not measured.
      normal: float32, shape [n, h, w, 3], NaN where there is none.
    """

    image: np.ndarray
    segmentation: np.ndarray
    depth: np.ndarray
    normal: np.ndarray


class CitySplit(NamedTuple):
    """Examples of Cityscapes in memory; 128×256 pixels.

    Attributes:
      image: float32, shape [n, h, w, 3], in [0, 1].
      segmentation: int32, shape [n, h, w], classes 0 to 6, −1 for none.
      depth: float32, shape [n, h, w, 1], inverse depth as distributed, NaN where it was
        not measured.
    """

    image: np.ndarray
    segmentation: np.ndarray
    depth: np.ndarray


class DenseSet(NamedTuple):
    """What a folder has to hold.

    Attributes:
      name, title: of the data set; where it comes from.
      variable: the environment variable that names the folder.
      split: the NamedTuple of a split.
      folders: for each field of it the name of its folder.
      size: (height, width), in pixels.
      counts: pictures in train and in val.
      tasks: m specs; a task's name is its field.
    """

    name: str
    title: str
    variable: str
    split: Callable[..., Any]
    folders: dict[str, str]
    size: tuple[int, int]
    counts: dict[str, int]
    tasks: tuple[TaskSpec, ...]

    def shapes(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """Field → shape and type of one example's array."""
        tail = {"segmentation": (), "depth": (1,)}
        return {
            field: (
                (*self.size, *tail.get(field, (3,))),
                np.int32 if field == "segmentation" else np.float32,
            )
            for field in self.folders
        }


def _segmentation(classes):
    return TaskSpec(
        "segmentation", "cross-entropy", "mIoU", True, outputs=classes, missing="masked"
    )


_DEPTH = TaskSpec(
    "depth", "absolute error", "absolute error", False, unit="m", missing="masked"
)
NYUV2 = DenseSet(
    name="nyuv2",
    title="NYUv2 (Silberman et al. 2012) in the form of MTAN (Liu et al. 2019), "
    "https://github.com/lorenmt/mtan",
    variable="NYUV2_DIR",
    split=RoomSplit,
    folders={
        "image": "image", "segmentation": "label", "depth": "depth", "normal": "normal",
    },
    size=(288, 384),
    counts={"train": 795, "val": 654},
    tasks=(
        _segmentation(13),
        _DEPTH,
        TaskSpec(
            "normal", "cosine", "mean angle", False,
            outputs=3, unit="°", missing="masked",
        ),
    ),
)  # fmt: skip
CITYSCAPES = DenseSet(
    name="cityscapes",
    title="Cityscapes (Cordts et al. 2016) in the form of MTAN (Liu et al. 2019), "
    "https://github.com/lorenmt/mtan",
    variable="CITYSCAPES_DIR",
    split=CitySplit,
    folders={"image": "image", "segmentation": "label_7", "depth": "depth"},
    size=(128, 256),
    counts={"train": 2975, "val": 500},
    tasks=(_segmentation(7), _DEPTH._replace(unit="")),
)


def missing(known: DenseSet, manual_dir: str | os.PathLike | None = None) -> str | None:
    """What to put where; None where the folder is there."""
    folder = _folder(known, manual_dir)
    if folder is not None:
        return None
    inside = ", ".join(known.folders.values())
    return (
        f"manual: unpack {known.title} into a folder with train/ and val/ (each with "
        f"{inside}), and name that in {known.variable}"
    )


def about(known: DenseSet) -> dict[str, str]:
    """What there is, as text by heading."""
    held_out = known.counts["train"] // 10
    high, wide = known.size
    return {
        "features": f"pictures of {high}×{wide} pixels, 3 channels in [0, 1]",
        "tasks": "; ".join(
            f"{spec.name}: {spec.loss}, {spec.metric}" for spec in known.tasks
        ),
        "splits": f"{known.counts['train'] - held_out:,} train, {held_out:,} "
        f"validation, {known.counts['val']:,} test (the literature's val)",
        "sources": known.title,
    }


def compose(known: DenseSet, manual_dir: str | os.PathLike | None = None) -> Contents:
    """The splits; their arrays are read, and checked, one after another when asked for.

    A tenth of train, the same on every machine, is the validation split, and the
    literature's val the test split: there, results are chosen and reported on val. What
    is not measured, 0 in the files, becomes NaN: depth, and normals of all zeros.

    Returns:
      `Contents`; each array of a split is an iterator over pictures.

    Raises:
      MissingSourceError: there is no such folder.
      ValueError: folders or files missing, or too many; and, when an array is read, a
        damaged file, another MD5, another shape, a label out of range, NaN.
    """
    folder = _folder(known, manual_dir)
    if folder is None:
        told = str(missing(known, manual_dir)).removeprefix("manual: ")
        raise MissingSourceError(f"{known.name} was not found on this machine: {told}.")
    for part in _PARTS.values():
        _check_files(known, folder / part, known.counts[part])
    sums = _sums(folder)
    order = np.random.default_rng(_SEED).permutation(known.counts["train"])
    held_out = known.counts["train"] // 10
    rows = {
        "train": np.sort(order[held_out:]),
        "validation": np.sort(order[:held_out]),
        "test": np.arange(known.counts["val"]),
    }
    for split, own in rows.items():
        if len(own) == 0:
            raise ValueError(
                f"{known.name}: expected examples in every split, got none in {split}."
            )
    splits = {
        split: known.split(
            **{
                field: map(
                    functools.partial(_read, known, field, folder, sums),
                    [folder / _FOLDERS[split] / name / f"{row}.npy" for row in own],
                )
                for field, name in known.folders.items()
            }
        )
        for split, own in rows.items()
    }
    facts = {"validation": rows["validation"].tolist()}
    return Contents(splits, known.tasks, facts)


def _folder(known, manual_dir):
    folder = manual_dir or os.environ.get(known.variable)
    there = folder and any((Path(folder) / part).is_dir() for part in _PARTS.values())
    return Path(folder) if folder and there else None


def _check_files(known, folder, count):
    """Each array's folder has the files 0.npy to (count − 1).npy."""
    for name in known.folders.values():
        if not (folder / name).is_dir():
            raise ValueError(
                f"{folder}: expected a folder {name}; is {known.name} unpacked whole?"
            )
        found = {path.name for path in (folder / name).glob("*.npy")}
        wanted = {f"{row}.npy" for row in range(count)}
        if found != wanted:
            odd = sorted(wanted - found) or sorted(found - wanted)
            raise ValueError(
                f"{folder / name}: expected {count} files from 0.npy to "
                f"{count - 1}.npy, got {len(found)}: {odd[0]} is "
                f"{'absent' if wanted - found else 'extra'}."
            )


def _sums(folder):
    path = folder / "checksums.md5"
    lines = path.read_text().splitlines() if path.is_file() else []
    words = (line.split(None, 1) for line in lines if line.strip())
    return {name.lstrip("*").removeprefix("./"): md5.lower() for md5, name in words}


def _read(known, field, folder, sums, path):
    """One array, checked."""
    wanted = sums.get(path.relative_to(folder).as_posix())
    found = wanted and hashlib.md5(path.read_bytes()).hexdigest()
    if wanted != found:
        raise ValueError(
            f"{path}: expected MD5 {wanted} as checksums.md5 has it, got {found}; the "
            "file is damaged, fetch it again."
        )
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path}: expected a whole .npy file, got a damaged one ({error}); fetch "
            "it again."
        ) from error
    shape, dtype = known.shapes()[field]
    if values.shape != shape:
        raise ValueError(f"{path}: expected shape {shape}, got {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: expected finite numbers, got NaN or infinity.")
    return _masked(known, field, values, path).astype(dtype)


def _masked(known, field, values, path):
    """Values in their range, with NaN for what was not measured."""
    if field == "image":
        bad, wanted = (values < 0) | (values > 1.001), "brightness in [0, 1]"
    elif field == "segmentation":
        top = known.tasks[0].outputs - 1
        bad = (values < -1) | (values > top) | (values != np.floor(values))
        wanted = f"a class from 0 to {top}, or -1 for none"
    elif field == "normal":
        bad, wanted = np.abs(values) > 1.001, "normals in [-1, 1]"
    else:
        return np.where(values == 0, np.nan, values)
    if bad.any():
        raise ValueError(f"{path}: expected {wanted}, got {values[bad][0]:g}.")
    if field == "normal":
        return np.where((values == 0).all(axis=-1, keepdims=True), np.nan, values)
    return values
