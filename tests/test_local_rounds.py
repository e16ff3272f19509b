"""Rounds of local steps: the same numbers as step by step with a transfer behind."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from paretax import ensembles

K, BATCH = 4, 8


def theta():
    rng = np.random.default_rng(0)
    return {
        "w": jnp.asarray(rng.normal(size=(K, 5, 3)), jnp.float32),
        "b": jnp.asarray(rng.normal(size=(K, 3)), jnp.float32),
    }


def batches(rounds, n):
    """Leaves [rounds, K, n, ...]."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rounds, K, n, BATCH, 5))
    return jnp.asarray(x, jnp.float32), jnp.asarray(np.sin(3 * x[..., :3]), jnp.float32)


def gradient(params, batch, preference, scale):
    x, y = batch

    def objective(p):
        losses = jnp.mean((jnp.tanh(x @ p["w"] + p["b"]) - y) ** 2, axis=0)
        return scale * preference @ losses, losses

    return jax.grad(objective, has_aux=True)(params)


PREFERENCES = ensembles.riesz_energy(jax.random.key(0), K, 3).value
SCALE = jnp.float32(2.0)
RULES = {
    "none": ensembles.no_coupling(),
    "fading": ensembles.neighbor_coupling(
        PREFERENCES, strength=lambda turn: 0.5 / (1.0 + turn)
    ),
    "distance": ensembles.distance_coupling(),
}


def optimizer():
    return optax.adam(optax.cosine_decay_schedule(0.1, 20))


def by_rounds(rule, n, count, **options):
    rounds = ensembles.local_rounds(
        gradient, optimizer(), rule, K, (0, None), **options
    )

    def body(carry, batch):
        params, state, aux = rounds.update(*carry, batch, PREFERENCES, SCALE)
        return (params, state), aux

    run = jax.jit(lambda p, data: jax.lax.scan(body, (p, rounds.init(p)), data))
    return run(theta(), batches(count, n))


@functools.cache
def by_steps(rule, n, count, states):
    """The documented equivalent, one step after another."""
    own, coupling = ensembles.per_member(optimizer(), K), RULES[rule]
    if states:
        tx = ensembles.adapt_then_combine(own, coupling, every=n)
    else:
        tx = optax.chain(own, ensembles.transfer(coupling, every=n))
    each = jax.vmap(gradient, (0, 0, 0, None))

    def body(carry, batch):
        params, state = carry
        grads, aux = each(params, batch, PREFERENCES, SCALE)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), aux

    data = jax.tree.map(
        lambda x: jnp.swapaxes(x, 1, 2).reshape(-1, K, *x.shape[3:]), batches(count, n)
    )
    run = jax.jit(lambda p, data: jax.lax.scan(body, (p, tx.init(p)), data))
    return run(theta(), data)


@pytest.mark.parametrize("states", [False, True], ids=["parameters", "states"])
@pytest.mark.parametrize(
    ("rule", "n", "batch_size"),
    [
        ("none", 3, None),
        ("distance", 3, None),
        ("fading", 1, 1),
        ("fading", 3, None),
        ("fading", 3, 1),
        ("fading", 3, 3),
    ],
)
def test_rounds_are_steps_with_a_transfer_every_n(rule, states, n, batch_size):
    (params, state), aux = by_rounds(
        RULES[rule], n, 4, states=states, batch_size=batch_size
    )
    (wanted, expected), rows = by_steps(rule, n, 4, states)
    aux = jnp.swapaxes(aux, 1, 2).reshape(rows.shape)
    found, last = (optax.tree.get(s, "matrix") for s in (state, expected))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, (params, aux, found), (wanted, rows, last))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5)
    for name in ("mu", "nu"):
        jax.tree.map(close, *(optax.tree.get(s, name) for s in (state, expected)))


def test_a_round_takes_its_steps_between_transfers():
    """The program has one loop over members around one loop over steps."""
    rounds = ensembles.local_rounds(
        gradient, optax.sgd(0.1), RULES["fading"], K, (0, None), batch_size=1
    )
    p, data = theta(), jax.tree.map(lambda x: x[0], batches(1, 3))
    jaxpr = jax.make_jaxpr(rounds.update)(p, rounds.init(p), data, PREFERENCES, SCALE)
    (outer,) = [e for e in jaxpr.eqns if e.primitive.name == "scan"]
    eqns = outer.params["jaxpr"].eqns
    (inner,) = [e for e in eqns if e.primitive.name == "scan"]
    assert (outer.params["length"], inner.params["length"]) == (K, 3)
    mixed = [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]
    assert len(mixed) == len(p)


def test_a_lost_member_stays_alone():
    lost = jax.tree.map(lambda x: x.at[1].set(jnp.nan), theta())
    rounds = ensembles.local_rounds(
        gradient, optax.sgd(0.1), RULES["fading"], K, (0, None)
    )
    data = jax.tree.map(lambda x: x[0], batches(1, 2))
    params, state, _ = rounds.update(lost, rounds.init(lost), data, PREFERENCES, SCALE)
    rows = np.isfinite(np.asarray(params["b"])).all(1)
    assert rows.tolist() == [True, False, True, True]
    assert optax.tree.get(state, "finite").tolist() == rows.tolist()


def test_rounds_vmap_over_seeds_and_differentiate():
    """The loss after a round has a gradient in a scale of the gradients."""
    rounds = ensembles.local_rounds(
        gradient, optax.sgd(0.1), RULES["none"], K, (0, None)
    )
    data = jax.tree.map(lambda x: x[0], batches(1, 2))

    def end(scale):
        p = theta()
        params, _, _ = rounds.update(p, rounds.init(p), data, PREFERENCES, scale)
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(params))

    scales = jnp.array([0.5, 2.0])
    each = jax.jit(jax.vmap(jax.value_and_grad(end)))(scales)
    step = 1e-2
    for scale, value, slope in zip(scales, *each, strict=True):
        np.testing.assert_allclose(value, end(scale), rtol=1e-5)
        difference = (end(scale + step) - end(scale - step)) / (2 * step)
        np.testing.assert_allclose(slope, difference, rtol=2e-2)


def test_rounds_lower_for_every_platform_and_mix_at_the_highest_precision():
    rounds = ensembles.local_rounds(
        gradient, optimizer(), RULES["fading"], K, (0, None), states=True, batch_size=2
    )
    data = jax.tree.map(lambda x: x[0], batches(1, 3))
    given = (theta(), rounds.init(theta()), data, PREFERENCES, SCALE)
    platforms = ("cpu", "cuda", "rocm", "tpu")
    exported = jax.export.export(jax.jit(rounds.update), platforms=platforms)(*given)
    assert exported.platforms == platforms
    jaxpr = jax.make_jaxpr(rounds.update)(*given)
    products = [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]
    assert len(products) == 3 * 2  # parameters and two moments of two leaves
    highest = (jax.lax.Precision.HIGHEST,) * 2
    assert all(e.params["precision"] == highest for e in products)


def test_faults_are_named():
    rounds = ensembles.local_rounds(
        gradient, optax.sgd(0.1), RULES["none"], K, (0, None)
    )
    p = theta()
    x, y = jax.tree.map(lambda x: x[0], batches(1, 2))
    for wrong in ((x, y[:, :1]), (x[:, :0], y[:, :0]), (x, jnp.zeros(K))):
        with pytest.raises(ValueError, match=r"batches: expected leaves \[k, n"):
            rounds.update(p, rounds.init(p), wrong, PREFERENCES, SCALE)
    with pytest.raises(ValueError, match=r"batches.*leading axis of 4 members"):
        rounds.update(p, rounds.init(p), (x[:3], y[:3]), PREFERENCES, SCALE)
    with pytest.raises(ValueError, match="num_members: expected at least 1"):
        ensembles.local_rounds(gradient, optax.sgd(0.1), RULES["none"], 0)
