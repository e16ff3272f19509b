"""What a problem with a known front is."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Float

from paretax._types import Losses

__all__ = ["Front", "Problem"]


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
      starts: where the problem's authors start, shape [s, d].
      front: `front(n) -> Front`, n ≥ 2 points of the whole front, its two ends (for
        m = 2, the minimizers of one loss each) first and last.
    """

    losses: Callable[[Float[Array, " d"]], Losses]
    starts: Float[Array, "s d"]
    front: Callable[[int], Front]
