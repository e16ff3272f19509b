"""Projections and closed forms on the Gramian, against explicit vectors in NumPy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import paretax as px

BOTH = pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
KEY = jax.random.key(0)


def seeded_pcgrad():
    return px.pcgrad(key=KEY)


def seeded_gradvac():
    return px.gradvac(key=KEY)


def jacobians(m, count=12, n=6, seed=0):
    """Norms over two decades, with conflict, never stationary."""
    rng = np.random.default_rng([seed, m])
    rows = rng.normal(size=(count, m, n)) + 0.5 * rng.normal(size=(count, 1, n))
    return rows * 10 ** rng.uniform(-1, 1, size=(count, m, 1))


@functools.partial(jax.jit, static_argnums=0)
def _at_once(make, grams, active, hyper):
    weighting = make(**hyper)

    def one(gram):
        state = weighting.init(gram.shape[0])
        return weighting.update(gram, state, active=active)

    return jax.vmap(one)(grams)


def first(make, jacs, x64=True, active=None, **hyper):
    """Weights [cases, m] of the first step and whether each is certified.

    `make` and the shape decide what is compiled; hyper-parameters are traced.
    """
    grams = jacs @ np.swapaxes(jacs, 1, 2)
    with jax.enable_x64(x64):
        mask = None if active is None else jnp.asarray(active)
        hyper = {name: jnp.asarray(x, float) for name, x in hyper.items()}
        weights, state = _at_once(make, jnp.asarray(grams, float), mask, hyper)
        return np.asarray(weights, np.float64), np.asarray(state.converged)


@functools.cache
def fixed(make, **options):
    """The factory with options that are no arrays; the same object every time."""
    return functools.partial(make, **options)


def along(weights, jacs):
    return np.einsum("cm,cmn->cn", weights, jacs)


def norms(jacs):
    return np.linalg.norm(jacs, axis=-1)


def close(found, expected, x64, loose=1e-3):
    scale = np.abs(expected).max(-1, keepdims=True)
    np.testing.assert_allclose(
        found / scale, expected / scale, atol=1e-8 if x64 else loose
    )


def ones(m):
    return np.full(m, 1 / m)


def falling(m):
    p = 1.0 / np.arange(1, m + 1)
    return p / p.sum()


# PCGrad and GradVac -------------------------------------------------------------------


def all_orders(m):
    """Every choice of an order of the others for each task."""
    others = [[j for j in range(m) if j != i] for i in range(m)]
    return itertools.product(*(itertools.permutations(rest) for rest in others))


def surgery(jac, orders):
    """Algorithm 1 of Yu et al. on the vectors."""
    out = np.zeros(jac.shape[1])
    for g, order in zip(jac, orders, strict=True):
        g = g.copy()
        for j in order:
            g -= min(g @ jac[j], 0.0) / (jac[j] @ jac[j]) * jac[j]
        out += g
    return out


def vaccination(jac, targets, orders, beta):
    """Wang et al.: cosines are raised to their targets, then these follow."""
    out, targets = np.zeros(jac.shape[1]), targets.copy()
    for i, order in enumerate(orders):
        g = jac[i].copy()
        for j in order:
            long, other = np.linalg.norm(g), np.linalg.norm(jac[j])
            phi, target = g @ jac[j] / (long * other), targets[i, j]
            if phi < target:
                up = target * np.sqrt(1 - phi**2) - phi * np.sqrt(1 - target**2)
                g = g + long * up / (other * np.sqrt(1 - target**2)) * jac[j]
                np.testing.assert_allclose(
                    g @ jac[j] / (np.linalg.norm(g) * other), target, atol=1e-9
                )
            targets[i, j] = (1 - beta) * target + beta * phi
        out += g
    return out, targets


@BOTH
def test_pcgrad_is_surgery_on_the_vectors_in_one_of_all_orders(x64):
    jacs = jacobians(3)
    weights, converged = first(seeded_pcgrad, jacs, x64)
    assert converged.all()
    for jac, d in zip(jacs, along(weights, jacs), strict=True):
        candidates = np.array([surgery(jac, orders) for orders in all_orders(3)])
        miss = np.abs(candidates - d).max(1) / np.abs(d).max()
        assert miss.min() < (1e-10 if x64 else 1e-4)


def test_pcgrad_draws_every_order_equally_often():
    # Three unit vectors of pairwise cosine −0.4: every order gives another sum.
    rng = np.random.default_rng(5)
    jac = rng.normal(size=(3, 3))
    jac -= 0.9 * jac.mean(0)
    candidates = [surgery(jac, orders) for orders in all_orders(3)]
    distinct = np.unique(np.round(candidates, 8), axis=0)
    share = np.array([(np.abs(candidates - d).max(1) < 1e-6).mean() for d in distinct])
    assert len(distinct) > 2

    def one(key):
        weighting = px.pcgrad(key=key)
        return weighting.update(jnp.asarray(jac @ jac.T), weighting.init(3))[0]

    count = 4000
    with jax.enable_x64(True):
        weights = jax.jit(jax.vmap(one))(jax.random.split(KEY, count))
    drawn = np.asarray(weights) @ jac
    seen = np.array([(np.abs(drawn - d).max(1) < 1e-6).mean() for d in distinct])
    np.testing.assert_allclose(seen.sum(), 1.0, atol=1e-9)
    deviation = np.sqrt(share * (1 - share) / count)
    assert (np.abs(seen - share) < 5 * deviation).all()


def test_pcgrad_draws_anew_at_each_step_and_repeats_with_its_key():
    jac = jacobians(7, count=1)[0]
    gram = jnp.asarray(jac @ jac.T, jnp.float32)
    weighting = px.pcgrad(key=KEY)
    update = jax.jit(weighting.update)
    one, state = update(gram, weighting.init(7))
    two, _ = update(gram, state)
    again, _ = update(gram, weighting.init(7))
    np.testing.assert_array_equal(one, again)
    assert np.abs(np.asarray(one - two)).max() > 1e-3


def test_without_conflict_surgery_and_vaccine_leave_the_sum():
    jacs = np.abs(jacobians(4))
    for make in (seeded_pcgrad, seeded_gradvac):
        weights, _ = first(make, jacs)
        np.testing.assert_array_equal(weights, np.ones_like(weights))


def test_two_tasks_projected_off_one_another_by_hand():
    jacs = np.array([[[1.0, 0.0], [-1.0, 1.0]]])
    weights, _ = first(seeded_pcgrad, jacs)
    # g₁ + g₂/2 and g₂ + g₁.
    np.testing.assert_allclose(weights, [[2.0, 1.5]])


@pytest.mark.parametrize("beta", [0.01, 0.5, 1.0])
def test_gradvac_follows_the_vectors_over_many_steps(beta):
    weighting = px.gradvac(key=KEY, decay=1 - beta)
    update = jax.jit(weighting.update)
    targets = np.zeros((3, 3))
    raised = 0
    with jax.enable_x64(True):
        state = weighting.init(3)
        for jac in jacobians(3, count=15, n=4, seed=3):
            weights, state = update(jnp.asarray(jac @ jac.T), state)
            d = np.asarray(weights) @ jac
            options = [vaccination(jac, targets, o, beta) for o in all_orders(3)]
            miss = [
                np.abs(sum_ - d).max() / np.abs(d).max()
                + np.abs(means - state.targets).max()
                for sum_, means in options
            ]
            assert min(miss) < 1e-8
            targets = options[int(np.argmin(miss))][1]
            raised += (np.asarray(weights) > 1 + 1e-9).any()
        np.testing.assert_allclose(state.targets, targets, atol=1e-8)
    assert raised > 5


def test_gradvac_leaves_the_targets_of_missing_and_dead_tasks_as_they_were():
    weighting = px.gradvac(key=KEY, decay=0.5)
    jac = jacobians(3, count=1)[0]
    gram = jac @ jac.T
    _, state = weighting.update(jnp.asarray(gram, jnp.float32), weighting.init(3))
    hidden = gram.copy()
    hidden[2], hidden[:, 2] = np.nan, np.nan
    _, masked = weighting.update(
        jnp.asarray(hidden, jnp.float32), state, active=jnp.array([True, True, False])
    )
    dead = gram.copy()
    dead[2], dead[:, 2] = 0, 0
    _, died = weighting.update(jnp.asarray(dead, jnp.float32), state)
    for after in (masked, died):
        kept, before = np.asarray(after.targets), np.asarray(state.targets)
        np.testing.assert_array_equal(kept[2], before[2])
        np.testing.assert_array_equal(kept[:, 2], before[:, 2])
        assert (kept[[0, 1], [1, 0]] != before[[0, 1], [1, 0]]).all()


def test_gradvac_does_not_remember_what_is_not_a_number():
    weighting = px.gradvac(key=KEY, decay=0.5)
    jac = jacobians(3, count=1)[0]
    gram = jnp.asarray(jac @ jac.T, jnp.float32)
    _, state = weighting.update(gram, weighting.init(3))
    weights, broken = weighting.update(gram.at[0, 1].set(jnp.nan), state)
    assert np.isnan(weights).any()
    assert not broken.converged
    np.testing.assert_array_equal(broken.targets, state.targets)


# UPGrad and DualProj ------------------------------------------------------------------


def nearest(gram, target):
    """argmin vᵀKv over v ≥ t: the support whose signs are right."""
    m = len(gram)
    for size in range(m + 1):
        for support in map(list, itertools.combinations(range(m), size)):
            v = target.copy()
            if size:
                inner = gram[np.ix_(support, support)]
                v[support] -= np.linalg.solve(inner, (gram @ target)[support])
            tol = 1e-10 * np.abs(gram).max()
            if (v >= target - 1e-12).all() and (gram @ v >= -tol).all():
                return v
    raise AssertionError("no support is optimal")


@BOTH
@pytest.mark.parametrize("share", [ones, falling])
def test_upgrad_adds_up_the_projections_of_all_gradients(share, x64):
    for m in (2, 4):
        jacs, p = jacobians(m), share(m)
        weights, converged = first(px.upgrad, jacs, x64, preference=p)
        expected = [
            sum(nearest(jac @ jac.T, p[i] * np.eye(m)[i]) for i in range(m))
            for jac in jacs
        ]
        assert converged.all()
        close(along(weights, jacs), along(np.array(expected), jacs), x64)


@BOTH
@pytest.mark.parametrize("share", [ones, falling])
def test_dual_proj_projects_the_mean_gradient(share, x64):
    for m in (2, 4):
        jacs, p = jacobians(m), share(m)
        weights, converged = first(px.dual_proj, jacs, x64, preference=p)
        expected = np.array([nearest(jac @ jac.T, p) for jac in jacs])
        assert converged.all()
        close(along(weights, jacs), along(expected, jacs), x64)


def test_a_task_without_preference_is_not_followed_but_not_harmed_either():
    jacs = np.array([[[1.0, 0.0], [-2.0, 1.0]]])
    for make in (px.upgrad, px.dual_proj):
        weights, _ = first(make, jacs, preference=[1.0, 0.0])
        # g₁ without its part along g₂: g₁ + (2/5) g₂.
        np.testing.assert_allclose(weights, [[1.0, 0.4]], atol=1e-12)


def test_without_conflict_the_projections_leave_the_mean():
    jacs = np.abs(jacobians(5))
    for make in (px.upgrad, px.dual_proj):
        weights, _ = first(make, jacs)
        np.testing.assert_allclose(weights, 0.2, rtol=1e-12)


def test_rescaling_a_task_rescales_its_projection_alone():
    jacs = jacobians(3)
    scales = np.array([1e-2, 1.0, 50.0])
    parts = [
        along(first(px.upgrad, jacs, preference=np.eye(3)[i])[0], jacs)
        for i in range(3)
    ]
    scaled = jacs * scales[:, None]
    weights, _ = first(px.upgrad, scaled)
    expected = sum(s * part for s, part in zip(scales, parts, strict=True)) / 3
    close(along(weights, scaled), expected, True)


# CAGrad -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("c", [0.1, 0.4, 0.9])
def test_cagrad_meets_the_conditions_of_its_maximum(c, x64):
    """Concave maximum over a ball: on its edge, pushed by the worst tasks only."""
    tol = 1e-7 if x64 else 2e-3
    for m in (2, 7):
        jacs = jacobians(m, n=m + 3)
        weights, converged = first(px.cagrad, jacs, x64, c=c)
        assert converged.all()
        push = weights - 1 / m
        mean, d = jacs.mean(1), along(weights, jacs)
        gains = np.einsum("cmn,cn->cm", jacs, d)
        scale = norms(jacs).max(1) * norms(mean)
        assert (push >= -1e-6).all()
        np.testing.assert_allclose(norms(d - mean) / norms(mean), c, rtol=tol)
        above = (gains - gains.min(1, keepdims=True)) / scale[:, None]
        pushes = push * norms(jacs) / (push * norms(jacs)).sum(1, keepdims=True)
        assert (above * pushes < tol).all()


def test_cagrad_matches_a_fine_search_of_its_dual():
    c, jacs = 0.4, jacobians(2)
    weights, _ = first(px.cagrad, jacs, c=c)
    w = np.linspace(0, 1, 200_001)
    for jac, d in zip(jacs, along(weights, jacs), strict=True):
        mean, gram = jac.mean(0), jac @ jac.T
        both = np.stack([w, 1 - w])
        long = np.sqrt(np.maximum(np.einsum("iw,ij,jw->w", both, gram, both), 0))
        radius = c * np.linalg.norm(mean)
        best = both[:, np.argmin(both.T @ jac @ mean + radius * long)] @ jac
        expected = mean + radius * best / np.linalg.norm(best)
        np.testing.assert_allclose(d, expected, atol=1e-3 * np.abs(expected).max())


def test_cagrad_without_radius_is_the_mean_and_rescaled_is_shorter():
    jacs = jacobians(3)
    np.testing.assert_allclose(first(px.cagrad, jacs, c=0.0)[0], 1 / 3)
    plain, _ = first(px.cagrad, jacs, c=0.5)
    rescaled, _ = first(fixed(px.cagrad, rescale=True), jacs, c=0.5)
    np.testing.assert_allclose(rescaled, plain / 1.25, rtol=1e-9)


def test_cagrad_with_missing_tasks_keeps_their_weight_among_the_others():
    jacs = jacobians(4)
    alone, _ = first(fixed(px.cagrad, rescale=True), jacs[:, [0, 2]])
    masked = np.where(np.array([True, False, True, False])[:, None], jacs, np.nan)
    weights, converged = first(
        fixed(px.cagrad, rescale=True), masked, active=[True, False, True, False]
    )
    assert converged.all()
    np.testing.assert_allclose(weights[:, [0, 2]], alone, rtol=1e-6, atol=1e-9)
    assert (weights[:, [1, 3]] == 0).all()


# IMTL-G and ConFIG --------------------------------------------------------------------


def closed_form(jac):
    """Liu et al., eq. 6: differences of the gradients, of the unit gradients."""
    units = jac / norms(jac)[:, None]
    d, u = jac[0] - jac[1:], units[0] - units[1:]
    rest = jac[0] @ u.T @ np.linalg.inv(d @ u.T)
    return np.concatenate([[1 - rest.sum()], rest])


@BOTH
def test_imtl_g_is_the_closed_form_of_its_paper(x64):
    for m in (2, 3, 5):
        jacs = jacobians(m)
        weights, converged = first(px.imtl_g, jacs, x64)
        expected = np.array([closed_form(jac) for jac in jacs])
        assert converged.all()
        # Where Σ(Du) nearly vanishes, float32 cannot hold its digits.
        steady = np.abs(expected).max(1) < 30
        assert steady.sum() >= 8
        close(along(weights, jacs)[steady], along(expected, jacs)[steady], x64, 1e-2)


def test_imtl_g_projects_equally_on_every_unit_gradient():
    jacs = jacobians(5)
    weights, _ = first(px.imtl_g, jacs)
    np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-9)
    units = jacs / norms(jacs)[..., None]
    projections = np.einsum("cmn,cn->cm", units, along(weights, jacs))
    spread = np.ptp(projections, axis=1) / np.abs(projections).max(1)
    assert spread.max() < 1e-9


def test_for_two_tasks_imtl_g_weighs_by_the_other_norm():
    jacs = jacobians(2)
    weights, _ = first(px.imtl_g, jacs)
    n = norms(jacs)
    np.testing.assert_allclose(weights, n[:, ::-1] / n.sum(1, keepdims=True))


def test_imtl_g_lets_duplicates_share_one_task_equally():
    rng = np.random.default_rng(0)
    jac = rng.normal(size=(1, 2, 5)) + 1.0
    alone, _ = first(px.imtl_g, jac)
    twice = np.concatenate([jac, jac[:, :1]], axis=1)
    weights, converged = first(px.imtl_g, twice)
    assert converged.all()
    np.testing.assert_allclose(weights[:, 0], weights[:, 2], rtol=1e-9)
    np.testing.assert_allclose(along(weights, twice), along(alone, jac), rtol=1e-9)


def test_opposite_gradients_have_no_equal_projection_and_say_so():
    jacs = np.array([[[1.0, 2.0], [-1.0, -2.0]], [[1.0, 2.0], [-3.0, -6.0]]])
    for make in (px.imtl_g, px.config):
        weights, converged = first(make, jacs)
        assert not converged.any()
        np.testing.assert_allclose(along(weights, jacs), 0.0, atol=1e-7)


@BOTH
def test_scales_over_eight_decades_do_not_turn_imtl_g_and_config(x64):
    rng = np.random.default_rng(1)
    jacs = rng.normal(size=(8, 4, 7)) + 0.5
    scaled = jacs * np.logspace(-4, 4, 4)[:, None]
    for make in (px.imtl_g, px.config):
        plain = along(first(make, jacs, x64)[0], jacs)
        other = along(first(make, scaled, x64)[0], scaled)
        plain, other = (x / norms(x)[:, None] for x in (plain, other))
        cosine = np.abs((plain * other).sum(1))
        np.testing.assert_allclose(cosine, 1.0, atol=1e-10 if x64 else 1e-4)


@BOTH
@pytest.mark.parametrize("share", [ones, falling])
def test_config_is_its_definition_on_the_unit_gradients(share, x64):
    for m in (1, 3, 5):
        jacs, p = jacobians(m), share(m)
        weights, converged = first(px.config, jacs, x64, preference=p)
        # Where cosines are near −1, float32 cannot hold the residual.
        assert converged.mean() > (0.99 if x64 else 0.8)
        expected = []
        for jac in jacs:
            u = np.linalg.pinv(jac / norms(jac)[:, None]) @ p
            u /= np.linalg.norm(u)
            expected.append((jac @ u).sum() * u)
        close(along(weights, jacs), np.array(expected), x64, 1e-2)


@BOTH
def test_config_harms_no_task_where_it_is_certified(x64):
    for jacs in (jacobians(4), jacobians(4, n=3, count=40)):
        weights, converged = first(px.config, jacs, x64)
        d = along(weights, jacs)
        units = jacs / norms(jacs)[..., None]
        cosines = np.einsum("cmn,cn->cm", units, d) / norms(d)[:, None]
        assert (cosines[converged] > 0).all()
    # Four gradients in three dimensions: four cosines cannot be equal.
    assert not converged.any()


# Aligned-MTL --------------------------------------------------------------------------

STATISTICS = {
    "min": np.min,
    "median": lambda x: np.sort(x)[(len(x) - 1) // 2],
    "rmse": np.mean,
}


def balance(scale, jacs, x64):
    """The m×m matrix B of aligned gradients BJ, a column a preference."""
    m = jacs.shape[1]
    columns = [
        first(fixed(px.aligned_mtl, scale=scale), jacs, x64, preference=e)[0]
        for e in np.eye(m)
    ]
    return np.stack(columns, axis=2)


@BOTH
@pytest.mark.parametrize("scale", STATISTICS)
def test_all_singular_values_of_the_aligned_gradients_are_equal(scale, x64):
    for m in (2, 4):
        rng = np.random.default_rng(m)
        jacs = rng.normal(size=(5, m, 6)) + rng.normal(size=(5, 1, 6))
        aligned = balance(scale, jacs, x64) @ jacs
        for jac, found in zip(jacs, aligned, strict=True):
            u, s, v = np.linalg.svd(jac, full_matrices=False)
            sigma = np.sqrt(STATISTICS[scale](s**2))
            expected = sigma * u @ v
            atol = (1e-9 if x64 else 2e-3) * sigma
            np.testing.assert_allclose(found, expected, atol=atol)


def test_aligned_gradients_of_low_rank_are_equal_on_their_range():
    jacs = np.random.default_rng(2).normal(size=(5, 4, 2))
    for scale, statistic in STATISTICS.items():
        aligned = balance(scale, jacs, True) @ jacs
        found = np.linalg.svd(aligned, compute_uv=False)
        given = np.linalg.svd(jacs, compute_uv=False)
        for values, singular in zip(given, found, strict=True):
            np.testing.assert_allclose(singular, np.sqrt(statistic(values**2)))


def test_orthogonal_gradients_all_become_as_long_as_the_shortest():
    lengths = np.array([3.0, 0.5, 20.0])
    weights, _ = first(px.aligned_mtl, np.diag(lengths)[None])
    np.testing.assert_allclose(weights[0], 0.5 / lengths / 3)


def test_aligned_mtl_has_a_derivative_where_eigenvalues_coincide():
    weighting = px.aligned_mtl(scale="rmse", preference=[0.5, 0.3, 0.2])
    move = np.random.default_rng(0).normal(size=(3, 3))
    move = move + move.T

    def value(t):
        gram = 4 * jnp.eye(3) + t * jnp.asarray(move)
        weights = weighting.update(gram, weighting.init(3))[0]
        return weights @ jnp.array([1.0, -2.0, 3.0])

    with jax.enable_x64(True):
        numeric = (value(1e-5) - value(-1e-5)) / 2e-5
        np.testing.assert_allclose(jax.grad(value)(0.0), numeric, rtol=1e-6)
        np.testing.assert_allclose(
            jax.jvp(value, (0.0,), (1.0,))[1], numeric, rtol=1e-6
        )


# FairGrad -----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
def test_fairgrad_solves_its_equation_and_helps_every_task(alpha, x64):
    for m in (1, 3, 7):
        jacs = jacobians(m, n=m + 3)
        weights, converged = first(
            fixed(px.fairgrad, alpha=alpha, max_norm=None), jacs, x64
        )
        assert converged.all()
        gains = np.einsum("cmn,cn->cm", jacs, along(weights, jacs))
        assert (gains > 0).all()
        ratio = weights * gains**alpha
        np.testing.assert_allclose(ratio, 1.0, atol=1e-7 if x64 else 2e-3)


def test_fairgrad_of_orthogonal_gradients_by_hand():
    # K = n²: n² w = w^(−1/α), so w = n^(−2α/(1 + α)).
    n = np.array([0.1, 1.0, 30.0])
    for alpha in (0.5, 1.0, 2.0):
        weights, _ = first(
            fixed(px.fairgrad, alpha=alpha, max_norm=None), np.diag(n)[None]
        )
        np.testing.assert_allclose(weights[0], n ** (-2 * alpha / (1 + alpha)))


def test_fairgrad_with_alpha_one_is_the_nash_bargain():
    jacs = jacobians(4)
    fair, _ = first(px.fairgrad, jacs)
    nash, _ = first(px.nash_mtl, jacs)
    np.testing.assert_allclose(fair, nash, rtol=1e-9)


def test_fairgrad_is_shortened_to_its_norm_and_never_lengthened():
    jacs = jacobians(3)
    long, _ = first(fixed(px.fairgrad, alpha=2.0, max_norm=None), jacs)
    cut, _ = first(fixed(px.fairgrad, alpha=2.0, max_norm=0.5), jacs)
    length = norms(along(long, jacs))
    expected = long * np.minimum(1, 0.5 / length)[:, None]
    np.testing.assert_allclose(cut, expected, rtol=1e-7)


# Errors and missing tasks -------------------------------------------------------------


@pytest.mark.parametrize("make", [px.upgrad, px.dual_proj, px.config, px.aligned_mtl])
def test_a_preference_is_restricted_to_the_tasks_that_are_there(make):
    jacs = jacobians(3)
    active = np.array([True, False, True])
    masked = np.where(active[:, None], jacs, np.nan)
    weights, _ = first(make, masked, active=active, preference=[0.2, 0.5, 0.3])
    alone, _ = first(make, jacs[:, active], preference=[0.4, 0.6])
    close(along(weights[:, active], jacs[:, active]), along(alone, jacs[:, active]), 1)
    assert (weights[:, 1] == 0).all()


@pytest.mark.parametrize("make", [px.upgrad, px.dual_proj, px.config, px.aligned_mtl])
def test_a_preference_must_be_a_point_of_the_simplex_of_the_right_length(make):
    with pytest.raises(ValueError, match="preference: expected"):
        make(preference=[0.5, 0.6])
    with pytest.raises(ValueError, match="preference: expected"):
        make(preference=[1.5, -0.5])
    weighting = make(preference=[0.5, 0.5])
    with pytest.raises(ValueError, match="expected"):
        weighting.update(jnp.eye(3), weighting.init(3))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: px.pcgrad(key=jax.random.PRNGKey(0)), "key: expected one typed"),
        (lambda: px.gradvac(key=jax.random.PRNGKey(0)), "key: expected one typed"),
        (lambda: px.gradvac(key=KEY, decay=1.5), r"decay: expected a number in \[0"),
        (lambda: px.cagrad(c=-0.1), "c: expected a number of at least 0"),
        (lambda: px.fairgrad(alpha=0.0), "alpha: expected a number above 0"),
        (lambda: px.fairgrad(max_norm=0.0), "max_norm: expected a number above 0"),
        (lambda: px.aligned_mtl(scale="max"), "scale: expected one of min, median"),
    ],
)
def test_bad_hyper_parameters_raise_at_once(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_config_and_imtl_g_give_nothing_where_nothing_can_be_had():
    g = np.array([1.0, 2.0, 3.0])
    jac = jnp.asarray(np.stack([g, g, -g]))
    for x64 in (False, True):
        with jax.enable_x64(x64):
            gram = px.gramian(jnp.asarray(jac, float))
            preferred = px.config(preference=[1 / 6, 2 / 6, 3 / 6])
            weights, state = preferred.update(gram, preferred.init(3))
            np.testing.assert_array_equal(weights, 0.0)
            assert not state.converged
            pair = gram[1:, 1:]
            weights, state = px.imtl_g().update(pair, px.imtl_g().init(2))
            np.testing.assert_array_equal(weights, 0.0)
            assert not state.converged
