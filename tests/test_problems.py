"""Toy problems against hand-worked values, brute force and descent."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import paretax as px
from paretax import ensembles, metrics, problems


def by_hand(theta, scale=0.1):
    """The two losses in NumPy's float64, from the formulas of the paper's code."""
    x, y = np.moveaxis(np.asarray(theta, np.float64), -1, 0)
    f1 = np.log(np.maximum(np.abs((-x - 7) / 2 + np.tanh(y)), 5e-6)) + 6
    f2 = np.log(np.maximum(np.abs((7 - x) / 2 - np.tanh(y)), 5e-6)) + 6
    deep = (y + 8) ** 2 / 100 - 20
    q1, q2 = (x - 7) ** 2 / 10 + deep, (x + 7) ** 2 / 10 + deep
    up, down = np.maximum(np.tanh(y / 2), 0), np.maximum(np.tanh(-y / 2), 0)
    return np.stack([scale * (up * f1 + down * q1), up * f2 + down * q2], axis=-1)


def test_the_losses_at_points_worked_by_hand():
    toy = problems.nash_toy()
    zero = toy.losses(jnp.zeros(2))
    assert zero.tolist() == [0.0, 0.0]  # both tanh are 0
    # At (7, −8): q₁ = −20, q₂ = 14²/10 − 20 = −0.4, and tanh 4 = 0.9993293.
    np.testing.assert_allclose(
        toy.losses(jnp.array([7.0, -8.0])), [-1.9986586, -0.3997317], rtol=1e-6
    )
    # At (−7, 40) all tanh are ±1: f₁ = log 1 + 6 = 6 and f₂ = log(7 − 1) + 6.
    np.testing.assert_allclose(
        toy.losses(jnp.array([-7.0, 40.0])), [0.6, 7.7917595], rtol=1e-6
    )
    # On the floor of a ravine, at (−5, 40), the logarithm stops at 5e-6.
    np.testing.assert_allclose(
        toy.losses(jnp.array([-5.0, 40.0])), [-0.6206073, 7.6094379], rtol=1e-6
    )


@pytest.mark.parametrize("x64", [False, True])
def test_the_losses_are_the_formulas(x64):
    theta = np.random.default_rng(0).uniform(-10, 10, (200, 2))
    with jax.enable_x64(x64):
        toy = problems.nash_toy(scale=3.0)
        ours = jax.jit(jax.vmap(toy.losses))(jnp.asarray(theta, float))
        assert ours.dtype == toy.starts.dtype == (jnp.float64 if x64 else jnp.float32)
        tolerance = 1e-12 if x64 else 2e-4
        np.testing.assert_allclose(
            ours, by_hand(theta, 3.0), rtol=tolerance, atol=tolerance
        )


def test_gradients_match_finite_differences():
    theta = np.random.default_rng(1).uniform(-9, 9, (100, 2))
    with jax.enable_x64(True):
        toy = problems.nash_toy()
        ours = jax.jit(jax.vmap(jax.jacobian(toy.losses)))(jnp.asarray(theta))
    for j, step in enumerate(1e-6 * np.eye(2)):
        numeric = (by_hand(theta + step) - by_hand(theta - step)) / 2e-6
        np.testing.assert_allclose(ours[:, :, j], numeric, rtol=1e-5, atol=1e-7)


def test_at_the_tie_both_halves_pass_the_gradient_on():
    toy = problems.nash_toy()
    jac = jax.jacobian(toy.losses)(jnp.zeros(2))
    # ∂/∂θ₂ [tanh ½θ₂]₊ = ½ and of the other −½, so ∂ℓ/∂θ₂ = ½(f − q); all else is 0.
    # At 0: f₁ = f₂ = log 3.5 + 6 and q₁ = q₂ = 4.9 + 0.64 − 20 = −14.46.
    slope = (np.log(3.5) + 6 + 14.46) / 2
    np.testing.assert_allclose(jac, [[0, 0.1 * slope], [0, slope]], rtol=1e-6)


def test_the_floor_of_a_ravine_has_no_slope_and_no_nan():
    toy = problems.nash_toy()
    jac = jax.jacobian(toy.losses)(jnp.array([-5.0, 40.0]))
    np.testing.assert_allclose(jac[0], 0.0, atol=1e-12)
    assert jnp.isfinite(jac).all()


def test_the_front_goes_through_the_quoted_points():
    front = problems.nash_toy().front(5)
    np.testing.assert_allclose(front.theta[:, 0], [-7, -3.5, 0, 3.5, 7])
    np.testing.assert_allclose(front.theta[2, 1], -8.3552, atol=2e-4)
    quoted = [
        (-0.040, -19.989),
        (-0.897, -18.765),
        (-1.509, -15.092),
        (-1.877, -8.970),
        (-1.999, -0.399),
    ]
    # Three decimals, taken on the line θ₂ = −8.3552, at most 6.2e-4 from the front.
    np.testing.assert_allclose(front.losses, quoted, atol=1.2e-3)
    np.testing.assert_allclose(front.losses, by_hand(front.theta), rtol=1e-5)


def test_no_point_of_a_dense_grid_dominates_the_front():
    axis = np.linspace(-12, 12, 961)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    near = np.random.default_rng(2).normal(scale=0.05, size=(64, 2000, 2))
    with jax.enable_x64(True):
        toy = problems.nash_toy()
        front = jax.jit(lambda: toy.front(64))()
        losses = jax.jit(jax.vmap(toy.losses))
        everywhere = losses(jnp.asarray(grid))
        nearby = jax.jit(jax.vmap(losses))(front.theta[:, None] + jnp.asarray(near))

        def dominated(point, others):
            no_worse = jnp.all(others <= point, axis=-1)
            return jnp.any(no_worse & jnp.any(others < point, axis=-1))

        by_grid = jax.jit(jax.vmap(dominated, (0, None)))(front.losses, everywhere)
        by_neighbors = jax.jit(jax.vmap(dominated))(front.losses, nearby)
    assert not by_grid.any()
    assert not by_neighbors.any()


def test_the_front_is_stationary_and_runs_from_best_to_best():
    with jax.enable_x64(True):
        toy = problems.nash_toy()
        front = jax.jit(lambda: toy.front(101))()
        jac = jax.jit(jax.vmap(jax.jacobian(toy.losses)))(front.theta)
        share = (front.theta[:, 0] + 7) / 14  # of ℓ₁/scale; the rest is of ℓ₂
        weights = jnp.stack([share / 0.1, 1 - share], axis=1)
        np.testing.assert_allclose(
            jnp.einsum("nm,nmd->nd", weights, jac), 0.0, atol=1e-13
        )
        assert (jnp.diff(front.losses, axis=0) * jnp.array([-1, 1]) > 0).all()
        box = np.random.default_rng(3).uniform(-12, 12, (100_000, 2))
        best = by_hand(box).min(axis=0)
        assert (front.losses[jnp.array([-1, 0]), jnp.arange(2)] <= best).all()


def test_scale_changes_the_unit_of_the_first_loss_and_nothing_else():
    one, tenth = jax.jit(
        lambda: [problems.nash_toy(scale=s).front(20) for s in (1.0, 0.1)]
    )()
    np.testing.assert_array_equal(one.theta, tenth.theta)
    np.testing.assert_allclose(one.losses * jnp.array([0.1, 1.0]), tenth.losses, 1e-6)


def test_arguments_are_checked():
    toy = problems.nash_toy()
    with pytest.raises(ValueError, match="scale: expected a number above 0, got 0"):
        problems.nash_toy(scale=0)
    with pytest.raises(ValueError, match="n: expected at least 2, got 1"):
        toy.front(1)
    with pytest.raises(ValueError, match=r"theta: expected shape \(2,\), got \(5, 2\)"):
        toy.losses(toy.starts)


def end_points(toy, weightings, steps):
    """Adam with a rate of 1e-3 from every start, all weightings in one scan."""
    k = len(toy.starts)
    txs = [
        ensembles.per_member(optax.chain(px.combine(w, 2), optax.adam(1e-3)), k)
        for w in weightings
    ]

    def one(tx, theta, state):
        f, jac = jax.vmap(px.value_and_jacobian(toy.losses))(theta)
        updates, state = tx.update(jac, state, theta, losses=f)
        return optax.apply_updates(theta, updates), state

    def step(carry, _):
        return [one(tx, *c) for tx, c in zip(txs, carry, strict=True)], None

    @jax.jit
    def run(starts):
        carry = [(starts, tx.init(starts)) for tx in txs]
        last, _ = jax.lax.scan(step, carry, length=steps)
        return [jax.vmap(toy.losses)(theta) for theta, _ in last]

    return [np.asarray(losses, np.float64) for losses in run(toy.starts)]


def test_nash_mtl_reaches_the_front_from_all_starts_and_the_sum_does_not():
    toy = problems.nash_toy()
    nash, total = end_points(toy, [px.nash_mtl(), px.total()], 35_000)
    with jax.enable_x64(True):
        front = np.asarray(toy.front(20_001).losses)
    ranges = np.ptp(front, axis=0)

    def distance(points):
        gaps = (points[:, None] - front) / ranges
        return np.linalg.norm(gaps, axis=-1).min(axis=1)

    assert (distance(nash) < 1e-3).all()
    between = np.abs(nash[:, None] - nash) / ranges
    assert between.max() > 0.5  # they are spread over it

    right_most = np.argmax(by_hand(toy.starts)[:, 0])
    assert toy.starts[right_most].tolist() == [9.0, 9.0]
    assert distance(total)[right_most] > 0.5
    # From the first start the sum is late or in time by the luck of rounding.
    others = total[[1, 3, 4]]
    assert (distance(others) < 1e-3).all()
    assert (np.ptp(others, axis=0) / ranges).max() < 0.01


WITH_FRONTS = {
    "vlmop1": problems.vlmop1,
    "vlmop2": problems.vlmop2,
    "zdt1": problems.zdt1,
    "dtlz2": problems.dtlz2,
    "quadratics": lambda: problems.quadratics(jax.random.key(0)).problem,
    "quadratics of 3": lambda: (
        problems.quadratics(jax.random.key(1), num_objectives=3, dim=4).problem
    ),
}


@pytest.mark.parametrize("make", WITH_FRONTS.values(), ids=WITH_FRONTS)
def test_a_front_is_stationary_within_bounds_and_nothing_near_dominates_it(make):
    with jax.enable_x64(True):
        problem = make()
        front = jax.jit(lambda: problem.front(33))()
        losses = jax.jit(jax.vmap(problem.losses))
        np.testing.assert_allclose(losses(front.theta), front.losses, atol=1e-13)
        assert metrics.pareto_mask(front.losses).all()

        dim = front.theta.shape[1]
        whole = (jnp.full(dim, -jnp.inf), jnp.full(dim, jnp.inf))
        low, high = problem.bounds or whole
        assert ((front.theta >= low) & (front.theta <= high)).all()
        noise = np.random.default_rng(0).normal(size=(33, 500, dim))
        size = np.geomspace(1e-4, 1.0, 500)[:, None]
        around = jnp.clip(front.theta[:, None] + size * noise, low, high)
        others = jax.jit(jax.vmap(losses))(around)
        below = (others <= front.losses[:, None] - 1e-12).all(axis=-1)
        assert not below.any()

        # Some weights leave no direction, within the bounds, that lowers their sum.
        inside = front.theta[1:-1]
        jac = jax.jit(jax.vmap(jax.jacobian(problem.losses)))(inside)
        at_low, at_high = inside[:, None] <= low, inside[:, None] >= high
        weights = stationary_weights(jac * ~(at_low | at_high))
        slope = jnp.einsum("nm,nmd->nd", weights, jac)[:, None]
        blocked = (at_low & (slope >= 0)) | (at_high & (slope <= 0))
        assert (weights >= -1e-9).all()
        scale = np.abs(jac).max(axis=(1, 2))[:, None, None]
        np.testing.assert_allclose(slope * ~blocked / scale, 0.0, atol=1e-7)


def stationary_weights(jac):
    """Of each Gramian the eigenvector to its least eigenvalue, of sum 1."""
    jac = np.asarray(jac)
    _, vectors = np.linalg.eigh(np.einsum("nid,njd->nij", jac, jac))
    return vectors[:, :, 0] / vectors[:, :, 0].sum(axis=1, keepdims=True)


@pytest.mark.parametrize("make", WITH_FRONTS.values(), ids=WITH_FRONTS)
def test_problems_jit_and_lower_and_follow_the_float_type(make):
    for x64 in (False, True):
        with jax.enable_x64(x64):
            problem, dtype = make(), jnp.float64 if x64 else jnp.float32
            front = problem.front(3)
            assert front.theta.shape == (3, problem.starts.shape[1])
            kinds = {a.dtype for a in (*front, problem.starts, *(problem.bounds or ()))}
            assert kinds == {jnp.dtype(dtype)}
            assert problem.losses(problem.starts[0]).dtype == dtype
    problem = make()
    program = jax.jit(lambda x: (jax.jacobian(problem.losses)(x), problem.front(3)))
    platforms = ("cpu", "cuda", "rocm", "tpu")
    jax.export.export(program, platforms=platforms)(problem.starts[0])
    with pytest.raises(ValueError, match=r"for many points, jax\.vmap"):
        problem.losses(problem.starts)
    with pytest.raises(ValueError, match="n: expected at least 2, got 1"):
        problem.front(1)


def test_losses_of_the_toys_worked_by_hand():
    # d = 4: c = (½, ½, ½, ½). At 0 both distances are 1, at 2c they are 1 and 9.
    for theta, near, far in [(np.zeros(4), 1, 1), (np.ones(4), 1, 9)]:
        np.testing.assert_allclose(
            problems.vlmop1(dim=4).losses(theta), [near / 4, far / 4]
        )
        np.testing.assert_allclose(
            problems.vlmop2(dim=4).losses(theta),
            [1 - np.exp(-near), 1 - np.exp(-far)],
            rtol=1e-6,
        )
    # g = 1 + 9·(1 + 0)/2 = 5.5, so f₂ = 5.5 − √(0.25·5.5).
    value = problems.zdt1(dim=3).losses(jnp.array([0.25, 1.0, 0.0]))
    np.testing.assert_allclose(value, [0.25, 5.5 - 1.375**0.5], rtol=1e-6)
    # g = 0.25 + 0.01; θ₁ = ⅓ is 30°, θ₂ = ½ is 45°.
    value = problems.dtlz2(dim=4).losses(jnp.array([1 / 3, 0.5, 0.0, 0.6]))
    flat = 1.26 * 0.75**0.5 * 0.5**0.5
    np.testing.assert_allclose(value, [flat, flat, 0.63], rtol=1e-6)


def test_at_the_bounds_of_zdt1_the_derivatives_are_finite():
    problem = problems.zdt1(dim=3)
    jac = jax.jacobian(problem.losses)(jnp.clip(-jnp.ones(3), *problem.bounds))
    # ∂f₂/∂θ₁ = −½√(g/θ₁) = −500; the others are 4.5 (1 − ½√(θ₁/g)) = 4.49775.
    np.testing.assert_allclose(
        jac, [[1.0, 0.0, 0.0], [-500.0, 4.49775, 4.49775]], rtol=1e-6
    )


def test_the_front_of_dtlz2_is_even_by_area():
    front = jax.jit(lambda: problems.dtlz2().front(3000))().losses
    np.testing.assert_allclose(jnp.linalg.norm(front, axis=1), 1.0, rtol=1e-6)
    # On the sphere each coordinate is uniform: mean ½ and second moment ⅓.
    np.testing.assert_allclose(front.mean(axis=0), 0.5, atol=1e-3)
    np.testing.assert_allclose((front**2).mean(axis=0), 1 / 3, atol=1e-3)


def test_libmoons_table_of_vlmop1_is_of_vlmop2_with_eight_members():
    with jax.enable_x64(True):
        front = np.asarray(jax.jit(lambda: problems.vlmop2().front(100_001))().losses)
    share = np.linspace(0.01, 0.99, 8)
    at = np.searchsorted(front[:, 0] / front.sum(axis=1), share)
    points = front[at]  # where EPO puts its members: on the rays, exactly
    gaps = np.linalg.norm(points[:, None] - points, axis=2) + 9 * np.eye(8)
    assert round(metrics.host_hypervolume(points, [1.0, 1.0]), 3) == 0.283
    assert round(gaps.min(), 3) == 0.162
    assert round(np.std(gaps.min(axis=1)), 3) == 0.029
    sparsity = (np.diff(np.sort(points, axis=0), axis=0) ** 2).sum() / 7
    assert round(sparsity, 3) == 0.043
    rays = np.stack([share, 1 - share], axis=1)
    assert round((points * rays).sum(axis=1).mean(), 3) == 0.776
    with jax.enable_x64(True):
        other = np.asarray(jax.jit(lambda: problems.vlmop1().front(8))().losses)
    assert metrics.host_hypervolume(other, [1.0, 1.0]) > 0.7


@pytest.mark.parametrize("m", [2, 3])
def test_optima_of_quadratics_are_those_of_the_normal_equations(m):
    with jax.enable_x64(True):
        q = problems.quadratics(jax.random.key(2), num_objectives=m, condition=1e3)
        weights = jax.random.dirichlet(jax.random.key(3), jnp.ones(m), (50,))
        theta = jax.jit(jax.vmap(q.optimum))(weights)
        slopes = jax.jit(jax.vmap(jax.jacobian(q.problem.losses)))(theta)
    a, c, w = (np.asarray(x) for x in (q.hessians, q.centers, weights))
    np.testing.assert_allclose(np.einsum("km,kmd->kd", w, slopes), 0.0, atol=1e-9)
    for one, mine in zip(w, theta, strict=True):
        total = np.einsum("m,mij->ij", one, a)
        best = np.linalg.solve(total, np.einsum("m,mij,mj->i", one, a, c))
        np.testing.assert_allclose(mine, best, rtol=1e-8, atol=1e-10)
    spectrum = np.linalg.eigvalsh(a)
    np.testing.assert_allclose(spectrum, np.tile(1e3 ** (np.arange(20) / 19), (m, 1)))
    np.testing.assert_allclose(a, a.swapaxes(1, 2), atol=1e-12)


def test_neighboring_weights_have_neighboring_optima():
    # ‖θ(w) − θ(w′)‖ ≤ (G/μ) ‖w − w′‖₁, G the greatest gradient at an optimum, μ = 1.
    with jax.enable_x64(True):
        q = problems.quadratics(jax.random.key(4), num_objectives=3)
        w = jax.random.dirichlet(jax.random.key(5), jnp.full(3, 0.5), (200,))
        theta = jax.jit(jax.vmap(q.optimum))(w)
        slopes = jax.jit(jax.vmap(jax.jacobian(q.problem.losses)))(theta)
    most = np.linalg.norm(slopes, axis=-1).max()
    moved = np.linalg.norm(theta[:, None] - theta, axis=-1)
    assert (moved <= most * np.abs(w[:, None] - w).sum(axis=-1) + 1e-9).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: problems.vlmop1(dim=0), "dim: expected at least 1"),
        (lambda: problems.zdt1(dim=1), "dim: expected at least 2"),
        (lambda: problems.dtlz2(dim=2), "dim: expected at least 3"),
        (lambda: problems.quadratics(jax.random.key(0), condition=0.5), "condition"),
        (lambda: problems.quadratics(jax.random.key(0), num_objectives=1), "num_obj"),
        (lambda: problems.quadratics(jnp.zeros(2)), "key: expected one typed"),
    ],
)
def test_arguments_of_the_toys_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call()
