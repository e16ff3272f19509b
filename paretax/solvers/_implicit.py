"""Derivatives of an optimum by the conditions that it satisfies."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from paretax.solvers._condition import precision_scope

__all__ = ["implicit"]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def implicit(
    conditions: Callable[..., Any],
    solve: Callable[..., Any],
    params: tuple[Array, ...],
    root: Any,
    fixed: Any = (),
) -> Any:
    """`root` itself, with the derivative in `params` that the conditions imply.

    Where F(θ, x) = 0 holds, dx = −(∂F/∂x)⁻¹ (∂F/∂θ) dθ: forward mode as written,
    reverse mode by transposing `solve`, which must be linear in its right-hand side.

    Args:
      conditions: F, (params, root, fixed) -> residuals, shaped as `solve` wants them.
      solve: (params, root, fixed, right) -> d with (∂F/∂x) d = right.
      params: θ; the first is an array whose dtype all share.
      root: x, an array or a tuple of them, found elsewhere; no derivative enters here.
      fixed: what both need and nothing differentiates, such as a support.
    """
    del conditions, solve, params, fixed
    return root


@implicit.defjvp
def _implicit_jvp(conditions, solve, primals, tangents):
    params, root, fixed = primals
    with precision_scope(params[0].dtype):
        moving = lambda p: conditions(p, root, fixed)
        _, moved = jax.jvp(moving, (params,), tangents[:1])
        right = jax.tree.map(lambda x: -x, moved)
        return root, solve(params, root, fixed, right)
