"""The bargain: its equation, its certificate, and where there is no bargain."""

import functools
import warnings

import gramians
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paretax import solvers
from paretax.solvers import reference


def residual(gram, a, power=1.0, alpha=1.0):
    return np.abs(a * np.maximum(gram @ a, 0) ** alpha / power - 1).max()


def residuals(grams, values):
    grams, values = np.asarray(grams, np.float64), np.asarray(values, np.float64)
    image = np.einsum("cmk,ck->cm", grams, values)
    return np.abs(values * image - 1).max(1)


@jax.jit
def _solve(grams):
    return jax.vmap(solvers.bargain)(grams)


def bargains(grams):
    """As many as there are, 60 at a time: one compilation a size and a type."""
    grams = jnp.asarray(grams)
    count, m = grams.shape[:2]
    size = 60 if m <= 40 else count
    padded = np.concatenate([grams, np.broadcast_to(grams[:1], (-count % size, m, m))])
    parts = [_solve(padded[i : i + size]) for i in range(0, len(padded), size)]
    return jax.tree.map(lambda *x: np.concatenate(x)[:count], *parts)


@pytest.mark.parametrize("m", [1, 2, 3, 7, 11, 40])
def test_a_converged_bargain_solves_the_equation_and_the_error_bounds_it(m):
    grams = gramians.nasty(m, 60)
    for x64, tol in [(True, 1e-8), (False, 1e-4)]:
        with jax.enable_x64(x64):
            k = jnp.asarray(grams, dtype=float)
            out = bargains(k)
            assert np.isfinite(out.value).all()
            assert (out.value > 0).all()
            found = residuals(k, out.value)
            assert (found <= out.error * 1.01 + 1e-12).all()
            assert (found[out.converged] <= tol).all()
            assert out.converged.mean() > 0.6


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
        out = bargains(k)
        found, claimed = residuals(k, out.value), out.converged
        assert (found[claimed] <= 1e-4).all()
        # Nor is it timid: nearly all that is solved is claimed.
        assert claimed.sum() >= 0.97 * (found <= 0.9e-4).sum() > 500


@pytest.mark.parametrize("m", [2, 7, 40, 100, 256])
def test_float32_is_exact_wherever_no_pair_conflicts_beyond_099(m):
    """Conflict in pairs; where all tasks share one, a itself is too coarse a type."""
    rng = np.random.default_rng(m)
    rows = rng.normal(size=(20 if m < 256 else 3, m, 4 * m))
    half = m // 2
    rows[:, half : 2 * half] = 0.25 * rows[:, half : 2 * half] - rows[:, :half]
    rows *= 10 ** rng.uniform(-4, 4, size=(len(rows), m, 1))
    k = np.einsum("cmn,ckn->cmk", rows, rows).astype(np.float32)
    norms = np.sqrt(np.einsum("cmm->cm", k))
    cosines = (k / norms[:, :, None] / norms[:, None]).min((1, 2))
    k = k[cosines > -0.99]
    assert len(k) > 0
    out = bargains(k)
    assert out.converged.all()
    assert (residuals(k, out.value) <= 1e-4).all()


def test_what_float32_cannot_reach_is_within_the_rounding_of_the_answer():
    """Conflict shared among all: the error is no more than rounding a makes it."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 11, 44))
    rows -= 0.98 * rows.mean(1, keepdims=True)
    k = np.einsum("cmn,ckn->cmk", rows, rows).astype(np.float32)
    out = bargains(k)
    a = np.asarray(out.value, np.float64)
    size = (a * np.einsum("cmk,ck->cm", np.abs(k.astype(np.float64)), a)).max(1)
    eps = np.finfo(np.float32).eps
    assert (residuals(k, out.value) <= eps * size).all()
    assert eps * size.max() > 1e-4


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
def test_weighted_and_fair_bargains_solve_their_equations(alpha):
    for x64, tol, share in ((True, 1e-8, 0.6), (False, 1e-4, 0.4)):
        with jax.enable_x64(x64):
            for m in (2, 12):
                grams = jnp.asarray(gramians.nasty(m, 30, decades=2.0), float)
                power = np.random.default_rng(m).dirichlet(np.ones(m)) * m
                power = np.asarray(jnp.asarray(power, float), np.float64)
                solve = functools.partial(
                    solvers.bargain, preference=power, alpha=alpha
                )
                out = jax.jit(jax.vmap(solve))(grams)
                good = np.asarray(out.converged)
                assert good.mean() > share
                grams, values = (np.asarray(x, np.float64) for x in (grams, out.value))
                for k, a in zip(grams[good], values[good], strict=True):
                    assert residual(k, a, power, alpha) <= tol


def test_cvxpy_agrees_on_bargains():
    warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
    compared = 0
    with jax.enable_x64(True):
        for m, count in ((2, 8), (7, 8), (11, 6), (40, 1)):
            grams = gramians.nasty(m, count, seed=1, decades=0.5)
            if m < 40:
                out = bargains(grams)
            else:  # one by one, by another factorization than in a batch
                out = jax.jit(lambda k: jax.lax.map(solvers.bargain, k))(grams)
            for k, ours, sure in zip(grams, out.value, out.converged, strict=True):
                if not sure:
                    continue
                theirs, scale = reference.bargain(k), np.sqrt(np.diag(k))
                # By the objective: where K is nearly singular a is not well defined.
                value = [
                    a @ k @ a / 2 - np.log(a * scale).sum() for a in (ours, theirs)
                ]
                assert value[0] <= value[1] + 1e-9 * abs(value[1])
                assert value[1] - value[0] < 1e-4
                compared += 1
    assert compared >= 12


def test_rescaling_a_task_rescales_its_bargain_inversely():
    with jax.enable_x64(True):
        k = gramians.nasty(7, 3, decades=0.0)[0]
        scales = np.logspace(-6, 6, 7)
        plain, scaled = bargains(np.stack([k, k * scales[:, None] * scales])).value
        np.testing.assert_allclose(scaled * scales, plain, rtol=1e-8)


def test_the_bargain_lowers_to_the_closed_form_of_two_tasks():
    with jax.enable_x64(True):
        cosines = np.array([-0.999, -0.5, 0.0, 0.9])
        k = np.array([[[4.0, 2e3 * c], [2e3 * c, 1e6]] for c in cosines])
        out = bargains(k)
        expected = np.array([0.5, 1e-3]) / np.sqrt(1 + cosines[:, None])
        np.testing.assert_allclose(out.value, expected, rtol=1e-9)
        assert (out.steps <= 1).all()


def test_the_bargain_has_a_derivative_in_the_preference():
    with jax.enable_x64(True):
        k = jnp.asarray(gramians.nasty(4, 1, decades=0.3)[0])
        p = jnp.asarray([0.5, 1.0, 2.0, 0.7])

        @jax.jit
        def value(power):
            return jnp.sum(solvers.bargain(k, preference=power, alpha=2.0).value)

        numeric = [(value(p + e) - value(p - e)) / 2e-6 for e in 1e-6 * jnp.eye(4)]
        np.testing.assert_allclose(jax.grad(value)(p), numeric, rtol=1e-4)


def test_a_preference_made_outside_jit_is_checked_inside_it():
    good, bad = jnp.asarray([1.0, 2.0]), jnp.asarray([1.0, -2.0])
    solve = jax.jit(lambda k, p=good: solvers.bargain(k, preference=p).value)
    np.testing.assert_allclose(solve(jnp.eye(2)), [1.0, np.sqrt(2)], rtol=1e-5)
    with pytest.raises(ValueError, match="preference: expected positive"):
        jax.jit(lambda k: solvers.bargain(k, preference=bad))(jnp.eye(2))


def test_without_a_bargain_values_are_finite_and_the_certificate_says_no():
    for m in (2, 7):
        jacs, names = gramians.stack(m, stationary=True)
        out = bargains(np.einsum("cmn,ckn->cmk", jacs, jacs).astype(np.float32))
        assert np.isfinite(out.value).all(), names
        assert not out.converged.any()
        assert (out.error > 0.1).all()


def test_a_ridge_makes_stationary_points_solvable():
    with jax.enable_x64(True):
        jac, _ = gramians.stack(4, stationary=True)
        k = jnp.asarray(jac[2] @ jac[2].T)
        assert not bool(solvers.bargain(k).converged)
        out = solvers.bargain(k, ridge=1e-3)
        assert bool(out.converged)
        ridged = np.asarray(k + 1e-3 * jnp.diag(jnp.diagonal(k)))
        assert residual(ridged, np.asarray(out.value)) < 1e-8
