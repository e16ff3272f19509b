"""Look-ups `table[ids]`: products with one-hot rows that are never written out.

A row is the number of the table's row, n = 1; −1 where the look-up falls outside the
table and its cotangent is dropped.
"""

import jax
import jax.numpy as jnp

from paretax._jacobian._gramian._flat import shaped
from paretax._jacobian._gramian._site import Kind, Site

__all__ = ["EMBEDDING"]

_MODES = jax.lax.GatherScatterMode


def _matches(eqn, position: int) -> bool:
    """Whether a gather reads whole rows of a table, whatever the shape of the ids."""
    if eqn.primitive.name != "gather" or position != 0:
        return False
    numbers, table = eqn.params["dimension_numbers"], shaped(eqn.invars[0]).shape
    ids = shaped(eqn.invars[1])
    rank = ids.ndim - 1
    return (
        numbers.collapsed_slice_dims == (0,)
        and numbers.start_index_map == (0,)
        and not numbers.operand_batching_dims
        and ids.shape[-1:] == (1,)
        and tuple(eqn.params["slice_sizes"]) == (1, *table[1:])
        and numbers.offset_dims == tuple(range(rank, rank + len(table) - 1))
        and _mode(eqn) in (_MODES.FILL_OR_DROP, _MODES.CLIP, _MODES.PROMISE_IN_BOUNDS)
    )


def _mode(eqn):
    return _MODES.from_any(eqn.params["mode"])


def _rows(site: Site, ids):
    mode, size = _mode(site.eqn), shaped(site.eqn.invars[0]).shape[0]
    if mode == _MODES.CLIP:
        ids = jnp.clip(ids, 0, size - 1)
    if mode == _MODES.FILL_OR_DROP:
        ids = jnp.where((ids >= 0) & (ids < size), ids, -1)
    return ids.reshape(1, -1, 1)


def _cotangents(site: Site, g):
    looked_up = shaped(site.eqn.invars[1]).size
    return g.reshape(1, looked_up, -1)


def _similarity(x, y, dtype):
    same = (x == jnp.swapaxes(y, -1, -2)) & (x >= 0)
    return same.astype(dtype)


def _condense(x, g):
    """Cotangents of the same number summed, at the place of its first in order."""

    def one(ids, block):  # ids [R], block [m, R, p]
        order = jnp.argsort(ids)
        ordered = ids[order]
        fresh = jnp.concatenate([jnp.zeros(1, bool), ordered[1:] != ordered[:-1]])
        slot = jnp.cumsum(fresh)
        block = jnp.where((ordered >= 0)[:, None], block[:, order], 0)
        return jnp.zeros_like(block).at[:, slot].add(block)

    return jax.vmap(one, in_axes=(0, 1), out_axes=1)(x[..., 0], g)


EMBEDDING = Kind(
    "embedding", _matches, _rows, _cotangents, _similarity, condense=_condense
)
