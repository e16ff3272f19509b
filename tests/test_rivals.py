"""Rivals for finite fronts: a concave front, and the harness of them all."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import paretax as px
from paretax import ensembles, metrics

K, DIM = 4, 10
ANGLES = np.linspace(0.15, np.pi / 2 - 0.15, K)
RAYS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
GRID = RAYS / RAYS.sum(1, keepdims=True)
POINT = np.array([1.0, 1.0])

# name → (what combine_members takes, preferences)
RIVALS = {
    "mgda": (px.mgda(), None),
    "nash_mtl": (px.nash_mtl(), None),
    "linear": (lambda p: px.from_losses(px.scalarizations.linear(p)), GRID),
    "epo": (ensembles.epo, GRID),
    "pmgda": (ensembles.pmgda, GRID),
    "pareto_mtl": (lambda p: ensembles.pareto_mtl(p, GRID), GRID),
    "hypervolume": (ensembles.hypervolume_gradient(POINT), None),
    "moo_svgd": (ensembles.moo_svgd(bandwidth=0.003), None),
}
EVERY = pytest.mark.parametrize("name", list(RIVALS))


def concave(x):
    """The two objectives of the Pareto MTL and EPO papers (VLMOP2)."""
    center = 1 / np.sqrt(DIM)
    apart = jnp.stack([jnp.sum((x - center) ** 2), jnp.sum((x + center) ** 2)])
    return 1 - jnp.exp(-apart)


VALUE = jax.vmap(px.value_and_jacobian(concave))


def transformation(name):
    method, preferences = RIVALS[name]
    return ensembles.combine_members(method, K, 2, preferences=preferences)


@functools.cache
def solved(name, steps=600):
    """Losses at the end of one vmapped scan from common starts, and the last state."""
    # MOO-SVGD's direction is a mean over members, most of which are far apart.
    rate = 0.2 if name == "moo_svgd" else 0.1
    decay = optax.cosine_decay_schedule(rate, steps)
    tx = optax.chain(transformation(name), optax.sgd(decay))
    start = np.random.default_rng(0).uniform(-0.5, 0.5, (K, DIM))

    def step(carry, _):
        x, state = carry
        f, jac = VALUE(x)
        updates, state = tx.update(jac, state, x, losses=f)
        return (optax.apply_updates(x, updates), state), None

    run = jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), length=steps)[0])
    x, state = run(jnp.asarray(start, jnp.float32))
    return np.asarray(jax.vmap(concave)(x), float), state


@functools.cache
def compiled(name):
    """One update, compiled once for all tests that take one, and how often traced."""
    tx, traces = transformation(name), []

    def update(jac, state, losses):
        traces.append(name)
        return tx.update(jac, state, losses=losses)

    return tx, jax.jit(update), traces


def batch(seed):
    rng = np.random.default_rng(seed)
    jac = {"w": rng.normal(size=(K, 2, 3, 2)), "b": rng.normal(size=(K, 2, 4))}
    losses = rng.uniform(0.2, 2.0, (K, 2))
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (jac, losses))


def start(name):
    return compiled(name)[0].init(jax.tree.map(lambda x: x[:, 0], batch(0)[0]))


# ---- a concave front ----------------------------------------------------------------


def test_weighted_sums_collapse_to_the_ends_of_a_concave_front():
    f, _ = solved("linear")
    assert f.min(1).max() < 0.01


def test_epo_ends_on_the_rays_of_its_preferences():
    """μ < 1e-4 leaves a spread of about √(2μ) = 1.4 % to either side of the mean."""
    f, state = solved("epo")
    products = GRID * f
    assert (products.max(1) / products.min(1)).max() < 1.03
    assert optax.tree.get(state, "converged").all()


def test_pmgda_ends_on_its_rays():
    """Within the h of 0.01 at which it takes a point to be on the ray."""
    f, _ = solved("pmgda")
    along = (f * RAYS).sum(1, keepdims=True) * RAYS
    assert np.linalg.norm(f - along, axis=1).max() < 0.0105


def test_pareto_mtl_ends_in_its_sectors():
    f, state = solved("pareto_mtl")
    np.testing.assert_array_equal((f @ RAYS.T).argmax(1), np.arange(K))
    assert optax.tree.get(state, "inside").all()


@pytest.mark.parametrize(
    "name", ["epo", "pmgda", "pareto_mtl", "hypervolume", "moo_svgd", "mgda"]
)
def test_gradient_methods_end_on_the_front(name):
    """The front is x = t(1, …, 1): (log(1 − f₁))½ and (log(1 − f₂))½ sum to 2."""
    f, _ = solved(name)
    apart = np.sqrt(-np.log(1 - f)).sum(1)
    np.testing.assert_allclose(apart, 2, atol=0.01)


def test_rivals_cover_more_of_a_concave_front_than_weighted_sums():
    worst = float(metrics.hypervolume(solved("linear")[0], POINT))
    for name in ("epo", "pmgda", "pareto_mtl", "hypervolume"):
        assert float(metrics.hypervolume(solved(name)[0], POINT)) > 5 * worst


def test_moo_svgd_spreads_where_mgda_does_not():
    spread = {}
    for name in ("moo_svgd", "mgda"):
        f = np.sort(solved(name)[0][:, 0])
        spread[name] = np.diff(f).min()
    assert spread["moo_svgd"] > 3 * spread["mgda"]


# ---- the harness --------------------------------------------------------------------


@EVERY
def test_state_keeps_its_types_and_one_trace_serves_all_steps(name):
    _, update, traces = compiled(name)
    state = start(name)
    kinds = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)
    for seed in range(3):
        jac, losses = batch(seed)
        out, state = update(jac, state, losses)
        assert jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state) == kinds
        assert jax.tree.map(jnp.shape, out) == {"w": (K, 3, 2), "b": (K, 4)}
        assert optax.tree.get(state, "converged").shape == (K,)
        assert np.isfinite(jax.tree.leaves(out)[0]).all()
    assert len(traces) == 1


@EVERY
def test_a_member_that_is_not_finite_reaches_no_other(name):
    """Three ways to be lost; the others go on, their numbers finite and as alone."""
    _, update, _ = compiled(name)
    jac, losses = batch(0)
    whole, _ = update(jac, start(name), losses)
    cases = [
        (jax.tree.map(lambda x: x.at[2].set(jnp.nan), jac), losses),
        (jac, losses.at[2].set(jnp.inf)),
        (
            jax.tree.map(lambda x: x.at[2, 0].set(jnp.inf), jac),
            losses.at[2, 0].set(jnp.nan),
        ),
    ]
    others = np.delete(np.arange(K), 2)
    for i, (bad, f) in enumerate(cases):
        out, state = update(bad, start(name), f)
        if not (i == 1 and name in ("mgda", "nash_mtl", "linear")):
            lost = np.concatenate([x[2].ravel() for x in jax.tree.leaves(out)])
            assert not np.isfinite(lost).all()
        for x, y in zip(jax.tree.leaves(out), jax.tree.leaves(whole), strict=True):
            assert np.isfinite(x[others]).all()
            if name not in ("hypervolume", "moo_svgd"):
                np.testing.assert_allclose(x[others], y[others], rtol=1e-5, atol=1e-6)
        assert np.asarray(optax.tree.get(state, "error"))[others].max() < 1e-3


@pytest.mark.parametrize("name", ["hypervolume", "moo_svgd"])
def test_members_beside_a_lost_one_do_as_if_it_were_not_there(name):
    jac, losses = batch(0)
    method = RIVALS[name][0]
    others = np.delete(np.arange(K), 2)
    few = ensembles.combine_members(method, K - 1, 2)
    some = jax.tree.map(lambda x: x[others], jac)
    alone, _ = jax.jit(lambda j, f: few.update(j, few.init(()), losses=f))(
        some, losses[others]
    )
    beside, _ = compiled(name)[1](
        jax.tree.map(lambda x: x.at[2].set(jnp.nan), jac),
        start(name),
        losses.at[2].set(jnp.nan),
    )
    for x, y in zip(jax.tree.leaves(beside), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(x[others], y, rtol=1e-4, atol=1e-6)


@EVERY
def test_every_rival_lowers_for_accelerators(name):
    tx = transformation(name)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch(0))
    state = jax.eval_shape(tx.init, shapes[0])
    update = jax.jit(lambda jac, state, f: tx.update(jac, state, losses=f))
    platforms = ("cpu", "cuda", "rocm", "tpu")
    jax.export.export(update, platforms=platforms)(shapes[0], state, shapes[1])


@pytest.mark.parametrize("name", ["linear", "nash_mtl"])
def test_members_equal_combine_one_by_one(name):
    method, preferences = RIVALS[name]
    jac, losses = batch(1)
    many, _ = compiled(name)[1](jac, start(name), losses)
    for i in (0, K - 1):
        weighting = method if preferences is None else method(preferences[i])
        tx = px.combine(weighting, 2)
        own = jax.tree.map(lambda x, i=i: x[i], jac)
        one, _ = tx.update(own, tx.init(()), losses=losses[i])
        for x, y in zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(x[i], y, rtol=1e-3, atol=1e-4)


def test_pareto_mtl_leaves_a_missing_task_out():
    """Of three tasks the last is missing: the weights are those of the first two."""
    jac = np.random.default_rng(0).normal(size=(3, 5))
    gram, losses = jac @ jac.T, np.array([1.0, 2.5, np.nan])
    gram[2], gram[:, 2] = np.nan, np.nan
    grid = np.array([[0.5, 0.3, 0.2], [0.1, 0.4, 0.5]])
    pair = grid[:, :2] / grid[:, :2].sum(1, keepdims=True)

    @jax.jit
    def both(gram, losses):
        whole, part = (ensembles.pareto_mtl(g[0], g) for g in (grid, pair))
        active = jnp.array([True, True, False])
        w, _ = whole.update(gram, whole.init(3), losses=losses, active=active)
        two, _ = part.update(gram[:2, :2], part.init(2), losses=losses[:2])
        return w, two

    w, two = both(gram, losses)
    assert float(w[2]) == 0
    np.testing.assert_allclose(w[:2], two, atol=1e-5)


def test_wrong_shapes_and_methods_are_named_while_tracing():
    jac, losses = batch(0)
    tx, _, _ = compiled("epo")
    state = start("epo")
    wrong = [
        (jax.tree.map(lambda x: x[1:], jac), losses, "leading axis of 4 members"),
        (jax.tree.map(lambda x: x[:, :1], jac), losses, "leading task axis of 2"),
        (jac, losses[:, :1], r"losses: expected shape \(2,\)"),
        (jac, losses[1:], r"extra_args\['losses'\]: expected a leading axis of 4"),
        (jac, None, "losses: this weighting needs"),
    ]
    for rows, f, message in wrong:
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(lambda r, f: tx.update(r, state, losses=f), rows, f)
    tx, _, _ = compiled("hypervolume")
    with pytest.raises(ValueError, match=r"losses: expected shape \(4, 2\), got None"):
        tx.update(jac, start("hypervolume"))
    with pytest.raises(ValueError, match="active: expected None"):
        tx.update(jac, start("hypervolume"), losses=losses, active=losses > 0)
    with pytest.raises(ValueError, match="leading task axis of 2"):
        tx.update(jax.tree.map(lambda x: x[:, :1], jac), (), losses=losses)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ensembles.combine_members(px.mgda, 2, 2), "method: expected"),
        (lambda: ensembles.combine_members("epo", 2, 2), "method: expected"),
        (lambda: ensembles.combine_members(ensembles.epo, 2, 2), "method: expected"),
        (
            lambda: ensembles.combine_members(px.mgda(), K, 2, preferences=GRID),
            "method: expected",
        ),
        (
            lambda: ensembles.combine_members(
                ensembles.moo_svgd(), K, 2, preferences=GRID
            ),
            "expected none for a JointWeighting",
        ),
        (
            lambda: ensembles.combine_members(ensembles.epo, 2, 2, preferences=GRID),
            r"preferences: expected shape \(2, 2\), got \(4, 2\)",
        ),
        (
            lambda: ensembles.combine_members(
                ensembles.epo, 2, 2, preferences=[[1.0, 0.0], [0.5, 0.5]]
            ),
            "expected positive entries",
        ),
        (lambda: ensembles.combine_members(px.mgda(), 0, 2), "num_members"),
        (lambda: ensembles.epo([0.5, 0.6]), "sum to 1"),
        (lambda: ensembles.epo([0.5, 0.5], tol=-1.0), "tol"),
        (lambda: ensembles.pmgda([0.5, 0.5], sigma=1.5), "sigma"),
        (lambda: ensembles.pareto_mtl([0.5, 0.5], [0.5, 0.5]), "preferences"),
        (lambda: ensembles.pareto_mtl([0.5, 0.5], [[0.5, 0.6]]), "preferences"),
        (
            lambda: ensembles.pareto_mtl([0.5, 0.5], [[0.5, 0.5]], init_steps=-1),
            "init_steps",
        ),
        (lambda: ensembles.hypervolume_gradient([[1.0]]), "reference"),
        (lambda: ensembles.hypervolume_gradient([np.nan]), "reference"),
        (lambda: ensembles.hypervolume_gradient([1.0]).init(3, 2), "reference"),
        (lambda: ensembles.moo_svgd(bandwidth=0.0), "bandwidth"),
    ],
)
def test_wrong_arguments_are_named_at_once(call, message):
    with pytest.raises(ValueError, match=message):
        call()
