"""Ideal and nadir points learned from the losses: memory, first steps, units."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import paretax as px
from paretax import scalarizations as s


def seen_by(weighting, losses, active=None):
    """The states after each step, with leaves [steps, ...]."""
    losses = jnp.asarray(losses, float)
    active = jnp.ones(losses.shape, bool) if active is None else jnp.asarray(active)

    def step(state, batch):
        f, a = batch
        _, state = weighting.update(None, state, losses=f, active=a)
        return state, state

    run = jax.jit(lambda: jax.lax.scan(step, weighting.init(losses.shape[1]), batches))
    batches = losses, active
    return run()[1]


def points_given(**options):
    """A weighting whose weights show what `make` was given: the ideal, or the nadir."""
    return (
        px.running_points(
            lambda ideal, nadir: lambda f, *, active=None: jnp.sum(f * ideal), **options
        ),
        px.running_points(
            lambda ideal, nadir: lambda f, *, active=None: jnp.sum(f * nadir), **options
        ),
    )


def test_the_points_are_the_best_and_the_worst_losses_of_active_steps():
    rng = np.random.default_rng(0)
    losses = rng.normal(size=(30, 4)).astype(np.float32)
    active = rng.uniform(size=(30, 4)) < 0.6
    poisoned = np.where(active, losses, np.nan)
    state = seen_by(points_given()[0], poisoned, active)
    low = np.minimum.accumulate(np.where(active, losses, np.inf))
    high = np.maximum.accumulate(np.where(active, losses, -np.inf))
    np.testing.assert_array_equal(state.ideal, low)
    np.testing.assert_array_equal(state.nadir, high)
    assert (np.asarray(state.weights)[~active] == 0).all()
    assert np.asarray(state.converged).all()


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_forgetting_draws_old_extremes_towards_the_current_loss(decay):
    losses = np.random.default_rng(1).uniform(1, 2, (20, 2))
    ideal, nadir = losses[0], losses[0]
    with jax.enable_x64(True):
        state = seen_by(points_given(decay=decay)[0], losses)
    for step, f in enumerate(losses):
        ideal = np.minimum(f, decay * ideal + (1 - decay) * f)
        nadir = np.maximum(f, decay * nadir + (1 - decay) * f)
        np.testing.assert_allclose(state.ideal[step], ideal, rtol=1e-12)
        np.testing.assert_allclose(state.nadir[step], nadir, rtol=1e-12)


def test_an_outlier_is_forgotten_after_the_stated_time():
    losses = np.ones((200, 1))
    losses[0] = 101.0
    state = seen_by(points_given(decay=0.95)[0], losses)
    assert float(state.nadir[20, 0]) == pytest.approx(1 + 100 * 0.95**20, rel=1e-4)
    assert float(state.nadir[-1, 0]) < 1.01


def test_the_first_box_reaches_from_zero_to_a_positive_loss():
    for margin in (0.0, 0.5):
        ideal, nadir = points_given(margin=margin)
        losses = [[4.0, 0.0, -2.0, 1e-8]]
        low, high = (np.asarray(seen_by(w, losses).weights[0]) for w in (ideal, nadir))
        size = np.array([4.0, 1.0, 2.0, 1e-8])
        top = np.array([4.0, 0.0, -2.0, 1e-8])
        np.testing.assert_allclose(high, top + margin * size, rtol=1e-6)
        np.testing.assert_allclose(low, top - size - margin * size, rtol=1e-6)


def test_later_boxes_are_the_points_and_the_margin():
    ideal, nadir = points_given(margin=0.25)
    losses = [[4.0, 1.0], [2.0, 1.0], [3.0, 5.0]]
    low, high = (np.asarray(seen_by(w, losses).weights) for w in (ideal, nadir))
    np.testing.assert_allclose(low[1:], [[1.5, -0.25], [1.5, 0.0]], atol=1e-6)
    np.testing.assert_allclose(high[1:], [[4.5, 1.25], [4.5, 6.0]], atol=1e-6)


def test_a_task_that_was_never_seen_does_not_disturb_the_others():
    half = s.linear([0.5, 0.5])
    weighting = px.running_points(
        lambda ideal, nadir: s.normalized(half, ideal=ideal, nadir=nadir)
    )
    active = jnp.asarray([True, False])
    state = weighting.init(2)
    for _ in range(2):  # eagerly too: the checks of `normalized` see the points
        weights, state = weighting.update(
            None, state, losses=jnp.asarray([4.0, jnp.nan]), active=active
        )
    np.testing.assert_allclose(weights, [0.125, 0.0])
    assert state.ideal.tolist() == [4.0, np.inf]
    assert state.nadir.tolist() == [4.0, -np.inf]
    assert bool(state.converged)


def test_a_loss_that_is_not_finite_is_seen_but_not_remembered():
    half = s.tchebycheff([0.5, 0.5])
    weighting = px.running_points(
        lambda ideal, nadir: s.normalized(half, ideal=ideal, nadir=nadir)
    )
    losses = [[4.0, 3.0], [2.0, np.nan], [np.inf, 2.0], [3.0, 1.0]]
    state = seen_by(weighting, losses)
    np.testing.assert_array_equal(state.ideal[-1], [2.0, 1.0])
    np.testing.assert_array_equal(state.nadir[-1], [4.0, 3.0])
    assert state.converged.tolist() == [True, False, True, True]
    assert np.isfinite(np.asarray(state.weights[-1])).all()


def test_the_weights_are_the_derivative_with_the_points_held_constant():
    p = jnp.asarray([0.3, 0.7])

    def make(ideal, nadir):
        inner = s.smooth_tchebycheff(p, temperature=0.2)
        return s.normalized(inner, ideal=ideal, nadir=nadir)

    losses = np.array([[4.0, 3.0], [2.0, 5.0], [3.0, 3.5]])
    with jax.enable_x64(True):
        state = seen_by(px.running_points(make), losses)
    z, n = np.array([2.0, 3.0]), np.array([4.0, 5.0])
    score = np.asarray(p) * (losses[-1] - z) / (n - z) / 0.2
    share = np.exp(score) / np.exp(score).sum()
    expected = share * np.asarray(p) / (n - z)
    np.testing.assert_allclose(state.weights[-1], expected, rtol=1e-6)


def test_the_units_of_a_loss_do_not_change_the_direction():
    units = np.array([1e-4, 1.0, 1e4])
    losses = np.random.default_rng(2).uniform(0.5, 2, (6, 3))

    def make(ideal, nadir):
        inner = s.pnorm([0.2, 0.3, 0.5])
        return s.normalized(inner, ideal=ideal, nadir=nadir)

    weighting = px.running_points(make, margin=0.1, decay=0.9)
    plain = np.asarray(seen_by(weighting, losses).weights)
    other = np.asarray(seen_by(weighting, units * losses).weights)
    assert (plain != 0).all()
    np.testing.assert_allclose(units * other, plain, rtol=1e-3)


def test_a_make_may_use_one_point_only_and_runs_in_a_chain():
    import optax

    p = [0.5, 0.5]
    weighting = px.running_points(
        lambda _, nadir: s.log_smooth_tchebycheff(p, nadir=nadir)
    )
    tx = optax.chain(px.combine(weighting, num_tasks=2), optax.sgd(0.5))

    def losses(x):
        return jnp.stack([1 + jnp.sum((x - 1) ** 2), 100 * (1 + jnp.sum((x + 1) ** 2))])

    @jax.jit
    def step(x, state):
        f, jac = px.value_and_jacobian(losses)(x)
        updates, state = tx.update(jac, state, x, losses=f)
        return optax.apply_updates(x, updates), state

    x = jnp.asarray([0.9, -0.7])
    state = tx.init(x)
    for _ in range(60):
        x, state = step(x, state)
    # Both losses relative to their worst: near the segment between the two optima.
    assert abs(float(x[0] - x[1])) < 0.05
    assert -1.05 < float(x[0]) < 1.05


def test_it_runs_under_vmap_over_preferences_and_hyper_parameters():
    losses = jnp.asarray([[1.0, 2.0], [3.0, 1.0]])

    @jax.jit
    @jax.vmap
    def last(p, decay, margin):
        weighting = px.running_points(
            lambda z, n: s.normalized(s.linear(p), ideal=z, nadir=n),
            decay=decay,
            margin=margin,
        )
        state = weighting.init(2)
        for f in losses:
            _, state = weighting.update(None, state, losses=f)
        return state.weights

    p = jnp.asarray([[0.5, 0.5], [0.25, 0.75]])
    weights = last(p, jnp.asarray([1.0, 0.5]), jnp.asarray([0.0, 0.5]))
    # Ranges: (2, 1); with half forgotten (1 → 2, 2 → 1.5): (1, 0.5), twice as wide.
    np.testing.assert_allclose(weights, [[0.25, 0.5], [0.125, 0.75]], rtol=1e-6)


def test_wrong_arguments_are_refused():
    make = functools.partial(lambda z, n: s.linear([0.5, 0.5]))
    for bad, message in [
        (lambda: px.running_points(3.0), "make: expected"),
        (lambda: px.running_points(make, decay=1.5), r"decay: .* \[0, 1\]"),
        (lambda: px.running_points(make, margin=-0.1), "margin: .* at least 0"),
        (lambda: px.running_points(make).init(0), "num_tasks"),
    ]:
        with pytest.raises(ValueError, match=message):
            bad()
    weighting = px.running_points(make)
    with pytest.raises(ValueError, match="losses=losses"):
        weighting.update(None, weighting.init(2))
    assert weighting.needs_gram(weighting.init(2)) is False
