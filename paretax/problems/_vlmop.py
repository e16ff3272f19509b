"""Two bowls with a convex front, and two wells with a concave one."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paretax._checks import check_count
from paretax._types import Losses
from paretax.problems._problem import Front, Problem, check_theta

__all__ = ["vlmop1", "vlmop2"]

NUM_STARTS = 10


def vlmop1(*, dim: int = 10) -> Problem:
    """Squared distances to two points: the convex front √f₁ + √f₂ = 1.

    f₁ = ¼‖θ − c‖², f₂ = ¼‖θ + c‖², with c = 1/√d in every coordinate, so ‖c‖ = 1.

    The front is the image of the segment θ = t c, −1 ≤ t ≤ 1: f = (¼(1 − t)², ¼(1 +
    t)²). θ = (w₁ − w₂) c minimizes w₁f₁ + w₂f₂ over all θ.

    Args:
      dim: d ≥ 1.

    Returns:
      A `Problem` with m = 2, 10 starts, uniform in the cube of half-edge 1/√d, which is
      centered at 0 and has c as a corner, and no bounds. `front(n)` has t evenly spaced
      from 1, where f₁ is least, to −1.

    Raises:
      ValueError: d < 1; n < 2.

    Example:
      >>> from paretax import problems
      >>> problems.vlmop1().front(3).losses.round(4).tolist()
      [[0.0, 1.0], [0.25, 0.25], [1.0, 0.0]]

    Cost: 4d operations.

    Reference: Van Veldhuizen & Lamont, "Multiobjective evolutionary algorithm test
    suites", SAC 1999, after Schaffer 1985: θ² and (θ − 2)² of one parameter. Here as in
    libmoon (arXiv:2409.02969): centered, a quarter as large, in d dimensions.
    Departure: none of libmoon's bounds ±1, which the front does not touch. The table of
    VLMOP1 in libmoon's results.md is of `vlmop2`.
    """
    return _two_points(dim, lambda square: square / 4)


def vlmop2(*, dim: int = 10) -> Problem:
    """Two wells: a concave front, of which weighted sums find the ends only.

    f₁ = 1 − exp(−‖θ − c‖²), f₂ = 1 − exp(−‖θ + c‖²), with c = 1/√d in every coordinate,
    so ‖c‖ = 1.

    The front is the image of the segment θ = t c, −1 ≤ t ≤ 1: f = (1 − exp(−(1 − t)²),
    1 − exp(−(1 + t)²)). Both losses are bounded by 1 and flat far away.

    Args:
      dim: d ≥ 1.

    Returns:
      A `Problem` with m = 2, 10 starts, uniform in the cube of half-edge 1/√d, and no
      bounds. `front(n)` has t evenly spaced from 1, where f₁ is least, to −1.

    Raises:
      ValueError: d < 1; n < 2.

    Example:
      >>> from paretax import problems
      >>> front = problems.vlmop2().front(3)
      >>> [[round(x, 4) for x in row] for row in front.losses.tolist()]
      [[0.0, 0.9817], [0.6321, 0.6321], [0.9817, 0.0]]

    Cost: 4d operations and two exponentials.

    Reference: Van Veldhuizen & Lamont, "Multiobjective evolutionary algorithm test
    suites", SAC 1999, after Fonseca & Fleming 1995. Departure: no bounds, where
    libmoon (arXiv:2409.02969) has ±1; the front does not touch them.

    What libmoon's results.md tabulates as VLMOP1 is this problem with k = 8 members and
    the reference (1, 1): its row of EPO (hypervolume 0.283, least distance 0.162) is
    what the points of the front on the rays (λ, 1 − λ) give, for 8 values of λ evenly
    spaced from 0.01 to 0.99, and `vlmop1` has more than twice the hypervolume.
    """
    return _two_points(dim, lambda square: -jnp.expm1(-square))


def _two_points(dim, of_square):
    d = check_count("dim", dim)
    c = jnp.full(d, d**-0.5)

    def losses(theta: Float[Array, " d"]) -> Losses:
        check_theta(theta, d)
        near, far = jnp.sum((theta - c) ** 2), jnp.sum((theta + c) ** 2)
        return of_square(jnp.stack([near, far]))

    def front(n: int) -> Front:
        t = jnp.linspace(1.0, -1.0, check_count("n", n, least=2))
        theta = t[:, None] * c
        # From t itself: at the ends the losses are 0, free of the rounding of c.
        return Front(theta, of_square(jnp.stack([1 - t, 1 + t], axis=1) ** 2))

    cube = jax.random.uniform(jax.random.key(0), (NUM_STARTS, d), float, -1.0, 1.0)
    return Problem(losses, cube * d**-0.5, front)
