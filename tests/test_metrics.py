"""Hypervolume and dominance against moocore, with every nasty kind of front."""

import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest

from paretax import metrics


def fronts(m, n, seed=0):
    """Random points, a true front, duplicates, dominated ones, some beyond (1, 1)."""
    rng = np.random.default_rng([seed, m, n])
    random = rng.uniform(0, 1.3, (n, m))
    sphere = 1 - np.abs(rng.normal(size=(n, m)))
    sphere = 1 - (1 - sphere) / np.linalg.norm(1 - sphere, axis=1, keepdims=True)
    doubled = np.concatenate([sphere[: n // 2], sphere[: n - n // 2]])
    shifted = sphere + rng.uniform(0, 0.5, (n, 1))
    grid = rng.integers(0, 4, (n, m)) / 3.0
    outside = 1 + random
    return np.stack([random, sphere, doubled, shifted, grid, outside])


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("x64", [False, True])
def test_the_hypervolume_is_moocores(m, x64):
    reference = np.ones(m)
    with jax.enable_x64(x64):
        compute = jax.jit(jax.vmap(metrics.hypervolume, in_axes=(0, None)))
        for n in (1, 2, 7, 100):
            cases = np.concatenate([fronts(m, n, seed) for seed in range(3)])
            ours = compute(jnp.asarray(cases), jnp.asarray(reference))
            theirs = [moocore.hypervolume(case, ref=reference) for case in cases]
            np.testing.assert_allclose(ours, theirs, atol=1e-12 if x64 else 1e-5)


def test_one_objective_and_no_points():
    assert float(metrics.hypervolume([[0.25], [0.5]], [1.0])) == 0.75
    for m in (1, 2, 3):
        assert float(metrics.hypervolume(jnp.zeros((0, m)), jnp.ones(m))) == 0.0


@pytest.mark.parametrize("m", [2, 3])
def test_the_gradient_matches_finite_differences_and_is_zero_when_dominated(m):
    with jax.enable_x64(True):
        y = jnp.asarray(fronts(m, 12)[3])
        reference = jnp.ones(m)
        volume = jax.jit(lambda p: metrics.hypervolume(p, reference))
        gradient = np.asarray(jax.jit(jax.grad(volume))(y))
        numeric = np.zeros(y.shape)
        for i, j in np.ndindex(*y.shape):
            step = jnp.zeros(y.shape).at[i, j].set(1e-6)
            numeric[i, j] = (volume(y + step) - volume(y - step)) / 2e-6
        np.testing.assert_allclose(gradient, numeric, atol=1e-6)
        idle = ~np.asarray(metrics.pareto_mask(y)) | (np.asarray(y) >= 1).any(1)
        assert idle.any()
        assert (gradient[idle] == 0).all()
        assert (gradient <= 0).all()


@pytest.mark.parametrize("m", [2, 3])
def test_dominated_points_have_no_gradient_at_ties_either(m):
    rng = np.random.default_rng(m)
    grid = jnp.asarray(rng.integers(0, 4, (40, 12, m)) / 4)
    gradient = jax.vmap(jax.grad(metrics.hypervolume), (0, None))(grid, jnp.ones(m))
    dominated = ~np.asarray(jax.vmap(metrics.pareto_mask)(grid))
    gradient = np.asarray(gradient)
    assert dominated.sum() > 100
    assert np.isfinite(gradient).all()
    assert (gradient[dominated] == 0).all()
    assert (gradient <= 0).all()
    assert (gradient[~dominated] < 0).any()


@pytest.mark.parametrize("m", [2, 3])
def test_every_product_is_at_the_highest_precision(m):
    fun = jax.grad(metrics.hypervolume)
    text = str(jax.make_jaxpr(fun)(jnp.ones((5, m)), jnp.ones(m)))
    dots = text.count("dot_general[")
    assert dots > 0
    assert text.count("Precision.HIGHEST") == 2 * dots


def test_nan_is_never_counted_silently():
    for m in (2, 3):
        points = jnp.full((3, m), 0.5).at[1, 0].set(jnp.nan)
        for compute in (metrics.hypervolume, jax.jit(metrics.hypervolume)):
            assert np.isnan(float(compute(points, jnp.ones(m))))


def test_the_mask_keeps_what_moocore_keeps_duplicates_included():
    for m in (2, 3, 5):
        for case in fronts(m, 40):
            ours = np.asarray(metrics.pareto_mask(jnp.asarray(case, jnp.float32)))
            theirs = moocore.is_nondominated(
                case.astype(np.float32).astype(float), keep_weakly=True
            )
            np.testing.assert_array_equal(ours, theirs)
    assert metrics.pareto_mask(jnp.zeros((0, 2))).shape == (0,)


def test_shapes_are_checked():
    for points, reference, message in [
        (np.ones(3), np.ones(3), r"expected shape \[n, m\]"),
        (np.ones((2, 3)), np.ones(2), r"expected shape \[n, m\]"),
        (np.ones((2, 4)), np.ones(4), "at most 3 objectives, got 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            metrics.hypervolume(points, reference)
    with pytest.raises(ValueError, match=r"expected shape \[n, m\]"):
        metrics.pareto_mask(np.ones(3))


def test_both_lower_for_every_accelerator():
    shape = (
        jax.ShapeDtypeStruct((9, 3), jnp.float32),
        jax.ShapeDtypeStruct((3,), float),
    )
    for fun in (
        jax.grad(metrics.hypervolume),
        lambda points, _: metrics.pareto_mask(points),
    ):
        jax.export.export(jax.jit(fun), platforms=("cpu", "cuda", "rocm", "tpu"))(
            *shape
        )
