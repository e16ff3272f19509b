"""Bargaining and the shortest vector: optimality, referees, derivatives, honesty."""

import functools

import gramians
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from paretax import solvers
from paretax.solvers import _linear, reference

SOLVERS = {"bargain": solvers.bargain, "min_norm": solvers.min_norm}
EVERY = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)


def nasty(m, count, seed=0, decades=4.0):
    """Random Gramians of norms over many decades, of low rank, with conflict."""
    rng = np.random.default_rng([seed, m])
    jacs = []
    for i in range(count):
        n = (m + 3, max(1, m // 2), 50)[i % 3]
        rows = rng.normal(size=(m, n)) + rng.uniform(0, 2) * rng.normal(size=n)
        rows -= rng.uniform(0, 1.05) * rows.mean(0)
        jacs.append(rows * 10 ** rng.uniform(-decades, decades, size=(m, 1)))
    return np.stack([rows @ rows.T for rows in jacs])


def residual(gram, a, power=1.0, alpha=1.0):
    return np.abs(a * np.maximum(gram @ a, 0) ** alpha / power - 1).max()


@pytest.mark.parametrize("m", [1, 2, 3, 7, 11, 40])
def test_a_converged_bargain_solves_the_equation_and_the_error_bounds_it(m):
    grams = nasty(m, 60)
    for x64, tol in [(True, 1e-8), (False, 1e-4)]:
        with jax.enable_x64(x64):
            k = jnp.asarray(grams, dtype=float)
            out = jax.jit(jax.vmap(solvers.bargain))(k)
            k = np.asarray(k, np.float64)
            values = np.asarray(out.value, np.float64)
            assert np.isfinite(values).all()
            assert (values > 0).all()
            found = np.array([residual(g, a) for g, a in zip(k, values, strict=True)])
            assert (found <= np.asarray(out.error) * 1.01 + 1e-12).all()
            assert (found[np.asarray(out.converged)] <= tol).all()
            assert np.asarray(out.converged).mean() > 0.5


def test_float32_never_claims_a_residual_that_float64_refutes():
    """10,000 problems down to cosine −1 + 1e-6, the residual taken in float64."""
    rng = np.random.default_rng(0)
    for m in (2, 3, 7, 11):
        rows = rng.normal(size=(2500, m, 30))
        apart = 10 ** rng.uniform(-3, 0, size=(2500, 1, 1))
        half = m // 2
        noise = rng.normal(size=(2500, half, 30))
        rows[:, half : 2 * half] = -rows[:, :half] + apart * noise
        rows *= 10 ** rng.uniform(-4, 4, size=(2500, m, 1))
        k = np.einsum("cmn,ckn->cmk", rows, rows).astype(np.float32)
        out = jax.jit(jax.vmap(solvers.bargain))(jnp.asarray(k))
        a = np.asarray(out.value, np.float64)
        product = np.einsum("cmk,ck->cm", k.astype(np.float64), a)
        found = np.abs(a * product - 1).max(1)
        lies = np.asarray(out.converged) & (found > 1e-4)
        assert lies.sum() == 0
        assert np.asarray(out.converged).sum() > 200


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
def test_weighted_and_fair_bargains_solve_their_equations(alpha):
    with jax.enable_x64(True):
        for m in (2, 5, 12):
            grams = nasty(m, 30, decades=2.0)
            power = np.random.default_rng(m).dirichlet(np.ones(m)) * m
            solve = functools.partial(solvers.bargain, preference=power, alpha=alpha)
            out = jax.jit(jax.vmap(solve))(jnp.asarray(grams))
            good = np.asarray(out.converged)
            assert good.mean() > 0.5
            for k, a in zip(grams[good], np.asarray(out.value)[good], strict=True):
                assert residual(k, a, power, alpha) < 1e-8


def test_cvxpy_agrees_on_bargains():
    with jax.enable_x64(True):
        for m in (2, 5, 11):
            for k in nasty(m, 12, seed=1, decades=0.5):
                ours = solvers.bargain(jnp.asarray(k))
                if bool(ours.converged):
                    theirs = reference.bargain(k)
                    scale = np.sqrt(np.diag(k))
                    np.testing.assert_allclose(
                        np.asarray(ours.value) * scale, theirs * scale, rtol=2e-3
                    )


def test_cvxpy_agrees_on_the_shortest_vector():
    with jax.enable_x64(True):
        for m in (2, 5, 11, 40):
            grams = np.stack([*nasty(m, 12, seed=2, decades=0.5)])
            ours = jax.jit(jax.vmap(solvers.min_norm))(jnp.asarray(grams))
            for k, w in zip(grams, np.asarray(ours.value), strict=True):
                theirs = reference.min_norm(k)
                assert w @ k @ w <= theirs @ k @ theirs + 1e-7 * np.trace(k)


@pytest.mark.parametrize("m", [1, 2, 3, 7, 40])
def test_the_shortest_vector_satisfies_its_optimality_conditions(m):
    grams = nasty(m, 60)
    with jax.enable_x64(True):
        out = jax.jit(jax.vmap(solvers.min_norm))(jnp.asarray(grams))
        w = np.asarray(out.value)
        assert (w >= 0).all()
        np.testing.assert_allclose(w.sum(1), 1, atol=1e-12)
        good = np.asarray(out.converged)
        assert good.mean() > 0.9
        product = np.einsum("cmk,ck->cm", grams, w)
        square = np.einsum("cm,cm->c", w, product)
        size = np.sqrt(np.einsum("cm,cmk,ck->c", w, np.abs(grams), w))
        norms = np.sqrt(np.diagonal(grams, axis1=1, axis2=2))
        gap = (square[:, None] - product) / (norms * size[:, None])
        assert (gap[good] <= 1e-8).all()


def test_rescaling_a_task_rescales_its_bargain_inversely():
    with jax.enable_x64(True):
        k = nasty(5, 3, decades=0.0)[0]
        scales = np.logspace(-6, 6, 5)
        plain = solvers.bargain(jnp.asarray(k)).value
        scaled = solvers.bargain(jnp.asarray(k * scales[:, None] * scales)).value
        np.testing.assert_allclose(np.asarray(scaled) * scales, plain, rtol=1e-8)


def test_the_bargain_lowers_to_the_closed_form_of_two_tasks():
    with jax.enable_x64(True):
        for cosine in (-0.999, -0.5, 0.0, 0.9):
            k = jnp.asarray([[4.0, 2e3 * cosine], [2e3 * cosine, 1e6]])
            out = solvers.bargain(k)
            expected = np.array([0.5, 1e-3]) / np.sqrt(1 + cosine)
            np.testing.assert_allclose(out.value, expected, rtol=1e-9)
            assert int(out.steps) <= 1


@EVERY
def test_derivatives_match_finite_differences_forward_and_reverse(solve):
    with jax.enable_x64(True):
        rows = np.random.default_rng(3).normal(size=(2, 4, 6)) + 1.0
        k = jnp.asarray(np.einsum("cmn,ckn->cmk", rows, rows))
        target = jnp.arange(1.0, 5.0)

        def value(gram):
            return jax.vmap(solve)(gram).value @ target

        tangent = np.random.default_rng(4).normal(size=k.shape)
        tangent = jnp.asarray(tangent + tangent.transpose(0, 2, 1))
        numeric = (value(k + 1e-6 * tangent) - value(k - 1e-6 * tangent)) / 2e-6
        _, forward = jax.jvp(value, (k,), (tangent,))
        reverse = jax.jacrev(value)(k)
        reverse = jnp.einsum("ccmk->cmk", reverse)
        np.testing.assert_allclose(forward, numeric, rtol=1e-5, atol=1e-8)
        together = jnp.einsum("cmk,cmk->c", reverse, tangent)
        np.testing.assert_allclose(together, numeric, rtol=1e-5, atol=1e-8)


def test_the_bargain_has_a_derivative_in_the_preference():
    with jax.enable_x64(True):
        k = jnp.asarray(nasty(4, 1, decades=0.3)[0])
        p = jnp.asarray([0.5, 1.0, 2.0, 0.7])

        def value(power):
            return jnp.sum(solvers.bargain(k, preference=power, alpha=2.0).value)

        numeric = [(value(p + e) - value(p - e)) / 2e-6 for e in 1e-6 * jnp.eye(4)]
        np.testing.assert_allclose(jax.grad(value)(p), numeric, rtol=1e-4)


@EVERY
def test_a_batch_of_1024_equals_the_loop(solve):
    for m in (7, 10):
        k = jnp.asarray(nasty(m, 1024, decades=1.0), jnp.float32)
        batch = jax.jit(jax.vmap(solve))(k)
        one = jax.jit(solve)
        for i in range(0, 1024, 64):
            single = one(k[i])
            if bool(single.converged) and bool(batch.converged[i]):
                gram = np.asarray(k[i], np.float64)
                apart = np.asarray(single.value - batch.value[i], np.float64)
                moved = np.sqrt(max(apart @ gram @ apart, 0))
                size = np.asarray(single.value) @ np.sqrt(np.diag(gram))
                assert moved < 2e-3 * size


def test_large_batches_of_several_solves_do_not_deadlock():
    """Batched library factorizations can deadlock in XLA; ours must not use them."""
    k = jnp.asarray(nasty(10, 3, decades=0.0))[jnp.arange(4000) % 3]
    both = jax.jit(jax.vmap(lambda g: (solvers.bargain(g), solvers.min_norm(2 * g))))
    assert "custom_call" not in both.lower(k).as_text()
    assert np.isfinite(np.asarray(both(k)[0].value)).all()


@EVERY
def test_values_change_without_recompilation(solve):
    traces = []

    @jax.jit
    def run(k):
        traces.append(1)
        return solve(k)

    for k in nasty(5, 4):
        run(jnp.asarray(k, jnp.float32))
    assert len(traces) == 1


@EVERY
def test_nan_and_infinity_come_out_as_nan_and_not_converged(solve):
    for bad in (np.nan, np.inf):
        for m in (2, 5, 12):
            k = np.eye(m)
            k[0, 1] = k[1, 0] = bad
            out = solve(jnp.asarray(k))
            assert np.isnan(np.asarray(out.value)).all()
            assert not bool(out.converged)


def test_without_a_bargain_values_are_finite_and_the_certificate_says_no():
    for m in (2, 3, 7):
        jacs, names = gramians.stack(m, stationary=True)
        k = jnp.asarray(np.einsum("cmn,ckn->cmk", jacs, jacs), jnp.float32)
        out = jax.vmap(solvers.bargain)(k)
        assert np.isfinite(np.asarray(out.value)).all(), names
        assert not np.asarray(out.converged).any()
        assert (np.asarray(out.error) > 0.1).all()


def test_a_ridge_makes_stationary_points_solvable():
    with jax.enable_x64(True):
        jac, _ = gramians.stack(4, stationary=True)
        k = jnp.asarray(jac[2] @ jac[2].T)
        assert not bool(solvers.bargain(k).converged)
        out = solvers.bargain(k, ridge=1e-3)
        assert bool(out.converged)
        assert (
            residual(np.asarray(k + 1e-3 * jnp.diag(jnp.diagonal(k))), out.value) < 1e-8
        )


def test_dead_tasks_share_the_weight_of_the_shortest_vector():
    k = jnp.diag(jnp.asarray([1.0, 0.0, 2.0, 0.0]))
    assert solvers.min_norm(k).value.tolist() == [0.0, 0.5, 0.0, 0.5]


@EVERY
def test_a_float64_gramian_may_leave_its_scope_in_a_float32_program(solve):
    def run(rows):
        with jax.enable_x64(True):
            k = jnp.asarray(rows, jnp.float64) @ jnp.asarray(rows, jnp.float64).T
        return solve(k)

    rows = jax.random.normal(jax.random.key(0), (4, 9))
    out = jax.jit(run)(rows)
    assert out.value.dtype == jnp.float64
    assert float(out.error) < 1e-9


@EVERY
def test_solvers_lower_for_every_accelerator(solve):
    for m in (5, 12):
        shape = jax.ShapeDtypeStruct((m, m), jnp.float32)
        platforms = ("cpu", "cuda", "rocm", "tpu")
        jax.export.export(jax.jit(solve), platforms=platforms)(shape)


@EVERY
def test_every_product_is_at_the_highest_precision(solve):
    for m in (2, 5, 12):

        def value(gram):
            return jnp.sum(solve(gram).value)

        text = str(jax.make_jaxpr(jax.grad(value))(jnp.eye(m)))
        dots = text.count("dot_general[")
        assert dots > 0
        assert text.count("Precision.HIGHEST") == 2 * dots


def test_condition_removes_inactive_rows_exactly():
    k = jnp.asarray([[4.0, jnp.nan, 1.0], [jnp.nan] * 3, [1.0, jnp.nan, 1.0]])
    out = solvers.condition(k, active=jnp.asarray([True, False, True]), ridge=0.5)
    expected = [[1.5, 0.0, 0.5], [0.0, 1.0, 0.0], [0.5, 0.0, 1.5]]
    np.testing.assert_allclose(out.matrix, expected)
    assert out.alive.tolist() == [True, False, True]


@pytest.mark.parametrize("m", [1, 3, 8, 9, 30])
def test_systems_agree_with_numpy_alone_and_in_a_batch(m):
    with jax.enable_x64(True):
        rng = np.random.default_rng(m)
        rows = rng.normal(size=(5, m, m + 2))
        a = np.einsum("cmn,ckn->cmk", rows, rows) + np.eye(m)
        b = rng.normal(size=(5, m))
        expected = np.linalg.solve(a, b[..., None])[..., 0]
        np.testing.assert_allclose(
            _linear.solve_spd(a[0], b[0]), expected[0], rtol=1e-8
        )
        batch = jax.vmap(_linear.solve_spd)(jnp.asarray(a), jnp.asarray(b))
        np.testing.assert_allclose(batch, expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solvers.bargain(jnp.ones((2, 3))), r"gram: expected shape \[m, m\]"),
        (lambda: solvers.min_norm(jnp.ones(3)), r"gram: expected shape \[m, m\]"),
        (lambda: solvers.bargain(jnp.eye(2), alpha=0.0), "alpha: expected a number"),
        (lambda: solvers.bargain(jnp.eye(2), ridge=-1.0), "ridge: expected a number"),
        (
            lambda: solvers.bargain(jnp.eye(2), preference=[1.0, -1.0]),
            "preference: expected positive",
        ),
        (
            lambda: solvers.bargain(jnp.eye(2), preference=[1.0]),
            r"preference: expected shape \(2,\)",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
