"""Every row of the zoo × every law; cases are stacked: one compilation a size."""

import functools

import gramians
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from zoo import EXAMPLE, ZOO

import paretax as px

SIZES = (1, 2, 3, 7)
EVERY = pytest.mark.parametrize("name", list(ZOO))
BOTH = pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])


def claims(law):
    rows = [name for name, entry in ZOO.items() if getattr(entry, law)]
    return pytest.mark.parametrize("name", rows)


@functools.cache
def _direction(name, m, x64):
    """(J [cases, m, n], active [m]) -> directions, weights, for all cases at once."""
    del x64
    tx = px.combine(ZOO[name].make(m), m)

    def one(jac, active):
        losses = jnp.linspace(1.0, 2.0, m, dtype=jac.dtype)
        losses = jnp.where(active, losses, jnp.nan)
        d, state = tx.update(jac, tx.init(jac[0]), losses=losses, active=active)
        return d, state.weights, state.converged

    return jax.jit(jax.vmap(one, in_axes=(0, None)))


def direction(name, jacs, x64=False, active=None):
    m = jacs.shape[1]
    active = np.ones(m, bool) if active is None else np.asarray(active)
    with jax.enable_x64(x64):
        jacs = jnp.asarray(jacs, dtype=float)
        out = _direction(name, m, x64)(jacs, jnp.asarray(active))
        return tuple(
            np.asarray(x, np.float64 if x.dtype != bool else bool) for x in out
        )


def length(x):
    return np.linalg.norm(x, axis=-1)


def relative(x, y):
    return np.abs(x - y).max(-1) / np.maximum(np.abs(y).max(-1), 1e-30)


@EVERY
@BOTH
def test_directions_and_weights_are_finite_on_every_hard_case(name, x64):
    for m in (*SIZES, 64):
        d, weights, _ = direction(name, gramians.stack(m)[0], x64)
        assert np.isfinite(d).all()
        assert np.isfinite(weights).all()


@EVERY
def test_zero_gradients_give_a_zero_direction(name):
    for m in SIZES:
        d, _, _ = direction(name, np.zeros((1, m, m + 3)))
        assert (d == 0).all()


@EVERY
def test_one_task_gives_a_non_negative_multiple_of_its_gradient(name):
    jacs, _ = gramians.stack(1)
    d, _, _ = direction(name, jacs)
    cosine = (d * jacs[:, 0]).sum(-1) / np.maximum(
        length(d) * length(jacs[:, 0]), 1e-30
    )
    moving = length(d) > 0
    assert moving.any()
    np.testing.assert_allclose(cosine[moving], 1.0, atol=1e-5)


@claims("simplex")
@BOTH
def test_weights_lie_on_the_simplex(name, x64):
    for m in SIZES:
        _, weights, _ = direction(name, gramians.stack(m)[0], x64)
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-10 if x64 else 1e-5)


@claims("agreement")
@BOTH
def test_no_task_is_harmed_where_a_common_descent_direction_exists(name, x64):
    for m in SIZES:
        jacs, names = gramians.stack(m, stationary=False)
        d, _, converged = direction(name, jacs, x64)
        gains = np.einsum("cmn,cn->cm", jacs, d)
        cosines = gains / (length(jacs) * length(d)[:, None])
        assert converged.all(), [
            n for n, ok in zip(names, converged, strict=True) if not ok
        ]
        assert (cosines >= (-1e-9 if x64 else -1e-4)).all()


@claims("equivariant")
@BOTH
def test_permuting_the_tasks_permutes_the_weights(name, x64):
    tol = 1e-6 if x64 else 2e-2
    for m in SIZES[1:]:
        jacs, _ = gramians.stack(m, stationary=False)
        order = np.random.default_rng(m).permutation(m)
        d, _, _ = direction(name, jacs, x64)
        permuted, _, _ = direction(name, jacs[:, order], x64)
        assert (relative(permuted, d) < tol).all()


@EVERY
@BOTH
def test_the_direction_is_homogeneous_of_the_stated_degree(name, x64):
    tol = 1e-6 if x64 else 2e-2
    factor = 1e3
    for m in SIZES:
        jacs, _ = gramians.stack(m, stationary=False)
        d, _, _ = direction(name, jacs, x64)
        scaled, _, _ = direction(name, factor * jacs, x64)
        assert (relative(scaled, factor ** ZOO[name].degree * d) < tol).all()


@claims("scale_invariant")
@BOTH
def test_rescaling_one_task_leaves_the_direction_as_it_was(name, x64):
    tol = 1e-7 if x64 else 2e-2
    for m in SIZES:
        jacs, _ = gramians.stack(m, stationary=False)
        scales = np.logspace(-3, 3, m)[:, None]
        d, _, _ = direction(name, jacs, x64)
        scaled, _, _ = direction(name, scales * jacs, x64)
        assert (relative(scaled, d) < tol).all()


@claims("vanishing")
@BOTH
def test_the_direction_vanishes_at_stationary_points(name, x64):
    for m in SIZES:
        jacs, _ = gramians.stack(m, stationary=True)
        d, _, _ = direction(name, jacs, x64)
        scale = np.maximum(length(jacs).max(-1), 1e-30)
        assert (length(d) / scale < (1e-6 if x64 else 1e-3)).all()


@EVERY
@BOTH
def test_an_inactive_task_is_removed_exactly_whatever_it_holds(name, x64):
    tol = 1e-8 if x64 else 1e-3
    for m in (3, 7):
        jacs, _ = gramians.stack(m - 1, stationary=False, n=m + 3)
        poisoned = np.concatenate([jacs, np.full_like(jacs[:, :1], np.nan)], axis=1)
        active = np.arange(m) < m - 1
        d, weights, _ = direction(name, poisoned, x64, active)
        alone, _, _ = direction(name, jacs, x64)
        assert (weights[:, -1] == 0).all()
        assert (relative(d, alone) < tol).all()


@claims("equivariant")
def test_any_task_may_be_the_missing_one(name):
    jacs, _ = gramians.stack(4, stationary=False)
    rest = [0, 2, 3]
    alone, _, _ = direction(name, jacs[:, rest])
    d, _, _ = direction(name, jacs, active=[True, False, True, True])
    assert (relative(d, alone) < 1e-3).all()


@EVERY
def test_no_active_task_gives_a_zero_direction(name):
    jacs, _ = gramians.stack(3)
    d, weights, _ = direction(
        name, np.full_like(jacs, np.nan), active=np.zeros(3, bool)
    )
    assert (d == 0).all()
    assert (weights == 0).all()


@EVERY
def test_nan_in_an_active_gradient_never_becomes_a_plausible_direction(name):
    jacs, _ = gramians.stack(3, stationary=False)
    jacs[:, 1, 0] = np.nan
    d, _, converged = direction(name, jacs)
    assert np.isnan(d[:, 0]).all()
    if ZOO[name].needs == "K":
        assert not converged.any()


@EVERY
def test_the_state_keeps_its_structure_and_three_steps_trace_once(name):
    tx = optax.chain(px.combine(ZOO[name].make(3), 3), optax.sgd(0.1))
    traces = []

    @jax.jit
    def step(jac, state, losses):
        traces.append(1)
        return tx.update(jac, state, losses=losses)

    state = tx.init(jnp.zeros(6))
    before = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)
    for seed in range(3):
        jac = jax.random.normal(jax.random.key(seed), (3, 6)) + 1.0
        _, state = step(jac, state, jnp.ones(3))
    after = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)
    assert before == after
    assert len(traces) == 1


@EVERY
def test_jit_equals_eager_and_vmap_equals_the_loop(name):
    tx = px.combine(ZOO[name].make(3), 3)
    jacs, _ = gramians.stack(3, stationary=False)
    stacked, _, _ = direction(name, jacs)
    for jac, together in zip(jacs[:4], stacked[:4], strict=True):
        jac = jnp.asarray(jac, jnp.float32)
        eager, _ = tx.update(jac, tx.init(jac[0]), losses=jnp.linspace(1.0, 2.0, 3))
        assert relative(np.asarray(eager), together) < 1e-4


@EVERY
def test_foreign_keywords_and_missing_parameters_are_ignored(name):
    tx = px.combine(ZOO[name].make(2), 2)
    jac = jnp.asarray(EXAMPLE)
    plain, _ = tx.update(jac, tx.init(jac[0]), losses=jnp.ones(2))
    other, _ = tx.update(jac, tx.init(jac[0]), jac[0], losses=jnp.ones(2), value=3.0)
    np.testing.assert_array_equal(plain, other)


@EVERY
def test_the_published_example_gives_the_golden_direction(name):
    d, _, _ = direction(name, np.asarray([EXAMPLE]), x64=True)
    np.testing.assert_allclose(d[0], ZOO[name].golden, atol=5e-5)


@EVERY
def test_bfloat16_gradients_give_a_bfloat16_direction(name):
    tx = px.combine(ZOO[name].make(3), 3)
    jacs, _ = gramians.stack(3, stationary=False)
    jac = jnp.asarray(jacs[1], jnp.bfloat16)
    d, state = tx.update(jac, tx.init(jac[0]), losses=jnp.ones(3))
    wide, _, _ = direction(name, np.asarray(jac.astype(jnp.float32))[None])
    assert d.dtype == jnp.bfloat16
    assert state.weights.dtype == jnp.float32
    assert relative(np.asarray(d, np.float64), wide[0]) < 1e-2


@claims("differentiable")
def test_the_derivative_of_the_direction_matches_finite_differences(name):
    with jax.enable_x64(True):
        tx = px.combine(ZOO[name].make(3), 3)
        jac = jnp.asarray(gramians.stack(3, stationary=False)[0][1])
        target = jnp.arange(1.0, 1.0 + jac.shape[1])

        @jax.jit
        def value(j):
            return tx.update(j, tx.init(j[0]), losses=jnp.ones(3))[0] @ target

        tangent = jnp.asarray(np.random.default_rng(0).normal(size=jac.shape))
        step = 1e-5
        numeric = (value(jac + step * tangent) - value(jac - step * tangent)) / (
            2 * step
        )
        forward = jax.jvp(value, (jac,), (tangent,))[1]
        reverse = jnp.vdot(jax.grad(value)(jac), tangent)
        np.testing.assert_allclose(forward, numeric, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(reverse, numeric, rtol=1e-5, atol=1e-7)


@EVERY
def test_the_step_lowers_for_every_accelerator(name):
    tx = optax.chain(px.combine(ZOO[name].make(3), 3), optax.adam(1e-3))
    state = jax.eval_shape(lambda: tx.init(jnp.zeros(6)))

    def step(jac, state, losses, active):
        return tx.update(jac, state, losses=losses, active=active)

    shapes = (
        jax.ShapeDtypeStruct((3, 6), jnp.float32),
        state,
        jax.ShapeDtypeStruct((3,), jnp.float32),
        jax.ShapeDtypeStruct((3,), bool),
    )
    platforms = ("cpu", "cuda", "rocm", "tpu")
    exported = jax.export.export(jax.jit(step), platforms=platforms)(*shapes)
    assert exported.platforms == platforms
    assert "callback" not in exported.mlir_module()


@EVERY
def test_a_wrong_number_of_tasks_raises_while_tracing(name):
    tx = px.combine(ZOO[name].make(3), 3)
    with pytest.raises(ValueError, match="leading task axis of 3, got shape"):
        tx.update(jnp.zeros((2, 5)), tx.init(jnp.zeros(5)), losses=jnp.ones(3))


@EVERY
def test_a_weighting_chained_without_combine_says_what_to_write(name):
    tx = optax.chain(ZOO[name].make(3), optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"px\.combine\(weighting, num_tasks="):
        tx.init({"w": jnp.zeros(3)})
