"""The task axis on parameter pytrees: the Jacobian, its Gramian, and the way back."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from paretax._checks import check_count, check_losses
from paretax._shared import Shared, shared_mask
from paretax._types import Active, Gradient, Gramian, Jacobian, Weights

__all__ = [
    "contract",
    "gramian",
    "value_and_gradient",
    "value_and_gramian",
    "value_and_jacobian",
]

_HIGHEST = jax.lax.Precision.HIGHEST


def value_and_jacobian(
    fun: Callable, *, chunk_size: int | None = None, has_aux: bool = False
) -> Callable:
    """The m losses and their m gradients, stacked on a leading task axis.

    For losses f(θ) of shape [m], J holds ∂fᵢ/∂θ: the structure of θ, each leaf with a
    leading axis of m. The forward pass runs once.

    Args:
      fun: `fun(params, *args, **kwargs) -> losses` of shape [m], or `(losses, aux)` with
        `has_aux`. `params` is a pytree of floating arrays.
      chunk_size: how many tasks go backward at once; None for all m. Fewer take less
        memory for intermediate values and more time. J itself is held either way.
      has_aux: whether `fun` returns a pair.

    Returns:
      A function with the arguments of `fun` that returns `(losses, J)`, or
      `((losses, aux), J)`.

    Raises:
      ValueError: `fun` does not return one array of shape [m]; a leaf of `params` is not
        floating; `chunk_size` is below 1.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> losses, jac = px.value_and_jacobian(lambda x: jnp.stack([x @ x, x.sum()]))(
      ...     jnp.array([1.0, 2.0]))
      >>> losses.tolist(), jac.tolist()
      ([5.0, 3.0], [[2.0, 4.0], [1.0, 1.0]])

    Cost: one forward pass, m backward passes, m × the parameters' memory.
    """
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)

    def wrapped(params, *args, **kwargs):
        out, pull = _losses_and_pull(fun, has_aux, params, args, kwargs)
        losses = out[0] if has_aux else out
        return out, _pull_each(pull, losses, chunk_size)

    return wrapped


def value_and_gramian(
    fun: Callable,
    *,
    shared: Shared = None,
    chunk_size: int | None = None,
    weight_heads: bool = False,
    precise: bool = False,
    has_aux: bool = False,
) -> Callable:
    """The m losses, the Gramian K = J Jᵀ of their gradients, and w ↦ Jᵀw.

    J is an intermediate value: each leaf of it can be freed once its product is added to K.

    Args:
      fun: `fun(params, *args, **kwargs) -> losses` of shape [m], or `(losses, aux)`.
      shared: which leaves of `params` enter K: None (all), a pytree of booleans, a prefix
        of one, or a predicate on the key path.
      chunk_size: how many tasks go backward at once; None for all m.
      weight_heads: what `pullback(w)` gives on the leaves that are not shared: the sum over
        tasks of their gradients (False), or the sum weighted by w (True).
      precise: form K in float64, in a program of float32 too. Such a K must be consumed
        under `jax.enable_x64(True)`.
      has_aux: whether `fun` returns a pair.

    Returns:
      A function with the arguments of `fun` that returns `(losses, K, pullback)`, or
      `((losses, aux), K, pullback)`. K has shape [m, m]; it is symmetric.
      `pullback(weights)` has the structure, shapes and dtypes of `params` and costs one
      backward pass (two with unweighted heads); it is a `jax.tree_util.Partial`, so it may
      leave jit.

    Raises:
      ValueError: as `value_and_jacobian`; `shared` does not fit `params`.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> losses, gram, pullback = px.value_and_gramian(
      ...     lambda x: jnp.stack([x @ x, x.sum()]))(jnp.array([1.0, 2.0]))
      >>> gram.tolist(), pullback(jnp.array([1.0, 10.0])).tolist()
      ([[20.0, 6.0], [6.0, 2.0]], [12.0, 14.0])

    Cost: one forward pass, m backward passes, m² products per parameter; then one backward
    pass for `pullback`.
    """
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)

    def wrapped(params, *args, **kwargs):
        mask = shared_mask(shared, params)
        out, pull = _losses_and_pull(fun, has_aux, params, args, kwargs)
        losses = out[0] if has_aux else out
        leaves = jax.tree.leaves(_pull_each(pull, losses, chunk_size))
        trunk = [leaf for leaf, keep in zip(leaves, mask, strict=True) if keep]
        back = functools.partial(
            _pull_weighted, tuple(mask), weight_heads, losses.dtype
        )
        return out, gramian(trunk, precise=precise), jax.tree_util.Partial(back, pull)

    return wrapped


def value_and_gradient(fun: Callable, scalarization: Callable) -> Callable:
    """The m losses and the gradient of one scalar of them: one backward pass, not m.

    Args:
      fun: `fun(params, *args, **kwargs) -> losses` of shape [m].
      scalarization: losses to a scalar, as in `paretax.scalarizations`.

    Returns:
      A function with the arguments of `fun` that returns `(losses, gradient)`; the gradient
      is ∂s(f(θ))/∂θ, of the structure of `params`.

    Raises:
      ValueError: `fun` does not return one array of shape [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> fun = lambda x: jnp.stack([x @ x, x.sum()])
      >>> losses, gradient = px.value_and_gradient(
      ...     fun, px.scalarizations.linear([0.5, 0.5]))(jnp.array([1.0, 2.0]))
      >>> gradient.tolist()
      [1.5, 2.5]

    Cost: one forward and one backward pass.
    """

    def scalar(params, *args, **kwargs):
        losses = fun(params, *args, **kwargs)
        check_losses(losses)
        return scalarization(losses), losses

    def wrapped(params, *args, **kwargs):
        gradient, losses = jax.grad(scalar, has_aux=True)(params, *args, **kwargs)
        return losses, gradient

    return wrapped


def gramian(jac: Jacobian, *, precise: bool = False) -> Gramian:
    """The Gramian K = J Jᵀ: Kᵢⱼ is the inner product of the gradients of tasks i and j.

    Args:
      jac: parameters with a leading task axis, leaves [m, ...].
      precise: accumulate in float64 whatever the leaves' type and the x64 flag. In float32 a
        direction loses a share eps/d² of itself where two gradients are opposite up to an
        angle d; accumulated in float64 it does not.

    Returns:
      K, shape [m, m], symmetric, positive semi-definite up to rounding; in float64 if
      `precise`, else at least float32, accumulated in that type from bfloat16 leaves too.

    Raises:
      ValueError: no leaves, a leaf without a task axis, or task axes of different lengths.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> px.gramian({"w": jnp.array([[3.0, 4.0], [0.0, 1.0]])}).tolist()
      [[25.0, 4.0], [4.0, 1.0]]

    Cost: m² multiply-adds a parameter; one matrix product a leaf, at the highest precision.
    """
    num_tasks(jac)
    if precise:
        with jax.enable_x64(True):
            return _sum_of_products(jax.tree.leaves(jac), jnp.float64)
    leaves = jax.tree.leaves(jac)
    dtype = functools.reduce(
        jnp.promote_types, (leaf.dtype for leaf in leaves), jnp.dtype(jnp.float32)
    )
    return _sum_of_products(leaves, dtype)


def contract(
    weights: Weights, jac: Jacobian, *, active: Active | None = None
) -> Gradient:
    """The combined gradient Jᵀw = Σᵢ wᵢ gᵢ; each leaf keeps its dtype.

    Args:
      weights: w, shape [m].
      jac: parameters with a leading task axis, leaves [m, ...].
      active: bool, shape [m]: rows of inactive tasks are left out, whatever they hold.

    Returns:
      A pytree like the parameters. The sum runs in float32 at least.

    Raises:
      ValueError: no leaves, or a leaf whose task axis is not as long as `weights`.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> px.contract(jnp.array([2.0, 1.0]), jnp.array([[3.0, 4.0], [0.0, 1.0]])).tolist()
      [6.0, 9.0]

    Cost: m multiply-adds a parameter, at the highest precision.
    """
    m = num_tasks(jac)
    if weights.shape != (m,):
        raise ValueError(f"weights: expected shape ({m},), got {weights.shape}.")

    def one(leaf):
        wide = jnp.promote_types(leaf.dtype, jnp.float32)
        rows = leaf if active is None else keep_rows(leaf, active)
        total = jnp.tensordot(
            weights.astype(wide), rows.astype(wide), axes=1, precision=_HIGHEST
        )
        return total.astype(leaf.dtype)

    return jax.tree.map(one, jac)


def keep_rows(leaf, active):
    """A leaf [m, ...] with the rows of inactive tasks at zero, NaN or not."""
    return jnp.where(active.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, 0)


def num_tasks(jac: Jacobian, expected: int | None = None) -> int:
    """The length of the task axis; a ValueError that names the leaf where it is wrong."""
    paths = jax.tree_util.tree_flatten_with_path(jac)[0]
    if not paths:
        raise ValueError("jac: expected at least one leaf, got an empty pytree.")
    for path, leaf in paths:
        where = f"jac{jax.tree_util.keystr(path)}"
        if jnp.ndim(leaf) == 0:
            raise ValueError(f"{where}: expected shape [m, ...], got a scalar.")
        if expected is None:
            expected = leaf.shape[0]
        if leaf.shape[0] != expected:
            raise ValueError(
                f"{where}: expected a leading task axis of {expected}, got shape "
                f"{leaf.shape}; stack one gradient a task, as px.value_and_jacobian does, "
                "and give combine that number of tasks."
            )
    assert expected is not None
    return expected


def _sum_of_products(leaves, dtype):
    def product(leaf):
        rows = leaf.astype(dtype)
        axes = tuple(range(1, leaf.ndim))
        return jnp.tensordot(rows, rows, axes=(axes, axes), precision=_HIGHEST)

    total = functools.reduce(jnp.add, (product(leaf) for leaf in leaves))
    return (total + total.T) * jnp.asarray(0.5, dtype)


def _losses_and_pull(fun, has_aux, params, args, kwargs):
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(
                f"params{jax.tree_util.keystr(path)}: expected a floating leaf, got "
                f"{jnp.result_type(leaf)}; pass what is not trained as another argument."
            )

    def of_params(p):
        out = fun(p, *args, **kwargs)
        losses, aux = out if has_aux else (out, None)
        check_losses(losses)
        return losses, aux

    losses, pull, aux = jax.vjp(of_params, params, has_aux=True)
    return ((losses, aux) if has_aux else losses), pull


def _pull_each(pull, losses, chunk_size):
    basis = jnp.eye(losses.shape[0], dtype=losses.dtype)

    def one(row):
        return pull(row)[0]

    if chunk_size is None or chunk_size >= losses.shape[0]:
        return jax.vmap(one)(basis)
    return jax.lax.map(one, basis, batch_size=chunk_size)


def _pull_weighted(mask, weight_heads, dtype, pull, weights):
    weighted = pull(weights.astype(dtype))[0]
    if weight_heads or all(mask):
        return weighted
    leaves, treedef = jax.tree.flatten(weighted)
    plain = jax.tree.leaves(pull(jnp.ones(weights.shape, dtype))[0])
    chosen = [w if keep else p for w, p, keep in zip(leaves, plain, mask, strict=True)]
    return jax.tree.unflatten(treedef, chosen)
