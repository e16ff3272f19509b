"""Run by test_grouping_composes.py in a process of its own, with four devices.

Prints one JSON object: how far a group a device is from all groups on one.
"""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from paretax import grouping

N, K, STEPS = 5, 4, 5
MODEL = grouping.grouped(
    lambda w, x: jnp.tanh(x @ w), lambda v, h: h @ v, lambda y, t: (y - t) ** 2
)


def start():
    draw = lambda *shape: lambda key: jax.random.normal(key, shape) / 2
    params = grouping.init_params(
        jax.random.key(0), N, K, trunk=draw(3, 4), head=draw(4)
    )
    x = jax.random.normal(jax.random.key(1), (16, 3))
    return params, x, jax.random.normal(jax.random.key(2), (N, 16))


def train(tx):
    fun = grouping.dmtg(MODEL, temperature=1.0)

    def run(params, state, x, targets):
        def step(carry, t):
            params, state = carry
            key = jax.random.fold_in(jax.random.key(3), t)
            total = lambda p: fun(p, key, t, x, targets)[0].sum()
            updates, state = tx.update(jax.grad(total)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), jnp.arange(STEPS))[0][0]

    return run


def main():
    tx = optax.adam(0.03)
    params, x, targets = start()
    alone = jax.jit(train(tx))(params, tx.init(params), x, targets)

    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((4,), ("groups",), axis_types=auto)
    own, everywhere = (NamedSharding(mesh, P(axis)) for axis in ("groups", None))
    where = grouping.GroupedParams(everywhere, own, own, everywhere)
    spread = params._replace(
        trunks=jax.device_put(params.trunks, own),
        heads=jax.device_put(params.heads, own),
        logits=jax.device_put(params.logits, everywhere),
    )
    inputs = jax.device_put((x, targets), everywhere)
    run = jax.jit(train(tx), out_shardings=where._replace(shared=()))
    program = run.lower(spread, tx.init(spread), *inputs).compile()
    found = program(spread, tx.init(spread), *inputs)
    pairs = zip(jax.tree.leaves(alone), jax.tree.leaves(found), strict=True)
    text = program.as_text()
    print(json.dumps({
        "error": max(float(np.abs(np.asarray(a) - np.asarray(b)).max())
                     for a, b in pairs),
        "moved": float(jnp.abs(alone.trunks - params.trunks).max()),
        "shards": [s.data.shape for s in found.trunks.addressable_shards],
        "devices": len({s.device for s in found.trunks.addressable_shards}),
        "sent": sorted({
            f"{kind} {shape}" for shape, kind in re.findall(
                r"f32\[([\d,]*)\][^=]* (all-reduce|all-gather|all-to-all)\(", text)
        }),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
