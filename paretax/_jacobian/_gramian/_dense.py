"""Matrix products: `dot_general`, with the parameter on either side."""

import math

import jax.numpy as jnp

from paretax._jacobian._gramian._flat import shaped
from paretax._jacobian._gramian._site import Kind, Site

__all__ = ["DENSE", "grouped", "inner_products"]


def _matches(eqn, position: int) -> bool:
    del position
    return eqn.primitive.name == "dot_general"


def _rows(site: Site, x):
    return grouped(x, _axes(site))


def _cotangents(site: Site, g):
    batch, free, _ = _axes(site)
    b, f, rank = len(batch), len(free), len(site.shape)
    if site.operand == 0:  # batch, the parameter's axes, those of the rows
        return grouped(g, (range(b), range(rank - f, rank), range(b, rank - f)))
    return grouped(g, (range(b), range(b, b + f), range(b + f, rank)))


def _axes(site: Site) -> tuple[list[int], list[int], list[int]]:
    """Axes of the other operand, as `grouped` takes them: batch, free, contracted."""
    contracting, batching = site.eqn.params["dimension_numbers"]
    other = 1 - site.operand
    batch, contracted = list(batching[other]), list(contracting[other])
    rank = shaped(site.eqn.invars[other]).ndim
    free = [k for k in range(rank) if k not in batch + contracted]
    return batch, free, contracted


def grouped(x, groups):
    """Axes brought into the order of the groups, each group made one axis."""
    order = [axis for group in groups for axis in group]
    x = x if order == sorted(order) else jnp.transpose(x, order)
    sizes = iter(x.shape)
    return x.reshape([math.prod(next(sizes) for _ in group) for group in groups])


def inner_products(x, y, dtype):
    """X Yᵀ of canonical rows [B, R, n] and [B, Q, n]: shape [B, R, Q]."""
    return jnp.einsum(
        "brn,bqn->brq", x.astype(dtype), y.astype(dtype), precision="highest"
    )


DENSE = Kind("dense", _matches, _rows, _cotangents, inner_products)
