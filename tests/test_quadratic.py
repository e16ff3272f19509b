"""General quadratic and linear programs: optimality, referees, derivatives."""

import warnings

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from paretax import solvers
from paretax.solvers import reference


def program(kind, n, seed=0):
    """Feasible, bounded programs: (Q, q, A, b, G, h)."""
    rng = np.random.default_rng([seed, n])
    ones, eye = np.ones((1, n)), np.eye(n)
    q = rng.normal(size=n)
    if kind == "random":
        f, x = rng.normal(size=(n, n)), rng.normal(size=n)
        a, g = rng.normal(size=(max(1, n // 4), n)), rng.normal(size=(2 * n, n))
        return f @ f.T, q, a, a @ x, g, g @ x + rng.uniform(0, 1, 2 * n)
    if kind == "singular":
        f = rng.normal(size=(n, n // 2 + 1))
        return f @ f.T, q, ones, np.ones(1), -eye, np.zeros(n)
    if kind == "unequal":
        f = rng.normal(size=(n, n)) * np.logspace(-2, 2, n)[:, None]
        return 1e6 * f @ f.T, 1e3 * q, ones, np.ones(1), -eye, np.zeros(n)
    # Like the programs of preference-guided descent: a direction on the simplex that
    # lets no task of a chosen few rise.
    jac, x = rng.normal(size=(n, 4 * n)), rng.dirichlet(np.ones(n))
    k = jac @ jac.T
    g = np.concatenate([-eye, -k])
    h = np.concatenate([np.zeros(n), rng.uniform(0, 1, n) - k @ x])
    return np.zeros((n, n)), -k @ q, ones, np.ones(1), g, h


KINDS = ("random", "singular", "unequal", "linear")


@pytest.mark.parametrize("n", [3, 8, 30])
@pytest.mark.parametrize("x64", [True, False])
def test_programs_agree_with_cvxpy_and_are_feasible(n, x64):
    warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
    with jax.enable_x64(x64):
        solve = jax.jit(solvers.qp)
        for kind in KINDS:
            for seed in range(3):
                data = program(kind, n, seed)
                out = solve(*(jnp.asarray(x, float) for x in data))
                assert bool(out.converged), (kind, seed)
                x, theirs = np.asarray(out.value, np.float64), reference.qp(*data)
                big_q, q, a, b, g, h = data
                values = [v @ big_q @ v / 2 + q @ v for v in (x, theirs)]
                tol = 1e-7 if x64 else 2e-4
                unit = max(1, abs(values[1]), np.abs(q) @ np.abs(x))
                assert abs(values[0] - values[1]) <= tol * unit, (kind, seed)
                size = 1 + np.abs(x).max()
                assert np.abs(a @ x - b).max() <= tol * size * np.abs(a).sum(1).max()
                assert (g @ x - h).max() <= tol * size * np.abs(g).sum(1).max()


def test_no_constraints_and_equations_alone_have_closed_forms():
    with jax.enable_x64(True):
        big_q, q, a, b, _, _ = map(jnp.asarray, program("random", 6))
        free = solvers.qp(big_q, q)
        np.testing.assert_allclose(free.value, -jnp.linalg.solve(big_q, q), rtol=1e-7)
        tied = solvers.qp(big_q, q, a, b)
        zero = jnp.zeros((1, 1))
        whole = jnp.block([[big_q, a.T], [a, zero]])
        expected = jnp.linalg.solve(whole, jnp.concatenate([-q, b]))[:6]
        np.testing.assert_allclose(tied.value, expected, rtol=1e-6)
        assert bool(free.converged)
        assert bool(tied.converged)


@pytest.mark.parametrize("kind", ["random", "linear"])
def test_derivatives_match_finite_differences_in_every_argument(kind):
    with jax.enable_x64(True):
        data = tuple(map(jnp.asarray, program(kind, 4)))
        rng = np.random.default_rng(0)
        tangents = [jnp.asarray(rng.normal(size=x.shape)) for x in data]
        tangents[0] = tangents[0] + tangents[0].T if kind == "random" else data[0]

        @jax.jit
        def value(*data):
            return solvers.qp(*data).value @ jnp.arange(1.0, 5.0)

        def moved(t):
            return value(*(x + t * d for x, d in zip(data, tangents, strict=True)))

        numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5
        forward = jax.jvp(value, data, tuple(tangents))[1]
        reverse = jax.grad(value, argnums=range(6))(*data)
        pairs = zip(reverse, tangents, strict=True)
        together = sum(jnp.sum(r * d) for r, d in pairs)
        np.testing.assert_allclose(forward, numeric, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(together, numeric, rtol=1e-4, atol=1e-6)


def test_infeasible_and_unbounded_programs_do_not_converge():
    eye, one = jnp.eye(2), jnp.ones(1)
    infeasible = solvers.qp(eye, jnp.zeros(2), jnp.ones((1, 2)), one, eye, -jnp.ones(2))
    assert not bool(infeasible.converged)
    unbounded = solvers.lp(-jnp.ones(2), G=-eye, h=jnp.zeros(2))
    assert not bool(unbounded.converged)


def test_programs_batch_and_lower_for_every_accelerator():
    programs = [program("random", 5, seed) for seed in range(6)]
    data = [jnp.asarray(np.stack(x), jnp.float32) for x in zip(*programs, strict=True)]
    batch = jax.jit(jax.vmap(solvers.qp))(*data)
    alone = [solvers.qp(*(x[i] for x in data)).value for i in range(6)]
    np.testing.assert_allclose(batch.value, jnp.stack(alone), rtol=1e-4, atol=1e-5)
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in data]
    platforms = ("cpu", "cuda", "rocm", "tpu")
    jax.export.export(jax.jit(jax.vmap(solvers.qp)), platforms=platforms)(*shapes)


def test_nan_comes_out_as_nan():
    for bad in (jnp.nan, jnp.inf):
        out = solvers.qp(
            jnp.eye(2), jnp.asarray([bad, 1.0]), G=jnp.eye(2), h=jnp.ones(2)
        )
        assert np.isnan(np.asarray(out.value)).all()
        assert not bool(out.converged)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solvers.qp(jnp.ones(2), jnp.ones(2)), r"Q: expected shape \[n, n\]"),
        (lambda: solvers.qp(jnp.eye(2), jnp.ones(3)), r"q: expected shape \(2,\)"),
        (
            lambda: solvers.qp(jnp.eye(2), jnp.ones(2), A=jnp.ones((1, 2))),
            "A, b: expected both",
        ),
        (
            lambda: solvers.qp(jnp.eye(2), jnp.ones(2), G=jnp.eye(3), h=jnp.ones(3)),
            r"G, h: expected shapes \[r, 2\]",
        ),
        (lambda: solvers.lp(jnp.eye(2)), r"c: expected shape \[n\]"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
