"""The adaptive transfer: against NumPy, planted noise, and independent members."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from member_steps import run

from paretax import ensembles

K, WINDOW = 4, 5
GRID = ensembles.das_dennis(2, K - 1)


def params_of(seed):
    rng = np.random.default_rng(seed)
    return {
        "trunk": jnp.asarray(rng.normal(size=(K, 3, 2)), jnp.float32),
        "head": jnp.asarray(rng.normal(size=(K, 2)), jnp.float32),
    }


def own(tx, k=K):
    return ensembles.per_member(tx, k)


def momentum(rate=0.1):
    return own(optax.sgd(rate, momentum=0.9))


def flat(tree):
    return np.concatenate(
        [np.asarray(x, np.float64).reshape(K, -1) for x in jax.tree.leaves(tree)], 1
    )


class ByHand:
    """The documented rule, member by member, in float64."""

    def __init__(self, theta, rate, power=1.0, bandwidth=1.0):
        self.theta, self.trace, self.rate, self.power = theta, 0 * theta, rate, power
        self.mean, self.t = theta.copy(), 0
        self.gain, self.logit = np.ones(K), np.full(K, 4.0)
        self.signal, self.noise, self.merit, self.bias, self.length = np.zeros((5, K))
        far = abs(np.subtract.outer(np.arange(K), np.arange(K)))
        kernel = np.exp(-far / bandwidth)
        self.shares = kernel / kernel.sum(1, keepdims=True)

    def step(self, g):
        theta, shares = self.theta, self.shares
        new = 1 / min(self.t + 1, WINDOW)
        self.trace = g + 0.9 * self.trace
        u = -self.rate * self.trace
        matrix, lengths = np.eye(K), self.length.copy()
        gain = np.ones(K)
        for i in range(K):
            p = shares[i]
            mean_g = p @ g
            left = (p**2).sum()
            noise = sum(p[j] * ((g[j] - mean_g) ** 2).sum() for j in range(K))
            noise = noise / (1 - left)
            now = {
                "signal": mean_g @ mean_g - left * noise,
                "noise": noise,
                "merit": g[i] @ (p @ theta - theta[i]),
                "bias": g[i] @ (p @ self.mean - self.mean[i]),
            }
            for name, value in now.items():
                kept = getattr(self, name)
                kept[i] += (value - kept[i]) * new
            length = sum(p[j] * (u[j] ** 2).sum() for j in range(K))
            length = lengths[i] + (length - lengths[i]) / min(self.t + 1, 10)
            merit, bias = self.merit[i], self.bias[i]
            scale = abs(merit) + 2 * abs(bias)
            against = (merit + 2 * bias) / scale if scale > 0 else 0.0
            logit = self.logit[i] - (6 if against > 0 else 2) / WINDOW * against
            if self.t:
                logit += 2 * np.log(length / lengths[i])
            self.length[i], self.logit[i] = length, np.clip(logit, -10, 4)
            a = 1 / (1 + np.exp(-self.logit[i])) if self.logit[i] > -10 else 0.0
            matrix[i] = (1 - a) * np.eye(K)[i] + a * p
            left, signal = (matrix[i] ** 2).sum(), max(self.signal[i], 0)
            gain[i] = (self.noise[i] + signal) / (left * self.noise[i] + signal)
        self.mean += (theta - self.mean) * new
        self.theta = matrix @ (theta + self.gain[:, None] * u)
        self.trace = matrix @ self.trace
        self.gain, self.matrix, self.t = gain**self.power, matrix, self.t + 1


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_it_is_the_documented_rule(power):
    """Twelve steps that drift apart, so that strengths leave their upper bound."""
    rng = np.random.default_rng(3)
    pull = params_of(7)
    gradients = [
        jax.tree.map(
            lambda x: 2 * x + jnp.asarray(rng.normal(size=x.shape), jnp.float32), pull
        )
        for _ in range(12)
    ]
    tx = ensembles.adaptive_transfer(
        momentum(0.02), GRID, window=WINDOW, gain_power=power
    )
    params, state = run(tx, params_of(0), gradients)
    hand = ByHand(flat(params_of(0)), 0.02, power)
    for grads in gradients:
        hand.step(flat(grads))
    np.testing.assert_allclose(flat(params), hand.theta, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.matrix, hand.matrix, rtol=2e-3, atol=1e-4)
    found = state.coupling
    for name in ("signal", "noise", "merit", "bias", "length", "logit", "gain"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(hand, name), rtol=2e-3, atol=1e-3
        )
    assert (np.asarray(found.logit) < 3.9).any()
    trace = optax.tree.get(state.optimizer, "trace")
    np.testing.assert_allclose(flat(trace), hand.trace, rtol=1e-3, atol=1e-4)


def test_the_gain_is_that_of_the_noise_that_an_average_takes_away():
    """Planted: g = μ + σ·normal with |μ|² = 4 and a variance of 9 in all."""
    dim, steps = 2_000, 60
    mu = jnp.full(dim, 2 / dim**0.5)
    noise = jax.random.normal(jax.random.key(0), (steps, K, dim)) * 3 / dim**0.5
    tx = ensembles.adaptive_transfer(own(optax.sgd(1e-6)), GRID, window=50)
    _, state = run(tx, jnp.zeros((K, dim)), list(mu + noise))
    left = jnp.sum(state.matrix**2, axis=1)
    measured = state.coupling
    np.testing.assert_allclose(measured.signal, 4.0, rtol=0.03)
    np.testing.assert_allclose(measured.noise, 9.0, rtol=0.03)
    np.testing.assert_allclose(measured.gain, 13 / (9 * left + 4), rtol=0.03)
    donors = ensembles.effective_donors(state.matrix)
    assert (measured.gain < donors).all()


def test_without_noise_steps_are_the_optimizers():
    gradients = [jnp.ones((K, 3)) * i for i in (1.0, 2.0, -1.0)]
    tx = ensembles.adaptive_transfer(momentum(), GRID)
    params, state = run(tx, jnp.zeros((K, 3)), gradients)
    alone, _ = run(momentum(), jnp.zeros((K, 3)), gradients)
    np.testing.assert_allclose(params, alone, rtol=1e-5)
    np.testing.assert_allclose(state.coupling.gain, 1.0, rtol=1e-5)


def test_the_power_0_leaves_steps_alone():
    gradients = [params_of(seed) for seed in range(1, 6)]
    tx = ensembles.adaptive_transfer(momentum(), GRID, gain_power=0.0)
    _, state = run(tx, params_of(0), gradients)
    np.testing.assert_array_equal(state.coupling.gain, 1.0)


def test_one_member_is_its_optimizer():
    tx = ensembles.adaptive_transfer(own(optax.adam(0.1), 1), [[0.3, 0.7]])
    gradients = [jnp.full((1, 3), g) for g in (1.0, -2.0, 0.5)]
    params, _ = run(tx, jnp.ones((1, 3)), gradients)
    alone, _ = run(own(optax.adam(0.1), 1), jnp.ones((1, 3)), gradients)
    np.testing.assert_array_equal(params, alone)


# Never worse than independent members: noisy quadratics of two tasks with curvatures
# from 1 to 1/100, whose optima lie `conflict` apart; not those the constants are from.
DIM, STEPS, SEEDS = 16, 800, 10
CONFLICTS = (0.0, 0.1, 0.3, 1.0, 3.0)


def quadratics():
    """Hessians [n, 2, d, d] and optima [n, 2, d] of all conflicts and seeds."""
    hessians, optima = [], []
    for conflict in CONFLICTS:
        for seed in range(SEEDS):
            rng = np.random.default_rng(100 + seed)
            q, _ = np.linalg.qr(rng.normal(size=(2, DIM, DIM)))
            values = 10.0 ** -rng.uniform(0, 2, (2, DIM))
            values[:, :2] = 1.0, 0.01
            hessians.append(np.einsum("tij,tj,tkj->tik", q, values, q))
            optima.append(conflict * rng.normal(size=(2, DIM)))
    return jnp.asarray(hessians, jnp.float32), jnp.asarray(optima, jnp.float32)


def excess(build, settings):
    """Mean loss above the optima over the last tenth [settings, conflicts, seeds]."""
    hessians, optima = quadratics()

    def one(rate, fade, hessian, optimum, key):
        joint = jnp.einsum("kt,tij->kij", GRID, hessian)
        pull = jnp.einsum("kt,tij,tj->ki", GRID, hessian, optimum)
        best = jnp.linalg.solve(joint, pull[..., None])[..., 0]
        cosine = optax.cosine_decay_schedule(1.0, STEPS)
        schedule = lambda t: rate * (1 - fade + fade * cosine(t))
        tx = build(own(optax.sgd(schedule, momentum=0.9)))

        def body(carry, key):
            theta, state = carry
            slope = jnp.einsum("kij,kj->ki", joint, theta - best)
            noise = jax.random.normal(key, theta.shape) / DIM**0.5
            updates, state = tx.update(slope + noise, state, theta)
            theta = optax.apply_updates(theta, updates)
            off = theta - best
            return (theta, state), jnp.einsum("ki,kij,kj->", off, joint, off) / 2 / K

        theta = jnp.broadcast_to(3.0, (K, DIM))
        keys = jax.random.split(key, STEPS)
        _, losses = jax.lax.scan(body, (theta, tx.init(theta)), keys)
        return jnp.mean(losses[-STEPS // 10 :])

    keys = jax.random.split(jax.random.key(5), len(hessians))
    each = jax.vmap(one, (None, None, 0, 0, 0))
    found = jax.jit(jax.vmap(each, (0, 0, None, None, None)))(
        *jnp.asarray(settings).T, hessians, optima, keys
    )
    return np.asarray(found).reshape(len(settings), len(CONFLICTS), SEEDS)


def test_members_are_never_worse_than_independent_ones_and_mostly_better():
    """At rates two decades apart, constant or fading, one window for all."""
    settings = [(r, fade) for fade in (0.0, 1.0) for r in (0.003, 0.01, 0.03, 0.1)]
    adaptive = functools.partial(
        ensembles.adaptive_transfer, preferences=GRID, window=STEPS // 20
    )
    alone, found = excess(lambda o: o, settings), excess(adaptive, settings)
    ratio = found.mean(-1) / alone.mean(-1)
    error = (found / alone.mean(-1, keepdims=True)).std(-1, ddof=1) / SEEDS**0.5
    assert (ratio - 1 < 2 * error).all()
    assert (ratio < 1.1).all()
    assert (ratio[:, 0] < 0.8).all()
    assert ratio.mean() < 0.75


def test_a_fixed_kernel_is_worse_by_far_where_tasks_conflict():
    """The control: the same members, half of each from its neighbors at every step."""
    settings = [(0.01, 0.0), (0.03, 1.0)]
    rule = ensembles.neighbor_coupling(GRID, strength=0.5)
    alone = excess(lambda o: o, settings)
    found = excess(lambda o: ensembles.adapt_then_combine(o, rule), settings)
    ratio = found.mean(-1) / alone.mean(-1)
    assert (ratio[:, 0] < 0.6).all()
    assert (ratio[:, -2:] > 3.0).all()


def test_a_lost_member_gives_nothing_and_is_not_measured():
    tx = ensembles.adaptive_transfer(momentum(), GRID, window=WINDOW)
    theta = params_of(0)
    theta = {**theta, "head": theta["head"].at[1, 0].set(jnp.nan)}
    gradients = [params_of(seed) for seed in range(1, 5)]
    params, state = run(tx, theta, gradients)
    assert state.finite.tolist() == [True, False, True, True]
    assert state.matrix[:, 1].tolist() == [0.0, 1.0, 0.0, 0.0]
    for leaf in jax.tree.leaves((params, state.coupling)):
        rows = np.delete(np.asarray(leaf), 1, axis=0)
        assert np.isfinite(rows).all()
    assert float(state.coupling.gain[0]) > 1


def test_a_gradient_that_is_not_finite_passes_over():
    """The optimizer leaves it out; the member stands aside for that step."""
    tx = ensembles.adaptive_transfer(
        own(optax.apply_if_finite(optax.sgd(0.1), 3)), GRID, window=WINDOW
    )
    gradients = [params_of(seed) for seed in range(1, 4)]
    gradients[1]["head"] = gradients[1]["head"].at[2, 1].set(jnp.inf)
    params, state = run(tx, params_of(0), gradients)
    assert state.finite.all()
    for leaf in jax.tree.leaves((params, state.coupling, state.mean)):
        assert np.isfinite(np.asarray(leaf)).all()


def test_leaves_that_are_not_shared_are_the_optimizers():
    shared = {"trunk": True, "head": False}
    tx = ensembles.adaptive_transfer(momentum(), GRID, window=WINDOW, shared=shared)
    gradients = [params_of(seed) for seed in range(1, 5)]
    params, state = run(tx, params_of(0), gradients)
    alone, _ = run(momentum(), params_of(0), gradients)
    np.testing.assert_array_equal(params["head"], alone["head"])
    only, trunk = [{"trunk": g["trunk"]} for g in gradients], params_of(0)["trunk"]
    tx = ensembles.adaptive_transfer(momentum(), GRID, window=WINDOW)
    found, other = run(tx, {"trunk": trunk}, only)
    np.testing.assert_allclose(params["trunk"], found["trunk"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.coupling.gain, other.coupling.gain, rtol=1e-5)


def test_a_rate_that_begins_at_0_and_ends_at_0_is_no_trouble():
    """Members that do not step any more do not mix any more."""
    rate = optax.warmup_cosine_decay_schedule(0.0, 0.1, 3, 10)
    tx = ensembles.adaptive_transfer(own(optax.sgd(rate)), GRID, window=50)
    gradients = [params_of(seed) for seed in range(1, 101)]
    params, state = run(tx, params_of(0), gradients)
    for leaf in jax.tree.leaves((params, state.coupling)):
        assert np.isfinite(np.asarray(leaf)).all()
    np.testing.assert_array_equal(state.coupling.strength, 0.0)
    np.testing.assert_array_equal(state.matrix, np.eye(K))


def test_it_maps_over_runs_keeps_types_and_lowers_everywhere():
    tx = ensembles.adaptive_transfer(own(optax.adam(0.1)), GRID, gain_power=0.5)
    theta = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params_of(0))
    state = tx.init(theta)
    assert {str(x.dtype) for x in state.mean} == {"float32"}
    updates, new = jax.eval_shape(tx.update, theta, state, theta)
    assert jax.tree.map(lambda x: x.dtype, updates) == jax.tree.map(
        lambda x: x.dtype, theta
    )
    types = [(x.shape, x.dtype) for x in jax.tree.leaves(state)]
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(new)] == types
    two = jax.tree.map(lambda *x: jnp.stack(x), params_of(0), params_of(1))
    first = jax.jit(lambda theta: tx.update(theta, tx.init(theta), theta)[0])
    many, one = jax.vmap(first)(two), first(params_of(1))
    np.testing.assert_allclose(many["trunk"][1], one["trunk"], rtol=1e-5)
    platforms = ("cpu", "cuda", "rocm", "tpu")
    jax.export.export(jax.jit(tx.update), platforms=platforms)(theta, state, theta)


def test_parameters_and_state_may_be_donated_together():
    tx, theta = ensembles.adaptive_transfer(momentum(), GRID), params_of(0)
    step = jax.jit(tx.update, donate_argnums=(1, 2))
    _, state = step(params_of(1), tx.init(theta), theta)
    assert int(state.steps) == 1


def test_its_products_are_at_the_highest_precision():
    tx, theta = ensembles.adaptive_transfer(momentum(), GRID), params_of(0)["head"]
    text = str(jax.make_jaxpr(tx.update)(theta, tx.init(theta), theta))
    wide = text.count("Precision.HIGHEST")
    assert wide == 2 * (3 + 2)  # three inner products; parameters and their moment


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bandwidth": 0.0}, "bandwidth"),
        ({"window": 0}, "window"),
        ({"gain_power": 1.5}, "gain_power"),
        ({"preferences": [[0.5, 0.4], [0.5, 0.5]]}, "preferences"),
        ({"preferences": [[0.5, 0.5], [0.5, 0.5]]}, "preferences: expected distinct"),
        ({"shared": lambda path: False}, "shared"),
    ],
)
def test_what_is_wrong_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        ensembles.adaptive_transfer(
            momentum(), **{"preferences": GRID, **options}
        ).init(params_of(0))


def test_as_many_preferences_as_members_and_parameters_are_asked_for():
    tx = ensembles.adaptive_transfer(momentum(), ensembles.das_dennis(2, 2))
    with pytest.raises(ValueError, match="one for each of 4 members, got 3"):
        tx.init(params_of(0))
    tx = ensembles.adaptive_transfer(momentum(), GRID)
    with pytest.raises(ValueError, match="params: adaptive_transfer averages"):
        tx.update(params_of(1), tx.init(params_of(0)))
