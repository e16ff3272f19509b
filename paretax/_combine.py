"""Weightings and per-task transformations, as optax transformations on J."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from paretax._checks import check_active, check_count
from paretax._jacobian import contract, gramian, keep_rows
from paretax._jacobian import num_tasks as _num_tasks
from paretax._shared import Shared, shared_mask
from paretax._types import Gramian, Weights
from paretax._weighting import Weighting, as_before

__all__ = [
    "check_weighting",
    "combine",
    "end_tasks",
    "per_task",
    "weigh",
    "where_needed",
]


def combine(
    weighting: Weighting,
    num_tasks: int,
    *,
    shared: Shared = None,
    weight_heads: bool = False,
    precise: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Stacked task gradients J in, the one gradient Jᵀw out: the task axis ends here.

    w = weighting(J Jᵀ), where J holds the shared leaves. The result is a gradient,
    never a step: its sign and size belong to the optimizer that follows.

    Args:
      weighting: what makes m weights of the Gramian or of the losses.
      num_tasks: m ≥ 1, the length of the leading axis of every leaf of the updates.
      shared: which leaves enter the Gramian: None (all), a pytree of booleans, a prefix
        of one, or a predicate on the key path.
      weight_heads: what the leaves that are not shared get: the sum over tasks (False)
        or the sum weighted by w (True).
      precise: form the Gramian and solve for the weights in float64, in a program of
        float32 too; the weights come back in float32.

    Returns:
      An optax transformation. Its `update(jac, state, params=None, *, losses=None,
      active=None, **extra_args)` takes J with leaves [m, ...], the losses [m] for
      weightings that ask for them, and a mask `active` [m] for batches without labels
      for some tasks: those are left out exactly, their losses and rows may be NaN. With
      no task active the direction is zero. The state is the weighting's:
      `optax.tree.get(state, "weights")`. What expects updates that look like parameters
      (`optax.MultiSteps`, `optax.apply_if_finite`) goes after `combine`, not around it.

    Raises:
      ValueError: `num_tasks` is no positive integer; while tracing, a leaf without a
        task axis of that length, or `shared` that does not fit.

    Example:
      >>> import jax.numpy as jnp, optax, paretax as px
      >>> tx = optax.chain(px.combine(px.mgda(), num_tasks=2), optax.sgd(1.0))
      >>> params = jnp.zeros(2)
      >>> jac = jnp.array([[1.0, 0.0], [0.0, 1.0]])
      >>> updates, state = tx.update(jac, tx.init(params), params)
      >>> updates.tolist(), optax.tree.get(state, "weights").tolist()
      ([-0.5, -0.5], [0.5, 0.5])

    Cost: m² + m multiply-adds a parameter, and the weighting's own; no memory beyond J.
    """
    m = check_count("num_tasks", num_tasks)
    check_weighting(weighting)

    def init(params):
        del params
        return weighting.init(m)

    def reduce(trunk, state, **extra_args):
        def weights_from(make):
            gram = None if make is None else make()
            return weigh(weighting, gram, state, precise, extra_args)

        weights, new_state = where_needed(
            weighting.needs_gram(state),
            weights_from,
            lambda: gramian(trunk, precise=precise),
        )
        return weights, None, new_state

    return end_tasks(init, reduce, m, shared=shared, weight_heads=weight_heads)


def end_tasks(
    init: Callable,
    reduce: Callable,
    num_tasks: int,
    *,
    shared: Shared = None,
    weight_heads: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """What is the same in every transformation that ends the task axis.

    Args:
      init: `init(params) -> state`.
      reduce: `reduce(trunk, state, *, losses, active, **extra_args) -> (weights, out,
        state)`. `trunk` is the list of shared leaves [m, ...], rows of inactive tasks
        zero. `out` is the list of their combined gradients, or None: Jᵀ weights. A rule
        without weights gives None for them.
      num_tasks: m.
      shared: as in `combine`.
      weight_heads: as in `combine`; False for a rule without weights.

    Returns:
      An optax transformation, as `combine` describes it.
    """
    m = num_tasks

    def update(updates, state, params=None, *, losses=None, active=None, **extra_args):
        del params
        jac = updates
        _num_tasks(jac, m)
        active = check_active(active, (m,))
        leaves, treedef = jax.tree.flatten(jac)
        mask = shared_mask(shared, jac)
        rows = leaves if active is None else [keep_rows(x, active) for x in leaves]
        trunk = [leaf for leaf, keep in zip(rows, mask, strict=True) if keep]
        extra_args = {"losses": losses, "active": active, **extra_args}
        weights, out, new_state = reduce(trunk, state, **extra_args)
        if out is None:
            out = [contract(weights, leaf) for leaf in trunk]
        dtype = jnp.result_type(float) if weights is None else weights.dtype
        sums = jnp.ones(m, dtype) if active is None else active.astype(dtype)
        heads = weights if weight_heads and weights is not None else sums
        done = iter(out)
        combined = [
            next(done) if keep else contract(heads, leaf)
            for leaf, keep in zip(rows, mask, strict=True)
        ]
        return jax.tree.unflatten(treedef, combined), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def check_weighting(weighting: object) -> None:
    """A weighting, not the factory that makes one."""
    if not isinstance(weighting, Weighting):
        raise ValueError(
            f"weighting: expected a px.Weighting, got {type(weighting).__name__}; call "
            "its factory, as in px.combine(px.nash_mtl(), num_tasks=3)."
        )


def weigh(
    weighting: Weighting,
    gram: Gramian | None,
    state: Any,
    precise: bool,
    extra_args: dict[str, Any],
) -> tuple[Weights, Any]:
    """Weights in float32 at least, and a state of the types that it had."""
    with jax.enable_x64(True) if precise else contextlib.nullcontext():
        weights, new_state = weighting.update(gram, state, **extra_args)
        weights = weights.astype(jnp.promote_types(jnp.float32, state.weights.dtype))
        return weights, jax.tree.map(as_before, new_state, state)


def where_needed(needs, fun: Callable, with_gram: Any):
    """`fun(with_gram)` where the Gramian is needed, else `fun(None)`.

    Where that is known while tracing the other is not traced; else each is one branch
    of a `lax.cond`.
    """
    if isinstance(needs, bool):
        return fun(with_gram if needs else None)
    return jax.lax.cond(needs, lambda: fun(with_gram), lambda: fun(None))


def per_task(
    tx: optax.GradientTransformation, num_tasks: int
) -> optax.GradientTransformationExtraArgs:
    """An optax transformation applied to each task's gradient, before `combine`.

    Args:
      tx: any transformation on parameters, as `optax.clip_by_global_norm(1.0)` or
        `optax.ema(0.9)`. Each task has its own state, and its own random key.
      num_tasks: m ≥ 1.

    Returns:
      An optax transformation on stacked gradients, leaves [m, ...], still stacked
      afterwards. `active` [m] freezes the state of tasks without labels and zeroes
      their rows. Other keyword arguments reach `tx` as they are.

    Raises:
      ValueError: `num_tasks` is no positive integer; a leaf without that task axis.

    Example:
      >>> import jax.numpy as jnp, optax, paretax as px
      >>> tx = px.per_task(optax.clip_by_global_norm(1.0), num_tasks=2)
      >>> state = tx.init(jnp.zeros(2))
      >>> rows, state = tx.update(jnp.array([[3.0, 4.0], [0.0, 0.5]]), state)
      >>> [[round(x, 2) for x in row] for row in rows.tolist()]
      [[0.6, 0.8], [0.0, 0.5]]

    Cost: m times that of `tx`, vectorized; m copies of its state.
    """
    m = check_count("num_tasks", num_tasks)
    tx = optax.with_extra_args_support(tx)

    def init(params):
        state = tx.init(params)
        stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * m), state)
        return split_keys(stacked, m)

    def update(updates, state, params=None, *, active=None, **extra_args):
        jac = updates
        _num_tasks(jac, m)
        active = check_active(active, (m,))
        if active is not None:
            jac = jax.tree.map(lambda leaf: keep_rows(leaf, active), jac)

        def one(row, row_state):
            return tx.update(row, row_state, params, **extra_args)

        updates, new_state = jax.vmap(one)(jac, state)
        if active is not None:
            updates = jax.tree.map(lambda leaf: keep_rows(leaf, active), updates)
            new_state = jax.tree.map(
                lambda new, old: keep_rows(new, active, old), new_state, state
            )
        return updates, new_state

    return optax.GradientTransformationExtraArgs(init, update)


def split_keys(state, num_copies: int):
    """A state with a leading axis of copies, each with typed keys of its own."""

    def split(leaf):
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        numbers = jnp.arange(num_copies)
        flat = leaf.reshape(num_copies, -1)
        fold = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)))
        return fold(flat, numbers).reshape(leaf.shape)

    return jax.tree.map(split, state)
