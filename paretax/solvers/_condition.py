"""Scale and precision: the one place where a Gramian is made fit for a solver."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from paretax._checks import check_non_negative, check_square
from paretax._types import Active, Gramian

__all__ = [
    "TOLERANCE",
    "Conditioned",
    "condition",
    "in_float64",
    "or_nan",
    "precision_scope",
    "ridged",
    "verdict",
]

# What an error may be for `converged`, by the type that the problem is solved in.
TOLERANCE = {"float32": 1e-4, "float64": 1e-8}


class Conditioned(NamedTuple):
    """A Gramian as a matrix of cosines.

    Attributes:
      matrix: C, shape [m, m]: D K D with D = diag(scale), plus the ridge.
      scale: shape [m]: 1/√Kᵢᵢ, and 1 where Kᵢᵢ is 0.
      alive: bool, shape [m]: Kᵢᵢ > 0 and active.
    """

    matrix: Float[Array, "m m"]
    scale: Float[Array, " m"]
    alive: Bool[Array, " m"]


def condition(
    gram: Gramian, *, ridge: float = 0.0, active: Active | None = None
) -> Conditioned:
    """The Gramian scaled to a unit diagonal: C = D K D + ridge·I, D = diag(Kᵢᵢ^(−1/2)).

    Args:
      gram: K, shape [m, m], symmetric, positive semi-definite.
      ridge: ≥ 0, in units of a squared cosine; added to the diagonal of live rows.
      active: bool, shape [m]; an inactive row becomes that of the identity, so it is
        orthogonal to all others and nothing of it enters.

    Returns:
      A `Conditioned`. With x the solution of a problem on C, D x is the one on K. The
      entries of C do not change when a task's loss is rescaled, up to rounding.

    Raises:
      ValueError: K is not square, or ridge < 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import condition
      >>> out = condition(jnp.array([[4.0, 1.0], [1.0, 1.0]]))
      >>> out.matrix.tolist(), out.scale.tolist()
      ([[1.0, 0.5], [0.5, 1.0]], [0.5, 1.0])

    Cost: 2m² multiplications.
    """
    check_square(gram)
    check_non_negative("ridge", ridge)
    diagonal = jnp.diagonal(gram)
    alive = diagonal > 0
    if active is not None:
        alive = alive & active
    scale = jnp.where(alive, jax.lax.rsqrt(jnp.where(alive, diagonal, 1.0)), 1.0)
    matrix = (gram * scale[:, None]) * scale[None, :]
    eye = jnp.eye(gram.shape[0], dtype=gram.dtype)
    unit = jnp.where(alive, 1.0 + ridge, diagonal).astype(gram.dtype)
    matrix = jnp.where(eye > 0, unit, matrix)
    if active is not None:
        both = active[:, None] & active[None, :]
        matrix = jnp.where(both, matrix, eye)
    return Conditioned(matrix, scale, alive)


def ridged(matrix: Float[Array, "m m"]) -> Float[Array, "m m"]:
    """A matrix of unit size plus 2m·eps·I: safe to factorize, singular or not.

    Rounding leaves eigenvalues down to about −m·eps in a positive semi-definite matrix
    of unit size; the ridge is twice that.
    """
    m = matrix.shape[0]
    ridge = 2 * m * jnp.finfo(matrix.dtype).eps
    return matrix + ridge * jnp.eye(m, dtype=matrix.dtype)


def precision_scope(dtype: jnp.dtype):
    """An x64 scope for float64 data in a float32 program, else nothing."""
    if dtype == jnp.float64:
        return jax.enable_x64(True)
    return contextlib.nullcontext()


def in_float64(fun: Callable[..., Any]) -> Callable[..., Any]:
    """`fun` of float arrays, computed in float64, its floats in the first one's type.

    For certificates: what float32 loses in forming a residual is many times what the
    residual is, and m² operations in float64 are cheap beside a solve. Not for what is
    differentiated. A batch is traced inside a scope of its own, because JAX's rules for
    batching round float64 to float32 outside one.
    """

    @jax.custom_batching.custom_vmap
    def wide(*args):
        with jax.enable_x64(True):
            arrays = (jax.lax.convert_element_type(x, jnp.float64) for x in args)
            return jax.tree.map(narrow(args[0].dtype), fun(*arrays))

    @wide.def_vmap
    def _(axis_size, in_batched, *args):
        del axis_size
        axes = [0 if batched else None for batched in in_batched]
        out = in_float64(jax.vmap(fun, in_axes=axes))(*args)
        return out, jax.tree.map(lambda _: True, out)

    def narrow(dtype):
        def convert(leaf):
            floats = leaf.dtype == jnp.float64
            return jax.lax.convert_element_type(leaf, dtype) if floats else leaf

        return convert

    return wide


def or_nan(found: Any, *data: Float[Array, "..."]) -> Any:
    """What was found, or NaN in its place unless all data are finite."""
    known = jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in data]))
    return jax.tree.map(lambda x: jnp.where(known, x, jnp.nan), found)


def verdict(error: Float[Array, "..."], *data: Float[Array, "..."]) -> tuple:
    """(error, converged): an error that is not a number, or data that is not, is ∞."""
    known = jnp.isfinite(error)
    for x in data:
        known = known & jnp.all(jnp.isfinite(x))
    error = jnp.where(known, error, jnp.inf)
    return error, error <= TOLERANCE[error.dtype.name]
