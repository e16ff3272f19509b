"""Averaging whole training states: against NumPy and against one model."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from member_steps import run

from paretax import ensembles

K = 4


def params_of(seed):
    rng = np.random.default_rng(seed)
    return {
        "trunk": jnp.asarray(rng.normal(size=(K, 3, 2)), jnp.float32),
        "head": jnp.asarray(rng.normal(size=(K, 2)), jnp.float32),
    }


def kernel():
    rows = np.random.default_rng(9).uniform(size=(K, K)) + np.eye(K)
    return rows / rows.sum(1, keepdims=True)


def own(tx):
    return ensembles.per_member(tx, K)


def test_it_is_momentum_descent_followed_by_an_average_of_both():
    """Against the recurrence in NumPy: m ← M(0.9 m + g), θ ← M(θ − η(0.9 m + g))."""
    matrix, gradients = kernel(), [params_of(seed) for seed in range(1, 6)]
    tx = ensembles.adapt_then_combine(
        own(optax.sgd(0.1, momentum=0.9)), ensembles.fixed_coupling(matrix)
    )
    params, state = run(tx, params_of(0), gradients)
    for name, leaf in params_of(0).items():
        theta = np.asarray(leaf, np.float64)
        moment = np.zeros_like(theta)
        for grads in gradients:
            moment = 0.9 * moment + np.asarray(grads[name], np.float64)
            theta = np.tensordot(matrix, theta - 0.1 * moment, 1)
            moment = np.tensordot(matrix, moment, 1)
        np.testing.assert_allclose(params[name], theta, rtol=1e-5, atol=1e-6)
        found = optax.tree.get(state.optimizer, "trace")[name]
        np.testing.assert_allclose(found, moment, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("states", [True, False])
def test_between_turns_members_are_independent(states):
    """Every third step ends with a mix, of both or of parameters; by hand."""
    matrix, gradients = kernel(), [params_of(seed)["head"] for seed in range(1, 8)]
    rule, sgd = ensembles.fixed_coupling(matrix), own(optax.sgd(0.1, momentum=0.9))
    if states:
        tx = ensembles.adapt_then_combine(sgd, rule, every=3)
    else:
        tx = optax.chain(sgd, ensembles.transfer(rule, every=3))
    theta = np.asarray(params_of(0)["head"], np.float64)
    params, state = run(tx, params_of(0)["head"], gradients)
    moment = np.zeros_like(theta)
    for i, grads in enumerate(gradients):
        moment = 0.9 * moment + np.asarray(grads, np.float64)
        turn = matrix if i % 3 == 2 else np.eye(K)
        if states:
            theta, moment = turn @ (theta - 0.1 * moment), turn @ moment
        else:
            theta = turn @ theta - 0.1 * moment
    np.testing.assert_allclose(params, theta, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(optax.tree.get(state, "matrix"), np.eye(K))


def test_between_turns_nothing_is_multiplied():
    """The product with M is in one branch of a conditional only."""
    tx = ensembles.transfer(ensembles.fixed_coupling(kernel()), every=2)
    theta = params_of(0)
    jaxpr = jax.make_jaxpr(tx.update)(theta, tx.init(theta), theta)
    assert all(e.primitive.name != "dot_general" for e in jaxpr.eqns)
    (cond,) = [e for e in jaxpr.eqns if e.primitive.name == "cond"]
    counts = [str(b).count("dot_general[") for b in cond.params["branches"]]
    assert counts == [0, 2]


def test_a_rules_own_schedule_goes_on_at_transfers_only():
    rule = ensembles.neighbor_coupling(
        ensembles.das_dennis(2, K - 1),
        strength=lambda step: jnp.where(step < 1, 0.5, 0),
    )
    tx = ensembles.transfer(rule, every=2)
    theta = params_of(0)["head"]
    state, seen = tx.init(theta), []
    update = jax.jit(tx.update)
    for _ in range(4):
        _, state = update(theta, state, theta)
        seen.append(float(state.matrix[0, 0]))
    assert seen == [1.0, 0.5, 1.0, 1.0]


def test_the_mean_of_all_is_one_model_that_follows_the_mean_gradient():
    gradients = [params_of(seed) for seed in range(1, 6)]
    start = jax.tree.map(lambda x: jnp.broadcast_to(x[0], x.shape), params_of(0))
    rule = ensembles.fixed_coupling(np.full((K, K), 1 / K))
    sgd = own(optax.sgd(0.1, momentum=0.9))
    params, _ = run(ensembles.adapt_then_combine(sgd, rule), start, gradients)
    mean = [
        jax.tree.map(lambda x: jnp.broadcast_to(x.mean(0), x.shape), grads)
        for grads in gradients
    ]
    alone, _ = run(sgd, start, mean)
    for name in alone:
        np.testing.assert_allclose(params[name], alone[name], rtol=1e-5, atol=1e-6)


def test_no_coupling_is_the_optimizer_bit_for_bit_and_the_identity_to_rounding():
    gradients = [params_of(seed) for seed in range(1, 4)]
    alone = run(own(optax.adam(0.1)), params_of(0), gradients)
    rules = {0.0: ensembles.no_coupling(), 1e-6: ensembles.fixed_coupling(np.eye(K))}
    for tol, rule in rules.items():
        tx = ensembles.adapt_then_combine(own(optax.adam(0.1)), rule)
        params, state = run(tx, params_of(0), gradients)
        found = jax.tree.leaves((params, state.optimizer))
        for x, y in zip(found, jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(x, y, rtol=tol, atol=tol)


def test_both_of_adams_moments_are_averaged_and_its_counts_are_not():
    matrix = kernel()
    grads = params_of(1)
    tx = ensembles.adapt_then_combine(
        own(optax.adam(0.1)), ensembles.fixed_coupling(matrix)
    )
    _, state = run(tx, params_of(0), [grads])
    for moment, scale, power in (("mu", 0.1, 1), ("nu", 0.001, 2)):
        found = optax.tree.get(state.optimizer, moment)
        for name, leaf in grads.items():
            expected = np.tensordot(matrix, scale * np.asarray(leaf) ** power, 1)
            np.testing.assert_allclose(found[name], expected, rtol=1e-4)
    assert optax.tree.get(state.optimizer, "count").tolist() == [1] * K


def test_leaves_that_are_not_shared_keep_their_own_parameters_and_moments():
    gradients = [params_of(seed) for seed in range(1, 4)]
    sgd = own(optax.sgd(0.1, momentum=0.9))
    tx = ensembles.adapt_then_combine(
        sgd, ensembles.fixed_coupling(kernel()), shared={"trunk": True, "head": False}
    )
    params, state = run(tx, params_of(0), gradients)
    alone, inner = run(sgd, params_of(0), gradients)
    trace = optax.tree.get(state.optimizer, "trace")
    np.testing.assert_array_equal(params["head"], alone["head"])
    np.testing.assert_array_equal(trace["head"], optax.tree.get(inner, "trace")["head"])
    assert abs(np.asarray(params["trunk"] - alone["trunk"])).min() > 1e-4


def test_a_member_with_a_broken_gradient_gives_nothing_and_takes_nothing():
    gradients = [params_of(seed) for seed in range(1, 4)]
    gradients[1]["head"] = gradients[1]["head"].at[2, 0].set(jnp.nan)
    rule = ensembles.fixed_coupling(kernel())
    tx = ensembles.adapt_then_combine(own(optax.sgd(0.1, momentum=0.9)), rule)
    params, state = run(tx, params_of(0), gradients)
    assert state.finite.tolist() == [True, True, False, True]
    kept = np.array([0, 1, 3])
    for leaf in jax.tree.leaves((params, optax.tree.get(state.optimizer, "trace"))):
        assert np.isfinite(np.asarray(leaf)[kept]).all()
    assert state.matrix[2].tolist() == [0, 0, 1, 0]
    assert state.matrix[:, 2].tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(np.asarray(state.matrix).sum(1), 1, rtol=1e-6)


def test_the_coupling_sees_the_parameters_before_the_step():
    """The distance rule: closer by the step alone is not yet seen."""
    theta = jnp.array([[0.0], [4.0]])
    tx = ensembles.adapt_then_combine(optax.sgd(1.0), ensembles.distance_coupling())
    state = tx.init(theta)
    updates, state = tx.update(jnp.array([[-1.0], [0.0]]), state, theta)
    assert state.matrix.tolist() == [[1, 0], [0, 1]]
    theta = optax.apply_updates(theta, updates)
    _, state = tx.update(jnp.zeros((2, 1)), state, theta)
    np.testing.assert_allclose(state.matrix, [[0.8, 0.2], [0.2, 0.8]], rtol=1e-6)


def test_one_trace_a_constant_state_and_every_accelerator():
    tx = ensembles.adapt_then_combine(
        own(optax.adam(0.1)), ensembles.fixed_coupling(kernel())
    )
    params = params_of(0)
    state = tx.init(params)
    described = lambda tree: jax.tree.map(
        lambda x: (x.shape, x.dtype, getattr(x, "weak_type", False)), tree
    )
    traces = []

    @jax.jit
    def step(grads, state, params):
        traces.append(1)
        return tx.update(grads, state, params)

    before = described(state)
    for seed in range(3):
        _, state = step(params_of(seed), state, params)
    assert described(state) == before
    assert len(traces) == 1
    platforms = ("cpu", "cuda", "rocm", "tpu")
    exported = jax.export.export(step, platforms=platforms)(params, state, params)
    assert exported.platforms == platforms
    jaxpr = str(jax.make_jaxpr(step)(params, state, params))
    products = jaxpr.count("dot_general")
    assert products == 3 * 2  # parameters and two moments of two leaves
    assert jaxpr.count("Precision.HIGHEST, Precision.HIGHEST") == products


@pytest.mark.parametrize("make", [ensembles.transfer, None])
def test_every_is_a_count(make):
    make = make or (
        lambda rule, **options: ensembles.adapt_then_combine(
            own(optax.sgd(0.1)), rule, **options
        )
    )
    with pytest.raises(ValueError, match="every: expected at least 1, got 0"):
        make(ensembles.no_coupling(), every=0)


def test_bad_input_is_named():
    tx = ensembles.adapt_then_combine(optax.sgd(1.0), ensembles.no_coupling())
    with pytest.raises(ValueError, match="params: adapt_then_combine averages"):
        tx.update(jnp.zeros((2, 1)), tx.init(jnp.zeros((2, 1))))
    with pytest.raises(
        ValueError, match=r"params\['b'\]: expected a leading axis of 2"
    ):
        tx.init({"a": jnp.zeros((2, 1)), "b": jnp.zeros((3, 1))})
    with pytest.raises(ValueError, match="params: expected leaves with a leading axis"):
        tx.init(jnp.zeros(()))
