"""Wrappers: smooth, clip_norm, prefer and normalize, alone and inside one another."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_gramian_weightings_b import jacobian, once, steps

import paretax as px
from paretax.weightings._wrapped import unpack

BOTH = pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])


def run(count=8, m=3):
    """Jacobians, their Gramians and losses over some steps."""
    jacs = np.stack([jacobian(m, seed) for seed in range(count)])
    losses = np.random.default_rng(m).uniform(0.5, 2.0, size=(count, m))
    return jacs, jacs @ jacs.transpose(0, 2, 1), losses


# smooth -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_smooth_averages_exponentially_from_the_first_weights(decay, x64):
    _, grams, _ = run()
    fresh, _ = steps(px.mgda(), grams, x64=x64)
    expected = [fresh[0]]
    for w in fresh[1:]:
        expected.append(decay * expected[-1] + (1 - decay) * w)
    weights, states = steps(px.smooth(px.mgda(), decay=decay), grams, x64=x64)
    np.testing.assert_allclose(weights, expected, atol=1e-12 if x64 else 1e-6)
    np.testing.assert_allclose(states.weights, weights)
    np.testing.assert_allclose(states.inner[0], fresh, atol=1e-6)
    assert states.converged.all()


def test_a_missing_tasks_average_stands_still_and_begins_when_it_comes():
    _, grams, _ = run(6)
    active = np.ones((6, 3), bool)
    active[:2, 2] = False  # comes late
    active[3:5, 0] = False  # leaves for a while
    grams = np.where(active[:, :, None] & active[:, None, :], grams, np.nan)
    fresh, _ = steps(px.mgda(), grams, active=active, x64=True)
    weights, states = steps(px.smooth(px.mgda()), grams, active=active, x64=True)
    average = np.full(3, np.nan)
    for k in range(6):
        mixed = np.where(
            np.isnan(average), fresh[k], 0.9 * np.nan_to_num(average) + 0.1 * fresh[k]
        )
        average = np.where(active[k], mixed, average)
        np.testing.assert_allclose(weights[k], np.where(active[k], average, 0))
        np.testing.assert_allclose(states.average[k], np.nan_to_num(average))
    np.testing.assert_array_equal(states.average[4, 0], states.average[2, 0])


def test_a_task_that_is_never_there_leaves_no_trace():
    _, grams, _ = run(5)
    active = np.broadcast_to([True, False, True], (5, 3))
    kept = grams[:, [0, 2]][:, :, [0, 2]]
    grams = np.where(active[:, :, None] & active[:, None, :], grams, np.nan)
    weights, _ = steps(px.smooth(px.mgda()), grams, active=active, x64=True)
    alone, _ = steps(px.smooth(px.mgda()), kept, x64=True)
    np.testing.assert_allclose(weights[:, [0, 2]], alone, atol=1e-9)


def test_weights_that_are_nan_are_shown_and_not_remembered():
    _, grams, _ = run(4)
    fresh, _ = steps(px.mgda(), grams, x64=True)
    grams[1, 0, 0] = np.nan
    weights, states = steps(px.smooth(px.mgda()), grams, x64=True)
    assert np.isnan(weights[1]).all()
    assert not states.converged[1]
    np.testing.assert_allclose(weights[2], 0.9 * fresh[0] + 0.1 * fresh[2])


def test_a_schedule_of_the_decay_is_injected():
    _, grams, _ = run(3)
    jacs = [np.linalg.cholesky(gram) for gram in grams]

    def make(decay):
        return px.combine(px.smooth(px.mgda(), decay=decay), 3)

    schedule = {"decay": lambda step: jnp.where(step == 0, 0.0, 0.5)}
    tx = optax.inject_hyperparams(make)(**schedule)
    fresh, _ = steps(px.mgda(), grams)
    state = tx.init(jnp.zeros(3))
    update = jax.jit(tx.update)
    for jac in jacs[:2]:
        d, state = update(jnp.asarray(jac, jnp.float32), state)
    expected = 0.5 * (fresh[0] + fresh[1]) @ jacs[1]
    np.testing.assert_allclose(d, expected, rtol=1e-4, atol=1e-5)


# clip_norm ----------------------------------------------------------------------------


@BOTH
def test_clip_norm_is_optaxs_clip_of_the_direction(x64):
    jacs, grams, _ = run()
    bound = float(np.median(np.linalg.norm(jacs.sum(1), axis=1)))
    weights, states = steps(px.clip_norm(px.total(), max_norm=bound), grams, x64=x64)
    clip = optax.clip_by_global_norm(bound)
    for w, jac in zip(weights, jacs, strict=True):
        total = jnp.asarray(jac.sum(0), jnp.float32)
        expected, _ = clip.update(total, clip.init(total))
        np.testing.assert_allclose(w @ jac, expected, rtol=1e-4, atol=1e-5)
    lengths = np.linalg.norm(np.einsum("sm,smn->sn", weights, jacs), axis=1)
    assert (lengths < bound * (1 - 1e-3)).any()
    assert (weights[:, 0] < 0.999).any()
    assert (lengths <= bound * (1 + 1e-5)).all()
    assert states.converged.all()


@BOTH
@pytest.mark.parametrize("scale", [1e-10, 1e10])
def test_clip_norm_holds_from_the_smallest_to_the_largest_gradients(scale, x64):
    jacs, grams, _ = run(4)
    weighting = px.clip_norm(px.total(), max_norm=0.1 * scale)
    weights, _ = steps(weighting, scale**2 * grams, x64=x64)
    lengths = np.linalg.norm(np.einsum("sm,smn->sn", weights, jacs), axis=1)
    np.testing.assert_allclose(lengths, 0.1, rtol=1e-4)


def test_nash_mtls_own_bound_is_clip_norm():
    _, grams, _ = run(4)
    for max_norm in (0.3, 5.0):
        inside, _ = steps(px.nash_mtl(max_norm=max_norm), grams)
        plain = px.nash_mtl(max_norm=None)
        around, _ = steps(px.clip_norm(plain, max_norm=max_norm), grams)
        np.testing.assert_allclose(around, inside, rtol=1e-6)


def test_clip_norm_reads_the_gramian_for_weights_that_do_not():
    weighting = px.clip_norm(px.uniform(), max_norm=1.0)
    assert weighting.needs_gram(weighting.init(2)) is True
    with pytest.raises(ValueError, match="gram: expected the Gramian"):
        weighting.update(None, weighting.init(2))
    gram = np.array([[np.nan, 0.0], [0.0, 9.0]])
    weights, state = once(weighting, gram)
    assert np.isnan(weights).all()
    assert not state.converged
    weights, state = once(weighting, gram, active=[False, True])
    np.testing.assert_allclose(weights, [0.0, 1 / 3])
    assert state.converged


def test_a_derivative_passes_through_the_bound():
    gram, weighting = (
        jnp.diag(jnp.array([9.0, 16.0])),
        px.clip_norm(px.total(), max_norm=1.0),
    )
    with jax.enable_x64(True):
        gram = jnp.asarray(gram, float)

        def first(scale):
            return weighting.update(scale * gram, weighting.init(2))[0][0]

        np.testing.assert_allclose(jax.grad(first)(1.0), -0.5 / 5, rtol=1e-9)
        np.testing.assert_allclose(jax.grad(first)(0.0), 0.0)


# prefer -------------------------------------------------------------------------------


def weighted(jacs, losses, weighting, scale, x64=True):
    """The direction on tasks whose losses were multiplied by hand."""
    rows = scale[:, None] * jacs
    weights, _ = steps(
        weighting, rows @ rows.transpose(0, 2, 1), scale * losses, x64=x64
    )
    return np.einsum("sm,smn->sn", weights, rows)


INNER = {
    "mgda": px.mgda,
    "gradnorm": px.gradnorm,
    "pcd": functools.partial(px.pcd, tau=0.4),
    "loss-normalized": functools.partial(px.mgda, loss=True),
    "losses": lambda: px.from_losses(lambda f, active=None: jnp.sum(f**2)),
    "smooth": lambda: px.smooth(px.mgda(), decay=0.5),
}


@pytest.mark.parametrize("name", INNER)
def test_prefer_is_the_weighting_of_losses_multiplied_by_the_preference(name):
    jacs, grams, losses = run(5)
    p = np.array([0.5, 0.3, 0.2])
    expected = weighted(jacs, losses, INNER[name](), 3 * p)
    preferred = px.prefer(INNER[name](), preference=p)
    weights, states = steps(preferred, grams, losses, x64=True)
    found = np.einsum("sm,smn->sn", weights, jacs)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(states.weights, weights)
    assert states.converged.all()


def test_prefer_needs_the_gramian_where_what_it_wraps_does():
    for inner in (px.uniform(), px.mgda(), px.every(px.mgda(), num_steps=2)):
        wrapper = px.prefer(inner, preference=[0.5, 0.5])
        state = wrapper.init(2)
        for gram in (jnp.eye(2), None):
            needs = bool(wrapper.needs_gram(state))
            assert needs == bool(inner.needs_gram(unpack(inner, state)))
            _, state = wrapper.update(
                gram if gram is not None or not needs else jnp.eye(2), state
            )


def test_even_preferences_change_nothing_and_weights_follow_uniform_ones():
    _, grams, _ = run(4)
    plain, _ = steps(px.mgda(), grams, x64=True)
    even, _ = steps(px.prefer(px.mgda(), preference=[1 / 3] * 3), grams, x64=True)
    np.testing.assert_allclose(even, plain, atol=1e-7)
    linear, _ = steps(px.prefer(px.uniform(), preference=[0.7, 0.2, 0.1]), grams)
    np.testing.assert_allclose(
        linear, np.broadcast_to([0.7, 0.2, 0.1], (4, 3)), rtol=1e-6
    )


def test_preferences_are_those_among_the_active_tasks():
    _, grams, _ = run(3)
    active = np.broadcast_to([True, False, True], (3, 3))
    kept = grams[:, [0, 2]][:, :, [0, 2]]
    grams = np.where(active[:, :, None] & active[:, None, :], grams, np.nan)
    three = px.prefer(px.mgda(), preference=[0.3, 0.6, 0.1])
    two = px.prefer(px.mgda(), preference=[0.75, 0.25])
    weights, _ = steps(three, grams, active=active, x64=True)
    alone, _ = steps(two, kept, x64=True)
    np.testing.assert_allclose(weights[:, [0, 2]], alone, atol=1e-9)
    none, _ = steps(three, grams, active=np.zeros((3, 3), bool))
    assert (none == 0).all()


def test_the_less_preferred_task_is_guaranteed_more_by_mgda():
    jac = np.eye(2)
    weights, _ = once(px.prefer(px.mgda(), preference=[0.8, 0.2]), jac @ jac.T)
    gains = jac @ (weights @ jac)
    d = weights @ jac
    np.testing.assert_allclose(gains, d @ d / (2 * np.array([0.8, 0.2])), rtol=1e-7)


def test_prefer_rescales_what_else_is_measured_in_losses():
    seen = {}

    def update(gram, state, *, losses=None, active=None, **extra):
        seen.update(extra, gram=gram, losses=losses)
        return px.uniform().update(gram, state, losses=losses, active=active)

    inner = px.uniform()._replace(update=update)
    wrapper = px.prefer(inner, preference=[0.75, 0.25])
    options = {"losses_after": jnp.ones(2), "cross_gram": jnp.ones((2, 2)), "hint": 7}
    wrapper.update(None, wrapper.init(2), losses=jnp.array([2.0, 4.0]), **options)
    assert seen["gram"] is None
    assert seen["losses"].tolist() == [3.0, 2.0]
    assert seen["losses_after"].tolist() == [1.5, 0.5]
    assert seen["cross_gram"].tolist() == [[2.25, 0.75], [0.75, 0.25]]
    assert seen["hint"] == 7


# normalize ----------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "loss"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("name", ["mgda", "losses", "pcd"])
def test_normalize_is_the_weighting_of_losses_divided_by_their_measure(
    name, norm, loss
):
    jacs, grams, losses = run(4)
    n = np.linalg.norm(jacs, axis=2) ** norm * losses**loss
    rows, ratio = jacs / n[:, :, None], losses / n
    inner, _ = steps(INNER[name](), rows @ rows.transpose(0, 2, 1), ratio, x64=True)
    weighting = px.normalize(INNER[name](), norm=norm, loss=loss)
    weights, _ = steps(weighting, grams, losses, x64=True)
    found = np.einsum("sm,smn->sn", weights, jacs)
    np.testing.assert_allclose(
        found, np.einsum("sm,smn->sn", inner, rows), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize(("norm", "loss"), [(True, False), (False, True)])
@pytest.mark.parametrize("name", ["mgda", "losses", "gradnorm"])
def test_units_do_not_matter_to_what_is_normalized(name, norm, loss):
    _, grams, losses = run(4)
    units = np.array([1e-6, 1.0, 1e5])
    weighting = px.normalize(INNER[name](), norm=norm, loss=loss)
    plain, _ = steps(weighting, grams, losses)
    grams = units[:, None] * grams * units
    scaled, _ = steps(weighting, grams, units * losses)
    np.testing.assert_allclose(scaled * units, plain, rtol=2e-3, atol=1e-5)


def test_normalize_needs_the_gramian_for_norms_only():
    assert px.normalize(px.uniform()).needs_gram(None) is True
    weighting = px.normalize(px.uniform(), norm=False, loss=True)
    state = weighting.init(2)
    assert weighting.needs_gram(state) is False
    weights, _ = weighting.update(None, state, losses=jnp.array([2.0, 0.25]))
    assert weights.tolist() == [0.25, 2.0]
    with pytest.raises(ValueError, match=r"losses: expected shape \(2,\), got \(3,\)"):
        weighting.update(None, state, losses=jnp.ones(3))
    with pytest.raises(ValueError, match="losses: this weighting needs"):
        weighting.update(None, state)
    with pytest.raises(ValueError, match="gram: expected the Gramian"):
        px.normalize(px.uniform()).update(None, state)


def test_a_task_at_rest_stays_at_rest_and_a_loss_of_zero_ends_in_nan():
    weights, state = once(px.normalize(px.total()), np.diag([0.0, 4.0]))
    assert weights.tolist() == [1.0, 0.5]
    weighting = px.normalize(px.mgda(), loss=True)
    weights, state = once(weighting, np.eye(2), losses=[1.0, 0.0])
    assert np.isnan(weights).all()
    assert not state.converged
    options = {"losses": [1.0, np.nan], "active": [True, False]}
    weights, state = once(weighting, np.diag([4.0, np.nan]), **options)
    np.testing.assert_allclose(weights, [0.5, 0.0])
    assert state.converged


# together -----------------------------------------------------------------------------


def test_wrappers_compose_and_each_does_its_own():
    jacs, grams, losses = run(6)
    inner = px.smooth(px.normalize(px.mgda()), decay=0.5)
    weighting = px.every(px.clip_norm(inner, max_norm=0.05), num_steps=2)
    weights, states = steps(weighting, grams, losses, x64=True)
    n = np.linalg.norm(jacs, axis=2)
    rows = jacs / n[:, :, None]
    average, expected = None, []
    for k in (0, 2, 4):
        fresh, _ = once(px.mgda(), rows[k] @ rows[k].T)
        fresh = fresh / n[k]
        average = fresh if average is None else 0.5 * average + 0.5 * fresh
        length = np.linalg.norm(average @ jacs[k])
        expected += 2 * [average * min(1.0, 0.05 / length)]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert states.converged.all()


def test_a_wrapped_weighting_trains_inside_a_chain_in_one_trace():
    weighting = px.smooth(px.prefer(px.nash_mtl(), preference=[0.8, 0.2]))
    every = px.every(weighting, num_steps=3)
    tx = optax.chain(px.combine(every, num_tasks=2), optax.sgd(0.05))
    traces = []

    def losses(x):
        return jnp.stack([jnp.sum((x - 1) ** 2), jnp.sum((x + 1) ** 2)])

    @jax.jit
    def step(x, state):
        traces.append(1)
        f, jac = px.value_and_jacobian(losses)(x)
        updates, state = tx.update(jac, state, x, losses=f)
        return optax.apply_updates(x, updates), state, f

    x = jnp.array([3.0, -2.0])
    state = tx.init(x)
    first = losses(x)
    for _ in range(30):
        x, state, f = step(x, state)
    assert len(traces) == 1
    assert f.sum() < first.sum()


def test_the_engine_skips_the_gramian_for_a_wrapped_every():
    weighting = px.prefer(px.every(px.mgda(), num_steps=2), preference=[0.6, 0.4])

    def fun(x):
        return jnp.stack([x @ x, jnp.sum((x - 2) ** 2)])

    step = jax.jit(px.value_and_direction(fun, weighting))
    tx = px.combine(weighting, 2)
    x = jnp.array([3.0, 1.0])
    state, other = weighting.init(2), tx.init(x)
    for _ in range(3):
        f, d, state = step(x, state)
        _, jac = px.value_and_jacobian(fun)(x)
        expected, other = tx.update(jac, other, losses=f)
        np.testing.assert_allclose(d, expected, rtol=1e-5)
        x = x - 0.1 * d


@pytest.mark.parametrize(
    "make",
    [
        lambda w: px.smooth(w),
        lambda w: px.clip_norm(w, max_norm=1.0),
        lambda w: px.prefer(w, preference=[1.0]),
        lambda w: px.normalize(w),
    ],
    ids=["smooth", "clip_norm", "prefer", "normalize"],
)
def test_a_factory_in_place_of_a_weighting_is_told_to_be_called(make):
    with pytest.raises(
        ValueError, match=r"weighting: expected a px\.Weighting, got fun"
    ):
        make(px.mgda)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: px.smooth(px.mgda(), decay=1.1), "decay: expected a number in"),
        (lambda: px.clip_norm(px.mgda(), max_norm=0.0), "max_norm: expected a number"),
        (
            lambda: px.prefer(px.mgda(), preference=[1.0, 0.0]),
            "preference: expected positive entries.*leave it out with active=",
        ),
        (
            lambda: px.prefer(px.mgda(), preference=[0.9, 0.3]),
            "preference: expected entries that sum to 1",
        ),
        (
            lambda: px.prefer(px.mgda(), preference=[0.5, 0.5]).init(3),
            "preference: expected 3 entries",
        ),
        (
            lambda: px.normalize(px.mgda(), norm=False),
            "norm, loss: expected at least one",
        ),
    ],
)
def test_wrappers_name_a_wrong_parameter(make, message):
    with pytest.raises(ValueError, match=message):
        make()
