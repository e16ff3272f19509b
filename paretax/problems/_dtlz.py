"""Three losses whose front is an eighth of the sphere."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paretax._checks import check_count
from paretax._types import Losses
from paretax.problems._problem import Front, Problem, check_theta

__all__ = ["dtlz2"]

NUM_STARTS = 10
GOLDEN = (5**0.5 - 1) / 2


def dtlz2(*, dim: int = 12) -> Problem:
    """Three losses, a concave front: the part of the unit sphere with no negative f.

    With α = ½πθ₁, β = ½πθ₂ and g = Σ_{i>2} (θᵢ − ½)², over 0 ≤ θ ≤ 1,

        f = (1 + g)(cos α cos β, cos α sin β, sin α).

    The front is where g = 0. As ‖f‖ = 1 + g, it minimizes Σ wᵢfᵢ² over the parameters
    behind g, and no weighted sum of the fᵢ finds more than its three corners.

    Args:
      dim: d ≥ 3.

    Returns:
      A `Problem` with m = 3, 10 starts, uniform in the box, and bounds 0 and 1, beyond
      which losses may be negative. `front(n)` is even by area: point j of n has f₃ =
      (j + ½)/n and θ₂ the fractional part of j times the golden ratio.

    Raises:
      ValueError: d < 3; n < 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import problems
      >>> front = problems.dtlz2().front(4)
      >>> front.losses[:, 2].round(4).tolist()
      [0.125, 0.375, 0.625, 0.875]
      >>> jnp.linalg.norm(front.losses, axis=1).round(4).tolist()
      [1.0, 1.0, 1.0, 1.0]

    Cost: d operations and four trigonometric functions.

    Reference: Deb, Thiele, Laumanns & Zitzler, "Scalable multi-objective optimization
    test problems", CEC 2002, with three objectives and ten parameters behind g.
    """
    d = check_count("dim", dim, least=3)

    def losses(theta: Float[Array, " d"]) -> Losses:
        check_theta(theta, d)
        return (1 + jnp.sum((theta[2:] - 0.5) ** 2)) * _sphere(theta[0], theta[1])

    def front(n: int) -> Front:
        j = jnp.arange(check_count("n", n, least=2))
        first = jnp.arcsin((j + 0.5) / n) * (2 / jnp.pi)
        second = (j * GOLDEN) % 1.0
        theta = jnp.full((n, d), 0.5).at[:, 0].set(first).at[:, 1].set(second)
        return Front(theta, jax.vmap(_sphere)(first, second))

    starts = jax.random.uniform(jax.random.key(0), (NUM_STARTS, d), float)
    return Problem(losses, starts, front, (jnp.zeros(d), jnp.ones(d)))


def _sphere(first, second):
    a, b = first * (jnp.pi / 2), second * (jnp.pi / 2)
    up = jnp.cos(a)
    return jnp.stack([up * jnp.cos(b), up * jnp.sin(b), jnp.sin(a)])
