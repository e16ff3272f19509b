"""The task axis: Jacobian, Gramian, pullback and contraction against plain jax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import paretax as px


def losses(params, x):
    hidden = jnp.tanh(x @ params["trunk"]["w"] + params["trunk"]["b"])
    return jnp.stack([jnp.mean((hidden @ head) ** 2) for head in params["heads"]])


def problem(m=3, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), m + 3)
    trunk = {
        "w": jax.random.normal(keys[0], (5, 4), dtype),
        "b": jax.random.normal(keys[1], (4,), dtype),
    }
    heads = [jax.random.normal(key, (4, 2), dtype) for key in keys[3:]]
    return {"trunk": trunk, "heads": heads}, jax.random.normal(keys[2], (8, 5), dtype)


def flat(jac):
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(jac)]
    return np.concatenate([np.asarray(leaf, np.float64) for leaf in leaves], axis=1)


@pytest.mark.parametrize("chunk_size", [None, 1, 2, 5])
def test_the_jacobian_is_jaxs_own_whatever_the_chunks(chunk_size):
    params, x = problem()
    f, jac = jax.jit(px.value_and_jacobian(losses, chunk_size=chunk_size))(params, x)
    np.testing.assert_allclose(f, losses(params, x), rtol=1e-6)
    expected = jax.jacrev(losses)(params, x)
    assert jax.tree.structure(jac) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), jac, expected
    )


def test_the_gramian_is_the_product_of_the_flattened_jacobian():
    with jax.enable_x64(True):
        params, x = problem(dtype=jnp.float64)
        _, jac = px.value_and_jacobian(losses)(params, x)
        expected = flat(jac) @ flat(jac).T
        np.testing.assert_allclose(px.gramian(jac), expected, rtol=1e-12)


@pytest.mark.parametrize("weight_heads", [False, True])
@pytest.mark.parametrize(
    "shared",
    [
        None,
        {"trunk": True, "heads": False},
        {"trunk": {"w": True, "b": False}, "heads": [False, True, False]},
        lambda path: path[0].key == "trunk",
    ],
    ids=["all", "prefix", "tree", "predicate"],
)
def test_value_and_gramian_agrees_with_combine_on_the_held_jacobian(
    shared, weight_heads
):
    with jax.enable_x64(True):
        params, x = problem(dtype=jnp.float64)
        engine = px.value_and_gramian(losses, shared=shared, weight_heads=weight_heads)
        _, gram, pullback = jax.jit(engine)(params, x)
        chosen = jnp.asarray([0.5, 2.0, 1.0])
        seen = []

        def record(k):
            seen.append(k)
            return chosen

        tx = px.combine(
            px.stateless(record), 3, shared=shared, weight_heads=weight_heads
        )
        _, jac = px.value_and_jacobian(losses)(params, x)
        direction, _ = tx.update(jac, tx.init(params))
        np.testing.assert_allclose(gram, seen[0], rtol=1e-10)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
            jax.jit(lambda back, w: back(w))(pullback, chosen),
            direction,
        )


def test_unshared_heads_stay_out_of_the_gramian():
    params, x = problem()
    engine = px.value_and_gramian(losses, shared={"trunk": True, "heads": False})
    _, gram, _ = engine(params, x)
    _, jac = px.value_and_jacobian(losses)(params, x)
    trunk = flat(jac["trunk"])
    np.testing.assert_allclose(gram, trunk @ trunk.T, rtol=1e-4)
    assert not np.allclose(gram, flat(jac) @ flat(jac).T, rtol=1e-2)


def test_value_and_gradient_is_the_gradient_of_the_scalar():
    params, x = problem()
    preference = jnp.asarray([0.2, 0.3, 0.5])
    f, gradient = jax.jit(
        px.value_and_gradient(losses, px.scalarizations.linear(preference))
    )(params, x)
    expected = jax.grad(lambda p: preference @ losses(p, x))(params)
    np.testing.assert_allclose(f, losses(params, x), rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        gradient,
        expected,
    )


def test_auxiliary_output_travels_with_the_losses():
    params, x = problem()

    def with_aux(p, x):
        return losses(p, x), {"mean": jnp.mean(x)}

    (f, aux), jac = px.value_and_jacobian(with_aux, has_aux=True)(params, x)
    (g, same), _, back = px.value_and_gramian(with_aux, has_aux=True)(params, x)
    assert float(aux["mean"]) == float(same["mean"]) == float(jnp.mean(x))
    np.testing.assert_array_equal(f, g)
    direction = px.contract(jnp.ones(3), jac)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        back(jnp.ones(3)),
        direction,
    )


def test_a_precise_gramian_sees_conflict_that_float32_loses():
    """Nearly opposite gradients: K₁₁ + 2K₁₂ + K₂₂ = ‖g₁ + g₂‖² drowns in float32."""
    rng = np.random.default_rng(0)
    g = rng.normal(size=100_000)
    rows = np.stack([g, -g + 1e-4 * rng.normal(size=g.size)]).astype(np.float32)
    exact = np.sum((rows.astype(np.float64).sum(0)) ** 2)

    def squared_sum(gram):
        return abs(np.asarray(gram, np.float64).sum() / exact - 1)

    assert squared_sum(jax.jit(lambda j: px.gramian(j, precise=True))(rows)) < 1e-6
    assert squared_sum(px.gramian(jnp.asarray(rows))) > 1e-3


def test_bfloat16_rows_are_accumulated_in_float32():
    rows = jnp.full((2, 4096), 1.0, jnp.bfloat16).at[1].set(0.125)
    gram = px.gramian(rows)
    assert gram.dtype == jnp.float32
    np.testing.assert_array_equal(gram, [[4096.0, 512.0], [512.0, 64.0]])
    assert px.contract(jnp.ones(2), rows).dtype == jnp.bfloat16


def test_contract_leaves_out_inactive_rows_that_hold_nan():
    rows = jnp.asarray([[1.0, 2.0], [jnp.nan, jnp.inf]])
    out = px.contract(jnp.ones(2), rows, active=jnp.asarray([True, False]))
    np.testing.assert_array_equal(out, [1.0, 2.0])


def test_the_gramian_leaves_out_inactive_rows_that_hold_nan():
    rows = jnp.asarray([[1.0, 2.0], [jnp.nan, jnp.inf], [3.0, 4.0]])
    active = jnp.asarray([True, False, True])
    for precise in (False, True):
        out = px.gramian(rows, precise=precise, active=active)
        np.testing.assert_array_equal(out, [[5, 0, 11], [0, 0, 0], [11, 0, 25]])


def test_products_run_at_the_highest_precision():
    jac = {"w": jnp.ones((3, 4)), "b": jnp.ones((3, 2, 2))}
    for fun in (px.gramian, lambda j: px.contract(jnp.ones(3), j)):
        text = str(jax.make_jaxpr(fun)(jac))
        assert text.count("dot_general[") == 2
        assert text.count("Precision.HIGHEST") == 4


@pytest.mark.parametrize(
    ("fun", "message"),
    [
        (lambda p: jnp.sum(p["w"]), r"losses: expected shape \[m\].*got shape \(\)"),
        (lambda p: p["w"].reshape(2, 1), r"losses: expected shape \[m\].*\(2, 1\)"),
        (lambda p: [p["w"][0], p["w"][1]], "losses: expected one array.*jnp.stack"),
    ],
    ids=["scalar", "matrix", "list"],
)
@pytest.mark.parametrize(
    "wrap",
    [
        px.value_and_jacobian,
        px.value_and_gramian,
        lambda fun: px.value_and_gradient(fun, px.scalarizations.linear([0.5, 0.5])),
    ],
    ids=["jacobian", "gramian", "gradient"],
)
def test_losses_of_another_shape_are_named_before_any_computation(wrap, fun, message):
    with pytest.raises(ValueError, match=message):
        wrap(fun)({"w": jnp.ones(2)})


def test_integer_leaves_bad_chunks_and_odd_axes_are_named():
    with pytest.raises(ValueError, match=r"params\['step'\]: expected a floating leaf"):
        px.value_and_jacobian(lambda p: p["w"])({"w": jnp.ones(2), "step": 3})
    with pytest.raises(ValueError, match="chunk_size: expected at least 1, got 0"):
        px.value_and_jacobian(lambda p: p, chunk_size=0)
    with pytest.raises(ValueError, match=r"jac\['b'\]: expected a leading task axis"):
        px.gramian({"a": jnp.ones((2, 3)), "b": jnp.ones((3, 3))})
    with pytest.raises(ValueError, match="got a scalar"):
        px.gramian({"a": jnp.ones(())})
    with pytest.raises(ValueError, match="empty pytree"):
        px.gramian({})
    with pytest.raises(ValueError, match=r"weights: expected shape \(2,\)"):
        px.contract(jnp.ones(3), jnp.ones((2, 3)))


def test_shared_that_does_not_fit_is_named():
    params, x = problem()
    for shared, message in [
        ({"trunk": True}, "does not fit"),
        ({"trunk": 1.0, "heads": False}, "expected True or False"),
        (lambda path: False, "at least one shared leaf"),
    ]:
        with pytest.raises(ValueError, match=message):
            px.value_and_gramian(losses, shared=shared)(params, x)
