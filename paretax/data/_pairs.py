"""MultiMNIST with the two pictures that each canvas is made of."""

import os
from typing import NamedTuple

import numpy as np

from paretax.data._multi_mnist import CONFIGS, compose, pairs
from paretax.data._registry import find
from paretax.data._sources import read_source

__all__ = ["PairSplit", "load_pairs"]


class PairSplit(NamedTuple):
    """Examples in memory, with the pictures to be reconstructed.

    Attributes:
      image: the canvas, uint8, shape [n, 36, 36].
      label: int32, shape [n, 2], classes 0 to 9.
      left: the picture at (0, 0), uint8, shape [n, 28, 28].
      right: the picture at (8, 8), likewise.
    """

    image: np.ndarray
    label: np.ndarray
    left: np.ndarray
    right: np.ndarray


def load_pairs(
    name: str, *, manual_dir: str | os.PathLike | None = None
) -> dict[str, PairSplit]:
    """The examples of `load`, with both pictures of each: targets to reconstruct.

    Composed in memory; nothing is written. The splits are those of `load`, in the order
    of composition, where records are shuffled.

    Args:
      name: a configuration of multi_mnist; "multi_mnist" is "multi_mnist/mnist".
      manual_dir: a folder with IDX files of one's own in `mnist/` or `fashion/`.

    Returns:
      "train", "validation" and "test", a `PairSplit` each.

    Raises:
      ValueError: an unknown name, or a source that is damaged.
      FileNotFoundError: a source is missing; the message holds the command.

    Example:
      >>> from paretax import data
      >>> train = data.load_pairs("multi_mnist")["train"]  # doctest: +SKIP
      >>> train.left.shape  # doctest: +SKIP
      (50000, 28, 28)

    Cost: two seconds, 210 MB.
    """
    _, config = find(name, "multi_mnist")
    sources = CONFIGS[config]
    read = {source: read_source(source, manual_dir) for source in set(sources)}
    both = [read[source] for source in sources]
    parts = pairs(*both)
    return {
        split: PairSplit(image, label, *parts[split][0])
        for split, (image, label) in compose(*both).items()
    }
