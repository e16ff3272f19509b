"""Weights that follow how far each task is from its own optimum."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from paretax._checks import check_count, check_positive
from paretax._combine import end_tasks
from paretax._jacobian import keep_rows
from paretax._shared import Shared, shared_mask
from paretax._types import Weights
from paretax._weighting import certify, init_state

__all__ = ["ExcessMtlState", "excess_mtl"]


class ExcessMtlState(NamedTuple):
    """The state of `excess_mtl`.

    Attributes:
      weights: the last weights, shape [m].
      converged: whether they are finite.
      error: 0; nothing is solved.
      scores: log α, shape [m], α on the simplex; that of an inactive task is kept.
      baselines: e(0) of each task, its first estimate above 0; 0 before that.
      squares: S, the sum of the squared gradients so far, [m, ...], one a shared leaf.
    """

    weights: Weights
    converged: Bool[Array, ""]
    error: Float[Array, ""]
    scores: Float[Array, " m"]
    baselines: Float[Array, " m"]
    squares: tuple[Float[Array, "m ..."], ...]


def excess_mtl(
    num_tasks: int,
    *,
    step_size: float = 1.0,
    shared: Shared = None,
    weight_heads: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Weights by excess risk: w ← w exp(η ê)/Σ, where êᵢ estimates how far task i still
    is from its own optimum, in units of its first estimate.

    Sᵢ ← Sᵢ + gᵢ², coordinate by coordinate; eᵢ = gᵢᵀ diag(Sᵢ)^(−½) gᵢ, the second-order
    estimate of Lᵢ(θ) − min Lᵢ with AdaGrad's curvature; êᵢ = eᵢ/eᵢ(0). Label noise
    raises a loss but not its excess, so noisy tasks are not preferred.

    Args:
      num_tasks: m ≥ 1.
      step_size: η > 0.
      shared: which leaves enter the estimate, as in `px.combine`.
      weight_heads: what the other leaves get, as in `px.combine`.

    Returns:
      An optax transformation as `px.combine`'s. Its weights lie on the simplex of the
      active tasks, 1/m each at the first step; multiplying a task's loss by a constant
      leaves all weights as they are. The weight of an inactive task, its S and its
      baseline are kept for when it is back; the others share what it leaves over.

    Raises:
      ValueError: `num_tasks` is no positive integer or η ≤ 0; what `px.combine`'s
        update raises.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import coordinatewise
      >>> tx = coordinatewise.excess_mtl(2)
      >>> state = tx.init(jnp.zeros(2))
      >>> for slow in (1.0, 0.1):  # the second task approaches its optimum
      ...     jac = jnp.array([[1.0, 0.0], [0.0, slow]])
      ...     d, state = tx.update(jac, state)
      ...     print([round(w, 2) for w in state.weights.tolist()])
      [0.5, 0.5]
      [0.67, 0.33]

    Cost: a sweep over J; m backward passes; memory for S, as large as the shared part
    of J, in float32 at least.

    Reference: He et al., "Robust Multi-Task Learning with Excess Risks", ICML 2024,
    arXiv:2402.02009. Departures: the official code adds 1e-7 to S, which shifts weights
    where gradients are small; here a coordinate that has never had a gradient adds
    nothing. Its weights start at 1 and sum to m, here they are the paper's, on the
    simplex. Its baseline is the first step's estimate, as here; the paper's experiments
    average over a warm-up. A task whose estimate has been 0 so far has ê = 0. The
    official code weights the heads too: `weight_heads=True`.
    """
    m = check_count("num_tasks", num_tasks)
    check_positive("step_size", step_size)

    def init(params):
        mask = shared_mask(shared, params)
        leaves = jax.tree.leaves(params)
        squares = tuple(
            jnp.zeros((m, *jnp.shape(leaf)), _wide(leaf))
            for leaf, keep in zip(leaves, mask, strict=True)
            if keep
        )
        scores = jnp.full(m, -jnp.log(float(m)), float)
        return ExcessMtlState(*init_state(m), scores, jnp.zeros(m, float), squares)

    def reduce(trunk, state, *, active=None, **extra_args):
        del extra_args
        present = jnp.ones(m, bool) if active is None else active
        pairs = zip(trunk, state.squares, strict=True)
        squares = tuple(s + jnp.square(x.astype(s.dtype)) for x, s in pairs)
        excess = sum(
            _excess(x.astype(s.dtype), s).astype(float)
            for x, s in zip(trunk, squares, strict=True)
        )
        first = present & (state.baselines == 0)
        baselines = jnp.where(first, excess, state.baselines)
        ratios = jnp.where(excess == 0, 0, excess / _or_one(baselines))
        scores = _exponentiate(state.scores, step_size * ratios, present)
        weights = jnp.where(jnp.any(present), _softmax(scores, present), 0.0)
        weights, shown = certify(weights, state, active)
        squares = tuple(
            keep_rows(new, present, old)
            for new, old in zip(squares, state.squares, strict=True)
        )
        return weights, None, ExcessMtlState(*shown, scores, baselines, squares)

    return end_tasks(init, reduce, m, shared=shared, weight_heads=weight_heads)


def _wide(leaf):
    return jnp.promote_types(jnp.result_type(leaf), jnp.float32)


def _excess(rows, squares):
    """Σ g²/√S over all but the task axis; 0 where S is 0."""
    axes = tuple(range(1, rows.ndim))
    return jnp.sum(jnp.square(rows) / jnp.sqrt(_or_one(squares)), axis=axes)


def _or_one(values):
    return jnp.where(values == 0, 1, values)


def _exponentiate(scores, steps, active):
    """log α after α ← α exp(steps) among the active, their sum as it was."""
    moved = scores + steps
    lost = _logsumexp(moved, active) - _logsumexp(scores, active)
    return jnp.where(active, moved - lost, scores)


def _logsumexp(scores, active):
    masked = jnp.where(active, scores, -jnp.inf)
    return jnp.where(jnp.any(active), jax.nn.logsumexp(masked), 0.0)


def _softmax(scores, active):
    return jnp.where(active, jnp.exp(scores - _logsumexp(scores, active)), 0.0)
