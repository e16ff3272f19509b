"""The tensorflow-datasets builders; imported only to prepare a data set."""

import abc
import dataclasses
import os
from typing import ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from paretax.data import (
    _celeb_a,
    _census_income,
    _dense,
    _mulan,
    _multi_mnist,
    _qm9,
    _solar_flare,
    _yeast,
)
from paretax.data._contents import SPLITS, Contents
from paretax.data._sources import SOURCES, read_source

__all__ = [
    "CelebA", "CensusIncome", "Cityscapes", "Mulan", "MultiMnist", "Nyuv2", "Qm9",
    "SolarFlare", "Yeast",
]  # fmt: skip


class _Arrays(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Arrays as records: a subclass says what they are and composes them.

    The tasks and what was learned from the training split lie beside the records, in
    metadata.json.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    HOMEPAGE: ClassVar[str] = ""

    def __init__(self, *, manual_dir: str | os.PathLike | None = None, **kwargs):
        self._manual_dir = manual_dir
        super().__init__(**kwargs)

    @abc.abstractmethod
    def _fields(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """Field → shape and type of one example's array."""

    @abc.abstractmethod
    def _compose(self) -> Contents:
        """The splits, checked."""

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            name: tfds.features.Tensor(shape=shape, dtype=dtype)
            for name, (shape, dtype) in self._fields().items()
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__ or "",
            features=tfds.features.FeaturesDict(features),
            homepage=self.HOMEPAGE,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        contents = self._compose()
        assert self.info.metadata is not None
        self.info.metadata["tasks"] = [spec._asdict() for spec in contents.tasks]
        self.info.metadata["statistics"] = contents.statistics
        return {
            split: self._generate_examples(*contents.splits[split]) for split in SPLITS
        }

    def _generate_examples(self, *arrays):
        names = tuple(self._fields())
        for key, row in enumerate(zip(*arrays, strict=True)):
            yield key, dict(zip(names, row, strict=True))


@dataclasses.dataclass
class MultiMnistConfig(tfds.core.BuilderConfig):
    """Which sources the left and the right picture come from."""

    left: str = "mnist"
    right: str = "mnist"


class MultiMnist(_Arrays):
    """Two 28×28 pictures on a 36×36 canvas: classify the left one and the right one.

    50,000 / 10,000 / 10,000 examples. The construction is the literature's (Sabour et
    al. 2017; Sener & Koltun 2018; Lin et al. 2019); the pairs are this library's own,
    so the files that Lin et al. distribute are not reproduced bit for bit.
    """

    BUILDER_CONFIGS: ClassVar[list[MultiMnistConfig]] = [
        MultiMnistConfig(
            name=name, left=left, right=right, description=f"{left} and {right}"
        )
        for name, (left, right) in _multi_mnist.CONFIGS.items()
    ]
    HOMEPAGE = "https://arxiv.org/abs/1810.04650"

    def _fields(self):
        side = _multi_mnist.CANVAS
        return {
            "image": ((side, side), np.uint8),
            "label": ((len(_multi_mnist.TASKS),), np.int32),
        }

    def _compose(self):
        config = cast(MultiMnistConfig, self.builder_config)
        left = read_source(config.left, self._manual_dir)
        same = config.left == config.right
        right = left if same else read_source(config.right, self._manual_dir)
        splits = {
            split: _multi_mnist.Split(*arrays)
            for split, arrays in _multi_mnist.compose(left, right).items()
        }
        titles = {"sources": [source.title for source in SOURCES.values()]}
        return Contents(splits, _multi_mnist.SPECS, titles)


class CensusIncome(_Arrays):
    """Census-Income (KDD): 299,285 people, two to four binary tasks."""

    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name=name, description=", ".join(tasks))
        for name, tasks in _census_income.CONFIGS.items()
    ]
    HOMEPAGE = "https://archive.ics.uci.edu/dataset/117"

    def _config(self) -> str:
        return cast(tfds.core.BuilderConfig, self.builder_config).name

    def _fields(self):
        config = self._config()
        return {
            "numeric": ((len(_census_income.numerics(config)),), np.float32),
            "category": ((len(_census_income.categories(config)),), np.int32),
            "label": ((len(_census_income.CONFIGS[config]),), np.int32),
        }

    def _compose(self):
        return _census_income.compose(self._config(), self._manual_dir)


class Yeast(_Arrays):
    """Yeast: 2,417 genes, 14 functional classes each."""

    HOMEPAGE = "https://www.openml.org/d/40597"

    def _fields(self):
        return {
            "features": ((len(_yeast.FEATURES),), np.float32),
            "label": ((len(_yeast.LABELS),), np.int32),
        }

    def _compose(self):
        return _yeast.compose(self._manual_dir)


class SolarFlare(_Arrays):
    """Solar flare (Mulan's sf2): 1,066 regions of the sun, flares of three classes."""

    HOMEPAGE = "https://archive.ics.uci.edu/dataset/89"

    def _fields(self):
        return {
            "features": ((_solar_flare.NUM_FEATURES,), np.float32),
            "label": ((len(_solar_flare.TARGETS),), np.float32),
        }

    def _compose(self):
        return _solar_flare.compose(self._manual_dir)


class Qm9(_Arrays, skip_registration=True):
    """QM9: 130,831 molecules, eleven properties each; tfds has a `qm9` of its own."""

    HOMEPAGE = "https://doi.org/10.1038/sdata.2014.22"

    def _fields(self):
        atoms = _qm9.MAX_ATOMS
        return {
            "features": ((atoms,), np.float32),
            "positions": ((atoms, 3), np.float32),
            "charges": ((atoms,), np.int32),
            "label": ((len(_qm9.TARGETS),), np.float32),
        }

    def _compose(self):
        return _qm9.compose(self._manual_dir)


class CelebA(_Arrays, skip_registration=True):
    """CelebA: 202,599 faces of 64×64 pixels, forty attributes each; from tfds' own."""

    HOMEPAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"

    def _fields(self):
        side = _celeb_a.SIDE
        return {
            "image": ((side, side, 3), np.uint8),
            "label": ((len(_celeb_a.ATTRIBUTES),), np.int32),
        }

    def _compose(self):
        return _celeb_a.compose(self._manual_dir)


class Nyuv2(_Arrays):
    """NYUv2: 1,449 rooms, their segmentation in 13 classes, depth and normals."""

    HOMEPAGE = "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"

    def _fields(self):
        return _dense.NYUV2.shapes()

    def _compose(self):
        return _dense.compose(_dense.NYUV2, self._manual_dir)


class Cityscapes(_Arrays, skip_registration=True):
    """Cityscapes: 3,475 streets, their segmentation in 7 classes, and depth."""

    HOMEPAGE = "https://www.cityscapes-dataset.com"

    def _fields(self):
        return _dense.CITYSCAPES.shapes()

    def _compose(self):
        return _dense.compose(_dense.CITYSCAPES, self._manual_dir)


class Mulan(_Arrays):
    """A set of Mulan from files of one's own. Its config is NAME and the files' MD5."""

    HOMEPAGE = "https://mulan.sourceforge.net/datasets.html"

    def __init__(self, *, config: str, manual_dir=None, **kwargs):
        self._contents = _mulan.compose(config.rpartition("-")[0], manual_dir)
        own = tfds.core.BuilderConfig(name=config)
        super().__init__(config=own, manual_dir=manual_dir, **kwargs)

    def _fields(self):
        features, label = self._contents.splits["train"]
        return {
            "features": (features.shape[1:], np.float32),
            "label": (label.shape[1:], label.dtype.type),
        }

    def _compose(self):
        return self._contents
