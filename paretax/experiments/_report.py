"""front.json and front.png."""

import importlib.metadata
import importlib.util
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from paretax.experiments._folder import write_bytes, write_json

__all__ = ["write_report"]

_PACKAGES = ("paretax", "jax", "jaxlib", "optax", "flax", "numpy", "orbax-checkpoint")


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """front.json with where and by what it was made; front.png with the extra viz."""
    whole = {
        **report,
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "git_commit": _git_commit(),
        "device": [str(device.device_kind) for device in jax.devices()],
    }
    write_json(folder / "front.json", whole)
    if importlib.util.find_spec("matplotlib") is not None:
        from paretax import viz

        write_bytes(folder / "front.png", viz.png(viz.front(whole)))


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
