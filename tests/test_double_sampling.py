"""Weightings that walk on the simplex: MoDo, SDMGrad, MoCo; and DB-MTL's lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from on_the_simplex import among, project

import paretax as px
from paretax.solvers import min_norm, project_simplex

MASKS = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]]) > 0


def crosses(seed, scale=1.0):
    """J₁J₂ᵀ of two noisy batches: neither symmetric nor semi-definite."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(4, 6))
    one, two = (mean + 0.5 * rng.normal(size=(4, 6)) for _ in range(2))
    return scale * one @ two.T


def walk(weighting, matrices, masks=None, name="cross_gram"):
    """All weights and states of several steps, float64, traced once."""
    with jax.enable_x64(True):
        state, seen = weighting.init(len(matrices[0])), []

        @jax.jit
        def step(matrix, state, active):
            if name == "gram":
                return weighting.update(matrix, state, active=active)
            return weighting.update(None, state, active=active, cross_gram=matrix)

        for number, matrix in enumerate(matrices):
            active = None
            if masks is not None:
                hidden = ~(masks[number][:, None] & masks[number])
                matrix = np.where(hidden, np.nan, matrix)
                active = jnp.asarray(masks[number])
            weights, state = step(jnp.asarray(matrix), state, active)
            assert bool(state.converged)
            seen.append((np.asarray(weights), np.asarray(state.multipliers)))
        assert step._cache_size() == 1
    return seen


# --- the projection


def test_the_projection_is_that_of_trying_every_face():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 5)) * 10 ** rng.uniform(-3, 2, size=(60, 1))
    points[:5] = [
        [0.2] * 5,
        [1, 0, 0, 0, 0],
        [3, 3, 3, 3, 3],
        [0, 0, 1, 1, 1],
        [-1] * 5,
    ]
    masks = rng.random((60, 5)) < 0.7
    masks[:, 0] = True
    with jax.enable_x64(True):
        every = jax.jit(jax.vmap(project_simplex))(points)
        some = jax.jit(jax.vmap(project_simplex))(
            np.where(masks, points, np.nan), jnp.asarray(masks)
        )
    for v, mask, w, part in zip(points, masks, every, some, strict=True):
        np.testing.assert_allclose(w, project(v), atol=1e-12)
        np.testing.assert_allclose(part[mask], project(v[mask]), atol=1e-12)
        assert (np.asarray(part)[~mask] == 0).all()


def test_the_projection_of_huge_points_stays_on_the_simplex_in_float32():
    rng = np.random.default_rng(1)
    points = jnp.asarray(
        rng.normal(size=(50, 7)) * np.logspace(0, 25, 50)[:, None], "f4"
    )
    weights = np.asarray(jax.vmap(project_simplex)(points))
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
    corner = np.asarray(points)[-1].argmax()
    assert weights[-1, corner] == 1


def test_the_projection_passes_nan_on_and_gives_zeros_for_nobody():
    v = jnp.array([0.3, jnp.nan, 0.1])
    assert np.isnan(project_simplex(v)).all()
    assert np.isnan(project_simplex(jnp.array([0.3, jnp.inf, 0.1]))).all()
    assert np.isfinite(project_simplex(v, jnp.array([True, False, True]))).all()
    assert project_simplex(v, jnp.zeros(3, bool)).tolist() == [0, 0, 0]
    assert project_simplex(jnp.array([-5.0])).tolist() == [1.0]


def test_the_projections_derivative_is_that_of_its_face():
    with jax.enable_x64(True):
        v = jnp.array([0.9, 0.4, -0.3, 0.5])
        found = jax.jacfwd(project_simplex)(v)
        np.testing.assert_allclose(found, jax.jacrev(project_simplex)(v))
        face = np.array([1.0, 1, 0, 1])
        np.testing.assert_allclose(
            found, np.diag(face) - np.outer(face, face) / 3, atol=1e-12
        )
        step = 1e-6 * np.array([1.0, -2, 3, 0.5])
        moved = (project_simplex(v + step) - project_simplex(v - step)) / 2
        np.testing.assert_allclose(found @ step, moved, rtol=1e-6, atol=1e-14)


# --- MoDo


@pytest.mark.parametrize("masks", [None, MASKS], ids=["all", "masked"])
def test_modo_is_its_recurrence_over_several_steps(masks):
    matrices = [crosses(seed) for seed in range(4)]
    seen = walk(px.modo(step_size=0.1, ridge=0.2), matrices, masks)
    multipliers = np.full(4, 0.25)
    for number, (weights, kept) in enumerate(seen):
        mask = np.ones(4, bool) if masks is None else masks[number]
        cross = matrices[number][np.ix_(mask, mask)]

        def step(w, cross=cross):
            return project(w - 0.1 * (cross @ w + 0.2 * w))

        multipliers = among(mask, step)(multipliers)
        np.testing.assert_allclose(kept, multipliers, atol=1e-12)
        shown = np.where(mask, multipliers, 0) / multipliers[mask].sum()
        np.testing.assert_allclose(weights, shown, atol=1e-12)


def test_modo_reads_the_first_batch_by_rows_and_the_second_by_columns():
    """(J₁J₂ᵀ) λ, not its transpose: row i is what task i of the first batch sees."""
    cross = jnp.array([[0.0, 1.0], [0.0, 0.0]])
    weighting = px.modo(step_size=0.2)
    weights, _ = weighting.update(None, weighting.init(2), cross_gram=cross)
    np.testing.assert_allclose(weights, [0.45, 0.55], rtol=1e-6)


def test_tasks_without_any_weight_share_evenly_when_they_are_alone():
    weighting = px.modo(step_size=1e-6)
    state = weighting.init(3)._replace(multipliers=jnp.array([1.0, 0.0, 0.0]))
    weights, state = weighting.update(
        None, state, active=jnp.array([False, True, True]), cross_gram=jnp.eye(3)
    )
    np.testing.assert_allclose(weights, [0, 0.5, 0.5], atol=1e-6)
    assert state.multipliers.tolist() == [1, 0, 0]


def test_two_batches_find_the_min_norm_weights_that_one_batch_misses():
    """Noise on one task's gradient biases J₁J₁ᵀ against it, J₁J₂ᵀ not."""
    rng = np.random.default_rng(3)
    mean = np.array([[1.0, 0.0], [0.0, 1.0]])
    noise = rng.normal(size=(4000, 2, 2, 2)) * np.array([1.0, 0.0])[:, None]
    one, two = jnp.asarray(mean + noise[:, 0]), jnp.asarray(mean + noise[:, 1])
    weighting = px.modo(step_size=0.01)

    def average(left, right):
        def step(state, pair):
            cross = px.cross_gramian(*pair)
            weights, state = weighting.update(None, state, cross_gram=cross)
            return state, weights

        weights = jax.jit(lambda: jax.lax.scan(
            step, weighting.init(2), (left, right))[1])()  # fmt: skip
        return np.asarray(weights[500:]).mean(0)

    # In the mean K is the unit matrix, so w = (½, ½); one batch sees diag(3, 1).
    np.testing.assert_allclose(average(one, two), [0.5, 0.5], atol=0.05)
    np.testing.assert_allclose(average(one, one), [0.25, 0.75], atol=0.05)


# --- SDMGrad


def sdmgrad_reference(cross, w, target, *, lam=0.3, lr=10.0, momentum=0.5, n=20):
    scale = np.sqrt(np.diag(cross).clip(min=0)).mean()
    a, velocity = cross / scale**2, 0
    for _ in range(n):
        velocity = momentum * velocity + a @ (w + lam * target)
        w = project(w - lr * velocity)
    return w


@pytest.mark.parametrize("masks", [None, MASKS], ids=["all", "masked"])
@pytest.mark.parametrize("options", [{}, {"lr": 0.05, "lam": 1.5, "momentum": 0.9}])
def test_sdmgrad_is_its_recurrence_over_several_steps(masks, options):
    matrices = [crosses(seed, scale=1e-6) for seed in range(4)]
    preference = np.array([0.125, 0.25, 0.25, 0.375])  # exact in float32 too
    names = {"lr": "step_size", "lam": "regularization", "momentum": "momentum"}
    weighting = px.sdmgrad(
        preference=preference, **{names[k]: v for k, v in options.items()}
    )
    lam = options.get("lam", 0.3)
    multipliers = np.full(4, 0.25)
    for number, (weights, kept) in enumerate(walk(weighting, matrices, masks)):
        mask = np.ones(4, bool) if masks is None else masks[number]
        cross = matrices[number][np.ix_(mask, mask)]
        target = preference[mask] / preference[mask].sum()

        def step(w, cross=cross, target=target):
            return sdmgrad_reference(cross, w, target, **options)

        multipliers = among(mask, step)(multipliers)
        np.testing.assert_allclose(kept, multipliers, atol=1e-9)
        point = multipliers[mask] / multipliers[mask].sum()
        shown = (point + lam * target) / (1 + lam)
        np.testing.assert_allclose(weights[mask], shown, atol=1e-9)
        assert (weights[~mask] == 0).all()


def test_sdmgrad_with_short_steps_finds_its_minimum():
    """argmin ‖Jᵀ(w + λ w̃)‖², by MGDA's solver on shifted gradients g_i + λ g̃."""
    rng = np.random.default_rng(4)
    jac = rng.normal(size=(4, 6)) + 0.3
    gram = jac @ jac.T
    with jax.enable_x64(True):
        for lam in (0.0, 0.3, 2.0):
            weighting = px.sdmgrad(regularization=lam, step_size=0.1, num_steps=4000)
            weights, _ = weighting.update(
                None, weighting.init(4), cross_gram=jnp.asarray(gram)
            )
            shifted = jac + lam * jac.mean(0)
            best = np.asarray(min_norm(jnp.asarray(shifted @ shifted.T)).value)
            expected = (best + lam / 4) / (1 + lam)
            np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_sdmgrad_is_blind_to_scale_and_leaves_weights_where_there_is_none():
    weighting = px.sdmgrad(step_size=0.05)
    cross = np.asarray(crosses(5), np.float32)
    seen = [
        weighting.update(None, weighting.init(4), cross_gram=jnp.asarray(cross * s))[0]
        for s in (np.float32(1), np.float32(2.0**-66), np.float32(2.0**66))
    ]
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-5)
    np.testing.assert_allclose(seen[2], seen[0], rtol=1e-5)
    for none in (jnp.zeros((4, 4)), -jnp.eye(4)):
        weights, state = weighting.update(None, weighting.init(4), cross_gram=none)
        assert weights.tolist() == [0.25] * 4
        assert bool(state.converged)


# --- MoCo


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("masks", [None, MASKS], ids=["all", "masked"])
def test_moco_is_its_recurrence_over_several_steps(softmax, masks):
    matrices = [cross @ cross.T for cross in map(crosses, range(4))]
    weighting = px.moco(step_size=0.01, ridge=0.3, softmax=softmax)
    seen = walk(weighting, matrices, masks, name="gram")
    multipliers = np.full(4, 0.25)
    for number, (weights, kept) in enumerate(seen):
        mask = np.ones(4, bool) if masks is None else masks[number]
        gram = matrices[number][np.ix_(mask, mask)]

        def step(w, gram=gram):
            moved = w - 0.01 * (gram @ w + 0.3 * w)
            powers = np.exp(moved - moved.max())
            return powers / powers.sum() if softmax else project(moved)

        multipliers = among(mask, step)(multipliers)
        np.testing.assert_allclose(kept, multipliers, atol=1e-12)
        shown = np.where(mask, multipliers, 0) / multipliers[mask].sum()
        np.testing.assert_allclose(weights, shown, atol=1e-12)


# --- DB-MTL


def test_db_mtl_makes_every_gradient_as_long_as_the_longest():
    norms = np.logspace(-10, 10, 9)
    jac = np.random.default_rng(6).normal(size=(9, 20))
    jac *= (norms / np.linalg.norm(jac, axis=1))[:, None]
    jac[4] = 0
    gram = jnp.asarray(jac @ jac.T, jnp.float32)
    weights, state = px.db_mtl().update(gram, px.db_mtl().init(9))
    lengths = np.asarray(weights, float) * np.linalg.norm(jac, axis=1)
    np.testing.assert_allclose(np.delete(lengths, 4), 1e10, rtol=1e-5)
    assert weights[4] == 0
    assert bool(state.converged)


# --- arguments, and what is never computed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: px.modo(step_size=0.0), "step_size: expected a number above 0"),
        (lambda: px.modo(step_size=1.0, ridge=-1.0), "ridge: expected a number of at"),
        (lambda: px.moco(step_size=-1.0), "step_size: expected a number above 0"),
        (lambda: px.moco(step_size=1.0, ridge=-1.0), "ridge: expected a number of at"),
        (lambda: px.sdmgrad(regularization=-0.1), "regularization: expected a number"),
        (lambda: px.sdmgrad(momentum=1.0), r"momentum: expected a number in \[0, 1\)"),
        (lambda: px.sdmgrad(num_steps=0), "num_steps: expected at least 1"),
        (lambda: px.sdmgrad(step_size=0), "step_size: expected a number above 0"),
        (
            lambda: px.sdmgrad(preference=[1.0, 1.0]),
            "preference: expected entries that",
        ),
    ],
)
def test_bad_arguments_are_named_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("weighting", [px.modo(step_size=0.1), px.sdmgrad()])
def test_a_missing_cross_gram_says_how_to_pass_it(weighting):
    tx, jac = px.combine(weighting, 2), jnp.eye(2)
    state = tx.init(jac[0])
    with pytest.raises(ValueError, match=r"cross_gram=px\.cross_gramian\(jac_a, jac_b"):
        tx.update(jac, state)
    with pytest.raises(ValueError, match=r"cross_gram: expected shape \(2, 2\)"):
        tx.update(jac, state, cross_gram=jnp.eye(3))
    with pytest.raises(ValueError, match="preference: expected 2 entries"):
        px.sdmgrad(preference=[0.2, 0.3, 0.5]).update(
            None, state, cross_gram=jnp.eye(2)
        )


@pytest.mark.parametrize("weighting", [px.modo(step_size=0.1), px.sdmgrad()])
def test_no_gramian_of_the_third_batch_is_formed(weighting):
    tx, jac = px.combine(weighting, 2), jnp.ones((2, 1000))
    text = str(jax.make_jaxpr(tx.update)(jac, tx.init(jac[0]), cross_gram=jnp.eye(2)))
    assert text.count("f32[2,1000]") <= 2
    assert weighting.needs_gram(weighting.init(2)) is False
