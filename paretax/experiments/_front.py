"""A front of models in one run: train, checkpoint, resume, report."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from paretax import metrics
from paretax.experiments import _checkpoint
from paretax.experiments._config import FrontConfig, preferences
from paretax.experiments._devices import is_first_host, on_first_host, placement
from paretax.experiments._folder import run_folder
from paretax.experiments._progress import progress_bar
from paretax.experiments._report import write_report
from paretax.experiments._task import Task, check_task
from paretax.experiments._train import (
    TrainState,
    check_finite,
    common_start,
    evaluator,
    initial_state,
    readout,
    trainer,
)

__all__ = ["Front", "front"]

_SPLITS = ("train", "validation", "test")
_OUTPUTS = ("front.png", "front.json")


class Front(NamedTuple):
    """A trained front.

    Attributes:
      preferences: shape [k, m].
      params: parameters of all members, leaves [k, ...].
      report: what front.json holds.
      folder: the run folder, or None.
    """

    preferences: Float[Array, "k m"]
    params: PyTree[Float[Array, "k ..."]]
    report: dict[str, Any]
    folder: Path | None


class _Run(NamedTuple):
    """What a run needs besides its state."""

    task: Task
    config: FrontConfig
    grid: Float[Array, "k m"]
    data: dict[str, PyTree]
    start: Any
    epoch: Any
    evaluate: dict[str, Any]


def front(
    task: Task,
    config: FrontConfig | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    devices: int | None = None,
) -> Front:
    """Train k members, one preference each, as one compiled program.

    Each step every member takes the gradient of its scalarized losses on a mini-batch
    of its own, steps its own optimizer, and takes a share of its neighbors' parameters
    (`ensembles.local_rounds`). With `common_passes` one model learns first, and all
    members start from it. Members are split over as many of `jax.devices()` as share
    them evenly; on many hosts (`jax.distributed.initialize()`, the same call on each,
    `out` on a disk that all see) over all devices of all hosts.

    Args:
      task: losses, parameters and data.
      config: a `FrontConfig`; None for the defaults.
      out: the run folder: config.json, checkpoints/, front.json and, with the extra
        `viz`, front.png. None keeps everything in memory.
      resume: go on with the run in `out` from its newest checkpoint. The result is that
        of the uninterrupted run, bit for bit on one machine, times excepted; with other
        devices or hosts too, but to rounding where the coupling reads distances.
      overwrite: replace the run that is in `out`.
      progress: show a bar with losses and hypervolume.
      devices: at most so many of `jax.devices()`; None for as many as share the members
        evenly. On a CPU there is one unless JAX was told otherwise before it started
        (`paretax front` does).

    Returns:
      A `Front`.

    Raises:
      ValueError: a fault of the task, named; a run in `out` of another configuration;
        devices of many hosts that do not share the members evenly.
      FileExistsError: `out` exists and is neither to be resumed nor overwritten.
      NonFiniteLossError: a member's loss is NaN or infinite; names the member.

    Example:
      >>> import jax.numpy as jnp, numpy as np
      >>> from paretax import experiments
      >>> x = np.linspace(-1, 1, 64, dtype=np.float32)
      >>> task = experiments.Task(
      ...     name="two lines", init=lambda key: jnp.zeros(2),
      ...     losses=lambda p, x: jnp.stack([jnp.mean((p[0] + p[1] * x - y) ** 2)
      ...                                    for y in (1 - x, 1 + x)]),
      ...     scores=None, train=x, validation=x, test=x,
      ...     task_names=("falling", "rising"), reference=(2.0, 2.0))
      >>> config = experiments.FrontConfig(members=3, epochs=5, batch_size=16)
      >>> result = experiments.front(task, config)
      >>> result.report["hypervolume"]["test"][-1] > 2.5
      True

    Cost: k gradients a step.
    """
    config = config or FrontConfig()
    m = check_task(task)
    if resume and out is None:
        raise ValueError("out: expected the folder of the run to resume, got None.")
    folder = None if out is None else Path(out)
    started = time.time()
    run, state = _prepare(task, config, preferences(config, m), devices)
    with run_folder(
        out, task, config, outputs=_OUTPUTS, resume=resume, overwrite=overwrite
    ) as kept:
        like = lambda curves: state
        found = _checkpoint.restore(kept, like) if kept and resume else None
        state, curves = found or (state, _no_curves())
        state, curves = _train(run, state, curves, kept, progress, started)
    report = _report(run, state, curves)
    if folder is not None:
        on_first_host(lambda: write_report(folder, "front", report, _pictures))
    return Front(run.grid, readout(state), report, folder)


def _pictures(report):
    from paretax import viz

    return {"front": viz.front(report)}


def _prepare(task, config, grid, devices):
    where = placement(config.members, devices)
    data = {split: where.everywhere(getattr(task, split)) for split in _SPLITS}
    examples = {split: len(jax.tree.leaves(rows)[0]) for split, rows in data.items()}
    run = _Run(
        task,
        config,
        grid,
        data,
        common_start(task, config, examples["train"], where)
        if config.common_passes
        else None,
        trainer(task, config, grid, examples["train"], where),
        {split: evaluator(task, where) for split in _SPLITS},
    )
    return run, initial_state(task, config, grid, examples["train"], where)


def _no_curves():
    volumes = {"validation": [], "test": []}
    return {"train_loss": [], "hypervolume": volumes, "seconds": 0.0}


def _train(run, state: TrainState, curves, kept, progress, started):
    epochs = run.config.epochs
    done = int(state.epoch)
    before = curves["seconds"]
    progress = progress and is_first_host()
    if done == 0 and run.start is not None:
        state = run.start(state, run.data["train"])
    with progress_bar("epoch", epochs, done, progress) as show:
        for epoch in range(done + 1, epochs + 1):
            state, losses = run.epoch(state, run.data["train"])
            check_finite(np.asarray(losses), run.grid, epoch)
            curves["train_loss"].append(np.asarray(losses).tolist())
            for split, values in curves["hypervolume"].items():
                values.append(_hypervolume(run, state, split))
            curves["seconds"] = before + time.time() - started
            if kept is not None:
                _checkpoint.save(kept, epoch, state, curves)
            show(_told(run.task, curves))
    return state, curves


def _told(task, curves):
    best = np.min(curves["train_loss"][-1], axis=0)
    named = zip(task.task_names, best, strict=True)
    told = "best train loss: " + ", ".join(f"{name} {f:.3f}" for name, f in named)
    volume = curves["hypervolume"]["validation"][-1]
    if volume is None:
        return told
    return f"{told}  validation hypervolume {volume:.4f}"


def _hypervolume(run, state, split):
    losses = np.asarray(run.evaluate[split](readout(state), run.data[split]).loss)
    check_finite(losses, run.grid, int(state.epoch))
    if len(run.task.reference) > 3:
        return None
    reference = jnp.asarray(run.task.reference)
    return float(metrics.hypervolume(jnp.asarray(losses), reference))


def _report(run, state, curves):
    members = [
        {"preference": np.asarray(row, np.float64).round(6).tolist()}
        for row in run.grid
    ]
    for split in _SPLITS:
        scores = run.evaluate[split](readout(state), run.data[split])
        scores = jax.tree.map(np.asarray, scores)
        for i, member in enumerate(members):
            member[split] = {
                "loss": _named(run.task, scores.loss[i]),
                "accuracy": None
                if scores.accuracy is None
                else _named(run.task, scores.accuracy[i]),
            }
    return {
        "task": run.task.name,
        "task_names": list(run.task.task_names),
        "members": members,
        "hypervolume": {"reference": list(run.task.reference), **curves["hypervolume"]},
        "train_loss": curves["train_loss"],
        "config": run.config.__dict__,
        "seconds": round(curves["seconds"], 1),
    }


def _named(task, values):
    return dict(zip(task.task_names, np.asarray(values).tolist(), strict=True))
