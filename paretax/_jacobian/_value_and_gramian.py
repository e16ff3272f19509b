"""Losses, the Gramian of their gradients, and the way back: J is never held."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from paretax._checks import check_active, check_count
from paretax._jacobian._gramian import (
    ROUTES,
    AxisName,
    LeafPlan,
    Program,
    axis_size,
    for_instances,
    gramian_of,
    instances_of,
    plan_leaves,
    program,
    pull_back,
    pull_back_instances,
    way_back,
    weighted_of,
)
from paretax._shared import Shared, shared_mask

__all__ = ["planned", "value_and_gramian", "value_and_pullback"]


def value_and_gramian(
    fun: Callable,
    *,
    shared: Shared = None,
    weight_heads: bool = False,
    chunk_size: int | None = None,
    route: str = "auto",
    precise: bool = False,
    has_aux: bool = False,
    instance_axes: Any = None,
    axis_name: AxisName = None,
) -> Callable:
    """The m losses, the Gramian K = J Jᵀ of their gradients, and w ↦ Jᵀw.

    `fun` is traced, and each parameter goes the cheapest way, by a count of flops and
    bytes that `explain_gramian` shows:

    - *factored*: a parameter that enters exactly one matrix product, convolution or
      look-up (through casts, transposes, reshapes, nested jit, scan, checkpoint) has
      the gradients Xᵀ Gₜ, with the layer's inputs X, shared by all tasks, and its
      cotangents Gₜ. So Kₛₜ = ⟨Gₛ, (X Xᵀ) Gₜ⟩ takes no gradient, and Jᵀw = Xᵀ(Σ wₜ Gₜ)
      no second backward pass. It wins where rows (batch × positions) are fewer than
      the layer is wide. Under `jax.checkpoint` these inputs are kept.
    - *explicit*: the m gradients of that parameter, reduced and freed, or kept for the
      way back where they are small. Biases, norms, parameters used twice, wide
      batches, `cond`, custom derivatives: every JAX function.
    - *streamed*: one task's gradient at a time, pushed forward: K[:, j] = J gⱼ.

    Where `fun` stacks scalars, as in `jnp.stack([loss_a, loss_b])`, steps that serve
    one task alone go backward once, for that task, and its own parameters add to K
    one squared norm.

    Args:
      fun: `fun(params, *args, **kwargs) -> losses` of shape [m], or `(losses, aux)`.
      shared: which leaves of `params` enter K: None (all), a pytree of booleans, a
        prefix of one, or a predicate on the key path.
      weight_heads: what `pullback(w)` gives on the leaves that are not shared: the sum
        over tasks of their gradients (False), or the sum weighted by w (True).
      chunk_size: how many tasks go backward at once; None for all m, but one at a time
        where streamed.
      route: "auto", or "factored", "explicit" or "streamed" for every parameter that
        it is possible for; the others go the explicit way.
      precise: form K in float64, in a program of float32 too. Such a K must be consumed
        under `jax.enable_x64(True)`. Not for "streamed".
      has_aux: whether `fun` returns a pair.
      instance_axes: None, or where the arguments after `params` hold their examples,
        as `in_axes` of `jax.vmap` has it: a tuple, one entry an argument. `fun` is then
        a function of one example, and there is a row for every example and task.
      axis_name: inside `jax.shard_map`, the mesh axis (or axes) that the batch is split
        over. The losses are then the mean over it; losses, K and the pullback's
        gradient are those of the whole batch, alike on all devices; aux is each
        device's own. For every layer, gradients are reduce-scattered or factors
        gathered, whichever sends fewer bytes; then K takes one m×m all-reduce.

    Returns:
      A function with the arguments of `fun` that returns `(losses, K, pullback)`, or
      `((losses, aux), K, pullback)`. K has shape [m, m]; it is symmetric, in float32 at
      least. `pullback(weights)` has the structure, shapes and dtypes of `params`; it is
      a `jax.tree_util.Partial`, so it may leave jit. It costs one product a layer, and
      one backward pass where some parameter goes another way than through one layer.
      With `instance_axes`: losses [b, m], K [b·m, b·m] with rows in the order of
      `losses.reshape(-1)`, weights [b·m].
      The function takes one keyword of its own, `active`, a bool array [m] ([b, m]):
      rows and columns of other tasks are zero and `pullback` leaves them out, whatever
      they hold. Their NaN stays out of the other tasks where `fun` stacks scalars.

    Raises:
      ValueError: `fun` does not return one array of shape [m]; a leaf of `params` is
        not floating; `shared` does not fit `params`; `route` is none of the four;
        `chunk_size` below 1; `active` of another shape or type; "streamed" with
        `precise` or `instance_axes`; inside shard_map, `axis_name` that leaves out an
        axis which the losses vary over, or that parameters are split over.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> losses, gram, pullback = px.value_and_gramian(
      ...     lambda x: jnp.stack([x @ x, x.sum()]))(jnp.array([1.0, 2.0]))
      >>> gram.tolist(), pullback(jnp.array([1.0, 10.0])).tolist()
      ([[20.0, 6.0], [6.0, 2.0]], [12.0, 14.0])

    Cost: for L equal layers of width n and R rows, m(L − 1) + 2L products of the size
    of a plain step's 3L − 1, and about m·R/(3n) of a step for K; memory for the
    cotangents, m × R × n a layer. Explicit: m backward passes, m² products a
    parameter. Streamed: m backward and m forward passes, and the memory of one gradient
    more.

    Departures: X Xᵀ is formed once for all tasks, and the way back reuses X and G.

    Reference: the algebra of factored gradients is that of I. Goodfellow, "Efficient
    Per-Example Gradient Computations", 2015, arXiv:1510.01799, with tasks for
    examples; Gramians without the Jacobian are Quinton & Rey, "Jacobian Descent for
    Multi-Objective Optimization", 2024, arXiv:2406.16232.
    """
    _check_options(route, chunk_size, precise, instance_axes, axis_name)

    def prepare(params, args, kwargs, examples=1):
        traced = program(fun, has_aux, params, args, kwargs, axis_name)
        mask = shared_mask(shared, params)
        return traced, _plans(traced, mask, route, examples)

    def wrapped(params, *args, active=None, **kwargs):
        if instance_axes is not None:
            axes, b = _examples(instance_axes, args)
            _check_active_examples(active, b)
            out, gram, kept, traced, plans = instances_of(
                lambda *one: prepare(params, one, kwargs, b),
                axes, args, active, chunk_size, precise,
            )  # fmt: skip
            back = pull_back_instances
        else:
            traced, plans = prepare(params, args, kwargs)
            active = check_active(active, (traced.num_tasks,))
            out, gram, kept = gramian_of(traced, plans, active, chunk_size, precise)
            back = pull_back
        way = way_back(traced, plans, weight_heads)
        pullback = jax.tree_util.Partial(functools.partial(back, way), kept)
        return out, gram, pullback

    return wrapped


def value_and_pullback(
    fun: Callable,
    *,
    shared: Shared = None,
    weight_heads: bool = False,
    has_aux: bool = False,
    axis_name: AxisName = None,
) -> Callable:
    """As `value_and_gramian`, without K: `(losses, pullback)` for one backward pass."""

    def wrapped(params, *args, active=None, **kwargs):
        traced = program(fun, has_aux, params, args, kwargs, axis_name)
        active = check_active(active, (traced.num_tasks,))
        plans = _plans(traced, shared_mask(shared, params), None)
        out, kept = weighted_of(traced, plans, active)
        way = way_back(traced, plans, weight_heads)
        return out, jax.tree_util.Partial(functools.partial(pull_back, way), kept)

    return wrapped


def planned(fun, params, args, shared, route, has_aux) -> list[LeafPlan]:
    """The plan of every leaf, from shapes alone."""
    _check_options(route, None, False, None, None)
    plans = []

    def trace(params, args):
        traced = program(fun, has_aux, params, args)
        plans.extend(_plans(traced, shared_mask(shared, params), route))

    jax.eval_shape(trace, params, args)
    return plans


def _plans(traced: Program, mask, route: str | None, examples: int = 1):
    plans = plan_leaves(
        traced.flat,
        traced.stages,
        traced.names,
        mask,
        traced.num_tasks,
        route,
        devices=axis_size(traced.axis_name),
        examples=examples,
    )
    return plans if examples == 1 else for_instances(plans)


def _check_options(route, chunk_size, precise, instance_axes, axis_name) -> None:
    if route not in ROUTES:
        raise ValueError(f"route: expected one of {ROUTES}, got {route!r}.")
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)
    if route == "streamed" and precise:
        raise ValueError(
            "precise: streamed columns are formed in the type of the parameters, so "
            "float64 would be lost before K; expected route 'auto', 'factored' or "
            "'explicit'."
        )
    if instance_axes is not None:
        if route == "streamed":
            raise ValueError(
                "route: expected 'auto', 'factored' or 'explicit' with instance_axes, "
                "got 'streamed'."
            )
        if axis_name is not None:
            raise ValueError("axis_name: not together with instance_axes; got both.")


def _check_active_examples(active, b: int) -> None:
    shape = (b, 0) if active is None else jnp.shape(active)
    if len(shape) != 2 or shape[0] != b:
        raise ValueError(
            f"active: expected a bool array of shape ({b}, m), one entry an example "
            f"and task, got shape {shape}."
        )


def _examples(axes: Any, args: tuple) -> tuple[Any, int]:
    """`in_axes` for the arguments, and how many examples they hold."""
    if isinstance(axes, int):
        axes = (axes,) * len(args)
    if not isinstance(axes, tuple) or len(axes) != len(args):
        raise ValueError(
            "instance_axes: expected an integer or a tuple with one entry for each of "
            f"the {len(args)} arguments after params, got {axes!r}."
        )
    counts = set()

    def count(axis, argument):
        if axis is not None:
            counts.update(jnp.shape(x)[axis] for x in jax.tree.leaves(argument))

    for axis, argument in zip(axes, args, strict=True):
        jax.tree.map(count, axis, argument, is_leaf=lambda x: x is None)
    if len(counts) != 1:
        raise ValueError(
            "instance_axes: expected arguments that hold the same number of examples, "
            f"got {sorted(counts)}."
        )
    return axes, counts.pop()
