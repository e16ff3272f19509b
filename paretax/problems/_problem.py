"""What a problem with a known front is."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from paretax._types import Losses

__all__ = ["Front", "Problem", "check_theta"]


class Front(NamedTuple):
    """Points that no point of parameter space dominates, in order along the front.

    Attributes:
      theta: shape [n, d], in parameter space.
      losses: shape [n, m], their losses.
    """

    theta: Float[Array, "n d"]
    losses: Float[Array, "n m"]


class Problem(NamedTuple):
    """m losses of d parameters whose Pareto front is known.

    Attributes:
      losses: `losses(theta) -> f`, shape [d] to [m], to be minimized; for many points,
        jax.vmap over them.
      starts: where the problem's authors start, or points drawn once, shape [s, d].
      front: `front(n) -> Front`, n ≥ 2 points of the whole front; for m = 2 its two
        ends, the minimizers of one loss each, are first and last.
      bounds: the least and the greatest θ allowed, each of shape [d], or None for all
        of parameter space. Nothing enforces them: a step ends with
        `jnp.clip(theta, *bounds)`.
    """

    losses: Callable[[Float[Array, " d"]], Losses]
    starts: Float[Array, "s d"]
    front: Callable[[int], Front]
    bounds: tuple[Float[Array, " d"], Float[Array, " d"]] | None = None


def check_theta(theta, dim: int) -> None:
    """One point of parameter space, not many."""
    if jnp.shape(theta) != (dim,):
        raise ValueError(
            f"theta: expected shape {(dim,)}, got {jnp.shape(theta)}; for many points, "
            "jax.vmap(problem.losses)."
        )
