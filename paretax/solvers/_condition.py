"""Scaling: the one place where a Gramian is made fit for a solver."""

import contextlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from paretax._checks import check_non_negative, check_square
from paretax._types import Active, Gramian

__all__ = ["TOLERANCE", "Conditioned", "condition", "precision_scope"]

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


def precision_scope(gram: Gramian):
    """An x64 scope for a float64 Gramian in a float32 program, else nothing."""
    if gram.dtype == jnp.float64:
        return jax.enable_x64(True)
    return contextlib.nullcontext()
