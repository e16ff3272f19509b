"""The command line: `paretax front | data | doctor`."""

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Literal

import jax
import tyro
from rich.console import Console
from rich.table import Table

from paretax import data as data_sets
from paretax import experiments
from paretax._version import __version__

__all__ = ["data", "doctor", "front", "main"]

_QUICK_EXAMPLES = 2000
_CORE = ("jax", "jaxlib", "optax", "flax", "chex", "jaxtyping", "orbax-checkpoint")
_EXTRAS = {
    "data": ("tensorflow_datasets", "importlib_resources", "pureml"),
    "reference": ("cvxpy", "clarabel", "ecos"),
    "viz": ("matplotlib",),
    "notebooks": ("nbclient", "ipykernel"),
}


def main() -> None:
    """Entry point of the console script: exit code 1 for an error, 130 for Ctrl-C."""
    if sys.argv[1:] == ["--version"]:
        print(f"paretax {__version__}")
        return
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"front": front, "data": data, "doctor": doctor},
            prog="paretax",
            description=(
                "Learn many tasks at once. Start with `paretax front`, which trains a "
                "whole Pareto front of models on real images in one pass; `paretax "
                "doctor` says what is installed and what is missing."
            ),
        )
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"paretax: {error}", markup=False, highlight=False)
        raise SystemExit(1) from error


def front(
    dataset: tyro.conf.Positional[str] = "multi_mnist",
    config: tyro.conf.OmitArgPrefixes[
        experiments.FrontConfig
    ] = experiments.FrontConfig(),  # noqa: B008 - immutable
    out: Path | None = None,
    resume: tyro.conf.FlagCreatePairsOff[bool] = False,
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False,
    quick: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Train a whole Pareto front of models in one pass.

    Examples: `paretax front`, `paretax front multi_mnist/fashion --members 5`,
    `paretax front my_module:task --out runs/mine`. Ctrl-C at any moment; the same
    command with --out and --resume goes on to the same result.

    Args:
      dataset: A data set (`paretax data list`), or module:name of your own
        `experiments.Task`, or of a function that returns one.
      config: How it is trained.
      out: The run folder; by default a new one, runs/NAME or runs/NAME-2 and so on.
      resume: Go on with the run in --out.
      overwrite: Replace the run in --out.
      quick: At most 3 members, 2 epochs and 2,000 examples: does it work here?
    """
    task = _task(dataset, _QUICK_EXAMPLES if quick else None)
    if quick:
        config = dataclasses.replace(
            config, members=min(config.members, 3), epochs=min(config.epochs, 2)
        )
    if resume and out is None:
        raise ValueError("out: expected the folder of the run to resume; say --out.")
    folder = out or _new_folder(task.name)
    try:
        result = experiments.front(
            task, config, out=folder, resume=resume, overwrite=overwrite, progress=True
        )
    except KeyboardInterrupt:
        again = [a for a in sys.argv[1:] if a not in ("--resume", "--overwrite")]
        where = [] if out else ["--out", str(folder)]
        print("\nInterrupted. Go on with:", file=sys.stderr)
        print("  paretax", *again, *where, "--resume", file=sys.stderr)
        raise SystemExit(130) from None
    _tell(result)


def data(
    action: tyro.conf.Positional[Literal["list", "prepare", "info"]] = "list",
    name: tyro.conf.Positional[str] = "multi_mnist",
) -> None:
    """List data sets, prepare one, or say what it holds.

    Args:
      action: list, prepare or info.
      name: The data set, for prepare and info.
    """
    if action == "prepare":
        print(data_sets.prepare(name))
    elif action == "info":
        for heading, text in data_sets.info(name).items():
            print(f"{heading:10} {text}")
    else:
        for known in data_sets.names():
            print(f"{known:32} {data_sets.status(known)}")


def doctor() -> None:
    """Say which versions, devices, extras and data are here, and what is missing."""
    console = Console(soft_wrap=True)
    table = Table(box=None, show_header=False)
    table.add_row("paretax", __version__)
    table.add_row("python", platform.python_version())
    for name in _CORE:
        table.add_row(name, importlib.metadata.version(name))
    table.add_row("devices", ", ".join(str(device) for device in jax.devices()))
    table.add_row("x64", "on" if jax.config.read("jax_enable_x64") else "off")
    for extra, modules in _EXTRAS.items():
        missing = [m for m in modules if importlib.util.find_spec(m) is None]
        told = f"missing: pip install 'paretax\\[{extra}]'" if missing else "installed"
        table.add_row(f"extra {extra}", told)
    for name in data_sets.names():
        table.add_row(name, data_sets.status(name).replace("[", "\\["))
    console.print(table)


def _task(name: str, examples: int | None) -> experiments.Task:
    if ":" not in name:
        return experiments.multi_mnist(name, examples=examples)
    module, attribute = name.split(":", 1)
    sys.path.insert(0, os.getcwd())
    found = getattr(importlib.import_module(module), attribute, None)
    if found is None:
        raise ValueError(f"dataset: the module {module} has no {attribute!r}.")
    task = found if isinstance(found, experiments.Task) else found()
    experiments.check_task(task)
    return task


def _new_folder(name: str) -> Path:
    folder = Path("runs") / name
    number = 2
    while folder.exists():
        folder = Path("runs") / f"{name}-{number}"
        number += 1
    return folder


def _tell(result: experiments.Front) -> None:
    report = result.report
    space = "loss" if report["members"][0]["test"]["accuracy"] is None else "accuracy"
    table = Table(title=f"test {space}", box=None)
    table.add_column("preference")
    for name in report["task_names"]:
        table.add_column(name, justify="right")
    for member in report["members"]:
        preference = ", ".join(f"{p:.2f}" for p in member["preference"])
        values = member["test"][space].values()
        table.add_row(preference, *(f"{value:.4f}" for value in values))
    console = Console(soft_wrap=True)
    console.print(table)
    volume = report["hypervolume"]["test"][-1]
    if volume is not None:
        reference = report["hypervolume"]["reference"]
        console.print(f"test hypervolume at {reference}: {volume:.4f}", highlight=False)
    assert result.folder is not None
    picture = result.folder / "front.png"
    if picture.is_file():
        console.print(f"picture: {picture}", highlight=False)
    else:
        console.print("no picture: pip install 'paretax\\[viz]'", highlight=False)
    console.print(f"report:  {result.folder / 'front.json'}", highlight=False)
