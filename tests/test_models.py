"""The networks: shapes, the patch convolution, and the border to plain pytrees."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from paretax import models


def test_the_patch_convolution_is_nnx_conv():
    ours = models.PatchConv(3, 5, (4, 2), rngs=nnx.Rngs(0))
    theirs = nnx.Conv(3, 5, (4, 2), padding="VALID", rngs=nnx.Rngs(1))
    theirs.kernel[...] = ours.kernel[...]
    theirs.bias[...] = jnp.arange(5.0)
    ours.bias[...] = jnp.arange(5.0)
    x = jax.random.normal(jax.random.key(0), (2, 9, 7, 3))
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (
            lambda rngs: models.Perceptron((36, 36), (32, 16), pool=2, rngs=rngs),
            324 * 32 + 32 + 32 * 16 + 16 + 2 * (16 * 10 + 10),
        ),
        (
            lambda rngs: models.LeNet(rngs=rngs),
            81 * 10 + 10 + 250 * 20 + 20 + 500 * 50 + 50 + 2 * (50 * 10 + 10),
        ),
    ],
    ids=["perceptron", "lenet"],
)
def test_networks_have_the_stated_parameters_and_vmap_over_members(make, count):
    params, apply = models.as_functions(make(nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    x = jax.random.uniform(jax.random.key(0), (3, 36, 36))
    single = jax.jit(apply)(params, x)
    assert single.shape == (2, 3, 10)
    members = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    both = jax.jit(jax.vmap(apply, in_axes=(0, None)))(members, x)
    np.testing.assert_allclose(both[0], single, rtol=1e-4, atol=1e-5)
    assert not np.allclose(both[1], single, rtol=0.1)


def test_apply_runs_inside_scan_and_learns():
    net = models.Perceptron((4, 4), (16,), num_tasks=2, num_classes=3, rngs=nnx.Rngs(0))
    params, apply = models.as_functions(net)
    x = jax.random.normal(jax.random.key(0), (32, 4, 4))
    label = jnp.arange(32) % 3

    def loss(p):
        logits = apply(p, x)
        losses = optax.softmax_cross_entropy_with_integer_labels(
            logits, jnp.broadcast_to(label, (2, 32))
        )
        return losses.mean()

    def step(p, _):
        value, gradient = jax.value_and_grad(loss)(p)
        return jax.tree.map(lambda a, b: a - 0.3 * b, p, gradient), value

    _, values = jax.jit(lambda p: jax.lax.scan(step, p, length=300))(params)
    assert values[-1] < 0.2 * values[0]


def test_nnx_optimizer_takes_a_combined_gradient():
    """The other way round: a module, `nnx.Optimizer`, and a combined direction."""
    import paretax as px

    net = models.Perceptron((4, 4), (8,), num_classes=3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(
        net, optax.chain(px.combine(px.mgda(), 2), optax.sgd(0.1)), wrt=nnx.Param
    )
    graph, params = nnx.split(net, nnx.Param)
    x = jax.random.normal(jax.random.key(0), (16, 4, 4))
    label = jnp.arange(16) % 3

    def losses(p):
        logits = nnx.merge(graph, p)(x)
        return jnp.stack(
            [
                optax.softmax_cross_entropy_with_integer_labels(row, label).mean()
                for row in logits
            ]
        )

    before, jac = px.value_and_jacobian(losses)(params)
    optimizer.update(net, jac)
    after = losses(nnx.state(net, nnx.Param))
    assert (np.asarray(after) < np.asarray(before)).all()


def test_state_that_is_no_parameter_is_refused():
    with pytest.raises(ValueError, match=r"nothing but nnx\.Param"):
        models.as_functions(nnx.BatchNorm(3, rngs=nnx.Rngs(0)))


def test_bad_sizes_are_named():
    for call, message in [
        (lambda: models.Perceptron((5, 4), (8,), pool=2, rngs=nnx.Rngs(0)), "pool"),
        (lambda: models.Perceptron((4, 4), (), rngs=nnx.Rngs(0)), "widths"),
        (lambda: models.Perceptron((4, 4), (0,), rngs=nnx.Rngs(0)), "widths"),
        (lambda: models.LeNet(num_tasks=0, rngs=nnx.Rngs(0)), "num_tasks"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
