"""Which heads are computed: an array of fixed shape in which few are only padding."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int

from paretax.grouping._params import GroupedParams

__all__ = ["Packing", "kept", "pack", "repack"]


class Packing(NamedTuple):
    """The heads of each trunk.

    Attributes:
      tasks: the task of each head, shape [K, H].
      valid: bool, shape [K, H]; False is padding.
    """

    tasks: Int[Array, "k h"]
    valid: Bool[Array, "k h"]


def pack(keep: Bool[Array, "n k"] | ArrayLike) -> Packing:
    """The heads that are kept, pushed together: on the host, between compiled phases.

    Args:
      keep: bool, shape [N, K], as `keep_heads` has it; each task has a head.

    Returns:
      A `Packing` with H the largest number of heads on a trunk, at least 1. A program
      compiled for it computes K·H heads, where all would be K·N.

    Raises:
      ValueError: not a bool array [N, K], or a task without a head, which it names.

    Example:
      >>> import numpy as np
      >>> from paretax import grouping
      >>> keep = np.array([[True, False], [True, True], [False, True]])
      >>> packing = grouping.pack(keep)
      >>> packing.tasks.tolist(), packing.valid.all().item()
      ([[0, 1], [1, 2]], True)

    Cost: N·K operations on the host.
    """
    mask = np.asarray(keep)
    if mask.ndim != 2 or mask.dtype != bool or 0 in mask.shape:
        raise ValueError(
            f"keep: expected a bool array [N, K], got {mask.dtype} of shape "
            f"{mask.shape}."
        )
    if not mask.any(axis=1).all():
        bare = np.flatnonzero(~mask.any(axis=1)).tolist()
        raise ValueError(f"keep: expected a head for every task, got none for {bare}.")
    most = max(int(mask.sum(axis=0).max()), 1)
    order = np.argsort(~mask, axis=0, kind="stable").T[:, :most]
    valid = np.take_along_axis(mask.T, order, axis=1)
    index = np.where(valid, order, 0).astype(np.int32)
    return Packing(jnp.asarray(index), jnp.asarray(valid))


def kept(packing: Packing, num_tasks: int) -> Bool[Array, "n k"]:
    """The mask that a packing was made from, shape [N, K].

    Args:
      packing: from `pack`.
      num_tasks: N.

    Returns:
      bool, shape [N, K].

    Example:
      >>> import numpy as np
      >>> from paretax import grouping
      >>> keep = np.array([[True, False], [True, True]])
      >>> grouping.kept(grouping.pack(keep), 2).tolist()
      [[True, False], [True, True]]

    Cost: K·H numbers.
    """
    k = packing.tasks.shape[0]
    columns = jnp.arange(k)[:, None]
    empty = jnp.zeros((num_tasks, k), bool)
    return empty.at[packing.tasks, columns].max(packing.valid)


def repack(tree: Any, new: Packing, old: Packing | None = None) -> Any:
    """Heads taken out of parameters and optimizer state: between compiled phases.

    Args:
      tree: anything that holds `GroupedParams`: parameters, and an optimizer's state,
        whose moments have the same structure. The rest stays as it is.
      new: the heads to keep.
      old: how the heads lie in `tree`; None for all of them, [K, N, ...].

    Returns:
      The tree with heads [K, H, ...] in the order of `new`.

    Raises:
      ValueError: `new` wants a head that `old` no longer has; heads of another shape,
        as in a state that keeps sums over axes in place of moments.

    Example:
      >>> import jax.numpy as jnp, numpy as np
      >>> from paretax import grouping
      >>> params = grouping.GroupedParams(
      ...     (), jnp.zeros(2), jnp.arange(6.0).reshape(2, 3), jnp.zeros((3, 2)))
      >>> keep = np.array([[True, False], [False, True], [True, False]])
      >>> grouping.repack(params, grouping.pack(keep)).heads.tolist()
      [[0.0, 2.0], [4.0, 3.0]]

    Cost: one copy of the heads that are left, padding included.
    """
    k = new.tasks.shape[0]
    places = places_of(np.asarray(new.tasks), np.asarray(new.valid), old)
    rows = np.arange(k)[:, None]

    def take(leaf):
        width = None if old is None else old.tasks.shape[1]
        if leaf.ndim < 2 or leaf.shape[0] != k or width not in {None, leaf.shape[1]}:
            raise ValueError(
                f"tree: expected heads of shape [{k}, {width or 'N'}, ...], got "
                f"{leaf.shape}."
            )
        return leaf[rows, places]

    def packed(node):
        if not isinstance(node, GroupedParams):
            return node
        return node._replace(heads=jax.tree.map(take, node.heads))

    return jax.tree.map(packed, tree, is_leaf=lambda x: isinstance(x, GroupedParams))


def places_of(index, valid, old: Packing | None):
    """Where heads [K, H] lie along the second axis of the old ones, on the host."""
    if old is None:
        return np.where(valid, index, 0)
    here = (np.asarray(old.tasks)[:, None] == index[..., None]) & np.asarray(old.valid)[
        :, None
    ]
    lost = valid & ~here.any(axis=-1)
    if lost.any():
        trunk, head = np.argwhere(lost)[0]
        raise ValueError(
            f"new: expected heads that are still there, got the head of task "
            f"{index[trunk, head]} on trunk {trunk}, which was dropped."
        )
    return np.where(valid, here.argmax(axis=-1), 0)
