"""The border between flax.nnx modules and plain pytrees."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import PyTree

__all__ = ["as_functions"]


def as_functions(module: nnx.Module) -> tuple[PyTree, Callable[..., Any]]:
    """A module as its parameters and a pure function of them.

    Args:
      module: an `nnx.Module` all of whose state is `nnx.Param`. Others (batch
        statistics, random streams) change during a call and have no place in a pure
        function.

    Returns:
      `(params, apply)`: params is a nested dict of arrays, and `apply(params, *args,
      **kwargs)` is `module(*args, **kwargs)` with these parameters. Works under jit,
      vmap (a leading axis of members on every leaf), grad and scan.

    Raises:
      ValueError: the module holds state that is no parameter.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from paretax import models
      >>> params, apply = models.as_functions(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
      >>> sorted(params), apply(params, jnp.ones((4, 3))).shape
      (['bias', 'kernel'], (4, 2))

    Cost: none; `apply` is the module's call.
    """
    graph, state, rest = nnx.split(module, nnx.Param, ...)
    if jax.tree.leaves(rest):
        raise ValueError(
            "module: expected nothing but nnx.Param in it, got "
            f"{sorted(map(str, nnx.to_pure_dict(rest)))} besides; keep what changes "
            "during a call out of the trained function."
        )
    params = nnx.to_pure_dict(state)

    def apply(params, *args, **kwargs):
        new = jax.tree.map(lambda leaf: leaf, state)
        nnx.replace_by_pure_dict(new, params)
        return nnx.merge(graph, new)(*args, **kwargs)

    return params, apply
