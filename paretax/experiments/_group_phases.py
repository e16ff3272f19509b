"""The phases of a run with task groups, and what is kept of each."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from paretax import grouping
from paretax.experiments import _checkpoint
from paretax.experiments._cost import flops_a_step
from paretax.experiments._group_config import (
    GroupConfig,
    finetune_steps,
    temperature_at,
)
from paretax.experiments._group_train import OpenState, Programs, TunedState
from paretax.experiments._progress import progress_bar
from paretax.experiments._task import Task
from paretax.experiments._train import NonFiniteLossError

__all__ = ["Run", "like", "no_curves", "scores", "train"]

# A narrower program has to be compiled: it must be worth it.
_NARROWER = 0.75


class Run(NamedTuple):
    """What a run needs besides its state.

    `counted` are the programs with all trunks at once: the compiler counts the
    operations of a loop over trunks once.
    """

    task: Task
    config: GroupConfig
    do: Programs
    counted: Programs
    data: dict[str, PyTree]


def no_curves(num_tasks: int) -> dict[str, Any]:
    """What is kept of the phases, before the first."""
    return {
        "phases": [],
        "finetune": [],
        "keep": None,
        "width": num_tasks,
        "affinity": {"sum": np.zeros((num_tasks, num_tasks)).tolist(), "count": 0},
        "flops": None,
        "group": None,
        "pruned": None,
        "seconds": 0.0,
    }


def like(run: Run, curves: dict[str, Any]) -> OpenState | TunedState:
    """A state of the structure and shapes that a run had with these curves."""
    state = run.do.start()
    if not curves["finetune"]:
        packing = _packed(np.asarray(curves["keep"]), curves["width"])
        return _repacked(state, packing)
    group = np.asarray(curves["group"], np.int32)
    params = grouping.PrunedParams(
        state.params.shared,
        jax.tree.map(lambda leaf: leaf[: max(group) + 1], state.params.trunks),
        jax.tree.map(lambda leaf: leaf[0], state.params.heads),
    )
    return run.do.settle(params, jnp.asarray(group))


def train(
    run: Run, state: OpenState | TunedState, curves: dict[str, Any], kept, progress
) -> TunedState:
    """Phase after phase from where the curves end; adds to them."""
    config = run.config
    opened = -(-config.steps // config.phase_steps)
    total = opened + -(-finetune_steps(config) // config.phase_steps)
    done = len(curves["phases"]) + len(curves["finetune"])
    started = time.time() - curves["seconds"]
    with progress_bar("phase", total, done, progress) as show:
        for number in range(done + 1, total + 1):
            if isinstance(state, OpenState) and number <= opened:
                state = _open_phase(run, state, curves)
            else:
                state = _tune_phase(run, _settled(run, state, curves), curves)
            curves["seconds"] = time.time() - started
            if kept is not None:
                _checkpoint.save(kept, number, state, curves, "phase")
            show(_told(run, curves))
    return _settled(run, state, curves)


def _open_phase(run, state: OpenState, curves) -> OpenState:
    done, width = int(state.step), curves["width"]
    count = min(run.config.phase_steps, run.config.steps - done)
    keep = np.array(state.keep.keep)  # a copy: the state is donated
    packing = _packed(keep, width)
    args = (packing, run.data["train"], run.do.open_rows(done, count=count))
    state, f, bad = run.do.open_phase(state, *args)
    _check_finite(run, f, bad, f"in steps {done + 1} to {done + count}")
    if keep.all():
        _add_affinity(run, state, curves)
        if curves["flops"] is None:
            curves["flops"] = flops_a_step(run.counted.open_phase, state, *args)
    left = np.asarray(state.keep.keep)
    need = grouping.pack(left).tasks.shape[1]
    curves["width"] = need if need <= _NARROWER * width else width
    curves["keep"] = left.tolist()
    curves["phases"].append(_seen(run, done + count, state, f))
    return _repacked(state, _packed(left, curves["width"]), packing)


def _repacked(state, new, old=None):
    """On the host: an eager program for each leaf would have to be compiled."""
    here = jax.tree.map(np.asarray, (state.params, state.optimizer))
    moved = jax.tree.map(jnp.array, grouping.repack(here, new, old))
    return state._replace(params=moved[0], optimizer=moved[1])


def _packed(keep, width):
    """The heads that are kept, with padding up to a width."""
    tasks, valid = grouping.pack(keep)
    more = ((0, 0), (0, width - tasks.shape[1]))
    pad = lambda leaf: jnp.asarray(np.pad(leaf, more))
    return grouping.Packing(pad(tasks), pad(valid))


def _add_affinity(run, state, curves):
    found = run.do.affinity(state.params, run.data["train"])
    total = np.asarray(curves["affinity"]["sum"]) + np.asarray(found, np.float64)
    count = curves["affinity"]["count"] + 1
    curves["affinity"] = {"sum": total.tolist(), "count": count}


def _seen(run, step, state, losses):
    names, keep = run.task.task_names, state.keep.keep
    probabilities, entropy = run.do.decided(state.params.logits, keep)
    return {
        "step": step,
        "temperature": temperature_at(run.config, step),
        "loss": _named(names, losses),
        "entropy": _named(names, entropy),
        "probabilities": np.asarray(probabilities).tolist(),
        "heads": int(np.sum(keep)),
    }


def _settled(run, state, curves) -> TunedState:
    """After pruning; the first time, validation is looked at."""
    if isinstance(state, TunedState):
        return state
    packing = _packed(np.asarray(state.keep.keep), curves["width"])
    here = jax.tree.map(np.asarray, state.params)
    pruned, group = jax.tree.map(jnp.array, grouping.prune(here, packing))
    curves["group"] = group.tolist()
    curves["pruned"] = scores(run, pruned, group, "validation")
    return run.do.settle(pruned, group)


def _tune_phase(run, state: TunedState, curves) -> TunedState:
    done = int(state.step)
    count = min(run.config.phase_steps, finetune_steps(run.config) - done)
    rows = run.do.tune_rows(done, count=count)
    state, f, bad = run.do.tune_phase(state, run.data["train"], rows)
    _check_finite(run, f, bad, f"in steps {done + 1} to {done + count} after pruning")
    losses = _named(run.task.task_names, f)
    curves["finetune"].append({"step": done + count, "loss": losses})
    return state


def scores(run: Run, pruned, group, split: str) -> dict[str, Any]:
    """Losses and scores of a pruned model on a split, by task.

    Raises:
      NonFiniteLossError: names the tasks whose losses are not finite.
    """
    found = run.do.evaluate(pruned, group, run.data[split])
    _check_finite(run, found.loss, ~np.isfinite(found.loss), f"on {split}")
    names = run.task.task_names
    return {
        "loss": _named(names, found.loss),
        "score": None if found.accuracy is None else _named(names, found.accuracy),
    }


def _check_finite(run, losses, bad, when):
    if np.isfinite(losses).all():
        return
    bad = np.asarray(bad) if np.any(bad) else ~np.isfinite(losses)
    names = [run.task.task_names[i] for i in np.flatnonzero(bad)]
    raise NonFiniteLossError(
        f"the losses of the tasks {names} are not finite {when}; lower learning_rate. "
        "The checkpoint of the phase before is kept."
    )


def _named(names, values):
    return dict(zip(names, np.asarray(values).tolist(), strict=True))


def _told(run, curves):
    last = (curves["finetune"] or curves["phases"])[-1]
    told = f"train loss {sum(last['loss'].values()):.4f}"
    if curves["finetune"]:
        return f"{told}  after pruning"
    entropy = np.mean(list(last["entropy"].values()))
    every = len(run.task.task_names) * run.config.groups
    return f"{told}  heads {last['heads']} of {every}  entropy {entropy:.3f}"
