"""The metrics against moocore and loops, with every nasty kind of front."""

import sys

import jax
import jax.numpy as jnp
import moocore
import numpy as np
import pytest

from paretax import metrics


def fronts(m, n, seed=0):
    """Random points, a true front, duplicates, dominated ones, some beyond (1, 1)."""
    rng = np.random.default_rng([seed, m, n])
    random = rng.uniform(0, 1.3, (n, m))
    sphere = 1 - np.abs(rng.normal(size=(n, m)))
    sphere = 1 - (1 - sphere) / np.linalg.norm(1 - sphere, axis=1, keepdims=True)
    doubled = np.concatenate([sphere[: n // 2], sphere[: n - n // 2]])
    shifted = sphere + rng.uniform(0, 0.5, (n, 1))
    grid = rng.integers(0, 4, (n, m)) / 3.0
    outside = 1 + random
    return np.stack([random, sphere, doubled, shifted, grid, outside])


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("x64", [False, True])
def test_the_hypervolume_is_moocores(m, x64):
    reference = np.ones(m)
    with jax.enable_x64(x64):
        compute = jax.jit(jax.vmap(metrics.hypervolume, in_axes=(0, None)))
        for n in (1, 2, 7, 100):
            cases = np.concatenate([fronts(m, n, seed) for seed in range(3)])
            ours = compute(jnp.asarray(cases), jnp.asarray(reference))
            theirs = [moocore.hypervolume(case, ref=reference) for case in cases]
            np.testing.assert_allclose(ours, theirs, atol=1e-12 if x64 else 1e-5)


@pytest.mark.parametrize("x64", [False, True])
def test_the_hypervolume_of_many_objectives_is_moocores(x64):
    with jax.enable_x64(x64):
        compute = jax.jit(jax.vmap(metrics.hypervolume, in_axes=(0, None)))
        for m, n in [(4, 1), (4, 30), (5, 12), (6, 5)]:
            reference = np.ones(m)
            cases = np.concatenate([fronts(m, n, seed) for seed in range(3)])
            ours = compute(jnp.asarray(cases), jnp.asarray(reference))
            theirs = [moocore.hypervolume(case, ref=reference) for case in cases]
            assert max(theirs) > 0
            np.testing.assert_allclose(ours, theirs, atol=1e-12 if x64 else 1e-5)


def test_the_hypervolume_of_four_objectives_by_inclusion_and_exclusion():
    # Boxes to (2, 2, 2, 2): from (0, 1, 0, 1) 2·1·2·1 = 4, from (1, 0, 1, 0) 4, their
    # intersection from (1, 1, 1, 1) 1; (1, 1, 1, 1) adds nothing.
    points = jnp.array([[0, 1, 0, 1], [1, 0, 1, 0], [1, 1, 1, 1]], float)
    value, gradient = jax.value_and_grad(metrics.hypervolume)(points, jnp.full(4, 2.0))
    assert float(value) == 7.0
    # Each face of a box has 4 divided by its edge, less 1 where the others' box lies
    # behind it: edges of length 1 of the first box end on the second one's.
    np.testing.assert_allclose(gradient[0], [-2, -3, -2, -3])
    np.testing.assert_allclose(gradient[1], [-3, -2, -3, -2])
    assert (gradient[2] == 0).all()


def test_memory_of_the_gradient_grows_with_n_squared_and_not_with_the_work():
    def numbers(n):
        fun = jax.jit(jax.grad(metrics.hypervolume))
        compiled = fun.lower(jnp.ones((n, 4)), jnp.ones(4)).compile()
        return compiled.memory_analysis().temp_size_in_bytes / 4

    assert numbers(64) / numbers(16) < 1.5 * 4**2


def test_one_objective_and_no_points():
    assert float(metrics.hypervolume([[0.25], [0.5]], [1.0])) == 0.75
    for m in (1, 2, 3, 4):
        assert float(metrics.hypervolume(jnp.zeros((0, m)), jnp.ones(m))) == 0.0


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_the_gradient_matches_finite_differences_and_is_zero_when_dominated(m):
    with jax.enable_x64(True):
        y = jnp.asarray(fronts(m, 12)[3])
        reference = jnp.ones(m)
        volume = jax.jit(lambda p: metrics.hypervolume(p, reference))
        gradient = np.asarray(jax.jit(jax.grad(volume))(y))
        numeric = np.zeros(y.shape)
        for i, j in np.ndindex(*y.shape):
            step = 1e-6 * (np.arange(y.size) == i * m + j).reshape(y.shape)
            numeric[i, j] = (volume(y + step) - volume(y - step)) / 2e-6
        np.testing.assert_allclose(gradient, numeric, atol=1e-6)
        idle = ~np.asarray(metrics.pareto_mask(y)) | (np.asarray(y) >= 1).any(1)
        assert idle.any()
        assert (gradient[idle] == 0).all()
        assert (gradient <= 0).all()


@pytest.mark.parametrize("m", [2, 3, 4])
def test_dominated_points_have_no_gradient_at_ties_either(m):
    rng = np.random.default_rng(m)
    grid = jnp.asarray(rng.integers(0, 4, (40, 12, m)) / 4)
    slope = jax.jit(jax.vmap(jax.grad(metrics.hypervolume), (0, None)))
    gradient = slope(grid, jnp.ones(m))
    dominated = ~np.asarray(jax.vmap(metrics.pareto_mask)(grid))
    gradient = np.asarray(gradient)
    assert dominated.sum() > 100
    assert np.isfinite(gradient).all()
    assert (gradient[dominated] == 0).all()
    assert (gradient <= 0).all()
    assert (gradient[~dominated] < 0).any()


@pytest.mark.parametrize("m", [2, 3, 4])
def test_every_product_is_at_the_highest_precision(m):
    fun = jax.grad(metrics.hypervolume)
    text = str(jax.make_jaxpr(fun)(jnp.ones((5, m)), jnp.ones(m)))
    dots = text.count("dot_general[")
    assert dots > 0
    assert text.count("Precision.HIGHEST") == 2 * dots


def test_nan_is_never_counted_silently():
    for m in (2, 3, 4):
        points = jnp.full((3, m), 0.5).at[1, 0].set(jnp.nan)
        for compute in (
            metrics.hypervolume,
            jax.jit(metrics.hypervolume),
            metrics.host_hypervolume,
        ):
            assert np.isnan(float(compute(points, jnp.ones(m))))


def test_the_mask_keeps_what_moocore_keeps_duplicates_included():
    for m in (2, 3, 5):
        for case in fronts(m, 40):
            ours = np.asarray(metrics.pareto_mask(jnp.asarray(case, jnp.float32)))
            theirs = moocore.is_nondominated(
                case.astype(np.float32).astype(float), keep_weakly=True
            )
            np.testing.assert_array_equal(ours, theirs)
    assert metrics.pareto_mask(jnp.zeros((0, 2))).shape == (0,)


def test_shapes_are_checked():
    for points, reference, message in [
        (np.ones(3), np.ones(3), r"expected shape \[n, m\]"),
        (np.ones((2, 3)), np.ones(2), r"expected shape \[n, m\]"),
    ]:
        for compute in (metrics.hypervolume, metrics.host_hypervolume):
            with pytest.raises(ValueError, match=message):
                compute(points, reference)
    with pytest.raises(ValueError, match=r"expected shape \[n, m\]"):
        metrics.pareto_mask(np.ones(3))


def test_every_metric_lowers_for_every_accelerator():
    def everything(points, ends):
        pair, front = points[:, :2], points + 0.1
        return (
            jax.grad(metrics.hypervolume)(points, ends[0]),
            jax.grad(metrics.hypervolume)(points[:, :3], ends[0, :3]),
            metrics.pareto_mask(points),
            jax.grad(metrics.igd)(points, front),
            jax.grad(metrics.igd_plus)(points, front),
            jax.grad(metrics.spacing)(points),
            jax.grad(metrics.spread)(pair, ends[:2, :2]),
            jax.grad(metrics.generalized_spread)(points, ends),
            jax.grad(metrics.cross_angle)(points, front),
            metrics.nondominated_fraction(points),
        )

    shapes = [jax.ShapeDtypeStruct((n, 4), jnp.float32) for n in (5, 4)]
    platforms = ("cpu", "cuda", "rocm", "tpu")
    jax.export.export(jax.jit(everything), platforms=platforms)(*shapes)


@pytest.mark.parametrize("x64", [False, True])
def test_the_distances_to_the_front_are_moocores(x64):
    with jax.enable_x64(x64):
        both = jax.jit(
            jax.vmap(
                lambda y, z: (metrics.igd(y, z), metrics.igd_plus(y, z)), (0, None)
            )
        )
        for m, n in [(2, 1), (3, 30)]:
            cases, front = fronts(m, n), fronts(m, 17, 1)[1]
            igd, plus = both(jnp.asarray(cases), jnp.asarray(front))
            tolerance = {"rtol": 1e-12 if x64 else 1e-6}
            np.testing.assert_allclose(
                igd, [moocore.igd(case, front) for case in cases], **tolerance
            )
            np.testing.assert_allclose(
                plus, [moocore.igd_plus(case, front) for case in cases], **tolerance
            )


def test_igd_prefers_a_dominated_set_where_igd_plus_does_not():
    # Ishibuchi et al. 2015, example 4: every point of b is dominated by one of a.
    front = [[10, 0], [6, 1], [2, 2], [1, 6], [0, 10]]
    a, b = [[4, 2], [3, 3], [2, 4]], [[8, 2], [4, 4], [2, 8]]
    assert metrics.igd(a, front) > metrics.igd(b, front)
    assert metrics.igd_plus(a, front) < metrics.igd_plus(b, front)


def test_distances_at_a_front_point_have_value_and_derivative_zero():
    front = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    for metric in (metrics.igd, metrics.igd_plus):
        value, slope = jax.value_and_grad(metric)(front, front)
        assert float(value) == 0.0
        assert (slope == 0).all()
    # The point below the front counts for igd and not for igd_plus.
    better = front - 0.5
    assert float(metrics.igd_plus(better, front)) == 0.0
    np.testing.assert_allclose(metrics.igd(better, front), 0.5**0.5, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_metrics_neither_overflow_nor_vanish_far_from_one(scale):
    front = jnp.array([[0.0, 3.0], [1.0, 2.0], [3.0, 0.0]])
    ends, points = front[jnp.array([0, 2])], front + 0.25

    @jax.jit
    def compute(s):
        return jnp.stack(
            [
                metrics.igd(s * points, s * front) / s,
                metrics.spacing(s * points) / s,
                metrics.spread(s * points, s * ends),
                metrics.generalized_spread(s * points, s * ends),
                metrics.cross_angle(s * points, front),
            ]
        )

    np.testing.assert_allclose(compute(scale), compute(1.0), rtol=1e-5)


def by_hand_spread(points, ends):
    """Deb's Δ, Zhou's Δ* and Schott's spacing, by loops over points."""
    points = sorted(map(tuple, points))
    n, apart = len(points), lambda a, b: np.linalg.norm(np.subtract(a, b))
    gaps = [apart(points[i], points[i + 1]) for i in range(n - 1)]
    first, last = sorted(map(tuple, ends))
    missed = apart(points[0], first) + apart(points[-1], last)
    off = sum(abs(gap - np.mean(gaps)) for gap in gaps)
    deb = (missed + off) / (missed + (n - 1) * np.mean(gaps))
    others = [points[:i] + points[i + 1 :] for i in range(n)]
    near = [min(apart(p, q) for q in o) for p, o in zip(points, others, strict=True)]
    missed = sum(min(apart(e, p) for p in points) for e in ends)
    off = sum(abs(d - np.mean(near)) for d in near)
    zhou = (missed + off) / (missed + n * np.mean(near))
    city = [
        min(np.abs(np.subtract(p, q)).sum() for q in o)
        for p, o in zip(points, others, strict=True)
    ]
    return deb, zhou, np.std(city, ddof=1)


@pytest.mark.parametrize("x64", [False, True])
def test_spacing_and_spread_are_those_of_a_loop(x64):
    cases, ends = fronts(2, 12), np.array([[1.0, 0.1], [0.0, 0.9]])
    with jax.enable_x64(x64):
        ours = jax.jit(
            jax.vmap(
                lambda y: (
                    metrics.spread(y, jnp.asarray(ends)),
                    metrics.generalized_spread(y, jnp.asarray(ends)),
                    metrics.spacing(y),
                )
            )
        )(jnp.asarray(cases))
    theirs = np.transpose([by_hand_spread(case, ends) for case in cases])
    np.testing.assert_allclose(
        ours, theirs, rtol=1e-10 if x64 else 1e-4, atol=1e-13 if x64 else 1e-6
    )


def test_spread_worked_by_hand():
    # Gaps 1 and 3, mean 2, and one end missed by 2: (2 + 1 + 1)/(2 + 4).
    points, ends = [[0.0, 0.0], [1.0, 0.0], [4.0, 0.0]], [[6.0, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(metrics.spread(points, ends), 4 / 6, rtol=1e-6)
    # To the nearest: 1, 1 and 3, mean 5/3: (2 + 2/3 + 2/3 + 4/3)/(2 + 5).
    np.testing.assert_allclose(
        metrics.generalized_spread(points, ends), (14 / 3) / 7, rtol=1e-6
    )
    # √((4/9 + 4/9 + 16/9)/2)
    np.testing.assert_allclose(metrics.spacing(points), (4 / 3) ** 0.5, rtol=1e-6)
    even = np.stack([np.arange(5.0), 4 - np.arange(5.0)], axis=1)
    assert float(metrics.spacing(even)) == 0.0
    assert float(metrics.spread(even, even[[0, 4]])) < 1e-6


def test_the_angle_is_right_at_small_angles_and_blind_to_lengths():
    angle = np.deg2rad([1e-4, 0.05, 30.0, 90.0])
    losses = np.stack([np.cos(angle), np.sin(angle)], axis=1) * [[7.0], [1.0], [2], [3]]
    east = np.tile([5.0, 0.0], (4, 1))
    each = jax.vmap(lambda f, ray: metrics.cross_angle(f[None], ray[None]))
    np.testing.assert_allclose(each(losses, east), np.rad2deg(angle), rtol=1e-5)
    np.testing.assert_allclose(
        metrics.cross_angle(losses, east), np.rad2deg(angle).mean(), rtol=1e-6
    )
    gradient = jax.grad(metrics.cross_angle)(jnp.asarray(east), jnp.asarray(east))
    assert (gradient == 0).all()
    assert np.isnan(metrics.cross_angle(np.zeros((1, 2)), east[:1]))


def test_gradients_of_the_metrics_match_finite_differences():
    with jax.enable_x64(True):
        y = jnp.asarray(fronts(2, 6, 3)[3])
        z, ends = y[::-1] + 0.3, jnp.eye(2)
        every = jax.jit(
            lambda y: jnp.stack(
                [
                    metrics.igd(y, z),
                    metrics.igd_plus(y, z),
                    metrics.spacing(y),
                    metrics.spread(y, ends),
                    metrics.generalized_spread(y, ends),
                    metrics.cross_angle(y, z),
                ]
            )
        )
        ours = np.asarray(jax.jit(jax.jacrev(every))(y)).reshape(6, -1)
        numeric = [
            (every(y + step.reshape(y.shape)) - every(y - step.reshape(y.shape))) / 2e-6
            for step in 1e-6 * np.eye(y.size)
        ]
    np.testing.assert_allclose(ours, np.transpose(numeric), atol=1e-6)


def test_the_share_of_non_dominated_points_counts_nan_against_it():
    points = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert float(metrics.nondominated_fraction(points)) == 0.75
    points[2] = np.nan
    assert float(metrics.nondominated_fraction(points)) == 0.5


def test_a_nan_is_in_every_metric():
    good = jnp.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    bad = good.at[1, 1].set(jnp.nan)
    for value in jax.jit(
        lambda: (
            metrics.igd(bad, good),
            metrics.igd(good, bad),
            metrics.igd_plus(bad, good),
            metrics.igd_plus(good, bad),
            metrics.spacing(bad),
            metrics.spread(bad, good[:2]),
            metrics.generalized_spread(bad, good[:2]),
            metrics.cross_angle(bad, good),
            metrics.cross_angle(good, bad),
        )
    )():
        assert np.isnan(value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.igd(np.ones((0, 2)), np.ones((1, 2))), "n at least 1"),
        (lambda: metrics.igd(np.ones((1, 2)), np.ones(2)), "front: expected shape"),
        (lambda: metrics.igd_plus(np.ones((1, 2)), np.ones((1, 3))), "2 objectives"),
        (lambda: metrics.spacing(np.ones((1, 2))), "n at least 2"),
        (lambda: metrics.spread(np.ones((2, 3)), np.ones((3, 3))), "generalized_sp"),
        (lambda: metrics.spread(np.ones((2, 2)), np.ones((3, 2))), r"ends: expected"),
        (lambda: metrics.cross_angle(np.ones((2, 2)), np.ones((1, 2))), "preferences"),
        (lambda: metrics.nondominated_fraction(np.ones((0, 2))), "n at least 1"),
    ],
)
def test_arguments_of_the_metrics_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_moocore_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "moocore", None)
    with pytest.raises(ImportError, match=r"pip install 'paretax\[metrics\]'"):
        metrics.host_hypervolume([[0.0]], [1.0])


def test_on_the_host_any_number_of_objectives_and_of_points_will_do():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(size=(8, 7))
    draws = rng.uniform(size=(200_000, 7))
    below = (draws[:, None] >= boxes).all(axis=2).any(axis=1).mean()
    value = metrics.host_hypervolume(boxes, np.ones(7))
    assert isinstance(value, float)
    assert abs(value - below) < 5 * (below / 200_000) ** 0.5
    assert metrics.host_hypervolume(np.zeros((0, 7)), np.ones(7)) == 0.0
    assert metrics.host_hypervolume([[0.25], [0.5]], [1.0]) == 0.75
