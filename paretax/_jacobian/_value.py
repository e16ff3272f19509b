"""Losses with the gradients of each task, or with one gradient."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from paretax._checks import check_active, check_count
from paretax._jacobian._gramian import program, rows_of
from paretax._jacobian._value_and_gramian import value_and_pullback

__all__ = ["value_and_gradient", "value_and_jacobian"]


def value_and_jacobian(
    fun: Callable, *, chunk_size: int | None = None, has_aux: bool = False
) -> Callable:
    """The m losses and their m gradients, stacked on a leading task axis.

    For losses f(θ) of shape [m], J holds ∂fᵢ/∂θ: the structure of θ, each leaf with a
    leading axis of m. The forward pass runs once. Where `fun` stacks scalars, as in
    `jnp.stack([loss_a, loss_b])`, steps that serve one task alone go backward once,
    for that task: what is NaN in one task's loss stays out of the other rows.

    Args:
      fun: `fun(params, *args, **kwargs) -> losses` of shape [m], or `(losses, aux)`
        with `has_aux`. `params` is a pytree of floating arrays.
      chunk_size: how many tasks go backward at once; None for all m. Fewer take less
        memory for intermediate values and more time. J itself is held either way.
      has_aux: whether `fun` returns a pair.

    Returns:
      A function with the arguments of `fun` that returns `(losses, J)`, or
      `((losses, aux), J)`. It takes one keyword of its own, `active`, a bool array [m]:
      the rows of other tasks are zero, whatever they hold.

    Raises:
      ValueError: `fun` does not return one array of shape [m]; a leaf of `params` is
        not floating; `chunk_size` is below 1; `active` is not a bool array [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> losses, jac = px.value_and_jacobian(lambda x: jnp.stack([x @ x, x.sum()]))(
      ...     jnp.array([1.0, 2.0]))
      >>> losses.tolist(), jac.tolist()
      ([5.0, 3.0], [[2.0, 4.0], [1.0, 1.0]])

    For rows of every example and task, vmap it over examples: J then has leaves
    [b, m, ...].

    Cost: one forward pass, m backward passes of what tasks share and one of the rest,
    m × the parameters' memory.
    """
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)

    def wrapped(params, *args, active=None, **kwargs):
        traced = program(fun, has_aux, params, args, kwargs)
        active = check_active(active, (traced.num_tasks,))
        return rows_of(traced, active, chunk_size)

    return wrapped


def value_and_gradient(fun: Callable, scalarization: Callable) -> Callable:
    """The m losses and the gradient of one scalar of them: one backward pass, not m.

    Args:
      fun: `fun(params, *args, **kwargs) -> losses` of shape [m].
      scalarization: losses to a scalar, as in `paretax.scalarizations`.

    Returns:
      A function with the arguments of `fun` that returns `(losses, gradient)`; the
      gradient is ∂s(f(θ))/∂θ, of the structure of `params`. With the keyword `active`,
      a bool array [m], the scalarization is called with it and other tasks are left
      out, whatever they hold.

    Raises:
      ValueError: `fun` does not return one array of shape [m]; `active` is not a bool
        array [m].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> fun = lambda x: jnp.stack([x @ x, x.sum()])
      >>> losses, gradient = px.value_and_gradient(
      ...     fun, px.scalarizations.linear([0.5, 0.5]))(jnp.array([1.0, 2.0]))
      >>> gradient.tolist()
      [1.5, 2.5]

    Cost: one forward and one backward pass.
    """
    run = value_and_pullback(fun)

    def wrapped(params, *args, active=None, **kwargs):
        losses, pullback = run(params, *args, active=active, **kwargs)
        if active is None:
            return losses, pullback(jax.grad(scalarization)(losses))
        masked = jnp.where(active, losses, 0)
        weights = jax.grad(lambda f: scalarization(f, active=active))(masked)
        return losses, pullback(weights)

    return wrapped
