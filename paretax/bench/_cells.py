"""A cell: one training run, kept as one file that is whole or not there."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, PyTree

from paretax.experiments._folder import write_bytes

__all__ = ["Cell", "Result", "cell_path", "read_cell", "slug", "write_cell"]


class Cell(NamedTuple):
    """Where a run stands in the table.

    Attributes:
      dataset: its name.
      method: its name; `single_task` and `tuned_weights` are the baselines.
      rate: the first learning rate.
      seed: of the run.
      variant: of a baseline: which task, or which weights; else 0.
    """

    dataset: str
    method: str
    rate: float
    seed: int
    variant: int = 0


class Result(NamedTuple):
    """What a cell's file holds.

    Attributes:
      config: all that the run depends on, and the versions that made it.
      steps: of the points of the curves, [e].
      train_loss: mean over the steps since the point before, [e, m].
      validation_loss, validation_metric: [e, m].
      params: the leaves of the last parameters, in `jax.tree.leaves` order.
    """

    config: dict[str, Any]
    steps: np.ndarray
    train_loss: Float[np.ndarray, "e m"]
    validation_loss: Float[np.ndarray, "e m"]
    validation_metric: Float[np.ndarray, "e m"]
    params: list[PyTree]


def slug(name: str) -> str:
    """A name as that of a file; different names stay different."""
    return re.sub(
        r"[^A-Za-z0-9_.]",
        lambda found: {"/": "+", " ": "-"}.get(found[0], f"%{ord(found[0]):x};"),
        name,
    )


def cell_path(folder: Path, cell: Cell) -> Path:
    """Where a cell's file lies."""
    name = f"rate{cell.rate!r}_seed{cell.seed}_{cell.variant}.npz"
    return folder / "cells" / slug(cell.dataset) / slug(cell.method) / name


def write_cell(path: Path, result: Result) -> None:
    """The file, whole or not at all; the same result gives the same bytes."""
    text = json.dumps(result.config, sort_keys=True, ensure_ascii=False)
    arrays = {
        "config": np.array(text),
        **{key: getattr(result, key) for key in result._fields[1:5]},
        **{f"params_{i:03}": np.asarray(p) for i, p in enumerate(result.params)},
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content.getvalue())


def read_cell(path: Path) -> Result:
    """What the file holds.

    Raises:
      FileNotFoundError: no such cell.
      ValueError: the file is damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
            return Result(
                json.loads(str(found["config"])),
                *(found[key] for key in Result._fields[1:5]),
                params=[found[k] for k in sorted(found) if k.startswith("params_")],
            )
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path}: expected a whole cell, got a damaged file ({error}); remove it "
            "and start the same command again."
        ) from error
