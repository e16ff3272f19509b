"""Scalarizations: values, derivatives, kinks, masks, reach, preferences under vmap."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import paretax as px
from paretax import metrics, scalarizations
from paretax import scalarizations as s

POINT = np.array([0.25, -0.5, 0.1])
NADIR = np.array([4.0, 5.0, 6.0])
PREFERENCE = np.array([0.2, 0.3, 0.5])
LOSSES = np.array([2.0, 1.0, 1.5])
ACTIVE = np.array([True, False, True])


def _log_sum_exp(values):
    return max(values) + np.log(np.exp(values - max(values)).sum())


def _cosine(x, y):
    return x @ y / (np.linalg.norm(x) * np.linalg.norm(y))


def _pbi(p, f, z, n):
    u, y = p / np.linalg.norm(p), f - z
    along = u @ y
    return along + 3 * math.sqrt(max(y @ y - along**2, 0.0))


# name → the factory with its points, and the definition in NumPy: (p, f, z, n).
FACTORIES = {
    "linear": (s.linear, lambda p, f, z, n: p @ f),
    "tchebycheff": (
        functools.partial(s.tchebycheff, ideal=POINT),
        lambda p, f, z, n: max(p * (f - z)),
    ),
    "modified_tchebycheff": (
        functools.partial(s.modified_tchebycheff, ideal=POINT),
        lambda p, f, z, n: max((f - z) / p),
    ),
    "smooth_tchebycheff": (
        functools.partial(s.smooth_tchebycheff, ideal=POINT, temperature=0.3),
        lambda p, f, z, n: 0.3 * _log_sum_exp(p * (f - z) / 0.3),
    ),
    "smooth_modified_tchebycheff": (
        functools.partial(s.smooth_modified_tchebycheff, ideal=POINT, temperature=2.0),
        lambda p, f, z, n: 2 * _log_sum_exp((f - z) / p / 2),
    ),
    "log_smooth_tchebycheff": (
        functools.partial(s.log_smooth_tchebycheff, nadir=NADIR, temperature=0.2),
        lambda p, f, z, n: 0.2 * np.log(((f / n) ** (p / 0.2)).sum()),
    ),
    "aasf": (
        functools.partial(s.aasf, aspiration=POINT, augmentation=0.1),
        lambda p, f, z, n: max(p * (f - z)) + 0.1 * (p * (f - z)).sum(),
    ),
    "pnorm": (
        functools.partial(s.pnorm, ideal=POINT, order=3.0),
        lambda p, f, z, n: (np.abs(p * (f - z)) ** 3).sum() ** (1 / 3),
    ),
    "pbi": (functools.partial(s.pbi, ideal=POINT, penalty=3.0), _pbi),
    "cosmos": (
        functools.partial(s.cosmos, ideal=POINT, penalty=2.0),
        lambda p, f, z, n: p @ (f - z) - 2 * _cosine(p, f - z),
    ),
    "exponential_weighted_criterion": (
        functools.partial(s.exponential_weighted_criterion, ideal=POINT, rate=0.7),
        lambda p, f, z, n: ((np.exp(0.7 * p) - 1) * np.exp(0.7 * (f - z))).sum(),
    ),
    "log_hypervolume": (
        functools.partial(s.log_hypervolume, nadir=NADIR),
        lambda p, f, z, n: -(p * np.log(n - f)).sum(),
    ),
    "hypervolume_scalarization": (
        functools.partial(s.hypervolume_scalarization, nadir=NADIR),
        lambda p, f, z, n: -(min((n - f) / p * np.linalg.norm(p)) ** len(p)),
    ),
    "normalized": (
        lambda p: s.normalized(s.pnorm(p), ideal=POINT, nadir=NADIR),
        lambda p, f, z, n: np.linalg.norm(p * (f - z) / (n - z)),
    ),
}
COUNT = 200
EVERY = pytest.mark.parametrize("name", FACTORIES)
MONOTONE = sorted(set(FACTORIES) - {"pbi", "cosmos"})


def _samples(count, seed=0):
    """Preferences and losses, all above the ideal point and below the nadir."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(3), count), rng.uniform(0.3, 3.9, (count, 3))


@functools.cache
def _plain(name):
    """(p [n, m], f [n, m]) -> values and slopes, for all at once."""
    factory = FACTORIES[name][0]
    both = jax.jit(jax.vmap(lambda p, f: jax.value_and_grad(factory(p))(f)))
    return lambda p, f: tuple(np.asarray(x) for x in both(p, f))


@functools.cache
def _masked(name):
    """(f [n, m], active [n, m]) -> values and slopes at PREFERENCE."""
    scalarize = FACTORIES[name][0](PREFERENCE)

    def one(f, active):
        return jax.value_and_grad(lambda x: scalarize(x, active=active))(f)

    return jax.jit(jax.vmap(one))


def test_every_exported_scalarization_is_tested_here():
    assert set(FACTORIES) | {"Scalarization"} == set(scalarizations.__all__)


@EVERY
def test_values_follow_the_definition_also_under_vmap_and_jit(name):
    factory, definition = FACTORIES[name]
    preferences, losses = _samples(COUNT)
    expected = [
        definition(p, f, POINT, NADIR) for p, f in zip(preferences, losses, strict=True)
    ]
    with jax.enable_x64(True):
        values, _ = _plain(name)(preferences, losses)
        one = factory(preferences[0])(losses[0])
    np.testing.assert_allclose(values, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(one, expected[0], rtol=1e-10, atol=1e-12)
    values, _ = _plain(name)(
        jnp.asarray(preferences, jnp.float32), jnp.asarray(losses, jnp.float32)
    )
    np.testing.assert_allclose(values, expected, rtol=3e-5, atol=1e-5)


@EVERY
def test_derivatives_match_finite_differences(name):
    with jax.enable_x64(True):
        preferences = np.broadcast_to(PREFERENCE, (COUNT, 3))
        steps = np.concatenate([np.eye(3), -np.eye(3), np.zeros((COUNT - 6, 3))])
        values, slopes = _plain(name)(preferences, LOSSES + 1e-6 * steps)
    numeric = (values[:3] - values[3:6]) / 2e-6
    np.testing.assert_allclose(slopes[6], numeric, rtol=1e-6, atol=1e-8)


@EVERY
def test_an_inactive_task_is_removed_exactly_and_may_hold_nan(name):
    _, definition = FACTORIES[name]
    losses = jnp.asarray([[2, np.nan, 1.5], [2, 1e30, 1.5], LOSSES, [np.nan] * 3])
    active = jnp.asarray([ACTIVE, ACTIVE, [True] * 3, [False] * 3])
    values, slopes = (np.asarray(x) for x in _masked(name)(losses, active))
    removed = definition(*(x[ACTIVE] for x in (PREFERENCE, LOSSES, POINT, NADIR)))
    complete = definition(PREFERENCE, LOSSES, POINT, NADIR)
    expected = [removed, removed, complete, 0.0]
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert values[0] == values[1]
    np.testing.assert_array_equal(slopes[0], slopes[1])
    assert (slopes[~np.asarray(active)] == 0).all()
    assert np.isfinite(slopes).all()
    assert (slopes[2] != 0).any()


@EVERY
def test_nan_in_an_active_loss_is_seen(name):
    losses = jnp.tile(jnp.asarray([2.0, jnp.nan, 1.5]), (4, 1))
    values, slopes = _masked(name)(losses, jnp.ones((4, 3), bool))
    assert np.isnan(values).all()
    # The derivative of the sum does not depend on the losses.
    assert np.isnan(slopes).any() or name == "linear"


@pytest.mark.parametrize("name", ["linear", "pbi", "log_hypervolume"])
def test_from_losses_weights_are_the_derivative_and_need_no_gramian(name):
    weighting = px.from_losses(FACTORIES[name][0](PREFERENCE))
    state = weighting.init(3)
    assert weighting.needs_gram(state) is False
    update = jax.jit(weighting.update)
    weights, state = update(None, state, losses=jnp.asarray(LOSSES))
    batch = jnp.broadcast_to(LOSSES, (4, 3))
    _, slopes = _masked(name)(batch, jnp.ones((4, 3), bool))
    np.testing.assert_allclose(weights, slopes[0], rtol=1e-6)
    assert bool(state.converged)
    weights, _ = update(
        None,
        state,
        losses=jnp.asarray([2.0, jnp.nan, 1.5]),
        active=jnp.asarray(ACTIVE),
    )
    assert weights[1] == 0
    assert np.isfinite(np.asarray(weights)).all()


@pytest.mark.parametrize("name", MONOTONE)
def test_no_loss_can_grow_and_the_value_fall(name):
    preferences, losses = _samples(COUNT)
    worse = losses + np.random.default_rng(1).uniform(0, 0.1, losses.shape)
    with jax.enable_x64(True):
        before, slopes = _plain(name)(preferences, losses)
        after, _ = _plain(name)(preferences, worse)
    assert (after >= before - 1e-12).all()
    assert (slopes >= -1e-12).all()


@pytest.mark.parametrize("name", ["pbi", "cosmos"])
def test_pbi_and_cosmos_are_not_monotone(name):
    f = np.tile([1.0, -0.3, 1.0], (COUNT, 1))
    with jax.enable_x64(True):
        _, slopes = _plain(name)(np.full((COUNT, 3), 1 / 3), f)
    assert slopes[0, 1] < 0


def test_a_tie_shares_the_derivative_equally():
    third = np.full(3, 1 / 3)
    f = jnp.asarray([2.0, 2.0, 1.0])
    for scalarize, share in [
        (s.tchebycheff(third), 1 / 6),
        (s.modified_tchebycheff(third), 3 / 2),
        (s.aasf(third, augmentation=0.0), 1 / 6),
        # −((4 − f) ‖p‖/p)³ = −3√3 (4 − f)³ has the slope 9√3 · 4 at f = 2.
        (s.hypervolume_scalarization(third, nadir=4.0), 18 * math.sqrt(3)),
    ]:
        np.testing.assert_allclose(
            jax.grad(scalarize)(f), [share, share, 0], rtol=1e-5, atol=1e-6
        )


def test_derivatives_are_finite_at_the_kinks():
    p, z = jnp.asarray([0.6, 0.8]) / 1.4, jnp.asarray([1.0, 2.0])

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def slopes(order, f):
        scalarize = s.pnorm(p, ideal=z, order=order)
        return jax.grad(scalarize)(f), jax.hessian(scalarize)(f + 1.0)

    orders = jnp.asarray([1.0, 1.5, 2.0, 3.0])
    slope, hessian = slopes(orders, z)
    assert (slope == 0).all()
    assert np.isfinite(hessian).all()
    slope, _ = slopes(orders, z + jnp.asarray([1.0, 0.0]))
    np.testing.assert_allclose(slope, [[p[0], 0.0]] * 4, rtol=1e-6)

    @jax.jit
    def others(f):
        pbi = jax.grad(s.pbi(p, ideal=z))(f)
        return pbi, *jax.value_and_grad(s.cosmos(p, ideal=z, penalty=9.0))(f)

    at_ideal, value, slope = others(z)
    np.testing.assert_allclose(at_ideal, [0.6, 0.8], rtol=1e-6)
    assert float(value) == 0
    np.testing.assert_allclose(slope, p, rtol=1e-6)
    on_the_ray = jax.grad(s.pbi([0.5, 0.5], ideal=1.0))(jnp.array([3.0, 3.0]))
    np.testing.assert_allclose(on_the_ray, np.sqrt([0.5, 0.5]), rtol=1e-6)


def test_outside_of_its_box_the_hypervolume_says_so():
    half = [0.5, 0.5]
    for f in ([1.0, 2.0], [1.0, 3.0]):
        value, slope = jax.value_and_grad(s.log_hypervolume(half, nadir=2.0))(
            jnp.asarray(f)
        )
        assert np.isnan(value)
        assert np.isnan(slope).any()
        _, state = px.from_losses(s.log_hypervolume(half, nadir=2.0)).update(
            None, px.uniform().init(2), losses=jnp.asarray(f)
        )
        assert not bool(state.converged)
    value, slope = jax.value_and_grad(s.hypervolume_scalarization(half, nadir=2.0))(
        jnp.asarray([1.0, 3.0])
    )
    assert float(value) == 0
    assert slope.tolist() == [0, 0]


def test_the_smooth_forms_lie_above_the_maximum_by_at_most_mu_log_m():
    preferences, losses = _samples(200)
    preferences = 0.9 * preferences + 0.1 / 3
    temperatures = np.array([1e-4, 0.1, 1.0])

    def gaps(p, f, mu):
        log = s.log_smooth_tchebycheff(p, nadir=NADIR, temperature=mu)(f)
        return (
            s.smooth_tchebycheff(p, temperature=mu)(f) - s.tchebycheff(p)(f),
            s.smooth_modified_tchebycheff(p, temperature=mu)(f)
            - s.modified_tchebycheff(p)(f),
            log - jnp.max(p * jnp.log(f / NADIR)),
        )

    with jax.enable_x64(True):
        each = jax.vmap(jax.vmap(gaps, in_axes=(0, 0, None)), in_axes=(None, None, 0))
        for gap in jax.jit(each)(preferences, losses, temperatures):
            assert (gap >= -1e-12).all()
            assert (gap <= temperatures[:, None] * np.log(3) + 1e-12).all()


def test_the_norm_runs_from_the_sum_to_the_maximum():
    preferences, losses = _samples(50)
    with jax.enable_x64(True):
        values = jax.vmap(lambda p, f, q: s.pnorm(p, order=q)(f), in_axes=(0, 0, None))
        for order, expected in [
            (1.0, (preferences * losses).sum(-1)),
            (400.0, (preferences * losses).max(-1)),
        ]:
            np.testing.assert_allclose(
                values(preferences, losses, order), expected, rtol=3e-3
            )


def test_the_identities_that_the_docstrings_state():
    p, f = jnp.asarray(PREFERENCE), jnp.asarray(LOSSES)
    q = (1 / p) / jnp.sum(1 / p)
    modified = s.modified_tchebycheff(p, ideal=POINT)(f)
    np.testing.assert_allclose(
        modified, s.tchebycheff(q, ideal=POINT)(f) * jnp.sum(1 / p), rtol=1e-6
    )
    box = s.hypervolume_scalarization(p, nadir=NADIR)(f)
    reach = s.modified_tchebycheff(p, ideal=NADIR)(f) * jnp.linalg.norm(p)
    np.testing.assert_allclose(-((-box) ** (1 / 3)), reach, rtol=1e-6)
    np.testing.assert_allclose(
        s.aasf(p, augmentation=0.0)(f), s.tchebycheff(p)(f), rtol=1e-6
    )
    np.testing.assert_allclose(s.cosmos(p, penalty=0.0)(f), s.linear(p)(f), rtol=1e-6)
    third = jnp.full(3, 1 / 3)
    volume = metrics.hypervolume(f[None], NADIR)
    np.testing.assert_allclose(
        -3 * s.log_hypervolume(third, nadir=NADIR)(f), jnp.log(volume), rtol=1e-6
    )
    # The multi-task code of STCH: m μ log Σ exp(log(f/n)/μ), here with its μ = 0.6.
    theirs = 3 * 0.6 * _log_sum_exp(np.log(LOSSES / NADIR) / 0.6)
    ours = s.log_smooth_tchebycheff(third, nadir=NADIR, temperature=0.2)(f)
    np.testing.assert_allclose(9 * ours, theirs, rtol=1e-5)
    # pymoo's AASF: max (f − z)/w + ρ Σ (f − z)/w.
    y = (LOSSES - POINT) / PREFERENCE
    theirs = max(y) + 0.1 * y.sum()
    ours = s.aasf(q, aspiration=POINT, augmentation=0.1)(f) * jnp.sum(1 / p)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("m", [2, 3])
def test_the_mean_of_random_hypervolume_scalarizations_is_the_hypervolume(m):
    rng = np.random.default_rng(m)
    front = rng.uniform(0, 1, (4, m))
    normal = np.abs(rng.normal(size=(200_000, m)))
    preferences = normal / normal.sum(-1, keepdims=True)

    def best(p):
        return jax.vmap(s.hypervolume_scalarization(p, nadir=1.2))(front).min()

    mean = -float(jnp.mean(jax.jit(jax.vmap(best))(jnp.asarray(preferences))))
    constant = math.pi ** (m / 2) / (2**m * math.gamma(m / 2 + 1))
    volume = float(metrics.hypervolume(front, np.full(m, 1.2)))
    assert constant * mean == pytest.approx(volume, rel=0.01)


def test_who_reaches_the_part_of_a_front_that_is_not_convex():
    # f = (cos t, sin t): the front of a quarter circle seen from its center.
    t = jnp.linspace(0, np.pi / 2, 401)
    front = jnp.stack([jnp.cos(t), jnp.sin(t)], axis=1)
    first = jnp.linspace(0.05, 0.95, 19)
    preferences = jnp.stack([first, 1 - first], axis=1)

    def chosen(factory):
        best = jax.jit(jax.vmap(lambda p: jnp.argmin(jax.vmap(factory(p))(front))))
        return np.asarray(t[best(preferences)])

    angles = np.asarray(jnp.arctan2(preferences[:, 1], preferences[:, 0]))
    ends = chosen(s.linear), chosen(functools.partial(s.pnorm, order=1.0))
    for found in ends:
        assert np.isin(found, [0, np.asarray(t[-1])]).all()
    for factory in (
        s.tchebycheff,
        functools.partial(s.smooth_tchebycheff, temperature=0.01),
        functools.partial(s.aasf, augmentation=1e-3),
        functools.partial(s.pnorm, order=8.0),
        functools.partial(s.exponential_weighted_criterion, rate=20.0),
    ):
        found = chosen(factory)
        assert np.all(np.diff(found) <= 0) or np.all(np.diff(found) >= 0)
        assert ((found > 0.2) & (found < 1.3)).sum() >= 5
    # p is a direction here: the point found lies on it.
    for factory in (
        s.modified_tchebycheff,
        functools.partial(s.smooth_modified_tchebycheff, temperature=1e-3),
        s.pbi,
    ):
        np.testing.assert_allclose(chosen(factory), angles, atol=0.01)


def test_one_who_is_as_bad_in_the_worst_task_but_dominated_is_told_apart():
    p = jnp.asarray([0.5, 0.5])
    good, bad = jnp.asarray([2.0, 1.0]), jnp.asarray([2.0, 1.5])
    assert s.tchebycheff(p)(good) == s.tchebycheff(p)(bad)
    assert s.aasf(p)(good) < s.aasf(p)(bad)
    assert jax.grad(s.aasf(p))(bad)[1] > 0


@pytest.mark.parametrize(
    "factory",
    [s.linear, s.tchebycheff, s.modified_tchebycheff, s.aasf, s.pnorm, s.pbi],
)
def test_losses_of_any_size_give_the_same_weights(factory):
    scalarize = factory(PREFERENCE)
    both = jax.jit(jax.value_and_grad(scalarize))
    value, slope = both(jnp.asarray(LOSSES))
    for scale in (1e-20, 1e-10, 1e10, 1e20):
        big, same = both(scale * jnp.asarray(LOSSES))
        np.testing.assert_allclose(big / scale, value, rtol=1e-5)
        np.testing.assert_allclose(same, slope, rtol=1e-5)


def test_what_has_a_nadir_point_does_not_mind_the_units():
    units = jnp.asarray([1e-6, 1.0, 1e6])
    p, f = jnp.asarray(PREFERENCE), jnp.asarray(LOSSES)
    for make in (
        lambda c: s.log_smooth_tchebycheff(p, nadir=c * NADIR),
        lambda c: s.normalized(s.tchebycheff(p), ideal=c * POINT, nadir=c * NADIR),
        lambda c: s.normalized(s.cosmos(p, penalty=1.0), nadir=c * NADIR),
    ):
        value, slope = jax.value_and_grad(make(1.0))(f)
        other, scaled = jax.value_and_grad(make(units))(units * f)
        np.testing.assert_allclose(other, value, rtol=1e-5)
        np.testing.assert_allclose(units * scaled, slope, rtol=1e-4, atol=1e-7)


def test_the_smooth_form_does_not_overflow():
    scalarize = s.smooth_tchebycheff([0.5, 0.5], temperature=1e-3)
    value, slope = jax.value_and_grad(scalarize)(jnp.asarray([1e6, 1.0]))
    assert np.isfinite(value)
    np.testing.assert_allclose(slope, [0.5, 0.0], atol=1e-6)


def test_a_loss_of_zero_is_done_to_the_logarithm_and_a_negative_one_is_nan():
    scalarize = s.log_smooth_tchebycheff([0.5, 0.5], temperature=0.5)
    value, slope = jax.value_and_grad(scalarize)(jnp.asarray([0.0, 2.0]))
    assert float(value) == pytest.approx(0.5 * math.log(2))
    np.testing.assert_allclose(slope, [0.0, 0.25], rtol=1e-6)
    assert float(scalarize(jnp.zeros(2))) == -np.inf
    assert np.isfinite(jax.grad(scalarize)(jnp.zeros(2))).all()
    assert np.isnan(scalarize(jnp.asarray([-1.0, 2.0])))
    one = jnp.asarray([True, False])
    assert float(scalarize(jnp.asarray([0.0, 2.0]), active=one)) == -np.inf


def test_missing_losses_say_how_to_pass_them():
    weighting = px.from_losses(s.linear([0.5, 0.5]))
    with pytest.raises(ValueError, match="losses=losses"):
        weighting.update(None, weighting.init(2))
    with pytest.raises(ValueError, match=r"losses: expected shape \(2,\), got \(3,\)"):
        weighting.update(None, weighting.init(2), losses=jnp.ones(3))


@EVERY
def test_arguments_are_checked_when_they_can_be(name):
    factory = FACTORIES[name][0]
    for preference, message in [
        ([0.5, 0.3, 0.3], "sum to 1"),
        ([1.5, -0.5, 0.0], "non-negative"),
        ([np.nan, 0.5, 0.5], "non-negative"),
        ([[0.5, 0.5]], r"vector of shape \[m\]"),
        ([], r"vector of shape \[m\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            factory(preference)
    with pytest.raises(ValueError, match=r"losses: expected shape \(3,\)"):
        factory(PREFERENCE)(jnp.ones(2))
    traced = jax.vmap(lambda p: factory(p)(jnp.asarray(LOSSES)))
    assert traced(jnp.stack([PREFERENCE, 2 * PREFERENCE])).shape == (2,)


@pytest.mark.parametrize(
    "name", [n for n in FACTORIES if n not in ("linear", "normalized")]
)
def test_points_are_checked_when_they_can_be(name):
    partial = FACTORIES[name][0]
    (point,) = {"ideal", "nadir", "aspiration"} & set(partial.keywords)
    for value, message in [
        ([1.0, 1.0], rf"{point}: expected a number or shape \[3\].*got shape \(2,\)"),
        ([[1.0, 1.0, 1.0]], rf"{point}: expected a number or shape"),
        (np.nan, f"{point}: expected finite"),
        ([1.0, np.inf, 1.0], f"{point}: expected finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            partial(PREFERENCE, **{point: value})
    jax.jit(lambda z: partial(PREFERENCE, **{point: z})(LOSSES))(NADIR)


def test_other_arguments_are_checked_too():
    p = [0.5, 0.5]
    for bad, message in [
        (lambda: s.smooth_tchebycheff(p, temperature=0), "temperature: .* above 0"),
        (lambda: s.smooth_modified_tchebycheff(p, temperature=-1.0), "temperature"),
        (lambda: s.log_smooth_tchebycheff(p, temperature=0), "temperature"),
        (lambda: s.log_smooth_tchebycheff(p, nadir=0.0), "nadir: expected positive"),
        (lambda: s.aasf(p, augmentation=-0.1), "augmentation: .* at least 0"),
        (lambda: s.pnorm(p, order=0.5), "order: .* at least 1, got 0.5"),
        (lambda: s.pnorm(p, order=np.inf), "order"),
        (lambda: s.pbi(p, penalty=-1.0), "penalty: .* at least 0"),
        (lambda: s.cosmos(p, penalty=np.nan), "penalty: .* at least 0"),
        (lambda: s.exponential_weighted_criterion(p, rate=0.0), "rate: .* above 0"),
        (lambda: s.modified_tchebycheff([1.0, 0.0]), "positive entries"),
        (lambda: s.smooth_modified_tchebycheff([1.0, 0.0]), "positive entries"),
        (lambda: s.hypervolume_scalarization([1.0, 0.0], nadir=1.0), "positive"),
        (lambda: s.normalized(s.linear(p), ideal=1.0, nadir=1.0), "more than ideal"),
        (lambda: s.normalized(s.linear(p), ideal=p, nadir=[1.0] * 3), "the shape"),
        (lambda: s.normalized(s.linear(p), nadir=[[1.0]]), "nadir: expected a number"),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()
