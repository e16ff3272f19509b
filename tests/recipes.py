"""Methods that are chains of what is there already; docs/recipes.md shows this code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import paretax as px
from paretax import experiments, grouping, models


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


def dmtg_as_released(
    examples, batch_size, *, epochs=100, learning_rate=1e-3, **options
):
    """DMTG's public code: trunks start alike, one rate for all, no head goes early."""
    return experiments.GroupConfig(
        steps=epochs * (examples // batch_size),
        batch_size=batch_size,
        learning_rate=learning_rate,
        logits_learning_rate=learning_rate,
        identical=True,
        threshold=0.0,
        finetune_share=0.0,
        **options,
    )


def taskonomy_targets(batch):
    """Leaves [5, n, ...]: maps of one or three channels, classes, and where they count.

    Depth, normals, semantic classes, keypoints, edges, in this order.
    """
    normal, label, mask = batch["normal"], batch["segment_semantic"], batch["mask"]
    none, all_of = jnp.zeros_like(normal), jnp.ones_like(mask)
    maps = (batch["depth_zbuffer"], normal, none, batch["keypoints2d"])
    maps = (*maps, batch["edge_texture"])
    each = lambda row: jnp.repeat(jnp.array(row)[:, None], len(label), axis=1)
    return {
        "map": jnp.stack([jnp.broadcast_to(one, normal.shape) for one in maps]),
        "label": jnp.stack([label] * 5),
        "there": jnp.stack([mask, mask, label > 0, all_of, all_of]),
        "channels": each([1, 3, 3, 1, 1]),
        "semantic": each([False, False, True, False, False]),
    }


def taskonomy_loss(outputs, targets):
    """Of one task, of 18 channels: cross-entropy of classes, or L1 of the first."""
    own = jnp.arange(3) < targets["channels"][:, None, None, None]
    error = jnp.abs(outputs[..., :3] - targets["map"])
    error = jnp.mean(error, axis=-1, where=own)
    classes = optax.softmax_cross_entropy_with_integer_labels(outputs, targets["label"])
    rows = jnp.where(targets["semantic"][:, None, None], classes, error)
    there = targets["there"]
    return jnp.sum(rows * there, axis=(1, 2)) / jnp.maximum(there.sum((1, 2)), 1)


def taskonomy(train, validation, test, *, shared, trunk, head):
    """Taskonomy-5 from one's own arrays and three makers of modules, `f(rngs=...)`."""
    make = {"shared": shared, "trunk": trunk, "head": head}
    module = {name: lambda key, f=f: f(rngs=nnx.Rngs(key)) for name, f in make.items()}
    init = {
        name: lambda key, f=f: models.as_functions(f(key))[0]
        for name, f in module.items()
    }
    apply = {
        name: models.as_functions(nnx.eval_shape(lambda f=f: f(0)))[1]
        for name, f in module.items()
    }
    below = lambda params, batch: apply["shared"](params, batch["rgb"])
    model = grouping.grouped(
        apply["trunk"], apply["head"], taskonomy_loss, shared=below
    )
    return experiments.Task(
        name="taskonomy",
        init=lambda key: grouping.init_params(
            key, 5, 1, shared=init["shared"], trunk=init["trunk"], head=init["head"]
        ),
        losses=lambda p, batch: model.losses(p, batch, taskonomy_targets(batch))[:, 0],
        scores=None,
        train=train,
        validation=validation,
        test=test,
        task_names=("depth", "normal", "semantic", "keypoints", "edges"),
        reference=(1.0, 1.0, float(np.log(18)), 1.0, 1.0),
        parts=experiments.Parts(
            init_shared=init["shared"], init_trunk=init["trunk"],
            init_head=init["head"], shared=below, trunk=apply["trunk"],
            head=apply["head"], loss=taskonomy_loss, targets=taskonomy_targets,
        ),
    )  # fmt: skip
