"""A function of one member, for all of them: at once, in groups, or across devices."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from paretax._checks import check_count

__all__ = ["Placement", "check_places", "each_member"]


class Placement(NamedTuple):
    """Where members live; made by `place`.

    Attributes:
      mesh: the devices.
      axis_name: the axis of the mesh that members are split over.
      shardings: `shardings(tree)` is the `NamedSharding` of each leaf, arrays or shapes
        [k, ...]: split on the leading axis; scalars and what a transfer keeps, whole.
      put: `put(tree)` moves a tree there; on many hosts, each host gives the same.
      everywhere: `everywhere(tree)` leaves a whole copy on each device: for data.
    """

    mesh: Mesh
    axis_name: str
    shardings: Callable[[Any], Any]
    put: Callable[[Any], Any]
    everywhere: Callable[[Any], Any]


def each_member(
    fun: Callable[..., Any],
    in_axes: int | tuple[int | None, ...] = 0,
    *,
    batch_size: int | None = None,
    placement: Placement | None = None,
) -> Callable[..., Any]:
    """`fun` of one member's arrays, made a function of all members' arrays [k, ...].

    Args:
      fun: takes and returns pytrees of one member.
      in_axes: as in `jax.vmap`, 0 for an argument with a leading axis of members, None
        for one that all members share, whole: data, say. With a placement traced arrays
        go in as arguments, not by closure.
      batch_size: how many members run at once, the groups one after another: all (None)
        where memory allows and the device is wide; 1, without `vmap`, on a CPU, where
        vectorizing over members does not pay. A last smaller group is allowed.
      placement: each device runs its own members, `batch_size` of them at once.

    Returns:
      A function of pytrees with a leading axis of members, which its results have too.
      Groups change rounding at most; the devices change nothing.

    Raises:
      ValueError: `batch_size` below 1; `in_axes` that are neither 0 nor None; members
        that the devices cannot share evenly.

    Example:
      >>> import jax.numpy as jnp
      >>> from paretax import ensembles
      >>> squares = ensembles.each_member(lambda x: x**2, batch_size=2)
      >>> squares(jnp.arange(3.0)).tolist()
      [0.0, 1.0, 4.0]

    Cost: k times that of `fun`; the memory of `batch_size` of them a device.
    """
    if batch_size is not None:
        check_count("batch_size", batch_size)

    def run(*trees):
        axes = _axes(in_axes, trees)
        if batch_size is None:
            return jax.vmap(fun, axes)(*trees)
        own = [tree for tree, axis in zip(trees, axes, strict=True) if axis == 0]

        def one(rows):
            rest = iter(rows)
            pairs = zip(trees, axes, strict=True)
            return fun(*(next(rest) if axis == 0 else tree for tree, axis in pairs))

        # One at a time without a vmap over one.
        return jax.lax.map(one, own, batch_size=batch_size if batch_size > 1 else None)

    if placement is None:
        return run
    name = placement.axis_name

    def across(*trees):
        axes = _axes(in_axes, trees)
        for tree, axis in zip(trees, axes, strict=True):
            for leaf in jax.tree.leaves(tree) if axis == 0 else []:
                check_places(leaf.shape[0], placement)
        # What users write may loop from a constant start, which check_vma refuses.
        return jax.shard_map(
            run,
            mesh=placement.mesh,
            in_specs=tuple(P(name) if axis == 0 else P() for axis in axes),
            out_specs=P(name),
            axis_names={name},
            check_vma=False,
        )(*trees)

    return across


def _axes(in_axes, trees):
    axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(trees)
    if len(axes) != len(trees) or any(axis not in (0, None) for axis in axes):
        raise ValueError(
            f"in_axes: expected 0 or None for each of {len(trees)} arguments, got "
            f"{in_axes}."
        )
    return axes


def check_places(num_members: int, placement: Placement) -> None:
    """The devices share the members evenly."""
    devices = placement.mesh.shape[placement.axis_name]
    if num_members % devices:
        raise ValueError(
            f"placement: expected a number of members that the {devices} devices of "
            f"the axis {placement.axis_name!r} share evenly, got {num_members}."
        )
