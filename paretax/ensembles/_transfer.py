"""The transfer of parameters among members, as an optax transformation."""

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
    turn_of,
)

__all__ = ["TransferState", "transfer"]


class TransferState(NamedTuple):
    """What the last transfer did.

    Attributes:
      matrix: M of the last step, shape [k, k]; row k holds what member k took from
        each. I where that step had no transfer.
      finite: bool, shape [k]: members whose parameters were all finite; the others gave
        nothing.
      steps: steps so far.
      coupling: the rule's own state.
    """

    matrix: Float[Array, "k k"]
    finite: Bool[Array, " k"]
    steps: Int[Array, ""]
    coupling: Any


def transfer(
    coupling: Coupling,
    *,
    every: int = 1,
    shared: Shared = None,
    placement: Placement | None = None,
) -> optax.GradientTransformationExtraArgs:
    """θ_k ← Σ_j M_kj θ_j + u_k: members mix as they step, all at once.

    Put it after the optimizer: what comes in are its updates u, and what goes out makes
    `optax.apply_updates` do mixing and step together. Gradients were taken at the
    unmixed parameters, and optimizer moments are not mixed.

    Args:
      coupling: the rule for M.
      every: n ≥ 1, steps from one transfer to the next: the n-th, the 2n-th and so on
        end with one. The rule's own count goes on at transfers only.
      shared: which leaves are handed over: None (all), a pytree of booleans, a prefix
        of one, or a predicate on the key path. M is computed from these leaves.
      placement: members are split over devices, as `place` has it. The shared leaves go
        as one flattened array: one all-to-all gives each device a slice of all members'
        parameters, and one sends the mixed slices back; M is computed from the slices
        and is the same on all devices.

    Returns:
      An optax transformation on leaves [k, ...] that needs `params`. A member with a
      parameter that is not finite gives nothing to others and takes nothing; the share
      it would have given stays with the taker. `optax.tree.get(state, "matrix")` is M.

    Raises:
      ValueError: `every` below 1; `params` missing, or leaves without a common leading
        axis; members that the devices of the placement cannot share evenly.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from paretax import ensembles
      >>> rule = ensembles.fixed_coupling([[0.5, 0.5], [0.0, 1.0]])
      >>> tx = optax.chain(optax.sgd(1.0), ensembles.transfer(rule))
      >>> theta = jnp.array([[0.0], [4.0]])
      >>> updates, _ = tx.update(jnp.array([[1.0], [1.0]]), tx.init(theta), theta)
      >>> optax.apply_updates(theta, updates).tolist()
      [[1.0], [3.0]]

    Cost: k² multiply-adds a parameter, at the highest precision. On d devices 1/d of it
    each, sending 2 (k/d) (1 − 1/d) numbers a parameter. Nothing between transfers.

    Reference: a reconstruction from the abstract of Bai, Gupta & Ong, "Multi-Task
    Learning with Multi-Task Optimization", arXiv:2403.16162, and the same authors'
    earlier published updates (Memetic Computing 12(4), 2020; IEEE Trans. Cybernetics
    52(8), 2022).
    """
    check_count("every", every)

    def init(params):
        k = count_members(params)
        return TransferState(
            jnp.eye(k),
            jnp.ones(k, bool),
            jnp.zeros((), jnp.int32),
            coupling.init(chosen(params, shared_mask(shared, params))),
        )

    def update(updates, state, params=None, **extra_args):
        del extra_args
        params = check_params("transfer mixes", params)
        k = count_members(params)
        mask = shared_mask(shared, params)
        finite = all_finite(params, k, placement)
        done, matrix, inner = mixed(
            coupling,
            chosen(updates, mask),
            chosen(params, mask),
            finite,
            state.coupling,
            placement,
            turn=turn_of(every, state.steps),
        )
        new = TransferState(matrix, finite, state.steps + 1, inner)
        return replaced(updates, mask, done), new

    return optax.GradientTransformationExtraArgs(init, update)
