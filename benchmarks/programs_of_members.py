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
    params, losses, side = network(spec["network"])
    own = optax.sgd(0.01, momentum=0.9)

    def gradient(p, row, preference, image, label):
        objective = lambda p: preference @ losses(p, image[row], label[row])
        return jax.grad(objective)(p), None

    make = ensemble if spec["members"] > 1 else alone
    run, start, everywhere = make(spec, params, gradient, own)
    given = (*start, *everywhere((jax.random.key(2), *data(side))))
    began = time.perf_counter()
    compiled = jax.jit(run).lower(*given).compile()
    seconds = time.perf_counter() - began
    temporaries = compiled.memory_analysis().temp_size_in_bytes / 2**20
    return {"run": lambda: jax.block_until_ready(compiled(*given)),
            "compile_s": seconds, "temp_MiB": temporaries}  # fmt: skip


def alone(spec, params, gradient, own):
    """One model in a plain loop, without an axis of members."""

    def run(theta, state, key, image, label):
        def step(carry, key):
            theta, state = carry
            row = jax.random.randint(key, (BATCH,), 0, EXAMPLES)
            grads, _ = gradient(theta, row, jnp.full(2, 0.5), image, label)
            updates, state = own.update(grads, state, theta)
            return (optax.apply_updates(theta, updates), state), None

        keys = jax.random.split(key, spec["steps"])
        return jax.lax.scan(step, (theta, state), keys)[0]

    return run, (params, own.init(params)), lambda tree: tree


def ensemble(spec, params, gradient, own):
    """Rounds of all members on all devices."""
    k, n = spec["members"], spec["every"]
    auto = (jax.sharding.AxisType.Auto,)
    where = ensembles.place(jax.make_mesh((jax.device_count(),), ("members",), auto))
    grid = ensembles.das_dennis(2, k - 1)
    rule = ensembles.no_coupling()
    if spec["transfer"]:
        rule = ensembles.neighbor_coupling(grid, strength=0.5)
    rounds = ensembles.local_rounds(
        gradient, own, rule, k, (0, None, None),
        batch_size=spec["at_once"], placement=where,
    )  # fmt: skip

    def run(theta, state, key, image, label):
        def turn(carry, key):
            rows = jax.random.randint(key, (k, n, BATCH), 0, EXAMPLES)
            return rounds.update(*carry, rows, grid, image, label)[:2], None

        keys = jax.random.split(key, spec["steps"] // n)
        return jax.lax.scan(turn, (theta, state), keys)[0]

    theta = jax.tree.map(lambda x: jnp.broadcast_to(x, (k, *x.shape)).copy(), params)
    start = where.put(theta), where.put(rounds.init(theta))
    return run, start, where.everywhere
