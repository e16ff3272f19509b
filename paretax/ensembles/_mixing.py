"""The product with M, on one device or across the devices that members are split over.

Across devices one all-to-all gives each device a slice of all members' parameters,
flattened to one array; it multiplies the slice by M, and one all-to-all sends the
result back. No device ever holds the parameters of all members. The product is taken in
blocks whose width depends on the number of parameters only: a matrix product may sum in
another order at another width, and the result would depend on the number of devices.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float

from paretax._jacobian import keep_rows
from paretax.ensembles._couplings import Coupling
from paretax.ensembles._each_member import Placement, check_places
from paretax.ensembles._per_member import check_members

__all__ = [
    "all_finite",
    "check_params",
    "count_members",
    "isolate",
    "member_squares",
    "mix",
    "mix_across",
    "mixed",
    "moments_of",
    "turn_of",
    "wide_type",
]

_BLOCKS = 256  # in all; at least 16 numbers wide each
_HIGHEST = jax.lax.Precision.HIGHEST


def isolate(
    matrix: Float[Array, "k k"], finite: Bool[Array, " k"]
) -> Float[Array, "k k"]:
    """M without members that are not finite: their columns go back to the diagonal."""
    kept = jnp.where(finite[None, :] & finite[:, None], matrix, 0.0)
    k = matrix.shape[0]
    off = kept * (1 - jnp.eye(k, dtype=matrix.dtype))
    isolated = off + jnp.diag(1 - jnp.sum(off, axis=1))
    return jnp.where(jnp.all(finite), matrix, isolated)


def mix(update: Array, param: Array, matrix: Array, finite: Array) -> Array:
    """(M − I) θ + u; exactly u where M is I."""
    wide = wide_type(param)
    rows = keep_rows(param, finite).astype(wide)
    moved = jnp.tensordot(_change(matrix, wide), rows, axes=1, precision=_HIGHEST)
    return _add(update, moved)


def mix_across(
    placement: Placement,
    coupling: Coupling,
    updates: list[Array],
    params: list[Array],
    finite: Bool[Array, " k"],
    state: Any,
    *,
    seen: list[Array] | tuple[list[Array], ...] | None = None,
) -> tuple[list[Array], Array, Any]:
    """M by the coupling from slices, and `mix` of each leaf.

    Args:
      placement: where members are.
      coupling: the rule for M, not `no_coupling`.
      updates: leaves [k, ...].
      params: the leaves that are mixed, of the shapes of the updates.
      finite: which members were finite.
      state: the rule's state.
      seen: leaves that the rule sees, or a tuple of such lists; None for `params`.
        Others are sent besides.

    Returns:
      (updates, M, the rule's state); M and the state are the same on all devices.
    """
    axis = placement.axis_name

    def body(updates, params, seen, finite, state):
        sent = _all_sent(params, axis)
        shown = _parts(sent) if seen is None else _shown(seen, axis)
        matrix, inner = coupling.update(shown, state)
        assert matrix is not None
        matrix = isolate(jax.lax.stop_gradient(matrix), finite)
        out = list(updates)
        for wide, rows, part, width in sent:
            kept = keep_rows(part, finite).astype(wide)
            moved = _in_blocks(_change(matrix, wide), kept, width)
            returned = _returned(moved, [updates[i] for i in rows], axis)
            for i, change in zip(rows, returned, strict=True):
                out[i] = _add(updates[i], change)
        return out, matrix, inner

    return jax.shard_map(
        body,
        mesh=placement.mesh,
        in_specs=(P(axis), P(axis), P(axis), P(), P()),
        out_specs=(P(axis), P(), P()),
        axis_names={axis},
    )(updates, params, seen, finite, state)


def mixed(coupling, updates, params, finite, state, placement, *, seen=None, turn=None):
    """Updates that mix `params`, M and the rule's state; as they came where M = I.

    The rule sees `seen`, which is `params` unless it is given. Where the boolean `turn`
    is false nothing is computed or sent, and M = I.
    """
    shown = params if seen is None else seen

    def mixing():
        return _mixed(coupling, updates, params, finite, state, placement, shown)

    if turn is None:
        return mixing()
    like = jax.eval_shape(mixing)[1]
    identity = jnp.eye(*like.shape, dtype=like.dtype)
    return jax.lax.cond(turn, mixing, lambda: (updates, identity, state))


def turn_of(every: int, steps: Array) -> Array | None:
    """Whether this step, counted from 0, ends with a transfer; None: all do."""
    return None if every == 1 else steps % every == every - 1


def _mixed(coupling, updates, params, finite, state, placement, shown):
    k = finite.shape[0]
    if placement is not None:
        matrix, _ = jax.eval_shape(coupling.update, shown, state)
        if matrix is not None and k > 1:
            other = None if shown is params else shown
            return mix_across(
                placement, coupling, updates, params, finite, state, seen=other
            )
    matrix, inner = coupling.update(shown, state)
    if matrix is None or k == 1:
        return updates, jnp.eye(k), inner
    matrix = isolate(jax.lax.stop_gradient(matrix), finite)
    pairs = zip(updates, params, strict=True)
    return [mix(u, p, matrix, finite) for u, p in pairs], matrix, inner


def all_finite(params, k, placement):
    """Bool [k]: members all of whose numbers are finite, whole on each device."""
    ok = jnp.ones(k, bool)
    for leaf in jax.tree.leaves(params):
        ok = ok & jnp.all(jnp.isfinite(leaf.reshape(k, -1)), axis=1)
    return _whole(ok, placement)


def member_squares(leaves, k, placement):
    """Squared length [k] of each member, whole on each device."""
    total = jnp.zeros(k)
    for leaf in leaves:
        total = total + jnp.sum(
            leaf.reshape(k, -1).astype(wide_type(leaf)) ** 2, axis=1
        )
    return _whole(total, placement)


def _whole(numbers, placement):
    """[k], the same on all devices."""
    if placement is None:
        return numbers
    check_places(len(numbers), placement)
    return jax.lax.with_sharding_constraint(numbers, NamedSharding(placement.mesh, P()))


def moments_of(state, params):
    """The parts of a state that look like the parameters, and the way back."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
    tree = jax.tree.structure(params)

    def alike(part):
        if jax.tree.structure(part) != tree:
            return False
        leaves = jax.tree.leaves(part)
        return [jnp.shape(leaf) for leaf in leaves] == shapes and all(
            jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves
        )

    parts, outer = jax.tree.flatten(state, is_leaf=alike)
    which = [i for i, part in enumerate(parts) if alike(part)]

    def place(moments):
        filled = list(parts)
        for i, moment in zip(which, moments, strict=True):
            filled[i] = moment
        return jax.tree.unflatten(outer, filled)

    return [parts[i] for i in which], place


def check_params(who: str, params: Any) -> Any:
    """The parameters, which a step that mixes them has to be given."""
    if params is None:
        raise ValueError(
            f"params: {who} parameters and needs them, got None; call "
            "tx.update(updates, state, params)."
        )
    return params


def count_members(params) -> int:
    """k, the leading axis of every leaf."""
    leaves = jax.tree.leaves(params)
    if not leaves or jnp.ndim(leaves[0]) == 0:
        raise ValueError(
            "params: expected leaves with a leading axis of members, got "
            f"{jax.tree.structure(params)}."
        )
    check_members("params", params, leaves[0].shape[0])
    return leaves[0].shape[0]


def _change(matrix, wide):
    return (matrix - jnp.eye(matrix.shape[0], dtype=matrix.dtype)).astype(wide)


def _in_blocks(change, rows, width):
    """The product [k, k] [k, n], block by block of columns."""
    k = len(change)

    def body(i, rows):
        block = jax.lax.dynamic_slice(rows, (0, i * width), (k, width))
        moved = jnp.dot(change, block, precision=_HIGHEST)
        return jax.lax.dynamic_update_slice(rows, moved, (0, i * width))

    return jax.lax.fori_loop(0, rows.shape[1] // width, body, rows)


def _add(update, change):
    return (change + update.astype(change.dtype)).astype(update.dtype)


def wide_type(leaf):
    """The type that sums over a leaf are taken in: float32 at least."""
    return jnp.promote_types(leaf.dtype, jnp.float32)


def _all_sent(leaves, axis):
    """(type of the product, which leaves, their slice, a block's width), each type."""
    groups = {}
    for i, leaf in enumerate(leaves):
        groups.setdefault(wide_type(leaf), []).append(i)
    return [
        (wide, rows, *_sent([leaves[i] for i in rows], axis))
        for wide, rows in groups.items()
    ]


def _parts(sent):
    return [part for _, _, part, _ in sent]


def _shown(seen, axis):
    """The slices of what a rule sees."""
    if isinstance(seen, tuple):
        return tuple(_shown(leaves, axis) for leaves in seen)
    return _parts(_all_sent(seen, axis))


def _sent(leaves, axis):
    """A slice [k, n] of all members, from this device's whole ones; a block's width."""
    dtype = jnp.result_type(*leaves)
    flat = [leaf.reshape(leaf.shape[0], -1).astype(dtype) for leaf in leaves]
    flat = jnp.concatenate(flat, axis=1)
    width = 16 * math.ceil(flat.shape[1] / (16 * _BLOCKS))
    short = -flat.shape[1] % (width * jax.lax.axis_size(axis))
    flat = jnp.pad(flat, ((0, 0), (0, short)))
    part = jax.lax.all_to_all(flat, axis, split_axis=1, concat_axis=0, tiled=True)
    return part, width


def _returned(part, like, axis):
    """The way back: leaves of this device's members from the slice."""
    flat = jax.lax.all_to_all(part, axis, split_axis=0, concat_axis=1, tiled=True)
    ends = [0]
    for leaf in like:
        ends.append(ends[-1] + math.prod(leaf.shape[1:]))
    return [
        flat[:, start:end].reshape(leaf.shape)
        for leaf, start, end in zip(like, ends, ends[1:], strict=False)
    ]
