"""Steps of members with gradients given beforehand."""

import jax
import jax.numpy as jnp
import optax


def run(tx, params, gradients):
    """The parameters and the state after the given gradients, one step each."""

    def step(carry, grads):
        params, state = carry
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)
    return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), stacked)[0])(params)
