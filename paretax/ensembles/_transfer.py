"""The transfer of parameters among members, as an optax transformation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from paretax._jacobian import keep_rows
from paretax._shared import Shared, shared_mask
from paretax.ensembles._couplings import Coupling
from paretax.ensembles._per_member import check_members

__all__ = ["TransferState", "transfer"]


class TransferState(NamedTuple):
    """What the last transfer did.

    Attributes:
      matrix: M, shape [k, k]; row k holds what member k took from each.
      finite: bool, shape [k]: members whose parameters were all finite; the others gave
        nothing.
      steps: transfers so far.
      coupling: the rule's own state.
    """

    matrix: Float[Array, "k k"]
    finite: Bool[Array, " k"]
    steps: Int[Array, ""]
    coupling: Any


def transfer(
    coupling: Coupling, *, shared: Shared = None
) -> optax.GradientTransformationExtraArgs:
    """θ_k ← Σ_j M_kj θ_j + u_k: members mix as they step, all at once.

    Put it after the optimizer: what comes in are its updates u, and what goes out makes
    `optax.apply_updates` do mixing and step together. Gradients were taken at the
    unmixed parameters, and optimizer moments are not mixed.

    Args:
      coupling: the rule for M.
      shared: which leaves are handed over: None (all), a pytree of booleans, a prefix
        of one, or a predicate on the key path. M is computed from these leaves.

    Returns:
      An optax transformation on leaves [k, ...] that needs `params`. A member with a
      parameter that is not finite gives nothing to others and takes nothing; the share
      it would have given stays with the taker. `optax.tree.get(state, "matrix")` is M.

    Raises:
      ValueError: `params` missing, or leaves without a common leading axis.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from paretax import ensembles
      >>> rule = ensembles.fixed_coupling([[0.5, 0.5], [0.0, 1.0]])
      >>> tx = optax.chain(optax.sgd(1.0), ensembles.transfer(rule))
      >>> theta = jnp.array([[0.0], [4.0]])
      >>> updates, _ = tx.update(jnp.array([[1.0], [1.0]]), tx.init(theta), theta)
      >>> optax.apply_updates(theta, updates).tolist()
      [[1.0], [3.0]]

    Cost: k² multiply-adds a parameter, at the highest precision.

    Reference: a reconstruction from the abstract of Bai, Gupta & Ong, "Multi-Task
    Learning with Multi-Task Optimization", arXiv:2403.16162, and the same authors'
    earlier published updates (Memetic Computing 12(4), 2020; IEEE Trans. Cybernetics
    52(8), 2022).
    """

    def init(params):
        k = _check(params)
        return TransferState(
            jnp.eye(k),
            jnp.ones(k, bool),
            jnp.zeros((), jnp.int32),
            coupling.init(_chosen(params, shared_mask(shared, params))),
        )

    def update(updates, state, params=None, **extra_args):
        del extra_args
        if params is None:
            raise ValueError(
                "params: transfer mixes parameters and needs them, got None; call "
                "tx.update(updates, state, params)."
            )
        k = _check(params)
        mask = shared_mask(shared, params)
        finite = _finite(params, k)
        matrix, inner = coupling.update(_chosen(params, mask), state.coupling)
        if matrix is None or k == 1:
            new = TransferState(jnp.eye(k), finite, state.steps + 1, inner)
            return updates, new
        matrix = _isolate(jax.lax.stop_gradient(matrix), finite)
        leaves, treedef = jax.tree.flatten(updates)
        mixed = [
            _mix(u, p, matrix, finite) if keep else u
            for u, p, keep in zip(leaves, jax.tree.leaves(params), mask, strict=True)
        ]
        new = TransferState(matrix, finite, state.steps + 1, inner)
        return jax.tree.unflatten(treedef, mixed), new

    return optax.GradientTransformationExtraArgs(init, update)


def _mix(update, param, matrix, finite):
    """(M − I) θ + u; exactly u where M is I."""
    wide = jnp.promote_types(param.dtype, jnp.float32)
    k = param.shape[0]
    rows = keep_rows(param, finite)
    change = (matrix - jnp.eye(k, dtype=matrix.dtype)).astype(wide)
    moved = jnp.tensordot(
        change, rows.astype(wide), axes=1, precision=jax.lax.Precision.HIGHEST
    )
    return (moved + update.astype(wide)).astype(update.dtype)


def _isolate(matrix, finite):
    """M without members that are not finite: their columns go back to the diagonal."""
    kept = jnp.where(finite[None, :] & finite[:, None], matrix, 0.0)
    k = matrix.shape[0]
    off = kept * (1 - jnp.eye(k, dtype=matrix.dtype))
    isolated = off + jnp.diag(1 - jnp.sum(off, axis=1))
    return jnp.where(jnp.all(finite), matrix, isolated)


def _finite(params, k):
    ok = jnp.ones(k, bool)
    for leaf in jax.tree.leaves(params):
        ok = ok & jnp.all(jnp.isfinite(leaf.reshape(k, -1)), axis=1)
    return ok


def _chosen(params, mask):
    leaves = jax.tree.leaves(params)
    return [leaf for leaf, keep in zip(leaves, mask, strict=True) if keep]


def _check(params) -> int:
    leaves = jax.tree.leaves(params)
    if not leaves or jnp.ndim(leaves[0]) == 0:
        raise ValueError(
            "params: expected leaves with a leading axis of members, got "
            f"{jax.tree.structure(params)}."
        )
    check_members("params", params, leaves[0].shape[0])
    return leaves[0].shape[0]
