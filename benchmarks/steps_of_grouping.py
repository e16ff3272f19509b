"""What a training step costs with K·N heads, with packed ones, and after pruning."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from networks_of_multi_mnist_pairs import Encoder
from programs_of_grouping import network

from paretax import grouping, models

INSIDE = 5  # steps in one timed call


def perceptron(widths):
    return lambda at_once: (*network(widths, True), (widths[0],))


def lenet(at_once):
    _, apply = models.as_functions(Encoder(nnx.Rngs(0)))
    _, start = network((1, 50), True)
    model = grouping.grouped(
        apply,
        lambda p, h: h @ p[0] + p[1],
        optax.sigmoid_binary_cross_entropy,
        trunks_at_once=at_once,
    )
    first = lambda key: models.as_functions(Encoder(nnx.Rngs(key)))[0]
    return model, {"trunk": first, "head": start["head"]}, (28, 28)


# name -> network, trunks at once, tasks, groups, batch
CASES = {
    "perceptron 103-128-64, 14 tasks": (perceptron((103, 128, 64)), None, 14, 3, 64),
    "perceptron 256-512-512, 40 tasks": (perceptron((256, 512, 512)), None, 40, 3, 256),
    "LeNet by patches, 9 tasks": (lenet, None, 9, 3, 64),
    "LeNet by patches, trunks in turn, 9 tasks": (lenet, 1, 9, 3, 64),
}


def steps_of(case):
    """By name: `(program, carry)`, each of `INSIDE` steps of Adam."""
    make, at_once, n, k, batch = CASES[case]
    model, start, shape = make(at_once)
    together, _, _ = make(None)
    inputs, labels = jax.random.split(jax.random.key(0))
    x = jax.random.normal(inputs, (batch, *shape))
    y = jax.random.bernoulli(labels, 0.5, (n, batch)).astype(float)
    group = jnp.arange(n) % k
    params = grouping.init_params(jax.random.key(1), n, k, **start)
    packing = grouping.pack(np.asarray(group)[:, None] == np.arange(k))
    decided = params._replace(logits=30.0 * jax.nn.one_hot(group, k))
    pruned, _ = grouping.prune(decided)
    relaxed = grouping.dmtg(model)

    def dmtg(params, key, packing=None):
        return relaxed(params, key, 0, x, y, packing=packing)[0].sum()

    def naive(params, key):
        return together.losses(params, x, y).sum()

    return {
        "one naive model": on(
            naive, grouping.init_params(jax.random.key(1), n, 1, **start)
        ),
        "K naive models": on(naive, params),
        "DMTG, K·N heads": on(dmtg, params),
        "DMTG, packed": on(
            lambda params, key: dmtg(params, key, packing),
            grouping.repack(decided, packing),
        ),
        "K groups": on(*plain(together, start, x, y, group, k)),
        "pruned": on(
            lambda params, key: model.pruned_losses(params, group, x, y).sum(), pruned
        ),
    }


def plain(model, start, x, y, group, k):
    """K naive models, each of its own tasks only, in one program."""
    own = [np.flatnonzero(np.asarray(group) == g) for g in range(k)]
    params = [
        grouping.init_params(jax.random.key(g), len(tasks), 1, **start)
        for g, tasks in enumerate(own)
    ]

    def total(params, key):
        each = zip(params, own, strict=True)
        return sum(model.losses(p, x, y[tasks]).sum() for p, tasks in each)

    return total, params


def on(total, params):
    tx = optax.adam(1e-3)

    def run(params, state, key):
        def step(t, carry):
            params, state = carry
            gradient = jax.grad(total)(params, jax.random.fold_in(key, t))
            updates, state = tx.update(gradient, state, params)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, INSIDE, step, (params, state))

    return jax.jit(run), (params, tx.init(params))


def measure(case, repeats):
    """Processor seconds a step by program, [repeats] each, interleaved."""
    key = jax.random.key(0)
    compiled, seconds, ready = {}, {}, {}
    for name, (program, carry) in steps_of(case).items():
        begun = time.process_time()
        ready[name] = (program.lower(*carry, key).compile(), carry)
        compiled[name] = time.process_time() - begun
        jax.block_until_ready(ready[name][0](*carry, key))
        seconds[name] = []
    for _ in range(repeats):
        for name, (program, carry) in ready.items():
            begun = time.process_time()
            jax.block_until_ready(program(*carry, key))
            seconds[name].append((time.process_time() - begun) / INSIDE)
    return {"step_s": seconds, "compile_s": compiled, "groups": CASES[case][3]}
