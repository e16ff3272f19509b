"""Preference-based multiple gradient descent: correct towards a ray, then descend."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from paretax._checks import check_fraction, check_non_negative, check_preference
from paretax._types import Solution, Weights
from paretax._weighting import (
    Weighting,
    as_default_float,
    certify,
    init_state,
    read_gram,
    require_losses,
)
from paretax.ensembles._shortest import shortest
from paretax.solvers import lp

__all__ = ["pmgda"]


def pmgda(
    preference: Weights | ArrayLike,
    *,
    tol: float | Array = 1e-2,
    sigma: float | Array = 0.95,
) -> Weighting:
    """The weights that turn the losses to the ray t p with the least harm to any.

    With u = p/‖p‖, the constraint is h(f) = ‖f − (uᵀf) u‖, the distance of the losses
    from the ray, with gradient ∇h = Jᵀb, b = ∂h/∂f. Where h ≥ tol (correct), a linear
    program over the simplex of m + 1 chooses among the unit gradients ĝᵢ and ∇h/‖∇h‖:

        min a  subject to  gᵢᵀd ≥ −a for all i,  ∇hᵀd ≥ σ‖∇h‖,
               d = Σᵢ μᵢ ĝᵢ + μₘ₊₁ ∇h/‖∇h‖,  μ ≥ 0,  Σ μ = 1,

    and wᵢ = μᵢ/‖gᵢ‖ + μₘ₊₁ bᵢ/‖∇h‖, so d = Jᵀw. Elsewhere (predict) w is that of
    `mgda`. As in `scalarizations.pbi`, p is a direction among the losses: a large pᵢ
    lets task i have a large loss. For the ray of `epo` give 1/r, divided by its sum.

    Args:
      preference: p, shape [m], non-negative, summing to 1. May be a tracer.
      tol: ≥ 0, in units of the losses, the h below which a point is on the ray.
      sigma: σ in [0, 1], the least cosine of −d with the descent of h, were d of unit
        length. The larger, the more directly h falls, whatever the losses do.

    Returns:
      A weighting on the Gramian and the losses. In a correction weights may be
      negative; in a prediction they are on the simplex of the active tasks. `error` and
      `converged` are those of `solvers.lp` or of `solvers.min_norm`, whichever was
      used; where the program is not solved the weights are 1/‖∇h‖ b, which satisfy its
      constraints.

    Raises:
      ValueError: p is not on the simplex; tol < 0; σ outside [0, 1]; at update,
        `losses` missing or not of shape [m].

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> weighting = ensembles.pmgda([0.5, 0.5], sigma=0.8)
      >>> weights, state = weighting.update(jnp.eye(2), weighting.init(2),
      ...                                   losses=jnp.array([1.0, 3.0]))
      >>> [round(w, 3) for w in weights.tolist()], bool(state.converged)
      ([-0.224, 0.907], True)

    Cost: one linear program of m + 2 variables and one `min_norm`; m backward passes a
    step.

    Reference: Zhang, Lin & Zhang, "PMGDA: A Preference-based Multiple Gradient Descent
    Algorithm", 2024, arXiv:2402.09492, by the first author's code in LibMOON, whose
    defaults are `tol` and `sigma`. Departures: the code adds 1e-4 to the norms that it
    divides by. The paper itself could be read only in a summary by others, which has
    its prediction hold h as well, by the shortest of Jᵀμ + ν∇h over ν too; the code,
    and this, take the shortest of Jᵀμ.
    """
    p = check_preference(preference)
    tol, sigma = check_non_negative("tol", tol), check_fraction("sigma", sigma)

    def update(gram, state, *, losses=None, active=None, **extra_args):
        del extra_args
        m = state.weights.shape[0]
        gram = read_gram(gram, m, active)
        present = jnp.ones(m, bool) if active is None else active
        losses = jnp.where(present, require_losses(losses, m), 0.0)
        h, b = _distance(losses, jnp.where(present, as_default_float(p), 0.0))
        correct = _correct(gram, b, sigma, present)
        predict = shortest(gram, present)
        solution = jax.tree.map(
            lambda one, other: jnp.where(h >= tol, one, other),
            correct,
            predict,
        )
        solution = solution._replace(
            value=jnp.where(jnp.isnan(h), jnp.nan, solution.value),
            converged=solution.converged & ~jnp.isnan(h),
        )
        return certify(solution, state, active)

    return Weighting(init_state, update)


def _distance(losses, preference):
    """h and its derivative; on the ray the subgradient 0."""
    square = jnp.sum(preference**2)
    u = preference / jnp.sqrt(jnp.where(square > 0, square, 1.0))
    off = losses - jnp.sum(u * losses) * u
    square = jnp.sum(off**2)
    h = jnp.sqrt(jnp.where(square == 0, 1.0, square)) * (square != 0)
    return h, off / jnp.where(h > 0, h, 1.0)


def _correct(gram, b, sigma, present):
    m = gram.shape[0]
    basis = jnp.concatenate([jnp.eye(m, dtype=gram.dtype), b[None]])
    high = jax.lax.Precision.HIGHEST
    wide = jnp.einsum("ai,ij,bj->ab", basis, gram, basis, precision=high)
    norm = jnp.sqrt(jnp.maximum(jnp.diagonal(wide), 0.0))
    there = jnp.append(present, True)
    unit = wide / jnp.where(norm > 0, norm, 1.0)
    # The variable a is measured in the largest norm, so that all are of one size.
    size = jnp.max(norm)
    falls = -unit / jnp.where(size > 0, size, 1.0)
    falls = jnp.where(there[:, None], falls, 0.0)
    slack = jnp.append(-present.astype(gram.dtype), 0.0)
    rows = jnp.block(
        [
            [falls, slack[:, None]],
            [-jnp.eye(m + 1, dtype=gram.dtype), jnp.zeros((m + 1, 1), gram.dtype)],
        ]
    )
    sides = jnp.concatenate(
        [
            jnp.where(present, 0.0, 1.0),
            -sigma * norm[-1:] / jnp.where(size > 0, size, 1.0),
            jnp.zeros(m + 1, gram.dtype),
        ]
    )
    cost = jnp.zeros(m + 2, gram.dtype).at[-1].set(1.0)
    sums = jnp.append(there, False).astype(gram.dtype)[None]
    solution = lp(cost, sums, jnp.ones(1, gram.dtype), rows, sides)
    only = jnp.zeros(m + 1, gram.dtype).at[-1].set(1.0)
    found = jnp.where(there, jnp.maximum(solution.value[:-1], 0.0), 0.0)
    known = jnp.all(jnp.isfinite(solution.value))
    mu = jnp.where(solution.converged | ~known, found, only)
    value = (mu / jnp.where(norm > 0, norm, 1.0)) @ basis
    return Solution(value, solution.converged, solution.steps, solution.error)
