"""The shortest vector, the dual cone and the trade-off: optimality and referees."""

import warnings

import gramians
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paretax import solvers
from paretax.solvers import _nnqp, _project_cone, reference


def units(grams):
    return np.sqrt(np.einsum("...mm->...m", grams))


def size(grams, weights):
    weights = np.abs(weights)
    return np.sqrt(np.einsum("...m,...mk,...k", weights, np.abs(grams), weights))


def many(m):
    """How many problems at once: those of 40 tasks run long, not those of 7."""
    return 150 if m < 40 else 45


@jax.jit
def shortest(grams):
    return jax.vmap(solvers.min_norm)(grams)


@jax.jit
def programs(grams, q):
    return jax.vmap(solvers.nonnegative_qp)(grams, q)


@jax.jit
def project_all(grams):
    target = jnp.eye(grams.shape[-1])
    return jax.lax.map(lambda k: solvers.project_cone(k, target), grams)


@jax.jit
def trade_offs(grams, c):
    return jax.lax.map(lambda k: solvers.trade_off(k, c), grams)


def repeated(solve, size, *arrays):
    """Repeated to the size at which `solve` is compiled already."""
    count = len(arrays[0])
    out = solve(*(jnp.asarray(x[np.arange(size) % count]) for x in arrays))
    return jax.tree.map(lambda x: np.asarray(x)[:count], out)


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize("m", [1, 2, 3, 7, 40])
def test_the_shortest_vector_satisfies_its_optimality_conditions(m, x64):
    with jax.enable_x64(x64):
        grams = jnp.asarray(gramians.nasty(m, many(m)), dtype=float)
        out = shortest(grams)
        assert np.asarray(out.converged).all()
        grams, w = np.asarray(grams, np.float64), np.asarray(out.value, np.float64)
        assert (w >= 0).all()
        np.testing.assert_allclose(w.sum(1), 1, atol=1e-12 if x64 else 1e-6)
        image = np.einsum("cmk,ck->cm", grams, w)
        square = np.einsum("cm,cm->c", w, image)
        gap = (square[:, None] - image) / (units(grams) * size(grams, w)[:, None])
        assert (gap <= (1e-8 if x64 else 1e-4)).all()


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize("m", [1, 3, 7, 30])
def test_projections_satisfy_their_optimality_conditions(m, x64):
    """Pivots row by row up to 5, products for all rows beyond; every row of each."""
    with jax.enable_x64(x64):
        grams = jnp.asarray(gramians.nasty(m, 45), dtype=float)
        target = jnp.eye(m)
        out = project_all(grams)
        assert np.asarray(out.converged).all()
        grams, v = np.asarray(grams, np.float64), np.asarray(out.value, np.float64)
        assert (v >= np.asarray(target)).all()
        image = np.einsum("crk,cmk->crm", v, grams)
        image /= units(grams)[:, None] * size(grams[:, None], v)[..., None]
        tol = 1e-8 if x64 else 1e-4
        assert (image >= -tol).all()
        assert (np.abs(image)[v > np.asarray(target)] <= tol).all()


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize("m", [1, 2, 7, 40])
def test_nonnegative_programs_satisfy_their_optimality_conditions(m, x64):
    with jax.enable_x64(x64):
        grams = jnp.asarray(gramians.nasty(m, many(m)), dtype=float)
        inside = np.random.default_rng(m).normal(size=(many(m), m))
        q = jnp.einsum("cmk,ck->cm", grams, jnp.asarray(inside, dtype=float))
        out = programs(grams, q)
        assert np.asarray(out.converged).all()
        grams, q, x = (np.asarray(a, np.float64) for a in (grams, q, out.value))
        assert (x >= 0).all()
        unit = units(grams)
        rest = (np.einsum("cmk,ck->cm", grams, x) + q) / unit
        rest /= (np.abs(q / unit).max(1) + size(grams, x))[:, None]
        tol = 1e-8 if x64 else 1e-4
        assert (rest >= -tol).all()
        assert (np.abs(rest)[x > 0] <= tol).all()


def test_a_nonnegative_program_without_a_solution_says_so():
    flat = solvers.nonnegative_qp(jnp.zeros((2, 2)), jnp.array([-1.0, 1.0]))
    assert not bool(flat.converged)
    assert flat.value.tolist() == [0.0, 0.0]
    nan = solvers.nonnegative_qp(jnp.eye(2), jnp.array([jnp.nan, 1.0]))
    assert not bool(nan.converged)
    assert np.isnan(nan.value).all()


@pytest.mark.parametrize("decades", [0, 2, 4])
def test_the_sum_of_projections_conflicts_with_no_task(decades):
    """UPGrad's law, where a fixed regularization breaks it: task norms 1 to 1e4."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(decades)
        for m in (3, 7, 30):
            rows = rng.normal(size=(45, m, m + 1))
            rows -= 0.7 * rows.mean(1, keepdims=True)
            rows *= 10 ** rng.uniform(0, decades, size=(45, m, 1))
            grams = jnp.asarray(np.einsum("cmn,ckn->cmk", rows, rows))
            v = np.asarray(project_all(grams).value)
            direction = np.einsum("cm,cmn->cn", v.mean(1), rows)
            lengths = np.linalg.norm(rows, axis=2)
            slopes = np.einsum("cmn,cn->cm", rows, direction) / lengths
            assert (slopes >= -1e-8 * np.linalg.norm(direction, axis=1)[:, None]).all()


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize("m", [1, 2, 7, 30])
def test_trade_offs_satisfy_their_optimality_conditions(m, x64):
    with jax.enable_x64(x64):
        grams = jnp.asarray(gramians.nasty(m, 30), dtype=float)
        for c in (0.1, 0.4, 0.95):
            out = trade_offs(grams, c)
            good = np.asarray(out.converged)
            # Two of 120 have singular K, norms over eight decades and float32.
            assert good.mean() > (0.9 if not x64 else 0.999)
            values = np.asarray(out.value)[good]
            check_trade_offs(np.asarray(grams)[good], values, c, x64)


def check_trade_offs(grams, v, c, x64):
    """Equal slopes where x > 0, none below, and d at the rim of the ball."""
    tol = 1e-8 if x64 else 1.1e-4
    grams, v = grams.astype(np.float64), v.astype(np.float64)
    m = v.shape[1]
    mean = np.full(m, 1 / m)
    length = np.sqrt(np.einsum("m,cmk,k->c", mean, grams, mean))
    x = np.maximum(v - np.float64(v.dtype.type(1 / m)), 0)
    reach = np.sqrt(np.einsum("cm,cmk,ck->c", v - mean, grams, v - mean))
    image = np.einsum("cmk,ck->cm", grams, v)
    level = np.einsum("cm,cm->c", x, image) / x.sum(1)
    gap = (level[:, None] - image) / (units(grams) * (1 + c) * length[:, None])
    assert (gap <= 2 * tol).all()
    np.testing.assert_allclose(reach, c * length, rtol=2e-3 if not x64 else 1e-7)


@pytest.mark.parametrize("c", [0.4, 2.0])
def test_stationary_points_have_a_trade_off_too(c):
    """It harms no task if 0 lies within the ball, else it still beats the mean."""
    with jax.enable_x64(True):
        for m in (2, 7):
            jacs, names = gramians.stack(m, stationary=True)
            k = np.einsum("cmn,ckn->cmk", jacs, jacs)
            out = repeated(lambda k: trade_offs(k, c), 30, k)
            assert np.isfinite(out.value).all()
            good = out.converged
            assert good.any(), names
            v = out.value[good]
            slopes = np.einsum("cmk,ck->cm", k[good], v)
            scale = units(k[good]) * (1 + c) * np.sqrt(k[good].mean((1, 2)))[:, None]
            rounding = 1e-15 * np.einsum("cmm->c", k[good])[:, None]
            slack = 1e-8 * scale + rounding * np.abs(v).sum(1)[:, None]
            floor = 0 if c > 1 else k[good].mean(1).min(1, keepdims=True)
            assert (slopes >= floor - slack).all()


def test_no_radius_leaves_the_mean():
    out = solvers.trade_off(jnp.asarray([[4.0, -1.0], [-1.0, 1.0]]), 0.0)
    np.testing.assert_allclose(out.value, [0.5, 0.5])
    assert bool(out.converged)


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
        yield


@pytest.mark.usefixtures("quiet")
def test_cvxpy_agrees_on_the_shortest_vector_up_to_256_tasks():
    """By the objective: never worse than Clarabel."""
    with jax.enable_x64(True):
        for m, count in ((2, 12), (7, 12), (11, 9), (40, 3), (256, 1)):
            grams = gramians.nasty(m, count, seed=2, decades=0.5)
            if m <= 7:
                out = repeated(shortest, many(m), grams)
            else:  # one by one, by another factorization than in a batch
                out = jax.jit(lambda k: jax.lax.map(solvers.min_norm, k))(grams)
            for k, w in zip(grams, np.asarray(out.value), strict=True):
                theirs = reference.min_norm(k)
                assert w @ k @ w <= theirs @ k @ theirs + 1e-9 * np.trace(k) / m
                assert theirs @ k @ theirs <= w @ k @ w + 1e-6 * np.trace(k)


@pytest.mark.usefixtures("quiet")
def test_cvxpy_agrees_on_projections():
    with jax.enable_x64(True):
        for m, count in ((2, 6), (5, 6), (20, 2)):
            for k in gramians.nasty(m, count, seed=3, decades=0.5):
                target = np.random.default_rng(m).normal(size=(3, m))
                ours = solvers.project_cone(jnp.asarray(k), jnp.asarray(target))
                theirs = reference.project_cone(k, target)
                for v, w, t in zip(ours.value, theirs, target, strict=True):
                    unit = np.abs(t) @ np.abs(k) @ np.abs(t)
                    v = np.asarray(v)
                    assert v @ k @ v <= w @ k @ w + 1e-7 * unit
                    assert w @ k @ w <= v @ k @ v + 1e-6 * unit


@pytest.mark.usefixtures("quiet")
def test_cvxpy_agrees_on_nonnegative_programs():
    with jax.enable_x64(True):
        for m, count in ((2, 6), (7, 6), (20, 2)):
            grams = gramians.nasty(m, count, seed=5, decades=0.5)
            qs = grams @ np.random.default_rng(m).normal(size=m)
            if m <= 7:
                values = repeated(programs, many(m), grams, qs).value
            else:  # one by one, by another factorization than in a batch
                pairs = zip(jnp.asarray(grams), qs, strict=True)
                values = [solvers.nonnegative_qp(k, q).value for k, q in pairs]
            for k, q, x in zip(grams, qs, np.asarray(values), strict=True):
                y = reference.qp(k, q, G=-np.eye(m), h=np.zeros(m))
                ours, theirs = (0.5 * v @ k @ v + q @ v for v in (x, y))
                unit = np.abs(q) @ np.abs(x)
                assert ours <= theirs + 1e-7 * unit
                assert theirs <= ours + 1e-6 * unit


@pytest.mark.usefixtures("quiet")
def test_cvxpy_agrees_on_trade_offs():
    with jax.enable_x64(True):
        for m, count in ((2, 8), (7, 8), (30, 3), (100, 1)):
            grams = gramians.nasty(m, count, seed=4, decades=0.3)
            size = 30 if m <= 30 else count
            ours = repeated(lambda k: trade_offs(k, 0.5), size, grams)
            assert ours.converged.all()
            for k, v in zip(grams, ours.value, strict=True):
                slopes, theirs = k @ v, reference.trade_off(k, 0.5)
                unit = np.trace(k) / m
                assert slopes.min() >= theirs.min() - 1e-6 * unit
                assert slopes.min() <= theirs.min() + 1e-5 * unit


def test_pivots_and_the_interior_point_agree_where_clarabel_fails():
    """Norms over 1e-10…1e10, cosine −1 + 1e-6: two independent methods, one point."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        for m in (4, 11, 30):
            rows = rng.normal(size=(20, m, 3 * m))
            half = m // 2
            rows[:, half : 2 * half] *= 1e-3
            rows[:, half : 2 * half] -= rows[:, :half]
            rows *= 10 ** rng.uniform(-10, 10, size=(20, m, 1))
            k = jnp.asarray(np.einsum("cmn,ckn->cmk", rows, rows))
            c = jax.vmap(lambda g: solvers.condition(g).matrix)(k)
            b = jnp.asarray(rng.uniform(0.1, 1, size=(20, m)))
            pivoted = jax.jit(jax.vmap(_nnqp.nnqp))(c, b).x
            forced = jnp.ones(20, bool)
            inner = jax.vmap(_nnqp._interior_point)(c, b, forced).x
            value = [
                0.5 * jnp.einsum("cm,cmk,ck->c", x, c, x) - jnp.sum(b * x, axis=1)
                for x in (pivoted, inner)
            ]
            np.testing.assert_allclose(value[0], value[1], rtol=1e-7)


def test_rows_in_one_call_equal_rows_alone_by_either_method(monkeypatch):
    with jax.enable_x64(True):
        k = jnp.asarray(gramians.nasty(9, 1, decades=1.0)[0])
        together = solvers.project_cone(k, jnp.eye(9))
        alone = [solvers.project_cone(k, row) for row in jnp.eye(9)]
        assert together.value.shape == (9, 9)
        assert together.error.shape == (9,)
        assert alone[0].value.shape == (9,)
        assert alone[0].converged.shape == ()
        values = jnp.stack([one.value for one in alone])
        np.testing.assert_allclose(values, together.value, rtol=1e-6, atol=1e-9)
        monkeypatch.setattr(_project_cone, "_PIVOTED", 9)
        pivoted = solvers.project_cone(k, jnp.eye(9))
        np.testing.assert_allclose(pivoted.value, together.value, rtol=1e-6, atol=1e-9)


def test_dead_tasks_share_the_weight_of_the_shortest_vector():
    k = jnp.diag(jnp.asarray([1.0, 0.0, 2.0, 0.0]))
    assert solvers.min_norm(k).value.tolist() == [0.0, 0.5, 0.0, 0.5]


def test_a_dead_task_is_left_where_its_target_is():
    for m in (3, 8):
        k = jnp.eye(m).at[0, 0].set(0.0).at[1, 2].set(-0.5).at[2, 1].set(-0.5)
        out = solvers.project_cone(k, jnp.ones((1, m)).at[0, 1].set(-1.0))
        assert out.converged.tolist() == [True]
        assert float(out.value[0, 0]) == 1.0
