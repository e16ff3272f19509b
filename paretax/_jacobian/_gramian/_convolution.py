"""Convolutions: products with patches of the input, group by group."""

import itertools
import math

import jax
import jax.numpy as jnp

from paretax._jacobian._gramian._dense import inner_products
from paretax._jacobian._gramian._flat import shaped
from paretax._jacobian._gramian._site import Kind, Site

__all__ = ["CONVOLUTION"]

_MAX_KERNEL = 128  # offsets of a kernel that are written out one by one


def _matches(eqn, position: int) -> bool:
    if eqn.primitive.name != "conv_general_dilated" or position != 1:
        return False
    return eqn.params["batch_group_count"] == 1 and (
        math.prod(_kernel_size(eqn)) <= _MAX_KERNEL
    )


def _kernel_size(eqn) -> list[int]:
    kernel = shaped(eqn.invars[1]).shape
    return [kernel[axis] for axis in eqn.params["dimension_numbers"].rhs_spec[2:]]


def _rows(site: Site, x):
    """Patches: [groups, examples × positions, offsets × channels of a group]."""
    params = site.eqn.params
    numbers = params["dimension_numbers"]
    example, channel, *spatial = numbers.lhs_spec
    x = jnp.transpose(x, (example, *spatial, channel))
    inside = [dilation - 1 for dilation in params["lhs_dilation"]]
    padding = [(*p, k) for p, k in zip(params["padding"], inside, strict=True)]
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *padding, (0, 0, 0)])
    out = [site.shape[axis] for axis in numbers.out_spec[2:]]
    groups = params["feature_group_count"]

    def shifted(offset):
        start = [k * d for k, d in zip(offset, params["rhs_dilation"], strict=True)]
        stop = [
            first + (size - 1) * stride + 1
            for first, size, stride in zip(
                start, out, params["window_strides"], strict=True
            )
        ]
        piece = jax.lax.slice(
            x,
            (0, *start, 0),
            (x.shape[0], *stop, x.shape[-1]),
            (1, *params["window_strides"], 1),
        )
        return piece.reshape(-1, groups, piece.shape[-1] // groups)

    offsets = itertools.product(*(range(size) for size in _kernel_size(site.eqn)))
    patches = jnp.concatenate([shifted(offset) for offset in offsets], axis=-1)
    return jnp.swapaxes(patches, 0, 1)


def _cotangents(site: Site, g):
    example, channel, *spatial = site.eqn.params["dimension_numbers"].out_spec
    groups = site.eqn.params["feature_group_count"]
    g = jnp.transpose(g, (example, *spatial, channel))
    g = g.reshape(-1, groups, g.shape[-1] // groups)
    return jnp.swapaxes(g, 0, 1)


CONVOLUTION = Kind(
    "convolution", _matches, _rows, _cotangents, inner_products, copies=True
)
