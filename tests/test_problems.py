"""The toy of the Nash-MTL paper against hand-worked values, brute force and descent."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import paretax as px
from paretax import ensembles, problems


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
