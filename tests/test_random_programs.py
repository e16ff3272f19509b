"""Programs put together at random: whatever the wiring, K is J Jᵀ on every route."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import paretax as px

WIDTH = 4
SEEDS = range(20)


def random_program(seed):
    """A function of a dictionary of leaves, drawn with its wiring; and its leaves."""
    rng = np.random.default_rng(seed)
    params = {}

    def leaf(*shape):
        """Mostly a new leaf, at times one that is used already."""
        alike = [name for name, value in params.items() if value.shape == shape]
        if alike and rng.random() < 0.25:
            return str(rng.choice(alike))
        name = f"p{len(params)}"
        params[name] = jnp.asarray(rng.normal(size=shape) / np.sqrt(WIDTH))
        return name

    def block():
        kind = rng.choice(
            ["dense", "turned", "bias", "gain", "residual", "scan", "again", "remat",
             "look_up", "jit", "cond", "pair", "detached"]
        )  # fmt: skip
        if kind in ("bias", "gain", "look_up", "detached"):
            return kind, leaf(WIDTH)
        if kind == "scan":
            return kind, leaf(2, WIDTH, WIDTH)
        if kind == "pair":
            return kind, leaf(WIDTH, WIDTH), leaf(WIDTH, WIDTH)
        return kind, leaf(WIDTH, WIDTH)

    trunk = [block() for _ in range(rng.integers(2, 6))]
    heads = [[block() for _ in range(rng.integers(0, 3))] for _ in range(3)]
    joining = rng.choice(["stack", "concatenate", "scaled", "mixed"])
    return functools.partial(_losses, trunk, heads, joining), params


def _losses(trunk, heads, joining, p, x):
    for block in trunk:
        x = _apply(block, p, x)
    ends = []
    for head in heads:
        h = x
        for block in head:
            h = _apply(block, p, h)
        ends.append(jnp.mean(jnp.sin(h + 0.1 * len(ends))))
    if joining == "concatenate":
        return jnp.concatenate([jnp.stack(ends[:2]), ends[2][None]])
    if joining == "scaled":
        return jnp.stack(ends) * jnp.asarray([1.0, 2.0, -3.0]) + x.sum()
    if joining == "mixed":
        losses = jnp.stack(ends)
        return losses.at[0].add(losses[1])
    return jnp.stack(ends)


def _apply(block, p, x):
    kind, name = block[0], block[1]
    w = p[name]
    match kind:
        case "dense":
            return jnp.tanh(x @ w)
        case "turned":
            return jnp.tanh(x @ w.reshape(-1).reshape(w.shape).T)
        case "bias":
            return x + w
        case "gain":
            return x * w
        case "residual":
            return x + jnp.sin(x @ w)
        case "scan":
            return jax.lax.scan(lambda h, v: (jnp.tanh(h @ v), None), x, w)[0]
        case "again":
            step = lambda h, _: (h + 0.1 * jnp.tanh(h @ w), None)
            return jax.lax.scan(step, x, None, length=2)[0]
        case "remat":
            return jax.checkpoint(lambda h, v: jnp.cos(h @ v))(x, w)
        case "look_up":
            return x + w[:, None][jnp.asarray([0, 3, 3])]
        case "jit":
            return jax.jit(lambda h, v: jnp.tanh(h @ v))(x, w)
        case "cond":
            return jax.lax.cond(x[0, 0] < 9, lambda: jnp.tanh(x @ w), lambda: x)
        case "pair":
            return jnp.tanh(x @ (w @ p[block[2]]))
        case _:
            return x * jax.lax.stop_gradient(w) + jnp.float32(w[0] > 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_wiring_gives_j_jt_and_the_way_back(seed):
    with jax.enable_x64(True):
        fun, params = random_program(seed)
        x = jnp.asarray(np.random.default_rng(seed).normal(size=(3, WIDTH)))
        weights = jnp.asarray([0.5, 1.0, 2.0])

        @jax.jit
        def run(params):
            jac = jax.jacrev(fun)(params, x)
            found = []
            for route in ("factored", "explicit", "streamed"):
                engine = px.value_and_gramian(fun, route=route)
                _, gram, pullback = engine(params, x)
                found.append((gram, pullback(weights)))
            return jac, px.value_and_jacobian(fun)(params, x)[1], found

        jac, rows, found = run(params)
        leaves = [np.asarray(leaf).reshape(3, -1) for leaf in jac.values()]
        matrix = np.concatenate(leaves, axis=1)
        gram = matrix @ matrix.T
        scale = np.abs(gram).max()
        for name, leaf in jac.items():
            np.testing.assert_allclose(rows[name], leaf, atol=1e-12 * scale**0.5)
        for ours, direction in found:
            np.testing.assert_allclose(ours, gram, atol=1e-12 * scale)
            for name, leaf in jac.items():
                expected = jnp.tensordot(weights, leaf, 1)
                np.testing.assert_allclose(
                    direction[name], expected, atol=1e-11 * scale**0.5
                )


def test_the_programs_are_of_many_kinds():
    """The table would prove nothing if it drew the same few cases."""
    ways, reasons = set(), set()
    with jax.enable_x64(True):
        for seed in SEEDS:
            fun, params = random_program(seed)
            plan = px.explain_gramian(
                fun, params, jnp.ones((3, WIDTH)), route="factored"
            )
            ways |= {row.route for row in plan.leaves}
            reasons |= {row.why for row in plan.leaves}
    assert {"factored", "explicit", "one task"} <= ways
    assert len(reasons) >= 12
