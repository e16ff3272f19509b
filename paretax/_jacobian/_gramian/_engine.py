"""Shares of K from the layers, as the plan says, and what the way back needs."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from paretax._jacobian._gramian._backward import Forward, each_task, forward
from paretax._jacobian._gramian._devices import scattered, vary
from paretax._jacobian._gramian._layers import factored_gramian, leaf_gradient
from paretax._jacobian._gramian._plan import LeafPlan, goes_again
from paretax._jacobian._gramian._program import Program
from paretax._jacobian._gramian._pullback import Kept
from paretax._jacobian._gramian._replay import zeros_at
from paretax._jacobian._gramian._site import Site
from paretax._jacobian._stacked import accumulator, sum_of_products
from paretax._types import Active, Gramian

__all__ = [
    "backward",
    "gramian_of",
    "rows_of",
    "site_rows",
    "weighted_of",
]


def gramian_of(
    program: Program,
    plans: Sequence[LeafPlan],
    active: Active | None,
    chunk_size: int | None,
    precise: bool,
) -> tuple[Any, Gramian, Kept]:
    """Results of the program, K, and what the way back needs."""
    run, rows, cotangents, columns = backward(program, plans, active, chunk_size)
    sites = {k: (run.inputs[k], cotangents[k]) for k in cotangents}
    with accumulator(program.leaves, precise) as dtype:
        gram = _assemble(program, plans, rows, sites, run.heads, columns, dtype)
    held = {k: rows[k] for k in rows if plans[k].held}
    return program.finish(run.outputs), gram, _kept(plans, run, sites, held, active)


def weighted_of(
    program: Program, plans: Sequence[LeafPlan], active: Active | None
) -> tuple[Any, Kept]:
    """Results of the program and what one weighted gradient needs; no Gramian."""
    wanted = [k for k, plan in enumerate(plans) if goes_again(plan)]
    run = forward(program, wanted, {}, active)
    return program.finish(run.outputs), _kept(plans, run, {}, {}, active)


def rows_of(program: Program, active: Active | None, chunk_size: int | None):
    """Results of the program, and the gradients of all tasks on every leaf."""
    run = forward(program, range(len(program.leaves)), {}, active)
    rows = {}
    if run.seeds:
        rows = each_task(lambda seeds: run.pull(seeds)[0], run.seeds, chunk_size)
    stacked = [
        _with_heads(rows.get(k), run.heads.get(k, {}), leaf, program.num_tasks)
        for k, leaf in enumerate(program.leaves)
    ]
    return program.finish(run.outputs), jax.tree.unflatten(program.treedef, stacked)


def _kept(plans, run: Forward, sites, rows, active) -> Kept:
    again = any(goes_again(plan) for plan in plans) and bool(run.seeds)
    seeds, pull = (run.seeds, run.pull) if again else ([], None)
    return Kept(sites, rows, run.heads, seeds, pull, active)


def backward(program: Program, plans, active, chunk_size):
    """Forward and back: per-task gradients, cotangents at sites, columns of K."""
    taps = {k: plan.site for k, plan in enumerate(plans) if plan.site is not None}
    wanted = [k for k, plan in enumerate(plans) if goes_again(plan) or plan.held]
    run = forward(program, wanted, taps, active)
    streamed = [k for k in wanted if plans[k].route == "streamed"]
    direct = [k for k in wanted if plans[k].route == "explicit" or plans[k].held]
    rows, cotangents, columns = {}, {}, None
    if run.seeds and streamed:
        rows, columns = _stream(run, program, streamed, direct, chunk_size)
    elif run.seeds and (taps or direct):

        def back(seeds):
            leaves, added = run.pull(seeds)
            return {k: leaves[k] for k in direct}, added

        rows, cotangents = each_task(back, run.seeds, chunk_size)
    m = program.num_tasks
    if not run.seeds:
        cotangents = {k: _nothing(m, site) for k, site in taps.items()}
    rows = {
        k: _with_heads(rows.get(k), run.heads.get(k, {}), program.leaves[k], m)
        for k in direct
    }
    return run, rows, cotangents, columns


def _nothing(m: int, site: Site) -> Array:
    zero = zeros_at(site)
    return jnp.zeros((m, *zero.shape), zero.dtype)


def _assemble(program, plans, rows, sites, heads, columns, dtype) -> Gramian:
    m, axis = program.num_tasks, program.axis_name
    total = vary(jnp.zeros((m, m), dtype), axis)
    own = [vary(jnp.zeros((), dtype), axis)] * m
    if columns is not None:
        total = total + columns.astype(dtype)
    for k, plan in enumerate(plans):
        if plan.route == "one task" and plan.counted:
            ((task, gradient),) = heads[k].items()
            row = scattered(gradient[None], axis).astype(dtype).reshape(-1)
            own[task] = own[task] + jnp.vdot(row, row, precision="highest")
        elif plan.route == "factored":
            inputs, g = sites[k]
            total = total + factored_gramian(plan.site, inputs, g, dtype, axis)
        elif plan.route == "explicit":
            if plan.site is None:
                gradients = rows[k]
            else:
                inputs, g = sites[k]
                gradients = site_rows(program.leaves[k], plan.site, inputs, g)
            total = total + sum_of_products([scattered(gradients, axis)], dtype)
    total = 0.5 * (total + total.T) + jnp.diag(jnp.stack(own))
    return total if axis is None else jax.lax.psum(total, axis)


def site_rows(like: Array, site: Site, inputs, g) -> Array:
    """Gradients of all tasks from a layer's inputs and cotangents."""
    return jax.vmap(lambda one: leaf_gradient(site, inputs, like, one))(g)


def _with_heads(rows, parts: dict[int, Array], leaf: Array, m: int) -> Array:
    """Gradients of all tasks: the trunk's share, and that of each task's own head."""
    if not parts:
        return jnp.zeros((m, *leaf.shape), leaf.dtype) if rows is None else rows
    zero = jnp.zeros_like(leaf)
    stacked = jnp.stack([parts.get(task, zero) for task in range(m)])
    return stacked if rows is None else rows + stacked


def _stream(run: Forward, program: Program, streamed, direct, chunk_size):
    """K's columns by forward mode: one task's gradient at a time, pushed forward."""
    leaves, axis = program.leaves, program.axis_name
    others = {k: leaves[k] for k in direct}
    values = {k: leaves[k] for k in streamed}
    _, push = jax.linearize(lambda v: run.trunk({**others, **v}, {}), values)

    def column(seeds):
        gradient = run.pull(seeds)[0]
        whole = {k: gradient[k] for k in streamed}
        if axis is not None:
            summed = jax.lax.psum(whole, axis)
            whole = {k: vary(leaf, axis) for k, leaf in summed.items()}
        tangents = push(whole)
        inner = [
            jnp.tensordot(seed, tangent, axes=tangent.ndim, precision="highest")
            for seed, tangent in zip(run.seeds, tangents, strict=True)
        ]
        return {k: gradient[k] for k in direct}, functools.reduce(jnp.add, inner)

    return each_task(column, run.seeds, chunk_size or 1)
