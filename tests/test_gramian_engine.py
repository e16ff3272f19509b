"""The Gramian engine against J Jᵀ and Jᵀw, for every route and every kind of layer."""

import functools
import re

import jax
import jax.export
import jax.numpy as jnp
import networks
import numpy as np
import optax
import pytest
from networks import close_trees

import paretax as px

ROUTES = ("auto", "factored", "explicit", "streamed")
EVERY = pytest.mark.parametrize("make", networks.NETWORKS, ids=lambda f: f.__name__)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def jacobian(network):
    """J by jax alone, as a tree and as one matrix, and the losses."""
    fun = network.losses
    if network.has_aux:
        fun = lambda *a: network.losses(*a)[0]
    both = jax.jit(lambda p, args: (jax.jacrev(fun)(p, *args), fun(p, *args)))
    jac, losses = both(network.params, network.args)
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(jac)]
    return jac, np.concatenate([np.asarray(x) for x in leaves], axis=1), losses


def close(actual, expected, rtol=1e-10):
    scale = max(float(jnp.max(jnp.abs(expected))), 1e-300)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * scale)


@EVERY
def test_every_route_gives_j_jt_and_the_way_back_and_rows_are_jaxs_own(make):
    network = make()
    jac, matrix, losses = jacobian(network)
    weights = jnp.linspace(0.5, 2.0, losses.shape[0])

    @jax.jit
    def run(params, args):
        found = {}
        for route in ROUTES:
            for chunk in (None, 2):
                engine = px.value_and_gramian(
                    network.losses,
                    route=route,
                    chunk_size=chunk,
                    has_aux=network.has_aux,
                )
                out, gram, pullback = engine(params, *args)
                found[f"{route} {chunk}"] = out, gram, pullback(weights)
        rows = px.value_and_jacobian(network.losses, has_aux=network.has_aux)
        return found, rows(params, *args)[1]

    expected = jax.tree.map(lambda rows: jnp.tensordot(weights, rows, 1), jac)
    found, rows = run(network.params, network.args)
    close_trees(rows, jac)
    for out, gram, direction in found.values():
        close(out[0] if network.has_aux else out, losses)
        close(gram, matrix @ matrix.T)
        np.testing.assert_array_equal(gram, gram.T)
        assert jax.tree.structure(direction) == jax.tree.structure(network.params)
        close_trees(direction, expected)


@EVERY
def test_the_leaves_that_enter_one_product_are_found(make):
    network = make()
    plan = px.explain_gramian(
        network.losses,
        network.params,
        *network.args,
        route="factored",
        has_aux=network.has_aux,
    )
    ways = [row.route for row in plan.leaves]
    assert ways.count("factored") == network.factored, str(plan)
    assert all(row.why for row in plan.leaves)


def test_auxiliary_output_is_that_of_the_function():
    network = networks.nnx_train()
    engine = px.value_and_gramian(network.losses, has_aux=True)
    (_, aux), _, _ = jax.jit(engine)(network.params, *network.args)
    _, expected = network.losses(network.params, *network.args)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            *(jax.random.key_data(x) if jax.dtypes.issubdtype(
                x.dtype, jax.dtypes.prng_key) else x for x in (a, b))
        ),
        aux,
        expected,
    )  # fmt: skip


def wide(m=3, rows=4, width=64, depth=3, dtype=float):
    """A trunk much wider than its batch, with m heads."""
    keys = jax.random.split(jax.random.key(0), depth + m + 1)
    params = {
        "trunk": [
            jax.random.normal(k, (width, width), dtype) / 8 for k in keys[:depth]
        ],
        "heads": [jax.random.normal(k, (width, 1), dtype) for k in keys[depth:-1]],
    }

    def losses(p, x):
        for w in p["trunk"]:
            x = jnp.tanh(x @ w)
        return jnp.stack([jnp.mean((x @ w) ** 2) for w in p["heads"]])

    return losses, params, jax.random.normal(keys[-1], (rows, width), dtype)


def shapes_in(jaxpr):
    """All shapes that a jaxpr holds, at any depth."""
    for eqn in jaxpr.eqns:
        yield from (var.aval.shape for var in eqn.outvars)
        for body in jax.extend.core.jaxprs_in_params(eqn.params):
            yield from shapes_in(body)


def step_of(losses, **options):
    def step(params, x, weights):
        _, gram, pullback = px.value_and_gramian(losses, **options)(params, x)
        return gram, pullback(weights * gram[0, 0])

    return step


def test_no_gradient_of_a_task_is_formed_where_layers_factor():
    losses, params, x = wide()
    shapes = {}
    for route in ("auto", "explicit"):
        traced = jax.make_jaxpr(step_of(losses, route=route))(params, x, jnp.ones(3))
        shapes[route] = set(shapes_in(traced.jaxpr))
    assert (3, 64, 64) in shapes["explicit"]
    assert (3, 64, 64) not in shapes["auto"]


def test_the_products_are_as_many_as_the_layers_need():
    """Flops of the whole step: forward, m(L − 1) back, S, S·G, K, and L at the end."""
    losses, params, x = wide(m=8, rows=16, width=256, depth=4)
    step = jax.jit(step_of(losses))
    flops = step.lower(params, x, jnp.ones(8)).compile().cost_analysis()["flops"]
    layer, m, depth = 2 * 16 * 256**2, 8, 4
    share = 2 * 16 * 16 * 256 * (1 + m) + 2 * m * m * 16 * 256
    expected = depth * (2 * layer + share) + m * (depth - 1) * layer
    assert 0.95 < flops / expected < 1.1


def test_heads_go_backward_once_not_once_a_task():
    losses, params, x = wide(m=16, rows=4, width=8, depth=1)
    shared = {"heads": False, "trunk": True}
    traced = jax.make_jaxpr(step_of(losses, shared=shared))(params, x, jnp.ones(16))
    text = str(traced)
    # One product forward and two back (features, weights) a head; six for the trunk.
    assert text.count("dot_general[") <= 3 * 16 + 8


def test_streaming_holds_less_than_factors_and_factors_less_than_gradients():
    losses, params, x = wide(m=16, rows=8, width=128)
    size = {}
    for route in ("streamed", "factored", "explicit"):
        step = jax.jit(step_of(losses, route=route))
        memory = step.lower(params, x, jnp.ones(16)).compile().memory_analysis()
        size[route] = memory.temp_size_in_bytes
    assert size["streamed"] < 4 * 3 * 8 * 128**2
    assert size["factored"] < 0.5 * size["explicit"]


@pytest.mark.parametrize("route", ROUTES)
def test_labels_of_a_missing_task_may_be_nan(route):
    """The active tasks' K and direction are those of a problem without the third."""
    network = networks.perceptron()
    x, targets = network.args
    poisoned = [targets[0], targets[1], targets[2] * jnp.nan]
    active = jnp.asarray([True, True, False])
    engine = px.value_and_gramian(
        network.losses, route=route, shared=lambda path: path[0].key != "heads"
    )
    losses, gram, back = jax.jit(engine)(network.params, x, poisoned, active=active)
    _, whole, back_whole = jax.jit(engine)(network.params, x, targets)
    close(gram[:2, :2], whole[:2, :2])
    assert (np.asarray(gram)[2] == 0).all()
    assert np.isnan(losses[2])
    direction, expected = back(jnp.ones(3)), back_whole(jnp.asarray([1.0, 1.0, 0.0]))
    for name in ("w0", "b0", "w1"):
        close(direction[name], expected[name])
    assert (np.asarray(direction["heads"][2]) == 0).all()

    _, jac = px.value_and_jacobian(network.losses)(network.params, x, poisoned)
    assert np.isfinite(np.asarray(jac["w0"])[:2]).all()
    _, jac = px.value_and_jacobian(network.losses)(
        network.params, x, poisoned, active=active
    )
    assert (np.asarray(jac["w0"])[2] == 0).all()


@pytest.mark.parametrize(
    "arranged",
    [
        lambda f: jnp.log(f),
        lambda f: f / jax.lax.stop_gradient(f),
        lambda f: 2 * f - jnp.asarray([1.0, 2.0, 3.0]),
        lambda f: jnp.where(f > 0.5, f, f**2),
    ],
    ids=["log", "normalized", "affine", "where"],
)
def test_losses_may_be_rescaled_after_they_are_stacked(arranged):
    """NaN of one task stays out of the others, and heads still go backward once."""
    network = networks.perceptron()
    x, targets = network.args

    def losses(p, x, targets):
        return arranged(network.losses(p, x, targets))

    engine = px.value_and_gramian(losses)
    _, whole, _ = engine(network.params, x, targets)
    jac = jax.jacrev(losses)(network.params, x, targets)
    matrix = np.concatenate(
        [np.asarray(leaf).reshape(3, -1) for leaf in jax.tree.leaves(jac)], axis=1
    )
    close(whole, matrix @ matrix.T)
    poisoned = [targets[0], targets[1] * jnp.nan, targets[2]]
    active = jnp.asarray([True, False, True])
    _, gram, _ = engine(network.params, x, poisoned, active=active)
    keep = np.outer(active, active)
    close(gram, np.where(keep, whole, 0))
    plan = px.explain_gramian(losses, network.params, x, targets)
    assert [row.route for row in plan.leaves].count("one task") == 3


def test_one_gradient_leaves_a_missing_task_out():
    network = networks.perceptron()
    x, targets = network.args
    active = jnp.asarray([True, False, True])
    mean = px.scalarizations.linear([0.2, 0.3, 0.5])
    engine = px.value_and_gradient(network.losses, mean)
    poisoned = [targets[0], targets[1] * jnp.nan, targets[2]]
    _, gradient = engine(network.params, x, poisoned, active=active)
    expected = jax.grad(
        lambda p: mean(network.losses(p, x, targets), active=active)
    )(network.params)  # fmt: skip
    jax.tree.map(close, gradient, expected)


@pytest.mark.parametrize("route", ["factored", "explicit"])
def test_bfloat16_layers_give_a_float32_gramian(route):
    losses, params, x = wide(dtype=jnp.bfloat16)
    engine = px.value_and_gramian(losses, route=route)
    _, gram, pullback = jax.jit(engine)(params, x)
    assert gram.dtype == jnp.float32
    direction = pullback(jnp.ones(3, jnp.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(direction)} == {
        jnp.dtype("bfloat16")
    }
    wider = jax.tree.map(lambda leaf: leaf.astype(float), (params, x))
    _, exact, _ = engine(*wider)
    np.testing.assert_allclose(gram, exact, rtol=0.1, atol=0.05 * np.abs(exact).max())


def test_loss_scaling_cancels_in_a_scale_invariant_weighting():
    losses, params, x = wide(dtype=jnp.bfloat16)
    step = functools.partial(px.value_and_direction, weighting=px.nash_mtl())
    state = px.nash_mtl().init(3)
    _, plain, _ = jax.jit(step(losses))(params, state, x)
    scaled = lambda p, x: 1024 * losses(p, x)
    _, same, _ = jax.jit(step(scaled))(params, state, x)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a.astype(float), b.astype(float), rtol=0.02, atol=1e-4
        ),
        plain,
        same,
    )


@pytest.mark.parametrize("route", ["factored", "explicit"])
def test_a_precise_gramian_keeps_what_float32_loses(route):
    """Two tasks of which one is the other plus a trifle: K₁₁ − 2K₁₂ + K₂₂ is tiny."""

    def losses(p, x):
        y = x @ p
        return jnp.stack([jnp.sum(y), jnp.sum(y) + 1e-5 * jnp.sum(y**2)])

    with jax.enable_x64(False):
        p = jax.random.normal(jax.random.key(0), (64, 8))
        x = jax.random.normal(jax.random.key(1), (4, 64))
        _, jac = px.value_and_jacobian(losses)(p, x)
        errors = {}
        for precise in (False, True):
            engine = px.value_and_gramian(losses, route=route, precise=precise)
            gram = np.asarray(jax.jit(lambda p, x: engine(p, x)[1])(p, x), np.float64)  # noqa: B023
            rows = np.asarray(jac, np.float64)
            exact = np.sum((rows[1] - rows[0]) ** 2)
            errors[precise] = abs(gram[0, 0] - 2 * gram[0, 1] + gram[1, 1] - exact)
    assert errors[True] < 1e-2 * exact
    assert errors[True] < 1e-2 * errors[False]


def test_accumulation_over_microbatches_gives_the_gramian_of_the_whole_batch():
    """K of a mean gradient is not the mean of K: J is accumulated, then multiplied."""
    losses, params, x = wide(rows=8)
    jac_of = lambda p, x: px.value_and_jacobian(losses)(p, x)[1]
    mean = optax.microbatching.AccumulationType.MEAN
    accumulated = optax.microbatch(
        jac_of, argnums=1, microbatch_size=2, accumulator=mean
    )
    _, whole, _ = px.value_and_gramian(losses)(params, x)
    close(px.gramian(jax.jit(accumulated)(params, x)), whole)
    gram_of = lambda p, x: px.value_and_gramian(losses)(p, x)[1]
    wrong = optax.microbatch(gram_of, argnums=1, microbatch_size=2, accumulator=mean)
    assert not np.allclose(wrong(params, x), whole, rtol=0.05)


@pytest.mark.parametrize("route", ["auto", "factored", "explicit"])
def test_rows_for_every_example_and_task(route):
    def losses(p, ids, y):
        h = jnp.tanh(p["table"][ids] @ p["w"] + p["b"])
        h, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), h, p["layers"])
        tied = jnp.sum(h * p["tied"]) + jnp.sum(p["tied"] ** 2)
        return jnp.stack([jnp.mean((h @ p["head"] - y) ** 2), tied])

    params = {
        "table": networks.normal(0, 9, 5),
        "w": networks.normal(1, 5, 6),
        "b": networks.normal(2, 6),
        "layers": networks.normal(3, 2, 6, 6),
        "head": networks.normal(4, 6, 2),
        "tied": networks.normal(5, 6),
    }
    for ids in (jnp.asarray([[1, 1, 8], [0, 3, 1], [2, 2, 2], [5, 1, 0]]),
                jnp.asarray([[1], [3], [1], [0]])):  # fmt: skip
        y = networks.normal(6, 4, ids.shape[1], 2)
        rows = jax.jit(jax.vmap(jax.jacrev(losses), (None, 0, 0)))(params, ids, y)
        rows = jax.tree.map(lambda leaf: leaf.reshape(8, *leaf.shape[2:]), rows)
        matrix = np.concatenate(
            [np.asarray(leaf).reshape(8, -1) for leaf in jax.tree.leaves(rows)], 1
        )
        engine = px.value_and_gramian(losses, route=route, instance_axes=(0, 0))
        found, gram, pullback = jax.jit(engine)(params, ids, y)
        assert found.shape == (4, 2)
        close(gram, matrix @ matrix.T)
        weights = networks.normal(7, 8)
        expected = jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1), rows)  # noqa: B023
        back = jax.jit(lambda pullback, w: pullback(w))
        jax.tree.map(close, back(pullback, weights), expected)

        active = jnp.ones((4, 2), bool).at[2, 0].set(False)
        _, gram, pullback = jax.jit(engine)(
            params, ids, y.at[2].set(jnp.nan), active=active
        )
        keep = np.asarray(active).reshape(-1)
        close(gram, np.where(np.outer(keep, keep), matrix @ matrix.T, 0))
        expected = jax.tree.map(
            lambda leaf: jnp.tensordot(jnp.where(keep, weights, 0), leaf, 1),  # noqa: B023
            rows,
        )
        jax.tree.map(close, back(pullback, weights), expected)


def test_the_explanation_is_a_table_and_needs_shapes_only():
    losses, params, x = wide()
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (params, x))
    plan = px.explain_gramian(losses, *shapes, shared=lambda path: True)
    text = str(plan)
    lines = text.splitlines()
    assert lines[0].split() == ["leaf", "route", "flops", "bytes", "why"]
    assert len(lines) == 1 + 6 + 1
    assert re.search(r"\['trunk'\]\[0\] +factored .*dense, 4 rows through 64×64", text)
    assert re.search(r"\['heads'\]\[2\] +one task .*only task 2 reads it", text)
    assert plan.backward_passes == 0
    streamed = px.explain_gramian(losses, *shapes, route="streamed")
    assert streamed.backward_passes == 1
    wide_batch = jax.ShapeDtypeStruct((512, 64), x.dtype)
    plan = px.explain_gramian(losses, shapes[0], wide_batch)
    assert [row.route for row in plan.leaves[3:]] == ["explicit"] * 3
    assert "gradients are cheaper" in plan.leaves[3].why


def test_a_jit_with_shardings_of_its_own_stays_as_it_is():
    """Writing such a call out would lose where it puts its values."""
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    @functools.partial(jax.jit, in_shardings=device)
    def layer(x, w):
        return jnp.tanh(x @ w)

    def losses(p, x):
        return networks.two(layer(x, p["inside"]) @ p["outside"])

    params = {"inside": networks.normal(0, 5, 5), "outside": networks.normal(1, 5, 5)}
    x = networks.normal(2, 3, 5)
    plan = px.explain_gramian(losses, params, x, route="factored")
    assert [row.route for row in plan.leaves] == ["explicit", "factored"]
    assert plan.leaves[0].why == "it enters jit"
    _, gram, _ = jax.jit(px.value_and_gramian(losses))(params, x)
    jac = jax.jacrev(losses)(params, x)
    close(gram, sum(jnp.einsum("sij,tij->st", rows, rows) for rows in jac.values()))


def test_where_forward_mode_is_not_defined_streaming_says_so():
    network = networks.control_flow()
    plan = px.explain_gramian(
        network.losses, network.params, *network.args, route="streamed"
    )
    ways = {row.leaf: (row.route, row.why) for row in plan.leaves}
    assert ways["['after']"][0] == "streamed"
    for name in ("['c']", "['v']"):
        assert ways[name] == ("explicit", "a custom_vjp on its way has no forward mode")


def test_an_ensemble_of_engines_is_the_loop_over_members():
    losses, params, x = wide(width=16)
    engine = jax.jit(lambda p, x: px.value_and_gramian(losses)(p, x)[1])
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    together = jax.vmap(engine, (0, None))(members, x)
    close(together[0], engine(params, x))
    close(together[1], engine(jax.tree.map(lambda leaf: 2 * leaf, params), x))


@pytest.mark.parametrize("route", ROUTES)
def test_the_gramian_is_differentiable(route):
    losses, params, x = wide(width=8, depth=2)

    @jax.jit
    def value(scale):
        scaled = jax.tree.map(lambda leaf: scale * leaf, params)
        _, gram, back = px.value_and_gramian(losses, route=route)(scaled, x)
        return jnp.sum(jnp.sin(gram)) + optax.tree.norm(back(gram[0]))

    slope = jax.grad(value)(1.0)
    numeric = (value(1.0 + 1e-5) - value(1.0 - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, numeric, rtol=1e-6)


@pytest.mark.parametrize("make", [networks.nnx_attention, networks.convolutions])
@pytest.mark.parametrize("route", ["factored", "streamed"])
def test_the_step_lowers_for_every_accelerator(make, route):
    network = make()
    engine = px.value_and_direction(network.losses, px.nash_mtl(), route=route)
    state = px.nash_mtl().init(2)
    shapes = jax.eval_shape(lambda x: x, (network.params, state, *network.args))
    platforms = ("cpu", "cuda", "rocm", "tpu")
    exported = jax.export.export(jax.jit(engine), platforms=platforms)(*shapes)
    assert exported.platforms == platforms
    assert "callback" not in exported.mlir_module()


def test_effects_and_auxiliary_values_of_heads_survive(capfd):
    def losses(p, x):
        h = jnp.tanh(x @ p)
        first, second = jnp.sum(h), jnp.sum(h**2)
        jax.debug.print("seen {s:.3f}", s=second)
        return jnp.stack([first, second]), {"twice": 2 * second, "norm": jnp.sum(p**2)}

    p, x = networks.normal(0, 3, 2), networks.normal(1, 4, 3)
    engine = px.value_and_gramian(losses, has_aux=True)
    (found, aux), _, _ = jax.jit(engine)(p, x)
    jax.effects_barrier()
    assert f"seen {float(found[1]):.3f}" in capfd.readouterr().out
    close(aux["twice"], 2 * found[1])
    close(aux["norm"], jnp.sum(p**2))
    plan = px.explain_gramian(losses, p, x, has_aux=True, route="factored")
    assert plan.leaves[0].route == "factored"


def test_features_instead_of_parameters():
    network = networks.perceptron()
    x, targets = network.args

    def trunk(p, x, targets):
        h = jax.nn.relu(x @ p["w0"] + p["b0"])
        return {"z": jnp.tanh(h @ p["w1"].T)}

    def heads(p, z, x, targets):
        return networks.heads_of(p, z["z"], targets)

    features = trunk(network.params, x, targets)
    rows = jax.jacrev(heads, 1)(network.params, features, x, targets)["z"]
    weights = jnp.asarray([0.5, 1.0, 2.0])
    _, jac = px.value_and_jacobian(network.losses)(network.params, x, targets)
    for weight_heads in (False, True):
        engine = px.feature_gramian(trunk, heads, weight_heads=weight_heads)
        losses, gram, pullback = jax.jit(engine)(network.params, x, targets)
        close(losses, network.losses(network.params, x, targets))
        close(gram, jnp.einsum("sbn,tbn->st", rows, rows))
        direction = pullback(weights)
        for name in ("w0", "b0", "w1"):
            close(direction[name], px.contract(weights, jac[name]))
        factors = weights if weight_heads else jnp.ones(3)
        jax.tree.map(close, direction["heads"], px.contract(factors, jac["heads"]))

    poisoned = [targets[0] * jnp.nan, *targets[1:]]
    active = jnp.asarray([False, True, True])
    _, masked, pullback = engine(network.params, x, poisoned, active=active)
    close(masked[1:, 1:], gram[1:, 1:])
    leaves = jax.tree.leaves(pullback(weights))
    assert all(np.isfinite(leaf).all() for leaf in leaves)


def test_bad_options_are_named_before_any_computation():
    losses, params, x = wide()
    for options, message in [
        ({"route": "fast"}, r"route: expected one of .*got 'fast'"),
        ({"chunk_size": 0}, "chunk_size: expected at least 1, got 0"),
        ({"route": "streamed", "precise": True}, "precise: streamed columns"),
        ({"route": "streamed", "instance_axes": 0}, "route: expected 'auto'.*streamed"),
        ({"axis_name": "d", "instance_axes": 0}, "axis_name: not together with"),
    ]:
        with pytest.raises(ValueError, match=message):
            px.value_and_gramian(losses, **options)
    for options, arguments, message in [
        ({"instance_axes": (0, 0)}, {}, "instance_axes: expected.*the 1 arguments"),
        ({"instance_axes": (None,)}, {}, r"instance_axes: .*same number.*got \[\]"),
        ({}, {"active": jnp.ones(3)}, r"active: expected a bool array of shape \(3,\)"),
        (
            {"instance_axes": 0},
            {"active": jnp.ones(3, bool)},
            r"active: expected a bool array of shape \(4, m\)",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            px.value_and_gramian(losses, **options)(params, x, **arguments)
    for wrap in (px.value_and_jacobian, px.value_and_gramian):
        with pytest.raises(ValueError, match="active: expected a bool array"):
            wrap(losses)(params, x, active=[True, False])
