"""Functions of a positive semi-definite matrix through its eigenvalues."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from paretax._checks import check_square
from paretax.solvers._condition import precision_scope
from paretax.solvers._linear import product

__all__ = ["InverseRoot", "inverse_root", "pseudo_solve"]

# Where gradients of thousands of parameters depend on one another, rounding in K leaves
# null eigenvalues of up to 6 m·eps times the largest (measured, float32 and float64).
_CUT = 10


class InverseRoot(NamedTuple):
    """A^(−1/2) on the range of A, and the eigenvalues.

    Attributes:
      matrix: shape [m, m], symmetric: Σ λᵢ^(−1/2) vᵢvᵢᵀ over the kept eigenvalues.
      eigenvalues: λ, shape [m], ascending.
      kept: bool, shape [m]: which of them are above 10m·eps times the largest.
    """

    matrix: Float[Array, "m m"]
    eigenvalues: Float[Array, " m"]
    kept: Bool[Array, " m"]


def inverse_root(matrix: Float[Array, "m m"]) -> InverseRoot:
    """The inverse square root of a positive semi-definite matrix on its range.

    Args:
      matrix: A, shape [m, m], symmetric, positive semi-definite.

    Returns:
      An `InverseRoot`. Eigenvalues of at most 10m·eps times the largest count as 0.
      Differentiable, forward and reverse, also where eigenvalues coincide (then in
      `matrix`; a single eigenvalue has no derivative there), as long as the rank stays.
      NaN where A is not finite.

    Raises:
      ValueError: A is not square.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import inverse_root
      >>> root = inverse_root(jnp.diag(jnp.array([4.0, 0.0])))
      >>> root.matrix.tolist(), root.kept.tolist()
      ([[0.5, 0.0], [0.0, 0.0]], [False, True])

    Cost: an m×m eigendecomposition, about 9m³ multiply-adds.

    Reference: the derivative is the theorem of Daleckii and Krein, in the form
    (f(λᵢ) − f(λⱼ))/(λᵢ − λⱼ) = −1/(√λᵢ√λⱼ(√λᵢ + √λⱼ)), which has no difference in it.
    """
    check_square(matrix)
    with precision_scope(matrix.dtype):
        root, values = _inverse_root(matrix)
        return InverseRoot(root, values, _kept(values))


def pseudo_solve(
    matrix: Float[Array, "m m"], right: Float[Array, " m"]
) -> Float[Array, " m"]:
    """The shortest x that minimizes ‖Ax − b‖, A positive semi-definite: x = A⁺b.

    Args:
      matrix: A, shape [m, m], symmetric, positive semi-definite.
      right: b, shape [m].

    Returns:
      x, shape [m]. Eigenvalues of at most 10m·eps times the largest count as 0.
      Differentiable, forward and reverse, as long as the rank stays.

    Raises:
      ValueError: A is not square, or b is not as long as A.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax.solvers import pseudo_solve
      >>> pseudo_solve(jnp.ones((2, 2)), jnp.array([1.0, 1.0])).round(3).tolist()
      [0.5, 0.5]

    Cost: an m×m eigendecomposition, about 9m³ multiply-adds.

    Reference: Golub & Pereyra, "The differentiation of pseudo-inverses and nonlinear
    least squares problems whose variables separate", 1973, for the derivative.
    """
    check_square(matrix)
    if jnp.shape(right) != (matrix.shape[0],):
        raise ValueError(
            f"right: expected shape ({matrix.shape[0]},), got {jnp.shape(right)}."
        )
    with precision_scope(matrix.dtype):
        return product(_pseudo_inverse(matrix), right)


def _kept(values):
    m = values.shape[0]
    return values > _CUT * m * jnp.finfo(values.dtype).eps * jnp.max(values)


def _spectrum(matrix):
    values, vectors = jnp.linalg.eigh(matrix, symmetrize_input=False)
    kept = _kept(values)
    return values, vectors, kept, jnp.where(kept, values, 1.0)


@jax.custom_jvp
def _inverse_root(matrix):
    values, vectors, kept, safe = _spectrum(matrix)
    scaled = vectors * jnp.where(kept, jax.lax.rsqrt(safe), 0.0)
    # NaN in A leaves no eigenvalue to keep, and must not leave as a matrix of zeros.
    missing = jnp.where(jnp.all(jnp.isfinite(values)), 0.0, jnp.nan)
    return product(scaled, vectors.T) + missing, values


@_inverse_root.defjvp
def _(primals, tangents):
    (matrix,), (change,) = primals, tangents
    _, vectors, kept, safe = _spectrum(matrix)
    inner = product(vectors.T, product(change, vectors))
    root = jnp.sqrt(safe)
    both = kept[:, None] & kept[None, :]
    slope = -1 / (jnp.outer(root, root) * (root[:, None] + root[None, :]))
    # Between the range and what is outside it f falls to 0: f(λᵢ)/λᵢ.
    edge = jnp.where(kept, 1 / (safe * root), 0.0)
    slope = jnp.where(both, slope, edge[:, None] + edge[None, :])
    outside = ~kept[:, None] & ~kept[None, :]
    slope = jnp.where(outside, 0.0, slope)
    moved = product(vectors, product(slope * inner, vectors.T))
    return _inverse_root(matrix), (moved, jnp.diagonal(inner))


@jax.custom_jvp
def _pseudo_inverse(matrix):
    root, _ = _inverse_root(matrix)
    return product(root, root)


@_pseudo_inverse.defjvp
def _(primals, tangents):
    (matrix,), (change,) = primals, tangents
    inverse = _pseudo_inverse(matrix)
    away = jnp.eye(matrix.shape[0], dtype=matrix.dtype) - product(matrix, inverse)
    square = product(inverse, inverse)
    moved = product(square, product(change, away))
    inside = product(inverse, product(change, inverse))
    return inverse, moved + moved.T - inside
