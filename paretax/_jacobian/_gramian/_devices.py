"""A batch split over devices: the collectives that K of a mean gradient takes.

Inside `jax.shard_map` every device has the gradients of its own part of the batch; the
gradient is their sum, and K is a product of sums, not a sum of products.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

__all__ = [
    "AxisName",
    "axis_size",
    "check_alike",
    "check_axes",
    "gathered",
    "scattered",
    "vary",
    "varying",
]

AxisName = str | tuple[str, ...] | None
"""The mapped mesh axis, or axes, that the batch is split over; None on one device."""


def axis_size(axis_name: AxisName) -> int:
    """How many devices the batch is split over."""
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def vary(value: Any, axis_name: AxisName) -> Any:
    """A value that is alike on all devices, as each device's own from now on.

    A derivative in it is then the device's own share; without this, JAX would sum it
    over devices at once, all tasks' gradients at full size.
    """
    if axis_name is None:
        return value
    here = varying(jax.typeof(value))
    missing = tuple(a for a in _names(axis_name) if a not in here)
    return jax.lax.pcast(value, missing, to="varying") if missing else value


def scattered(rows: Array, axis_name: AxisName) -> Array:
    """Gradients [m, ...] summed over devices, each device left with one part of them.

    Returns:
      On one device, `rows`; else [m, number of entries / devices], padded with zeros.
    """
    if axis_name is None:
        return rows
    flat = rows.reshape(rows.shape[0], -1)
    short = -flat.shape[1] % axis_size(axis_name)
    flat = jnp.pad(flat, ((0, 0), (0, short)))
    return jax.lax.psum_scatter(flat, axis_name, scatter_dimension=1, tiled=True)


def gathered(factor: Array, axis: int, axis_name: AxisName) -> Array:
    """A layer's factor with the rows of all devices along `axis`."""
    if axis_name is None:
        return factor
    return jax.lax.all_gather(factor, axis_name, axis=axis, tiled=True)


def check_alike(params: Any, axis_name: AxisName) -> None:
    """Parameters are alike on all devices of the named axes."""
    if axis_name is None:
        return
    names = set(_names(axis_name))
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        split = sorted(names & varying(jax.typeof(leaf)))
        if split:
            raise ValueError(
                f"params{jax.tree_util.keystr(path)}: expected the same values on all "
                f"devices of axis_name, got values that vary over {split}; only the "
                "batch is split over axis_name. For split parameters use jax.jit with "
                "a NamedSharding."
            )


def check_axes(losses_aval: Any, axis_name: AxisName) -> None:
    """The losses vary over the named axes only."""
    names = set() if axis_name is None else set(_names(axis_name))
    unnamed = sorted(varying(losses_aval) - names)
    if unnamed:
        raise ValueError(
            f"axis_name: expected the axes that the batch is split over, got "
            f"{axis_name!r}, but the losses vary over {unnamed} inside shard_map; "
            "without them K would be of one device's part of the batch."
        )


def _names(axis_name) -> tuple[str, ...]:
    return (axis_name,) if isinstance(axis_name, str) else tuple(axis_name)


def varying(aval: Any) -> frozenset[str]:
    """The mapped axes that a value of this type may differ over."""
    kind = getattr(aval, "manual_axis_type", None)
    return frozenset() if kind is None else frozenset(kind.varying)
