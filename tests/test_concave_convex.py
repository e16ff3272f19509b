"""The concave-convex procedure against cvxpy, and what nash_mtl makes of it."""

import cvxpy
import gramians
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipes

import paretax as px
from paretax import solvers


def by_cvxpy(gram, a):
    """One step of the procedure as its paper states it; None if it has no minimum."""
    scale = 1 / np.sqrt(np.diag(gram))
    slope = scale * (gram.sum(1) + 1 / a + gram @ (1 / (gram @ a)))
    cosines = gram * scale[:, None] * scale
    u = cvxpy.Variable(len(gram))
    gains = -cvxpy.log(u) - cvxpy.log(cosines @ u)
    goal = cvxpy.Minimize((slope / np.abs(slope).max()) @ u)
    cvxpy.Problem(goal, [gains <= 0]).solve(solver=cvxpy.CLARABEL)
    return None if u.value is None else scale * u.value


def conflicting(m, seed):
    rng = np.random.default_rng([m, seed])
    rows = rng.normal(size=(m, 30)) + 0.5
    rows -= 0.9 * rows.mean(0)
    return (rows * 10 ** rng.uniform(-0.3, 0.3, size=(m, 1))).T


@pytest.mark.parametrize(("m", "seeds"), [(3, (0, 14, 31, 51)), (11, (0, 1))])
def test_every_step_is_that_of_cvxpy(m, seeds):
    run = jax.jit(solvers.concave_convex, static_argnames="num_steps")
    moved = 0.0
    for seed in seeds:
        rows = conflicting(m, seed).T
        gram, expected = rows @ rows.T, np.ones(m)
        with jax.enable_x64(True):
            for steps in (1, 2, 3):
                step = by_cvxpy(gram, expected)
                expected = expected if step is None else step
                ours = run(jnp.asarray(gram), jnp.ones(m), num_steps=steps)
                np.testing.assert_allclose(ours.value, expected, rtol=3e-4)
                assert abs(float(ours.error) - residual(gram, ours.value)) < 1e-9
                if steps == 1:
                    first = np.asarray(ours.value)
        moved = max(moved, np.abs(expected / first - 1).max())
    assert m > 3 or moved > 0.01  # a first step is not always the last


def residual(gram, a):
    return np.abs(np.asarray(a) * (gram @ np.asarray(a)) - 1).max()


def test_float32_runs_the_same_steps_and_a_batch_equals_the_loop():
    grams = np.stack([conflicting(4, seed) for seed in range(6)])
    grams = np.einsum("bnm,bnk->bmk", grams, grams)
    with jax.enable_x64(True):
        exact = jax.vmap(solvers.concave_convex, in_axes=(0, None))(
            jnp.asarray(grams), jnp.ones(4)
        )
        exact = jax.tree.map(np.asarray, exact)
    narrow = jnp.asarray(grams, jnp.float32)
    both = jax.vmap(solvers.concave_convex, in_axes=(0, None))(narrow, jnp.ones(4))
    np.testing.assert_allclose(both.value, exact.value, rtol=1e-4)
    one = solvers.concave_convex(narrow[2], jnp.ones(4))
    np.testing.assert_allclose(both.value[2], one.value, rtol=1e-5)


def test_it_rests_at_a_bargain_and_stops_early():
    with jax.enable_x64(True):
        rows = conflicting(5, 0).T
        gram = jnp.asarray(rows @ rows.T)
        exact = solvers.bargain(gram).value
        rest = solvers.concave_convex(gram, exact, num_steps=20)
        np.testing.assert_allclose(rest.value, exact, rtol=1e-8)
        assert int(rest.steps) == 1
        assert bool(rest.converged)


def test_where_a_step_has_no_minimum_the_last_iterate_stays_and_the_error_says_so():
    with jax.enable_x64(True):
        for gram in ([[1.0, -1.0], [-1.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]]):
            solution = solvers.concave_convex(jnp.asarray(gram), jnp.array([2.0, 3.0]))
            np.testing.assert_array_equal(solution.value, [2.0, 3.0])
            assert not solution.converged
        broken = solvers.concave_convex(jnp.full((2, 2), jnp.nan), jnp.ones(2))
        assert jnp.isnan(broken.value).all()
        assert not broken.converged


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"start: expected shape \(2,\)"):
        solvers.concave_convex(jnp.eye(2), jnp.ones(3))
    with pytest.raises(ValueError, match="num_steps: expected at least 1"):
        solvers.concave_convex(jnp.eye(2), jnp.ones(2), num_steps=0)
    with pytest.raises(ValueError, match="concave_convex_steps: expected None beside"):
        px.nash_mtl(concave_convex_steps=20, ridge=0.1)
    with pytest.raises(ValueError, match="update_every: expected at least 1"):
        px.nash_mtl(update_every=0)


def test_the_procedure_starts_where_the_step_before_ended():
    with jax.enable_x64(True):
        grams = [conflicting(3, seed) for seed in range(4)]
        tx = px.nash_mtl(max_norm=None, concave_convex_steps=1)
        state, a = tx.init(3), jnp.ones(3)
        for rows in grams:
            gram = jnp.asarray(rows.T @ rows)
            weights, state = tx.update(gram, state)
            a = solvers.concave_convex(gram, a, num_steps=1).value
            np.testing.assert_allclose(weights, a, rtol=1e-12)
        _, after = tx.update(gram * jnp.nan, state)
        np.testing.assert_array_equal(after.bargain, state.bargain)


def test_weights_are_constant_to_a_derivative_where_the_paper_has_them_so():
    with jax.enable_x64(True):
        jac = jnp.asarray(gramians.stack(3, stationary=False)[0][1])
        tx = px.combine(px.nash_mtl(concave_convex_steps=2, max_norm=None), 3)
        d, pull = jax.vjp(lambda j: tx.update(j, tx.init(j[0]))[0], jac)
        weights = tx.update(jac, tx.init(jac[0]))[1].weights
        (slope,) = pull(jnp.ones_like(d))
        np.testing.assert_allclose(slope, jnp.outer(weights, jnp.ones_like(d)))


def test_updates_every_n_steps_are_those_of_every():
    short = px.nash_mtl(update_every=2)
    long = px.every(px.nash_mtl(), num_steps=2)
    one, other = short.init(3), long.init(3)
    for seed in range(4):
        rows = conflicting(3, seed)
        gram = jnp.asarray(rows.T @ rows, jnp.float32)
        assert bool(short.needs_gram(one)) == (seed % 2 == 0)
        a, one = short.update(gram, one)
        b, other = long.update(gram, other)
        np.testing.assert_array_equal(a, b)


def test_heads_as_in_the_official_code_by_composition():
    shared = {"trunk": True, "head": False}
    tx = recipes.nash_mtl_as_published(2, shared)
    jac = {"trunk": jnp.array([[3.0, 0.0], [0.0, 0.5]]), "head": jnp.eye(2)}
    d, _ = tx.update(jac, tx.init(jax.tree.map(lambda x: x[0], jac)))
    # α = (1/3, 2): the trunk's direction (1, 1) is clipped, the heads keep α.
    np.testing.assert_allclose(d["trunk"], np.ones(2) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(d["head"], [1 / 3, 2.0], rtol=1e-6)
