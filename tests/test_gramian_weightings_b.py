"""Normalized MGDA, PCD, Krum, random weights and GradNorm, each against NumPy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import paretax as px

BOTH = pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])


def jacobian(m, seed=0, n=6):
    rng = np.random.default_rng([seed, m])
    return rng.normal(size=(m, n)) * 10 ** rng.uniform(-1, 1, size=(m, 1))


@functools.partial(jax.jit, static_argnums=0)
def _steps(weighting, grams, losses, active):
    def step(state, now):
        gram, f, present = now
        weights, state = weighting.update(gram, state, losses=f, active=present)
        return state, (weights, state)

    state = weighting.init(grams.shape[1])
    return jax.lax.scan(step, state, (grams, losses, active))[1]


def steps(weighting, grams, losses=None, active=None, x64=False):
    """Weights [steps, m] and the states after each step, in one compiled scan."""
    grams = np.asarray(grams)
    shape = grams.shape[:2]
    with jax.enable_x64(x64):
        losses = jnp.ones(shape) if losses is None else jnp.asarray(losses, float)
        active = np.ones(shape, bool) if active is None else np.asarray(active)
        grams = jnp.asarray(grams, float)
        weights, states = _steps(weighting, grams, losses, jnp.asarray(active))
        return np.asarray(weights, np.float64), jax.tree.map(on_host, states)


def on_host(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def once(weighting, gram, **options):
    options = {k: None if v is None else [v] for k, v in options.items()}
    weights, states = steps(weighting, np.asarray(gram)[None], x64=True, **options)
    return weights[0], jax.tree.map(lambda leaf: leaf[0], states)


def shortest(gram):
    """argmin wᵀKw over the simplex, by trying every support."""
    m = len(gram)
    for size in range(1, m + 1):
        for support in map(list, itertools.combinations(range(m), size)):
            x = np.linalg.solve(gram[np.ix_(support, support)], np.ones(size))
            w = np.zeros(m)
            w[support] = x / x.sum()
            if (w >= 0).all() and (gram @ w >= w @ gram @ w - 1e-12).all():
                return w
    raise AssertionError("no support is optimal")


# MGDA ---------------------------------------------------------------------------------

NORMALIZED = [(True, False), (False, True), (True, True)]


def normalizer(jac, losses, norm, loss):
    return np.linalg.norm(jac, axis=1) ** norm * losses**loss


@pytest.mark.parametrize(("norm", "loss"), NORMALIZED)
def test_normalized_mgda_finds_the_weights_on_normalized_gradients(norm, loss):
    for m in (2, 4):
        jac, losses = jacobian(m), np.linspace(0.5, 3.0, m)
        n = normalizer(jac, losses, norm, loss)
        expected = shortest((jac / n[:, None]) @ (jac / n[:, None]).T)
        gram = jac @ jac.T
        weights, _ = once(px.mgda(norm=norm, loss=loss), gram, losses=losses)
        np.testing.assert_allclose(weights, expected, atol=1e-7)
        scaled = px.normalize(px.mgda(), norm=norm, loss=loss)
        weights, _ = once(scaled, gram, losses=losses)
        np.testing.assert_allclose(weights, expected / n, rtol=1e-6, atol=1e-9)


def test_normalized_weights_on_raw_gradients_may_harm_a_task():
    jac = np.array([[-1.0, 0.1], [10.0, 1.0]])
    raw, _ = once(px.mgda(norm=True), jac @ jac.T)
    np.testing.assert_allclose(raw, [0.5, 0.5], atol=1e-9)
    assert jac[0] @ (raw @ jac) < 0
    scaled, _ = once(px.normalize(px.mgda()), jac @ jac.T)
    assert (jac @ (scaled @ jac) > 0).all()


def test_mgda_without_normalization_is_the_min_norm_point_bit_for_bit():
    gram = jnp.asarray(jacobian(5) @ jacobian(5).T, jnp.float32)
    weights, state = px.mgda().update(gram, px.mgda().init(5))
    solution = px.solvers.min_norm(gram)
    np.testing.assert_array_equal(weights, solution.value)
    np.testing.assert_array_equal(state.error, solution.error)


@pytest.mark.parametrize(("norm", "loss"), NORMALIZED)
def test_normalized_mgda_leaves_missing_tasks_out(norm, loss):
    jac, losses = jacobian(3), np.array([1.0, 2.0, 0.5])
    weighting = px.mgda(norm=norm, loss=loss)
    alone, _ = once(weighting, jac[1:] @ jac[1:].T, losses=losses[1:])
    gram, losses = jac @ jac.T, losses.copy()
    gram[0], gram[:, 0], losses[0] = np.nan, np.nan, np.nan
    active = [False, True, True]
    weights, _ = once(weighting, gram, losses=losses, active=active)
    np.testing.assert_allclose(weights, [0.0, *alone], atol=1e-9)


def test_a_loss_that_is_not_positive_ends_in_nan_and_a_missing_one_raises():
    weighting, gram = px.mgda(loss=True), jnp.eye(2)
    weights, state = once(weighting, gram, losses=[1.0, 0.0])
    assert np.isnan(weights).all()
    assert not state.converged
    with pytest.raises(ValueError, match="losses: this weighting needs"):
        weighting.update(gram, weighting.init(2))


# PCD ----------------------------------------------------------------------------------


def constrained(h, tau):
    """argmin ½‖p − h₀‖² with hⱼᵀp ≥ τ‖hⱼ‖², trying every set of tight constraints."""
    for size in range(len(h)):
        for tight in map(list, itertools.combinations(range(1, len(h)), size)):
            a = h[tight]
            asked = tau * np.sum(a * a, axis=1)
            mu = np.linalg.solve(a @ a.T, asked - a @ h[0]) if tight else np.zeros(0)
            p = h[0] + mu @ a
            gains = h[1:] @ p - tau * np.sum(h[1:] ** 2, axis=1)
            if (mu >= 0).all() and (gains >= -1e-10).all():
                return p
    return None


def followed(jacs, tau, beta, eps=0.0):
    """The directions of PCD over the steps, by the paper's recurrence on vectors."""
    v, out = np.zeros(len(jacs[0])), []
    for t, jac in enumerate(jacs, 1):
        v = beta * v + (1 - beta) * np.sum(jac**2, axis=1)
        h = jac / np.sqrt(v / (1 - beta**t) + eps)[:, None]
        p = constrained(h, tau)
        out.append(p / np.linalg.norm(p) * np.linalg.norm(jac[0]))
    return np.stack(out)


@BOTH
@pytest.mark.parametrize(("m", "tau"), [(1, 0.5), (2, 0.02), (3, 1.0), (5, 0.4)])
def test_pcd_follows_its_recurrence_over_many_steps(m, tau, x64):
    jacs = np.stack([jacobian(m, seed, n=8) for seed in range(12)])
    expected = followed(jacs, tau, beta=0.9)
    grams = jacs @ jacs.transpose(0, 2, 1)
    weights, states = steps(px.pcd(tau=tau, beta=0.9), grams, x64=x64)
    found = np.einsum("sm,smn->sn", weights, jacs)
    scale = np.abs(expected).max(1, keepdims=True)
    assert states.converged.all()
    np.testing.assert_allclose(
        found / scale, expected / scale, atol=1e-7 if x64 else 3e-4
    )


def test_pcd_gives_torchjds_numbers_over_three_steps():
    first, second = [[-4.0, 1, 1], [6, 1, 1]], [[1.0, 2, 0], [-3, 1, 1]]
    jacs = np.array([first, second, first])
    grams = jacs @ jacs.transpose(0, 2, 1)
    weights, _ = steps(px.pcd(tau=0.5, beta=0.9), grams, x64=True)
    published = [
        [2.0889, 2.61118, 2.61118],
        [-0.26944, 2.18539, 0.38918],
        [2.08421, 2.61305, 2.61305],
    ]
    np.testing.assert_allclose(
        np.einsum("sm,smn->sn", weights, jacs), published, atol=1e-5
    )
    jac = np.array([[1.0, 0, 0], [-1, 2, 0], [-1, -1, 3]])
    weights, _ = once(px.pcd(tau=0.3), jac @ jac.T)
    np.testing.assert_allclose(weights @ jac, [0.4352, 0.5762, 0.6918], atol=1e-4)


def test_a_progress_asked_of_each_task_is_met_and_tight_where_it_bends():
    jac, tau = jacobian(4, n=8), np.array([0.9, 0.0, 0.3, 1.0])
    weights, state = once(px.pcd(tau=jnp.asarray(tau)), jac @ jac.T)
    h = jac / np.linalg.norm(jac, axis=1)[:, None]
    p = weights @ jac / (weights[0] * np.linalg.norm(jac[0]))
    gains = h[1:] @ p - tau[1:]
    assert state.converged
    assert (weights >= 0).all()
    assert (gains > -1e-7).all()
    np.testing.assert_allclose(gains * weights[1:], 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(weights @ jac), np.linalg.norm(jac[0]))


def test_constraints_that_exclude_each_other_are_dropped_and_it_says_so():
    jac = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, -1.0, 0.0]])
    for x64 in (False, True):
        weights, state = steps(px.pcd(), (jac @ jac.T)[None], x64=x64)
        np.testing.assert_allclose(weights[0], [1.0, 0.0, 0.0], atol=1e-6)
        assert not state.converged[0]
        assert state.error[0] > 1e-4


def test_a_primary_task_at_rest_stops_and_a_secondary_at_rest_asks_nothing():
    weights, state = once(px.pcd(tau=0.5), np.diag([0.0, 4.0]))
    assert weights.tolist() == [0.0, 0.0]
    assert state.converged
    weights, state = once(px.pcd(tau=0.5), np.diag([9.0, 0.0]))
    np.testing.assert_allclose(weights @ np.diag([3.0, 0.0]), [3.0, 0.0])
    assert state.converged


def test_units_of_secondary_tasks_do_not_matter_whatever_they_are():
    jacs = np.stack([jacobian(3, seed) for seed in range(4)])
    units = np.array([1.0, 1e-9, 1e8])[:, None]
    plain, _ = steps(px.pcd(tau=0.3), jacs @ jacs.transpose(0, 2, 1))
    jacs_in_units = units * jacs
    grams = jacs_in_units @ jacs_in_units.transpose(0, 2, 1)
    scaled, _ = steps(px.pcd(tau=0.3), grams)
    np.testing.assert_allclose(scaled * units[:, 0], plain, rtol=1e-3, atol=1e-6)


def test_averages_stand_still_for_missing_tasks_and_for_gradients_that_are_nan():
    jacs = np.stack([jacobian(3, seed) for seed in range(5)])
    grams = jacs @ jacs.transpose(0, 2, 1)
    active = np.ones((5, 3), bool)
    active[1, 1] = active[2, 1] = False
    grams[1, 1], grams[1, :, 1] = np.nan, np.nan
    grams[3, 0, 2] = np.nan
    weights, states = steps(px.pcd(beta=0.5), grams, active=active, x64=True)
    assert np.isnan(weights[3]).all()
    assert np.isfinite(weights[[0, 1, 2, 4]]).all()
    assert states.converged.tolist() == [True, True, True, False, True]
    assert states.calls[-1].tolist() == [4, 2, 4]
    norms = np.sum(jacs**2, axis=2)
    expected = (0.5 * norms[0, 1] + norms[4, 1]) / 1.5
    np.testing.assert_allclose(states.squares[-1, 1], expected)
    np.testing.assert_array_equal(states.squares[3], states.squares[2])


def test_the_first_active_task_is_the_primary():
    jac = jacobian(3)
    weights, _ = once(px.pcd(tau=0.1), jac @ jac.T, active=[False, True, True])
    alone, _ = once(px.pcd(tau=0.1), jac[1:] @ jac[1:].T)
    np.testing.assert_allclose(weights, [0.0, *alone], atol=1e-9)


def test_float32_averages_keep_their_digits_over_thousands_of_steps():
    squares = np.random.default_rng(0).uniform(0.5, 2.0, size=(3000, 1, 1))
    _, states = steps(px.pcd(), squares.astype(np.float32))
    v = 0.0
    for t, x in enumerate(squares[:, 0, 0], 1):
        v = 0.999 * v + 0.001 * x
        if t in (1, 10, 3000):
            exact = v / (1 - 0.999**t)
            np.testing.assert_allclose(states.squares[t - 1, 0], exact, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": -0.1}, "tau: expected a number in"),
        ({"tau": [0.1, 1.5]}, "tau: expected a number in"),
        ({"tau": [[0.1, 0.5]]}, "tau: expected a number or shape"),
        ({"beta": 1.0}, "beta: expected a number in"),
        ({"eps": -1e-8}, "eps: expected a number of at least 0"),
    ],
)
def test_pcd_names_a_wrong_parameter(options, message):
    with pytest.raises(ValueError, match=message):
        px.pcd(**options)


def test_pcd_wants_one_tau_a_task():
    with pytest.raises(ValueError, match=r"tau: expected a number or shape \(3,\)"):
        px.pcd(tau=[0.1, 0.2]).init(3)


# Krum ---------------------------------------------------------------------------------


def chosen(jac, f, q, power):
    """The q tasks with the smallest sums of distances to the power."""
    distances = np.linalg.norm(jac[:, None] - jac[None], axis=2) ** power
    np.fill_diagonal(distances, np.inf)
    k = max(len(jac) - f - 2, 1)
    scores = np.sort(distances, axis=1)[:, :k].sum(1)
    return set(np.argsort(scores)[:q].tolist())


@BOTH
@pytest.mark.parametrize(("m", "f", "q"), [(5, 0, 1), (6, 1, 2), (7, 2, 3), (9, 3, 1)])
def test_krum_sums_squared_distances_to_the_nearest(m, f, q, x64):
    rng = np.random.default_rng([m, f, q])
    jacs = rng.normal(size=(300, m, 3))
    grams = jacs @ jacs.transpose(0, 2, 1)
    weights, _ = steps(px.krum(num_byzantine=f, num_selected=q), grams, x64=x64)
    np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-6)
    plain = 0
    for w, jac in zip(weights, jacs, strict=True):
        assert set(np.flatnonzero(w).tolist()) == chosen(jac, f, q, 2)
        plain += chosen(jac, f, q, 1) != chosen(jac, f, q, 2)
    assert plain > 0  # the examples tell squares from distances


def test_krum_gives_torchjds_answers_where_the_rules_agree():
    jac = np.array(
        [[1.0, 0, 0], [1.1, 0, 0.1], [0.9, 0.1, 0], [1, 0.2, 0.1], [-9, 9, 9]]
    )
    one, _ = once(px.krum(num_byzantine=1), jac @ jac.T)
    two, _ = once(px.krum(num_byzantine=1, num_selected=2), jac @ jac.T)
    np.testing.assert_allclose(one @ jac, [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(two @ jac, [0.95, 0.05, 0.0], atol=1e-12)


def test_tasks_with_equal_scores_share_what_is_left():
    for gram, expected in (
        ([[2.0]], [1.0]),
        (np.diag([1.0, 9.0]), [0.5, 0.5]),
        (np.eye(3), [1 / 3] * 3),
        (np.diag([1.0, 1.0, 100.0]), [0.5, 0.5, 0.0]),
        (np.zeros((4, 4)), [0.25] * 4),
    ):
        weights, _ = once(px.krum(), gram)
        np.testing.assert_allclose(weights, expected, atol=1e-12)
    points = np.array([[0.0], [0.1], [5.0], [5.1], [20.0]])
    weights, _ = once(px.krum(num_byzantine=2, num_selected=3), points @ points.T)
    np.testing.assert_allclose(weights, [0.25, 0.25, 0.25, 0.25, 0.0], atol=1e-12)


def test_krum_counts_the_active_tasks():
    jac = jacobian(6, seed=3)
    weighting = px.krum(num_byzantine=1, num_selected=2)
    active = np.array([True, False, True, True, True, True])
    gram = np.where(np.outer(active, active), jac @ jac.T, np.nan)
    alone, _ = once(weighting, jac[active] @ jac[active].T)
    weights, _ = once(weighting, gram, active=active)
    np.testing.assert_allclose(weights[active], alone, atol=1e-12)
    assert weights[1] == 0
    one, _ = once(weighting, gram, active=np.arange(6) == 3)
    np.testing.assert_allclose(one, np.arange(6) == 3)


@pytest.mark.parametrize(
    ("options", "m", "message"),
    [
        ({"num_byzantine": -1}, 5, "num_byzantine: expected at least 0"),
        ({"num_byzantine": 1.0}, 5, "num_byzantine: expected an integer"),
        ({"num_selected": 0}, 5, "num_selected: expected at least 1"),
        ({"num_selected": 3}, 2, "num_selected: expected at most 2"),
        ({"num_byzantine": 2}, 4, "num_byzantine: expected at most 1 for 4 tasks"),
    ],
)
def test_krum_names_a_wrong_parameter(options, m, message):
    with pytest.raises(ValueError, match=message):
        px.krum(**options).init(m)


# Random weights -----------------------------------------------------------------------


def test_random_weights_differ_by_step_and_average_to_the_mean():
    random = px.rgw(key=jax.random.key(1))
    weights, _ = steps(random, np.zeros((4000, 3, 3)))
    np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-5)
    assert len(np.unique(weights[:, 0])) > 3900
    np.testing.assert_allclose(weights.mean(0), 1 / 3, atol=0.01)
    # log w differs from the normals by a constant a step: differences have variance 2.
    logs = np.log(weights)
    np.testing.assert_allclose(np.var(logs[:, 0] - logs[:, 1]), 2.0, rtol=0.1)
    wide, _ = steps(random, np.zeros((4000, 3, 3)), x64=True)
    np.testing.assert_allclose(wide, weights, rtol=1e-5)


def test_random_weights_of_the_active_tasks_are_the_softmax_over_them():
    random = px.rgw(key=jax.random.key(2))
    whole, _ = steps(random, np.zeros((5, 4, 4)))
    active = np.broadcast_to([True, False, True, True], (5, 4))
    part, _ = steps(random, np.zeros((5, 4, 4)), active=active)
    expected = np.where(active, whole, 0)
    np.testing.assert_allclose(
        part, expected / expected.sum(1, keepdims=True), rtol=1e-5
    )


def test_a_raw_key_is_refused():
    with pytest.raises(ValueError, match="key: expected"):
        px.rgw(key=jnp.zeros(2, jnp.uint32))


# GradNorm -----------------------------------------------------------------------------


class Sgd:
    def __init__(self, rate, m):
        self.rate = rate

    def step(self, slope, where):
        return -self.rate * slope


class Adam:
    def __init__(self, rate, m):
        self.rate, self.m, self.v, self.t = rate, np.zeros(m), np.zeros(m), np.zeros(m)

    def step(self, slope, where):
        self.t[where] += 1
        self.m[where] = 0.9 * self.m[where] + 0.1 * slope[where]
        self.v[where] = 0.999 * self.v[where] + 0.001 * slope[where] ** 2
        t = np.maximum(self.t, 1)
        mean, square = self.m / (1 - 0.9**t), self.v / (1 - 0.999**t)
        return -self.rate * mean / (np.sqrt(square) + 1e-8)


def balanced(norms, losses, active, alpha, rule):
    """The weights of every step, and w after the last."""
    m = norms.shape[1]
    w, first, out = np.ones(m), np.full(m, np.nan), []
    for n, f, a in zip(norms, losses, active, strict=True):
        first = np.where(np.isnan(first) & a, f, first)
        count, whole = a.sum(), w[a].sum()
        shown = np.where(a, w * count / whole, 0.0)
        out.append(shown)
        g = shown * n
        ratio = f / first
        target = g[a].mean() * (ratio / ratio[a].mean()) ** alpha
        slope = np.where(a, np.sign(g - target) * n / n[a].mean(), 0.0)
        moved = np.maximum(w + rule.step(slope, a), 0.0)
        w = np.where(a, moved * whole / moved[a].sum(), w)
    return np.stack(out), w


@BOTH
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("adam", [False, True], ids=["sgd", "adam"])
def test_gradnorm_follows_its_recurrence(adam, masked, x64):
    rng = np.random.default_rng(0)
    norms = rng.uniform(0.5, 3.0, size=(40, 3))
    losses = rng.uniform(0.5, 2.0, size=(40, 3))
    active = np.ones((40, 3), bool)
    if masked:
        active[rng.integers(1, 40, 12), rng.integers(0, 3, 12)] = False
        active[0, 2] = False
    rule = (Adam if adam else Sgd)(0.05, 3)
    expected, last = balanced(norms, losses, active, 1.5, rule)
    grams = np.stack([np.diag(n**2) for n in norms])
    both = active[:, :, None] & active[:, None, :]
    grams = np.where(both, grams, np.nan)
    losses = np.where(active, losses, np.nan)
    weighting = px.gradnorm(optimizer=(optax.adam if adam else optax.sgd)(0.05))
    weights, states = steps(weighting, grams, losses, active, x64=x64)
    tol = 1e-9 if x64 else 1e-4
    np.testing.assert_allclose(weights, expected, rtol=tol, atol=tol)
    np.testing.assert_allclose(states.parameters[-1], last, rtol=tol, atol=tol)
    np.testing.assert_allclose(states.parameters.sum(1), 3.0, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(1), active.sum(1), rtol=1e-5)
    assert states.converged.all()


def test_gradnorm_equalizes_norms_and_favors_the_task_that_lags():
    norms = np.array([4.0, 1.0, 0.5])
    grams = np.broadcast_to(np.diag(norms**2), (2000, 3, 3))
    weighting = px.gradnorm(alpha=0.0, optimizer=optax.sgd(2e-3))
    weights, _ = steps(weighting, grams)
    np.testing.assert_allclose(weights[-1], 3 / norms / np.sum(1 / norms), rtol=0.02)
    losses = np.ones((2000, 3))
    losses[1:] = [1.0, 0.5, 0.5]
    grams = np.broadcast_to(np.eye(3), (2000, 3, 3))
    weighting = px.gradnorm(alpha=1.0, optimizer=optax.sgd(2e-3))
    weights, _ = steps(weighting, grams, losses)
    assert weights[-1, 0] > 1.3 * weights[-1, 1]
    np.testing.assert_allclose(weights[-1], [1.5, 0.75, 0.75], rtol=0.02)


@pytest.mark.parametrize("factor", [1e-10, 1e10])
def test_the_units_of_all_losses_do_not_matter_to_gradnorm(factor):
    jacs = np.stack([jacobian(3, seed) for seed in range(8)])
    losses = np.random.default_rng(1).uniform(0.5, 2.0, size=(8, 3))
    grams = jacs @ jacs.transpose(0, 2, 1)
    plain, _ = steps(px.gradnorm(), grams, losses)
    scaled, _ = steps(px.gradnorm(), factor**2 * grams, factor * losses)
    assert np.abs(plain[-1] - 1).max() > 0.05
    np.testing.assert_allclose(scaled, plain, rtol=1e-4)


@pytest.mark.parametrize("broken", ["gram", "loss", "zero loss"])
def test_a_step_that_is_not_finite_teaches_gradnorm_nothing(broken):
    grams = np.broadcast_to(np.diag([4.0, 1.0]), (3, 2, 2)).copy()
    losses = np.ones((3, 2))
    if broken == "gram":
        grams[0, 0, 0] = np.nan
    else:
        losses[0, 1] = np.nan if broken == "loss" else 0.0
        losses[0, 1] = losses[0, 1] * 0 if broken == "loss" else 0.0
    if broken == "zero loss":
        losses[0] = [0.0, 0.0]
    _, states = steps(px.gradnorm(optimizer=optax.sgd(0.1)), grams, losses)
    assert states.converged.tolist() == [False, True, True]
    assert states.parameters[0].tolist() == [1.0, 1.0]
    assert not states.seen[0].any()
    assert states.seen[1].all()
    assert states.parameters[1, 0] < 1


def test_a_step_too_long_keeps_weights_non_negative_with_sum_m():
    grams = np.broadcast_to(np.diag([100.0, 1.0, 1.0]), (30, 3, 3))
    weights, _ = steps(px.gradnorm(alpha=0.0, optimizer=optax.sgd(5.0)), grams)
    assert (weights >= 0).all()
    assert (weights == 0).any()
    np.testing.assert_allclose(weights.sum(1), 3.0, rtol=1e-5)


def test_gradnorm_names_a_wrong_parameter_and_wants_losses():
    with pytest.raises(ValueError, match="alpha: expected a number of at least 0"):
        px.gradnorm(alpha=-1.0)
    with pytest.raises(ValueError, match="optimizer: expected an optax"):
        px.gradnorm(optimizer=0.1)
    weighting = px.gradnorm()
    with pytest.raises(ValueError, match="losses: this weighting needs"):
        weighting.update(jnp.eye(2), weighting.init(2))
