"""Scalarizations: values, derivatives, bounds, masks, preferences under vmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import paretax as px
from paretax import scalarizations

FACTORIES = {
    "linear": scalarizations.linear,
    "tchebycheff": functools.partial(scalarizations.tchebycheff, ideal=0.25),
    "smooth_tchebycheff": functools.partial(
        scalarizations.smooth_tchebycheff, ideal=0.25, temperature=0.3
    ),
}
EVERY = pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
PREFERENCE = np.array([0.2, 0.3, 0.5])
LOSSES = np.array([2.0, 1.0, 1.5])


def test_values_follow_the_definitions():
    p, f, z = PREFERENCE, LOSSES, 0.25
    values = {name: float(make(p)(jnp.asarray(f))) for name, make in FACTORIES.items()}
    assert values["linear"] == pytest.approx(p @ f, rel=1e-6)
    assert values["tchebycheff"] == pytest.approx(max(p * (f - z)), rel=1e-6)
    smooth = 0.3 * np.log(np.exp(p * (f - z) / 0.3).sum())
    assert values["smooth_tchebycheff"] == pytest.approx(smooth, rel=1e-6)


def test_the_smooth_form_lies_above_the_maximum_by_at_most_mu_log_m():
    rng = np.random.default_rng(0)
    preferences = jnp.asarray(rng.dirichlet(np.ones(4), 200))
    losses = jnp.asarray(rng.uniform(0, 5, (200, 4)))

    @functools.partial(jax.vmap, in_axes=(0, 0, None))
    def gap(p, f, mu):
        smooth = scalarizations.smooth_tchebycheff(p, temperature=mu)(f)
        return smooth - scalarizations.tchebycheff(p)(f)

    for mu in (1e-3, 0.1, 1.0):
        gaps = np.asarray(gap(preferences, losses, mu))
        assert (gaps >= -1e-5).all()
        assert (gaps <= mu * np.log(4) + 1e-5).all()


def test_the_smooth_form_does_not_overflow():
    scalarize = scalarizations.smooth_tchebycheff([0.5, 0.5], temperature=1e-3)
    value, slope = jax.value_and_grad(scalarize)(jnp.asarray([1e6, 1.0]))
    assert np.isfinite(value)
    np.testing.assert_allclose(slope, [0.5, 0.0], atol=1e-6)


@EVERY
def test_derivatives_match_finite_differences(factory):
    with jax.enable_x64(True):
        scalarize = factory(PREFERENCE)
        f = jnp.asarray(LOSSES)
        numeric = [
            (scalarize(f + e) - scalarize(f - e)) / 2e-6 for e in 1e-6 * jnp.eye(3)
        ]
        np.testing.assert_allclose(
            jax.grad(scalarize)(f), numeric, rtol=1e-6, atol=1e-8
        )


@EVERY
def test_an_inactive_loss_may_be_nan_and_changes_nothing(factory):
    poisoned = jnp.asarray([2.0, jnp.nan, 1.5])
    active = jnp.asarray([True, False, True])
    huge = jnp.asarray([2.0, 1e30, 1.5])
    scalarize = factory(PREFERENCE)
    value, slope = jax.value_and_grad(lambda f: scalarize(f, active=active))(poisoned)
    assert np.isfinite(value)
    assert float(value) == float(scalarize(huge, active=active))
    assert slope[1] == 0
    assert np.isfinite(np.asarray(slope)).all()
    assert float(scalarize(poisoned, active=jnp.zeros(3, bool))) == 0.0


@EVERY
def test_from_losses_weights_are_the_derivative_and_need_no_gramian(factory):
    weighting = px.from_losses(factory(PREFERENCE))
    state = weighting.init(3)
    assert weighting.needs_gram(state) is False
    weights, state = jax.jit(weighting.update)(None, state, losses=jnp.asarray(LOSSES))
    expected = jax.grad(factory(PREFERENCE))(jnp.asarray(LOSSES))
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert bool(state.converged)
    active = jnp.asarray([True, False, True])
    weights, _ = weighting.update(
        None, state, losses=jnp.asarray([2.0, jnp.nan, 1.5]), active=active
    )
    assert weights[1] == 0
    assert np.isfinite(np.asarray(weights)).all()


def test_missing_losses_say_how_to_pass_them():
    weighting = px.from_losses(scalarizations.linear([0.5, 0.5]))
    with pytest.raises(ValueError, match="losses=losses"):
        weighting.update(None, weighting.init(2))
    with pytest.raises(ValueError, match=r"losses: expected shape \(2,\), got \(3,\)"):
        weighting.update(None, weighting.init(2), losses=jnp.ones(3))


@EVERY
def test_preferences_are_checked_when_they_can_be(factory):
    for preference, message in [
        ([0.5, 0.6], "sum to 1"),
        ([1.5, -0.5], "non-negative"),
        ([np.nan, 1.0], "non-negative"),
        ([[0.5, 0.5]], r"vector of shape \[m\]"),
        ([], r"vector of shape \[m\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            factory(preference)
    traced = jax.vmap(lambda p: factory(p)(jnp.asarray(LOSSES)))
    assert traced(jnp.stack([PREFERENCE, 2 * PREFERENCE])).shape == (2,)


def test_a_temperature_must_be_positive():
    with pytest.raises(
        ValueError, match="temperature: expected a number above 0, got 0"
    ):
        scalarizations.smooth_tchebycheff([1.0], temperature=0)
