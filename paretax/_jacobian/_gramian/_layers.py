"""The algebra of a layer: a task's gradient is Xᵀ Gₜ, inputs times its cotangents.

Rounds of a loop with slices of the parameter of their own are blocks of a layer; rounds
that use the same parameter are more rows. `_site.Kind` says what blocks and rows are in
one round.
"""

import jax
import jax.numpy as jnp

from paretax._jacobian._gramian._dense import grouped
from paretax._jacobian._gramian._devices import AxisName, gathered
from paretax._jacobian._gramian._site import Level, Site

__all__ = ["cotangents", "extent", "factored_gramian", "leaf_gradient", "rows"]


def extent(site: Site, inputs) -> tuple[int, int, int, int]:
    """B, R, n, p of a site, from the shapes alone."""
    lengths = tuple(level.length for level in site.levels)
    result = jax.ShapeDtypeStruct((1, *lengths, *site.shape), site.dtype)
    x = jax.eval_shape(lambda x: rows(site, x), inputs)
    g = jax.eval_shape(lambda g: cotangents(site, g), result)
    return (*x.shape, g.shape[-1])


def rows(site: Site, inputs):
    """The other operand of the product, [loops..., operand], as rows [B, R, n]."""
    own, same = _loops(site)
    loops = len(site.levels)
    x = _mapped(lambda x: site.kind.rows(site, x), loops)(inputs)
    return grouped(x, ([*own, loops], [*same, loops + 1], [loops + 2]))


def cotangents(site: Site, g):
    """The cotangents of the product's result, [m, loops..., result] -> [m, B, R, p]."""
    own, same = _loops(site)
    loops = len(site.levels) + 1
    g = _mapped(lambda g: site.kind.cotangents(site, g), loops)(g)
    own, same = [k + 1 for k in own], [k + 1 for k in same]
    return grouped(g, ([0], [*own, loops], [*same, loops + 1], [loops + 2]))


def factored_gramian(site: Site, inputs, g, dtype, axis_name: AxisName = None):
    """K of a site's parameter without its gradients: Kₛₜ = ⟨Gₛ, (X Xᵀ) Gₜ⟩.

    With the batch split over devices, the rows of X and G of all devices are gathered,
    and what comes back is this device's part of K, to be summed over devices.
    """
    x, g = rows(site, inputs), cotangents(site, g)
    if site.kind.condense is not None and axis_name is None:
        g = site.kind.condense(x, g.astype(dtype))
        return _products(g, g)
    every_x, every_g = gathered(x, 1, axis_name), gathered(g, 2, axis_name)
    # One copy of X Xᵀ a task: a batched product is faster than one that moves axes.
    likeness = site.kind.similarity(x, every_x, dtype)
    likeness = jnp.broadcast_to(likeness, (g.shape[0], *likeness.shape))
    image = jnp.einsum(
        "mbrq,mbqp->mbrp", likeness, every_g.astype(dtype), precision="highest"
    )
    return _products(g.astype(dtype), image)


def leaf_gradient(site: Site, inputs, leaf, g):
    """The parameter's gradient Xᵀg for cotangents g [loops..., result] of one sum.

    `leaf` gives shape and dtype. Linear in g: vmap it over tasks.
    """
    (gradient,) = jax.linear_transpose(
        lambda value: _apply(site, site.views, value, inputs), leaf
    )(g)
    return gradient


def _apply(site: Site, views, value, inputs):
    """The product with all inputs of all rounds, as a linear function of the leaf."""
    if not views:
        operands = [value, inputs] if site.operand == 0 else [inputs, value]
        return site.eqn.primitive.bind(*operands, **site.eqn.params)
    view, later = views[0], views[1:]
    if isinstance(view, Level):
        axes = (0 if view.own else None, 0)
        return jax.vmap(lambda v, x: _apply(site, later, v, x), axes)(value, inputs)
    return _apply(site, later, view.primitive.bind(value, **view.params), inputs)


def _mapped(fun, times: int):
    for _ in range(times):
        fun = jax.vmap(fun)
    return fun


def _loops(site: Site) -> tuple[list[int], list[int]]:
    own = [k for k, level in enumerate(site.levels) if level.own]
    return own, [k for k in range(len(site.levels)) if k not in own]


def _products(a, b):
    """⟨aₛ, bₜ⟩ for all pairs of tasks."""
    m = a.shape[0]
    return jnp.einsum(
        "sk,tk->st", a.reshape(m, -1), b.reshape(m, -1), precision="highest"
    )
