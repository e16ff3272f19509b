"""The algebra of a layer: a task's gradient is X ᵀ Gₜ, inputs times its cotangents.

The inputs X, as canonical rows, have shape [B, R, n]: B independent blocks (layers
of a loop with slices of their own, batch dimensions of a product, groups of a
convolution), R rows (examples × positions × rounds), n entries. The cotangents of
task t have shape [B, R, p].
"""

import math

import jax
import jax.numpy as jnp

from paretax._jacobian._gramian._devices import AxisName, gathered
from paretax._jacobian._gramian._flat import shaped
from paretax._jacobian._gramian._sites import Level, Site

__all__ = [
    "cotangents",
    "extent",
    "factored_gramian",
    "leaf_gradient",
    "products",
    "rows",
    "similarity",
]


def extent(site: Site, inputs) -> tuple[int, int, int, int]:
    """B, R, n, p of a site, from the shapes alone."""
    shapes = jax.eval_shape(lambda x: rows(site, x), inputs)
    lengths = tuple(level.length for level in site.levels)
    result = jax.ShapeDtypeStruct((1, *lengths, *site.shape), site.dtype)
    blocks, number, width = shapes.shape
    return (
        blocks,
        number,
        width,
        jax.eval_shape(lambda g: cotangents(site, g), result).shape[-1],
    )


def rows(site: Site, inputs):
    """The other operand of the product as canonical rows [B, R, n].

    For an embedding the rows are one-hot, so n = 1 holds the numbers of the table's
    rows, −1 where the look-up falls outside and is dropped.
    """
    if site.kind == "embedding":
        return _numbers(site, inputs)
    if site.kind == "convolution":
        inputs = _patches(site, inputs)
    own, same = _loops(site)
    batch, contracted, free = _input_axes(site)
    shift = len(site.levels)

    def axes(numbers):
        return [shift + k for k in numbers]

    order = own + axes(batch), same + axes(free), axes(contracted)
    return _grouped(inputs, order)


def cotangents(site: Site, g):
    """The cotangents of the product's result, [m, loops..., result] -> [m, B, R, p]."""
    own, same = _loops(site)
    batch, free, kept = _result_axes(site)
    shift = 1 + len(site.levels)
    g_axes = (
        [0],
        [1 + k for k in own] + [shift + k for k in batch],
        [1 + k for k in same] + [shift + k for k in free],
        [shift + k for k in kept],
    )
    if site.kind == "convolution":
        # Channels are groups × p.
        (channel,) = kept
        groups = site.eqn.params["feature_group_count"]
        position = shift + channel
        g = g.reshape(
            *g.shape[:position], groups, g.shape[position] // groups,
            *g.shape[position + 1 :],
        )  # fmt: skip
        g_axes = (
            [0],
            [k if k < position else k + 1 for k in g_axes[1]] + [position],
            [k if k < position else k + 1 for k in g_axes[2]],
            [position + 1],
        )
    return _grouped(g, g_axes)


def factored_gramian(site: Site, inputs, g, dtype, axis_name: AxisName = None):
    """K of a site's parameter without its gradients: Kₛₜ = ⟨Gₛ, (X Xᵀ) Gₜ⟩.

    With the batch split over devices, the rows of X and G of all devices are gathered,
    and what comes back is this device's part of K, to be summed over devices.
    """
    x, g = rows(site, inputs), cotangents(site, g)
    if site.kind == "embedding" and axis_name is None:
        summed = _summed_by_number(x[..., 0], g.astype(dtype))
        return products(summed, summed)
    every_x, every_g = gathered(x, 1, axis_name), gathered(g, 2, axis_name)
    likeness = similarity(site, x, every_x, dtype)
    likeness = jnp.broadcast_to(likeness, (g.shape[0], *likeness.shape))
    image = jnp.einsum(
        "mbrq,mbqp->mbrp", likeness, every_g.astype(dtype), precision="highest"
    )
    return products(g.astype(dtype), image)


def similarity(site: Site, x, y, dtype):
    """X Yᵀ of canonical rows [B, R, n] and [B, Q, n]: shape [B, R, Q]."""
    if site.kind == "embedding":
        same = (x == jnp.swapaxes(y, -1, -2)) & (x >= 0)
        return same.astype(dtype)
    return jnp.einsum(
        "brn,bqn->brq", x.astype(dtype), y.astype(dtype), precision="highest"
    )


def products(a, b):
    """⟨aₛ, bₜ⟩ for all pairs of tasks."""
    m = a.shape[0]
    return jnp.einsum(
        "sk,tk->st", a.reshape(m, -1), b.reshape(m, -1), precision="highest"
    )


def leaf_gradient(site: Site, inputs, leaf, g):
    """The parameter's gradient Xᵀg for cotangents g [loops..., result] of one sum.

    `leaf` gives shape and dtype. Linear in g: vmap it over tasks.
    """

    def product(value):
        return _apply(site, site.views, value, inputs)

    (gradient,) = jax.linear_transpose(product, leaf)(g)
    return gradient


def _apply(site: Site, views, value, inputs):
    """The product with all inputs of all rounds, as a linear function of the leaf."""
    if not views:
        remaining = inputs.ndim - _rank(site)
        assert remaining == 0
        operands = [value, inputs] if site.operand == 0 else [inputs, value]
        return site.eqn.primitive.bind(*operands, **site.eqn.params)
    view, later = views[0], views[1:]
    if isinstance(view, Level):
        axis = 0 if view.own else None
        return jax.vmap(lambda v, x: _apply(site, later, v, x), (axis, 0))(
            value, inputs
        )
    value = view.primitive.bind(value, **view.params)
    return _apply(site, later, value, inputs)


def _rank(site: Site) -> int:
    return shaped(site.eqn.invars[1 - site.operand]).ndim


def _loops(site: Site) -> tuple[list[int], list[int]]:
    own = [k for k, level in enumerate(site.levels) if level.own]
    return own, [k for k in range(len(site.levels)) if k not in own]


def _input_axes(site: Site) -> tuple[list[int], list[int], list[int]]:
    """Batch, contracted and free axes of the other operand (of patches, by order)."""
    if site.kind == "convolution":
        spatial = len(site.shape) - 2
        return [1 + spatial], [2 + spatial], list(range(1 + spatial))
    contracting, batching = site.eqn.params["dimension_numbers"]
    other = 1 - site.operand
    batch, contracted = list(batching[other]), list(contracting[other])
    free = [k for k in range(_rank(site)) if k not in batch + contracted]
    return batch, contracted, free


def _result_axes(site: Site) -> tuple[list[int], list[int], list[int]]:
    """Axes of the result: batch, those of the input's rows, those of the leaf."""
    rank = len(site.shape)
    if site.kind == "embedding":
        ids = _rank(site) - 1
        return [], list(range(ids)), list(range(ids, rank))
    if site.kind == "convolution":
        example, channel, *spatial = site.eqn.params["dimension_numbers"].out_spec
        return [], [example, *spatial], [channel]
    batch, _, free = _input_axes(site)
    first, b, f = site.operand == 0, len(batch), len(free)
    if first:
        return list(range(b)), list(range(rank - f, rank)), list(range(b, rank - f))
    return list(range(b)), list(range(b, b + f)), list(range(b + f, rank))


def _grouped(x, groups):
    """Axes brought into the order of the groups, each group made one axis."""
    order = [axis for group in groups for axis in group]
    x = x if order == sorted(order) else jnp.transpose(x, order)
    sizes = iter(x.shape)
    shape = [math.prod(next(sizes) for _ in group) for group in groups]
    return x.reshape(shape)


def _numbers(site: Site, ids):
    """The table's rows that are looked up, canonical: [B, R, 1]."""
    modes = jax.lax.GatherScatterMode
    mode = modes.from_any(site.eqn.params["mode"])
    size = shaped(site.eqn.invars[0]).shape[0]
    if mode == modes.CLIP:
        ids = jnp.clip(ids, 0, size - 1)
    if mode == modes.FILL_OR_DROP:
        ids = jnp.where((ids >= 0) & (ids < size), ids, -1)
    own, same = _loops(site)
    first = len(site.levels)
    return _grouped(ids, (own, same + list(range(first, ids.ndim - 1)), [ids.ndim - 1]))


def _summed_by_number(numbers, g):
    """Cotangents of the same table row summed: [m, B, R, p], at most R rows used."""

    def one(ids, block):  # ids [R], block [m, R, p]
        order = jnp.argsort(ids)
        ordered = ids[order]
        fresh = jnp.concatenate([jnp.zeros(1, bool), ordered[1:] != ordered[:-1]])
        slot = jnp.cumsum(fresh)
        block = jnp.where((ordered >= 0)[:, None], block[:, order], 0)
        return jnp.zeros_like(block).at[:, slot].add(block)

    return jax.vmap(one, in_axes=(0, 1), out_axes=1)(numbers, g)


def _patches(site: Site, inputs):
    """The patches of a convolution: [loops..., example, positions..., group, n]."""
    extra = len(site.levels)
    if extra:
        shape = inputs.shape[:extra]
        flat = inputs.reshape(-1, *inputs.shape[extra:])
        out = jax.vmap(lambda x: _patches_of_one(site, x))(flat)
        return out.reshape(*shape, *out.shape[1:])
    return _patches_of_one(site, inputs)


def _patches_of_one(site: Site, x):
    params = site.eqn.params
    numbers = params["dimension_numbers"]
    example, channel, *spatial = numbers.lhs_spec
    x = jnp.transpose(x, (example, *spatial, channel))
    padding = [
        (low, high, dilation - 1)
        for (low, high), dilation in zip(
            params["padding"], params["lhs_dilation"], strict=True
        )
    ]
    zero = jnp.zeros((), x.dtype)
    x = jax.lax.pad(x, zero, [(0, 0, 0), *padding, (0, 0, 0)])
    kernel = shaped(site.eqn.invars[1]).shape
    sizes = [kernel[axis] for axis in numbers.rhs_spec[2:]]
    out = [site.shape[axis] for axis in numbers.out_spec[2:]]
    groups = params["feature_group_count"]

    def shifted(offset):
        start = [k * d for k, d in zip(offset, params["rhs_dilation"], strict=True)]
        stop = [
            s + (n - 1) * stride + 1
            for s, n, stride in zip(start, out, params["window_strides"], strict=True)
        ]
        strides = (1, *params["window_strides"], 1)
        piece = jax.lax.slice(
            x, (0, *start, 0), (x.shape[0], *stop, x.shape[-1]), strides
        )
        return piece.reshape(*piece.shape[:-1], groups, -1)

    offsets = [[]]
    for size in sizes:
        offsets = [[*offset, k] for offset in offsets for k in range(size)]
    return jnp.concatenate([shifted(offset) for offset in offsets], axis=-1)
