"""Sets of preferences: moments, energies by hand, and fronts that come out even."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paretax import ensembles, metrics, problems

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


even_out = jax.jit(ensembles.even_out)


def on_the_simplex(points):
    points = np.asarray(points)
    return (points >= 0).all() and np.allclose(points.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 5.0, (0.5, 1.0, 2.5)])
def test_dirichlet_has_the_moments_of_its_law(alpha):
    draw = jax.jit(lambda key, a: ensembles.dirichlet(key, 40_000, 3, concentration=a))
    points = np.asarray(draw(jax.random.key(0), jnp.asarray(alpha)))
    assert points.shape == (40_000, 3)
    assert on_the_simplex(points)
    a = np.broadcast_to(alpha, 3)
    mean = a / a.sum()
    variance = mean * (1 - mean) / (a.sum() + 1)
    error = np.sqrt(variance / 40_000)
    assert (np.abs(points.mean(axis=0) - mean) < 5 * error).all()
    np.testing.assert_allclose(points.var(axis=0), variance, rtol=0.05)


def energy(points, s):
    """Σ_{i≠j} ‖xᵢ − xⱼ‖⁻ˢ in NumPy's float64."""
    points = np.asarray(points, np.float64)
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    return (apart[~np.eye(len(points), dtype=bool)] ** -s).sum()


def lattice(k, m):
    """The simplex's corners, or those and the centers of its edges."""
    corners = np.eye(m)
    middles = [(corners[i] + corners[j]) / 2 for i in range(m) for j in range(i)]
    return np.concatenate([corners, middles])[:k]


@pytest.mark.parametrize(
    ("k", "m", "known"),
    [
        (3, 2, lattice(3, 2)),
        (4, 3, np.concatenate([np.eye(3), np.full((1, 3), 1 / 3)])),
        (6, 3, lattice(6, 3)),
        (10, 4, lattice(10, 4)),
    ],
)
def test_riesz_points_are_the_symmetric_ones_where_those_are_best(k, m, known):
    points = ensembles.riesz_energy(jax.random.key(1), k, m, num_starts=16)
    assert points.converged
    assert on_the_simplex(points.value)
    known = known[np.lexsort(known.T[::-1])]
    np.testing.assert_allclose(points.value, known, atol=1e-3)


def test_riesz_points_beat_all_others_nearby_and_a_grid():
    with jax.enable_x64(True):
        points = ensembles.riesz_energy(jax.random.key(0), 15, 3, exponent=4.0)
    assert points.converged
    assert float(points.error) <= 1e-8
    x = np.asarray(points.value)
    best = energy(x, 4.0)
    assert best < energy(ensembles.das_dennis(3, 4), 4.0)
    rng = np.random.default_rng(0)
    for size in np.geomspace(1e-5, 0.1, 300):
        near = np.maximum(x + size * rng.normal(size=(15, 3)), 0)
        near = near / near.sum(axis=1, keepdims=True)
        assert energy(near, 4.0) > best
    # pymoo 0.6.2, get_reference_directions("energy", 3, 15, seed=1), comes to this
    # mean of 1/d⁶, in logarithms.
    with jax.enable_x64(True):
        points = ensembles.riesz_energy(jax.random.key(0), 15, 3).value
    assert np.log(energy(points, 6.0) / (15 * 14)) < 5.01894


def test_riesz_points_are_the_same_in_float32_and_say_when_steps_run_out():
    single = ensembles.riesz_energy(jax.random.key(0), 10, 3)
    assert single.converged
    assert single.value.dtype == jnp.float32
    np.testing.assert_allclose(np.log(energy(single.value, 6) / 90), 3.62307, atol=1e-4)
    cut = ensembles.riesz_energy(jax.random.key(0), 10, 3, max_steps=3)
    assert not cut.converged
    assert cut.steps == 3
    assert on_the_simplex(cut.value)


def fronts_of_quadratics(condition, m=2):
    """Losses of the exact minimizers of weighted sums, and the sets of preferences."""
    q = problems.quadratics(
        jax.random.key(6), condition=condition, dim=5, num_objectives=m
    )
    return jax.jit(lambda w: jax.vmap(lambda v: q.problem.losses(q.optimum(v)))(w))


def relative(losses):
    low, high = losses.min(axis=0), losses.max(axis=0)
    return (losses - low) / (high - low)


def test_a_few_rounds_make_a_quadratic_front_even():
    with jax.enable_x64(True):
        front = fronts_of_quadratics(100.0)
        scale = jnp.array([1e3, 1e-2])  # units do not matter
        even = jax.jit(lambda w: ensembles.even_out(w, scale * front(w)))
        w = ensembles.das_dennis(2, 11)
        spacings, unevenness = [], []
        for _ in range(7):
            f = relative(front(w))
            gaps = np.linalg.norm(np.diff(f, axis=0), axis=1)
            unevenness.append(gaps.std() / gaps.mean())
            spacings.append(float(metrics.spacing(f)))
            w = even(w)
            assert on_the_simplex(w)
            np.testing.assert_array_equal(w[jnp.array([0, -1])], [[0, 1], [1, 0]])
            assert (jnp.diff(w[:, 0]) > 0).all()
    assert unevenness[0] > 0.5
    assert unevenness[3] < 0.1 * unevenness[0]
    assert unevenness[6] < 0.01 * unevenness[0]
    assert spacings[4] < 0.4 * spacings[0]


def test_an_even_front_is_a_fixed_point():
    with jax.enable_x64(True):
        angle = np.linspace(0, np.pi / 2, 9)
        losses = np.stack([7 - 7 * np.sin(angle), 1 - np.cos(angle)], axis=1)
        inner = np.sort(np.random.default_rng(0).uniform(size=7))
        first = np.concatenate([[0.0], inner, [1.0]])
        w = np.stack([first, 1 - first], axis=1)
        np.testing.assert_allclose(even_out(w, losses), w, atol=1e-12)


def test_new_preferences_worked_by_hand_and_rows_stay_with_their_members():
    # Sides 3 and 1 in units of the range 4: the middle one goes to length 2 of 4, two
    # thirds of the way along the first side, from λ₁ = 0.1 to 0.7.
    w = jnp.array([[0.1, 0.9], [0.7, 0.3], [0.9, 0.1]])
    losses = jnp.array([[4.0, 5.0], [1.0, 5.0], [0.0, 5.0]])
    expected = jnp.array([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]])
    np.testing.assert_allclose(even_out(w, losses), expected, rtol=1e-6)
    for order in ([2, 0, 1], [1, 2, 0]):
        at = jnp.array(order)
        np.testing.assert_allclose(even_out(w[at], losses[at]), expected[at], rtol=1e-6)


def test_members_that_are_lost_keep_their_preference_and_do_not_count():
    w = jnp.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.9, 0.1]])
    losses = jnp.array([[4.0, 5.0], [jnp.nan, 1.0], [1.0, 5.0], [0.0, 5.0]])
    new = even_out(w, losses)
    np.testing.assert_allclose(
        new, [[0.1, 0.9], [0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], rtol=1e-6
    )
    for few in (losses.at[2:].set(jnp.inf), jnp.full((4, 2), jnp.nan)):
        np.testing.assert_array_equal(even_out(w, few), w)


def test_without_any_spread_nothing_moves_and_copies_do_no_harm():
    w = ensembles.das_dennis(2, 4)
    np.testing.assert_array_equal(even_out(w, jnp.ones((5, 2))), w)
    # Three members at one end: the others share what there is.
    losses = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    new = even_out(w, losses)
    np.testing.assert_allclose(new[:, 0], [0, 0.0625, 0.125, 0.1875, 1.0])
    assert on_the_simplex(new)


def test_preferences_lower_for_every_accelerator():
    def every(key, losses):
        grid = ensembles.das_dennis(2, 4)
        return (
            ensembles.dirichlet(key, 5, 3),
            ensembles.riesz_energy(key, 5, 3, max_steps=10),
            ensembles.even_out(grid, losses),
        )

    jax.export.export(jax.jit(every), platforms=PLATFORMS)(
        jax.random.key(0), jnp.ones((5, 2))
    )


KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ensembles.dirichlet(KEY, 0, 2), "num_members: expected at least 1"),
        (lambda: ensembles.dirichlet(KEY, 2, 2, concentration=0.0), "above 0"),
        (lambda: ensembles.dirichlet(KEY, 2, 2, concentration=[1.0]), r"shape \(2,\)"),
        (lambda: ensembles.riesz_energy(KEY, 1, 3), "num_members: expected at least 2"),
        (lambda: ensembles.riesz_energy(KEY, 4, 3, exponent=0.0), "exponent"),
        (lambda: ensembles.riesz_energy(KEY, 4, 3, num_starts=0), "num_starts"),
        (lambda: ensembles.riesz_energy(jnp.zeros(2), 4, 3), "key: expected one typed"),
        (lambda: ensembles.even_out(np.eye(3), np.eye(3)), "expected 2 objectives"),
        (lambda: ensembles.even_out(np.eye(2), np.ones((3, 2))), "losses: expected sh"),
        (lambda: ensembles.even_out(np.ones((2, 2)), np.eye(2)), r"preferences\[0\]"),
        (lambda: ensembles.even_out([[0.5, 0.5]], [[1.0, 1.0]]), "n at least 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
