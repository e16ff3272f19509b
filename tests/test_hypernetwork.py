"""Pareto hypernetworks: what they write, their gradients, and two solved fronts."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import paretax as px
from paretax import ensembles, models

TEMPLATE = {
    "layers": [jnp.zeros((3, 4)), jnp.zeros(4)],
    "scale": jnp.zeros((), jnp.bfloat16),
}
CENTERS = np.array([[1.0, 0.0, 2.0], [-1.0, 1.0, 0.0]])


def linear(ray):
    return px.from_losses(px.scalarizations.linear(ray))


def bowls(theta):
    """Two bowls; ends for a ray p: the mean of the centers by p, or f₁p₁ = f₂p₂."""
    return jnp.stack([jnp.sum((theta - c) ** 2) for c in jnp.asarray(CENTERS)])


def dense(layer, x):
    return x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])


def perceptron(trunk, x):
    x = np.maximum(dense(trunk[0], x), 0)
    return dense(trunk[2], np.maximum(dense(trunk[1], x), 0))


def test_a_hypernetwork_is_three_layers_and_one_a_leaf():
    net = models.Hypernetwork(TEMPLATE, 2, hidden=5, rngs=nnx.Rngs(0))
    params, generate = models.as_functions(net)
    assert sum(x.size for x in jax.tree.leaves(params)) == 3 * 5 + 2 * 30 + 17 * 6
    ray = np.array([0.3, 0.7], np.float32)
    out = jax.jit(generate)(params, ray)
    assert jax.tree.structure(out) == jax.tree.structure(TEMPLATE)
    features = perceptron(params["trunk"], ray)
    for i, (leaf, old) in enumerate(
        zip(jax.tree.leaves(out), jax.tree.leaves(TEMPLATE), strict=True)
    ):
        assert (leaf.shape, leaf.dtype) == (old.shape, old.dtype)
        expected = dense(params["heads"][i], features).reshape(old.shape)
        rtol = 1e-2 if leaf.dtype == jnp.bfloat16 else 1e-5
        np.testing.assert_allclose(leaf.astype(float), expected, rtol=rtol, atol=1e-6)


def test_initial_numbers_are_uniform_in_one_over_the_root_of_the_inputs():
    net = models.Hypernetwork(jnp.zeros(500), 2, rngs=nnx.Rngs(0))
    params, _ = models.as_functions(net)
    for name, inputs in (("kernel", 100), ("bias", 100)):
        values = np.asarray(params["heads"][0][name]).ravel()
        bound = 1 / np.sqrt(inputs)
        assert np.abs(values).max() < bound
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
    assert 0.5 < np.abs(np.asarray(params["trunk"][0]["kernel"])).max() < 1 / np.sqrt(2)


def test_a_chunked_hypernetwork_writes_its_chunks_one_after_another():
    net = models.ChunkedHypernetwork(
        TEMPLATE, 2, chunk_size=7, hidden=5, rngs=nnx.Rngs(0)
    )
    params, generate = models.as_functions(net)
    ray = np.array([0.3, 0.7], np.float32)
    flat = []
    for chunk in np.asarray(params["chunks"]):
        features = np.concatenate([ray @ np.asarray(params["rays"]), chunk])
        flat += (perceptron(params["trunk"], features) @ params["matrix"]).tolist()
    assert len(flat) == 21
    out = jax.jit(generate)(params, ray)
    assert jax.tree.structure(out) == jax.tree.structure(TEMPLATE)
    written = np.concatenate([np.ravel(x.astype(float)) for x in jax.tree.leaves(out)])
    np.testing.assert_allclose(written, flat[:17], rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("chunk_size", [None, 8])
def test_members_for_many_rays_are_those_of_one_ray_each(chunk_size):
    if chunk_size is None:
        net = models.Hypernetwork(TEMPLATE, 2, rngs=nnx.Rngs(0))
    else:
        net = models.ChunkedHypernetwork(
            TEMPLATE, 2, chunk_size=chunk_size, rngs=nnx.Rngs(0)
        )
    params, generate = models.as_functions(net)
    rays = ensembles.das_dennis(2, 3)
    many = jax.jit(jax.vmap(generate, (None, 0)))(params, rays)
    one = jax.jit(generate)
    for i, ray in enumerate(rays):
        for x, y in zip(
            jax.tree.leaves(many), jax.tree.leaves(one(params, ray)), strict=True
        ):
            tolerance = 1e-2 if x.dtype == jnp.bfloat16 else 1e-5
            np.testing.assert_allclose(
                x[i].astype(float), y.astype(float), rtol=tolerance, atol=1e-6
            )


def small():
    net = models.Hypernetwork(jnp.zeros(3), 2, hidden=16, rngs=nnx.Rngs(0))
    return models.as_functions(net)


def test_the_linear_direction_is_the_gradient_of_the_weighted_sum():
    params, generate = small()
    ray = jnp.array([0.3, 0.7])
    step = models.hypernetwork_direction(generate, bowls, linear)
    f, gradient, _ = jax.jit(step)(params, linear(ray).init(2), ray)
    value, expected = jax.value_and_grad(lambda p: ray @ bowls(generate(p, ray)))(
        params
    )
    assert float(ray @ f) == pytest.approx(float(value), rel=1e-6)
    for x, y in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_the_epo_direction_weighs_by_gradients_in_the_generated_parameters():
    params, generate = small()
    ray = jnp.array([0.3, 0.7])
    epo = ensembles.epo(ray)
    theta = generate(params, ray)
    f, jac = px.value_and_jacobian(bowls)(theta)
    w, _ = epo.update(px.gramian(jac), epo.init(2), losses=f)
    step = models.hypernetwork_direction(generate, bowls, ensembles.epo)
    _, gradient, state = jax.jit(step)(params, epo.init(2), ray)
    np.testing.assert_allclose(state.weights, w, atol=1e-5)
    assert bool(state.converged)
    expected = jax.grad(lambda p: w @ bowls(generate(p, ray)))(params)
    for x, y in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_rays_together_give_the_mean_of_their_gradients(batch_size):
    params, generate = small()
    step = models.hypernetwork_direction(
        generate,
        lambda x, scale: scale * bowls(x),
        ensembles.epo,
        batch_size=batch_size,
    )
    rays = jnp.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])
    state = jax.vmap(lambda _: ensembles.epo(rays[0]).init(2))(jnp.arange(3))
    scales = jnp.array([1.0, 2.0, 3.0])
    f, gradient, new = jax.jit(step)(params, state, rays, scales)
    alone = jax.jit(jax.vmap(step, (None, 0, 0, 0)))(params, state, rays, scales)
    np.testing.assert_allclose(f, alone[0], rtol=1e-5)
    np.testing.assert_allclose(new.weights, alone[2].weights, atol=1e-5)
    for x, y in zip(jax.tree.leaves(gradient), jax.tree.leaves(alone[1]), strict=True):
        np.testing.assert_allclose(x, y.mean(0), rtol=1e-4, atol=1e-5)


def test_rays_have_one_axis_or_two():
    params, generate = small()
    step = models.hypernetwork_direction(generate, bowls, linear)
    with pytest.raises(ValueError, match=r"ray: expected shape \[m\] or \[r, m\]"):
        step(params, linear(jnp.ones(2) / 2).init(2), jnp.ones((1, 1, 2)))


def share(name, p):
    """How far from the first center to the second the end for a ray is, by hand.

    f₁ = s²D and f₂ = (1 − s)²D on the segment: p₁f₁ + p₂f₂ is least at s = p₂, and
    p₁f₁ = p₂f₂ at s = √p₂/(√p₁ + √p₂).
    """
    if name == "linear":
        return p[:, 1]
    root = np.sqrt(p)
    return root[:, 1] / root.sum(1)


@pytest.mark.parametrize(
    ("name", "method"), [("linear", linear), ("epo", ensembles.epo)]
)
def test_a_trained_hypernetwork_writes_the_whole_front(name, method):
    params, generate = small()
    step = models.hypernetwork_direction(generate, bowls, method)
    tx = optax.adam(optax.cosine_decay_schedule(3e-3, 1500))

    def train(carry, key):
        params, moments, state = carry
        rays = jax.random.dirichlet(key, jnp.ones(2), (4,))
        rays = 0.98 * rays + 0.01
        _, gradient, state = step(params, state, rays)
        updates, moments = tx.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments, state), state.converged

    state = jax.vmap(lambda _: linear(jnp.ones(2) / 2).init(2))(jnp.arange(4))
    keys = jax.random.split(jax.random.key(0), 1500)
    run = jax.jit(lambda p: jax.lax.scan(train, (p, tx.init(p), state), keys))
    (params, _, _), converged = run(params)
    assert converged.mean() > 0.95
    rays = np.linspace([0.1, 0.9], [0.9, 0.1], 9)
    theta = jax.vmap(generate, (None, 0))(params, jnp.asarray(rays, jnp.float32))
    s = share(name, rays)[:, None]
    np.testing.assert_allclose(theta, (1 - s) * CENTERS[0] + s * CENTERS[1], atol=0.1)


def test_one_step_lowers_for_accelerators_and_keeps_its_types():
    params, generate = small()
    step = models.hypernetwork_direction(generate, bowls, ensembles.epo)
    ray = jnp.array([0.3, 0.7])
    state = ensembles.epo(ray).init(2)
    jitted = jax.jit(step)
    platforms = ("cpu", "cuda", "rocm", "tpu")
    jax.export.export(jitted, platforms=platforms)(params, state, ray)
    _, gradient, new = jax.eval_shape(step, params, state, ray)
    for before, after in ((state, new), (params, gradient)):
        kinds = jax.tree.map(lambda x: (x.shape, x.dtype), (before, after))
        assert kinds[0] == kinds[1]
    weak = jax.tree.map(lambda x: x.weak_type, (state, new))
    assert weak[0] == weak[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.Hypernetwork({}, 2, rngs=nnx.Rngs(0)), "template: expected"),
        (lambda: models.Hypernetwork(TEMPLATE, 0, rngs=nnx.Rngs(0)), "num_tasks"),
        (
            lambda: models.Hypernetwork(TEMPLATE, 2, hidden=0, rngs=nnx.Rngs(0)),
            "hidden",
        ),
        (
            lambda: models.ChunkedHypernetwork(
                TEMPLATE, 2, chunk_size=0, rngs=nnx.Rngs(0)
            ),
            "chunk_size",
        ),
    ],
)
def test_wrong_arguments_are_named_at_once(call, message):
    with pytest.raises(ValueError, match=message):
        call()
