"""The task tensioner against its definition on vectors, and each of its guards."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import paretax as px


def shortest(cosines):
    """argmin cᵀCc over the simplex, by trying every support."""
    m = len(cosines)
    for size in range(1, m + 1):
        for support in map(list, itertools.combinations(range(m), size)):
            x = np.linalg.solve(cosines[np.ix_(support, support)], np.ones(size))
            c = np.zeros(m)
            c[support] = x / x.sum()
            if (c >= 0).all() and (cosines @ c >= c @ cosines @ c - 1e-12).all():
                return c
    raise AssertionError("no support is optimal")


def tensioned(jac, losses, buffers, alpha, k):
    """The direction at call k (from 1), on vectors, with the paper's tangent."""
    n = np.linalg.norm(jac, axis=1)
    units = jac / n[:, None]
    c = shortest(units @ units.T)
    gamma = 1 / np.sum(c / n)
    d = gamma * c @ units
    before = buffers.sum(1)
    buffers[:, (k - 1) % 10] = n
    if k <= 10:
        return d
    p = buffers.sum(1) / before + np.log10(losses)
    f = np.maximum(0, alpha / (1 + np.exp(-np.e * p + np.e)) + 1 - alpha)
    away = jac - d
    v = d + f @ (away / np.linalg.norm(away, axis=1)[:, None])
    for g, size in zip(jac, n, strict=True):
        if g @ v < 0:
            w = v - (v @ g / size) * g / size
            between = (g @ (v - g)) / (size * np.linalg.norm(v - g))
            a = np.pi - np.arccos(between)
            v = np.tan(a) * size * w / np.linalg.norm(w)
    return v


@pytest.mark.parametrize("m", [2, 3, 5])
def test_directions_are_those_of_the_definition_on_vectors(m):
    rng = np.random.default_rng(m)
    with jax.enable_x64(True):
        tx = px.combine(px.task_tensioner(alpha=0.6), m)
        update = jax.jit(tx.update)
        state, buffers = tx.init(jnp.zeros(8)), np.zeros((m, 10))
        projected = 0
        for k in range(1, 26):
            jac = rng.normal(size=(m, 8)) * 10 ** rng.uniform(-1, 1, size=(m, 1))
            losses = 10 ** rng.uniform(-2, 2, size=m)
            expected = tensioned(jac, losses, buffers, 0.6, k)
            d, state = update(jnp.asarray(jac), state, losses=jnp.asarray(losses))
            np.testing.assert_allclose(d, expected, rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(state.weights.sum(), 1.0)
            if k > 10:
                projected += np.any(np.abs(jac @ expected) < 1e-9)
        assert projected > 3  # the conflict pass was at work


def test_the_reference_values_of_the_central_direction():
    with jax.enable_x64(True):
        jac = jnp.array([[1.0, 2.0, 3.0], [-2.0, 1.0, 0.5]])
        d, state = px.combine(px.edm(), 2).update(jac, px.edm().init(2))
        np.testing.assert_allclose(state.weights, [0.3797959, 0.6202041], atol=1e-7)
        expected = [-0.86061231, 1.3797959, 1.44948974]
        np.testing.assert_allclose(d, expected, atol=1e-8)


def test_the_central_direction_makes_equal_angles_and_bisects_two():
    jacs = np.random.default_rng(0).normal(size=(50, 4, 9)) + 0.3
    with jax.enable_x64(True):
        tx = px.combine(px.edm(), 4)
        run = jax.jit(jax.vmap(lambda j: tx.update(j, tx.init(j[0]))))
        d, state = jax.tree.map(np.asarray, run(jnp.asarray(jacs)))
    units = jacs / np.linalg.norm(jacs, axis=-1, keepdims=True)
    cosines = np.einsum("bmn,bn->bm", units, d / np.linalg.norm(d, axis=-1)[:, None])
    held = np.asarray(state.weights) > 1e-9
    lowest = cosines.min(1, keepdims=True)
    np.testing.assert_allclose(np.where(held, cosines - lowest, 0), 0, atol=1e-7)
    assert held.all(1).any()
    assert (~held).any()


@pytest.mark.parametrize(
    ("alpha", "p", "f"),
    [(0.3, 0, 0.71857), (0.3, 0.5, 0.76131), (0.3, 1, 0.85), (0.3, 2, 0.98143)],
)
def test_tensions_have_the_published_values(alpha, p, f):
    # Two opposite unit offsets: v − d = (f₁ − f₂)(g₁ − g₂)/‖g₁ − g₂‖, f₂ known.
    tx = px.task_tensioner(alpha=alpha)
    state, gram = tx.init(2), jnp.eye(2)
    losses = jnp.array([10.0 ** (p - 1), 1.0])
    for _ in range(11):
        weights, state = tx.update(gram, state, losses=losses)
    moved = (weights[0] - 0.5) * np.sqrt(2)
    np.testing.assert_allclose(moved, f - (1 - alpha / 2), atol=2e-5)


def after_ten(m, gram, losses, alpha=0.5, **last):
    tx = px.task_tensioner(alpha=alpha)
    state = tx.init(m)
    for _ in range(10):
        _, state = tx.update(gram, state, losses=losses)
    return tx, state


def test_parallel_gradients_and_one_task_pull_nowhere():
    for jac in ([[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]], [[1.0, 2.0], [2.0, 4.0]]):
        jac = jnp.asarray(jac)
        gram, losses = px.gramian(jac), jnp.full(len(jac), 3.0)
        tx, state = after_ten(len(jac), gram, losses)
        weights, _ = tx.update(gram, state, losses=losses)
        # The other of two parallel gradients still pulls: only d itself stays put.
        assert jnp.isfinite(weights).all()
        np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-5)
    one = px.gramian(jnp.array([[1.0, 2.0]]))
    tx, state = after_ten(1, one, jnp.ones(1))
    np.testing.assert_array_equal(tx.update(one, state, losses=jnp.ones(1))[0], [1.0])


def test_a_zero_gradient_stops_the_step_and_is_not_remembered():
    gram, losses = jnp.diag(jnp.array([4.0, 1.0])), jnp.ones(2)
    tx, state = after_ten(2, gram, losses)
    dead = jnp.diag(jnp.array([4.0, 0.0]))
    weights, new = tx.update(dead, state, losses=losses)
    np.testing.assert_array_equal(weights, [0.0, 1.0])  # all on what is zero
    np.testing.assert_array_equal(new.norms, state.norms)
    np.testing.assert_array_equal(new.calls, state.calls)


def test_gradients_that_are_not_finite_are_not_remembered():
    gram, losses = jnp.diag(jnp.array([4.0, 1.0])), jnp.ones(2)
    tx, state = after_ten(2, gram, losses)
    weights, new = tx.update(gram * jnp.nan, state, losses=losses)
    assert jnp.isnan(weights).all()
    assert not new.converged
    np.testing.assert_array_equal(new.norms, state.norms)


def test_a_loss_that_is_not_positive_pulls_least_and_one_that_is_nan_shows():
    gram = jnp.eye(2)
    tx, state = after_ten(2, gram, jnp.ones(2))
    for loss in (0.0, -3.0):
        weights, _ = tx.update(gram, state, losses=jnp.array([loss, 1.0]))
        lower = (1 - 0.5) - (1 - 0.25)
        np.testing.assert_allclose(weights[0], 0.5 + lower / np.sqrt(2), rtol=1e-5)
    weights, _ = tx.update(gram, state, losses=jnp.array([jnp.nan, 1.0]))
    assert jnp.isnan(weights).any()


def test_each_task_counts_its_own_calls_and_a_missing_one_changes_nothing():
    gram, losses = jnp.diag(jnp.array([4.0, 1.0, 9.0])), jnp.array([5.0, 1.0, 2.0])
    tx = px.task_tensioner(alpha=0.5)
    alone, state, pair = tx.init(2), tx.init(3), jnp.array([True, True, False])
    poisoned = gram.at[2].set(jnp.nan).at[:, 2].set(jnp.nan)
    for _ in range(12):
        expected, alone = tx.update(gram[:2, :2], alone, losses=losses[:2])
        weights, state = tx.update(
            poisoned, state, losses=losses.at[2].set(jnp.nan), active=pair
        )
        np.testing.assert_allclose(weights, [*expected, 0.0], rtol=1e-6)
    assert state.calls.tolist() == [12, 12, 0]
    central, _ = px.edm().update(gram, px.edm().init(3))
    weights, _ = tx.update(gram, state, losses=losses)  # the third is not warm
    np.testing.assert_allclose(weights, central, rtol=1e-6)


def test_the_direction_is_differentiable_after_the_window():
    with jax.enable_x64(True):
        jac = jnp.asarray(np.random.default_rng(3).normal(size=(3, 5)) + 0.5)
        losses = jnp.array([0.5, 3.0, 20.0])
        tx, state = after_ten(3, px.gramian(jac), losses)

        @jax.jit
        def value(j):
            weights, _ = tx.update(px.gramian(j), state, losses=losses)
            return px.contract(weights, j) @ jnp.arange(1.0, 6.0)

        tangent = jnp.asarray(np.random.default_rng(4).normal(size=jac.shape))
        numeric = (value(jac + 1e-6 * tangent) - value(jac - 1e-6 * tangent)) / 2e-6
        exact = jnp.vdot(jax.grad(value)(jac), tangent)
        np.testing.assert_allclose(exact, numeric, rtol=1e-5)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"alpha: expected a number in \[0, 1\]"):
        px.task_tensioner(alpha=1.5)
    tx = px.task_tensioner()
    with pytest.raises(ValueError, match="losses: this weighting needs"):
        tx.update(jnp.eye(2), tx.init(2))
