"""value_and_direction: combine's numbers, for the passes that the weighting needs."""

import functools

import jax
import jax.numpy as jnp
import networks
import numpy as np
import optax
import pytest
from zoo import WEIGHTINGS, ZOO, extras

import paretax as px


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


close = functools.partial(networks.close_trees, rtol=1e-6)


# Heads are the same code for all weightings: one that reads K, and one that does not.
# One of each kind of state and of need: the engine is the same for all weightings.
KINDS = (
    "uniform", "rlw", "dwa", "uncertainty", "famo", "running_points",  # no Gramian
    "nash_mtl", "task_tensioner", "gradnorm", "pcgrad", "modo", "every", "smooth",
)  # fmt: skip


@pytest.fixture(scope="module")
def perceptron():
    """The network and its Jacobian, compiled once for all weightings."""
    with jax.enable_x64(True):
        network = networks.perceptron()
    return network, jax.jit(px.value_and_jacobian(network.losses))


def test_the_kinds_cover_all_that_a_weighting_may_need():
    needs = {ZOO[name].needs for name in WEIGHTINGS}
    assert {ZOO[name].needs for name in KINDS} == needs


@pytest.mark.parametrize(
    ("name", "weight_heads"),
    [(name, False) for name in KINDS] + [("edm", True), ("famo", True)],
)
def test_directions_and_states_are_those_of_combine(perceptron, name, weight_heads):
    network, rows = perceptron
    x, targets = network.args
    weighting = ZOO[name].make(3)
    options = {
        "shared": lambda path: path[0].key != "heads",
        "weight_heads": weight_heads,
    }
    engine = jax.jit(px.value_and_direction(network.losses, weighting, **options))
    tx = px.combine(weighting, 3, **options)
    state, other = weighting.init(3), tx.init(network.params)
    for step in range(4):
        x = networks.normal(step, 4, 5)
        active = jnp.asarray([True, step != 1, True])
        expected_losses, jac = rows(network.params, x, targets)
        known = extras(jac, expected_losses)
        losses, direction, state = engine(
            network.params, state, x, targets, active=active, extra_args=known
        )
        expected, other = jax.jit(tx.update)(jac, other, active=active, **known)
        close(losses, expected_losses)
        close(direction, expected)
        jax.tree.map(same, state, other)


def same(one, other):
    if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
        one, other = jax.random.key_data(one), jax.random.key_data(other)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-8)


def test_auxiliary_output_extra_arguments_and_precision_reach_their_place():
    seen = {}

    def update(gram, state, *, losses=None, hint=None, **extra):
        seen.update(dtype=gram.dtype, losses=losses.shape, hint=hint)
        return px.mgda().update(gram, state)

    weighting = px.mgda()._replace(update=update)
    with jax.enable_x64(False):
        engine = px.value_and_direction(
            lambda p, x: (jnp.stack([p @ x, p @ p]), {"x": x}),
            weighting,
            has_aux=True,
            precise=True,
        )
        p, state = jnp.ones(3), weighting.init(2)
        (losses, aux), direction, state = engine(
            p, state, jnp.arange(3.0), extra_args={"hint": 7}
        )
        assert losses.shape == (2,)
        assert aux["x"].tolist() == [0.0, 1.0, 2.0]
        assert direction.dtype == jnp.float32
        assert state.weights.dtype == jnp.float32
    assert seen == {"dtype": jnp.dtype("float64"), "losses": (2,), "hint": 7}


def test_instances_are_weighted_one_by_one():
    def losses(p, x):
        y = jnp.tanh(x @ p)
        return jnp.stack([jnp.sum(y), jnp.sum(y**2)])

    p, x = networks.normal(0, 5, 3), networks.normal(1, 4, 5)
    weighting = px.mgda()
    engine = px.value_and_direction(losses, weighting, instance_axes=(0,))
    found, direction, _ = jax.jit(engine)(p, weighting.init(8), x)
    assert found.shape == (4, 2)
    rows = jax.vmap(jax.jacrev(losses), (None, 0))(p, x).reshape(8, 5, 3)
    tx = px.combine(weighting, 8)
    close(direction, tx.update(rows, tx.init(p))[0])

    mean, state = px.uniform(), px.uniform().init(8)
    engine = px.value_and_direction(losses, mean, instance_axes=(0,))
    close(jax.jit(engine)(p, state, x)[1], rows.mean(0))


def deep(p, x):
    for w in p["trunk"]:
        x = jnp.tanh(x @ w)
    return jnp.stack([jnp.mean((x @ w) ** 2) for w in p["heads"]])


def deep_problem(m=8, width=64):
    params = {
        "trunk": [networks.normal(k, width, width) / 8 for k in range(4)],
        "heads": [networks.normal(9 + k, width, 1) for k in range(m)],
    }
    return params, networks.normal(99, 256, width)


def flops(fun, *args):
    return jax.jit(fun).lower(*args).compile().cost_analysis()["flops"]


@pytest.mark.parametrize(
    "weighting",
    [px.total(), px.from_losses(px.scalarizations.smooth_tchebycheff([0.125] * 8))],
    ids=["total", "from_losses"],
)
def test_a_weighting_on_losses_costs_one_backward_pass(weighting):
    params, x = deep_problem()
    engine = px.value_and_direction(deep, weighting)
    plain = flops(jax.value_and_grad(lambda p, x: deep(p, x).sum()), params, x)
    ours = flops(engine, params, weighting.init(8), x)
    assert ours < 1.05 * plain
    # The heads' own leaves do not go through another pass where they are unweighted.
    engine = px.value_and_direction(
        deep, weighting, shared={"trunk": True, "heads": False}
    )
    assert flops(engine, params, weighting.init(8), x) < 1.05 * plain


def branches(jaxpr):
    found = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "cond"]
    outer = max(found, key=lambda eqn: len(str(eqn)))
    return [str(branch) for branch in outer.params["branches"]]


def test_between_renewals_no_gramian_is_formed():
    """The branch without K has the products of a plain step; the other has more."""
    params, x = deep_problem()
    weighting = px.every(px.mgda(), num_steps=10)
    engine = px.value_and_direction(deep, weighting)
    traced = jax.make_jaxpr(engine)(params, weighting.init(8), x)
    without, with_gram = (b.count("dot_general[") for b in branches(traced.jaxpr))
    plain = jax.make_jaxpr(jax.value_and_grad(lambda p, x: deep(p, x).sum()))
    # One more than a plain step: the weighted sum of the tasks' cotangents.
    assert without <= str(plain(params, x)).count("dot_general[") + 1
    assert with_gram > without

    tx = px.combine(weighting, 8)
    rows = jax.eval_shape(lambda: jax.tree.map(
        lambda leaf: jnp.zeros((8, *leaf.shape)), params))  # fmt: skip
    traced = jax.make_jaxpr(tx.update)(rows, tx.init(params))
    without, with_gram = (b.count("dot_general[") for b in branches(traced.jaxpr))
    assert without == 0
    assert with_gram >= len(jax.tree.leaves(params))


def test_every_keeps_the_weights_between_renewals_and_renews_on_time():
    weighting = px.every(px.mgda(), num_steps=3)
    state, seen = weighting.init(2), []
    for step in range(7):
        gram = jnp.diag(jnp.asarray([1.0, 1.0 + step]))
        needs = bool(weighting.needs_gram(state))
        weights, state = weighting.update(gram if needs else None, state)
        seen.append((needs, round(float(weights[1]), 4)))
    kept = [round(1 / (2 + step), 4) for step in (0, 0, 0, 3, 3, 3, 6)]
    assert seen == [(k % 3 == 0, value) for k, value in enumerate(kept)]


def test_every_of_every_and_of_losses():
    nested = px.every(px.every(px.mgda(), num_steps=2), num_steps=2)
    state, needs = nested.init(2), []
    for _ in range(6):
        needs.append(bool(nested.needs_gram(state)))
        gram = jnp.eye(2) if needs[-1] else None
        _, state = nested.update(gram, state)
    assert needs == [True, False, False, False, True, False]

    worst = px.from_losses(px.scalarizations.tchebycheff([0.5, 0.5]))
    seldom = px.every(worst, num_steps=2)
    state, chosen = seldom.init(2), []
    for losses in ([1.0, 2.0], [2.0, 1.0], [2.0, 1.0]):
        assert seldom.needs_gram(state) is False
        weights, state = seldom.update(None, state, losses=jnp.asarray(losses))
        chosen.append(int(jnp.argmax(weights)))
    assert chosen == [1, 1, 0]


def test_a_training_run_goes_down_in_every_task():
    network = networks.perceptron()
    weighting, optimizer = px.every(px.nash_mtl(), num_steps=5), optax.sgd(0.05)
    step = px.value_and_direction(network.losses, weighting)

    def once(carry, _):
        params, state, opt = carry
        losses, direction, state = step(params, state, *network.args)
        updates, opt = optimizer.update(direction, opt, params)
        return (optax.apply_updates(params, updates), state, opt), losses

    carry = network.params, weighting.init(3), optimizer.init(network.params)
    _, losses = jax.jit(lambda c: jax.lax.scan(once, c, length=60))(carry)
    assert (losses[-1] < losses[0]).all()


def test_bad_input_is_named():
    network = networks.perceptron()
    with pytest.raises(ValueError, match=r"weighting: expected a px\.Weighting"):
        px.value_and_direction(network.losses, px.mgda)
    with pytest.raises(ValueError, match=r"weighting: expected a px\.Weighting"):
        px.every(px.mgda, num_steps=2)
    with pytest.raises(ValueError, match="num_steps: expected at least 1, got 0"):
        px.every(px.mgda(), num_steps=0)
    with pytest.raises(ValueError, match="route: expected one of"):
        px.value_and_direction(network.losses, px.mgda(), route="quick")
