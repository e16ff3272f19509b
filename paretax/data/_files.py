"""Files that installed packages carry, read without importing the package.

Every file is checked against the MD5 of its uncompressed content before it is used.
"""

import gzip
import hashlib
import importlib.util
import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

__all__ = ["MissingSourceError", "PackagedFile", "find_file", "read_file"]


class MissingSourceError(FileNotFoundError):
    """The source is nowhere on this machine; the message says what brings it."""


class PackagedFile(NamedTuple):
    """A file inside an installed package.

    Attributes:
      title: of the data set, for messages.
      module: the top-level module of the package that carries it.
      path: inside that module; .gz and .zip (one member) are uncompressed.
      md5: of the uncompressed content.
      package: the name that pip knows.
      command: what brings the package.
    """

    title: str
    module: str
    path: str
    md5: str
    package: str
    command: str


def find_file(
    file: PackagedFile, manual_dir: str | os.PathLike | None = None
) -> Path | None:
    """Where a file is: by its own name in `manual_dir`, or in its package; or None."""
    if manual_dir is not None:
        path = Path(manual_dir) / Path(file.path).name
        if path.is_file():
            return path
    spec = importlib.util.find_spec(file.module)
    for root in (spec.submodule_search_locations or []) if spec else []:
        if (Path(root) / file.path).is_file():
            return Path(root) / file.path
    return None


def read_file(file: PackagedFile, manual_dir: str | os.PathLike | None = None) -> bytes:
    """The checked content of a file.

    Raises:
      MissingSourceError: nothing found; the message holds the command that brings it.
      ValueError: the file is truncated or fails its MD5 check.
    """
    path = find_file(file, manual_dir)
    if path is None:
        raise MissingSourceError(
            f"{file.title} was not found on this machine: no {file.path} of the "
            f"package {file.package}; bring it with\n    {file.command}"
        )
    again = f"bring it again with pip install --force-reinstall {file.package}"
    try:
        content = _uncompressed(path)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: expected a whole {path.suffix} file, got a damaged one "
            f"({error}); {again}."
        ) from error
    found = hashlib.md5(content).hexdigest()
    if found != file.md5:
        raise ValueError(
            f"{path}: expected MD5 {file.md5} for {file.title}, got {found} of "
            f"{len(content)} bytes; the file is damaged or of another version, {again}."
        )
    return content


def _uncompressed(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(raw)
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return archive.read(archive.namelist()[0])
    return raw
