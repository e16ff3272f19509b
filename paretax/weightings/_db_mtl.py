"""All gradients as long as the longest."""

import jax.numpy as jnp

from paretax._weighting import Weighting, stateless

__all__ = ["db_mtl"]


def db_mtl() -> Weighting:
    """The gradient half of dual-balancing: wᵢ = max_k ‖g_k‖ / ‖gᵢ‖.

    d = Σᵢ wᵢ gᵢ is the sum of gradients that are all as long as the longest. The method
    takes it on a moving average of the gradients of the log losses, which balance the
    losses: `jnp.log` in the function that is differentiated, then
    `optax.chain(px.per_task(optax.ema(0.9), m), px.combine(px.db_mtl(), m))`.

    Returns:
      A weighting on the Gramian; weights of at least 1, and 0 for a task with zero
      gradient. Rescaling a task's loss leaves the direction's direction as it was and
      changes its length only where that task's gradient is, or becomes, the longest.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> balance = px.db_mtl()
      >>> weights, _ = balance.update(jnp.diag(jnp.array([4.0, 1.0])), balance.init(2))
      >>> weights.tolist()
      [1.0, 2.0]

    Cost: m square roots; m backward passes.

    Reference: Lin et al., "Dual-Balancing for Multi-Task Learning", arXiv:2308.12029.
    Departures: the authors' code adds 1e-8 to each norm; the decay of their average,
    β/k^σ at step k from an average of 0, is the caller's (see docs/recipes.md).
    """
    return stateless(_weights)


def _weights(gram, active=None):
    del active  # rows of inactive tasks are zero
    square = jnp.diagonal(gram)
    dead = square == 0
    norm = jnp.sqrt(jnp.where(dead, 1.0, square))
    longest = jnp.max(jnp.where(dead, 0.0, norm))
    return jnp.where(dead, 0.0, longest / norm)
