"""Combiners that see J itself, beside NumPy references in float64."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from paretax import coordinatewise as cw

KEYS = 4000


def tree(seed, m, scale=1.0):
    """Stacked gradients with three leaves, one of them a scalar parameter."""
    rng = np.random.default_rng(seed)
    shapes = {"bias": (), "first": (3, 2), "second": (4,)}
    return {k: scale * rng.normal(size=(m, *s)) for k, s in shapes.items()}


def flat(jac, names=("bias", "first", "second")):
    return np.concatenate([np.reshape(jac[k], (len(jac[k]), -1)) for k in names], 1)


def params_of(jac):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], jac)


def run(tx, jacs, masks=None, dtype=float):
    """All directions and states of several steps, traced once."""
    state, seen = tx.init(params_of(as_dtype(jacs[0], dtype))), []
    update = jax.jit(tx.update)
    for number, jac in enumerate(jacs):
        extra = {} if masks is None else {"active": jnp.asarray(masks[number])}
        d, state = update(as_dtype(jac, dtype), state, **extra)
        seen.append((jax.tree.map(np.asarray, d), state))
    assert update._cache_size() == 1
    return seen


def as_dtype(jac, dtype):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), jac)


def weighted(weights, jac):
    return {k: np.tensordot(weights, leaf, 1) for k, leaf in jac.items()}


def close(found, expected, rtol=1e-9):
    for k, leaf in expected.items():
        np.testing.assert_allclose(found[k], leaf, rtol=rtol, atol=1e-300, err_msg=k)


# --- GradDrop


@functools.cache
def draws(leak=0.0):
    """Directions of one J under many keys, float32."""
    jac = jnp.asarray(SIGNS, jnp.float32)

    def one(key):
        tx = cw.graddrop(3, key=key, leak=leak)
        return tx.update(jac, tx.init(jac[0]))[0]

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(7), KEYS)))


SIGNS = np.array(
    [
        [1.0, -3.0, 0.5, 2.0, 0.0, 1.0],
        [-1.0, 1.0, 0.0, 1.0, 0.0, -1.0],
        [0.0, 1.0, -4.0, 3.0, 0.0, 0.0],
    ]
)
POSITIVE, NEGATIVE = SIGNS.clip(min=0).sum(0), SIGNS.clip(max=0).sum(0)
PURITY = np.array([0.5, 0.4, 1 / 9, 1.0, 0.5, 0.5])


def test_graddrop_keeps_the_positive_sign_as_often_as_the_purity_says():
    d = draws()
    conflict = [0, 1, 2, 5]
    positive = np.isclose(d, POSITIVE)[:, conflict]
    negative = np.isclose(d, NEGATIVE)[:, conflict]
    assert (positive ^ negative).all()
    p = PURITY[conflict]
    bound = 5 * np.sqrt(p * (1 - p) / KEYS)
    assert (np.abs(positive.mean(0) - p) < bound).all()
    assert (d[:, 3] == 6).all()
    assert (d[:, 4] == 0).all()


def test_graddrop_draws_coordinates_keys_and_steps_independently():
    d = draws()
    same = (d[:, 0] > 0) == (d[:, 5] > 0)
    assert abs(same.mean() - 0.5) < 5 * 0.5 / np.sqrt(KEYS)
    # Two leaves of one shape, and two steps, draw apart too.
    wide = jnp.broadcast_to(jnp.asarray([[1.0], [-1.0]]), (2, KEYS))
    jac = {"a": wide, "b": wide}
    tx = cw.graddrop(2, key=jax.random.key(0))
    one, state = tx.update(jac, tx.init(jac))
    two, _ = tx.update(jac, state)
    for left, right in ((one["a"], one["b"]), (one["a"], two["a"])):
        assert abs(np.mean(left == right) - 0.5) < 5 * 0.5 / np.sqrt(KEYS)


def test_graddrop_leaks_the_stated_share_of_each_task():
    leak = np.array([0.0, 0.25, 1.0])
    d = draws((0.0, 0.25, 1.0))
    share = leak[:, None]
    kept = [share * SIGNS + (1 - share) * part for part in
            (SIGNS.clip(min=0), SIGNS.clip(max=0))]  # fmt: skip
    up, down = (k.sum(0) for k in kept)
    assert (np.isclose(d, up) | np.isclose(d, down)).all()
    mean = PURITY * up + (1 - PURITY) * down
    spread = np.sqrt(PURITY * (1 - PURITY)) * np.abs(up - down)
    assert (np.abs(d.mean(0) - mean) < 5 * spread / np.sqrt(KEYS) + 1e-4).all()
    np.testing.assert_allclose(draws(1.0)[0], SIGNS.sum(0), rtol=1e-6)


def test_graddrop_of_active_tasks_is_graddrop_of_these_tasks_alone():
    jac = tree(0, 4)
    active = np.array([True, False, True, True])
    poisoned = {k: np.where(active.reshape(-1, *[1] * (v.ndim - 1)), v, np.nan)
                for k, v in jac.items()}  # fmt: skip
    leak = np.array([0.1, 0.2, 0.3, 0.4])
    key = jax.random.key(3)
    ((found, _),) = run(cw.graddrop(4, key=key, leak=leak), [poisoned], [active])
    alone = {k: v[active] for k, v in jac.items()}
    ((expected, _),) = run(cw.graddrop(3, key=key, leak=leak[active]), [alone])
    close(found, expected, rtol=1e-5)


# --- trimmed mean


def mean_of(trim, jac, mask):
    return cw.trimmed_mean(5, trim=trim).update(jac, None, active=mask)[0]


def test_the_trimmed_mean_is_that_of_sorting_for_every_mask():
    rows = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    rows[:, 0] = [1, 1, 2, 2, 2]  # ties
    masks = np.array(list(itertools.product([False, True], repeat=5)))
    for trim in range(3):
        poisoned = jnp.asarray(np.where(masks[:, :, None], rows, np.nan))
        found = jax.jit(jax.vmap(functools.partial(mean_of, trim)))(poisoned, masks)
        for mask, mean in zip(masks, np.asarray(found), strict=True):
            count = mask.sum()
            cut = min(trim, max(count - 1, 0) // 2)
            middle = np.sort(rows[mask], axis=0)[cut : count - cut]
            expected = middle.mean(0) if count else np.zeros(6)
            np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)


def test_the_trimmed_mean_bounds_liars_but_passes_nan_on():
    honest = np.random.default_rng(2).normal(size=(5, 40))
    lies = np.array([[np.inf] * 40, [-1e30] * 40])
    tx = cw.trimmed_mean(7, trim=2)
    d = np.asarray(tx.update(jnp.asarray(np.vstack([honest, lies])), None)[0])
    assert (d >= honest.min(0) - 1e-6).all()
    assert (d <= honest.max(0) + 1e-6).all()
    honest[2, 3] = np.nan
    d = np.asarray(tx.update(jnp.asarray(np.vstack([honest, lies])), None)[0])
    assert np.flatnonzero(np.isnan(d)).tolist() == [3]


# --- ExcessMTL


def excess_reference(jacs, masks, step_size):
    """The paper's recurrence, task by task; the missing keep their share."""
    m = len(jacs[0]["bias"])
    alpha, first = np.full(m, 1 / m), np.zeros(m)
    squares = np.zeros_like(flat(jacs[0]))
    for jac, mask in zip(jacs, masks, strict=True):
        rows, new = flat(jac), alpha.copy()
        for i in np.flatnonzero(mask):
            squares[i] += rows[i] ** 2
            seen = squares[i] > 0
            excess = np.sum(rows[i][seen] ** 2 / np.sqrt(squares[i][seen]))
            first[i] = first[i] or excess
            new[i] = alpha[i] * np.exp(step_size * (excess / first[i] if excess else 0))
        new[mask] *= alpha[mask].sum() / new[mask].sum()
        alpha = new
        yield np.where(mask, alpha, 0) / alpha[mask].sum()


MASKS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1], [0, 0, 1], [1, 1, 1]]) > 0


@pytest.mark.parametrize("masked", [False, True])
def test_excess_mtl_is_its_recurrence_over_several_steps(masked):
    jacs = [tree(seed, 3) for seed in range(6)]
    for number, jac in enumerate(jacs):
        jac["second"][:, 0] = 0  # never a gradient: adds nothing
        if number == 0:
            for leaf in jac.values():
                leaf[1] = 0  # no estimate at the first step
    masks = MASKS if masked else np.ones_like(MASKS)
    with jax.enable_x64(True):
        steps = run(cw.excess_mtl(3, step_size=0.7), jacs, masks if masked else None)
    expected = excess_reference(jacs, masks, 0.7)
    for (d, state), jac, weights in zip(steps, jacs, expected, strict=True):
        np.testing.assert_allclose(state.weights, weights, rtol=1e-10)
        close(d, weighted(weights, jac))
        assert state.converged


def test_excess_mtl_weights_do_not_depend_on_the_units_of_losses():
    units = np.array([1e-10, 1.0, 1e10])
    for dtype, rtol in ((np.float32, 1e-4), (jnp.bfloat16, 3e-2)):
        plain = [tree(seed, 3) for seed in range(4)]
        scaled = [
            {k: v * units.reshape(-1, *[1] * (v.ndim - 1)) for k, v in jac.items()}
            for jac in plain
        ]
        *_, (_, one) = run(cw.excess_mtl(3), plain, dtype=dtype)
        *_, (d, two) = run(cw.excess_mtl(3), scaled, dtype=dtype)
        np.testing.assert_allclose(two.weights, one.weights, rtol=rtol)
        assert all(leaf.dtype == dtype for leaf in d.values())
        assert all(leaf.dtype == jnp.float32 for leaf in two.squares)


# --- learning-rate annealing


@pytest.mark.parametrize("reference", [0, 2])
def test_lr_annealing_is_its_recurrence_over_several_steps(reference):
    jacs = [tree(seed, 3) for seed in range(6)]
    for leaf in jacs[2].values():
        leaf[1] = 0  # no mean to divide by: its weight is kept
    with jax.enable_x64(True):
        tx = cw.lr_annealing(3, decay=0.8, reference=reference)
        steps = run(tx, jacs, MASKS)
    average = np.ones(3)
    for (d, state), jac, mask in zip(steps, jacs, MASKS, strict=True):
        rows = np.abs(flat(jac))
        for i in np.flatnonzero(mask):
            if i != reference and mask[reference] and rows[i].any():
                ratio = rows[reference].max() / rows[i].mean()
                average[i] = 0.8 * average[i] + 0.2 * ratio
        np.testing.assert_allclose(state.weights, mask * average, rtol=1e-10)
        assert np.asarray(state.average)[reference] == 1
        close(d, weighted(mask * average, jac))


# --- all of them


MAKERS = {
    "graddrop": functools.partial(cw.graddrop, key=jax.random.key(0)),
    "trimmed_mean": functools.partial(cw.trimmed_mean, trim=1),
    "excess_mtl": cw.excess_mtl,
    "lr_annealing": cw.lr_annealing,
}


@pytest.mark.parametrize("name", MAKERS)
def test_unshared_leaves_enter_no_statistic_and_get_the_sum(name):
    jacs = [tree(seed, 3) for seed in range(3)]
    trunk = [{k: v for k, v in jac.items() if k != "second"} for jac in jacs]
    heads = {"bias": True, "first": True, "second": False}
    with jax.enable_x64(True):
        steps = run(MAKERS[name](3, shared=heads), jacs)
        alone = run(MAKERS[name](3), trunk)
        for (d, _), (expected, _), jac in zip(steps, alone, jacs, strict=True):
            close(d, expected)
            np.testing.assert_allclose(d["second"], jac["second"].sum(0), rtol=1e-12)


@pytest.mark.parametrize("name", ["excess_mtl", "lr_annealing"])
def test_heads_are_weighted_on_demand(name):
    jacs = [tree(seed, 3) for seed in range(3)]
    tx = MAKERS[name](3, shared=lambda path: path[0].key != "bias", weight_heads=True)
    with jax.enable_x64(True):
        for (d, state), jac in zip(run(tx, jacs), jacs, strict=True):
            close(d, weighted(np.asarray(state.weights), jac))


@pytest.mark.parametrize("name", MAKERS)
def test_leaves_keep_their_types_and_each_task_may_be_alone(name):
    jac = tree(5, 3)
    mixed = {
        **as_dtype(jac, jnp.float32),
        "first": jnp.asarray(jac["first"], "bfloat16"),
    }
    tx = MAKERS[name](3)
    state = tx.init(params_of(mixed))
    for task in range(3):
        active = jnp.arange(3) == task
        d, _ = tx.update(mixed, state, active=active)
        for k, leaf in d.items():
            assert leaf.dtype == mixed[k].dtype
            np.testing.assert_allclose(
                np.asarray(leaf, float), np.asarray(mixed[k][task], float), rtol=1e-2
            )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: cw.graddrop(0, key=jax.random.key(0)),
            "num_tasks: expected at least 1",
        ),
        (lambda: cw.graddrop(2, key=jax.random.PRNGKey(0)), "key: expected one typed"),
        (lambda: cw.graddrop(2, key=0), "key: expected one typed random key"),
        (
            lambda: cw.graddrop(2, key=jax.random.split(jax.random.key(0))),
            "key: expected one typed",
        ),
        (
            lambda: cw.graddrop(2, key=jax.random.key(0), leak=1.5),
            r"leak: expected numbers in \[0, 1\]",
        ),
        (
            lambda: cw.graddrop(2, key=jax.random.key(0), leak=[0.1] * 3),
            "leak: expected one number or one for each of the 2 tasks",
        ),
        (lambda: cw.trimmed_mean(4, trim=2), "trim: expected less than half of the 4"),
        (lambda: cw.trimmed_mean(4, trim=0.1), "trim: expected an integer"),
        (
            lambda: cw.excess_mtl(2, step_size=0.0),
            "step_size: expected a number above 0",
        ),
        (
            lambda: cw.lr_annealing(2, decay=1.1),
            r"decay: expected a number in \[0, 1\]",
        ),
        (
            lambda: cw.lr_annealing(2, reference=2),
            "reference: expected one of the tasks",
        ),
    ],
)
def test_bad_arguments_are_named_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", MAKERS)
def test_bad_gradients_masks_and_leaves_are_named(name):
    tx, jac = MAKERS[name](3), as_dtype(tree(0, 3), float)
    state = tx.init(params_of(jac))
    with pytest.raises(ValueError, match="leading task axis of 3"):
        tx.update(as_dtype(tree(0, 2), float), state)
    with pytest.raises(ValueError, match="active: expected a bool array"):
        tx.update(jac, state, active=jnp.ones(3))
    nothing = MAKERS[name](3, shared=lambda path: False)
    with pytest.raises(ValueError, match="shared: expected at least one shared leaf"):
        nothing.update(jac, nothing.init(params_of(jac)))
