"""The way back: one gradient, Jᵀw, from what the Gramian left."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from paretax._jacobian._gramian._devices import AxisName, vary
from paretax._jacobian._gramian._layers import leaf_gradient
from paretax._jacobian._gramian._plan import LeafPlan, goes_again
from paretax._jacobian._gramian._program import Program
from paretax._jacobian._stacked import contract
from paretax._types import Active, Gradient, Weights

__all__ = ["Kept", "WayBack", "factors_of", "pull_back", "way_back"]


class Kept(NamedTuple):
    """What the way back needs, a pytree.

    Attributes:
      sites: leaf -> (inputs, cotangents of all tasks).
      rows: leaf -> gradients of all tasks, where they are held.
      heads: leaf -> task -> gradient, from the heads.
      seeds: cotangents of the frontier from all tasks, for another backward pass.
      pull: the trunk's backward pass.
      active: the tasks that count, or None.
    """

    sites: dict[int, tuple[Array, Array]]
    rows: dict[int, Array]
    heads: dict[int, dict[int, Array]]
    seeds: list[Array]
    pull: Any
    active: Active | None


class WayBack(NamedTuple):
    """What is known of the way back before anything is computed.

    Attributes:
      plans: the way of each leaf.
      weight_heads: whether leaves outside K get the weighted sum over tasks.
      treedef: the structure of the parameters.
      like: shape and dtype of each leaf.
      axis_name: the mesh axes that the batch is split over, or None.
    """

    plans: tuple[LeafPlan, ...]
    weight_heads: bool
    treedef: Any
    like: tuple[jax.ShapeDtypeStruct, ...]
    axis_name: AxisName


def way_back(
    program: Program, plans: Sequence[LeafPlan], weight_heads: bool
) -> WayBack:
    """The static half of a pullback."""
    like = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in program.leaves)
    return WayBack(tuple(plans), weight_heads, program.treedef, like, program.axis_name)


def factors_of(way: WayBack, kept: Kept, weights) -> tuple[Array, Array]:
    """What gradients are multiplied with on the leaves of K, and on the others."""
    sums = weights if way.weight_heads else jnp.ones_like(weights)
    if kept.active is None:
        return weights, sums
    return jnp.where(kept.active, weights, 0), jnp.where(kept.active, sums, 0)


def pull_back(way: WayBack, kept: Kept, weights: Weights) -> Gradient:
    """Jᵀw on the leaves of K; the sum, or the weighted sum, on the others."""
    weights, sums = factors_of(way, kept, weights)
    again = {}
    for counted, factors in ((True, weights), (False, sums)):
        if kept.seeds and any(
            goes_again(p) and p.counted is counted for p in way.plans
        ):
            seeds = [contract(factors, seed) for seed in kept.seeds]
            again[counted] = kept.pull(seeds)[0]

    def one(k: int, plan: LeafPlan):
        factors = weights if plan.counted else sums
        zero = vary(jnp.zeros(way.like[k].shape, way.like[k].dtype), way.axis_name)
        if plan.site is not None:
            inputs, g = kept.sites[k]
            return leaf_gradient(plan.site, inputs, zero, contract(factors, g))
        if k in kept.rows:
            return contract(factors, kept.rows[k])
        total = again[plan.counted][k] if goes_again(plan) and kept.seeds else zero
        for task, gradient in kept.heads.get(k, {}).items():
            total = total + factors[task].astype(gradient.dtype) * gradient
        return total

    leaves = [one(k, plan) for k, plan in enumerate(way.plans)]
    if way.axis_name is not None:
        leaves = jax.lax.psum(leaves, way.axis_name)
    return jax.tree.unflatten(way.treedef, leaves)
