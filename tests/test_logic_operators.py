"""XOR and AND: the problem's values, the count of epochs, and a port in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import paretax as px
from paretax import problems

SQUARE_HALF = 2**-0.5


def test_targets_are_truth_tables_times_scales():
    problem = problems.logic_operators(("or", "xor", "and"), (1.0, 2.0, 3.0))
    x = np.asarray(problem.data.inputs).astype(int)
    assert sorted(map(tuple, x)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    expected = np.stack([x[:, 0] | x[:, 1], x[:, 0] ^ x[:, 1], x[:, 0] & x[:, 1]], 1)
    np.testing.assert_array_equal(problem.data.targets, expected * [1, 2, 3])
    default = problems.logic_operators()
    np.testing.assert_array_equal(default.data.targets.max(axis=0), [10, 1])


def test_losses_are_mean_squared_errors_a_task():
    problem = problems.logic_operators()
    params = jax.tree.map(jnp.zeros_like, problem.init(jax.random.key(0)))
    np.testing.assert_allclose(problem.losses(params, problem.data), [50, 0.25])
    params["heads"]["bias"] = jnp.array([1.0, 2.0])
    rows = jax.tree.map(lambda leaf: leaf[jnp.array([1, 3])], problem.data)
    expected = [((1 - 10) ** 2 + 1) / 2, (2**2 + 1) / 2]
    np.testing.assert_allclose(problem.losses(params, rows), expected)


def test_two_hidden_units_are_enough():
    """One unit is OR, the other AND; XOR is their difference."""
    problem = problems.logic_operators()
    params = {
        "encoder": {"kernel": jnp.full((2, 2), 40.0), "bias": jnp.array([-20.0, -60])},
        "heads": {
            "kernel": jnp.array([[10.0, -10], [0, 1]]),
            "bias": jnp.zeros(2),
        },
    }
    assert (problem.losses(params, problem.data) < 1e-6).all()
    np.testing.assert_allclose(
        problem.predictions(params, problem.data.inputs),
        problem.data.targets,
        atol=1e-4,
    )


def test_initial_values_fill_the_interval_of_one_over_the_root_of_the_inputs():
    problem = problems.logic_operators(("xor", "and", "or"), (1.0, 1.0, 1.0))
    params = jax.vmap(problem.init)(jax.random.split(jax.random.key(3), 2000))
    shapes = jax.tree.map(lambda leaf: leaf.shape[1:], params)
    assert shapes == {
        "encoder": {"kernel": (2, 2), "bias": (2,)},
        "heads": {"kernel": (3, 2), "bias": (3,)},
    }
    flat = np.concatenate(
        [np.asarray(leaf).reshape(2000, -1) for leaf in jax.tree.leaves(params)], 1
    )
    assert np.abs(flat).max() <= SQUARE_HALF
    assert (np.abs(flat).max(axis=0) > 0.99 * SQUARE_HALF).all()
    np.testing.assert_allclose(flat.mean(axis=0), 0, atol=4 * 0.41 / 2000**0.5)
    correlation = np.corrcoef(flat.T) - np.eye(flat.shape[1])
    assert np.abs(correlation).max() < 5 / 2000**0.5  # no two draws are the same


def test_a_task_is_learned_at_its_first_good_epoch_as_the_authors_count():
    # Two batches of two rows, two tasks: eight counts, so the sum must be below 8e-3.
    losses = jnp.array(
        [
            [[0.005, 1.0], [0.004, 1.0]],  # 9e-3: not yet
            [[0.004, 1.0], [0.0039, 0.0]],  # 7.9e-3: the first task is learned
            [[9.0, 0.0], [9.0, 0.0]],  # and lost again; the second one is learned
        ]
    )
    assert problems.first_converged(losses, batch_size=2).tolist() == [1, 2]
    assert problems.first_converged(losses[:2], batch_size=2).tolist() == [1, -1]
    assert problems.first_converged(losses, 2, tol=2e-3).tolist() == [0, 2]
    unknown = losses.at[1].set(jnp.nan)
    assert problems.first_converged(unknown, batch_size=2).tolist() == [-1, 2]


def test_bad_arguments_are_named():
    for call, message in [
        (lambda: problems.logic_operators(("nand",), (1.0,)), "tasks"),
        (lambda: problems.logic_operators((), ()), "tasks"),
        (lambda: problems.logic_operators(("xor",)), "scales"),
        (lambda: problems.logic_operators(scales=(1.0, 0.0)), "scales"),
        (lambda: problems.first_converged(jnp.ones((2, 2)), 2), "losses"),
        (lambda: problems.first_converged(jnp.ones((2, 2, 2)), 2, tol=0.0), "tol"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def train(problem, weighting, start, rows, rate):
    """Losses of every mini-batch, [steps, m], and the parameters at the end."""
    tx = optax.chain(
        px.combine(weighting, 2, shared=lambda path: path[0].key == "encoder"),
        optax.sgd(rate, momentum=0.9),
    )

    def step(carry, row):
        params, state = carry
        batch = jax.tree.map(lambda leaf: leaf[row], problem.data)
        f, jac = px.value_and_jacobian(problem.losses)(params, batch)
        updates, state = tx.update(jac, state, params, losses=f)
        return (optax.apply_updates(params, updates), state), f

    (params, _), losses = jax.lax.scan(step, (start, tx.init(start)), rows)
    return losses, params


class Port:
    """The authors' loop in NumPy float64: heads step at once, then the encoder."""

    def __init__(self, params, alpha):
        encoder, heads = params["encoder"], params["heads"]
        self.w, self.b = np.array(encoder["kernel"]), np.array(encoder["bias"])
        self.a, self.c = np.array(heads["kernel"]), np.array(heads["bias"])
        self.velocity, self.alpha = {}, alpha
        self.norms, self.before, self.projections = [], None, 0

    def sgd(self, name, gradient, rate):
        old = self.velocity.get(name, 0.0)
        self.velocity[name] = 0.9 * old + gradient
        return rate * self.velocity[name]

    def step(self, x, y, rate):
        h = 1 / (1 + np.exp(-(x @ self.w + self.b)))
        losses, rows = [], []
        for t in range(2):
            error = h @ self.a[t] + self.c[t] - y[:, t]
            losses.append((error**2).mean())
            out = 2 * error / len(x)
            hidden = out[:, None] * self.a[t] * h * (1 - h)
            rows.append(np.append((x.T @ hidden).ravel(), hidden.sum(axis=0)))
            self.a[t] -= self.sgd(("a", t), out @ h, rate)
            self.c[t] -= self.sgd(("c", t), out.sum(), rate)
        moved = self.sgd("encoder", self.direction(np.array(rows), losses), rate)
        self.w -= moved[:4].reshape(2, 2)
        self.b -= moved[4:]
        return losses

    def direction(self, g, losses):
        n = np.linalg.norm(g, axis=1)
        v = (n[1] * g[0] + n[0] * g[1]) / n.sum()
        self.norms.append(n)
        total, before = np.sum(self.norms[-10:], axis=0), self.before
        if len(self.norms) >= 10:
            self.before = total
        if before is None:
            return v
        p = total / before + np.log10(losses)
        f = self.alpha / (1 + np.exp(np.e - np.e * p)) + 1 - self.alpha
        away = g - v
        v = v + f @ (away / np.linalg.norm(away, axis=1)[:, None])
        for row, size in zip(g, n, strict=True):
            if row @ v < 0:
                self.projections += 1
                w = v - (v @ row) * row / size**2
                to = v - row
                angle = np.arccos(row @ to / (size * np.linalg.norm(to)))
                v = np.tan(np.pi - angle) * size * w / np.linalg.norm(w)
        return v


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_tensioner_trains_as_the_authors_loop_does(alpha):
    """Seeds of their settings in float64: the same losses at each of 160 steps."""
    rate, seeds, epochs = 0.05, 3, 80
    with jax.enable_x64(True):
        problem = problems.logic_operators()
        starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(136), seeds))
        orders = np.random.default_rng(0).permuted(
            np.tile(np.arange(4), (seeds, epochs, 1)), axis=-1
        )
        rows = orders.reshape(seeds, -1, 2)
        run = jax.jit(
            jax.vmap(
                lambda start, row: train(
                    problem, px.task_tensioner(alpha=alpha), start, row, rate
                )
            )
        )
        losses, ends = run(starts, jnp.asarray(rows))
        x, y = (np.asarray(leaf) for leaf in problem.data)
        projections = 0
        for seed in range(seeds):
            port = Port(jax.tree.map(lambda leaf, s=seed: leaf[s], starts), alpha)
            expected = [port.step(x[row], y[row], rate) for row in rows[seed]]
            np.testing.assert_allclose(losses[seed], expected, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(ends["heads"]["kernel"][seed], port.a, rtol=1e-6)
            np.testing.assert_allclose(
                ends["encoder"]["kernel"][seed], port.w, rtol=1e-6
            )
            projections += port.projections
        assert projections > 10


def test_the_bisector_learns_and_where_the_sum_does_not():
    """XOR drowns AND in the sum of losses; equal angles to both let it speak."""
    problem, seeds, epochs = problems.logic_operators(), 20, 600
    starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(1), seeds))
    orders = np.random.default_rng(1).permuted(
        np.tile(np.arange(4), (seeds, epochs, 1)), axis=-1
    )
    rows = jnp.asarray(orders.reshape(seeds, -1, 2))
    learned = []
    for weighting in (px.total(), px.edm()):
        run = lambda start, row, w=weighting: train(problem, w, start, row, 0.05)[0]
        losses = jax.jit(jax.vmap(run))(starts, rows)
        first = jax.vmap(lambda f: problems.first_converged(f, 2))(
            losses.reshape(seeds, epochs, 2, 2)
        )
        learned.append(int((first[:, 1] >= 0).sum()))
    assert learned[0] <= 8
    assert learned[1] >= 15
