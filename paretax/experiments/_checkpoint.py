"""Orbax checkpoints of a run: the last two kept, each appearing only when whole."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orbax.checkpoint as ocp

__all__ = ["manager", "restore", "save"]

_State = TypeVar("_State", bound=tuple)


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
    kept: ocp.CheckpointManager,
    number: int,
    state: Any,
    curves: dict[str, Any],
    unit: str = "epoch",
) -> None:
    """Write state, a NamedTuple, and curves as of the end of an epoch or phase.

    Raises:
      OSError: it could not be written; the checkpoint before stays whole.
    """
    args = ocp.args.Composite(
        state=ocp.args.StandardSave(state._asdict()),
        curves=ocp.args.JsonSave(curves),
    )
    before = kept.latest_step()
    try:
        kept.save(number, args=args, force=True)
    except (OSError, ValueError) as error:  # the storage layer raises ValueError
        told = "there is none before it" if before is None else f"{before} is whole"
        raise OSError(
            f"the checkpoint of {unit} {number} could not be written to "
            f"{kept.directory} ({told}); make room and go on by --resume. Cause: "
            f"{str(error)[:300]}"
        ) from error


def restore(
    kept: ocp.CheckpointManager, like: Callable[[dict[str, Any]], _State]
) -> tuple[_State, dict[str, Any]] | None:
    """The newest whole checkpoint as (state, curves), or None.

    `like(curves)` is any state of the same structure and shapes as the one to read.
    """
    number = kept.latest_step()
    if number is None:
        return None
    args = ocp.args.Composite(curves=ocp.args.JsonRestore())
    curves = kept.restore(number, args=args)["curves"]
    model: Any = like(curves)
    args = ocp.args.Composite(state=ocp.args.StandardRestore(model._asdict()))
    return type(model)(**kept.restore(number, args=args)["state"]), curves
