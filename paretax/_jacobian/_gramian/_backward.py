"""One forward pass, and every task's way back to layers and parameters.

Heads go backward once, each for its own task; the trunk goes backward for all tasks
together, from the cotangents of the values that the heads read.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jaxtyping import Array

from paretax._jacobian._gramian._devices import axis_size, vary
from paretax._jacobian._gramian._flat import Flat
from paretax._jacobian._gramian._program import Program
from paretax._jacobian._gramian._replay import Taps, replay, zeros_at
from paretax._jacobian._gramian._stages import Stages
from paretax._types import Active

__all__ = ["Forward", "each_task", "forward"]


class Forward(NamedTuple):
    """What one forward pass and the heads' backward pass leave.

    Attributes:
      outputs: the results of the program.
      seeds: for each frontier value its cotangent from every task, [m, ...].
      heads: gradients of the leaves that heads read: leaf -> task -> gradient.
      trunk: `trunk(leaves, added) -> frontier values`, for the leaves asked for.
      pull: its derivative's transpose: cotangents of the frontier -> (leaves, added).
      inputs: the other operand at each site.
    """

    outputs: list[Any]
    seeds: list[Array]
    heads: dict[int, dict[int, Array]]
    trunk: Callable
    pull: Callable
    inputs: dict[int, Array]


def forward(
    program: Program,
    wanted: Sequence[int],
    taps: Taps,
    active: Active | None,
) -> Forward:
    """Runs a program forward and its heads backward.

    Args:
      program: losses of parameters.
      wanted: positions of the leaves that the trunk is differentiated in directly.
      taps: sites, by the position of the leaf.
      active: tasks that count; cotangents of the others are zero, whatever they hold.
    """
    flat, plan, axis = program.flat, program.stages, program.axis_name
    base = {**flat.consts, **dict(zip(flat.inputs, program.leaves, strict=True))}
    passed = _passed_on(flat, plan)

    def trunk(values, added):
        env = {**base, **{flat.inputs[k]: value for k, value in values.items()}}
        kept = replay(flat, plan.trunk, env, taps, added)
        return [env[i] for i in plan.frontier], ({i: env[i] for i in passed}, kept)

    values = {k: program.leaves[k] for k in wanted}
    added = {key: vary(zeros_at(site), axis) for key, site in taps.items()}
    frontier, pull, (env, kept) = jax.vjp(trunk, values, added, has_aux=True)
    env = {**base, **env, **dict(zip(plan.frontier, frontier, strict=True))}
    backs = _heads_backward(program, env, active)
    replay(flat, plan.rest, env, {}, {})
    outputs = [x.val if isinstance(x, Literal) else env[x] for x in flat.outputs]

    seeds = [_stacked(backs, i, env[i]) for i in plan.frontier]
    heads = {}
    for k, leaf in enumerate(flat.inputs):
        parts = {t: back[leaf] for t, back in enumerate(backs) if leaf in back}
        if parts:
            heads[k] = parts
    return Forward(outputs, seeds, heads, lambda v, a: trunk(v, a)[0], pull, kept)


def _passed_on(flat: Flat, plan: Stages) -> set[int]:
    """Values of the trunk that later stages read and that carry no derivative."""
    made = {i for k in plan.trunk for i in flat.steps[k].outputs}
    later = [*plan.join, *plan.rest, *(k for head in plan.heads for k in head)]
    read = {i for k in later for i in flat.steps[k].inputs if isinstance(i, int)}
    read |= {i for i in flat.outputs if isinstance(i, int)}
    return (made & read) - set(plan.frontier)


def _heads_backward(program: Program, env, active):
    """For each task, cotangents of what its head and the join read; fills `env`."""
    flat, plan = program.flat, program.stages

    def heads(reads):
        made, scalars = {}, []
        for task, values in enumerate(reads):
            local = {**env, **values}
            replay(flat, plan.heads[task], local, {}, {})
            scalars.append([local[i] for i in plan.scalars[task]])
            made.update({i: local[i] for i in _made(flat, plan.heads[task])})
        return scalars, made

    def join(joined, scalars):
        local = {**env, **joined}
        for names, values in zip(plan.scalars, scalars, strict=True):
            local.update(zip(names, values, strict=True))
        replay(flat, plan.join, local, {}, {})
        result = flat.outputs[0]
        losses = result.val if isinstance(result, Literal) else local[result]
        return losses, {i: local[i] for i in _made(flat, plan.join)}

    reads = [{i: env[i] for i in read} for read in plan.reads]
    scalars, back_heads, made = jax.vjp(heads, reads, has_aux=True)
    joined = {i: env[i] for i in plan.joined}
    env.update(made)
    losses, back_join, made = jax.vjp(join, joined, scalars, has_aux=True)
    env.update(made)
    by_join, by_scalar = jax.vmap(back_join)(_one_each(program, losses.dtype))
    own = [[x[task] for x in values] for task, values in enumerate(by_scalar)]
    (backs,) = back_heads(own)
    for i, rows in by_join.items():
        for task, back in enumerate(backs):
            back[i] = back[i] + rows[task] if i in back else rows[task]
    if active is None:
        return backs
    return [
        {i: jnp.where(active[task], x, 0) for i, x in back.items()}
        for task, back in enumerate(backs)
    ]


def _one_each(program: Program, dtype) -> Array:
    """One cotangent a task; of the mean over devices, where there are several."""
    eye = jnp.eye(program.num_tasks, dtype=dtype) / axis_size(program.axis_name)
    return vary(eye.astype(dtype), program.axis_name)


def _made(flat: Flat, steps) -> list[int]:
    return [i for k in steps for i in flat.steps[k].outputs]


def _stacked(backs, i: int, value) -> Array:
    """Cotangents of one frontier value from all tasks; zero where a task reads not."""
    return jnp.stack(
        [back[i] if i in back else jnp.zeros_like(value) for back in backs]
    )


def each_task(fun: Callable, seeds: list[Array], chunk_size: int | None):
    """`fun(seeds of one task)` for all tasks at once, or for `chunk_size` at a time."""
    m = seeds[0].shape[0]
    if chunk_size is None or chunk_size >= m:
        return jax.vmap(fun)(seeds)
    if chunk_size == 1:
        return jax.lax.map(fun, seeds)
    return jax.lax.map(fun, seeds, batch_size=chunk_size)
