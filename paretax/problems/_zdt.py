"""A front at the boundary of the parameters' box."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from paretax._checks import check_count
from paretax._types import Losses
from paretax.problems._problem import Front, Problem, check_theta

__all__ = ["zdt1"]

NUM_STARTS = 10
LEAST = 1e-6
"""Of θ₁: at 0 the derivative is −∞, and what is clipped to a bound lands on it."""


def zdt1(*, dim: int = 30) -> Problem:
    """A convex front that all parameters but one must reach a bound for.

    f₁ = θ₁, f₂ = g − √(θ₁ g), g = 1 + 9 mean(θ₂, …, θ_d), over 10⁻⁶ ≤ θ₁ ≤ 1 and 0 ≤
    θᵢ ≤ 1 for the others.

    The front is f₂ = 1 − √f₁, where θ₂ = … = θ_d = 0.

    Args:
      dim: d ≥ 2.

    Returns:
      A `Problem` with m = 2, 10 starts, uniform in the box, and bounds; outside of them
      losses may be NaN. `front(n)` has f₁ evenly spaced from 10⁻⁶ to 1.

    Raises:
      ValueError: d < 2; n < 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import problems
      >>> front = problems.zdt1().front(5)
      >>> front.losses[jnp.array([0, 1, 4])].round(2).tolist()
      [[0.0, 1.0], [0.25, 0.5], [1.0, 0.0]]

    Cost: d operations.

    Reference: Zitzler, Deb & Thiele, "Comparison of multiobjective evolutionary
    algorithms: empirical results", Evolutionary Computation 8(2), 2000.
    Departure: θ₁ starts at 10⁻⁶, for at 0 the derivative of f₂ is −∞. libmoon's NumPy
    form of it lacks the factor g before 1 − √(θ₁/g); its PyTorch form has it, as here.
    """
    d = check_count("dim", dim, least=2)

    def losses(theta: Float[Array, " d"]) -> Losses:
        check_theta(theta, d)
        first, g = theta[0], 1 + 9 * jnp.mean(theta[1:])
        return jnp.stack([first, g - jnp.sqrt(first) * jnp.sqrt(g)])

    def front(n: int) -> Front:
        first = jnp.linspace(LEAST, 1.0, check_count("n", n, least=2))
        theta = jnp.zeros((n, d)).at[:, 0].set(first)
        return Front(theta, jnp.stack([first, 1 - jnp.sqrt(first)], axis=1))

    starts = jax.random.uniform(jax.random.key(0), (NUM_STARTS, d), float, LEAST)
    low = jnp.zeros(d).at[0].set(LEAST)
    return Problem(losses, starts, front, (low, jnp.ones(d)))
