"""The shortest vector in the hull of some of the rows."""

import jax.numpy as jnp

from paretax._types import Active, Gramian, Solution
from paretax.weightings import mgda

__all__ = ["shortest"]


def shortest(gram: Gramian, present: Active) -> Solution:
    """`mgda`'s weights on the rows that are present, 0 on the others."""
    weighting = mgda()
    weights, state = weighting.update(
        gram, weighting.init(gram.shape[0]), active=present
    )
    steps = jnp.zeros((), jnp.int32)
    return Solution(weights, state.converged, steps, state.error)
