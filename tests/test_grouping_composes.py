"""Task groups with the rest of the library: combiners, masks, seeds, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import processes
import pytest

import paretax as px
from paretax import grouping

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


def by_trunk(params, x, targets):
    """∇L_ik as `combine_groups` takes them, leaves [N, K, ...]."""
    fun = grouping.dmtg(MODEL, temperature=1.0)

    def losses(trunks):
        own = params._replace(trunks=trunks)
        return fun(own, None, 0, x, targets)[1].losses.sum(axis=1)

    return px.value_and_jacobian(losses)(params.trunks)[1]


def test_each_open_group_bargains_from_the_gramian_of_its_trunk():
    params, x, targets = small()
    nash = px.nash_mtl(max_norm=None)
    tx = grouping.combine_groups(nash, K, N)

    @jax.jit
    def run(params):
        z = grouping.assignment(params.logits, None, 1.0)
        rows = by_trunk(params, x, targets)
        together, state = tx.update(rows, tx.init(()), assignment=z)

        def bargain(args):
            trunk, heads, z = args
            losses = on_trunk(heads, jnp.ones(N), x, targets)
            _, gram, pullback = px.value_and_gramian(losses)(trunk)
            weights, state = nash.update(gram, nash.init(N))
            return gram, weights, pullback(weights * z), state.converged

        alone = jax.lax.map(bargain, (params.trunks, params.heads, z.T))
        return together, optax.tree.get(state, "converged"), alone

    together, solved, (gram, weights, directions, converged) = run(params)
    assert converged.all()
    assert solved.tolist() == [True] * K
    pulled = np.einsum("kij,kj->ki", gram, weights)
    np.testing.assert_allclose(pulled * weights, 1, atol=1e-3)
    np.testing.assert_allclose(directions, together, rtol=1e-2, atol=1e-3)


def test_with_equal_weights_the_trunks_get_the_gradient_of_dmtg():
    params, x, targets = small()
    tx = grouping.combine_groups(px.total(), K, N)

    @jax.jit
    def run(params):
        z = grouping.assignment(params.logits, None, 1.0)
        rows = by_trunk(params, x, targets)
        fun = grouping.dmtg(MODEL, temperature=1.0)
        gradient = jax.grad(lambda p: fun(p, None, 0, x, targets)[0].sum())(params)
        return tx.update(rows, tx.init(()), assignment=z)[0], gradient.trunks

    np.testing.assert_allclose(*run(params), rtol=1e-4, atol=1e-6)


def test_a_settled_group_bargains_among_its_own_tasks():
    """The rest is left out, whatever it holds; an empty group rests."""
    params, x, targets = small(1)
    nash, inside = px.nash_mtl(max_norm=None), np.zeros((N, K), bool)
    inside[[0, 2, 3], 0] = True
    tx = grouping.combine_groups(nash, K, N)

    @jax.jit
    def run(params):
        rows = by_trunk(params, x, targets)
        spoiled = jnp.where(inside[..., None, None], rows, jnp.nan)
        z = inside.astype(rows.dtype)
        trunks, state = tx.update(spoiled, tx.init(()), assignment=z, active=inside)
        own = px.combine(nash, 3)
        alone, _ = own.update(rows[np.flatnonzero(inside[:, 0]), 0], own.init(()))
        return trunks, optax.tree.get(state, "weights"), alone

    trunks, weights, alone = run(params)
    assert float(weights[0, 1]) == 0
    np.testing.assert_allclose(trunks[0], alone, rtol=1e-3)
    np.testing.assert_array_equal(trunks[1], 0)


def test_finetuning_bargains_in_each_group_and_sums_the_rest():
    params, x, targets = small(2)
    nash, group = px.nash_mtl(), jnp.array([0, 1, 0, 0])
    pruned = grouping.PrunedParams((), params.trunks, params.heads[0])
    labeled = jnp.ones((N, 8), bool).at[3].set(False)
    tuner = grouping.finetune(MODEL, optax.sgd(1.0), combiner=nash)

    @jax.jit
    def run(pruned):
        state = tuner.init(pruned)
        new, _, f = tuner.update(pruned, state, group, x, targets, labeled=labeled)
        losses = on_trunk(pruned.heads, jnp.ones(N), x, targets)
        rows = px.value_and_jacobian(losses)(pruned.trunks[0])[1]
        own = px.combine(nash, 2)
        alone, _ = own.update(rows[np.array([0, 2])], own.init(()))
        return new, f, alone

    new, f, alone = run(pruned)
    np.testing.assert_allclose(pruned.trunks[0] - new.trunks[0], alone, rtol=1e-3)
    np.testing.assert_array_equal(new.heads[3], pruned.heads[3])  # without a label
    assert float(f[3]) == 0
    assert not np.allclose(new.heads[:3], pruned.heads[:3])


def test_faults_of_a_combiner_in_groups_are_named():
    with pytest.raises(ValueError, match=r"method: expected a px.Weighting, got func"):
        grouping.combine_groups(px.mgda, K, N)
    for sizes, name in (((0, N), "num_groups"), ((K, 0), "num_tasks")):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1"):
            grouping.combine_groups(px.mgda(), *sizes)
    tx = grouping.combine_groups(px.mgda(), K, N)
    state, rows, z = tx.init(()), {"w": np.ones((N, K, 3))}, np.ones((N, K))
    with pytest.raises(ValueError, match=r"updates\['w'\]: expected shape \[4, 2"):
        tx.update({"w": np.ones((K, N, 3))}, state, assignment=z)
    with pytest.raises(ValueError, match=r"assignment: expected shape \(4, 2\), got N"):
        tx.update(rows, state)
    with pytest.raises(ValueError, match=r"active: expected shape \(4, 2\), got \(2,"):
        tx.update(rows, state, assignment=z, active=np.ones((K, N), bool))


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
