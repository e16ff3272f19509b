"""Conflict-free inverse gradients."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from paretax._checks import check_positive_preference
from paretax._types import Solution, Weights
from paretax._weighting import Weighting, stateless
from paretax.weightings._imtl_g import equal_cosines

__all__ = ["config"]


def config(*, preference: Weights | ArrayLike | None = None) -> Weighting:
    """ConFIG: the direction with equal cosines to every gradient, as long as all allow.

    With U the unit gradients, e = U⁺1/‖U⁺1‖ has the same cosine with every task, and
    d = (Σᵢ gᵢᵀe) e. In the matrix of cosines C: u = C⁺1, d ∝ Σᵢ uᵢ gᵢ/‖gᵢ‖.

    Args:
      preference: p, shape [m], positive, summing to 1: cosines in the ratio of p. None
        is equal.

    Returns:
      A weighting on the Gramian. Where the gradients are independent no task is harmed.
      `error` is maxᵢ |(Cu)ᵢ − 1| (with a preference, |(Cu)ᵢ − m pᵢ|): where it is not 0
      the cosines cannot be as asked, and `converged` is False.

    Raises:
      ValueError: p is not positive with sum 1; at update, m is not its length.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weights, _ = px.config().update(jnp.array([[4.0, 0.0], [0.0, 1.0]]),
      ...                                 px.config().init(2))
      >>> [round(w, 3) for w in weights.tolist()]
      [0.75, 1.5]

    Cost: an m×m eigendecomposition; m backward passes a step.

    Reference: Liu et al., "ConFIG: Towards Conflict-free Training of Physics Informed
    Neural Networks", ICLR 2025, arXiv:2408.11104, eq. 2. Departure: the pseudo-inverse
    is taken of C, not of U, so its tolerance acts on squared singular values. M-ConFIG,
    which takes one task's gradient a step, is not here.
    """
    outside = "leave it out with active="
    p = None if preference is None else check_positive_preference(preference, outside)

    def weights(gram, active=None):
        m = gram.shape[0]
        if p is not None and p.shape != (m,):
            raise ValueError(f"preference: expected shape ({m},), got {p.shape}.")
        target = jnp.ones(m, gram.dtype) if p is None else m * p.astype(gram.dtype)
        u, scale, error, converged = equal_cosines(gram, target, active)
        w = u * scale
        gains = jnp.matmul(gram, w, precision="highest")
        square = jnp.vdot(w, gains, precision="highest")
        moving = square > 0
        w = w * jnp.sum(gains) / jnp.where(moving, square, 1.0)
        w = jnp.where(moving | jnp.isnan(square), w, 0.0)
        return Solution(w, converged, jnp.zeros((), jnp.int32), error)

    return stateless(weights)
