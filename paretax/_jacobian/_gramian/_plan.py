"""Which way each parameter goes, decided before anything is computed."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn, jaxprs_in_params

from paretax._jacobian._gramian._flat import Flat, shaped
from paretax._jacobian._gramian._layers import extent
from paretax._jacobian._gramian._site import Site
from paretax._jacobian._gramian._sites import find_site
from paretax._jacobian._gramian._stages import Stages

__all__ = ["ROUTES", "LeafPlan", "goes_again", "plan_leaves"]

ROUTES = ("auto", "factored", "explicit", "streamed")
# What a byte costs beside a flop. On a 2-core CPU, counts with 0 to 20 chose the faster
# way on 125 sizes at a mean loss of 2 % (docs/decisions/gramian-by-layers.md).
_FLOPS_PER_BYTE = 10


class LeafPlan(NamedTuple):
    """How one parameter's share of K is formed.

    Attributes:
      name: its key path.
      route: "factored", "explicit", "streamed", "one task" (only one task's loss reads
        it: its share is one squared norm), "not in K", or "unused".
      why: the reason, in words.
      flops: to form the share of K, from the cotangents of the layers on; without the
        gradient itself where it comes from elsewhere than one product.
      bytes: of the intermediate values of this parameter over all tasks.
      site: the product that it enters, where it is tapped there.
      held: whether its m gradients are kept for the way back.
      counted: whether it enters K at all.
    """

    name: str
    route: str
    why: str
    flops: int
    bytes: int
    site: Site | None = None
    held: bool = False
    counted: bool = True


def goes_again(plan: LeafPlan) -> bool:
    """Whether its weighted gradient takes another pass through the trunk."""
    direct = plan.route in ("explicit", "streamed", "not in K")
    return direct and plan.site is None and not plan.held


class _Size(NamedTuple):
    tasks: int
    devices: int
    examples: int


class _Need(NamedTuple):
    """Arithmetic, memory moved on a device, and bytes sent between devices."""

    flops: int
    bytes: int
    sent: int


def _time(need: _Need) -> int:
    return need.flops + _FLOPS_PER_BYTE * need.bytes


def plan_leaves(
    flat: Flat,
    stages: Stages,
    names: Sequence[str],
    in_gramian: Sequence[bool],
    num_tasks: int,
    route: str | None,
    devices: int = 1,
    examples: int = 1,
) -> list[LeafPlan]:
    """A plan for every leaf, in order; with no route, for a gradient without K.

    Args:
      flat: the program.
      stages: its stages.
      names: the leaves' key paths.
      in_gramian: whether each leaf enters K.
      num_tasks: m.
      route: what is asked for.
      devices: how many the batch is split over.
      examples: how many a program of one example is vmapped over.
    """
    many = _Size(num_tasks, devices, examples)
    shut = _no_forward_mode(flat, stages) if route == "streamed" else set()
    users = _users(flat, stages)
    plans = []
    for k, leaf in enumerate(flat.inputs):
        aval, name = flat.avals[leaf], names[k]
        trunk, heads = users[k]
        size = aval.size * aval.dtype.itemsize
        if not trunk and not heads:
            plans.append(LeafPlan(name, "unused", "no loss reads it", 0, 0))
        elif not trunk and len(heads) == 1:
            why = f"only task {heads[0]} reads it"
            plan = LeafPlan(name, "one task", why, 2 * aval.size, size)
            plans.append(plan._replace(counted=in_gramian[k]))
        elif route is None or not in_gramian[k]:
            plan = LeafPlan(name, "not in K", "shared= leaves it out", 0, size)
            plans.append(plan._replace(counted=in_gramian[k]))
        else:
            why = "a custom_vjp on its way has no forward mode" * (leaf in shut)
            why = "heads read it too" if heads or leaf in stages.joined else why
            plans.append(_in_trunk(flat, stages, leaf, name, many, route, why))
    return _holding(plans, [flat.avals[leaf] for leaf in flat.inputs], num_tasks)


def _in_trunk(flat, stages, leaf, name, many, route, not_streamed) -> LeafPlan:
    aval, m = flat.avals[leaf], many.tasks * many.examples
    explicit = 2 * m * m * aval.size, m * aval.size * _wide(aval.dtype)
    if route == "explicit":
        return LeafPlan(name, "explicit", "route='explicit'", *explicit)
    if route == "streamed":
        if not_streamed:
            return LeafPlan(name, "explicit", not_streamed, *explicit)
        once = aval.size * _wide(aval.dtype)
        return LeafPlan(name, "streamed", "route='streamed'", 2 * m * aval.size, once)
    site = find_site(flat, leaf, stages)
    if isinstance(site, str):
        return LeafPlan(name, "explicit", f"it {site}", *explicit)
    factored, at_site, sizes = _needs(site, aval, many)
    cheaper = _time(factored) <= _time(at_site)
    if many.devices > 1:
        cheaper = factored.sent <= at_site.sent
    if route == "factored" or cheaper:
        why = f"{site.kind.name}, {sizes}"
        return LeafPlan(name, "factored", why, *factored[:2], site=site)
    why = f"{site.kind.name}, {sizes}: gradients are cheaper"
    if route == "auto" and aval.size <= _cotangents_of_one_task(site):
        # Kept for the way back, gradients are smaller than the cotangents there.
        return LeafPlan(name, "explicit", why, *at_site[:2], held=True)
    return LeafPlan(name, "explicit", why, *at_site[:2], site=site)


def _cotangents_of_one_task(site: Site) -> int:
    return math.prod((*site.shape, *(level.length for level in site.levels)))


def _needs(site: Site, aval, many: _Size) -> tuple[_Need, _Need, str]:
    """What the factored and the explicit share of K cost at a site."""
    other = shaped(site.eqn.invars[1 - site.operand])
    lengths = tuple(level.length for level in site.levels)
    inputs = jax.ShapeDtypeStruct((*lengths, *other.shape), other.dtype)
    b, r, n, p = extent(site, inputs)
    m, e = many.tasks, many.examples
    looked_up = site.kind.condense is not None
    rows, wide = e * r, _wide(site.dtype)
    kept = 2 * m * b * rows * p * wide
    if site.kind.copies:
        kept += b * rows * n * wide
    square = b * rows * rows * wide
    if e > 1:  # (Xₐ X_cᵀ) turned to each pair of examples, then m² products
        flops = 2 * b * (rows * rows * (n + m * p) + m * m * e * rows * p)
        turned = square + m * e * rows * p * wide
    elif looked_up and many.devices == 1:
        flops, turned = 2 * b * (m + m * m) * r * p, 0
    else:
        flops = 2 * b * (r * r * (n + m * p) + m * m * r * p)
        turned = square * (m + 1)
    sent = many.devices * b * r * (n + m * p) * site.dtype.itemsize
    factored = _Need(flops, kept + turned, sent)

    gradient = r * p if looked_up else r * n * p
    every = m * e
    flops = 2 * (b * every * gradient + every * every * aval.size)
    sent = m * aval.size * aval.dtype.itemsize
    explicit = _Need(flops, every * aval.size * wide, sent)
    if looked_up:
        return factored, explicit, f"{b * r} look-ups in {aval.size // p} rows of {p}"
    return factored, explicit, f"{r} rows through {n}×{p}" + f", {b} times" * (b > 1)


def _wide(dtype: Any) -> int:
    return jnp.promote_types(dtype, jnp.float32).itemsize


def _holding(plans, avals, m):
    """Keeps the gradients that the layers do not give back, if they are few.

    A weighted sum of kept gradients costs no second backward pass. They are kept while
    they take no more memory than parameters and layers' cotangents do anyway.
    """
    loose = [
        k for k, plan in enumerate(plans) if plan.route == "explicit" and not plan.site
    ]
    held = sum(
        m * avals[k].size * _wide(avals[k].dtype) for k in loose if not plans[k].held
    )
    budget = sum(aval.size * aval.dtype.itemsize for aval in avals)
    for plan in plans:
        if plan.site is not None:
            items = _cotangents_of_one_task(plan.site)
            budget += m * items * plan.site.dtype.itemsize
    if held > budget or any(plan.route == "streamed" for plan in plans):
        return plans
    return [
        plan._replace(held=True) if k in loose else plan for k, plan in enumerate(plans)
    ]


def _users(flat: Flat, stages: Stages) -> list[tuple[bool, list[int]]]:
    """For each leaf whether trunk or join read it, and the tasks whose heads do."""
    trunk = set(stages.trunk)
    users = []
    for leaf in flat.inputs:
        shared = any(k in trunk for k, _ in flat.uses.get(leaf, ()))
        heads = [task for task, read in enumerate(stages.reads) if leaf in read]
        users.append((shared or leaf in stages.joined, heads))
    return users


def _no_forward_mode(flat: Flat, stages: Stages) -> set[int]:
    """Leaves with a step on their way through the trunk that has no forward mode."""
    blocked: set[int] = set()
    for k in reversed(stages.trunk):
        step = flat.steps[k]
        if _has_custom_vjp(step.eqn) or blocked.intersection(step.outputs):
            blocked.update(i for i in step.inputs if isinstance(i, int))
    return blocked


def _has_custom_vjp(eqn: JaxprEqn) -> bool:
    """Whether a custom_vjp stands in an equation, however deep."""
    if eqn.primitive.name.startswith("custom_vjp"):
        return True
    bodies = jaxprs_in_params(eqn.params)
    return any(_has_custom_vjp(each) for body in bodies for each in body.eqns)
