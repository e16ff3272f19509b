"""MultiMNIST: two pictures on one canvas, one task each."""

from typing import NamedTuple

import numpy as np

from paretax.data._contents import SPLITS, TaskSpec
from paretax.data._sources import SOURCES, Pictures

__all__ = [
    "CANVAS",
    "CONFIGS",
    "SPECS",
    "SPLITS",
    "TASKS",
    "Split",
    "about",
    "compose",
    "pairs",
]

CANVAS = 36
TASKS = ("left", "right")
# config → the sources of the upper left and of the lower right picture
CONFIGS = {
    "mnist": ("mnist", "mnist"),
    "fashion": ("fashion", "fashion"),
    "fashion_and_mnist": ("fashion", "mnist"),
}
SPECS = tuple(
    TaskSpec(name, "cross-entropy", "accuracy", True, outputs=10) for name in TASKS
)
_SEED = 20260101
_VALIDATION_SHARE = 6


class Split(NamedTuple):
    """Examples in memory.

    Attributes:
      image: uint8, shape [n, 36, 36].
      label: int32, shape [n, tasks], classes 0 to 9.
    """

    image: np.ndarray
    label: np.ndarray


def about(config: str) -> dict[str, str]:
    """What there is, as text by heading."""
    left, right = CONFIGS[config]
    return {
        "pictures": f"{CANVAS}×{CANVAS}, uint8; {left} at (0, 0), {right} at (8, 8)",
        "tasks": f"{', '.join(TASKS)}: 10 classes each, cross-entropy, accuracy",
        "splits": "50,000 train, 10,000 validation, 10,000 test; no picture in two",
        "sources": "; ".join(SOURCES[s].title for s in dict.fromkeys((left, right))),
    }


def compose(
    left: Pictures, right: Pictures
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Canvases uint8 [n, 36, 36] and labels int32 [n, 2] for each split.

    The left picture lies at (0, 0), the right one at (8, 8); where they overlap the
    brighter pixel is kept. One in six training pictures goes to validation before pairs
    are made, so no picture is in two splits, on either side; each picture of a split is
    once a left and once a right one. Pairs depend on nothing but the number of
    pictures.
    """
    return {
        split: (_overlay(*pictures), labels)
        for split, (pictures, labels) in pairs(left, right).items()
    }


def pairs(
    left: Pictures, right: Pictures
) -> dict[str, tuple[tuple[np.ndarray, np.ndarray], np.ndarray]]:
    """What `compose` lays on canvases: for each split left and right pictures, uint8
    [n, 28, 28] each, and labels int32 [n, 2]."""
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(len(left.train_label))
    held_out = len(order) // _VALIDATION_SHARE
    rows = {
        "train": np.sort(order[held_out:]),
        "validation": np.sort(order[:held_out]),
        "test": np.arange(len(left.test_label)),
    }
    out = {}
    for split in SPLITS:
        part = "test" if split == "test" else "train"
        index = rows[split]
        partner = index[rng.permutation(len(index))]
        pictures = (
            getattr(left, f"{part}_image")[index],
            getattr(right, f"{part}_image")[partner],
        )
        labels = np.stack(
            [
                getattr(left, f"{part}_label")[index],
                getattr(right, f"{part}_label")[partner],
            ],
            axis=1,
        )
        out[split] = (pictures, labels.astype(np.int32))
    return out


def _overlay(left, right):
    side = left.shape[-1]
    canvas = np.zeros((len(left), CANVAS, CANVAS), np.uint8)
    canvas[:, :side, :side] = left
    corner = canvas[:, CANVAS - side :, CANVAS - side :]
    np.maximum(corner, right, out=corner)
    return canvas
