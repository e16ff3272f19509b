"""The run folder: its configuration, and files that are whole or not there."""

import dataclasses
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from paretax.experiments._config import FrontConfig

__all__ = ["open_folder", "write_bytes", "write_json"]

_CONFIG = "config.json"
_OURS = (_CONFIG, "checkpoints", "front.json", "front.png")


def open_folder(
    path: Path,
    name: str,
    config: FrontConfig,
    *,
    fingerprint: str,
    resume: bool,
    overwrite: bool,
) -> None:
    """Make the folder of a run, or enter that of an interrupted one.

    Overwriting removes what a run wrote there and nothing else.

    Raises:
      FileExistsError: it exists and is neither resumed nor overwritten, or is no run's.
      FileNotFoundError: nothing there to resume.
      ValueError: the run that is there has another configuration or other data; names
        the fields.
    """
    wanted = {"task": name, "data": fingerprint, **dataclasses.asdict(config)}
    if resume:
        _check_same(path, wanted)
        return
    if path.exists() and any(path.iterdir()):
        if not overwrite:
            raise FileExistsError(
                f"{path} exists already; go on with it by --resume, replace it by "
                "--overwrite, or name another folder by --out."
            )
        if not _is_run(path):
            raise FileExistsError(
                f"{path} is not the folder of a run (no {_CONFIG} of a run in it); it "
                "is not overwritten. Name another folder by --out."
            )
        _remove_run(path)
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / _CONFIG, wanted)


def _is_run(path):
    """Whether config.json is one that a run wrote: many other tools write that name."""
    try:
        found = json.loads((path / _CONFIG).read_text())
    except (OSError, ValueError):
        return False
    names = {field.name for field in dataclasses.fields(FrontConfig)}
    return isinstance(found, dict) and {"task", *names} <= set(found)


def _remove_run(path):
    """What a run wrote; config.json last, so that half removed it is still a run."""
    for name in reversed(_OURS):
        if (path / name).is_dir():
            shutil.rmtree(path / name)
        else:
            (path / name).unlink(missing_ok=True)


def _check_same(path, wanted):
    if not _is_run(path):
        raise FileNotFoundError(
            f"{path}: expected a run to resume, found none; leave out --resume."
        )
    found = json.loads((path / _CONFIG).read_text())
    keys = sorted(set(found) | set(wanted))
    other = [key for key in keys if found.get(key) != wanted.get(key)]
    if other:
        told = "; ".join(
            f"{key}: the run has {found.get(key)!r}, asked for {wanted.get(key)!r}"
            for key in other
        )
        raise ValueError(f"{path} was made by another configuration: {told}.")


def write_json(path: Path, value: Any) -> None:
    """JSON under its final name only when whole."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Bytes under their final name only when whole and on disk."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
