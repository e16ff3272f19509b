"""The report of a run and its pictures."""

import importlib.metadata
import importlib.util
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from paretax.experiments._folder import write_bytes, write_json

__all__ = ["write_report"]

_PACKAGES = ("paretax", "jax", "jaxlib", "optax", "flax", "numpy", "orbax-checkpoint")


def write_report(
    folder: Path,
    name: str,
    report: dict[str, Any],
    draw: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """NAME.json with where and by what it was made; pictures with the extra viz.

    `draw(report)` gives figures by the names of their files, without the suffix.
    """
    whole = {
        **report,
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "git_commit": _git_commit(),
        "device": [str(device.device_kind) for device in jax.devices()],
    }
    write_json(folder / f"{name}.json", whole)
    if importlib.util.find_spec("matplotlib") is not None:
        from paretax import viz

        for picture, figure in draw(whole).items():
            write_bytes(folder / f"{picture}.png", viz.png(figure))


def _git_commit() -> str | None:
    """The commit of the checkout that the package runs from, or None outside one."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
