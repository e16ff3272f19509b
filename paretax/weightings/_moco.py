"""One projected step a step, on gradients that are tracked over time."""

import jax
import jax.numpy as jnp

from paretax._checks import check_non_negative, check_positive
from paretax._weighting import Weighting, certify, read_gram
from paretax.solvers import project_simplex
from paretax.weightings._simplex_memory import (
    SimplexState,
    init_simplex,
    step_active,
)

__all__ = ["moco"]


def moco(*, step_size: float, ridge: float = 0.0, softmax: bool = False) -> Weighting:
    """Multi-objective gradient correction: λ ← Π(λ − γ (Y Yᵀ + ρ I) λ).

    Y holds a moving average of each task's gradient and Π projects onto the simplex:
    the averages lose the noise of the batches, and with it the bias of min-norm
    weights. This is the step of λ; the averages are optax's:
    `optax.chain(px.per_task(optax.ema(0.9, debias=False), m), px.combine(px.moco(
    step_size=0.1), m))`. The direction is Yᵀλ with the new λ.

    Args:
      step_size: γ > 0, in units of 1/‖gradient‖².
      ridge: ρ ≥ 0, in units of ‖gradient‖²; draws λ towards 1/m.
      softmax: λ ← softmax(λ − γ (Y Yᵀ + ρ I) λ) instead, as LibMTL does. No
        entry reaches 0, and with small γ the weights stay close to 1/m: at rest it is
        not MGDA's problem that is solved.

    Returns:
      A weighting on the Gramian of the averages; weights on the simplex of the active
      tasks. The state (`SimplexState`) keeps λ.

    Raises:
      ValueError: γ ≤ 0 or ρ < 0.

    Example:
      >>> import jax.numpy as jnp, paretax as px
      >>> balance = px.moco(step_size=0.1)
      >>> weights, _ = balance.update(jnp.diag(jnp.array([3.0, 1.0])), balance.init(2))
      >>> [round(w, 3) for w in weights.tolist()]
      [0.45, 0.55]

    Cost: one m×m product; m backward passes, and memory for Y, as large as J.

    Reference: Fernando et al., "Mitigating Gradient Bias in Multi-objective Learning: A
    Provably Convergent Approach", ICLR 2023, arXiv:2210.12624. Departures: step sizes
    are constant (LibMTL divides both by powers of the step number). LibMTL scales every
    gradient to the length of its loss first, the official code may divide by norms or
    losses; here that is a `px.per_task` before the average.
    """
    check_positive("step_size", step_size)
    check_non_negative("ridge", ridge)

    def onto(point, active):
        if not softmax:
            return project_simplex(point, active)
        return jax.nn.softmax(point if active is None else _only(point, active))

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del losses, extra_args
        gram = read_gram(gram, state.weights.shape[0], active)

        def step(multipliers):
            slope = jnp.matmul(gram, multipliers, precision="highest")
            slope = slope + ridge * multipliers
            return onto(multipliers - step_size * slope, active)

        weights, multipliers = step_active(step, state.multipliers, active)
        weights, shown = certify(weights, state, active)
        return weights, SimplexState(*shown, multipliers)

    return Weighting(init_simplex, update)


def _only(point, active):
    """-∞ for the inactive tasks; as it is where no task is active."""
    return jnp.where(active | ~jnp.any(active), point, -jnp.inf)
