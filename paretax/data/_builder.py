"""The tensorflow-datasets builder of MultiMNIST; imported only to prepare it."""

import dataclasses
import os
from typing import ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from paretax.data._multi_mnist import CANVAS, CONFIGS, SPLITS, TASKS, compose
from paretax.data._sources import SOURCES, read_source

__all__ = ["MultiMnist"]


@dataclasses.dataclass
class MultiMnistConfig(tfds.core.BuilderConfig):
    """Which sources the left and the right picture come from."""

    left: str = "mnist"
    right: str = "mnist"


class MultiMnist(tfds.core.GeneratorBasedBuilder):
    """Two 28×28 pictures on a 36×36 canvas: classify the left one and the right one.

    50,000 / 10,000 / 10,000 examples. The construction is the literature's (Sabour et
    al. 2017; Sener & Koltun 2018; Lin et al. 2019); the pairs are this library's own,
    so the files that Lin et al. distribute are not reproduced bit for bit.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    BUILDER_CONFIGS: ClassVar[list[MultiMnistConfig]] = [
        MultiMnistConfig(
            name=name, left=left, right=right, description=f"{left} and {right}"
        )
        for name, (left, right) in CONFIGS.items()
    ]

    def __init__(self, *, manual_dir: str | os.PathLike | None = None, **kwargs):
        self._manual_dir = manual_dir
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Tensor(shape=(CANVAS, CANVAS), dtype=np.uint8),
            "label": tfds.features.Tensor(shape=(len(TASKS),), dtype=np.int32),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__ or "",
            features=tfds.features.FeaturesDict(features),
            homepage="https://arxiv.org/abs/1810.04650",
            license="; ".join(source.title for source in SOURCES.values()),
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        config = cast(MultiMnistConfig, self.builder_config)
        left = read_source(config.left, self._manual_dir)
        same = config.left == config.right
        right = left if same else read_source(config.right, self._manual_dir)
        arrays = compose(left, right)
        return {split: self._generate_examples(*arrays[split]) for split in SPLITS}

    def _generate_examples(self, images, labels):
        for key, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield key, {"image": image, "label": label}
