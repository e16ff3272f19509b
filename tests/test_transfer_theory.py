"""What transfer is known to do, on hundreds of random strongly convex quadratics.

F_i is μ_i-strongly convex, L_i-smooth, least at t_i; M is row-stochastic;
θ_i⁺ = Σ_j m_ij θ_j − α ∇F_i(θ_i), e_i = ‖θ_i − t_i‖. Statements and proofs are this
library's own; each has a control, in which an assumption is broken and it fails.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from paretax import ensembles

INSTANCES, K, DIM = 300, 4, 6
EXACT = 1 + 1e-10


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True):
        yield


@functools.cache
def quadratics(seed=0, count=INSTANCES, tasks=K):
    """Hessians [n, tasks, d, d] of condition up to 100, optima, and eigenvalue ends."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(count, tasks, DIM, DIM)))
    ends = np.sort(10.0 ** rng.uniform(-1, 1, (count, tasks, 2)), -1)
    inner = rng.uniform(ends[..., :1], ends[..., 1:], (count, tasks, DIM - 2))
    values = np.concatenate([ends, inner], -1)
    hessians = np.einsum("ntij,ntj,ntkj->ntik", q, values, q)
    return hessians, rng.normal(size=(count, tasks, DIM)) * 3, ends


def matrices(rng, least=0.3):
    """Row-stochastic M [n, k, k] with a diagonal of at least `least`."""
    loose = rng.dirichlet(np.ones(K), (INSTANCES, K))
    return least * np.eye(K) + (1 - least) * loose


def distances(theta, optima):
    """‖θ_j − t_i‖ at [i, j]."""
    return np.linalg.norm(theta[:, None] - optima[:, :, None], axis=-1)


def largest_step(matrix, ends):
    """min_i 2 m_ii/(L_i + μ_i)."""
    diagonal = np.diagonal(matrix, axis1=-2, axis2=-1)
    return (2 * diagonal / ends.sum(-1)).min(-1)


@jax.jit
@jax.vmap
def one_step(theta, hessians, optima, matrix, alpha):
    """A step of `ensembles.transfer` itself."""
    tx = ensembles.transfer(ensembles.fixed_coupling(matrix))
    gradients = jnp.einsum("kij,kj->ki", hessians, theta - optima)
    updates, _ = tx.update(-alpha * gradients, tx.init(theta), theta)
    return optax.apply_updates(theta, updates)


def steps_and_bounds(beyond, seed=1):
    """e⁺ and the bound of P1, with α up to `beyond` times the largest allowed."""
    rng = np.random.default_rng(seed)
    hessians, optima, ends = quadratics()
    matrix, theta = matrices(rng), rng.normal(size=optima.shape) * 5
    share = rng.uniform(0.05, 1, INSTANCES) if beyond == 1 else beyond
    alpha = share * largest_step(matrix, ends)
    after = np.asarray(one_step(theta, hessians, optima, matrix, alpha))
    apart = distances(theta, optima)
    own = np.diagonal(apart, axis1=1, axis2=2)
    diagonal = np.diagonal(matrix, axis1=1, axis2=2)
    shrunk = (diagonal - alpha[:, None] * ends[..., 0]) * own
    handed = (matrix * apart).sum(-1) - diagonal * own
    return np.linalg.norm(after - optima, axis=-1), shrunk + handed


def test_p1_a_step_shrinks_the_own_error_and_adds_that_of_the_donors():
    """e_i⁺ ≤ (m_ii − αμ_i) e_i + Σ_{j≠i} m_ij ‖θ_j − t_i‖ if α ≤ 2 m_ii/(L_i + μ_i)."""
    error, bound = steps_and_bounds(1)
    assert (error <= bound * EXACT).all()


def test_p1_fails_beyond_the_largest_step():
    error, bound = steps_and_bounds(3.0)
    assert (error > bound * EXACT).any(1).mean() > 0.2


def donors(nearer, seed=2):
    """Errors with and without transfer from points where a plain step is slowest.

    θ_i − t_i lies in the flattest direction, so that e⁺ = (1 − αμ) e without transfer.
    Donors lie at random directions, nearer to t_i, or on the same ray, farther from it.
    """
    rng = np.random.default_rng(seed)
    hessians, optima, _ = quadratics()
    h, center = hessians[:, 0], optima[:, 0]
    values, vectors = np.linalg.eigh(h)
    offset = vectors[:, :, 0] * rng.uniform(1, 3, (INSTANCES, 1))
    away = rng.normal(size=(INSTANCES, K - 1, DIM))
    away /= np.linalg.norm(away, axis=-1, keepdims=True)
    factor = rng.uniform(0, 0.99, (INSTANCES, K - 1)) if nearer else 1.5
    length = factor * np.linalg.norm(offset, axis=-1, keepdims=True)
    moved = length[..., None] * away if nearer else 1.5 * offset[:, None]
    others = center[:, None] + np.broadcast_to(moved, away.shape)
    theta = np.concatenate([(center + offset)[:, None], others], axis=1)
    row = matrices(rng)
    alpha = 2 * row[:, 0, 0] / (values[:, 0] + values[:, -1])
    plain = np.broadcast_to(np.eye(K), row.shape)
    repeated = (np.repeat(x[:, None], K, 1) for x in (h, center))
    h, center = repeated
    out = []
    for matrix in (row, plain):
        after = one_step(theta, h, center, matrix, alpha)
        out.append(np.linalg.norm(np.asarray(after)[:, 0] - center[:, 0], axis=-1))
    slowest = (1 - alpha * values[:, 0]) * np.linalg.norm(offset, axis=-1)
    np.testing.assert_allclose(out[1], slowest, rtol=1e-9)
    return out


def test_p2_donors_nearer_to_the_optimum_make_the_worst_case_faster():
    """Σ_{j≠i} m_ij (‖θ_j − t_i‖ − ‖θ_i − t_i‖) < 0: faster than gradient descent."""
    with_transfer, without = donors(nearer=True)
    assert (with_transfer < without).all()


def test_p2_donors_farther_on_the_same_ray_make_it_slower():
    with_transfer, without = donors(nearer=False)
    assert (with_transfer > without).all()


def journey(fade, *, equal_optima=False, beyond=1.0, num_steps=600):
    """Largest errors over time [steps, n], their bounds by P3, and the last bias."""
    rng = np.random.default_rng(3)
    hessians, optima, ends = quadratics()
    if equal_optima:
        optima = np.repeat(optima[:, :1], K, 1)
    matrix = matrices(rng, 0.5)
    alpha = beyond * largest_step(matrix, ends)
    start = optima + rng.normal(size=optima.shape) * 3

    def advance(theta, share):
        now = (1 - share) * np.eye(K) + share * matrix
        after = one_step(theta, hessians, optima, now, alpha)
        return after, after

    shares = fade ** np.arange(num_steps)
    _, path = jax.jit(lambda t: jax.lax.scan(advance, t, shares))(start)
    path = np.concatenate([start[None], path])
    error = np.linalg.norm(path - optima, axis=-1).max(-1)
    off = matrix * (1 - np.eye(K))
    delta = (off * distances(optima, optima)).sum(-1).max(-1)
    rate = 1 - alpha * ends[..., 0].min(-1)
    bounds = rate * error[:-1] + shares[:, None] * delta
    return error, bounds, delta / (1 - rate)


def test_p3_the_largest_error_shrinks_at_each_step_up_to_a_bias():
    """max e⁺ ≤ (1 − αμ) max e + δ, δ = max_i Σ_{j≠i} m_ij ‖t_j − t_i‖, for any M."""
    for fade in (1.0, 0.97):
        error, bounds, bias = journey(fade)
        assert (error[1:] <= bounds * EXACT + 1e-12).all()
        if fade == 1.0:
            settled = error[0] * (bounds[0] / error[0]).clip(max=1) ** 600
            assert (error[-1] <= bias + settled + 1e-9).all()


def test_p3_transfer_that_fades_ends_at_each_members_own_optimum():
    error, _, _ = journey(0.9, num_steps=6000)
    assert np.quantile(error[-1], 0.9) < 1e-8
    assert (error[-1] < 0.05 * error[0]).all()


def test_p3_a_constant_matrix_leaves_a_bias_unless_the_optima_agree():
    error, _, _ = journey(1.0, num_steps=6000)
    assert (error[-1] > 1e-2).all()
    error, _, _ = journey(1.0, equal_optima=True, num_steps=6000)
    assert np.quantile(error[-1], 0.9) < 1e-8


def test_p3_fails_beyond_the_largest_step():
    error, bounds, _ = journey(1.0, beyond=3.0, num_steps=20)
    assert (error[1:] > bounds * EXACT).any(0).mean() > 0.2


def gated(smoothness=1.0, seed=4):
    """F at y and after the gated transfer m d, and the promised descent.

    F(x) = Σ_d h_d x_d²/2 + a_d cos x_d is not convex; its L is max |h| + |a|.
    """
    rng = np.random.default_rng(seed)
    h, a = rng.normal(size=(2, INSTANCES, DIM)) * 2
    value = lambda x: (h * x**2 / 2 + a * np.cos(x)).sum(-1)
    slope = lambda x: h * x - a * np.sin(x)
    top = (np.abs(h) + np.abs(a)).max(-1)
    theta, donor = rng.normal(size=(2, INSTANCES, DIM)) * 2
    y, d = theta - slope(theta) / top[:, None], donor - theta
    product, square = (slope(y) * d).sum(-1), (d**2).sum(-1)
    top = top * smoothness
    m = np.clip(-product / (top * square), 0, 1)
    after = value(y + m[:, None] * d)
    return value(y), after, top / 2 * m**2 * square, product, value(y + 1e-4 * d)


def test_p4_a_gated_transfer_descends_by_what_it_promises_convex_or_not():
    """m = clip(−⟨∇F(y), d⟩/(L‖d‖²), 0, 1): F(y + m d) ≤ F(y) − (L/2) m² ‖d‖²."""
    before, after, promised, product, _ = gated()
    assert (after <= before - promised + 1e-9).all()
    assert (product < 0).mean() > 0.2
    np.testing.assert_array_equal(after[product > 0], before[product > 0])


def test_p4_a_donor_uphill_raises_the_loss_and_an_underrated_l_breaks_the_promise():
    before, _, _, product, nudged = gated()
    uphill = product > 0.1
    assert uphill.sum() > 50
    assert (nudged[uphill] > before[uphill]).all()
    before, after, promised, _, _ = gated(smoothness=0.1)
    assert (after > before - promised + 1e-9).mean() > 0.05


def optima_of_two_preferences(seed=5):
    """‖t(w) − t(w′)‖, ‖w − w′‖₁, G at t(w′), and the tasks' eigenvalue ends."""
    rng = np.random.default_rng(seed)
    hessians, centers, ends = quadratics(6)
    w, other = rng.dirichlet(np.ones(K), (2, INSTANCES))

    def optimum(w):
        h = np.einsum("nt,ntij->nij", w, hessians)
        b = np.einsum("nt,ntij,ntj->ni", w, hessians, centers)
        return np.linalg.solve(h, b[..., None])[..., 0]

    there = optimum(other)
    gradients = np.einsum("ntij,ntj->nti", hessians, there[:, None] - centers)
    size = np.linalg.norm(gradients, axis=-1).max(-1)
    apart = np.linalg.norm(optimum(w) - there, axis=-1)
    return apart, abs(w - other).sum(-1), size, ends


def test_p5_near_preferences_have_near_optima():
    """‖t(w) − t(w′)‖ ≤ (G/μ) ‖w − w′‖₁, G the largest task gradient at t(w′)."""
    apart, between, size, ends = optima_of_two_preferences()
    ratio = apart / (size / ends[..., 0].min(-1) * between)
    assert (ratio <= EXACT).all()
    assert ratio.max() > 0.2  # not idle


def test_p5_fails_with_the_largest_curvature_for_the_smallest():
    apart, between, size, ends = optima_of_two_preferences()
    assert (apart > size / ends[..., 1].max(-1) * between).mean() > 0.2
