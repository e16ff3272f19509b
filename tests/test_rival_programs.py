"""The inner problems of the rivals, against HiGHS, Clarabel and loops in NumPy."""

import functools
import itertools

import gramians
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from paretax import ensembles
from paretax.solvers import reference


def epo_program(gram, losses, r, tol=1e-4):
    """EPO's linear program as its paper has it: cost, matrix and sides of A w ≤ b."""
    m = len(gram)
    share = r * losses / (r * losses).sum()
    mu = (share * np.log(m * share)).sum()
    anchor = r * (np.log(m * share) - mu)
    image = gram @ anchor
    if mu <= tol:
        rows, sides = [*-gram, -image], [*np.zeros(m), -min(0, image.max())]
        return -gram.sum(0), np.array(rows), np.array(sides)
    bounds = {}
    for i in range(m):
        if r[i] * losses[i] == max(r * losses) or not (image > 0).any():
            bounds[i] = 0.0
        elif image[i] <= 0:
            bounds[i] = image[i]
    rows = [-gram[i] for i in bounds]
    return -image, np.array(rows), -np.array(list(bounds.values()))


def epo_cases(m):
    """Gramians, losses and preferences; the last three of m = 2 are known by hand."""
    jac, _ = gramians.stack(m)
    grams = np.concatenate([jac @ jac.transpose(0, 2, 1), gramians.nasty(m, 12)])
    rng = np.random.default_rng(m)
    losses = rng.uniform(0.1, 3.0, (len(grams), m))
    r = rng.dirichlet(np.full(m, 2.0), len(grams))
    balanced = rng.random(len(grams)) < 0.4
    losses[balanced] = 1 / r[balanced]
    if m == 2:
        grams = np.concatenate([grams, np.stack([np.eye(2)] * 3)])
        losses = np.concatenate([losses, [[1.0, 3.0], [0.0, 1.0], [-1.0, 1.0]]])
        r = np.concatenate([r, np.full((3, 2), 0.5)])
    return grams, losses, r


@functools.cache
def epo_answers(m):
    """For m = 4 the last task is missing in every other case."""
    grams, losses, r = epo_cases(m)
    active = np.ones(losses.shape, bool)
    active[::2, 3:] = False
    masked = active[:, :, None] & active[:, None]

    def weigh(gram, f, p, mask):
        weighting = ensembles.epo(p)
        mask = None if m == 2 else mask
        return weighting.update(gram, weighting.init(m), losses=f, active=mask)

    with jax.enable_x64(True):
        data = np.where(masked, grams, np.nan), np.where(active, losses, np.nan), r
        answers = jax.jit(jax.vmap(weigh))(*data, active)
        return *jax.tree.map(np.asarray, answers), active


@pytest.mark.parametrize("m", [2, 4])
def test_epo_solves_its_linear_program(m):
    """As good as HiGHS, in units of the largest entry of each row."""
    weights, state, active = epo_answers(m)
    grams, losses, r = epo_cases(m)
    infeasible = 0
    for i in range(len(grams) - (3 if m == 2 else 0)):
        mask = active[i]
        w, k = weights[i, mask], grams[i][mask][:, mask]
        assert weights[i].sum() == pytest.approx(1, abs=1e-8)
        assert w.min() >= 0
        cost, rows, sides = epo_program(k, losses[i, mask], r[i, mask])
        unit = np.maximum(np.abs(rows).max(1), 1e-300)
        rows, sides = rows / unit[:, None], sides / unit
        size = max(np.abs(cost).max(), 1e-300)
        best = linprog(cost / size, rows, sides, np.ones((1, mask.sum())), [1.0])
        if not state.converged[i]:
            infeasible += 1
            assert best.status == 2
            assert (rows[: mask.sum()] @ w).max() < 1e-6
            continue
        assert (rows @ w - sides).max() < 1e-7
        assert cost @ w / size == pytest.approx(best.fun, abs=1e-6)
    assert infeasible < len(grams) / 4


def test_epo_balances_by_hand_and_shows_a_negative_loss():
    """Orthogonal unit gradients, r = (½, ½), f = (1, 3): only the larger may descend.

    f̂ = (¼, ¾), so a₁ < 0 < a₂ and Ka = a: max w₁a₁ + w₂a₂ with w₂ ≥ 0, w₁ ≥ a₁ is at
    w = (0, 1); the more so where the first loss has vanished.
    """
    weights, state, _ = epo_answers(2)
    np.testing.assert_allclose(weights[-3:-1], [[0, 1], [0, 1]], atol=1e-6)
    assert np.isnan(weights[-1]).all()
    assert state.converged[-3:].tolist() == [True, True, False]


@functools.cache
def pmgda_answers(m):
    """For m = 3 the last task is missing in every other case; m = 2 ends on its ray."""
    rng = np.random.default_rng(m)
    jac = np.concatenate(
        [gramians.stack(m, stationary=False)[0], rng.normal(size=(12, m, m + 3))]
    )
    losses = rng.uniform(0.5, 3.0, (len(jac), m))
    p = rng.dirichlet(np.ones(m), len(jac))
    active = np.ones(losses.shape, bool)
    active[::2, 2:] = False
    if m == 2:
        jac[-1], losses[-1], p[-1] = (
            np.diag([2.0, 1.0]) @ np.eye(2, 5),
            [1, 3],
            [0.25, 0.75],
        )

    def weigh(jac, f, p, mask):
        weighting = ensembles.pmgda(p, sigma=0.8)
        mask = None if m == 2 else mask
        return weighting.update(jac @ jac.T, weighting.init(m), losses=f, active=mask)

    with jax.enable_x64(True):
        data = (
            np.where(active[:, :, None], jac, np.nan),
            np.where(active, losses, np.nan),
        )
        answers = jax.jit(jax.vmap(weigh))(*data, p, active)
        weights, state = jax.tree.map(np.asarray, answers)
    return jac, losses, p, active, weights, state.converged


@pytest.mark.parametrize("m", [2, 3])
def test_pmgda_solves_its_linear_program(m):
    """The least harm among directions that turn to the ray; by HiGHS, from J itself."""
    *cases, converged = pmgda_answers(m)
    # Norms of 1e-4 beside 1e4 put the least harm below the tolerance.
    assert (~converged).sum() <= 1
    last = len(converged) - (m == 2)
    for jac, f, ray, mask, w, ok in zip(
        *(x[:last] for x in cases), converged[:last], strict=True
    ):
        rows, f, ray, n = jac[mask], f[mask], ray[mask], mask.sum()
        u = ray / np.linalg.norm(ray)
        off = f - (u @ f) * u
        slope = (off / np.linalg.norm(off)) @ rows
        wide = np.vstack([rows, slope])
        unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        size = np.linalg.norm(rows, axis=1).max()
        above = np.hstack([-(rows / size) @ unit.T, -np.ones((n, 1))])
        turn = np.append(-unit[-1] @ unit.T, 0.0)[None]
        best = linprog(
            np.append(np.zeros(n + 1), 1.0),
            np.vstack([above, turn]),
            np.append(np.zeros(n), -0.8),
            np.append(np.ones(n + 1), 0.0)[None],
            [1.0],
            bounds=[(0, None)] * (n + 1) + [(None, None)],
        )
        d = w[mask] @ rows
        assert unit[-1] @ d >= 0.8 - 1e-6
        if ok:
            assert (-(rows / size) @ d).max() == pytest.approx(best.fun, abs=1e-6)


def test_pmgda_predicts_by_mgda_on_its_ray():
    *_, weights, converged = pmgda_answers(2)
    np.testing.assert_allclose(weights[-1], [0.2, 0.8], atol=1e-9)
    assert converged[-1]


def test_pareto_mtl_solves_the_problem_of_each_phase():
    """Rows of the hull picked by hand, weights by cvxpy, for m = 3."""
    rng = np.random.default_rng(0)
    grid = np.array(
        [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]]
    )
    u = grid / np.linalg.norm(grid, axis=1, keepdims=True)
    weighting = ensembles.pareto_mtl(grid[0], grid)
    update = jax.jit(weighting.update)
    state = weighting.init(3)
    for losses in ([0.2, 3.0, 0.3], [1.0, 1.0, 1.0], [4.0, 0.5, 0.5], [1.0, 1.2, 1.0]):
        jac, f = rng.normal(size=(3, 6)), np.array(losses)
        w, state = update(jnp.asarray(jac @ jac.T), state, losses=jnp.asarray(f))
        active = (u - u[0])[(u - u[0]) @ f > 0]
        assert bool(state.inside) == (losses[0] >= 1 and losses != [1.0, 1.0, 1.0])
        rows = np.vstack([np.eye(3), active]) if state.inside else active
        expected = reference.min_norm(rows @ jac @ jac.T @ rows.T) @ rows
        np.testing.assert_allclose(w @ jac, expected @ jac, atol=2e-4)
        # Once inside, it stays in the second phase, with the constraints as rows.
        if losses == [4.0, 0.5, 0.5]:
            inside = w
    assert np.isfinite(inside).all()


def test_pareto_mtl_ends_its_first_phase_in_time_and_keeps_a_size():
    grid = [[0.9, 0.1], [0.1, 0.9]]
    weighting = ensembles.pareto_mtl(grid[0], grid, init_steps=2, normalize=True)
    state = weighting.init(2)
    seen = []
    for _ in range(3):
        w, state = weighting.update(
            jnp.diag(jnp.array([1.0, 100.0])), state, losses=jnp.array([0.1, 1.0])
        )
        seen.append(bool(state.inside))
    assert seen == [False, False, True]
    assert float(jnp.abs(w).sum()) == pytest.approx(2, rel=1e-5)
    w, state = weighting.update(
        jnp.eye(2), weighting.init(2), losses=jnp.array([jnp.nan, 1])
    )
    assert not bool(state.inside)
    assert not bool(state.converged)
    assert np.isnan(w).all()


def volume(points, r):
    """Hypervolume by inclusion and exclusion over all subsets."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            total -= (-1) ** size * np.prod(np.maximum(r - np.max(some, axis=0), 0))
    return total


def fronts(y):
    left, out = set(range(len(y))), []
    while left:
        front = {
            i
            for i in left
            if not any((y[j] <= y[i]).all() and (y[j] < y[i]).any() for j in left)
        }
        out.append(sorted(front))
        left -= front
    return out


@pytest.mark.parametrize("m", [2, 3, 4])
def test_hypervolume_weights_are_the_slopes_of_each_front(m):
    """By central differences of the volume of each front, in float64."""
    y = np.random.default_rng(m).uniform(0, 3, (7, m))
    y[0] = y[1] + 0.1
    r, step = np.full(m, 2.0), 1e-5
    point = np.maximum(r, 1.1 * y.max(0))
    expected = np.zeros_like(y)
    assert len(fronts(y)) > 1
    for front in fronts(y):
        for i, c in itertools.product(front, range(m)):
            ends = []
            for sign in (1, -1):
                moved = y.copy()
                moved[i, c] += sign * step
                ends.append(volume(moved[front], point))
            expected[i, c] = (ends[1] - ends[0]) / (2 * step)
    with jax.enable_x64(True):
        for normalize in (False, True):
            method = ensembles.hypervolume_gradient(r, normalize=normalize)
            weights, state = method.update(
                None, method.init(7, m), losses=jnp.asarray(y), finite=jnp.ones(7, bool)
            )
            np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-8)
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert state.converged.all()


def test_copies_of_a_member_get_its_weights_and_a_lost_member_counts_for_nothing():
    method = ensembles.hypervolume_gradient([4.0, 4.0], normalize=False)
    y = jnp.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [jnp.nan, 0.0]])
    weights, state = method.update(
        None, method.init(4, 2), losses=y, finite=jnp.array([True, True, True, False])
    )
    np.testing.assert_allclose(weights[:3], [[2, 1], [1, 2], [2, 1]])
    assert np.isnan(weights[3]).all()
    assert state.converged.tolist() == [True, True, True, False]


def test_moo_svgd_is_its_formula():
    """Double loop in NumPy; the shortest of two vectors in closed form."""
    rng = np.random.default_rng(0)
    jac, f = rng.normal(size=(4, 2, 5)), rng.uniform(0, 2, (4, 2))
    square = ((f[:, None] - f[None]) ** 2).sum(-1)
    h = np.median(square) / np.log(4)
    expected = np.zeros((4, 5))
    for k, j in itertools.product(range(4), range(4)):
        a, b = jac[j]
        share = np.clip((b - a) @ b / ((a - b) @ (a - b)), 0, 1)
        near = np.exp(-square[k, j] / h)
        slope = -2 * (f[k] - f[j]) / h * near
        expected[k] += (near * (share * a + (1 - share) * b) + slope @ jac[k]) / 4
    tx = ensembles.combine_members(ensembles.moo_svgd(), 4, 2)
    with jax.enable_x64(True):
        out, _ = jax.jit(lambda j, f: tx.update(j, tx.init(()), losses=f))(jac, f)
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-12)


def test_one_member_of_moo_svgd_is_mgda():
    jac = jnp.asarray([[[2.0, 0.0], [0.0, 1.0]]])
    tx = ensembles.combine_members(ensembles.moo_svgd(), 1, 2)
    out, _ = jax.jit(lambda j, f: tx.update(j, tx.init(()), losses=f))(
        jac, jnp.ones((1, 2))
    )
    np.testing.assert_allclose(out, [[0.4, 0.8]], rtol=1e-5)
