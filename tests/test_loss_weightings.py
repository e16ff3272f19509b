"""Weightings on losses against their papers' recurrences, in NumPy and float64."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import paretax as px
from paretax.weightings._clusters import cluster_means

STEPS, M = 20, 4


class Method(NamedTuple):
    make: object
    positive: bool  # a loss of at most 0 has no meaning in it
    left_out: bool = True  # ... and its task gets the weight 0


METHODS = {
    "dwa": Method(lambda: px.dwa(window=2), True, left_out=False),
    "famo": Method(px.famo, True),
    "geometric_mean": Method(px.geometric_mean, True),
    "go4align": Method(lambda: px.go4align(num_groups=2, step_size=0.1), True),
    "igb": Method(lambda: px.igb(skip=1, window=2), True),
    "imtl_l": Method(px.imtl_l, False),
    "ldc_mtl": Method(px.ldc_mtl, False),
    "relobralo": Method(
        lambda: px.relobralo(key=jax.random.key(0), decay=0.9), True, left_out=False
    ),
    "scale_invariant": Method(px.scale_invariant, True),
    "softadapt": Method(px.softadapt, False),
    "softadapt, all": Method(
        lambda: px.softadapt(beta=2.0, normalized=True, loss_weighted=True), True
    ),
    "uncertainty": Method(px.uncertainty, False),
}
every_method = pytest.mark.parametrize("name", METHODS)


def synthetic(seed=0, steps=STEPS, m=M):
    """Positive losses that fall, at different rates, with noise; and those after."""
    rng = np.random.default_rng(seed)
    rate, size = rng.uniform(0.01, 0.3, m), 10 ** rng.uniform(-1, 1, m)
    fall = size * np.exp(-rate * np.arange(steps)[:, None])
    losses = fall * np.exp(0.2 * rng.normal(size=(steps, m)))
    return losses, losses * np.exp(-rate + 0.05 * rng.normal(size=(steps, m)))


def run(weighting, losses, active=None, after=None, x64=True):
    """Weights of every step, and every state, by one compiled scan."""
    with jax.enable_x64(x64):
        losses = jnp.asarray(losses, float)
        after = losses if after is None else jnp.asarray(after, float)
        active = jnp.ones(losses.shape, bool) if active is None else jnp.asarray(active)

        def step(state, seen):
            now, then, mask = seen
            weights, state = weighting.update(
                None, state, losses=now, losses_after=then, active=mask
            )
            return state, (weights, state)

        start = weighting.init(losses.shape[1])
        _, (weights, states) = jax.lax.scan(step, start, (losses, after, active))
        return np.asarray(weights), states


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def adam(gradients, learning_rate, start=0.0):
    """Kingma & Ba's recurrence: a function to step with, and its numbers."""
    x = np.full(gradients, start)
    mean, square, count = np.zeros(gradients), np.zeros(gradients), 0

    def step(g):
        nonlocal x, mean, square, count
        count += 1
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        hat = mean / (1 - 0.9**count)
        x = x - learning_rate * hat / (np.sqrt(square / (1 - 0.999**count)) + 1e-8)
        return x

    return x, step


def test_dwa_is_the_softmax_of_the_ratios_of_window_means():
    losses, _ = synthetic()
    for n, temperature in ((1, 2.0), (3, 0.5)):
        weights, _ = run(px.dwa(temperature=temperature, window=n), losses)
        for t in range(STEPS):
            expected = np.ones(M)
            if t >= 2 * n:
                ratio = losses[t - n : t].mean(0) / losses[t - 2 * n : t - n].mean(0)
                expected = M * softmax(ratio / temperature)
            np.testing.assert_allclose(weights[t], expected, rtol=1e-12)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("loss_weighted", [False, True])
def test_softadapt_is_the_softmax_of_the_changes(normalized, loss_weighted):
    losses, _ = synthetic()
    made = px.softadapt(beta=0.7, normalized=normalized, loss_weighted=loss_weighted)
    weights, _ = run(made, losses)
    for t in range(1, STEPS):
        change = losses[t] - losses[t - 1]
        mean = (losses[t] + losses[t - 1]) / 2
        if normalized:
            change = change / np.abs(change).sum()
        e = np.exp(0.7 * change) * (mean if loss_weighted else 1.0)
        np.testing.assert_allclose(weights[t], e / e.sum(), rtol=1e-12)
    first = losses[0] / losses[0].sum() if loss_weighted else np.full(M, 1 / M)
    np.testing.assert_allclose(weights[0], first, rtol=1e-12)


def test_softadapt_prefers_the_loss_that_falls_least_even_where_all_fall():
    falling = np.array([[5.0, 5.0], [4.9, 1.0]])
    for normalized in (False, True):
        weights, _ = run(px.softadapt(normalized=normalized), falling)
        assert weights[1, 0] > weights[1, 1]
    weights, _ = run(px.softadapt(beta=-0.1), falling)
    assert weights[1, 0] < weights[1, 1]


@pytest.mark.parametrize("saudade", [0.0, 0.6, 1.0])
def test_relobralo_follows_its_recurrence_for_the_drawn_lookbacks(saudade):
    losses, _ = synthetic()
    key, temperature, alpha = jax.random.key(3), 0.4, 0.8
    made = px.relobralo(key=key, decay=alpha, temperature=temperature, saudade=saudade)
    weights, _ = run(made, losses)
    draws = []
    for t in range(STEPS):
        with jax.enable_x64(True):
            key, now = jax.random.split(key)
            rho = float(jax.random.bernoulli(now, saudade))
        draws.append(rho)

        def balanced(before, t=t):
            return M * softmax(losses[t] / (temperature * losses[before]))

        if t == 0:
            average = np.ones(M)
        elif t == 1:
            average = balanced(0)
        else:
            history = rho * average + (1 - rho) * balanced(0)
            average = alpha * history + (1 - alpha) * balanced(t - 1)
        np.testing.assert_allclose(weights[t], average, rtol=1e-10)
    assert np.mean(draws) == saudade or 0.2 < np.mean(draws) < 0.9
    np.testing.assert_allclose(weights.sum(1), M)


def test_relobralo_without_memory_is_the_ratio_form_of_softadapt():
    losses, _ = synthetic()
    made = px.relobralo(key=jax.random.key(0), decay=0.0, temperature=1.0)
    weights, _ = run(made, losses)
    expected = [M * softmax(b / a) for a, b in itertools.pairwise(losses)]
    np.testing.assert_allclose(weights[1:], expected, rtol=1e-12)


def test_uncertainty_takes_the_gradient_of_its_objective_in_s():
    losses, _ = synthetic()
    weights, states = run(px.uncertainty(optimizer=optax.sgd(0.3)), losses)
    s = np.zeros(M)
    for t in range(STEPS):
        np.testing.assert_allclose(weights[t], 0.5 * np.exp(-s), rtol=1e-12)
        s = s - 0.3 * (-0.5 * np.exp(-s) * losses[t] + 0.5)
        np.testing.assert_allclose(states.parameters[t], s, rtol=1e-9, atol=1e-12)


def test_the_default_optimizer_of_what_is_learned_is_adam():
    losses, _ = synthetic()
    weights, _ = run(px.uncertainty(), losses)
    s, step = adam(M, 0.025)
    for t in range(STEPS):
        np.testing.assert_allclose(weights[t], 0.5 * np.exp(-s), rtol=1e-7)
        s = step(-0.5 * np.exp(-s) * losses[t] + 0.5)


def test_imtl_l_takes_the_gradient_of_its_objective_in_s():
    losses, _ = synthetic()
    weights, _ = run(px.imtl_l(optimizer=optax.sgd(0.05)), losses)
    s = np.zeros(M)
    for t in range(STEPS):
        np.testing.assert_allclose(weights[t], np.exp(s), rtol=1e-12)
        s = s - 0.05 * (np.exp(s) * losses[t] - 1)
    twice, _ = run(px.uncertainty(optimizer=optax.sgd(0.1)), losses)
    np.testing.assert_allclose(weights, 2 * twice, rtol=1e-12)


def test_learned_scales_end_where_all_weighted_losses_are_equal():
    losses = np.tile([0.5, 1.0, 4.0], (400, 1))
    weights, _ = run(px.uncertainty(optimizer=optax.sgd(0.1)), losses)
    np.testing.assert_allclose(weights[-1] * losses[-1], 0.5, rtol=1e-6)
    weights, _ = run(px.imtl_l(optimizer=optax.sgd(0.1)), losses)
    np.testing.assert_allclose(weights[-1] * losses[-1], 1.0, rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_famo_steps_its_logits_by_what_the_last_step_did(decay):
    losses, after = synthetic()
    ideal = np.array([0.0, 0.01, 0.0, -0.5])
    weights, states = run(px.famo(ideal=ideal, decay=decay), losses, after=after)
    xi, step = adam(M, 0.025)
    for t in range(STEPS):
        if t > 0:
            z = softmax(xi)
            delta = np.log(losses[t - 1] - ideal) - np.log(after[t] - ideal)
            jacobian = np.diag(z) - np.outer(z, z)
            xi = step(jacobian @ delta + decay * xi)
        z, gap = softmax(xi), losses[t] - ideal
        c = 1 / np.sum(z / gap)
        np.testing.assert_allclose(weights[t], c * z / gap, rtol=1e-6)
        np.testing.assert_allclose(states.parameters[t], xi, rtol=1e-5, atol=1e-8)


def test_famo_at_the_first_step_ignores_the_losses_after():
    losses, _ = synthetic(steps=1)
    for after in (losses, losses * np.nan, 1e6 * losses, 0 * losses):
        weights, states = run(px.famo(), losses, after=after)
        np.testing.assert_allclose(weights[0], (1 / losses[0]) / (1 / losses[0]).sum())
        assert (np.asarray(states.parameters) == 0).all()
        assert states.converged.all()


def test_famo_leaves_its_logits_where_all_losses_fell_at_the_same_rate():
    losses, _ = synthetic()
    after = 0.7 * np.roll(losses, 1, axis=0)
    _, states = run(px.famo(decay=0.0, optimizer=optax.sgd(1.0)), losses, after=after)
    np.testing.assert_allclose(states.parameters, 0.0, atol=1e-12)


def test_famo_learns_to_let_losses_fall_at_the_same_rate():
    # d log Lᵢ ∝ wᵢ‖∇Lᵢ‖²/Lᵢ = 4wᵢ ∝ zᵢ/xᵢ²: nine to one at first, with even z.
    def rates(optimizer):
        weighting = px.famo(decay=0.0, optimizer=optimizer)
        step = px.value_and_direction(lambda x: x**2, weighting)

        def one(carry, _):
            x, state = carry
            # There is one batch only: what is before a step is after the last one.
            losses, d, state = step(x, state, extra_args={"losses_after": x**2})
            return (x - 0.002 * d, state), losses

        start = jnp.array([1.0, 3.0]), weighting.init(2)
        _, losses = jax.jit(lambda s: jax.lax.scan(one, s, length=300))(start)
        return np.log(losses[200] / losses[299])

    frozen, learned = rates(optax.sgd(0.0)), rates(None)
    assert frozen.max() > 9 * frozen.min() > 0
    assert learned.max() < 1.01 * learned.min()


def test_ldc_mtl_takes_both_derivatives_of_its_objective():
    losses, _ = synthetic()
    penalty, rate = 0.2, 0.3
    made = px.ldc_mtl(penalty=penalty, optimizer=optax.sgd(rate))
    weights, states = run(made, losses)

    def objective(losses, s, whole):
        v = losses / (1 + np.exp(-s))
        return v.sum() / whole + penalty * np.abs(np.diff(v)).sum()

    s = np.ones(M)
    for t in range(STEPS):
        whole, h = (1 / (1 + np.exp(-s))).sum(), 1e-6
        shift = h * np.eye(M)
        by_losses, by_s = (
            np.array([
                (objective(losses[t] + a * e, s + b * e, whole)
                 - objective(losses[t] - a * e, s - b * e, whole)) / (2 * h)
                for e in shift
            ])
            for a, b in ((1, 0), (0, 1))
        )  # fmt: skip
        np.testing.assert_allclose(weights[t], by_losses, rtol=1e-6, atol=1e-8)
        s = s - rate * by_s
        np.testing.assert_allclose(states.parameters[t], s, rtol=1e-6)


def test_ldc_mtl_has_neighbors_among_the_active_tasks():
    losses = np.array([[1.0, 9.0, 3.0, 2.0]])
    mask = np.array([[True, False, True, True]])
    weights, _ = run(px.ldc_mtl(penalty=0.1), losses, mask)
    sigma = 1 / (1 + np.exp(-1.0))
    expected = 1 / 3 + 0.1 * sigma * np.array([-1, 2, -1])
    np.testing.assert_allclose(weights[0, [0, 2, 3]], expected)


def test_igb_weighs_logarithms_by_what_is_left_of_the_base():
    losses, _ = synthetic()
    for skip, window in ((0, 1), (3, 4)):
        weights, states = run(px.igb(skip=skip, window=window), losses)
        base = losses[skip : skip + window].mean(0)
        for t in range(STEPS):
            share = np.ones(M)
            if t >= skip + window:
                share = M * softmax(losses[t] / base)
            np.testing.assert_allclose(weights[t], share / losses[t], rtol=1e-12)
        np.testing.assert_allclose(states.base[-1], base, rtol=1e-12)


def test_losses_by_logarithm_have_the_derivatives_of_their_scalarizations():
    losses, _ = synthetic()
    weights, _ = run(px.scale_invariant(), losses)
    np.testing.assert_allclose(weights, 1 / losses, rtol=1e-12)
    weights, _ = run(px.geometric_mean(), losses)
    for t in range(STEPS):
        for i, e in enumerate(np.eye(M) * 1e-6):
            up, down = np.prod(losses[t] + e), np.prod(losses[t] - e)
            slope = (up ** (1 / M) - down ** (1 / M)) / 2e-6
            np.testing.assert_allclose(weights[t, i], slope, rtol=1e-6)


def best_means(values, num_clusters):
    """k-means by trying every assignment; the costs of all, and the means of one."""
    if num_clusters >= len(values):
        return 0.0, tuple(values)
    best = np.inf, None
    for labels in itertools.product(range(num_clusters), repeat=len(values)):
        labels = np.array(labels)
        means = np.array([values[labels == label].mean() for label in labels])
        best = min(best, (np.sum((values - means) ** 2), tuple(means)))
    return best


@pytest.mark.parametrize("num_clusters", [1, 2, 3, 9])
def test_clusters_are_those_of_the_best_of_all_assignments(num_clusters):
    rng = np.random.default_rng(num_clusters)
    lines = np.stack([
        rng.uniform(size=6),
        10 ** rng.uniform(-3, 3, size=6),
        np.array([1.0, 1.0, 1.0, 2.0, 2.0, 7.0]),
        np.full(6, 3.0),
        np.zeros(6),
    ])  # fmt: skip
    with jax.enable_x64(True):
        many = jax.jit(jax.vmap(cluster_means, (0, 0, None)), static_argnums=2)
        for size in (6, 4, 1):
            present = np.zeros(lines.shape, bool)
            for row in present:
                row[rng.permutation(6)[:size]] = True
            poisoned = np.where(present, lines, np.nan)
            found = np.asarray(many(poisoned, present, num_clusters))
            assert (found[~present] == 0).all()
            for line, row, means in zip(lines, present, found, strict=True):
                cost = np.sum((line[row] - means[row]) ** 2)
                expected, _ = best_means(line[row], min(num_clusters, size))
                np.testing.assert_allclose(cost, expected, atol=1e-12 * line.max() ** 2)


@pytest.mark.parametrize("num_groups", [1, 2, 4, 6])
def test_go4align_gives_a_group_the_mean_of_its_indicators(num_groups):
    losses, _ = synthetic()
    weights, _ = run(px.go4align(num_groups=num_groups, step_size=0.05), losses)
    p = np.full(M, 1 / M)
    for t in range(STEPS):
        p = p * np.exp(-0.05 * losses[t])
        p = p / p.sum()
        u = p * losses[t].sum() / losses[t]
        _, means = best_means(u, min(num_groups, M))
        np.testing.assert_allclose(weights[t], means, rtol=1e-9)


@every_method
def test_tasks_that_are_always_missing_might_as_well_not_exist(name):
    losses, after = synthetic()
    here = np.array([0, 2])
    alone, _ = run(METHODS[name].make(), losses[:, here], after=after[:, here])
    mask = np.zeros(losses.shape, bool)
    mask[:, here] = True
    poisoned, later = (np.where(mask, x, np.nan) for x in (losses, after))
    weights, states = run(METHODS[name].make(), poisoned, mask, later)
    np.testing.assert_allclose(weights[:, here], alone, rtol=1e-10)
    assert (weights[:, [1, 3]] == 0).all()
    assert states.converged.all()
    assert (np.asarray(states.error) == 0).all()


def memory(states, t, task):
    """What the state at step t remembers of one task, or of all of them."""
    kept = states._asdict()
    for shown in ("weights", "converged", "error", "key", "known"):
        kept.pop(shown, None)
    leaves = [np.asarray(leaf)[t] for leaf in jax.tree.leaves(kept)]
    return [leaf if task is None else leaf[task] for leaf in leaves]


@every_method
def test_a_missing_task_finds_its_memory_as_it_left_it(name):
    losses, after = synthetic()
    mask = np.ones(losses.shape, bool)
    mask[7:12, 1] = False
    poisoned = np.where(mask, losses, np.nan)
    weights, states = run(METHODS[name].make(), poisoned, mask, after)
    # The losses after step 6 were of a batch with the task; from 8 on of none.
    for x, y in zip(memory(states, 7, 1), memory(states, 11, 1), strict=True):
        np.testing.assert_array_equal(x, y)
    assert (weights[7:12, 1] == 0).all()
    assert np.isfinite(weights).all()
    assert (weights[12:, 1] != 0).all()


@every_method
def test_no_active_task_gives_zeros_and_changes_no_memory(name):
    losses, after = synthetic(steps=6)
    mask = np.ones(losses.shape, bool)
    mask[3:5] = False
    weights, states = run(METHODS[name].make(), losses, mask, after)
    assert (weights[3:5] == 0).all()
    assert np.isfinite(weights).all()
    for x, y in zip(memory(states, 3, None), memory(states, 4, None), strict=True):
        np.testing.assert_array_equal(x, y)


@every_method
def test_a_loss_of_at_most_zero_is_told_and_not_remembered(name):
    method = METHODS[name]
    losses, after = synthetic()
    bad = losses.copy()
    bad[5, 0], bad[5, 2], bad[6, 0], bad[6, 2] = 0.0, -1.0, -3.0, 0.0
    weights, states = run(method.make(), bad, after=after)
    assert np.isfinite(weights).all()
    assert (~np.asarray(states.converged)).tolist() == [
        method.positive and t in (5, 6) for t in range(STEPS)
    ]
    if not method.positive:
        return
    assert states.error[5:7].tolist() == [2.0, 2.0]
    if method.left_out:
        assert (weights[5:7, [0, 2]] == 0).all()
        mask = np.ones(losses.shape, bool)
        mask[5:7, [0, 2]] = False
        removed, _ = run(method.make(), losses, mask, after)
        np.testing.assert_allclose(weights, removed, rtol=1e-12)


@every_method
def test_losses_that_are_not_finite_show_and_are_not_remembered(name):
    losses, after = synthetic(steps=8)
    for poison in (np.nan, np.inf):
        bad, later = losses.copy(), after.copy()
        bad[4:6], later[5:7] = poison, poison
        weights, states = run(METHODS[name].make(), bad, after=later)
        assert np.isnan(weights[4:6]).all()
        assert np.isfinite(np.delete(weights, [4, 5], axis=0)).all()
        assert (~np.asarray(states.converged)).nonzero()[0].tolist() == [4, 5]
        for x, y in zip(memory(states, 4, None), memory(states, 5, None), strict=True):
            np.testing.assert_array_equal(x, y)


@every_method
def test_weights_are_finite_for_losses_over_twenty_orders_of_magnitude(name):
    rng = np.random.default_rng(0)
    losses = 10 ** rng.uniform(-10, 10, size=(30, 6))
    after = 10 ** rng.uniform(-10, 10, size=(30, 6))
    weights, states = run(METHODS[name].make(), losses, after=after, x64=False)
    assert weights.dtype == np.float32
    assert np.isfinite(weights).all()
    assert states.converged.all()


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adamw(1e-2),
        optax.sgd(optax.cosine_decay_schedule(0.1, 10), momentum=0.9),
        optax.inject_hyperparams(optax.adam)(optax.linear_schedule(0.1, 0.0, 10)),
        optax.chain(optax.clip(1.0), optax.rmsprop(1e-2)),
    ],
    ids=["adamw", "schedule", "injected", "chain"],
)
def test_any_optimizer_steps_what_is_learned_and_keeps_the_state_constant(optimizer):
    losses, after = synthetic(steps=6)
    mask = np.ones(losses.shape, bool)
    mask[2:4, 1] = False
    for make in (px.uncertainty, px.imtl_l, px.ldc_mtl, px.famo):
        made = make(optimizer=optimizer)
        weights, states = run(made, losses, mask, after, x64=False)
        assert np.isfinite(weights).all()
        moved = np.asarray(states.parameters)
        assert (moved[-1] != moved[0]).all()
        before = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), made.init(M))
        _, after_one = made.update(
            None, made.init(M), losses=jnp.ones(M), losses_after=jnp.ones(M)
        )
        shapes = jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), after_one)
        assert shapes == before


def test_a_precise_program_keeps_the_learned_state_in_float32():
    tx = px.combine(px.famo(optimizer=optax.sgd(0.1)), 2, precise=True)
    jac, losses = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([1.0, 4.0])
    state = tx.init(jac[0])
    for _ in range(3):
        d, state = tx.update(jac, state, losses=losses, losses_after=0.5 * losses)
    assert d.dtype == jnp.float32
    assert state.parameters.dtype == jnp.float32
    np.testing.assert_allclose(d, [0.8, 0.2], rtol=1e-5)


def flops(weighting, m=8):
    """Floating-point operations of a compiled training step."""

    def fun(params, x, y):
        trunk, heads = params
        hidden = jnp.tanh(jnp.tanh(x @ trunk[0]) @ trunk[1])
        return jnp.mean((jnp.einsum("bh,mh->bm", hidden, heads) - y) ** 2, axis=0)

    params = (jnp.ones((2, 64, 64)), jnp.ones((m, 64)))
    x, y = jnp.ones((32, 64)), jnp.ones((32, m))
    step = px.value_and_direction(fun, weighting)

    def one(params, state, x, y, after):
        return step(params, state, x, y, extra_args={"losses_after": after})

    lowered = jax.jit(one).lower(params, weighting.init(m), x, y, jnp.ones(m))
    return lowered.compile().cost_analysis()["flops"]


def test_a_weighting_on_losses_costs_one_backward_pass():
    one = flops(px.uniform())
    assert flops(px.mgda()) > 1.5 * one
    for name, method in METHODS.items():
        assert flops(method.make()) < 1.02 * one, name
    assert flops(px.rlw(key=jax.random.key(0))) < 1.02 * one


def test_what_is_missing_or_wrong_is_named():
    with pytest.raises(ValueError, match="temperature: expected a number above 0"):
        px.dwa(temperature=0.0)
    with pytest.raises(ValueError, match="window: expected at least 1, got 0"):
        px.dwa(window=0)
    with pytest.raises(ValueError, match="beta: expected a finite number"):
        px.softadapt(beta=np.inf)
    with pytest.raises(ValueError, match="skip: expected at least 0"):
        px.igb(skip=-1)
    with pytest.raises(ValueError, match="num_groups: expected at least 1"):
        px.go4align(num_groups=0)
    with pytest.raises(ValueError, match="penalty: expected a number of at least 0"):
        px.ldc_mtl(penalty=-1.0)
    with pytest.raises(ValueError, match=r"saudade: expected a number in \[0, 1\]"):
        px.relobralo(key=jax.random.key(0), saudade=1.5)
    with pytest.raises(ValueError, match="key: expected one typed random key"):
        px.relobralo(key=jnp.zeros(2, jnp.uint32))
    with pytest.raises(ValueError, match="key: expected one typed random key"):
        px.rlw(key=jnp.zeros(2, jnp.uint32))
    with pytest.raises(ValueError, match="decay: expected a number of at least 0"):
        px.famo(decay=-1.0)
    with pytest.raises(ValueError, match="ideal: expected a finite number"):
        px.famo(ideal=[0.0, np.nan])
    with pytest.raises(ValueError, match=r"ideal: expected a number or shape \[3\]"):
        px.famo(ideal=[0.0, 0.0]).init(3)
    for make in (px.uncertainty, px.imtl_l, px.ldc_mtl, px.famo):
        with pytest.raises(ValueError, match=r"optimizer: .* as in optax\.sgd\(0\.1\)"):
            make(optimizer=optax.adam)


@every_method
def test_missing_losses_say_how_to_pass_them(name):
    weighting = METHODS[name].make()
    with pytest.raises(ValueError, match=r"losses=losses\)"):
        weighting.update(None, weighting.init(2), losses_after=jnp.ones(2))
    with pytest.raises(ValueError, match=r"losses: expected shape \(2,\), got \(3,\)"):
        weighting.update(
            None, weighting.init(2), losses=jnp.ones(3), losses_after=jnp.ones(2)
        )
    assert weighting.needs_gram(weighting.init(2)) is False


def test_missing_losses_after_say_how_to_pass_them_even_at_the_first_step():
    tx = px.combine(px.famo(), 2)
    jac, losses = jnp.eye(2), jnp.ones(2)
    with pytest.raises(ValueError, match=r"losses_after=fun\(params, batch_before\)"):
        tx.update(jac, tx.init(jac[0]), losses=losses)
    with pytest.raises(ValueError, match="losses_after: expected shape"):
        tx.update(jac, tx.init(jac[0]), losses=losses, losses_after=jnp.ones(3))
