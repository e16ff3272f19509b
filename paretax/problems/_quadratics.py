"""Strongly convex losses whose weighted sums have closed minimizers."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paretax._checks import check_count, check_key, is_concrete
from paretax._types import Losses, Weights
from paretax.problems._problem import Front, Problem, check_theta

__all__ = ["Quadratics", "quadratics"]

NUM_STARTS = 10
_HIGHEST = jax.lax.Precision.HIGHEST


class Quadratics(NamedTuple):
    """m quadratic losses, as a problem and in numbers.

    Attributes:
      problem: losses, starts and front.
      hessians: Aᵢ, shape [m, d, d], with eigenvalues from 1 to the condition number.
      centers: cᵢ, shape [m, d], the minimizers of one loss each.
      optimum: `optimum(weights) -> theta`, shape [m] to [d], the minimizer of the
        weighted sum; jit, vmap and differentiate it at will.
    """

    problem: Problem
    hessians: Float[Array, "m d d"]
    centers: Float[Array, "m d"]
    optimum: Callable[[Weights], Float[Array, " d"]]


def quadratics(
    key: Array, *, num_objectives: int = 2, dim: int = 20, condition: float = 50.0
) -> Quadratics:
    """Random quadratic losses of a chosen condition number, with a known front.

    fᵢ(θ) = ½(θ − cᵢ)ᵀAᵢ(θ − cᵢ), Aᵢ = Qᵢ diag(κ^{j/(d−1)}, j = 0, …, d − 1) Qᵢᵀ, with
    Qᵢ a random rotation and cᵢ standard normal. Each fᵢ and each weighted sum over the
    simplex is strongly convex with μ ≥ 1 and smooth with L ≤ κ.

    The minimizer of Σ wᵢfᵢ is θ(w) = (Σ wᵢAᵢ)⁻¹ Σ wᵢAᵢcᵢ. For w over the simplex these
    are all Pareto optimal points, the losses being strictly convex.

    Args:
      key: a typed key.
      num_objectives: m ≥ 2.
      dim: d ≥ 1.
      condition: κ ≥ 1, the same for all losses; with d = 1 every Aᵢ is 1.

    Returns:
      A `Quadratics`; its problem has 10 starts, normal with standard deviation 10,
      and no bounds. `front(n)` has w₁ evenly spaced from 1 to 0 for m = 2; for more, n
      weights that are even on the simplex: the gaps between the sorted entries of the
      j-th point of a Kronecker sequence.

    Raises:
      ValueError: no typed key, a number too small.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from paretax import problems
      >>> q = problems.quadratics(jax.random.key(0), dim=3)
      >>> theta = q.optimum(jnp.array([0.5, 0.5]))
      >>> total = lambda theta: jnp.mean(q.problem.losses(theta))
      >>> bool(jnp.abs(jax.grad(total)(theta)).max() < 1e-4)
      True

    Cost: m d² operations for the losses, d³ for an optimum.

    Reference: ours. The Kronecker sequence steps by powers of 1/φ, φ^m = φ + 1, after
    M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018.
    """
    m = check_count("num_objectives", num_objectives, least=2)
    d = check_count("dim", dim)
    if is_concrete(condition) and not condition >= 1:
        raise ValueError(f"condition: expected at least 1, got {condition}.")
    rotations, centers, starts = jax.random.split(check_key(key), 3)
    q, _ = jnp.linalg.qr(jax.random.normal(rotations, (m, d, d)))
    eigenvalues = jnp.asarray(condition, float) ** jnp.linspace(0.0, 1.0, d)
    hessians = jnp.einsum("mij,j,mkj->mik", q, eigenvalues, q, precision=_HIGHEST)
    c = jax.random.normal(centers, (m, d))

    def losses(theta: Float[Array, " d"]) -> Losses:
        check_theta(theta, d)
        off = theta - c
        return 0.5 * jnp.einsum("mi,mij,mj->m", off, hessians, off, precision=_HIGHEST)

    def optimum(weights: Weights) -> Float[Array, " d"]:
        scaled = jnp.einsum("m,mij->ij", weights, hessians, precision=_HIGHEST)
        pulls = jnp.einsum("m,mij,mj->i", weights, hessians, c, precision=_HIGHEST)
        factor = jax.scipy.linalg.cho_factor(scaled)
        return jax.scipy.linalg.cho_solve(factor, pulls)

    def front(n: int) -> Front:
        theta = jax.vmap(optimum)(_weights(check_count("n", n, least=2), m))
        return Front(theta, jax.vmap(losses)(theta))

    problem = Problem(losses, 10 * jax.random.normal(starts, (NUM_STARTS, d)), front)
    return Quadratics(problem, hessians, c, optimum)


def _weights(n, m):
    """n points, even on the simplex."""
    if m == 2:
        first = jnp.linspace(1.0, 0.0, n)
        return jnp.stack([first, 1 - first], axis=1)
    root = 2.0
    for _ in range(60):  # the fixed point of φ = (1 + φ)^(1/m), to rounding
        root = (1 + root) ** (1 / m)
    steps = jnp.asarray([root**-i for i in range(1, m)])
    places = jnp.sort((0.5 + jnp.arange(n)[:, None] * steps) % 1.0, axis=1)
    return jnp.diff(places, axis=1, prepend=0.0, append=1.0)
