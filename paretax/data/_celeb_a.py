"""CelebA: forty attributes of a face, from the records of tensorflow-datasets."""

import importlib.util
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from paretax.data._contents import SPLITS, Contents, TaskSpec
from paretax.data._files import MissingSourceError

__all__ = ["ABOUT", "ATTRIBUTES", "SIDE", "CelebSplit", "compose", "missing"]

ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald",
    "Bangs", "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry",
    "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses", "Goatee",
    "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open",
    "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose",
    "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair",
    "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip
SIDE = 64
_TITLE = (
    "CelebA (Liu et al. 2015, non-commercial research only), by tensorflow-datasets"
)
_COMMAND = "pip install 'paretax[data,tf]'"
ABOUT = {
    "features": f"pictures of {SIDE}×{SIDE} pixels, 3 channels, 0 to 255",
    "tasks": "40 attributes: binary cross-entropy, F1",
    "splits": "162,770 train, 19,867 validation, 19,962 test",
    "sources": _TITLE,
}


class CelebSplit(NamedTuple):
    """Examples in memory.

    Attributes:
      image: uint8, shape [n, 64, 64, 3].
      label: int32, shape [n, 40], 0 or 1, in the order of the task names.
    """

    image: np.ndarray
    label: np.ndarray


def missing(manual_dir: str | os.PathLike | None = None) -> str | None:
    """What brings the source; None where records lie, or can be made."""
    there = any((_root(manual_dir) / "celeb_a").glob("*/dataset_info.json"))
    if there or importlib.util.find_spec("tensorflow") is not None:
        return None
    return f"missing: {_COMMAND}"


def compose(manual_dir: str | os.PathLike | None = None) -> Contents:
    """202,599 faces, whole pictures of 218×178 shrunk to 64×64, in the official splits.

    Read from `manual_dir`, $TFDS_DATA_DIR or ~/tensorflow_datasets, where the records
    of tensorflow-datasets' own celeb_a lie; where they do not, it downloads 1.4 GB and
    makes them, which takes TensorFlow.

    Returns:
      `Contents`; the arrays of a split are iterators over pictures and labels.

    Raises:
      MissingSourceError: no records, and no TensorFlow to make them.
      ValueError: an empty split; and, when they are read, other attributes or pictures.
    """
    sources = _sources(manual_dir)
    splits = {}
    for split in SPLITS:
        if len(sources[split]) == 0:
            raise ValueError(
                f"celeb_a: expected examples in every split, got none in {split}."
            )
        image, label = itertools.tee(_rows(sources[split], split))
        splits[split] = CelebSplit(
            image=(row[0] for row in image),  # type: ignore[arg-type]
            label=(row[1] for row in label),  # type: ignore[arg-type]
        )
    tasks = tuple(TaskSpec(n, "binary cross-entropy", "F1", True) for n in ATTRIBUTES)
    return Contents(splits, tasks, {})


def _root(manual_dir) -> Path:
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(manual_dir or default).expanduser()


def _sources(manual_dir) -> dict[str, Any]:
    """The records of each split."""
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder(
        "celeb_a", data_dir=str(_root(manual_dir)), file_format="array_record"
    )
    try:
        builder.download_and_prepare()
    except ModuleNotFoundError as error:
        raise MissingSourceError(
            f"{_TITLE}, was not found in {_root(manual_dir)}, and making its records "
            f"takes TensorFlow ({error}); bring it with\n    {_COMMAND}"
        ) from error
    return {split: builder.as_data_source(split=split) for split in SPLITS}


def _rows(source, split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from PIL import Image

    for number in range(len(source)):
        row = source[number]
        place = f"celeb_a, {split}, row {number}"
        image, attributes = np.asarray(row["image"]), row["attributes"]
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f"{place}: expected a uint8 picture [h, w, 3], got {image.dtype} "
                f"{image.shape}."
            )
        if set(attributes) != set(ATTRIBUTES):
            odd = sorted(set(attributes) ^ set(ATTRIBUTES))
            raise ValueError(
                f"{place}: expected the 40 attributes of CelebA, got others: {odd[0]}."
            )
        label = np.array([attributes[name] for name in ATTRIBUTES]).astype(np.int32)
        if ((label != 0) & (label != 1)).any():
            raise ValueError(f"{place}: expected 0 or 1, got {label.tolist()}.")
        shrunk = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        yield np.asarray(shrunk), label
