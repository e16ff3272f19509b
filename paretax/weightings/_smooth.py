"""Weights averaged over the steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from paretax._checks import check_fraction
from paretax._types import Solution, Weights
from paretax._weighting import Weighting, as_before, certify
from paretax.weightings._wrapped import check_inner, pack, unpack

__all__ = ["SmoothState", "smooth"]


class SmoothState(NamedTuple):
    """The state of `smooth`.

    Attributes:
      weights: the last weights, shape [m].
      converged: the wrapped weighting's certificate.
      error: likewise.
      average: λ of every task as of its last active step, shape [m].
      seen: which tasks have been active, bool [m].
      inner: the leaves of the wrapped weighting's state.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    average: Weights
    seen: Bool[Array, " m"]
    inner: tuple[Any, ...]


def smooth(weighting: Weighting, *, decay: float | Array = 0.9) -> Weighting:
    """An exponential average of the weights: λ_k = α λ_{k−1} + (1 − α) λ̂_k.

    λ̂_k are the wrapped weighting's weights at step k and λ₁ = λ̂₁. With weights that
    follow a mini-batch's noise, their correlation with its gradients biases the
    direction; averaged weights forget that noise. This is CR-MOGM.

    Args:
      weighting: what makes λ̂.
      decay: α in [0, 1], the weight of the past; 0 is `weighting` itself and 1 keeps
        the first weights. Schedules: `optax.inject_hyperparams` around `combine`.

    Returns:
      A weighting that needs the Gramian where the wrapped one does, and shows its
      certificate. Weights stay on the simplex where the wrapped ones are; other laws
      hold at the first step only, since past weights belong to past gradients. With
      missing tasks each task has its own average, which begins at the first step at
      which it is active and stands still while it is not; nothing is renormalized, so
      after the set of active tasks has changed the weights may sum to less or more than
      the wrapped ones do. Weights that are not finite are shown, not remembered.

    Raises:
      ValueError: `weighting` is no weighting, or α lies outside [0, 1].

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> weighting = px.smooth(px.mgda(), decay=0.5)
      >>> state = weighting.init(2)
      >>> for gram in (jnp.diag(jnp.array([4.0, 1.0])), jnp.eye(2)):
      ...     weights, state = weighting.update(gram, state)
      ...     print([round(w, 3) for w in weights.tolist()])
      [0.2, 0.8]
      [0.35, 0.65]

    Cost: that of `weighting`; 2m numbers of memory.

    Reference: Zhou et al., "On the Convergence of Stochastic Multi-Objective Gradient
    Manipulation and Beyond" (CR-MOGM), NeurIPS 2022. Departures: α is constant unless
    it is scheduled, where the paper's analysis lets it grow to 1; masks.
    """
    check_inner(weighting, "px.smooth(px.mgda(), decay=0.9)")
    check_fraction("decay", decay)

    def init(num_tasks):
        inner = weighting.init(num_tasks)
        first = inner.weights, inner.converged, inner.error
        seen = jnp.zeros(num_tasks, bool)
        return SmoothState(*first, jnp.zeros_like(inner.weights), seen, pack(inner))

    def needs_gram(state):
        return weighting.needs_gram(unpack(weighting, state))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        fresh, inner = weighting.update(
            gram, unpack(weighting, state), losses=losses, active=active, **extra_args
        )
        present = jnp.ones_like(state.seen) if active is None else active
        known = present & jnp.all(jnp.isfinite(jnp.where(present, fresh, 0.0)))
        past = jnp.where(state.seen, state.average, fresh)
        mixed = decay * past + (1 - decay) * fresh
        answer = Solution(mixed, inner.converged, jnp.zeros((), jnp.int32), inner.error)
        weights, shown = certify(answer, state, active)
        average = jnp.where(known, mixed, state.average)
        new = SmoothState(*shown, average, state.seen | known, pack(inner))
        return weights, jax.tree.map(as_before, new, state)

    return Weighting(init, update, needs_gram)
