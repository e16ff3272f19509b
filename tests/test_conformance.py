"""Every row of the zoo × every law; cases are stacked: one compilation a size."""

import functools

import gramians
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from zoo import EXAMPLE, WEIGHTINGS, ZOO, extras, transformation

SIZES = (1, 2, 3, 5)
BOTH = pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
LAWS = set()


def sizes(x64):
    """One task has no arithmetic that float64 could tell from float32."""
    return SIZES[1:] if x64 else SIZES


def every(law):
    """All rows, but those that say in writing why they are exempt from this law."""
    LAWS.add(law)
    rows = [name for name, entry in ZOO.items() if law not in entry.exempt]
    return pytest.mark.parametrize("name", rows)


def claims(law):
    """The rows that claim a law which not every method has."""
    LAWS.add(law)
    rows = [
        name
        for name, entry in ZOO.items()
        if getattr(entry, law) and law not in entry.exempt
    ]
    return pytest.mark.parametrize("name", rows)


@functools.cache
def _direction(name, m, x64):
    """(J [cases, m, n], losses [m], active [m]) -> direction, weights, certificate."""
    del x64
    tx = transformation(name, m)

    def one(jac, losses, active):
        losses = jnp.where(active, losses, jnp.nan)
        state = tx.init(jac[0])
        d, state = tx.update(jac, state, active=active, **extras(jac, losses))
        return d, *seen(state, m)

    return jax.jit(jax.vmap(one, in_axes=(0, None, None)))


def losses_of(m):
    return 1.0 + np.arange(m)


def seen(state, m):
    """The weights and the certificate that a state shows; J-methods may show none."""
    out = []
    for field, absent in (("weights", jnp.zeros(m)), ("converged", jnp.array(True))):
        found = optax.tree.get_all_with_path(state, field)
        out.append(found[0][1] if found else absent)
    return out


def direction(name, jacs, x64=False, active=None, losses=None):
    """Directions, weights and certificates; padded, so that a size compiles once."""
    count, m, n = jacs.shape
    active = np.ones(m, bool) if active is None else np.asarray(active)
    losses = losses_of(m) if losses is None else losses
    wide = np.zeros((len(gramians.CASES), m, max(m + 3, 10)))
    wide[:count, :, :n] = jacs
    with jax.enable_x64(x64):
        wide = jnp.asarray(wide, dtype=float)
        losses = jnp.asarray(losses, dtype=float)
        run = _direction(name, m, x64)
        d, weights, converged = run(wide, losses, jnp.asarray(active))
        d = np.asarray(d, np.float64)[:count, :n]
        return d, np.asarray(weights, np.float64)[:count], np.asarray(converged)[:count]


def comparable(name, m, n=None):
    """The cases off stationary points at which the method has one answer."""
    jacs, names = gramians.stack(m, stationary=False, n=n)
    kept = [i for i, case in enumerate(names) if case not in ZOO[name].undefined]
    return jacs[kept], [names[i] for i in kept]


def length(x):
    return np.linalg.norm(x, axis=-1)


def relative(x, y):
    return np.abs(x - y).max(-1) / np.maximum(np.abs(y).max(-1), 1e-30)


@every("finite")
@BOTH
def test_directions_and_weights_are_finite_on_every_hard_case(name, x64):
    for m in sizes(x64) if x64 else (*SIZES, 64):  # many are hard in float32 first
        d, weights, _ = direction(name, gramians.stack(m)[0], x64)
        assert np.isfinite(d).all()
        assert np.isfinite(weights).all()


@every("zero")
def test_zero_gradients_give_a_zero_direction(name):
    for m in SIZES:
        d, _, _ = direction(name, np.zeros((1, m, m + 3)))
        assert (d == 0).all()


@every("one task")
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
    for m in sizes(x64):
        _, weights, _ = direction(name, gramians.stack(m)[0], x64)
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-10 if x64 else 1e-5)


@claims("agreement")
@BOTH
def test_no_task_is_harmed_where_a_common_descent_direction_exists(name, x64):
    for m in sizes(x64):
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
        jacs, _ = comparable(name, m)
        order = np.random.default_rng(m).permutation(m)
        d, _, _ = direction(name, jacs, x64)
        permuted, _, _ = direction(
            name, jacs[:, order], x64, losses=losses_of(m)[order]
        )
        assert (relative(permuted, d) < tol).all()


@every("homogeneous")
@BOTH
def test_the_direction_is_homogeneous_of_the_stated_degree(name, x64):
    tol = 1e-6 if x64 else 2e-2
    factor = 1e3
    for m in sizes(x64):
        jacs, _ = comparable(name, m)
        d, _, _ = direction(name, jacs, x64)
        scaled, _, _ = direction(name, factor * jacs, x64)
        assert (relative(scaled, factor ** ZOO[name].degree * d) < tol).all()


@claims("scale_invariant")
@BOTH
def test_rescaling_one_task_leaves_the_direction_as_it_was(name, x64):
    tol = 1e-7 if x64 else 2e-2
    for m in sizes(x64):
        jacs, _ = comparable(name, m)
        scales = np.logspace(-3, 3, m)[:, None]
        d, _, _ = direction(name, jacs, x64)
        scaled, _, _ = direction(name, scales * jacs, x64)
        assert (relative(scaled, d) < tol).all()


@claims("vanishing")
@BOTH
def test_the_direction_vanishes_at_stationary_points(name, x64):
    for m in sizes(x64):
        jacs, _ = gramians.stack(m, stationary=True)
        d, _, _ = direction(name, jacs, x64)
        scale = np.maximum(length(jacs).max(-1), 1e-30)
        assert (length(d) / scale < (1e-6 if x64 else 1e-3)).all()


@claims("linear")
@BOTH
def test_the_direction_is_linear_in_the_gradients(name, x64):
    for m in sizes(x64):
        jacs, _ = comparable(name, m)
        order = np.random.default_rng(m).permutation(len(jacs))
        one, _, _ = direction(name, jacs, x64)
        other, _, _ = direction(name, jacs[order], x64)
        both, _, _ = direction(name, jacs + jacs[order], x64)
        assert (relative(both, one + other) < (1e-9 if x64 else 1e-3)).all()


@every("masks")
@BOTH
def test_an_inactive_task_is_removed_exactly_whatever_it_holds(name, x64):
    tol = 1e-8 if x64 else 1e-3
    for m, rest in ((3, 2), (5, 3)):
        jacs, _ = comparable(name, rest, n=m + 3)
        missing = np.full((len(jacs), m - rest, m + 3), np.nan)
        poisoned = np.concatenate([jacs, missing], axis=1)
        active = np.arange(m) < rest
        d, weights, _ = direction(name, poisoned, x64, active)
        alone, _, _ = direction(name, jacs, x64)
        assert (weights[:, rest:] == 0).all()
        assert (relative(d, alone) < tol).all()


@claims("equivariant")
def test_any_task_may_be_the_missing_one(name):
    jacs, _ = comparable(name, 3)
    alone, _, _ = direction(name, jacs[:, [0, 2]], losses=losses_of(3)[[0, 2]])
    d, _, _ = direction(name, jacs, active=[True, False, True])
    assert (relative(d, alone) < 1e-3).all()


@every("none active")
def test_no_active_task_gives_a_zero_direction(name):
    jacs, _ = gramians.stack(3)
    d, weights, _ = direction(
        name, np.full_like(jacs, np.nan), active=np.zeros(3, bool)
    )
    assert (d == 0).all()
    assert (weights == 0).all()


@every("nan")
def test_nan_in_an_active_gradient_never_becomes_a_plausible_direction(name):
    jacs, _ = gramians.stack(3, stationary=False)
    jacs[:, 1, 0] = np.nan
    d, _, converged = direction(name, jacs)
    assert np.isnan(d[:, 0]).all()
    if ZOO[name].needs == "K":
        assert not converged.any()


@every("state")
def test_the_state_keeps_its_structure_and_three_steps_trace_once(name):
    tx = optax.chain(transformation(name, 3), optax.sgd(0.1))
    traces = []

    @jax.jit
    def step(jac, state, losses):
        traces.append(1)
        return tx.update(jac, state, **extras(jac, losses))

    state = tx.init(jnp.zeros(6))
    if name in WEIGHTINGS:  # one field of that name, whatever is wrapped
        assert optax.tree.get(state, "weights").shape == (3,)
    before = jax.tree.map(
        lambda x: (x.shape, x.dtype, getattr(x, "weak_type", False)), state
    )
    jac, losses = jnp.ones((3, 6)), jnp.ones(3)
    for _ in range(3):  # traced as for a run, and not compiled
        _, state = step.eval_shape(jac, state, losses)
    after = jax.tree.map(
        lambda x: (x.shape, x.dtype, getattr(x, "weak_type", False)), state
    )
    assert before == after
    assert len(traces) == 1


@every("jit and vmap")
def test_jit_equals_eager_and_vmap_equals_the_loop(name):
    tx = transformation(name, 3)
    jacs, _ = comparable(name, 3)
    stacked, _, _ = direction(name, jacs)
    for jac, together in zip(jacs[:4], stacked[:4], strict=True):
        jac = jnp.asarray(jac, jnp.float32)
        losses = 1.0 + jnp.arange(3.0)
        eager, _ = tx.update(jac, tx.init(jac[0]), **extras(jac, losses))
        assert relative(np.asarray(eager), together) < 1e-4


@every("keywords")
def test_foreign_keywords_and_missing_parameters_are_ignored(name):
    tx = transformation(name, 3)  # compiled for the test above already
    jac = jnp.asarray(comparable(name, 3)[0][0], jnp.float32)
    known = extras(jac, 1.0 + jnp.arange(3.0))
    plain, _ = tx.update(jac, tx.init(jac[0]), **known)
    other, _ = tx.update(jac, tx.init(jac[0]), jac[0], foreign=3.0, **known)
    np.testing.assert_array_equal(plain, other)


@every("golden")
def test_the_published_example_gives_the_golden_direction(name):
    d, _, _ = direction(name, np.asarray([EXAMPLE]), x64=True)
    np.testing.assert_allclose(d[0], ZOO[name].golden, atol=5e-5)


@every("bfloat16")
def test_bfloat16_gradients_give_a_bfloat16_direction(name):
    tx = transformation(name, 3)
    jacs, _ = gramians.stack(3, stationary=False)
    jac = jnp.asarray(jacs[1], jnp.bfloat16)
    losses = 1.0 + jnp.arange(3.0)
    d, state = tx.update(jac, tx.init(jac[0]), **extras(jac, losses))
    wide, _, _ = direction(name, np.asarray(jac.astype(jnp.float32))[None])
    assert d.dtype == jnp.bfloat16
    assert seen(state, 3)[0].dtype == jnp.float32
    assert relative(np.asarray(d, np.float64), wide[0]) < 1e-2


@claims("differentiable")
def test_the_derivative_of_the_direction_matches_finite_differences(name):
    with jax.enable_x64(True):
        tx = transformation(name, 3)
        jac = jnp.asarray(gramians.stack(3, stationary=False)[0][1])
        target = jnp.arange(1.0, 1.0 + jac.shape[1])

        tangent = jnp.asarray(np.random.default_rng(0).normal(size=jac.shape))

        def value(j):
            known = extras(j, 1.0 + jnp.arange(3.0))
            return tx.update(j, tx.init(j[0]), **known)[0] @ target

        @jax.jit
        def along(j):
            return jax.jvp(value, (j,), (tangent,))

        step = 1e-5
        (above, _), (below, _) = (along(jac + e * tangent) for e in (step, -step))
        numeric = (above - below) / (2 * step)
        _, forward = along(jac)
        reverse = jnp.vdot(jax.jit(jax.grad(value))(jac), tangent)
        np.testing.assert_allclose(forward, numeric, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(reverse, numeric, rtol=1e-5, atol=1e-7)


@every("lowers")
def test_the_step_lowers_for_every_accelerator(name):
    tx = optax.chain(transformation(name, 3), optax.adam(1e-3))
    state = jax.eval_shape(lambda: tx.init(jnp.zeros(6)))

    def step(jac, state, losses, active):
        return tx.update(jac, state, active=active, **extras(jac, losses))

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


@every("wrong number")
def test_a_wrong_number_of_tasks_raises_while_tracing(name):
    tx = transformation(name, 3)
    with pytest.raises(ValueError, match="leading task axis of 3, got shape"):
        tx.update(jnp.zeros((2, 5)), tx.init(jnp.zeros(5)), losses=jnp.ones(3))


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_weighting_chained_without_combine_says_what_to_write(name):
    tx = optax.chain(ZOO[name].make(3), optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"px\.combine\(weighting, num_tasks="):
        tx.init({"w": jnp.zeros(3)})


def test_every_exemption_names_a_law_and_gives_a_reason():
    for name, entry in ZOO.items():
        assert set(entry.exempt) <= LAWS, name
        assert set(entry.undefined) <= set(gramians.CASES), name
        for reason in (*entry.exempt.values(), *entry.undefined.values()):
            assert len(reason) > 20, name
