"""combine and per_task in optax pipelines: heads, masks, precision, keys."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import paretax as px


def test_the_chain_of_the_readme_trains():
    """Two quadratics with distant optima: the Nash step ends between them."""
    optima = jnp.asarray([[1.0, 0.0], [-1.0, 0.0]])

    def losses(x):
        return jnp.sum((x - optima) ** 2 * jnp.asarray([[1.0], [1e3]]), axis=1)

    tx = optax.chain(
        px.per_task(optax.clip_by_global_norm(1.0), num_tasks=2),
        px.combine(px.nash_mtl(), num_tasks=2),
        optax.sgd(0.01),
    )

    def step(carry, _):
        x, state = carry
        f, jac = px.value_and_jacobian(losses)(x)
        updates, state = tx.update(jac, state, x, losses=f)
        return (optax.apply_updates(x, updates), state), f

    x = jnp.asarray([0.3, 2.0])
    (x, _), f = jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), length=500))(x)
    assert abs(float(x[1])) < 0.02
    assert -1 < float(x[0]) < 1
    assert (np.asarray(f[-1]) < np.asarray(f[0])).all()


def test_heads_get_the_sum_and_trunks_the_weighted_sum():
    jac = {"head": jnp.asarray([[1.0], [2.0]]), "trunk": jnp.asarray([[3.0], [4.0]])}
    shared = {"head": False, "trunk": True}
    for weight_heads, head in [(False, 3.0), (True, 21.0)]:
        tx = px.combine(
            px.fixed([1.0, 10.0]), 2, shared=shared, weight_heads=weight_heads
        )
        out, _ = tx.update(jac, tx.init(None))
        assert float(out["trunk"][0]) == 43.0
        assert float(out["head"][0]) == head


def test_an_inactive_task_leaves_heads_and_trunk():
    jac = {"head": jnp.asarray([[1.0], [jnp.nan]]), "trunk": jnp.ones((2, 1))}
    tx = px.combine(px.total(), 2, shared={"head": False, "trunk": True})
    out, _ = tx.update(jac, tx.init(None), active=jnp.asarray([True, False]))
    assert float(out["trunk"][0]) == 1.0
    assert float(out["head"][0]) == 1.0


def test_weightings_that_need_no_gramian_get_none():
    seen = []

    def update(gram, state, **extra):
        seen.append(gram)
        return px.total().update(gram, state)

    weighting = px.total()._replace(update=update)
    tx = px.combine(weighting, 2)
    text = str(
        jax.make_jaxpr(lambda j: tx.update(j, tx.init(None))[0])(jnp.ones((2, 50)))
    )
    assert seen == [None]
    assert text.count("dot_general") == 1


def test_precise_restores_the_direction_under_strong_conflict():
    """g₂ = −g₁ + δ noise: in float32 the direction is lost, with precise it is not."""
    rng = np.random.default_rng(0)
    g = rng.normal(size=20_000)
    rows = np.stack([g, -1.3 * g + 1e-3 * rng.normal(size=g.size)]).astype(np.float32)
    with jax.enable_x64(True):
        exact_tx = px.combine(px.nash_mtl(), 2)
        exact, _ = exact_tx.update(jnp.asarray(rows, float), exact_tx.init(None))
        exact = np.asarray(exact)

    def error(precise):
        tx = px.combine(px.nash_mtl(), 2, precise=precise)
        state = tx.init(None)
        out, new = jax.jit(tx.update)(jnp.asarray(rows), state)
        assert jax.tree.map(lambda x: x.dtype, new) == jax.tree.map(
            lambda x: x.dtype, state
        )
        assert out.dtype == jnp.float32
        return np.linalg.norm(np.asarray(out) - exact) / np.linalg.norm(exact)

    assert error(True) < 2e-3
    assert error(False) > 10 * error(True)


def test_per_task_keeps_a_state_for_each_task():
    tx = px.per_task(optax.trace(0.5), num_tasks=2)
    state = tx.init(jnp.zeros(3))
    rows = jnp.asarray([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    for _ in range(2):
        out, state = jax.jit(tx.update)(rows, state)
    np.testing.assert_allclose(out, 1.5 * rows)


def test_per_task_freezes_what_is_inactive():
    tx = px.per_task(optax.trace(0.5), num_tasks=2)
    state = tx.init(jnp.zeros(1))
    _, state = tx.update(jnp.asarray([[1.0], [2.0]]), state)
    active = jnp.asarray([True, False])
    out, state = tx.update(jnp.asarray([[1.0], [jnp.nan]]), state, active=active)
    np.testing.assert_allclose(out, [[1.5], [0.0]])
    out, _ = tx.update(jnp.asarray([[1.0], [2.0]]), state)
    np.testing.assert_allclose(out, [[1.75], [3.0]])


def test_per_task_gives_every_task_its_own_key():
    tx = px.per_task(optax.add_noise(1.0, 0.0, key=jax.random.key(0)), num_tasks=3)
    out, state = tx.update(jnp.zeros((3, 4)), tx.init(jnp.zeros(4)))
    assert len({tuple(row) for row in np.asarray(out).tolist()}) == 3
    again, _ = tx.update(jnp.zeros((3, 4)), state)
    assert not np.allclose(out, again)


def test_weights_and_certificate_are_found_by_name_in_any_chain():
    tx = optax.chain(px.combine(px.mgda(), 2), optax.adam(1e-3))
    _, state = tx.update(jnp.eye(2), tx.init(jnp.zeros(2)))
    np.testing.assert_allclose(optax.tree.get(state, "weights"), [0.5, 0.5], rtol=1e-6)
    assert bool(optax.tree.get(state, "converged"))
    assert float(optax.tree.get(state, "error")) < 1e-5


def test_gradient_accumulation_goes_after_combine():
    tx = optax.chain(
        px.combine(px.total(), 2),
        optax.MultiSteps(optax.sgd(1.0), 2).gradient_transformation(),
    )
    params = jnp.zeros(2)
    state = tx.init(params)
    first, state = tx.update(jnp.eye(2), state, params)
    second, _ = tx.update(3 * jnp.eye(2), state, params)
    np.testing.assert_array_equal(first, [0.0, 0.0])
    np.testing.assert_array_equal(second, [-2.0, -2.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: px.combine(px.nash_mtl, 2), "call its factory"),
        (lambda: px.combine(px.mgda(), 0), "num_tasks: expected at least 1, got 0"),
        (
            lambda: px.combine(px.mgda(), 2.0),
            "num_tasks: expected an integer, got float",
        ),
        (lambda: px.per_task(optax.sgd(1.0), True), "num_tasks: expected an integer"),
        (lambda: px.nash_mtl(max_norm=0.0), "max_norm: expected a number above 0"),
        (lambda: px.nash_mtl(ridge=-1.0), "ridge: expected a number of at least 0"),
        (lambda: px.nash_mtl(preference=[1.0, 0.0]), "preference: expected positive"),
        (
            lambda: px.nash_mtl(preference=[0.7, 0.7]),
            "preference: expected entries that",
        ),
        (lambda: px.fixed([[1.0]]), r"weights: expected shape \[m\]"),
        (lambda: px.fixed([1.0, np.nan]), "weights: expected finite"),
        (
            lambda: px.combine(px.fixed([1.0]), 2).init(None),
            "weights: expected 2 of them",
        ),
        (
            lambda: px.combine(px.total(), 2).update(
                jnp.eye(2), px.total().init(2), active=jnp.ones(2)
            ),
            r"active: expected a bool array of shape \(2,\)",
        ),
        (
            lambda: px.mgda().update(jnp.eye(3), px.mgda().init(2)),
            r"gram: expected shape \[2, 2\]",
        ),
        (
            lambda: px.mgda().update(None, px.mgda().init(2)),
            "gram: expected the Gramian",
        ),
        (
            lambda: px.stateless(lambda gram: gram).update(
                jnp.eye(2), px.mgda().init(2)
            ),
            r"weights: expected shape \(2,\)",
        ),
    ],
)
def test_bad_input_is_named_with_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unequal_bargaining_power_moves_the_direction_towards_the_stronger():
    """Orthogonal tasks: Kw = m p/w gives wᵢ‖gᵢ‖ = √(m pᵢ)."""
    tx = px.combine(px.nash_mtl(max_norm=None, preference=[0.9, 0.1]), 2)
    jac = jnp.asarray([[1.0, 0.0], [0.0, 100.0]])
    out, state = tx.update(jac, tx.init(None))
    np.testing.assert_allclose(out, np.sqrt([1.8, 0.2]), rtol=1e-5)
    assert bool(state.converged)


def test_the_nash_direction_has_norm_root_m_unless_shortened():
    jac = jax.random.normal(jax.random.key(0), (3, 8)) * 1e3
    for max_norm, expected in [
        (None, np.sqrt(3)),
        (1.0, 1.0),
        (0.25, 0.25),
        (5.0, 3**0.5),
    ]:
        tx = px.combine(px.nash_mtl(max_norm=max_norm), 3)
        out, _ = tx.update(jac, tx.init(None))
        assert float(jnp.linalg.norm(out)) == pytest.approx(expected, rel=1e-4)


def test_where_no_bargain_exists_the_certificate_says_so_and_a_ridge_helps():
    jac = jnp.asarray([[1.0, 0.0], [-1.0, 0.0]])
    for ridge, converged in [(0.0, False), (1e-2, True)]:
        tx = px.combine(px.nash_mtl(ridge=ridge), 2)
        out, state = tx.update(jac, tx.init(None))
        assert np.isfinite(np.asarray(out)).all()
        assert bool(state.converged) is converged
