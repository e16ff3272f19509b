"""Preferences, members, couplings and the transfer among members."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from paretax import ensembles

RULES = {
    "none": lambda k: ensembles.no_coupling(),
    "fixed": lambda k: ensembles.fixed_coupling(np.full((k, k), 1 / k)),
    "neighbor": lambda k: ensembles.neighbor_coupling(
        ensembles.das_dennis(2, k - 1), strength=optax.linear_schedule(0.5, 0.0, 20)
    ),
    "distance": lambda k: ensembles.distance_coupling(),
}
EVERY = pytest.mark.parametrize("make", RULES.values(), ids=RULES)


def quadratics(k=5, dim=8, seed=0):
    """Two quadratics of condition 50, k weighted sums of them, and their optima."""
    rng = np.random.default_rng(seed)
    hessians, centers = [], rng.normal(size=(2, dim)) * 3
    for _ in range(2):
        q, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
        hessians.append(q @ np.diag(np.logspace(0, np.log10(50), dim)) @ q.T)
    weights = np.asarray(ensembles.das_dennis(2, k - 1), float)
    h = np.einsum("kt,tij->kij", weights, hessians)
    b = np.einsum("kt,tij,tj->ki", weights, hessians, centers)
    return h, np.linalg.solve(h, b[..., None])[..., 0]


def run(tx, h, optima, start, steps):
    gradient = jax.vmap(lambda a, x, o: a @ (x - o))

    def step(carry, _):
        theta, state = carry
        updates, state = tx.update(gradient(h, theta, optima), state, theta)
        theta = optax.apply_updates(theta, updates)
        return (theta, state), (theta, optax.tree.get(state, "matrix"))

    return jax.jit(lambda t: jax.lax.scan(step, (t, tx.init(t)), length=steps))(start)


def test_das_dennis_is_every_point_of_the_grid_once():
    for m, p in [(1, 3), (2, 7), (3, 4), (5, 3)]:
        points = np.asarray(ensembles.das_dennis(m, p))
        grid = np.indices([p + 1] * m).reshape(m, -1).T
        expected = grid[grid.sum(1) == p] / p
        np.testing.assert_allclose(points, expected, atol=1e-7)


def test_uniform_simplex_has_the_moments_of_the_uniform_law():
    points = np.asarray(ensembles.uniform_simplex(jax.random.key(0), 20_000, 3))
    assert (points >= 0).all()
    np.testing.assert_allclose(points.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(points.mean(0), 1 / 3, atol=0.01)
    np.testing.assert_allclose(points.var(0), 1 / 18, atol=0.003)


@EVERY
def test_rows_of_the_matrix_are_non_negative_and_sum_to_one(make):
    h, optima = quadratics()
    tx = optax.chain(optax.sgd(0.02), ensembles.transfer(make(5)))
    start = jnp.asarray(np.random.default_rng(1).normal(size=(5, 8)), jnp.float32)
    _, (_, matrices) = run(tx, h, optima, start, 50)
    matrices = np.asarray(matrices)
    assert (matrices >= 0).all()
    np.testing.assert_allclose(matrices.sum(-1), 1, atol=1e-6)


def test_without_coupling_members_are_independent_bit_for_bit():
    h, optima = quadratics()
    start = jnp.asarray(np.random.default_rng(1).normal(size=(5, 8)), jnp.float32)
    rule = ensembles.transfer(ensembles.no_coupling())
    coupled = optax.chain(optax.sgd(0.02, momentum=0.9), rule)
    (theta, _), _ = run(coupled, h, optima, start, 40)
    still = optax.GradientTransformation(rule.init, lambda u, s, p=None: (u, s))
    plain = optax.chain(optax.sgd(0.02, momentum=0.9), still)
    (alone, _), _ = run(plain, h, optima, start, 40)
    np.testing.assert_array_equal(theta, alone)


def test_distance_coupling_starts_at_the_identity_even_from_a_common_start():
    rule = ensembles.distance_coupling()
    same = jnp.ones((4, 3))
    matrix, state = rule.update(same, rule.init(same))
    np.testing.assert_array_equal(matrix, np.eye(4))
    matrix, _ = rule.update(same, state)
    np.testing.assert_array_equal(matrix, np.eye(4))


def test_donors_are_counted_by_how_evenly_they_share():
    matrix = np.array([[0.25] * 4, [0.5, 0.5, 0, 0], [0, 0, 1, 0], [0.7] + [0.1] * 3])
    found = ensembles.effective_donors(np.stack([matrix, np.eye(4)]))
    np.testing.assert_allclose(found[0], [4, 2, 1, 1 / 0.52], rtol=1e-6)
    assert found[1].tolist() == [1] * 4


def test_member_distances_are_those_of_flattened_parameters():
    rng = np.random.default_rng(0)
    params = {"a": rng.normal(size=(4, 3, 2)), "b": rng.normal(size=(4,))}
    flat = np.concatenate([params["a"].reshape(4, -1), params["b"][:, None]], axis=1)
    expected = np.linalg.norm(flat[:, None] - flat, axis=-1)
    found = ensembles.member_distances(jax.tree.map(jnp.asarray, params))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_distances_are_exact_for_close_members():
    rule = ensembles.distance_coupling()
    base = 1000.0 * jax.random.normal(jax.random.key(0), (1, 50))
    near = base + jnp.asarray([[0.0], [0.25]])
    _, state = rule.update(near, rule.init(near))
    assert float(state.distances[0, 1]) == pytest.approx(0.25 * np.sqrt(50), rel=1e-3)


def test_transfer_is_simultaneous_and_leaves_momentum_alone():
    rule = ensembles.fixed_coupling([[0.5, 0.5], [0.5, 0.5]])
    tx = optax.chain(optax.trace(0.9), optax.scale(-0.1), ensembles.transfer(rule))
    theta = jnp.asarray([[0.0], [8.0]])
    state = tx.init(theta)
    for gradient in ([[1.0], [2.0]], [[3.0], [4.0]]):
        updates, state = tx.update(jnp.asarray(gradient), state, theta)
        theta = optax.apply_updates(theta, updates)
    first = np.array([4.0 - 0.1, 4.0 - 0.2])
    trace = np.array([0.9 * 1 + 3, 0.9 * 2 + 4])
    np.testing.assert_allclose(theta[:, 0], first.mean() - 0.1 * trace, rtol=1e-6)
    np.testing.assert_allclose(optax.tree.get(state, "trace")[:, 0], trace, rtol=1e-6)


def test_a_member_that_is_not_finite_poisons_nobody_and_is_reported():
    rule = ensembles.fixed_coupling(np.full((3, 3), 1 / 3))
    tx = ensembles.transfer(rule)
    theta = {"a": jnp.asarray([[1.0], [jnp.nan], [4.0]]), "b": jnp.ones((3, 2))}
    zero = jax.tree.map(jnp.zeros_like, theta)
    updates, state = jax.jit(tx.update)(zero, tx.init(theta), theta)
    after = optax.apply_updates(theta, updates)
    np.testing.assert_allclose(after["a"][:, 0], [2.0, np.nan, 3.0], rtol=1e-6)
    assert state.finite.tolist() == [True, False, True]
    assert np.isfinite(after["b"]).all()


@EVERY
def test_under_every_rule_a_member_lost_midway_is_cut_off_and_the_rest_go_on(make):
    """The others' distances, rows and parameters stay as if it had never been there."""
    tx = ensembles.transfer(make(4))
    still = jnp.zeros((4, 1))
    theta = jnp.asarray([[0.0], [40.0], [90.0], [7.0]])
    state = tx.init(theta)
    for now in ([0.0, 40.0, 90.0, 7.0], [0.0, 30.0, 60.0, np.nan], [0, 20, 30, np.inf]):
        theta = jnp.asarray(now, jnp.float32)[:, None]
        updates, state = jax.jit(tx.update)(still, state, theta)
    matrix, after = np.asarray(state.matrix), np.asarray(theta + updates)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])
    np.testing.assert_array_equal(matrix[:3, 3], 0)
    assert (after[:3] >= 0).all()
    assert (after[:3] <= 30).all()
    assert state.finite.tolist() == [True, True, True, False]


def test_distances_to_a_lost_member_leave_no_trace_in_the_rule():
    """Three members beside a lost one get the matrix of three members alone."""
    moves = [[0.0, 40.0, 90.0], [0.0, 30.0, 60.0], [0.0, 20.0, 30.0]]
    alone, beside = ensembles.distance_coupling(), ensembles.distance_coupling()
    few = alone.init(jnp.zeros((3, 1)))
    many = beside.init(jnp.zeros((4, 1)))
    for move in moves:
        expected, few = alone.update(jnp.asarray(move)[:, None], few)
        lost = jnp.asarray([*move, np.nan])[:, None]
        matrix, many = beside.update(lost, many)
    assert float(expected[0, 2]) > 0.1
    np.testing.assert_allclose(matrix[:3, :3], expected, rtol=1e-6)
    np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])


def test_a_preference_far_from_all_others_still_has_neighbors():
    close = [[0.5, 0.5], [0.5 + 1e-5, 0.5 - 1e-5], [1.0, 0.0]]
    rule = ensembles.neighbor_coupling(close, strength=1.0)
    matrix, _ = rule.update(jnp.zeros((3, 1)), rule.init(jnp.zeros((3, 1))))
    np.testing.assert_allclose(np.asarray(matrix).sum(1), 1, atol=1e-6)
    assert matrix[2, 2] == 0
    assert matrix[2, 1] > matrix[2, 0] > 0


def test_only_shared_leaves_are_handed_over_and_measured():
    rule = ensembles.fixed_coupling([[0.0, 1.0], [1.0, 0.0]])
    tx = ensembles.transfer(rule, shared={"trunk": True, "head": False})
    theta = {"trunk": jnp.asarray([[1.0], [2.0]]), "head": jnp.asarray([[3.0], [4.0]])}
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, theta), tx.init(theta), theta)
    after = optax.apply_updates(theta, updates)
    assert after["trunk"].tolist() == [[2.0], [1.0]]
    assert after["head"].tolist() == [[3.0], [4.0]]


def test_per_member_equals_a_loop_over_members():
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    many = ensembles.per_member(tx, 3)
    params = jax.random.normal(jax.random.key(0), (3, 4))
    state = many.init(params)
    states = [tx.init(row) for row in params]
    for seed in range(3):
        rows = 5 * jax.random.normal(jax.random.key(seed), (3, 4))
        updates, state = jax.jit(many.update)(rows, state, params)
        for i in range(3):
            one, states[i] = tx.update(rows[i], states[i], params[i])
            np.testing.assert_allclose(updates[i], one, rtol=1e-5)


def test_members_draw_different_noise():
    tx = ensembles.per_member(optax.add_noise(1.0, 0.0, key=jax.random.key(0)), 3)
    params = jnp.zeros((3, 4))
    updates, _ = tx.update(params, tx.init(params), params)
    assert len({tuple(row) for row in np.asarray(updates).tolist()}) == 3


def test_transfer_multiplies_at_the_highest_precision():
    tx = ensembles.transfer(RULES["neighbor"](4))
    theta = {"w": jnp.ones((4, 3, 2)), "b": jnp.ones((4, 2), jnp.bfloat16)}
    text = str(jax.make_jaxpr(lambda t: tx.update(t, tx.init(t), t))(theta))
    assert text.count("dot_general[") == 2
    assert text.count("Precision.HIGHEST") == 4
    updates, _ = tx.update(theta, tx.init(theta), theta)
    assert updates["b"].dtype == jnp.bfloat16


@EVERY
def test_the_state_is_stable_under_one_trace_and_lowers_everywhere(make):
    tx = optax.chain(
        ensembles.per_member(optax.adam(0.1), 4), ensembles.transfer(make(4))
    )
    theta = {"w": jnp.ones((4, 3))}
    traces = []

    @jax.jit
    def step(theta, state):
        traces.append(1)
        updates, state = tx.update(theta, state, theta)
        return optax.apply_updates(theta, updates), state

    state = tx.init(theta)
    before = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)
    for _ in range(3):
        theta, state = step(theta, state)
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state) == before
    assert len(traces) == 1
    jax.export.export(step, platforms=("cpu", "cuda", "rocm", "tpu"))(theta, state)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ensembles.das_dennis(0, 3), "num_objectives: expected at least 1"),
        (lambda: ensembles.das_dennis(30, 30), "at most a million points"),
        (lambda: ensembles.fixed_coupling([[0.5, 0.6], [0, 1]]), "rows that sum to 1"),
        (lambda: ensembles.fixed_coupling([[1.5, -0.5], [0, 1]]), "non-negative"),
        (lambda: ensembles.fixed_coupling([1.0]), r"expected shape \[k, k\]"),
        (
            lambda: ensembles.neighbor_coupling([[0.5, 0.6], [0.5, 0.5]]),
            r"preferences\[0\]: expected entries that sum to 1",
        ),
        (
            lambda: ensembles.neighbor_coupling([[0.5, 0.5], [0.5, 0.5]]),
            "distinct rows",
        ),
        (
            lambda: ensembles.neighbor_coupling([[1.0, 0.0], [0.0, 1.0]], strength=2.0),
            r"strength: expected a number in \[0, 1\]",
        ),
        (
            lambda: ensembles.neighbor_coupling([[1, 0], [0, 1]], bandwidth=0.0),
            "bandwidth: expected a number above 0",
        ),
        (
            lambda: ensembles.transfer(RULES["neighbor"](3)).init(jnp.ones((2, 1))),
            "one for each of 2 members, got 3",
        ),
        (
            lambda: ensembles.transfer(ensembles.no_coupling()).update(
                jnp.ones((2, 1)), None
            ),
            "params: transfer mixes parameters",
        ),
        (
            lambda: ensembles.per_member(optax.sgd(1.0), 3).init(
                {"w": jnp.ones((2, 1))}
            ),
            r"params\['w'\]: expected a leading axis of 3 members",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
