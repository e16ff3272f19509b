"""The table of data sets: what there is, where it comes from, who builds it."""

from collections.abc import Callable
from typing import NamedTuple

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
from paretax.data._contents import Table, TaskSpec
from paretax.data._files import PackagedFile, find_file
from paretax.data._sources import SOURCES, find_source

__all__ = ["FAMILIES", "Family"]


class Family(NamedTuple):
    """One data set in all its configurations.

    Attributes:
      builder: the name of its class in `paretax.data._builder`.
      split: the NamedTuple that holds a split.
      configs: `configs(manual_dir)`, the first the default; "" where there is but one.
      missing: `missing(config, manual_dir)`, what brings an absent source, or None.
      about: `about(config)`, what there is as text by heading, "sources" among them.
      folder: `folder(config, manual_dir)`, the name of its folder.
      tasks: where records of an older version do not hold them.
    """

    builder: str
    split: type
    configs: Callable[..., tuple[str, ...]]
    missing: Callable[..., str | None]
    about: Callable[[str], dict[str, str]]
    folder: Callable[..., str] = lambda config, manual_dir=None: config
    tasks: tuple[TaskSpec, ...] = ()


def _packaged(*files: PackagedFile) -> Callable[..., str | None]:
    def missing(config, manual_dir=None):
        del config
        absent = [file for file in files if find_file(file, manual_dir) is None]
        return f"missing: {absent[0].command}" if absent else None

    return missing


def _missing_pictures(config, manual_dir=None):
    for source in dict.fromkeys(_multi_mnist.CONFIGS[config]):
        if find_source(source, manual_dir) is None:
            return f"missing: {SOURCES[source].command}"
    return None


def _missing_mulan(config, manual_dir=None):
    there = config in _mulan.found(manual_dir)
    return None if there else f"manual: {_mulan.HINT}"


def _mulan_folder(config, manual_dir=None):
    """Another file of the same name is another data set."""
    if config not in _mulan.found(manual_dir):
        return config or "none"
    return f"{config}-{_mulan.digest(config, manual_dir)}"


FAMILIES = {
    "multi_mnist": Family(
        builder="MultiMnist",
        split=_multi_mnist.Split,
        configs=lambda manual_dir=None: tuple(_multi_mnist.CONFIGS),
        missing=_missing_pictures,
        about=_multi_mnist.about,
        tasks=_multi_mnist.SPECS,
    ),
    "census_income": Family(
        builder="CensusIncome",
        split=_census_income.CensusSplit,
        configs=lambda manual_dir=None: tuple(_census_income.CONFIGS),
        missing=_packaged(_census_income.TRAIN, _census_income.TEST),
        about=_census_income.about,
    ),
    "yeast": Family(
        builder="Yeast",
        split=Table,
        configs=lambda manual_dir=None: ("",),
        missing=_packaged(_yeast.YEAST),
        about=lambda config: _yeast.ABOUT,
    ),
    "solar_flare": Family(
        builder="SolarFlare",
        split=Table,
        configs=lambda manual_dir=None: ("",),
        missing=_packaged(_solar_flare.SOLAR_FLARE),
        about=lambda config: _solar_flare.ABOUT,
    ),
    "qm9": Family(
        builder="Qm9",
        split=_qm9.MoleculeSplit,
        configs=lambda manual_dir=None: ("",),
        missing=_packaged(*_qm9.FILES),
        about=lambda config: _qm9.ABOUT,
    ),
    "celeb_a": Family(
        builder="CelebA",
        split=_celeb_a.CelebSplit,
        configs=lambda manual_dir=None: ("",),
        missing=lambda config, manual_dir=None: _celeb_a.missing(manual_dir),
        about=lambda config: _celeb_a.ABOUT,
    ),
    "nyuv2": Family(
        builder="Nyuv2",
        split=_dense.RoomSplit,
        configs=lambda manual_dir=None: ("",),
        missing=lambda config, manual_dir=None: _dense.missing(
            _dense.NYUV2, manual_dir
        ),
        about=lambda config: _dense.about(_dense.NYUV2),
    ),
    "cityscapes": Family(
        builder="Cityscapes",
        split=_dense.CitySplit,
        configs=lambda manual_dir=None: ("",),
        missing=lambda config, manual_dir=None: _dense.missing(
            _dense.CITYSCAPES, manual_dir
        ),
        about=lambda config: _dense.about(_dense.CITYSCAPES),
    ),
    "mulan": Family(
        builder="Mulan",
        split=Table,
        configs=lambda manual_dir=None: _mulan.found(manual_dir) or ("",),
        missing=_missing_mulan,
        about=lambda config: _mulan.ABOUT,
        folder=_mulan_folder,
    ),
}
