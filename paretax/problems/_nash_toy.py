"""Two losses of two parameters: two bowls, and two logarithmic ravines above them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paretax._checks import check_count, check_positive
from paretax._types import Losses
from paretax.problems._problem import Front, Problem, check_theta

__all__ = ["nash_toy"]

STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))
FLOOR = 5e-6
NEWTON_STEPS = 5
"""Four from u = 8.3552 reach the rounding of float64 at every θ₁ of the front."""


def nash_toy(*, scale: float = 0.1) -> Problem:
    """The toy of the Nash-MTL paper: two losses of unequal size, five starts, one
    front.

    With [x]₊ = max(x, 0), θ = (θ₁, θ₂) and

        f₁ = log max(|½(−θ₁ − 7) − tanh(−θ₂)|, 5e-6) + 6
        f₂ = log max(|½(−θ₁ + 3) + tanh(−θ₂) + 2|, 5e-6) + 6
        q₁ = ((−θ₁ + 7)² + (−θ₂ − 8)²/10)/10 − 20
        q₂ = ((−θ₁ − 7)² + (−θ₂ − 8)²/10)/10 − 20

    the losses are ℓ₁ = scale·([tanh ½θ₂]₊ f₁ + [tanh −½θ₂]₊ q₁) and ℓ₂ = [tanh ½θ₂]₊
    f₂ + [tanh −½θ₂]₊ q₂. Above θ₂ = 0 lie two logarithmic ravines, which are no minima
    of both tasks; below it lie two bowls, and the front between their centers.

    The front is the set of minimizers of w₁ℓ₁/scale + w₂ℓ₂ over the simplex: θ₁ = 7(w₁
    − w₂), and θ₂ = −u with u the root of

        1/sinh u = 0.02(u − 8)/(B − 0.01(u − 8)²),   B = 20 − (49 − θ₁²)/10.

    It is strictly convex in loss space and does not depend on `scale`, but for the unit
    of ℓ₁.

    Args:
      scale: the size of ℓ₁ beside ℓ₂, > 0.

    Returns:
      A `Problem` with d = m = 2 and 5 starts. `losses` takes and returns shape [2];
      where a maximum has a tie, at θ₂ = 0, its derivative is that of its first
      argument, so both [·]₊ pass the gradient on (jnp.maximum would pass one half):
      the second start, (0, 0), moves as in the official code. `front(n)` has θ₁ evenly
      spaced from −7, where ℓ₂ is least, to 7, where ℓ₁ is.

    Raises:
      ValueError: `scale` ≤ 0; n < 2.

    Example:
      >>> from paretax import problems
      >>> toy = problems.nash_toy()
      >>> [round(x, 4) for x in toy.losses(toy.starts[3]).tolist()]
      [0.0389, -4.7545]
      >>> [[round(x, 2) for x in row] for row in toy.front(3).losses.tolist()]
      [[-0.04, -19.99], [-1.51, -15.09], [-2.0, -0.4]]

    Cost: a few dozen operations.

    Reference: Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022,
    arXiv:2202.01017, appendix B, after Liu et al., "Conflict-Averse Gradient Descent
    for Multi-task Learning", NeurIPS 2021, arXiv:2110.14048. Departures: the paper
    prints f₂ with − tanh(−θ₂), its official code (and CAGrad's) has +, as here; their
    front is the line θ₂ = −8.3552, which is the exact one at θ₁ = 0 and within 7e-4
    of it in either loss at every other θ₁.
    """
    check_positive("scale", scale)

    def losses(theta: Float[Array, " 2"]) -> Losses:
        check_theta(theta, 2)
        x, y = theta
        above = _maximum(jnp.tanh(0.5 * y), 0.0)
        below = _maximum(jnp.tanh(-0.5 * y), 0.0)
        f1 = _log_distance(0.5 * (-x - 7) - jnp.tanh(-y))
        f2 = _log_distance(0.5 * (-x + 3) + jnp.tanh(-y) + 2)
        bowl = 0.1 * (-y - 8) ** 2
        q1 = ((-x + 7) ** 2 + bowl) / 10 - 20
        q2 = ((-x - 7) ** 2 + bowl) / 10 - 20
        return jnp.stack([scale * (above * f1 + below * q1), above * f2 + below * q2])

    def front(n: int) -> Front:
        x = jnp.linspace(-7.0, 7.0, check_count("n", n, least=2))
        theta = jnp.stack([x, -_depth(x)], axis=1)
        return Front(theta, jax.vmap(losses)(theta))

    return Problem(losses, jnp.array(STARTS, float), front)


def _maximum(x, floor):
    """max(x, floor), whose derivative at the tie is that of x."""
    return jnp.where(x >= floor, x, floor)


def _log_distance(x):
    return jnp.log(_maximum(jnp.abs(x), FLOOR)) + 6


def _depth(x):
    """The u = −θ₂ of the front at θ₁ = x, by Newton's method."""
    room = 20 - (49 - x**2) / 10
    u = jnp.full_like(x, 8.3552)
    for _ in range(NEWTON_STEPS):
        left = room - 0.01 * (u - 8) ** 2
        value = 1 / jnp.sinh(u) - 0.02 * (u - 8) / left
        slope = (
            -jnp.cosh(u) / jnp.sinh(u) ** 2
            - 0.02 * (room + 0.01 * (u - 8) ** 2) / left**2
        )
        u = u - value / slope
    return u
