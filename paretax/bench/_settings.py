"""What a benchmark is: data sets × methods × learning rates × seeds, from one file."""

import dataclasses
import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paretax._checks import check_count, check_positive

__all__ = [
    "SINGLE_TASK",
    "TUNED",
    "DatasetSettings",
    "Settings",
    "as_json",
    "from_json",
    "read_settings",
]

SINGLE_TASK = "single_task"
TUNED = "tuned_weights"


@dataclasses.dataclass(frozen=True)
class DatasetSettings:
    """A data set, and how long it is trained on."""

    name: str
    """As `paretax data list` has it, or module:attribute of your own task."""
    steps: int
    """Of training, a multiple of `evaluations`."""
    batch_size: int
    """Examples a step."""
    examples: int | None = None
    """The first so many of each split; None for all."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How methods are compared.

    Raises:
      ValueError: an empty list, a repeated entry, a size below 1, a rate that is not
        positive, a reserved name, steps that `evaluations` does not divide.

    Example:
      >>> from paretax import bench
      >>> bench.Settings(
      ...     datasets=(bench.DatasetSettings("yeast", steps=100, batch_size=32),),
      ...     methods={"total": {}, "nash_mtl": {"max_norm": None}},
      ... ).seeds
      (0, 1, 2)
    """

    datasets: tuple[DatasetSettings, ...]
    """At least one."""
    methods: Mapping[str, Mapping[str, Any]]
    """Name → options. The first word is the factory, further words tell two uses of it
    apart: "nash_mtl by steps"."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of initial parameters, order of examples and random methods."""
    learning_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    """The grid of every method and of both baselines."""
    optimizer: str = "adam"
    """adam, or sgd with momentum 0.9; either with cosine decay to 0."""
    evaluations: int = 5
    """Points of a curve, evenly over the steps; the last is the result."""
    cells_at_once: int = 1
    """Cells that one call of a program trains: 1 is fastest on a CPU, on an accelerator
    as many as fit."""
    tuned_weights_trials: int | None = None
    """Weight vectors that are tried for the tuned weights; None matches the budget."""

    def __post_init__(self):
        for name in ("datasets", "methods", "seeds", "learning_rates"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least one, got none.")
        names = [part.name for part in self.datasets]
        for name, entries in (
            ("datasets", names),
            ("seeds", self.seeds),
            ("learning_rates", self.learning_rates),
        ):
            if len(set(entries)) < len(entries):
                raise ValueError(f"{name}: expected no entry twice, got {entries}.")
        for seed in self.seeds:
            if not isinstance(seed, int) or not 0 <= seed < 2**31:
                raise ValueError(
                    f"seeds: expected integers from 0 to 2³¹ − 1, got {seed!r}."
                )
        for rate in self.learning_rates:
            check_positive("learning_rates", rate)
        if self.optimizer not in ("adam", "sgd"):
            raise ValueError(
                f"optimizer: expected adam or sgd, got {self.optimizer!r}."
            )
        self._check_sizes()

    def _check_sizes(self):
        check_count("evaluations", self.evaluations)
        check_count("cells_at_once", self.cells_at_once)
        if self.tuned_weights_trials is not None:
            check_count("tuned_weights_trials", self.tuned_weights_trials)
        for part in self.datasets:
            check_count("steps", part.steps)
            check_count("batch_size", part.batch_size)
            if part.examples is not None:
                check_count("examples", part.examples)
            if part.steps % self.evaluations:
                raise ValueError(
                    f"steps: expected a multiple of the {self.evaluations} evaluations "
                    f"for {part.name}, got {part.steps}."
                )
        for name in (SINGLE_TASK, TUNED):
            if name in self.methods:
                raise ValueError(
                    f"methods: {name} is a baseline, which is always there; leave it "
                    "out."
                )


def as_json(settings: Settings) -> str:
    """The settings as JSON, the same text for the same settings."""
    return json.dumps(dataclasses.asdict(settings), indent=2, ensure_ascii=False)


def from_json(text: str) -> Settings:
    """The settings that `as_json` wrote."""
    found = json.loads(text)
    parts = tuple(DatasetSettings(**part) for part in found.pop("datasets"))
    for key in ("seeds", "learning_rates"):
        found[key] = tuple(found[key])
    return Settings(datasets=parts, **found)


def read_settings(path: str | os.PathLike) -> Settings:
    """The settings in a TOML file.

    Keys are those of `Settings`. `[datasets."NAME"]` holds steps, batch_size and
    examples, whose defaults stand at the top of the file; `[methods]` holds a table of
    options for each method.

    Args:
      path: the file.

    Returns:
      `Settings`.

    Raises:
      FileNotFoundError: no such file.
      ValueError: no TOML, an unknown key (the nearest known one is named), or what
        `Settings` refuses.

    Example:
      >>> import pathlib, tempfile
      >>> from paretax import bench
      >>> file = pathlib.Path(tempfile.mkdtemp()) / "small.toml"
      >>> _ = file.write_text('''
      ... steps = 100
      ... batch_size = 32
      ... [datasets]
      ... yeast = {}
      ... [methods]
      ... nash_mtl = { max_norm = 1.0 }
      ... ''')
      >>> bench.read_settings(file).datasets[0].steps
      100

    Cost: none.
    """
    try:
        found = tomllib.loads(Path(path).read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: expected TOML, got an error: {error}.") from error
    sizes = [f.name for f in dataclasses.fields(DatasetSettings) if f.name != "name"]
    own = [field.name for field in dataclasses.fields(Settings)]
    _check_keys(path, "", found, [*own, *sizes])
    defaults = {key: found.pop(key) for key in sizes if key in found}
    parts = []
    for name, table in _table(path, found, "datasets").items():
        _check_keys(path, f"datasets.{name}: ", table, sizes)
        whole = {**defaults, **table}
        for key in ("steps", "batch_size"):
            if key not in whole:
                raise ValueError(f"{path}: expected {key} for {name}, found none.")
        parts.append(DatasetSettings(name, **whole))
    methods = _table(path, found, "methods")
    for key in ("seeds", "learning_rates"):
        if key in found:
            found[key] = tuple(found[key])
    return Settings(**{**found, "datasets": tuple(parts), "methods": methods})


def _table(path, found, key):
    table = found.get(key)
    if not isinstance(table, dict) or not all(
        isinstance(value, dict) for value in table.values()
    ):
        raise ValueError(f"{path}: expected a table [{key}] of tables, got {table!r}.")
    return table


def _check_keys(path, where, found, known):
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.0)[0]
            raise ValueError(
                f"{path}: {where}unknown key {key!r}. Did you mean {near!r}?"
            )
