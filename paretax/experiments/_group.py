"""Task groups and weights in one run: train, prune, finetune, resume, report."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from paretax import grouping
from paretax.experiments import _checkpoint
from paretax.experiments._folder import run_folder, write_bytes
from paretax.experiments._group_config import GroupConfig, check_groups, resolved
from paretax.experiments._group_phases import Run, like, no_curves, scores, train
from paretax.experiments._group_report import markdown, pictures, report_of
from paretax.experiments._group_train import programs
from paretax.experiments._report import write_report
from paretax.experiments._task import Task, check_task

__all__ = ["Groups", "group"]

_OUTPUTS = (
    "assignment.png",
    "affinity.png",
    "dendrogram.png",
    "group.md",
    "group.json",
)


class Groups(NamedTuple):
    """Trained groups.

    Attributes:
      group: the group of each task, shape [N], from 0.
      params: one trunk a group and one head a task, for `grouping.grouped`'s
        `pruned_predict`.
      report: what group.json holds.
      folder: the run folder, or None.
    """

    group: Int[np.ndarray, " n"]
    params: grouping.PrunedParams
    report: dict[str, Any]
    folder: Path | None


def group(
    task: Task,
    config: GroupConfig | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Groups:
    """Learn which tasks share a trunk, and all weights, in one run (DMTG).

    K trunks with a head a task each, under a relaxed assignment (`grouping.dmtg`), are
    trained in compiled phases. After each phase heads that have been improbable for
    long are taken out (`grouping.keep_heads`, `repack`), so that a step costs less and
    less. At the end each task keeps its most probable trunk and one head
    (`grouping.prune`), and the groups train on by themselves (`grouping.finetune`).
    Validation is looked at after pruning and at the end, test at the end only.

    Args:
      task: data, and a model in parts (`Task.parts`).
      config: a `GroupConfig`; None for the defaults.
      out: the run folder: config.json, checkpoints/, group.json, group.md and, with the
        extra `viz`, assignment.png, affinity.png and dendrogram.png. None keeps
        everything in memory.
      resume: go on with the run in `out` from its newest checkpoint, one a phase. The
        result is that of the uninterrupted run, bit for bit on one machine, times
        excepted.
      overwrite: replace the run that is in `out`.
      progress: show a bar with losses and heads.

    Returns:
      A `Groups`.

    Raises:
      ValueError: a fault of the task, named; a single task, more groups than tasks; a
        run in `out` of another configuration.
      FileExistsError: `out` exists and is neither to be resumed nor overwritten.
      NonFiniteLossError: a loss is NaN or infinite; names the task.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np
      >>> from paretax import experiments
      >>> x = np.linspace(-1, 1, 64, dtype=np.float32)
      >>> parts = experiments.Parts(
      ...     init_trunk=lambda key: jax.random.normal(key, (2,)),
      ...     init_head=lambda key: jnp.ones(()),
      ...     trunk=lambda w, x: w[0] + w[1] * x, head=lambda v, h: v * h,
      ...     loss=lambda y, t: (y - t) ** 2,
      ...     targets=lambda x: jnp.stack([1 - x, 1.1 - 1.1 * x, 1 + x]))
      >>> losses = lambda p, x: jnp.mean((p - parts.targets(x)) ** 2, axis=1)
      >>> task = experiments.Task(
      ...     "lines", lambda key: jnp.zeros(()), losses, None, x, x, x,
      ...     ("falling", "steeper", "rising"), (2.0, 2.0, 2.0), parts=parts)
      >>> config = experiments.GroupConfig(
      ...     groups=2, steps=200, phase_steps=50, batch_size=16, learning_rate=0.1,
      ...     temperature=1.0)
      >>> experiments.group(task, config).report["groups"]  # doctest: +SKIP
      [['rising'], ['falling', 'steeper']]

    Cost: K trunks and K·N heads a step at first; G ≤ K trunks and N heads after
    pruning, whose counts and flops the report has. On one device.
    """
    config = config or GroupConfig()
    n = check_task(task)
    _check_parts(task)
    check_groups(config, n)
    config = resolved(config, len(jax.tree.leaves(task.train)[0]))
    if resume and out is None:
        raise ValueError("out: expected the folder of the run to resume, got None.")
    folder = None if out is None else Path(out)
    splits = {s: getattr(task, s) for s in ("train", "validation", "test")}
    data = {s: jax.tree.map(jnp.asarray, rows) for s, rows in splits.items()}
    do = counted = programs(task, config)
    if config.trunks_at_once:
        counted = programs(task, dataclasses.replace(config, trunks_at_once=0))
    run = Run(task, config, do, counted, data)
    with run_folder(
        out, task, config, outputs=_OUTPUTS, resume=resume, overwrite=overwrite
    ) as kept:
        model = lambda curves: like(run, curves)
        found = _checkpoint.restore(kept, model) if kept and resume else None
        state, curves = found or (run.do.start(), no_curves(n))
        state = train(run, state, curves, kept, progress)
    final = {
        split: scores(run, state.params, state.group, split)
        for split in ("validation", "test")
    }
    report = report_of(run, state, curves, final)
    if folder is not None:
        write_bytes(folder / "group.md", markdown(report).encode())
        write_report(folder, "group", report, pictures)
    return Groups(np.asarray(state.group), state.params, report, folder)


def _check_parts(task):
    if task.parts is None:
        raise ValueError(
            "task: expected one whose model is in parts, a trunk and a head, got none; "
            "see experiments.Parts."
        )
    if jax.process_count() > 1:
        raise ValueError(f"hosts: expected one, got {jax.process_count()}.")
