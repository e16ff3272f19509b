"""A direction of bounded length."""

import jax.numpy as jnp

from paretax._checks import check_positive
from paretax._weighting import Weighting, read_gram
from paretax.weightings._wrapped import (
    check_inner,
    unpack,
    wrapped_init,
    wrapped_update,
)

__all__ = ["clip_norm", "shorten"]


def clip_norm(weighting: Weighting, *, max_norm: float) -> Weighting:
    """The weights, shortened so that the direction is no longer than `max_norm`.

    w ← w·min(1, c/‖Jᵀw‖) with ‖Jᵀw‖ = √(wᵀKw): the direction keeps where it points. It
    is `optax.clip_by_global_norm` on the shared leaves, done to m numbers, so it
    can stand inside other wrappers; with `combine(..., weight_heads=True)` the heads
    are shortened in the same ratio.

    Args:
      weighting: what makes the weights.
      max_norm: c > 0, in the norm of the shared parameters.

    Returns:
      A weighting with the wrapped one's certificate. It reads the Gramian at every
      step, whatever `weighting` reads; where the Gramian is not finite the weights are
      NaN. `every(clip_norm(...))` clips at the steps that make new weights, and needs
      the Gramian at these only.

    Raises:
      ValueError: `weighting` is no weighting, or `max_norm` ≤ 0.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.clip_norm(px.total(), max_norm=1.0)
      >>> weights, _ = weighting.update(jnp.diag(jnp.array([9.0, 16.0])),
      ...                               weighting.init(2))
      >>> [round(w, 3) for w in weights.tolist()]
      [0.2, 0.2]

    Cost: that of `weighting`, and m² multiply-adds; m backward passes a step.

    Reference: `max_norm` of Navon et al., "Multi-Task Learning as a Bargaining Game",
    ICML 2022, arXiv:2202.01017, for any weighting. Departure: the weights are
    shortened, not the gradient of the shared parameters, which matters to heads only.
    """
    check_inner(weighting, "px.clip_norm(px.total(), max_norm=1.0)")
    check_positive("max_norm", max_norm)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        gram = read_gram(gram, state.weights.shape[0], active)
        weights, inner = weighting.update(
            gram, unpack(weighting, state), losses=losses, active=active, **extra_args
        )
        weights = shorten(weights, gram, max_norm)
        inside = jnp.all(jnp.isfinite(weights))
        weights, new = wrapped_update(weights, inner, state, active)
        return weights, new._replace(converged=new.converged & inside)

    return Weighting(wrapped_init(weighting), update)


def shorten(weights, gram, max_norm):
    """w·min(1, c/√(wᵀKw)); NaN where K is not finite."""
    image = jnp.matmul(gram, weights, precision="highest")
    square = jnp.vdot(weights, image, precision="highest")
    inside = square <= max_norm**2
    norm = jnp.sqrt(jnp.where(inside, 1.0, square))
    return weights * jnp.where(inside, 1.0, max_norm / norm)
