"""Task groups with the rest of the library: combiners, masks, seeds, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import processes

import paretax as px
from paretax import ensembles, grouping

N, K = 4, 2
MODEL = grouping.grouped(
    lambda w, x: jnp.tanh(x @ w), lambda v, h: h @ v, lambda y, t: (y - t) ** 2
)


@jax.jit
def small(seed=0):
    """Parameters of N tasks in K groups with 3 inputs, x [8, 3], targets [N, 8]."""
    keys = jax.random.split(jax.random.key(seed), 4)
    draw = lambda *shape: lambda key: jax.random.normal(key, shape) / 2
    params = grouping.init_params(keys[0], N, K, trunk=draw(3, 6), head=draw(6))
    params = params._replace(logits=jax.random.normal(keys[1], (N, K)))
    x = jax.random.normal(keys[2], (8, 3))
    return params, x, jax.random.normal(keys[3], (N, 8))


# --- a bargain inside each group, from one Gramian a trunk


def on_trunk(heads, z, x, targets):
    """Task losses as a function of one trunk alone, weighted by z, shape [N]."""

    def losses(trunk):
        outputs = jax.vmap(lambda v: jnp.tanh(x @ trunk) @ v)(heads)
        return z * jnp.mean((outputs - targets) ** 2, axis=1)

    return losses


def test_each_open_group_bargains_from_the_gramian_of_its_trunk():
    params, x, targets = small()
    nash = px.nash_mtl(max_norm=None)
    fun = grouping.dmtg(MODEL, temperature=1.0)

    @jax.jit
    def run(params):
        jac = px.value_and_jacobian(fun, has_aux=True)(params, None, 0, x, targets)[1]
        rows = jnp.swapaxes(jac.trunks, 0, 1)
        tx = ensembles.combine_members(nash, K, N)
        together = tx.update(rows, tx.init(params.trunks))[0]
        z = grouping.assignment(params.logits, None, 1.0)

        def bargain(args):
            trunk, *rest = args
            losses = on_trunk(*rest, x, targets)
            _, gram, pullback = px.value_and_gramian(losses)(trunk)
            weights, state = nash.update(gram, nash.init(N))
            return gram, weights, pullback(weights), state.converged

        return together, jax.lax.map(bargain, (params.trunks, params.heads, z.T))

    together, (gram, weights, directions, converged) = run(params)
    assert converged.all()
    pulled = np.einsum("kij,kj->ki", gram, weights)
    np.testing.assert_allclose(pulled * weights, 1, atol=1e-3)
    np.testing.assert_allclose(directions, together, rtol=1e-2, atol=1e-3)


def test_a_settled_group_bargains_among_its_own_tasks():
    """With the other tasks inactive: the bargain of these tasks alone."""
    params, x, targets = small(1)
    nash, group = px.nash_mtl(max_norm=None), np.array([0, 1, 0, 0])

    @jax.jit
    def run(params):
        losses = on_trunk(params.heads[0], jnp.ones(N), x, targets)
        gram = px.value_and_gramian(losses)(params.trunks[0])[1]
        weights = nash.update(gram, nash.init(N), active=jnp.asarray(group == 0))[0]
        own = gram[np.ix_(group == 0, group == 0)]
        return weights, nash.update(own, nash.init(3))[0]

    weights, alone = run(params)
    assert float(weights[1]) == 0
    np.testing.assert_allclose(weights[group == 0], alone, rtol=1e-3)


# --- a step


def step(tx, params, state, key, x, targets, labeled=None):
    fun = grouping.dmtg(MODEL, temperature=1.0)
    total = lambda p: fun(p, key, 0, x, targets, labeled=labeled)[0].sum()
    updates, state = tx.update(jax.grad(total)(params), state, params)
    return optax.apply_updates(params, updates), state


def test_a_step_without_some_labels_is_one_on_the_examples_that_have_them():
    params, x, targets = small(2)
    labeled = jnp.ones((N, 8), bool).at[:, 5:].set(False)
    holes = jnp.where(labeled, targets, jnp.nan)
    tx = optax.sgd(0.1)
    run = jax.jit(functools.partial(step, tx))
    key = jax.random.key(0)
    masked, _ = run(params, tx.init(params), key, x, holes, labeled)
    fewer, _ = run(params, tx.init(params), key, x[:5], targets[:, :5])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, masked, fewer)


def test_seeds_step_together_as_each_does_alone():
    tx = optax.adam(0.05)
    _, x, targets = small()

    def train(key):
        draw = lambda *shape: lambda key: jax.random.normal(key, shape) / 2
        start, noise = jax.random.split(key)
        params = grouping.init_params(start, N, K, trunk=draw(3, 6), head=draw(6))
        state = tx.init(params)
        keeper = grouping.keep_heads(threshold=0.49, patience=1)

        def body(carry, key):
            params, state, kept = carry
            params, state = step(tx, params, state, key, x, targets)
            return (params, state, keeper.update(params.logits, kept)), None

        first = (params, state, keeper.init(params.logits))
        last = jax.lax.scan(body, first, jax.random.split(noise, 3))[0]
        return last[0], last[2].keep

    keys = jax.random.split(jax.random.key(1), 3)
    together, keep = jax.jit(jax.vmap(train))(keys)
    one = jax.jit(train)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    for i, key in enumerate(keys):
        alone, alone_keep = one(key)
        jax.tree.map(lambda a, b, i=i: close(a[i], b), together, alone)
        np.testing.assert_array_equal(keep[i], alone_keep)
    assert not np.allclose(together.trunks[0], together.trunks[1])


# --- devices


def test_a_group_a_device_is_all_groups_on_one():
    found = processes.report("grouped_devices.py", 4)
    assert found["error"] < 1e-5 < found["moved"]
    assert found["shards"] == [[1, 3, 4]] * 4
    assert found["devices"] == 4
    # Losses and what their weights are made of, [N, K] or [N]; no parameters.
    assert {one.split()[1] for one in found["sent"]} <= {"5,4", "4,5", "5"}
