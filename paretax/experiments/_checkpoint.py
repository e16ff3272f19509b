"""Orbax checkpoints of a run: the last two kept, each appearing only when whole."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from paretax.experiments._train import TrainState

__all__ = ["manager", "restore", "save"]


@contextlib.contextmanager
def manager(folder: Path) -> Iterator[ocp.CheckpointManager]:
    """The checkpoints of a run folder, written synchronously."""
    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, enable_async_checkpointing=False
    )
    path = (folder / "checkpoints").absolute()
    with ocp.CheckpointManager(path, options=options) as kept:
        yield kept


def save(
    kept: ocp.CheckpointManager, epoch: int, state: TrainState, curves: dict[str, Any]
) -> None:
    """Write state and curves as of the end of an epoch.

    Raises:
      OSError: it could not be written; the checkpoint before stays whole.
    """
    args = ocp.args.Composite(
        state=ocp.args.StandardSave(state._asdict()),
        curves=ocp.args.JsonSave(curves),
    )
    before = kept.latest_step()
    try:
        kept.save(epoch, args=args, force=True)
    except (OSError, ValueError) as error:  # the storage layer raises ValueError
        told = "there is none before it" if before is None else f"{before} is whole"
        raise OSError(
            f"the checkpoint of epoch {epoch} could not be written to {kept.directory} "
            f"({told}); make room and go on by --resume. Cause: {str(error)[:300]}"
        ) from error


def restore(
    kept: ocp.CheckpointManager, like: TrainState
) -> tuple[TrainState, dict[str, Any]] | None:
    """The newest whole checkpoint as (state, curves), or None."""
    epoch = kept.latest_step()
    if epoch is None:
        return None
    args = ocp.args.Composite(
        state=ocp.args.StandardRestore(like._asdict()),
        curves=ocp.args.JsonRestore(),
    )
    found = kept.restore(epoch, args=args)
    return TrainState(**found["state"]), found["curves"]
