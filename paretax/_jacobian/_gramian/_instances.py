"""Rows for every example and every task: K of shape [b·m, b·m].

One example's losses depend on that example alone, so its m backward passes are
vmapped over examples; only the products of K meet other examples.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from paretax._checks import check_active
from paretax._jacobian._gramian._engine import backward, site_rows
from paretax._jacobian._gramian._layers import (
    cotangents,
    leaf_gradient,
    rows,
)
from paretax._jacobian._gramian._plan import LeafPlan, goes_again
from paretax._jacobian._gramian._program import Program
from paretax._jacobian._gramian._pullback import Kept, WayBack, factors_of
from paretax._jacobian._gramian._site import Level, Site
from paretax._jacobian._stacked import accumulator, contract, sum_of_products
from paretax._types import Gradient, Gramian, Weights

__all__ = ["for_instances", "instances_of", "pull_back_instances"]


def instances_of(
    prepare: Callable[..., tuple[Program, list[LeafPlan]]],
    axes: Any,
    args: tuple,
    active: Array | None,
    chunk_size: int | None,
    precise: bool,
) -> tuple[Any, Gramian, Kept, Program, list[LeafPlan]]:
    """Results, K and what the way back needs, for a function of one example.

    Args:
      prepare: arguments of one example -> its program and plans.
      axes: where the arguments hold their examples, as `in_axes` of `jax.vmap`.
      args: the arguments.
      active: bool [b, m], or None.
      chunk_size: how many tasks go backward at once.
      precise: K in float64.
    """
    seen: list[tuple[Program, list[LeafPlan]]] = []

    def one(active: Array | None, args: tuple):
        program, plans = prepare(*args)
        seen.append((program, plans))
        active = check_active(active, (program.num_tasks,))
        run, held, g, _ = backward(program, plans, active, chunk_size)
        sites = {k: (run.inputs[k], g[k]) for k in g}
        return program.finish(run.outputs), sites, held, run.heads

    over = (None if active is None else 0, axes)
    outputs, sites, held, heads = jax.vmap(one, over)(active, args)
    program, plans = seen[-1]
    with accumulator(program.leaves, precise) as dtype:
        gram = _assemble(program, plans, sites, held, heads, dtype)
    keep = {k: held[k] for k in held if plans[k].held}
    return outputs, gram, Kept(sites, keep, heads, [], None, active), program, plans


def _assemble(program, plans, sites, held, heads, dtype) -> Gramian:
    m = program.num_tasks
    b = jax.tree.leaves((sites, held, heads))[0].shape[0]
    total = jnp.zeros((b, m, b, m), dtype)
    for k, plan in enumerate(plans):
        if plan.route == "one task" and plan.counted:
            ((task, gradient),) = heads[k].items()
            share = sum_of_products([gradient], dtype)
            total = total.at[:, task, :, task].add(share)
        elif plan.site is not None and plan.route == "factored":
            inputs, g = sites[k]
            total = total + _pairs(plan.site, inputs, g, dtype)
        elif plan.route == "explicit":
            if plan.site is None:
                each = held[k]
            else:
                each = _rows_of_examples(program.leaves[k], plan.site, *sites[k])
            flat = each.reshape(b * m, *each.shape[2:])
            total = total + sum_of_products([flat], dtype).reshape(total.shape)
    gram = total.reshape(b * m, b * m)
    return 0.5 * (gram + gram.T)


def _rows_of_examples(like: Array, site: Site, inputs, g):
    def one(inputs, g):
        return site_rows(like, site, inputs, g)

    return jax.vmap(one)(inputs, g)


def _pairs(site: Site, inputs, g, dtype):
    """⟨Xₐᵀ Gₐₛ, X_cᵀ G_cₜ⟩ = Σ (Xₐ X_cᵀ) ∘ (Gₐₛ G_cₜᵀ), shape [b, m, b, m].

    One example a at a time: its products with all others are held, not all pairs'.
    """
    x = jax.vmap(lambda one: rows(site, one))(inputs)
    g = jax.vmap(lambda one: cotangents(site, one))(g).astype(dtype)

    def one(a):
        x_a, g_a = a
        like = jax.vmap(lambda other: site.kind.similarity(x_a, other, dtype))(x)
        if x.shape[2] == 1:
            like = like[:, :, 0, 0]
            scaled = like[:, None, :, None] * g[:, :, :, 0]
            return jnp.einsum(
                "sBp,ctBp->sct", g_a[:, :, 0], scaled, precision="highest"
            )
        turned = jnp.einsum("cBrq,sBrp->csBqp", like, g_a, precision="highest")
        return jnp.einsum("csBqp,ctBqp->sct", turned, g, precision="highest")

    return jax.lax.map(one, (x, g))


def pull_back_instances(way: WayBack, kept: Kept, weights: Weights) -> Gradient:
    """Jᵀw for weights [b·m], rows in the order of the losses."""
    parts = jax.tree.leaves((kept.sites, kept.rows, kept.heads))
    w = jnp.reshape(weights, (parts[0].shape[0], -1))
    w, sums = factors_of(way, kept, w)

    def one(k: int, plan: LeafPlan):
        factors = w if plan.counted else sums
        zero = jnp.zeros(way.like[k].shape, way.like[k].dtype)
        if plan.site is not None:
            inputs, g = kept.sites[k]
            together = Level(own=False, length=w.shape[0])
            site = plan.site._replace(
                views=(together, *plan.site.views), levels=(together, *plan.site.levels)
            )
            return leaf_gradient(site, inputs, zero, jax.vmap(contract)(factors, g))
        if k in kept.rows:
            each = kept.rows[k]
            return contract(factors.reshape(-1), each.reshape(-1, *each.shape[2:]))
        for task, gradient in kept.heads.get(k, {}).items():
            zero = zero + contract(factors[:, task], gradient)
        return zero

    leaves = [one(k, plan) for k, plan in enumerate(way.plans)]
    return jax.tree.unflatten(way.treedef, leaves)


def for_instances(plans: Sequence[LeafPlan]) -> list[LeafPlan]:
    """Plans without a second backward pass: what has no site is held."""
    return [plan._replace(held=True) if goes_again(plan) else plan for plan in plans]
