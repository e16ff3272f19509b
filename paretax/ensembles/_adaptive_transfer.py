"""A transfer whose strength and step lengths follow what the gradients say."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from paretax._checks import check_count, check_fraction, check_positive
from paretax._jacobian import keep_rows
from paretax._shared import Shared, chosen, replaced, shared_mask
from paretax.ensembles._couplings import check_one_each, neighbor_kernel
from paretax.ensembles._each_member import Placement
from paretax.ensembles._measured_neighbors import (
    MeasuredNeighbors,
    neighbor_rule,
    newest_share,
)
from paretax.ensembles._mixing import (
    all_finite,
    check_params,
    count_members,
    member_squares,
    mixed,
    moments_of,
    wide_type,
)
from paretax.ensembles._preferences import check_preferences

__all__ = ["AdaptiveTransferState", "adaptive_transfer"]


class AdaptiveTransferState(NamedTuple):
    """What the last step did, and what has been measured.

    Attributes:
      matrix: M of the last step, shape [k, k]; row k holds what member k took from
        each.
      finite: bool, shape [k]: members whose gradients, parameters and moments were all
        finite; the others gave nothing, and were not measured.
      steps: steps so far.
      coupling: what the strength and the gain rest on.
      mean: running means of the shared parameters, leaves [k, ...].
      optimizer: the optimizer's state, averaged.
    """

    matrix: Float[Array, "k k"]
    finite: Bool[Array, " k"]
    steps: Int[Array, ""]
    coupling: MeasuredNeighbors
    mean: list[Array]
    optimizer: PyTree


def adaptive_transfer(
    optimizer: optax.GradientTransformation,
    preferences: Float[Array, "k m"] | ArrayLike,
    *,
    bandwidth: float = 1.0,
    window: int = 100,
    gain_power: float = 1.0,
    shared: Shared = None,
    placement: Placement | None = None,
) -> optax.GradientTransformationExtraArgs:
    """θ_k ← Σ_j M_kj (θ_j + γ_j u_j): members mix while that helps, and step further.

    Whole training states are averaged, as in `adapt_then_combine`, by
    M = (1 − a) I + a N with N_kj ∝ exp(−d_kj/bandwidth), the member itself included.
    Two numbers of each member follow from its neighbors' gradients:

    - Its strength a rises while the average lowers its own objective to first order,
      ⟨gradient, N θ − θ⟩ < 0, and falls, three times as fast, where it does not; what
      the pull between running means adds, which no noise explains, counts three times.
      The odds a/(1 − a) also follow the fourth power of the length of the steps: at a
      smaller rate there is less noise to average.
    - Its gain γ lengthens the step by as much as one average of gradients is less noisy
      than one gradient: (σ² + μ²)/(σ² Σ_j M_kj² + μ²) with σ² the variance of the
      neighbors' gradients and μ their mean. It lies between 1 and the number of
      effective donors: at a low rate, where noise hides the direction, a step with
      several members' gradients makes the progress of several steps. Without it mixing
      at a low rate ends below independent members.

    No strength and no fading has to be chosen for a rate; see docs/decisions/
    adaptive-transfer.md for where it holds, and where it does not.

    Args:
      optimizer: on leaves [k, ...], as `per_member` makes it. Moments are those parts
        of its state that have the structure and the shapes of the parameters.
      preferences: shape [k, m]; rows non-negative, summing to 1, no two the same.
      bandwidth: > 0, in units of the smallest distance of two preferences.
      window: ≥ 1, steps that the running means look back, and that the strength needs
        to follow them; some twentieth of a run.
      gain_power: in [0, 1]; γ is the ratio above to this power. 1 for SGD; 3/4
        for Adam and others that divide by the root of second moments; 0 leaves steps
        alone.
      shared: which leaves are measured, averaged with their moments, and stepped
        further: None (all), a pytree of booleans, a prefix of one, or a predicate on
        the key path.
      placement: members are split over devices, as `place` has it. Gradients,
        parameters and their running means are sent besides what is averaged.

    Returns:
      An optax transformation on leaves [k, ...] that takes gradients and needs
      `params`; what it returns makes `optax.apply_updates` step and average. A member
      with a number that is not finite gives nothing to others and takes nothing.
      `optax.tree.get(state, "strength")` and "gain" are a and γ.

    Raises:
      ValueError: a row that is no preference, equal rows, another number of members; a
        bandwidth or window that is not positive; a power outside [0, 1]; `params`
        missing, or leaves without a common leading axis; members that the devices
        cannot share evenly.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from paretax import ensembles
      >>> grid = ensembles.das_dennis(2, 1)
      >>> sgd = ensembles.per_member(optax.sgd(0.1), 2)
      >>> tx = ensembles.adaptive_transfer(sgd, grid)
      >>> theta = jnp.array([[1.0], [1.0]])
      >>> _, state = tx.update(jnp.array([[3.0], [-1.0]]), tx.init(theta), theta)
      >>> [round(float(x), 2) for x in optax.tree.get(state, "strength")]
      [0.98, 0.98]
      >>> bool((optax.tree.get(state, "gain") > 1).all())
      True

    Cost: that of `adapt_then_combine`, and 3k² multiply-adds a parameter; memory of one
    more copy of the shared parameters. On d devices 3 (k/d) (1 − 1/d) more numbers a
    parameter are sent.

    Reference: this library's own; it is no published form of MT2O. The gain is that of
    Johnson et al., "AdaScale SGD: a user-friendly algorithm for distributed training",
    ICML 2020, arXiv:2007.05105, with a member's neighbors for its workers; the schedule
    is not moved on by it, and steps of any optimizer are scaled. The root for
    Adam is the scaling of Malladi et al., NeurIPS 2022, arXiv:2205.10287, without its
    change of the moments' decay; theirs has the second moments of averages, which are
    smaller than the averages of second moments here, hence the higher power.
    """
    grid = np.asarray(check_preferences(preferences), np.float64)
    check_positive("bandwidth", bandwidth)
    check_count("window", window)
    check_fraction("gain_power", gain_power)
    kernel = jnp.asarray(neighbor_kernel(grid, bandwidth, itself=True), dtype=float)
    rule = neighbor_rule(kernel, window, gain_power)
    optimizer = optax.with_extra_args_support(optimizer)

    def init(params):
        check_one_each(grid, count_members(params))
        return _start(rule, optimizer, params, shared_mask(shared, params))

    def update(updates, state, params=None, **extra_args):
        params = check_params("adaptive_transfer averages", params)
        k, mask = count_members(params), shared_mask(shared, params)
        theta = chosen(params, mask)
        steps, inner = optimizer.update(updates, state.optimizer, params, **extra_args)
        length = member_squares(chosen(steps, mask), k, placement)
        steps = _further(steps, mask, state.coupling.gain)
        moments, place = moments_of(inner, params)
        changes = [steps, *moments]
        values = [optax.apply_updates(params, steps), *moments]
        masks = mask * len(values)
        finite = all_finite([updates, *values], k, placement)
        seen = _kept((chosen(updates, mask), theta, state.mean), finite)
        done, matrix, measured = mixed(
            rule,
            chosen(changes, masks),
            chosen(values, masks),
            finite,
            (state.coupling, state.steps, finite, length),
            placement,
            seen=seen,
        )
        steps, *moments = replaced(changes, masks, done)
        mean = _later(state.mean, theta, newest_share(window, state.steps))
        rest = (measured, mean, place(moments))
        return steps, AdaptiveTransferState(matrix, finite, state.steps + 1, *rest)

    return optax.GradientTransformationExtraArgs(init, update)


def _start(rule, optimizer, params, mask):
    """Nothing measured; running means, which are kept wide, begin at the parameters."""
    k = count_members(params)
    return AdaptiveTransferState(
        jnp.eye(k),
        jnp.ones(k, bool),
        jnp.zeros((), jnp.int32),
        rule.init(params),
        [jnp.array(leaf, wide_type(leaf)) for leaf in chosen(params, mask)],
        optimizer.init(params),
    )


def _kept(seen, finite):
    """Nothing of members that are not finite."""
    return jax.tree.map(lambda leaf: keep_rows(leaf, finite), seen)


def _further(steps, mask, gain):
    """Each member's shared leaves times its gain."""
    leaves = chosen(steps, mask)
    rows = [gain.reshape(-1, *[1] * (leaf.ndim - 1)) for leaf in leaves]
    longer = [(x * row).astype(x.dtype) for x, row in zip(leaves, rows, strict=True)]
    return replaced(steps, mask, longer)


def _later(means, leaves, share):
    """Running means a step later."""
    pairs = zip(means, leaves, strict=True)
    return [(mean + (x - mean) * share).astype(mean.dtype) for mean, x in pairs]
