"""The run folder: its configuration, and files that are whole or not there."""

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from paretax.experiments import _checkpoint
from paretax.experiments._devices import on_first_host
from paretax.experiments._task import Task, fingerprint

__all__ = ["run_folder", "write_bytes", "write_json"]

_CONFIG = "config.json"


@contextlib.contextmanager
def run_folder(
    out: str | Path | None,
    task: Task,
    config: Any,
    *,
    outputs: Sequence[str],
    resume: bool,
    overwrite: bool,
) -> Iterator[ocp.CheckpointManager | None]:
    """The checkpoints in the folder of a run, new or resumed; None without a folder.

    `config` is a frozen dataclass; `outputs` are the files that such a run writes at
    its end. Overwriting removes what a run of this kind wrote there and nothing else.

    Raises:
      FileExistsError: it exists and is neither resumed nor overwritten, or is no run's.
      FileNotFoundError: nothing there to resume.
      ValueError: the run that is there has another configuration or other data; names
        the fields.
    """
    if out is None:
        yield None
        return
    path = Path(out)
    on_first_host(lambda: _open(path, task, config, outputs, resume, overwrite))
    with _checkpoint.manager(path) as kept:
        yield kept


def _open(path, task, config, outputs, resume, overwrite):
    own = dataclasses.asdict(config)
    wanted = {"task": task.name, "data": fingerprint(task), **own}
    if resume:
        _check_same(path, wanted)
        return
    if path.exists() and any(path.iterdir()):
        if not overwrite:
            raise FileExistsError(
                f"{path} exists already; go on with it by --resume, replace it by "
                "--overwrite, or name another folder by --out."
            )
        if not _is_run(path, wanted):
            raise FileExistsError(
                f"{path} is not the folder of a run (no {_CONFIG} of such a run in "
                "it); it is not overwritten. Name another folder by --out."
            )
        _remove_run(path, outputs)
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / _CONFIG, wanted)


def _is_run(path, wanted):
    """Whether config.json is one that such a run wrote: many tools write that name."""
    try:
        found = json.loads((path / _CONFIG).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and set(wanted) - {"data"} <= set(found)


def _remove_run(path, outputs):
    """What a run wrote; config.json last, so that half removed it is still a run."""
    for name in (*outputs, "checkpoints", _CONFIG):
        if (path / name).is_dir():
            shutil.rmtree(path / name)
        else:
            (path / name).unlink(missing_ok=True)


def _check_same(path, wanted):
    if not _is_run(path, wanted):
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
