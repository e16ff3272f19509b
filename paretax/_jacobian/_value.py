"""Losses with the gradients of each task, with their Gramian, or with one gradient."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from paretax._checks import check_count, check_losses
from paretax._jacobian._stacked import gramian
from paretax._shared import Shared, shared_mask

__all__ = ["value_and_gradient", "value_and_gramian", "value_and_jacobian"]


def value_and_jacobian(
    fun: Callable, *, chunk_size: int | None = None, has_aux: bool = False
) -> Callable:
    """The m losses and their m gradients, stacked on a leading task axis.

    For losses f(θ) of shape [m], J holds ∂fᵢ/∂θ: the structure of θ, each leaf with a
    leading axis of m. The forward pass runs once.

    Args:
      fun: `fun(params, *args, **kwargs) -> losses` of shape [m], or `(losses, aux)`
        with `has_aux`. `params` is a pytree of floating arrays.
      chunk_size: how many tasks go backward at once; None for all m. Fewer take less
        memory for intermediate values and more time. J itself is held either way.
      has_aux: whether `fun` returns a pair.

    Returns:
      A function with the arguments of `fun` that returns `(losses, J)`, or
      `((losses, aux), J)`.

    Raises:
      ValueError: `fun` does not return one array of shape [m]; a leaf of `params` is
        not floating; `chunk_size` is below 1.

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
        losses, aux, pull = _losses_and_pull(fun, has_aux, params, args, kwargs)
        out = (losses, aux) if has_aux else losses
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

    J is an intermediate value: each leaf of it can be freed once its product is added
    to K.

    Args:
      fun: `fun(params, *args, **kwargs) -> losses` of shape [m], or `(losses, aux)`.
      shared: which leaves of `params` enter K: None (all), a pytree of booleans, a
        prefix of one, or a predicate on the key path.
      chunk_size: how many tasks go backward at once; None for all m.
      weight_heads: what `pullback(w)` gives on the leaves that are not shared: the sum
        over tasks of their gradients (False), or the sum weighted by w (True).
      precise: form K in float64, in a program of float32 too. Such a K must be consumed
        under `jax.enable_x64(True)`.
      has_aux: whether `fun` returns a pair.

    Returns:
      A function with the arguments of `fun` that returns `(losses, K, pullback)`, or
      `((losses, aux), K, pullback)`. K has shape [m, m]; it is symmetric.
      `pullback(weights)` has the structure, shapes and dtypes of `params` and costs one
      backward pass (two with unweighted heads); it is a `jax.tree_util.Partial`, so it
      may leave jit.

    Raises:
      ValueError: as `value_and_jacobian`; `shared` does not fit `params`.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> losses, gram, pullback = px.value_and_gramian(
      ...     lambda x: jnp.stack([x @ x, x.sum()]))(jnp.array([1.0, 2.0]))
      >>> gram.tolist(), pullback(jnp.array([1.0, 10.0])).tolist()
      ([[20.0, 6.0], [6.0, 2.0]], [12.0, 14.0])

    Cost: one forward pass, m backward passes, m² products per parameter; then one
    backward pass for `pullback`.
    """
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)

    def wrapped(params, *args, **kwargs):
        mask = shared_mask(shared, params)
        losses, aux, pull = _losses_and_pull(fun, has_aux, params, args, kwargs)
        out = (losses, aux) if has_aux else losses
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
      A function with the arguments of `fun` that returns `(losses, gradient)`; the
      gradient is ∂s(f(θ))/∂θ, of the structure of `params`.

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


def _losses_and_pull(fun, has_aux, params, args, kwargs):
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(
                f"params{jax.tree_util.keystr(path)}: expected a floating leaf, got "
                f"{jnp.result_type(leaf)}; pass what is not trained as another "
                "argument."
            )

    def of_params(p):
        out = fun(p, *args, **kwargs)
        losses, aux = out if has_aux else (out, None)
        check_losses(losses)
        return losses, aux

    losses, pull, aux = jax.vjp(of_params, params, has_aux=True)
    return losses, aux, pull


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
