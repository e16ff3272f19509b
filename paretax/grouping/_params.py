"""K trunks, N heads on each, and the logits: the parameters of grouped tasks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from paretax._checks import check_count, check_key

__all__ = ["GroupedParams", "PrunedParams", "init_params"]


class GroupedParams(NamedTuple):
    """Parameters while the groups are open.

    Attributes:
      shared: the backbone below all trunks; () without one.
      trunks: leaves [K, ...].
      heads: leaves [K, N, ...], or [K, H, ...] once packed (`repack`).
      logits: shape [N, K].
    """

    shared: PyTree
    trunks: PyTree[Float[Array, "k ..."]]
    heads: PyTree[Float[Array, "k h ..."]]
    logits: Float[Array, "n k"]


class PrunedParams(NamedTuple):
    """Parameters once every task has its group.

    Attributes:
      shared: the backbone below all trunks; () without one.
      trunks: leaves [G, ...], only trunks that have tasks.
      heads: leaves [N, ...], one head a task.
    """

    shared: PyTree
    trunks: PyTree[Float[Array, "g ..."]]
    heads: PyTree[Float[Array, "n ..."]]


def init_params(
    key: Array,
    num_tasks: int,
    num_groups: int,
    *,
    trunk: Callable[[Array], PyTree],
    head: Callable[[Array], PyTree],
    shared: Callable[[Array], PyTree] | None = None,
    identical: bool = False,
) -> GroupedParams:
    """First parameters: K trunks, K·N heads, and logits of 0: all groups alike.

    Args:
      key: a typed key.
      num_tasks: N ≥ 1.
      num_groups: K ≥ 1, the most groups that may come out; more than N are allowed, but
        at most N will have a task.
      trunk: a key to the parameters of one trunk, under `jax.vmap`.
      head: a key to the parameters of one head.
      shared: a key to those of the backbone, for a model that has one.
      identical: all trunks start alike, and all heads: then only the noise of
        `assignment` tells groups apart, and without noise they stay alike for ever.

    Returns:
      A `GroupedParams`. For a rate of the logits' own:
      `optax.partition({"net": optax.adam(1e-3), "logits": optax.adam(1e-2)},
      GroupedParams("net", "net", "net", "logits"))`.

    Raises:
      ValueError: no key, or a number below 1.

    Example:
      >>> import jax
      >>> from paretax import grouping
      >>> draw = lambda key: jax.random.normal(key, (3, 2))
      >>> params = grouping.init_params(
      ...     jax.random.key(0), 4, 2, trunk=draw, head=draw)
      >>> params.trunks.shape, params.heads.shape, params.logits.shape
      ((2, 3, 2), (2, 4, 3, 2), (4, 2))

    Cost: K trunks and K·N heads.

    Reference: Gao et al., "DMTG: One-Shot Differentiable Multi-Task Grouping", ICML
    2024, arXiv:2407.05082, and its public code, which starts trunks and heads
    identical. Departure: they differ here, unless `identical`.
    """
    n = check_count("num_tasks", num_tasks)
    k = check_count("num_groups", num_groups)
    base, trunk_key, head_key = jax.random.split(check_key(key), 3)
    trunks = _copies(trunk, trunk_key, (k,), identical)
    heads = _copies(head, head_key, (k, n), identical)
    below: Any = () if shared is None else shared(base)
    return GroupedParams(below, trunks, heads, jnp.zeros((n, k)))


def _copies(make, key, shape, identical):
    """Parameters with leading axes `shape`, drawn apart or one after all."""
    if identical:
        one = make(key)
        spread = lambda leaf: jnp.broadcast_to(leaf, shape + leaf.shape)
        return jax.tree.map(spread, one)
    for _ in shape:
        make = jax.vmap(make)
    return make(jax.random.split(key, shape))
