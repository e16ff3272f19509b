"""Laws of every solver: derivatives, transformations, honesty, lowering."""

import gramians
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from paretax import solvers
from paretax.solvers import _linear


def projected(gram):
    """Every row of the identity, as UPGrad asks."""
    out = solvers.project_cone(gram, jnp.eye(gram.shape[0]))
    with jax.enable_x64(gram.dtype == jnp.float64):
        return solvers.Solution(
            jnp.sum(out.value, axis=0),
            jnp.all(out.converged),
            jnp.max(out.steps),
            jnp.max(out.error),
        )


def nonnegative(gram):
    """The point of a cone nearest to one inside the span but not in the cone."""
    with jax.enable_x64(gram.dtype == jnp.float64):
        inside = jnp.linspace(-1, 0.5, gram.shape[0], dtype=gram.dtype)
        q = jnp.matmul(gram, inside, precision="highest")
    return solvers.nonnegative_qp(gram, q)


SOLVERS = {
    "bargain": solvers.bargain,
    "min_norm": solvers.min_norm,
    "nonnegative_qp": nonnegative,
    "project_cone": projected,
    "trade_off": solvers.trade_off,
}
EVERY = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)


@EVERY
def test_derivatives_match_finite_differences_forward_and_reverse(solve):
    with jax.enable_x64(True):
        rows = np.random.default_rng(3).normal(size=(2, 4, 6)) + 1.0
        k = jnp.asarray(np.einsum("cmn,ckn->cmk", rows, rows))
        target = jnp.arange(1.0, 5.0)

        tangent = np.random.default_rng(4).normal(size=k.shape)
        tangent = jnp.asarray(tangent + tangent.transpose(0, 2, 1))

        def value(gram):
            return jax.vmap(solve)(gram).value @ target

        @jax.jit
        def along(gram):
            return jax.jvp(value, (gram,), (tangent,))

        (above, _), (below, _) = (along(k + e * tangent) for e in (1e-6, -1e-6))
        numeric = (above - below) / 2e-6
        _, forward = along(k)
        reverse = jnp.einsum("ccmk->cmk", jax.jit(jax.jacrev(value))(k))
        np.testing.assert_allclose(forward, numeric, rtol=1e-5, atol=1e-8)
        together = jnp.einsum("cmk,cmk->c", reverse, tangent)
        np.testing.assert_allclose(together, numeric, rtol=1e-5, atol=1e-8)


@EVERY
def test_derivatives_are_finite_at_singular_gramians(solve):
    """Exact duplicates in the support: a factorization needs its ridge."""
    rows = np.zeros((2, 4, 3))
    rows[0] = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]]
    rows[1] = [[1, 0, 1], [-1, 0, 1], [1, 0, 1], [0, 1, 0]]
    k = jnp.asarray(np.einsum("cmn,ckn->cmk", rows, rows), jnp.float32)
    slope = jax.jit(jax.vmap(jax.grad(lambda g: jnp.sum(solve(g).value))))(k)
    assert np.isfinite(np.asarray(slope)).all()


@EVERY
def test_a_batch_of_1024_equals_the_loop(solve):
    k = jnp.asarray(gramians.nasty(7, 1024, decades=1.0), jnp.float32)
    batch = jax.jit(jax.vmap(solve))(k)
    loop = jax.jit(lambda k: jax.lax.map(solve, k))(k)
    good = np.asarray(batch.converged) & np.asarray(loop.converged)
    assert good.mean() > 0.6
    assert (np.asarray(batch.converged) == np.asarray(loop.converged)).mean() > 0.98
    grams = np.asarray(k, np.float64)[good]
    apart, sizes = (
        np.asarray(x, np.float64)[good]
        for x in (batch.value - loop.value, jnp.abs(loop.value))
    )
    moved = np.sqrt(np.maximum(np.einsum("cm,cmk,ck->c", apart, grams, apart), 0))
    unit = np.einsum("cm,cm->c", sizes, np.sqrt(np.einsum("cmm->cm", grams)))
    assert (moved <= 2e-3 * unit).all()


def test_large_batches_of_several_solves_do_not_deadlock():
    """Batched library factorizations can deadlock in XLA; ours must not use them."""
    m = _linear.UNROLLED_IN_A_BATCH + 1
    k = jnp.asarray(gramians.nasty(m, 3, decades=0.0))[jnp.arange(4000) % 3]
    both = jax.jit(jax.vmap(lambda g: (solvers.bargain(g), solvers.min_norm(2 * g))))
    assert "custom_call" not in both.lower(k).as_text()
    assert np.isfinite(np.asarray(both(k)[0].value)).all()


@EVERY
def test_batches_and_derivatives_compose_with_jit_on_either_side(solve):
    """float64 certificates inside a float32 program must survive every order."""
    k = jnp.asarray(gramians.nasty(3, 4, decades=0.5), jnp.float32)
    traces = []

    @jax.jit
    def run(gram):
        traces.append(1)
        return jax.vmap(solve)(gram)

    expected = run(k)
    for scale in (2, 3):
        run(scale * k)
    assert len(traces) == 1  # other values, the same program
    outside = jax.vmap(jax.jit(solve))(k)
    np.testing.assert_allclose(outside.value, expected.value, rtol=1e-4)
    scanned = jax.lax.scan(lambda _, g: (None, solve(g)), None, k)[1]
    np.testing.assert_allclose(scanned.value, expected.value, rtol=1e-4)
    assert scanned.error.dtype == jnp.float32
    pull = jax.vmap(jax.jit(jax.grad(lambda g: jnp.sum(jax.jit(solve)(g).value))))(k)
    assert pull.shape == k.shape
    assert np.isfinite(np.asarray(pull)).all()


@EVERY
def test_nan_and_infinity_come_out_as_nan_and_not_converged(solve):
    for m in (2, 5, 12):
        k = np.stack([np.eye(m)] * 4)
        k[0, 0, 1] = k[0, 1, 0] = np.nan
        k[1, 0, 1] = k[1, 1, 0] = np.inf
        k[2, 0, 0] = np.nan
        out = jax.jit(jax.vmap(solve))(jnp.asarray(k))
        assert np.isnan(np.asarray(out.value)[:3]).all()
        assert np.isfinite(np.asarray(out.value)[3]).all()
        assert out.converged.tolist() == [False, False, False, True]


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
    platforms = ("cpu", "cuda", "rocm", "tpu")
    for m in (5, 12):
        shape = jax.ShapeDtypeStruct((3, m, m), jnp.float32)
        batch = jax.jit(jax.vmap(jax.grad(lambda k: jnp.sum(solve(k).value))))
        jax.export.export(batch, platforms=platforms)(shape)


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
        (
            lambda: solvers.project_cone(jnp.eye(2), jnp.ones(3)),
            r"target: expected shape \[2\] or \[r, 2\]",
        ),
        (
            lambda: solvers.nonnegative_qp(jnp.ones(3), jnp.ones(3)),
            r"Q: expected shape \[m, m\]",
        ),
        (
            lambda: solvers.nonnegative_qp(jnp.eye(2), jnp.ones(3)),
            r"q: expected shape \[2\]",
        ),
        (lambda: solvers.trade_off(jnp.eye(2), -1.0), "c: expected a number"),
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
