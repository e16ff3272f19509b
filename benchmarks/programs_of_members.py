"""The JAX side of members.py: steps of many members as one program."""

import time

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from paretax import ensembles, models

BATCH, EXAMPLES = 32, 4096


def network(name):
    """(parameters, losses of a batch, side of the pictures)."""
    if name == "perceptron":
        module, side = models.Perceptron((18, 18), (256, 64), rngs=nnx.Rngs(0)), 18
    else:
        module, side = models.LeNet((36, 36), rngs=nnx.Rngs(0)), 36
    params, apply = models.as_functions(module)

    def losses(p, image, label):
        rows = optax.softmax_cross_entropy_with_integer_labels(
            apply(p, image / 255.0), label.T
        )
        return rows.mean(axis=1)

    return params, losses, side


def data(side):
    """Pictures and labels without a meaning: only time is measured."""
    image = jax.random.randint(jax.random.key(0), (EXAMPLES, side, side), 0, 256)
    label = jax.random.randint(jax.random.key(1), (EXAMPLES, 2), 0, 10)
    return image.astype(jnp.uint8), label


def build(spec):
    """A compiled program of spec["steps"] steps, and what it starts from."""
    k, name = spec["members"], spec["network"]
    params, losses, side = network(name)
    auto = (jax.sharding.AxisType.Auto,)
    where = ensembles.place(jax.make_mesh((jax.device_count(),), ("members",), auto))
    grid = ensembles.das_dennis(2, k - 1) if k > 1 else jnp.full((1, 2), 0.5)
    rule = ensembles.no_coupling()
    if spec["transfer"]:
        rule = ensembles.neighbor_coupling(grid, strength=0.5)
    own = optax.sgd(0.01, momentum=0.9)
    tx = optax.chain(
        ensembles.per_member(own, k, placement=where),
        ensembles.transfer(rule, placement=where),
    )

    def gradient(p, preference, row, image, label):
        return jax.grad(lambda p: preference @ losses(p, image[row], label[row]))(p)

    gradients = ensembles.each_member(
        gradient,
        (0, 0, 0, None, None),
        batch_size=spec["at_once"],
        placement=where,
    )

    def run(theta, state, key, image, label):
        def step(carry, key):
            theta, state = carry
            rows = jax.random.randint(key, (k, BATCH), 0, EXAMPLES)
            updates = gradients(theta, grid, rows, image, label)
            updates, state = tx.update(updates, state, theta)
            return (optax.apply_updates(theta, updates), state), None

        keys = jax.random.split(key, spec["steps"])
        return jax.lax.scan(step, (theta, state), keys)[0]

    theta = jax.tree.map(lambda x: jnp.broadcast_to(x, (k, *x.shape)).copy(), params)
    start = where.put(theta), where.put(tx.init(theta))
    rest = where.everywhere((jax.random.key(2), *data(side)))
    began = time.perf_counter()
    compiled = jax.jit(run).lower(*start, *rest).compile()
    seconds = time.perf_counter() - began
    temporaries = compiled.memory_analysis().temp_size_in_bytes / 2**20
    return {"run": lambda: jax.block_until_ready(compiled(*start, *rest)),
            "compile_s": seconds, "temp_MiB": temporaries}  # fmt: skip
