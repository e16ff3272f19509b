"""Methods that are chains of what is there already; docs/recipes.md shows this code."""

import jax
import optax

import paretax as px


def moco_recipe(num_tasks, *, tracking=0.5, step_size=0.1, ridge=0.0):
    """MoCo: y ← y − β (y − g) for each task, then one projected step of the weights."""
    average = optax.ema(1 - tracking, debias=False)
    return optax.chain(
        px.per_task(average, num_tasks),
        px.combine(px.moco(step_size=step_size, ridge=ridge), num_tasks),
    )


def db_mtl_recipe(num_tasks, *, decay=0.9):
    """DB-MTL on gradients of log losses: their moving averages at equal length."""
    return optax.chain(
        px.per_task(optax.ema(decay), num_tasks),
        px.combine(px.db_mtl(), num_tasks),
    )


def nash_mtl_as_published(num_tasks, shared):
    """Nash-MTL with heads as in its public code: weighted, and never clipped.

    `shared` is a pytree of booleans, True on the leaves that the tasks share.
    """
    bargaining = px.nash_mtl(max_norm=None, concave_convex_steps=20)
    return optax.chain(
        px.combine(bargaining, num_tasks, shared=shared, weight_heads=True),
        optax.masked(optax.clip_by_global_norm(1.0), shared),
    )


def pcgrad_per_layer(num_tasks, layers, label, *, key):
    """PCGrad with one Gramian a layer: conflicts are found and removed layer by layer.

    `layers` are the names of the layers; `label` maps the pytree of parameters to one
    of names, as in `optax.partition`.
    """
    keys = jax.random.split(key, len(layers))
    combiners = {
        layer: px.combine(px.pcgrad(key=own), num_tasks)
        for layer, own in zip(layers, keys, strict=True)
    }
    return optax.partition(combiners, label)


def gradvac_per_layer(num_tasks, layers, label, *, key):
    """GradVac with one Gramian, and one set of target cosines, a layer."""
    keys = jax.random.split(key, len(layers))
    combiners = {
        layer: px.combine(px.gradvac(key=own), num_tasks)
        for layer, own in zip(layers, keys, strict=True)
    }
    return optax.partition(combiners, label)
