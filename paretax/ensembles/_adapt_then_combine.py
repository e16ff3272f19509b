"""Members step, then average whole training states: parameters and moments."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from paretax._checks import check_count
from paretax._shared import Shared, chosen, replaced, shared_mask
from paretax.ensembles._couplings import Coupling
from paretax.ensembles._each_member import Placement
from paretax.ensembles._mixing import (
    all_finite,
    check_params,
    count_members,
    mixed,
    moments_of,
    turn_of,
)

__all__ = ["AdaptThenCombineState", "adapt_then_combine"]


class AdaptThenCombineState(NamedTuple):
    """What the last step did.

    Attributes:
      matrix: M of the last step, shape [k, k]; row k holds what member k took from
        each. I where that step had no average.
      finite: bool, shape [k]: members whose parameters and moments were all finite
        after their step; the others gave nothing.
      steps: steps so far.
      coupling: the rule's own state.
      optimizer: the optimizer's state, averaged.
    """

    matrix: Float[Array, "k k"]
    finite: Bool[Array, " k"]
    steps: Int[Array, ""]
    coupling: Any
    optimizer: Any


def adapt_then_combine(
    optimizer: optax.GradientTransformation,
    coupling: Coupling,
    *,
    every: int = 1,
    shared: Shared = None,
    placement: Placement | None = None,
) -> optax.GradientTransformationExtraArgs:
    """θ_k ← Σ_j M_kj (θ_j + u_j), and the optimizers' moments likewise.

    `transfer` mixes the parameters that the gradients were taken at and leaves the
    moments alone; here all members step first, and then whole training states are
    averaged. With M_kj = 1/k this is one model that follows the mean gradient; with a
    kernel over neighbors each member follows a gradient of lower variance, past ones
    included, so the rate may be higher.

    Args:
      optimizer: on leaves [k, ...], as `per_member` makes it. Moments are those parts
        of its state that have the structure and the shapes of the parameters.
      coupling: the rule for M, which sees the parameters before the step.
      every: n ≥ 1, steps from one average to the next, as in `transfer`.
      shared: which leaves are averaged, with their moments: None (all), a pytree of
        booleans, a prefix of one, or a predicate on the key path. M is computed from
        these leaves.
      placement: members are split over devices, as `place` has it; parameters and
        moments go together, as one array there and one back (see `transfer`).

    Returns:
      An optax transformation on leaves [k, ...] that takes gradients and needs
      `params`; what it returns makes `optax.apply_updates` step and average. With
      `no_coupling` it is the optimizer, bit for bit. A member with a number that is not
      finite gives nothing to others and takes nothing.

    Raises:
      ValueError: `every` below 1; `params` missing, or leaves without a common leading
        axis; members that the devices of the placement cannot share evenly.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from paretax import ensembles
      >>> rule = ensembles.fixed_coupling([[0.5, 0.5], [0.0, 1.0]])
      >>> tx = ensembles.adapt_then_combine(optax.sgd(1.0), rule)
      >>> theta = jnp.array([[0.0], [4.0]])
      >>> updates, _ = tx.update(jnp.array([[1.0], [-1.0]]), tx.init(theta), theta)
      >>> optax.apply_updates(theta, updates).tolist()
      [[2.0], [5.0]]

    Cost: k² multiply-adds a parameter and a moment, at the highest precision.

    Reference: the order of step and average is that of Chen & Sayed, "Diffusion
    adaptation strategies for distributed optimization and learning over networks", IEEE
    Trans. Signal Processing 60(8), 2012, arXiv:1111.0034. Averaging the moments, and
    members with preferences of their own, are this library's; it is no published form
    of MT2O.
    """
    check_count("every", every)
    optimizer = optax.with_extra_args_support(optimizer)

    def init(params):
        k = count_members(params)
        return AdaptThenCombineState(
            jnp.eye(k),
            jnp.ones(k, bool),
            jnp.zeros((), jnp.int32),
            coupling.init(chosen(params, shared_mask(shared, params))),
            optimizer.init(params),
        )

    def update(updates, state, params=None, **extra_args):
        params = check_params("adapt_then_combine averages", params)
        mask = shared_mask(shared, params)
        steps, inner = optimizer.update(updates, state.optimizer, params, **extra_args)
        moments, place = moments_of(inner, params)
        changes = [steps, *moments]
        values = [optax.apply_updates(params, steps), *moments]
        finite = all_finite(values, count_members(params), placement)
        masks = mask * len(values)
        done, matrix, rule = mixed(
            coupling,
            chosen(changes, masks),
            chosen(values, masks),
            finite,
            state.coupling,
            placement,
            seen=chosen(params, mask),
            turn=turn_of(every, state.steps),
        )
        steps, *moments = replaced(changes, masks, done)
        inner = place(moments)
        count = state.steps + 1
        return steps, AdaptThenCombineState(matrix, finite, count, rule, inner)

    return optax.GradientTransformationExtraArgs(init, update)
